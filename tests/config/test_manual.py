"""What is said about settings: `--help` with an option, comments, annotations read from source."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import import_module
from inspect import getdoc

import pytest
import yaml

from cl_runner.config import manual, targets, yaml_comments
from cl_runner.config.annotations import allowed
from cl_runner.config.build import parameters
from cl_runner.config.factory import hints_of
from cl_runner.config.paths import CONF, GROUPS, HERE
from cl_runner.config.signatures import signature
from cl_runner.config.traits import targets_below

SHOWN = (*GROUPS, "hydra/launcher")
FILES = [file for group in SHOWN for file in sorted((CONF / group).glob("*.yaml"))]
TARGETS = {
    t
    for f in FILES
    if f.parent.name in GROUPS
    for _, t in targets_below("", yaml.safe_load(f.read_text()))
}
TEXT = """\
# About the file,
# in two lines.
_target_: a.B
first: 1          # one
                  # and more
second: 'not # a comment'
# Of the third.
third: {x: 1}
fourth:           # four
  inner: [1, 2]   # inside
  text: |
    # no comment
"""


@pytest.mark.parametrize("path", sorted({*TARGETS, manual.RUN}))
def test_the_source_of_a_target_says_what_the_target_says(path: str) -> None:
    """The oracle is the imported target, whose annotations Python itself evaluates."""
    module, _, name = path.rpartition(".")
    target = getattr(import_module(module), name)
    read = signature(path)
    assert read is not None and read.doc == getdoc(target)
    hints = hints_of(target, "")
    assert list(read.hints) == parameters(target)
    for setting, hint in read.hints.items():
        assert allowed(hint) == allowed(hints[setting]), setting


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_setting_has_a_meaning(file) -> None:
    """A comment in the file, or a place in the docstring of what it builds."""
    group = str(file.parent.relative_to(CONF))
    option = manual.option(group, file.stem)
    assert option is not None and option.title
    for node in option.nodes:
        for setting in node.settings:
            assert setting.allowed or group == "hydra/launcher", setting.key  # classes of others
            name = setting.key.rpartition(".")[2]
            assert setting.comment or f"`{name}`" in node.doc, setting.key


def test_a_comment_belongs_to_its_key() -> None:
    assert yaml_comments.head(TEXT) == "About the file, in two lines."
    assert {k: c for k, c in yaml_comments.comments(TEXT).items() if c} == {
        "first": ["one", "and more"],
        "third": ["Of the third."],
        "fourth": ["four"],
        "fourth.inner": ["inside"],
    }


def test_added_comments_change_no_value() -> None:
    plain = yaml.safe_dump(yaml.safe_load(TEXT) | {"long": "word " * 40}, sort_keys=False)
    again = yaml_comments.commented(plain, yaml_comments.comments(TEXT) | {"long": ["lost"]})
    assert yaml.safe_load(again) == yaml.safe_load(plain)
    found = {k: c for k, c in yaml_comments.comments(again).items() if c}
    assert found == {k: c for k, c in yaml_comments.comments(TEXT).items() if c}


def test_help_with_an_option_shows_its_settings_without_importing_torch(tmp_path) -> None:
    program = (
        "import sys; from cl_runner.train import main; main();"
        "assert not {'torch', 'wandb'} & set(sys.modules)"
    )
    words = [sys.executable, "-c", program, "--help", "strategy=ewc", "optimizer=sgd"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in (
        "L(θ) = CE(θ) + weight/2 · Σₜ Σᵢ Fₜᵢ (θᵢ − θ*ₜᵢ)²   (Kirkpatrick et al. 2017, eq. 3)",
        "strategy.mode=offline",
        "    one of offline, online",
        "    only online",
        "optimizer.momentum=0.9",
    ):
        assert line in done.stdout.splitlines()


def test_help_with_a_class_of_a_module_that_is_trusted(
    cl_train_here, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(targets, "TRUSTED", {*targets.TRUSTED})
    shutil.copy(HERE / "strategies" / "lwf.py", tmp_path / "copied_lwf.py")
    option = (CONF / "strategy" / "lwf.yaml").read_text()
    (tmp_path / "options" / "strategy").mkdir(parents=True)
    of_copy = option.replace("cl_runner.strategies.lwf", "copied_lwf")
    (tmp_path / "options" / "strategy" / "mine.yaml").write_text(of_copy)
    own = ("--help", "--config-dir", "options", "strategy=mine")
    *ours, _as_yaml = cl_train_here("--help", "strategy=lwf").stdout.splitlines()
    *copied, _ = cl_train_here(*own, "trusted_targets=[copied_lwf]").stdout.splitlines()
    assert copied == [ours[0].replace("=lwf", "=mine"), *ours[1:]]
    assert "config error: trusted_targets=5" in cl_train_here(*own, "trusted_targets=5").stderr
    several = cl_train_here(*own, "trusted_targets=a,b").stderr
    assert "a list is written trusted_targets=[a,b]" in several and "Traceback" not in several


def test_help_without_or_with_an_unknown_option(cl_train_here) -> None:
    assert "Groups (group=option)" in cl_train_here("--help", "seed=1").stdout
    unknown = cl_train_here("--help", "strategy=ewcc")
    assert unknown.returncode == 2 and "did you mean ewc?" in unknown.stderr


def test_cfg_job_keeps_the_comments(cl_train_here) -> None:
    printed = cl_train_here("--cfg", "job", "strategy=lwf", "strategy.T=3").stdout
    lines = printed.splitlines()
    assert "  T: 3                 # temperature of the distillation" in lines
    assert (
        "seed: 0                # fixes the initial weights, the order of samples and every draw"
        in lines
    )
    assert yaml.safe_load(printed)["strategy"]["T"] == 3
    part = cl_train_here("--cfg", "job", "--package", "strategy", "strategy=lwf").stdout
    assert "T: 2.0                 # temperature of the distillation" in part.splitlines()
    assert yaml.safe_load(part)["T"] == 2.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("_target_: mine.Method\nalpha: 1.0  # its weight\n", "its weight"),
        ("_target_: cl_runner.nothing.Method\nalpha: 1.0\n", "strategy.alpha=1.0"),
        ("_target_: {a: 1}\n? [alpha]\n: 1\n", "=1"),
        ("a: [1\n", "line 2 is not YAML"),
    ],
)
def test_help_with_an_option_of_the_users_own(content, words, cl_train_here, tmp_path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy" / "mine.yaml").write_text(content)
    done = cl_train_here("--config-dir", str(tmp_path), "--help", "strategy=mine")
    assert words in done.stdout + done.stderr and "Traceback" not in done.stderr
    if "alpha: 1.0" in content:
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("As YAML: "))
        again = cl_train_here(*line.removeprefix("As YAML: cl-train ").split())
        assert again.returncode == 0 and "alpha: 1.0" in again.stdout
