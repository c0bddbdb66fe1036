"""Stored samples: a fixed number of slots, filled by one of three policies after each task.

- `class_balanced`: equally many samples of each class, to within one, drawn at random
- `herding`:        equally many, too; those whose mean feature comes closest to the class mean
                    (Rebuffi et al. 2017, algorithm 4, with features and means of length one)
- `reservoir`:      each training sample so far with the same probability (Vitter 1985)

In a domain-incremental stream, the same class in two tasks counts as two. Labels are stored, masks
never: which classes compete is decided when a sample is used. In regression each task counts as one
class, and inputs and targets are stored as real numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.data.batches import Batch
from cl_runner.data.samples import Preparation, Samples
from cl_runner.data.stream import Task
from cl_runner.errors import ConfigError
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.randomness import generator

Policy = Literal["class_balanced", "reservoir", "herding"]
DistilOn = Literal["current", "memory", "both"]


class Memory(nn.Module):
    """S slots of pictures, labels and groups (task and class); `stored` of them are filled."""

    images: Tensor  # [S, C, H, W] uint8; in regression the inputs, float32
    labels: Tensor  # [S] int64; in regression the targets, float32
    groups: Tensor  # [S] int64

    def __init__(self, buffer_size: int, network: Network, policy: Policy) -> None:
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
        shape = network.shape
        inputs, targets = network.likelihood.inputs, network.likelihood.targets
        self.register_buffer("images", torch.zeros(buffer_size, *shape, dtype=inputs))
        self.register_buffer("labels", torch.zeros(buffer_size, dtype=targets))
        self.register_buffer("groups", torch.zeros(buffer_size, dtype=torch.int64))
        self.stored = 0
        self.seen = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"stored": self.stored, "seen": self.seen}

    def set_extra_state(self, state: dict[str, int]) -> None:
        if not 0 <= state["stored"] <= len(self.labels) or state["seen"] < state["stored"]:
            raise ValueError(f"{state['stored']} of {len(self.labels)} slots cannot be filled")
        self.stored, self.seen = state["stored"], state["seen"]

    def draw(self, batch: Batch, size: int) -> Batch:
        """`size` stored samples, drawn uniformly with replacement. The draw only depends on the
        seed and the batch's position."""
        draw = generator(*batch.position, "replay")
        slots = torch.randint(self.stored, (size,), generator=draw).to(self.labels.device)
        ids = torch.arange(size, device=slots.device)
        pixels = batch.task.train.pixels
        x = pixels.augmented(self.images[slots], ids, *batch.position, "replay")
        return Batch(x, self.labels[slots], batch.task, batch.position)

    def samples(self, pixels: Preparation) -> Samples:
        """All stored samples, for training on them like on those of a task."""
        index = torch.arange(self.stored, device=self.labels.device)
        return Samples(self.images, self.labels, index, pixels)

    def learn(self, task: Task, network: Network) -> None:
        """Choose among the training samples of this task and those stored so far."""
        if self.policy == "reservoir":
            self._fill_reservoir(task)
        else:
            self._fill_balanced(task, network)
        self.seen += len(task.train)

    def _fill_reservoir(self, task: Task) -> None:
        arrivals = torch.arange(self.seen, self.seen + len(task.train), dtype=torch.float64)
        chance = torch.rand(len(arrivals), generator=task.generator("memory"), dtype=torch.float64)
        slots = (chance * (arrivals + 1)).long()  # uniform in 0 … arrivals
        free = min(len(self.labels) - self.stored, len(arrivals))
        slots[:free] = torch.arange(self.stored, self.stored + free)
        self.stored += free
        winners = {slot: row for row, slot in enumerate(slots.tolist()) if slot < len(self.labels)}
        device = task.train.index.device
        rows = torch.tensor(list(winners.values()), dtype=torch.int64, device=device)
        self._put(torch.tensor(list(winners.keys()), dtype=torch.int64), task, rows)

    def _put(self, slots: Tensor, task: Task, rows: Tensor) -> None:
        """Write some of the task's training samples into these slots."""
        chosen, slots = task.train[rows], slots.to(self.labels.device)
        self.images[slots] = chosen.raw
        self.labels[slots] = chosen.y
        self.groups[slots] = _groups(task, chosen)

    def _fill_balanced(self, task: Task, network: Network) -> None:
        """Old groups give up their lowest-ranked samples, new groups add their highest-ranked."""
        groups = _groups(task, task.train)
        ranked = {
            group: self._ranked(task, torch.nonzero(groups == group).flatten(), network)
            for group in groups.unique().tolist()
        }
        stored = self.groups[: self.stored]
        held = {g: torch.nonzero(stored == g).flatten() for g in stored.unique().tolist()}
        counts = {g: len(rows) for g, rows in (held | ranked).items()}
        quotas = balanced_quotas(counts, len(self.labels))
        kept = torch.cat([rows[: quotas[g]] for g, rows in held.items()] or [groups[:0]])
        for slots in (self.images, self.labels, self.groups):
            slots[: len(kept)] = slots[kept].clone()
        rows = torch.cat([rows[: quotas[g]] for g, rows in ranked.items()])
        self.stored = len(kept) + len(rows)
        self._put(torch.arange(len(kept), self.stored), task, rows)

    def _ranked(self, task: Task, rows: Tensor, network: Network) -> Tensor:
        """The rows of one group in the order in which to keep them."""
        if self.policy == "herding":
            return rows[herding_order(_features(network, task.train[rows]), len(self.labels))]
        kind = int(_kinds(task, task.train[rows[:1]]))
        order = torch.randperm(len(rows), generator=task.generator(f"memory {kind}"))
        return rows[order.to(rows.device)]


def balanced_quotas(counts: dict[int, int], capacity: int) -> dict[int, int]:
    """How many of each group to keep: equally many, to within one, where the group has enough."""
    quotas = dict.fromkeys(counts, 0)
    left = capacity
    for position, group in enumerate(sorted(counts, key=lambda g: (counts[g], g))):
        share = left // (len(counts) - position)
        quotas[group] = min(counts[group], share)
        left -= quotas[group]
    return quotas


def herding_order(features: Tensor, count: int) -> Tensor:
    """Rows of `features` [N, D] in the order in which herding takes them: at each k the remaining
    one with the smallest ‖μ − (φ(x) + Σ φ(p)) / k‖, where p are the rows taken before.

    Each φ and every mean is scaled to length one, following section 2.1 of Rebuffi et al. (2017):
    "results of any operation on feature vectors … are also re-normalized". Their code uses another
    rule, the largest inner product with what is left of k μ (Welling 2009). In double precision, so
    that rounding does not choose between similar samples.
    """
    unit = F.normalize(features.double().cpu(), dim=1)
    mean = F.normalize(unit.mean(0), dim=0)
    chosen: list[int] = []
    total = torch.zeros_like(mean)
    free = torch.ones(len(unit), dtype=torch.bool)
    for _ in range(min(count, len(unit))):
        distance = (mean - F.normalize(total + unit, dim=1)).square().sum(1)
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        chosen.append(best)
        total = total + unit[best]
        free[best] = False
    return torch.tensor(chosen, device=features.device)


def _groups(task: Task, samples: Samples) -> Tensor:
    """One number for each pair of task and class."""
    return (task.index << 32) + _kinds(task, samples)


def _kinds(task: Task, samples: Samples) -> Tensor:
    return task.likelihood.kinds(samples.y).long()


@torch.no_grad()
def _features(network: Network, samples: Samples) -> Tensor:
    """[N, D], in evaluation mode; the network's mode is restored."""
    with evaluation_mode(network):
        return torch.cat([network.features(chunk.x) for chunk in samples.chunks(1000)])
