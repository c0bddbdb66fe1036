"""All commands, called in one folder with secrets in their settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from processes import exit_code, fork, run_and_exit

from cl_runner import train
from cl_runner.config.command_line import quoted
from cl_runner.report import command as report
from cl_runner.reproduce import command as reproduce
from cl_runner.reproduce import suite as suites
from cl_runner.wandb_mirror import command as wandb

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
    """Logs and raises all that it knows."""

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
    "cl_runner.searches.command",
    "cl_runner.report.best",
    "cl_runner.searches.search",
)
"""Slow imports, done once for the processes that are forked from here."""
TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2", "threads=1",
        "dataset.validation_fraction=0.2")  # fmt: skip
WHO = (
    "trusted_targets=[leaky]",
    "strategy._target_=leaky.Leaky",
    "+strategy.endpoint=${oc.env:ENDPOINT}",
)
KEY, EXTRA = f"+strategy.api_key={quoted(TYPED)}", f"+strategy.extra={{token:{NESTED}}}"
LEAKY = (*TINY, *WHO)


@dataclass
class Called:
    """The folder in which all commands were called, and what each printed."""

    folder: Path
    codes: dict[str, int] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, main: Callable[[], object], *words: str) -> None:
        """`main` as a command with these words, in its own process."""
        printed = self.folder.parent / name
        printed.mkdir()

        def command() -> None:
            try:
                main()
            finally:
                sys.modules["wandb"].teardown()

        process = fork()
        if process == 0:
            run_and_exit(self.folder, [name, *words], command, printed)
        self.codes[name] = exit_code(process)
        texts = [(printed / stream).read_text() for stream in ("stdout", "stderr")]
        self.printed[name] = "".join(texts)


def _searching() -> None:
    from cl_runner.searches import command

    command.main()


def all_commands(called: Called, patch: pytest.MonkeyPatch) -> Called:
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
    called("other_search", _searching, *LEAKY, f"+strategy.extra={{token:{OTHER}}}", *searched)
    called("report", report.main, "outputs/sweeps")
    called("wandb", wandb.main, "outputs/sweeps/swept", "--output", "late")
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
    "not of this strategy": [*TINY, f"+strategy.api_key={OTHER}"],
    "a list": [*LEAKY, EXTRA, f"+strategy.api_key={OTHER},{OTHER}2"],
    "not to be understood": [*TINY, f"+strategy.api_key={OTHER}}} {{x"],
    "of no job": ["-m", *TINY, "seed=1,2", f"+strategy.extra={{token:{OTHER}}}",
                  f"epochs='a {OTHER}'"],
}  # fmt: skip
