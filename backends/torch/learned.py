"""Modules that learn what a case of conformance differentiates in; for capabilities that concern Modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from multiact import learning
from multiact.declaration import Activation

from .adapter import backend

Tensor: TypeAlias = torch.Tensor


def along_axis(tensors: Sequence[Tensor]) -> bool:
    """Whether these are rows for a function along an axis; elementwise functions are given points, Tensors of one axis."""
    return tensors[0].ndim > 1


class Learned(torch.nn.Module):
    """The Module of an activation; it is given the inputs of a case and learns the parameters.

    Points are channels, each with a parameter of its own, so that the gradients are those of the points. In the state_dict
    positive parameters are logarithms; these are in float64, since in float32 they would stand for other parameters.

    Parameters
    ----------
    call : the activation; its `names` say what each Tensor is.
    tensors : points, or rows, of which a parameter that is scalar has the value of the first.
    """

    def __init__(self, call: Any, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.names, activation = tuple(call.names), call.activation
        if activation.random is not None and activation.random.default is None:
            raise NotImplementedError(f"{activation.name} is random: its Module takes the noise from the generator.")
        kind: Any = backend.layer(activation)
        keywords = dict(call.keywords)
        gated = activation.kind == "gated"
        self.swapped = gated and (keywords.get("gate") or activation.option("gate").default) != "second"
        arrays = dict(zip(self.names, tensors))
        settings: dict[str, Any] = {kind._spelled[n]: v for n, v in keywords.items()}
        given = [p for p in activation.held if p.name in arrays]
        settings |= {kind._spelled[p.name]: float(arrays[p.name].reshape(-1)[0]) for p in given}
        if activation.held:
            positive = any(map(learning.is_positive, activation.held))
            settings |= {"learnable": True, "dtype": torch.float64 if positive else tensors[0].dtype}
        many = bool(given) and not along_axis(tensors)
        if many:
            settings |= {"num_parameters": tensors[0].numel(), "channel_axis": -1}
        self.inner = kind(**settings).eval()
        with torch.no_grad():
            for p in given if many else ():
                values = arrays[p.name].to(self.weight(p.name).dtype)
                self.weight(p.name).copy_(values.log() if learning.is_positive(p) else values)

    @property
    def activation(self) -> Activation:
        """What the Module computes."""
        found: Activation = self.inner.activation
        return found

    def inputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The inputs among the Tensors of a case, shaped for the Module."""
        own = {p.name for p in self.activation.parameters}
        given = [t for n, t in zip(self.names, tensors) if n not in own]
        return given if along_axis(tensors) else [t.reshape(1, -1) for t in given]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The activation of `inputs`."""
        y: Tensor = self.inner(*reversed(inputs)) if self.swapped else self.inner(*inputs)
        return y

    def learns(self, i: int) -> bool:
        """Whether argument `i` of the call is a parameter; `NotImplementedError` for one that is drawn."""
        name = self.names[i]
        if name in {p.name for p in self.activation.held}:
            return True
        if name in {p.name for p in self.activation.parameters}:
            raise NotImplementedError(f"{name} is drawn, not learned.")
        return False

    def key(self, name: str) -> str:
        """Under which name a parameter is in the state_dict."""
        return f"inner.{self.inner._attribute(name)}"

    def weight(self, name: str) -> torch.nn.Parameter:
        """What is learned for a parameter."""
        return self.get_parameter(self.key(name))

    def gradient(self, name: str, weight: Tensor, grad: Tensor) -> Tensor:
        """The gradient in a parameter, from that in its weight."""
        p = next(p for p in self.activation.held if p.name == name)
        return grad / weight.detach().exp() if learning.is_positive(p) else grad

    def derivative(self, tensors: Sequence[Tensor], wrt: tuple[int, ...], given: Sequence[Tensor | None]) -> Tensor:
        """The value, or a first derivative by backward, of the points or rows of a case."""
        inputs = self.inputs(tensors)
        if not wrt:
            return self(*inputs)
        (i,), (direction,) = wrt, given
        if not self.learns(i):
            x = inputs[i].requires_grad_()
            return _gradient(self(*inputs), x, direction)
        name = self.names[i]
        weight = self.weight(name)
        if not along_axis(tensors):
            found = _gradient(self(*inputs), weight, direction)
        else:  # one weight for all rows, whose gradients are wanted each
            assert direction is not None
            (x,) = inputs
            found = torch.cat([_gradient(self(x[r : r + 1]), weight, direction[r : r + 1]) for r in range(len(x))])
        return self.gradient(name, weight, found).to(tensors[0].dtype)


def _gradient(y: Tensor, x: Tensor, direction: Tensor | None) -> Tensor:
    cotangent = torch.ones_like(y) if direction is None else direction.reshape(y.shape)
    return torch.autograd.grad(y, x, cotangent, materialize_grads=True)[0]
