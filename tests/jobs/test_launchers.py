"""Launchers: the same bits on each, and what happens where a worker, a GPU or a cluster is not."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
from conftest import exit_code, fork, run_and_exit
from omegaconf import OmegaConf
from sweep_folders import TINY, results, states

from cl_runner.errors import ConfigError
from cl_runner.jobs import launchers, ray_cluster
from cl_runner.jobs.job import Job
from cl_runner.sweep import sweeper

SIX = ("-m", *TINY, "strategy=lwf", "strategy.alpha=0.5,1,2", "seed=0,1", "name=six")
RAY = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2")


def swept(folder: Path, *arguments: str) -> str:
    """The words of a sweep that a forked process makes, which spares the import of torch."""
    child = fork()
    if child == 0:
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where a worker finds faulty.py
        run_and_exit(folder, ["cl-train", *arguments, "threads=1"])
    code = exit_code(child)
    return f"{(folder / 'stdout').read_text()}\n{(folder / 'stderr').read_text()}\nexit code {code}"


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The results of the six jobs, one after another in one process."""
    folder = tmp_path_factory.mktemp("basic")
    said = swept(folder, *SIX)
    assert "6 done" in said, said
    return results(folder / "outputs" / "sweeps" / "six")


@pytest.mark.parametrize(
    ("plugin", "launcher"),
    [
        ("joblib", ["hydra/launcher=local", "hydra.launcher.n_jobs=2"]),
        ("submitit", ["hydra/launcher=submitit_local"]),
        ("ray", RAY),
    ],
    ids=["local", "submitit_local", "ray"],
)
def test_every_launcher_gives_the_same_bits(basic, tmp_path: Path, plugin, launcher) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{plugin}_launcher")
    said = swept(tmp_path, *SIX, *launcher)
    assert said.endswith("exit code 0"), said
    assert states(said.partition("sweep folder")[0]) == ["done"] * 6
    assert results(tmp_path / "outputs" / "sweeps" / "six") == basic


def test_a_job_that_kills_its_worker_under_ray_is_named(tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    kills = ("trusted_targets=[faulty]", "strategy._target_=faulty.Signalling",
             "+strategy.signals=[],[SIGKILL]")  # fmt: skip
    said = swept(tmp_path, "-m", *TINY, *kills, "seed=0", *RAY)
    assert said.endswith("exit code 1"), said
    assert states(said.partition("sweep folder")[0]) == ["done", "killed"]


class Launcher:
    """Breaks as joblib's does: a job that kills its worker takes along what else is under way, two
    at a time, and all that waits."""

    def __init__(self, killer: str) -> None:
        self.killer, self.launched = killer, list[list[str]]()

    def launch(self, commands: list[list[str]], initial_job_idx: int) -> None:
        folders = [Path(command[0]) for command in commands]
        self.launched.append([folder.name for folder in folders])
        for number in range(0, len(folders), 2):
            pair = folders[number : number + 2]
            killed = self.killer in [folder.name for folder in pair]
            for folder in pair:
                folder.mkdir(exist_ok=True)
                state = "running" if killed else "complete"
                (folder / "status.json").write_text(json.dumps({"status": state}))
            if killed:
                raise RuntimeError("a worker was killed")


def test_a_job_that_kills_its_worker_takes_no_other_along(tmp_path, monkeypatch) -> None:
    jobs = [Job(tmp_path / name, {}, [], {}) for name in "abcdef"]
    monkeypatch.setattr(launchers, "at_a_time", lambda _: None)
    monkeypatch.setattr(sweeper, "first_tasks", lambda jobs: [job.folder.name for job in jobs])
    monkeypatch.setattr(sweeper, "command", lambda job, *_: [str(job.folder)])
    sweep = sweeper.Sweep(None)
    sweep.master = type("Config", (), {"hydra": type("H", (), {"launcher": {}})})
    sweep.launcher = Launcher(killer="c")
    sweep._run(jobs, tmp_path)
    assert {job.folder.name: job.state for job in jobs} == {
        "a": "complete", "b": "complete", "c": "killed", "d": "complete", "e": "complete",
        "f": "complete"}  # fmt: skip


def test_what_still_ran_when_a_launcher_broke_is_waited_for_and_not_run_again(
    tmp_path, monkeypatch
) -> None:
    """As submitit's: the first job is lost, the second goes on for a while."""
    lost, alive = jobs = [Job(tmp_path / name, {}, [], {}) for name in "ab"]
    launched = []

    def launch(sweep, given, *_):
        launched.append([job.folder.name for job in given])
        if len(launched) > 1:
            (lost.folder / "status.json").write_text(json.dumps({"status": "complete"}))
            return None
        for job in jobs:
            job.folder.mkdir()
            (job.folder / "status.json").write_text(json.dumps({"status": "running"}))
        return RuntimeError("a node died")

    def is_locked(folder: Path) -> bool:
        if folder == alive.folder and time.monotonic() > end:
            (folder / "status.json").write_text(json.dumps({"status": "complete"}))
        return folder == alive.folder

    end = time.monotonic() + 0.3
    monkeypatch.setattr("cl_runner.run_folder.read.is_locked", is_locked)
    monkeypatch.setattr(sweeper, "first_tasks", lambda jobs: [job.folder.name for job in jobs])
    monkeypatch.setattr(sweeper.Sweep, "_launch", launch)
    sweep = sweeper.Sweep(None)
    sweep.master = type("Config", (), {"hydra": type("H", (), {"launcher": {}})})
    sweep._run(jobs, tmp_path)
    assert launched == [["a", "b"], ["a"]]
    assert [job.state for job in jobs] == ["complete", "complete"]


def test_a_job_works_where_the_sweep_was_started(tmp_path: Path, monkeypatch) -> None:
    """A worker of a cluster has the folder and the variables of whoever started the cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_DATA", "data")
    here = launchers.Here(lambda config: (os.getcwd(), os.environ["CL_DATA"]))
    monkeypatch.chdir("/")
    monkeypatch.delenv("CL_DATA")
    assert here(OmegaConf.create()) == (str(tmp_path), "data")


NODES = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 32.0}]


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ({"num_gpus": 2}, "num_gpus"),
        ({"num_cpus": 33}, "num_cpus"),
        ({"num_cpus": 16, "num_gpus": 1}, "num_gpus"),  # each is there, but on no node both
        ({"num_cpus": 1, "resources": {"a100": 1}}, "resources.a100"),
    ],
)
def test_what_no_node_of_a_ray_cluster_has_is_named(asked, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.ray\.remote\.{key}="):
        ray_cluster._has(asked, NODES)
    ray_cluster._has({"num_cpus": 8, "num_gpus": 0.5}, NODES)


def nobody_there() -> str:
    """A port of this machine at which nobody listens."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{port.getsockname()[1]}"


def test_an_address_where_no_cluster_answers(cl_train_here, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    address = f"hydra.launcher.ray.init.address={nobody_there()}"
    done = cl_train_here("-m", *TINY, "hydra/launcher=ray", address, "seed=0,1")
    assert done.returncode == 2
    assert done.stderr.startswith("config error: hydra.launcher.ray.init.address=")
    assert "no cluster answers there" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ({"address": "somewhere"}, "must be local, auto or HOST:PORT"),
        ({"address": "ray://127.0.0.1:10001"}, "must be local, auto or HOST:PORT"),
        ({"address": "auto", "num_cpus": 4}, "num_cpus=4: is null where the cluster is there"),
    ],
)
def test_settings_that_ray_would_refuse_later(init, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ray_cluster.connect(OmegaConf.create({"init": init, "remote": {}}))


@pytest.mark.parametrize("extra", ["local", "slurm", "ray"])
def test_a_launcher_that_is_not_installed_is_named(cl_train_here, monkeypatch, extra) -> None:
    monkeypatch.setattr(launchers, "_installed", lambda _: False)
    done = cl_train_here("-m", *TINY, f"hydra/launcher={extra}", "seed=0,1")
    assert done.returncode == 2 and f"pip install 'cl-runner[{extra}]'" in done.stderr


def test_slurm_without_its_commands_is_one_line(cl_train_here, tmp_path, monkeypatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cl_train_here("-m", *TINY, "hydra/launcher=slurm", "seed=0,1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "there is no sbatch here" in done.stderr and not (tmp_path / "outputs").exists()


def test_submitit_local_is_given_as_many_jobs_as_there_are_cores() -> None:
    target = "hydra_plugins.hydra_submitit_launcher.submitit_launcher."
    assert launchers.at_a_time(OmegaConf.create({"_target_": target + "LocalLauncher"})) == (
        os.cpu_count()
    )
    assert launchers.at_a_time(OmegaConf.create({"_target_": target + "SlurmLauncher"})) is None


SBATCH = """#!/bin/sh
cp "$1" "$(dirname "$0")/batch.sh"
echo "sbatch: error: no such partition" >&2
exit 1
"""


def test_what_slurm_is_given(cl_train_here, tmp_path: Path, monkeypatch) -> None:
    """A stand-in for sbatch keeps the file and refuses, as Slurm does for a wrong partition."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(SBATCH)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = cl_train_here("-m", *TINY, "hydra/launcher=slurm", "seed=0,1,2",
                         "hydra.launcher.partition=short", "hydra.launcher.gpus_per_node=1",
                         "hydra.launcher.array_parallelism=2")  # fmt: skip
    assert done.returncode == 1 and states("\n" + done.stdout) == ["missing"] * 3
    assert "launcher error: " in done.stderr and "Traceback" not in done.stderr
    given = (tmp_path / "batch.sh").read_text()
    asked = {line.removeprefix("#SBATCH --") for line in given.splitlines() if "#SBATCH" in line}
    assert {"array=0-2%2", "time=240", "mem=8GB", "cpus-per-task=1", "gpus-per-node=1",
            "partition=short", "signal=USR2@120"} <= asked  # fmt: skip
