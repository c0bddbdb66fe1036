"""Settings composed from words as on the command line, for scripts that train in their process."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.training.settings import Settings, read


def composed(*words: str) -> tuple[Settings, dict[str, Any]]:
    """The settings, checked, and the configuration that they were read from."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["name=unused", *words])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return read(plain), plain
