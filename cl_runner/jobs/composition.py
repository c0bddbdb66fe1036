"""The settings of each point of a sweep or a suite, as Hydra composes them.

Reading and merging the files takes a quarter of a second. Points that choose the same files and
only differ in values share that work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, open_dict


class Composition:
    """master: the configuration of the sweep itself."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.parser = OverridesParser.create()
        self.is_group = cache(lambda key: bool(loader.get_group_options(key)))
        self.of_files: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def at(self, overrides: Sequence[str]) -> tuple[DictConfig, Any]:
        """The settings at this point, and Hydra's own. The same as `load_sweep_config`, which also
        merges the chosen files first and then applies the values in order."""
        parsed = self.parser.parse_overrides(list(overrides))
        values = [override for override in parsed if self._is_value(override)]
        files = tuple(str(o.input_line) for o in parsed if o not in values)
        if files not in self.of_files:
            config = self.loader.load_sweep_config(self.master, list(files))
            with open_dict(config):
                self.of_files[files] = config, config.pop("hydra")
        shared, hydra = self.of_files[files]
        config = shared.copy()
        ConfigLoaderImpl._apply_overrides_to_config(values, config)  # Hydra's own next step
        return config, hydra

    def _is_value(self, override: Override) -> bool:
        """Whether it sets a value rather than choosing a file, decided as Hydra does."""
        return not self.is_group(override.key_or_group) or isinstance(override.value(), dict)
