"""`report.html`: one page that needs no network, and can be read without its script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from cl_runner import __version__
from cl_runner.report.render import figures
from cl_runner.report.render.colours import INKS, in_dark
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.reasons import Why
from cl_runner.report.render.strategy_panels import Block
from cl_runner.report.render.table import Table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Choice:
    """The chosen setting: why it was chosen, and the command that runs it."""

    why: str
    command: str


@dataclass(frozen=True)
class Chapter:
    """What the page shows of a section; its details are folded."""

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    trained: str = ""  # with what, in a line
    figures: Sequence[Drawing] = ()
    blocks: Sequence[Block] = ()
    details: Sequence[Table] = ()
    moving: Drawing | None = None
    choice: Choice | None = None
    why: Why | None = None


@dataclass(frozen=True)
class Page:
    """The whole page: its title, the number of runs, a suite's verdict, a chapter per section."""

    title: str
    counts: str
    chapters: Sequence[Chapter]
    verdict: Sequence[Table] = ()
    unjudged: Sequence[Table] = ()  # what the verdict has nothing to compare with; folded
    figures: Sequence[Drawing] = ()  # of a suite
    looks: Looks = field(default_factory=lambda: Looks({}))

    def render(self) -> str:
        """The HTML. Every name is escaped, and a browser runs only our script, because the content
        security policy allows it by its digest."""
        environment = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
        )
        script = (HERE / "page.js").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return environment.get_template("page.html.jinja").render(
            **vars(self),
            svg=svg,
            in_dark=in_dark,
            style=Markup((HERE / "page.css").read_text("utf-8")),
            script=Markup(script),
            script_digest=digest,
            version=__version__,
        )


def svg(drawing: Drawing) -> Markup:
    """A figure as part of the page. Its text stays text; its ids are unique on the page, and a
    hundredth of a point is fine enough for its lines."""
    text = figures.svg(drawing.figure).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = _COLOURS.sub(_on_any_page, text)
    text = re.sub(r'<g id="(last-)?frame-(\d+)-\d+">', _frame, text)
    for part, words in drawing.hover.items():
        group = f'<g id="{part}">'
        text = text.replace(group, f"{group}<title>{escape(words)}</title>", 1)
    prefix = hashlib.sha256(f"{drawing.name}{text}".encode()).hexdigest()[:6]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", text)
    label = f'<svg role="img" aria-label="{escape(drawing.caption)}"'
    return Markup(text.replace("<svg", label, 1))


_COLOURS = re.compile(r'<g id="cell-.*?</g>|(fill|stroke): (#[0-9a-f]{6})', re.DOTALL)


def _on_any_page(found: re.Match[str]) -> str:
    """A colour with the one that stands for it on a dark page; a browser that does not know
    `light-dark` keeps the first. A cell of a heat map, and the text on it, stay as they are."""
    what, colour = found.groups()
    if what is None or colour in INKS:
        return found[0]
    return f"{what}: {colour}; {what}: light-dark({colour}, {in_dark(colour)})"


def _frame(found: re.Match[str]) -> str:
    """A line of an animation, as style and script look for it."""
    kind = "frame last" if found[1] else "frame"
    return f'<g class="{kind}" data-frame="{found[2]}">'
