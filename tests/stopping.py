"""A run that fails in the middle and is continued, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import run_here

from cl_runner.training.loop import Training


class Stop(Exception):
    """What ends the run."""


def stopped_and_continued(folder: Path, *overrides: str, at: int) -> dict[str, Any]:
    """Stop a run at the beginning of its n-th step, with the state after each step saved, then
    continue it. Returns the content of `results.json`."""
    step, done = Training._step, []

    def counted(self: Training, *arguments: Any) -> Any:
        done.append(1)
        if len(done) == at:
            raise Stop
        return step(self, *arguments)

    words = (*overrides, "checkpoint.every_n_steps=1", "resume=auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_step", counted)
        with pytest.raises(Stop):
            run_here(folder, *words)
    return run_here(folder, *words)
