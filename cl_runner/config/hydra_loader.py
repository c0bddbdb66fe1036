"""Hydra's loader of configurations, with one rule: only the command line and our own `conf/` may
set anything below `hydra.`.

Hydra builds and calls what is there before a run begins (callbacks, launchers, log handlers),
and it decides which files Hydra writes. A folder given with `--config-dir` may come from someone
else.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra._internal.config_loader_impl as hydras_loader
import hydra._internal.hydra as hydra_itself
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, ListConfig, OmegaConf
from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from cl_runner.config import chosen_files
from cl_runner.config.overrides import parsed, refuse_no_option
from cl_runner.config.paths import CONF
from cl_runner.errors import MISSING, ConfigError

SWEEPER = "hydra_plugins.cl_runner_sweep.Sweep"
WITHOUT_FILES = ("none", "disabled", "stdout")
"""Options of `hydra/job_logging` that write no file."""
_HYDRA = re.compile(r"(?<!\w)hydra(?!\w)")
_mode_as_composed = hydra_itself.Hydra.get_mode


def install() -> None:
    """Make Hydra use this loader."""
    hydra_itself.ConfigLoaderImpl = Loader  # type: ignore[attr-defined]
    hydra_itself.Hydra.get_mode = _mode  # type: ignore[assignment, method-assign]
    hydras_loader.create_defaults_list = chosen_files.list_of  # type: ignore[attr-defined, assignment]
    chosen_files.share_the_store()
    # Our preset has the same name as hydra-ray-launcher's own, and does not need that one.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against")


@contextmanager
def installed() -> Iterator[None]:
    """The same while entered, for a process that has other uses for Hydra, too."""
    places: list[tuple[Any, str]] = [
        (hydra_itself, "ConfigLoaderImpl"),
        (hydra_itself.Hydra, "get_mode"),
        (hydras_loader, "create_defaults_list"),
        (ConfigStore, "__deepcopy__"),
    ]
    before = [(place, name, vars(place).get(name)) for place, name in places]
    with warnings.catch_warnings():
        install()
        try:
            yield
        finally:
            for place, name, found in before:
                if found is None:
                    delattr(place, name)
                else:
                    setattr(place, name, found)


def _mode(app: hydra_itself.Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """`hydra.mode`. Hydra composes the whole configuration to find it; ours sets none."""
    asked = any(_HYDRA.search(word) for word in overrides)
    return _mode_as_composed(app, config_name, overrides) if asked else None


class Loader(ConfigLoaderImpl):
    """Refuses settings of Hydra in a file that is not ours, and overrides that Hydra fails on."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = chosen_files.Repository(config_search_path)

    def load_configuration(
        self, config_name: str | None, overrides: list[str], *given: Any, **named: Any
    ) -> DictConfig:
        read = parsed(overrides)
        refuse_no_option(read, self)
        words = [str(override.input_line) for override in read]
        try:
            config = super().load_configuration(config_name, words, *given, **named)
        except MarkedYAMLError as error:
            raise _not_yaml(error) from None
        except (UnicodeDecodeError, ReaderError) as error:
            raise self._not_text(error) from None
        if config.hydra.job.config_name is not None:  # None: Hydra's own help
            _refuse_files(config.hydra)
            _refuse_unusable(config.hydra)
        return config

    def _not_text(self, error: UnicodeDecodeError | ReaderError) -> ConfigError:
        """Names the file: where Python's error does not, it is the one with these bytes."""
        allowed = "is not text in UTF-8"
        if isinstance(error, ReaderError):  # a character that YAML does not allow
            return ConfigError.of("--config-dir", Path(error.name), allowed)
        sources = [s.path for s in self.repository.get_sources() if s.scheme() == "file"]
        for file in (f for folder in sources for f in sorted(Path(folder).rglob("*.yaml"))):
            if file.is_file() and error.object in file.read_bytes():
                return ConfigError.of("--config-dir", file, allowed)
        return ConfigError.of("--config-dir", MISSING, "has a file that is not text in UTF-8")

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        return chosen_files.merged(defaults, repo, super()._compose_config_from_defaults_list)

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        result = super()._load_single_config(default, repo)
        # The list of keys: `in` alone would resolve an interpolation, perhaps too early.
        sets_hydra = isinstance(result.config, DictConfig) and "hydra" in list(result.config.keys())
        for name in filter(None, (default.config_path, default.parent)):
            loaded = repo.load_config(name) if repo.config_exists(name) else None
            file = None if loaded is None else _file(loaded, name)
            if loaded is None or file is None or Path(file).is_relative_to(CONF):
                continue
            if sets_hydra or any(_HYDRA.search(str(vars(d))) for d in loaded.defaults_list or []):
                allowed = "can be set on the command line or in our own conf/, not in another file"
                hint = "give it on the command line: hydra/...=..."
                raise ConfigError.of("hydra", Path(file), allowed, hint)
        return result


def _not_yaml(error: MarkedYAMLError) -> ConfigError:
    """Names the file, which is in a folder of the user's, and the line."""
    mark = error.problem_mark
    if mark is None:
        return ConfigError.of(
            "--config-dir", MISSING, f"has a file that is not YAML: {error.problem}"
        )
    allowed = f"line {mark.line + 1} is not YAML: {error.problem}"
    return ConfigError.of("--config-dir", Path(mark.name), allowed)


def _file(loaded: ConfigResult, name: str) -> str | None:
    """The file that it was read from, without `..`; None if it is part of a package."""
    scheme, _, folder = loaded.path.partition("://")
    if scheme != "file":
        return None
    return os.path.normpath(os.path.join(folder, ConfigSource._normalize_file_name(name)))


def _refuse_files(node: DictConfig) -> None:
    """Raise ConfigError if Hydra would write settings with their secrets."""
    allowed = "would make Hydra write all settings, secrets included"
    if OmegaConf.is_interpolation(node, "output_subdir") or node.output_subdir is not None:
        folder = node._get_node("output_subdir")
        hint = "config.yaml holds the same with secrets masked"
        raise ConfigError.of("hydra.output_subdir", folder, allowed, hint)
    logging = node.runtime.choices.get("hydra/job_logging")
    if logging not in WITHOUT_FILES:
        hint = "log.txt holds the same with secrets masked"
        raise ConfigError.of("hydra/job_logging", logging, allowed, hint)
    sweeper = node.sweeper and node.sweeper._target_
    if sweeper != SWEEPER:
        hint = "leave it out; cl-train -m writes sweep.json with secrets masked"
        raise ConfigError.of("hydra.sweeper", sweeper, allowed, hint)


def _refuse_unusable(node: DictConfig) -> None:
    """Raise ConfigError for what Hydra would fail on, and for a folder that it would create before
    the settings are checked."""
    if (folder := node.run._get_node("dir")) != ".":
        allowed = "would be created by Hydra before the settings are checked"
        hint = "choose the run folder with output_root=FOLDER name=NAME"
        raise ConfigError.of("hydra.run.dir", folder, allowed, hint)
    if not isinstance(node.verbose, bool | str | ListConfig):
        allowed = "must be true, false or the names of loggers"
        raise ConfigError.of("hydra.verbose", node.verbose, allowed)
    if not (isinstance(node.launcher, DictConfig) and "_target_" in node.launcher):
        allowed = "must be a node with a _target_"
        raise ConfigError.of("hydra.launcher", node.launcher, allowed, "hydra/launcher=local")
