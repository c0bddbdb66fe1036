"""Plugins: found without being imported, used once they are trusted, and never in the way."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import own_plugin
import pytest
from hydra._internal.utils import create_config_search_path
from messages import only_line

import cl_runner
from cl_runner.config.paths import CONF
from cl_runner.errors import ConfigError
from cl_runner.jobs import launchers
from cl_runner.plugins import installed, loading, trusted
from cl_runner.report import command as report
from cl_runner.reproduce import command as reproduce
from cl_runner.reproduce import suite as suites
from cl_runner.run_folder import read
from cl_runner.searches import points

TINY = ("epochs=1", "batch_size=100", "model.widths=[8]", "dataset.tasks=2", "output_root=.")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is trusted and no plugin is imported, before and after."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    modules = set(sys.modules)
    forget()
    yield
    forget()
    for name in set(sys.modules) - modules:
        if name.startswith("rotting"):
            del sys.modules[name]


def forget() -> None:
    trusted._found.cache_clear()
    loading._done.clear()
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def package(site: Path) -> Path:
    return own_plugin.install(site)


@pytest.fixture
def rot(package: Path, cl_train_here) -> Path:
    """The package of a plugin that is trusted."""
    done = cl_train_here("--trust", "rot")
    assert done.returncode == 0 and "rotting" not in sys.modules, done.stderr
    return package


def test_it_is_listed_and_hinted_at_without_being_imported(package: Path, cl_train_here) -> None:
    (package / "__init__.py").write_text("raise SystemExit('was imported')")
    assert cl_train_here("--plugins").stdout.splitlines() == [
        "plugin  package          trusted  brings",
        "rot     rot-methods 1.2  no       strategy=rot, metric first_task_kept, suite rotten",
        "to use one: cl-train --trust rot".replace("rot", "NAME"),
    ]
    line = only_line(cl_train_here("strategy=rot", *TINY), 2)
    assert line == (
        "config error: strategy=rot: no such option yet. Hint: the plugin rot has it: "
        "cl-train --trust rot"
    )
    line = only_line(cl_train_here("strategy._target_=rotting.strategy.Rot", *TINY), 2)
    assert "Hint: if you trust this plugin: cl-train --trust rot" in line
    assert "rotten" not in suites.names()
    with pytest.raises(ConfigError, match=r"no such suite yet. Hint: .* cl-train --trust rot"):
        suites.read("rotten")


def test_once_trusted_all_of_it_is_used_and_then_no_longer(
    rot: Path, cl_train_here, tmp_path: Path, monkeypatch, capfd, no_figures
) -> None:
    assert "yes" in cl_train_here("--plugins").stdout
    line = only_line(cl_train_here("new", "strategy", "rot"), 2)
    assert "there is strategy=rot already" in line
    helped = cl_train_here("--help", "strategy=rot").stdout
    assert "strategy=rot: Rotting." in helped and "\n    of nothing\n" in helped
    assert "weight: 2.0" in cl_train_here("strategy=rot", "--cfg", "job").stdout
    done = cl_train_here("strategy=rot", "strategy.weight=3", *TINY, "name=one")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "one" / "results.json").read_text())
    assert results["first_task_kept"] == results["accuracy"][-1][0]
    assert "first task kept " in done.stdout
    wrong = only_line(cl_train_here("strategy=rot", "strategy.wait=3", *TINY, "name=two"), 2)
    assert "no such setting. Hint: did you mean strategy.weight?" in wrong
    swept = cl_train_here("-m", "strategy=rot", "seed=0,1", *TINY, "name=many")
    assert swept.returncode == 0 and "2 jobs: 2 complete" in swept.stdout, swept.stderr
    report.report([tmp_path / "sweeps" / "many"], tmp_path / "out")
    assert "first task kept" in (tmp_path / "out" / "results.md").read_text()
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "--list"])
    reproduce.main()
    assert "rotten" in capfd.readouterr().out
    words = ["strategy=rot", "dataset.validation_fraction=0.2"]
    assert points.checked(words).config["strategy"]["_target_"] == "rotting.strategy.Rot"
    run = cl_runner.run("strategy=rot", *TINY, "threads=1", f"output_root={tmp_path}", "name=api")
    assert run.metrics["first_task_kept"] is not None

    assert cl_train_here("--distrust", "rot").stdout == "rot is no longer trusted\n"
    assert "--trust rot" in only_line(cl_train_here("strategy=rot", *TINY), 2)
    assert "rotten" not in suites.names()


def test_its_help_is_that_of_one_of_ours(rot: Path, cl_train_here) -> None:
    """The oracle is the help of LwF, of which the plugin is a copy."""
    shutil.copy(Path(cl_runner.__file__).parent / "strategies" / "lwf.py", rot / "strategy.py")
    option = (CONF / "strategy" / "lwf.yaml").read_text()
    of_copy = option.replace("cl_runner.strategies.lwf", "rotting.strategy")
    (rot / "conf" / "strategy" / "rot.yaml").write_text(of_copy)
    ours = cl_train_here("--help", "strategy=lwf").stdout
    assert "L(θ) = CE(θ) + α" in ours and "a number ≥ 0" in ours and "one of old, all" in ours
    assert cl_train_here("--help", "strategy=rot").stdout == ours.replace("=lwf", "=rot")


@pytest.mark.parametrize(
    ("before", "after"),
    [("weight: NonNegative", "weight: 'Nowhere'"), ("from cl_runner", "raise SystemExit\nfrom x")],
)
def test_help_needs_no_code_that_works(before, after, rot: Path, cl_train_here) -> None:
    (rot / "strategy.py").write_text((rot / "strategy.py").read_text().replace(before, after))
    done = cl_train_here("--help", "strategy=rot")
    assert done.returncode == 0 and "strategy.weight=2.0\n    of nothing" in done.stdout


def test_the_best_setting_is_run_under_the_name_of_its_option(
    rot: Path, cl_train_here, tmp_path: Path, no_figures
) -> None:
    words = ("strategy=rot", *TINY, "dataset.validation_fraction=0.2")
    assert cl_train_here("-m", *words, "strategy.weight=1,3", "name=many").returncode == 0
    report.report([tmp_path / "sweeps" / "many"], tmp_path / "out")
    best = ("--config-dir", "out/best", "experiment=best", "output_root=.")
    assert cl_train_here(*best, "name=again").returncode == 0
    results = json.loads((tmp_path / "again" / "results.json").read_text())
    assert results["strategy"] == "rot"
    assert cl_train_here("--distrust", "rot").returncode == 0
    done = cl_train_here(*best, "name=other", "trusted_targets=[rotting]")
    assert done.returncode == 0, done.stderr


def test_a_suite_of_a_plugin_is_run_by_its_name(rot, tmp_path, monkeypatch, capfd) -> None:
    suite = suites.read("rotten")
    assert suite.typed == "rotten" and suite.file == rot / "suites" / "rotten.yaml"
    (rot / "suites" / "rotten.yaml").write_text("title: broken")
    monkeypatch.setattr(sys, "argv", ["cl-reproduce", "--list"])
    reproduce.main()
    printed = capfd.readouterr()
    assert "gdumb_mnist" in printed.out and "is not a suite" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_a_folder_is_read_without_the_plugin_that_made_it(
    rot: Path, cl_train_here, tmp_path: Path, capfd, no_figures
) -> None:
    assert cl_train_here("strategy=rot", *TINY, "name=one").returncode == 0
    shutil.rmtree(rot.parent)
    forget()
    from cl_runner.metrics import METRICS

    del METRICS["first_task_kept"]
    report.report([tmp_path / "one"], tmp_path / "out")
    assert "first task kept" not in (tmp_path / "out" / "results.md").read_text()
    said = (
        "plugin rot (rot-methods) is trusted but not installed; cl-train --distrust rot forgets it"
    )
    assert capfd.readouterr().err.splitlines().count(said) == 1
    assert "not installed" in cl_train_here("--plugins").stdout
    line = only_line(cl_train_here("strategy=rot", *TINY, "name=two"), 2)
    assert line.endswith("; the plugin rot is trusted but not installed")
    done = cl_train_here("strategy=finetune", *TINY, "name=other")
    assert done.returncode == 0
    assert read.results(tmp_path / "one").document()["first_task_kept"] is not None


@pytest.mark.parametrize("project", ["", "rotting/pyproject.toml"])
def test_one_that_was_installed_while_python_ran_is_one_line(
    project: str, rot: Path, site: Path, tmp_path: Path, cl_train_here, capfd
) -> None:
    """As in a notebook after `pip install -e`: what was written for the next start of Python is
    not read, and a project may lie beside the notebook in a folder of the package's name."""
    shutil.rmtree(rot)
    if project:
        (site / project).parent.mkdir()
        (site / project).touch()
    forget()
    said = "is installed, but this Python does not see it; if it was started before the "
    line = only_line(cl_train_here("strategy=rot", *TINY, "name=two"), 2)
    assert f"; the plugin rot {said}" in line and line.endswith(
        "(in a notebook: restart the kernel)"
    )
    assert cl_train_here("strategy=finetune", *TINY, "name=other").returncode == 0
    forget()
    cl_runner.load(tmp_path / "other").table()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"plugin rot (rot-methods) {said}")


def test_one_that_cannot_be_imported_is_one_line(rot: Path, cl_train_here) -> None:
    (rot / "metrics.py").write_text("import nothing_of_this_name")
    done = cl_train_here("strategy=rot", *TINY, "name=one")
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("plugin")]
    assert said == ["plugin rot: its metrics are left out (No module named 'nothing_of_this_name')"]
    for fault, reason in {
        "import nothing_else": "No module named 'nothing_else'",
        "def x(:": "invalid syntax (strategy.py, line 1)",
        "1 / 0": "division by zero; strategy.py, line 1",
        "raise SystemExit(7)": "it ends the program: exit code 7; strategy.py, line 1",
    }.items():
        (rot / "strategy.py").write_text(fault)
        sys.modules.pop("rotting.strategy", None)
        line = only_line(cl_train_here("strategy=rot", *TINY, "name=two"), 2)
        assert f"cannot be imported ({reason})" in line


def test_of_metrics_that_fail_none_is_left(rot: Path, cl_train_here, tmp_path: Path) -> None:
    (rot / "metrics.py").write_text(f"{own_plugin.METRICS}\nraise SystemExit(7)")
    done = cl_train_here("strategy=rot", *TINY, "name=one")
    assert done.returncode == 0
    assert "plugin rot: its metrics are left out (it ends the program: exit" in done.stderr
    assert "first_task_kept" not in json.loads((tmp_path / "one" / "results.json").read_text())


def test_ours_win_over_what_has_their_name(package: Path, cl_train_here) -> None:
    (package / "conf/strategy/finetune.yaml").write_text("_target_: rotting.strategy.Rot")
    (package / "suites/gdumb_mnist.yaml").write_text("title: theirs")
    (package / "metrics.py").write_text(own_plugin.METRICS.replace("first_task_kept", "forgetting"))
    brought = cl_train_here("--trust", "rot").stdout
    for what in ("strategy=finetune", "metric forgetting", "suite gdumb_mnist"):
        assert f"{what} (not used: there is one of ours)" in brought
    assert "cl_runner.strategies.finetune.Finetune" in cl_train_here("--cfg", "job").stdout
    done = cl_train_here(*TINY, "name=one")
    assert "plugin rot: its metrics are left out (config error: metric forgetting of rotting" in (
        done.stderr
    )
    assert done.returncode == 0


def test_another_package_with_a_plugin_of_that_name_is_not_trusted(
    rot: Path, site: Path, cl_train_here
) -> None:
    shutil.rmtree(next(site.glob("*.dist-info")))
    own_plugin.install(site, "other-methods")
    forget()
    listed = cl_train_here("--plugins").stdout
    assert "other-methods 1.2  no" in listed and "rot-methods        yes" in listed
    assert only_line(cl_train_here("strategy=rot", *TINY), 2)
    assert cl_train_here("--trust", "rot").returncode == 0
    own_plugin.install(site)
    forget()
    line = only_line(cl_train_here("--trust", "rot"), 2)
    assert "several installed packages have such a plugin: other-methods and rot-methods" in line


def test_of_several_versions_the_one_that_is_used_counts(rot: Path, site, cl_train_here) -> None:
    own_plugin.install(site.parent / "later")
    older = next((site.parent / "later").glob("*.dist-info/METADATA"))
    older.write_text(older.read_text().replace("1.2", "1.1"))
    sys.path.append(str(site.parent / "later"))
    try:
        assert [p.version for p in installed.every() if p.name == "rot"] == ["1.2"]
        assert cl_train_here("--trust", "rot").returncode == 0
    finally:
        sys.path.pop()


@pytest.mark.parametrize(
    "file", ["[cl_runner.plugins]\nno equals", "[cl_runner.plugins]\nx=x", b"\xff\xfe"]
)
def test_a_damaged_package_is_in_nobody_s_way(file, package, site, cl_train_here) -> None:
    """One whose files pip has only partly removed: no name, or not what they should contain."""
    (site / "torn-1.0.dist-info").mkdir()
    declared = site / "torn-1.0.dist-info" / "entry_points.txt"
    declared.write_bytes(file if isinstance(file, bytes) else file.encode())
    assert "strategy=rot" in cl_train_here("--plugins").stdout
    assert "--trust rot" in only_line(cl_train_here("strategy=rot", *TINY), 2)


def test_metrics_in_a_package_of_their_own_are_listed(package: Path) -> None:
    (package / "metrics").mkdir()
    (package / "metrics.py").rename(package / "metrics" / "__init__.py")
    (found,) = [p for p in installed.every() if p.name == "rot"]
    assert found.metrics == ["first_task_kept"]


@pytest.mark.parametrize("value", ["rotting.conf", "no_such_package", "../rotting", "json"])
def test_an_entry_point_that_names_no_package_brings_nothing(value, site, cl_train_here) -> None:
    """`json` is one, without anything for us."""
    own_plugin.install(site, value=value)
    assert cl_train_here("--plugins").returncode == 0
    assert cl_train_here("--trust", "rot").returncode == (0 if value == "json" else 2)
    assert cl_train_here("--cfg", "job").returncode == 0


DAMAGED = (b"{", b"\xff\xfe", b"trusted: 3", b"[]", b"trusted: [{name: 3, distribution: x}]",
           b"trusted: [{name: x}]", b"&a [*a]", b"x" * (10**6 + 1))  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_list_is_one_line(content: bytes, cl_train_here) -> None:
    trusted.place().parent.mkdir(parents=True)
    trusted.place().write_bytes(content)
    line = only_line(cl_train_here(*TINY, "name=one"), 2)
    assert line.startswith(f"config error: {trusted.place()} is damaged: ")
    assert "Hint: remove it, and trust your plugins again" in line


def test_the_list_is_in_the_users_configuration(monkeypatch, tmp_path: Path, package) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert trusted.place() == tmp_path / "home" / ".config" / "cl_runner" / "trusted.yaml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert trusted.place().is_relative_to(tmp_path / "home") and trusted.entries() == []


def test_a_user_without_a_home_trusts_nothing(package, cl_train_here, monkeypatch) -> None:
    """As in a container that runs as any number, without HOME."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert trusted.entries() == [] and "no  " in cl_train_here("--plugins").stdout
    line = only_line(cl_train_here("--trust", "rot"), 2)
    assert line.startswith("config error: XDG_CONFIG_HOME must name a folder")


def test_the_list_may_be_a_link_and_is_replaced_as_a_whole(
    package, cl_train_here, tmp_path
) -> None:
    elsewhere = tmp_path / "dotfiles.yaml"
    elsewhere.write_text(trusted.text([trusted.Entry("a", "b")]))
    trusted.place().parent.mkdir(parents=True)
    trusted.place().symlink_to(elsewhere)
    assert cl_train_here("--trust", "rot").returncode == 0
    assert trusted.place().is_symlink()
    assert [e.name for e in trusted.entries()] == ["a", "rot"]
    assert not list(elsewhere.parent.glob("*.part"))


def test_nothing_is_searched_where_nothing_is_trusted(cl_train_here, monkeypatch) -> None:
    """So help and completion answer as fast as before."""

    def refused(*given: object, **named: object) -> None:
        raise AssertionError("the installed packages were read")

    monkeypatch.setattr(metadata, "distributions", refused)
    monkeypatch.setattr(metadata, "distribution", refused)
    assert cl_train_here("--help").returncode == 0
    assert cl_train_here("strategy=ewc", "--cfg", "job").returncode == 0


def test_other_applications_of_hydra_do_not_see_it(rot: Path, tmp_path: Path) -> None:
    def folders(main: Path) -> list[str]:
        return [str(e.path) for e in create_config_search_path(str(main)).get_path()]

    assert f"file://{rot / 'conf'}" in folders(CONF)
    assert not any("rotting" in folder for folder in folders(tmp_path))


def test_a_job_elsewhere_trusts_what_its_command_trusts(rot: Path, monkeypatch) -> None:
    """A worker of a cluster has the variables of another shell."""
    seen = []
    here = launchers.Here(lambda config: seen.extend(p.name for p in trusted.plugins()))
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    assert trusted.plugins() == []
    here(None)  # type: ignore[arg-type]
    assert seen == ["rot"] and os.environ["XDG_CONFIG_HOME"] != "/nowhere"


def test_a_plugin_is_found_by_the_name_of_its_package_however_it_is_spelled(package) -> None:
    (found,) = [p for p in installed.every() if p.name == "rot"]
    assert found.distribution == "rot-methods"
    assert installed.find("rot", "Rot_Methods") == found
    assert (
        installed.find("rot", "nothing") is None and installed.find("other", "rot-methods") is None
    )


def test_a_trusted_package_that_cannot_be_imported_is_one_line(cl_train_here, tmp_path) -> None:
    """One that is only there for its metrics, so that nothing else names it."""
    (tmp_path / "rotting_alone.py").write_text("import nothing_of_this_name")
    line = only_line(cl_train_here("trusted_targets=[rotting_alone]", *TINY, "name=one"), 2)
    assert line == (
        "config error: trusted_targets=rotting_alone: cannot be imported "
        "(No module named 'nothing_of_this_name')."
    )
    assert not (tmp_path / "one").exists()
