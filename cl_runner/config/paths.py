"""Where the shipped configuration is."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
"""The package."""
# In a checkout conf/ is beside the package, in a wheel inside it.
CONF = next(p for p in (HERE / "conf", HERE.parent / "conf") if (p / "config.yaml").is_file())
