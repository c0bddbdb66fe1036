"""The files of a suite's page: the text, its figure, the numbers of each run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_runner.reproduce import measured
from cl_runner.reproduce.measured import Runs
from cl_runner.reproduce.page import markdown
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import as_json, judge
from cl_runner.run_folder import files as storage
from cl_runner.run_folder.schemas import Judgement


def numbers_of(folder: Path, suite: Suite) -> Path:
    """The file with the numbers of each run that belongs to the suite's page in this folder."""
    return folder / "numbers" / f"{suite.name}.csv"


def write(folder: Path, suite: Suite, given: Sequence[str], runs: Runs) -> Path:
    """Write the suite's page, its figure if something was published, and the numbers of each run.
    given: as for `markdown`. Returns the page's file."""
    from cl_runner.report.render.figures import svg  # with matplotlib
    from cl_runner.report.render.suite_figures import published_and_ours

    verdicts = judge(suite, runs, len(suite.seeds))
    figure = published_and_ours(Judgement.model_validate(as_json(suite, [], verdicts)).rows)
    picture = None if figure is None else f"figures/{suite.name}.svg"
    numbers = numbers_of(Path(), suite).as_posix()
    contents: dict[str, str | bytes] = {numbers: measured.text(runs)}
    if figure is not None and picture is not None:
        contents[picture] = svg(figure)
    name = f"{suite.name}.md"
    contents[name] = markdown(suite, given, verdicts, runs, picture, numbers)
    for file, content in contents.items():
        storage.make((folder / file).parent)
        storage.write(folder / file, content)
    return folder / name
