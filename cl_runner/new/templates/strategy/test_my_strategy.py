"""MyStrategy trains, does something, and without its term is fine-tuning."""

from pathlib import Path

import cl_runner

import my_strategy

OPTIONS = Path(my_strategy.__file__).parent / "options"
TINY = ("epochs=3", "batch_size=32", "model.widths=[16]", "dataset.tasks=2", "threads=1")


def test_it_trains_and_without_its_term_is_fine_tuning(tmp_path: Path) -> None:
    own = ("trusted_targets=[my_strategy]", "strategy=my_strategy")
    runs = {
        name: cl_runner.run(
            *TINY, *words, f"output_root={tmp_path}", f"name={name}", config_dir=OPTIONS
        )
        for name, words in {
            "whole": (*own, "strategy.weight=10"),
            "without": (*own, "strategy.weight=0"),
            "finetune": ("strategy=finetune",),
        }.items()
    }
    accuracy = {name: run.results.matrix for name, run in runs.items()}
    assert accuracy["without"] == accuracy["finetune"] != accuracy["whole"]
    assert runs["whole"].results.alarms == []
