"""Metrics of one's own: functions of the raw records, down to single test samples."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from planted_runs import document
from running import composed, run_here
from stopping import stopped_and_continued

from cl_runner.errors import ConfigError
from cl_runner.measures import SHARE
from cl_runner.metrics import METRICS, metric
from cl_runner.records import Array, BySample
from cl_runner.run_folder import read
from cl_runner.run_folder.outcome import Results
from cl_runner.training import sizes

TINY = ("epochs=2", "batch_size=100", "model.widths=[8]", "dataset.tasks=2")
Labels = list[Array]


def worst_class(labels: Labels, predictions: BySample) -> float:
    """Lowest accuracy on the samples of any one class after the last task."""
    y, found = np.concatenate(labels), np.concatenate(predictions[-1])
    return min(float(np.mean(found[y == label] == label)) for label in np.unique(y))


def calibration_error(labels: Labels, logits: BySample) -> float:
    """Expected calibration error after the last task, ten bins (Guo et al. 2017)."""
    y, z = np.concatenate(labels), np.concatenate(logits[-1])
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    sure, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((sure * 10).astype(int), 9)
    gaps = [abs(np.sum(right[bins == b]) - np.sum(sure[bins == b])) for b in range(10)]
    return sum(gaps) / len(y)


def recomputed(folder: Path) -> dict[str, float | None]:
    """The metrics of a folder whose file lacks those of the user's."""
    file = folder / "results.json"
    node = {k: v for k, v in json.loads(file.read_text()).items()
            if k not in METRICS or not METRICS[k].is_own}  # fmt: skip
    file.write_text(json.dumps(node))
    return read.results(folder).metrics


@pytest.mark.parametrize("scenario", ["class_incremental", "task_incremental"])
def test_samples_are_those_that_the_matrix_counts(scenario: str, tmp_path: Path) -> None:
    seen = {}

    @metric(SHARE, more_is_better=True)
    def mean_of_samples(labels: Labels, predictions: BySample, classes: list[range]) -> float:
        """The average accuracy once more, counted from the samples."""
        seen["R"] = [[float(np.mean(p == y)) for p, y in zip(row, labels, strict=False)]
                     for row in predictions]  # fmt: skip
        assert [set(y.tolist()) for y in labels] == [set(own) for own in classes]
        return float(np.mean(seen["R"][-1]))

    results = run_here(tmp_path / "run", *TINY, f"dataset.scenario={scenario}")
    assert results["mean_of_samples"] == pytest.approx(results["average_accuracy"])
    matrix = results["accuracy" if "class" in scenario else "accuracy_task_il"]
    assert seen["R"] == [pytest.approx([v for v in row if v is not None]) for row in matrix]
    before = seen.pop("R")
    assert recomputed(tmp_path / "run")["mean_of_samples"] == results["mean_of_samples"]
    assert seen["R"] == before


def test_scores_are_kept_if_asked_for_and_give_the_predictions(tmp_path: Path) -> None:
    for own in (worst_class, calibration_error):
        metric(SHARE, more_is_better=own is worst_class)(own)
    plain = run_here(tmp_path / "plain", *TINY)
    kept = run_here(tmp_path / "kept", *TINY, "keep=logits")
    assert (plain["calibration_error"], kept["worst_class"]) == (None, plain["worst_class"])
    assert not (tmp_path / "plain" / "logits.npz").exists()
    arrays = read.predictions(tmp_path / "kept")
    scores = read.predictions(tmp_path / "kept", read.LOGITS)
    assert {k: (v.shape, str(v.dtype)) for k, v in scores.items()} == {
        f"after_task_{t}_on_task_{k}": ((len(arrays[f"labels_of_task_{k}"]), 2 * t), "float32")
        for t in (1, 2) for k in range(1, t + 1)
    }  # fmt: skip
    for key, value in scores.items():
        assert np.array_equal(value.argmax(1), arrays[key])
    z, y = (np.concatenate([each[k] for k in keys]) for each, keys in (
        (scores, ("after_task_2_on_task_1", "after_task_2_on_task_2")),
        (arrays, ("labels_of_task_1", "labels_of_task_2"))))  # fmt: skip
    p = np.exp(z.astype(float)) / np.exp(z.astype(float)).sum(1, keepdims=True)
    expected = sum(
        abs(sum(float(p[i].argmax() == y[i]) - p[i].max() for i in bin)) / len(y)
        for b in range(10)
        for bin in [[i for i in range(len(y)) if b <= p[i].max() * 10 < b + 1 + (b == 9)]]
    )
    assert kept["calibration_error"] == pytest.approx(expected, rel=1e-4)
    assert recomputed(tmp_path / "kept")["calibration_error"] == kept["calibration_error"]
    for file in ("predictions.npz", "metrics.jsonl"):
        assert (tmp_path / "kept" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()


def test_scores_outlive_a_stop(tmp_path: Path) -> None:
    words = (*TINY, "keep=logits")
    whole = run_here(tmp_path / "whole", *words)
    stopped_and_continued(tmp_path / "stopped", *words, at=whole["cost"]["steps"] - 2)
    one, other = ((tmp_path / run / read.LOGITS).read_bytes() for run in ("whole", "stopped"))
    assert one == other


def test_a_metric_that_fails_is_null_and_the_run_complete(tmp_path: Path, caplog) -> None:
    @metric(SHARE, more_is_better=True)
    def broken(R) -> float:
        """Divides by zero."""
        return 1 / 0

    @metric(SHARE, more_is_better=True)
    def too_large(R) -> float:
        """Not a share."""
        return 300.0

    @metric(SHARE, more_is_better=True)
    def of_numpy(R) -> float:
        """A number of another type."""
        return np.float32(0.5)  # type: ignore[return-value]

    with caplog.at_level(logging.WARNING, "cl_runner"):
        results = run_here(tmp_path / "run", *TINY)
    assert (results["broken"], results["too_large"], results["of_numpy"]) == (None, None, 0.5)
    assert [r.getMessage() for r in caplog.records if "null" in r.getMessage()] == [
        "the metric broken is null: division by zero",
        "the metric too_large is null: 300.0 is not a number in its unit (%)",
    ]


def test_a_metric_cannot_change_what_it_is_given(tmp_path: Path, caplog) -> None:
    """Nor end the program. Whatever it does, the file has what the run without it has."""

    @metric(SHARE, more_is_better=True)
    def overwriting(R, labels: Labels, predictions: BySample, classes: list[range]) -> float:
        """Overwrites all that it is given."""
        R[-1].reverse()
        R[0][0] = 0.25
        classes.clear()  # type: ignore[attr-defined]
        for array in (*labels, *predictions[-1]):
            array[:] = 0
        raise SystemExit(7)

    results = run_here(tmp_path / "run", *TINY)
    assert results.pop("overwriting") is None and "exit code 7" in caplog.text
    del METRICS["overwriting"]
    plain = run_here(tmp_path / "plain", *TINY)
    del results["cost"], plain["cost"]
    assert results == plain
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_many_folders_are_one_warning(tmp_path: Path, caplog) -> None:
    @metric(SHARE, more_is_better=True)
    def broken_once(R) -> float:
        """Divides by zero."""
        return 1 / 0

    for name in "ab":
        (tmp_path / name).mkdir()
        text = json.dumps(document(accuracy=[[0.9]]))
        (tmp_path / name / "results.json").write_text(text)
        assert read.results(tmp_path / name).metrics["broken_once"] is None
    assert caplog.text.count("broken_once") == 1


def test_records_that_are_damaged_give_no_number(tmp_path: Path) -> None:
    metric(SHARE, more_is_better=False)(calibration_error)
    run_here(tmp_path / "run", *TINY, "keep=logits")
    file = tmp_path / "run" / read.LOGITS
    scores = read.predictions(tmp_path / "run", read.LOGITS)
    np.savez(file, **{key: value[:, :1] for key, value in scores.items()})
    assert recomputed(tmp_path / "run")["calibration_error"] is None
    file.write_bytes(b"no archive")
    assert recomputed(tmp_path / "run")["calibration_error"] is None


def test_a_file_may_have_something_else_under_the_name(tmp_path: Path) -> None:
    metric(SHARE, more_is_better=True)(worst_class)
    for value in ({"a": 1}, "0.5", 7.0, True, 10**400):
        node = document(accuracy=[[0.9]]) | {"worst_class": value}
        assert Results.model_validate(node).metrics["worst_class"] is None
    assert Results.model_validate(node | {"worst_class": 0.4}).metrics["worst_class"] == 0.4


def test_a_folder_is_read_without_the_metrics_that_it_has(tmp_path: Path) -> None:
    node = document(accuracy=[[0.9]]) | {"from_elsewhere": 0.25}
    read_back = Results.model_validate(node)
    assert "from_elsewhere" not in read_back.metrics
    assert read_back.document()["from_elsewhere"] == 0.25


@pytest.mark.parametrize(("name", "records", "line"), [
    ("forgetting", "R", "metric forgetting of test_own_metrics has a name that is taken"),
    ("tasks", "R", "has a name that is taken"), ("schema", "R", "has a name that is taken"),
    ("folder", "R", "has a name that is taken"), ("seconds", "R", "has a name that is taken"),
    ("mine", "weights", "asks for weights, which no run records. Hint: known are R, M, sizes"),
])  # fmt: skip
def test_a_metric_that_cannot_be_registered_is_one_line(name, records, line) -> None:
    space: dict = {"__name__": __name__}
    exec(f"def {name}({records}):\n    return 0.0", space)
    before = dict(METRICS)
    with pytest.raises(ConfigError) as raised:
        metric(SHARE, more_is_better=True)(space[name])
    assert line in str(raised.value) and before == METRICS


def test_what_cannot_be_kept_is_refused_before_anything_is_written(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"keep=logits: keeps the scores of classes"):
        composed("dataset=regression_rbf", "keep=logits")
    monkeypatch.setattr(sizes, "ARRAYS", 2**10)
    with pytest.raises(ConfigError, match=r"keep=logits: would be \d+ MB of scores, at most 0 MB"):
        run_here(tmp_path / "run", *TINY, "keep=logits")
    assert not (tmp_path / "run").exists()
