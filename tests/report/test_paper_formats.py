"""A paper's table as LaTeX, and whatever names do not do in it, in Markdown and in CSV."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from planted_runs import PLANTED, run_folder

from cl_runner.errors import ConfigError
from cl_runner.report.paper.command import Wanted, table
from cl_runner.report.paper.names import read

EVIL = r"=1+1 \input{x} & 50% $x_1$ #~^|<b>*[1]"
DOCUMENT = (
    r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table}\end{document}"
)


def rows_of(latex: str) -> list[list[str]]:
    """The cells of a `tabular`, each as often as the columns that it spans."""
    body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")]
    rows = []
    for line in body.splitlines():
        if not line.strip().endswith(r"\\"):
            continue
        row: list[str] = []
        for cell in re.split(r"(?<!\\)&", line.strip().removesuffix(r"\\")):
            spanning = re.fullmatch(r"\\multicolumn\{(\d+)\}\{c\}\{(.*)\}", cell.strip())
            row += [spanning[2]] * int(spanning[1]) if spanning else [cell.strip()]
        rows.append(row)
    return rows


@pytest.fixture
def grouped(tmp_path: Path) -> Path:
    """Two scenarios × two sizes of a memory, a method without one, and the upper bound."""
    runs = tmp_path / "runs"
    for n, scenario in enumerate(("task_incremental", "class_incremental")):
        for seed in range(3):
            more = seed / 100 - n / 10
            for strategy, value in (("finetune", 0.3), ("joint", 0.95)):
                values = (value + more, value + more)
                run_folder(runs / f"{n}{strategy}{seed}", strategy, seed, values, scenario=scenario)
            for size in (50, 200):
                value = 0.6 + size / 1000 + more
                run_folder(runs / f"{n}er{size}-{seed}", "rehearsal", seed, (value, value),
                           scenario=scenario, buffer_size=size)  # fmt: skip
    return runs


def test_latex_has_grouped_columns_and_the_bound_below_a_rule(grouped, tmp_path) -> None:
    text, _ = table([grouped], tmp_path / "out", Wanted())
    latex = (tmp_path / "out" / "table.tex").read_text()
    rows = rows_of(latex)
    assert rows[0] == ["", "Task-IL", "Task-IL", "Class-IL", "Class-IL"]
    assert rows[1] == ["Method", "Buffer 50", "Buffer 200", "Buffer 50", "Buffer 200"]
    assert rows[2][1:] == [r"31.0 $\pm$ 1.0"] * 2 + [r"21.0 $\pm$ 1.0"] * 2
    assert rows[3] == ["ER"] + [
        rf"\textbf{{{mean}}} $\pm$ 1.0" for mean in ("66.0", "81.0", "56.0", "71.0")
    ]
    assert r"\multicolumn{2}{c}{31.0 $\pm$ 1.0} & \multicolumn{2}{c}" in latex
    assert latex.splitlines().count(r"    \midrule") == 2
    assert re.search(r"\\midrule\n +Joint & .*\n +\\bottomrule", latex)
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in latex
    assert r"\label{tab:runs}" in latex and "over 3 seeds" in latex and "underlined" in latex
    markdown = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    plain = [[re.sub(r"\\textbf\{([\d.]+)\}", r"**\1**", c) for c in row] for row in rows[2:]]
    assert [[cell.strip() for cell in row] for row in markdown[2:]] == [
        [cell.replace(r"$\pm$", "±") for cell in row] for row in plain
    ]


def test_rows_of_several_keys_are_set_apart(grouped, tmp_path) -> None:
    table([grouped], tmp_path / "out", Wanted(rows=["dataset.scenario,strategy"],
                                              columns=["strategy.buffer_size=200"]))  # fmt: skip
    latex = (tmp_path / "out" / "table.tex").read_text()
    assert [row[:2] for row in rows_of(latex)] == [
        ["Scenario", "Method"],
        ["Task-IL", "Fine-tuning"],
        ["Task-IL", "ER"],
        ["Class-IL", "Fine-tuning"],
        ["Class-IL", "ER"],
        ["Task-IL", "Joint"],
        ["Class-IL", "Joint"],
    ]
    assert latex.count(r"\addlinespace") == 2 and "with the same scenario" in latex
    assert latex.count(r"\textbf") == 2


def test_names_stay_text(tmp_path) -> None:
    runs = tmp_path / "runs"
    run_folder(runs / "a", EVIL, 0, (0.1, 0.2), note=PLANTED)
    run_folder(runs / "b", PLANTED, 0, (0.3, 0.2), note=EVIL)
    labels = tmp_path / "labels.yaml"
    labels.write_text("average_accuracy: '=A & _B_'\nstrategy: '|M|'\n")
    table([runs], tmp_path / "out", Wanted(labels=labels))
    latex = (tmp_path / "out" / "table.tex").read_text()
    escaped = (
        r"=1+1 \textbackslash{}input\{x\} \& 50\% \$x\_1\$ \#\textasciitilde{}"
        r"\textasciicircum{}\textbar{}\textless{}b\textgreater{}{*}{[}1]"
    )
    assert rows_of(latex)[1][0] == escaped
    assert rows_of(latex)[0] == [r"\textbar{}M\textbar{}", r"=A \& \_B\_"]
    text = (tmp_path / "out" / "table.md").read_text()
    assert r"=1+1 \\input{x} &amp; 50% \$x\_1\$ \#\~^\|&lt;b&gt;\*\[1\]" in text
    assert "<script>" not in text + latex
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out" / "table.csv").read_text())))
    assert [line["strategy"] for line in lines] == [f"'{EVIL}", PLANTED]


def test_labels_name_values_settings_and_metrics(grouped, tmp_path) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text(
        "rehearsal: Replay\n'200': large\nstrategy.buffer_size=50: small\n"
        "class_incremental: Class\n"
    )
    text, _ = table([grouped], tmp_path / "out", Wanted(labels=labels))
    assert "| Task-IL, small | Task-IL, large |" in re.sub(" +", " ", text)
    assert "| Replay " in text and "Class, small" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "must hold lines"),
        ("a: [1]", "must be a text"),
        ("200: x", "put a name that is a number in quotes"),
        ("a: &x b\nc: *x", "alias"),
        ("a: {", "write lines as name: text"),
    ],
)
def test_labels_that_are_none_are_one_line(tmp_path, text: str, words: str) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read(file)
    assert words in str(raised.value) and len(str(raised.value).splitlines()) == 1


def test_a_wide_table_is_set_small_and_a_minus_is_one(grouped, tmp_path) -> None:
    columns = ["dataset.scenario", "strategy.buffer_size"]
    table([grouped], tmp_path / "out", Wanted(columns=[*columns[:1], f"{columns[1]}=50"]))
    assert not re.search(r"small|scriptsize", (tmp_path / "out" / "table.tex").read_text())
    table(
        [grouped], tmp_path / "out", Wanted(columns=columns, metrics="backward_transfer,forgetting")
    )
    latex = (tmp_path / "out" / "table.tex").read_text()
    assert r"\scriptsize" in latex and r"$-$59.0 $\pm$ 1.0" in latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_and_fits_the_page(grouped, tmp_path) -> None:
    out = tmp_path / "out"

    def compiled() -> str:
        (out / "doc.tex").write_text(DOCUMENT)
        words = ["pdflatex", "-halt-on-error", "-draftmode", "doc.tex"]
        done = subprocess.run(words, cwd=out, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        return done.stdout

    columns = ["dataset.scenario", "strategy.buffer_size"]
    table([grouped], out, Wanted(columns=columns))
    assert "Overfull" not in compiled()
    table([grouped], out, Wanted(columns=["strategy"], rows=columns))
    assert "Overfull" not in compiled()
    run_folder(grouped / "evil", EVIL, 0, (0.1, 0.2), scenario="task_incremental")
    table([grouped], out, Wanted(columns=columns, metrics="average_accuracy,forgetting"))
    compiled()
