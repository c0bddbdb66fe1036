"""The comments of a YAML file, each with the key that it explains; and a text with them added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import yaml

COLUMN = 22
"""Where an added comment begins, unless its line is longer."""


def head(text: str) -> str:
    """The comment before the first key, which is about the whole file, in one line."""
    first = yaml.compose(text)
    line = text.count("\n") if first is None else first.start_mark.line
    lines = (line.removeprefix("#").strip() for line in text.splitlines()[:line])
    return " ".join(line for line in lines if not line.startswith("@package"))


def keys(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    """The dotted key, its node and the node of its value, for each key that has a line of its own,
    from top to bottom."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for name, value in node.value:
            yield f"{prefix}{name.value}", name, value
            yield from keys(value, f"{prefix}{name.value}.")


def comments(text: str) -> dict[str, list[str]]:
    """The comment of each key, line by line; empty for a key without one.

    A comment begins on the line of its key and goes on below, further to the right than the key. A
    line further to the left is about the next key.
    """
    begins = {name.start_mark.line: (key, name) for key, name, _ in keys(yaml.compose(text))}
    found: dict[str, list[str]] = {}
    key, column = "", -1
    above: list[str] = []
    for number, (code, comment) in enumerate(_split(text)):
        if number in begins:
            key, name = begins[number]
            column = name.start_mark.column
            found[key], above = (above if found else []), []
        if comment is not None:
            own = found and (code.strip() or len(code) > column)
            (found[key] if own else above).append(comment)
    return found


def commented(text: str, explained: Mapping[str, Sequence[str]]) -> str:
    """A YAML text whose keys have these comments, each beginning on the line of its key."""
    lines = text.splitlines()
    for key, name, value in reversed(list(keys(yaml.compose(text)))):
        line = name.start_mark.line
        folded = isinstance(value, yaml.ScalarNode) and value.end_mark.line > line
        if explained.get(key) and not folded:  # a comment would end a text of several lines
            beside = lines[line].ljust(COLUMN)
            left = [beside, *[" " * len(beside)] * (len(explained[key]) - 1)]
            both = zip(left, explained[key], strict=True)
            lines[line : line + 1] = [f"{code} # {comment}" for code, comment in both]
    return "".join(f"{line}\n" for line in lines)


def _split(text: str) -> Iterator[tuple[str, str | None]]:
    """Each line as what comes before its comment, and the comment without its sign, or None."""
    lines = text.splitlines()
    ends = [0] * (len(lines) + 1)  # of the last token on each line: a # in it begins no comment
    for token in yaml.scan(text):
        first, last = token.start_mark, token.end_mark
        for number in range(first.line, min(last.line + 1, len(lines))):
            end = last.column if number == last.line else len(lines[number])
            ends[number] = max(ends[number], end)
    for line, end in zip(lines, ends, strict=False):
        before, sign, comment = line[end:].partition("#")
        yield line[:end] + before, comment.strip() if sign else None
