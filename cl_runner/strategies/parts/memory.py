"""Stored samples: a fixed number of slots, filled after each task or after each step.

- `class_balanced`: equally many samples of each class, to within one, drawn at random. Filled by
                    steps, a new sample replaces one of the largest class (Chrysakis & Moens 2020)
- `herding`:        equally many, too; those whose mean feature comes closest to the class mean
                    (Rebuffi et al. 2017, algorithm 4, with features and means of length one). Only
                    after a task
- `reservoir`:      each training sample so far with the same probability (Vitter 1985)

In a domain-incremental stream, the same class in two tasks counts as two. Elsewhere a class that
comes back stays one: `class_balanced` keeps stored and new samples of it in proportion to how many
came before and now, `herding` ranks them together. Labels are stored, masks never: which classes
compete is decided when a sample is used. In regression each task counts as one class, and inputs
and targets are stored as real numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cl_runner.data.batches import Batch
from cl_runner.data.samples import Preparation, Samples
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.randomness import generator
from cl_runner.strategies.parts.arrivals import Arrivals, group_sizes, groups_of
from cl_runner.strategies.parts.selection import (
    Balance,
    balanced_quotas,
    drawn,
    herding_order,
    merged,
    reservoir,
)

Policy = Literal["class_balanced", "reservoir", "herding"]
StepPolicy = Literal["class_balanced", "reservoir"]
Fill = Literal["task", "step"]
DistilOn = Literal["current", "memory", "both"]


class Memory(nn.Module):
    """S slots of pictures, labels and groups (task and class); `stored` of them are filled. The
    task is the one that the class belongs to; where tasks share classes, the one that showed it.

    columns: what else is kept of each sample, by its name, with the shape of one value:
    `{"logits": (10,)}`. Each is float32. per_class: the most samples of one class that are stored
    when filled by tasks, not by `reservoir` (None: as many as there is room for).
    """

    images: Tensor  # [S, C, H, W] uint8; features and the inputs of regression: float32
    labels: Tensor  # [S] int64; in regression the targets, float32
    groups: Tensor  # [S] int64, each a pair of task and class
    index: Tensor  # [S] int64, the samples' numbers in the stream

    def __init__(
        self,
        buffer_size: int,
        network: Network,
        policy: Policy,
        columns: Mapping[str, Sequence[int]] | None = None,
        per_class: int | None = None,
    ) -> None:
        super().__init__()
        classes = network.classes
        if policy != "reservoir" and buffer_size < classes:
            allowed = (
                f"leaves some of the {classes} classes without a slot, but policy={policy} needs "
                "one for each"
            )
            hint = f"buffer_size={classes}; policy=reservoir, where the strategy has it, needs less"
            raise ConfigError.of("buffer_size", buffer_size, allowed, hint)
        self.policy: Policy = policy
        self.per_class = buffer_size if per_class is None else per_class
        shape = network.shape
        inputs, targets = network.inputs, network.likelihood.targets
        self.register_buffer("images", torch.zeros(buffer_size, *shape, dtype=inputs))
        self.register_buffer("labels", torch.zeros(buffer_size, dtype=targets))
        self.register_buffer("groups", torch.zeros(buffer_size, dtype=torch.int64))
        self.register_buffer("index", torch.zeros(buffer_size, dtype=torch.int64))
        self.names = tuple(columns or ())
        for name, one in (columns or {}).items():
            self.register_buffer(f"column_{name}", torch.zeros(buffer_size, *one))
        self.stored = 0
        self.seen = 0
        self.balance = Balance()

    @property
    def columns(self) -> dict[str, Tensor]:
        """[S, …] float32 of each, by its name."""
        return {name: self.get_buffer(f"column_{name}") for name in self.names}

    def get_extra_state(self) -> dict[str, Any]:
        return {"stored": self.stored, "seen": self.seen, "balance": self.balance.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        if not 0 <= state["stored"] <= len(self.labels) or state["seen"] < state["stored"]:
            raise ValueError(f"{state['stored']} of {len(self.labels)} slots cannot be filled")
        self.stored, self.seen = state["stored"], state["seen"]
        self.balance = Balance.of(state["balance"])

    def draw(self, batch: Batch, size: int, purpose: str, replacement: bool = True) -> Batch:
        """`size` stored samples with their columns, drawn uniformly; without replacement all of
        them if they are fewer.

        The draw only depends on the seed, the batch's position and the purpose: draws for two
        purposes in one step are independent. Raises ValueError if nothing is stored yet.
        """
        if self.stored == 0:
            raise ValueError("nothing is stored yet")
        slots = drawn(self.stored, size, replacement, generator(*batch.position, purpose))
        slots = slots.to(self.labels.device)
        raw, ids = self.images.index_select(0, slots), torch.arange(len(slots), device=slots.device)
        x = batch.task.train.pixels.augmented(raw, ids, *batch.position, purpose)
        columns = {name: values.index_select(0, slots) for name, values in self.columns.items()}
        y, index = self.labels.index_select(0, slots), self.index.index_select(0, slots)
        return Batch(x, y, batch.task, batch.position, index, raw, columns)

    def insert(self, batch: Batch, **columns: Tensor) -> None:
        """Choose among the samples of one step and those stored so far.

        columns: [B, …], a value for each column of the memory. Raises ValueError for other columns,
        and for the policy `herding`, which needs a whole task.
        """
        if columns.keys() != set(self.names) or self.policy == "herding":
            raise ValueError(f"{self.policy} cannot take in {sorted(columns)} step by step")
        draw = generator(*batch.position, "memory")
        chance = torch.rand(len(batch.y), generator=draw, dtype=torch.float64)
        if self.policy == "reservoir":
            winners = reservoir(self.seen, len(self.labels), chance.tolist())
        else:
            held, groups = self.groups[: self.stored].tolist(), groups_of(batch.task, batch.y)
            winners = self.balance.places(held, len(self.labels), chance.tolist(), groups.tolist())
        self.place(batch, winners, **columns)

    def place(self, batch: Batch, winners: Mapping[int, int], **columns: Tensor) -> None:
        """Store samples of a step: the row of the batch for each slot that is filled anew."""
        self._count(len(batch.y))
        groups = groups_of(batch.task, batch.y)
        slots, rows = _numbers(winners.keys()), _numbers(winners.values()).to(groups.device)
        self._put(slots, Arrivals(batch.raw, batch.y, groups, batch.index, columns).at(rows))

    def samples(self, pixels: Preparation) -> Samples:
        """All stored samples, for training on them like on those of a task."""
        index = torch.arange(self.stored, device=self.labels.device)
        return Samples(self.images, self.labels, index, pixels)

    def tasks(self) -> list[Tensor]:
        """The slots with samples of each task, in the order of the tasks."""
        of = self.groups[: self.stored] >> 32
        return [torch.nonzero(of == task).flatten() for task in of.unique()]

    def among(self, train: Samples) -> Samples:
        """The same as samples of the stream, for training on them together with a task's."""
        return replace(train, rows=self.index[: self.stored], first=0)

    def learn(
        self,
        task: Task,
        network: Network,
        columns: Callable[[Samples], dict[str, Tensor]] = lambda samples: {},
        at_most: int | None = None,
    ) -> None:
        """Choose among the training samples of this task and those stored so far.

        columns: gives the memory's columns, [N, …], for the samples that are chosen. at_most: only
        so many random samples of the task are considered (None: all).
        """
        if at_most is not None:
            some = task.random_training_samples(at_most, "samples for the memory")
            task = replace(task, train=some)
        if self.policy == "reservoir":
            draw = task.generator("memory")
            chance = torch.rand(len(task.train), generator=draw, dtype=torch.float64)
            winners = reservoir(self.seen, len(self.labels), chance.tolist())
            slots, rows = _numbers(winners.keys()), _numbers(winners.values())
            self._count(len(chance))
        else:
            slots, rows = self._fill_balanced(task, network)
        if len(slots) == 0:  # a reservoir may keep what it has
            return
        chosen = task.train[rows.to(task.train.index.device)]
        groups = groups_of(task, chosen.y)
        self._put(slots, Arrivals(chosen.raw, chosen.y, groups, chosen.index, columns(chosen)))

    def stored_after(self, tasks: Iterable[Task]) -> int:
        """How many samples are stored after these tasks, if it is filled by tasks."""
        arrived: Counter[int] = Counter()
        for task in tasks:
            arrived.update(group_sizes(task))
        return min(len(self.labels), sum(min(n, self.per_class) for n in arrived.values()))

    def _count(self, arrivals: int) -> None:
        """Count samples that arrive. They fill slots while some are free."""
        self.seen += arrivals
        self.stored = min(len(self.labels), self.stored + arrivals)

    def _put(self, slots: Tensor, arrivals: Arrivals) -> None:
        """Write these samples into these slots."""
        slots = slots.to(self.labels.device)
        self.images[slots] = arrivals.raw
        self.labels[slots] = arrivals.y
        self.groups[slots] = arrivals.groups
        self.index[slots] = arrivals.index
        for name, values in self.columns.items():
            values[slots] = arrivals.columns[name]

    def _fill_balanced(self, task: Task, network: Network) -> tuple[Tensor, Tensor]:
        """Groups give up their lowest-ranked samples, new ones add their highest-ranked. Returns
        the slots to fill and the rows of the task that fill them."""
        size, groups = len(self.labels), groups_of(task, task.train.y)
        stored = self.groups[: self.stored]
        held = {g: torch.nonzero(stored == g).flatten() for g in stored.unique().tolist()}
        arrived = {g: torch.nonzero(groups == g).flatten() for g in groups.unique().tolist()}
        ranked = {g: slots for g, slots in held.items() if g not in arrived}
        for group, rows in arrived.items():
            ranked[group] = self._ranked(task, held.get(group, rows[:0]), rows, network)
            self.balance.seen[group] = self.balance.seen.get(group, 0) + len(rows)
        counts = {g: min(len(order), self.per_class) for g, order in ranked.items()}
        quotas = balanced_quotas(counts, size)
        chosen = torch.cat([ranked[g][: quotas[g]] for g in held | arrived])
        old = torch.nonzero(chosen < size).flatten()
        for slots in self.buffers():
            slots[old] = slots[chosen[old]]
        self.stored = len(chosen)
        self.seen += len(task.train)
        new = torch.nonzero(chosen >= size).flatten()
        return new, chosen[new] - size

    def _ranked(self, task: Task, slots: Tensor, rows: Tensor, network: Network) -> Tensor:
        """The slots of one group and its new rows, the latter from S on, best first."""
        new, size = task.train[rows], len(self.labels)
        if self.policy == "herding":
            stored = self.samples(task.train.pixels)[slots]
            parts = [_features(network, part) for part in (stored, new) if len(part) > 0]
            return torch.cat([slots, size + rows])[herding_order(torch.cat(parts), size)]
        kind = int(task.likelihood.kinds(new[:1].y))
        order = torch.randperm(len(rows), generator=task.generator(f"memory {kind}"))
        group = int(groups_of(task, new[:1].y))
        before = self.balance.seen.get(group, len(slots))
        return merged(slots, size + rows[order.to(rows.device)], before)


def _numbers(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


@torch.no_grad()
def _features(network: Network, samples: Samples) -> Tensor:
    """[N, D], in evaluation mode; the network's mode is restored."""
    with evaluation_mode(network):
        return torch.cat([network.features(chunk.x) for chunk in samples.chunks(1000)])
