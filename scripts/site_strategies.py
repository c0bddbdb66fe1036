"""The pages of the strategies: equation and conventions from the docstring, the settings, and the
numbers from the tables in `docs/results`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import site_markdown as markdown
import yaml

from cl_runner.config.manual import Option
from cl_runner.config.paths import CONF
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.overview import Line, lines_of
from cl_runner.reproduce.verdict import UNJUDGED


@dataclass(frozen=True)
class Reproduced:
    """A row of a page of results, and the strategy of its run."""

    strategy: str
    suite: str
    line: Line


def overview(strategies: Sequence[Option]) -> str:
    """The page that lists all of them."""
    rows = [[f"[`{s.name}`]({s.name}.md)", markdown.cell(s.title)] for s in strategies]
    return (
        "# Strategies\n\n"
        "A strategy is one file, and its docstring is its equation: CE is the cross-entropy, θ are "
        "the weights. `cl-train --help strategy=ewc` prints what its page here says. "
        "[What we reproduce](/results/README.md) counts the published numbers.\n\n"
        + markdown.table(["strategy", "what it is"], rows)
    )


def page(option: Option, results: Sequence[Reproduced]) -> str:
    """The page of one strategy."""
    file = CONF / "strategy" / f"{option.name}.yaml"
    path = yaml.safe_load(file.read_text("utf-8"))["_target_"]
    (node,) = option.nodes
    equation, _, conventions = node.doc.partition("\n\n")
    blocks = [
        f"# {option.name}",
        markdown.text(option.title),
        f"```\ncl-train strategy={option.name}\n```",
        "## Equation",
        f"```text\n{equation}\n```",
        markdown.text(conventions),
        "## Settings",
        markdown.settings(node) or "It has none of its own.",
        "## Reproduced numbers",
        _reproduced([each for each in results if each.strategy == option.name]),
        f"In Python: [`{path}`][{path}]",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _reproduced(rows: Sequence[Reproduced]) -> str:
    judged = [row for row in rows if row.line.kind != UNJUDGED]
    if not judged:
        return "No page of [results](/results/README.md) has a published number for it yet."
    blocks = ["Means over seeds; with ± one standard error where the paper gives a spread."]
    for name, of_suite in groupby(judged, key=lambda row: row.suite):
        lines = [row.line for row in of_suite]
        cells = [[markdown.cell(x.row), x.published, x.ours, x.verdict] for x in lines]
        blocks.append(f"[{suites.read(name).title}](/results/{name}.md):")
        blocks.append(markdown.table(["row", "published", "ours", "verdict"], cells))
    return "\n\n".join(blocks)


def rows_of_results(folder: Path) -> Iterator[Reproduced]:
    """Every row of the tables in this folder, by suite."""
    for name in suites.names():
        file = folder / f"{name}.md"
        if not file.is_file():
            continue
        suite = suites.read(name)
        words = {row.row: [*suite.common, *suite.runs[row.run]] for row in suite.rows}
        for line in lines_of(file.read_text("utf-8")):
            if line.row in words:
                yield Reproduced(strategy_of(words[line.row]), name, line)


def strategy_of(words: Sequence[str]) -> str:
    """The option of `strategy` that a command line chooses, by itself or by its experiment."""
    given = dict(word.split("=", 1) for word in words)
    name = given.get("experiment")
    if "strategy" in given or name is None:
        return given.get("strategy", "finetune")
    preset = yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text("utf-8"))
    entries = preset["defaults"]
    inherited = [e for e in entries if isinstance(e, str) and e != "_self_"]
    chosen: list[str] = [e["override /strategy"] for e in entries if "override /strategy" in e]
    return (chosen or [strategy_of([f"experiment={e}"]) for e in inherited] or ["finetune"])[-1]
