"""Randomness as a function of position: the same (seed, task, epoch, ...) gives the same draw.

No draw depends on how many came before it. So evaluation, logging and resuming change nothing, and
a sample is augmented in the same way whichever others are in its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor

Key = int | str


def seed_of(*position: Key) -> int:
    """A 63-bit seed; different positions get unrelated seeds."""
    digest = blake2b(repr(position).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*position: Key) -> torch.Generator:
    """A fresh CPU generator for this position."""
    return torch.Generator().manual_seed(seed_of(*position))


@contextmanager
def seeded(*position: Key) -> Iterator[None]:
    """Seeds torch's global CPU generator by this position inside, then restores its state. Those
    of GPUs, which `torch.manual_seed` would seed as well, stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*position))
        yield


def seed_globally(device: str, *position: Key) -> None:
    """Seeds torch's own generators of the CPU and of this device by this position.

    `torch.manual_seed` would seed those of all devices, and where torch is built for CUDA and no
    GPU is in use, keeps the place of each call for a later error: it takes a hundred times as long.
    """
    seed = seed_of(*position)
    torch.default_generator.manual_seed(seed)
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif kind == "mps":
        torch.mps.manual_seed(seed)


def global_states(device: str) -> dict[str, Tensor]:
    """The states of torch's own generators, which layers such as dropout use."""
    kind = torch.device(device).type
    states = {"cpu": torch.get_rng_state()}
    if kind == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif kind == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_global_states(states: dict[str, Tensor], device: str) -> None:
    """Restore these states."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    if "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def draws(seed: int, ids: Tensor, count: int) -> Tensor:
    """`count` integers in [0, 2³¹) for each id, a hash of (seed, id, column).

    ids: [B] int64. Returns [B, count] int64 on the device of `ids`. SplitMix64's finaliser
    (Steele et al. 2014), in wrapping int64 arithmetic, so it is the same on every device.
    """
    columns = torch.arange(count, device=ids.device)
    z = ids[:, None] * -7046029254386353131 + columns * -4417276706812531889 + seed  # [B, count]
    z = (z ^ _shift(z, 30)) * -4658895280553007687
    z = (z ^ _shift(z, 27)) * -7723592293110705685
    return _shift(z ^ _shift(z, 31), 33)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
