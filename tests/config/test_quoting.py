"""Quoting for Hydra: whatever a folder is called, files are written to that folder."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from cl_runner.config import hydra_loader
from cl_runner.config.command_line import in_order, literal, quoted, text_of, typed
from cl_runner.config.overrides import parsed
from cl_runner.jobs.composition import Composition, of_a_sweep

PIECES = ["\\", "'", '"', "$", "{", "}", "${", "${seed}", "\\${x}", "a", "é", "²", " ", "=", ",",
          "[", "]", "(", ")", ":", "\n", "\t", "#", "~", "%", "*", "null", "1"]  # fmt: skip
TINY = ("epochs=1", "dataset.tasks=2", "batch_size=400", "model.widths=[4]")
ODD = ["a\\b", "${seed}", "it's \\'", "x,y=[z]", "end\\", "\\${now:}", "%j {} ~ #1"]


def names(count: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randint(0, 7))) for _ in range(count)]


def test_any_text_is_read_as_it_was_quoted() -> None:
    """Read by Hydra's grammar and then by OmegaConf, each of which has its own escapes."""
    parser = OverridesParser.create()
    for name in [*ODD, *names(1500)]:
        value = parser.parse_override(f"name={quoted(name)}").value()
        node = OmegaConf.create({"seed": 0, "name": value, "literal": literal(name)})
        assert (node.name, node.literal) == (name, name)
        assert text_of(f"name={quoted(name)}") == name


def test_what_is_no_text_stays_what_it_is() -> None:
    assert [quoted(value) for value in (None, 1, 0.5, "1", "null")] == [
        "null",
        "1",
        "0.5",
        "'1'",
        "'null'",
    ]
    assert [text_of(f"resume={word}") for word in ("null", "auto", "3", "a,b", "")] == [
        "null",
        "auto",
        "3",
        "",
        "",
    ]


def test_what_is_shown_can_be_typed_in_a_shell() -> None:
    assert typed("resume", Path("/a/b-c.d")) == "resume=/a/b-c.d"
    for name in [*ODD, *names(200)]:
        (word,) = shlex.split(typed("resume", name))
        assert text_of(word) == name


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (["--config-dir", "X", "resume=Y"], ["--config-dir", "X"]),
        (["resume=Y", "--config-dir", "X", "seed=1"], ["--config-dir", "X"]),
        (["-m", "resume=Y"], ["-m"]),
        (["a=1", "b=2", "--cfg", "job", "~c"], ["--cfg", "job"]),
        (["--config-dir=X", "a=1"], ["--config-dir=X"]),
        (["a=1"], []),
        ([], []),
    ],
)
def test_flags_stand_before_overrides(given: list[str], flags: list[str]) -> None:
    assert in_order(given) == (
        flags,
        [word for word in given if (word[0] != "-" and "=" in word) or word[0] == "~"],
    )


def test_a_flag_that_is_none_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        in_order(["--confi", "X", "a=1", "--nonesuch"])
    assert stop.value.code == 2 and "usage: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["--experimental-rerun", "x"], ["-sc", "foo"], ["-sc", "install=csh"], ["-sc"],
    ["-sc", "install=bash", "query=bash"], ["-m", "--cfg", "job"],
])  # fmt: skip
def test_a_flag_that_hydra_would_fail_on_is_one_line(words: list[str], cl_train_here) -> None:
    """The first would load a pickle, which may run any code."""
    for done in (cl_train_here(*words, "threads=1"), cl_train_here(*words)):
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("config error: ") and " --" in done.stderr


@pytest.mark.parametrize("name", [" ".join(ODD[0::2]), " ".join(ODD[1::2])])
def test_a_run_and_a_sweep_are_where_they_were_begun(
    name: str, cl_train_here, tmp_path: Path, monkeypatch
) -> None:
    place = tmp_path / name
    place.mkdir()
    monkeypatch.chdir(place)
    done = cl_train_here(*TINY, "name=run")
    assert done.returncode == 0, done.stderr
    done = cl_train_here(*TINY, f"resume={quoted(place / 'outputs' / 'run')}")
    assert (done.returncode, done.stdout.startswith("already complete")) == (0, True), done.stderr
    for _ in range(2):
        done = cl_train_here("-m", *TINY, "seed=0,1", f"output_root={quoted('to ' + name)}")
        assert done.returncode == 0, done.stderr
        done = cl_train_here("-m", *TINY, "seed=0,1")
        assert done.returncode == 0, done.stderr
    for root in ("outputs", f"to {name}"):
        assert len([*(place / root).glob("sweeps/*/*/results.json")]) == 2
    assert (place / "outputs" / "run" / "results.json").exists()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert {file.name for file in place.iterdir()} == {"outputs", f"to {name}"}


def test_options_of_a_folder_may_stand_before_resume(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "e.yaml").write_text("# @package _global_\nepochs: 1\n")
    assert cl_train_here(*TINY, "experiment=e", "name=run", "--config-dir", "mine").returncode == 0
    done = cl_train_here("--config-dir", "mine", "resume=outputs/run")
    assert done.returncode == 0 and "already complete" in done.stdout
    done = cl_train_here("-m", "resume=outputs/run", "--config-dir", "mine")
    assert done.returncode == 2 and "continues a single run" in done.stderr, done.stderr


@pytest.mark.parametrize("word", ["root=~/a b", "root='~/a b'", 'root="~/a b"', "+root=~/a b"])
def test_a_path_may_begin_at_home(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me and you")
    assert parsed([word])[0].value() == "/home/me and you/a b"
    assert text_of(word) == "/home/me and you/a b"
    assert text_of("root='a~/b'") == "a~/b" and text_of("root='~'") == "~"
    assert text_of("root='a, ~/b'") == "a, ~/b"
    assert parsed(["~root"])[0].is_delete()


@pytest.mark.parametrize(
    "word",
    [
        "root=~/a,~/b",
        "root='~/a',\"~/b\"",
        "root=choice(~/a, ~/b)",
        "root=[~/a,~/b]",
        "root={x:~/a,y: '~/b'}",
    ],
)
def test_each_of_several_paths_may_begin_at_home(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (override,) = parsed([word])
    values = override.sweep_iterator() if override.is_sweep_override() else override.value()
    values = values.values() if isinstance(values, dict) else values
    assert [getattr(value, "text", value) for value in values] == ["/home/me/a", "/home/me/b"]


def test_home_is_found_in_runs_and_in_the_jobs_of_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    words = ["dataset.root=~/pictures", "output_root='~/out'"]
    with hydra_loader.installed(), of_a_sweep(None, words) as (loader, master):
        config, _ = Composition(loader, master).at(words)
        for found in (master, config):
            assert found.dataset.root == "/home/me/pictures"
            assert found.output_root == "/home/me/out"
