"""The words of a command line in Hydra's grammar, refusing what Hydra would fail or hang on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from cl_runner.errors import ConfigError, first_line

_QUOTED_OR_HOME = re.compile(
    r"""(?P<quoted>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<before>^|[,:({\[]\s*)~(?=/)"""
)
"""In a value: a text in quotes, or a `~` that begins it, or one of several, without quotes."""

_SEVERAL = re.compile(r"^[^=]*\s=|^[^=]+=\s|\s[+~]*[\w./@]+=")
"""Spaces around the `=` of a setting, or a second one."""


@dataclass(frozen=True)
class Most:
    """The largest size of a list: how many of which things, and what to do instead."""

    number: int
    things: str
    hint: str


def parsed(words: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """The words as overrides, a `~/` at the beginning of a value replaced by the home folder.
    loader: lists the options of a group, which `glob(*)` needs.

    Raises ConfigError for the first word that cannot be understood.
    """
    parser = OverridesParser.create(config_loader=loader)
    return [_parsed(word, parser) for word in words]


def refuse_no_option(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Raise ConfigError for a group whose value is not the name of an option."""
    for override in overrides:
        key = override.key_or_group
        if override.is_sweep_override():
            continue  # its values are checked one by one later
        if not key:
            word = str(override.input_line)
            raise ConfigError.of("command line", word, "has no key", "key=value")
        value = override.value()
        deletes_any = value is None and override.is_delete()
        if _names_options(value) or isinstance(value, dict) or deletes_any:
            continue
        if options := loader.get_group_options(key):
            hint = f"known are {', '.join(sorted(options))}"
            raise ConfigError.of(key, _given(override), "must be the name of an option", hint)


def values(override: Override, most: Most) -> list[str]:
    """Each value of a list, as a word. Raises ConfigError for an empty list and, before it is
    made, for one that is too long."""
    key, given = override.key_or_group, _given(override)
    value = override.value()
    if isinstance(value, RangeSweep):
        refuse_too_many(key, given, _length(value, key, given), most)
    words = list(override.sweep_string_iterator())
    if not words:
        raise ConfigError.of(key, given, "has no values")
    return words


def refuse_too_many(key: str, given: str, count: int, most: Most) -> None:
    """Raise ConfigError if a list, or the product of several, has more values than allowed."""
    if count > most.number:
        size = f"{count:,}" if count < 10**15 else f"{Decimal(count):.0e}"
        allowed = f"would be {size} {most.things}, at most {most.number:,} are possible"
        raise ConfigError.of(key, given, allowed, most.hint)


def _parsed(word: str, parser: OverridesParser) -> Override:
    try:
        override = parser.parse_override(_with_home(word))
        override.config_loader = parser.config_loader
        return override
    except HydraException:
        raise ConfigError.of("command line", word, "cannot be understood", _remedy(word)) from None
    except RecursionError:
        allowed = "is nested too deeply"
    except (ValueError, ArithmeticError) as error:  # raised by Python's int()
        many = "limit" in str(error)
        allowed = "has too many digits" if many else f"cannot be understood: {first_line(error)}"
    raise ConfigError.of(key_of(word), word.partition("=")[2], allowed)


def _remedy(word: str) -> str:
    """What to do about a word that is not in Hydra's grammar."""
    if word.startswith("-"):
        return "options such as -m and --help belong to the shell; a setting is key=value"
    if _SEVERAL.search(word):
        return "each setting is an argument of its own, written key=value without spaces"
    return "put a value with special characters in two pairs of quotes: \"key='a b'\""


def _with_home(word: str) -> str:
    """The word with the home folder in place of each `~/` that its value begins with, or one of
    several values, in quotes or not. A shell only replaces one at the beginning of a word."""
    key, equals, value = word.partition("=")
    home = os.path.expanduser("~")

    def replaced(found: re.Match[str]) -> str:
        text = found["quoted"]
        if text is None:
            return found["before"] + home
        return text[0] + home + text[2:] if text[1:3] == "~/" else text

    return key + equals + _QUOTED_OR_HOME.sub(replaced, value)


def _given(override: Override) -> str:
    """The value as typed."""
    return str(override.input_line).partition("=")[2]


def _names_options(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) for name in names)


def _length(values: RangeSweep, key: str, given: str) -> int:
    """How many values a range has."""
    start, stop, step = (Decimal(n or 0) for n in (values.start, values.stop, values.step))
    if not (start.is_finite() and stop.is_finite() and step.is_finite() and step):
        allowed = "must be range(start,stop,step) with numbers and a step other than 0"
        raise ConfigError.of(key, given, allowed)
    return max(0, math.ceil((stop - start) / step))


def key_of(override: str) -> str:
    """The setting that an override of the command line changes."""
    return override.lstrip("+~").partition("=")[0]


def is_for_sweeps(override: str) -> bool:
    """Whether it sets what a sweep runs or how: a preset of `conf/sweep/`, or Hydra's own keys."""
    return re.split(r"[./@]", key_of(override))[0] in ("sweep", "hydra")


def last_part(key: str) -> str:
    """`alpha` of `strategy.alpha`."""
    return key.rpartition(".")[2]
