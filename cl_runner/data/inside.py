"""Files below the folder of a data set: a name that leads out of it is refused.

The name may come from a run folder of someone else.
"""

from __future__ import annotations

import os
from pathlib import Path

from cl_runner.errors import DataError


def inside(root: Path, name: str) -> Path:
    """ROOT/NAME. Raises DataError for an absolute name, and for one that leads out of the root by
    `..` or by a link."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise DataError(f"data error: {name!r:.200} must be a path below {root}")
    below, real = os.path.realpath(root), os.path.realpath(root / path)
    if os.path.commonpath([below, real]) != below:
        raise DataError(f"data error: {root / path} leads out of {root}")
    return root / path
