"""`cl_runner.run`: the command's bytes and messages, and a process that is left as it was."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal import hydra as hydra_itself
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

import cl_runner
from cl_runner import errors
from cl_runner.config import targets
from cl_runner.config.paths import CONF
from cl_runner.training import cost
from cl_runner.training import run as training_run

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=3", "threads=1")
WRITTEN = ("results.json", "predictions.npz", "metrics.jsonl")
SIGNALLING = ("trusted_targets=[faulty]", "strategy._target_=faulty.Signalling")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = [*(folder / name for name in WRITTEN), *folder.glob("checkpoint/*")]
    return {file.name: file.read_bytes() for file in files}


def same_training(one: Path, other: Path) -> bool:
    return all((one / n).read_bytes() == (other / n).read_bytes() for n in WRITTEN[1:])


def hydra_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our loader, which other tests need without a command."""
    monkeypatch.setattr(hydra_itself, "ConfigLoaderImpl", config_loader_impl.ConfigLoaderImpl)
    own = defaults_list.create_defaults_list
    monkeypatch.setattr(config_loader_impl, "create_defaults_list", own)
    monkeypatch.delattr(ConfigStore, "__deepcopy__", raising=False)


@pytest.fixture
def stopped_clock(monkeypatch) -> None:
    """Time and memory are the only numbers that two equal runs do not share."""
    monkeypatch.setattr(cost, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(cost, "_peak_memory_bytes", lambda: 0)


@pytest.mark.parametrize("strategy", ["ewc", "derpp"])
def test_a_run_leaves_the_bytes_of_the_command(
    strategy: str, cl_train_here, stopped_clock: None, tmp_path: Path
) -> None:
    words = (*TINY, f"strategy={strategy}", "seed=1", "output_root=.")
    assert cl_train_here(*words, "name=shell").returncode == 0
    torch.manual_seed(99)
    random.seed(99)
    run = cl_runner.run(*words, "name=python")
    assert run.folder == tmp_path / "python"
    shell = bytes_of(tmp_path / "shell")
    assert len(shell) == 4 and bytes_of(run.folder) == shell
    for name in ("overrides.yaml", "config.yaml"):
        of_shell = re.sub(
            r"(name[:=] ?)shell", r"\1python", (tmp_path / "shell" / name).read_text()
        )
        assert (run.folder / name).read_text() == of_shell


def test_run_after_run_and_whatever_is_set_in_the_process(tmp_path: Path) -> None:
    """A caller's number type, gradient mode and generators reach no run."""
    first = cl_runner.run(*TINY, "strategy=rehearsal", "name=first")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            second = cl_runner.run(*TINY, "strategy=rehearsal", "name=second")
    finally:
        torch.set_default_dtype(torch.float32)
    other = cl_runner.run(*TINY, "strategy=rehearsal", "name=other", "seed=1")
    assert same_training(first.folder, second.folder)
    assert not same_training(first.folder, other.folder)


@pytest.mark.parametrize(
    "words",
    [
        ("strategy=ewwc",),
        ("epochs=none",),
        ("optimizer.lrr=1",),
        ("strategy=lwf", "strategy.alpha=-1", "epochs=0"),
        ("seed=0,1",),
        ("seed='",),
        ("--multirun",),
        ("dataset=split_mnist", "dataset.root=nowhere"),
        ("resume=nowhere",),
        ("name=${nowhere}",),
        ("plan=true",),
        ("model=null",),
        ("+api_key=${oc.env:TOKEN}", "name='${oc.env:TOKEN}/x'"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_the_line_that_the_command_prints(
    words, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2-hunter2")
    with pytest.raises(cl_runner.RunError) as raised, monkeypatch.context() as patched:
        hydra_as_it_comes(patched)
        cl_runner.run(*words, "threads=1")
    assert "hunter2" not in str(raised.value)
    assert raised.value._render_traceback_() == [str(raised.value)]  # what IPython shows
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    if words != ("--multirun",):  # which the command knows
        done = cl_train_here(*words)
        lines = done.stderr.rstrip("\n"), str(raised.value)
        if words in (("seed=0,1",), ("plan=true",)):  # whose remedy is another command
            lines = tuple(line.partition(" Hint: ")[0] for line in lines)
        assert lines[0] == lines[1]
        assert done.returncode == raised.value.exit_code
    assert not [*tmp_path.iterdir()]


def test_the_problems_of_an_error_hide_secrets_too() -> None:
    with pytest.raises(errors.ConfigError, match="api_key=<masked:") as raised:
        cl_runner.run("+api_key=hunter2hunter2", "epochs=0")
    shown = [str(problem) for problem in raised.value.problems]
    assert "\n".join(shown) == str(raised.value) and len(shown) == 2
    assert "hunter2" not in repr(raised.value.problems) + repr(raised.value)


@pytest.mark.parametrize(("word", "hint"), [
    ("strategy=ewc seed=1", "each setting is an argument of its own, written key=value without"),
    ("dataset = digits", "each setting is an argument of its own, written key=value without"),
    ("--help", "options such as -m and --help belong to the shell; a setting is key=value"),
    ("seed=0,1", 'cl_runner.sweep("seed=0,1"); a list is written seed=[0,1]'),
    ("plan=true", "cl_runner.sweep(...)"),
    ("name=a(b", "put a value with special characters in two pairs of quotes"),
])  # fmt: skip
def test_a_word_that_is_no_setting_has_the_remedy_for_python(word: str, hint: str) -> None:
    with pytest.raises(errors.ConfigError) as raised:
        cl_runner.run(word)
    (problem,) = raised.value.problems
    assert problem.hint.startswith(hint)


def test_what_is_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"run takes words such as 'seed=1', not \['seed=1'\]"):
        cl_runner.run(["seed=1"])  # type: ignore[arg-type]


def test_options_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "options" / "strategy").mkdir(parents=True)
    shipped = (CONF / "strategy" / "lwf.yaml").read_text()
    (tmp_path / "options" / "strategy" / "mine.yaml").write_text(shipped)
    assert cl_runner.run(*TINY, "strategy=mine", config_dir="options").results.strategy == "mine"
    with pytest.raises(errors.ConfigError, match="did you mean mine"):
        cl_runner.run(*TINY, "strategy=mines", config_dir="options")
    with pytest.raises(errors.ConfigError, match="is not a folder"):
        cl_runner.run(*TINY, config_dir="elsewhere")


def process() -> dict[str, Any]:
    """What a run might change."""
    numpy = np.random.get_state(legacy=False)
    return {
        "random": random.getstate(),
        "numpy": (numpy["bit_generator"], numpy["state"]["pos"], numpy["state"]["key"].tolist()),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "hydra": GlobalHydra.instance().hydra,
        "hydra config": HydraConfig.instance().cfg,
        "loader": (hydra_itself.ConfigLoaderImpl, config_loader_impl.create_defaults_list),
        "store": hasattr(ConfigStore, "__deepcopy__"),
        "resolvers": dict(BaseContainer._resolvers),
        "loggers": {
            name: (logger.level, logger.propagate, logger.disabled, logger.handlers[:])
            for name, logger in [("", logging.root), *logging.root.manager.loggerDict.items()]
            if isinstance(logger, logging.Logger)
        },
        "signals": {number: signal.getsignal(number) for number in errors.EXIT_CODES},
        "words": (sys.argv[:], sys.path[:], os.getcwd(), dict(os.environ)),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "trusted": set(targets.TRUSTED),
        "warnings": warnings.filters[:],
    }


def test_the_process_is_left_as_it_was(monkeypatch, tmp_path: Path) -> None:
    """After a run that ends and after one that fails. The caller is a Hydra application with a
    logging of its own."""
    monkeypatch.setattr(sys, "argv", ["notebook", "--of-mine"])
    hydra_as_it_comes(monkeypatch)
    mine = logging.getLogger("mine")
    handler = logging.NullHandler()
    monkeypatch.setattr(mine, "handlers", [handler])
    logging.getLogger("cl_runner").setLevel(logging.WARNING)
    run_itself = training_run.run

    def meddling(*given: Any, **named: Any) -> Any:
        random.seed(1)
        np.random.seed(1)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(3)
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
        logging.basicConfig(level=logging.DEBUG, force=True)
        logging.disable(logging.NOTSET)
        mine.disabled = True
        return run_itself(*given, **named)

    monkeypatch.setattr(training_run, "run", meddling)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        OmegaConf.register_new_resolver("now", lambda: "mine", replace=True)
        before = process()
        cl_runner.run(*TINY, "trusted_targets=[faulty]", "output_root=.")
        assert process() == before
        with pytest.raises(errors.Diverged):
            cl_runner.run(*TINY, "optimizer.lr=1e18", "optimizer=sgd", "output_root=.")
        assert process() == before
        assert compose("config", ["seed=3"]).seed == 3  # the caller's Hydra still works
        assert OmegaConf.create({"x": "${now:}"}).x == "mine"


def test_ctrl_c_saves_and_the_run_can_be_continued(tmp_path: Path, monkeypatch) -> None:
    """The step ends, the state is saved, and Python gets its KeyboardInterrupt."""
    words = (*TINY, *SIGNALLING, "+strategy.signals=[SIGINT]", "name=run", "output_root=.")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        cl_runner.run(*words)
    assert signal.getsignal(signal.SIGINT) is handler
    assert cl_runner.Run.at("run").state == "interrupted"
    monkeypatch.setenv("GO_ON", "1")
    cl_runner.run("resume=run", "trusted_targets=[faulty]")
    whole = cl_runner.run(*TINY, "name=whole", "output_root=.")
    assert same_training(tmp_path / "run", whole.folder)


def test_a_second_ctrl_c_ends_the_run_but_not_the_process(tmp_path: Path, monkeypatch) -> None:
    words = (*TINY, *SIGNALLING, "name=run", "output_root=.", "checkpoint.every_n_steps=1")
    with pytest.raises(KeyboardInterrupt):
        cl_runner.run(*words, "+strategy.signals=[SIGINT,SIGINT]")
    assert cl_runner.Run.at("run").state == "interrupted"
    monkeypatch.setenv("GO_ON", "1")
    cl_runner.run("resume=run", "trusted_targets=[faulty]")
    whole = cl_runner.run(*TINY, "name=whole", "output_root=.")
    assert same_training(tmp_path / "run", whole.folder)


def test_sigterm_saves_and_ends_the_process_as_it_does_the_command() -> None:
    with pytest.raises(SystemExit) as raised:
        cl_runner.run(*TINY, *SIGNALLING, "+strategy.signals=[SIGTERM]", "name=run")
    assert raised.value.code == 143
    assert cl_runner.Run.at("outputs/run").state == "interrupted"


def test_threads_take_turns(tmp_path: Path, monkeypatch) -> None:
    """Two at once give the bytes of one after the other."""
    words = [(*TINY, f"seed={seed}") for seed in (0, 1)]
    alone = [cl_runner.run(*each, f"name=alone_{n}") for n, each in enumerate(words)]
    run_itself, under_way, together = training_run.run, [], []

    def noted(*given: Any, **named: Any) -> Any:
        under_way.append(threading.get_ident())
        time.sleep(0.1)
        together.append(len(under_way))
        try:
            return run_itself(*given, **named)
        finally:
            under_way.pop()

    monkeypatch.setattr(training_run, "run", noted)
    with ThreadPoolExecutor(2) as pool:
        beside = [pool.submit(cl_runner.run, *w, f"name=beside_{n}") for n, w in enumerate(words)]
    for one, other in zip(alone, beside, strict=True):
        assert same_training(one.folder, other.result().folder)
    assert together == [1, 1]


def test_a_complete_run_is_read_again(capfd: pytest.CaptureFixture[str]) -> None:
    run = cl_runner.run(*TINY, "name=mine")
    before = bytes_of(run.folder)
    again = cl_runner.run(*TINY, "name=mine", "resume=auto")
    assert again.folder == run.folder and bytes_of(run.folder) == before
    assert again.metrics == run.metrics
    with pytest.raises(errors.FolderInUse):
        cl_runner.run(*TINY, "name=mine")


def test_the_import_is_quick_and_brings_nothing_slow() -> None:
    """Neither torch nor Hydra comes before something is asked for."""
    code = (
        "import sys, cl_runner; before = {'torch', 'hydra', 'numpy', 'pydantic'} & {*sys.modules};"
        "print(before, cl_runner.__version__, 'load_network' in dir(cl_runner))"
    )
    told = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert told == f"set() {cl_runner.__version__} True\n"
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        cl_runner.runn  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_name_is_there() -> None:
    assert all(isinstance(getattr(cl_runner, name), Callable) for name in cl_runner.__all__)
