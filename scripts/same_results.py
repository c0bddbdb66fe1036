"""Does this checkout compute the same as another commit, byte for byte, on this machine?

    python scripts/same_results.py COMMIT

Clones the commit, then trains tiny runs with both: every strategy in every scenario, and every
option that changes what is computed. Compares `metrics.jsonl`, `predictions.npz` and the SHA-256 of
the final weights, prints one line per run, and exits with 1 if any differs. There are no golden
files, because another processor gives other last bits.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

HERE = Path(__file__).resolve().parent.parent
TINY = ("threads=1", "epochs=2", "batch_size=50", "model.widths=[16]", "log_every=5",
        "checkpoint.every_n_minutes=null")  # fmt: skip
SCENARIOS = ("class_incremental", "task_incremental", "domain_incremental")
LINES = ("experiment=regression", "dataset.samples=30")
PERMUTED = ("dataset=permuted_mnist", "dataset.tasks=3",
            "dataset.source={_target_:cl_runner.data.digits.Digits}")  # fmt: skip
PHASE = "@PHASE@"
"""Stands for the class of a phase, whose module depends on the commit."""
PHASES = (
    f"later_phases=[{{_target_:{PHASE},epochs:1,layers:head,weight_decay:null}},"
    f"{{_target_:{PHASE},epochs:1,layers:all,weight_decay:0.01}}]"
)
NEW, REFUSED = "new, nothing to compare with", "refused by both"
OPTIONS: dict[str, tuple[str, ...]] = {
    "inserted layer, random": ("strategy=lwf", "model.inserted_layer=random"),
    "inserted layer, identity": ("strategy=ewc", "model.inserted_layer=identity"),
    "phases": ("strategy=lwf", "model.inserted_layer=random", PHASES),
    "phases, SGD": ("optimizer=sgd", "optimizer.momentum=0.9", PHASES),
    "augmentation": ("strategy=rehearsal", "dataset.pixels.crop_padding=1",
                     "dataset.pixels.flip=true"),
    "kept Adam": ("reset_optimizer=false",),
    "kept SGD, task-incremental": ("optimizer=sgd", "optimizer.momentum=0.9", "strategy=ewc",
                                   "reset_optimizer=false", "dataset.scenario=task_incremental"),
    "kept AdamW, inserted layer": ("optimizer=adamw", "reset_optimizer=false", "strategy=lwf",
                                   "model.inserted_layer=random"),
    "permutations": (*PERMUTED, "strategy=ewc"),
    "permutations, joint": (*PERMUTED, "strategy=joint", "dataset.pixels.crop_padding=1",
                            "dataset.pixels.flip=true"),
    "permutations, class-incremental": (
        *PERMUTED, "strategy=rehearsal", "dataset.scenario=class_incremental",
        "dataset.validation_fraction=0.2"),
    "class order of its own": ("strategy=ewc", "dataset.class_order=random",
                               "dataset.class_order_seed=3", "seed=1"),
    "some samples of each task": ("strategy=rehearsal", "dataset.samples_per_task=60",
                                  "dataset.validation_fraction=0.2"),
    "padded permutations": (*PERMUTED, "strategy=rehearsal", "dataset.pixels.padding=2"),
    "permutations, the first task, too": (*PERMUTED, "dataset.permute_first=true"),
    "rotations": ("dataset=rotated_mnist", *PERMUTED[1:]),
    "rotations, the first task, too": ("dataset=rotated_mnist", *PERMUTED[1:],
                                       "dataset.rotate_first=true", "strategy=ewc"),
    "Nesterov": ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"),
    "rate per task": ("optimizer.lr=[0.01,0.001]", "epochs=[2,1]"),
    "cosine": ("scheduler=cosine_warm_restarts", "epochs=4", "clip_gradient=1.0"),
    "evaluated every epoch": ("strategy=rehearsal_kd", "evaluate_every=epoch"),
    "evaluated every 3 steps": ("strategy=si", "evaluate_every=3"),
    "evaluated every epoch, regression": (*LINES, "strategy=ewc", "evaluate_every=epoch"),
    "nearest mean": ("strategy=rehearsal", "model.classifier=nearest_mean"),
    "nearest mean of stale features": ("model.classifier=nearest_mean",),
    "validation": ("strategy=ewc", "dataset.validation_fraction=0.2"),
    "scope all": ("strategy=rehearsal", "ce_scope=all"),
    "scope new": ("strategy=rehearsal_kd", "ce_scope=new"),
    "one output layer": ("strategy=l2", "one_output_layer=true", "reset_optimizer=false"),
    "new rows zero": ("model.new_rows=zero", "dataset.scenario=task_incremental"),
    "new rows Kaiming": ("model.new_rows=kaiming_normal", "model.init=kaiming_normal"),
    "picture by picture": ("dataset.pixels.per_picture=true", "dataset.pixels.mean=[0.0]",
                           "dataset.pixels.std=[1.0]"),
    "batch normalisation": ("model.batch_norm=true", "strategy=lwf"),
    "frozen statistics": ("model.batch_norm=true", "model.freeze_statistics=true", "strategy=ewc"),
    "convolutions": ("model=cnn", "~model.widths", "strategy=ewc", "epochs=1"),
    "EWC online": ("strategy=ewc", "strategy.mode=online", "strategy.decay=0.9"),
    "EWC without half": ("strategy=ewc", "strategy.half=false"),
    **{f"Fisher {name}": ("strategy=ewc", f"strategy.fisher={name}")
       for name in ("exact", "sampled", "empirical", "predicted", "batch", "batch_all_pairs",
                    "identity")},
    **{f"Fisher {name}, regression": (*LINES, "strategy=ewc", f"strategy.fisher={name}")
       for name in ("exact", "sampled", "empirical")},
    "SI of the total gradient": ("strategy=si", "strategy.gradient=total",
                                 "strategy.negative=keep"),
    "MAS of batches": ("strategy=mas", "strategy.importance=batch", "strategy.decay=0"),
    "RWalk as its code": ("strategy=rwalk", "strategy.form=code"),
    "EWC++": ("strategy=rwalk", "strategy.path=false"),
    "LwF convex": ("strategy=lwf", "strategy.mixing=convex", "strategy.alpha=0.5",
                   "strategy.t_squared=false"),
    "LwF over all outputs, by task": ("strategy=lwf", "strategy.outputs=all", "ce_scope=all",
                                      "strategy.mixing=by_task"),
    "reservoir": ("strategy=rehearsal", "strategy.policy=reservoir"),
    "herding": ("strategy=rehearsal", "strategy.policy=herding"),
    "distil on memory": ("strategy=rehearsal_kd", "strategy.distil_on=memory"),
    "sum of losses": ("strategy=rehearsal", "strategy.loss=sum"),
    "losses by task": ("strategy=rehearsal", "strategy.loss=by_task"),
    "online rehearsal": ("strategy=rehearsal", "strategy.fill=step", "strategy.policy=reservoir",
                         "strategy.replacement=false"),
    "appended": ("strategy=rehearsal", "strategy.loss=appended"),
    "losses in turn": ("strategy=rehearsal", "strategy.loss=in_turn", "strategy.iterations=3"),
    "joint from scratch": ("strategy=joint", "strategy.start=scratch"),
    "first-task cache, made": ("first_task_cache=cache",),
    "first-task cache, taken": ("strategy=ewc", "first_task_cache=cache"),
    "first-task cache, taken by an inserted layer": (
        "strategy=lwf", "model.inserted_layer=random", "first_task_cache=cache"),
}  # fmt: skip


def cases(root: Path) -> dict[str, tuple[str, ...]]:
    """The words of each run, by its name. root: the checkout whose strategies are run."""
    strategies = sorted(file.stem for file in (root / "conf" / "strategy").glob("*.yaml"))
    named: dict[str, tuple[str, ...]] = {}
    for strategy in strategies:
        for scenario in SCENARIOS:
            words = (f"strategy={strategy}", f"dataset.scenario={scenario}")
            named[f"{strategy}, {scenario}"] = words
        named[f"{strategy}, regression"] = (*LINES, f"strategy={strategy}")
    return named | OPTIONS


def words_of(options: tuple[str, ...], number: int) -> list[str]:
    """The command line of a run. A word with `~` removes one of the tiny settings."""
    gone = {word[1:] for word in options if word.startswith("~")}
    given = [word for word in options if not word.startswith("~")]
    keys = gone | {word.partition("=")[0] for word in given}
    tiny = [word for word in TINY if word.partition("=")[0] not in keys]
    return [*tiny, *given, "output_root=.", f"name=run_{number:03}"]


def run_all(root: str, folder: str) -> None:
    """Run every case in a fork of this process, with the code in `root`, which is on its path."""
    from cl_runner import train

    os.chdir(folder)
    importlib.import_module("torch._dynamo")  # once for all: every optimizer imports it
    places = ("cl_runner.training.settings", "cl_runner.phases")
    there = next(place for place in places if _is_there(place))
    for number, options in enumerate(cases(HERE).values()):
        words = [word.replace(PHASE, f"{there}.Phase") for word in words_of(options, number)]
        if not _is_there("cl_runner.training.schedulers"):  # their name at older commits
            words = [word.replace("scheduler=", "lr_schedule=") for word in words]
        child = os.fork()
        if child == 0:
            _run_one(train.main, words, Path(f"{number:03}.out"))
        os.waitpid(child, 0)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _run_one(main: Any, words: list[str], output: Path) -> None:
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["cl-train", *words]
    with suppress(SystemExit):
        main()
    os._exit(0)


def compared(here: Path, there: Path, number: int) -> str:
    """`same`, or what differs."""
    sides = [digests(folder, number) for folder in (here, there)]
    if not all(sides):
        outputs = [(folder / f"{number:03}.out").read_text().strip() for folder in (here, there)]
        lines = [text.splitlines()[-1] if text else "nothing" for text in outputs]
        if lines[0] == lines[1] and not any(sides) and lines[0].startswith("config error: "):
            return f"{REFUSED}: {lines[0]}"
        return f"FAILED: {lines}"
    differ = [name for name in sides[0] if sides[0][name] != sides[1][name]]
    return f"DIFFERS in {', '.join(differ)}" if differ else "same"


def digests(folder: Path, number: int) -> dict[str, str]:
    """Digests of what a run wrote; empty if it is not complete."""
    run = folder / f"run_{number:03}"
    if not (run / "results.json").exists():
        return {}
    files = ("metrics.jsonl", "predictions.npz")
    written = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files}
    return written | {"final weights": weights(max(run.glob("checkpoint/*.ckpt")))}


def weights(checkpoint: Path) -> str:
    """SHA-256 of the network in a checkpoint, which is a digest, a manifest and a torch archive."""
    archive = checkpoint.read_bytes().split(b"\n", 2)[2]
    state = torch.load(io.BytesIO(archive), weights_only=True)["strategy"]
    digest = hashlib.sha256()
    for name, value in state.items():
        if name.startswith("network.") and isinstance(value, torch.Tensor):
            digest.update(name.encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        run_all(*sys.argv[2:])
        return
    (commit,) = sys.argv[1:]
    with TemporaryDirectory() as place:
        clone = Path(place) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(HERE), str(clone)], check=True)
        subprocess.run(["git", "-C", str(clone), "checkout", "--quiet", commit], check=True)
        folders = [Path(place) / "here", Path(place) / "there"]
        sides = []
        for root, folder in zip((HERE, clone), folders, strict=True):
            folder.mkdir()
            command = [sys.executable, __file__, "--run", str(root), str(folder)]
            environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
            sides.append(subprocess.Popen(command, env=environment))
        ended = [side.wait() for side in sides]
        names = list(cases(HERE))
        verdicts = [compared(folders[0], folders[1], number) for number in range(len(names))]
        known = cases(clone)
    # An option, setting or value that is unknown there; one that fails here fails the tests.
    unknown = re.compile(r"no such |must be one of ")
    verdicts = [
        verdict if name in known and not unknown.search(verdict) else NEW
        for name, verdict in zip(names, verdicts, strict=True)
    ]
    for name, verdict in zip(names, verdicts, strict=True):
        print(f"{name}: {verdict}")
    count = sum(not verdict.startswith((NEW, REFUSED)) for verdict in verdicts)
    same = verdicts.count("same")
    print(f"{same} of {count} runs are the same as at {commit}")
    sys.exit(any(ended) or same < count)


if __name__ == "__main__":
    main()
