"""The settings of each point of a sweep or a suite, as Hydra composes them.

Reading and merging the files takes a quarter of a second. Points that choose the same files and
only differ in values share that work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from cl_runner.config.compose import from_hydra
from cl_runner.config.overrides import parsed
from cl_runner.config.search_path import hydra_with


@contextmanager
def of_a_sweep(
    config_dir: Path | None, words: Sequence[str] = ()
) -> Iterator[tuple[ConfigLoader, DictConfig]]:
    """Hydra's loader, and the configuration of a sweep with these words. Raises ConfigError for
    words that cannot be used."""
    with hydra_with(config_dir) as hydra:
        try:
            master = hydra.compose_config(
                "config", list(words), RunMode.MULTIRUN, with_log_configuration=False
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise from_hydra(error) from None
        yield hydra.config_loader, master


class Composition:
    """master: the configuration of the sweep itself."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.is_group = cache(lambda key: bool(loader.get_group_options(key)))
        self.of_files: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def at(self, overrides: Sequence[str]) -> tuple[DictConfig, Any]:
        """The settings at this point, and Hydra's own. The same as `load_sweep_config`, which also
        merges the chosen files first and then applies the values in order."""
        read = parsed(overrides)
        values = [override for override in read if self._is_value(override)]
        files = tuple(str(o.input_line) for o in read if o not in values)
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
