"""Plain-text tables of one run and of several."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cl_runner.errors import ConfigError
from cl_runner.storage import is_locked


def summary(results: dict[str, Any], folder: Path) -> str:
    """The accuracy matrix of one run, its headline metrics, alarms and folder."""
    R = results[results["metrics_are_of"]]
    rows = [[f"after {t + 1}", *map(percent, row)] for t, row in enumerate(R)]
    table = aligned(["task", *(str(k + 1) for k in range(len(R)))], rows)
    metrics = {
        name.replace("_", " "): percent(results[name])
        for name in ("average_accuracy", "forgetting", "backward_transfer")
    }
    lines = [
        f"{results['strategy']} on {results['experiment']}, seed {results['seed']}: accuracy in %",
        table,
        "  ".join(f"{name} {value}" for name, value in metrics.items())
        + f"  {results['cost']['seconds']:.1f} s",
        *(f"ALARM: {alarm}" for alarm in results["alarms"]),
        f"run folder: {folder}",
    ]
    return "\n".join(lines)


def comparison(folders: Sequence[Path]) -> str:
    """One row for each finished run below these folders; what failed is named, never dropped."""
    found = {file for folder in folders for file in folder.rglob("status.json")}
    statuses = sorted(found, key=_natural)
    if not statuses:
        raise ConfigError.of("FOLDER", ", ".join(map(str, folders)), "holds no run")
    rows = []
    for file in statuses:
        status = json.loads(file.read_text())
        if status["status"] != "complete":
            killed = status["status"] == "running" and not is_locked(file.parent)
            what = "killed" if killed else status["status"]
            rows.append([file.parent.name, what, "", "", "", "", ""])
            continue
        results = json.loads((file.parent / "results.json").read_text())
        rows.append(
            [
                file.parent.name,
                results["strategy"],
                str(results["seed"]),
                *(percent(results[m]) for m in ("average_accuracy", "forgetting")),
                percent(results["backward_transfer"]),
                f"{results['cost']['seconds']:.1f}",
            ]
        )
    header = ["run", "strategy", "seed", "average accuracy", "forgetting", "backward transfer"]
    return aligned([*header, "seconds"], rows)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which run 10 comes after run 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]


def percent(value: float | None) -> str:
    """A share in percent; a dash where a metric does not apply."""
    return "–" if value is None else f"{100 * value:.1f}"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first two of text to the left, numbers to the right."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[c]) for row in table) for c in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if not _number(rows, c) else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return column > 0 and all(not row[column][:1].isalpha() for row in rows)


def main() -> None:
    """`cl-report FOLDER...`: a table of all runs below the folders."""
    parser = argparse.ArgumentParser(prog="cl-report", description="A table of finished runs.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    try:
        print(comparison(parser.parse_args().folders))
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
