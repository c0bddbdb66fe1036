"""Seeded damage to files: changed bytes, changed fields, decompression and alias bombs."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

import numpy as np
import yaml

DEEP = 20_000
OTHERS: list[Any] = [
    None, True, -1, 0, 1, 2**70, 10**400, 1.5, -1e300, float("nan"), float("inf"), "", "text", "0",
    "\x1b[2J\x07", "../..", "*", [], [1], ["a", None], {}, {"a": 1}, [[[]]], "x" * 10_000,
]  # fmt: skip
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 64))


def damaged(name: str, content: bytes, seed: int) -> bytes:
    """The bytes of the file, damaged. The same seed gives the same damage."""
    draw = random.Random(f"{name} {seed}")
    kinds = [_flipped, _cut, _zeroed, _inserted, _first_flipped]
    if name.endswith((".json", ".jsonl", ".yaml")):
        kinds += [_field] * 6 + [_surrogate, _deep, _bomb]
    return draw.choice(kinds)(name, content, draw)


def _flipped(name: str, content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 20])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _first_flipped(name: str, content: bytes, draw: random.Random) -> bytes:
    return bytes([content[0] ^ (1 << draw.randrange(8))]) + content[1:]


def _cut(name: str, content: bytes, draw: random.Random) -> bytes:
    return content[: draw.choice([0, 1, -1, draw.randrange(len(content))])]


def _zeroed(name: str, content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    length = min(draw.choice([1, 16, 10**9]), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _inserted(name: str, content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.randbytes(draw.choice([1, 8, 300])) + content[place:]


def _field(name: str, content: bytes, draw: random.Random) -> bytes:
    """One value replaced by one of another type, or one key removed."""
    lines = content.splitlines() if name.endswith(".jsonl") else [content]
    chosen = draw.randrange(len(lines))
    node = yaml.safe_load(content) if name.endswith(".yaml") else json.loads(lines[chosen])
    within = list(places(node))
    holder, key = draw.choice(within) if within else ([node], 0)
    if isinstance(holder, dict) and draw.random() < 0.2:
        del holder[key]
    else:
        holder[key] = draw.choice(OTHERS)
    if name.endswith(".yaml"):
        return yaml.safe_dump(node).encode()
    lines[chosen] = json.dumps(node).encode()
    return b"\n".join(lines) + (b"\n" if name.endswith(".jsonl") else b"")


def _surrogate(name: str, content: bytes, draw: random.Random) -> bytes:
    """Half a character inside a text."""
    quotes = [n for n in range(len(content)) if content[n : n + 1] in (b'"', b"'")] or [0]
    place = draw.choice(quotes) + 1
    return content[:place] + draw.choice([b"\\ud800", b"\xed\xa0\x80"]) + content[place:]


def _deep(name: str, content: bytes, draw: random.Random) -> bytes:
    opening, closing = draw.choice([(b"[", b"]"), (b'{"a":', b"}")])
    middle = b"1" if draw.random() < 0.5 else content.splitlines()[0]
    return opening * DEEP + middle + closing * (DEEP if draw.random() < 0.5 else 0) + b"\n"


def _bomb(name: str, content: bytes, draw: random.Random) -> bytes:
    if name.endswith(".yaml"):
        return draw.choice([BOMB, "a: &a [*a]\n", "&a {x: *a}\n"]).encode() + content
    return b"[" + b"[]," * 10**5 + b"[]]"


def places(node: Any) -> Any:
    """The container and key of each value inside a node."""
    if isinstance(node, dict | list):
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            yield node, key
            yield from places(value)


def bomb_of_arrays(size: int) -> bytes:
    """A `predictions.npz` of a few kB with an array of this many bytes."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("fits.npy", "w", force_zip64=True) as member,
    ):
        head = {"descr": "<f4", "fortran_order": False, "shape": (size // 4,)}
        np.lib.format.write_array_header_1_0(member, head)
        for _ in range(min(size, 2**24) // 2**20):
            member.write(bytes(2**20))
    return packed.getvalue()
