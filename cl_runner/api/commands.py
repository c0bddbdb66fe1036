"""What `import cl_runner` offers: run, sweep, search, load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_runner.api import calls, own_process
from cl_runner.api.process import left_as_it_was
from cl_runner.api.runs import Run, Runs
from cl_runner.api.search import Search
from cl_runner.config.command_line import check_count
from cl_runner.errors import ConfigError


def run(*settings: str, config_dir: str | Path | None = None) -> Run:
    """Train one network on one task after another, as `cl-train SETTINGS` does.

    settings: words of the command line, `"strategy=ewc"`, `"seed=1"`. The keys, the checks and the
    run folder are the same, and so are its bytes. config_dir: a folder with options of your own.
    Progress goes to stderr; `print(run)` shows what the command would print in the end.

    With `"resume=FOLDER"` or `"resume=auto"` a run is continued, or read if it is complete. Ctrl-C,
    or the stop button of a notebook, saves after the step and raises KeyboardInterrupt; a second
    one raises it at once. Both leave a folder that `"resume=FOLDER"` continues.

    Generators, Hydra, logging, torch's settings and signal handlers are afterwards as before. Runs
    in several threads take turns.

    Raises RunError with the line that the command would print: ConfigError for a setting that
    cannot be used, Diverged, DataError, StorageError, FolderInUse, CheckpointError.
    """
    _check_words("run", settings)
    with left_as_it_was():
        _, folder = calls.one(settings, _path(config_dir))
    return Run.at(folder)


def sweep(*settings: str, jobs: int | None = None, config_dir: str | Path | None = None) -> Runs:
    """Run all combinations of the values that are given with commas, as `cl-train -m SETTINGS`.

    settings: as for `run`, with lists such as `"strategy=ewc,lwf"`, `"seed=0,1"`. jobs: how many
    run at a time on this machine, by `hydra/launcher=local`; None: one, or what a launcher among
    the settings says. A line is printed for each job that ends, then the means.

    Returns the runs of this call; others may be in the same folder. The sweep is a process of its
    own, so it can be called wherever Python runs. Called again, it skips what is complete. If this
    process ends, the jobs save their state and end, too. `"plan=true"` prints what it would do and
    runs nothing.

    Raises RunError as `run` does, and where not all jobs are complete in the end: `load` gives
    those that are. After Ctrl-C the jobs save, and KeyboardInterrupt is raised.
    """
    _check_words("sweep", settings)
    if jobs is not None:
        check_count("jobs", jobs)
    local = [] if jobs is None else ["hydra/launcher=local", f"hydra.launcher.n_jobs={jobs}"]
    folder = own_process.sweep([*settings, *local], _path(config_dir))
    return Runs.of_sweep(folder) if folder.exists() else Runs([folder], [])


def search(
    *settings: str,
    trials: int = 20,
    jobs: int | None = None,
    name: str | None = None,
    config_dir: str | Path | None = None,
) -> Search:
    """Choose settings by optuna on validation data, as `cl-search SETTINGS` does.

    settings: as for `run`, some with what is to be tried, `"optimizer.lr=tag(log,interval(1e-4,
    1e-1))"`, and with `dataset.validation_fraction` above 0. trials: in all, including those of
    earlier calls. jobs: how many runs at a time on this machine; None: its cores, or what a
    launcher among the settings says. name: of the search and its folder in `outputs/searches`;
    None: a digest of the settings. A line is printed for each trial that ends, then the table.

    The search is a process of its own, so it can be called wherever Python runs. Called again, it
    returns what there is; with more trials it continues. A trial that failed or diverged is in the
    table and no error. If this process ends, the runs save their state and end, too.

    Raises RunError as `run` does, also if no trial is complete or optuna is not installed. After
    Ctrl-C the runs save, and KeyboardInterrupt is raised; the same call continues.
    """
    _check_words("search", settings if name is None else [*settings, name])
    check_count("trials", trials)
    if jobs is not None:
        check_count("jobs", jobs)
    flags = {"trials": trials, "jobs": jobs, "name": name}
    return Search(own_process.search(settings, _path(config_dir), flags))


def load(*folders: str | Path) -> Runs:
    """All runs below these folders, of whatever state: those of a sweep, or of all that there is.

    Raises ConfigError if a folder does not exist or has no run. A run whose files are damaged is
    among the others, with `state` "damaged" and the reason in `error`.
    """
    return Runs.below(*map(Path, folders or ["outputs"]))


def _check_words(name: str, settings: Sequence[object]) -> None:
    for word in settings:
        if not isinstance(word, str):
            raise TypeError(f"{name} takes words such as 'seed=1', not {word!r}")
        if "\0" in word or any("\ud800" <= sign <= "\udfff" for sign in word):
            key, _, value = word.partition("=")
            raise ConfigError.of(key, value, "has a character that no command line can have")


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
