"""The files of a suite's page: the text, its figure, the numbers of each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_runner.errors import ConfigError
from cl_runner.reproduce import kept_numbers
from cl_runner.reproduce.kept_numbers import Numbers
from cl_runner.reproduce.page import markdown
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, judge
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.schemas import Judgement
from cl_runner.text import counted

FLAG = "--page"


def check(folder: Path, whole: Suite, asked: Suite, changes: Sequence[str]) -> None:
    """Before anything is run: the numbers of these runs can be added to the suite's page in this
    folder. asked: the suite with the runs and seeds of the call; changes: settings that the command
    line gives to all runs. Raises ConfigError where the page would lose others, or would get seeds
    that are not the suite's; CheckpointError if the file of numbers is damaged."""
    page, kept = folder / f"{whole.name}.md", kept_numbers.read(_numbers_of(folder, whole))
    if others := sorted(set(asked.seeds) - set(whole.seeds)):
        given, allowed = ",".join(map(str, others)), ", ".join(map(str, whole.seeds))
        raise ConfigError.of("--seeds", given, f"the page has those of the suite: {allowed}")
    if kept_numbers.of_today(whole, [], kept) and changes:
        what = f"{page} has the numbers of the suite without {' '.join(changes)}"
        raise ConfigError.of(FLAG, folder, what, "another folder")
    if page.exists() and not kept and asked != whole:
        what = f"the numbers of {page} are not kept beside it, so a part would replace all of it"
        raise ConfigError.of(FLAG, folder, what, "another folder, or remove the page")


def add(
    folder: Path, whole: Suite, given: Sequence[str], changes: Sequence[str], now: Numbers
) -> Path:
    """Add these runs to those that are kept, and write the suite's page of all of them. given: as
    for `markdown`. Returns the page's file.

    Read again here: since `check` another call may have added its runs."""
    file = _numbers_of(folder, whole)
    kept = kept_numbers.read(file)
    earlier = kept_numbers.of_today(whole, changes, kept)
    runs = kept_numbers.together(whole, earlier, now)
    storage.make(file.parent)
    storage.write(file, kept_numbers.text(runs))
    if gone := len(kept.keys() - runs.keys()):
        print(f"{file}: {counted(gone, 'run')} of other settings or rows left out")
    return _page(folder, whole, given, runs)


def _page(folder: Path, suite: Suite, given: Sequence[str], runs: Numbers) -> Path:
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
    beside = _numbers_of(Path(), suite).as_posix()
    storage.write(file, markdown(suite, given, verdicts, runs, picture, beside))
    return file


def _numbers_of(folder: Path, suite: Suite) -> Path:
    return folder / "numbers" / f"{suite.name}.csv"
