"""Sweeps: which jobs, under which names, what runs again, and what the table says."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from messages import check_problem, is_about, only_line
from omegaconf import OmegaConf, open_dict
from processes import exit_code, fork, run_and_exit, until
from sweep_folders import TINY, planned, results, states

from cl_runner.config import masking
from cl_runner.config.paths import CONF
from cl_runner.jobs import job as jobs
from cl_runner.jobs.composition import Composition

TWICE_TWO = ("strategy=lwf", "strategy.alpha=0.5,1", "seed=0,1")
PRESETS = sorted(file.stem for file in (CONF / "sweep").glob("*.yaml"))


def sweep_folder(root: Path) -> Path:
    (folder,) = (root / "outputs" / "sweeps").iterdir()
    return folder


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four jobs of TWICE_TWO, run once for all tests that start with them."""
    folder = tmp_path_factory.mktemp("once")
    child = fork()
    if child == 0:
        run_and_exit(folder, ["cl-train", "-m", *TINY, *TWICE_TWO, "threads=1"])
    assert exit_code(child) == 0, (folder / "stderr").read_text()
    said = (folder / "stdout").read_text()
    assert states(said) == {"complete": 4}
    return sweep_folder(folder)


def test_a_sweep_prints_a_line_a_job_then_the_means_and_how_to_see_more(once: Path) -> None:
    """And nothing else: its jobs are silent. The means are those of `results.json`."""
    told = [(once.parents[2] / name).read_text() for name in ("stdout", "stderr")]
    assert told[1] == ""
    ended, means, last = (part.splitlines() for part in told[0].split("\n\n"))
    found = defaultdict(list)
    lines = set()
    for job in once.glob("0*"):
        config = yaml.safe_load((job / "config.yaml").read_text())
        measured = json.loads((job / "results.json").read_text())
        point = f"{config['strategy']['alpha']:g}", config["seed"]
        numbers = [100 * measured[name] for name in ("average_accuracy", "forgetting")]
        found[point[0]].append(numbers)
        lines.add("alpha={} seed={}: {:.1f} %, forgetting {:.1f}, ".format(*point, *numbers))
    assert {re.sub(r"^\d/4 |\d+ s(, about .* left)?$", "", line) for line in ended} == lines
    assert [line[:4] for line in ended] == ["1/4 ", "2/4 ", "3/4 ", "4/4 "]
    assert means[0] == "digits, class-incremental, 5 tasks: mean ± standard deviation over seeds"
    assert re.split("  +", means[1]) == [
        "strategy", "alpha", "seeds", "average accuracy in %", "forgetting in %",
    ]  # fmt: skip
    rows = {row[1]: row for row in (re.split("  +", line) for line in means[2:])}
    for alpha, runs in found.items():
        expected = [f"{fmean(v):.1f} ± {stdev(v):.1f}" for v in zip(*runs, strict=True)]
        assert rows[alpha] == ["lwf", alpha, "2", *expected]
    first, second = (float(row[3].split()[0]) for row in rows.values())
    assert first >= second
    assert last == ["4 jobs: 4 complete", f"sweep folder: {once}", f"page: cl-report {once}"]


@pytest.fixture
def swept(once: Path, tmp_path: Path) -> Path:
    """A copy of that sweep, where a test's own commands find it."""
    return Path(shutil.copytree(once, tmp_path / "outputs" / "sweeps" / once.name))


def test_the_same_command_again_skips_what_is_complete(cl_train_here, swept: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in swept.rglob("status.json")}
    # The order of settings and of values is irrelevant: it is the same sweep.
    again = cl_train_here("-m", "seed=1,0", *TINY, "strategy=lwf", "strategy.alpha=1,0.5")
    assert again.returncode == 0 and states(again.stdout) == {"already complete": 4}
    assert {f: f.stat().st_mtime_ns for f in swept.rglob("status.json")} == before


def test_each_job_has_the_settings_of_its_point(once: Path) -> None:
    found = set()
    for job in once.glob("0*"):
        config = yaml.safe_load((job / "config.yaml").read_text())
        found.add((config["strategy"]["alpha"], config["seed"]))
        assert config["threads"] == 1
    assert found == set(itertools.product((0.5, 1.0), (0, 1)))


def test_more_values_run_only_what_is_new(cl_train_here, swept: Path) -> None:
    mine = swept.rename(swept.with_name("mine"))
    more = cl_train_here(
        "-m", *TINY, "strategy=lwf", "strategy.alpha=2,1,0.5", "seed=0,1", "name=mine"
    )
    assert more.returncode == 0
    assert states(more.stdout) == {"already complete": 4, "complete": 2}
    assert len(list(mine.glob("0*"))) == 6


def test_what_was_lost_is_run_again(cl_train_here, swept: Path) -> None:
    whole = results(swept)
    jobs = sorted(swept.glob("0*"))
    for file in sorted(jobs[1].rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    status = json.loads((jobs[2] / "status.json").read_text())
    (jobs[2] / "status.json").write_text(json.dumps({**status, "status": "running"}))
    damaged = Path(shutil.copytree(jobs[0], swept.parent / "damaged"))
    (damaged / "config.yaml").write_text("{")  # another sweep's does not disturb a plan
    plan = cl_train_here("-m", *TINY, *TWICE_TWO, "plan=true")
    assert planned(plan.stdout) == ["skip", "run", "resume", "skip"]
    assert "4 jobs; to do: 2, " in plan.stdout
    assert "instead of" not in plan.stdout  # jobs 1 and 2 have two seeds: nothing is shared
    assert not list(jobs[1].iterdir())  # a plan runs nothing
    again = cl_train_here("-m", *TINY, *TWICE_TWO)
    assert again.returncode == 0
    assert states(again.stdout) == {"already complete": 2, "complete": 2}
    assert results(swept) == whole


def test_a_plan_says_how_long_jobs_like_it_took_and_what_they_share(
    cl_train_here, swept: Path
) -> None:
    for file, seconds in zip(sorted(swept.glob("0*/results.json")), (100, 200, 300, 1000),
                             strict=True):  # fmt: skip
        results = json.loads(file.read_text())
        results["cost"]["seconds"] = seconds
        file.write_text(json.dumps(results))
    words = ("strategy=lwf", "strategy.alpha=2,3", "seed=7", "plan=true")
    plan = cl_train_here("-m", *TINY, *words).stdout.splitlines()
    assert [row.split()[2:4] for row in plan[1:3]] == [["run", "250.0"]] * 2  # the median
    assert plan[3].startswith("2 jobs; to do: 2, 500 s of one worker and ")
    assert plan[4] == "the first task is trained 1 time instead of 2"


def test_results_are_those_of_single_runs_without_the_store(
    cl_train_here, once: Path, tmp_path: Path
) -> None:
    """Bit for bit, though a sweep trains each first task once."""
    assert len(list((once / "first_tasks").glob("*.ckpt"))) == 2  # one a seed
    for number, (alpha, seed) in enumerate(itertools.product((0.5, 1), (0, 1))):
        alone = cl_train_here(
            *TINY, "strategy=lwf", f"strategy.alpha={alpha}", f"seed={seed}", f"name=alone{number}"
        )
        assert alone.returncode == 0
        (job,) = once.glob(f"00{number}_*")
        for name in ("metrics.jsonl", "predictions.npz"):
            single = tmp_path / "outputs" / f"alone{number}" / name
            assert (job / name).read_bytes() == single.read_bytes()


def test_the_table_names_each_failure(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here("-m", *TINY, "optimizer=sgd", "optimizer.lr=0.01,1e18,-1")
    assert done.returncode == 1
    assert states(done.stdout) == {"complete": 1, "failed": 2}
    rows = [line for line in done.stdout.splitlines() if " failed " in line]
    assert "not finite" in rows[0] and "optimizer.lr=-1" in rows[1]
    assert all("Traceback" not in row for row in rows)
    jobs = sorted(sweep_folder(tmp_path).glob("0*"))
    assert "Traceback" in json.loads((jobs[2] / "status.json").read_text())["traceback"]


def test_a_killed_sweep_goes_on(cl_train_beside, cl_train_here, tmp_path: Path) -> None:
    command = ("-m", *TINY, *TWICE_TWO, "epochs=6")
    child = cl_train_beside(*command)
    until(lambda: len(list(tmp_path.glob("outputs/sweeps/*/0*/checkpoint/*"))) >= 3, child)
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    again = cl_train_here(*command)
    assert again.returncode == 0, again.stderr
    assert states(again.stdout).keys() <= {"complete", "already complete"}
    killed = results(sweep_folder(tmp_path))
    whole = cl_train_here(*command, "name=whole")
    assert whole.returncode == 0
    assert results(tmp_path / "outputs" / "sweeps" / "whole") == killed


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_seeds_and_can_be_composed(cl_train_here, preset: str) -> None:
    plan = cl_train_here("-m", *TINY, f"sweep={preset}", "plan=true")
    assert plan.returncode == 0, plan.stderr
    params = yaml.safe_load((CONF / "sweep" / f"{preset}.yaml").read_text())
    params = params["hydra"]["sweeper"]["params"]
    assert len(str(params["seed"]).split(",")) >= 3
    expected = 1
    for values in params.values():
        expected *= len(str(values).split(","))
    assert len(planned(plan.stdout)) == expected


@pytest.mark.parametrize(
    "points",
    [
        [["seed=1", "strategy=lwf", "strategy.alpha=2"], ["seed=2", "strategy=lwf"]],
        [["optimizer.lr=0.1", "optimizer=sgd"], ["optimizer.lr=[0.1,0.2]", "optimizer=adamw"]],
        [["+strategy.new=1", "~dataset.root"], ["strategy={_target_:mine.Mine}", "model=cnn"]],
        [["experiment=ewc_mnist_to_fashion", "epochs=2"], ["experiment=regression", "epochs=2"]],
        [["epochs=3", "experiment=ewc_mnist_to_fashion", "epochs=2", "++batch_size=7"]],
    ],
)
def test_points_are_composed_as_by_hydra_itself(points: list[list[str]]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", [], RunMode.MULTIRUN)
        composition = Composition(loader, master)
        for point in [*points, points[0]]:
            whole = loader.load_sweep_config(master, point)
            with open_dict(whole):
                hydra = whole.pop("hydra")
            config, node = composition.at(point)
            assert OmegaConf.to_container(config) == OmegaConf.to_container(whole)
            assert node.runtime.choices == hydra.runtime.choices


def test_the_command_line_replaces_what_a_preset_says(cl_train_here) -> None:
    plan = cl_train_here(
        "-m", *TINY, "sweep=ewc_weight", "seed=7", "strategy.weight=3,4", "plan=true"
    )
    assert planned(plan.stdout) == ["run", "run"]


def test_a_mistake_in_every_job_is_one_line(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here("-m", *TINY, "strategy=ewc", "strategy.weight=-1,-2", "seed=0,1")
    check_problem(only_line(done, 2), [], "strategy.weight=-1", "must be a number ≥ 0")
    assert not (tmp_path / "outputs").exists()


def test_an_interval_is_not_swept_but_searched(cl_train_here, tmp_path: Path) -> None:
    done = cl_train_here("-m", *TINY, "strategy=ewc", "strategy.weight=interval(1,10)")
    check_problem(
        only_line(done, 2),
        [],
        "strategy.weight=interval(1,10)",
        "(a,b,c) and range(...). Hint: use cl-search",
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "words", [["sweep=ewc_weight"], ["plan=true"], ["-m", "resume=folder"]], ids=str
)
def test_what_is_of_a_sweep_alone_or_of_a_run(cl_train_here, tmp_path, words) -> None:
    done = cl_train_here(*TINY, *words)
    if "resume=folder" in words:
        expected = f"checkpoint error: {tmp_path / 'folder'} contains no run to resume"
        assert only_line(done, 7) in (expected, expected.replace(f"{tmp_path}/", ""))
    else:
        assert is_about(only_line(done, 2), words).hint.startswith("add -m: cl-train -m")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=0,1", "name=../up"], "name=../up"),
        (["seed=0,1", "name=null"], "name=null"),
        (["seed=0,1", "plan=maybe"], "plan=maybe"),
        (["seed=0,1", "name=a,b"], "name=a,b: does not change results"),
        (["tracker=local,wandb"], "tracker=local,wandb: does not change results"),
        (["dataset.root=a,b"], "dataset.root=a,b: does not change results"),
        (["sweep=alpha_T", "strategy=ewc"], "strategy.alpha=0.5: no such setting"),
        (["strategi=ewc,lwf"], "did you mean strategy?"),
    ],
    ids=str,
)
def test_a_wrong_sweep_is_one_line_and_nothing_written(
    cl_train_here, tmp_path: Path, words: list[str], told: str
) -> None:
    done = cl_train_here("-m", *TINY, *words)
    line = only_line(done, 2)
    assert told in line
    is_about(line, [*words, told])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_line(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = cl_train_here("-m", *TINY, "seed=0,1", "output_root=file")
    assert done.returncode == 5 and done.stderr.startswith("storage error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_one_value_for_a_setting_of_the_presets_own_strategy(cl_train_here) -> None:
    of_ewc = ("strategy.weight=7", "strategy.half=false")
    plan = cl_train_here("-m", *TINY, "sweep=ewc_weight", *of_ewc, "seed=0,1", "plan=true")
    assert plan.returncode == 0, plan.stderr
    assert planned(plan.stdout) == ["run", "run"]


def test_a_place_from_the_environment_and_a_secret(
    cl_train_here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is where the variable says; no file contains the secret."""
    monkeypatch.setenv("PLACE", str(tmp_path / "there"))
    # With a user's own classes, so that only the jobs themselves can report the mistake.
    words = ("output_root=${oc.env:PLACE}", "name=mine", "seed=0,1", "trusted_targets=[faulty]")
    done = cl_train_here("-m", *TINY, *words, "+strategy.token=hush")
    assert done.returncode == 1  # this strategy has no such setting
    assert [folder.name for folder in tmp_path.iterdir()] == ["there"]
    listed = (tmp_path / "there" / "sweeps" / "mine" / "sweep.json").read_text()
    assert "hush" not in listed and "seed=1" in listed


def test_a_job_folder_that_is_a_link_is_not_written_through(cl_train_here, tmp_path: Path) -> None:
    """Someone else may have put it there: the job fails, and the target stays empty."""
    command = ("-m", *TINY, "seed=3", "name=mine")
    assert cl_train_here(*command).returncode == 0
    (job,) = sweep_folder(tmp_path).glob("000_*")
    shutil.rmtree(job)
    (tmp_path / "elsewhere").mkdir()
    job.symlink_to(tmp_path / "elsewhere")
    assert cl_train_here(*command).returncode == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_table_has_the_error_of_the_last_attempt(cl_train_here, tmp_path: Path) -> None:
    for root in ("first", "second"):
        done = cl_train_here("-m", "dataset=split_mnist", f"dataset.root={tmp_path / root}",
                             "seed=0", "name=mine")  # fmt: skip
        assert done.returncode == 1
    assert f"{tmp_path / 'second'}/" in done.stdout and f"{tmp_path / 'first'}/" not in done.stdout


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_what_changes_no_result_has_one_value_however_it_is_given(sign: str, cl_train_here) -> None:
    key = "checkpoint.every_n_steps" if sign != "+" else "checkpoint.no_such_setting"
    done = cl_train_here("-m", f"{sign}{key}=10,20", "plan=true")
    assert done.returncode == 2
    assert "one value for all jobs" in done.stderr or sign == "+"


def test_jobs_whose_digests_begin_alike_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """By chance about one pair in 100,000 jobs."""
    monkeypatch.setattr(jobs, "settings_digest", lambda config: f"{config['seed']:0>64}")
    points = [["seed=1"], ["seed=2"], ["seed=1"]]
    configs = [{"seed": word[0][-1]} for word in points]
    two = jobs.jobs_of(points, configs, "mine", tmp_path)
    assert [job.overrides for job in two] == points[:2]
    assert len({job.folder for job in two}) == 2


def test_a_sweep_of_an_earlier_version_is_found_by_its_settings(
    cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    """Its folder and those of its jobs are named after digests without a setting of today."""
    words = ("-m", *TINY, "seed=0,1")
    today = masking.as_written

    def as_written(config: object) -> dict:
        return {key: value for key, value in today(config).items() if key != "diagnose"}

    with monkeypatch.context() as version:
        version.setattr(masking, "as_written", as_written)
        assert cl_train_here(*words).returncode == 0
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    first, second = sorted(sweep.glob("0*"))
    before = results(sweep)
    shutil.rmtree(second)
    done = cl_train_here(*words)
    assert states(done.stdout) == {"already complete": 1, "complete": 1}, done.stderr
    assert [*sweep.parent.iterdir()] == [sweep] and results(sweep) == before
    assert sorted(sweep.glob("0*"))[0] == first
    other = cl_train_here("-m", *TINY, "seed=0,2", "plan=true")
    assert planned(other.stdout) == ["run", "run"]
