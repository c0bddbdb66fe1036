"""`cl_runner.load_network`: it predicts what the run predicted, and a folder runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from own_data import arrays, folders, listed
from PIL import Image
from torch.utils.data import TensorDataset

import cl_runner
from cl_runner import errors
from cl_runner.api import place
from cl_runner.api.pictures import stored
from cl_runner.config.identity import settings_digest
from cl_runner.config.paths import CONF
from cl_runner.data.digits import Digits
from cl_runner.run_folder import read
from cl_runner.run_folder.checkpoint import Checkpoints

TINY = ("epochs=1", "batch_size=64", "model.widths=[16]", "threads=1")
ARRAYS = {
    "train_inputs": "data.npz:x_train",
    "train_labels": "data.npz:y_train",
    "test_inputs": "data.npz:x_test",
    "test_labels": "data.npz:y_test",
    "train_groups": "data.npz:y_train",
}
_, TEST = Digits().load("")
X, Y = TEST.images, TEST.labels
PERMUTED = """
_target_: cl_runner.data.cuts.ByPermutation
source: {_target_: cl_runner.data.digits.Digits}
root: data
scenario: domain_incremental
tasks: 3
permute_first: true
samples_per_task: null
blurry: 0.0
repetition: 0.0
validation_fraction: 0.0
pixels:
  _target_: cl_runner.data.samples.Pixels
  mean: [0.3]
  std: [0.4]
  padding: 1
  crop_padding: 0
  flip: false
  per_picture: false
"""


def trained(folder: Path, *words: str) -> cl_runner.Run:
    return cl_runner.run(*TINY, f"output_root={folder}", "name=run", *words)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> cl_runner.Run:
    """Classes in an order of their own, so that outputs and labels differ."""
    order = "dataset.class_order=[7,1,8,0,9,2,5,3,6,4]"
    return trained(tmp_path_factory.mktemp("network"), "strategy=rehearsal", order)


def predicted(run: cl_runner.Run) -> tuple[np.ndarray, np.ndarray]:
    """After the last task, of the test samples of all tasks: the classes in the stream's numbers,
    and the true ones."""
    arrays, tasks = run.predictions(), len(run.results.tasks)
    found = [arrays[f"after_task_{tasks}_on_task_{k + 1}"] for k in range(tasks)]
    labels = [arrays[f"labels_of_task_{k + 1}"] for k in range(tasks)]
    return np.concatenate(found), np.concatenate(labels)


@pytest.mark.parametrize("strategy", ["ewc", "icarl", "bic", "wa"])
def test_it_predicts_what_the_run_predicted(strategy: str, tmp_path: Path) -> None:
    """Also where the strategy does not predict by the largest output of the network."""
    run = trained(tmp_path, f"strategy={strategy}", "dataset.class_order=[7,1,8,0,9,2,5,3,6,4]")
    network = cl_runner.load_network(run.folder)
    assert network.classes == [7, 1, 8, 0, 9, 2, 5, 3, 6, 4]
    tasks = torch.tensor([network.classes.index(label) // 2 for label in Y.tolist()])
    order = tasks.argsort(stable=True)
    scores = network(network.preprocess(X[order]))
    found, labels = predicted(run)
    assert [network.classes[i] for i in labels] == Y[order].tolist()
    assert scores.shape == (len(Y), 10)
    np.testing.assert_array_equal(scores.argmax(1).numpy(), found)
    assert network.classify(X[order]) == [network.classes[i] for i in found]


def test_where_files_name_the_classes_only_the_caller_says_where_they_are(tmp_path: Path) -> None:
    """The path that the run recorded is not looked at, though classes are there, too."""
    here = folders(tmp_path / "pictures")
    words = ("dataset=image_folder", f"dataset.root={here}", "dataset.source.size=8")
    run = trained(tmp_path, *words)
    with pytest.raises(errors.ConfigError, match=r"root=null: must be given.*root=FOLDER"):
        cl_runner.load_network(run.folder)
    here.rename(tmp_path / "moved")
    (here / "train" / "elk").mkdir(parents=True)
    network = cl_runner.load_network(run.folder, root=tmp_path / "moved")
    assert network.class_names == ["cat", "dog", "fox", "owl"]
    found, labels = predicted(run)
    names = ["cat"] * 3 + ["dog"] * 3 + ["fox"] * 3 + ["owl"] * 3
    assert [network.class_names[label] for label in labels] == names
    pictures = [Image.open(tmp_path / "moved/test" / name / f"{n % 3}.png").resize((8, 8), 2)
                for n, name in enumerate(names)]  # fmt: skip
    assert network.classify(pictures) == found.tolist()


def test_features_are_taken_as_they_are(tmp_path: Path) -> None:
    root = arrays(tmp_path / "files")
    scaled = "dataset.pixels={mean: [0.5], std: [2.0]}"
    run = trained(tmp_path, "dataset=arrays", f"dataset.root={root}", scaled)
    data = np.load(root / "data.npz")
    got = run.evaluate(data["x_test"], data["y_test"], root=root)
    assert got.accuracy == pytest.approx(run.metrics["overall_accuracy"])
    network = run.network(root=root)
    wanted = (torch.from_numpy(data["x_test"]) - 0.5) / 2
    torch.testing.assert_close(network.preprocess(data["x_test"]).flatten(1), wanted)
    for wrong in (data["x_test"][:, :3], "x", 1.0):
        with pytest.raises(errors.DataError, match="data error: features"):
            network.classify(wrong)


def test_accuracies_are_those_of_the_results(run: cl_runner.Run) -> None:
    found = run.evaluate(X, Y)
    assert found.samples == len(Y)
    assert found.accuracy == pytest.approx(run.metrics["overall_accuracy"])
    last = dict(zip([task.name for task in run.results.tasks], run.results.matrix[-1], strict=True))
    assert found.of_task == pytest.approx(last)
    labels = np.array(run.network().classify(X))
    assert list(found.of_class) == list(range(10))
    for label, share in found.of_class.items():
        assert share == pytest.approx((labels[Y.numpy() == label] == label).mean())


def test_pictures_in_any_form_are_the_same(run: cl_runner.Run) -> None:
    pairs = TensorDataset(X, Y)
    numpy = X.numpy()
    every = [
        run.evaluate(pairs),
        run.evaluate(numpy, Y.numpy()),
        run.evaluate(numpy[:, 0], Y.tolist()),  # [N, H, W]
        run.evaluate(numpy.transpose(0, 2, 3, 1), Y),  # [N, H, W, C]
        run.evaluate([Image.fromarray(image[0]) for image in numpy], Y),
        run.evaluate([(Image.fromarray(i[0]), int(y)) for i, y in zip(numpy, Y, strict=True)]),
    ]
    assert all(found == every[0] for found in every)
    network = run.network()
    for one in (X[3], numpy[3], numpy[3, 0], Image.fromarray(numpy[3, 0])):
        assert network.classify(one) == network.classify(X[3:4])


def test_it_can_be_pickled(run: cl_runner.Run) -> None:
    """As for `torch.save`, or another process."""
    network = run.network()
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(again(network.preprocess(X[:5])), network(network.preprocess(X[:5])))


def test_colours_keep_their_place() -> None:
    image = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)
    last = image.permute(1, 2, 0)
    picture = Image.fromarray(last.contiguous().numpy())
    for given in (image, image[None], last, last[None], last.numpy(), picture, [picture]):
        assert torch.equal(stored(given, (3, 4, 5)), image[None])


def test_in_a_task_incremental_run_only_the_own_classes_compete(tmp_path: Path) -> None:
    run = trained(tmp_path, "dataset.scenario=task_incremental")
    found = run.evaluate(X, Y)
    last = dict(zip([task.name for task in run.results.tasks], run.results.matrix[-1], strict=True))
    assert found.of_task == pytest.approx(last)
    labels = run.network().classify(X[Y < 2], task=1)
    assert set(labels) <= {0, 1}
    assert np.mean(np.array(labels) == Y[Y < 2].numpy()) == pytest.approx(last["classes 0, 1"])


def test_where_an_output_is_another_class_in_each_task_the_task_is_given(tmp_path: Path) -> None:
    """Digits as five domains of two classes each: 2 and 3 are the outputs 0 and 1 of task 2."""
    run = trained(tmp_path, "dataset.scenario=domain_incremental")
    network = run.network()
    mine = (Y == 2) | (Y == 3)
    scores = network(network.preprocess(X[mine]))
    assert scores.shape[1] == 2
    assert network.classify(X[mine], task=2) == (2 + scores.argmax(1)).tolist()
    for refused in (lambda: network.classify(X[mine]), lambda: network.classes):
        with pytest.raises(errors.ConfigError, match=r"task=null: must be given, 1 … 5: an output"):
            refused()
    last = dict(zip([task.name for task in run.results.tasks], run.results.matrix[-1], strict=True))
    assert run.evaluate(X, Y).of_task == pytest.approx(last)
    assert run.evaluate(X[mine], Y[mine], task=2).of_task == run.evaluate(X[mine], Y[mine]).of_task


def test_where_tasks_show_pictures_in_their_own_way_the_task_is_given(tmp_path: Path) -> None:
    """Permuted digits, padded to 10 × 10: the accuracy on each task is that of the results."""
    folder = tmp_path / "options" / "dataset"
    folder.mkdir(parents=True)
    (folder / "permuted.yaml").write_text(PERMUTED)
    words = (*TINY, f"output_root={tmp_path}", "name=run", "dataset=permuted")
    run = cl_runner.run(*words, config_dir=tmp_path / "options")
    for number, expected in enumerate(run.results.matrix[-1], start=1):
        assert run.evaluate(X, Y, task=number).accuracy == pytest.approx(expected)
    with pytest.raises(errors.ConfigError, match=r"task=null: must be given, 1 … 3"):
        run.evaluate(X, Y)
    with pytest.raises(errors.ConfigError, match="task=4: must be the number of a task, 1 … 3"):
        run.evaluate(X, Y, task=4)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (X.float() / 255, Y, "pixels are integers of type uint8, not torch.float32"),
        (X[:, :, :7], Y, "pictures of shape 359 × 1 × 7 × 8, the network was trained on 1 × 8 × 8"),
        (Image.new("L", (9, 8)), [0], "pictures of shape 8 × 9"),
        (X, Y[:-1], "359 pictures but 358 labels"),
        (X[:1], [10], "the run has learned no class 10"),
        ([], [], "there is no picture"),
        ("a picture", Y[:9], "not str"),
        (X, None, "no labels are given"),
        (X[:2], ["a", "b"], "labels are integers"),
        (X[:2], 5, "labels are integers"),
        (X[:2], [0.0, 1.7], "labels are integers"),
        (X[:2], [0, float("inf")], "labels are integers"),
        ([(X[0], 0.7)], None, "a Dataset of pairs"),
        (5, None, "pictures must be an array, a list or a Dataset, not int"),
    ],
    ids=["floats", "size", "PIL", "labels", "class", "none", "text", "no labels", "names",
         "one label", "shares", "infinite", "share in a pair", "number"],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(x, y, reason: str, run: cl_runner.Run) -> None:
    pictures = [x] if isinstance(x, Image.Image) else x
    with pytest.raises(errors.DataError, match=reason):
        run.evaluate(pictures, y)


def test_inputs_of_regression_are_numbers(tmp_path: Path) -> None:
    words = ("experiment=regression", "dataset.samples=40")
    network = trained(tmp_path, *words).network()
    assert network(network.preprocess([0.5, 1.0])).shape == (2, 1)
    assert network.preprocess(np.arange(6.0).reshape(2, 3).T).flatten().tolist() == [
        0, 3, 1, 4, 2, 5,
    ]  # fmt: skip
    with pytest.raises(errors.DataError, match="inputs are an array of numbers"):
        network.preprocess("x")


def test_a_network_of_ones_own_needs_trust(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mynet.py").write_text(
        "from cl_runner.strategies.finetune import Finetune\nclass Mine(Finetune): pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = trained(tmp_path, "trusted_targets=[mynet]", "strategy._target_=mynet.Mine")
    del sys.modules["mynet"]
    with pytest.raises(errors.ConfigError, match=r"only targets of cl_runner are built"):
        cl_runner.load_network(run.folder)
    assert "mynet" not in sys.modules
    with pytest.raises(TypeError, match=r"trusted_targets is a list: \['mynet'\]"):
        cl_runner.load_network(run.folder, trusted_targets="mynet")
    network = cl_runner.load_network(run.folder, trusted_targets=["mynet"])
    assert type(network.strategy).__name__ == "Mine"


def changed(run: cl_runner.Run, place: Path) -> Path:
    folder = place / "copy"
    shutil.copytree(run.folder, folder)
    return folder


def test_a_foreign_folder_runs_nothing(run: cl_runner.Run, tmp_path: Path) -> None:
    """It trusts a package in its own settings, and names a function that acts."""
    folder = changed(run, tmp_path)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trusted_targets"] = ["os", "subprocess"]
    config["strategy"] = {"_target_": "subprocess.run", "args": f"touch {tmp_path / 'acted'}"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"settings": ""}))
    with pytest.raises(cl_runner.RunError):
        cl_runner.load_network(folder)
    (file,) = (folder / "checkpoint").iterdir()
    with_digest(file, config)
    with pytest.raises(errors.ConfigError, match="only targets of cl_runner are built"):
        cl_runner.load_network(folder)
    assert not (tmp_path / "acted").exists()


OPENED: list[str] | None = None
"""While a test listens: the files and folders that this process opens."""


def _note(event: str, arguments: tuple) -> None:
    opens = event in ("open", "os.scandir", "os.listdir")
    if OPENED is not None and opens and isinstance(arguments[0], str | os.PathLike):
        OPENED.append(os.path.realpath(arguments[0]))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Paths opened during the test."""
    sys.addaudithook(_note)  # for ever: it cannot be removed
    monkeypatch.setattr(sys.modules[__name__], "OPENED", seen := [])
    return seen


@pytest.mark.parametrize("made", [arrays, listed, folders])
def test_a_foreign_folder_names_no_place(made, tmp_path: Path, opened: list[str]) -> None:
    """Only parts of cl-runner, which would read files of this machine: it reads those of `root`."""
    root, outside = made(tmp_path / "own"), made(tmp_path / "outside")
    dataset = {arrays: "arrays", listed: "csv", folders: "image_folder"}[made]
    size = () if made is arrays else ("dataset.source.size=8",)
    run = trained(tmp_path, f"dataset={dataset}", f"dataset.root={root}", *size)
    (root / "link").symlink_to(outside)
    wrong: list[dict] = [{"root": str(outside)}]
    for there in (f"{outside}", "../outside", "link"):
        wrong += [{"file": f"{there}/samples.csv"}] * (made is listed)
        wrong += [{key: f"{there}/{array}"} for key, array in ARRAYS.items()] * (made is arrays)
    for number, settings in enumerate(wrong):
        folder = changed(run, tmp_path / str(number))
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["dataset"]["source"] |= settings
        config["reference"] = config["first_task_cache"] = str(outside)
        if number == 0:  # a root that is nobody's default, and of which no other one is a part
            del config["dataset"]["root"]
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (file,) = (folder / "checkpoint").iterdir()
        with_digest(file, config)
        opened.clear()
        with pytest.raises(errors.RunError, match=r"root|below|leads out of") as raised:
            cl_runner.load_network(folder, root=root)
        assert "\n" not in str(raised.value)
        assert not [path for path in opened if Path(path).is_relative_to(outside)]
    cl_runner.load_network(run.folder, root=root)
    assert any(Path(path).is_relative_to(root) for path in opened)


def test_what_has_a_folder_of_its_own_has_it_below_the_given_one(tmp_path: Path) -> None:
    """As if the settings had been composed with that folder."""
    for dataset in ("five_datasets", "image_folder", "csv", "arrays", "digits"):
        before, after = (plain(f"dataset={dataset}", f"dataset.root={r}") for r in ("../a", "/b"))
        assert place.at(before, "/b") == after
    with pytest.raises(errors.ConfigError, match=r"root=../a/../c: leads out of"):
        place.at({"dataset": {"root": "../a", "sources": [{"root": "../a/../c"}]}}, "/b")
    for sources in (5, None, [5]):
        assert place.at({"dataset": {"root": "a", "sources": sources}}, None)


def plain(*words: str) -> dict:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", ["name=unused", *words])
    return OmegaConf.to_container(composed, resolve=True)


def with_digest(file: Path, config: dict) -> None:
    """The same checkpoint, said to be of these settings."""
    from cl_runner.config.identity import settings_digest
    from cl_runner.run_folder.checkpoint import loaded, packed, unpacked

    manifest, archive = unpacked(file)
    file.write_bytes(packed(loaded(archive), manifest | {"settings": settings_digest(config)}))


@pytest.mark.parametrize("damage", ["cut", "gone", "other settings", "no config", "not complete"])
def test_a_damaged_folder_is_one_line(damage: str, run: cl_runner.Run, tmp_path: Path) -> None:
    folder = changed(run, tmp_path)
    (file,) = (folder / "checkpoint").iterdir()
    before = file.read_bytes()
    if damage == "cut":
        file.write_bytes(before[:-9])
    elif damage == "gone":
        file.unlink()
    elif damage == "other settings":
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("widths: [16]", "widths: [17]"))
    elif damage == "no config":
        (folder / "config.yaml").unlink()
    else:
        (folder / "status.json").write_text('{"status": "interrupted"}')
    with pytest.raises(cl_runner.RunError) as raised:
        cl_runner.load_network(folder)
    with pytest.raises(errors.ConfigError, match=f"{tmp_path}: holds no run"):
        cl_runner.load_network(tmp_path)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not list(folder.rglob("*.bad"))  # reading changes nothing


def test_settings_that_came_after_the_run_have_their_defaults(run, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(run.folder, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    before = settings_digest(config)
    for key in ("keep", "trackers", "accumulate"):
        del config[key]
    for part, key in (("model", "classifier"), ("dataset", "blurry")):
        del config[part][key]
    del config["dataset"]["pixels"]["flip"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    state = Checkpoints(folder / "checkpoint", before).newest()
    Checkpoints(folder / "checkpoint", settings_digest(config)).save(state)
    old, new = (cl_runner.load_network(f) for f in (folder, run.folder))
    assert old.classify(X[:50]) == new.classify(X[:50])


def test_weights_of_another_shape_are_one_line(run: cl_runner.Run, tmp_path: Path) -> None:
    folder = changed(run, tmp_path)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("widths: [16]", "widths: [17]"))
    (file,) = (folder / "checkpoint").iterdir()
    with_digest(file, read.config(folder) or {})
    with pytest.raises(errors.CheckpointError, match="does not fit its settings"):
        cl_runner.load_network(folder)
