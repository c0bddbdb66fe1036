"""Damage each file of a run, a sweep and a search many times, and let everything read it in turn.

    python scripts/fuzz_folders.py [MUTATIONS [FILE...]]

Prints a table: file, mutations, reader, exit code, and how often it came out. A traceback or a wait
of more than 20 seconds is a bug; it is shown with its seed. FUZZ_SHOW=1 shows the traceback.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from composing import composed
from damage import OTHERS, damaged, places

import cl_runner
from cl_runner.errors import RunError
from cl_runner.jobs.job import Job, table
from cl_runner.jobs.ledger import write_ledger
from cl_runner.measures import MEASURES
from cl_runner.report import command
from cl_runner.report.render import animation, drawings, reasons, strategy_panels
from cl_runner.report.suites import OfSuite
from cl_runner.reproduce import suite as suites
from cl_runner.reproduce.verdict import as_json, judge
from cl_runner.run_folder import read
from cl_runner.run_folder.checkpoint import loaded, packed, unpacked
from cl_runner.run_folder.files import is_locked
from cl_runner.run_folder.read import PREDICTIONS, PROBE, state_of
from cl_runner.run_folder.resume import with_its_own_settings
from cl_runner.searches import space
from cl_runner.searches.search import Search
from cl_runner.searches.study import Study, kept_in
from cl_runner.searches.table import of as table_of_trials
from cl_runner.sweeps.plan import plan
from cl_runner.training import reference
from cl_runner.training.loop import Training
from cl_runner.training.run import run

TINY = ("threads=1", "batch_size=400", "model.widths=[8]", "epochs=1")
OF_CLASSES = (*TINY, "dataset.tasks=2", "dataset.validation_fraction=0.1", "strategy=rehearsal_kd",
              "strategy.buffer_size=40", "diagnose=probe")  # fmt: skip
OF_REGRESSION = (*TINY, "experiment=regression", "dataset.samples=20")
SEARCHED = ("strategy.weight=choice(1,2)", "dataset.validation_fraction=0.1")
PARTS = ("dataset", "model", "strategy", "optimizer", "scheduler", "tracker", "experiment", "group")
CLASSES, LINES = "000_classes", "001_lines"
SECONDS = 20
Way = Callable[[Path], object]


class Reached(Exception):
    """The run would have continued its training."""


def make(root: Path) -> Path:
    """Make a folder that is a sweep, a suite and a search of two runs."""
    torch.set_num_threads(1)
    for name, words in ((CLASSES, OF_CLASSES), (LINES, OF_REGRESSION)):
        settings, plain = composed(*words)
        names = dict.fromkeys(PARTS, "test")
        run(settings, root / name, config=plain, names=names, overrides=words)
    jobs = [Job(root / name, {"seed": "0"}, ["seed=0"], {}) for name in (CLASSES, LINES)]
    write_ledger(root, jobs)
    suite = min(map(suites.read, suites.names()), key=lambda suite: len(suite.rows))
    nothing: dict[tuple[str, int], Any] = {(r, s): None for r in suite.runs for s in suite.seeds}
    verdict = as_json(suite, [], judge(suite, nothing))
    (root / "verdict.json").write_text(json.dumps(verdict))
    study = Study(root, space.read(SEARCHED), 0)
    for value in (0.25, 0.5):
        trial = study.next(3)
        assert trial is not None
        study.note(trial, folder=CLASSES)
        study.complete(trial, [value, value], value)
    study.next(3)
    return root


def report(root: Path) -> object:
    """Without figures, which are slow and show the same numbers as the tables, and with a moving
    picture that hardly moves."""
    with (
        mock.patch.object(animation, "FRAMES", 2),
        mock.patch.object(drawings, "of_section", lambda section, looks: []),
        mock.patch.object(reasons, "drawings_of", lambda explained: []),
        mock.patch.object(strategy_panels, "blocks", lambda section: []),
        mock.patch.object(OfSuite, "drawings", lambda suite, runs, looks: []),
    ):
        lines, _ = command.report([root], root / "report")
    assert "\x1b" not in "\n".join(lines)
    return lines


def resume(root: Path) -> None:
    """Resume both runs, up to the point at which one would continue its training."""
    for name, words in ((CLASSES, OF_CLASSES), (LINES, OF_REGRESSION)):
        folder = root / name
        with_its_own_settings([f"resume={folder}"])
        settings, plain = composed(*words)
        with mock.patch.object(Training, "to_the_end", side_effect=Reached):
            try:
                names = dict.fromkeys(PARTS, "test")
                run(replace(settings, resume=str(folder)), folder, config=plain, names=names)
            except Reached:
                assert not is_locked(folder)


def planned(root: Path) -> object:
    _, plain = composed(*OF_CLASSES)
    jobs = [Job(root / name, {"seed": "0"}, ["seed=0"], plain) for name in (CLASSES, "002_new")]
    return plan(jobs, root), table(jobs, []), [state_of(job.folder) for job in jobs]


def compared(root: Path) -> object:
    settings, _ = composed(*OF_CLASSES)
    stream = settings.dataset.load(seed=settings.seed, scope=settings.ce_scope, device="cpu")
    return reference.matrix_of(replace(settings, reference=str(root / CLASSES)), stream)


def courses(root: Path) -> object:
    """What a report reads off the predictions of classes."""
    results = read.results(root / CLASSES)
    return [read.course_of(root / CLASSES, results, name) for name in (PREDICTIONS, PROBE)]


def search(root: Path) -> object:
    with kept_in(root):
        searched = space.read(SEARCHED)
        study = Study(root, searched, 0)
        jobs = Search(root, searched, study, {}).jobs()
        trials = table_of_trials(study.trials(), list(searched.searched), MEASURES["accuracy"])
        return study.next(3), jobs, trials


def from_python(root: Path) -> object:
    """What a notebook shows of the runs, and the network of one."""
    runs = cl_runner.load(root)
    shown = [str(runs), runs._repr_html_(), *(run._repr_html_() for run in runs)]
    assert "\x1b" not in "".join(shown)
    return shown, cl_runner.load_network(root / CLASSES)


RUN: dict[str, Way] = {"report": report, "resume": resume, "plan": planned, "reference": compared,
                       "python": from_python}  # fmt: skip
WAYS: dict[str, dict[str, Way]] = {
    **{
        f"{CLASSES}/{file}": RUN
        for file in ("config.yaml", "overrides.yaml", "status.json", "results.json")
    },
    f"{CLASSES}/metrics.jsonl": {"resume": resume},
    f"{CLASSES}/checkpoint": {"resume": resume, "python": from_python},
    f"{CLASSES}/{PREDICTIONS}": {"course": courses},
    f"{CLASSES}/{PROBE}": {"course": courses},
    f"{LINES}/predictions.npz": {"report": report},
    f"{LINES}/results.json": {"report": report},
    "sweep.json": {"report": report, "plan": planned},
    "verdict.json": {"report": report},
    "study.db": {"search": search},
}


def mutated(file: Path, seed: int) -> bytes:
    """The file's bytes, damaged. The contents of a checkpoint are changed under a valid digest."""
    if file.suffix != ".ckpt":
        return damaged(file.name, file.read_bytes(), seed)
    manifest, archive = unpacked(file)
    state, draw = loaded(archive), random.Random(seed)
    holder, key = draw.choice([place for place in places(state) if place[1] != "git"])
    others = [*OTHERS[:5], *OTHERS[7:], torch.zeros(3), torch.zeros(2, 2, dtype=torch.int32)]
    if isinstance(holder, dict) and draw.random() < 0.3:
        del holder[key]
    else:
        holder[key] = draw.choice(others)
    return packed(state, {key: manifest[key] for key in ("schema", "task", "step", "settings")})


def outcomes(made: Path, name: str, seeds: range, root: Path) -> Iterator[tuple[str, str]]:
    """For each seed, who read the file and how that ended."""
    ways = list(WAYS[name].items())
    for seed in seeds:
        word, way = ways[seed % len(ways)]
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(made, root)
        file = root / name
        file = next(file.glob("*.ckpt")) if file.is_dir() else file
        if word == "resume" and not name.endswith("results.json"):
            status = root / CLASSES / "status.json"
            status.write_text(status.read_text().replace("complete", "interrupted"))
        file.write_bytes(mutated(file, seed))
        yield word, _ended(way, root, f"{name}, seed {seed}, {word}")


def _ended(way: Way, root: Path, which: str) -> str:
    try:
        with within(SECONDS):
            way(root)
    except RunError as error:
        assert len(str(error)) < 3000, (which, str(error)[:500])
        return f"exit {error.exit_code}"
    except Exception as error:
        print(f"{which}: {error!r}"[:300], file=sys.stderr)
        if os.environ.get("FUZZ_SHOW"):
            traceback.print_exc()
        return "traceback"
    return "read or reported"


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    wanted = sys.argv[2:] or list(WAYS)
    logging.getLogger("cl_runner").propagate = False
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder) / "made")
        for name in wanted:
            counts = Counter(outcomes(made, name, range(count), Path(folder) / "work"))
            for (word, ended), times in sorted(counts.items()):
                print(f"| {name} | {count} | {word} | {ended} | {times} |", flush=True)


if __name__ == "__main__":
    main()
