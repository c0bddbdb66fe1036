"""`cl-wandb FOLDER...`: W&B runs made from local files.

After a crash, or without network, only the mirror is lost. `mirror.py` is given the contents of
`metrics.jsonl` and `results.json`, and makes the same W&B runs again, under the same ids.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cl_runner import terminal
from cl_runner.config.paths import GROUPS
from cl_runner.config.traits import Config
from cl_runner.errors import ConfigError, RunError, first_line
from cl_runner.jobs.ledger import jobs_in
from cl_runner.report.compare.runs import begun, check_folders
from cl_runner.run_folder import read
from cl_runner.run_folder.plain import Damaged
from cl_runner.run_folder.read import DONE, state_of
from cl_runner.run_folder.resume import Attempt
from cl_runner.run_folder.schemas import Status
from cl_runner.text import harmless
from cl_runner.tracking.tracker import RunInfo
from cl_runner.wandb_mirror.late import check_writable, replace_earlier, tracker_of
from cl_runner.wandb_mirror.mirror import Mode
from cl_runner.wandb_mirror.sweep_summary import summary_run


def main() -> None:
    """`cl-wandb FOLDER...`: print one line per run, and how to upload them."""
    parser = argparse.ArgumentParser(prog="cl-wandb", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    output = "write W&B's files below this folder instead of FOLDER"
    parser.add_argument("--output", type=Path, help=output)
    mode = "write files for `wandb sync`, or upload"
    parser.add_argument("--mode", choices=("offline", "online"), default="offline", help=mode)
    parser.add_argument("--project", help="replaces the runs' own")
    terminal.run(parser, _rebuild_all)


def _rebuild_all(arguments: argparse.Namespace) -> None:
    place = arguments.output or arguments.folders[0]
    for line in rebuild(arguments.folders, place, mode=arguments.mode, project=arguments.project):
        print(harmless(line), flush=True)


def rebuild(
    folders: Sequence[Path], place: Path, *, mode: Mode = "offline", project: str | None = None
) -> Iterator[str]:
    """Make the W&B runs of all runs and sweeps below these folders. Yields a line for each.

    W&B's files go below `place`/wandb. They replace earlier ones of the same run, unless those were
    uploaded. Nothing else is written. Raises RunError at the first run that W&B rejects, and at the
    end if files of a run were damaged.
    """
    check_folders(folders)
    runs = begun(folders)
    if not runs:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    check_writable(place)
    sweeps = sorted({file.parent for f in folders for file in f.rglob("sweep.json")})
    work = [*((_rebuild, run) for run in runs), *((_summarise, sweep) for sweep in sweeps)]
    damaged = 0
    for make, folder in work:
        try:
            yield f"{folder}: {make(folder, place, mode, project)}"
        except Damaged as error:
            damaged += 1
            yield f"{folder}: {error}"
    if mode == "offline" and any(place.glob("wandb/offline-run-*")):
        yield f"to upload them: wandb sync {shlex.quote(str(place / 'wandb'))}/offline-run-*"
    if damaged:
        raise RunError(f"{damaged} folder{'s' * (damaged > 1)} could not be read")


def _rebuild(folder: Path, place: Path, mode: Mode, project: str | None) -> str:
    """Make the W&B run of this run. Returns the rest of its line. Raises Damaged."""
    config, status, state = read.config(folder), read.status(folder), state_of(folder)
    if config is None:
        return f"{state}, without settings: nothing to show"
    if state == "running":
        return "still running, skipped"
    info = _info(folder, config, status)
    results = read.results(folder) if state == DONE else None
    name = _name_in_sweep(folder)
    tracker = tracker_of(config.get("tracker"), mode=mode, project=project, name=name)
    with _in_one_line(mode):
        tracker.open(info, place, mode)
        tracker.close(results, failed=state != DONE)
        replace_earlier(place, tracker.run)
    return f"{state}, {len(info.earlier)} events"


def _summarise(folder: Path, place: Path, mode: Mode, project: str | None) -> str:
    """Make the summary run of this sweep. Raises Damaged."""
    tracker = tracker_of(_first_tracker(folder), mode=mode, project=project)
    with _in_one_line(mode):
        summary_run(folder, tracker, place)
    return "summary of the sweep"


def _info(folder: Path, config: Config, status: Status) -> RunInfo:
    """What the live mirror was given when the last attempt began, and all events since."""
    named = {*GROUPS, "experiment", "group"} <= status.names.keys()
    if not (named and status.run_id and status.attempt):
        raise Damaged(folder / "status.json", "it does not contain the run's names")
    attempt = Attempt(status.run_id, status.attempt, status.settings)
    events = read.metrics(folder)
    return RunInfo(folder, config, status.names, [], steps=0, earlier=events, attempt=attempt)


def _name_in_sweep(folder: Path) -> str | None:
    """The settings that vary, if the run is a job of a sweep."""
    with suppress(Damaged):  # reported for the sweep itself
        for job in jobs_in(folder.parent):
            if job.folder == folder:
                return job.label or None
    return None


def _first_tracker(folder: Path) -> Mapping[str, Any] | None:
    """The tracker of the first of the sweep's jobs that has started."""
    for job in jobs_in(folder):
        with suppress(Damaged):
            config = read.config(job.folder)
            if config is not None:
                return config.get("tracker")
    return None


@contextmanager
def _in_one_line(mode: Mode) -> Iterator[None]:
    """Turn whatever W&B raises into a RunError of one line."""
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        remedy = "" if mode == "offline" else "; --mode offline writes files for `wandb sync`"
        raise RunError(f"W&B error: {first_line(error)}{remedy}") from None


if __name__ == "__main__":
    main()
