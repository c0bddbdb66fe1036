"""Which settings are secrets, and the word that replaces one wherever it could be read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any

SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
"""A setting with such a name is a secret, and so is everything below it."""
WORD = re.compile(r"<env:\w+>|<masked:[0-9a-f]{8}>")
"""What replaces a value of the environment, or a secret."""
SHORTEST_SECRET = 4
"""In characters: shorter ones are common words, and would be masked in any text."""
ROUNDS = 100_000
_REFERENCE = re.compile(r"(['\"]?)\$\{oc\.env:\s*\w+\}\1")


def is_secret(key: str) -> bool:
    """By its name, or that of a node above it."""
    return SECRET.search(key) is not None


def word_for(secret: str) -> str:
    """The same word for the same secret, so that different secrets can be told apart."""
    return f"<masked:{digest(secret)}>"


@cache
def digest(text: str) -> str:
    """A slow digest, so that trying all texts takes too long, except for easily guessed ones."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(errors="replace"), b"cl", ROUNDS, 4).hex()


def changed(key: str, value: Any, change: Callable[[str, str], str]) -> Any:
    """The same node with `change(key, text)` in place of each text below it."""
    if isinstance(value, dict):
        return {str(name): changed(f"{key}.{name}", v, change) for name, v in value.items()}
    if isinstance(value, list):
        return [changed(key, inner, change) for inner in value]
    return change(key, value) if isinstance(value, str) else value


def secrets_in(key: str, value: Any) -> list[str]:
    """The texts below a node that are secrets. Numbers are not."""
    secrets: list[str] = []

    def collect(key: str, text: str) -> str:
        if _hides(key, text):
            secrets.append(text)
        return text

    changed(key, value, collect)
    return secrets


def without_secrets(key: str, value: Any) -> Any:
    """The same node with a word in place of each secret."""
    return changed(key, value, lambda k, text: word_for(text) if _hides(k, text) else text)


def _hides(key: str, text: str) -> bool:
    return is_secret(key) and not WORD.fullmatch(text)


def names_one(override: str) -> bool:
    """Whether an override sets a secret: by its key, or by one inside a value such as `{token: …}`.
    Numbers are not secrets (`num_tokens=5`), nor are names of environment variables."""
    key, given, value = override.partition("=")
    if not given or _is_number(value) or _REFERENCE.fullmatch(value):
        return False
    return is_secret(override if "{" in value else key)


def _is_number(value: str) -> bool:
    """Whether Hydra reads it as a number, a truth value or null. `1234-5678` is text."""
    if value.lower() in ("true", "false", "null"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def masked(text: str, masks: dict[str, str]) -> str:
    """The text with each secret replaced by its word, also where an error cut it (`secre...`)."""
    for secret in sorted(masks, key=len, reverse=True):  # one may be the start of another
        word = masks[secret]
        text = text.replace(secret, word)
        for length in range(len(secret) - 1, SHORTEST_SECRET - 1, -1):
            text = text.replace(f"{secret[:length]}...", f"{word}...")
    return text
