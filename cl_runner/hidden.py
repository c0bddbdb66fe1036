"""Which settings are secrets, and the word that stands for one wherever it would be read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
"""A setting with such a name is a secret, and so is all that is below it."""
WORD = re.compile(r"<env:\w+>|<masked:[0-9a-f]{8}>")
"""What stands for a value of the environment, and for a secret."""
SHORTEST_SECRET = 4
"""Characters; shorter ones are common words, which would be masked wherever they stand."""
ROUNDS = 100_000
_NUMBER = re.compile(r"[-+.\de_]+|true|false|null", re.IGNORECASE)
_REFERENCE = re.compile(r"(['\"]?)\$\{oc\.env:\s*\w+\}\1")


def is_secret(key: str) -> bool:
    """By its name, or that of a node above it."""
    return SECRET.search(key) is not None


def word_for(secret: str) -> str:
    """The same word for the same secret, so that a change is noticed and settings that differ are
    told apart."""
    return f"<masked:{digest(secret)}>"


@cache
def digest(text: str) -> str:
    """Slow to make, so that nobody finds out by trying what it is of, unless that is easily
    guessed."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(errors="replace"), b"cl", ROUNDS, 4).hex()


def secrets_in(key: str, value: Any) -> Iterator[str]:
    """The texts below a node that are secrets. Numbers are none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from secrets_in(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets_in(key, inner)
    elif isinstance(value, str) and is_secret(key) and not WORD.fullmatch(value):
        yield value


def without_secrets(key: str, value: Any) -> Any:
    """The same with a word in the place of each."""
    if isinstance(value, dict):
        return {name: without_secrets(f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(key, inner) for inner in value]
    secret = isinstance(value, str) and is_secret(key) and not WORD.fullmatch(value)
    return word_for(value) if secret else value


def names_one(override: str) -> bool:
    """Whether an override of the command line is of a secret: by its key, or by one inside a value
    such as `{token: …}`. Numbers are no secrets: `num_tokens=5` is a setting like any other; nor
    is the name of a variable of the environment."""
    key, given, value = override.partition("=")
    if not given or _NUMBER.fullmatch(value) or _REFERENCE.fullmatch(value):
        return False
    return is_secret(override if "{" in value else key)


def masked(text: str, masks: dict[str, str]) -> str:
    """The text with each secret replaced by what stands for it, also where an error cut it short
    (`secre...`)."""
    for secret in sorted(masks, key=len, reverse=True):  # one may begin another
        word = masks[secret]
        text = text.replace(secret, word)
        for length in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
            text = text.replace(f"{secret[:length]}...", f"{word}...")
    return text
