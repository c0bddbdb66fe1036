"""Figures and the animation: they show what was measured."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted_runs import outcome, run_folder
from running import run_here

from cl_runner.report import command
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import animation, drawings, figures, strategy_figures
from cl_runner.report.render.looks import Looks
from cl_runner.report.render.strategy_figures import Point
from cl_runner.reproduce import suite as suites
from cl_runner.run_folder.outcome import Results

TINY = ("dataset.tasks=2", "epochs=2", "batch_size=64", "model.widths=[8]", "evaluate_every=epoch")
SMALL = ("experiment=regression", "model.widths=[16]", "epochs=6")


def results(*R: list[float], **known: object) -> Results:
    rows = [[*row, *[None] * (len(R) - len(row))] for row in R]
    return outcome(accuracy=rows, strategy="lwf", **known)


def lines_of(axes) -> list[tuple[list, list]]:
    return [tuple(np.array(line.get_data()).tolist()) for line in axes.get_lines()]


def test_the_trade_off_shows_the_means_and_every_seed() -> None:
    a = [Point("a1", "1", [(10, 90), (20, 80)]), Point("a2", "2", [(40, 60)])]
    curves = {"a": a, "b": [Point("b", "", [(70, 50)])]}
    looks = Looks({"a1": "a", "a2": "a", "b": "b"})
    (axes,) = strategy_figures.trade_off(curves, looks, "old", "new").axes
    drawn = lines_of(axes)
    assert ([15.0, 40.0], [85.0, 60.0]) in drawn
    assert ([10.0, 20.0], [90.0, 80.0]) in drawn and ([70.0], [50.0]) in drawn
    assert [text.get_text() for text in axes.texts] == ["1", "2"]


def test_over_tasks_shows_all_tasks_so_far_and_the_first() -> None:
    seeds = [results([0.9], [0.5, 0.7]), results([0.8], [0.3, 0.9])]
    left, right = strategy_figures.over_tasks({"lwf": seeds}, Looks({"lwf": "lwf"})).axes
    assert lines_of(left)[0] == ([1.0, 2.0], pytest.approx([85.0, 60.0]))
    assert lines_of(right)[0] == ([1.0, 2.0], pytest.approx([85.0, 40.0]))
    assert lines_of(right)[2] == ([1.0, 2.0], pytest.approx([80.0, 30.0]))


def test_over_training_marks_where_a_task_begins() -> None:
    curve = [(0, [0.5]), (0, [0.9]), (1, [0.6, 0.1]), (1, [0.4, 0.8])]
    points = [{"task": task, "accuracy": row} for task, row in curve]
    measured = results([0.9], [0.4, 0.8], accuracy_curve=points)
    (axes,) = figures.over_training(measured).axes
    assert lines_of(axes)[:2] == [([1.0, 2.0, 3.0, 4.0], pytest.approx([50, 90, 60, 40])),
                                  ([3.0, 4.0], pytest.approx([10, 80]))]  # fmt: skip
    assert lines_of(axes)[2][0] == [2.5, 2.5]


def test_the_matrix_shows_its_numbers() -> None:
    (axes, _) = figures.accuracy_matrix(results([0.912], [0.5, 0.7])).axes
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "91.2", (0, 1): "50.0", (1, 1): "70.0"}  # by task and row


def test_of_many_strategies_only_the_best_are_drawn(tmp_path) -> None:
    """No two lines look the same, and the captions say what is left out."""
    for number in range(10):
        accuracy = (number / 10, number / 10)
        run_folder(tmp_path / f"{number}", f"s{number}", 0, accuracy, memory=number * 10**5)
    (section,) = sections(read([tmp_path]))
    drawn = {drawing.name: drawing for drawing in drawings.of_section(section)}
    best = [f"s{number}" for number in range(9, 1, -1)]
    for name in ("trade_off", "over_tasks", "costs"):
        (legend,) = drawn[name].figure.legends
        assert [text.get_text() for text in legend.get_texts()] == best
        assert "8 of 10" in drawn[name].caption


def test_zero_next_to_a_wide_range_has_a_tick_of_its_own(tmp_path) -> None:
    """0 and powers of ten, as for a penalty's weight: no two labels overlap."""
    for number, weight in enumerate([0, 1, 10, 100, 100000]):
        run_folder(tmp_path / f"{number}", "ewc", 0, (0.1, number / 10), weight=weight)
    (section,) = sections(read([tmp_path]))
    (figure,) = [d.figure for d in drawings.of_section(section) if "weight" in d.name]
    (axes,) = figure.axes
    ticks = axes.transData.transform([(tick, 0) for tick in axes.get_xticks()])[:, 0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "10", "100",
                                                                      "100000"]  # fmt: skip
    assert np.diff(ticks).min() > 0.1 * (ticks[-1] - ticks[0])


@pytest.mark.parametrize(
    ("stored", "scale"),
    [([0, 10**3, 10**8], "symlog"), ([10**3, 10**8], "log"), ([0, 9], "linear")],
)
def test_stored_bytes_are_drawn_apart(tmp_path, stored, scale) -> None:
    for number, memory in enumerate(stored):
        run_folder(tmp_path / f"{number}", f"s{number}", 0, (0.1, 0.2), memory=memory)
    (section,) = sections(read([tmp_path]))
    (figure,) = [d.figure for d in drawings.of_section(section) if d.name == "costs"]
    axes = figure.axes[1]
    assert axes.get_xscale() == scale
    points = [line.get_xdata() for line in axes.get_lines()]
    assert [x[0] for x in points if len(x)] == stored  # those without a point are for the legend
    low, high = axes.get_xlim()
    shown = sorted(tick for tick in axes.get_xticks() if low <= tick <= high)
    places = axes.transData.transform([(tick, 0) for tick in shown])[:, 0]
    assert len(shown) >= 2 and np.diff(places).min() > 30  # pixels, enough for labels


@pytest.fixture(scope="module")
def two_regressions(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("regressions")
    for strategy in ("finetune", "joint"):
        (folder / strategy).mkdir()
        run_here(folder / strategy, *SMALL, f"strategy={strategy}")
        (folder / strategy / "results.json").write_text(
            (folder / strategy / "results.json").read_text().replace(': "test"', f': "{strategy}"')
        )
        (folder / strategy / "config.yaml").write_text(f"strategy: {{_target_: {strategy}}}")
    return folder


def test_a_report_covers_one_run_or_several(two_regressions, tmp_path, monkeypatch) -> None:
    """Each figure as SVG, PDF and PNG, always with the same bytes; of a regression an animation."""
    monkeypatch.setattr(animation, "FRAMES", 5)
    first, again = (command.report([two_regressions], tmp_path / n)[1] for n in ("a", "b"))
    drawn = [file for file in first if file.parent.name == "figures"]
    assert [file.name for file in drawn] == [
        *(f"{name}.{kind}" for name in ("fits", "errors_over_epochs", "costs")
          for kind in ("svg", "pdf", "png")), "animation.gif", "each_strategy.pdf",
    ]  # fmt: skip
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, again, strict=True))
    assert drawn[0].read_text().startswith("<?xml") and drawn[1].read_bytes()[:5] == b"%PDF-"
    assert ">true function</text>" in drawn[0].read_text()  # text, not outlines
    with Image.open(drawn[2]) as picture:
        assert min(picture.size) > 400
    page = (tmp_path / "a" / "report.html").read_text()
    # Three figures, the player with five lines for each run, three blocks with two panels each.
    assert page.count("<svg") == 3 + 1 + 6 and page.count('class="frame"') == 2 * 4
    assert page.count('class="frame last"') == 2
    alone = command.report([two_regressions / "joint"], tmp_path / "c")[1]
    names = {file.stem for file in alone if file.parent.name == "figures"}
    assert names == {"mse_matrix", "over_training", "fits", "animation", "each_strategy"}


def test_the_animation_moves_only_the_fit(two_regressions) -> None:
    """A hundred frames. From one to the next only the line and the title change, at most a few
    hundredths of the pixels."""
    panels = {run.results.strategy: run.fits() for run in read([two_regressions])}
    pictures = [np.asarray(p) for p in animation.frames(panels, 100)]
    assert len(pictures) == 100
    assert {p.shape for p in pictures} == {pictures[0].shape}
    moved = [(a != b).any(-1).mean() for a, b in pairwise(pictures)]
    assert 0 < max(moved) < 0.05
    title = slice(0, 36), slice(90, None)
    assert (pictures[0][title] < 128).sum() > 500  # the title is not cut off
    first_task, second = pictures[49], pictures[-1]
    one, other = (bytes.fromhex(colour[1:]) for colour in figures.task_colours(2))

    def pixels(p, colour) -> int:
        return int((p == [*colour]).all(-1).sum())

    assert pixels(first_task, one) > 100 and pixels(first_task, other) < pixels(second, other)


def test_the_animation_is_small_and_its_frames_are_kept(two_regressions, tmp_path) -> None:
    panels = {run.results.strategy: run.fits() for run in read([two_regressions])}
    start = time.monotonic()
    (gif,) = animation.save(panels, tmp_path)
    assert time.monotonic() - start < 60  # a hang, not a benchmark
    assert gif.stat().st_size < 2_000_000
    with Image.open(gif) as moving:
        assert moving.n_frames > 1
    assert len(list((tmp_path / "animation").glob("*.png"))) == 100


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_without_complete_runs_has_no_figures(name: str) -> None:
    assert list(drawings.of_suite(suites.read(name), {}, Looks({}))) == []


def test_joint_is_not_said_to_store_no_samples(tmp_path) -> None:
    """It is given all of them."""
    for number, (name, memory) in enumerate((("gdumb", 3000), ("finetune", 0), ("joint", 0))):
        run_folder(tmp_path / name, name, 0, (0.1 * number, 0.5), memory=memory)
    (section,) = sections(read([tmp_path]))
    (figure,) = [d.figure for d in drawings.of_section(section) if d.name == "costs"]
    drawn = [sum(len(line.get_xdata()) for line in axes.lines) for axes in figure.axes]
    assert drawn == [3, 2]  # seconds, and bytes of stored samples


def test_the_report_of_a_suite_draws_what_the_suite_asks_for(tmp_path, cl_train_here) -> None:
    suite = tmp_path / "suite"
    for name in ("fine-tuning-seed-7", "EWC_1e3-seed-7"):  # a seed that is not the suite's own
        words = (f"output_root={suite}", f"name={name}", "seed=7")
        assert cl_train_here(*TINY, *words).returncode == 0
    row = {"row": "a row", "published": 90.0, "percent": True, "mean": 89.5, "deviation": None,
           "n": 1, "verdict": "too low"}  # fmt: skip
    ours = {**row, "row": "one of ours", "published": None, "verdict": "ours"}
    verdict = {"suite": "ewc_mnist_to_fashion", "rows": [row, ours]}
    (suite / "verdict.json").write_text(json.dumps(verdict))
    _, files = command.report([suite], tmp_path / "out")
    drawn = [file for file in files if file.parent.name == "figures"]
    kinds = ("svg", "pdf", "png")
    figures = ("published_and_ours", "trade_off", "why")
    named = [f"{name}.{kind}" for name in figures for kind in kinds]
    named.append("each_strategy.pdf")
    assert [file.name for file in drawn] == named
    assert not re.findall(r"\d{4}-\d\d-\d\dT", drawn[0].read_text())  # the same on another day
    page = (tmp_path / "out" / "report.html").read_text()
    assert "too low" in page and "89.50" in page and "EWC 1e3" in page
    shown, folded = page.split("<summary>Without a published number</summary>")
    assert "a row" in shown and "one of ours" not in shown and "one of ours" in folded
