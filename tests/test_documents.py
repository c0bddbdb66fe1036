"""What the documents say is true: commands run, examples work, the wheel works by itself."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from processes import code_of, exit_code, fork, imported_again, run_and_exit

import cl_runner
from cl_runner.report import command as report
from cl_runner.report.render import animation
from cl_runner.reproduce import suite
from cl_runner.wandb_mirror import command as wandb

ROOT = Path(__file__).parent.parent
BIN = str(Path(sys.executable).parent)


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=variables, capture_output=True, text=True
    )


def blocks(document: str, language: str = "") -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


COMMANDS = ("README.md", "docs/commands.md")


def lines_of(*documents: str) -> list[str]:
    return [line for name in documents for block in blocks(name) for line in block.splitlines()]


def shown_commands(document: str) -> list[str]:
    lines = lines_of(document)
    commands = [line.split("  #")[0].strip() for line in lines if "cl-" in line or "make" in line]
    # `make` runs this very test; preparing and the real experiments need the data.
    data = ("dataset=", "dataset.root", "dataset.validation_fraction")
    elsewhere = (*data, "outputs/reproduce", "sweeps/ewc_weight")
    return [
        c
        for c in commands
        if not c.startswith(("make", "cl-data")) and not any(word in c for word in elsewhere)
    ]


@pytest.mark.parametrize("document", COMMANDS)
def test_the_commands_of_a_document_run(
    document, tmp_path, cl_train_here, monkeypatch, request
) -> None:
    """Each in this process, which saves the seconds of importing torch, except those that need a
    shell; the first sweep in small. The page of commands draws the figures."""
    if document == "README.md":
        request.getfixturevalue("no_figures")
    commands = shown_commands(document)
    assert len(commands) >= {"README.md": 3, "docs/commands.md": 9}[document]
    assert any("-m" in c for c in commands)
    monkeypatch.setattr(animation, "FRAMES", 5)
    for command in commands:
        name, *arguments = shlex.split(command)
        if name == "cl-train":
            small = ("strategy=finetune,ewc", "seed=0", "epochs=1", "model.widths=[8]")
            done = cl_train_here(*arguments, *(small if "sweep=first_look" in arguments else ()))
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        elif name == "cl-report":
            monkeypatch.setattr(sys, "argv", [name, *arguments])
            report.main()
        elif name == "cl-wandb":
            assert code_of(tmp_path, [name, *arguments], wandb.main) == 0, command
        else:
            done = shell(command, tmp_path, OMP_NUM_THREADS="1")
            assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_every_command_that_a_document_names_is_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    named = re.findall(r"^cl-[a-z]+", "\n".join(lines_of(*COMMANDS)), re.MULTILINE)
    assert set(named) == set(scripts)
    for target in scripts.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_commands_on_real_data_compose(cl_train_here) -> None:
    lines = lines_of(*COMMANDS)
    commands = [c for c in lines if c.startswith("cl-train") and "dataset.root" in c]
    assert len(commands) == 2
    for command in commands:
        assert cl_train_here("--cfg", "job", *shlex.split(command)[1:]).returncode == 0


def test_the_page_of_options_lists_every_one() -> None:
    table = (ROOT / "docs" / "options.md").read_text()
    for group in (
        "dataset",
        "model",
        "strategy",
        "optimizer",
        "scheduler",
        "tracker",
        "experiment",
        "sweep",
    ):
        (row,) = re.findall(rf"^\| `{group}` \|(.*)\|$", table, re.MULTILINE)
        options = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        assert options == set(re.findall(r"`(\w+)`", row)), group


def test_the_additions_of_contributing_work(tmp_path: Path) -> None:
    """A copy of the project with the three examples added runs all three. What is there already is
    shown as it is."""
    for folder in ("cl_runner", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    examples = re.findall(
        r"`((?:cl_runner|conf)/\S+)`:\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
    assert len(examples) == 6
    for name, content in examples:
        assert not (ROOT / name).exists() or (ROOT / name).read_text() == content, name
        (tmp_path / name).write_text(content)
    printed = trained_from(tmp_path, tmp_path, ["strategy=l2"], ["model=linear"], ["dataset=wine"])
    assert printed.count("run folder: ") == 3 and "ALARM" not in printed
    lint = shell("ruff check --config pyproject.toml .", ROOT)
    assert lint.returncode == 0, lint.stdout


def test_the_wheel_runs_from_another_folder(tmp_path: Path) -> None:
    """Built and unpacked without the network; CI also installs it into an empty environment."""
    build = f"{sys.executable} -m pip wheel . --no-deps --no-build-isolation -q -w {tmp_path}"
    done = shell(build, ROOT)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    shutil.unpack_archive(wheel, site, "zip")
    elsewhere.mkdir()
    assert (site / "cl_runner" / "conf" / "config.yaml").exists()
    assert (site / "cl_runner" / "py.typed").exists()  # its annotations are for its callers, too
    assert "run folder" in trained_from(site, elsewhere, [])


def trained_from(place: Path, folder: Path, *runs: list[str]) -> str:
    """What `cl-train` prints in a folder with the package of this place, once a run."""

    def train() -> None:
        imported_again(place)
        module = importlib.import_module("cl_runner.train")
        assert Path(module.__file__ or "").is_relative_to(place)
        for words in runs:
            sys.argv = ["cl-train", *words, "epochs=1", "threads=1"]
            module.main()

    child = fork()
    if child == 0:
        run_and_exit(folder, [], train)
    code, *printed = exit_code(child), *((folder / n).read_text() for n in ("stdout", "stderr"))
    assert code == 0, printed[1]
    return printed[0]


def test_every_fault_is_held_by_a_test_that_is_there() -> None:
    rows = re.findall(
        r"^\| (?!fault|---).*\| `(\S+)::(\S+)` \|$",
        (ROOT / "docs" / "faults.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) >= 40
    for file, test in rows:
        (place,) = (ROOT / "tests").rglob(file)
        assert f"\ndef {test}(" in place.read_text(), test


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_links_and_pictures_are_there(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        assert (document.parent / path).exists() and (path or anchor), target


def test_the_readme_has_the_counts_of_the_results() -> None:
    """That of all numbers, and that of each row where it gives one."""
    results = (ROOT / "docs" / "results" / "README.md").read_text()
    readme = (ROOT / "README.md").read_text()
    (every,) = re.findall(r"^\*\*(\d+ of \d+ published numbers .*?)\.", results, re.MULTILINE)
    assert f"{every}." in readme
    for row in re.findall(r"^\|.*\(docs/results/.*$", readme, re.MULTILINE):
        (page,) = re.findall(r"\(docs/results/(\w+\.md)\)", row)
        (line,) = re.findall(rf"^\|.*\({page}\).*$", results, re.MULTILINE)
        of_page = re.findall(r"\d+ of \d+", line)[0]  # if none is verified, of the others
        within, _, numbers = of_page.partition(" of ")
        for told, of in re.findall(r"(\d+)(?: of (\d+)(?: rows)?)? within", row):
            assert (told, of or numbers) == (within, numbers), row


def test_no_document_or_message_names_a_registry() -> None:
    """The package is on none: `pip install cl-runner` would fail, or install something else."""
    named = "pip install [^`\n]*cl-runner"
    places = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"),
              *ROOT.glob("conf/**/*.yaml"), *ROOT.glob("cl_runner/**/*.py")]  # fmt: skip
    found = [file for file in places if re.search(named, file.read_text())]
    assert len(places) > 200 and found == []


def test_the_citation_is_valid_and_of_this_version() -> None:
    """By the rules of CFF 1.2.0 for the keys that are used."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    needed = {"cff-version": "1.2.0", "title": "cl-runner", "type": "software"}
    assert needed.items() <= cited.items() and isinstance(cited["message"], str)
    assert cited.keys() <= {
        *needed,
        "message",
        "abstract",
        "authors",
        "version",
        "license",
        "keywords",
    }
    assert cited["authors"] == [{"name": "The cl-runner authors"}]  # an entity
    assert all(isinstance(word, str) for word in cited["keywords"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (cl_runner.__version__, project["license"])


def test_every_page_of_results_is_of_a_suite_and_has_its_command() -> None:
    pages = {file.stem: file.read_text() for file in (ROOT / "docs" / "results").glob("*.md")}
    of_suites = {name: text for name, text in pages.items() if name != "README"}
    assert len(of_suites) > 5 and of_suites.keys() <= set(suite.names())
    for name, text in of_suites.items():
        assert f"cl-reproduce {name}" in text
