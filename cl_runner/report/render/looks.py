"""How a strategy looks: the colour and the marker that it has in every figure of a page.

`colour_of` is its colour where it stands alone. On a page no two strategies share a colour while
there are enough: `Looks` gives each its own one if that is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from zlib import crc32

from cl_runner.report.compare.groups import UPPER_BOUND, Section
from cl_runner.report.compare.values import in_order
from cl_runner.report.render.colours import shades

COLOURS = ("#0762a1", "#c84437", "#09a667", "#ce8303", "#ef4db0", "#0d74ea", "#757575", "#1a1a1a")
"""Can be told apart with each kind of colour blindness, on a white and on a dark page."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIGNS = dict(zip(MARKERS, "●■▲◆▼✚✖★", strict=True))
"""The markers as text."""
DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
Dashes = str | tuple[int, tuple[int, ...]]

BASELINE = "finetune"
OTHERS = ("ewc", "lwf", "rehearsal", "kd", "rehearsal_kd", "si",
          "der", "derpp", "er_ace", "agem", "gem", "mas",
          "icarl", "bic", "wa", "gdumb", "rwalk", "l2",
          "gss", "fdr", "ncm", "slda", "ranpac", "separate", "dgr",
          "generative_classifier")  # fmt: skip
"""The colour of each is that of its place, modulo HUES. The first ones have the first choice."""
HUES = 6
"""The last two colours, grey and black, are kept for the baseline and the upper bound."""
TURN, TURN_ALONE = 0.6, 1.8
"""How far the hue of a strategy turns over its settings: further, if no other strategy may be
mistaken for it."""


@dataclass(frozen=True)
class Look:
    """The colour, on white (`in_dark` gives the other one), the marker and the dashes."""

    colour: str
    marker: str
    dashes: Dashes = "-"

    @property
    def sign(self) -> str:
        """The marker as text."""
        return SIGNS[self.marker]

    @property
    def line(self) -> dict[str, Any]:
        """For `Axes.plot`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes}

    @property
    def point(self) -> dict[str, Any]:
        """The same without a line."""
        return {**self.line, "linestyle": ""}


class Looks:
    """The looks of all strategies of a page and of their settings.

    A strategy has one colour and one marker. If several of its settings are on the page, they are
    shades of the colour, from dark to light in their order, and differ in their dashes.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        """settings: the label of each setting in order, and its strategy."""
        self._strategies = _chosen(set(settings.values()))
        self._settings: dict[str, Look] = {}
        others = self._strategies.keys() - {BASELINE, UPPER_BOUND}
        turn = TURN if len(others) > 1 else TURN_ALONE
        for strategy, number in Counter(settings.values()).items():
            look = self._strategies[strategy]
            labels = [label for label, of in settings.items() if of == strategy]
            for n, shade in enumerate(shades(look.colour, number, turn)):
                dashes = DASHES[n % len(DASHES)] if number > 1 else look.dashes
                self._settings[labels[n]] = replace(look, colour=shade, dashes=dashes)

    @classmethod
    def of_sections(
        cls, sections: Iterable[Section], first: Mapping[str, str] | None = None
    ) -> Looks:
        """Of all groups of a page. Those with the same label look the same in every section.
        first: settings that come before all others, and their strategies."""
        groups = {group.label: group for section in sections for group in section.groups}
        ordered = sorted(
            groups.values(),
            key=lambda g: (g.strategy, [in_order(v) for v in reversed(g.varied.values())]),
        )
        return cls({**(first or {}), **{group.label: group.strategy for group in ordered}})

    def of(self, label: str) -> Look:
        """Of a setting."""
        return self._settings[label]

    def of_strategy(self, strategy: str) -> Look:
        return self._strategies[strategy]


def colour_of(strategy: str) -> str:
    """The colour of a strategy where it stands alone, on white."""
    return _look(_own(strategy)).colour


def _chosen(strategies: Iterable[str]) -> dict[str, Look]:
    """Each strategy's own look; if it is taken, the first one that is free."""
    taken: dict[int, str] = {}
    for strategy in sorted(strategies, key=_first_choice):
        own = _own(strategy)
        number = own if own not in taken else next(n for n in count() if n not in taken)
        taken[number] = strategy
    return {
        strategy: replace(_look(n), dashes=":") if strategy == UPPER_BOUND else _look(n)
        for n, strategy in taken.items()
    }


def _first_choice(strategy: str) -> tuple[int, str]:
    known = (BASELINE, UPPER_BOUND, *OTHERS)
    return known.index(strategy) if strategy in known else len(known), strategy


def _own(strategy: str) -> int:
    """The number of its look. One that we do not know has a number that only depends on its
    name."""
    if strategy in (BASELINE, UPPER_BOUND):
        return HUES + (strategy == UPPER_BOUND)
    known = strategy in OTHERS
    return (OTHERS.index(strategy) if known else crc32(strategy.encode())) % HUES


def _look(number: int) -> Look:
    """The colours in turn; each time that they begin again, the markers are moved by one."""
    turn = number // len(COLOURS)
    return Look(COLOURS[number % len(COLOURS)], MARKERS[(number + turn) % len(MARKERS)])
