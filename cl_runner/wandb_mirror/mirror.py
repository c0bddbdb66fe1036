"""Weights & Biases: a mirror of the local files, which may fail without harm."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cl_runner.config.setting_types import Positive
from cl_runner.errors import first_line
from cl_runner.measures import MEASURES
from cl_runner.report.render.figures import accuracy_matrix, picture
from cl_runner.run_folder.events import Alarm, Evaluation, Event, Logged, Step
from cl_runner.run_folder.outcome import Results
from cl_runner.tracking.tracker import RunInfo, Tracker

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
    """Charts have the step or the task as axis; the summary holds the final metrics.

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
        names = run.names
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
        of_tasks = {f"{measure.logged}/*": "task" for measure in MEASURES.values()}
        for charts, axis in {"train/*": "step", "strategy/*": "step", **of_tasks}.items():
            self.run.define_metric(axis, hidden=True)
            self.run.define_metric(charts, step_metric=axis)
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
            terms = {f"train/{name}": value for name, value in event.terms.items()}
            self.run.log({"step": event.step, "train/loss": event.loss, **terms})
        elif isinstance(event, Evaluation) and event.event == "evaluation":
            chart = event.measure.logged
            each = {f"{chart}/task_{k + 1}": value for k, value in enumerate(event.row)}
            mean = {f"{chart}/average": sum(event.row) / len(event.row)}
            self.run.log({"task": event.task + 1, **mean, **each})
        elif isinstance(event, Logged):
            values = {f"strategy/{name}": value for name, value in event.values.items()}
            self.run.log({"step": event.step, **values})
        elif isinstance(event, Alarm):
            self.run.alert("inert term", event.message)

    def close(self, results: Results | None, *, failed: bool) -> None:
        """Write the results to the summary and end the W&B run."""
        try:
            if results is not None:
                self._summarise(results)
        finally:
            self.run.finish(exit_code=1 if failed else 0)

    def _summarise(self, results: Results) -> None:
        import wandb

        R = results.matrix
        columns: list[str | int] = ["after task", *(f"task {k + 1}" for k in range(len(R)))]
        table = wandb.Table(columns=columns, data=[[t + 1, *row] for t, row in enumerate(R)])
        image = wandb.Image(picture(accuracy_matrix(results)))
        self.run.log({"accuracy_matrix": table, "accuracy_matrix_image": image})
        final = final_metrics(results)
        cost = results.cost.model_dump()
        self.run.summary.update({**final, "alarms": results.alarms, "cost": cost})


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
