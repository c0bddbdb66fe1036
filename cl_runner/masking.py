"""What no file of a run may hold: secrets and values of the environment; and what stands there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from omegaconf import Container, DictConfig, Node, OmegaConf
from omegaconf.resolvers import oc

from cl_runner.resume import MAY_CHANGE, OF_ONE_CALL, key_of

SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
"""A setting with such a name is a secret."""
SHORTEST_SECRET, SHORTEST_VALUE = 4, 8
"""Characters; shorter ones are common words, which would be masked wherever they stand."""


def as_written(config: DictConfig) -> dict[str, Any]:
    """The composed settings without secrets, and `<env:NAME>` for what the environment gives.

    If any of that may not change while a run lasts, `environment` is a digest of it, so that a
    change is noticed all the same.
    """
    _resolve_by({"oc.env": _named, "oc.decode": _decoded_unless_named})
    try:
        plain = OmegaConf.to_container(config.copy(), resolve=True)
    finally:
        _resolve_by({"oc.env": oc.env, "oc.decode": oc.decode})
    assert isinstance(plain, dict)
    hidden = masks(config)
    written = {str(k): _without_secrets(str(k), value, hidden) for k, value in plain.items()}
    fixed = config.copy()
    OmegaConf.set_struct(fixed, False)
    for key in MAY_CHANGE:
        OmegaConf.update(fixed, key, None)
    values = _of_environment(fixed)
    if values:
        digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
        written["environment"] = digest
    return written


def masks(config: DictConfig) -> dict[str, str]:
    """Values that no file may hold, wherever they come up, and what is written instead; the
    longest first, as one may begin another."""
    plain = OmegaConf.to_container(config, resolve=True)
    found = {value: f"<env:{name}>" for name, value in _of_environment(config).items()
             if len(value) >= SHORTEST_VALUE}  # fmt: skip
    secrets = [secret for secret in _secrets("", plain) if len(secret) >= SHORTEST_SECRET]
    found |= dict.fromkeys(secrets, "<masked>")
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def masked(text: str, masks: dict[str, str]) -> str:
    """The text with each secret replaced by what stands for it, also where an error cut it short
    (`secre...`)."""
    for secret, mask in masks.items():
        text = text.replace(secret, mask)
        for length in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
            text = text.replace(f"{secret[:length]}...", f"{mask}...")
    return text


def kept_overrides(overrides: Sequence[str]) -> list[str]:
    """What `overrides.yaml` holds: the command line's settings, `???` in a secret's place."""
    return [
        f"{o.partition('=')[0]}=???" if _names_a_secret(o) else o
        for o in overrides
        if key_of(o) not in OF_ONE_CALL
    ]


def _resolve_by(resolvers: dict[str, Callable[..., Any]]) -> None:
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _named(name: str, default: str | None = None) -> str:
    return f"<env:{name}>"


def _decoded_unless_named(text: str | None, _parent_: Container, _node_: Node) -> Any:
    named = text is not None and text.startswith("<env:")
    return text if named else oc.decode(text, _parent_, _node_)


def _names_a_secret(override: str) -> bool:
    """By its key, or by one inside a value such as `{token: …}`. Numbers are no secrets:
    `num_tokens=5` is a setting like any other."""
    value = override.partition("=")[2]
    if re.fullmatch(r"[-+.\de_]+|true|false|null", value, re.IGNORECASE):
        return False
    return bool(SECRET.search(override if "{" in override else key_of(override)))


def _of_environment(config: DictConfig) -> dict[str, str]:
    """The variables that settings take their value from, those that are set."""
    text = OmegaConf.to_yaml(config, resolve=False)
    names = re.findall(r"oc\.env:\s*([A-Za-z_]\w*)", text)
    return {name: os.environ[name] for name in names if name in os.environ}


def _secrets(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets(str(name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(key, inner)
    elif isinstance(value, str) and SECRET.search(key):
        yield value


def _without_secrets(key: str, value: Any, masks: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {str(k): _without_secrets(str(k), inner, masks) for k, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(key, inner, masks) for inner in value]
    if isinstance(value, str):
        return "<masked>" if SECRET.search(key) else masked(value, masks)
    return value
