"""Runs jobs on the launcher that `hydra/launcher=` names: of a sweep, a search or a suite."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cl_runner import train
from cl_runner.config.command_line import flag, literal
from cl_runner.config.compose import from_hydra
from cl_runner.config.overrides import key_of
from cl_runner.errors import ConfigError, Interrupted, RunError, first_line
from cl_runner.jobs import launchers
from cl_runner.jobs.composition import Composition, of_a_sweep
from cl_runner.jobs.ctrl_c import saving_first
from cl_runner.jobs.job import Job
from cl_runner.jobs.looking import Look, looking, nothing
from cl_runner.jobs.stopping import Stoppable
from cl_runner.run_folder.read import DONE

ENDED = (DONE, "failed")
PATIENCE = 20
"""Seconds that a job whose command was killed may take for its last step and checkpoint."""


class Engine:
    """context and master: Hydra's, composed for this command; the launcher is one of its settings.
    task: what a job calls with its settings."""

    def __init__(self, context: HydraContext, task: TaskFunction, master: DictConfig) -> None:
        self.context, self.task, self.master = context, task, master
        self.composition = Composition(context.config_loader, master)
        self.launcher: Launcher
        self.request: Path  # to all its jobs, to stop
        self.connected = False
        self.at_a_time = 1  # how many jobs run at a time; known once it is connected

    def prepare(self, folder: Path, jobs: Iterable[Job], idle: bool = False) -> None:
        """Build the launcher for the jobs in this folder. idle: none has to run. Raises ConfigError
        for a launcher that cannot be used."""
        settings = self.master.hydra.launcher
        self.request = folder / f"command_{secrets.token_hex(8)}"
        launchers.check(settings, [o for job in jobs for o in job.overrides])
        if not idle:
            self.connect()
        OmegaConf.set_readonly(self.master.hydra, False)
        with open_dict(self.master):
            self.master.hydra.sweep.dir = literal(str(folder))
            if printing := self.master.hydra.hydra_logging.get("root"):
                printing.level = "WARNING"  # a launcher would print each job's whole command line
        with _usable(settings):
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=self.context,
                task_function=launchers.Here(
                    Stoppable(self.task, self.request.name),
                    in_pool="joblib" in str(settings.get("_target_")),
                ),
                config=self.master,
            )

    def close(self) -> None:
        """Stop what the launcher keeps running."""
        if self.connected:
            launchers.disconnect(self.master.hydra.launcher)
            self.connected = False

    def connect(self) -> None:
        """Find or start what the launcher needs. Raises ConfigError if there is none."""
        if not self.connected:
            settings = self.master.hydra.launcher
            with _usable(settings):
                launchers.connect(settings)
                self.at_a_time = launchers.places(settings)
            self.connected = True

    def run(
        self, jobs: Sequence[Job], command: Callable[[Job], list[str]], meanwhile: Look = nothing
    ) -> None:
        """Run the jobs to their end. command: the command line of a job. meanwhile: called a few
        times a second until then, and once after it.

        If the launcher breaks, for example because a worker was killed, launch again the jobs that
        had not started or were still alive, and after them those that had died, one at a time: a
        job that kills its worker then affects no other. Raises RunError if none could start."""
        with saving_first(None, jobs):
            _wait_for_those_of_a_killed_command(jobs)
        request = None if launchers.outlived(self.master.hydra.launcher) else self.request
        with saving_first(request, jobs), looking(meanwhile):
            self._run(jobs, command)

    def _run(self, jobs: Sequence[Job], command: Callable[[Job], list[str]]) -> None:
        waiting, suspects = list(jobs), list[Job]()
        while waiting:
            before = {job.folder: job.stamp() for job in waiting}
            error = self._launch(waiting, command)
            if error is None:
                break
            begun = [job for job in waiting if job.stamp() != before[job.folder]]
            if not begun:
                raise RunError(f"launcher error: {first_line(error)}")
            alive = [job for job in begun if job.state == "running"]
            dead = [job for job in begun if job not in alive] or alive
            waiting = [job for job in waiting if job not in dead and job.state not in ENDED]
            if waiting or alive:
                self._settle(alive)
            suspects += [job for job in dead if job.state not in ENDED]
            waiting = [job for job in waiting if job.state not in ENDED]
        for job in suspects:
            error = self._launch([job], command)
            if error is not None:
                print(f"{job.folder.name}: {first_line(error)}", file=sys.stderr)

    def _settle(self, alive: Sequence[Job]) -> None:
        """Wait for the jobs that a broken launcher left running: submitit's continue to their end,
        Ray's are stopped."""
        self.close()
        while any(job.state == "running" for job in alive):
            time.sleep(0.2)
        self.connect()

    def _launch(
        self, jobs: Sequence[Job], command: Callable[[Job], list[str]]
    ) -> BaseException | None:
        """Submit jobs to the launcher. Returns the error if the launcher broke; a job's own error
        is in its folder."""
        commands = [command(job) for job in jobs]
        size = launchers.at_a_time(self.master.hydra.launcher) or max(1, len(commands))
        try:
            for start in range(0, len(commands), size):
                self.launcher.launch(commands[start : start + size], initial_job_idx=start)
        except (Interrupted, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            return error
        return None


def of_the_launcher(words: Iterable[str]) -> list[str]:
    """Those of the words that choose the launcher, or are settings of it."""
    keys = ("hydra/launcher", "hydra.launcher")
    return [w for w in words if key_of(w) in keys or key_of(w).startswith("hydra.launcher.")]


@contextmanager
def chosen(
    words: Sequence[str], config_dir: Path | None, jobs: int | None
) -> Iterator[Engine | None]:
    """The engine for a command whose words choose a launcher; None if they choose none. jobs:
    the value of `--jobs`. Raises ConfigError for words that cannot be used."""
    if not words:
        yield None
        return
    if jobs is not None:
        allowed = "is for runs on this machine; a launcher has a setting of its own"
        raise ConfigError.of(flag("jobs"), jobs, allowed, "such as hydra.launcher.n_jobs=2")
    with of_a_sweep(config_dir, words) as (loader, master):
        context = HydraContext(loader, callbacks=Callbacks())
        engine = Engine(context, train.one_job, master)
        try:
            yield engine
        finally:
            engine.close()


@contextmanager
def _usable(launcher: DictConfig) -> Iterator[None]:
    """Raise ConfigError for whatever a launcher's package raises on its settings."""
    try:
        yield
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise from_hydra(error) from None
    except Exception as error:
        allowed = f"cannot be used: {first_line(error)}"
        raise ConfigError.of("hydra.launcher", launcher.get("_target_"), allowed) from None


def _wait_for_those_of_a_killed_command(jobs: Sequence[Job]) -> None:
    """A job whose command was killed saves its state before it ends. One that keeps running belongs
    to another command; launching it will fail because its folder is in use."""
    end = time.monotonic() + PATIENCE
    while any(job.state == "running" for job in jobs) and time.monotonic() < end:
        time.sleep(0.05)
