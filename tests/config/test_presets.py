"""Presets are what their names say: the published experiments, and the suites' runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.reproduce import suite

Settings = dict[str, Any]
PRESETS = {file.stem for file in (CONF / "experiment").glob("*.yaml")}
RUNS = {
    "mnist_to_fashion": ("ewc_mnist_to_fashion", "fine-tuning"),
    "ewc_mnist_to_fashion": ("ewc_mnist_to_fashion", "EWC 1e4"),
    "ewc_mnist_to_fashion_sampled": ("ewc_mnist_to_fashion", "EWC 1e3, sampled"),
    "fashion_mnist_6_4": ("lwf_fashion_mnist", "fine-tuning"),
    "lwf_fashion_mnist": ("lwf_fashion_mnist", "as published"),
    "lwf_fashion_mnist_identity": ("lwf_fashion_mnist", "identity layer"),
    "lwf_fashion_mnist_plain": ("lwf_fashion_mnist", "no inserted layer"),
    "gtsrb": ("gtsrb", "fine-tuning"),
    "rehearsal_kd_gtsrb": ("gtsrb", "rehearsal + KD 0.5"),
    "rehearsal_kd_gtsrb_tuned": ("gtsrb", "rehearsal + KD"),
    "gdumb_mnist": ("gdumb_mnist", "400 units, k 500"),
    "regression": ("regression", "rbf, fine-tuning"),
}
HEAD, ALL = (
    {
        "_target_": "cl_runner.training.settings.Phase",
        "epochs": epochs,
        "layers": layers,
        "weight_decay": decay,
    }
    for epochs, layers, decay in ((3, "head", None), (1, "all", 0.0))
)
PLAIN = {
    "mean": [0.0],
    "std": [1.0],
    "padding": 0,
    "crop_padding": 0,
    "flip": False,
    "per_picture": False,
}
PUBLISHED = {
    "ewc_mnist_to_fashion": {
        "dataset.scenario": "domain_incremental", "model.widths": [256, 128],
        "model.activation": "relu", "model.batch_norm": True, "model.freeze_statistics": True,
        "optimizer.lr": 1e-4, "batch_size": 100, "epochs": 4, "strategy.half": True,
        "strategy.weight": 1e4, "strategy.fisher": "batch_all_pairs",
        "strategy.fisher_samples": 200, "strategy.fisher_batch_size": 100, "model.init": "default",
        **{f"dataset.pixels.{key}": value for key, value in PLAIN.items()},
    },
    "mnist_to_fashion": {
        "model.widths": [256, 128], "model.batch_norm": True, "model.freeze_statistics": False,
        "optimizer.lr": 1e-4, "batch_size": 100, "epochs": 4,
        "strategy._target_": "cl_runner.strategies.finetune.Finetune",
    },
    "lwf_fashion_mnist": {
        "dataset.classes_per_task": [6, 4], "dataset.class_order": "numeric",
        "dataset.pixels.mean": [0.5], "dataset.pixels.std": [0.5], "model.channels": [16, 32],
        "model.hidden": 512, "model.init": "kaiming_normal", "model.new_rows": "zero",
        "model.inserted_layer": "random", "optimizer.lr": [0.01, 1e-4], "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 5e-4, "batch_size": 64, "epochs": 3,
        "later_phases": [HEAD, ALL, ALL], "strategy.alpha": 0.9, "strategy.T": 2.0,
        "strategy.mixing": "additive", "strategy.t_squared": True, "ce_scope": "seen",
    },
    "rehearsal_kd_gtsrb": {
        "dataset.classes_per_task": 8, "dataset.tasks": 5, "dataset.class_order": "numeric",
        "strategy.buffer_size": 200, "strategy.policy": "class_balanced", "strategy.alpha": 0.5,
        "strategy.T": 2.0, "strategy.mixing": "convex",
    },
    "gdumb_mnist": {
        "dataset.tasks": 5, "model.widths": [400, 400], "model.init": "default",
        "model.new_rows": "default", "strategy.buffer_size": 500,
    },
    "regression": {
        "model.widths": [150, 150], "model.activation": "sigmoid", "optimizer.lr": 0.01,
        "epochs": 200,
    },
}  # fmt: skip
"""What the sources say, written down a second time."""


@pytest.fixture(scope="module")
def settings_of() -> Callable[..., Settings]:
    """All settings of a command line, by their full names."""

    def call(*overrides: str) -> Settings:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", ["name=unused", *overrides])
        return flat(OmegaConf.to_container(config, resolve=True))

    return call


def flat(node: Any, prefix: str = "") -> Settings:
    leaves: Settings = {}
    for key, value in node.items():
        inner = isinstance(value, dict)
        leaves |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return leaves


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_experiment_has_the_published_settings(preset: str, settings_of) -> None:
    told = settings_of(f"experiment={preset}")
    assert {key: told.get(key) for key in PUBLISHED[preset]} == PUBLISHED[preset]


@pytest.mark.parametrize("preset", sorted(PRESETS - {"lwf_fashion_mnist_mended"}))
def test_a_preset_is_the_run_of_its_suite(preset: str, settings_of) -> None:
    """Except for where the curve is drawn."""
    name, run = RUNS[preset]
    found = suite.read(name)
    theirs = settings_of(*found.common, *found.runs[run])
    assert settings_of(f"experiment={preset}") | {"evaluate_every": None} == theirs | {
        "evaluate_every": None
    }


def test_what_is_judged_by_a_published_number_is_a_preset_or_near_one() -> None:
    """Or two. A suite without a preset has all of its settings itself."""
    for name in suite.names():
        found = suite.read(name)
        for run in {row.run for row in found.rows if row.published is not None}:
            words = [*found.common, *found.runs[run]]
            presets = [w.partition("=")[2] for w in words if w.startswith("experiment=")]
            others = {w for w in words if not w.startswith(("experiment=", "evaluate_every="))}
            if presets:
                assert RUNS[presets[0]] == (name, run) or len(others) in (1, 2)


def test_the_mended_preset_is_the_plain_one_up_to_its_third_epoch(settings_of) -> None:
    """The row of the suite is read from that epoch of the plain preset's curve."""
    mended, plain = (settings_of(f"experiment=lwf_fashion_mnist_{n}") for n in ("mended", "plain"))
    assert mended["later_phases"] == plain["later_phases"][:1] == [HEAD]
    assert mended | {"later_phases": None} == plain | {"later_phases": None}


@pytest.mark.parametrize("model", sorted(f.stem for f in (CONF / "model").glob("*.yaml")))
def test_a_models_weights_are_drawn_as_torch_draws_them(model: str, settings_of) -> None:
    """Rows of zeros, as one experiment published them, cost others ten points."""
    told = settings_of(f"model={model}")
    assert (told["model.init"], told["model.new_rows"]) == ("default", "default")
