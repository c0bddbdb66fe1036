"""Where the shipped configuration and suites are, and the groups that make up a run."""

from __future__ import annotations

from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parents[1]
"""The folder of the package."""
# In a checkout conf/ is beside the package; in a wheel it is inside.
CONF = next(p for p in (HERE / "conf", HERE.parent / "conf") if (p / "config.yaml").is_file())

SUITES = HERE / "reproduce" / "suites"


def _groups() -> tuple[str, ...]:
    defaults = yaml.safe_load((CONF / "config.yaml").read_text("utf-8"))["defaults"]
    chosen = [entry for entry in defaults if isinstance(entry, dict) and None not in entry.values()]
    return tuple(group for (group,) in chosen if not group.startswith("override "))


GROUPS = _groups()
"""The groups that a run takes an option of, each a folder of `conf/`."""
