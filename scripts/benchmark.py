"""Speed as ratios: against a loop written by hand, against imports alone, against Avalanche.

Every ratio is the median over pairs of measurements that take turns on one thread, so a noisy
machine disturbs both sides alike. `python scripts/benchmark.py` prints the table and exits 1
when a bar is missed; `--avalanche FOLDER` also compares with Avalanche 0.6.0, which it installs
into an environment of its own in FOLDER (needs the variable CL_DATA for Fashion-MNIST).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from cl_runner.config.paths import CONF
from cl_runner.data.assemble import Cut, assemble
from cl_runner.data.batches import Batch, batches
from cl_runner.data.samples import Pixels
from cl_runner.data.stream import Outline, Stream, Task
from cl_runner.run_folder.checkpoint import Checkpoints
from cl_runner.strategies.parts.fisher import fisher_diagonal
from cl_runner.tracking.local import LocalFiles
from cl_runner.tracking.progress import Progress
from cl_runner.tracking.tracker import RunInfo, Trackers
from cl_runner.training.alarm import Watch
from cl_runner.training.loop import Training
from cl_runner.training.run import build_strategy
from cl_runner.training.saver import Saver
from cl_runner.training.settings import Settings, read
from cl_runner.training.signals import Signals
from cl_runner.training.state import Position

PAIRS = 21
MLP = ["model=mlp", "model.widths=[256,128]", "model.batch_norm=true", "optimizer=adam"]
CNN = ["model=cnn", "optimizer=sgd", "optimizer.weight_decay=5e-4", "batch_size=64"]
AVALANCHE = ("naive", "ewc", "lwf", "replay")
Ratio = tuple[float, float, float]  # median, lowest, highest
HERE = Path(__file__).resolve().parent


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--avalanche", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose title holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mlp = [*MLP, "batch_size=100"]
    rows: list[tuple[str, float, Callable[[], Ratio]]] = [
        ("MLP, Adam, batch 100: cl-train's loop / by hand", 1.10, lambda: loop(mlp)),
        ("CNN, SGD, batch 64: cl-train's loop / by hand", 1.10, lambda: loop(CNN)),
        ("EWC's step / fine-tuning's, MLP", 1.35, ewc_step),
        ("EWC's step at task 20 / at task 2", 1.05, ewc_flat),
        ("two checkpoints of experiment 1 / its training", 0.02, checkpoints),
        ("Fisher, 2,000 samples: ours / a backward pass a sample", 1 / 10, fisher),
        ("start to first step / imports: torch, torchvision", 1.3, lambda: startup("local")),
        ("the same with W&B / imports: and wandb", 1.5, lambda: startup("wandb")),
    ]
    if arguments.avalanche is not None:
        python = install_avalanche(arguments.avalanche)
        for name in AVALANCHE:
            title = f"split Fashion-MNIST, {name}: ours / Avalanche 0.6.0"
            rows.append((title, 1 / 5, partial(against_avalanche, python, name)))
    missed = False
    for title, bar, measure in (row for row in rows if arguments.only in row[0]):
        ratio, low, high = measure()
        missed |= ratio > bar
        verdict = "MISSED" if ratio > bar else "ok"
        line = f"{title:56} {ratio:6.3f} [{low:.3f} … {high:.3f}]  bar {bar:.2f}  {verdict}"
        print(line, flush=True)
    sys.exit(missed)


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], pairs: int = PAIRS
) -> Ratio:
    """Median, lowest and highest ratio of seconds over pairs that take turns in going first."""
    ratios = []
    for pair in range(-1, pairs):  # the first pair warms up
        order = (ours, theirs) if pair % 2 else (theirs, ours)
        seconds = {side: timed(side) for side in order}
        if pair >= 0:
            ratios.append(seconds[ours] / seconds[theirs])
    return statistics.median(ratios), min(ratios), max(ratios)


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes; if it returns a float, the seconds that it measured itself."""
    start = time.perf_counter()
    measured = work()
    return measured if isinstance(measured, float) else time.perf_counter() - start


def composed(*overrides: str) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides))
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return read(plain)


def synthetic(tasks: int, samples: int) -> Stream:
    """Tasks of random 28 × 28 pictures of ten shared classes; only their number matters here."""
    outline = Outline(
        "domain_incremental", ["t"] * tasks, [list(range(10))] * tasks, (1, 28, 28), 0
    )
    size = tasks * samples
    images = torch.randint(0, 256, (size, 1, 28, 28), dtype=torch.uint8)
    order = torch.arange(size)
    cut = Cut(images, order % 10, order // samples, order)
    pixels = Pixels(mean=[0.5], std=[0.5], crop_padding=0, flip=False, per_picture=False)
    return assemble(outline, cut, cut, pixels, scope="seen", seed=0, device="cpu")


def training(stream: Stream, folder: str, *overrides: str) -> Training:
    """A run under way on this stream, with the local files and the progress bar on."""
    settings = composed(*overrides)
    outline = Outline("domain_incremental", ["t"], [list(range(10))], (1, 28, 28), 0)
    dataset = type("Fixed", (), {"outline": lambda self, seed: outline})()
    settings = replace(settings, dataset=dataset)
    strategy = build_strategy(settings)
    files = LocalFiles(Path(folder))
    trackers = Trackers([files, Progress()])
    for tracker in trackers.trackers:
        tracker.begin(RunInfo(Path(folder), {}, {}, ["t"], 1))
    saver = Saver(Checkpoints(Path(folder), ""), settings.checkpoint, files, Signals())
    return Training(settings, stream, strategy, trackers, "benchmark", saver)


def loop(overrides: list[str]) -> Ratio:
    """One epoch through the runner's loop, and through the shortest loop on the same tensors."""
    stream = synthetic(1, 640 if "model=cnn" in overrides else 5_000)
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory() as folder:
        ours = training(stream, folder, *overrides, "strategy=finetune", "epochs=1")
        ours.strategy.network.grow(task)
        plain = by_hand_network("model=cnn" in overrides)
        optimizer = ours.settings.optimizer(plain.parameters(), 0)
        size = ours.settings.batch_size
        images, labels = task.train.raw, task.train.y

        def by_hand() -> None:
            for rows in torch.randperm(len(labels)).split(size):
                x = images[rows].float().div_(127.5).sub_(1)
                loss = F.cross_entropy(plain(x), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

        ours.watch = Watch(task, ours.parameters)
        return interleaved(lambda: again(ours, task), by_hand)


def again(run: Training, task: Task) -> None:
    """All steps of the task, from its beginning."""
    run.position = Position(task.index)
    run.train(task)


def by_hand_network(cnn: bool) -> nn.Module:
    if cnn:
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(6272, 512), nn.ReLU(), nn.Linear(512, 10),
        )  # fmt: skip
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def at_task(stream: Stream, folder: str, strategy: str, done: int) -> Callable[[], None]:
    """Steps of the task after `done` learned ones, through the runner's loop."""
    settings = [f"strategy={strategy}", "epochs=1", *MLP, "batch_size=100"]
    if strategy == "ewc":
        settings += ["strategy.fisher=empirical", "strategy.fisher_samples=100"]
    run = training(stream, folder, *settings)
    run.strategy.network.grow(stream.tasks[0])
    for task in stream.tasks[:done]:
        run.strategy.end_task(task)
    task = stream.tasks[done]
    run.watch = Watch(task, run.parameters)  # one for the whole task, as in a run
    return lambda: again(run, task)


def ewc_step() -> Ratio:
    stream = synthetic(2, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        return interleaved(at_task(stream, a, "ewc", 1), at_task(stream, b, "finetune", 1))


def ewc_flat() -> Ratio:
    stream = synthetic(20, 5_000)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        return interleaved(at_task(stream, a, "ewc", 19), at_task(stream, b, "ewc", 1))


def checkpoints() -> Ratio:
    """Saving at the two task ends of experiment 1, and its training without: 3 epochs over 36,000
    samples and 5 over 24,000, of which 20 steps are timed each time."""
    stream, steps = synthetic(1, 1280), 20
    whole_run = (3 * math.ceil(36_000 / 64) + 5 * math.ceil(24_000 / 64)) / steps
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory(dir=HERE.parent) as folder:  # on a disk, not in memory
        run = training(stream, folder, *CNN, "optimizer.momentum=0.9", "strategy=lwf", "epochs=1")
        run.strategy.network.grow(task)
        save = Checkpoints(Path(folder) / "checkpoint", "").save
        return interleaved(
            lambda: 2 * timed(lambda: save(run.state())),
            lambda: whole_run * timed(lambda: again(run, task)),
            pairs=7,
        )


def fisher() -> Ratio:
    """The sampled estimate, and the same from one backward pass a sample."""
    stream = synthetic(1, 2000)
    task = stream.tasks[0]
    with tempfile.TemporaryDirectory() as folder:
        network = training(stream, folder, *MLP, "strategy=finetune").strategy.network.eval()
    network.grow(task)
    parameters = list(network.parameters())

    def by_loop() -> None:
        total = torch.zeros_like(parameters_to_vector(parameters))
        for batch in batches(task.train, task, epoch=0, batch_size=1):
            total += _squared_gradient(network, batch, parameters)

    def ours() -> None:
        fisher_diagonal(network, task.train, task, estimator="sampled", batch_size=1)

    return interleaved(ours, by_loop, pairs=7)


def _squared_gradient(
    network: nn.Module, batch: Batch, parameters: list[nn.Parameter]
) -> torch.Tensor:
    log_p = F.log_softmax(network(batch.x), dim=1)
    label = torch.multinomial(log_p.detach().exp(), 1)
    gradients = torch.autograd.grad(log_p.gather(1, label).sum(), parameters)
    return parameters_to_vector(gradients).square()


def startup(tracker: str) -> Ratio:
    """From the command to the first training step, and the imports that it cannot do without."""
    stop = "import os, cl_runner.training.run as r; r.Training._step = lambda *a: os._exit(0)"
    command = f"{stop}; from cl_runner.train import main; main()"
    modules = "torch, torchvision" + (", wandb" if tracker == "wandb" else "")
    dataset = "split_fashion_mnist" if "CL_DATA" in os.environ else "digits"
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            run = f"output_root={folder}"
            words = [f"dataset={dataset}", f"tracker={tracker}", run]
            subprocess.run([sys.executable, "-c", command, *words], check=True)

        def imports() -> None:
            subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)

        return interleaved(ours, imports, pairs=5)


def install_avalanche(folder: Path) -> Path:
    """An environment with Avalanche and this environment's torch, so that both use the same."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "shared.pth").write_text(str(Path(torch.__file__).parent.parent))
        subprocess.run([python, "-m", "pip", "install", "-q", "avalanche-lib==0.6.0"], check=True)
    return python


def against_avalanche(python: Path, strategy: str) -> Ratio:
    """Three tasks of split Fashion-MNIST, one epoch each, ours with evaluation, theirs without."""

    def seconds(*command: str) -> float:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found: float = json.loads(done.stdout.splitlines()[-1])
        return found

    ours = [sys.executable, str(HERE / "benchmark_ours.py"), strategy]
    theirs = [str(python), "-W", "ignore", str(HERE / "benchmark_avalanche.py"), strategy]
    return interleaved(lambda: seconds(*ours), lambda: seconds(*theirs), pairs=5)


if __name__ == "__main__":
    main()
