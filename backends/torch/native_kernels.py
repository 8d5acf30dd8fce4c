"""torch's own kernels that are used in eager mode, where conformance has proved them within the budget.

The figures are those of `multiact conformance --native`; a test compares this table with them. Derivatives of torch are numbers at NaN,
which is mended for those of piecewise linear functions; those of sigmoid and tanh lose all digits where they are small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F

Tensor: TypeAlias = torch.Tensor

WIDE = ("float32", "float64")
ALL = (*WIDE, "float16", "bfloat16")


def _rrelu(x: Tensor, lower: Any, upper: Any, noise: Any) -> Tensor | None:
    slopes = (lower, upper, noise)
    return F.leaky_relu(x, lower + noise * (upper - lower)) if all(type(s) is float for s in slopes) else None


def _at(function: Callable[..., Tensor | None], *values: float) -> Callable[..., Tensor | None]:
    """`function`, where the parameters are these numbers."""
    count = len(values)

    def call(*arguments: Any) -> Tensor | None:
        given = arguments[-count:]
        return function(*arguments[:-count]) if all(type(g) is float for g in given) and given == values else None

    return call


def _wide(gradient: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """A gradient of two operations or more, of which 16 bits would round each."""
    return lambda grad, x: gradient(grad, x) if x.dtype in (torch.float32, torch.float64) else None


def _hard_sigmoid_backward(grad: Tensor, x: Tensor) -> Tensor | None:
    # In float64 torch's slope is 1 / 6 as float32 has it.
    return None if x.dtype == torch.float64 else _nan_where(x, torch.ops.aten.hardsigmoid_backward(grad, x))


def _gated(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor | None]:
    """The value times `function` of the gate, for a value that does not broadcast."""
    return lambda value, gate: function(gate).mul_(value) if value.shape == gate.shape else None


def _nan_where(x: Tensor, gradient: Tensor) -> Tensor:
    return gradient.add_(x.clamp(-1, 1), alpha=0)  # 0 times NaN, which takes a fifth of the time of a mask


def _piecewise(backward: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """torch's own backward pass of a piecewise linear function of numbers, which at NaN gives a number."""

    def gradient(grad: Tensor, x: Tensor, *given: Any) -> Tensor | None:
        return _nan_where(x, backward(grad, x, *given)) if all(type(g) is float for g in given) else None

    return gradient


def _rrelu_backward(grad: Tensor, x: Tensor, lower: Any, upper: Any, noise: Any) -> Tensor | None:
    slopes = (lower, upper, noise)
    return _LEAKY_RELU(grad, x, lower + noise * (upper - lower)) if all(type(s) is float for s in slopes) else None


def _log_sigmoid(x: Tensor) -> Tensor | None:
    return F.logsigmoid(x) if x.is_contiguous() else None  # of which the result is always contiguous


def _numbers(function: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """`function`, where every parameter is a number."""
    return lambda x, *given: function(x, *given) if all(type(g) is float for g in given) else None


#: By the name of the activation: a function of its arguments, which gives None for those that it does not take, and the dtypes.
NATIVE: dict[str, tuple[Callable[..., Tensor | None], tuple[str, ...]]] = {
    "abs": (torch.abs, ALL),
    "arctan": (torch.atan, ALL),
    "asinh": (torch.asinh, ALL),
    "bilinear": (torch.mul, ALL),
    "cosine": (torch.cos, ALL),
    "exponential": (torch.exp, ALL),
    "glu": (_gated(torch.sigmoid), WIDE),
    "hard_shrink": (_numbers(F.hardshrink), ALL),
    "hard_sigmoid": (_at(F.hardsigmoid, 6.0, 0.5), ALL),
    "hard_tanh": (_numbers(F.hardtanh), ALL),
    "leaky_relu": (_numbers(F.leaky_relu), ALL),
    "log_sigmoid": (_log_sigmoid, ALL),
    "prelu": (_numbers(F.leaky_relu), ALL),
    "reglu": (_gated(F.relu), ALL),
    "relu": (F.relu, ALL),
    "relu6": (F.relu6, ALL),
    "relu_squared": (lambda x: F.relu(x).square_(), ALL),
    "rrelu": (_rrelu, WIDE),
    "sigmoid": (torch.sigmoid, ALL),
    "sine": (_at(torch.sin, 1.0), ALL),
    "softplus": (_at(F.softplus, 1.0), ("float32", "float16", "bfloat16")),
    "tanh": (torch.tanh, ALL),
    "threshold": (_numbers(F.threshold), ALL),
}

_aten = torch.ops.aten
_LEAKY_RELU = _piecewise(lambda grad, x, slope: _aten.leaky_relu_backward(grad, x, slope, False))

#: Their gradients: functions of the gradient of the result and the same arguments.
NATIVE_BACKWARD: dict[str, Callable[..., Tensor | None]] = {
    "abs": _piecewise(lambda grad, x: grad * torch.sign(x)),
    "arctan": _wide(lambda grad, x: grad / (x * x).add_(1)),
    "cosine": _wide(lambda grad, x: torch.sin(x).mul_(grad).neg_()),
    "exponential": _wide(torch.mul),  # the result is kept, not x
    "hard_shrink": _piecewise(_aten.hardshrink_backward),
    "hard_tanh": _piecewise(_aten.hardtanh_backward),
    "hard_sigmoid": _at(_hard_sigmoid_backward, 6.0, 0.5),
    "leaky_relu": _LEAKY_RELU,
    "log_sigmoid": _wide(lambda grad, x: torch.neg(x).sigmoid_().mul_(grad)),
    "prelu": _LEAKY_RELU,
    "relu": _piecewise(lambda grad, x: _aten.threshold_backward(grad, x, 0)),
    "relu6": _piecewise(lambda grad, x: _aten.hardtanh_backward(grad, x, 0, 6)),
    "relu_squared": lambda grad, x: F.relu(x).mul_(grad).mul_(2),
    "rrelu": _rrelu_backward,
    "sine": _at(_wide(lambda grad, x: torch.cos(x).mul_(grad)), 1.0),
    "softplus": _at(lambda grad, x: torch.ops.aten.softplus_backward(grad, x, 1, 20), 1.0),
    "threshold": _piecewise(lambda grad, x, threshold, _: _aten.threshold_backward(grad, x, threshold)),
}
