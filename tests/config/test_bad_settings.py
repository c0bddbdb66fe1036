"""Impossible settings end at once: one line, exit code 2, no files, whatever their size."""

from __future__ import annotations

import re
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from messages import check_problem, only_line
from running import TINY, composed
from torch import nn

from cl_runner.errors import ConfigError
from cl_runner.searches import command
from cl_runner.training import checks

TEN_THOUSAND = "1" * 10_000
PHASE = "{_target_:cl_runner.training.settings.Phase,epochs:1,layers:head,weight_decay:null}"
FEW = "would be 1,000,000,000 jobs, at most 100,000 are possible"
RANGE = "must be range(start,stop,step) with numbers"
OPTION = "must be the name of an option. Hint: known are "

OF_HYDRA = [  # where Hydra itself would end with a traceback, or create a folder
    (
        ["model=null"],
        "model=null",
        OPTION + "cnn, cnn_leaky, mlp, resnet18, timm, torchvision, wrapped",
    ),
    (["strategy=5"], "strategy=5", OPTION + "agem"),
    (["experiment=null"], "experiment=null", OPTION),
    (["tracker=true"], "tracker=true", OPTION + "local, wandb"),
    (["optimizer=[1]"], "optimizer=[1]", OPTION + "adagrad, adam"),
    (["optimizer=[]"], "optimizer=[]", OPTION + "adagrad, adam"),
    (["~model=5"], "model=5", OPTION),
    (["dataset="], "dataset=", "no such option. Hint: known are arrays"),
    (["=5"], "command line==5", "has no key"),
    (["model={a:1}"], "model={a:1}", "no such setting: model.a"),
    (["checkpoint=[]"], "checkpoint=[]", "cannot be used"),
    (["seed=" + TEN_THOUSAND], "seed=111", "has too many digits"),
    (["resume=" + TEN_THOUSAND], "resume=111", "has too many digits"),
    (["model.widths=[" + TEN_THOUSAND + "]"], "model.widths=[111", "has too many digits"),
    (["name=${nowhere}"], "name=${nowhere}", "Interpolation key 'nowhere' not found"),
    (["seed=${seed}"], "seed=${seed}", "Recursive interpolation"),
    (["hydra.run.dir=/proc/x"], "hydra.run.dir=/proc/x", "Hint: choose the run folder with"),
    (["hydra.sweeper=null"], "hydra.sweeper=null", "Hint: leave it out"),
    (["hydra.verbose=5"], "hydra.verbose=5", "true, false or the names of loggers"),
    (["hydra.launcher=5"], "hydra.launcher=5", "Hint: hydra/launcher=local"),
    (["hydra/launcher=null"], "hydra/launcher=null", OPTION + "basic"),
    (["+experiment=gtsrb"], "command line", "Multiple values for experiment"),
    (["-m", "seed=range(0,0)"], "seed=range(0,0)", "has no values"),
    (["-m", "strategy=glob(zzz*)"], "strategy=glob(zzz*)", "has no values"),
    (
        ["-m", "strategy=finetune,derpp", "strategy.buffer_size=200,500"],
        "strategy.buffer_size=200,500",
        "finetune has no such setting. Hint: sweep strategy=derpp by",
    ),
    (
        ["-m", "strategy=derpp,er_ace", "strategy.bufer_size=200,500"],
        "strategy.bufer_size=200,500",
        "no such setting. Hint: did you mean strategy.buffer_size?",
    ),
    (["-m", "strategy=lwf,null"], "strategy=null", OPTION),
    (["-m", "seed=range(0,inf)"], "seed=range(0,inf)", RANGE),
    (["-m", "seed=range(0,nan)"], "seed=range(0,nan)", RANGE),
    (["-m", "seed=range(0,9,0)"], "seed=range(0,9,0)", RANGE),
]
OF_ONE = [  # each of the wrong type, or out of range
    (["dataset.source=null"], "dataset.source=null", "that builds a Source"),
    (["dataset=mnist_to_fashion", "dataset.sources=[]"], "dataset.sources=[]", "must be a list"),
    (["checkpoint=null"], "checkpoint=null", "that builds a Schedule"),
    (["name=139"], "name=139", "Hint: in quotes it is text: name=\"'139'\""),
    (["trusted_targets=null"], "trusted_targets=null", "must be a list"),
    (["trusted_targets=3"], "trusted_targets=3", "must be a list of packages"),
    (["trusted_targets=mine"], "trusted_targets=mine", "must be a list of packages"),
    (["trusted_targets=[3]"], "trusted_targets=[3]", "must be a list of packages"),
    (["output_root="], "output_root=", "must be text that names a folder"),
    (["device=meta"], "device=meta", "auto, cpu, cuda, cuda:1 or mps"),
    (["later_phases=" + PHASE], "later_phases={'_target_'…", "must be a list, each a node"),
    (["later_phases=[]"], "later_phases=[]", "must be a list, each a node"),
    (["strategy=lwf", "strategy.T=1e300"], "strategy.T=1e+300", "≤ 1e+18"),
    (["threads=2147483647"], "threads=2147483647", "≤ 1024"),
    (["model._target_=cl_runner.strategies.lwf.LwF"], "model=cl_runner.strategies.lwf.LwF",
     "Network (cl_runner.models.network)"),
    (["strategy._target_=cl_runner.models.mlp.mlp"], "strategy=cl_runner.models.mlp.mlp",
     "Strategy (cl_runner.strategies.strategy)"),
    (["dataset._target_=cl_runner.data.digits.Digits"], "dataset=cl_runner.data.digits.Digits",
     "Dataset (cl_runner.training.settings): it has no outline()"),
    (["dataset.source._target_=cl_runner.data.samples.Pixels"],
     "dataset.source=cl_runner.data.samples.Pixels",
     "Source (cl_runner.data.source): it has no load()"),
    (["trusted_targets=[torch]", "model._target_=torch.nn.Linear"], "model._target_=torch",
     "is not declared as a target"),
]  # fmt: skip
COSINE = "scheduler=cosine"
TOGETHER = [  # each valid, but not together
    (["epochs=[1,1,1,1,1,1]"], "epochs=[1, 1, 1, 1, 1, 1]", "has 6 values for 5 tasks"),
    (["optimizer.lr=[.1,.1,.1,.1,.1,.1]"], "optimizer.lr=[", "has 6 values for 5 tasks"),
    ([COSINE, "scheduler.min_lr=1.0"], "scheduler.min_lr=1.0", "optimizer.lr starts at 0.001"),
    ([COSINE, "scheduler.min_lr=0.5", "optimizer.lr=[1.0,0.1]"], "scheduler.min_lr=0.5",
     "optimizer.lr starts at 0.1"),
    ([COSINE, "scheduler.min_lr=0.5", "optimizer.lr=0"], "scheduler.min_lr=0.5",
     "optimizer.lr starts at 0"),
    (["scheduler=warm_up", "scheduler.then.min_lr=1.0"], "scheduler.then.min_lr=1.0",
     "optimizer.lr starts at 0.001"),
    (["steps=5"], "steps=5", "cannot be given beside epochs=1. Hint: epochs=null"),
    (["early_stopping=3"], "early_stopping=3", "Hint: dataset.validation_fraction=0.1"),
    (["early_stopping=3", "dataset.validation_fraction=0.2", f"later_phases=[{PHASE}]"],
     "early_stopping=3", "Hint: early_stopping=null, or later_p"),
    (["diagnose=probe"], "diagnose=probe", "Hint: dataset.validation_fraction=0.1"),
    (["diagnose=probe", "dataset=regression_rbf", "dataset.validation_fraction=0.2"],
     "diagnose=probe", "regression has no classes. Hint: diagnose=null"),
    (["epochs=null"], "epochs=null", "Hint: epochs=10, or steps=1000"),
    (["epochs=null", "steps=[1,2]", f"later_phases=[{PHASE}]"], "steps=[1, 2]",
     "Hint: steps=1, or later_p"),
    (["epochs=[1,2]", f"later_phases=[{PHASE}]"], "epochs=[1, 2]", "Hint: epochs=1, or later_p"),
    (["dataset.pixels.per_picture=true", "dataset.pixels.mean=[0.5]"],
     "dataset.pixels.per_picture=True", "Hint: mean=[0.0] and std=[1.0]"),
    (["dataset.validation_fraction=0.00001"], "dataset.validation_fraction=1e-05",
     "Hint: dataset.validation_fraction=0.008"),
    (["model.batch_norm=true", "batch_size=1"], "batch_size=1", "Hint: batch_size=6, or a model"),
    (["strategy=rehearsal", "strategy.policy=herding", "strategy.fill=step"],
     "strategy.policy=herding", "Hint: fill=task or policy=reservoir"),
    (["strategy=rehearsal", "strategy.loss=appended", "strategy.fill=step"],
     "strategy.loss=appended", "Hint: fill=task or loss=concat"),
]  # fmt: skip
SIZES = [  # 1e9 of anything, refused before it is made
    (["strategy=rehearsal", "strategy.replay_batch_size=2147483647"],
     "strategy=Rehearsal(buffer_size=200, replay_batch_size=2147483647, iterations=1)",
     "would need 1,237 GB of memory"),
    (["strategy=rehearsal", "strategy.buffer_size=2147483647"],
     "strategy=Rehearsal(buffer_size=2147483647, replay_batch_size=32, iterations=1)",
     "would need 189 GB of memory"),
    (["dataset=regression_rbf", "dataset.samples=2147483647"],
     "dataset.samples=2147483647", "would need 412 GB of memory"),
    (["model.widths=[2147483647]"], "model=mlp(widths=[2147483647])",
     "would need 2,577 GB of memory"),
    (["-m", "seed=range(0,1000000000)"], "seed=range(0,1000000000)", FEW),
    (["-m", "seed=range(0,1000000000)", "plan=true"], "seed=range(0,1000000000)", FEW),
    (["-m", "seed=shuffle(range(0,1000000000))"], "seed=shuffle(range(0,1000000000))", FEW),
    (["-m", "optimizer.lr=range(0,1,1e-9)"], "optimizer.lr=range(0,1,1e-9)", FEW),
    (["-m", "seed=range(0,1e300)"], "seed=range(0,1e300)", "would be 1e+300 jobs"),
    (["-m", "seed=range(0,50000)", "epochs=1,2,3"], "seed=range(0,50000)", "150,000 jobs"),
]  # fmt: skip


def all_of(*tables):
    rows = [row for table in tables for row in table]
    return pytest.mark.parametrize(
        ("arguments", "setting", "words"), rows, ids=[" ".join(a)[:50] for a, _, _ in rows]
    )


def refused(cl_train_here, arguments, setting: str, words: str) -> None:
    flags = [argument for argument in arguments if argument.startswith("-")]
    given = {argument.partition("=")[0] for argument in arguments}
    tiny = [t for t in TINY if t.partition("=")[0] not in given]
    rest = [argument for argument in arguments if argument not in flags]
    line = only_line(cl_train_here(*flags, *tiny, *rest), 2)
    check_problem(line, [*tiny, *rest], setting, words)


@all_of(OF_HYDRA, OF_ONE, TOGETHER)
def test_a_bad_setting(arguments, setting, words, cl_train_here, tmp_path: Path) -> None:
    refused(cl_train_here, arguments, setting, words)
    assert list(tmp_path.iterdir()) == []


@all_of(SIZES)
def test_a_size_that_cannot_be(arguments, setting, words, cl_train_here, tmp_path: Path) -> None:
    """Refused in less time and memory than making a thousandth of it takes."""
    began, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(cl_train_here, arguments, setting, words)
    assert list(tmp_path.iterdir()) == []
    assert time.process_time() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held < 200_000  # kB


def test_a_regression_without_training_samples(cl_train_here, tmp_path: Path) -> None:
    """An error of the data, so exit code 4, not a loss that is NaN."""
    arguments = ["dataset=regression_rbf", "dataset.validation_fraction=0.999"]
    line = only_line(cl_train_here(*TINY, *arguments), 4)
    assert line == "data error: task 1 (x from -4 to -0.5) has no training sample"
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_that_changes_no_weight_is_told(cl_train_here) -> None:
    done = cl_train_here(*TINY, "dataset.tasks=2", "optimizer.lr=1e-30")
    assert done.returncode == 0
    assert done.stderr.count("no weight changed during the whole of task") == 2


@pytest.mark.parametrize(
    ("words", "setting", "allowed"),
    [
        (["optimizer.lr=interval(0.1,0.2)", "model=null"], "model=null", OPTION),
        (["optimizer.lr=interval(0.1,0.2)", "strategy=5"], "strategy=5", OPTION),
        (["optimizer.lr=range(0,0)"], "optimizer.lr=range(0,0)", "has no values"),
        (
            ["optimizer.lr=range(0,1,1e-9)"],
            "optimizer.lr=range(0,1,1e-9)",
            "1,000,000,000 values to try, at most 1,000 are possible. Hint: interval(a,b)",
        ),
        (["model.widths=range(0,1000000000)"], "model.widths=0", "must be a list"),
        (["epochs=range(1," + TEN_THOUSAND + ")"], "epochs=range(1,11", "too many digits"),
    ],
    ids=["null", "number", "empty", "many", "range", "digits"],
)
def test_a_bad_search(words, setting, allowed, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cl-search", *words])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(SystemExit) as stop:
        command.main()
    (line,) = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2
    check_problem(line, words, setting, allowed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "overrides",
    [
        ["epochs=[1,1,1,1,1]", "optimizer.lr=[.1,.1,.1,.1,.1]"],
        ["epochs=[1]", f"later_phases=[{PHASE}]"],
        [COSINE, "scheduler.min_lr=0.001"],
        ["dataset.pixels.per_picture=true"],
        ["threads=1024"],
    ],
)
def test_what_lies_just_inside_is_taken(overrides: list[str]) -> None:
    composed(*overrides)


def test_the_hinted_validation_fraction_is_taken() -> None:
    dataset = composed("dataset.validation_fraction=0.008").dataset
    stream = dataset.load(seed=0, scope="seen", device="cpu")
    assert all(len(task.validation) > 0 for task in stream.tasks)
    with pytest.raises(ConfigError):
        composed("dataset.validation_fraction=0.002").dataset.load(
            seed=0, scope="seen", device="cpu"
        )


def test_every_hinted_batch_size_is_taken() -> None:
    """Compared with slices of a list, for all sizes of two tasks up to 24 and all batch sizes."""

    def one_is_left(samples: int, batch: int) -> bool:
        whole = list(range(samples))
        return any(len(whole[i : i + batch]) == 1 for i in range(0, samples, batch))

    def complaint(sizes: tuple[int, int], batch: int) -> str | None:
        strategy = nn.BatchNorm1d(2)
        strategy.training_size = lambda stream, task: task
        strategy.turns = lambda task: 1
        try:
            checks.check_batches(strategy, SimpleNamespace(tasks=sizes), batch)
        except ConfigError as error:
            return str(error)
        return None

    offered = 0
    for sizes in ((a, b) for a in range(1, 25) for b in range(a, 25)):
        bad = {batch: any(one_is_left(n, batch) for n in sizes) for batch in range(1, 27)}
        for batch, is_bad in bad.items():
            text = complaint(sizes, batch)
            assert (text is not None) == is_bad, (sizes, batch, text)
            listed = re.search(r"Hint: batch_size=(\d+)(?: or (\d+))?", text or "")
            for other in map(int, filter(None, listed.groups() if listed else ())):
                offered += 1
                assert not bad[other], (sizes, batch, text)
                between = range(min(batch, other) + 1, max(batch, other))
                assert all(bad[nearer] for nearer in between), "not the nearest"
            if is_bad and not listed:
                assert all(bad[b] for b in bad if b > 1)
    assert offered > 1000
