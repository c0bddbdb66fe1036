"""`best.yaml` from a run of someone else: plain data, and only settings of a run."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_runs import run_folder

from cl_runner.config.paths import CONF
from cl_runner.errors import StorageError
from cl_runner.report import command
from cl_runner.run_folder.plain import as_yaml

CALLBACK = "hydra:\n  callbacks:\n    x: {_target_: os.mkdir, _args_: [planted]}\n"
NASTY: list[Any] = [
    f"a\n{CALLBACK}", f"a\r{CALLBACK}", f"a\u2028{CALLBACK}", f"a\x85{CALLBACK}",
    "'\"\n# @package hydra", "${oc.env:HOME}", "\\${oc.env:HOME}", "???", "<masked:01234567>",
    "\x1b[2J",
    "{a: b}", "- x", "!!python/object/apply:os.mkdir [planted]", float("inf"),
    {"hydra": {"callbacks": 1}}, [["${x}"], {"defaults": 1}],
]  # fmt: skip


def a_run(folder: Path, config: dict[str, Any]) -> None:
    run = run_folder(folder, "lwf", 0, (0.5, 0.5), validation=(0.5, 0.5))
    planted = yaml.safe_load((run / "config.yaml").read_text()) | config
    (run / "config.yaml").write_text(as_yaml(planted))


def reported(folder: Path) -> tuple[Path, str]:
    _, files = command.report([folder], folder / "report")
    (file,) = [file for file in files if file.name == "best.yaml"]
    return file, file.read_text()


def leaves(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return [leaf for key, value in node.items() for leaf in [key, *leaves(value)]]
    return [leaf for item in node for leaf in leaves(item)] if isinstance(node, list) else [node]


@pytest.mark.usefixtures("no_figures")
def test_an_option_is_one_of_ours_whatever_its_name(tmp_path: Path) -> None:
    names = ("digits", "x" * 3000, "../dataset/digits", "digits\0", "", ".", "digits.yaml")
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        run_folder(folder / "run", "lwf", 0, (0.5, 0.5), validation=(0.5, 0.5), dataset=name)
        chosen = yaml.safe_load(reported(folder)[1])["defaults"]
        expected = [{"override /dataset": "digits"}] if name == "digits" else []
        assert chosen == [*expected, {"override /strategy": "lwf"}], name


def test_everything_from_a_run_is_plain_data(cl_train_here, tmp_path: Path) -> None:
    """Every kind of text in every place of a file; then the command that the page shows."""
    nasty = {f"at {number}": value for number, value in enumerate(NASTY)}
    keys = {text: 1 for text in NASTY if isinstance(text, str)}
    a_run(tmp_path / "theirs" / "run", {
        **nasty, **keys, "hydra": {"callbacks": {}}, "defaults": ["/strategy: evil"],
        "strategy": {"_target_": f"cl_runner.x\n{CALLBACK}", **nasty, **keys},
        "model": {"_target_": f"os\n{CALLBACK}", "list": NASTY}, "ce_scope": NASTY[0],
        "reference": "/etc", "output_root": "/etc", "first_task_cache": "/etc",
        "trusted_targets": ["os"], "dataset": {"root": "/etc", "source": {"_target_": "digits"}},
    })  # fmt: skip
    file, text = reported(tmp_path / "theirs")
    first, rest = text.split("\n", 1)
    assert first == "# @package _global_" and "#" not in rest.replace("# @package hydra", "")
    settings = yaml.safe_load(text)
    known = {"dataset", "model", "strategy", "ce_scope", "seed", "device"}
    assert set(settings) == {"defaults", *known}
    chosen = {"dataset": "digits", "model": None, "strategy": "lwf"}  # None: a class that we lack
    assert settings["defaults"] == [{f"override /{group}": name} for group, name in chosen.items()]
    below = [leaf for key, value in settings.items() if key != "defaults" for leaf in leaves(value)]
    assert not {"hydra", "defaults", "root", "/etc"} & set(map(str, below))
    assert not any("${" in str(leaf) or leaf in ("???", "<masked:01234567>") for leaf in below)
    folder = file.parent.parent
    for words in ((), ("-m", "seed=1,2")):
        done = cl_train_here("--config-dir", str(folder), "experiment=best", *words)
        assert done.returncode == 2 and "planted" not in os.listdir(tmp_path)
    composed = [
        yaml.safe_load(cl_train_here("--cfg", "hydra", *words).stdout)["hydra"]
        for words in ((), ("--config-dir", str(folder), "experiment=best"))
    ]
    for hydra in composed:
        assert hydra.pop("overrides") and hydra.pop("runtime") and hydra.pop("job")
    assert composed[0] == composed[1]


def test_only_options_of_ours_are_chosen(tmp_path: Path) -> None:
    a_run(tmp_path / "run", {})
    overrides = ["model=evil", "optimizer=../../evil", "dataset=digits", "strategy=lwf\nhydra: 1"]
    (tmp_path / "run" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
    options = [
        next(iter(entry.items())) for entry in yaml.safe_load(reported(tmp_path)[1])["defaults"]
    ]
    assert options == [("override /dataset", "digits"), ("override /strategy", "lwf")]
    assert all((CONF / key.split("/")[1] / f"{name}.yaml").is_file() for key, name in options)


@pytest.mark.parametrize(
    "planted",
    ["best/strategy/evil.yaml", "best/experiment/evil.yaml", "best/experiment/best.yaml/x", "best"],
)
def test_the_folder_holds_only_this_file(planted: str, tmp_path: Path) -> None:
    a_run(tmp_path / "run", {})
    (tmp_path / "report" / planted).parent.mkdir(parents=True)
    (tmp_path / "report" / planted).write_text("hydra: 1")
    (tmp_path / "report" / "strategy").mkdir()
    for _ in range(2):
        file, _ = reported(tmp_path)
        assert file == tmp_path / "report" / "best_2" / "experiment" / "best.yaml"
        assert [p.name for p in file.parents[1].rglob("*")] == ["experiment", "best.yaml"]
        command_line = f"--config-dir {tmp_path}/report/best_2 experiment=best"
        assert command_line in (tmp_path / "report" / "report.html").read_text()


def test_a_path_has_to_be_typed_again(tmp_path: Path, no_figures) -> None:
    """The page says where, and repeats neither a path nor a key that is none."""
    a_run(tmp_path / "run", {})
    typed = [
        "dataset.root=/their/data",
        "output_root=/their",
        "dataset.root;x=1",
        "tracker.root=/x",
    ]
    (tmp_path / "run" / "overrides.yaml").write_text(yaml.safe_dump(typed))
    reported(tmp_path)
    page = html.unescape((tmp_path / "report" / "report.html").read_text())
    (line,) = re.findall("<pre.*experiment=best.*</pre>", page)
    assert "experiment=best dataset.root=PATH 'trusted_targets=[digits]'</pre>" in line
    assert "Put your own path in place of PATH" in page and "/their" not in page


MINE = "from cl_runner.strategies.finetune import Finetune\nclass Mine(Finetune): ..."


def test_of_a_method_of_ones_own_it_runs_as_printed(cl_train_here, tmp_path, no_figures) -> None:
    """With an option of the user's; what is trusted is said."""
    (tmp_path / "ownmethod.py").write_text(MINE)
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "mine.yaml").write_text("_target_: ownmethod.Mine")
    own = ("--config-dir", "conf", "trusted_targets=[ownmethod]", "strategy=mine")
    words = ("epochs=1", "batch_size=100", "model.widths=[8]", "dataset.tasks=2")
    held_out = "dataset.validation_fraction=0.2"
    assert cl_train_here(*own, *words, held_out, "output_root=.", "name=one").returncode == 0
    reported(tmp_path / "one")
    page = html.unescape((tmp_path / "one" / "report" / "report.html").read_text())
    (line,) = re.findall(r"cl-train --config-dir .*experiment=best.*(?=</pre>)", page)
    assert "lets code of ownmethod run: give it only if you trust that" in page
    command = shlex.split(line)
    assert command[-1] == "trusted_targets=[ownmethod]"
    done = cl_train_here(*command[1:], "output_root=.", "name=again")
    assert done.returncode == 0, done.stderr
    one, other = ((tmp_path / run / "predictions.npz").read_bytes() for run in ("one", "again"))
    assert one == other
    names = [json.loads((tmp_path / r / "results.json").read_text()) for r in ("one", "again")]
    assert [each["strategy"] for each in names] == ["mine", "mine"]  # one row in a table
    assert reported(tmp_path / "one")[0] == tmp_path / "one/report/best/experiment/best.yaml"


@pytest.mark.parametrize("link", ["report", "report/best", "report/report.html.part"])
def test_nothing_is_written_behind_a_link(link: str, tmp_path: Path) -> None:
    a_run(tmp_path / "theirs" / "run", {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    place = tmp_path / "theirs" / link
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(tmp_path / "mine" / ("file" if link.endswith(".part") else ""))
    with pytest.raises(StorageError, match="is a symbolic link, which could point anywhere"):
        command.report([tmp_path / "theirs"], tmp_path / "theirs" / "report")
    assert [(p.name, p.read_text()) for p in (tmp_path / "mine").iterdir()] == [("file", "mine")]
