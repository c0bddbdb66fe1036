"""A search on launchers: the same points, asked for in batches; pruned, failed and killed runs."""

from __future__ import annotations

import os
import re
import shlex
import signal
from functools import partial
from pathlib import Path

import pytest
from processes import code_of, exit_code, fork, run_and_exit, until

from cl_runner.jobs import engine, launchers
from cl_runner.jobs.in_turn import InTurn
from cl_runner.run_folder.read import status as read_status
from cl_runner.searches import command

optuna = pytest.importorskip("optuna")
from cl_runner.searches import space  # noqa: E402
from cl_runner.searches import study as studies  # noqa: E402
from cl_runner.searches.points import all_checked  # noqa: E402

TINY = ("epochs=1", "batch_size=256", "model.widths=[8]", "dataset.tasks=2",
        "dataset.validation_fraction=0.2")  # fmt: skip
SEARCHED = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "strategy=ewc,finetune")
LOCAL = (
    "hydra/launcher=local",
    "hydra.launcher.n_jobs=2",
    "hydra.launcher.backend=multiprocessing",
)  # whose workers need not import torch again
IN_TURN = "hydra/launcher=in_turn"


def searched(folder: Path, *words: str, code: int = 0) -> str:
    """What `cl-search` prints."""
    ended = code_of(folder, ["cl-search", *words, "--name", "mine"], command.main)
    printed = (folder / "stdout").read_text() + (folder / "stderr").read_text()
    assert ended == code and "Traceback" not in printed, printed
    return printed


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    file = folder / "outputs" / "searches" / "mine" / "study.db"
    return optuna.load_study(study_name="search", storage=f"sqlite:///{file}").trials


def outcomes(folder: Path) -> list[tuple]:
    """The point, values and folder of each trial."""
    return [
        (t.params, t.state, t.values, t.intermediate_values, t.user_attrs) for t in trials(folder)
    ]


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    folder = tmp_path_factory.mktemp("basic")
    searched(folder, *TINY, *SEARCHED, "--trials", "2", "--jobs", "1")
    return outcomes(folder)


@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("joblib", LOCAL),
        ("submitit", ["hydra/launcher=submitit_local"]),
        ("ray", ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]),
    ],
    ids=["local", "submitit_local", "ray"],
)
def test_every_launcher_gives_the_same_points(basic, tmp_path: Path, plugin, launcher) -> None:
    """The first ten are drawn at random, so that the number at a time does not matter either."""
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    searched(tmp_path, *TINY, *SEARCHED, "--trials", "2", *launcher)
    assert outcomes(tmp_path) == basic


def test_a_batch_is_asked_for_before_it_is_told(tmp_path: Path, monkeypatch) -> None:
    """The points are those of a study that is asked three times and then told, again and again;
    also those that are chosen from results, after the first random ones."""
    sampler = partial(optuna.samplers.TPESampler, n_startup_trials=3)  # ten would take long
    monkeypatch.setattr(optuna.samplers, "TPESampler", sampler)
    monkeypatch.setattr(launchers, "places", lambda launcher: 3)
    searched(tmp_path, *TINY, *SEARCHED, "--trials", "7", IN_TURN)
    left = trials(tmp_path)
    (tmp_path / "other").mkdir()
    other = studies.Study(tmp_path / "other", space.read([*TINY, *SEARCHED]), seed=0)
    for start in range(0, 7, 3):
        at_once = left[start : start + 3]
        assert max(t.datetime_start for t in at_once) < min(t.datetime_complete for t in at_once)
        batch = [other.next(7) for _ in at_once]
        for asked, trial in zip(batch, at_once, strict=True):
            assert asked is not None and asked.params == trial.params
            other.complete(asked, list(trial.intermediate_values.values()), trial.values[0])


@pytest.mark.parametrize("launcher", [(IN_TURN,), LOCAL], ids=["in_turn", "local"])
def test_pruning_stops_the_run_and_not_its_worker(tmp_path: Path, monkeypatch, launcher) -> None:
    """The first of two; each takes seconds, the request a fraction of one."""
    if launcher is LOCAL:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.setattr(studies.BelowTheMedian, "prune", lambda _, study, trial: trial.number == 0)
    words = (*TINY[1:3], "dataset.validation_fraction=0.2", "epochs=300")
    printed = searched(tmp_path, *words, SEARCHED[0], "--trials", "2", *launcher)
    states = [trial.state.name for trial in trials(tmp_path)]
    assert states == ["PRUNED", "COMPLETE"], printed
    assert printed.count(": pruned after task ") == 1
    folder = tmp_path / "outputs" / "searches" / "mine"
    run = folder / trials(tmp_path)[0].user_attrs["folder"]
    assert read_status(run).status == "interrupted"
    assert not (folder / ".stop").exists()


def test_equal_points_of_a_batch_are_one_run(tmp_path: Path, monkeypatch) -> None:
    """Also told alike when it is pruned."""
    monkeypatch.setattr(launchers, "places", lambda launcher: 4)
    monkeypatch.setattr(studies.BelowTheMedian, "prune", lambda _, study, trial: True)
    words = ("batch_size=256", "model.widths=[8]", "dataset.validation_fraction=0.2", "epochs=300")
    equal = ("strategy=finetune,ewc", "--trials", "4", IN_TURN)
    printed = searched(tmp_path, *words, *equal, code=1)
    assert printed.count(": pruned after task 1 of 5") == 4, printed
    assert len(list(tmp_path.glob("outputs/searches/mine/0*"))) == 2
    assert all(len(trial.intermediate_values) == 1 for trial in trials(tmp_path))


def test_runs_that_end_without_a_value(tmp_path: Path) -> None:
    """One that diverges is told as such; an error of all runs stops the search, with its code."""
    lr = ("optimizer=sgd", "optimizer.lr=1e18,1e17")
    printed = searched(tmp_path, *TINY, *lr, "--trials", "1", IN_TURN, code=1)
    assert "1 diverged" in printed and "no trial is complete" in printed
    (tmp_path / "other").mkdir()
    data = ("dataset=split_mnist", f"dataset.root={tmp_path}/nowhere")
    words = ("epochs=1", "dataset.validation_fraction=0.2", *data, SEARCHED[0])
    searched(tmp_path / "other", *words, "--trials", "2", IN_TURN, code=4)
    assert [trial.state.name for trial in trials(tmp_path / "other")] == ["RUNNING"]


def test_a_run_that_the_launcher_does_not_start_is_not_called_interrupted(
    tmp_path: Path, monkeypatch
) -> None:
    """A request to stop that a killed search has left is gone before the runs begin."""
    monkeypatch.setattr(InTurn, "launch", lambda *_, **__: [])
    stale = tmp_path / "outputs" / "searches" / "mine" / ".stop"
    stale.mkdir(parents=True)
    (stale / "000_digits_01234567").touch()
    printed = searched(tmp_path, *TINY, SEARCHED[0], "--trials", "1", IN_TURN, code=1)
    assert ": not started by the launcher; run the same command to start it" in printed
    assert "interrupted" not in printed and not stale.exists()


def test_a_killed_search_goes_on_wherever_it_is_taken_up(tmp_path: Path) -> None:
    # The second task takes longer than the run needs to see that the search is gone.
    words = (*TINY[1:], "epochs=[5,1000]", SEARCHED[0], "--trials", "1")
    searching = fork()
    if searching == 0:
        run_and_exit(tmp_path, ["cl-search", *words, "--name", "mine", IN_TURN], command.main)
    until(lambda: list(tmp_path.glob("outputs/searches/*/0*/checkpoint/*")), searching)
    os.kill(searching, signal.SIGKILL)
    assert exit_code(searching) == -signal.SIGKILL
    (left,) = trials(tmp_path)
    searched(tmp_path, *words, IN_TURN)
    (trial,) = trials(tmp_path)
    assert (trial.state.name, trial.params) == ("COMPLETE", left.params)
    folder = tmp_path / "outputs" / "searches" / "mine" / trial.user_attrs["folder"]
    assert read_status(folder).attempt == 2
    (tmp_path / "whole").mkdir()
    searched(tmp_path / "whole", *words, "--jobs", "1")
    whole = tmp_path / "whole" / folder.relative_to(tmp_path) / "metrics.jsonl"
    assert (folder / "metrics.jsonl").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "mistake",
    [
        ("hydra/launcher=local", "hydra.launcher.n_jobs=0"),
        ("hydra/launcher=local", "hydra.launcher.n_jobs=two"),
        ("hydra/launcher=local", "hydra.launcher.n_jobs=${nowhere}"),
        ("hydra.launcher._target_=mine.Launcher",),
    ],
    ids=lambda mistake: mistake[-1],
)
def test_a_mistake_in_the_launchers_settings_is_one_line(tmp_path: Path, mistake) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    printed = searched(tmp_path, *TINY, SEARCHED[0], *mistake, code=2)
    assert re.fullmatch("config error: hydra.launcher.*\n", printed)
    assert not (tmp_path / "outputs").exists()


def test_sigterm_ends_the_command_and_not_only_its_process(tmp_path: Path, monkeypatch) -> None:
    """While a launcher waits for its workers. It stops them as after Ctrl-C."""
    kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr(InTurn, "launch", kill)
    printed = searched(tmp_path, *TINY, SEARCHED[0], "--trials", "1", IN_TURN, code=143)
    assert "1 unfinished" in printed and "search folder: " in printed


def test_the_commands_of_the_page_compose() -> None:
    """Of `docs/launchers.md`: the launcher that they choose, and the space that they search."""
    text = (Path(__file__).parents[2] / "docs" / "launchers.md").read_text()
    lines = re.findall(r"^cl-(?:search|reproduce) (?:.*\\\n)*.*", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line.replace("\\\n", " "))
        settings = [word for word in words if re.match(r"[\w./]+=", word)]
        launching = engine.of_the_launcher(settings)
        with engine.chosen(launching, None, None) as chosen:
            assert chosen is not None and len(launching) == 2
            if words[0] == "cl-search":
                searched = space.read([word for word in settings if word not in launching])
                all_checked(searched, "name")
