"""Every shipped YAML can be built; every mistake of a user is one line."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import own_data
import pytest
import yaml
from messages import check_problem
from running import composed

from cl_runner.config.paths import CONF
from cl_runner.config.targets import find
from cl_runner.errors import ConfigError

GROUPS = ("dataset", "model", "strategy", "optimizer", "scheduler", "tracker")
OPTIONS = [(g, f.stem) for g in GROUPS for f in sorted((CONF / g).glob("*.yaml"))]
EXPERIMENTS = sorted(f.stem for f in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_is_built(
    group: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own data little is needed: what it has to know before the run."""
    if option == "timm":
        pytest.importorskip("timm")
    if option == "avalanche":
        pytest.importorskip("avalanche")
    own_data.write_all(tmp_path)
    monkeypatch.setenv("CL_DATA", str(tmp_path))
    settings = composed(f"{group}={option}")
    if group == "dataset":
        outline = settings.dataset.outline(0)
        shape, classes = outline.shape, outline.classes
        regression = outline.scenario == "regression"
        assert (classes == 1 if regression else classes >= 2) and len(outline.names) == len(
            outline.labels
        ) >= 2
        assert settings.model(shape, classes) is not None


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_built(experiment: str) -> None:
    settings = composed(f"experiment={experiment}")
    outline = settings.dataset.outline(0)
    network = settings.model(outline.shape, outline.classes)
    assert list(settings.strategy(network).parameters())


@pytest.mark.parametrize(("group", "option"), [o for o in OPTIONS if o != ("tracker", "local")])
def test_every_yaml_lists_exactly_the_parameters_of_its_target(group: str, option: str) -> None:
    node = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    target = find(node.pop("_target_"), "", ["cl_runner"])
    parameters = inspect.signature(target).parameters.values()
    assert set(node) == {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert all(p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY)


def problem(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        settings = composed(*overrides)
        outline = settings.dataset.outline(settings.seed)
        settings.strategy(settings.model(outline.shape, outline.classes))
    return str(raised.value)


WRONG = [
    (["+optimizer.lrr=1"], "no such setting of optimizer. Hint: did you mean lr?"),
    (["optimizer.lr=[]"], "must be a number ≥ 0"),
    (["optimizer.lr=null"], "must be a number ≥ 0"),
    (["epochs=0"], "must be an integer ≥ 1 and < 2³¹ or a list, each an integer ≥ 1"),
    (["epochs=[3,-1]"], "a list, each an integer ≥ 1"),
    (["batch_size=true"], "must be an integer ≥ 1"),
    (["dataset.class_order=sorted"], "must be one of numeric, random, seed_1993 or a list"),
    (["dataset.scenario=cil"], "class_incremental, task_incremental, domain_incremental"),
    (["dataset.validation_fraction=1.0"], "≥ 0 and < 1"),
    (["dataset.pixels.std=[0.0]"], "each a number ≥"),
    (["dataset.samples_per_task=0"], "must be an integer ≥ 1 and < 2³¹"),
    (["dataset.pixels.padding=8"], "smaller than the height and width of the pictures, [8, 8]"),
    (["strategy=lwf", "strategy.alpha=-0.1"], "must be a number ≥ 0"),
    (["strategy=ewc", "strategy.fisher=true"], "one of exact, sampled, empirical, predicted"),
    (["model.widths=[0]"], "must be a list, each an integer ≥ 1"),
    (["model.activation=swish"], "one of relu, leaky_relu, tanh, sigmoid"),
    (["model=cnn_leaky", "model.channels=[1,1,1,1]"], "8 × 8 pixels"),
    (["strategy._target_=cl_runner.nowhere.X"], "cannot be imported"),
    (["strategy._target_=cl_runner.training.run.log"], "neither a class nor a function"),
    (["+nothing=1"], "no such setting"),
    (["+optimizer.gamma=1"], "known are beta1, beta2, decoupled, eps, head_lr, lr, weight_decay"),
]


@pytest.mark.parametrize(("overrides", "words"), WRONG, ids=[w[0][-1] for w in WRONG])
def test_a_wrong_setting_is_one_line(overrides: list[str], words: str) -> None:
    key = overrides[-1].partition("=")[0].lstrip("+")
    check_problem(problem(*overrides), overrides, f"{key}=", words)


def test_all_problems_are_told_at_once() -> None:
    lines = problem("epochs=0", "optimizer.lr=-1", "seed=x").splitlines()
    assert {re.match(r"config error: ([\w.]+)=", line)[1] for line in lines} == {
        "epochs",
        "optimizer.lr",
        "seed",
    }


def test_a_package_may_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "from cl_runner.strategies.finetune import Finetune\n"
        "class Mine(Finetune):\n"
        "    def __init__(self, network, *, strength: float):\n"
        "        super().__init__(network)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "mine", None)  # so that it is forgotten afterwards
    del sys.modules["mine"]
    assert "add trusted_targets=[mine]" in problem("strategy._target_=mine.Mine")
    settings = composed(
        "trusted_targets=[mine]", "strategy._target_=mine.Mine", "+strategy.strength=2.0"
    )
    assert settings.strategy.settings == {"strength": 2.0}


def test_conventions_are_the_settings_with_names() -> None:
    found = composed("strategy=ewc").strategy.conventions()
    assert found == {
        "strategy.mode": "offline",
        "strategy.half": True,
        "strategy.fisher": "sampled",
    }
