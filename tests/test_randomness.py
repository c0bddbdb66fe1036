"""Seeds by position: for torch's own generators."""

from __future__ import annotations

import pytest
import torch

from cl_runner.randomness import seed_globally, seed_of, seeded


@pytest.fixture
def no_other_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the generators of other devices than the CPU are asked for."""

    def asked(seed: int) -> None:
        raise AssertionError

    for kind in (torch.cuda, torch.mps):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(kind, name, asked, raising=False)


def test_the_position_seeds_and_what_comes_afterwards_is_as_without(no_other_device: None) -> None:
    torch.default_generator.manual_seed(5)
    wanted = torch.rand(4)
    torch.default_generator.manual_seed(5)
    with seeded("rows", 2):
        drawn = torch.rand(3)
    assert torch.equal(torch.rand(4), wanted)
    own = torch.Generator().manual_seed(seed_of("rows", 2))
    assert torch.equal(drawn, torch.rand(3, generator=own))
    with seeded("rows", 3):
        assert not torch.equal(torch.rand(3), drawn)


def test_the_global_seed_is_that_of_torch(no_other_device: None) -> None:
    with torch.random.fork_rng(devices=[]):
        seed_globally("cpu", 7, "own")
        drawn = torch.rand(3)
        own = torch.Generator().manual_seed(seed_of(7, "own"))
        assert torch.equal(drawn, torch.rand(3, generator=own))


def test_a_gpu_of_the_run_is_seeded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with torch.random.fork_rng(devices=[]):
        seed_globally("cuda:1", 7, "own")
    assert seeds == [seed_of(7, "own")]
