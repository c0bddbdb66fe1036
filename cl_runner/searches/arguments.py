"""What a search is asked for, on the command line or from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_runner.config import command_line


@dataclass(frozen=True)
class Arguments:
    """The arguments of `cl-search`, and of `cl_runner.search`."""

    overrides: Sequence[str]  # the settings of cl-train, those that are searched among them
    config_dir: Path | None
    trials: int  # in all, including those of earlier calls
    jobs: int | None  # at a time; None: as many as there are cores
    name: str | None  # None: from the settings

    def check(self) -> None:
        """Raises ConfigError if a number is too small."""
        for flag, number in (("trials", self.trials), ("jobs", self.jobs)):
            if number is not None:
                command_line.check_count(command_line.flag(flag), number)
