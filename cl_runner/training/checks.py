"""The checks of a run: before its first step, before each task, at each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cl_runner.data.batches import Batch
from cl_runner.data.likelihood import Categorical
from cl_runner.data.stream import Outline, Stream, Task
from cl_runner.errors import ConfigError, Diverged, RunError, first_line
from cl_runner.models.network import Network
from cl_runner.strategies.strategy import Strategy


def check_network(network: object, outline: Outline) -> None:
    """Raise ConfigError unless it is a Network with these classes that takes these inputs."""
    name = type(network).__name__
    if not isinstance(network, Network):
        raise ConfigError.of("model", name, "is not a Network (cl_runner.models.network)")
    if network.classes != outline.classes:
        sizes = f"{network.classes} outputs, but the data set has {outline.classes} classes"
        allowed = f"its classifier has {sizes}"
        raise ConfigError.of("model", name, allowed)
    if outline.features and any(isinstance(m, nn.Conv2d) for m in network.body.modules()):
        allowed = "convolves pictures, and this data set holds features"
        raise ConfigError.of("model", name, allowed, "model=mlp, or model=wrapped")
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, *outline.shape))
    except RuntimeError as error:
        allowed = f"cannot take pictures of {list(outline.shape)} ({first_line(error)})"
        raise ConfigError.of("model", name, allowed) from None
    network.train()


def check_classifier(strategy: Strategy) -> None:
    """Raise ConfigError if the network is to classify by class means where there are no classes, or
    the strategy scores samples in its own way."""
    network, name = strategy.network, type(strategy).__name__
    if network.nearest_mean is None:
        return
    if not isinstance(network.likelihood, Categorical):
        allowed = "needs classes, and the targets of this data set are real numbers"
    elif type(strategy).predict is not Strategy.predict:
        allowed = f"has no effect on {name}, which scores samples in its own way"
    else:
        return
    hint = "model.classifier=linear"
    raise ConfigError.of("model.classifier", "nearest_mean", allowed, hint)


def check_samples(strategy: Strategy, stream: Stream) -> None:
    """Raise ConfigError if the strategy cannot learn a task, by its `training_size`."""
    _sizes(strategy, stream)


def check_whole_steps(strategy: Strategy, stream: Stream, samples: int) -> None:
    """Raise ConfigError if some task has no step of this number of samples, and smaller ones are
    left out."""
    fewest = min(_sizes(strategy, stream), default=samples)
    if fewest < samples:
        allowed = f"leaves an epoch of {fewest} samples without a step, which takes {samples}"
        raise ConfigError.of("drop_last", True, allowed, "drop_last=false, or a smaller batch_size")


def check_batches(strategy: Strategy, stream: Stream, batch_size: int) -> None:
    """Raise ConfigError if BatchNorm that learns would get a batch of one sample, which has no
    variance."""
    normalising = nn.modules.batchnorm._BatchNorm
    if not any(isinstance(m, normalising) and m.training for m in strategy.train().modules()):
        return
    sizes = _sizes(strategy, stream)
    samples = next((n for n in sizes if _leaves_one(n, batch_size)), None)
    if samples is None:
        return
    last = "a last batch of one" if batch_size > 1 else "batches of one"
    allowed = (
        f"makes {last} of {samples} samples, but BatchNorm needs at least two samples in a batch"
    )
    others = " or ".join(map(str, nearest_without_one(sizes, batch_size)))
    hint = f"batch_size={others}, or a model without it" if others else "a model without it"
    raise ConfigError.of("batch_size", batch_size, allowed, hint)


def _sizes(strategy: Strategy, stream: Stream) -> list[int]:
    """The samples of an epoch of each task that takes steps."""
    steps = [task for task in stream.tasks if strategy.turns(task) > 0]
    return [strategy.training_size(stream, task) for task in steps]


def nearest_without_one(sizes: Sequence[int], batch_size: int) -> list[int]:
    """The next smaller and the next larger batch size without a batch of one, if they exist; sizes:
    the samples of each task."""
    sides = range(batch_size - 1, 1, -1), range(batch_size + 1, max(sizes) + 2)
    good = [
        next((b for b in side if not any(_leaves_one(n, b) for n in sizes)), None) for side in sides
    ]
    return [b for b in good if b is not None]


def _leaves_one(samples: int, batch_size: int) -> bool:
    """Whether an epoch over this number of samples has a batch of one."""
    return batch_size == 1 or samples % batch_size == 1


def check_terms(strategy: Strategy, terms: object) -> None:
    """Raise ConfigError unless an objective gave named scalars that have a gradient."""
    if isinstance(terms, dict) and terms:
        wrong = (f"the term {n} is {_described(t)}" for n, t in terms.items() if not _is_scalar(t))
        lack = "" if any(_has_gradient(t) for t in terms.values()) else "no term has a gradient"
        what = next(wrong, lack)
    else:
        what = f"the result is {_described(terms)}"
    if what:
        allowed = f"objective() must return a dict of named scalar tensors, but {what}"
        hint = 'return {"task": loss} with a loss that is averaged over the batch'
        raise ConfigError.of("strategy", type(strategy).__name__, allowed, hint)


def _is_scalar(term: object) -> bool:
    return isinstance(term, Tensor) and term.shape == ()


def _has_gradient(term: object) -> bool:
    return isinstance(term, Tensor) and term.requires_grad


def _described(given: object) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {list(given.shape)}"
    return "an empty dict" if given == {} else f"of type {type(given).__name__}"


def finite(
    terms: dict[str, Tensor], parameters: Sequence[nn.Parameter], batch: Batch, step: int
) -> dict[str, float]:
    """The terms as numbers. Raises Diverged, before the weights change, if one of them or of the
    gradients is not finite; `step` is the number of the step in the run, from 0."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    # The cheapest test: a sum is only finite if all summands are. Stacked for a single transfer.
    scalars = [*(term.detach() for term in terms.values()), *(g.sum() for g in gradients)]
    values: list[float] = torch.stack(scalars).tolist()
    named = dict(zip(terms, values[: len(terms)], strict=True))
    if all(map(math.isfinite, values)):
        return named
    what = "a gradient" if all(map(math.isfinite, named.values())) else "the loss"
    _, task, epoch, number = batch.position
    raise Diverged(
        f"diverged: {what} is not finite at task {int(task) + 1}, epoch {int(epoch) + 1}, "
        f"step {step + 1} (batch {int(number) + 1} of the epoch): "
        f"{', '.join(f'{name} {value:g}' for name, value in named.items())}; "
        "it did not change any weight"
    )


def check_stability(
    strategy: Strategy, optimizer: torch.optim.Optimizer, task: Task, weight: float | None
) -> None:
    """Raise Diverged if the strategy's penalty must make SGD's steps grow without bound.

    On a parabola of curvature c, gradient descent with step lr and momentum β is stable up to
    lr · c = 2 (1 + β), Nesterov's form up to 2 (1 + β) / (1 + 2 β). For EWC, c = weight · max F
    (twice that without the factor 1/2). `weight` is the strategy's setting `weight`.
    """
    curvature = strategy.curvature()
    if not isinstance(optimizer, torch.optim.SGD) or curvature == 0:
        return
    group = optimizer.param_groups[0]
    lr, momentum = max(g["lr"] for g in optimizer.param_groups), group["momentum"]
    limit = 2 * (1 + momentum) / (1 + 2 * momentum if group["nesterov"] else 1)
    if lr * curvature > limit:
        largest = rounded_down(limit / (lr * curvature) * (weight or 1.0))
        raise Diverged(
            f"diverged: before task {task.index + 1}, lr · c = {lr * curvature:.4g}, where c is "
            f"the largest curvature of the penalty (for EWC weight · max F), exceeds {limit:.4g}, "
            f"the stability limit of SGD with momentum {momentum:g}: the penalty would make the "
            f"weights grow without bound. The largest stable strategy.weight is {largest:g}; with "
            f"this weight, the largest stable optimizer.lr is {rounded_down(limit / curvature):g}"
        )


def rounded_down(number: float) -> float:
    """To four significant digits, never above the number itself."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 3)
    return math.floor(number / unit) * unit


@contextmanager
def out_of_memory_in_one_line() -> Iterator[None]:
    """Turn a failed allocation into a RunError with a remedy (exit code 1)."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "allocate" in text or "out of memory" in text:
            hint = "Hint: a smaller batch_size needs less memory"
            raise RunError(f"out of memory: {first_line(error)}. {hint}") from None
        raise
