"""What the page shows of each strategy by itself, against sums done by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_runs import PLANTED, run_folder

from cl_runner.forgetting import key_of, labels_of
from cl_runner.measures import MEASURES
from cl_runner.report.compare.confusion import confusion
from cl_runner.report.compare.groups import Group, Section
from cl_runner.report.compare.history import MOST_POINTS, Line, Lines, lines
from cl_runner.report.compare.runs import read
from cl_runner.report.compare.sorting import sections
from cl_runner.report.render import matrix_figures, training_figures
from cl_runner.report.render.drawings import Drawing
from cl_runner.report.render.page import svg
from cl_runner.report.render.strategy_panels import blocks

ACCURACY = MEASURES["accuracy"]


def section_of(folder: Path) -> Section:
    (section,) = sections(read([folder]))
    return section


def group_of(folder: Path) -> Group:
    (group,) = section_of(folder).groups
    return group


def step(task: int, number: int, /, **terms: float) -> dict[str, Any]:
    return {"event": "step", "task": task, "epoch": 0, "step": number,
            "loss": sum(terms.values()), "terms": terms}  # fmt: skip


def evaluation(task: int, number: int, *row: float, event: str = "evaluation") -> dict[str, Any]:
    return {"event": event, "task": task, "step": number, "accuracy": list(row)}


def logged(folder: Path, *events: dict[str, Any]) -> None:
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))


def predicted(folder: Path, true: list[list[int]], called: list[list[int]], orders: Any) -> None:
    """Predictions after the last task, and a run whose tasks have these classes."""
    arrays = {labels_of(task): np.array(classes) for task, classes in enumerate(true)}
    last = len(true) - 1
    for task, classes in enumerate(called):
        arrays[key_of(last, task)] = np.array(classes)
        arrays[key_of(last, task) + "_task_il"] = np.array(true[task])
    np.savez(folder / "predictions.npz", **arrays)
    results = json.loads((folder / "results.json").read_text())
    results["tasks"] = [
        {"name": "t", "classes": classes, "train": 9, "test": 9} for classes in orders
    ]
    (folder / "results.json").write_text(json.dumps(results))


def test_a_cell_of_the_matrix_is_the_mean_over_seeds(tmp_path: Path) -> None:
    for seed, row in enumerate([(0.5, 0.8), (0.6, 0.7), (0.1, 0.9)]):
        run_folder(tmp_path / str(seed), "lwf", seed, row)
    (block,) = blocks(section_of(tmp_path))
    (panel,) = block.panels
    numbers = {text.get_gid(): text.get_text() for text in panel.figure.axes[0].texts}
    assert numbers == {"cell-0-0-number": "90.0", "cell-1-0-number": "40.0",
                       "cell-1-1-number": "80.0"}  # fmt: skip
    deviation = math.sqrt(((50 - 40) ** 2 + (60 - 40) ** 2 + (10 - 40) ** 2) / 2)
    words = f"after task 2, on task 1: 40.0 % ± {deviation:.1f} (3 seeds)"
    assert panel.hover["cell-1-0"] == words
    assert f"<title>{words}</title>" in svg(panel)


def test_the_same_colour_is_the_same_accuracy_in_all_panels() -> None:
    low, high = ([[0.2, None], [0.1, 0.3]],), ([[0.9, None], [0.8, 1.0]],)
    means = [matrix_figures.over_seeds(several)[0] for several in (low, high)]
    scale = matrix_figures.colours_of(ACCURACY, means)
    assert (scale.vmin, scale.vmax) == (0, 100)
    errors = matrix_figures.colours_of(MEASURES["mse"], means)
    assert (errors.vmin, errors.vmax) == (0.1, 1.0)


def test_confusion_is_counted_row_by_row(tmp_path: Path) -> None:
    true, called = [[0, 0, 0, 0, 1, 1], [2, 2, 2, 3]], [[0, 2, 2, 3, 1, 3], [2, 2, 0, 3]]
    run_folder(tmp_path / "0", "lwf", 0, (0.1, 0.2))
    predicted(tmp_path / "0", true, called, [[0, 1], [2, 3]])
    pairs = Counter(zip(chain(*true), chain(*called), strict=True))
    wanted = [[pairs[r, c] / sum(pairs[r, other] for other in range(4)) for c in range(4)]
              for r in range(4)]  # fmt: skip
    found = confusion(group_of(tmp_path))
    assert found is not None and found.shares.tolist() == wanted
    assert found.tasks == [range(2), range(2, 4)] and found.labels == ["0", "1", "2", "3"]
    figure, hover = matrix_figures.confusion_matrix("lwf", found)
    assert hover["cell-0-2"] == "class 0 predicted as 2: 50.0 % (1 seed)"
    edges = [line.get_xydata().tolist() for line in figure.axes[0].get_lines()]
    assert edges == [[[0, 1.5], [1, 1.5]], [[1.5, 0], [1.5, 1]]]  # between the tasks, both ways


def test_confusion_is_a_mean_over_seeds_in_the_order_of_learning(tmp_path: Path) -> None:
    """Seed 1 learns other classes first, so a row has no class of the data set."""
    true = [[0, 0], [1, 1]]
    for seed, (called, orders) in enumerate(
        [([[0, 1], [1, 1]], [[7], [3]]), ([[1, 1], [0, 1]], [[3], [7]])]
    ):
        run_folder(tmp_path / str(seed), "lwf", seed, (0.1, 0.2))
        predicted(tmp_path / str(seed), true, called, orders)
    found = confusion(group_of(tmp_path))
    assert found is not None and found.deviations is not None
    assert found.shares.tolist() == [[0.25, 0.75], [0.25, 0.75]] and found.labels is None
    assert found.deviations[0, 0] == pytest.approx(math.sqrt(2 * 0.25**2))
    block = blocks(section_of(tmp_path))[-1]
    assert block.name == "confusion" and "different orders" in block.caption


@pytest.mark.parametrize(("classes", "pictures"), [(20, 0), (43, 1), (100, 1)])
def test_many_classes_are_one_picture(classes: int, pictures: int, tmp_path: Path) -> None:
    half = classes // 2
    tasks = [list(range(half)), list(range(half, classes))]
    run_folder(tmp_path / "0", "lwf", 0, (0.1, 0.2))
    predicted(tmp_path / "0", tasks, tasks, tasks)
    found = confusion(group_of(tmp_path))
    assert found is not None
    figure, _ = matrix_figures.confusion_matrix("lwf", found)
    axes = figure.axes[0]
    assert len(axes.images) == pictures and len(axes.get_xticks()) <= 22
    if pictures:
        shown = axes.images[0].get_array()
        assert shown.shape[:2] == (classes, classes)
        assert (shown[3, 3] != shown[3, 4]).any() and (shown[3, 3] == shown[40, 40]).all()


def course(folder: Path) -> Lines:
    found = lines(group_of(folder))
    assert found is not None
    return found


def test_lines_are_means_over_seeds_and_switches_where_tasks_end(tmp_path: Path) -> None:
    for seed, off in enumerate((0.0, 0.2)):
        run_folder(tmp_path / str(seed), "lwf", seed, (0.1, 0.2))
        logged(
            tmp_path / str(seed),
            step(0, 5, task=1.0 + off), evaluation(0, 5, 0.3 + off, event="within_task"),
            step(0, 10, task=0.5), evaluation(0, 10, 0.6),
            step(1, 15, task=0.4, penalty=0.1 + off),
            evaluation(1, 15, 0.4 - off, 0.5, event="within_task"),
            evaluation(1, 30, 0.2, 0.8),
        )  # fmt: skip
    found = course(tmp_path)
    assert (found.switches, found.end, found.seeds) == ([10], 30, 2)
    first, second = found.measured[0], found.measured[1]
    assert first.steps.tolist() == pytest.approx([5, 10, 15, 30])
    assert first.mean.tolist() == pytest.approx([0.4, 0.6, 0.3, 0.2])
    assert first.low.tolist() == pytest.approx([0.3, 0.6, 0.2, 0.2])
    assert first.high.tolist() == pytest.approx([0.5, 0.6, 0.4, 0.2])
    assert second.steps.tolist() == pytest.approx([15, 30])
    assert found.terms["task"].mean.tolist() == pytest.approx([1.1, 0.5, 0.4])
    assert found.terms["penalty"].steps.tolist() == pytest.approx([15])
    limits = training_figures.limits_of(ACCURACY, [found])
    figure, _ = training_figures.accuracies("lwf", ACCURACY, found, limits)
    dotted = [line for line in figure.axes[0].get_lines() if line.get_gid() is None]
    assert [line.get_xdata() for line in dotted] == [[10, 10]]


def test_tasks_of_different_length_are_laid_over_each_other(tmp_path: Path) -> None:
    """Seed 1 takes twice as long: half of a task is half of it for both, and steps are means."""
    for seed, scale in enumerate((1, 2)):
        run_folder(tmp_path / str(seed), "lwf", seed, (0.1, 0.2))
        half = evaluation(0, 5 * scale, 0.2 * scale, event="within_task")
        ends = evaluation(0, 10 * scale, 0.3 * scale), evaluation(1, 14 * scale, 0.1, 0.5)
        logged(tmp_path / str(seed), half, *ends)
    found = course(tmp_path)
    assert (found.switches, found.end) == ([15], 21)
    assert found.measured[0].steps.tolist() == pytest.approx([7.5, 15, 21])
    assert found.measured[0].mean.tolist() == pytest.approx([0.3, 0.45, 0.1])


def test_long_lines_are_thinned_and_means_stay_means(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(1, 2, 1000)
    run_folder(tmp_path / "0", "lwf", 0, (0.1, 0.2))
    events = [step(0, n + 1, task=value) for n, value in enumerate(values)]
    points = [evaluation(0, n + 1, value - 1, event="within_task")
              for n, value in enumerate(values)]  # fmt: skip
    after = evaluation(0, 1000, values[-1] - 1), evaluation(1, 1000, 0.5, 0.5)
    logged(tmp_path / "0", *events, *points, *after)
    found = course(tmp_path)
    line, single = found.terms["task"], found.measured[0]
    assert len(line.steps) <= MOST_POINTS + 4 and line.steps[-1] == 1000
    ends = line.steps.round().astype(int)
    starts = [0, *ends[:-1]]
    wanted = [values[a:b].mean() for a, b in zip(starts, ends, strict=True)]
    assert line.mean.tolist() == pytest.approx(wanted)
    assert len(single.steps) <= MOST_POINTS + 4
    shown = dict(zip(single.steps.round().astype(int)[:-1], single.mean, strict=False))
    assert all(
        value == pytest.approx(values[at - 1] - 1) for at, value in shown.items() if at < 1000
    )


def test_terms_that_span_decades_have_a_logarithmic_scale(tmp_path: Path) -> None:
    for number, penalty in enumerate((0.5, 0.001, -0.001)):
        folder = tmp_path / str(number)
        run_folder(folder / "run", "ewc", 0, (0.1, 0.2))
        events = step(0, 10, task=0.5), step(1, 20, task=0.4, penalty=penalty)
        logged(folder / "run", *events, evaluation(0, 10, 0.5), evaluation(1, 20, 0.5, 0.5))
        (panel,) = next(b for b in blocks(section_of(folder)) if b.name == "terms").panels
        assert panel.figure.axes[0].get_yscale() == ("linear", "log", "linear")[number]
        texts = panel.figure.axes[0].get_legend().get_texts()
        assert [text.get_text() for text in texts] == ["task", "penalty"]


def test_labels_of_a_logarithmic_scale_have_room(tmp_path: Path) -> None:
    """0.02, 0.05, 0.1 where there are few decades, and never 2 × 10⁻²."""
    for lowest in (0.02, 1e-5):
        folder = tmp_path / str(lowest)
        run_folder(folder / "run", "ewc", 0, (0.1, 0.2))
        events = step(0, 10, task=0.62), step(1, 20, task=0.4, penalty=lowest)
        logged(folder / "run", *events, evaluation(0, 10, 0.5), evaluation(1, 20, 0.5, 0.5))
        (panel,) = next(b for b in blocks(section_of(folder)) if b.name == "terms").panels
        axis = panel.figure.axes[0].yaxis
        low, high = axis.get_view_interval()
        words = [
            word
            for part in (axis.major, axis.minor)
            if len(places := [x for x in part.locator() if low <= x <= high])
            for word in part.formatter.format_ticks(places)
            if word
        ]
        assert 2 <= len(words) <= 6 and "times" not in "".join(words), words


def test_what_is_damaged_or_missing_is_left_out(tmp_path: Path) -> None:
    events = [evaluation(0, 5, 0.5), evaluation(1, 9, 0.5, 0.5)]
    damages: list[list[dict[str, Any]]] = [
        events[:1], events[::-1], [evaluation(0, 5, 0.5, 0.5), events[1]],
        [*events, step(0, 7, task=1.0)], [*events, step(4, 9, task=1.0)],
        [*events, step(1, 3, task=1.0)], [{"event": "else"}],
    ]  # fmt: skip
    for number, damaged in enumerate(damages):
        run_folder(tmp_path / str(number), "lwf", number, (0.1, 0.2))
        logged(tmp_path / str(number), *damaged)
        (tmp_path / str(number) / "predictions.npz").write_bytes(b"no archive")
    run_folder(tmp_path / "9", "lwf", 9, (0.1, 0.2))  # without either file
    assert [block.name for block in blocks(section_of(tmp_path))] == ["matrices"]
    logged(tmp_path / "9", *events)
    assert course(tmp_path).seeds == 1


def test_of_many_settings_those_that_tell_most_are_shown(tmp_path: Path) -> None:
    for number in range(14):
        run_folder(tmp_path / str(number), "ewc", 0, (number / 20, 0.5), weight=number)
    (block,) = blocks(section_of(tmp_path))
    assert len(block.panels) == 12 and "12 of 14 settings" in block.caption
    assert block.panels[0].caption.startswith("ewc, weight 13: ")


@pytest.mark.parametrize(("last", "shown"), [(8, True), (0, False)])
def test_a_strategy_without_steps_has_no_course_of_training(tmp_path, last, shown) -> None:
    run_folder(tmp_path / "a", "slda", 0, (0.5, 0.9))
    run_folder(tmp_path / "b", "slda", 1, (0.5, 0.9))
    for name in "ab":
        logged(tmp_path / name, evaluation(0, last // 2, 0.9), evaluation(1, last, 0.5, 0.9))
    assert ("training" in {block.name for block in blocks(section_of(tmp_path))}) == shown


def test_a_planted_name_stays_text(tmp_path: Path) -> None:
    run_folder(tmp_path / "0", PLANTED, 0, (0.1, 0.2))
    events = step(0, 5, **{PLANTED: 1.0}), evaluation(0, 5, 0.5), evaluation(1, 9, 0.5, 0.5)
    logged(tmp_path / "0", *events)
    for block in blocks(section_of(tmp_path)):
        for panel in block.panels:
            assert "<script" not in svg(panel)


def test_the_pages_of_ten_strategies_stay_small() -> None:
    """Ten tasks, five seeds, accuracies at 1200 places: below 100 kB a panel."""
    ends = 600.0 * np.arange(1, 11)
    rng = np.random.default_rng(0)
    measured = {}
    for task in range(10):
        places = np.linspace(600 * task, 6000, MOST_POINTS)
        mean = rng.uniform(0, 1, MOST_POINTS)
        measured[task] = Line(places, mean, mean - 0.1, mean + 0.1)
    found = Lines(ends[:-1].tolist(), 6000.0, measured, {}, 5)
    figure, hover = training_figures.accuracies("lwf", ACCURACY, found, (0, 100))
    assert len(svg(Drawing("training", "", figure, hover))) < 100_000
