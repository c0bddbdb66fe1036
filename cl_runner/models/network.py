"""A network: a body that computes features, and a growing classifier (`classifier.py`).

Two things may change when the second task begins. A hidden layer may be inserted before the
classifier: random, or the identity, which changes nothing at first because features behind a ReLU
are not negative. And BatchNorm's statistics may be frozen as the first task left them; otherwise
they move in every step of later tasks, even where only the head learns.

A parameter whose `requires_grad` the model sets to False stays frozen through the whole run: it has
no gradient, no optimizer state and no penalty. Frozen BatchNorm layers stay in evaluation mode, and
so does a body of which everything is frozen. Its features of a sample are always the same, so that
they can take the place of the pictures (`skip_body`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from cl_runner.config.setting_types import LATER
from cl_runner.data.likelihood import CATEGORICAL, Likelihood
from cl_runner.data.stream import Outline, Scope, Task
from cl_runner.errors import ConfigError
from cl_runner.models.classifier import (
    Classifier,
    GrowingClassifier,
    Init,
    NewRows,
    initialise,
)
from cl_runner.models.inserted import InsertedLayer, draw_layer, zero_layer
from cl_runner.models.nearest_mean import NearestMean
from cl_runner.randomness import seeded

FreezeStatistics = Annotated[bool, LATER]
Precision = Literal["float32", "bf16"]
MemoryFormat = Literal["contiguous", "channels_last"]


class Network(nn.Module):
    """Logits of all C classes from pictures [B, channels, H, W]."""

    def __init__(
        self,
        body: nn.Module,
        shape: tuple[int, int, int],
        features: int,
        classes: int,
        *,
        init: Init,
        new_rows: NewRows,
        inserted_layer: InsertedLayer = "none",
        freeze_statistics: bool = False,
        classifier: Classifier = "linear",
    ) -> None:
        super().__init__()
        if classifier == "cosine" and new_rows == "zero":
            allowed = "has no direction, and classifier=cosine compares directions"
            raise ConfigError.of("new_rows", new_rows, allowed, "new_rows=default")
        self.body = body
        self.shape = shape
        self.likelihood: Likelihood = CATEGORICAL
        self.takes_features = False
        self.skips_body = False
        self.inserted = None if inserted_layer == "none" else zero_layer(features)
        self.classifier = GrowingClassifier(features, classes, classifier)
        by_means = classifier == "nearest_mean"
        self.nearest_mean = NearestMean(classes, features) if by_means else None
        self.stage = Stage()
        self.init: Init = init
        self.new_rows: NewRows = new_rows
        self.inserted_layer: InsertedLayer = inserted_layer
        self.on_pass: Callable[[Network, int], None] | None = None
        """Called with the number of samples each time that some pass."""
        self.freeze_statistics = freeze_statistics
        for module in body.modules():
            initialise(module, init)
        self.frozen = self._frozen()
        self._trainable: tuple[nn.ParameterList | None, frozenset[str], list[nn.Parameter]]
        self._trainable = (None, self.frozen, [])
        self.compute_in("float32", "contiguous")

    def compute_in(self, precision: Precision, memory_format: MemoryFormat) -> None:
        """How to compute from now on. Copies of the network, such as a teacher, do the same.

        `bf16`: torch.autocast to bfloat16, whoever calls the network. Weights, outputs and features
        stay float32, and so do losses. `channels_last`: the order of pictures in memory.
        """
        self.precision: Precision = precision
        self.memory_format: MemoryFormat = memory_format

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that the model has not frozen, in the order of `parameters()`. They hold P
        numbers. A phase in which only the head learns does not change this list."""
        rows, frozen, kept = self._trainable  # strategies ask several times a step: do not search
        if rows is not self.classifier.weights or frozen is not self.frozen:
            kept = [p for name, p in self.named_parameters() if name not in self.frozen]
            self._trainable = (self.classifier.weights, self.frozen, kept)
        return list(kept)

    @property
    def theta(self) -> Tensor:
        """[P]: a copy of the trainable parameters, one after another, without gradient."""
        return parameters_to_vector(self.trainable).detach()

    @property
    def head(self) -> set[nn.Parameter]:
        """The parameters of the classifier and of an inserted layer."""
        inserted = [] if self.inserted is None else self.inserted.parameters()
        return {*self.classifier.parameters(), *inserted}

    def _frozen(self) -> frozenset[str]:
        """The names of those without a gradient before the run begins."""
        return frozenset(name for name, p in self.named_parameters() if not p.requires_grad)

    @property
    def classes(self) -> int:
        """Outputs: the classes of the whole stream."""
        return sum(self.classifier.sizes)

    @property
    def inputs(self) -> torch.dtype:
        """Of samples as they are stored."""
        return torch.float32 if self.takes_features else self.likelihood.inputs

    def fit_to(self, outline: Outline, scope: Scope, one_layer: bool = False) -> None:
        """Set the likelihood, which rows of the classifier are born together, and whether all are
        one layer. Comes before any use of the network."""
        self.likelihood, self.takes_features = outline.likelihood, outline.features
        self.classifier.split(outline.births(scope), one_layer)
        self.frozen = self._frozen()

    @property
    def body_rests(self) -> bool:
        """Whether the model has frozen all of its body, so that features never change."""
        whole = {f"body.{name}" for name, _ in self.body.named_parameters()}
        return bool(whole) and whole <= self.frozen

    def skip_body(self) -> None:
        """From now on samples are what `features_of_body` gives, [B, 1, 1, features] float32. Comes
        before any use of the network."""
        self.skips_body = self.takes_features = True
        self.shape = (1, 1, self.classifier.features)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C]; −∞ for classes not born yet."""
        return self._computed(self.classifier, self.features(x))

    def scores(self, x: Tensor) -> Tensor:
        """[B, C], by which samples are classified: the outputs, unless there are class means of the
        network as it is (`nearest_mean.py`)."""
        if self.nearest_mean is not None and self.nearest_mean.current:
            scores: Tensor = self.nearest_mean(self.features(x))
            return scores
        outputs: Tensor = self(x)
        return outputs

    def features(self, x: Tensor) -> Tensor:
        """[B, features]: the input of the classifier. x: pictures, or where `skips_body` what
        `features_of_body` gives, [B, 1, 1, features]."""
        if self.on_pass is not None:
            self.on_pass(self, len(x))
        return self._computed(self._features, x)

    def features_of_body(self, x: Tensor) -> Tensor:
        """[B, 1, 1, features] of pictures."""
        return self._computed(self._through_body, x)[:, None, None]

    def _computed(self, layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if self.precision == "float32":
            return layers(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return layers(x).float()

    def _features(self, x: Tensor) -> Tensor:
        features = x.flatten(1) if self.skips_body else self._through_body(x)
        if self.inserted is not None and self.stage.later:
            features = self.inserted(features)
        return features

    def _through_body(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(
            _channels_last(x) if self.memory_format == "channels_last" else x
        )
        return features

    def grow(self, task: Task) -> None:
        """Give outputs to the classes that are born with this task. Their rows are drawn now, by
        `init` at the first task and by `new_rows` later; as one layer, all at the first task."""
        how = self.init if task.first else self.new_rows
        with seeded(task.seed, task.index, "classifier rows"):
            self.classifier.grow(task.born, how)
        if task.index == 1:
            self.stage.later = True
            if self.inserted is not None:
                with seeded(task.seed, "inserted layer"):
                    draw_layer(self.inserted, self.inserted_layer)

    def by_age(self, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        """These parameters, grouped by when they begin to learn: an inserted layer and each group
        of rows begin later than the rest, so their optimizer state is younger."""
        later = [] if self.inserted is None else [set(self.inserted.parameters())]
        later += map(set, self.classifier.groups)
        first = set(parameters).difference(*later)
        groups = [[p for p in parameters if p in group] for group in (first, *later)]
        return [group for group in groups if group]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.body_rests:
            self.body.eval()
        all_rest = self.freeze_statistics and self.stage.later
        for prefix, module in self.body.named_modules(prefix="body"):
            normalises = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if normalises and (all_rest or self._is_frozen(prefix, module)):
                module.eval()
        return self

    def _is_frozen(self, prefix: str, layer: nn.Module) -> bool:
        """Whether all its parameters are frozen; if it has none, all parameters of the body."""
        if not self.frozen:
            return False
        own = {f"{prefix}.{name}" for name, _ in layer.named_parameters()}
        whole = {f"body.{name}" for name, _ in self.body.named_parameters()}
        return (own or whole) <= self.frozen


def _channels_last(x: Tensor) -> Tensor:
    """The same pictures with their colours last in memory. `contiguous` leaves those of one colour
    as they are, and torch.func has no rule for it."""
    last = x.permute(0, 2, 3, 1)
    return last.flatten(1).view(len(x), *last.shape[1:]).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Whether the second task has begun, from which on the network may be different."""

    def __init__(self) -> None:
        super().__init__()
        self.later = False

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.later)

    def set_extra_state(self, state: Tensor) -> None:
        self.later = bool(state)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards the module is in its own mode again."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
