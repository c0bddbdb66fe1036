"""Suites of published numbers: judged in both directions, and no failed run is dropped."""

from __future__ import annotations

import csv
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from processes import code_of
from running import composed

from cl_runner.config.traits import of_one_call
from cl_runner.errors import CheckpointError, ConfigError
from cl_runner.report import command as report
from cl_runner.reproduce import command, kept_numbers, overview, page_files, runs, suite
from cl_runner.reproduce.kept_numbers import Measured, numbers_of
from cl_runner.reproduce.suite import Row, Suite, number_at
from cl_runner.reproduce.verdict import Verdict, good, judge, plain
from cl_runner.run_folder.resume import stays_inside

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"


def a_suite(published: float | None, tolerance: float | None = 1.0) -> Suite:
    row = Row(
        row="old", run="one", metric="accuracy[1][0]", published=published, tolerance=tolerance
    )
    return Suite(name="s", title="t", source="", minutes=1, seeds=[0, 1, 2], common=[],
                 runs={"one": []}, rows=[row])  # fmt: skip


def left(*shares: float | None) -> dict:
    """What three runs left: the first task's accuracy after the second; None for a failure."""
    without = {"no number": {"accuracy": None}, None: None}
    return {
        ("one", seed): without.get(s, {"accuracy": [[1.0, None], [s, 0.5]]})
        for seed, s in enumerate(shares)
    }


def judged(some: Suite, documents: dict, wanted: int = 0) -> list[Verdict]:
    """The verdicts on runs that left these documents; None for a failure."""
    return judge(
        some,
        {
            key: None
            if document is None
            else Measured(numbers_of(some, key[0], document), "", "", 1.0, "")
            for key, document in documents.items()
        },
        wanted,
    )


@pytest.mark.parametrize(
    ("shares", "published", "word"),
    [
        ((0.50, 0.51, 0.52), 51.0, "ok"),
        ((0.50, 0.51, 0.52), 52.0, "ok"),
        ((0.50, 0.51, 0.52), 52.1, "too low"),
        ((0.50, 0.51, 0.52), 49.9, "too high"),
        ((0.50, 0.51, 0.52), None, "ours"),
        ((0.51, None, 0.51), 51.0, "failed (1 of 3 runs)"),
        ((None, None, None), 51.0, "failed (3 of 3 runs)"),
        (("no number", 0.51, 0.51), 51.0, "failed (1 of 3 runs)"),
    ],
)
def test_a_row_is_judged_in_both_directions(shares, published, word) -> None:
    (verdict,) = judged(a_suite(published), left(*shares))
    assert verdict.word == word
    assert good([verdict]) == (word in ("ok", "ours"))


def test_a_row_whose_run_was_left_out_is_neither_judged_nor_failed() -> None:
    rows = [Row(row=run, run=run, metric="average", published=50.0, tolerance=1.0)
            for run in ("EWC, task", "EWC, class", "GEM, task")]  # fmt: skip
    whole = replace(a_suite(50.0), runs={row.run: [] for row in rows}, rows=rows)
    for only, skip, runs_left in (
        (["EWC*"], [], ["EWC, task", "EWC, class"]),
        ([], ["GEM*"], ["EWC, task", "EWC, class"]),
        (["EWC*", "GEM*"], ["*class"], ["EWC, task", "GEM, task"]),
    ):
        some = whole.with_runs(only, skip)
        assert list(some.runs) == runs_left
        verdicts = judged(some, {(r, s): {"average": 0.5} for r in some.runs for s in some.seeds})
        words = {v.row.run: v.word for v in verdicts}
        assert words == {r: "ok" if r in runs_left else "not run" for r in whole.runs}
        assert good(verdicts) and plain(verdicts, False).endswith("2 of 2 within\n1 row not run")
    for only, skip, line in (
        (["EWC"], [], "--only=EWC: no run of s has such a name"),
        ([], ["*"], "--skip=*: leaves no run"),
    ):
        with pytest.raises(ConfigError, match=re.escape(line)):
            whole.with_runs(only, skip)


@pytest.mark.parametrize(
    ("at_least", "at_most", "word"),
    [(50, None, "ok"), (51.1, None, "too low"), (None, 51, "ok"), (None, 50.9, "too high"),
     (50, 52, "ok"), (10, 20, "too high")],
)  # fmt: skip
def test_a_goal_or_a_published_range_is_a_limit(at_least, at_most, word) -> None:
    row = Row(row="old", run="one", metric="accuracy[1][0]", at_least=at_least, at_most=at_most)
    (verdict,) = judged(Suite(**{**vars(a_suite(None)), "rows": [row]}), left(0.50, 0.51, 0.52))
    assert verdict.word == word and good([verdict]) == (word == "ok")


def test_an_error_is_no_share() -> None:
    row = Row(row="error", run="one", metric="mse_growth", percent=False, at_least=10)
    suite = Suite(**{**vars(a_suite(None)), "rows": [row], "seeds": [0]})
    (verdict,) = judged(suite, {("one", 0): {"mse_growth": 12.5}})
    assert plain([verdict]).splitlines()[1].split() == [
        "error", "–", "12.5", "–", "1", "≥", "10", "ok"]  # fmt: skip


def test_mean_and_sample_deviation_are_over_the_seeds() -> None:
    (verdict,) = judged(a_suite(51.0), left(0.50, 0.51, 0.55))
    assert verdict.mean == pytest.approx(52.0)
    assert verdict.deviation == pytest.approx(7**0.5)  # ((2² + 1² + 3²) / 2)^½
    assert plain([verdict]).splitlines()[1].split() == [
        "old", "51.00", "52.00", "±", "1.53", "2.65", "3", "±", "1", "ok"]  # fmt: skip


# Ours: 50, 51, 55, so a standard error of (7 / 3)^½; the published one in quadrature, twice.
@pytest.mark.parametrize(
    ("row", "tolerance"),
    [
        ({"sem": 2.0}, 2 * (7 / 3 + 4) ** 0.5),
        ({"sd": 3.0, "seeds": 4}, 2 * (7 / 3 + 9 / 4) ** 0.5),
        ({"sem": 2.0, "tolerance": 1.5}, 1.5),
        ({}, None),
    ],
)
def test_the_tolerance_is_computed_where_a_spread_was_published(row, tolerance) -> None:
    about = {"row": "old", "run": "one", "metric": "accuracy[1][0]", "published": 50.0}
    suite = Suite(**{**vars(a_suite(None)), "rows": [Row(**about, **row)]})
    (verdict,) = judged(suite, left(0.50, 0.51, 0.55), wanted=3)
    assert verdict.tolerance == (None if tolerance is None else pytest.approx(tolerance))
    if tolerance:
        assert verdict.limits == pytest.approx((50 - tolerance, 50 + tolerance))
        assert verdict.word == ("ok" if tolerance > 2 else "too high")


def test_a_computed_tolerance_is_half_a_point_at_least() -> None:
    row = Row(row="r", run="one", metric="accuracy[1][0]", published=50.0, sem=0.01)
    suite = Suite(**{**vars(a_suite(None)), "rows": [row]})
    (verdict,) = judged(suite, left(0.504, 0.504, 0.504), wanted=3)
    assert verdict.tolerance == 0.5 and verdict.word == "ok"


def test_fewer_seeds_than_the_suites_give_no_verdict(capsys) -> None:
    """And the exit code only says whether runs failed."""
    suite = replace(a_suite(99.0), seeds=[0])
    (verdict,) = judged(suite, left(0.50), wanted=3)
    assert verdict.word == "1 of 3 seeds, no verdict" and good([verdict])
    assert plain([verdict]).splitlines()[-1] == "1 row without a verdict"
    (failed,) = judged(suite, left(None), wanted=3)
    assert not good([failed])


def test_only_verified_rows_decide() -> None:
    rows = [
        Row(row=origin, run="one", metric="accuracy[1][0]", published=published, tolerance=1.0,
            origin=origin)
        for origin, published in (("verified", 50.0), ("transcribed", 60.0), ("recalled", 40.0))
    ]  # fmt: skip
    verdicts = judged(replace(a_suite(None), rows=rows, seeds=[0]), left(0.50), wanted=1)
    assert [v.word for v in verdicts] == ["ok", "too low", "too high"] and good(verdicts)
    lines = plain(verdicts).splitlines()
    assert "60.00 (T)" in lines[2] and "40.00 (R)" in lines[3]
    assert lines[4:] == [
        "1 of 1 within", "0 of 2 within, 1 too high, 1 too low (not verified: they decide nothing)"
    ]  # fmt: skip


def test_rows_without_a_published_number_are_folded() -> None:
    own = Row(row="own", run="one", metric="accuracy[1][1]")
    suite = replace(a_suite(51.0), rows=[own, *a_suite(51.0).rows], seeds=[0])
    verdicts = judged(suite, left(0.51), wanted=1)
    folded = plain(verdicts, everything=False).splitlines()
    assert [line.split()[0] for line in folded[1:-2]] == ["old"]
    assert folded[-1] == "1 row without a published number: --all"
    assert plain(verdicts).splitlines()[1].startswith("own")


def test_the_page_says_why_a_row_is_outside(tmp_path, monkeypatch, capsys) -> None:
    """And has a picture that is there."""
    text = {
        "title": "Tiny", "source": "nobody", "minutes": 1, "seeds": [0],
        "common": ["epochs=1", "dataset.tasks=2"], "runs": {"plain": []},
        "rows": [{"row": f"row {n}", "run": "plain", "metric": "accuracy[1][1]", "published": 0.0,
                  "tolerance": 1.0, "reason": "± 1", "explanation": why}
                 for n, why in enumerate(["It was learned.", "It was learned.", ""])],
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["cl-reproduce", "tiny.yaml", "--jobs", "1", "--page", "pages"]
    )
    with pytest.raises(SystemExit):
        command.main()
    assert "page: pages/tiny.md" in capsys.readouterr().out
    page = (tmp_path / "pages" / "tiny.md").read_text()
    assert "- **row 0; row 1:** It was learned." in page and "- **row 2:** Not explained." in page
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", page)
    assert (tmp_path / "pages" / picture).read_text().count("<svg") == 1


PIECES = {
    "title": "Tiny", "source": "nobody", "minutes": 1, "seeds": [0, 1],
    "common": ["epochs=1", "dataset.tasks=2"],
    "runs": {"plain": [], "joint": ["strategy=joint"]},
    "rows": [{"row": f"{run}, {metric}", "run": run, "metric": metric, "published": 90.0,
              "tolerance": 90.0, "reason": "± 90"}
             for run in ("plain", "joint") for metric in ("accuracy[1][0]", "average_accuracy")],
}  # fmt: skip


def test_a_page_is_made_in_pieces(tmp_path, monkeypatch, capsys) -> None:
    """Of the numbers beside it, each of which is that of a run. Those of other settings go, and a
    file that is not ours is refused before anything is run."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **suite) -> int:
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**PIECES, **suite}))
        given = ["tiny.yaml", "--jobs", "1", "--page", "pages", *words]
        monkeypatch.setattr(sys, "argv", ["cl-reproduce", *given])
        try:
            command.main()
        except SystemExit as stop:
            return stop.code
        return 0

    def table() -> dict[str, list[str]]:
        """The mean, the number of seeds and the verdict of each row on the page."""
        lines = (tmp_path / "pages" / "tiny.md").read_text().splitlines()
        cells = [[c.strip() for c in line.split("|")] for line in lines if "| 90.00" in line]
        return {row[1]: [row[3], row[5], row[7]] for row in cells}

    assert run("--only", "plain", "--seeds", "1") == 0
    assert {row[2] for row in table().values()} == {"1 of 2 seeds, no verdict", "not run"}
    assert run("--only", "joint") == run("--only", "plain", "--seeds", "0") == 0
    file = tmp_path / "pages" / "numbers" / "tiny.csv"
    lines = list(csv.DictReader(file.read_text().splitlines()))
    for line in lines:
        folder = tmp_path / f"outputs/reproduce/tiny/{line['run']}-seed-{line['seed']}"
        results = json.loads((folder / "results.json").read_text())
        assert float(line["value"]) == number_at(line["metric"], results)
    for row in PIECES["rows"]:
        values = [float(line["value"]) for line in lines
                  if (line["run"], line["metric"]) == (row["run"], row["metric"])]  # fmt: skip
        mean, n, word = table()[row["row"]]
        assert mean.split()[0] == f"{50 * sum(values):.2f}" and (n, word) == ("2", "ok")

    before = file.read_text()
    other = ["--only", "plain", "--seeds", "0", "--output", "other"]
    assert run(*other, common=["epochs=2", "dataset.tasks=2"]) == 0
    assert file.read_text().count("\n") == 3 and "joint" not in file.read_text()
    assert f"{file.relative_to(tmp_path)}: 3 runs of other settings or rows left out" in (
        capsys.readouterr().out
    )
    for words, said in (
        (["--seeds", "0,7"], "--seeds=7: the page has those of the suite: 0, 1"),
        (["epochs=3"], "the suite without other settings, and this call gives epochs=3"),
    ):
        assert run(*words, common=["epochs=2", "dataset.tasks=2"]) == ConfigError.exit_code
        assert said in capsys.readouterr().err
    file.unlink()
    for words in (["--only", "joint"], ["epochs=3"]):
        assert run(*words) == ConfigError.exit_code
        assert "so this call would replace them" in capsys.readouterr().err
    file.write_text(before.replace(",,", ",epochs=3,"))
    assert run() == ConfigError.exit_code
    assert "the suite with epochs=3, and this call gives none" in capsys.readouterr().err
    for damaged in (before.replace("seed", "sead", 1), before[:-20], before + "a\n"):
        file.write_text(damaged)
        assert run() == CheckpointError.exit_code
        assert f"{Path('pages/numbers/tiny.csv')} is damaged" in capsys.readouterr().err
        assert file.read_text() == damaged


def test_a_run_that_was_run_again_takes_the_place_of_the_one_in_the_file(tmp_path: Path) -> None:
    """Unless it failed. One without the number of a row that came later is none, nor is one with a
    seed that the suite does not have."""
    tiny = suite.Suite(name="tiny", **{**PIECES, "rows": [Row(**row) for row in PIECES["rows"]]})
    some = replace(tiny, rows=tiny.rows[:1], seeds=[0, 1])
    digest = kept_numbers._settings(tiny, "plain")
    old, new = (Measured({"accuracy[1][0]": v}, digest, "", 1.5, "here") for v in (0.25, 0.75))
    file = tmp_path / "tiny.csv"
    file.write_text(kept_numbers.text({("plain", seed): old for seed in (0, 1, 2)}))
    kept = kept_numbers.read(file)
    earlier = kept_numbers.of_today(some, kept)
    now = {("plain", 1): None, ("plain", 0): new, ("joint", 0): None}
    assert list(kept_numbers.together(some, earlier, now).items()) == [
        (("plain", 0), new),
        (("plain", 1), old),
        (("joint", 0), None),
    ]
    assert kept_numbers.of_today(tiny, kept) == {}


def test_what_a_call_measured_meanwhile_stays_on_the_page(tmp_path: Path, monkeypatch) -> None:
    """Parts of a suite at the same time: each adds its runs to those of the others."""
    tiny = suite.Suite(name="tiny", **{**PIECES, "rows": [Row(**row) for row in PIECES["rows"]]})
    both = [row["metric"] for row in PIECES["rows"][:2]]
    parts = [(run, seed) for run in ("plain", "joint") for seed in (0, 1)]
    for run, _ in parts:
        page_files.check(tmp_path, tiny, tiny.with_runs([run], []), [])
    text = kept_numbers.text
    monkeypatch.setattr(kept_numbers, "text", lambda runs: time.sleep(0.05) or text(runs))

    def add(run: str, seed: int) -> None:
        one = Measured(dict.fromkeys(both, 0.5), kept_numbers._settings(tiny, run), "", 1, "here")
        page_files.add(tmp_path, tiny, [], {(run, seed): one})

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, *zip(*parts, strict=True)))
    assert kept_numbers.read(tmp_path / "numbers" / "tiny.csv").keys() == set(parts)
    page = overview.lines_of((tmp_path / "tiny.md").read_text())
    assert {line.ours.split()[0] for line in page} == {"50.00"}


def test_the_pages_are_those_of_the_numbers_beside_them() -> None:
    """Of docs/results: each mean and number of seeds, and the settings are those of today."""
    for file in (RESULTS / "numbers").glob("*.csv"):
        found, page = suite.read(file.stem), (RESULTS / f"{file.stem}.md").read_text()
        runs_there = kept_numbers.of_today(found, kept_numbers.read(file))
        assert kept_numbers.text(runs_there) == file.read_text()
        shown = {line.row: line for line in overview.lines_of(page)}
        for row in found.rows:
            values = [one.numbers[row.metric] for (r, _), one in runs_there.items() if r == row.run]
            scale, digits = (100, ".2f") if row.percent else (1, ".3g")
            ours = f"{scale * sum(values) / len(values):{digits}}" if values else "–"
            assert shown[row.row].ours.split()[0] == ours


def test_the_overview_counts_rows_and_names_those_outside(tmp_path, monkeypatch) -> None:
    """Its counts and texts are those of the pages' tables and of the suites."""
    header = "| row | published | ours | s.d. | n | allowed | verdict |\n" + "| --- " * 7 + "|\n"

    def page(*rows: tuple[str, str, str]) -> str:
        lines = [f"| {row} | {number} | 1 | 1 | 5 | ± 1 | {word} |" for row, number, word in rows]
        return f"# A title\n\n| other | table |\n\n{header}" + "\n".join(lines) + "\n\nWords.\n"

    (tmp_path / "gss_disjoint_mnist.md").write_text(
        page(("random, 300", "37.50 ± 0.75", "too high"), ("random, 400", "1", "too high"),
             ("GSS-greedy, 300", "82.60", "ok"), ("more", "–", "ours"),
             ("GSS-greedy, 400", "1", "1 of 3 seeds, no verdict"))
    )  # fmt: skip
    (tmp_path / "gtsrb.md").write_text(
        page(("a", "–", "ok"), ("b", "–", "too low"), ("c", "1.00 (R)", "ok"), ("d", "2", "ok"))
    )
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "--page", str(tmp_path)])
    with suppress(SystemExit):
        command.main()
    text = (tmp_path / "README.md").read_text()
    assert (
        "**2 of 4 published numbers are within their tolerance, 2 of ours are too high, 0" in text
    )
    assert "(gss_disjoint_mnist.md) | 1 of 3 | 2 | 0 | – | – | 1 |" in text
    assert "(gtsrb.md) | 1 of 1 | 0 | 0 | 1 of 1 | 1 of 2 | 0 |" in text
    (why,) = {r.explanation for r in suite.read("gss_disjoint_mnist").rows if r.explanation}
    assert f"**random, 300 (too high); random, 400 (too high):** {why.strip()}" in text
    assert "**b (too low):** Not explained." in text


def test_the_overview_is_that_of_the_pages() -> None:
    """Of those in docs/results, whose rows are the suites' own."""
    texts = {p.stem: p.read_text() for p in RESULTS.glob("*.md") if p.stem != "README"}
    assert (RESULTS / "README.md").read_text() == overview.markdown(dict(sorted(texts.items())))
    for name, text in texts.items():
        rows = {line.row for line in overview.lines_of(text)}
        assert rows <= {row.row for row in suite.read(name).rows}, name


def test_a_metric_is_a_path_into_the_results() -> None:
    results = {"accuracy": [[0.1], [0.2, 0.3]], "within": [{"accuracy": [0.4]}], "average": 0.5,
               "top2": 0.6}  # fmt: skip
    for path, value in {
        "accuracy[1][1]": 0.3,
        "within[0].accuracy[0]": 0.4,
        "average": 0.5,
        "top2": 0.6,
    }.items():
        assert number_at(path, results) == value


@pytest.mark.parametrize("name", suite.names())
def test_every_suite_is_whole(name: str) -> None:
    """Its settings compose, its rows name runs that are there, each tolerance has a reason."""
    found = suite.read(name)
    assert len(found.seeds) >= 3 and found.minutes <= 450
    for settings in found.runs.values():
        for word in (*found.common, *settings):  # which reading ours does not check
            assert "=" in word and stays_inside(word) and not of_one_call(word)
        composed(*found.common, *settings)
    folders = {found.folder_name(run, seed) for run in found.runs for seed in found.seeds}
    assert len(folders) == len(found.runs) * len(found.seeds)
    for row in found.rows:
        assert row.run in found.runs
        assert (row.published is None) == (row.tolerance is None and row.error is None)
        typed = {row.tolerance, row.at_least, row.at_most} != {None}
        assert typed == (row.reason != "")
    drawn = set()
    for asked in found.figures.values():
        points = [run for curve in asked.get("curves", {}).values() for run in curve]
        runs = asked.get("runs", [])
        named = runs.values() if isinstance(runs, dict) else runs
        drawn |= {*points, *named, *([asked["run"]] if "run" in asked else [])}
    assert drawn <= set(found.runs)
    assert {row.run for row in found.rows} | drawn == set(found.runs)


def test_a_suite_from_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    """It runs, judges, and exits 1 for a row outside; run again, it only reads what is complete."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({
        "title": "Tiny", "source": "nobody", "minutes": 1, "seeds": [0, 1],
        "common": ["epochs=1", "dataset.tasks=2", "batch_size=64"],
        "runs": {"plain": [], "wrong": ["optimizer.lr=-1"]},
        "rows": [{"row": "new", "run": "plain", "metric": "accuracy[1][1]", "published": 0.0,
                  "tolerance": 1.0, "reason": "± 1"},
                 {"row": "none", "run": "wrong", "metric": "average_accuracy"}],
    }))  # fmt: skip
    monkeypatch.setattr(suite, "SUITES", tmp_path)
    monkeypatch.chdir(tmp_path)
    for told, times in ((" %, forgetting ", 2), ("already complete: 2 of 4 runs\n", 1)):
        monkeypatch.setattr(sys, "argv", ["cl-reproduce", "tiny", "--jobs", "2"])
        with pytest.raises(SystemExit) as stop:
            command.main()
        assert stop.value.code == 1
        printed = capsys.readouterr().out
        assert printed.count(told) == times
        assert printed.count("failed with exit code 2: config error: optimizer.lr=-1") == 1
        assert printed.count("failed like wrong, seed ") == 1
        assert "too high" in printed and "failed (2 of 2 runs)" in printed
    folder = tmp_path / "outputs" / "reproduce" / "tiny"
    judged = json.loads((folder / "verdict.json").read_text())
    assert [row["verdict"] for row in judged["rows"]] == ["too high", "failed (2 of 2 runs)"]
    assert not judged["good"] and "| new | 0.00 |" in (folder / "verdict.md").read_text()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["epochz=1"], 2, "config error: epochz=1"),
        (["dataset=split_mnist", "dataset.root=nowhere"], 4, "data error: nowhere/"),
        (["seed=5"], 2, "config error: seed=5: is set for each run. Hint: --seeds 0,1,2"),
        (["output_root=x"], 2, "config error: output_root=x: is set for each run. Hint: --output"),
        (["--seeds", "0,0"], 2, "argument --seeds: invalid seeds value: '0,0'"),
    ],
)
def test_a_mistake_that_all_runs_share_ends_the_suite(
    words: list[str], code: int, line: str, tmp_path, monkeypatch, capsys
) -> None:
    """With its exit code, and without a verdict."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({
        "title": "Tiny", "source": "nobody", "minutes": 1, "seeds": [0, 1],
        "common": ["epochs=1"], "runs": {"plain": []},
        "rows": [{"row": "new", "run": "plain", "metric": "average_accuracy"}],
    }))  # fmt: skip
    monkeypatch.setattr(suite, "SUITES", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "tiny", "--jobs", "1", *words])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == code
    assert line in capsys.readouterr().err
    assert not list(tmp_path.rglob("verdict.*"))


def test_the_list_names_the_suites(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "--list"])
    command.main()
    printed = capsys.readouterr().out
    assert all(name in printed for name in suite.names())


def test_a_suite_that_is_not_there(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "ewc_mnist_to_fasion"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "did you mean ewc_mnist_to_fashion?" in capsys.readouterr().err


def test_overrides_make_runs_of_their_own_and_are_written_down(tmp_path, monkeypatch) -> None:
    """They may be anywhere on the command line; the folder of the data changes nothing."""
    started = []

    def stub(job, children):
        started.append(job.folder.parent)
        return None, "stub"

    monkeypatch.setattr(runs, "run_one", stub)
    monkeypatch.chdir(tmp_path)
    name, root = suite.names()[0], tmp_path / "outputs" / "reproduce"
    for given in ([], ["--jobs", "1", "dataset.root=x"], ["epochs=1", "--seeds", "0,1"]):
        monkeypatch.setattr(sys, "argv", ["cl-reproduce", name, *given])
        with pytest.raises(SystemExit):
            command.main()
    parents = list(dict.fromkeys(started))
    assert [p.parent.name for p in parents] == ["reproduce", name]
    changed = json.loads((root / name / parents[1].name / "verdict.json").read_text())
    assert changed["changes"] == ["epochs=1"] and changed["seeds"] == [0, 1]
    page = (root / name / parents[1].name / "verdict.md").read_text()
    assert f"\ncl-reproduce {name} epochs=1\n" in page


OWN = {
    "mine.py": "from cl_runner.strategies.finetune import Finetune\nclass Mine(Finetune): ...",
    "conf/strategy/mine.yaml": "_target_: mine.Mine\n",
    "mine.yaml": yaml.safe_dump({
        "title": "Mine", "source": "me", "minutes": 1, "seeds": [0],
        "common": ["epochs=1", "dataset.tasks=2"], "runs": {"mine": ["strategy=mine"]},
        "rows": [{"row": "all", "run": "mine", "metric": "average_accuracy", "at_least": 1.0}],
    }),
}  # fmt: skip


def test_a_suite_of_ones_own_with_a_strategy_of_ones_own(tmp_path: Path) -> None:
    """By the path of its file; the options come from `--config-dir`."""
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ["cl-reproduce", "mine.yaml", "--config-dir", "conf", "trusted_targets=[mine]"]
    assert code_of(tmp_path, words, command.main) == 0, (tmp_path / "stderr").read_text()
    verdict = json.loads((tmp_path / "outputs/reproduce/mine/verdict.json").read_text())
    assert verdict["good"]
    page = (tmp_path / "outputs/reproduce/mine/verdict.md").read_text()
    (typed,) = re.findall("^cl-reproduce .*$", page, re.MULTILINE)
    assert sorted(typed.split()) == sorted(words)
    (line,) = re.findall(r"page: (cl-report \S+)", (tmp_path / "stdout").read_text())
    assert code_of(tmp_path, line.split(), report.main) == 0, (tmp_path / "stderr").read_text()
    assert "Mine" in (tmp_path / "outputs/reproduce/mine/report/report.html").read_text()


@pytest.mark.parametrize(
    "word",
    ["trusted_targets=[evil]", "--config-dir=/tmp", "--config-dir", "dataset.root=/etc",
     "output_root=x", "hydra/launcher=slurm", "dataset.root=${oc.env:HOME}",
     "resume=auto", "../x=1"],
)  # fmt: skip
def test_a_suites_file_names_nothing_outside(word: str, tmp_path: Path) -> None:
    """It may come from someone else."""
    for own in ({"common": [word]}, {"runs": {"mine": [word]}}):
        text = yaml.safe_dump({**yaml.safe_load(OWN["mine.yaml"]), **own})
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(ConfigError, match="only the command line may give"):
            suite.of_file(tmp_path / "mine.yaml", "mine")


def test_a_suite_of_ones_own_has_no_name_of_ours(tmp_path, monkeypatch, capsys) -> None:
    """Their runs would be in one folder."""
    (tmp_path / "regression.yaml").write_text(OWN["mine.yaml"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "regression.yaml"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "there is a suite regression already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "it does not exist"),
        ("[]", "is not a suite"),
        ("title: x", "is not a suite: source: Field required"),
        (OWN["mine.yaml"] + "color: red", "is not a suite: color: Unexpected keyword"),
        (OWN["mine.yaml"].replace("run: mine", "run: other"), "rows of runs that it lacks: other"),
        (OWN["mine.yaml"].replace("at_least: 1.0", "sd: -1.0"), "rows.0.sd: Input should be gre"),
        (OWN["mine.yaml"].replace("at_least: 1.0", "tolerance: -1.0"), "rows.0.tolerance: Input"),
        (OWN["mine.yaml"].replace("at_least: 1.0", "published: .nan"), "rows.0.published: Input"),
        (OWN["mine.yaml"].replace("runs:", "runs:\n  mine+: []\n  mine_: []"), "mine+ and mine_"),
    ],
)
def test_a_file_that_is_no_suite(text, line, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "bad.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "bad.yaml"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("config error: NAME=bad.yaml: ") and line in error
