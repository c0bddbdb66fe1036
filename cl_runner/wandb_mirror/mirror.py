"""Weights & Biases: a mirror of the local files, which may fail without harm."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, TypeAlias

from cl_runner.config.setting_types import Positive, at_task
from cl_runner.errors import first_line
from cl_runner.measures import MEASURES
from cl_runner.run_folder.events import Alarm, Evaluation, Event, Logged, Step
from cl_runner.run_folder.outcome import Results
from cl_runner.tracking.tracker import RunInfo, Tracker
from cl_runner.wandb_mirror import wording
from cl_runner.wandb_mirror.panels import of_run, own_accuracy

log = logging.getLogger("cl_runner")
Mode: TypeAlias = Literal["offline", "online"]


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Turn whatever W&B raises into one warning and switch the mirror off."""

    @functools.wraps(method)
    def guarded(self: WandB, *args: Any) -> None:
        if self.off:
            return
        try:
            method(self, *args)
        except Exception as error:
            self.off = True
            log.warning("W&B is off for the rest of this run: %s", first_line(error))

    return guarded


@dataclass(kw_only=True, eq=False)
class WandB(Tracker):
    """Charts have the step or the task as axis; the summary holds the final metrics. What
    `cl-report` says of the run is added in the end, as tables, charts and images.

    A continued run becomes a new W&B run, named after the attempt, that starts with everything the
    earlier attempts logged. So the last one is complete, whatever the earlier ones lost when they
    were killed: offline, W&B can neither continue a run nor keep what it has buffered.

    Every wait for the server is bounded by `init_timeout` and `finish_timeout`. If the server does
    not answer, or the key is wrong, the run continues offline, to be uploaded with `wandb sync`.

    A run started by the agent of a W&B sweep has the agent's id and project, which W&B itself puts
    in place of ours; so it cannot continue offline under another id.
    """

    mode: Mode
    project: str
    entity: str | None
    group: str | None
    name: str | None
    tags: list[str]
    init_timeout: Positive  # seconds
    finish_timeout: Positive  # seconds
    off: bool = field(default=False, init=False)
    run: Any = field(default=None, init=False)
    info: RunInfo = field(init=False)

    @_harmless
    def begin(self, run: RunInfo) -> None:
        try:
            self.open(run, run.folder, self.mode)
        except Exception as error:
            if self.mode == "offline":
                raise
            log.warning("W&B cannot be reached, continuing offline: %s", first_line(error))
            self.open(run, run.folder, "offline")

    @_harmless
    def log(self, event: Event) -> None:
        self.mirror(event)

    @_harmless
    def end(self, results: Results | None, error: BaseException | None) -> None:
        self.close(results, failed=error is not None)

    def open(self, run: RunInfo, place: Path, mode: Mode) -> None:
        """Start the W&B run, with its files in `place`/wandb, and log what earlier attempts logged.
        Like `mirror` and `close`, raises whatever W&B raises."""
        self.info, names = run, run.names
        self.run = self.start(
            place,
            mode,
            group=self.group or names["group"],
            job_type=names["strategy"],
            id=self._id(run, mode),
            name=self._name(run),
            tags=[names["dataset"], names["model"], names["strategy"], *self.tags],
            config={**_hyperparameters(run.config), **run.config, "names": names},
        )
        over_steps = (wording.LOSS, wording.RATE, wording.STRATEGY, wording.WITHIN)
        over_tasks = {wording.charts(measure) for measure in MEASURES.values()}
        for axis, begin in ((wording.STEP, over_steps), (wording.TASK, sorted(over_tasks))):
            self.run.define_metric(axis, hidden=True)
            for name in begin:
                self.run.define_metric(f"{name}*", step_metric=axis)
        for event in run.earlier:
            self.mirror(event)

    def start(self, place: Path, mode: Mode, **about: Any) -> Any:
        """A W&B run in this tracker's project. about: further arguments of `wandb.init`."""
        import wandb

        return wandb.init(
            mode=mode,
            project=self.project,
            entity=self.entity,
            dir=str(place),
            reinit="finish_previous",
            settings=wandb.Settings(
                init_timeout=self.init_timeout,
                finish_timeout=self.finish_timeout,
                silent=True,
                console="off",
                x_disable_stats=True,
                x_disable_meta=True,  # it contains the command line, including tokens
            ),
            **about,
        )

    def _name(self, run: RunInfo) -> str:
        attempt = run.attempt.number
        name = self.name or f"{run.names['strategy']} {run.folder.name}"
        return name if attempt == 1 else f"{name} (attempt {attempt})"

    def _id(self, run: RunInfo, mode: Mode) -> str:
        """A failed start keeps its id, so continuing offline needs another one."""
        fallback = "" if mode == self.mode else "-offline"
        return f"{run.attempt.run_id}-{run.attempt.number}{fallback}"

    def mirror(self, event: Event) -> None:
        """One event of metrics.jsonl."""
        if isinstance(event, Step):
            rates = learning_rates(event, self.info.config.get("optimizer"))
            terms = {f"{wording.LOSS}, {name}": value for name, value in event.terms.items()}
            self.run.log({wording.STEP: event.step, wording.LOSS: event.loss, **terms, **rates})
        elif isinstance(event, Evaluation):
            self._log_measured(event)
        elif isinstance(event, Logged):
            values = {f"{wording.STRATEGY}: {name}": value for name, value in event.values.items()}
            self.run.log({wording.STEP: event.step, **values})
        elif isinstance(event, Alarm):
            self.run.alert("inert term", event.message)

    def _log_measured(self, event: Evaluation) -> None:
        measure, factor = event.measure, event.measure.unit.factor
        shown = [factor * value for value in event.row]
        if event.event == "within_task":
            each = {wording.within(measure, k): value for k, value in enumerate(shown)}
            self.run.log({wording.STEP: event.step, **each})
        else:
            each = {wording.on_task(measure, k): value for k, value in enumerate(shown)}
            mean = {wording.mean(measure): fmean(shown)}
            self.run.log({wording.TASK: event.task + 1, **mean, **each})

    def close(self, results: Results | None, *, failed: bool) -> None:
        """Write the results to the summary and end the W&B run."""
        try:
            if results is not None:
                self._summarise(results)
        finally:
            self.run.finish(exit_code=1 if failed else 0)

    def _summarise(self, results: Results) -> None:
        final, cost = final_metrics(results), results.cost.model_dump()
        self.run.summary.update({**final, "alarms": results.alarms, "cost": cost})
        measure = results.measure
        for task, row in enumerate(own_accuracy(results) or []):
            known = {k: value for k, value in enumerate(row) if value is not None}
            each = {
                wording.on_task(measure, k, wording.OF_OWN): measure.unit.factor * value
                for k, value in known.items()
            }
            self.run.log({wording.TASK: task + 1, **each})
        parts, panels = of_run(self.info.folder, results)
        self.run.summary.update(parts)
        self.run.log(panels)


def learning_rates(event: Step, optimizer: Mapping[str, Any] | None) -> dict[str, float]:
    """The rates of this step, by the titles of their charts: as logged, or, if they stay as they
    are within a task, as in these settings of the optimizer."""
    titles = {"lr": wording.RATE, "head_lr": f"{wording.RATE} of the head"}
    if event.lr is not None:
        given = {"lr": event.lr, "head_lr": event.head_lr}
    else:
        given = {key: at_task((optimizer or {}).get(key), event.task) for key in titles}
    # A setting may be masked, or the optimizer one of the user's.
    return {titles[key]: rate for key, rate in given.items() if isinstance(rate, int | float)}


def final_metrics(results: Results) -> dict[str, float]:
    """All metrics that apply, and `validation_accuracy` (or `validation_mse`).

    That is the mean over all tasks, at the end, on held-out training samples. A search may use it;
    test data it may not.
    """
    final = {name: value for name, value in results.metrics.items() if value is not None}
    if results.validation_mean is not None:
        final[f"validation_{results.measure.logged}"] = results.validation_mean
    return final


def _hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The strategy's settings as top-level keys (`alpha`, `T`, `weight`, `buffer_size`), so that
    W&B's group-by and parallel coordinates offer them directly."""
    return {k: v for k, v in config.get("strategy", {}).items() if not k.startswith("_")}
