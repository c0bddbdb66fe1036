"""`cl-train --plugins`, `--trust NAME`, `--distrust NAME`: which plugins there are and are used."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from cl_runner.config.paths import CONF, SUITES
from cl_runner.errors import ConfigError, nearest
from cl_runner.metrics import METRICS
from cl_runner.plugins import installed, trusted
from cl_runner.plugins.installed import Plugin
from cl_runner.plugins.trusted import Entry
from cl_runner.run_folder.files import make, write
from cl_runner.text import aligned, harmless


def main(words: Sequence[str]) -> None:
    """Do what one of the flags asks for. Raises ConfigError for a name that is not known."""
    parser = argparse.ArgumentParser(prog="cl-train", description=__doc__, allow_abbrev=False)
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--plugins", action="store_true", help="list them, and what each brings")
    one.add_argument("--trust", metavar="NAME", help="let its code run from now on")
    one.add_argument("--distrust", metavar="NAME", help="no longer")
    asked = parser.parse_args(list(words))
    if asked.plugins:
        print(harmless(_listing()))
    elif asked.trust is not None:
        print(harmless(_trust(asked.trust)))
    else:
        print(harmless(_distrust(asked.distrust)))


def _trust(name: str) -> str:
    found = installed.every()
    named = [plugin for plugin in found if plugin.name == name]
    if not named:
        known = sorted({plugin.name for plugin in found})
        hint = nearest(name, known) or "cl-train --plugins lists those that are installed"
        raise ConfigError.of("--trust", name, "no installed package has such a plugin", hint)
    if len(named) > 1:
        several = " and ".join(plugin.distribution for plugin in named)
        allowed = f"several installed packages have such a plugin: {several}"
        raise ConfigError.of("--trust", name, allowed, "uninstall the others")
    (plugin,) = named
    if plugin.folder is None:
        allowed = f"its entry point must name a package without a dot, not {plugin.package}"
        raise ConfigError.of("--trust", name, allowed)
    others = [each for each in trusted.entries() if each.name != name]
    _write([*others, Entry(name, plugin.distribution)])
    lines = [
        f"{name} ({plugin.distribution} {plugin.version}) is trusted: commands run its code.",
        f"brings: {', '.join(_brought(plugin)) or 'nothing yet'}",
        f"kept in {trusted.place()}; cl-train --distrust {name} undoes it",
    ]
    return "\n".join(lines)


def _distrust(name: str) -> str:
    before = trusted.entries()
    after = [each for each in before if each.name != name]
    if after == before:
        known = [each.name for each in before]
        hint = f"trusted are {', '.join(known)}" if known else "no plugin is trusted"
        raise ConfigError.of("--distrust", name, "is not trusted", hint)
    _write(after)
    return f"{name} is no longer trusted"


def _listing() -> str:
    """A line for each that is installed or trusted."""
    trust = trusted.entries()
    rows = []
    for plugin in installed.every():
        entry = Entry(plugin.name, plugin.distribution)
        said = "yes" if entry in trust else "no"
        trust = [each for each in trust if each != entry]
        what = ", ".join(_brought(plugin)) if plugin.folder else "no package of its name"
        rows.append([plugin.name, f"{plugin.distribution} {plugin.version}", said, what])
    rows += [[each.name, each.distribution, "yes", "not installed"] for each in trust]
    if not rows:
        return "no plugin is installed; cl-train new package NAME writes one"
    table = aligned(["plugin", "package", "trusted", "brings"], rows)
    hint = "\nto use one: cl-train --trust NAME" if any(row[2] == "no" for row in rows) else ""
    return table + hint


def _brought(plugin: Plugin) -> Iterator[str]:
    """What it brings; where there is one of ours with the same name, ours is used."""
    brought = [
        *((f"{group}={name}", (CONF / group / f"{name}.yaml").is_file())
          for group, name in plugin.options),
        *((f"metric {name}", name in METRICS and not METRICS[name].is_own)
          for name in plugin.metrics),
        *((f"suite {name}", (SUITES / f"{name}.yaml").is_file()) for name in plugin.suites),
    ]  # fmt: skip
    for what, is_ours in brought:
        yield what + (" (not used: there is one of ours)" if is_ours else "")


def _write(entries: Sequence[Entry]) -> None:
    """Replace the file as a whole; where it is a link, the file that it leads to."""
    file = trusted.place().resolve()
    make(file.parent)
    write(file, trusted.text(list(entries)))
