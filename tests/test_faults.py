"""What goes wrong before and while a run trains: one clear line, an exit code, nothing left.

Each test is a row of docs/faults.md; `faulty.py` holds the planted faults.
"""

from __future__ import annotations

import importlib
import itertools
import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from messages import check_problem, only_line, problem_of
from optimizer_steps import optimizer_steps
from processes import exit_code, fork, imported_again, run_and_exit
from running import TINY, final_state, run_here

from cl_runner.training.checks import rounded_down

TRUST = ("trusted_targets=[faulty]", "dataset.tasks=5")


SETTINGS = [
    # arguments, key and value as typed, what is allowed or the remedy
    (["strategy=ewcc"], "strategy=ewcc", "did you mean ewc?"),
    (["strategy=er"], "strategy=er", "did you mean rehearsal?"),
    (["strategy=replay"], "strategy=replay", "did you mean rehearsal?"),
    (["strategy=naive"], "strategy=naive", "did you mean finetune?"),
    (["strategy=sgd"], "strategy=sgd", "did you mean finetune?"),
    (["optimizer.lrr=1"], "optimizer.lrr=1", "did you mean optimizer.lr?"),
    (["++optimizer.lrr=1"], "optimizer.lrr=1", "did you mean lr?"),
    (["~optimizer.lr"], "optimizer.lr", "is missing"),
    (["optimizer.lr=abc"], "optimizer.lr=abc", "a number ≥ 0"),
    (["optimizer.lr=nan"], "optimizer.lr=nan", "a number ≥ 0"),
    (["optimizer.lr=inf"], "optimizer.lr=inf", "a number ≥ 0"),
    (["optimizer.lr=-0.1"], "optimizer.lr=-0.1", "a number ≥ 0"),
    (["epochs=0"], "epochs=0", "an integer ≥ 1"),
    (["epochs=-1"], "epochs=-1", "an integer ≥ 1"),
    (["epochs=99999999999"], "epochs=99999999999", "< 2³¹"),
    (["batch_size=0"], "batch_size=0", "an integer ≥ 1"),
    (["batch_size=-3"], "batch_size=-3", "an integer ≥ 1"),
    (["batch_size=2.5"], "batch_size=2.5", "an integer ≥ 1"),
    (["dataset.class_order=[0,0,1,2,3,4,5,6,7,8]"], "dataset.class_order=",
     "class 0 is listed more than once"),
    (["dataset.class_order=[0,1,2,3,4,5,6,7,8]"], "dataset.class_order=", "lists 9 classes"),
    (["dataset.class_order=[0,1,2,3,4,5,6,7,8,99]"], "dataset.class_order=", "99 is outside 0 … 9"),
    (["dataset.class_order_seed=1"], "dataset.class_order_seed=1", "Hint: class_order=random or"),
    (["dataset.class_order_seed=-1"], "dataset.class_order_seed=-1", "an integer ≥ 0"),
    (["dataset.samples_per_task=9999"], "dataset.samples_per_task=9999",
     "Hint: dataset.samples_per_task=269"),
    (["dataset.tasks=0"], "dataset.tasks=0", "an integer ≥ 1"),
    (["dataset.tasks=11"], "dataset.tasks=11", "with 2 classes per task: digits has 10 classes"),
    (["dataset.tasks=3", "dataset.classes_per_task=4"], "dataset.tasks=3", "digits has 10 classes"),
    (["dataset.tasks=2147483647"], "dataset.tasks=2147483647", "≤ 10000"),
    (["strategy=rehearsal", "strategy.buffer_size=0"], "strategy.buffer_size=0",
     "strategy=finetune"),
    (["strategy=rehearsal", "strategy.buffer_size=-1"], "strategy.buffer_size=-1", "≥ 1"),
    (["strategy=rehearsal", "strategy.buffer_size=9"], "strategy.buffer_size=9",
     "Hint: buffer_size=10; policy=reservoir"),
    (["strategy=lwf", "strategy.T=0"], "strategy.T=0", "a number ≥ 1e-30"),
    (["strategy=lwf", "strategy.T=-1"], "strategy.T=-1", "a number ≥ 1e-30 and ≤ 1e+18"),
    (["strategy=lwf", "strategy.T=nan"], "strategy.T=nan", "a number ≥ 1e-30"),
    (["strategy=kd", "strategy.alpha=-0.1"], "strategy.alpha=-0.1", "a number ≥ 0"),
    (["strategy=kd", "strategy.alpha=1.5"], "strategy.alpha=1.5", "with mixing=convex"),
    (["strategy=ewc", "strategy.weight=-1"], "strategy.weight=-1", "a number ≥ 0"),
    (["device=cuda:7"], "device=cuda:7", "Hint: device=cpu"),
    (["seed=-1"], "seed=-1", "an integer ≥ 0"),
    (["seed=4294967296"], "seed=4294967296", "< 4294967296"),
    (["later_phases=[]"], "later_phases=[]", "a list, each a node with a _target_"),
    (["later_phases=[{epochs:1}]"], "later_phases[0]={'epochs': 1}",
     "a node with a _target_ that builds a Phase"),
    (["later_phases=[{_target_:cl_runner.strategies.finetune.Finetune}]"],
     "later_phases[0]=cl_runner.strategies.finetune.Finetune",
     "Phase (cl_runner.training.settings)"),
    (["model.inserted_layer=identity", "model.activation=tanh"], "model.inserted_layer=identity",
     "does not work after tanh"),
    (["strategy=gdumb", "model.freeze_statistics=true"], "strategy._target_=GDumb",
     "model.freeze_statistics=false"),
    (["strategy=joint", "strategy.start=scratch", "model.freeze_statistics=true"],
     "strategy.start=scratch", "model.freeze_statistics=false"),
    (["name=../../x"], "name=../../x", "of 1 to 80 letters"),
    (["name=/abs"], "name=/abs", "of 1 to 80 letters"),
    (["name=a/b"], "name=a/b", "of 1 to 80 letters"),
    (["name=.hidden"], "name=.hidden", "not starting with '.'"),
    (["name=" + "x" * 300], "name=xxx", "of 1 to 80 letters"),
    (["name=\N{SAUROPOD}"], "command line=name=\N{SAUROPOD}", "cannot be understood"),
    (["name='\N{SAUROPOD}'"], "name=\N{SAUROPOD}", "of 1 to 80 letters"),
    (["name='a\x00b'"], "name=a\\x00b", "of 1 to 80 letters"),
    (["name='<script>alert(1)</script>'"], "name=<script>", "of 1 to 80 letters"),
    (["output_root=" + "x" * 300], "output_root=", "cannot be a folder: "),
    (["output_root='a\x00b'"], "output_root=/…", "cannot be a folder: "),
    (["strategy._target_=os.system"], "strategy._target_=os.system",
     "only targets of cl_runner are built"),
    (["strategy._target_=torch.hub.load"], "strategy._target_=torch.hub.load", "only targets of"),
    (["model._target_=pathlib.Path.unlink"], "model._target_=pathlib.Path.unlink",
     "only targets of"),
    (["model._target_=cl_runner.train.hydra.utils.call"], "model._target_=", "cannot be imported"),
    (["model._target_=cl_runner.data.pictures.ThreadPoolExecutor"], "model._target_=",
     "belongs to concurrent.futures.thread, which is not trusted"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "setting", "words"), SETTINGS,
                         ids=[ascii(" ".join(a))[1:60] for a, _, _ in SETTINGS])  # fmt: skip
def test_a_setting_that_cannot_be(arguments, setting, words, cl_train_here, tmp_path: Path) -> None:
    """Exit code 2; key, value and what is allowed on one line; no folder."""
    given = {argument.partition("=")[0].lstrip("~+") for argument in arguments}
    tiny = [t for t in TINY if t.partition("=")[0] not in given]
    line = only_line(cl_train_here(*tiny, *arguments), 2)
    check_problem(line, arguments, setting, words)
    assert list(tmp_path.iterdir()) == []


DATA = [
    ("a task without samples", "train", ["task 1 (classes 0, 1)", "training sample", "class 0, 1"]),
    ("a task without samples", "test", ["task 1 (classes 0, 1)", "test sample", "class 0, 1"]),
    ("a class without samples", "train", ["task 4 (classes 6, 7)", "training sample", "class 7"]),
    ("a class without samples", "test", ["task 4 (classes 6, 7)", "test sample", "class 7"]),
    ("label 10", "train", ["training split", "label 10 of sample 5 is outside 0 … 9"]),
    ("label -1", "test", ["test split", "label -1 of sample 5 is outside 0 … 9"]),
    ("label -100", "train", ["label -100 of sample 5 is outside 0 … 9"]),
    ("label NaN", "train", ["labels are torch.float32, expected torch.int64"]),
    ("label 2.5", "train", ["labels are torch.float32, expected torch.int64"]),
    ("a label too few", "train", ["1438 pictures but 1437 labels"]),
    ("a label too few", "test", ["359 pictures but 358 labels"]),
    ("a pixel NaN", "train", ["training split", "picture 9 has a pixel that is not finite"]),
]


@pytest.mark.parametrize(("fault", "split", "words"), DATA, ids=[f"{d[0]}, {d[1]}" for d in DATA])
def test_data_that_cannot_be(fault, split, words, cl_train_here, tmp_path: Path) -> None:
    """Exit code 4 before training, with the split and the sample or class; no folder."""
    source = ["dataset.source._target_=faulty.Source", f"+dataset.source.fault={fault}",
              f"+dataset.source.split={split}"]  # fmt: skip
    line = only_line(cl_train_here(*TINY, *TRUST, *source), 4)
    assert line.startswith("data error: ") and all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("root", ["nowhere", "/no/where"])
@pytest.mark.parametrize("dataset", ["split_mnist", "image_folder", "arrays"])
def test_a_folder_of_data_that_is_none_is_named_with_its_key(
    root: str, dataset: str, cl_train_here
) -> None:
    line = only_line(cl_train_here(f"dataset={dataset}", f"dataset.root={root}", "name=x"), 4)
    hint = "dataset.root=FOLDER is the folder of your data"
    if dataset == "split_mnist":
        hint = f"{root} is not a folder; dataset.root=FOLDER says where the data is"
    assert root in line and line.partition(". Hint: ")[2] == hint, line


@pytest.mark.parametrize(
    ("target", "shown", "words"),
    [
        ("eleven_outputs", "Network", ["11 outputs", "10 classes"]),
        ("colour_only", "Network", ["[1, 8, 8]"]),
        ("no_network", "faulty.no_network", ["Network (cl_runner.models.network)"]),
    ],
)
def test_a_network_that_does_not_fit(target, shown, words, cl_train_here, tmp_path: Path) -> None:
    """Exit code 2, with both numbers or shapes; no folder."""
    tiny = [t for t in TINY if "widths" not in t]
    done = cl_train_here(*tiny, *TRUST, "~model", f"+model._target_=faulty.{target}")
    found = problem_of(only_line(done, 2))
    assert (found.key, found.value) == ("model", shown)
    assert all(word in found.allowed for word in words), found
    assert list(tmp_path.iterdir()) == []


def test_a_last_batch_of_one_meets_batch_norm(cl_train_here, tmp_path: Path) -> None:
    """Exit code 2 with the remedies; without BatchNorm, or with another size, it runs."""
    cl_train_here(*TINY)
    sizes = json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]
    common = [*TINY[:1], *TINY[2:4], "name=bn", f"batch_size={sizes[1]['train'] - 1}"]
    line = only_line(cl_train_here(*common, "model.batch_norm=true"), 2)
    found = problem_of(line)
    assert (found.key, found.value) == ("batch_size", common[-1].partition("=")[2])
    assert "last batch of one" in found.allowed
    assert re.match(r"batch_size=\d+ or \d+, or ", found.hint)
    assert not (tmp_path / "bn").exists()
    assert cl_train_here(*common, "model.batch_norm=false").returncode == 0


def test_a_batch_larger_than_a_task_is_one_batch(tmp_path: Path) -> None:
    """There are never zero batches: nothing is dropped."""
    assert run_here(tmp_path / "run", *TINY[:1], "batch_size=99999")["cost"]["steps"] == 5


def test_a_learning_rate_of_zero(cl_train_here, tmp_path: Path) -> None:
    """Runs, with one warning per task; the weights do not change, bit for bit."""
    arguments = (*TINY, "optimizer=sgd", "optimizer.lr=0", "model.new_rows=default")
    done = cl_train_here(*arguments)
    assert done.returncode == 0
    assert done.stderr.count("no weight changed during the whole of task") == 5
    longer = cl_train_here(*arguments[:-1], "model.new_rows=default", "name=longer", "epochs=3")
    assert longer.returncode == 0
    one, three = (final_state(tmp_path / name)["strategy"] for name in ("run", "longer"))
    assert all(torch.equal(one[key], three[key]) for key in one)


def test_a_penalty_of_weight_zero_is_fine_tuning(tmp_path: Path) -> None:
    """Runs, bit-equal to fine-tuning; the alarm says that the penalty is inert."""
    ewc = run_here(tmp_path / "ewc", *TINY[:3], "strategy=ewc", "strategy.weight=0")
    plain = run_here(tmp_path / "plain", *TINY[:3])
    one, other = (np.load(tmp_path / n / "predictions.npz") for n in ("ewc", "plain"))
    assert all(np.array_equal(one[key], other[key]) for key in one.files)
    weights = [final_state(tmp_path / n)["strategy"] for n in ("ewc", "plain")]
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
    assert len(ewc["alarms"]) == 4 and plain["alarms"] == []


def test_a_penalty_past_the_stability_limit(cl_train_here, tmp_path: Path) -> None:
    """Exit code 3 after the first task, with the largest stable weight; that one runs."""
    sgd = ["optimizer=sgd", "optimizer.lr=0.01", "optimizer.momentum=0.9", "strategy=ewc"]
    line = last_line(cl_train_here(*TINY, *sgd, "strategy.weight=1e12"), 3)
    assert "before task 2" in line and "exceeds 3.8" in line
    largest = re.search(r"largest stable strategy.weight is ([\d.e+]+)", line)
    assert largest
    assert (tmp_path / "run" / "checkpoint").exists()
    for factor, code in ((1, 0), (1.01, 3)):
        weight = float(largest[1]) * factor
        names = [*TINY[:4], f"name=w{factor}", f"strategy.weight={weight}", "dataset.tasks=2"]
        assert cl_train_here(*names, *sgd).returncode == code


def last_line(done, code: int) -> str:
    """The last line printed; the lines before it report learned tasks."""
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    *before, last = done.stderr.strip().splitlines()
    assert all(line.startswith("task ") for line in before)
    return last


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("loss NaN", 3, "the loss is not finite at task 2, epoch 1, step 8 (batch 3 of the epoch)"),
        ("loss inf", 3, "the loss is not finite at task 2, epoch 1, step 8 (batch 3 of the epoch)"),
        ("gradient inf", 3, "a gradient is not finite at task 2, epoch 1, step 8 (batch 3"),
        ("output NaN", 3, "the output for sample 0 of task 1 is not finite"),
        ("no memory", 1, "out of memory: "),
    ],
)
def test_training_that_cannot_go_on(fault, code, words, cl_train_here, tmp_path: Path) -> None:
    """Stopped before the weights change, with the place. The last good checkpoint stays, and no
    accuracy is written for a model that outputs NaN."""
    planted = ["strategy._target_=faulty.Failing", f"+strategy.fault={fault}"]
    with optimizer_steps() as steps:
        done = cl_train_here(*TINY, *TRUST, *planted, "checkpoint.every_n_steps=1")
    assert len(steps) == (10 if fault == "output NaN" else 7)
    line = last_line(done, code)
    assert words in line
    folder = tmp_path / "run"
    status = json.loads((folder / "status.json").read_text())
    assert status["status"] == "failed" and status["error"] == line
    assert not (folder / "results.json").exists()
    newest = max((folder / "checkpoint").glob("*.ckpt"))
    assert newest.name == (
        "task-00001-step-0000000010.ckpt"
        if fault == "output NaN"
        else "task-00001-step-0000000007.ckpt"
    )
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["task"] for x in lines if x["event"] == "evaluation"] == [0]


@given(st.floats(1e-30, 1e30))
def test_the_largest_stable_weight_is_never_rounded_up(number: float) -> None:
    assert 0.999 * number <= float(f"{rounded_down(number):g}") <= number * (1 + 1e-12)


def test_a_clock_that_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durations use the monotonic clock: none is negative."""
    backwards = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    results = run_here(tmp_path / "run", *TINY[:3], "checkpoint.every_n_minutes=0.0001")
    assert 0 < results["cost"]["seconds"] < 60


def test_checks_hold_where_python_drops_asserts(tmp_path: Path) -> None:
    """As with `python -O`: a wrong label, a wrong alpha, and a loss that is NaN."""
    planted = [
        [
            *TRUST,
            "dataset.source._target_=faulty.Source",
            "+dataset.source.fault=label 10",
            "+dataset.source.split=train",
        ],
        ["strategy=kd", "strategy.alpha=1.5"],
        [*TRUST, "strategy._target_=faulty.Failing", "+strategy.fault=loss NaN"],
    ]
    (tmp_path / "asserting.py").write_text("assert False")

    def without_asserts() -> None:
        imported_again(tmp_path, optimize=1)
        importlib.import_module("asserting")
        main = importlib.import_module("cl_runner.train").main
        for arguments in planted:
            sys.argv = ["cl-train", *TINY, "threads=1", *arguments]
            try:
                main()
            except SystemExit as stop:
                print(f"code {stop.code}")

    child = fork()
    if child == 0:
        run_and_exit(tmp_path, [], without_asserts)
    assert exit_code(child) == 0, (tmp_path / "stderr").read_text()
    assert re.findall("^code .*", (tmp_path / "stdout").read_text(), re.M) == [
        "code 4", "code 2", "code 3"]  # fmt: skip
