"""torch's own kernels that are used in eager mode, where conformance has proved them within the budget.

The figures are those of `multiact conformance --native`; a test compares this table with them. Derivatives are missing for most: at NaN
those of torch are numbers, and those of sigmoid and tanh lose all digits where they are small.
"""

from __future__ import annotations

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

NATIVE_BACKWARD: dict[str, Callable[..., Tensor | None]] = {"softplus": _softplus_backward}
