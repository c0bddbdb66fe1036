"""The traits of a setting are declared at the setting, and are the same for all who ask."""

from __future__ import annotations

import inspect
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from running import run_here

from cl_runner.config import targets
from cl_runner.config.build import parameters
from cl_runner.config.factory import hints_of
from cl_runner.config.identity import acting, fixed, free
from cl_runner.config.paths import CONF, GROUPS
from cl_runner.config.setting_types import NO_RESULT, Traits
from cl_runner.config.traits import is_place, of_one_call, run_settings, traits, traits_of
from cl_runner.run_folder.checkpoint import unpacked

TINY = ("dataset.tasks=2", "epochs=1", "batch_size=400", "model.widths=[8]")
PHASE = "_target_: cl_runner.training.settings.Phase, epochs: 2, layers: head, weight_decay: null"


def config_of(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["name=unused", *overrides])
    return OmegaConf.to_container(config, resolve=True)


def nodes(key: str, node: Any) -> list[tuple[str, str]]:
    """The keys of a YAML at which a class is named, with that class."""
    if isinstance(node, list):
        return [pair for inner in node for pair in nodes(key, inner)]
    if not isinstance(node, dict):
        return []
    own = [(key, node["_target_"])] if "_target_" in node else []
    return own + [pair for name, inner in node.items() for pair in nodes(f"{key}.{name}", inner)]


def named_classes() -> list[tuple[str, Any]]:
    """Every class that conf/ names, with its key, and the class of the run itself."""
    found = [("", run_settings())]
    for file in [*sorted(CONF.glob("*/*.yaml")), CONF / "config.yaml"]:
        group = file.parent.name if file.parent.name in GROUPS else ""
        for key, path in nodes(group, yaml.safe_load(file.read_text("utf-8"))):
            target = targets.known(path)
            assert target is not None, path
            found.append((key.lstrip("."), target))
    return found


def test_the_traits_of_every_class_that_conf_names_fit_together() -> None:
    at: dict[str, Traits] = {}
    for key, target in named_classes():
        found = traits_of(target)
        assert set(parameters(target)) <= set(found), target
        for name in parameters(target):
            its, whole = found[name], f"{key}.{name}".lstrip(".")
            assert at.setdefault(whole, its) == its, f"{whole} means two things"
            assert its.per_task == ("per_task=True" in str(hints_of(target, "")[name]))
            assert not its.per_task or "list[" in str(hints_of(target, "")[name])
            assert not (its.adds_weights and its.acts_in_first_task)
            assert not (its.of_one_call or its.not_in_search) or not its.changes_results
            assert its.changes_results or not its.takes_time
    assert len(at) > 60
    assert {key for key, its in at.items() if its.per_task} == {
        "epochs", "steps", "optimizer.lr", "optimizer.head_lr",
        "optimizer.weight_decay"}  # fmt: skip


def test_the_answers_are_those_that_a_run_relies_on() -> None:
    config = config_of("tracker=wandb", "strategy=lwf")
    flat = fixed(config)
    assert free(config) == ["dataset.root", "tracker", "trackers", "checkpoint", "first_task_cache",
                            "resume", "output_root", "name", "plan", "trusted_targets"]  # fmt: skip
    assert {key.split(".")[0] for key in flat if key not in acting(config)} == {
        "strategy", "model", "later_phases", "diagnose", "keep", "reference"}  # fmt: skip
    kept = acting(config | {"reset_optimizer": False})
    assert kept.keys() - acting(config).keys() == {"model.inserted_layer"}
    assert {key for key in flat if not traits(key, config).compared} == {
        "seed", "diagnose", "keep", "reference"}  # fmt: skip
    assert [key for key in config if of_one_call(key)] == [
        "resume", "output_root", "name", "plan", "trusted_targets"]  # fmt: skip
    assert {
        "dataset.root",
        "dataset.source.root",
        "first_task_cache",
        "reference",
        "trackers",
    } <= {key for key in ("dataset.root", "dataset.source.root", *config) if is_place(key)}
    assert all(traits(key).changes_results for key in flat if not is_place(key))
    assert not any(traits(key).changes_results for key in free(config))


LATER = {
    "inserted layer": ("model.inserted_layer=random",),
    "new rows": ("model.new_rows=zero",),
    "statistics": ("model.freeze_statistics=true",),
    "phases": (f"later_phases=[{{{PHASE}}}]",),
    "a later rate": ("optimizer.lr=[1e-3,0.5]",),
    "strategy": ("strategy=ewc",),
}
NOW = {"first rate": ("optimizer.lr=[0.5,1e-3]",), "scope": ("ce_scope=all",)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return after_first_task(tmp_path_factory.mktemp("plain"))


def after_first_task(folder: Path, *overrides: str) -> dict[str, Any]:
    """The state of a tiny run after its first task."""
    run_here(folder / "run", *TINY, "model.batch_norm=true", *overrides,
             f"first_task_cache='{folder}'")  # fmt: skip
    (entry,) = folder.glob("*.ckpt")
    state = torch.load(io.BytesIO(unpacked(entry)[1]), weights_only=True)
    return {key: value for key, value in state["strategy"].items() if "inserted" not in key}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", [*LATER, *NOW])
def test_what_acts_later_leaves_the_first_task_as_it_is(name: str, plain, tmp_path: Path) -> None:
    """And only those settings do; the others are among the acting settings."""
    overrides = {**LATER, **NOW}[name]
    later = name in LATER
    assert (acting(config_of(*overrides)) == acting(config_of())) == later
    assert equal(after_first_task(tmp_path, *overrides), plain) == later


MINE = """
from __future__ import annotations
from typing import Annotated
from cl_runner.config.setting_types import NO_RESULT, PerTask, Traits
from cl_runner.strategies.finetune import Finetune

class Mine(Finetune):
    def __init__(
        self,
        network,
        *,
        note: Annotated[str, NO_RESULT],
        strengths: PerTask[float],
        folder: str,
    ):
        super().__init__(network)

class Other(Mine):
    shares_first_task = False
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "modules").mkdir(exist_ok=True)
    (tmp_path / "modules" / "mine_with_traits.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setattr(targets, "TRUSTED", {"cl_runner"})
    return "mine_with_traits"


def test_a_users_own_class_says_it_in_the_same_way(mine: str) -> None:
    own = {"note": "a", "strengths": [1.0, 2.0], "folder": "b"}
    config = config_of() | {"strategy": {"_target_": f"{mine}.Other", **own}}
    keys = [f"strategy.{name}" for name in own]
    for _ in range(2):  # in a folder from someone else it is text, whatever that folder trusts
        assert [traits(key, config) for key in keys] == [Traits()] * 3
        assert {*keys} <= fixed(config).keys() and {*keys} <= acting(config).keys()
        config["trusted_targets"] = [mine]
    assert mine not in sys.modules
    targets.trust([mine])
    assert traits("strategy.note", config) == NO_RESULT and "strategy.note" in free(config)
    assert acting(config)["strategy.strengths"] == 1.0 and "strategy.folder" in fixed(config)
    config["strategy"]["_target_"] = f"{mine}.Mine"  # trains on the first task as Finetune does
    assert acting(config) == acting(config_of())


def test_a_users_own_setting_may_change_when_a_run_goes_on(mine, cl_train_here, tmp_path) -> None:
    own = [f"trusted_targets=[{mine}]", f"strategy._target_={mine}.Mine", "name=run",
           "output_root=.", "+strategy.strengths=[1.0]", "+strategy.folder=x"]  # fmt: skip
    assert cl_train_here(*TINY, *own, "+strategy.note=a").returncode == 0
    other = cl_train_here("resume=run", own[0], "+strategy.note=b")
    assert other.returncode == 0 and other.stdout.startswith("already complete")
    refused = cl_train_here("resume=run", own[0], "+strategy.strengths=[2.0]")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].split() == ["strategy.strengths", "[1.0]", "[2.0]"]


RAISES = "raise SystemExit(3)"


@pytest.mark.parametrize(
    "path",
    [5, None, [], "", ".", "os", "os.system", "cl_runner", "cl_runner.", "cl_runner..x",
     "cl_runner.nowhere.X", "cl_runner.train.main", "cl_runner.train\nX", "raising.X"],
)  # fmt: skip
def test_a_class_that_is_none_is_no_error(path: Any, mine: str, tmp_path: Path) -> None:
    (tmp_path / "modules" / "raising.py").write_text(RAISES)
    targets.trust(["raising"])
    config = {"strategy": {"_target_": path, "weight": 1, "deep": {"_target_": path, "x": []}}}
    assert traits("strategy.weight", config) == traits("strategy.deep.x", config) == Traits()
    assert {"strategy.weight", "strategy.deep.x"} <= acting(config).keys()


def test_a_class_whose_annotations_cannot_be_read_is_no_error() -> None:
    def unreadable(*, a: nothing.at.all) -> None: ...  # type: ignore[name-defined] # noqa: F821

    assert inspect.isfunction(unreadable) and traits_of(unreadable) == {}
