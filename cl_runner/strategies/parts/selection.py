"""Which samples a memory keeps: the rules by which some stay and others go."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def reservoir(seen: int, size: int, chances: Sequence[float]) -> dict[int, int]:
    """The slots that are filled anew, each with the number of the arrival that ends up in it.

    Vitter (1985), algorithm R: each of the `seen` samples before and of the arrivals is kept with
    the same probability. chances: one in [0, 1) for each arrival.
    """
    winners: dict[int, int] = {}
    for row, chance in enumerate(chances):
        arrived = seen + row
        slot = arrived if arrived < size else int(chance * (arrived + 1))
        if slot < size:
            winners[slot] = row
    return winners


@dataclass
class Balance:
    """Class-balancing reservoir sampling (Chrysakis & Moens 2020, algorithm 1)."""

    seen: dict[int, int] = field(default_factory=dict)  # arrivals of each group so far
    full: set[int] = field(default_factory=set)  # groups that have once been the largest

    def places(
        self, held: list[int], size: int, chances: Sequence[float], groups: Sequence[int]
    ) -> dict[int, int]:
        """As `reservoir` returns them. held: the group of each slot that is filled."""
        winners: dict[int, int] = {}
        counts = Counter(held)
        for row, (chance, group) in enumerate(zip(chances, groups, strict=True)):
            self.seen[group] = self.seen.get(group, 0) + 1
            if len(held) < size:
                slot = len(held)
                held.append(group)
            else:
                most = max(counts.values())
                self.full |= {g for g, count in counts.items() if count == most}
                slots = self._replaceable(held, counts, group, most)
                # of a full group, one in as many as have arrived; else one of the largest groups
                among = self.seen[group] if group in self.full else len(slots)
                chosen = int(chance * among)
                if chosen >= len(slots):
                    continue
                slot = slots[chosen]
                counts[held[slot]] -= 1
                held[slot] = group
            counts[group] += 1
            winners[slot] = row
        return winners

    def _replaceable(
        self, held: list[int], counts: Counter[int], group: int, most: int
    ) -> list[int]:
        if group in self.full:
            return [slot for slot, g in enumerate(held) if g == group]
        return [slot for slot, g in enumerate(held) if counts[g] == most]

    def state(self) -> dict[str, Any]:
        return {"seen": dict(self.seen), "full": sorted(self.full)}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Balance:
        return cls({int(g): int(n) for g, n in state["seen"].items()}, set(map(int, state["full"])))


def by_gradient(
    scores: list[float],
    size: int,
    arriving: Sequence[float],
    whole: float,
    chances: Sequence[tuple[float, float]],
) -> dict[int, int]:
    """As `reservoir` returns them: GSS-greedy (Aljundi et al. 2019, algorithm 2).

    A score is 1 + the largest cosine of a sample's gradient with those of stored samples, from 0
    to 2. scores: of the slots that are filled, which changes; arriving: of each arrival; whole: of
    all arrivals together, which decides whether any of them replaces a stored sample, as in the
    authors' code; chances: two in [0, 1) for each arrival.
    """
    winners: dict[int, int] = {}
    for row, (score, (one, two)) in enumerate(zip(arriving, chances, strict=True)):
        if len(scores) < size:
            slot = len(scores)
            scores.append(score)
        elif whole >= 1:  # no angle is obtuse
            continue
        else:
            ends = [*accumulate(scores)]
            slot = min(bisect_right(ends, one * ends[-1]), size - 1)
            if two * (scores[slot] + score) >= scores[slot]:
                continue
            scores[slot] = score
        winners[slot] = row
    return winners


def balanced_quotas(counts: dict[int, int], capacity: int) -> dict[int, int]:
    """How many of each group to keep: equal to within one, as far as the groups have that many."""
    quotas = dict.fromkeys(counts, 0)
    left = capacity
    for position, group in enumerate(sorted(counts, key=lambda g: (counts[g], g))):
        share = left // (len(counts) - position)
        quotas[group] = min(counts[group], share)
        left -= quotas[group]
    return quotas


def merged(stored: Tensor, new: Tensor, before: int) -> Tensor:
    """Two random orders of samples as one, in proportion to the samples that came before and now.

    stored: the first ones of a random order of `before` samples; new: a random order. So the first
    k of the result, any k, have a fair share of both.
    """
    pairs = ((stored, before), (new, len(new)))
    places = [(torch.arange(len(part)).double() + 0.5) / count for part, count in pairs]
    order = torch.cat(places).argsort(stable=True)
    return torch.cat([stored, new])[order.to(new.device)]


def drawn(count: int, size: int, replacement: bool, draw: torch.Generator) -> Tensor:
    """`size` of the numbers below `count`; without replacement at most all of them."""
    if replacement:
        return torch.randint(count, (size,), generator=draw)
    return torch.randperm(count, generator=draw)[:size]


def herding_order(features: Tensor, count: int) -> Tensor:
    """Rows of `features` [N, D] in the order in which herding takes them: at each k the one that
    is not chosen yet with the smallest ‖μ − (φ(x) + Σ φ(p)) / k‖, p the rows chosen before.

    Each φ is scaled to length one, and so is every mean, as section 2.1 of Rebuffi et al. (2017)
    says: "results of any operation on feature vectors … are also re-normalized". Their code has
    another rule, the largest inner product with what is left of k μ (Welling 2009). In double
    precision, so that rounding does not choose between similar samples.
    """
    unit = F.normalize(features.double().cpu(), dim=1)
    mean = F.normalize(unit.mean(0), dim=0)
    onto_mean, squares = unit @ mean, unit.square().sum(1)
    onto_total = torch.zeros(len(unit), dtype=unit.dtype)  # φ(x) · Σ φ(p)
    free = torch.ones(len(unit), dtype=torch.bool)
    chosen: list[int] = []
    for _ in range(min(count, len(unit))):
        # of v = φ(x) + Σ φ(p): |v|² and μ · v, without the rows [N, D] of v
        length = (onto_total[chosen].sum() + 2 * onto_total + squares).clamp(min=0).sqrt()
        scale = length.clamp(min=1e-12)
        distance = (length / scale).square() - 2 * (onto_mean[chosen].sum() + onto_mean) / scale
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        chosen.append(best)
        onto_total += unit @ unit[best]
        free[best] = False
    return torch.tensor(chosen, device=features.device)
