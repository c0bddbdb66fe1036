"""The files of `conf/` and what the chosen ones make up, each read and merged once in a process.

Hydra does both again for every composition, which takes most of its tenth of a second, and a sweep,
a search or a suite composes many runs of the same files. Values of the command line come later.
Only our own files are remembered: those of a user's folder may change meanwhile. What is remembered
is kept as bytes: a copy is made from them five times as fast as by `deepcopy`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Hashable, Sequence
from dataclasses import astuple, replace
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from cl_runner.config.paths import CONF
from cl_runner.plugins import trusted

OWN = {("file", str(CONF)), ("pkg", "hydra.conf")}
"""Sources whose files stay as they are while a process runs."""
Merge = Callable[[list[ResultDefault], IConfigRepository], DictConfig]
_files: dict[Hashable, bytes] = {}
_lists: dict[Hashable, DefaultsList] = {}
_merged: dict[Hashable, bytes] = {}


class Repository(ConfigRepository):
    """Hydra's, which reads a file of ours and one of Hydra's own once."""

    def load_config(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None or (source.scheme(), source.path) not in OWN or not _inside(config_path):
            return super().load_config(config_path)
        key = (source.scheme(), source.path, config_path)
        if key not in _files:
            _files[key] = pickle.dumps(super().load_config(config_path))
        found: ConfigResult | None = pickle.loads(_files[key])
        return found


def share_the_store() -> None:
    """Keep Hydra from copying all its schemas for each composition. It copies each one it uses."""
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def list_of(
    repo: IConfigRepository, config_name: str | None, overrides_list: list[Override], **how: bool
) -> DefaultsList:
    """Hydra's `create_defaults_list`: which files make up the configuration, and the overrides
    that set a value in it."""
    values = [o for o in overrides_list if not o.is_sweep_override() and _is_value(o, repo)]
    chosen = [o for o in overrides_list if o not in values]
    words = tuple(override.input_line for override in chosen)
    key = (_sources(repo), config_name, words, *sorted(how.items()))
    found = _lists.get(key)
    if found is None:
        found = defaults_list.create_defaults_list(repo, config_name, chosen, **how)
        if _all_ours(found.defaults, repo):
            _lists[key] = found
    return replace(found, config_overrides=values)


def merged(defaults: Sequence[ResultDefault], repo: IConfigRepository, merge: Merge) -> DictConfig:
    """What `merge` makes of these files."""
    if not _all_ours(defaults, repo):
        return merge(list(defaults), repo)
    key = (_sources(repo), tuple(map(astuple, defaults)))
    if key not in _merged:
        _merged[key] = pickle.dumps(merge(list(defaults), repo))
    copied: DictConfig = pickle.loads(_merged[key])
    return copied


def _is_value(override: Override, repo: IConfigRepository) -> bool:
    """Whether it sets a value rather than choosing a file, decided as Hydra does."""
    return isinstance(override.value(), dict) or not repo.group_exists(override.key_or_group)


def _sources(repo: IConfigRepository) -> tuple[Any, ...]:
    return tuple((source.scheme(), source.path) for source in repo.get_sources())


def _all_ours(defaults: Sequence[ResultDefault], repo: IConfigRepository) -> bool:
    """Whether all are files of `conf/` or part of an installed package, as trusted plugins are."""
    known = {str(CONF), *map(str, trusted.conf_folders())}
    if any(scheme == "file" and path not in known for scheme, path in _sources(repo)):
        return False
    return all(_inside(str(default.config_path)) for default in defaults)


def _inside(config_path: str) -> bool:
    """Whether it names nothing outside the folder of its source, as `../` can."""
    return os.path.normpath(CONF / config_path).startswith(f"{CONF}{os.sep}")
