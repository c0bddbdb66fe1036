"""One run and many, complete or not, as Python reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from cl_runner.api import display, frames
from cl_runner.config import command_line
from cl_runner.errors import RunError
from cl_runner.jobs.ledger import jobs_in
from cl_runner.metrics import Matrix
from cl_runner.report.compare import means, runs
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.text import counted, harmless

if TYPE_CHECKING:
    import pandas as pd

    from cl_runner.api.accuracies import Accuracies
    from cl_runner.api.network import TrainedNetwork

Array = np.ndarray[Any, np.dtype[np.float64]]


class Run:
    """A run and what it has left in its folder. T is the number of its tasks."""

    def __init__(self, seen: runs.Run) -> None:
        self._seen = seen
        self.folder = seen.folder
        self.state = seen.state
        """complete, or failed, interrupted, killed, running, missing, damaged."""
        self.error = seen.error
        """Why it is not complete, in one line; may be empty."""

    @classmethod
    def at(cls, folder: str | Path) -> Run:
        """The run in this folder, whether complete or not. Raises ConfigError if there is none."""
        return cls(runs.at(Path(folder)))

    @property
    def complete(self) -> bool:
        return self._seen.complete

    @property
    def config(self) -> dict[str, Any]:
        """The settings it was started with, as nested dictionaries; secrets are masked.

        Raises CheckpointError if the file is damaged.
        """
        return read.config(self.folder) or {}

    @property
    def results(self) -> Results:
        """The content of `results.json`. Raises RunError unless the run is complete."""
        if self._seen.outcome is None:
            why = f"{self.state}: {self.error}" if self.error else self.state
            raise RunError(f"run folder error: the run in {self.folder} is not complete ({why})")
        return self._seen.outcome

    @property
    def metrics(self) -> dict[str, float | None]:
        """Each metric by its name, None where it does not apply. Raises RunError as `results`."""
        return dict(self.results.metrics)

    @property
    def accuracy(self) -> Array | None:
        """[T, T]: after each task (row) the accuracy on each (column), NaN for later tasks; by the
        scenario's rule for which classes compete. None in regression. Raises RunError as `results`.
        """
        return None if self.results.metrics_are_of == "mse" else _array(self.results.matrix)

    @property
    def mse(self) -> Array | None:
        """The same for the mean squared error of regression; None for classes."""
        return _array(self.results.matrix) if self.results.metrics_are_of == "mse" else None

    def predictions(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of `predictions.npz`. Raises CheckpointError if it is missing or damaged."""
        return read.predictions(self.folder)

    def network(
        self, trusted_targets: Sequence[str] = (), root: str | Path | None = None
    ) -> TrainedNetwork:
        """The network that was trained; see `load_network`."""
        from cl_runner.api.loading import load_network

        return load_network(self.folder, trusted_targets=trusted_targets, root=root)

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        task: int | None = None,
        trusted_targets: Sequence[str] = (),
        root: str | Path | None = None,
    ) -> Accuracies:
        """The accuracy on pictures x with labels y, or on a Dataset x of pairs; see
        `TrainedNetwork.evaluate`."""
        return self.network(trusted_targets, root).evaluate(x, y, task=task)

    def __repr__(self) -> str:
        return harmless(f"<Run {self.folder}: {self.state}>")

    def __str__(self) -> str:
        """What `cl-train` prints at the end of the run."""
        if not self.complete:
            return harmless(f"{self.folder}: {self.state} {self.error}".rstrip())
        from cl_runner.training.results import summary

        return summary(self.results, self.folder)

    def _repr_html_(self) -> str:
        if not self.complete:
            return f"<div>{display.safe(self)}</div>"
        return display.of_run(self.results, self.folder)


class Runs(Sequence[Run]):
    """Runs of any state, in the order of their folders: `runs[0]`, `for run in runs`."""

    def __init__(self, folders: Sequence[Path], seen: Sequence[runs.Run]) -> None:
        self.folders = list(folders)
        self._seen = list(seen)
        self._runs = [Run(each) for each in seen]

    @classmethod
    def below(cls, *folders: Path) -> Runs:
        """All runs below these folders. Raises ConfigError if there is none."""
        return cls(folders, runs.read(folders))

    @classmethod
    def of_sweep(cls, folder: Path) -> Runs:
        """The jobs of the last command that ran a sweep in this folder; others may be there."""
        jobs = {job.folder.resolve() for job in jobs_in(folder)}
        return cls([folder], [run for run in runs.read([folder]) if run.folder.resolve() in jobs])

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...

    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        """One run, or a list of several for a slice."""
        return self._runs[index]

    def table(self) -> str:
        """Mean ± standard deviation over seeds of each setting, the best first; what a sweep prints
        in the end. Use `print(runs.table())`."""
        return "\n".join(means.as_text(means.means(self._seen))).rstrip()

    def to_pandas(self, form: Literal["wide", "long"] = "wide") -> pd.DataFrame:
        """A data frame. wide: a row for each run, with its parts, its seed, the settings that
        differ and a column for each metric. long: a row for each number of the matrices of complete
        runs, in the columns `after_task`, `task` and `value`, with the same description.

        Shares are fractions of 1, as in `results.json`. Raises ConfigError if pandas is not
        installed.
        """
        if form not in ("wide", "long"):
            raise ValueError(f"form is 'wide' or 'long', not {form!r}")
        return frames.wide(self._seen) if form == "wide" else frames.long(self._seen)

    def report(
        self,
        output: str | Path | None = None,
        *,
        baseline: str | None = None,
        method: str | None = None,
        margin: float | None = None,
    ) -> Path:
        """Write the page, tables and figures of `cl-report` for the folders that were loaded.
        Returns the path of `report.html`. output: their folder, instead of `report` in the first.

        baseline: the strategy that every other is compared with; None: finetune, else the best.
        method: the one that is compared with every other, or only with the baseline. Both may be
        rows of the ranking, "ewc, weight=10". margin: smaller differences do not matter, in points
        of percent, or in percent of the error; the page then says what is equivalent.

        Raises ConfigError for a name that has no complete run or means several settings, and
        StorageError if nothing can be written.
        """
        from cl_runner.report.command import PAGE, report
        from cl_runner.report.compare.comparisons import Asked

        for name in (baseline, method):
            if not isinstance(name, str | None):
                raise TypeError(f"report compares names such as 'ewc', not {name!r}")
        if not isinstance(margin, Real | None):
            raise TypeError(f"margin is a number of points such as 1.5, not {margin!r}")
        folder = Path(output) if output is not None else self.folders[0] / "report"
        with command_line.called_with(()):
            report(self.folders, folder, Asked(baseline, method, margin))
        return folder / PAGE

    def __repr__(self) -> str:
        return f"<Runs: {self._states}>"

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.table(), self._states)))

    @property
    def _states(self) -> str:
        counts = Counter(run.state for run in self)
        return f"{counted(len(self), 'run')}: " + ", ".join(f"{n} {s}" for s, n in counts.items())

    def _repr_html_(self) -> str:
        unfinished = [[run.folder.name, run.state, run.error] for run in self if not run.complete]
        return display.of_runs(means.means(self._seen), self._states, unfinished)


def _array(matrix: Matrix) -> Array:
    return np.array(matrix, dtype=np.float64)  # None becomes NaN
