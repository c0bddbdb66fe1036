"""Points of the search space: compose and check each, and make it a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config import masking, search_path
from cl_runner.config.command_line import quoted
from cl_runner.config.compose import from_hydra, trust
from cl_runner.config.identity import settings_digest
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import Config
from cl_runner.errors import ConfigError
from cl_runner.jobs.job import Job, job_folder
from cl_runner.measures import MEASURES, Measure
from cl_runner.run_folder.resume import recorded_earlier
from cl_runner.searches.space import Params, Space
from cl_runner.training import settings
from cl_runner.training.run import build_strategy

THREADS = 1
"""Of each run, as many run at a time."""
COMPOSING = Lock()  # Hydra has one state for the whole process


@dataclass(frozen=True)
class Point:
    """A command line whose settings are valid."""

    overrides: Sequence[str]
    config: Config  # as written to files
    title: str  # the experiment, or the data set
    tasks: int
    measure: Measure  # of its results
    output_root: Path
    masks: dict[str, str]  # each text that no file may contain, and what is written instead


def checked(overrides: Sequence[str], config_dir: Path | None = None) -> Point:
    """Compose the settings and build what needs no data. Raises ConfigError as `cl-train` would,
    and if nothing is held out for validation."""
    with COMPOSING:
        config, plain, choices = _composed(overrides, config_dir)
        trust(config, {key_of(override) for override in overrides})
        read = settings.read(plain)
        build_strategy(read)
        outline = read.dataset.outline(read.seed)
        written, masks = masking.as_written(config), masking.masks(config)
    if not outline.validation_fraction > 0:
        key = "dataset.validation_fraction"
        allowed = "a search selects on validation samples, never on test samples"
        raise ConfigError.of(key, outline.validation_fraction, allowed, f"{key}=0.1")
    title = str(choices.get("experiment") or choices.get("dataset"))
    measure = MEASURES[outline.matrix]
    root = Path(read.output_root).absolute()  # unmasked, unlike in `written`
    return Point(list(overrides), written, title, len(outline.labels), measure, root, masks)


def all_checked(space: Space, name: str) -> Point:
    """The first point, once all corners of the space are valid, with the masks of all of them.
    name: of the search."""
    named = f"name={quoted(name)}"
    points = [checked([*space.point(c), named], space.config_dir) for c in space.corners()]
    if any(_measured(point) != _measured(points[0]) for point in points):
        keys = ", ".join(space.searched)
        allowed = "trials on different data, or different parts of it, cannot be compared"
        raise ConfigError.of(
            "command line", keys, allowed, "of the dataset's settings, only pixels can be searched"
        )
    return replace(points[0], masks={k: v for point in points for k, v in point.masks.items()})


def alone(space: Space, params: Params) -> list[str]:
    """The settings with which `cl-train` repeats the run of a trial."""
    words = space.point(params)
    return words if "threads" in map(key_of, words) else [*words, f"threads={THREADS}"]


def job_of(space: Space, params: Params, number: int, folder: Path) -> tuple[Job, Point]:
    """The job of a trial, in the search's folder, and its point."""
    point = checked(space.point(params), space.config_dir)
    place = place_of(point, number, folder)
    return Job(place, space.words(params), point.overrides, point.config), point


def place_of(point: Point, number: int, folder: Path) -> Path:
    """The folder of the run at a point: the existing one for its settings, or a new one."""

    def earlier() -> dict[str, Path]:
        return dict(recorded_earlier(folder, point.config["device"]))

    return job_folder(folder, number, point.title, settings_digest(point.config), earlier)


def _composed(
    overrides: Sequence[str], config_dir: Path | None
) -> tuple[DictConfig, Config, dict[str, Any]]:
    """The settings, the same with interpolations resolved, and the option of each group."""
    try:
        with search_path.hydra_with(config_dir):
            config = compose("config", list(overrides), return_hydra_config=True)
        with open_dict(config):
            choices = config.pop("hydra").runtime.choices
        if config.threads is None:
            config.threads = THREADS
        plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise from_hydra(error) from None
    return config, {str(key): node for key, node in plain.items()}, dict(choices)  # type: ignore[union-attr]


def _measured(point: Point) -> dict[str, Any]:
    """What must be the same for all trials: which samples are held out and how they are scored."""
    dataset = point.config["dataset"]
    return {key: node for key, node in dataset.items() if key != "pixels"}
