"""What is written and shown of settings: no secret and no value of the environment, but the words
that stand for them. Whatever has to do with settings and is read by people, or kept in a file,
comes from here."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from cl_runner.config.command_line import text_of
from cl_runner.config.identity import free
from cl_runner.config.overrides import key_of
from cl_runner.config.traits import of_one_call
from cl_runner.errors import RunError
from cl_runner.hidden import (
    SHORTEST_SECRET,
    digest,
    masked,
    names_one,
    secrets_in,
    without_secrets,
    word_for,
)

SHORTEST_VALUE = 8
"""Characters of a value of the environment; shorter ones are common words."""


def as_written(config: DictConfig) -> dict[str, Any]:
    """The composed settings with `<masked:…>` for secrets, and `<env:NAME>` for what the
    environment gives.

    If any of that may not change while a run lasts, `environment` is a digest of it, so that a
    change is noticed all the same.
    """
    with _resolved_by({"oc.env": _named, "oc.decode": _decoded_unless_named}):
        plain = OmegaConf.to_container(config.copy(), resolve=True)
    assert isinstance(plain, dict)
    hidden = masks(config)
    written = {str(k): _masked_below(without_secrets(str(k), v), hidden) for k, v in plain.items()}
    fixed = config.copy()
    OmegaConf.set_struct(fixed, False)
    for key in free(written):
        OmegaConf.update(fixed, key, None)
    names = re.findall(r"oc\.env:\s*([A-Za-z_]\w*)", OmegaConf.to_yaml(fixed, resolve=False))
    values = {name: os.environ[name] for name in names if name in os.environ}
    if values:
        written["environment"] = digest(repr(sorted(values.items())))
    return written


def masks(config: DictConfig) -> dict[str, str]:
    """Values that no file may hold, wherever they come up, and what is written instead."""
    values: dict[str, str] = {}

    def recorded(name: str, *default: str | None) -> str | None:
        if name in os.environ:
            values[name] = os.environ[name]
        return oc.env(name, *default)

    with _resolved_by({"oc.env": recorded}):
        plain = OmegaConf.to_container(config.copy(), resolve=True)
    found = {secret: word_for(secret) for secret in secrets_in("", plain)}
    found |= {v: f"<env:{name}>" for name, v in values.items() if len(v) >= SHORTEST_VALUE}
    return _in_every_form(found)


def masks_of_secrets(config: DictConfig) -> dict[str, str]:
    """The same without what is no secret by its name: of paths, for one, an error may tell."""
    plain = OmegaConf.to_container(config, resolve=True)
    return _in_every_form({secret: word_for(secret) for secret in secrets_in("", plain)})


def masks_of_words(overrides: Iterable[str]) -> dict[str, str]:
    """The same of secrets that are typed, before anything is composed of them."""
    found = [secret for typed in overrides if names_one(typed) for secret in _typed_secrets(typed)]
    return _in_every_form({secret: word_for(secret) for secret in found})


@contextmanager
def hiding_secrets_of(overrides: Iterable[str]) -> Iterator[None]:
    """What is raised meanwhile shows no secret that is typed."""
    try:
        yield
    except RunError as error:
        error.args = (masked(str(error), masks_of_words(overrides)),)
        raise


def shown(overrides: Sequence[str]) -> list[str]:
    """The command line's settings with `KEY=<masked:…>` for a secret."""
    hidden = masks_of_words(overrides)
    return [
        f"{o.partition('=')[0]}={word_for(text_of(o) or o.partition('=')[2])}"
        if names_one(o)
        else masked(o, hidden)
        for o in overrides
    ]


def kept_overrides(overrides: Sequence[str]) -> list[str]:
    """What `overrides.yaml` holds: the command line's settings, `???` in a secret's place."""
    return [
        typed if typed == told else f"{typed.partition('=')[0]}=???"
        for typed, told in zip(overrides, shown(overrides), strict=True)
        if not of_one_call(typed)
    ]


class OfHydra(logging.Filter):
    """For what Hydra's launchers print: the command line of each job, as typed."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage(), masks_of_words(sys.argv[1:])), None
        return True


def _in_every_form(found: Mapping[str, str]) -> dict[str, str]:
    """Also as Python shows them, and each line of those that have several."""
    every = {}
    for value, word in found.items():
        for form in (value, repr(value)[1:-1], repr(f"'{value}")[2:-1], *value.splitlines()):
            if len(form) >= SHORTEST_SECRET:
                every[form] = word
    return every


def _typed_secrets(override: str) -> Iterator[str]:
    """What of an override that is of a secret is one; all that it says, where that is not clear."""
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_override(override)
        each = (
            [f"{parsed.key_or_group}={word}" for word in parsed.sweep_string_iterator()]
            if parsed.is_discrete_sweep()
            else [override]
        )
        for one in each:
            value = parser.parse_override(one).value()
            node = OmegaConf.to_container(OmegaConf.create({"value": value}))
            yield from secrets_in(key_of(one), node["value"])  # type: ignore[index, call-overload]
            yield from (text_of(one), one.partition("=")[2].strip("'\""))
    except (HydraException, OmegaConfBaseException):  # an interval, or no override at all
        yield override.partition("=")[2]


@contextmanager
def _resolved_by(resolvers: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    own: dict[str, Callable[..., Any]] = {"oc.env": oc.env, "oc.decode": oc.decode}
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    try:
        yield
    finally:
        for name in resolvers:
            OmegaConf.register_new_resolver(name, own[name], replace=True)


def _named(name: str, default: str | None = None) -> str:
    return f"<env:{name}>"


def _decoded_unless_named(text: str | None, _parent_: Container, _node_: Node) -> Any:
    named = text is not None and text.startswith("<env:")
    return text if named else oc.decode(text, _parent_, _node_)


def _masked_below(value: Any, masks: dict[str, str]) -> Any:
    """All texts below a node masked, whatever they are called."""
    if isinstance(value, dict):
        return {str(name): _masked_below(inner, masks) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked_below(inner, masks) for inner in value]
    return masked(value, masks) if isinstance(value, str) else value
