"""What each setting means: default and comment from the YAML file, allowed values and docstring
from the code. `cl-train --help strategy=ewc`, `--cfg job` and the site show it."""

from __future__ import annotations

import io
import shlex
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from cl_runner.config import search_path, yaml_comments
from cl_runner.config.annotations import allowed
from cl_runner.config.command_line import text_of
from cl_runner.config.compose import trust
from cl_runner.config.overrides import key_of, parsed
from cl_runner.config.paths import CONF
from cl_runner.config.signatures import signature
from cl_runner.errors import ConfigError
from cl_runner.plugins import trusted

RUN = "cl_runner.training.settings.Settings"
"""The class of the root node, which has no `_target_`."""
TARGET = "_target_"
WIDTH = 96
"""Of the lines in a terminal."""


@dataclass(frozen=True)
class Setting:
    """One key, and what can be said about it."""

    key: str
    default: str  # as in the YAML file
    allowed: str  # in words; empty: not known
    comment: str  # lines as in the file


@dataclass(frozen=True)
class Node:
    """A node of the settings that builds one object, with the settings of its own."""

    key: str
    doc: str  # the docstring of what it builds
    settings: list[Setting]


@dataclass(frozen=True)
class Option:
    """An option of a group, such as `strategy=ewc`: what it is about, and its nodes."""

    group: str
    name: str
    title: str
    nodes: list[Node]
    folder: Path | None = None  # given with --config-dir, if it is from there


def option(group: str, name: str) -> Option | None:
    """The option with this name, ours or a plugin's or of the folder given with --config-dir; None
    if there is none."""
    try:
        file = _file(group, name)
        if file is None:
            return None
        text, theirs = file.read_text("utf-8"), search_path.typed()
        nodes = list(_nodes(text, group.replace("/", "."))) if _is_part(text) else []
        own = theirs if theirs is not None and file.is_relative_to(theirs) else None
        return Option(group, name, yaml_comments.head(text), nodes, own)
    except (yaml.YAMLError, ValueError):  # not YAML, or not UTF-8: Hydra names the line
        return None


def of_run() -> Option:
    """The settings that belong to no group: those of `conf/config.yaml`."""
    text = (CONF / "config.yaml").read_text("utf-8")
    return Option("", "", yaml_comments.head(text), list(_nodes(text, "", RUN)))


def asked_for(overrides: Sequence[str]) -> str:
    """The text for `--help` with these words; empty if none of them chooses an option. Raises
    ConfigError for packages that cannot be trusted."""
    for typed in parsed([word for word in overrides if key_of(word) == "trusted_targets"]):
        if typed.is_sweep_override():
            given = str(typed.input_line).partition("=")[2]
            hint = f"a list is written trusted_targets=[{given}]"
            raise ConfigError.of("trusted_targets", given, "several values need a sweep", hint)
        trust(OmegaConf.create({"trusted_targets": typed.value()}), {"trusted_targets"})
    chosen = (option(key_of(word), text_of(word)) for word in overrides if "=" in word)
    return "\n".join(shown(each) for each in chosen if each is not None)


@contextmanager
def comments_in_cfg() -> Iterator[None]:
    """While Hydra runs: what it prints for `--cfg job` has the comments of the files."""
    words = get_args_parser().parse_args(sys.argv[1:])
    if words.cfg != "job":
        yield
        return
    with redirect_stdout(io.StringIO()) as printed:
        yield
    prefix = "" if words.package in (None, "_global_") else f"{words.package}."
    every = _explained(HydraConfig.get().runtime.choices)
    below = {k.removeprefix(prefix): lines for k, lines in every.items() if k.startswith(prefix)}
    print(yaml_comments.commented(printed.getvalue(), below), end="")


def _explained(choices: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The comment of every key of a composition. choices: the option of each group."""
    every = yaml_comments.comments((CONF / "config.yaml").read_text("utf-8"))
    for group, name in choices.items():
        file = _file(group, str(name))
        text = "" if file is None else file.read_text("utf-8")
        if text and _is_part(text):
            own = yaml_comments.comments(text)
            every |= {f"{group}.{key}": lines for key, lines in own.items()}
    return every


def _file(group: str, name: str) -> Path | None:
    """The file of an option; None if there is none."""
    for folder in filter(None, (CONF, *trusted.conf_folders(), search_path.typed())):
        file = folder / group / f"{name}.yaml"
        if file.is_file():
            return file
    return None


def _is_part(text: str) -> bool:
    """Whether the file of an option makes up its group; else it changes settings of others."""
    return not text.startswith("# @package _global_")


def shown(what: Option) -> str:
    """An option as a terminal shows it."""
    blocks = [f"{what.group}={what.name}: {what.title}"]
    for node in what.nodes:
        blocks.append(node.doc)
        for setting in node.settings:
            about = [setting.allowed, *setting.comment.splitlines()]
            lines = [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in about if line]
            text = textwrap.indent("\n".join(lines), "    ")
            blocks.append(f"{setting.key}={setting.default}\n{text}".rstrip())
    theirs = "" if what.folder is None else f"{search_path.FLAG} {shlex.quote(str(what.folder))} "
    blocks.append(f"As YAML: cl-train {theirs}{what.group}={what.name} --cfg job")
    return "\n\n".join(filter(None, blocks)) + "\n"


def _nodes(text: str, key: str, target: str = "") -> Iterator[Node]:
    """The node of the whole file, then those below it that build something."""
    comments = yaml_comments.comments(text)
    waiting = [(key, "", yaml.compose(text), target)]
    while waiting:
        key, inside, node, target = waiting.pop(0)
        given = _given(node)
        declared = signature(given[TARGET].value if TARGET in given else target)
        settings = []
        hints = declared.hints if declared else {}
        for name, value in _leaves(given, {n for n in hints if get_origin(hints[n]) is dict}):
            at, within = f"{key}.{name}".lstrip("."), f"{inside}.{name}".lstrip(".")
            if not key and name.partition(".")[0] in ("defaults", "hydra"):
                continue
            hint = allowed(hints[name]) if name in hints else ""
            default, below = _text(text, value), _given(value)
            if TARGET in below:
                waiting.append((at, within, value, ""))
                default = below[TARGET].value
            comment = "\n".join(comments.get(within, []))
            settings.append(Setting(at, default, hint, comment))
        yield Node(key, declared.doc if declared else "", settings)


def _given(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The keys and values of a mapping; of anything else, none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    found = {str(name.value): value for name, value in pairs}
    if not isinstance(found.get(TARGET), yaml.ScalarNode):
        found.pop(TARGET, None)
    return found


def _leaves(
    given: Mapping[str, yaml.Node], whole: Collection[str] = ()
) -> Iterator[tuple[str, yaml.Node]]:
    """The settings of a node. Those of a mapping that builds nothing are its own, too, unless the
    mapping as a whole is one, as those of `whole` are."""
    for name, value in given.items():
        below = _given(value)
        if below and TARGET not in below and name not in whole:
            yield from ((f"{name}.{deeper}", leaf) for deeper, leaf in _leaves(below))
        elif name != TARGET:
            yield name, value


def _text(text: str, value: yaml.Node) -> str:
    """The value as the file has it, in one line."""
    return " ".join(text[value.start_mark.index : value.end_mark.index].split())
