"""Hydra's sweeper for this runner: expand, name, skip what is complete, launch, report.

Running the same command again skips what is complete, continues what was interrupted or killed, and
runs what is missing or failed. Jobs run with one thread unless `threads` says otherwise, so their
results do not depend on the launcher.
"""

from __future__ import annotations

import math
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from cl_runner.config import masking, overrides
from cl_runner.config.compose import trust
from cl_runner.config.identity import settings_digest
from cl_runner.config.overrides import key_of, last_part
from cl_runner.config.traits import Config, of_one_call, traits
from cl_runner.errors import ConfigError, RunError
from cl_runner.jobs.countdown import Countdown
from cl_runner.jobs.engine import Engine
from cl_runner.jobs.following import Following
from cl_runner.jobs.job import Job, composed_command, digest_of, jobs_of, plain_name, table
from cl_runner.jobs.ledger import write_ledger
from cl_runner.run_folder import changed_code
from cl_runner.run_folder.files import make
from cl_runner.run_folder.read import DONE
from cl_runner.sweeps.earlier import begun_earlier
from cl_runner.sweeps.plan import plan
from cl_runner.sweeps.shared import first_tasks, interleaved

MOST = overrides.Most(100_000, "jobs", "give fewer values")


class Sweep(Sweeper):
    """`cl-train -m`. params: what a preset of `conf/sweep/` sweeps over, key by key."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.master = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Path:
        """Run the jobs. Returns the folder of the sweep. Raises RunError if a job is not complete
        in the end, and ConfigError, before anything is written, for a command that no job can be
        made from."""
        from cl_runner.training import settings  # with torch, for which `--help` need not wait

        points = self._points(arguments)
        engine = Engine(self.context, self.task_function, self.master)
        first, node = engine.composition.at(points[0])
        trust(first, {key_of(override) for override in points[0]})
        plain: Any = OmegaConf.to_container(first, resolve=True)
        own = {key: value for key, value in plain.items() if of_one_call(key)}
        settings.check(own)
        composed = [engine.composition.at(point)[0] for point in points]
        _refuse_if_none_can_run(composed)
        configs = [self._settings(config) for config in composed]
        folder, title = self._place(own, configs, node.runtime.choices, points)
        jobs = jobs_of(points, configs, title, folder)
        if own["plan"]:
            print(plan(jobs, Path(own["output_root"]).absolute()))
            return folder
        skipped = [job for job in jobs if job.state == DONE]
        kept = ((job.folder, job.config) for job in skipped)
        if other_code := changed_code.of_runs(kept, "name="):
            print(f"warning: {other_code}", file=sys.stderr)
        engine.prepare(folder, jobs, idle=len(skipped) == len(jobs))
        make(folder)
        write_ledger(folder, jobs)
        try:
            _run(engine, jobs, skipped)
        finally:
            engine.close()
            print("\n".join(["", *_means(folder, jobs), table(jobs, skipped)]))
            print(f"sweep folder: {folder}")
            print(f"page: cl-report {shlex.quote(str(folder))}", flush=True)
        if first.tracker:
            from cl_runner.wandb_mirror.sweep_summary import mirror_sweep

            tracker: Any = OmegaConf.to_container(first.tracker, resolve=True)
            mirror_sweep(folder, tracker)
        if any(job.state != DONE for job in jobs):
            raise RunError("not all jobs are complete")
        return folder

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
        sweeps = Path(own["output_root"]).absolute() / "sweeps"
        if "name" in given:
            return sweeps / own["name"], title
        place = sweeps / f"{plain_name(about)}_{digest}"
        if not place.exists():
            place = begun_earlier(place, points, configs, title) or place
        return place, title


def _run(engine: Engine, jobs: Sequence[Job], skipped: Sequence[Job]) -> None:
    """Run the jobs that are not skipped, with a line for each when it ends."""
    to_do = [job for job in interleaved(jobs) if job not in skipped]
    keys = first_tasks(to_do)
    counts = Counter(keys)
    shared = {job.folder for job, key in zip(to_do, keys, strict=True) if counts[key] > 1}
    with Countdown(len(jobs), engine.at_a_time) as countdown:
        countdown.already(job.folder for job in skipped)
        following = Following(to_do, countdown, _label)
        engine.run(to_do, lambda job: composed_command(job, job.folder in shared), following)
        following.finish()


def _means(folder: Path, jobs: Sequence[Job]) -> list[str]:
    """The means of these jobs; others may be in the same folder."""
    from cl_runner.report.compare import means, runs  # with scipy: slow to import

    folders = {job.folder for job in jobs}
    of_jobs = [run for run in runs.read([folder]) if run.folder in folders]
    return means.as_text(means.means(of_jobs))


def _label(job: Job) -> str:
    """What tells it from the other jobs: `alpha=0.5 T=2 seed=1`."""
    words = (f"{last_part(key)}={value}" for key, value in job.varied.items())
    return " ".join(words) or job.folder.name


def _refuse_if_none_can_run(composed: Sequence[DictConfig]) -> None:
    """Raise the first job's ConfigError if every job has one. Errors of only some jobs are in
    their folders and in the table."""
    from cl_runner.training import settings

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
