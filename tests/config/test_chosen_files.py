"""What is remembered of the files of `conf/` is what Hydra makes of them, and theirs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra._internal.config_loader_impl as hydras_loader
import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from cl_runner.config.hydra_loader import Loader
from cl_runner.config.paths import CONF

WORDS = [
    ["optimizer.lr=0.5", "++dataset.mine=1", "hydra.verbose=true"],
    [],
    ["strategy=ewc", "strategy.weight=5", "epochs=3"],
    ["strategy=ewc"],
    ["epochs=3", "experiment=regression", "epochs=2", "++batch_size=7"],
    ["+strategy.new=1", "~dataset.root", "~tracker=local"],
    ["strategy={_target_:mine.Mine}", "model=cnn", "hydra/launcher=in_turn"],
    ["strategy=ewcc"],
    ["~tracker=wandb"],
    ["nothing=5"],
]


def composed(kind: type[ConfigLoaderImpl], words: list[str]) -> Any:
    """All that this loader makes of the words, Hydra's own settings included, or its error."""
    loader = kind(config_search_path=create_config_search_path(str(CONF)))
    try:
        config = loader.load_configuration("config", ["name=x", *words], run_mode=RunMode.RUN)
    except ConfigCompositionException as error:
        return str(error)
    return OmegaConf.to_yaml(config), config._metadata.flags


def test_it_is_as_hydra_composes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the second time, when what the first one set is forgotten."""
    with monkeypatch.context() as patch:
        original = defaults_list.create_defaults_list
        patch.setattr(hydras_loader, "create_defaults_list", original)
        plain = [composed(ConfigLoaderImpl, words) for words in WORDS]
    for _ in range(2):
        assert [composed(Loader, words) for words in WORDS] == plain


@pytest.mark.parametrize("place", ["own/strategy/mine.yaml", "beside.yaml"])
def test_a_file_of_the_users_is_read_again(place: str, cl_train_here, tmp_path: Path) -> None:
    """In their folder, or named by its path."""
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    path = "../" * 20 + str(file.with_suffix(""))[1:]
    words = (
        [f"experiment={path}"]
        if file.stem == "beside"
        else ["--config-dir", "own", "strategy=mine"]
    )
    for weight in (1, 2):
        file.write_text(f"# @package strategy\nweight: {weight}\n")
        done = cl_train_here(*words, "--cfg", "job")
        assert f"weight: {weight}\n" in done.stdout, done.stderr
