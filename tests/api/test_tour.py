"""The notebook docs/tour.ipynb: its cells run in their order, and it has no output."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import cl_runner

TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"


def cells() -> list[dict[str, Any]]:
    notebook = json.loads(TOUR.read_text("utf-8"))
    found: list[dict[str, Any]] = notebook["cells"]
    return found


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does. Returns the value of its last line, if that is one."""
    tree = ast.parse(source)
    last = tree.body[-1]
    value = isinstance(last, ast.Expr) and tree.body.pop()
    exec(compile(tree, str(TOUR), "exec"), names)
    return value and eval(compile(ast.Expression(last.value), str(TOUR), "eval"), names)  # type: ignore[attr-defined]


def test_it_has_ten_cells_and_no_output() -> None:
    assert len(cells()) == 10
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells())
    assert len({cell["id"] for cell in cells()}) == 10


def test_its_cells_run(tmp_path: Path, monkeypatch, no_figures, capsys) -> None:
    """With the sweep in a new process, as in a notebook."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    values = []
    for cell in cells():
        if cell["cell_type"] == "code":
            values.append(shown("".join(cell["source"]), names))
    run, matrix, runs, _, frame, page, found = values
    assert run.complete and matrix.shape == (5, 5)
    assert [r.state for r in runs] == ["complete"] * 6
    assert "rehearsal" in capsys.readouterr().out
    assert list(frame.index) == ["finetune", "joint", "rehearsal"] and frame.shape == (3, 5)
    assert page.exists()
    assert isinstance(runs, cl_runner.Runs) and found.accuracy > 0.7
