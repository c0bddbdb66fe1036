"""Which plugins are trusted: a file in the user's configuration folder.

Trust is by the name of the plugin and that of the installed package: another package with a plugin
of the same name is not trusted by it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from cl_runner.errors import MISSING, ConfigError, first_line
from cl_runner.plugins import installed
from cl_runner.plugins.installed import Plugin

HEAD = "# Packages whose code cl-runner runs: cl-train --trust NAME, cl-train --distrust NAME.\n"
NOT_INSTALLED = "is trusted but not installed"
NOT_SEEN = (
    "is installed, but this Python does not see it; if it was started before the installation, "
    "restart it (in a notebook: restart the kernel)"
)
MOST = 10**6
"""Bytes of the file."""


@dataclass(frozen=True)
class Entry:
    """One that is trusted, whether it is installed or not."""

    name: str
    distribution: str


def place() -> Path:
    """The file; it need not exist. Raises ConfigError for a user without a home folder."""
    given = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    try:
        folder = given if given.is_absolute() else Path("~/.config").expanduser()
    except RuntimeError:
        allowed = "must name a folder, as this user has no home folder"
        raise ConfigError.of("XDG_CONFIG_HOME", MISSING, allowed) from None
    return folder / "cl_runner" / "trusted.yaml"


def entries() -> list[Entry]:
    """All that are trusted. Raises ConfigError if the file is damaged."""
    try:
        file = place()
        about = file.stat()
    except (OSError, ConfigError):
        return []
    return list(_read(file, about.st_mtime_ns, about.st_size))


def plugins() -> list[Plugin]:
    """Those of them that are installed. Raises ConfigError if the file is damaged."""
    return [plugin for each in entries() if (plugin := _found(each)) is not None]


def missing() -> dict[Entry, str]:
    """Those that cannot be used, and why. Raises ConfigError if the file is damaged."""
    found = {each: _found(each) for each in entries()}
    return {
        each: NOT_INSTALLED if plugin is None else NOT_SEEN
        for each, plugin in found.items()
        if plugin is None or plugin.folder is None
    }


def packages() -> list[str]:
    """What may be imported because of them."""
    return [plugin.package for plugin in plugins() if plugin.folder is not None]


def conf_folders() -> list[Path]:
    """Their folders of options."""
    return [plugin.conf for plugin in plugins() if plugin.conf is not None]


def text(trusted: list[Entry]) -> str:
    """The content of the file."""
    nodes = [{"name": each.name, "distribution": each.distribution} for each in trusted]
    return HEAD + yaml.safe_dump({"trusted": nodes}, sort_keys=False)


@lru_cache(maxsize=1)
def _read(file: Path, time: int, size: int) -> tuple[Entry, ...]:
    """The content of the file while it has this time and size."""
    try:
        if size > MOST:
            raise ValueError(f"it has more than {MOST} bytes")
        node = yaml.safe_load(file.read_text("utf-8"))
        found = tuple(Entry(**each) for each in node["trusted"])
        if not all(isinstance(v, str) for each in found for v in vars(each).values()):
            raise ValueError("it has a name that is not text")
        return found
    except Exception as error:  # nobody can list what YAML raises
        hint = "remove it, and trust your plugins again: cl-train --trust NAME"
        raise ConfigError.of(str(file), MISSING, f"is damaged: {first_line(error)}", hint) from None


@lru_cache(maxsize=64)
def _found(each: Entry) -> Plugin | None:
    return installed.find(each.name, each.distribution)
