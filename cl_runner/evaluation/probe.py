"""`diagnose=probe`: which classes a linear head can still tell apart by the network's features."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Stream, Task
from cl_runner.errors import Diverged
from cl_runner.evaluation.predict import CHUNK, predict
from cl_runner.forgetting import OWN, PROBE, PROBE_OWN, Classes, key_of, labels_of
from cl_runner.models.network import evaluation_mode
from cl_runner.strategies.strategy import Strategy

Diagnose = Literal["probe"]
MOST_SAMPLES = 10_000
STRENGTH = 1.0  # C of scikit-learn: the inverse of the weight of ‖W‖² / 2 beside the summed loss
MOST_STEPS = 200  # of L-BFGS


class Probe:
    """At the end of each task, fits a new linear head to the features that the network has then.
    Predicts the validation samples of all tasks so far, with this head and as the run does.

    The head is multinomial logistic regression with an L2 penalty. It is fitted to training samples
    of all tasks so far, 10,000 drawn at random if there are more, as they are without augmentation.
    Each feature has mean 0 and deviation 1 on them. Test samples are not used: what one learns
    here may guide a choice. Nothing of the run is changed, and its draws depend on the task alone.

    diagnose: None does nothing at all.
    """

    def __init__(self, diagnose: Diagnose | None, stream: Stream) -> None:
        self.diagnose, self.tasks = diagnose, stream.tasks
        self.predictions: dict[str, Tensor] = {}  # under the names of `forgetting`, [N] int16

    def state_dict(self) -> dict[str, Any]:
        return {"predictions": dict(self.predictions)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.predictions = dict(state["predictions"])

    def after_task(self, strategy: Strategy, task: Task) -> None:
        """Add the predictions after this task."""
        if self.diagnose is None:
            return
        so_far = self.tasks[: task.index + 1]
        features, labels = self._fitted_on(strategy, task)
        known = labels < task.seen  # a blurry task shows samples of later classes, too
        head = _Head(features[known], labels[known], task.seen)
        self._keep(labels_of(task.index), task.validation.y)
        for each in so_far:
            key, samples = key_of(task.index, each.index), each.validation
            own = predict(strategy, samples, each, task.seen)
            self._keep(key, own.among_seen)
            self._keep(key + OWN, own.among_own)
            scores = head.scores(_features(strategy, samples))
            mine = scores[:, each.classes.start : each.classes.stop]
            self._keep(key + PROBE, torch.from_numpy(scores.argmax(1)))
            self._keep(key + PROBE_OWN, torch.from_numpy(mine.argmax(1) + each.classes.start))

    def arrays(self) -> dict[str, Classes]:
        """The content of `probe.npz`; empty if nothing was diagnosed."""
        return {key: value.numpy() for key, value in self.predictions.items()}

    def _keep(self, key: str, classes: Tensor) -> None:
        self.predictions[key] = classes.to("cpu", torch.int16)

    def _fitted_on(self, strategy: Strategy, task: Task) -> tuple[Classes, Classes]:
        """Features [N, features] and classes [N]."""
        so_far = self.tasks[: task.index + 1]
        sizes = [len(each.train) for each in so_far]
        drawn = torch.randperm(sum(sizes), generator=task.generator("probe"))[:MOST_SAMPLES]
        ends = torch.tensor(sizes).cumsum(0)
        parts = [
            each.train[(rows - (end - size)).to(each.train.index.device)]
            for each, size, end in zip(so_far, sizes, ends, strict=True)
            for rows in [drawn[(drawn >= end - size) & (drawn < end)].sort().values]
        ]
        features = [_features(strategy, part) for part in parts if len(part) > 0]
        labels = [part.y.cpu().numpy() for part in parts if len(part) > 0]
        return np.concatenate(features), np.concatenate(labels)


class _Head:
    """A linear head, fitted to features [N, features] and classes [N]; `seen` classes are known."""

    def __init__(self, features: Classes, classes: Classes, seen: int) -> None:
        self.seen, self.known = seen, np.unique(classes)
        self.mean, deviation = features.mean(0), features.std(0)
        self.deviation = np.where(deviation > 0, deviation, 1.0)
        self.model: Any = None
        if len(self.known) > 1:  # a single class is always the answer
            from sklearn.linear_model import LogisticRegression  # slow to import

            self.model = LogisticRegression(C=STRENGTH, max_iter=MOST_STEPS)
            # One thread, so that the last bits do not depend on their number.
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it need not have converged
                self.model.fit(self._standard(features), classes)

    def scores(self, features: Classes) -> Classes:
        """[N, seen]: log p of each class; −∞ for one that no sample had."""
        scores = np.full((len(features), self.seen), -np.inf)
        if self.model is None:
            scores[:, self.known] = 0.0
        else:
            with threadpool_limits(1):
                scores[:, self.known] = self.model.predict_log_proba(self._standard(features))
        return scores

    def _standard(self, features: Classes) -> Classes:
        standard: Classes = (features - self.mean) / self.deviation
        return standard


@torch.no_grad()
def _features(strategy: Strategy, samples: Samples) -> Classes:
    """The input of the classifier, [N, features] in double precision."""
    with evaluation_mode(strategy):
        chunks = [strategy.network.features(chunk.x) for chunk in samples.chunks(CHUNK)]
    features: Classes = torch.cat(chunks).double().cpu().numpy()
    if not np.isfinite(features).all():
        raise Diverged("diverged: a feature is not finite, so no head can be refitted to them")
    return features
