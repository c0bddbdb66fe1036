"""What each file of the package may import, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cl_runner

PACKAGE = Path(cl_runner.__file__).parent
FLOORS = (
    "text", "hidden", "extras", "errors", "lock", "randomness", "measures", "records", "metrics",
    "forgetting", "machine", "terminal", "plugins", "config", "data", "models", "strategies.parts",
    "strategies", "evaluation", "run_folder", "tracking", "plugins.command", "training", "new",
    "train", "jobs", "reproduce", "report.compare", "report.render", "report", "wandb_mirror",
    "report.command", "reproduce.page_files", "reproduce.command", "sweeps", "searches", "api",
)  # fmt: skip
"""From bottom to top: a file may import from its own floor and those below it."""


def modules() -> dict[str, Path]:
    files = {}
    for file in PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        files[name.removesuffix("__init__").rstrip(".")] = file
    return files


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, anywhere in it, even if only for types."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == "cl_runner":
                inner = name.partition(".")[2]
                yield inner if inner in known else inner.rpartition(".")[0]


def floor(module: str) -> int:
    """The floor of the longest name in FLOORS that is the module or a package that contains it."""
    names = [name for name in FLOORS if f"{module}.".startswith(f"{name}.")]
    return FLOORS.index(max(names, key=len))


def graph() -> dict[str, set[str]]:
    known = modules()
    found = {name: set(imports(file, known)) - {name, ""} for name, file in known.items() if name}
    assert sum(map(len, found.values())) > 300  # it sees them
    return found


def test_imports_run_downward_only() -> None:
    upward = [
        f"{module} -> {other}"
        for module, others in graph().items()
        for other in others
        if floor(other) > floor(module)
    ]
    assert upward == []


def test_no_imports_form_a_circle() -> None:
    left = graph()
    while leaves := [module for module, others in left.items() if not others & left.keys()]:
        for module in leaves:
            del left[module]
    assert sorted(left) == []


def test_a_module_bears_no_name_of_the_standard_library() -> None:
    import sys

    own = {name.rpartition(".")[2] for name in modules()}
    assert own & sys.stdlib_module_names == set()


def test_no_module_hides_a_function_of_the_package() -> None:
    """`import cl_runner.search` would put the module in the function's place."""
    assert not {*cl_runner.__all__} & {*modules()}
