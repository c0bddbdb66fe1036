"""The network of a run: it classifies pictures as the run did in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_runner.api.accuracies import CHUNK, Accuracies, chunks
from cl_runner.api.pictures import features, numbers, stored
from cl_runner.data.samples import Preparation
from cl_runner.data.stream import Outline
from cl_runner.data.views import View
from cl_runner.errors import ConfigError, DataError
from cl_runner.models.network import Network, evaluation_mode
from cl_runner.strategies.strategy import Strategy


class TrainedNetwork(nn.Module):
    """Scores of all C classes, as the run's strategy predicts at its end, on the CPU and in
    evaluation mode. `icarl` scores by the nearest mean, `bic` corrects its outputs, `separate` has
    a network for each task, and `ncm`, `slda` and `ranpac` have a classifier of their own
    (float64); for the other strategies the scores are the outputs of `network`, or with
    `model.classifier=nearest_mean` by the nearest mean."""

    def __init__(
        self, strategy: Strategy, outline: Outline, pixels: Preparation | None, view: View | None
    ) -> None:
        super().__init__()
        self.strategy, self.outline = strategy, outline
        self._pixels, self._view = pixels, view

    @property
    def classes(self) -> list[int]:
        """The data set's own label of each output. In regression [0].

        Raises ConfigError where an output is another class in each task; `outline.labels` has the
        labels of each.
        """
        return self._labels(None)

    @property
    def class_names(self) -> list[str] | None:
        """The name of each output, where the data set has names. Raises as `classes`."""
        names = self.outline.class_names
        return None if names is None else [names[label] for label in self.classes]

    @property
    def network(self) -> Network:
        """The network alone: `features(x)` gives the input of its classifier."""
        return self.strategy.network

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, channels, H, W] float32, from `preprocess`. Returns the scores, [B, C]."""
        return self.strategy.predict(
            self.network.features_of_body(x) if self.network.skips_body else x
        )

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
            return numbers(x).reshape(-1, 1, 1, 1).to(device)
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
        in its own way, and where an output is another class in each. Raises as `preprocess`.
        """
        self._refuse_regression()
        classes = self._labels(task)
        scores = self._scores(x, task)
        if task is not None:
            scores = _among(scores, [self._index(task)] * len(scores), self.outline)
        return [classes[output] for output in scores.argmax(1).tolist()]

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
        homes = {label: self._home(label, task) for label in {*labels}}
        scores = self._scores(images, task)
        if self.outline.scenario == "task_incremental":
            scores = _among(scores, [homes[label][0][0] for label in labels], self.outline)
        for label, output in zip(labels, scores.argmax(1).tolist(), strict=True):
            tasks, expected = homes[label]
            known = self.outline.names[tasks[0]] if len(tasks) == 1 else None
            yield known, label, output == expected

    @torch.no_grad()
    def _scores(self, x: Any, task: int | None) -> Tensor:
        """[N, C], of pictures."""
        with evaluation_mode(self):
            return torch.cat([self(part) for part in self.preprocess(x, task=task).split(CHUNK)])

    def _home(self, label: int, task: int | None) -> tuple[list[int], int]:
        """The indices of the tasks that have this label, and the output for it."""
        every = range(len(self.outline.labels)) if task is None else [self._index(task)]
        having = [index for index in every if label in self.outline.labels[index]]
        if not having:
            what = f"the run has learned no class {label}; see `outline.labels`"
            raise DataError(f"data error: {what}")
        starts = [numbers.start for numbers in self.outline.ranges()]
        first, *others = {starts[i] + self.outline.labels[i].index(label) for i in having}
        if others:
            allowed = f"must be given, as {len(having)} tasks have a class {label}"
            raise ConfigError.of("task", None, allowed)
        return having, first

    def _labels(self, task: int | None) -> list[int]:
        """The data set's own label of each output; where tasks share outputs, in this task."""
        own = self.outline.labels
        if not self.outline.shared:
            return [label for labels in own for label in labels]
        if task is not None:
            return list(own[self._index(task)])
        if any(labels != own[0] for labels in own):
            allowed = f"must be given, 1 … {len(own)}: an output is another class in each task"
            raise ConfigError.of("task", None, allowed)
        return list(own[0])

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
