"""The line that a command prints when it fails, split into its parts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_VALUE = r"(?:\{[^}]*\}|\[[^\]]*\]|:(?! )|[^:])*?"  # a node may have a colon within
_FORM = re.compile(
    rf"config error: (?P<key>command line|[^= ]+)(=(?P<value>{_VALUE}):)? (?P<allowed>.+?)\."
    r"( Hint: (?P<hint>.+))?",
    re.DOTALL,
)
_SHOWN = 80  # characters of a value that are shown


@dataclass(frozen=True)
class Problem:
    """`config error: KEY=VALUE: ALLOWED. Hint: HINT`."""

    key: str
    value: str | None  # None: the line has no value
    allowed: str
    hint: str  # empty: the line has no hint


def only_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The only line that a command printed, to stderr, when it ended with this code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    return lines[0]


def problem_of(line: str) -> Problem:
    """The parts of a line about a setting."""
    found = _FORM.fullmatch(line)
    assert found is not None, f"not KEY=VALUE: ALLOWED. Hint: HINT, but {line}"
    assert len(found["allowed"]) + len(found["hint"] or "") < 400, line
    return Problem(found["key"], found["value"], found["allowed"], found["hint"] or "")


def is_about(line: str, arguments: Sequence[str]) -> Problem:
    """Assert that a line is about one of these arguments, or the command line, and says what is
    allowed. Returns its parts."""
    found = problem_of(line)
    keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    assert found.key in keys | {"command line"}, line
    assert found.allowed and found.allowed != found.value, line
    return found


def check_problem(line: str, arguments: Sequence[str], setting: str, words: str) -> Problem:
    """Assert that a line names what was typed, what is allowed, and the remedy.

    setting: KEY=VALUE, or only KEY for a line without a value. The value of an argument may be left
    out; `…` ends a value that is cut off. words: part of what is allowed, then `Hint: ` and the
    start of the remedy; or only a whole remedy.
    """
    found = problem_of(line)
    key, has_value, value = setting.partition("=")
    assert found.key == key, line
    if not has_value:
        assert found.value is None, line
    elif value.endswith("…"):
        assert str(found.value).startswith(value[:-1]), line
    else:
        assert found.value in _ways_to_show(value, key, arguments), line
    allowed, _, hint = words.partition("Hint: ")
    if hint:
        assert allowed.strip(" .") in found.allowed and found.hint.startswith(hint), line
    else:
        assert words in found.allowed or words == found.hint, line
    return found


def _ways_to_show(value: str, key: str, arguments: Sequence[str]) -> set[str]:
    """A value as typed, as YAML reads it, and as a path, cut off as in messages."""
    typed = dict(argument.lstrip("+~").partition("=")[::2] for argument in arguments)
    given = [value, *([typed[key]] if key in typed else [])]
    read = [str(_of_yaml(text)) for text in given]
    texts = ["".join(map(_visible, text)) for text in [*given, *read]]
    shown = {s if len(s) <= _SHOWN else f"{s[: _SHOWN - 3]}..." for s in texts}
    return shown | {f"{Path.cwd()}/{text}" for text in texts}


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def _of_yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text
