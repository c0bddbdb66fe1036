"""Search: what is searched, by which numbers it is judged; no trial is lost or repeated."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
import yaml
from messages import is_about, only_line
from planted_runs import outcome
from processes import until

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError
from cl_runner.run_folder.files import locked
from cl_runner.run_folder.outcome import Results
from cl_runner.run_folder.read import status as read_status
from cl_runner.searches import command, objective

optuna = pytest.importorskip("optuna")
from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial  # noqa: E402

from cl_runner.searches import space  # noqa: E402
from cl_runner.searches import study as studies  # noqa: E402
from cl_runner.searches import table as tables  # noqa: E402
from cl_runner.searches.points import all_checked, checked  # noqa: E402

ROOT = Path(__file__).parents[2]
TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.validation_fraction=0.2")
LR = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


@pytest.fixture
def cl_search(tmp_path, monkeypatch, capfd) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`cl-search` as a user types it, in an empty folder and inside this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["cl-search", *arguments])
        code = 0
        try:
            command.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return subprocess.CompletedProcess(sys.argv, code, *capfd.readouterr())

    return call


class InTurn(optuna.samplers.BaseSampler):
    """Takes the values of a list one after another."""

    def __init__(self, seed: int | None = None) -> None:
        pass

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, name, distribution):
        return distribution.choices[trial.number % len(distribution.choices)]


class EachTwice(InTurn):
    """Takes each value of a list twice, so that two trials with the same run side by side."""

    def sample_independent(self, study, trial, name, distribution):
        return distribution.choices[trial.number // 2 % len(distribution.choices)]


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{folder / 'study.db'}"
    return optuna.load_study(study_name="search", storage=storage).trials


def the_folder(root: Path) -> Path:
    (folder,) = (root / "outputs" / "searches").iterdir()
    return folder


# What is searched


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("interval(1,5)", FloatDistribution(1.0, 5.0)),
        ("tag(log,interval(1,1e5))", FloatDistribution(1.0, 1e5, log=True)),
        ("int(interval(1,5))", IntDistribution(1, 5)),
        ("tag(log,int(interval(1,100)))", IntDistribution(1, 100, log=True)),
        ("int(tag(log,interval(1,100)))", IntDistribution(1, 100, log=True)),
        ("range(1,5)", IntDistribution(1, 4)),
        ("range(10,0,-4)", IntDistribution(2, 10, step=4)),
        ("range(0.25,1,0.25)", CategoricalDistribution(["0.25", "0.5", "0.75"])),
        ("1e-4,1e-3", CategoricalDistribution(["0.0001", "0.001"])),
        ("null,2", CategoricalDistribution(["2", "null"])),
        ("shuffle(a,b)", CategoricalDistribution(["a", "b"])),
        ("choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_hydras_words_are_distributions(typed: str, expected) -> None:
    found = space.read(["seed=3", f"some.thing={typed}"])
    assert found.searched == {"some.thing": expected} and found.fixed == ["seed=3"]


def test_a_point_is_a_command_line() -> None:
    found = space.read(["seed=3", "a=interval(0,1)", "+b=x,y", "c=range(1,9)", "d='1,2'"])
    words = found.point({"a": 0.1 + 0.2, "+b": "y", "c": 4})
    assert words == ["seed=3", "d='1,2'", "a=0.30000000000000004", "+b=y", "c=4"]


BAD = {
    "optimizer.lr=0.1": "there is nothing to search",
    "optimizer.lr=interval(1,0.1)": "an interval must go from a smaller to a larger number",
    "optimizer.lr=interval(0.1,0.1)": "an interval must go from a smaller to a larger number",
    "optimizer.lr=interval(0.1,inf)": "an interval must go from a smaller to a larger number",
    "optimizer.lr=interval(0.1)": "cannot be understood",
    "optimizer.lr=tag(log,interval(0,1))": "a log scale must start above 0",
    "optimizer.lr=tag(slow,interval(1,2))": "the only tag is log",
    "optimizer.lr=tag(log,choice(1,2))": "only an interval can have a scale",
    "epochs=range(5,1)": "has no values",
    "strategy=glob(*)": "list the options",
    "seed=0,1": "one seed for all runs",
    "seed=range(0,5)": "one seed for all runs",
    "output_root=a,b": "does not change results",
    f"{LR} optimizer.lr=0.1": "gives optimizer.lr twice",
    f"{LR} resume=auto": "to continue a search, run its command again",
    f"{LR} name=mine": "the search's own is --name",
    f"{LR} plan=true": "only applies to a sweep",
    f"{LR} sweep=ewc_weight": "only applies to a sweep",
    f"{LR} hydra/launcher=local --jobs 2": "--jobs=2",
    f"{LR} hydra.sweep.dir=x": "only applies to a sweep",
    f"{LR} hydra/launcher=locla": "did you mean local?",
    f"{LR} strategy=ewc strategy.wieght=1": "did you mean strategy.weight?",
    f"{LR} epochs=0": "config error: epochs=0",
    f"{LR} dataset.validation_fraction=0": "never on test samples",
    "strategy=ewc,lwf strategy.weight=1,10": "strategy.weight",
    "optimizer.lr=interval(-1,1)": "optimizer.lr=-1.0",
    "epochs=interval(1,3)": "must be an integer",
    "dataset.validation_fraction=0.1,0.2": "cannot be compared",
    "dataset=digits,permuted_mnist": "cannot be compared",
    f"{LR} --trials 0": "--trials=0",
    f"{LR} --jobs 0": "--jobs=0",
    f"{LR} --name ../up": "name=../up",
}


@pytest.mark.parametrize(("words", "told"), BAD.items(), ids=BAD)
def test_what_cannot_be_searched_is_one_line_and_nothing_written(
    cl_search, tmp_path: Path, words: str, told: str
) -> None:
    given = words.split()
    keys = {word.partition("=")[0] for word in given}
    done = cl_search(*(word for word in TINY if word.partition("=")[0] not in keys), *given)
    line = only_line(done, 2)
    assert told in line
    is_about(line, [*given, told])
    assert not list(tmp_path.iterdir())


def test_without_optuna_it_says_what_to_install(cl_search, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = cl_search(*TINY, LR)
    assert done.returncode == 2 and "pip install 'optuna>=5,<6' 'sqlalchemy>=2'" in done.stderr


# The numbers that it is judged by


def left(validation: list | None, test: list, measure: str = "accuracy") -> Results:
    return outcome(**{measure: test, f"{measure}_validation": validation})


def test_validation_decides_where_test_data_says_the_opposite() -> None:
    rows = {"a": [[0.9, None], [0.50, 0.70]], "b": [[0.8, None], [0.60, 0.64]]}
    runs = {"a": left(rows["a"], rows["b"]), "b": left(rows["b"], rows["a"])}
    values = {name: objective.value(results) for name, results in runs.items()}
    assert values == {"a": pytest.approx(0.60), "b": pytest.approx(0.62)}
    found = [create_trial(value=value) for value in values.values()]
    assert tables.best(found) is found[1]  # of b, though its test accuracy is the lower one


def test_in_regression_the_smaller_error_is_the_better() -> None:
    small, large = ([[0.1, None], [low, 0.2]] for low in (0.3, 0.4))
    assert objective.value(left(small, large, "mse")) == pytest.approx(-0.25)
    assert objective.value(left(large, small, "mse")) == pytest.approx(-0.30)


def test_without_validation_samples_there_is_no_value() -> None:
    with pytest.raises(ConfigError, match="validation_fraction"):
        objective.value(left(None, [[0.9]]))


def test_the_metrics_of_a_run_under_way_may_be_torn(tmp_path: Path) -> None:
    lines = [
        {"event": "step", "task": 0, "epoch": 0, "step": 1, "loss": 1.0, "terms": {"task": 1.0}},
        {"event": "evaluation", "task": 0, "step": 1, "accuracy": [0.1],
         "accuracy_validation": [0.9]},
        {"event": "evaluation", "task": 1, "step": 2, "accuracy": [0.1, 0.1],
         "accuracy_validation": [0.5, 0.7]},
    ]  # fmt: skip
    text = "\n".join(json.dumps(line) for line in lines)
    file = tmp_path / "metrics.jsonl"
    assert objective.after_each_task(tmp_path) == []
    file.write_text(text[:-5])
    assert objective.after_each_task(tmp_path) == [0.9]
    file.write_text(text + "\n")
    assert objective.after_each_task(tmp_path) == [0.9, pytest.approx(0.6)]


# The study


def a_study(folder: Path, seed: int = 0) -> studies.Study:
    return studies.Study(folder, space.read(["x=interval(0,1)", "k=a,b"]), seed)


def points(study: studies.Study, budget: int) -> list[tuple[float, str]]:
    """Work on all trials up to the budget; the value is a function of the point."""
    found = []
    while (trial := study.next(budget)) is not None:
        x, k = trial.params["x"], trial.params["k"]
        study.note(trial, folder=f"trial_{trial.number}")
        study.complete(trial, [x], x if k == "a" else -x)
        found.append((x, k))
    return found


def test_a_continued_search_goes_on_with_the_points_of_one_that_was_not(tmp_path: Path) -> None:
    for name in ("whole", "parts", "other"):
        (tmp_path / name).mkdir()
    whole = points(a_study(tmp_path / "whole"), 13)  # the first ten are drawn at random
    parts = [p for n in (4, 4, 12, 13) for p in points(a_study(tmp_path / "parts"), n)]
    assert len(whole) == len(set(whole)) == 13 and parts == whole
    other = points(a_study(tmp_path / "other", seed=1), 4)
    assert not {x for x, _ in other} & {x for x, _ in whole}


def test_what_a_dead_search_left_is_the_next_to_be_worked_on(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    points(study, 2)
    left = study.next(9)
    study.report(left, [0.25])
    again = a_study(tmp_path).next(9)
    assert (again.number, again.params) == (left.number, left.params)
    assert len(study.trials()) == 3
    study = a_study(tmp_path)
    assert study.next(3).number == 2 and study.next(3) is None
    study.report(again, [0.25, 0.5])
    assert trials(tmp_path)[2].intermediate_values == {0: 0.25, 1: 0.5}


def test_a_trial_left_before_its_point_was_drawn_gets_the_same_point(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = points(a_study(tmp_path / "whole"), 2)
    a_study(tmp_path / "killed").study.ask()
    assert points(a_study(tmp_path / "killed"), 2) == whole


def test_a_trial_below_the_median_after_the_same_task_is_pruned(tmp_path: Path) -> None:
    """Although its best value, after the first task, is above all others after the second."""
    study = a_study(tmp_path)
    for second in (0.3, 0.4, 0.5, 0.6, 0.7):  # the median is 0.5
        one = study.next(9)
        assert not study.is_to_stop(one, [0.9, second], tasks=3)  # fewer than five to compare
        study.complete(one, [0.9, second, 0.1], 0.1)
    for value, stops in ((0.5, False), (0.49, True)):
        trial = study.next(9)
        assert not study.is_to_stop(trial, [0.9], tasks=3)
        assert study.is_to_stop(trial, [0.9, value], tasks=3) == stops
        assert not study.is_to_stop(trial, [0.9, value, 0.0], tasks=3)  # at its end


def test_a_folder_keeps_its_search(tmp_path: Path) -> None:
    words = ["x=interval(0,1)", "epochs=3"]
    studies.Study(tmp_path, space.read([*words, "tracker=local"]), 0)
    studies.Study(tmp_path, space.read([*reversed(words), "tracker=wandb"]), 0)
    for other in (["x=interval(0,2)", "epochs=3"], ["x=interval(0,1)", "epochs=4"]):
        with pytest.raises(ConfigError, match="another --name"):
            studies.Study(tmp_path, space.read(other), 0)


# Whole searches


def test_a_search_and_the_same_with_a_larger_budget(cl_search, tmp_path: Path) -> None:
    first = cl_search(*TINY, LR, "--trials", "2", "--jobs", "2")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    folder = the_folder(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/*") if file.is_file()}
    again = cl_search(LR, *TINY, "--trials", "2")
    assert again.returncode == 0 and "2 complete" in again.stdout
    assert {f: f.stat().st_mtime_ns for f in folder.glob("*/*") if f.is_file()} == before
    more = cl_search(*TINY, LR, "--trials", "3")
    assert more.returncode == 0 and "3 complete" in more.stdout
    found = trials(folder)
    assert len({trial.params["optimizer.lr"] for trial in found}) == 3
    for trial in found:
        run = folder / trial.user_attrs["folder"]
        results = json.loads((run / "results.json").read_text())
        rows = [[a for a in row if a is not None] for row in results["accuracy_validation"]]
        assert trial.values == [fmean(rows[-1])]
        assert list(trial.intermediate_values.values()) == [fmean(row) for row in rows]
        config = (run / "config.yaml").read_text()
        assert f"lr: {trial.params['optimizer.lr']}" in config and "threads: 1" in config
        assert re.fullmatch(rf"00{trial.number}_digits_[0-9a-f]{{8}}", run.name)
    best = max(found, key=lambda trial: trial.values[0])
    assert f"best: trial {best.number}, {100 * best.values[0]:.1f} %" in more.stdout
    assert f"its folder: {folder / best.user_attrs['folder']}" in more.stdout
    chosen = yaml.safe_load((folder / "best" / "experiment" / "best.yaml").read_text())
    assert chosen["optimizer"]["lr"] == best.params["optimizer.lr"]
    ledger = json.loads((folder / "sweep.json").read_text())
    assert [job["folder"] for job in ledger["jobs"]] == [t.user_attrs["folder"] for t in found]
    other = cl_search(*TINY, LR, "--trials", "3", "--name", folder.name, "seed=1")
    assert other.returncode == 2 and "seed=1" in other.stderr


def test_what_diverges_is_told_and_what_is_complete_is_only_read(
    cl_search, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(optuna.samplers, "TPESampler", EachTwice)
    done = cl_search(*TINY, "optimizer=sgd", "optimizer.lr=0.01,1e18", "--trials", "3",
                     "--jobs", "2", "--name", "mine")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 complete, 1 diverged" in done.stdout and "not finite" in done.stdout
    assert "already complete" in done.stdout
    folder = the_folder(tmp_path)
    first, second, third = trials(folder)
    assert folder.name == "mine"
    assert first.user_attrs["folder"] == second.user_attrs["folder"] != third.user_attrs["folder"]
    assert first.values == second.values
    assert len(list(folder.glob("0*"))) == 2
    assert read_status(folder / first.user_attrs["folder"]).attempt == 1


def test_pruning_stops_the_run(cl_search, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(studies.BelowTheMedian, "prune", lambda *_: True)
    done = cl_search(*TINY[1:], LR, "epochs=80", "--trials", "1")
    assert done.returncode == 1 and "no trial is complete" in done.stderr
    assert "pruned after task 1 of 5" in done.stdout
    (trial,) = trials(the_folder(tmp_path))
    assert trial.state == TrialState.PRUNED and list(trial.intermediate_values) == [0]
    run = the_folder(tmp_path) / trial.user_attrs["folder"]
    assert read_status(run).status == "interrupted"
    assert not (run / "results.json").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(read_status(run).pid, 0)


def test_a_killed_search_is_taken_up_again(cl_search, cl_train_here, tmp_path: Path) -> None:
    words = (*TINY[1:], LR, "epochs=40", "--trials", "1", "--jobs", "1")
    program = [sys.executable, "-m", "cl_runner.searches.command", *words]
    searching = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.DEVNULL)
    until(lambda: list(tmp_path.glob("outputs/searches/*/0*/checkpoint/*")), searching.pid)
    searching.kill()
    assert searching.wait() == -signal.SIGKILL
    folder = the_folder(tmp_path)
    (left,) = trials(folder)
    assert left.state == TrialState.RUNNING
    done = cl_search(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    (trial,) = trials(folder)
    assert trial.state == TrialState.COMPLETE and trial.params == left.params
    run = folder / left.user_attrs["folder"]
    assert read_status(run).attempt == 2
    lr = f"optimizer.lr={trial.params['optimizer.lr']!r}"
    assert cl_train_here(*TINY, lr, "epochs=40", "name=whole").returncode == 0
    whole = tmp_path / "outputs" / "whole" / "metrics.jsonl"
    assert (run / "metrics.jsonl").read_bytes() == whole.read_bytes()


def own_folder(folder: Path) -> str:
    """Options of a user: EWC and a convolutional network under other names."""
    for group, option, name in (("strategy", "ewc", "mine"), ("model", "cnn", "small")):
        place = folder / group / f"{name}.yaml"
        place.parent.mkdir(parents=True)
        place.write_text((CONF / group / f"{option}.yaml").read_text())
    return str(folder)


def test_options_of_the_users_own(cl_search, cl_train_here, tmp_path: Path) -> None:
    """They reach hints, children, a continued search, and the experiment that it leaves."""
    mine = ("--config-dir", own_folder(tmp_path / "own"), "strategy=mine", "--name", "mine")
    weight = "strategy.weight=tag(log,interval(1,1e3))"
    tiny = ("epochs=1", "batch_size=256", "dataset.validation_fraction=0.2", "dataset.tasks=2")
    near = cl_search(*mine, *tiny, "strategy.wieght=interval(1,2)")
    assert near.returncode == 2 and "did you mean strategy.weight?" in near.stderr
    other = cl_search(*mine, *tiny, weight, "model=5")
    assert other.returncode == 2 and "resnet18, small, timm" in other.stderr
    for trials, launcher in (("1", []), ("2", ["hydra/launcher=in_turn"])):
        done = cl_search(*mine, *tiny, weight, "model=small", "--trials", trials, *launcher)
        assert done.returncode == 0 and f"{trials} complete" in done.stdout, done.stderr
    words = shlex.split(done.stdout[done.stdout.index("again: cl-train ") :])[2:]
    assert cl_train_here(*words, "name=again").returncode == 0
    again, run = tmp_path / "outputs" / "again", re.search("its folder: (.*)", done.stdout)
    assert run is not None
    for file in ("metrics.jsonl", "predictions.npz"):
        assert (again / file).read_bytes() == (Path(run[1]) / file).read_bytes()
    none = cl_search("--config-dir", "nowhere", LR, *TINY)
    assert "--config-dir=nowhere: is not a folder" in only_line(none, 2)


def test_two_searches_do_not_share_a_folder(cl_search, tmp_path: Path) -> None:
    with locked(tmp_path / "outputs" / "searches" / "mine"):
        done = cl_search(*TINY, LR, "--name", "mine")
    assert done.returncode == 6 and "in use" in done.stderr
    assert not list(tmp_path.rglob("study.db"))


def test_a_damaged_study_is_named(cl_search, tmp_path: Path) -> None:
    file = tmp_path / "outputs" / "searches" / "mine" / "study.db"
    file.parent.mkdir(parents=True)
    file.write_text("no data base, " * 100)
    done = cl_search(*TINY, LR, "--name", "mine")
    assert done.returncode == 7 and str(file) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "states", "returned"),
    [
        (1, ["FAIL"] * 2, 1),  # unexpected: the others are run
        (2, ["FAIL"], 2),  # settings, and nothing is known: so it would be with all
        (4, ["RUNNING"], 4),  # no data: so it is with all; the trial is not lost
        (-9, ["RUNNING"] * 2, 1),  # killed: neither is this
    ],
)
def test_runs_that_end_without_a_value(
    cl_search, tmp_path: Path, monkeypatch, code: int, states: list[str], returned: int
) -> None:
    def start(words: list[str], printed: Path) -> SimpleNamespace:
        (printed / "stderr").write_text("some line\nsome error: what is wrong\nanother\n")
        return SimpleNamespace(wait=lambda _: code)

    monkeypatch.setattr("cl_runner.jobs.launch.Child", start)
    done = cl_search(*TINY, LR, "--trials", "2", "--jobs", "1")
    assert done.returncode == returned
    assert [trial.state.name for trial in trials(the_folder(tmp_path))] == states
    told = "some error: what is wrong"
    assert told in (done.stdout if code == 1 else done.stderr) or code == -9
    assert "Traceback" not in done.stderr


def test_the_commands_of_the_page_compose() -> None:
    text = (ROOT / "docs" / "search.md").read_text()
    commands = re.findall(r"^cl-search (?:.*\\\n)*.*", text, re.MULTILINE)
    assert len(commands) >= 3
    for line in commands:
        words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
        settings = [word for word in words if re.match(r"[\w.]+=", word)]
        all_checked(space.read(settings), "name")


def test_a_place_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is where the variable says, though the files only have the variable's name."""
    monkeypatch.setenv("PLACE", str(tmp_path))
    point = checked(["output_root=${oc.env:PLACE}", "dataset.validation_fraction=0.1"])
    assert point.output_root == tmp_path and str(tmp_path) not in str(point.config)


INTERRUPTED = """
import sys
from pathlib import Path
from cl_runner.jobs.child import Child
if __name__ == "__main__":
    try:
        Child(["--help"], Path(sys.argv[1])).wait()
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_while_torch_is_imported_prints_nothing(tmp_path: Path) -> None:
    """The server from which children are forked gets it, too."""
    (tmp_path / "script.py").write_text(INTERRUPTED)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    below = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def imports_torch() -> bool:  # multiprocessing's tracker does not, the server does
        return any(
            "libtorch" in Path(f"/proc/{child}/maps").read_text()
            for child in below.read_text().split()
        )

    until(imports_torch, process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""


def test_a_strategy_of_ones_own_is_searched(cl_search, tmp_path: Path) -> None:
    """Its option is in a folder of the user's; a mistake in its settings is told with its keys."""
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "own.yaml").write_text(
        "_target_: own_method.Own\nfactor: 1.0"
    )
    (tmp_path / "own_method.py").write_text(
        "from cl_runner.config.setting_types import Positive\n"
        "from cl_runner.strategies.finetune import Finetune\n\n\n"
        "class Own(Finetune):\n"
        "    def __init__(self, network, *, factor: Positive) -> None:\n"
        "        super().__init__(network)\n"
    )
    words = (*TINY, "strategy=own", "--config-dir", "conf", "trusted_targets=[own_method]")
    words = (*words, "dataset.root=my data", "first_task_cache=shared")
    done = cl_search(*words, "strategy.factor=1.0,2.0", "--trials", "2", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/searches/*/0*/results.json"))) == 2
    again = shlex.split(done.stdout.splitlines()[-1])
    assert again[:2] == ["again:", "cl-train"]
    assert again[5:] == ["trusted_targets=[own_method]", "dataset.root=my data"]
    with (tmp_path / "own_method.py").open("a") as file:
        file.write("# edited")
    again = cl_search(*words, "strategy.factor=1.0,2.0", "--trials", "2", "--jobs", "1")
    assert "the code of own_method has changed since 2 of these runs; they are kept" in again.stderr
    wrong = cl_search(*words, "strategy.factor=-1.0,2.0")
    assert wrong.returncode == 2 and "strategy.factor=-1.0" in wrong.stderr
    nowhere = cl_search(*TINY, "--config-dir", "nowhere", "optimizer.lr=0.1,0.2")
    assert nowhere.returncode == 2 and "--config-dir=nowhere: is not a folder" in nowhere.stderr
