"""The diagonal of the Fisher information, under four honest names.

- `exact`:     E_x E_{y ~ p(y|x)} (∂ log p(y|x) / ∂θ)², over all classes that compete
- `sampled`:   the same with one label drawn from the model for each x
- `empirical`: with the true label
- `batch`:     the square of a batch-mean gradient, with true labels. Not a Fisher information: it
               shrinks as the batch grows. Offered because published numbers were made with it.
- `batch_all_pairs`: the square of one gradient, of the mean over batches of the mean of the matrix
               log p(y_j | x_i), in which every sample of a batch meets every label of it. No Fisher
               information either; some published code computes it
- `identity`:  all ones: the plain L2 anchor

`exact`, `sampled` and `empirical` are per sample, so they do not depend on the batch size (van de
Ven 2025, arXiv:2502.11756, compares them).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from cl_runner.batches import Samples
from cl_runner.models.network import Network
from cl_runner.stream import Task

Estimator = Literal["exact", "sampled", "empirical", "batch", "batch_all_pairs", "identity"]
CHUNK = 500  # samples at a time at most; the results do not depend on it
CHUNK_BYTES = (
    2**26
)  # of per-sample gradients at a time, which are large where layers are not linear


def fisher_diagonal(
    network: Network, samples: Samples, task: Task, estimator: Estimator, batch_size: int
) -> Tensor:
    """The diagonal over `samples`, [P] in the order of `network.parameters()`.

    The network is in evaluation mode while this runs; its mode, buffers and gradients are left
    as they were. `batch_size` matters for the two `batch` estimators alone.
    """
    training = network.training
    network.eval()
    try:
        if estimator == "identity":
            return _ones(network)
        if estimator == "batch":
            return _squared_batch_gradients(network, samples, task, batch_size)
        if estimator == "batch_all_pairs":
            return _squared_gradient_of_all_pairs(network, samples, task, batch_size)
        draw = task.generator("fisher labels")
        size = _chunk_size(network, samples)
        total = sum(_chunk(network, chunk, task, estimator, draw) for chunk in samples.chunks(size))
        assert isinstance(total, Tensor)
        return total / len(samples)
    finally:
        network.train(training)


def _chunk(
    network: Network, samples: Samples, task: Task, estimator: Estimator, draw: torch.Generator
) -> Tensor:
    """Sum over some samples of the squared gradients of log p, [P]."""
    x, classes = samples.x, task.candidates
    if estimator == "empirical":
        return squared_gradients(network, x, samples.y - classes.start, classes)
    with torch.no_grad():
        p = F.softmax(network(x)[:, classes.start : classes.stop], dim=1)  # [N, classes]
    if estimator == "sampled":
        y = torch.multinomial(p.cpu(), 1, generator=draw).flatten().to(x.device)
        return squared_gradients(network, x, y, classes)
    total = torch.zeros((), device=x.device)
    for c in range(len(classes)):
        y = torch.full((len(x),), c, device=x.device)
        total = total + squared_gradients(network, x, y, classes, weight=p[:, c])
    return total


def squared_gradients(
    network: Network, x: Tensor, y: Tensor, classes: range, weight: Tensor | None = None
) -> Tensor:
    """Σₙ weightₙ · (∂ log p(yₙ | xₙ) / ∂θ)², [P]; y counts within `classes`; weight: [N].

    Per-sample gradients by torch.func, but for the weights of linear layers, where nearly all
    parameters are: the gradient of one sample is the outer product of the output's gradient g and
    the input a, so the sum of its squares over samples is (g²)ᵀ a², one matrix product instead
    of N matrices. To have g without the outer product, a zero is added to each layer's output
    and the derivative is taken with respect to that zero.
    """
    linear = _linear_layers(network, x[:1])
    layer_names = {f"{name}.weight": name for name in linear}
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    others = {n: p for n, p in parameters.items() if n not in layer_names}
    fixed = {n: p for n, p in parameters.items() if n in layer_names} | dict(
        network.named_buffers()
    )
    zeros = {name: x.new_zeros(module.out_features) for name, module in linear.items()}

    def log_likelihood(
        wanted: tuple[dict[str, Tensor], dict[str, Tensor]], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        others, zeros = wanted
        inputs: dict[str, Tensor] = {}
        with _Taps(linear, zeros, inputs):
            logits = functional_call(network, others | fixed, (x[None],))[0]
        log_p = F.log_softmax(logits[classes.start : classes.stop], dim=0)
        return log_p.gather(0, y[None])[0], inputs

    per_sample = vmap(grad(log_likelihood, has_aux=True), in_dims=(None, 0, 0))
    (gradients, outputs), inputs = per_sample((others, zeros), x, y)
    weight = x.new_ones(len(x)) if weight is None else weight
    sums = []
    for name, parameter in parameters.items():
        if name in layer_names:
            g, a = outputs[layer_names[name]], inputs[layer_names[name]]  # [N, out], [N, in]
            sums.append(((weight[:, None] * g.square()).T @ a.square()).flatten())
        else:
            sums.append(weight @ gradients[name].reshape(len(x), parameter.numel()).square())
    return torch.cat(sums)


def _chunk_size(network: Network, samples: Samples) -> int:
    """As many samples as their gradients, those of linear layers left out, have room for."""
    linear = sum(m.weight.numel() for m in _linear_layers(network, samples[:1].x).values())
    gradient = 4 * (sum(p.numel() for p in network.parameters()) - linear)  # bytes a sample
    return max(1, min(CHUNK, CHUNK_BYTES // gradient))


def _linear_layers(network: Network, x: Tensor) -> dict[str, nn.Linear]:
    """The linear layers that are used once, on one row a sample: those the identity holds for."""
    calls: dict[nn.Module, list[int]] = {}
    modules = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, args: calls.setdefault(module, []).append(args[0].dim())
        )
        for module in modules.values()
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return {name: module for name, module in modules.items() if calls.get(module) == [2]}


class _Taps:
    """While open, each linear layer notes its input and adds its zero to its output."""

    def __init__(
        self, layers: dict[str, nn.Linear], zeros: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> None:
        self.layers, self.zeros, self.inputs = layers, zeros, inputs

    def __enter__(self) -> None:
        self.hooks = [self._tap(name, layer) for name, layer in self.layers.items()]

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _tap(self, name: str, layer: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def tap(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
            self.inputs[name] = args[0][0]
            return output + self.zeros[name]

        return layer.register_forward_hook(tap)


def _squared_batch_gradients(
    network: Network, samples: Samples, task: Task, batch_size: int
) -> Tensor:
    """Mean over batches of (∂/∂θ of the batch-mean log p(y | x))², [P]."""
    classes = task.candidates
    parameters = list(network.parameters())
    squares = []
    for batch in samples.chunks(batch_size):
        logits = network(batch.x)[:, classes.start : classes.stop]
        loss = F.cross_entropy(logits, batch.y - classes.start)
        squares.append(parameters_to_vector(_gradients(loss, parameters)).square())
    return torch.stack(squares).mean(0)


def _squared_gradient_of_all_pairs(
    network: Network, samples: Samples, task: Task, batch_size: int
) -> Tensor:
    """(∂/∂θ of the mean over batches of mean over i, j of log p(y_j | x_i))², [P]."""
    classes = task.candidates
    means = []
    for batch in samples.chunks(batch_size):
        log_p = F.log_softmax(network(batch.x)[:, classes.start : classes.stop], dim=1)
        means.append(log_p[:, batch.y - classes.start].mean())
    gradients = _gradients(torch.stack(means).mean(), list(network.parameters()))
    return parameters_to_vector(gradients).square()


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
    """Zero for those that are not used, as in a layer that has not been inserted yet."""
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def _ones(network: Network) -> Tensor:
    """Of all parameters that are there: not of unborn rows, nor of a layer not inserted yet."""
    ones = {name: torch.ones_like(p).detach() for name, p in network.named_parameters()}
    unborn = network.classifier.unborn.isinf()
    for name, parameter in ones.items():
        if name.startswith("classifier."):
            parameter[unborn] = 0
        if name.startswith("inserted.") and not network.stage.later:
            parameter.zero_()
    return parameters_to_vector(ones.values())
