"""The network of a run, from its folder: it classifies pictures as the run did in the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.api.accuracies import CHUNK, Accuracies, chunks
from cl_runner.api.pictures import features, stored
from cl_runner.api.process import left_as_it_was
from cl_runner.config import targets
from cl_runner.config.identity import settings_digest
from cl_runner.config.traits import Config
from cl_runner.config.unrecorded import completed
from cl_runner.data.samples import Preparation
from cl_runner.data.stream import Outline
from cl_runner.data.views import View
from cl_runner.errors import CheckpointError, ConfigError, DataError, RunError
from cl_runner.models.bodies import weights_stay_unread
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.run_folder import read
from cl_runner.run_folder.checkpoint import Checkpoints
from cl_runner.strategies.strategy import Strategy
from cl_runner.training.run import build_strategy
from cl_runner.training.settings import Settings
from cl_runner.training.settings import read as settings_of
from cl_runner.training.state import check_strategy

ELSEWHERE = ("tracker", "reference", "first_task_cache", "resume", "threads")
"""Settings that name something outside the folder, or the machine; no network depends on them."""


class TrainedNetwork(nn.Module):
    """Scores of all C classes, as the run's strategy predicts at its end, on the CPU and in
    evaluation mode. `icarl` scores by the nearest mean, `bic` corrects its outputs; for the other
    strategies the scores are the outputs of `network`."""

    def __init__(
        self, strategy: Strategy, outline: Outline, pixels: Preparation | None, view: View | None
    ) -> None:
        super().__init__()
        self.strategy, self.outline = strategy, outline
        self._pixels, self._view = pixels, view
        labels = outline.labels[:1] if outline.shared else outline.labels
        self.classes = [label for task in labels for label in task]
        """The data set's own label of each output. In regression [0]."""
        names = outline.class_names
        self.class_names = None if names is None else [names[label] for label in self.classes]
        """The name of each output, where the data set has names."""

    @property
    def network(self) -> Network:
        """The network alone: `features(x)` gives the input of its classifier."""
        return self.strategy.network

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, channels, H, W] float32, from `preprocess`. Returns the scores, [B, C]."""
        return self.strategy.predict(x)

    def preprocess(self, x: Any, *, task: int | None = None) -> Tensor:
        """[N, channels, H, W] float32: one picture or several as the network sees them, padded and
        normalised, on its device.

        x: PIL pictures, or arrays or tensors of uint8: [H, W] if there is one colour,
        [channels, H, W], [H, W, channels], or N of them; or a list. In regression numbers; where
        the data set holds features, those, [N, D] or [D]. task: counted from 1, where each task
        shows pictures in its own way, as in permuted MNIST.

        Raises DataError for pictures of another type or size, ConfigError for a wrong task.
        """
        device = next(self.parameters()).device
        if self._pixels is None:
            return torch.as_tensor(x, dtype=torch.float32, device=device).view(-1, 1, 1, 1)
        pad = self._pixels.padding
        channels, height, width = self.outline.shape
        as_stored = features if self.outline.features else stored
        images = as_stored(x, (channels, height - 2 * pad, width - 2 * pad)).to(device)
        images = F.pad(images, [pad] * 4)
        if self._view is not None:
            tasks = torch.full((len(images),), self._index(task), device=device)
            images = self._view.to(str(device))(images, tasks)
        return self._pixels.to(str(device))(images)

    def classify(self, x: Any, *, task: int | None = None) -> list[int]:
        """The data set's own label of each picture. x: as for `preprocess`.

        task: counted from 1; only its classes compete then. Needed where each task shows pictures
        in its own way. Raises as `preprocess`.
        """
        self._refuse_regression()
        scores = self._scores(x, task)
        if task is not None:
            scores = _among(scores, [self._index(task)] * len(scores), self.outline)
        return [self.classes[output] for output in scores.argmax(1).tolist()]

    def evaluate(self, x: Any, y: Any = None, *, task: int | None = None) -> Accuracies:
        """The accuracy on these pictures, by task and by class.

        x: pictures as for `preprocess`, y: [N] the data set's own labels; or x: a Dataset of such
        pairs. In a task-incremental run only the classes of a picture's own task compete, otherwise
        all. task: counted from 1, that of all pictures; needed where tasks have the same labels and
        the run tells them apart.

        Raises DataError for a label that the run has not learned and for pictures that do not fit,
        ConfigError for a wrong task and for a run of regression.
        """
        self._refuse_regression()
        return Accuracies.of(
            judged
            for images, labels in chunks(x, y)
            for judged in self._judged(images, labels, task)
        )

    def _judged(
        self, images: Any, labels: list[int], task: int | None
    ) -> Iterator[tuple[str | None, int, bool]]:
        """For each picture its task, if it is known, its label, and whether it is right."""
        home = {label: self._home(label, task) for label in {*labels}}
        scores = self._scores(images, task)
        if self.outline.scenario == "task_incremental":
            scores = _among(scores, [home[label][0] for label in labels], self.outline)
        known = task is not None or not self.outline.shared
        for label, output in zip(labels, scores.argmax(1).tolist(), strict=True):
            index, expected = home[label]
            yield self.outline.names[index] if known else None, label, output == expected

    @torch.no_grad()
    def _scores(self, x: Any, task: int | None) -> Tensor:
        """[N, C], of pictures."""
        with evaluation_mode(self):
            return torch.cat([self(part) for part in self.preprocess(x, task=task).split(CHUNK)])

    def _home(self, label: int, task: int | None) -> tuple[int, int]:
        """The index of the task that has this label, and the output for it."""
        every = range(len(self.outline.labels)) if task is None else [self._index(task)]
        having = [index for index in every if label in self.outline.labels[index]]
        if not having:
            raise DataError(f"data error: the run has learned no class {label}; see `classes`")
        if len(having) > 1 and not self.outline.shared:
            allowed = f"must be given, as {len(having)} tasks have a class {label}"
            raise ConfigError.of("task", None, allowed)
        first = having[0]
        return first, self.outline.ranges()[first].start + self.outline.labels[first].index(label)

    def _index(self, task: int | None) -> int:
        tasks = len(self.outline.names)
        if task is None:
            allowed = f"must be given, 1 … {tasks}: each task shows pictures in its own way"
            raise ConfigError.of("task", None, allowed)
        if type(task) is not int or not 1 <= task <= tasks:
            raise ConfigError.of("task", task, f"must be the number of a task, 1 … {tasks}")
        return task - 1

    def _refuse_regression(self) -> None:
        if self._pixels is None:
            allowed = "has no classes; compare network(network.preprocess(x)) with the targets"
            raise ConfigError.of("scenario", self.outline.scenario, allowed)


def _among(scores: Tensor, tasks: Sequence[int], outline: Outline) -> Tensor:
    """[N, C]: −∞ for outputs that are not of the sample's task. tasks: [N] indices."""
    ranges = outline.ranges()
    outputs = torch.arange(scores.shape[1])
    first = torch.tensor([ranges[index].start for index in tasks])[:, None]
    end = torch.tensor([ranges[index].stop for index in tasks])[:, None]
    others = (outputs < first) | (outputs >= end)
    return scores.masked_fill(others.to(scores.device), -torch.inf)


def load_network(
    folder: str | Path, *, trusted_targets: Sequence[str] = (), root: str | Path | None = None
) -> TrainedNetwork:
    """The network of a complete run, as it was in the end, with what it needs to classify.

    A folder is data: only tensors and plain values are loaded, and only parts of cl-runner are
    built. trusted_targets: your own packages whose classes the run used, as for `cl-train`; they
    are imported. root: where the data set is, if its files say which classes there are
    (`image_folder`, `arrays`, `csv` and the like); the path that the run recorded is not followed,
    and no data set is read otherwise.

    Raises RunError if the run is not complete, CheckpointError if its files are missing or damaged
    or do not fit each other, ConfigError if there is no run or its settings cannot be used.
    """
    if isinstance(trusted_targets, str):
        raise TypeError(f"trusted_targets is a list: [{trusted_targets!r}]")
    folder = Path(folder)
    state = read.state_of(folder)
    if state == read.MISSING:
        raise ConfigError.of("FOLDER", folder, "holds no run")
    if state != read.DONE:
        raise RunError(f"run folder error: the run in {folder} is not complete ({state})")
    config = read.config(folder)
    if config is None:
        raise CheckpointError(f"checkpoint error: {folder / 'config.yaml'} is missing")
    saved = Checkpoints(folder / "checkpoint", settings_digest(config)).newest()
    with left_as_it_was(), weights_stay_unread():
        if trusted_targets:
            sys.path.append(os.getcwd())  # where your own package may be
        settings = _settings(_at(config, root), trusted_targets)
        strategy = build_strategy(settings)
        try:
            check_strategy(saved, strategy)
            strategy.load_state_dict(saved["strategy"])
        except Exception as error:  # nobody can list what torch raises on a state it did not write
            reason = f"does not fit its settings: {' '.join(str(error).splitlines()[:3])[:200]}"
            raise CheckpointError(f"checkpoint error: {folder} {reason}") from None
        dataset, seed = settings.dataset, settings.seed
        view = dataset.view(seed) if hasattr(dataset, "view") else None
        pixels = getattr(dataset, "pixels", None)
        return TrainedNetwork(strategy, dataset.outline(seed), pixels, view).eval()


def _at(config: Config, root: str | Path | None) -> Config:
    """The configuration with the data set here. Raises ConfigError if it has to be told where."""
    recorded = config.get("dataset")
    if not isinstance(recorded, dict) or "root" not in recorded:
        return config
    sources = recorded.get("sources", [recorded.get("source")])
    own = [each for each in sources if isinstance(each, dict) and "root" in each]
    if own and root is None:
        allowed = "must be given: the files of this data set say which classes there are"
        raise ConfigError.of("root", None, allowed, "root=FOLDER")
    place = {"root": str(root or "")}
    moved = [each | place if each in own else each for each in sources]
    key = {"sources": moved} if "sources" in recorded else {"source": moved[0]}
    return config | {"dataset": recorded | place | key}


def _settings(config: Config, trusted: Sequence[str]) -> Settings:
    """The settings of the run that its network depends on; the others are neutral, and those that
    came after it have their defaults."""
    targets.trust(trusted)
    neutral = dict.fromkeys(ELSEWHERE) | {"device": "cpu", "trusted_targets": list(trusted)}
    recorded = {key: value for key, value in config.items() if key != "environment"}
    return settings_of(completed(recorded) | neutral | {"trackers": []})
