"""Sums over samples of a function of each sample's gradient, without a backward pass for each.

The sum of squares gives the Fisher information (`fisher.py`). N samples, P trainable
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from cl_runner.data.samples import Samples
from cl_runner.models.network import Network

CHUNK = 500  # samples at a time, at most; the results do not depend on it
CHUNK_BYTES = 2**26  # of gradients at a time; they are large for layers that are not linear


def sum_of_gradients(
    f: Callable[[Tensor], Tensor],
    value: Callable[[Tensor, Tensor], Tensor],
    network: Network,
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """Σₙ weightₙ · f(∂ value(network(xₙ), yₙ) / ∂θ), [P] in the order of `network.trainable`.

    f: elementwise and multiplicative, f(a b) = f(a) f(b), such as `torch.square` or `torch.abs`;
    value: a scalar from the outputs [C] of one sample and its y; x: [N, …], y, weight: [N].

    torch.func gives per-sample gradients. The weights of linear layers, nearly all parameters, have
    a faster way: the gradient of one sample is the outer product of the output's gradient g and the
    input a, and f is multiplicative. So the sum over samples is f(g)ᵀ f(a), one matrix product
    instead of N matrices. To get g without the outer product, a zero is added to each layer's
    output, and the derivative is taken with respect to that zero.
    """
    linear = _linear_layers(network, x[:1])
    layer_names = {f"{name}.weight": name for name in linear}
    given = {name: p.detach() for name, p in network.named_parameters()}
    parameters = {name: p for name, p in given.items() if name not in network.frozen}
    others = {name: p for name, p in parameters.items() if name not in layer_names}
    fixed = {n: p for n, p in given.items() if n not in others} | dict(network.named_buffers())
    zeros = {name: x.new_zeros(module.out_features) for name, module in linear.items()}

    def of_one_sample(
        wanted: tuple[dict[str, Tensor], dict[str, Tensor]], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        others, zeros = wanted
        inputs: dict[str, Tensor] = {}
        with _tapped(linear, zeros, inputs):
            outputs = functional_call(network, others | fixed, (x[None],))[0]
        return value(outputs, y), inputs

    all_samples = vmap(grad(of_one_sample, has_aux=True), in_dims=(None, 0, 0))
    (gradients, outputs), inputs = all_samples((others, zeros), x, y)
    weight = x.new_ones(len(x)) if weight is None else weight
    sums = []
    for name, parameter in parameters.items():
        if name in layer_names:
            g, a = outputs[layer_names[name]], inputs[layer_names[name]]  # [N, out], [N, in]
            sums.append(((weight[:, None] * f(g)).T @ f(a)).flatten())
        else:
            sums.append(weight @ f(gradients[name].reshape(len(x), parameter.numel())))
    return torch.cat(sums)


def chunk_size(network: Network, samples: Samples) -> int:
    """How many samples to take at a time, by the size of the gradients outside linear layers."""
    linear = sum(m.weight.numel() for m in _linear_layers(network, samples[:1].x).values())
    gradient = 4 * (sum(p.numel() for p in network.trainable) - linear)  # bytes per sample
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, gradient)))


def _linear_layers(network: Network, x: Tensor) -> dict[str, nn.Linear]:
    """The trainable linear layers that are used once, on one row per sample: the identity holds for
    them."""
    calls: dict[nn.Module, list[int]] = {}
    modules = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" not in network.frozen
    }

    def note(module: nn.Module, args: tuple[Tensor]) -> None:
        calls.setdefault(module, []).append(args[0].dim())

    with torch.no_grad(), ExitStack() as hooks:
        for module in modules.values():
            hooks.enter_context(module.register_forward_pre_hook(note))
        network(x)
    return {name: module for name, module in modules.items() if calls.get(module) == [2]}


@contextmanager
def _tapped(
    layers: dict[str, nn.Linear], zeros: dict[str, Tensor], inputs: dict[str, Tensor]
) -> Iterator[None]:
    """Meanwhile each linear layer notes its input and adds its zero to its output."""

    def tap(name: str, module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        inputs[name] = args[0][0].to(zeros[name].dtype)  # bf16 has too few digits for a square
        return output + zeros[name]

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_hook(partial(tap, name)))
        yield
