"""One optimizer step, on one batch or on several whose gradients are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from cl_runner.data.batches import Batch, joined
from cl_runner.strategies.strategy import Strategy
from cl_runner.training import checks
from cl_runner.training.alarm import Watch


def take_step(
    strategy: Strategy,
    optimizer: torch.optim.Optimizer,
    watch: Watch,
    parts: Sequence[Batch],
    *,
    clip_gradient: float | None,
    number: int,
) -> dict[str, float]:
    """Go down the gradient of the sum of the strategy's terms, averaged over the samples of these
    batches. Returns the terms.

    number: of the step in the run, from 0, for the error Diverged.
    """
    for parameter in watch.parameters:  # the optimizer's own way costs more than its step
        parameter.grad = None
    batch = joined(parts)
    terms: dict[str, Tensor] = {}
    for part in parts:
        share = len(part.y) / len(batch.y)
        for name, term in _backward(strategy, watch, part, share).items():
            terms[name] = terms[name] + term if name in terms else term
    classifier = strategy.network.classifier
    classifier.leave_alone_what_rests(all_compete=batch.task.competing is None)
    strategy.after_backward(batch)
    values = checks.finite(terms, watch.parameters, batch, number)
    if clip_gradient is not None:
        torch.nn.utils.clip_grad_norm_(watch.parameters, clip_gradient)
    optimizer.step()
    strategy.after_step(batch)
    watch.after_step()
    return values


def _backward(strategy: Strategy, watch: Watch, batch: Batch, share: float) -> dict[str, Tensor]:
    """Add the gradient of this share of the terms on one batch. Returns the terms."""
    terms = strategy.objective(batch)
    if share < 1:
        terms = {name: share * term for name, term in terms.items()}
    watch.look(terms)
    reduce(add, terms.values()).backward()
    return {name: term.detach() for name, term in terms.items()}
