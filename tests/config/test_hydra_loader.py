"""A folder of configurations from someone else may set a run's settings, but not Hydra's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from cl_runner.config import hydra_loader

CALLS = "{_target_: os.mkdir, _args_: [planted]}"
CALLBACK = f"callbacks: {{x: {CALLS}}}"
GLOBAL = "# @package _global_\n"
PLANTED: dict[str, dict[str, str]] = {
    "a node": {"experiment/x": f"{GLOBAL}hydra: {{{CALLBACK}}}"},
    "a node that is an interpolation": {
        "experiment/x": f"{GLOBAL}hydra: ${{payload}}\npayload: {{{CALLBACK}}}"
    },
    "a package in the file": {"experiment/x": f"# @package hydra\n{CALLBACK}"},
    "a package in brackets": {"experiment/x": f"# @package [hydra].callbacks\nx: {CALLS}"},
    "a package in the list of defaults": {
        "experiment/x": f"{GLOBAL}defaults: [/strategy@hydra.callbacks: x]",
        "strategy/x": f"x: {CALLS}",
    },
    "our file as a node": {"experiment/x": f"{GLOBAL}defaults: [/model@hydra.callbacks.x: mlp]"},
    "an option of Hydra's": {
        "experiment/x": f"{GLOBAL}defaults: [override /hydra/job_logging: default]"
    },
    "an option of the folder": {
        "experiment/x": f"{GLOBAL}defaults: [override /hydra/job_logging: x]",
        "hydra/job_logging/x": "version: 1\nformatters: {x: {(): os.mkdir, path: planted}}",
    },
    "an option of Hydra's that is not there": {
        "experiment/x": f"{GLOBAL}defaults: [override /hydra/launcher: slurm]"
    },
    "a file that another one names": {
        "experiment/x": f"{GLOBAL}defaults: [y]",
        "experiment/y": f"{GLOBAL}hydra: {{{CALLBACK}}}",
    },
    "a file that is not found at its name": {
        "experiment/x": f"{GLOBAL}defaults: [{{path}}/other/y]",
        "other/y": f"{GLOBAL}hydra: {{{CALLBACK}}}",
    },
}


def plant(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * 20 + str(folder)[1:]
        file.write_text(text.replace("{path}", up))


@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")], ids=["run", "sweep"])
@pytest.mark.parametrize("how", PLANTED)
def test_no_file_but_ours_speaks_to_hydra(how, words, cl_train_here, tmp_path) -> None:
    """Exit code 2 and a line that names the file; nothing is called and nothing written."""
    plant(tmp_path / "theirs", PLANTED[how])
    done = cl_train_here("--config-dir", "theirs", *words, "experiment=x")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"config error: hydra={tmp_path}/theirs/")
    assert {p.name for p in tmp_path.iterdir()} == {"theirs"}


@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")], ids=["run", "sweep"])
def test_a_file_that_is_not_yaml_is_named_with_its_line(words, cl_train_here, tmp_path) -> None:
    plant(tmp_path / "mine", {"strategy/x": "a: 1\nb: [1\n"})
    done = cl_train_here("--config-dir", "mine", *words, "strategy=x")
    start = f"config error: --config-dir={tmp_path}/mine/strategy/x.yaml: line 3 is not YAML: "
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(start)


@pytest.mark.parametrize("content", [b"a: caf\xe9\n", b"a: \x00\n"], ids=["latin-1", "NUL"])
@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2")], ids=["run", "sweep"])
def test_a_file_that_is_not_utf_8_is_named(words, content, cl_train_here, tmp_path) -> None:
    plant(tmp_path / "mine", {"strategy/w": "a: b", "strategy/x": ""})
    (tmp_path / "mine/strategy/x.yaml").write_bytes(content)
    done = cl_train_here("--config-dir", "mine", *words, "strategy=x")
    assert done.returncode == 2
    file = tmp_path / "mine/strategy/x.yaml"
    assert done.stderr == f"config error: --config-dir={file}: is not text in UTF-8.\n"


def test_nor_does_one_that_the_command_line_names(cl_train_here, tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "hydra/launcher/x": f"x: {CALLS}",
            "mine": f"defaults: [config, _self_]\nhydra: {{{CALLBACK}}}",
            "sly": f"{GLOBAL}hydra: {{{CALLBACK}}}",
            "experiment/more": f"{GLOBAL}hydra: {{searchpath: [file:///tmp]}}",
        },
    )
    path = "../" * 20 + str(tmp_path)[1:]
    for words in (
        ["--config-dir", ".", "-m", "hydra/launcher=x", "seed=1,2"],
        ["--config-dir", ".", "experiment=more"],
        ["--config-dir", ".", "--config-name", "mine"],
        ["--config-path", str(tmp_path), "--config-name", "mine"],
        [f"experiment={path}/sly"],
        ["-m", f"experiment=regression,{path}/sly"],
    ):
        done = cl_train_here(*words)
        assert done.returncode == 2, words
        assert not (tmp_path / "planted").exists() and not (tmp_path / "outputs").exists()


def test_settings_of_a_run_may_be_in_such_a_folder(cl_train_here, tmp_path: Path) -> None:
    plant(
        tmp_path / "mine",
        {
            "experiment/x": f"{GLOBAL}defaults: [regression, override /strategy: y]\nepochs: 1",
            "strategy/y": "_target_: cl_runner.strategies.l2.L2\nweight: 1.0",
        },
    )
    done = cl_train_here("--config-dir", "mine", "experiment=x", "output_root=.", "name=run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "config.yaml").write_text("defaults: [_self_]\nseed: 7")  # ours comes first
    assert "seed: 0" in cl_train_here("--config-dir", ".", "--cfg", "job").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.output_subdir=.hydra"],
        ["hydra.output_subdir='${name}'"],
        ["hydra/job_logging=default"],
        ["-m", "hydra/sweeper=basic", "seed=1,2"],
    ],
)
def test_hydra_writes_no_settings_of_its_own(words, cl_train_here, tmp_path: Path) -> None:
    """They would be written with all secrets."""
    done = cl_train_here(*words, "output_root=.", "name=run", "epochs=1")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "would make Hydra write all settings, secrets included. Hint: " in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_mode_is_what_the_command_line_says(cl_train_here, tmp_path, monkeypatch) -> None:
    """`hydra.mode=MULTIRUN` is `-m`. A run is not composed a first time to find the mode."""
    composed = []
    load = hydra_loader.Loader.load_configuration

    def counted(*given: Any, **named: Any) -> DictConfig:
        composed.append(given)
        return load(*given, **named)

    monkeypatch.setattr(hydra_loader.Loader, "load_configuration", counted)
    assert cl_train_here("plan=true", "seed=1").returncode == 2  # that is for sweeps
    assert len(composed) == 1
    for word in ("hydra.mode=MULTIRUN", "-m"):
        done = cl_train_here(word, "plan=true", "seed=1,2")
        assert done.returncode == 0 and "2 jobs" in done.stdout, done.stderr
    done = cl_train_here("hydra.mode=sometimes")
    assert done.returncode == 2 and "hydra.mode" in done.stderr
