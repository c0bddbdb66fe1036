"""Colours as the eye takes them: lightness, contrast, and the same colour on a dark page.

The space is OKLab (Ottosson 2020, https://bottosson.github.io/posts/oklab): equal distances look
about equally different.
"""

from __future__ import annotations

from functools import cache
from math import cos, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
PAGE, DARK_PAGE = "#ffffff", "#15181c"
"""The grounds that figures stand on."""
INKS = "#101010", "#fdfdfd"
"""Of text inside a coloured cell. They stay as they are on a dark page, as the cell does."""


def linear(colour: str) -> Vector:
    """`#rrggbb` as linear red, green and blue, [3], from 0 to 1."""
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def oklab(colour: str) -> Vector:
    """`#rrggbb` as lightness from 0 to 1, green-red and blue-yellow, [3]."""
    return np.asarray(_TO_LAB @ np.cbrt(_TO_CONES @ linear(colour)))


def contrast(one: str, other: str) -> float:
    """The ratio of luminances, from 1 to 21, as WCAG 2.2 defines it."""
    low, high = sorted(float(LUMINANCE @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@cache
def with_lightness(colour: str, lightness: float, turn: float = 0.0) -> str:
    """The colour in this lightness, no more vivid than a screen can show. turn: of its hue, in
    radians."""
    _, a, b = oklab(colour)
    a, b = a * cos(turn) - b * sin(turn), a * sin(turn) + b * cos(turn)
    for chroma in np.linspace(1, 0, 41):
        cones = np.linalg.solve(_TO_LAB, [lightness, chroma * a, chroma * b])
        rgb = np.linalg.solve(_TO_CONES, cones**3)
        if (rgb > -1e-4).all() and (rgb < 1 + 1e-4).all():
            break
    rgb = rgb.clip(0, 1)
    gamma = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in gamma)


def in_dark(colour: str) -> str:
    """The colour that stands for this one on a dark page: light for dark, of the same hue."""
    if colour == PAGE:
        return DARK_PAGE
    lightness = np.interp(oklab(colour)[0], [0.2, 0.75, 1.0], [0.976, 0.58, 0.2])
    return with_lightness(colour, float(lightness))


def shades(colour: str, count: int, turn: float) -> list[str]:
    """So many shades of a colour, from dark to light, the colour itself if it is one. turn: by how
    many radians the hue turns on the way, so that the eye can tell more of them apart."""
    if count == 1:
        return [colour]
    steps = np.linspace(-1, 1, count)
    return [with_lightness(colour, 0.5 + 0.14 * float(x), turn / 2 * float(x)) for x in steps]


def ink_on(rgb: Any) -> str:
    """The ink that can be read on a cell of this colour: red, green, blue from 0 to 1."""
    cell = "#" + "".join(f"{round(255 * channel):02x}" for channel in rgb[:3])
    return max(INKS, key=lambda ink: contrast(ink, cell))
