"""Sums over samples of a function of each sample's own gradient, without a backward pass for each.

Their squares give the Fisher information (`fisher.py`). N samples, P trainable
parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from cl_runner.data.samples import Samples
from cl_runner.models.network import Network

CHUNK = 500  # samples at a time at most; the results do not depend on it
CHUNK_BYTES = 2**26  # of gradients at a time, which are large where layers are not linear


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

    Per-sample gradients by torch.func, but for the weights of linear layers, where nearly all
    parameters are: the gradient of one sample is the outer product of the output's gradient g and
    the input a, and f is multiplicative, so the sum over samples is f(g)ᵀ f(a), one matrix product
    instead of N matrices. To have g without the outer product, a zero is added to each layer's
    output and the derivative is taken with respect to that zero.
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
        with _Taps(linear, zeros, inputs):
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
    """As many samples as their gradients, those of linear layers left out, have room for."""
    linear = sum(m.weight.numel() for m in _linear_layers(network, samples[:1].x).values())
    gradient = 4 * (sum(p.numel() for p in network.trainable) - linear)  # bytes a sample
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, gradient)))


def _linear_layers(network: Network, x: Tensor) -> dict[str, nn.Linear]:
    """The trainable linear layers that are used once, on one row a sample: those the identity
    holds for."""
    calls: dict[nn.Module, list[int]] = {}
    modules = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" not in network.frozen
    }
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
