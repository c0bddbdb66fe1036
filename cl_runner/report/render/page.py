"""`report.html`: one page that needs no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from cl_runner import __version__
from cl_runner.report.render.figures import STYLE
from cl_runner.report.render.tables import Table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    """A figure on the page."""

    name: str
    caption: str
    svg: Markup
    broad: bool


@dataclass(frozen=True)
class Choice:
    """The chosen setting: why it was chosen, and the command that runs it."""

    why: str
    command: str


@dataclass(frozen=True)
class Chapter:
    """What the page shows of a section; `details` are folded."""

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    figures: Sequence[Picture] = ()
    details: Sequence[Table] = ()
    frames: Sequence[str] = ()  # of an animation, as addresses that hold them
    choice: Choice | None = None


@dataclass(frozen=True)
class Page:
    """The whole: its title, how many runs it is of, the verdict of a suite, a chapter for each
    section."""

    title: str
    counts: str
    chapters: Sequence[Chapter]
    verdict: Sequence[Table] = ()
    figures: Sequence[Picture] = ()  # of a suite

    def render(self) -> str:
        """HTML in which every name is text, and in which a browser runs the one script of ours: the
        content security policy names it by its digest."""
        surroundings = Environment(
            loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
        )
        script = (HERE / "page.js").read_text("utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        return surroundings.get_template("page.html.jinja").render(
            **vars(self),
            style=Markup((HERE / "page.css").read_text("utf-8")),
            script=Markup(script),
            script_digest=digest,
            version=__version__,
        )


def inline(figure: Figure, name: str, caption: str) -> Picture:
    """A figure as a part of the page; its text stays text, its ids are its own."""
    buffer = StringIO()
    with matplotlib.rc_context(fname=STYLE), matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    prefix = hashlib.sha256(f"{name}{svg}".encode()).hexdigest()[:6]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    label = f'<svg role="img" aria-label="{escape(caption)}"'
    return Picture(name, caption, Markup(svg.replace("<svg", label, 1)), figure.get_figwidth() > 7)


def addresses(folder: Path) -> list[str]:
    """The pictures of an animation, in their order, as addresses that hold them."""
    files = sorted(folder.glob("*.png"))
    return [f"data:image/png;base64,{base64.b64encode(f.read_bytes()).decode()}" for f in files]
