"""MyDataset has what it says, and can be learned."""

from pathlib import Path

import cl_runner

import my_dataset

OPTIONS = Path(my_dataset.__file__).parent / "options"


def test_each_split_has_all_classes() -> None:
    source = my_dataset.MyDataset()
    for split in source.load(""):
        assert set(split.labels.tolist()) == set(range(source.classes))
        assert split.images.shape == (len(split.labels), *source.shape)


def test_its_classes_can_be_told_apart(tmp_path: Path) -> None:
    own = ("trusted_targets=[my_dataset]", "dataset=my_dataset")
    words = ("strategy=joint", "threads=1", f"output_root={tmp_path}")
    run = cl_runner.run(*own, *words, config_dir=OPTIONS)
    assert (run.metrics["average_accuracy"] or 0) > 0.9
