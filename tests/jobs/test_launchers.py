"""Launchers: the same bits on each, and what happens without a worker, a GPU or a cluster."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import tomllib
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from messages import check_problem, only_line, problem_of
from omegaconf import OmegaConf
from processes import exit_code, fork, run_and_exit, until
from sweep_folders import TINY, results, states

import hydra_plugins
from cl_runner import extras
from cl_runner.errors import ConfigError
from cl_runner.jobs import in_turn, launchers, ray_cluster
from cl_runner.jobs.in_turn import InTurn
from cl_runner.run_folder.files import is_locked, locked
from cl_runner.run_folder.read import state_of
from cl_runner.training.signals import Signals

FOUR = ("-m", *TINY, "strategy=lwf", "strategy.alpha=0.5,2", "seed=0,1", "name=four")
RAY = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2")


def swept(folder: Path, *arguments: str) -> str:
    """The output of a sweep in a forked process, which saves the import of torch."""
    child = fork()
    if child == 0:
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where a worker finds faulty.py
        run_and_exit(folder, ["cl-train", *arguments, "threads=1"])
    code = exit_code(child)
    return f"{(folder / 'stdout').read_text()}\n{(folder / 'stderr').read_text()}\nexit code {code}"


@pytest.fixture(scope="module")
def basic(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The results of the four jobs, one after another in one process."""
    folder = tmp_path_factory.mktemp("basic")
    said = swept(folder, *FOUR)
    assert states(said) == {"complete": 4}, said
    return results(folder / "outputs" / "sweeps" / "four")


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
    said = swept(tmp_path, *FOUR, *launcher)
    assert said.endswith("exit code 0"), said
    assert states(said) == {"complete": 4}
    assert results(tmp_path / "outputs" / "sweeps" / "four") == basic


def test_a_job_saves_and_ends_with_its_command(tmp_path: Path) -> None:
    """A worker of `local` would go on when the command is killed."""
    listens, saved = tmp_path / "listens", tmp_path / "saved"

    def job(_: object) -> None:
        with Signals() as signals:
            listens.touch()
            while signals.received is None:
                time.sleep(0.01)
            saved.write_text(str(os.getpid()))

    command = fork()
    if command == 0:
        here = launchers.Here(job)
        if fork() == 0:
            try:
                here(OmegaConf.create())
            finally:
                os._exit(1)
        time.sleep(60)
        os._exit(0)
    until(listens.exists, command)
    os.kill(command, signal.SIGKILL)
    exit_code(command)
    end = time.monotonic() + 20
    while not (saved.exists() and saved.read_text()) and time.monotonic() < end:
        time.sleep(0.01)
    worker = Path("/proc", saved.read_text())
    while worker.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not worker.exists()


def test_a_job_that_kills_its_worker_under_ray_is_named(tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    kills = (
        "trusted_targets=[faulty]",
        "strategy._target_=faulty.Signalling",
        "+strategy.signals=[],[SIGKILL]",
    )
    said = swept(tmp_path, "-m", *TINY, *kills, "seed=0", *RAY)
    assert said.endswith("exit code 1"), said
    assert states(said) == {"complete": 1, "killed": 1}


class Breaking(Launcher):
    """Replaces Hydra's launchers. `work` gets the folders of the submitted jobs, and may raise.
    `launched` has the start of the folder names of each launch."""

    launched: ClassVar[list[list[str]]] = []
    work: ClassVar[Callable[[list[Path]], None]]

    def setup(self, *, hydra_context, task_function, config) -> None:
        self.folder = Path(config.hydra.sweep.dir)

    def launch(self, job_overrides, initial_job_idx: int) -> None:
        given = [dict(word.partition("=")[::2] for word in words) for words in job_overrides]
        folders = [self.folder / words["name"].strip("'") for words in given]
        self.launched.append([folder.name[:3] for folder in folders])
        type(self).work(folders)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> str:
    """The setting that chooses it; Hydra only builds launchers of one namespace."""
    monkeypatch.setattr(Breaking, "launched", [])
    return registered(Breaking, monkeypatch)


def registered(launcher: type[Launcher], monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("hydra_plugins.breaking")
    setattr(module, launcher.__name__, launcher)
    monkeypatch.setattr(hydra_plugins, "breaking", module, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(launcher, "__module__", module.__name__)
    Plugins.instance().register(launcher)
    return f"hydra.launcher._target_=hydra_plugins.breaking.{launcher.__name__}"


class Pool(InTurn):
    """Like joblib's: two jobs at a time, each in a process that it kills when it is interrupted."""

    def launch(self, job_overrides, initial_job_idx: int) -> list:
        waiting, alive = [*enumerate(job_overrides, initial_job_idx)], set[int]()
        try:
            while waiting or alive:
                while waiting and len(alive) < 2:
                    alive.add(self._begun(*waiting.pop(0)))
                alive -= {child for child in alive if os.waitpid(child, os.WNOHANG)[0]}
                time.sleep(0.01)
        except BaseException:
            for child in alive:
                os.kill(child, signal.SIGKILL)
            raise
        return []

    def _begun(self, number: int, overrides) -> int:
        value = mmap(-1, in_turn._VALUE.size)
        if (child := fork()) == 0:
            in_turn._do_and_exit(lambda: self._job(list(overrides), number, value))
        return child


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> str:
    return registered(Pool, monkeypatch)


@pytest.mark.parametrize(
    ("send", "number", "code"),
    [(os.kill, "SIGTERM", 143), (os.killpg, "SIGINT", 130)],
    ids=["the command alone", "Ctrl-C reaches all"],
)
def test_jobs_side_by_side_save_before_the_launcher_ends_them(
    pool, cl_train_beside, tmp_path: Path, send, number: str, code: int
) -> None:
    words = ("-m", *TINY, "epochs=9999", "seed=0,1,2", "name=mine")
    child = cl_train_beside(*words, pool, first=os.setpgrp)
    place = tmp_path / "outputs" / "sweeps" / "mine"

    def training() -> int:
        return sum('"step"' in file.read_text() for file in place.glob("*/metrics.jsonl"))

    until(lambda: training() == 2, child)
    send(child, signal.Signals[number])
    assert exit_code(child) == code
    begun = sorted(place.glob("0*"))
    assert [folder.name[:3] for folder in begun] == ["000", "001"]
    assert [state_of(folder) for folder in begun] == ["interrupted"] * 2
    assert "2 interrupted, 1 missing" in (tmp_path / "stdout").read_text()
    assert not (place / ".stop").exists()


def left(folder: Path, state: str) -> None:
    """Write what a job in this state has written."""
    folder.mkdir(exist_ok=True)
    (folder / "status.json").write_text(json.dumps({"status": state}))


def test_a_job_that_kills_its_worker_takes_no_other_along(
    breaking, cl_train_here, monkeypatch
) -> None:
    """Breaks like joblib's launcher: two jobs at a time, and the third ends the other running job
    and all that wait. In the end the suspects run one at a time."""

    def work(folders: list[Path]) -> None:
        for number in range(0, len(folders), 2):
            pair = folders[number : number + 2]
            kills = any(folder.name.startswith("002") for folder in pair)
            for folder in pair:
                left(folder, "running" if kills else "complete")
            if kills:
                raise RuntimeError("a worker was killed")

    monkeypatch.setattr(Breaking, "work", work, raising=False)
    done = cl_train_here("-m", *TINY, "seed=range(0,6)", "name=mine", breaking)
    assert done.returncode == 1
    assert states(done.stdout) == {"complete": 5, "killed": 1}
    assert done.stderr.splitlines()[0].endswith(": a worker was killed")
    assert Breaking.launched[1:] == [["004", "005"], ["002"], ["003"]]


def test_what_still_ran_when_a_launcher_broke_is_waited_for_and_not_run_again(
    breaking, cl_train_here, monkeypatch
) -> None:
    """Like submitit's: the first job is lost, the second keeps running for a while."""
    alive: list[int] = []

    def work(folders: list[Path]) -> None:
        if len(Breaking.launched) > 1:
            return left(folders[0], "complete")
        lost, goes_on = folders
        left(lost, "running")
        alive.append(fork())
        if alive == [0]:
            with locked(goes_on):
                left(goes_on, "running")
                time.sleep(0.5)
                left(goes_on, "complete")
            os._exit(0)
        until(lambda: is_locked(goes_on) and (goes_on / "status.json").exists(), alive[0])
        raise RuntimeError("a node died")

    monkeypatch.setattr(Breaking, "work", work, raising=False)
    done = cl_train_here("-m", *TINY, "seed=0,1", "name=mine", breaking)
    assert exit_code(alive[0]) == 0
    assert done.returncode == 0, done.stderr
    assert states(done.stdout) == {"complete": 2}
    assert Breaking.launched == [["000", "001"], ["000"]]


def test_jobs_that_share_a_first_task_do_not_begin_together(
    breaking, cl_train_here, monkeypatch
) -> None:
    """The first job of each seed, and then those that would wait for it."""

    def work(folders: list[Path]) -> None:
        for folder in folders:
            left(folder, "complete")

    monkeypatch.setattr(Breaking, "work", work, raising=False)
    words = ("strategy=lwf", "seed=0,1", "strategy.alpha=1,2", "name=mine")
    assert cl_train_here("-m", *TINY, *words, breaking).returncode == 0
    assert Breaking.launched == [["000", "002", "001", "003"]]


def test_a_job_works_where_the_sweep_was_started(tmp_path: Path, monkeypatch) -> None:
    """A cluster's worker has the folder and variables of the shell that started the cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_DATA", "data")
    here = launchers.Here(lambda config: (os.getcwd(), os.environ["CL_DATA"]))
    monkeypatch.chdir("/")
    monkeypatch.delenv("CL_DATA")
    assert here(OmegaConf.create()) == (str(tmp_path), "data")


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"Alive": True, "Resources": {"CPU": 32.0}},
    {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0, "a100": 1.0}},
]


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ({"num_gpus": 2}, "num_gpus=2"),
        ({"num_cpus": 33}, "num_cpus=33"),
        ({"num_cpus": 16, "num_gpus": 1}, "num_gpus=1"),  # each is there, but on no node both
        ({"num_cpus": 1, "resources": {"a100": 1}}, "resources.a100=1"),
        ({"num_cpus": "two"}, "num_cpus=two"),
        ({"num_cpus": -1}, "num_cpus=-1"),
        ({"num_cpus": 8, "num_gpus": 0.5}, None),
    ],
)
def test_what_no_node_of_a_ray_cluster_has_is_named(asked, key: str | None, monkeypatch) -> None:
    """With a substitute for Ray, which is shut down if it lacks something."""
    let_go = []
    ray = SimpleNamespace(is_initialized=lambda: True, nodes=lambda: NODES,
                          shutdown=lambda: let_go.append(True))  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    settings = OmegaConf.create({"init": {}, "remote": asked})
    if key is None:
        ray_cluster.connect(settings)
    else:
        with pytest.raises(ConfigError) as error:
            ray_cluster.connect(settings)
        found = problem_of(str(error.value))
        assert f"{found.key}={found.value}" == f"hydra.launcher.ray.remote.{key}"
    assert let_go == ([] if key is None else [True])


def nobody_there() -> str:
    """A port of this machine at which nobody listens."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{port.getsockname()[1]}"


def test_an_address_where_no_cluster_answers(cl_train_here, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    address = f"hydra.launcher.ray.init.address={nobody_there()}"
    done = cl_train_here("-m", *TINY, "hydra/launcher=ray", address, "seed=0,1")
    words = "no cluster answers there. Hint: start one on a node with: ray start --head"
    check_problem(only_line(done, 2), [address], "hydra.launcher.ray.init.address=", words)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("init", "setting", "words"),
    [
        ({"address": "somewhere"}, "address=somewhere", "must be local, auto or HOST:PORT"),
        ({"address": "ray://127.0.0.1:10001"}, "address=ray://127.0.0.1:10001",
         "must be local, auto or HOST:PORT"),
        ({"address": "auto", "num_cpus": 4}, "num_cpus=4", "address=auto"),
    ],
)  # fmt: skip
def test_settings_that_ray_would_refuse_later(init, setting: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        ray_cluster.connect(OmegaConf.create({"init": init, "remote": {}}))
    check_problem(str(error.value), [], f"hydra.launcher.ray.init.{setting}", words)


@pytest.mark.parametrize("value", ["hush", "${oc.env:WANDB_API_KEY}"])
def test_a_secret_among_rays_settings_is_refused(value: str) -> None:
    """Ray would write it to its logs; the error does not show it."""
    variables = {"env_vars": {"WANDB_API_KEY": value, "WANDB_MODE": "offline"}}
    settings = OmegaConf.create({"_target_": "x", "ray": {"init": {"runtime_env": variables}}})
    with pytest.raises(ConfigError, match=r"WANDB_API_KEY=<masked:.*logs.*ray start") as caught:
        launchers.check(settings, [])
    assert "hush" not in str(caught.value)


def extras_of_the_project() -> dict[str, list[str]]:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras_by_name: dict[str, list[str]] = project["optional-dependencies"]
    return extras_by_name


def test_hints_name_the_packages_of_each_extra() -> None:
    asked = {name: list(packages) for name, packages in extras.PACKAGES.items()}
    assert asked == {name: extras_of_the_project()[name] for name in asked}


@pytest.mark.parametrize("extra", ["local", "slurm", "ray"])
def test_a_launcher_that_is_not_installed_is_named(cl_train_here, monkeypatch, extra) -> None:
    Plugins.instance()  # which looks for plugins once
    plugin = {"local": "joblib", "slurm": "submitit", "ray": "ray"}[extra]
    monkeypatch.setitem(sys.modules, f"hydra_plugins.hydra_{plugin}_launcher", None)
    done = cl_train_here("-m", *TINY, f"hydra/launcher={extra}", "seed=0,1")
    found = problem_of(only_line(done, 2))
    assert (found.key, found.value) == ("hydra/launcher", extra)
    (package,) = extras_of_the_project()[extra]
    assert found.hint == f"pip install '{package}'"


def test_slurm_without_its_commands_is_one_line(cl_train_here, tmp_path, monkeypatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cl_train_here("-m", *TINY, "hydra/launcher=slurm", "seed=0,1")
    found = problem_of(only_line(done, 2))
    assert (found.key, found.value) == ("hydra/launcher", "slurm") and "sbatch" in found.allowed
    assert not (tmp_path / "outputs").exists()


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
    """A substitute for sbatch keeps the file and refuses, as Slurm does for a wrong partition."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text(SBATCH)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    done = cl_train_here("-m", *TINY, "hydra/launcher=slurm", "seed=0,1,2",
                         "hydra.launcher.partition=short", "hydra.launcher.gpus_per_node=1",
                         "hydra.launcher.array_parallelism=2")  # fmt: skip
    assert done.returncode == 1 and states(done.stdout) == {"missing": 3}
    assert "launcher error: " in done.stderr and "Traceback" not in done.stderr
    given = (tmp_path / "batch.sh").read_text()
    asked = {line.removeprefix("#SBATCH --") for line in given.splitlines() if "#SBATCH" in line}
    assert {"array=0-2%2", "time=240", "mem=8GB", "cpus-per-task=1", "gpus-per-node=1",
            "partition=short", "signal=USR2@120"} <= asked  # fmt: skip
