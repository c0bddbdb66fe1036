"""No file of a run contains a secret or a value of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cl_runner.config.masking import as_written, kept_overrides, masks, shown
from cl_runner.hidden import masked, names_one, word_for

TINY = ("epochs=1", "batch_size=64", "model.widths=[8]", "dataset.tasks=2")
HERE = ("output_root=.", "name=run")
HUNTER = "hunter2-hunter2"


def files_with(folder: Path, secret: str) -> list[Path]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert files
    return [p for p in files if secret.encode() in p.read_bytes()]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb"))


def test_no_value_of_the_environment_is_written(cl_train_here, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CL_DATA", f"/private/{HUNTER}")
    monkeypatch.setenv("PROJECT", HUNTER)
    monkeypatch.setenv("WANDB_API_KEY", HUNTER * 3)
    done = cl_train_here(*TINY, *HERE, "tracker=wandb", "tracker.project=${oc.env:PROJECT}")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert "<env:CL_DATA>" in text and "<env:PROJECT>" in text
    found = files_with(tmp_path / "run", HUNTER)
    # W&B itself needs the name of the project; no file of ours has it.
    assert all("wandb" in p.parts for p in found)
    assert not files_with(tmp_path / "run", f"private/{HUNTER}")
    assert not files_with(tmp_path / "run", HUNTER * 3)


def test_not_even_when_it_comes_up_in_an_error(cl_train_here, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CL_DATA", f"/private/{HUNTER}")
    done = cl_train_here("-m", *TINY, "dataset=split_mnist,digits", "hydra.sweep.dir=sweep")
    assert done.returncode == 1 and "<env:CL_DATA>" in done.stdout  # the variable, not its value
    (failed,) = (tmp_path / "sweep").glob("000_*/status.json")
    assert "<env:CL_DATA>" in failed.read_text()
    assert not files_with(tmp_path / "sweep", HUNTER)


def test_a_secret_setting_is_masked(cl_train_here, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "careless.py").write_text(
        "from cl_runner.strategies.finetune import Finetune\n"
        "class Careless(Finetune):\n"
        "    def __init__(self, network, *, api_key: str, extra: dict):\n"
        "        super().__init__(network)\n"
        "        self.api_key = api_key\n"
        "    def end_task(self, task):\n"
        "        raise ValueError(f'no entry with {self.api_key}')\n"
    )
    import sys

    sys.path.append(str(tmp_path / "modules"))
    given = [*TINY, *HERE, "tracker=wandb", "trusted_targets=[careless]",
             "strategy._target_=careless.Careless", f"+strategy.api_key={HUNTER}",
             f"+strategy.extra={{token:{HUNTER}}}"]  # fmt: skip
    done = cl_train_here(*given)
    assert done.returncode == 1 and "ValueError: no entry with <masked:" in done.stderr
    assert HUNTER not in done.stdout + done.stderr
    assert not files_with(tmp_path / "run", HUNTER)
    for file in ("config.yaml", "log.txt", "status.json"):
        assert word_for(HUNTER) in (tmp_path / "run" / file).read_text()
    overrides = (tmp_path / "run" / "overrides.yaml").read_text()
    assert "+strategy.api_key=???" in overrides and "+strategy.extra=???" in overrides


def test_what_looks_like_a_secret() -> None:
    config = OmegaConf.create(
        {
            "tracker": {"api_key": "abcd", "project": "p"},
            "password": None,
            "seed": 1,
            "sources": [{"access_token": "efgh"}, {"name": "n"}],
            "credentials": {"user": "me", "port": 80, "hosts": ["abcd"]},
        }
    )
    first, second = word_for("abcd"), word_for("efgh")
    assert as_written(config) == {
        "tracker": {"api_key": first, "project": "p"},
        "password": None,
        "seed": 1,
        "sources": [{"access_token": second}, {"name": "n"}],
        "credentials": {"user": word_for("me"), "port": 80, "hosts": [first]},
    }
    assert masks(config) == {"abcd": first, "efgh": second}  # "me" is too short to be masked
    assert masked("abcd and efgh", masks(config)) == f"{first} and {second}"
    assert masked("no longtok... here", {"longtoken": "<m>"}) == "no <m>... here"
    given = ["seed=1", "+a.token=xyzw", "resume=auto", "b={key:x}", "c={d:x}", "e=at xyzw", "~f",
             "+n_tokens=5", "g.key=${oc.env:KEY}", "~h.key"]  # fmt: skip
    assert kept_overrides(given) == [
        "seed=1", "+a.token=???", "b=???", "c={d:x}", "e=???", "~f", "+n_tokens=5",
        "g.key=${oc.env:KEY}", "~h.key"]  # fmt: skip
    assert shown(given)[1] == f"+a.token={word_for('xyzw')}" == shown(["+a.token='xyzw'"])[0]
    assert shown(given)[5] == f"e=at {word_for('xyzw')}"


def test_a_range_in_a_secrets_place_is_masked_without_being_listed() -> None:
    range_ = "range(0,1000000000)"  # its values would fill the memory
    assert shown([f"+a.token={range_}"]) == [f"+a.token={word_for(range_)}"]
    listed = shown(["+a.token=first,second", "b=second"])
    assert listed[1] == f"b={word_for('second')}"


def test_a_secret_that_another_setting_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    config = OmegaConf.create({"token": "abcd", "label": "with ${token}"})
    word = word_for("abcd")
    assert as_written(config) == {"token": word, "label": f"with {word}"}
    monkeypatch.setenv("ONE", "secretone")
    monkeypatch.setenv("TWO", "secretone-and-more")
    config = OmegaConf.create({"a": "${oc.env:ONE}", "b": "${oc.env:TWO}"})
    told = "secretone-and-more or secretone"
    assert masked(told, masks(config)) == "<env:TWO> or <env:ONE>"


def test_a_long_value_that_an_error_cuts_short(cl_train_here, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LONG", HUNTER * 10)
    # A mistake in every job is refused at once, except where the user's own classes decide.
    done = cl_train_here("-m", *TINY, "trusted_targets=[faulty]", "+strategy.foo=${oc.env:LONG}",
                         "seed=1,2", "hydra.sweep.dir=sweep")  # fmt: skip
    assert done.returncode == 1
    assert not files_with(tmp_path / "sweep", HUNTER)


@pytest.mark.parametrize("value", ["1234-5678-9012", "10.20.30.40", "2024-05-17", "1e5e5", "12_a"])
def test_a_secret_of_digits_with_separators_is_no_number(
    value: str, cl_train_here, tmp_path
) -> None:
    """Hydra reads it as text; so does everything that masks."""
    assert names_one(f"+api_key={value}")
    done = cl_train_here(*TINY, "strategy=lwf", f"+strategy.api_key={value}")
    assert done.returncode == 2 and value not in done.stderr + done.stdout
    assert "<masked:" in done.stderr


@pytest.mark.parametrize("value", ["5", "-1e-3", "1_000", "true", "null", ".5", "inf"])
def test_a_number_is_no_secret(value: str) -> None:
    assert not names_one(f"num_tokens={value}")


def test_a_value_that_a_resolver_remembers_is_no_word_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is written holds `<env:…>` where the run itself gets the value, whichever is first."""
    monkeypatch.setenv("PLACE", HUNTER)
    OmegaConf.register_new_resolver("kept", lambda text: text, use_cache=True, replace=True)
    try:
        config = OmegaConf.create({"name": "${kept:${oc.env:PLACE}}", "model": {"_target_": "x"}})
        assert as_written(config)["name"] == "<env:PLACE>"
        assert masks(config) == {HUNTER: "<env:PLACE>"}
        assert OmegaConf.to_container(config, resolve=True)["name"] == HUNTER
        assert as_written(config)["name"] == "<env:PLACE>"
    finally:
        OmegaConf.clear_resolver("kept")


def test_the_digest_of_the_environment_covers_settings_that_change_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(config: dict[str, object]) -> object:
        return as_written(OmegaConf.create(config)).get("environment")

    monkeypatch.setenv("ONE", "first value")
    alone = digest({"seed": "${oc.env:ONE}"})
    assert alone is not None and digest({"seed": ["${oc.env: ONE}"]}) == alone
    assert digest({"seed": {"of": "a ${oc.env:ONE} b"}, "name": "${oc.env:TWO,x}"}) == alone
    assert digest({"name": "${oc.env:ONE}", "tracker": {"x": "${oc.env:ONE}"}}) is None
    monkeypatch.setenv("ONE", "second value")
    assert digest({"seed": "${oc.env:ONE}"}) not in (alone, None)
