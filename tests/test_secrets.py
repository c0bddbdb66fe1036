"""No secret is in plain text in any file that a command writes, or in what it prints.

All commands are called in one folder; then every byte below it is looked at, unpacked as well.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from every_command import (
    IMPORTED_ONCE,
    LINES,
    MISTAKES,
    NESTED,
    OF_THE_ENVIRONMENT,
    OTHER,
    SECRETS,
    STRATEGY,
    SWEPT,
    TYPED,
    Called,
    all_commands,
)
from omegaconf import OmegaConf
from processes import Forked

from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError
from cl_runner.hidden import digest, word_for
from cl_runner.jobs import launchers
from cl_runner.jobs.job import Job


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    for module in IMPORTED_ONCE:
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("secrets") / "work"
    folder.mkdir()
    (folder.parent / "modules").mkdir()
    (folder.parent / "modules" / "leaky.py").write_text(STRATEGY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cl_runner.jobs.launch.Child", Forked)
        patch.setattr(sys, "path", [*sys.path, str(folder.parent / "modules")])
        patch.setenv("ENDPOINT", OF_THE_ENVIRONMENT)
        patch.setenv("LINES", LINES)
        for name in ("API_KEY", "MODE", "BASE_URL", "PROJECT", "SWEEP_ID", "RUN_ID"):
            patch.delenv(f"WANDB_{name}", raising=False)
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / "of_wandb" / name))
        patch.setenv("NETRC", str(folder / "netrc"))
        sys.modules["wandb"].teardown()  # a process forked beside one that uses it could not
        yield all_commands(Called(folder), patch)


def contents(data: bytes) -> Iterator[bytes]:
    """The bytes, and those of everything that is compressed in them."""
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
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as base:
        return "\n".join(base.iterdump()).encode()


def found_in(data: bytes) -> set[str]:
    """The secrets in the data."""
    return {secret for secret in SECRETS if secret.encode() in data}


def test_what_is_packed_is_looked_into(tmp_path: Path) -> None:
    """Otherwise no leak would be found."""
    secret = NESTED.encode()
    np.savez_compressed(tmp_path / "x.npz", words=np.frombuffer(secret * 9, dtype=np.uint8))
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (?)", [NESTED])
    packed = [
        gzip.compress(secret),
        b"%PDF stream\n" + zlib.compress(secret),
        b"digest\n" + (tmp_path / "x.npz").read_bytes(),
    ]
    assert all(secret not in data for data in packed)
    assert all(set().union(*map(found_in, contents(data))) == {NESTED} for data in packed)
    assert found_in(in_data_base(tmp_path / "x.db")) == {NESTED}


def test_each_command_did_what_it_is_called_for(called: Called) -> None:
    """Otherwise the other tests would prove nothing."""
    expected = {"failed": 1, "sweep_fails": 1, "changed": 2, "other_search": 2}
    for name, code in called.codes.items():
        wanted = 2 if name in MISTAKES else expected.get(name, 0)
        assert code == wanted, (name, called.printed[name])
    for name in ("metrics.jsonl", "results.json", "predictions.npz", "log.txt", "study.db",
                 "sweep.json", "report.html", "best.yaml", "verdict.md", "*.wandb", "*.table.json",
                 "*.ckpt", "*.svg"):  # fmt: skip
        assert list(called.folder.rglob(name)), name


def test_secrets_are_told_apart_by_the_words_that_stand_for_them(called: Called) -> None:
    """Jobs and trials with different secrets differ, and a change is noticed and named."""
    words = [f"api_key=<masked:{digest(secret)}>" for secret in SWEPT]
    swept = called.folder / "outputs" / "sweeps" / "swept"
    jobs = json.loads((swept / "sweep.json").read_text())["jobs"]
    assert [Job(swept, job["varied"], []).label for job in jobs] == words
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
    """Submitit writes jobs to files. The name of a variable is no secret."""
    slurm = OmegaConf.create(
        yaml.safe_load((CONF / "hydra" / "launcher" / "slurm.yaml").read_text())
    )
    with pytest.raises(
        ConfigError, match=r"would write the value of \+a\.token .*\. Hint: .*oc\.env"
    ):
        launchers.check(slurm, ["seed=1", f"+a.token={TYPED}"])
    with pytest.raises(ConfigError, match=r"is not installed|sbatch was not found"):
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
