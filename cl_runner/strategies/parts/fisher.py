"""The diagonal of the Fisher information, each estimate under an honest name.

- `exact`:     E_x E_{y ~ p(y|x)} (∂ log p(y|x) / ∂θ)², over all classes that compete
- `sampled`:   the same with one label drawn from the model for each x
- `empirical`: with the true label
- `batch`:     the square of a batch-mean gradient, with true labels. Not a Fisher information: it
               shrinks as the batch grows. Offered because published numbers were made with it.
- `batch_all_pairs`: the square of one gradient, of the mean over batches of the mean of the matrix
               log p(y_j | x_i), in which every sample of a batch meets every label of it. No Fisher
               information either; some published code computes it
- `identity`:  all ones: the plain L2 anchor

In regression the likelihood is that of which the squared error is the negative logarithm: Gaussian
noise of variance ½ around f(x), so `exact` is 2 E_x (∂f(x) / ∂θ)².

`exact`, `sampled` and `empirical` are per sample, so they do not depend on the batch size (van de
Ven 2025, arXiv:2502.11756, compares them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from cl_runner.data.samples import Samples
from cl_runner.data.stream import Task
from cl_runner.models.network import Network

Estimator = Literal["exact", "sampled", "empirical", "batch", "batch_all_pairs", "identity"]
NOISE = 0.5**0.5  # standard deviation of the likelihood in regression
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
    x = samples.x
    if estimator == "empirical":
        return squared_gradients(network, x, samples.y, task)
    with torch.no_grad():
        outputs = network(x)
    if estimator == "sampled":
        return squared_gradients(network, x, _sampled(outputs, task, draw), task)
    total = torch.zeros((), device=x.device)
    for y, weight in _all(outputs, task):
        total = total + squared_gradients(network, x, y, task, weight)
    return total


def log_likelihood(outputs: Tensor, y: Tensor, task: Task) -> Tensor:
    """log p(y | x) of every pair: outputs [..., C], y [...]; in regression up to a constant."""
    if task.regression:
        return -(y - outputs[..., 0]).square()
    classes = task.candidates
    log_p = F.log_softmax(outputs[..., classes.start : classes.stop], dim=-1)
    return log_p.gather(-1, (y - classes.start)[..., None])[..., 0]


def _sampled(outputs: Tensor, task: Task, draw: torch.Generator) -> Tensor:
    """One y for each x, drawn from the model, [N]."""
    if task.regression:
        noise = torch.randn(len(outputs), generator=draw).to(outputs.device)
        return outputs[:, 0] + NOISE * noise
    classes = task.candidates
    p = F.softmax(outputs[:, classes.start : classes.stop], dim=1)
    drawn = torch.multinomial(p.cpu(), 1, generator=draw).flatten().to(outputs.device)
    return drawn + classes.start


def _all(outputs: Tensor, task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """Every y with its probability, both [N]; in regression one at the distance of the standard
    deviation, which stands for all, as the squared gradient is proportional to (y − f(x))²."""
    if task.regression:
        yield outputs[:, 0] + NOISE, torch.ones_like(outputs[:, 0])
        return
    classes = task.candidates
    p = F.softmax(outputs[:, classes.start : classes.stop], dim=1)
    for c in classes:
        yield torch.full_like(p[:, 0], c, dtype=torch.int64), p[:, c - classes.start]


def squared_gradients(
    network: Network, x: Tensor, y: Tensor, task: Task, weight: Tensor | None = None
) -> Tensor:
    """Σₙ weightₙ · (∂ log p(yₙ | xₙ) / ∂θ)², [P]; y, weight: [N].

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

    def of_one_sample(
        wanted: tuple[dict[str, Tensor], dict[str, Tensor]], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        others, zeros = wanted
        inputs: dict[str, Tensor] = {}
        with _Taps(linear, zeros, inputs):
            outputs = functional_call(network, others | fixed, (x[None],))[0]
        return log_likelihood(outputs, y, task), inputs

    per_sample = vmap(grad(of_one_sample, has_aux=True), in_dims=(None, 0, 0))
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
    parameters = list(network.parameters())
    squares = []
    for batch in samples.chunks(batch_size):
        loss = log_likelihood(network(batch.x), batch.y, task).mean()
        squares.append(parameters_to_vector(_gradients(loss, parameters)).square())
    return torch.stack(squares).mean(0)


def _squared_gradient_of_all_pairs(
    network: Network, samples: Samples, task: Task, batch_size: int
) -> Tensor:
    """(∂/∂θ of the mean over batches of mean over i, j of log p(y_j | x_i))², [P]."""
    means = []
    for batch in samples.chunks(batch_size):
        outputs = network(batch.x)[:, None].expand(-1, len(batch), -1)  # [B, B, C]
        means.append(log_likelihood(outputs, batch.y.expand(len(batch), -1), task).mean())
    gradients = _gradients(torch.stack(means).mean(), list(network.parameters()))
    return parameters_to_vector(gradients).square()


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
    """Zero for those that are not used, as in a layer that has not been inserted yet."""
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


def _ones(network: Network) -> Tensor:
    """Of all parameters that are there: not of unborn rows, nor of a layer not inserted yet."""
    classifier = network.classifier
    rows = [*classifier.weights][classifier.born :] + [*classifier.biases][classifier.born :]
    absent: set[nn.Parameter] = set(rows)
    if network.inserted is not None and not network.stage.later:
        absent |= set(network.inserted.parameters())
    parameters = network.parameters()
    return parameters_to_vector([torch.full_like(p, float(p not in absent)) for p in parameters])
