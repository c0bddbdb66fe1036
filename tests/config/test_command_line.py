"""`cl-train` as a user types it: exit codes, messages of one line, no folder if it cannot run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from messages import is_about, only_line
from running import TINY

from cl_runner.report.compare.runs import read


def test_a_run_prints_its_matrix_and_its_folder(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here(*TINY, "strategy=lwf")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    title, head, *rows = done.stdout.splitlines()
    assert title == "lwf on digits, seed 0: accuracy in %"
    assert head.split() == ["task", "1", "2", "3", "4", "5"]
    for t, row in enumerate(rows[:5]):
        shares = ["–" if a is None else f"{100 * a:.1f}" for a in results["accuracy"][t]]
        assert row.split() == ["after", str(t + 1), *shares]
    assert f"average accuracy {100 * results['average_accuracy']:.1f}  " in rows[5]
    assert done.stdout.rstrip().endswith(f"run folder: {tmp_path / 'run'}")
    lines = done.stderr.strip().splitlines()  # no terminal: one line per task, no bar
    assert len(lines) == 5 and lines[0].startswith("task 1/5 (classes 0, 1): accuracy ")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["foo"], 2, "cannot be understood"),
        (["strategy=lwf,ewc"], 2, "lwf,ewc: several values need a sweep. Hint: cl-train -m"),
        (["strategy.wait=1", "strategy=ewc"], 2, "did you mean strategy.weight?"),
        (["experiment=nothing"], 2, "experiment=nothing: no such option"),
        (["reference=nowhere"], 2, "reference=nowhere: is not the folder of a finished run"),
        (["dataset=split_mnist", "dataset.root=none"], 4, "run: cl-data prepare mnist --root none"),
        (["dataset=gtsrb", "model=cnn_leaky", "dataset.root=none"], 4, "cl-data prepare gtsrb"),
        (["optimizer=sgd", "optimizer.lr=1e18"], 3, "diverged: the loss is not finite at task 1"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    arguments, code, words, cl_train_here, tmp_path
) -> None:
    tiny = [
        t for t in TINY if "widths" not in t or not any(a.startswith("model=") for a in arguments)
    ]
    done = cl_train_here(*tiny, *arguments)
    line = only_line(done, code)
    assert words in line
    assert code != 2 or is_about(line, arguments)
    assert list(tmp_path.iterdir()) == ([tmp_path / "run"] if code == 3 else [])


def test_help_shows_how_without_importing_torch(tmp_path: Path) -> None:
    """Nor does the list of suites."""
    for command, *words in (
        (
            "cl_runner.train --help",
            "cl-train strategy=ewc",
            "dataset: arrays, avalanche, csv, digits",
            "strategy.alpha=",
            "Examples",
        ),
        ("cl_runner.reproduce.command --list", "agem_permuted_mnist"),
    ):
        module, option = command.split()
        program = (
            f"import sys, {module} as command\nsys.argv[1:] = ['{option}']\n"
            "try: command.main()\nexcept SystemExit as stop: assert not stop.code\n"
            "assert not {'torch', 'scipy', 'wandb'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in words)


def test_shell_completion_is_offered(cl_train_here, monkeypatch) -> None:
    script = cl_train_here("-sc", "install=bash").stdout
    assert "hydra_bash_completion" in script
    monkeypatch.setenv("COMP_LINE", "cl-train strategy=re")
    options = cl_train_here("-sc", "query=bash")
    assert options.returncode == 0
    assert "strategy=rehearsal" in options.stdout


def test_a_sweep_runs_all_jobs_and_says_which_failed(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here(
        "-m", *TINY[:3], "optimizer=sgd", "optimizer.lr=0.01,1e18,-1,0.1", "hydra.sweep.dir=sweep"
    )
    assert done.returncode == 1
    folders = sorted((tmp_path / "sweep").glob("00*"))
    status = [json.loads((folder / "status.json").read_text())["status"] for folder in folders]
    assert status == ["complete", "failed", "failed", "complete"]
    assert "not finite" in done.stdout and "optimizer.lr=-1" in done.stdout
    runs = read([tmp_path / "sweep"])
    assert [run.state for run in runs] == ["complete", "failed", "failed", "complete"]
    assert "not finite" in runs[1].error and "optimizer.lr=-1" in runs[2].error


def test_trusted_targets_are_taken_from_the_command_line_alone(
    cl_train_here, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "sly.yaml").write_text(
        "# @package _global_\ntrusted_targets: [os]\nstrategy: {_target_: os.system}\n"
    )
    done = cl_train_here("--config-dir", str(tmp_path), "experiment=sly")
    assert done.returncode == 2 and "on the command line, never in a file" in done.stderr


def test_a_folder_of_options_that_is_not_there_is_one_line(cl_train_here) -> None:
    """In every command the same one."""
    for words in (("strategy=mine",), ("-m", "seed=0,1"), ("--help", "strategy=mine")):
        line = only_line(cl_train_here("--config-dir", "nowhere", *words), 2)
        assert line == "config error: --config-dir=nowhere: is not a folder."
