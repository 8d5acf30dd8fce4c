"""torch's own kernels that are used in eager mode, where conformance has proved them within the budget.

The figures are those of `multiact conformance --native`; a test compares this table with them. Derivatives of torch are numbers at NaN,
which is mended for those of piecewise linear functions; those of sigmoid and tanh lose all digits where they are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F

Tensor: TypeAlias = torch.Tensor

ALL = ("float32", "float64", "float16", "bfloat16")


def _rrelu(x: Tensor, lower: Any, upper: Any, noise: Any) -> Tensor | None:
    slopes = (lower, upper, noise)
    return F.leaky_relu(x, lower + noise * (upper - lower)) if all(type(s) is float for s in slopes) else None


def _softplus(x: Tensor, beta: Any) -> Tensor | None:
    return F.softplus(x) if type(beta) is float and beta == 1 else None


def _softplus_backward(grad: Tensor, x: Tensor, beta: Any) -> Tensor | None:
    return torch.ops.aten.softplus_backward(grad, x, 1, 20) if type(beta) is float and beta == 1 else None


def _nan_where(x: Tensor, gradient: Tensor) -> Tensor:
    return gradient.masked_fill_(torch.ne(x, x), math.nan)


def _piecewise(backward: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """torch's own backward pass of a piecewise linear function of numbers, which at NaN gives a number."""

    def gradient(grad: Tensor, x: Tensor, *given: Any) -> Tensor | None:
        return _nan_where(x, backward(grad, x, *given)) if all(type(g) is float for g in given) else None

    return gradient


def _rrelu_backward(grad: Tensor, x: Tensor, lower: Any, upper: Any, noise: Any) -> Tensor | None:
    slopes = (lower, upper, noise)
    return _LEAKY_RELU(grad, x, lower + noise * (upper - lower)) if all(type(s) is float for s in slopes) else None


def _numbers(function: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """`function`, where every parameter is a number."""
    return lambda x, *given: function(x, *given) if all(type(g) is float for g in given) else None


#: By the name of the activation: a function of its arguments, which gives None for those that it does not take, and the dtypes.
NATIVE: dict[str, tuple[Callable[..., Tensor | None], tuple[str, ...]]] = {
    "abs": (torch.abs, ALL),
    "arctan": (torch.atan, ALL),
    "asinh": (torch.asinh, ALL),
    "cosine": (torch.cos, ALL),
    "exponential": (torch.exp, ALL),
    "hard_shrink": (_numbers(F.hardshrink), ALL),
    "hard_tanh": (_numbers(F.hardtanh), ALL),
    "leaky_relu": (_numbers(F.leaky_relu), ALL),
    "log_sigmoid": (F.logsigmoid, ALL),
    "prelu": (_numbers(F.leaky_relu), ALL),
    "relu": (F.relu, ALL),
    "relu6": (F.relu6, ALL),
    "rrelu": (_rrelu, ("float32", "float64")),
    "sigmoid": (torch.sigmoid, ALL),
    "softplus": (_softplus, ("float32", "float16", "bfloat16")),
    "tanh": (torch.tanh, ALL),
    "threshold": (_numbers(F.threshold), ALL),
}

_aten = torch.ops.aten
_LEAKY_RELU = _piecewise(lambda grad, x, slope: _aten.leaky_relu_backward(grad, x, slope, False))

#: Their gradients: functions of the gradient of the result and the same arguments.
NATIVE_BACKWARD: dict[str, Callable[..., Tensor | None]] = {
    "abs": _piecewise(lambda grad, x: grad * torch.sign(x)),
    "hard_shrink": _piecewise(_aten.hardshrink_backward),
    "hard_tanh": _piecewise(_aten.hardtanh_backward),
    "leaky_relu": _LEAKY_RELU,
    "prelu": _LEAKY_RELU,
    "relu": _piecewise(lambda grad, x: _aten.threshold_backward(grad, x, 0)),
    "relu6": _piecewise(lambda grad, x: _aten.hardtanh_backward(grad, x, 0, 6)),
    "rrelu": _rrelu_backward,
    "softplus": _softplus_backward,
    "threshold": _piecewise(lambda grad, x, threshold, _: _aten.threshold_backward(grad, x, threshold)),
}
