"""No secret stands in plain in any file that a command writes, nor in what it prints.

All commands are called in one folder; then every byte below it is looked at, unpacked as well.
"""

from __future__ import annotations

import io
import json
import os
import re
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from conftest import exit_code, fork, run_and_exit
from omegaconf import OmegaConf

from cl_runner import train
from cl_runner.config.command_line import quoted
from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError
from cl_runner.hidden import digest, word_for
from cl_runner.report import command as report
from cl_runner.reproduce import command as reproduce
from cl_runner.reproduce import suite as suites
from cl_runner.sweep import launchers
from cl_runner.sweep.jobs import label

TYPED, OTHER = 'typed-Zq7\'\\x "y"', "another-Zq7"
SWEPT = ("swept-one-Kk3", "swept-two-Kk3")
SEARCHED = ("searched-one-Vv5", "searched-two-Vv5")
NESTED, DEEPER = "nested-Ww9", "deeper-Ww9"
OF_THE_ENVIRONMENT = "https://user:pass-Ee1@host"
LINES = "-----BEGIN KEY-----\nMIIEvwIBADANBg-Ll2\n-----END KEY-----"
OF_SUITE = "of-the-suite-Ss4"
SECRETS = (*SWEPT, *SEARCHED, NESTED, DEEPER, OTHER, OF_SUITE, OF_THE_ENVIRONMENT, "typed-Zq7",
           "MIIEvwIBADANBg-Ll2")  # fmt: skip
STRATEGY = '''
import logging
from pathlib import Path
from cl_runner.strategies.finetune import Finetune

log = logging.getLogger("cl_runner")


class Leaky(Finetune):
    """Says all that it knows, wherever it can."""

    def __init__(self, network, *, api_key: str, endpoint: str, extra: dict) -> None:
        super().__init__(network)
        self.known = [api_key, endpoint, extra]

    def begin_task(self, task):
        log.warning("asking %s at %s with %s", *self.known)
        super().begin_task(task)

    def end_task(self, task):
        if Path("broken").exists() and task.index == 1:
            raise ValueError(f"no entry {self.known} or {self.known[0]}")
'''
IMPORTED_ONCE = (
    "optuna.samplers",
    "sqlalchemy.dialects.sqlite",
    "wandb",
    "torch._dynamo",
    "cl_runner.search.command",
    "cl_runner.report.best",
    "cl_runner.search.search",
)
"""What takes long, so that the processes forked from here need not."""
TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2", "threads=1",
        "dataset.validation_fraction=0.2")  # fmt: skip
WHO = ("trusted_targets=[leaky]", "strategy._target_=leaky.Leaky",
       "+strategy.endpoint=${oc.env:ENDPOINT}")  # fmt: skip
KEY, EXTRA = f"+strategy.api_key={quoted(TYPED)}", f"+strategy.extra={{token:{NESTED}}}"
LEAKY = (*TINY, *WHO)


@dataclass
class Called:
    """The folder in which all commands were called, and what each said."""

    folder: Path
    codes: dict[str, int] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, main: Callable[[], object], *words: str) -> None:
        """`main` as a command with these words, in a process of its own."""
        out = self.folder.parent / f"{name}.printed"
        process = fork()
        if process == 0:
            _do(self.folder, main, [name, *words], out)
        self.codes[name] = exit_code(process)
        self.printed[name] = out.read_text()


def _do(folder: Path, main: Callable[[], object], words: list[str], out: Path) -> None:
    code = 70
    try:
        os.chdir(folder)
        with out.open("w") as file:
            for number, name in ((1, "stdout"), (2, "stderr")):
                os.dup2(file.fileno(), number)
                setattr(sys, name, open(number, "w", buffering=1, closefd=False))  # noqa: SIM115
        sys.argv = words
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        if "wandb" in sys.modules:
            sys.modules["wandb"].teardown()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # as Python would
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class Forked:
    """A child of `cl-search` or `cl-reproduce`, forked from here, which has imported torch."""

    def __init__(self, words: list[str], told: Path) -> None:
        self.number = fork()
        if self.number == 0:
            run_and_exit(told, ["cl-train", *words])

    def wait(self, seconds: float | None = None) -> int:
        return exit_code(self.number)


def _searching() -> None:
    from cl_runner.search import command

    command.main()


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    for module in IMPORTED_ONCE:
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("secrets") / "work"
    folder.mkdir()
    (folder.parent / "modules").mkdir()
    (folder.parent / "modules" / "leaky.py").write_text(STRATEGY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "Child", Forked)
        patch.setattr("cl_runner.search.search.Child", Forked)
        patch.setattr(sys, "path", [*sys.path, str(folder.parent / "modules")])
        patch.setenv("ENDPOINT", OF_THE_ENVIRONMENT)
        patch.setenv("LINES", LINES)
        for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "SWEEP_ID", "RUN_ID"):
            patch.delenv(f"WANDB_{name}", raising=False)
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / "of_wandb" / name))
        patch.setenv("NETRC", str(folder / "netrc"))
        yield _all_commands(Called(folder), patch)


def _all_commands(called: Called, patch: pytest.MonkeyPatch) -> Called:
    mine = (*LEAKY, KEY, EXTRA)
    called("run", train.main, *mine, "name=run", "tracker=wandb")
    called("lines", train.main, *LEAKY, EXTRA, "name=lines", "+strategy.api_key=${oc.env:LINES}",
           "first_task_cache=cache")  # fmt: skip
    (called.folder / "broken").touch()
    called("failed", train.main, *mine, "name=resumed")
    deeper = f"+strategy.extra={{credentials:[{{user:{DEEPER}}}]}}"
    called("sweep_fails", train.main, "-m", *LEAKY, KEY, deeper, "name=fails",
           "strategy.endpoint=${oc.env:ENDPOINT},local")  # fmt: skip
    (called.folder / "broken").unlink()
    again = ("resume=outputs/resumed", *WHO, EXTRA)
    called("changed", train.main, *again, f"+strategy.api_key={OTHER}")
    called("resumed", train.main, *again, KEY)
    swept = ("-m", *LEAKY, EXTRA, f"+strategy.api_key={','.join(SWEPT)}", "name=swept")
    called("plan", train.main, *swept, "plan=true")
    called("sweep", train.main, *swept, "tracker=wandb")
    searched = (f"+strategy.api_key={','.join(SEARCHED)}", "--name", "found")
    called("search", _searching, *LEAKY, EXTRA, *searched, "--trials", "1")
    called("search_again", _searching, *LEAKY, EXTRA, *searched, "--trials", "2")
    called("other_search", _searching, *LEAKY, f"+strategy.extra={{token:{OTHER}}}", *searched)
    called("report", report.main, "outputs")
    called("to_wandb", report.main, "outputs/sweeps/swept", "--to-wandb", "--output", "late")
    node = {
        "title": "t", "source": "s", "minutes": 1, "seeds": [0], "common": [*TINY],
        "runs": {"one": []},
        "rows": [{"row": "r", "run": "one", "metric": "average_accuracy", "published": 5.0,
                  "tolerance": 95.0}],
    }  # fmt: skip
    patch.setattr(suites, "SUITES", called.folder.parent)
    (called.folder.parent / "tiny.yaml").write_text(yaml.safe_dump(node))
    called("reproduce", reproduce.main, "tiny", *WHO, EXTRA, f"+strategy.api_key={OF_SUITE}",
           "--output", str(called.folder / "suites"))  # fmt: skip
    for name, words in MISTAKES.items():
        called(name, train.main, *words)
    return called


MISTAKES = {
    "no such setting": [*TINY, f"strategy.api_key={OTHER}"],
    "not of this strategy": [*TINY, f"+strategy.api_key={OTHER}"],
    "nor such a node": [*TINY, f"+strategy.extra={{token:{OTHER},deeper:[{{key:{OTHER}}}]}}"],
    "no sweep": [*LEAKY, EXTRA, f"+strategy.api_key={OTHER},{OTHER}2"],
    "not to be understood": [*TINY, f"+strategy.api_key={OTHER}}} {{x"],
    "of no sweep": ["-m", *TINY, "seed=1,2", f"+tracker.api_key={OTHER},{OTHER}2"],
    "not of any job": ["-m", *TINY, "seed=1,2", f"+strategy.api_key={OTHER}"],
    "a flag of Hydra's": [*TINY, "hydra.output_subdir=.hydra", f"+strategy.api_key={OTHER}"],
}


def contents(data: bytes) -> Iterator[bytes]:
    """The bytes, and those of everything that is packed into them."""
    yield data
    archive = data.find(b"PK\x03\x04")  # a checkpoint has two lines before it
    if archive >= 0:
        try:
            with zipfile.ZipFile(io.BytesIO(data[archive:])) as members:
                for name in members.namelist():
                    yield name.encode()
                    yield from contents(members.read(name))
        except zipfile.BadZipFile:
            pass
    for start in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            yield unpacking.decompress(data[start.start() :], 2**24)
        except zlib.error:
            continue


def in_data_base(file: Path) -> bytes:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as base:
        return "\n".join(base.iterdump()).encode()


def found_in(data: bytes) -> set[str]:
    """The secrets that stand there, also as JSON, YAML or Python write them."""
    return {secret for secret in SECRETS if secret.encode() in data}


def test_each_command_did_what_it_is_called_for(called: Called) -> None:
    """Else the rest would show nothing."""
    expected = {"failed": 1, "sweep_fails": 1, "changed": 2, "other_search": 2}
    for name, code in called.codes.items():
        wanted = 2 if name in MISTAKES else expected.get(name, 0)
        assert code == wanted, (name, called.printed[name])
    for name in ("metrics.jsonl", "results.json", "predictions.npz", "log.txt", "study.db",
                 "sweep.json", "report.html", "best.yaml", "verdict.md", "*.wandb", "*.table.json",
                 "*.ckpt", "*.svg"):  # fmt: skip
        assert list(called.folder.rglob(name)), name


def test_secrets_are_told_apart_by_the_words_that_stand_for_them(called: Called) -> None:
    """Jobs and trials of different ones are different, and a change is noticed and named."""
    words = [f"api_key=<masked:{digest(secret)}>" for secret in SWEPT]
    swept = called.folder / "outputs" / "sweeps" / "swept"
    jobs = json.loads((swept / "sweep.json").read_text())["jobs"]
    assert [label(job["varied"]) for job in jobs] == words
    assert len({job["folder"] for job in jobs}) == len(list(swept.glob("0*"))) == 2
    for job, word in zip(jobs, words, strict=True):
        config = yaml.safe_load((swept / job["folder"] / "config.yaml").read_text())
        assert word == f"api_key={config['strategy']['api_key']}" == config["tracker"]["name"]
    for name in ("plan", "sweep"):
        assert all(word.partition("=")[2] in called.printed[name] for word in words)
    changed = called.printed["changed"].splitlines()[-1].split()
    assert changed == ["strategy.api_key", word_for(TYPED), word_for(OTHER)]
    assert "which differs in +strategy.extra=<masked:" in called.printed["other_search"]


def test_a_launcher_that_writes_command_lines_down_is_given_no_secret() -> None:
    """Submitit's jobs are files. A variable's name is no secret."""
    slurm = OmegaConf.create(
        yaml.safe_load((CONF / "hydra" / "launcher" / "slurm.yaml").read_text())
    )
    with pytest.raises(ConfigError, match=r"would hold the value of \+a\.token\. Hint: .*oc\.env"):
        launchers.check(slurm, ["seed=1", f"+a.token={TYPED}"])
    with pytest.raises(ConfigError, match=r"is not installed|no sbatch"):
        launchers.check(slurm, ["seed=1", "+a.token=${oc.env:ENDPOINT}"])


def test_what_is_hidden_is_said_by_name(called: Called) -> None:
    outputs = called.folder / "outputs"
    config = yaml.safe_load((outputs / "lines" / "config.yaml").read_text())["strategy"]
    assert (config["api_key"], config["endpoint"]) == ("<env:LINES>", "<env:ENDPOINT>")
    assert config["extra"] == {"token": word_for(NESTED)}
    kept = yaml.safe_load((outputs / "lines" / "overrides.yaml").read_text())
    assert {"+strategy.extra=???", "+strategy.endpoint=${oc.env:ENDPOINT}"} <= set(kept)
    for text in (called.printed["lines"], (outputs / "lines" / "log.txt").read_text()):
        assert "asking <env:LINES> at <env:ENDPOINT> with {'token': '<masked:" in text
    assert f"api_key={word_for(OTHER)}: no such setting" in called.printed["not of this strategy"]


def test_no_file_holds_a_secret(called: Called) -> None:
    leaks = {}
    for file in (path for path in called.folder.rglob("*") if path.is_file()):
        every = [*contents(file.read_bytes()), str(file.relative_to(called.folder)).encode()]
        if file.name == "study.db":
            every.append(in_data_base(file))
        held = set().union(*map(found_in, every))
        if held:
            leaks[str(file.relative_to(called.folder))] = held
    assert not leaks, "\n".join(f"{name}: {held}" for name, held in sorted(leaks.items()))


def test_nothing_printed_holds_a_secret(called: Called) -> None:
    found = {name: found_in(text.encode()) for name, text in called.printed.items()}
    assert not any(found.values()), {name: held for name, held in found.items() if held}
