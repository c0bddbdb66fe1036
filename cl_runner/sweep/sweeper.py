"""Hydra's sweeper for this runner: expand, name, skip what is complete, launch, report.

Running the same command again skips what is complete, continues what was interrupted or killed, and
runs what is missing or failed. Jobs run with one thread unless `threads` says otherwise, so their
results do not depend on the launcher.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from cl_runner.config import masking, overrides
from cl_runner.config.command_line import literal
from cl_runner.config.compose import trust
from cl_runner.config.identity import settings_digest
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import Config, of_one_call, traits
from cl_runner.errors import ConfigError, Interrupted, RunError, first_line
from cl_runner.jobs import launchers
from cl_runner.jobs.job import Job, composed_command, digest_of, jobs_of, plain_name, table
from cl_runner.jobs.ledger import write_ledger
from cl_runner.run_folder.files import make
from cl_runner.run_folder.read import DONE
from cl_runner.sweep.composition import Composition
from cl_runner.sweep.plan import plan
from cl_runner.sweep.shared import first_tasks, interleaved
from cl_runner.training import settings

ENDED = (DONE, "failed")
MOST = overrides.Most(100_000, "jobs", "give fewer values")
PATIENCE = 20
"""Seconds that a job whose sweep was killed may take for its last step and checkpoint."""


class Sweep(Sweeper):
    """`cl-train -m`. params: what a preset of `conf/sweep/` sweeps over, key by key."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = params or {}
        self.launcher: Launcher

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        # The launcher is built later, when its folder is known.
        self.context, self.task_function, self.master = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs. Raises RunError if one is not complete in the end, and ConfigError, before
        anything is written, for a command that no job can be made from."""
        points = self._points(arguments)
        composition = Composition(self.context.config_loader, self.master)
        first, node = composition.at(points[0])
        trust(first, {key_of(override) for override in points[0]})
        plain: Any = OmegaConf.to_container(first, resolve=True)
        own = {key: value for key, value in plain.items() if of_one_call(key)}
        settings.check(own)
        composed = [composition.at(point)[0] for point in points]
        _refuse_if_none_can_run(composed)
        configs = [self._settings(config) for config in composed]
        folder, title = self._place(own, configs, node.runtime.choices, points)
        jobs = jobs_of(points, configs, title, folder)
        if own["plan"]:
            print(plan(jobs, Path(own["output_root"]).absolute()))
            return
        skipped = [job for job in jobs if job.state == DONE]
        self._prepare(folder, jobs, idle=len(skipped) == len(jobs))
        make(folder)
        write_ledger(folder, jobs)
        try:
            self._run([job for job in interleaved(jobs) if job not in skipped])
        finally:
            launchers.disconnect(self.master.hydra.launcher)
            print(table(jobs, skipped))
            print(f"sweep folder: {folder}", flush=True)
        if first.tracker:
            from cl_runner.wandb_mirror.sweep_summary import mirror_sweep

            tracker: Any = OmegaConf.to_container(first.tracker, resolve=True)
            mirror_sweep(folder, tracker)
        if any(job.state != DONE for job in jobs):
            raise RunError("not all jobs are complete")

    def _points(self, arguments: Sequence[str]) -> list[list[str]]:
        """The product of all lists of values. The command line replaces the preset's lists."""
        preset = [f"{key}={value}" for key, value in self.params.items()]
        given = [a for a in arguments if key_of(a) != "sweep"]
        values: dict[str, list[str]] = {}
        typed: dict[str, str] = {}
        for override in overrides.parsed([*preset, *given], self.context.config_loader):
            key = override.get_key_element()
            typed[key] = str(override.input_line).partition("=")[2]
            if override.is_sweep_override() and not override.is_discrete_sweep():
                allowed = "a sweep takes lists (a,b,c) and range(...)"
                raise ConfigError.of(key, typed[key], allowed, "use cl-search for intervals")
            each = (
                overrides.values(override, MOST)
                if override.is_sweep_override()
                else [override.get_value_element_as_str()]
            )
            values[key] = [f"{key}={value}" for value in each]
        longest = max(values, key=lambda key: len(values[key]), default="")
        jobs = math.prod(map(len, values.values()))
        overrides.refuse_too_many(longest, typed.get(longest, ""), jobs, MOST)
        for key, words in values.items():
            if len(words) > 1 and not traits(key_of(key)).changes_results:
                allowed = "does not change results, so it takes one value for all jobs"
                raise ConfigError.of(key, typed[key], allowed)
        return [list(point) for point in product(*values.values())]

    def _settings(self, config: DictConfig) -> Config:
        """The settings as written to files; sets `threads`, and refuses `resume=FOLDER`."""
        if config.resume not in (None, "auto"):
            allowed = "continues a single run; to continue a sweep, run its command again"
            raise ConfigError.of("resume", config.resume, allowed)
        if config.threads is None:
            config.threads = 1
        return masking.as_written(config)

    def _place(
        self,
        own: Mapping[str, Any],
        configs: Sequence[Config],
        choices: Mapping[str, Any],
        points: Sequence[Sequence[str]],
    ) -> tuple[Path, str]:
        """The sweep's folder, and the experiment or data set for its jobs' names. own: the sweep's
        settings, which may be masked in `configs`; choices: the option of each group."""
        title = str(choices.get("experiment") or choices.get("dataset"))
        given = {key_of(override) for override in points[0]}
        hydras = OmegaConf.to_container(self.master.hydra.overrides.hydra)
        if any(key_of(str(o)) == "hydra.sweep.dir" for o in hydras):  # type: ignore[union-attr]
            return Path(self.master.hydra.sweep.dir).absolute(), title
        about = str(choices.get("sweep") or title)
        digest = digest_of({settings_digest(config) for config in configs})
        name = own["name"] if "name" in given else f"{plain_name(about)}_{digest}"
        return Path(own["output_root"]).absolute() / "sweeps" / name, title

    def _prepare(self, folder: Path, jobs: Sequence[Job], idle: bool) -> None:
        """Build the launcher for this folder. idle: no job has to run."""
        launchers.check(self.master.hydra.launcher, [o for job in jobs for o in job.overrides])
        if not idle:
            launchers.connect(self.master.hydra.launcher)
        OmegaConf.set_readonly(self.master.hydra, False)
        with open_dict(self.master):
            self.master.hydra.sweep.dir = literal(str(folder))
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context,
            task_function=launchers.Here(self.task_function),
            config=self.master,
        )

    def _run(self, jobs: Sequence[Job]) -> None:
        """Launch the jobs. If the launcher breaks, for example because a worker was killed, launch
        again the jobs that had not started or were still alive, and after them those that had died,
        one at a time: a job that kills its worker then affects no other."""
        self._wait_for_those_of_a_killed_sweep(jobs)
        keys = first_tasks(jobs)
        counts = Counter(keys)
        shared = {job.folder for job, key in zip(jobs, keys, strict=True) if counts[key] > 1}
        waiting, suspects = list(jobs), list[Job]()
        while waiting:
            before = {job.folder: job.stamp() for job in waiting}
            error = self._launch(waiting, shared)
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
            error = self._launch([job], shared)
            if error is not None:
                print(f"{job.folder.name}: {first_line(error)}", file=sys.stderr)

    def _wait_for_those_of_a_killed_sweep(self, jobs: Sequence[Job]) -> None:
        """A job whose sweep was killed saves its state before it ends. One that keeps running
        belongs to another command; launching it will fail because its folder is in use."""
        end = time.monotonic() + PATIENCE
        while any(job.state == "running" for job in jobs) and time.monotonic() < end:
            time.sleep(0.05)

    def _settle(self, alive: Sequence[Job]) -> None:
        """Wait for the jobs that a broken launcher left running: submitit's continue to their end,
        Ray's are stopped."""
        launchers.disconnect(self.master.hydra.launcher)
        while any(job.state == "running" for job in alive):
            time.sleep(0.2)
        launchers.connect(self.master.hydra.launcher)

    def _launch(self, jobs: Sequence[Job], shared: set[Path]) -> BaseException | None:
        """Submit jobs to the launcher. Returns the error if the launcher broke; a job's own error
        is in its folder."""
        commands = [composed_command(job, job.folder in shared) for job in jobs]
        size = launchers.at_a_time(self.master.hydra.launcher) or max(1, len(commands))
        try:
            for start in range(0, len(commands), size):
                self.launcher.launch(commands[start : start + size], initial_job_idx=start)
        except (Interrupted, KeyboardInterrupt):
            raise
        except (Exception, SystemExit) as error:
            return error
        return None


def _refuse_if_none_can_run(composed: Sequence[DictConfig]) -> None:
    """Raise the first job's ConfigError if every job has one. Errors of only some jobs are in
    their folders and in the table."""
    errors = []
    for config in composed:
        if config.trusted_targets:  # only the jobs themselves can check a user's own classes
            return
        plain: Any = OmegaConf.to_container(config, resolve=True)
        try:
            settings.read(plain)
        except ConfigError as error:
            errors.append(error)
        else:
            return
    raise errors[0]
