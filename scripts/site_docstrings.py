"""Docstrings as text, for mkdocstrings: an asterisk or bracket in them is no Markdown."""

from __future__ import annotations

from typing import Any

import griffe
import site_markdown as markdown


class AsText(griffe.Extension):  # type: ignore[misc]  # mkdocs and its parts are not read
    """What the Python reference shows is what the source says."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown.escaped(obj.docstring.value)
