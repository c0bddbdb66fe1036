"""Colours and markers of strategies, which everyone can tell apart; axes in percent."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from cl_runner.config.paths import CONF
from cl_runner.report.render.colours import (
    DARK_PAGE,
    INKS,
    PAGE,
    contrast,
    in_dark,
    ink_on,
    linear,
    shades,
)
from cl_runner.report.render.limits import percent_limits
from cl_runner.report.render.looks import COLOURS, MARKERS, OTHERS, Looks, colour_of

# Machado, Oliveira and Fernandes 2009, table 1: what linear colours are to each kind of eye.
SEEN_BY = {
    "everyone else": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
STRATEGIES = [file.stem for file in Path(CONF / "strategy").glob("*.yaml")]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB: another space than that of the code. From https://www.w3.org/TR/css-color-4."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(np.clip(xyz @ rgb, 1e-9, None) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("shown", [str, in_dark], ids=["light", "dark"])
def test_no_eye_takes_two_colours_for_one(eyes, shown) -> None:
    seen = [lab(np.array(SEEN_BY[eyes]) @ linear(shown(colour))) for colour in COLOURS]
    assert (
        min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 7
    )  # 2.3 is just noticeable


@pytest.mark.parametrize("colour", COLOURS)
def test_every_shade_stands_out_on_both_pages(colour) -> None:
    for shade in [colour, *shades(colour, 9, 0.6), *shades(colour, 9, 1.8)]:
        assert contrast(shade, PAGE) >= 3  # WCAG 2.2, 1.4.11
        assert contrast(in_dark(shade), DARK_PAGE) >= 3


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # webaim.org/resources


def test_text_in_any_cell_can_be_read() -> None:
    for red, green, blue, _ in map(matplotlib.colormaps["viridis"], np.linspace(0, 1, 50)):
        cell = "#" + "".join(f"{round(255 * channel):02x}" for channel in (red, green, blue))
        assert contrast(ink_on([red, green, blue]), cell) >= 4.3
    assert ink_on((0.99, 0.9, 0.1)) == INKS[0]


def test_every_strategy_that_comes_with_the_package_is_known() -> None:
    assert {*OTHERS, "finetune", "joint"} == set(STRATEGIES)


def test_no_two_strategies_look_the_same() -> None:
    looks = Looks({name: name for name in [*STRATEGIES, "mine", "yours"]})
    each = {
        (looks.of(name).colour, looks.of(name).marker) for name in [*STRATEGIES, "mine", "yours"]
    }
    assert len(each) == len(STRATEGIES) + 2


@pytest.mark.parametrize("first", ["agem", "zzz", "der"])
def test_up_to_eight_strategies_have_eight_colours_and_markers(first) -> None:
    names = [first, "finetune", "mine", "ewc", "lwf", "joint", "bic", "wa"]
    looks = [Looks({name: name for name in names}).of(name) for name in names]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 8
    alone = [Looks(dict.fromkeys([name], name)).of(name).colour for name in names]
    assert alone == [colour_of(name) for name in names]


def test_the_usual_strategies_have_their_own_colour_beside_any_others() -> None:
    usual = ("finetune", "joint", "ewc", "lwf", "rehearsal", "kd", "rehearsal_kd", "si")
    looks = Looks({name: name for name in [*reversed(STRATEGIES), "aaa"]})
    assert [looks.of_strategy(name).colour for name in usual] == [colour_of(name) for name in usual]
    assert len({looks.of_strategy(name).marker for name in usual}) == len(MARKERS)


def test_settings_of_a_strategy_are_shades_of_its_colour_in_their_order() -> None:
    looks = Looks({"a": "ewc", "b": "ewc", "c": "ewc", "lwf": "lwf"})
    light = [contrast(looks.of(label).colour, "#000000") for label in "abc"]
    assert light == sorted(light) and len(set(light)) == 3
    assert {looks.of(label).marker for label in "abc"} == {looks.of_strategy("ewc").marker}
    assert looks.of("lwf").colour == colour_of("lwf")


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([50.0, 50.2], (47.6, 52.6)),  # noise: five points about its middle
        ([99.9, 100.0], (95.0, 100.0)),
        ([0.0, 0.1], (0.0, 5.0)),
        ([0.0, 100.0], (0.0, 100.0)),
        ([20.0, 80.0], (17.0, 83.0)),  # a twentieth of the range as room
        ([float("nan"), 10.0, 90.0], (6.0, 94.0)),
        ([], (0.0, 100.0)),
    ],
)
def test_an_axis_of_percent(values, ends) -> None:
    assert percent_limits(values) == pytest.approx(ends)


def test_any_axis_of_percent_is_wide_enough_and_possible() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = rng.uniform(*sorted(rng.uniform(0, 100, 2)), 5)
        low, high = percent_limits(values)
        assert 0 <= low <= min(values) and max(values) <= high <= 100
        assert high - low >= 5 - 1e-9
