"""W&B runs made from local files: `cl-report --to-wandb`, and the run that sums up a sweep.

After a crash, or where there was no network, nothing is lost but the mirror: the mirror itself
(`tracking/wandb.py`) is shown what `metrics.jsonl` and `results.json` hold, and so makes the same
W&B runs again, under the same ids.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cl_runner.errors import CheckpointError, ConfigError, RunError, StorageError, first_line
from cl_runner.report.runs import status_files
from cl_runner.resume import Attempt, Config, read_config, read_metrics, read_status
from cl_runner.sweep.jobs import DONE, label, last_part, read_ledger, state_of
from cl_runner.tracking.tracker import RunInfo
from cl_runner.tracking.wandb import Mode, WandB, final_metrics

HIDDEN = re.compile(r"<env:\w+>|<masked>")
"""What stands in a run folder for a value that it does not hold."""
Cell = float | str | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `cl-report` that are about W&B."""
    parser.add_argument("--to-wandb", action="store_true", help="make the W&B runs of these runs")
    parser.add_argument("--mode", choices=("offline", "online"), default="offline",
                        help="of --to-wandb: write files for `wandb sync`, or upload")  # fmt: skip
    parser.add_argument("--project", help="of --to-wandb: instead of the runs' own")


def command(arguments: argparse.Namespace) -> None:
    """Print what became of each run, and how to upload them."""
    place = arguments.output or arguments.folders[0]
    told = rebuild(arguments.folders, place, mode=arguments.mode, project=arguments.project)
    for line in told:
        print(line, flush=True)


def rebuild(
    folders: Sequence[Path], place: Path, *, mode: Mode = "offline", project: str | None = None
) -> Iterator[str]:
    """Make the W&B runs of all runs and sweeps below these folders; a line for each.

    W&B's files are below `place`/wandb, where they take the place of earlier ones of the same run
    unless those were uploaded. Nothing else is written. Raises RunError at the first run that W&B
    does not take, and at the end if files of a run were damaged.
    """
    files = status_files(folders)
    check_writable(place)
    damaged = 0
    for folder in (file.parent for file in files):
        try:
            yield f"{folder}: {_rebuild(folder, place, mode, project)}"
        except CheckpointError as error:
            damaged += 1
            yield f"{folder}: {error}"
    for folder in sorted({file.parent for f in folders for file in f.rglob("sweep.json")}):
        tracker = tracker_of(_first_tracker(folder), mode=mode, project=project)
        with _in_one_line():
            summary_run(folder, tracker, place)
        yield f"{folder}: summary of the sweep"
    if mode == "offline":
        yield f"to upload them: wandb sync {shlex.quote(str(place / 'wandb'))}/offline-run-*"
    if damaged:
        raise RunError(f"{damaged} runs could not be read")


def _rebuild(folder: Path, place: Path, mode: Mode, project: str | None) -> str:
    """Make the W&B run of this run; what to say of it. Raises CheckpointError for a damaged one."""
    config, status, state = read_config(folder), read_status(folder), state_of(folder)
    if config is None:
        return f"{state} before it began, nothing to show"
    if state == "running":
        return "still running, left alone"
    info = _info(folder, config, status)
    results = _results(folder) if state == DONE else None
    tracker = tracker_of(
        config.get("tracker"), mode=mode, project=project, name=_name_in_sweep(folder)
    )
    with _in_one_line():
        tracker.open(info, place, mode)
        tracker.close(results, failed=state != DONE)
        _replace_earlier(place, tracker.run)
    return f"{state}, {len(info.earlier)} events"


def _info(folder: Path, config: Config, status: Mapping[str, Any]) -> RunInfo:
    """What the live mirror was told when the last attempt began, and all that was logged since."""
    try:
        attempt = Attempt(status["run_id"], status["attempt"], status["settings"])
        names = dict(status["names"])
    except (LookupError, TypeError, ValueError):
        told = f"{folder / 'status.json'} does not say what the run is called"
        raise CheckpointError(f"checkpoint error: {told}") from None
    events = read_metrics(folder / "metrics.jsonl")
    return RunInfo(folder, config, names, [], steps=0, earlier=events, attempt=attempt)


def _results(folder: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError):
        raise CheckpointError(f"checkpoint error: {folder / 'results.json'} is damaged") from None
    return results


def _name_in_sweep(folder: Path) -> str | None:
    """What varies, if the run is a job of a sweep."""
    varied = {job["folder"]: job["varied"] for job in read_ledger(folder.parent)["jobs"]}
    return label(varied.get(folder.name, {})) or None


def is_wandb(node: Mapping[str, Any] | None) -> bool:
    """Whether these settings of a tracker are of W&B."""
    return bool(node) and node["_target_"] == _preset()["_target_"]  # type: ignore[index]


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
    if project is None and HIDDEN.search(str(given.get("project"))):
        allowed = "is not in the run's files"
        raise ConfigError.of("tracker.project", given["project"], allowed, "--project NAME")
    told = {k: v for k, v in given.items() if k in preset and not HIDDEN.search(str(v))}
    settings = preset | told
    settings |= {"mode": mode or settings["mode"], "project": project or settings["project"]}
    settings["name"] = settings["name"] or name
    del settings["_target_"]
    return WandB(**settings)


def _preset() -> dict[str, Any]:
    from cl_runner.train import CONF

    preset: dict[str, Any] = yaml.safe_load((CONF / "tracker" / "wandb.yaml").read_text())
    return preset


def mirror_sweep(folder: Path, node: Mapping[str, Any]) -> None:
    """The summary run at the end of a sweep whose jobs have this tracker. Whatever goes wrong
    becomes one line."""
    if not is_wandb(node):
        return
    try:
        check_writable(folder)
        summary_run(folder, tracker_of(node), folder)
    except Exception as error:
        remedy = f"cl-report --to-wandb {shlex.quote(str(folder))}"
        print(f"W&B has no summary of the sweep: {first_line(error)}; {remedy}", file=sys.stderr)


def summary_run(folder: Path, tracker: WandB, place: Path) -> None:
    """One W&B run in the group of the sweep: all its jobs as a table, and the report's figures.

    Its id is that of the sweep, so that one made later takes its place. Raises what W&B raises.
    """
    import wandb

    ledger = read_ledger(folder)
    name, jobs = ledger["sweep"], ledger["jobs"]
    run = tracker.start(
        place,
        tracker.mode,
        group=tracker.group or name,
        job_type="sweep",
        id=f"{ledger.get('id', name)}-sweep",
        name=f"{name} summary",
        tags=tracker.tags,
        config={"sweep": name, "jobs": len(jobs)},
    )
    try:
        columns, rows = _jobs(folder, jobs)
        run.log({"jobs": wandb.Table(columns=list(columns), data=rows)})
        run.log(_figures(folder))
    finally:
        complete = all(state_of(folder / job["folder"]) == DONE for job in jobs)
        run.finish(exit_code=0 if complete else 1)
    _replace_earlier(place, run)


def _jobs(folder: Path, jobs: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Cell]]]:
    """The table of a sweep: columns and rows; what a job has not come to is None."""
    rows = [_job(folder / job["folder"], job["varied"]) for job in jobs]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    typed = [_of_one_type([row.get(column) for row in rows]) for column in columns]
    return columns, [list(row) for row in zip(*typed, strict=True)]


def _job(folder: Path, varied: Mapping[str, str]) -> dict[str, Cell]:
    """One job's row: what varies, seed, state, strategy, final metrics."""
    status, state = read_status(folder), state_of(folder)
    try:
        config = read_config(folder) or {}
        metrics = final_metrics(_results(folder)) if state == DONE else {}
    except CheckpointError:
        config, metrics = {}, {}
    fixed = {"strategy": status.get("names", {}).get("strategy"), "seed": config.get("seed")}
    swept = {last_part(key): value for key, value in varied.items()}
    return {"job": folder.name, **fixed, **swept, "state": state, **metrics}


def _of_one_type(column: Sequence[Cell]) -> list[Cell]:
    """Numbers, if all are: W&B's tables have a type for each column."""
    try:
        return [None if cell is None else float(cell) for cell in column]
    except ValueError:
        return [None if cell is None else str(cell) for cell in column]


def _figures(folder: Path) -> dict[str, Any]:
    """The report's figures of the sweep, as W&B's images."""
    import wandb

    from cl_runner.report import command
    from cl_runner.report.figures import picture
    from cl_runner.report.runs import read

    drawn = command._figures([folder], read([folder]))
    return {name: wandb.Image(picture(figure)) for name, figure in drawn}


def _first_tracker(folder: Path) -> Mapping[str, Any] | None:
    """That of the sweep's first job that has begun."""
    for job in read_ledger(folder)["jobs"]:
        config = read_config(folder / job["folder"])
        if config is not None:
            return config.get("tracker")
    return None


def check_writable(place: Path) -> None:
    """Raise StorageError if W&B could not write below `place`/wandb: it would go elsewhere."""
    try:
        (place / "wandb").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place / "wandb"):
            pass
    except OSError as error:
        told = f"storage error: {place / 'wandb'}: {error.strerror}"
        raise StorageError(f"{told}; --output FOLDER writes to another place") from None


def _replace_earlier(place: Path, run: Any) -> None:
    """Remove what an earlier call has written of this W&B run, unless it was uploaded: `wandb sync`
    would upload both, and only the last of them stays."""
    made = Path(run.dir).parent.resolve()
    for file in place.glob(f"wandb/offline-run-*/run-{run.id}.wandb"):
        uploaded = file.with_name(f"{file.name}.synced").exists()
        if file.parent.resolve() != made and not uploaded:
            shutil.rmtree(file.parent)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        told = f"W&B error: {first_line(error)}"
        raise RunError(f"{told}; without --mode online nothing is uploaded yet") from None
