"""The site: its commands run, its examples work, and what it says of strategies is so."""

from __future__ import annotations

import posixpath
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import own_data
import pytest
import site_markdown
import site_strategies
import yaml
from hydra import compose, initialize_config_dir
from running import composed

from cl_runner.config import manual
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.data import prepare
from cl_runner.report import command as report
from cl_runner.reproduce import command as reproduce
from cl_runner.reproduce import suite as suites
from cl_runner.searches import space

DOCS = Path(__file__).parent.parent / "docs"
FIRST = ("index", "tutorial", "pitfalls", "coming_from", "options")
PAGES = [*(DOCS / f"{name}.md" for name in FIRST),
         *sorted((DOCS / "how_to").glob("*.md"))]  # fmt: skip
SETUP = {"python3 -m venv .venv", ". .venv/bin/activate", "pip install '.[local,search]'"}
SMALL = ("epochs=1", "batch_size=128", "model.widths=[8]")
FILE = re.compile(r"`((?:my|options/)\S+)`[^`]*:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    """The words of each command on a page, in its order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block.replace("\\\n", "") for language, block in found if not language]
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line not in SETUP]


def with_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows, and the data that its reader has."""
    for name, content in FILE.findall(page.read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    draw = np.random.default_rng(0)
    splits = {
        f"x_{kind}": draw.integers(0, 256, (40, 16, 16), np.uint8) for kind in ("train", "test")
    }
    labels = {f"y_{kind}": np.arange(40) % 4 for kind in ("train", "test")}
    np.savez(folder / "mydata.npz", **splits, **labels)
    own_data.folders(folder / "pictures")
    own_data.tree(folder / "animals")
    own_data.arrays(folder / "measured")
    own_data.listed(folder / "listed")


def installed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `pip install -e`: found from now on, with what it declares."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    about = package / f"{project['name']}-{project['version']}.dist-info"
    about.mkdir()
    named = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}")
    lines = (f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in entries.items())
             for group, entries in project["entry-points"].items())  # fmt: skip
    (about / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(package)


def of_lists(words: list[str], which: str) -> list[str]:
    """A sweep's command with the first or last value of each list."""
    wanted = r"\1\2" if which == "first" else r"\1\3"
    return [re.sub(r"^([\w.]+=)([^,\[]+),(?:.*,)?([^,]+)$", wanted, word) for word in words]


def in_small(words: list[str]) -> list[str]:
    """A run in small; of a sweep the first job."""
    if "--help" in words or any(word.startswith("resume=outputs") for word in words):
        return words
    if "sweep=first_look" in words:
        words = [*words, "strategy=finetune", "seed=0"]
    if "sweep=ewc_weight" in words:
        words = [*words, "strategy.weight=10", "seed=0"]
    small = [w for w in SMALL if not (w.startswith("model.") and _has_no_widths(words))]
    return [*of_lists(words, "first"), *small]


def _has_no_widths(words: list[str]) -> bool:
    return any(word.startswith("model=") for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(
    page: Path, tmp_path: Path, cl_train_here, no_figures, monkeypatch
) -> None:
    """Of a sweep the first job runs, and the last is composed and checked. What needs real data is
    only composed, and suites and data sets have to be there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with_files(page, tmp_path)
    for name, *words in commands(page):
        if name == "python":
            if words[:3] == ["-m", "pip", "install"]:
                installed(tmp_path / words[-1], monkeypatch)
        elif name == "cl-train" and words[0] in ("new", "--plugins", "--trust"):
            done = cl_train_here(*words)
            assert done.returncode == 0, f"{words}\n{done.stderr}"
        elif name == "cl-train":
            on_real_data = "dataset.root=data" in words
            call = ["--cfg", "job", *words] if on_real_data else in_small(words)
            done = cl_train_here(*call)
            assert done.returncode == 0, f"{call}\n{done.stderr}"
            assert "ALARM" not in done.stdout + done.stderr
            if words[0] == "-m" and not any("trusted" in w or "config-dir" in w for w in words):
                composed(*(w for w in of_lists(words[1:], "last") if not w.startswith("hydra")))
        elif name == "cl-report":
            monkeypatch.setattr(sys, "argv", [name, *words])
            report.main()
        elif words == ["--list"]:
            monkeypatch.setattr(sys, "argv", [name, *words])
            reproduce.main()
        elif name == "cl-data":
            assert words[0] == "prepare" and words[1] in prepare.NAMES
        else:
            assert name == "cl-reproduce" and words[0] in suites.names()


def test_the_commands_of_the_other_pages_are_understood() -> None:
    """Sweeps on clusters and with W&B, and searches, without their launchers, which tests/jobs/
    has."""
    pages = [DOCS / f"{name}.md" for name in ("launchers", "wandb", "search")]
    found = [words for page in pages for words in commands(page)]
    settings = {
        (words[0], *(w for w in words if re.match(r"[\w.]+=", w) and "hydra" not in w))
        for words in found
    }
    sweeps = [words for name, *words in settings if name == "cl-train"]
    searches = [words for name, *words in settings if name == "cl-search"]
    assert len(found) >= 12 and len(sweeps) >= 4 and len(searches) >= 4
    for words in sweeps:
        composed(*of_lists(words, "last"))
    for words in searches:
        assert space.read(words).searched


def test_a_link_leads_to_a_file_in_a_checkout_and_to_the_page_of_it_on_the_site() -> None:
    """No link begins at the site's first page: in a checkout it would lead nowhere."""
    pytest.importorskip("mkdocs")
    import site_pages

    places = {str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")} | {*site_pages.pages()}
    led = set()
    for page in DOCS.rglob("*.md"):
        here = SimpleNamespace(file=SimpleNamespace(src_uri=str(page.relative_to(DOCS))))
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"
            on_site = site_pages.on_page_markdown(f"[x]({link})", here)[4:-1]
            place = posixpath.normpath(
                posixpath.join(posixpath.dirname(here.file.src_uri), on_site)
            )
            if "/conf" in link or "/cl_runner" in link:
                assert place in places, f"{page}: {link}"
                led.add(place)
    assert led >= {"settings/presets.md", "strategies/rehearsal.md", "python/strategies.parts.md"}


def test_every_page_with_commands_is_read() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 28
    assert all(commands(page) for page in PAGES)


@pytest.mark.parametrize("name", ["ewc_mnist_to_fashion_sampled", "gdumb_mnist", "gtsrb"])
def test_the_strategy_of_an_experiment_is_the_one_that_hydra_composes(name: str) -> None:
    """By another experiment, by itself, by none."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        target = compose("config", [f"experiment={name}"]).strategy._target_
    option = site_strategies.strategy_of([f"experiment={name}"])
    assert yaml.safe_load((CONF / "strategy" / f"{option}.yaml").read_text())["_target_"] == target
    assert site_strategies.strategy_of([f"experiment={name}", "strategy=si"]) == "si"


def test_the_page_of_a_strategy_has_its_equation_settings_and_numbers() -> None:
    rows = list(site_strategies.rows_of_results(DOCS / "results"))
    option = manual.option("strategy", "ewc")
    assert option is not None
    page = site_strategies.page(option, rows)
    for part in (
        "L(θ) = CE(θ) + weight/2 · Σₜ Σᵢ Fₜᵢ (θᵢ − θ*ₜᵢ)²",
        "| `strategy.decay`<br>`1.0` | only online<br><small>a number ≥ 0 and ≤ 1</small> |",
        "| EWC 1e5, MNIST | 96.57 | 96.45 | ok |",  # as docs/results/ewc_mnist_to_fashion.md has it
    ):
        assert part in page
    assert "rehearsal" not in page  # the rows of other strategies
    assert {row.strategy for row in rows} >= {"ewc", "lwf", "rehearsal_kd", "gdumb", "gss", "joint"}


def test_text_stays_text_in_markdown() -> None:
    assert site_markdown.text("θ* in [B, C] `a*b` < _x") == r"θ\* in \[B, C] `a*b` &lt; \_x"
    assert site_markdown.cell("a | b,\n  c") == r"a \| b, c"
    assert site_markdown.text("see `rehearsal.py`") == "see [`rehearsal`](/strategies/rehearsal.md)"


def test_the_site_has_a_page_for_every_option() -> None:
    pytest.importorskip("mkdocs")
    import site_pages

    made = site_pages.pages()
    for group in (*GROUPS, "experiment", "sweep"):
        for file in (CONF / group).glob("*.yaml"):
            page = {"strategy": f"strategies/{file.stem}", "experiment": "settings/presets",
                    "sweep": "settings/presets"}.get(group, f"settings/{group}")  # fmt: skip
            assert re.search(rf"^#+ (\w+=)?{file.stem}$", made[f"{page}.md"], re.MULTILINE), page
