"""Settings as they may be written and shown, with a word for each secret and each value of the
environment. All settings that people read or a file keeps pass through here."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from cl_runner.config.command_line import of_this_command, text_of
from cl_runner.config.identity import free
from cl_runner.config.overrides import parsed
from cl_runner.config.traits import flat, of_one_call
from cl_runner.errors import ConfigError, RunError
from cl_runner.hidden import (
    SHORTEST_SECRET,
    changed,
    digest,
    masked,
    names_one,
    secrets_in,
    without_secrets,
    word_for,
)

SHORTEST_VALUE = 8
"""In characters: shorter values of the environment are common words, and are not masked."""
_OF_ENVIRONMENT = re.compile(r"oc\.env:\s*([A-Za-z_]\w*)")


def as_written(config: DictConfig) -> dict[str, Any]:
    """The composed settings with `<masked:…>` for secrets and `<env:NAME>` for values of the
    environment.

    `environment` is a digest of those values that a resumed run must keep, so that a change is
    still noticed; it is left out where there are none.
    """
    with _resolved_by(config, {"oc.env": _word, "oc.decode": _decoded_unless_word}):
        plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    hidden = masks(config)
    named = {str(key): without_secrets(str(key), node) for key, node in plain.items()}
    written: dict[str, Any] = changed("", named, lambda _, text: masked(text, hidden))
    without_effect = tuple(f"{key}." for key in free(written))
    unresolved = flat(OmegaConf.to_container(config, resolve=False))
    texts = (str(v) for key, v in unresolved if not f"{key}.".startswith(without_effect))
    names = {name for text in texts for name in _OF_ENVIRONMENT.findall(text)}
    values = {name: os.environ[name] for name in names if name in os.environ}
    if values:
        written["environment"] = digest(repr(sorted(values.items())))
    return written


def masks(config: DictConfig) -> dict[str, str]:
    """The values that no file may contain, each with the word that is written instead."""
    values: dict[str, str] = {}

    def recorded(name: str, *default: str | None) -> str | None:
        if name in os.environ:
            values[name] = os.environ[name]
        return oc.env(name, *default)

    with _resolved_by(config, {"oc.env": recorded}):
        secrets = masks_of_secrets(config)
    named = {v: f"<env:{name}>" for name, v in values.items() if len(v) >= SHORTEST_VALUE}
    return secrets | _in_every_form(named)


def masks_of_secrets(config: DictConfig) -> dict[str, str]:
    """The same for secrets only: an error message may show other values, such as paths."""
    plain = OmegaConf.to_container(config, resolve=True)
    return _words_for(secrets_in("", plain))


def masks_of_words(overrides: Iterable[str]) -> dict[str, str]:
    """The same for the secrets typed on the command line, before settings are composed."""
    return _words_for(s for typed in overrides if names_one(typed) for s in _typed_secrets(typed))


@contextmanager
def hiding_secrets_of(overrides: Iterable[str]) -> Iterator[None]:
    """Mask the typed secrets in any RunError that is raised inside."""
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
    """The content of `overrides.yaml`: the command line's settings with `???` for a secret."""
    return [
        typed if typed == masked_one else f"{typed.partition('=')[0]}=???"
        for typed, masked_one in zip(overrides, shown(overrides), strict=True)
        if not of_one_call(typed)
    ]


class MaskSecrets(logging.Filter):
    """Masks what Hydra's launchers print: the command line of each job as it was typed."""

    def filter(self, record: logging.LogRecord) -> bool:
        hidden = masks_of_words(of_this_command())
        record.msg, record.args = masked(record.getMessage(), hidden), None
        return True


def _words_for(secrets: Iterable[str]) -> dict[str, str]:
    return _in_every_form({secret: word_for(secret) for secret in secrets})


def _in_every_form(words: Mapping[str, str]) -> dict[str, str]:
    """The values also as Python shows them, and each line of a value that has several."""
    every = {}
    for value, word in words.items():
        for form in (value, repr(value)[1:-1], repr(f"'{value}")[2:-1], *value.splitlines()):
            if len(form) >= SHORTEST_SECRET:
                every[form] = word
    return every


def _typed_secrets(override: str) -> Iterator[str]:
    """The secrets in an override whose setting is one; its whole value if that is not clear."""
    try:
        (read,) = parsed([override])
        one_by_one = [override]
        if read.is_choice_sweep():
            one_by_one = [f"{read.key_or_group}={word}" for word in read.sweep_string_iterator()]
        for one in parsed(one_by_one):
            node = OmegaConf.to_container(OmegaConf.create({"value": one.value()}))
            yield from secrets_in(one.key_or_group, node["value"])  # type: ignore[index, call-overload]
            word = str(one.input_line)
            yield from (text_of(word), word.partition("=")[2].strip("'\""))
    except (ConfigError, OmegaConfBaseException):  # a range, or no override at all
        yield override.partition("=")[2]


@contextmanager
def _resolved_by(config: DictConfig, resolvers: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace these resolvers of OmegaConf's inside. What others remember for this configuration,
    such as `${now:…}`, is afterwards as it was: they may have been given a word."""
    remembered = deepcopy(OmegaConf.get_cache(config))
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
        OmegaConf.register_new_resolver("oc.decode", oc.decode, replace=True)
        OmegaConf.set_cache(config, remembered)


def _word(name: str, default: str | None = None) -> str:
    return f"<env:{name}>"


def _decoded_unless_word(text: str | None, _parent_: Container, _node_: Node) -> Any:
    is_word = text is not None and text.startswith("<env:")
    return text if is_word else oc.decode(text, _parent_, _node_)
