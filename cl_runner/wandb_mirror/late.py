"""Mirrors made after a run has ended: settings from its folder, files in any place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError, StorageError
from cl_runner.hidden import WORD
from cl_runner.wandb_mirror.mirror import Mode, WandB


def is_wandb(node: Mapping[str, Any] | None) -> bool:
    """Whether these are the settings of the W&B tracker."""
    return node is not None and node.get("_target_") == _preset()["_target_"]


def tracker_of(
    node: Mapping[str, Any] | None,
    *,
    mode: Mode | None = None,
    project: str | None = None,
    name: str | None = None,
) -> WandB:
    """A mirror with a run's own settings, or with those of `tracker=wandb` if the run had none.

    mode, project: replace the run's; name: used if the run has none. A masked value is not in the
    run folder: raises ConfigError for the project; W&B takes the others from its own variables.
    """
    preset = _preset()
    given = dict(node or {}) if is_wandb(node) else {}
    if project is None and WORD.search(str(given.get("project"))):
        allowed = "is not in the run's files"
        raise ConfigError.of("tracker.project", given["project"], allowed, "--project NAME")
    known = {k: v for k, v in given.items() if k in preset and not WORD.search(str(v))}
    settings = preset | known
    settings["mode"] = mode or settings["mode"]
    settings["project"] = project or settings["project"]
    settings["name"] = settings["name"] or name
    del settings["_target_"]
    return WandB(**settings)


def _preset() -> dict[str, Any]:
    preset: dict[str, Any] = yaml.safe_load((CONF / "tracker" / "wandb.yaml").read_text("utf-8"))
    return preset


def check_writable(place: Path) -> None:
    """Raise StorageError if `place`/wandb cannot be written: W&B would write elsewhere."""
    try:
        (place / "wandb").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place / "wandb"):
            pass
    except OSError as error:
        remedy = "--output FOLDER writes to another place"
        message = f"storage error: {place / 'wandb'}: {error.strerror}; {remedy}"
        raise StorageError(message) from None


def replace_earlier(place: Path, run: Any) -> None:
    """Remove what earlier calls wrote of this W&B run, unless it was uploaded: `wandb sync` would
    upload both, and only the last one would stay."""
    new = Path(run.dir).parent.resolve()
    for folder in place.glob("wandb/offline-run-*"):
        file = folder / f"run-{run.id}.wandb"  # no pattern: a foreign folder may choose the id
        uploaded = file.with_name(f"{file.name}.synced").exists()
        if file.exists() and folder.resolve() != new and not uploaded:
            shutil.rmtree(folder)
