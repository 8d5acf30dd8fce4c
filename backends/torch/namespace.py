"""The array API on torch tensors: that of array-api-compat, with what formulas use most taken from torch as it is.

The wrappers of array-api-compat promote dtypes, which formulas never ask for; torch.compile traces through every one of them,
and small tensors pass through them.
"""

from __future__ import annotations

from typing import Any

import torch
from array_api_compat.torch import *
from torch.autograd import forward_ad

where = torch.where
zeros_like = torch.zeros_like
ones_like = torch.ones_like

#: Whether what torch.export traces goes to Inductor, as in the process that builds kernels, and may use what only that knows.
exports_to_inductor = False

# Not in the first versions of torch that are taken.
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def differentiated(x: Any, /) -> Any:
    """Whether a derivative of what becomes of `x` may be asked for."""
    return (
        torch.is_grad_enabled()
        and x.requires_grad
        or forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
    )


def magnitude(x: Any, /) -> Any:
    """abs(x), with slope 1 at 0 where it is differentiated."""
    if differentiated(x):
        return torch.where(x >= 0, x, -x)
    return torch.abs(x)


def positive_part(x: Any, slope: int, /) -> Any:
    """max(x, 0), with that slope at 0 where it is differentiated; elsewhere one instruction of code of Inductor."""
    if differentiated(x):
        return torch.where(x < 0 if slope else x <= 0, 0.0, x)
    return torch.relu(x)


def keeps_subnormals(x: Any, /) -> Any:
    """Whether subnormal numbers are kept; the code that Triton compiles need not."""
    return x.is_cpu


def _by_inductor() -> bool:
    """Whether Inductor compiles what is being traced."""
    return torch.compiler.is_compiling() and (exports_to_inductor or not _is_exporting())


def kept(x: Any, /) -> Any:
    """`x`, which Inductor would evaluate again wherever it is used, in long formulas exponentially often.

    What is seen with other strides it computes once, and in the same loop all the same.
    """
    return x.as_strided(x.shape, x.stride()) if _by_inductor() else x


def of_row(x: Any, /) -> Any:
    """`x`, which code of Inductor for processors would evaluate for every vector of a row; for a GPU all is one kernel without this."""
    return kept(x) if x.is_cpu else x


def in_double(call: Any, /, *arrays: Any) -> Any:
    """A function of the arrays in float64, rounded; None where the device has none."""
    if arrays[0].device.type == "mps":
        return None
    return call(*(a.double() for a in arrays)).to(arrays[0].dtype)


@torch.compiler.assume_constant_result
def _goes_to_onnx() -> Any:
    return torch.onnx.is_in_onnx_export()


def log1p(x: Any, /) -> Any:
    """torch's own, but for ONNX, which has none: torch exports log(1 + x), without the digits of x that 1 + x does not hold."""
    if not ((_is_exporting() or torch.jit.is_tracing()) and _goes_to_onnx()):
        return torch.log1p(x)
    y = 1 + x
    held, log = y - 1, torch.log(y)
    return torch.where(held == x, log, torch.where(held == 0, x, log * (x / held)))


def isnan(x: Any, /) -> Any:
    """A comparison, since Inductor does torch.isnan one number at a time."""
    return torch.ne(x, x)


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Any:
    return x.to(dtype, copy=copy)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    return torch.clamp(x, min, max)


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return torch.sum(x, axis, keepdims, dtype=dtype)


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return torch.amax(x, () if axis is None else axis, keepdims)


def concat(arrays: Any, /, *, axis: int = 0) -> Any:
    return torch.cat(tuple(arrays), axis)  # torch.concat cannot be batched by torch.vmap under a gradient


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The values alone, for which it does not matter whether it is stable; ONNX has no stable one."""
    return torch.sort(x, axis, descending).values


def cumulative_sum(x: Any, /, *, axis: int, dtype: Any = None) -> Any:
    return torch.cumsum(x, axis % x.ndim, dtype=dtype)  # DTensor sums each shard alone along a negative axis
