"""The files of a suite's page: the text, its figure, the numbers of each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_runner import lock
from cl_runner.errors import ConfigError
from cl_runner.reproduce import kept_numbers
from cl_runner.reproduce.kept_numbers import RunsMeasured
from cl_runner.reproduce.page import markdown
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, judge
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.schemas import Judgement
from cl_runner.text import counted

FLAG = "--page"
LOCK = ".lock"


def check(folder: Path, whole: Suite, asked: Suite, changes: Sequence[str]) -> None:
    """Before anything is run: the numbers of these runs can be added to the suite's page in this
    folder. asked: the suite with the runs and seeds of the call; changes: settings that the command
    line gives to all runs. Raises ConfigError where the page would lose others, or would get seeds
    that are not the suite's; CheckpointError if the file of numbers is damaged."""
    page, kept = folder / f"{whole.name}.md", kept_numbers.read(_csv_of(folder, whole))
    if others := sorted(set(asked.seeds) - set(whole.seeds)):
        given, allowed = ",".join(map(str, others)), ", ".join(map(str, whole.seeds))
        raise ConfigError.of("--seeds", given, f"the page has those of the suite: {allowed}")
    given = kept_numbers.changes_of(changes)
    for kept_with in sorted({one.changes for one in kept.values()} - {given}):
        its = f"with {kept_with}" if kept_with else "without other settings"
        what = f"{page} has the numbers of the suite {its}, and this call gives {given or 'none'}"
        raise ConfigError.of(FLAG, folder, what, "another folder")
    if page.exists() and not kept and (asked != whole or changes):
        what = f"the numbers of {page} are not kept beside it, so this call would replace them"
        raise ConfigError.of(FLAG, folder, what, "another folder, or remove the page")


def add(folder: Path, whole: Suite, given: Sequence[str], now: RunsMeasured) -> Path:
    """Add these runs to those that are kept, and write the suite's page of all of them. given: as
    for `markdown`. Returns the page's file.

    Read again here: since `check` another call may have added its runs. One call at a time."""
    file = _csv_of(folder, whole)
    storage.make(file.parent)
    with lock.held(file.parent / LOCK, waiting=lambda: None):
        kept = kept_numbers.read(file)
        runs = kept_numbers.together(whole, kept_numbers.of_today(whole, kept), now)
        storage.write(file, kept_numbers.text(runs))
        if gone := len(kept.keys() - runs.keys()):
            print(f"{file}: {counted(gone, 'run')} of other settings or rows left out")
        return _page(folder, whole, given, runs)


def _page(folder: Path, suite: Suite, given: Sequence[str], runs: RunsMeasured) -> Path:
    """Write the page, and its figure if something was published."""
    from cl_runner.report.render.figures import svg  # with matplotlib
    from cl_runner.report.render.suite_figures import published_and_ours

    verdicts = judge(suite, runs, len(suite.seeds))
    figure = published_and_ours(Judgement.model_validate(as_json(suite, [], verdicts)).rows)
    picture = None if figure is None else f"figures/{suite.name}.svg"
    if figure is not None and picture is not None:
        storage.make((folder / picture).parent)
        storage.write(folder / picture, svg(figure))
    file = folder / f"{suite.name}.md"
    beside = _csv_of(Path(), suite).as_posix()
    storage.write(file, markdown(suite, given, verdicts, runs, picture, beside))
    return file


def _csv_of(folder: Path, suite: Suite) -> Path:
    return folder / "numbers" / f"{suite.name}.csv"
