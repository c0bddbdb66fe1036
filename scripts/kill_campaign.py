"""The kill campaign: runs killed with SIGKILL at every crash point, continued, and compared.

Crash points follow from what a run does. They are before and after each system call that changes a
file in its folder, half-way through each write, and before and after each optimizer step, hook of
the strategy, Fisher estimate, memory update, evaluation and composition of the results. The short
form kills at three points of each run; at all other points of one run it copies the folder as a
kill would leave it. After every kill the run is continued. In the end weights, buffers, teacher,
Fisher information, memory, optimizer, metrics.jsonl, predictions.npz, probe.npz and results.json
(without its seconds and peak memory) must have the bytes of a run that was never killed.

    python scripts/kill_campaign.py                # the short form, which is part of the tests
    python scripts/kill_campaign.py --long         # larger runs, every point, and random times
    python scripts/kill_campaign.py --sabotage     # does it notice if part of the state is lost?
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import kill_streams
import torch
import yaml
from hydra.errors import ConfigCompositionException
from kill_points import Case, Killer, attempt, differences, fingerprint, prepared
from kill_sabotage import sabotage
from kill_states import Recorder

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError

EVERY = 2  # steps between checkpoints
COMMON = [
    "threads=1", "model.widths=[12]", "model.batch_norm=true",
    "log_every=3", "evaluate_every=5", "reset_optimizer=false",
    f"checkpoint.every_n_steps={EVERY}",
]  # fmt: skip
SMALL = ["epochs=1", "batch_size=100"]  # of two tasks
LARGE = ["epochs=2", "batch_size=150"]  # of three tasks
TINY = {"buffer_size": "30", "replay_batch_size": "10", "fisher_samples": "50", "weight": "1.0",
        "importance_samples": "50", "projection": "20", "widths": "[20]",
        "samples": "5"}  # fmt: skip
"""Values of settings, wherever a strategy has them."""
OWN = {
    "gdumb": ["strategy.buffer_size=120", "scheduler=cosine_warm_restarts", "clip_gradient=1.0"],
    "bic": ["strategy.buffer_size=120"],
    "rehearsal": ["strategy.policy=reservoir"],
    "derpp": ["strategy.policy=class_balanced", "accumulate=2"],
    "gem": ["strategy.appended=true"],
    "finetune": [
        "early_stopping=1",
        "epochs=3",
        "dataset.validation_fraction=0.2",
        "diagnose=probe",
        "model.classifier=nearest_mean",
    ],
    "lwf": ["precision=bf16", "optimizer.head_lr=0.1"],
    "gss": ["strategy.iterations=1", "strategy.gradients=2"],  # two steps on each batch
    "agem": ["epochs=null", "steps=5", "scheduler=warm_up", "scheduler.length=2"],
}
"""Other settings of some strategies."""
TORCHVISION = ["model=torchvision", "model.body=shufflenet_v2_x0_5"]
SMALL_BODY = ["model=wrapped", "model.body._target_=kill_bodies.SmallBody",
              "trusted_targets=[kill_bodies]"]  # fmt: skip
PLAIN = ["dataset.pixels.crop_padding=0", "dataset.pixels.flip=false"]
VARIANTS = {
    "joint from scratch": ["strategy=joint", "strategy.start=scratch"],
    "ewc online": ["strategy=ewc", "strategy.mode=online"],
    "rehearsal_kd herding": ["strategy=rehearsal_kd", "strategy.policy=herding"],
    "ewc channels_last": ["strategy=ewc", "model=cnn", "model.channels=[2,3]", "model.hidden=8",
                          "memory_format=channels_last"],
    "features cached": ["strategy=rehearsal", *TORCHVISION, "model.frozen=true", *PLAIN],
    "slda cached": ["strategy=slda", *SMALL_BODY, "model.frozen=true", *PLAIN],
    "a part of a body": ["strategy=ewc", *SMALL_BODY, "model.frozen=[stem,stage]",
                         "model.classifier=cosine"],
    "wrapped": ["strategy=lwf", "model=wrapped"],
    "one output layer": ["strategy=si", "one_output_layer=true"],
}  # fmt: skip
SHIPPED = sorted(file.stem for file in (CONF / "strategy").glob("*.yaml"))
STRATEGIES = {name: [f"strategy={name}", *OWN.get(name, [])] for name in SHIPPED} | VARIANTS
OPTIMIZERS = {
    "adam": ["optimizer=adam"],
    "sgd": ["optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9", "evaluate_every=epoch"],
}
EVERYWHERE = ("rehearsal_kd", "adam")  # in the short form; the others at three points


@dataclass
class Tally:
    """The outcome of the kills for one strategy with one optimizer, on one stream."""

    points: int
    kills: int = 0
    mismatches: list[str] = field(default_factory=list)
    most_redone: int = 0


def main() -> None:
    """Run the campaign, print its table, exit 1 if anything differed."""
    parser = argparse.ArgumentParser(description="Kill runs everywhere and compare.")
    parser.add_argument("--long", action="store_true", help="larger runs, all points, random times")
    parser.add_argument("--strategy", nargs="+", choices=STRATEGIES, help="only these")
    parser.add_argument("--sabotage", action="store_true", help="only the test of the test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where fsync is free
    with tempfile.TemporaryDirectory(dir=in_memory) as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        if arguments.sabotage:
            classes = kill_streams.words("classes", 3, folder)
            sys.exit(not sabotage(folder, [*COMMON, *LARGE, *classes, *OPTIMIZERS["adam"]]))
        sys.exit(not campaign(folder, arguments.strategy or list(STRATEGIES), arguments.long))


def campaign(folder: Path, strategies: list[str], long: bool) -> bool:
    """Print one line per strategy and optimizer; whether nothing differed."""
    start, kills, mismatches = time.monotonic(), 0, 0
    kill_streams.write(folder / "data")
    print(
        f"{'strategy':24}{'optimizer':11}{'stream':18}"
        f"{'points':>7}{'kills':>7}{'mismatches':>12}{'redone':>8}"
    )
    for name, optimizer in product(strategies, OPTIMIZERS):
        if not (long or optimizer in optimizers_of(name)):
            continue
        case, stream = case_of(name, optimizer, folder / "data", long)
        points, chains = (None, 10) if long else (3, 0)
        tally = kill(case, folder / case.name, points, chains, (name, optimizer) == EVERYWHERE)
        kills, mismatches = kills + tally.kills, mismatches + len(tally.mismatches)
        print(
            f"{name:24}{optimizer:11}{stream:18}{tally.points:7}{tally.kills:7}"
            f"{len(tally.mismatches):12}{tally.most_redone:8}",
            flush=True,
        )
        for mismatch in tally.mismatches[:5]:
            print(f"  {mismatch}")
    print(f"{kills} kills, {mismatches} mismatches, {time.monotonic() - start:.0f} s")
    return mismatches == 0


def case_of(name: str, optimizer: str, data: Path, long: bool) -> tuple[Case, str]:
    """A run of this strategy, and its stream: strategies take turns at the streams, and take the
    next one that they are not refused on."""
    own = STRATEGIES[name]
    common = [
        w
        for w in COMMON
        if not any(word.startswith("model=") for word in own) or not w.startswith("model.")
    ]
    streams = list(kill_streams.STREAMS)
    place = list(STRATEGIES).index(name)
    place += 0 if optimizer == optimizer_of(name) else len(streams) // 2
    for stream in [*streams, *streams][place % len(streams) :]:
        kind = kill_streams.words(stream, 3 if long else 2, data)
        overrides = [*common, *(LARGE if long else SMALL), *kind, *own, *tiny(own)]
        with suppress(ConfigError, ConfigCompositionException):  # the second: it has no pictures
            case = prepared(f"{name} {optimizer} {stream}", [*overrides, *OPTIMIZERS[optimizer]])
            return case, stream
    raise ValueError(f"{name} is refused on every stream")


def optimizers_of(name: str) -> set[str]:
    """The optimizers of a strategy in the short form: both for the one killed everywhere, else one,
    so that each has its share."""
    return set(OPTIMIZERS) if name == EVERYWHERE[0] else {optimizer_of(name)}


def optimizer_of(name: str) -> str:
    """Its share of the short form, one after the other."""
    return list(OPTIMIZERS)[list(STRATEGIES).index(name) % len(OPTIMIZERS)]


def tiny(own: list[str]) -> list[str]:
    """Small values of the settings that this strategy has and that are not given."""
    shipped = yaml.safe_load((CONF / "strategy" / f"{own[0].partition('=')[2]}.yaml").read_text())
    given = {word.partition("=")[0] for word in own}
    keys = [key for key in TINY if key in shipped and f"strategy.{key}" not in given]
    return [f"strategy.{key}={TINY[key]}" for key in keys]


def kill(case: Case, folder: Path, points: int | None, chains: int, everywhere: bool) -> Tally:
    """Kill at the enumerated points, then in chains at random times.

    points: the number of crash points to draw, for kills of one run in a row; None: a run is
    killed at each of them. everywhere: also continue from what a kill at each other point would
    leave.
    """
    folder.mkdir()
    recorder = Recorder(folder / "whole", folder / "left") if everywhere else None
    begun = time.monotonic()
    names = attempt(case, folder / "whole", Killer(watch=recorder)).points
    seconds = time.monotonic() - begun
    whole = fingerprint(folder / "whole")
    tally = Tally(len(names))
    draw = random.Random(case.name)
    chosen = [[at] for at in range(1, len(names) + 1)]
    if points is not None:
        chosen = [sorted(draw.sample(range(1, len(names) + 1), points))]
    for row in chosen:
        run = folder / f"point-{row[0]}"
        for before, at in pairwise([0, *row]):  # the part of the run that is left has as many
            killed = attempt(case, run, Killer(at - before))
            assert killed.signal == signal.SIGKILL, (names[at - 1], killed)
        passed = ", ".join(f"point {at}: {names[at - 1]}" for at in row)
        tally.kills += len(row) - 1  # `compare` counts one
        compare(case, run, whole, f"{case.name}, {passed}", tally, len(row))
    for left in recorder.left(without=[row[0] for row in chosen]) if recorder is not None else []:
        run = folder / f"left-{min(left.points)}"
        left.put(run)
        run.with_suffix(".steps").write_bytes(b"." * max(left.points.values()))
        what = f"{case.name}, points {[names[at - 1] for at in left.points]}"
        compare(case, run, whole, what, tally)
        tally.kills += len(left.points) - 1  # `compare` counts one
    for chain in range(chains):
        run, in_chain = folder / f"chain-{chain}", 0
        while in_chain < 12:
            after = draw.uniform(0, seconds)
            ended = attempt(case, run, Killer(), kill_after=after)
            if ended.error:
                tally.mismatches.append(f"{case.name}, chain {chain}: {ended.error}")
            if ended.signal is None:
                break
            in_chain += 1
        if in_chain:
            tally.kills += in_chain - 1  # `compare` counts one
            compare(case, run, whole, f"{case.name}, chain {chain}", tally, in_chain)
    return tally


def compare(
    case: Case, run: Path, whole: dict[str, str], what: str, tally: Tally, times: int = 1
) -> None:
    """Continue the killed run to its end and compare it with the whole one. times: how often it
    was killed."""
    tally.kills += 1
    ended = attempt(case, run, Killer())
    different = ended.error or differences(whole, run)
    redone = (run.with_suffix(".steps").stat().st_size - case.steps(run)) / times
    tally.most_redone = max(tally.most_redone, int(redone + 0.999))
    if different:
        tally.mismatches.append(f"{what}: {different}")
    if redone > EVERY:
        tally.mismatches.append(f"{what}: {redone:g} steps per kill were repeated")


if __name__ == "__main__":
    main()
