"""`best.yaml`: the setting that did best on validation data, as an experiment for `cl-train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cl_runner.report.runs import Run
from cl_runner.resume import GROUPS, MAY_CHANGE, key_of, read_config
from cl_runner.storage import make, write
from cl_runner.train import CONF

NAME = "best"
NOT_IN_IT = (*MAY_CHANGE, "environment", "sweep", "hydra", "defaults")
"""Besides what changes no result: what a folder from someone else could say to Hydra itself."""


def write_best(run: Run, folder: Path, why: str) -> Path:
    """Write `FOLDER/experiment/best.yaml` with all settings of this run; `cl-train --config-dir
    FOLDER experiment=best` is that run again. Values that its folder keeps masked are left out."""
    config = read_config(run.folder) or {}
    options = {group: _option(group, run) for group in GROUPS if group != "tracker"}
    defaults = [{f"override /{group}": name} for group, name in options.items() if name]
    settings = {key: value for key, value in config.items() if key not in NOT_IN_IT}
    settings["dataset"] = {k: v for k, v in settings["dataset"].items() if k != "root"}
    body = yaml.safe_dump(_unmasked(settings), sort_keys=False, allow_unicode=True)
    head = [
        "# @package _global_",
        *(f"# {' '.join(line.split())}" for line in why.splitlines()),
        "# cl-train --config-dir FOLDER experiment=best; FOLDER is the one above `experiment/`.",
        *_trusted(settings),
        "defaults:",
        *(f"  - {key}: {value}" for entry in defaults for key, value in entry.items()),
        "",
    ]
    file = folder / "experiment" / f"{NAME}.yaml"
    make(file.parent)
    text = "\n".join(head) + "\n" + body
    if not file.exists() or file.read_text() != text:
        write(file, text)
    return file


def _option(group: str, run: Run) -> str | None:
    """The option that this part was composed of: what the results name, if it is one; where the
    command line chose a class, the option that it was put into."""
    named = str(run.results.get(group, ""))
    if named.isidentifier() and (CONF / group / f"{named}.yaml").is_file():
        return named
    try:
        given = yaml.safe_load((run.folder / "overrides.yaml").read_text())
    except (OSError, yaml.YAMLError):
        return None
    chosen = [str(o).partition("=")[2] for o in given or [] if key_of(str(o)) == group]
    return chosen[-1] if chosen and chosen[-1].isidentifier() else None


def _unmasked(node: Any) -> Any:
    """Without what a run folder masks: secrets and values of the environment."""
    if isinstance(node, dict):
        return {k: _unmasked(v) for k, v in node.items() if not _masked(v)}
    if isinstance(node, list):
        return [_unmasked(value) for value in node if not _masked(value)]
    return node


def _masked(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in ("<masked>", "<env:", "${"))


def _trusted(settings: dict[str, Any]) -> Sequence[str]:
    """A class from elsewhere has to be trusted on the command line."""
    targets = [
        str(part.get("_target_", "")) for part in settings.values() if isinstance(part, dict)
    ]
    foreign = sorted({t.partition(".")[0] for t in targets} - {"cl_runner", ""})
    return [f"# It needs trusted_targets=[{','.join(foreign)}] as well."] if foreign else []
