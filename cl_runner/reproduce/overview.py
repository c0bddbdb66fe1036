"""The overview of the suites' pages: how many rows are within, and what explains the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.suite import Suite
from cl_runner.reproduce.verdict import HEADER, UNJUDGED
from cl_runner.run_folder.files import make, write

JUDGED = ("ok", "too high", "too low")
COLUMNS = [
    "suite", "within", "too high", "too low", "not verified: within", "goals met", "no verdict",
]  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of the table on a suite's page, as it stands there."""

    row: str
    published: str
    ours: str
    verdict: str

    @property
    def kind(self) -> str:
        """`verified`: its number was read in the paper; `not verified`; `goal`: no number, but a
        limit; `ours`: neither."""
        if self.verdict == UNJUDGED:
            return UNJUDGED
        if self.published == "–":
            return "goal"
        return "not verified" if self.published.endswith(")") else "verified"


def write_overview(folder: Path) -> Path:
    """Write README.md about the pages in this folder. Returns its path."""
    pages = {name: folder / f"{name}.md" for name in suites.names()}
    found = {name: page.read_text("utf-8") for name, page in pages.items() if page.is_file()}
    make(folder)
    write(folder / "README.md", markdown(found))
    return folder / "README.md"


def markdown(pages: dict[str, str]) -> str:
    """The overview. pages: the text of each suite's page, by the suite's name."""
    tables = {name: list(lines_of(text)) for name, text in pages.items()}
    total = Counter(v for lines in tables.values() for v in verdicts(lines, "verified"))
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(_cells(*each) for each in tables.items())]
    outside = [
        text for name, lines in tables.items() for text in _outside(name, lines, suites.read(name))
    ]
    blocks = [
        "# What we reproduce",
        f"**{total['ok']} of {sum(total[word] for word in JUDGED)} published numbers are within"
        f" their tolerance, {total['too high']} of ours are too high, {total['too low']} too low.**"
        " A number that was not read in the paper itself counts apart, and so does a goal where no"
        " number was published. Each page has the protocol, the seeds and how a tolerance is"
        " computed.",
        "\n".join("| " + " | ".join(row) + " |" for row in rows),
        "\n".join(["## Rows outside", "", *outside]) if outside else "",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def lines_of(page: str) -> Iterator[Line]:
    """The rows of all verdict tables on a page."""
    inside = False
    for text in page.splitlines():
        cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
        if not text.startswith("|"):
            inside = False
        elif cells == HEADER:
            inside = True
        elif inside and set(cells) != {"---"}:
            line = dict(zip(HEADER, cells, strict=True))
            yield Line(line["row"], line["published"], line["ours"], line["verdict"])


def verdicts(lines: list[Line], kind: str) -> list[str]:
    """The verdict of each row of this kind that has one."""
    return [line.verdict for line in lines if line.kind == kind and line.verdict in JUDGED]


def _cells(name: str, lines: list[Line]) -> list[str]:
    words = Counter(verdicts(lines, "verified"))
    without = sum(line.kind != UNJUDGED and line.verdict not in JUDGED for line in lines)
    return [
        f"[{suites.read(name).title}]({name}.md)", _share(lines, "verified"),
        str(words["too high"]), str(words["too low"]), _share(lines, "not verified"),
        _share(lines, "goal"), str(without),
    ]  # fmt: skip


def _share(lines: list[Line], kind: str) -> str:
    """`3 of 4`: how many are within."""
    words = verdicts(lines, kind)
    return f"{words.count('ok')} of {len(words)}" if words else "–"


def _outside(name: str, lines: list[Line], suite: Suite) -> Iterator[str]:
    """An item for each explanation, with the rows that it explains."""
    explanations = {row.row: row.explanation for row in suite.rows}
    groups: dict[str, list[str]] = {}
    for line in lines:
        if line.verdict in JUDGED[1:]:
            why = explanations.get(line.row) or "Not explained."
            groups.setdefault(why.strip(), []).append(f"{line.row} ({line.verdict})")
    for why, rows in groups.items():
        yield f"- [{name}]({name}.md), **{'; '.join(rows)}:** {why}"
