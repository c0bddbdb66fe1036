"""The network of a run from its folder, which may come from someone else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cl_runner.api import place
from cl_runner.api.network import TrainedNetwork
from cl_runner.api.process import left_as_it_was
from cl_runner.config import targets
from cl_runner.config.identity import settings_digest
from cl_runner.config.traits import Config
from cl_runner.config.unrecorded import completed
from cl_runner.errors import CheckpointError, ConfigError, RunError
from cl_runner.models.bodies import weights_stay_unread
from cl_runner.run_folder import read
from cl_runner.run_folder.checkpoint import Checkpoints
from cl_runner.training.run import build_strategy
from cl_runner.training.settings import Settings
from cl_runner.training.settings import read as settings_of
from cl_runner.training.state import check_strategy

ELSEWHERE = ("tracker", "reference", "first_task_cache", "resume", "threads")
"""Settings that name something outside the folder, or the machine; no network depends on them."""


def load_network(
    folder: str | Path, *, trusted_targets: Sequence[str] = (), root: str | Path | None = None
) -> TrainedNetwork:
    """The network of a complete run, as it was in the end, with what it needs to classify.

    A folder is data: only tensors and plain values are loaded, and only parts of cl-runner are
    built. trusted_targets: your own packages whose classes the run used, as for `cl-train`; they
    are imported. root: where the data set is, if its files say which classes there are
    (`image_folder`, `arrays`, `csv` and the like); the path that the run recorded is not followed,
    and no data set is read otherwise.

    Raises RunError if the run is not complete, CheckpointError if its files are missing or damaged
    or do not fit each other, ConfigError if there is no run or its settings cannot be used.
    """
    if isinstance(trusted_targets, str):
        raise TypeError(f"trusted_targets is a list: [{trusted_targets!r}]")
    folder = Path(folder)
    state = read.state_of(folder)
    if state == read.MISSING:
        raise ConfigError.of("FOLDER", folder, "holds no run")
    if state != read.DONE:
        raise RunError(f"run folder error: the run in {folder} is not complete ({state})")
    config = read.config(folder)
    if config is None:
        raise CheckpointError(f"checkpoint error: {folder / 'config.yaml'} is missing")
    saved = Checkpoints(folder / "checkpoint", settings_digest(config)).newest()
    with left_as_it_was(), weights_stay_unread():
        if trusted_targets:
            sys.path.append(os.getcwd())  # where your own package may be
        settings = _settings(place.at(config, root), trusted_targets)
        strategy = build_strategy(settings)
        try:
            check_strategy(saved, strategy)
            strategy.load_state_dict(saved["strategy"])
        except Exception as error:  # nobody can list what torch raises on a state it did not write
            reason = f"does not fit its settings: {' '.join(str(error).splitlines()[:3])[:200]}"
            raise CheckpointError(f"checkpoint error: {folder} {reason}") from None
        dataset, seed = settings.dataset, settings.seed
        view = dataset.view(seed) if hasattr(dataset, "view") else None
        pixels = getattr(dataset, "pixels", None)
        return TrainedNetwork(strategy, dataset.outline(seed), pixels, view).eval()


def _settings(config: Config, trusted: Sequence[str]) -> Settings:
    """The settings of the run that its network depends on; the others are neutral, and those that
    came after it have their defaults."""
    targets.trust(trusted)
    neutral = dict.fromkeys(ELSEWHERE) | {"device": "cpu", "trusted_targets": list(trusted)}
    recorded = {key: value for key, value in config.items() if key != "environment"}
    return settings_of(completed(recorded) | neutral | {"trackers": []})
