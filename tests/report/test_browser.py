"""The report page as a reader sees it: in a headless Chromium, where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser, browser
from planted_runs import PLANTED, run_folder

from cl_runner.report import command
from cl_runner.report.render import animation
from cl_runner.report.render.page import Chapter, Page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

CONTRAST = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (channel) => {
    const c = channel / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const parent = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || parent.closest("svg, script, style")) continue;
    const [a, b] = [luminance(numbers(getComputedStyle(parent).color)), luminance(behind(parent))];
    found.push((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return [Math.min(...found), found.length];
})()
"""
SIZES = """
[...document.querySelectorAll("figure svg")].filter((svg) => !svg.closest("details")).map((svg) => {
  const box = svg.getBoundingClientRect();
  return [box.width, box.height];
})
"""
TEXT_SIZES = """
[...document.querySelectorAll("p, li, td, th, summary, figcaption")]
  .filter((node) => node.offsetParent)
  .map((node) => parseFloat(getComputedStyle(node).fontSize))
"""
RGB = "((colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number))"
DRAWN = f"""
[...document.querySelectorAll("figure svg")].map((svg) =>
  [...svg.querySelectorAll("text, [id*=line2d] > path")]
    .filter((node) => !node.parentElement.id.includes("cell-"))
    .filter((node) => !node.closest("defs") && !node.style.stroke.startsWith("light-dark(rgb(230"))
    .map((node) => {RGB}(getComputedStyle(node)[node.tagName === "text" ? "fill" : "stroke"])))
"""
"""The colour of each text and line of each figure, but the grid's."""
HINTS = """
[...document.querySelectorAll(".hint")].map((line) => {
  const box = line.nextElementSibling;
  return [line.getClientRects().length > 0, box.scrollWidth > box.clientWidth + 1];
})
"""
COLUMN = """
((name) => {
  const table = [...document.querySelectorAll("table")].find((t) =>
    [...t.tHead.rows[0].cells].some((c) => c.textContent === name));
  const column = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent === name);
  table.tHead.rows[0].cells[column].querySelector("button").click();
  return [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
})
"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    evil = PLANTED.replace("/", "∕")  # no folder can be called </script>
    for seed in range(3):
        for weight, old in ((2, 0.2), (10, 0.5), (100, 0.7)):
            run_folder(folder / f"{weight}-{seed}", "ewc", seed, (old + seed / 50, 0.8),
                       validation=(old, 0.8), weight=weight)  # fmt: skip
        run_folder(
            folder / f"{evil}{seed}", PLANTED, seed, (0.3, 0.9), validation=(0.3, 0.9), memory=10**6
        )
    run_folder(folder / "failed", "ewc", 3, (0, 0), weight=10, state="failed")
    _, files = command.report([folder], tmp_path_factory.mktemp("out"))
    return files[0]


@pytest.fixture(scope="module")
def page(page_file: Path, tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page_file)
        yield opened


def test_nothing_is_complained_of_and_nothing_planted_runs(page: Browser) -> None:
    assert page.complaints == []
    assert "owned" not in page.evaluate("document.title")
    text = page.evaluate("document.body.textContent")
    assert text.count("<script>document.title='owned'") >= 3
    assert page.evaluate("document.scripts.length") == 1


def test_the_policy_forbids_scripts_from_elsewhere(page: Browser, page_file, tmp_path) -> None:
    """The same page with a script smuggled in: it does not run, and the browser says so."""
    text = page_file.read_text().replace(
        "</main>", "<script>document.title = 'owned'</script></main>"
    )
    (tmp_path / "page.html").write_text(text)
    page.open(tmp_path / "page.html")
    assert page.evaluate("document.title") != "owned"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)
    page.complaints.clear()
    page.open(page_file)


def test_every_figure_has_size(page: Browser) -> None:
    sizes = page.evaluate(SIZES)
    assert len(sizes) >= 4
    assert all(width >= 300 and height >= 150 for width, height in sizes)


def test_tables_sort_by_number_and_back(page: Browser) -> None:
    assert page.evaluate(f"{COLUMN}('weight')") == ["2", "10", "100", "–"]
    assert page.evaluate(f"{COLUMN}('weight')") == ["100", "10", "2", "–"]
    ordered = page.evaluate(f"{COLUMN}('average accuracy')")
    values = [float(text.split()[0]) for text in ordered]
    assert values == sorted(values) and len(set(values)) > 2
    headings = page.evaluate("document.querySelectorAll('th[aria-sort]').length")
    assert headings == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(page: Browser, page_file, scheme: str) -> None:
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    page.send("Emulation.setEmulatedMedia", features=wanted)
    page.open(page_file)
    page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
    smallest, texts = page.evaluate(CONTRAST)
    assert texts > 100 and smallest >= 4.5  # WCAG 2.2, AA
    ground = sum(page.evaluate(f"{RGB}(getComputedStyle(document.body).backgroundColor)"))
    assert (ground < 150) == (scheme == "dark")
    for colours in page.evaluate(DRAWN):
        inks = [sum(colour) for colour in colours]
        assert inks and min(abs(ink - ground) for ink in inks) > 250
    page.send("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("width", [375, 1200])
def test_the_page_fits_its_window(page: Browser, page_file, width: int) -> None:
    """Tables and figures are moved within their frames, the page itself never sideways."""
    page.open(page_file, width=width, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(page.evaluate(TEXT_SIZES)) >= 13
    said = page.evaluate(HINTS)
    assert all(shown == scrolls for shown, scrolls in said)
    assert sum(shown for shown, _ in said) > 5 or width > 400
    if folder := os.environ.get("CL_SCREENSHOTS"):
        page.screenshot(Path(folder) / f"report_{width}.png")


def test_the_page_can_be_read_without_scripts(page: Browser, page_file) -> None:
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.open(page_file)
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelectorAll('th button').length") == 0
    assert page.evaluate("document.querySelectorAll('tbody tr').length") > 10


SHOWN = "[...document.querySelectorAll('.player .frame')].map((i) => i.getClientRects().length)"


def test_the_player_shows_one_frame_at_a_time(page: Browser, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(animation, "FRAMES", 4)
    x = np.arange(4.0)
    tasks = np.array([0, 0, 1, 1])
    arrays = {"inputs": x, "targets": x, "tasks": tasks, "fits": np.outer(tasks + 1, x)}
    training = {f"training_{name}": arrays[name] for name in ("inputs", "targets", "tasks")}
    panels = {"a": {**arrays, **training, "fits_in_task": tasks}}
    text = Page("t", "", [Chapter("fits", [], [], moving=animation.moving(panels))]).render()
    (tmp_path / "page.html").write_text(text)
    page.open(tmp_path / "page.html")
    assert page.evaluate(SHOWN) == [0, 0, 0, 1]
    page.evaluate(
        "Object.assign(document.querySelector('.player input'), {value: 1})"
        ".dispatchEvent(new Event('input'))"
    )
    assert page.evaluate(SHOWN) == [0, 1, 0, 0]
    page.evaluate("document.querySelector('.player button').click()")
    while page.evaluate("document.querySelector('.player button').textContent") == "Pause":
        assert sum(page.evaluate(SHOWN)) == 1
    assert page.evaluate(SHOWN) == [0, 0, 0, 1]
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.open(tmp_path / "page.html")
    page.send("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate(SHOWN) == [0, 0, 0, 1]
