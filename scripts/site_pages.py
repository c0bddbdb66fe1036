"""The pages of the site that are made while it is built (`make docs`), as a hook of mkdocs.

Settings and strategies come from `conf/`, docstrings and `docs/results`, the Python reference from
docstrings. Three pages are files of the repository's root.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

import site_markdown as markdown
import site_strategies
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from cl_runner.config import manual
from cl_runner.config.manual import Option
from cl_runner.config.paths import CONF, GROUPS, HERE

ROOT = Path(__file__).parent.parent
OF_THE_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
PACKAGES = {
    "api": "`import cl_runner`: run, sweep, search, load, load_network",
    "strategies": "The interface of a strategy, and all of them",
    "strategies.parts": "What their equations are made of",
    "data": "From files to a stream of tasks, and its batches",
    "models": "Networks with a growing classifier",
    "evaluation": "What reads the test samples",
    "training": "The loop, its optimizers, phases and checks",
    "run_folder": "What a run leaves, and how to read it",
    "tracking": "Where events go while a run trains",
    "config": "Targets, annotations and their checks",
}
FIRST = ("commands", "strategy", "stream", "network", "loop", "read", "tracker", "targets")
"""The modules that the others of their package are read after."""
INSIDE = (
    "api.calls",
    "api.display",
    "api.frames",
    "api.own_process",
    "api.pictures",
    "api.place",
    "api.process",
)
"""Modules that a caller does not use directly."""
MODULES = ("metrics", "records", "measures", "randomness", "errors")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """In `nav`, a folder stands for all its pages, which are more with each strategy and suite."""
    results = [f"results/{file.name}" for file in sorted((ROOT / "docs/results").glob("*.md"))]
    every = [*pages(), *results]
    for section in config.nav or []:
        for title, entries in section.items():
            if isinstance(entries, str) and entries.endswith("/"):
                inside = [page for page in every if posixpath.dirname(page) + "/" == entries]
                section[title] = sorted(inside, key=lambda page: ("index" not in page, page))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for place, content in pages().items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(text: str, page: Page, **_: Any) -> str:
    """Links between files of the repository become links between pages of the site: one to an
    option or a package leads to its page. A link of a page that is made begins with a slash, at
    the site's first page."""
    place = page.file.src_uri
    sources = {at: file for file, at in OF_THE_ROOT.items()}
    here = posixpath.dirname(sources.get(place, f"docs/{place}"))

    def link(found: re.Match[str]) -> str:
        path, sign, anchor = found[1].partition("#")
        whole = posixpath.normpath(posixpath.join("/", here, path)).lstrip("/")
        target = OF_THE_ROOT.get(whole) or _made_from(whole) or whole.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{sign}{anchor})"

    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", link, text)


def _made_from(place: str) -> str:
    """The page that is made from this file or folder of the repository; empty if none is."""
    top, *path = place.split("/")
    if top == HERE.name:
        return f"python/{'.'.join(path) or 'index'}.md"
    if top != CONF.name:
        return ""
    if path[:1] == ["strategy"]:
        return f"strategies/{Path(path[-1]).stem if len(path) > 1 else 'index'}.md"
    if path[:1] in (["experiment"], ["sweep"]):
        return "settings/presets.md"
    return f"settings/{path[0] if path else 'index'}.md"


@cache
def pages() -> dict[str, str]:
    """The Markdown of every page that is made, by its place."""
    made = {at: (ROOT / file).read_text("utf-8") for file, at in OF_THE_ROOT.items()}
    strategies = _options("strategy")
    results = list(site_strategies.rows_of_results(ROOT / "docs" / "results"))
    made["strategies/index.md"] = site_strategies.overview(strategies)
    for each in strategies:
        made[f"strategies/{each.name}.md"] = site_strategies.page(each, results)
    made["settings/index.md"] = _of_run()
    for group in [*(group for group in GROUPS if group != "strategy"), "hydra/launcher"]:
        made[f"settings/{group.rpartition('/')[2]}.md"] = _of_group(group)
    made["settings/presets.md"] = _presets()
    made["python/index.md"] = _python()
    for package, what in PACKAGES.items():
        files = (HERE / package.replace(".", "/")).glob("[!_]*.py")
        stems = sorted((file.stem for file in files), key=lambda stem: (stem not in FIRST, stem))
        stems = [stem for stem in stems if f"{package}.{stem}" not in INSIDE]
        names = [f"cl_runner.{package}.{stem}" for stem in stems]
        made[f"python/{package}.md"] = _reference(f"cl_runner.{package}", what, names)
    return made


def _options(group: str) -> list[Option]:
    found = (manual.option(group, file.stem) for file in sorted((CONF / group).glob("*.yaml")))
    return [option for option in found if option is not None]


def _of_run() -> str:
    option = manual.of_run()
    links = " · ".join(
        f"[{name}]({name}.md)"
        for name in (*(group for group in GROUPS if group != "strategy"), "launcher", "presets")
    )
    return "\n\n".join(
        [
            "# Settings of a run",
            "A setting is given as `key=value`; for a group of settings, `group=option` chooses an "
            "option. `cl-train --help strategy=ewc` prints the settings of an option, "
            "`cl-train strategy=ewc --cfg job` all settings of a composition with their meaning. "
            "The other groups: [strategy](/strategies/index.md) · " + links,
            *map(markdown.settings, option.nodes),
        ]
    )


def _of_group(group: str) -> str:
    blocks = [f"# {group}", f"`{group}=NAME` chooses one of these."]
    first: dict[str, str] = {}  # the option under which a docstring is shown
    for option in _options(group):
        blocks += [f"## {option.name}", markdown.text(option.title)]
        for node in option.nodes:
            if node.doc and node.doc not in first:
                is_whole = node is option.nodes[0]
                blocks += [] if is_whole else [f"`{node.key}`:"]
                blocks.append(markdown.text(node.doc))
            elif node.doc and node.settings and node.key == group:
                blocks.append(
                    f"More about these settings: [{first[node.doc]}](#{first[node.doc]})."
                )
            first.setdefault(node.doc, option.name)
            blocks.append(markdown.settings(node))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _presets() -> str:
    blocks = [
        "# Presets",
        "An experiment sets several groups and settings together, and the command line can replace "
        "each of them. A sweep has lists of values, for `cl-train -m`.",
    ]
    for group in ("experiment", "sweep"):
        blocks.append(f"## {group}")
        for option in _options(group):
            text = (CONF / group / f"{option.name}.yaml").read_text("utf-8")
            body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
            blocks.append(f"### {group}={option.name}\n\n{markdown.text(option.title)}")
            blocks.append(f"```yaml\n{body.strip()}\n```")
    return "\n\n".join(blocks) + "\n"


def _python() -> str:
    rows = [[f"[`cl_runner.{name}`]({name}.md)", what] for name, what in PACKAGES.items()]
    names = [f"cl_runner.{name}" for name in MODULES]
    intro = (
        "Runs from a script or a notebook ([how](/how_to/python.md)), what you write against when "
        "you add a strategy, a model, a data set or a tracker ([how](/contributing.md)), how to "
        "read the files of a run ([`read`][cl_runner.run_folder.read]). Commands are not part of "
        "it.\n\n"
    )
    return _reference(
        "Python reference", intro + markdown.table(["package", "what is in it"], rows), names
    )


def _reference(title: str, about: str, modules: list[str]) -> str:
    return "\n\n".join([f"# {title}", about, *(f"::: {name}" for name in modules)]) + "\n"
