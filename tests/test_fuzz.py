"""Any value in any setting: exit code 2 and one line, or a run that ends properly."""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cl_runner.config.paths import CONF
from cl_runner.errors import RunError
from cl_runner.train import main
from cl_runner.training.run import build_strategy
from cl_runner.training.settings import Settings

TINY = ("threads=1", "output_root=.", "name=run", "dataset.tasks=2", "batch_size=400",
        "model.widths=[8]", "epochs=1")  # fmt: skip


def numeric(file: str, group: str = "") -> list[str]:
    """The keys of a YAML file whose value is a number."""
    node = yaml.safe_load((CONF / file).read_text())
    prefix = f"{group}." if group else ""
    found = [
        f"{prefix}{key}"
        for key, value in node.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return found


CASES = {
    "run": ([], [*numeric("config.yaml"), "evaluate_every", "threads", "clip_gradient",
                 "checkpoint.every_n_steps", "checkpoint.every_n_minutes"]),
    "data": ([], [*numeric("dataset/digits.yaml", "dataset"), "dataset.pixels.crop_padding",
                  "dataset.pixels.padding", "dataset.pixels.mean", "dataset.pixels.std",
                  "dataset.class_order", "dataset.class_order_seed",
                  "dataset.samples_per_task", "model.widths"]),
    **{name: ([f"strategy={name}"], numeric(f"strategy/{name}.yaml", "strategy"))
       for name in ("lwf", "kd", "ewc", "si", "rehearsal", "rehearsal_kd", "gdumb")},
    **{name: ([f"optimizer={name}"], numeric(f"optimizer/{name}.yaml", "optimizer"))
       for name in ("sgd", "adam", "adamw")},
}  # fmt: skip

numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 2),
)
values = st.one_of(numbers, st.lists(numbers, max_size=3), st.sampled_from(["''", "null", "true"]))
TAKES_AGES = {"epochs": 3, "steps": 50, "strategy.buffer_size": 10**5, "strategy.iterations": 5}
"""Larger values are valid, but would train longer or store more than a test may."""


@pytest.mark.parametrize("case", CASES)
def test_any_value_of_any_number(case: str) -> None:
    options, keys = CASES[case]
    assert keys

    @settings(max_examples=5, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(key=st.sampled_from(keys), value=values)
    def ends_in_order(key: str, value: object) -> None:
        limit = TAKES_AGES.get(key)
        flat = value if isinstance(value, list) else [value]
        if limit is not None and any(isinstance(v, int) and limit < v < 2**31 for v in flat):
            return
        tiny = [argument for argument in TINY if not argument.startswith(f"{key}=")]
        arguments = [*tiny, *options, f"{key}={value}".replace(" ", "")]
        code, printed = called(arguments)
        assert code in (0, 2, 3), (arguments, code, printed)
        assert "Traceback" not in printed, (arguments, printed)
        if code == 2:
            assert all(line.startswith("config error: ") for line in printed.splitlines())

    ends_in_order()


def called(arguments: list[str]) -> tuple[int, str]:
    """Exit code and error output of `cl-train` in an empty folder, in this process."""
    here, printed = Path.cwd(), io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(sys, "argv", ["cl-train", *arguments]),
        contextlib.redirect_stderr(printed),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        os.chdir(folder)
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            os.chdir(here)
        if code == 2:
            assert os.listdir(folder) == []
    return code, printed.getvalue()


OTHER_TYPES = [
    "null", "true", "''", "[]", "[null]", "[[1]]", "[nan]", "{}", "{a:{b:[]}}", "{_target_:5}",
    "nan", "inf", "1e400", "9" * 99, "9" * 5000, "abc", "'a b'", "???", "${seed}", "${nowhere}",
    "1,2", "range(0,1000000000)", "interval(0,1)", "glob(*)", "/proc/x", "{_target_:os.system}",
    "cl_runner.training.optimizers.sgd", "[{_target_:cl_runner.data.digits.Digits}]",
]  # fmt: skip
BASES = (["strategy=ewc"], ["strategy=rehearsal_kd", "optimizer=sgd"], ["dataset=regression_rbf"])


def keys_of(node: object, prefix: str = "") -> list[str]:
    """Every key of a configuration, including those in nodes."""
    if not isinstance(node, dict):
        return []
    named = [(f"{prefix}{key}", value) for key, value in node.items()]
    return [k for key, value in named for k in (key, *keys_of(value, f"{key}."))]


def test_any_value_of_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused in one line, or a run could start. Training itself is left out."""

    def begun(settings: Settings, *given: object, **named: object) -> None:
        build_strategy(settings)
        raise RunError("begun")

    monkeypatch.setattr("cl_runner.training.run.run", begun)
    draw = random.Random(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        keys = {
            n: keys_of(OmegaConf.to_container(compose("config", base)))
            for n, base in enumerate(BASES)
        }
    for _ in range(16):
        n = draw.randrange(len(BASES))
        key = draw.choice(keys[n])
        arguments = [*BASES[n], "threads=1", f"{key}={draw.choice(OTHER_TYPES)}"]
        code, printed = called(arguments)
        (line,) = printed.splitlines()
        assert (code == 1 and line == "begun") or code in (2, 7), (arguments, printed)
        assert code != 2 or line.startswith("config error: "), (arguments, printed)
