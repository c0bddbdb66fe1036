"""The settings of each point of a sweep, as Hydra composes them.

Composing reads and merges files, a quarter of a second a point; points that choose the same files
and differ in values share that part.
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
    """master: the configuration that the sweep itself was composed with."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.parser = OverridesParser.create()
        self.is_group = cache(lambda key: bool(loader.get_group_options(key)))
        self.of_files: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def at(self, overrides: Sequence[str]) -> tuple[DictConfig, Any]:
        """The settings at this point, and Hydra's own: what `load_sweep_config` gives, which also
        chooses the files first and then applies the values, in their order."""
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
        """As Hydra tells a value from a choice of a file."""
        return not self.is_group(override.key_or_group) or isinstance(override.value(), dict)
