"""The ready W&B sweep: what its agent would run, with the code with which an agent expands it."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from running import composed
from wandb_files import inspect

from cl_runner.config.paths import CONF

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2")
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("no_wandb_account")


def sweep_file() -> dict:
    return yaml.safe_load((ROOT / "docs" / "wandb_sweep.yaml").read_text())


def for_ewc() -> dict:
    """The same with the parameters that the page gives for EWC."""
    (block,) = re.findall(
        r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "wandb.md").read_text(), re.DOTALL | re.MULTILINE
    )
    file = sweep_file()
    words = [w.replace("strategy=rehearsal_kd", "strategy=ewc") for w in file["command"]]
    return {**file, **yaml.safe_load(block), "command": words}


def agent_command(file: dict, values: dict) -> list[str]:
    """The words that a W&B agent runs, by the code with which it makes them."""
    from wandb.sdk.launch.sweeps import utils

    arguments = {"args": {name: {"value": value} for name, value in values.items()}}
    macros = utils.create_sweep_command_args(arguments) | {"env": ["/usr/bin/env"]}
    words = utils.create_sweep_command(list(file["command"]))
    return [w for word in words for w in (macros[word[2:-1]] if word[:2] == "${" else [word])]


def corners(parameters: dict) -> list[dict]:
    """The ends of every range, as W&B draws from it: whole numbers only where that is asked for."""
    ends = []
    for parameter in parameters.values():
        if "values" in parameter:
            ends.append([parameter["values"][0], parameter["values"][-1]])
        else:
            kind = int if parameter["distribution"].startswith("int_") else float
            ends.append([kind(parameter["min"]), kind(parameter["max"])])
    return [dict(zip(parameters, point, strict=True)) for point in itertools.product(*ends)]


@pytest.mark.parametrize("file", [sweep_file, for_ewc])
def test_every_corner_of_the_sweep_file_is_a_run(file) -> None:
    """With the values as they are in the file, and null where the file says "null"."""
    file = file()
    assert {"program", "method", "metric", "parameters"} <= file.keys()
    points = corners(file["parameters"])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for point in points:
            env, program, *words = agent_command(file, point)
            assert (env, program) == ("/usr/bin/env", "cl-train")
            config = compose("config", words)
            for key, value in point.items():
                node = config
                for part in key.split("."):
                    node = node[part]
                assert node == (None if value == "null" else value), key
                assert isinstance(node, int) == isinstance(value, int)
    composed(*words)  # whose ranges are checked too
    assert any("null" in point.values() for point in points)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # W&B's own file
def test_a_run_of_an_agent_is_the_one_that_the_agent_waits_for(
    fresh_wandb, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    """The command of the sweep file, run as an agent runs it, but offline."""
    file = sweep_file()
    file["command"][file["command"].index("tracker.mode=online")] = "tracker.mode=offline"
    point = corners(file["parameters"])[0]
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump({key: {"value": value} for key, value in point.items()}))
    told = {
        "SWEEP_ID": "sweep123",
        "RUN_ID": "agent456",
        "PROJECT": "theirs",
        "SWEEP_PARAM_PATH": str(given),
    }
    for name, value in told.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    done = cl_train_here(*agent_command(file, point)[2:], *TINY, "name=run")
    assert done.returncode == 0 and "W&B" not in done.stderr
    folder = tmp_path / "outputs" / "run"
    (start,) = (r["run"] for r in inspect(folder) if r["type"] == "run")
    assert (start["run_id"], start["sweep_id"]) == ("agent456", "sweep123")
    assert start["project"] == "theirs" and start["config"]["update"]["T"] == point["strategy.T"]
    (summary,) = inspect(folder, "--summary")
    results = json.loads((folder / "results.json").read_text())
    held_out = results["accuracy_validation"][-1]
    assert summary["exit_code"] == 0
    assert summary["summary"][file["metric"]["name"]] == pytest.approx(sum(held_out) / 2)
