"""The words of a command line in Hydra's grammar: what Hydra itself would fail or hang on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from cl_runner.errors import ConfigError, first_line


@dataclass(frozen=True)
class Most:
    """How many values lists may have in all; of what they are, and what to do instead."""

    number: int
    things: str
    hint: str


def parsed(words: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """What they say. loader: knows the options of a group, for `glob(*)`.

    Raises ConfigError for the first word that cannot be understood."""
    parser = OverridesParser.create(config_loader=loader)
    return [_parsed(word, parser) for word in words]


def refuse_no_option(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Raise ConfigError for a group that is given something else than the name of an option."""
    for override in overrides:
        key = override.key_or_group
        if override.is_sweep_override():
            continue  # its values are looked at one by one
        if not key:
            word = str(override.input_line)
            raise ConfigError.of("command line", word, "has no key", "key=value")
        value = override.value()
        if _names_options(value) or isinstance(value, dict):
            continue
        if value is None and override.is_delete():
            continue
        options = loader.get_group_options(key)
        if options:
            said = str(override.input_line).partition("=")[2]
            hint = f"known are {', '.join(sorted(options))}"
            raise ConfigError.of(key, said, "must be the name of an option", hint)


def values(override: Override, most: Most) -> list[str]:
    """Each value of a list, as a word. Raises ConfigError, before they are listed, for none and for
    too many."""
    key, said = override.key_or_group, str(override.input_line).partition("=")[2]
    found = override.value()
    if isinstance(found, RangeSweep):
        refuse_too_many(key, said, _count(found, key, said), most)
    listed = list(override.sweep_string_iterator())
    if not listed:
        raise ConfigError.of(key, said, "has no values")
    return listed


def refuse_too_many(key: str, said: str, count: int, most: Most) -> None:
    """Raise ConfigError if a list, or the product of some, has more values than there may be."""
    if count > most.number:
        size = f"{count:,}" if count < 10**15 else f"{Decimal(count):.0e}"
        allowed = f"would be {size} {most.things}, at most {most.number:,} are possible"
        raise ConfigError.of(key, said, allowed, most.hint)


def _parsed(word: str, parser: OverridesParser) -> Override:
    try:
        override = parser.parse_override(word)
        override.config_loader = parser.config_loader
        return override
    except HydraException:
        hint = "put a value with special characters in two pairs of quotes: \"key='a b'\""
        raise ConfigError.of("command line", word, "cannot be understood", hint) from None
    except RecursionError:
        allowed = "is nested too deeply"
    except (ValueError, ArithmeticError) as error:  # of Python's own int()
        many = "limit" in str(error)
        allowed = "has too many digits" if many else f"cannot be understood: {first_line(error)}"
    key, _, said = word.partition("=")
    raise ConfigError.of(key.lstrip("+~"), said, allowed)


def _names_options(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) for name in names)


def _count(found: RangeSweep, key: str, said: str) -> int:
    """How many values a range has."""
    start, stop, step = (Decimal(n or 0) for n in (found.start, found.stop, found.step))
    if not (start.is_finite() and stop.is_finite() and step.is_finite() and step):
        allowed = "must be range(start,stop,step) with numbers and a step other than 0"
        raise ConfigError.of(key, said, allowed)
    return max(0, math.ceil((stop - start) / step))


def key_of(override: str) -> str:
    """The setting that an override of the command line is about."""
    return override.lstrip("+~").partition("=")[0]


def is_for_sweeps(override: str) -> bool:
    """Whether it chooses what a sweep runs, or how: a preset of `conf/sweep/`, Hydra's own keys."""
    return re.split(r"[./@]", key_of(override))[0] in ("sweep", "hydra")


def last_part(key: str) -> str:
    """`alpha` of `strategy.alpha`."""
    return key.rpartition(".")[2]
