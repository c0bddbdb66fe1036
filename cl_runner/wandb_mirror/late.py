"""The mirror of a run that is over: settings from its folder, files wherever there is room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cl_runner.errors import ConfigError, StorageError
from cl_runner.hidden import WORD
from cl_runner.wandb_mirror.mirror import Mode, WandB


def is_wandb(node: Mapping[str, Any] | None) -> bool:
    """Whether these settings of a tracker are of W&B."""
    return node is not None and node.get("_target_") == _preset()["_target_"]


def tracker_of(
    node: Mapping[str, Any] | None,
    *,
    mode: Mode | None = None,
    project: str | None = None,
    name: str | None = None,
) -> WandB:
    """The mirror with a run's own settings, or, if the run had none, those of `tracker=wandb`.

    mode, project: instead of the run's; name: if it has none. What came from the environment is not
    in a run folder: ConfigError for the project; all else W&B takes from its own variables.
    """
    preset = _preset()
    given = dict(node or {}) if is_wandb(node) else {}
    if project is None and WORD.search(str(given.get("project"))):
        allowed = "is not in the run's files"
        raise ConfigError.of("tracker.project", given["project"], allowed, "--project NAME")
    told = {k: v for k, v in given.items() if k in preset and not WORD.search(str(v))}
    settings = preset | told
    settings |= {"mode": mode or settings["mode"], "project": project or settings["project"]}
    settings["name"] = settings["name"] or name
    del settings["_target_"]
    return WandB(**settings)


def _preset() -> dict[str, Any]:
    from cl_runner.config.paths import CONF

    preset: dict[str, Any] = yaml.safe_load((CONF / "tracker" / "wandb.yaml").read_text("utf-8"))
    return preset


def check_writable(place: Path) -> None:
    """Raise StorageError if W&B could not write below `place`/wandb: it would go elsewhere."""
    try:
        (place / "wandb").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place / "wandb"):
            pass
    except OSError as error:
        told = f"storage error: {place / 'wandb'}: {error.strerror}"
        raise StorageError(f"{told}; --output FOLDER writes to another place") from None


def replace_earlier(place: Path, run: Any) -> None:
    """Remove what an earlier call has written of this W&B run, unless it was uploaded: `wandb sync`
    would upload both, and only the last of them stays."""
    made = Path(run.dir).parent.resolve()
    for folder in place.glob("wandb/offline-run-*"):
        file = folder / f"run-{run.id}.wandb"  # no pattern: an id may come from someone else
        uploaded = file.with_name(f"{file.name}.synced").exists()
        if file.exists() and folder.resolve() != made and not uploaded:
            shutil.rmtree(folder)
