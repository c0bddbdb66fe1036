"""Figures across strategies: one look on the whole page, honest axes, heat maps, coincidence."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from planted_runs import run_folder

from cl_runner.report.compare.groups import Section
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import drawings, figures, tables
from cl_runner.report.render.colours import in_dark
from cl_runner.report.render.looks import Looks, colour_of
from cl_runner.report.render.page import Chapter, Page, svg
from cl_runner.report.render.strategy_figures import Point, same_trade_off
from cl_runner.report.render.suite_figures import published_and_ours
from cl_runner.reproduce.suite import Row, Suite
from cl_runner.reproduce.verdict import Verdict, as_json
from cl_runner.run_folder.schemas import Judged, Judgement

SVG = "{http://www.w3.org/2000/svg}"


def section_of(folder: Path) -> Section:
    (section,) = sections(read([folder]))
    return section


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> Section:
    """Strategies of which EWC has three settings."""
    folder = tmp_path_factory.mktemp("runs")
    for strategy, old in (("finetune", 0.1), ("lwf", 0.3), ("mine", 0.6), ("joint", 0.9)):
        run_folder(folder / strategy, strategy, 0, (old, 0.9))
    for weight, old in ((1000, 0.5), (1, 0.1), (20, 0.4)):
        run_folder(folder / f"ewc-{weight}", "ewc", 0, (old, 0.9), weight=weight)
    return section_of(folder)


def legend(text: str) -> dict[str, tuple[str, str]]:
    """Label → colour and path of its marker, from an SVG."""
    root = ET.fromstring(text)
    (group,) = [g for g in root.iter(f"{SVG}g") if re.search(r"legend_\d+$", g.get("id", ""))]
    shapes = {path.get("id"): path.get("d") for path in root.iter(f"{SVG}path") if path.get("id")}
    found, marker = {}, ("", "")
    for node in group.iter():
        if node.tag == f"{SVG}use":
            colour = re.search(r"stroke: (#\w{6})", node.get("style", ""))
            href = node.get("{http://www.w3.org/1999/xlink}href", "")[1:]
            marker = colour[1] if colour else "#000000", " ".join(shapes[href].split())
        elif node.tag == f"{SVG}text":
            found[node.text or ""] = marker
    return found


def shape(path: str) -> str:
    """The commands of a path: the same for a marker of any size."""
    return "".join(re.findall("[A-Za-z]", path))


def test_a_strategy_has_one_colour_and_one_marker_in_every_figure_of_the_page(five) -> None:
    drawn = {d.name: figures.svg(d.figure).decode() for d in drawings.of_section(five)}
    legends = {name: legend(drawn[name]) for name in ("trade_off", "over_tasks", "costs")}
    for strategy in ("finetune", "lwf", "mine"):
        looks = {(found[strategy][0], shape(found[strategy][1])) for found in legends.values()}
        assert len(looks) == 1
    looks = legends["costs"]
    assert set(looks) == {"ewc", "finetune", "joint", "lwf", "mine"}
    assert len({colour for colour, _ in looks.values()}) == 5
    assert len({path for _, path in looks.values()}) == 5
    for name in ("finetune", "lwf", "joint", "ewc"):
        assert looks[name][0] == colour_of(name)
    # Its settings have other colours, but the same marker, wherever they are.
    settings = [legends["over_tasks"][f"ewc, weight {weight}"] for weight in (1, 20, 1000)]
    assert len({colour for colour, _ in settings}) == 3
    assert {shape(marker) for _, marker in settings} == {shape(looks["ewc"][1])}
    for name in ("trade_off", "costs", "sensitivity_1_ewc_strategy.weight"):
        assert all(colour in drawn[name] for colour, _ in settings), name


def test_the_tables_of_the_page_have_the_same_colours(five) -> None:
    looks = Looks.of_sections([five])
    html = Page("t", "", [Chapter("c", [], [tables.results(five)])], looks=looks).render()
    cells = re.findall(r'data-sign="(.)" style="--light: (#\w+); --dark: (#\w+)">([^<]*)<', html)
    assert [name for *_, name in cells] == ["mine", "ewc", "ewc", "lwf", "ewc", "finetune", "joint"]
    for sign, light, dark, name in cells:
        assert name == "ewc" or light == looks.of_strategy(name).colour
        assert sign == looks.of_strategy(name).sign and dark == in_dark(light)
    shades = [light for _, light, _, name in cells if name == "ewc"]  # of 1000, 20 and 1
    assert shades == [looks.of(f"ewc, weight {weight}").colour for weight in (1000, 20, 1)]


def accuracy_axes(figure: Figure) -> list[tuple[float, float]]:
    """The limits of all axes of accuracies."""
    found = []
    for axes in figure.axes:
        for label, limits in ((axes.get_xlabel(), axes.get_xlim()),
                              (axes.get_ylabel(), axes.get_ylim())):  # fmt: skip
            if "accuracy in %" in label:
                found.append(limits)
    return found


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.503), (0.0, 0.001), (0.997, 1.0), (0.05, 0.97)])
def test_axes_show_neither_noise_nor_what_cannot_be(tmp_path, low, high) -> None:
    for n, alpha in enumerate((1, 10, 100)):
        value = low + (high - low) * n / 2
        run_folder(tmp_path / f"{n}", "lwf", 0, (value, value), alpha=alpha)
        run_folder(tmp_path / f"f{n}", "finetune", n, (value, value))
    drawn = {d.name: d.figure for d in drawings.of_section(section_of(tmp_path))}
    assert len(drawn) == 4
    for name, figure in drawn.items():
        limits = accuracy_axes(figure)
        assert limits, name
        for bottom, top in limits:
            assert bottom >= 0 and top <= 100 and top - bottom >= 5 - 1e-9


VALUES = {(100, 1): 0.2, (0.5, 4): 0.6, (0.5, 2): 0.61, (100, 4): 0.3, (3, 2): 0.9, (3, 1): 0.5,
          (0.5, 1): 0.4, (3, 4): 0.7}  # fmt: skip


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Section:
    """alpha × T, out of order and without (100, 2); two seeds, 0.04 apart."""
    folder = tmp_path_factory.mktemp("grid")
    for number, ((alpha, T), mean) in enumerate(VALUES.items()):
        for seed in range(2):
            value = mean + 0.04 * seed - 0.02
            name = f"{number}-{seed}"
            run_folder(folder / name, "lwf", seed, (value, value), alpha=alpha, T=T)
    return section_of(folder)


def test_two_settings_are_a_heat_map_of_means(grid) -> None:
    (drawing,) = [d for d in drawings.of_section(grid) if "sensitivity" in d.name]
    axes, _ = drawing.figure.axes
    columns = [label.get_text() for label in axes.get_xticklabels()]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert (axes.get_xlabel(), columns) == ("strategy.T", ["1", "2", "4"])
    assert (axes.get_ylabel(), rows) == ("strategy.alpha", ["0.5", "3", "100"])
    drawing.figure.draw_without_rendering()
    ticks = axes.transData.transform([(0, y) for y in axes.get_yticks()])[:, 1]
    assert list(ticks) == sorted(ticks)  # upwards
    written = {(text.get_text(), round(text.get_position()[0]), round(text.get_position()[1]))
               for text in axes.texts}  # fmt: skip
    for (alpha, T), mean in VALUES.items():
        place = columns.index(str(T)), rows.index(f"{alpha:g}")
        assert (f"{100 * mean:.1f}", *place) in written
        assert (f"± {4 / 2**0.5:.1f}", *place) in written
    assert len(written) == 2 * len(VALUES)
    (frame,) = [patch for patch in axes.patches if patch.get_gid() == "cell-marked"]
    x, y = frame.get_center()
    assert (round(x), round(y)) == (1, 1) and "best mean" in drawing.caption
    said = set(drawing.hover.values())
    assert len(said) == 8
    assert "lwf, T 2, alpha 3: average accuracy 90.0 % ± 2.8 (2 seeds)" in said


def test_drawn_numbers_are_short_on_the_axes(tmp_path) -> None:
    drawn = {"alpha": (0.5123456789, 1.0234567891), "T": (2.0345678912, 2.0345999999)}
    for number, (alpha, T) in enumerate(product(*drawn.values())):
        run_folder(tmp_path / str(number), "lwf", 0, (0.5, 0.9), alpha=alpha, T=T)
    section = section_of(tmp_path)
    (drawing,) = [d for d in drawings.of_section(section) if "sensitivity" in d.name]
    axes = drawing.figure.axes[0]
    labels = [axes.get_xticklabels(), axes.get_yticklabels()]
    assert sorted([text.get_text() for text in of_axis] for of_axis in labels) == [
        ["0.5123", "1.023"],
        ["2.0345678912", "2.0345999999"],  # in brief they would look the same
    ]


def test_a_cell_says_its_numbers_and_keeps_its_colour_in_the_dark(grid) -> None:
    (drawing,) = [d for d in drawings.of_section(grid) if "sensitivity" in d.name]
    text = str(svg(drawing))
    titles = re.findall(r'<g id="\w+-cell-1-1[\w-]*">\s*<title>([^<]*)', text)
    assert titles == ["lwf, T 2, alpha 3: average accuracy 90.0 % ± 2.8 (2 seeds)"] * 3
    cells = re.findall(r'<g id="\w+-cell-.*?</g>', text, re.DOTALL)
    assert len(cells) == 1 + 3 * len(VALUES)
    assert not any("light-dark" in cell for cell in cells)
    assert "light-dark" in text


def test_a_sweep_that_is_no_grid_has_lines(tmp_path) -> None:
    for n in range(4):
        run_folder(tmp_path / f"{n}", "lwf", 0, (n / 10, 0.5), alpha=10.0**n, T=n + 1)
    drawn = [d for d in drawings.of_section(section_of(tmp_path)) if "sensitivity" in d.name]
    assert [d.figure.axes[0].get_xscale() for d in drawn] == ["linear", "log"]


def test_one_setting_is_a_line_with_intervals_in_the_order_of_its_values(tmp_path) -> None:
    for n, weight in enumerate((1000, 1, 30)):
        for seed in range(2):
            accuracy = 0.3 + n / 10 + seed / 10
            run_folder(tmp_path / f"{n}-{seed}", "ewc", seed, (accuracy, accuracy), weight=weight)
    (drawing,) = [d for d in drawings.of_section(section_of(tmp_path)) if "sensitivity" in d.name]
    (axes,) = drawing.figure.axes
    assert axes.get_xscale() == "log"
    line = axes.lines[0].get_xydata()
    np.testing.assert_allclose(line, [[1, 45], [30, 55], [1000, 35]])
    assert len(axes.collections) == 3  # bars of intervals


@pytest.mark.parametrize("apart", [0.0, 0.006, 0.1])
def test_lines_that_coincide_are_named(tmp_path, apart) -> None:
    """Both shown panels span 0.1 to 0.9 of accuracy, and a line is as wide as a hundredth."""
    for name, old in (("finetune", 0.1), ("ewc", 0.1 + apart), ("joint", 0.9)):
        run_folder(tmp_path / name, name, 0, (old, 0.9))
    drawn = list(drawings.of_section(section_of(tmp_path)))
    for name, what in (("trade_off", "points"), ("over_tasks", "lines")):
        (caption,) = [d.caption for d in drawn if d.name == name]
        within = "" if apart == 0 else " within 0.6 points"
        said = f"These {what} coincide{within}: ewc; finetune." in caption
        assert said == (apart < 0.1) and said == ("coincide" in caption)


def test_only_curves_of_the_same_length_coincide() -> None:
    def curve(*means: float) -> list[Point]:
        return [Point("", "", [(mean, mean)]) for mean in means]

    curves = {"a": curve(1, 50), "b": curve(1), "c": curve(1.1, 50.2), "d": curve(1.0)}
    assert same_trade_off(curves) == (
        " These points coincide within 0.2 points: a; c. These points coincide: b; d."
    )


def test_names_of_settings_never_cover_each_other(tmp_path) -> None:
    for n in range(8):
        accuracy = (0.5 + n / 500, 0.5 + n / 900)
        run_folder(tmp_path / f"{n}", "ewc", 0, accuracy, weight=10.0**n)
    drawn = {d.name: d.figure for d in drawings.of_section(section_of(tmp_path))}
    figure = drawn["trade_off"]
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 2 <= len(boxes) <= 8
    assert not any(a is not b and a.overlaps(b) for a, b in product(boxes, boxes))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def verdict(name: str, published: float, mean: float) -> Verdict:
    row = Row(row=name, run=name, metric="average_accuracy", published=published, sem=0.5)
    return Verdict(row, mean, deviation=2.0, n=4, missing=0, wanted=4)


def test_published_and_ours_have_a_line_with_both_intervals() -> None:
    """Two standard errors on each side: 2 · 0.5 published, 2 · 2 / √4 ours."""
    rows = [verdict("a", 99.5, 99.0), verdict("b", 50.0, 50.5), verdict("c", 50.0, 80.0)]
    suite = Suite(
        name="s", title="", source="", minutes=1, seeds=[0, 1, 2, 3], common=[], runs={}, rows=[]
    )
    figure = published_and_ours(Judgement.model_validate(as_json(suite, [], rows)).rows)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b", "c"]
    assert left.get_xlim()[1] == 100 and left.get_xlim()[0] >= 0
    bars = sorted(tuple(b.get_segments()[0][:, 0]) for b in left.collections)
    assert bars == [(48.5, 52.5), (49, 51), (49, 51), (78, 82), (97, 101), (98.5, 100.5)]
    moved = sorted(tuple(b.get_segments()[0][:, 0]) for b in right.collections)
    assert moved == [(-2.5, 1.5), (-1.5, 2.5), (28, 32)]
    (named,) = figure.legends
    assert [text.get_text() for text in named.get_texts()] == [
        "published", "ours", "ours, outside", "allowed difference"]  # fmt: skip


def test_a_file_from_elsewhere_does_not_keep_us_drawing() -> None:
    row = {"row": "a", "published": 1.0, "mean": 1.0, "deviation": None, "percent": True, "n": 1,
           "verdict": "ok"}  # fmt: skip
    assert published_and_ours([Judged.model_validate(row)] * 201) is None


def test_a_label_is_the_same_in_all_streams(tmp_path) -> None:
    for dataset in ("digits", "gtsrb"):
        for weight in (1, 10, 100):
            run_folder(
                tmp_path / f"{dataset}-{weight}", "ewc", 0, (0.1, weight / 200), dataset=dataset,
                weight=weight,
            )  # fmt: skip
    run_folder(tmp_path / "other", "ewc", 0, (0.1, 0.2), dataset="gtsrb", weight=5)
    streams = sections(read([tmp_path]))
    looks = Looks.of_sections(streams)
    drawn = [{d.name: d.figure for d in drawings.of_section(s, looks)} for s in streams]
    colours = [
        {line.get_label(): line.get_color() for line in one["over_tasks"].axes[0].lines}
        for one in drawn
    ]
    shared = [label for label in colours[0] if label.startswith("ewc")]
    assert len(shared) == 3
    assert all(colours[0][label] == colours[1][label] for label in shared)
