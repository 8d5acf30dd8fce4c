"""The array API of mlx.core, with what it lacks of the standard, and with functions that are as accurate as their dtype.

On the CPU MLX multiplies the argument of exp with a rounded log2(e), which takes 63 ulp at -86 and overflows at 88.03; and it
computes exp, sin and cos of float64 in the precision and the range of float32 (ml-explore/mlx#3047). Here the argument is reduced
first, and what float64 needs is made of expm1 and tan, which are exact to the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx.core import *

bool = mx.bool_

#: ln 2 as a sum whose first part has an exact product with every exponent, the bounds beyond which exp is 0 or infinite, and how
#: a dtype keeps its exponent.
_EXP: dict[Any, tuple[Any, ...]] = {
    mx.float32: (0.693359375, -2.1219444005469057e-4, -104.0, 89.0, mx.int32, 127, 23),
    mx.float64: (0.6931471803691238, 1.9082149292705877e-10, -746.0, 710.0, mx.int64, 1023, 52),
}


def _differentiable(value: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """An elementwise function with its derivative, ``slope(x, f(x))``."""
    function = mx.custom_function(value)

    @function.vjp
    def _(x: Any, cotangent: Any, y: Any) -> Any:
        return cotangent * slope(x, y)

    @function.jvp
    def _(x: Any, tangent: Any) -> Any:
        return tangent * slope(x, function(x))

    @function.vmap
    def _(x: Any, axis: Any) -> Any:
        return function(x), axis

    return function  # type: ignore[no-any-return]


def _exp_reduced(x: Any) -> Any:
    """2^n exp(x - n ln 2); the power in two steps, as neither 2^1024 nor 2^-1074 comes out of one."""
    high, low, least, most, integer, bias, bits = _EXP[x.dtype]
    n = mx.stop_gradient(mx.round(mx.clip(x, least, most) * (1 / math.log(2))))
    rest = (x - n * high) - n * low
    near = 1 + mx.expm1(rest) if x.dtype == mx.float64 else mx.exp(rest)
    half = mx.floor(0.5 * n)
    for power in (half, n - half):
        near = near * mx.view((power.astype(integer) + bias) << bits, x.dtype)
    return near


def _sin_of_double(x: Any) -> Any:
    t = mx.tan(0.5 * x)
    return mx.where(mx.abs(t) > 1e8, 2 / t, 2 * t / (1 + t * t))


def _cos_of_double(x: Any) -> Any:
    """sin / tan near its zeros, of which it then has all digits."""
    t, whole = mx.tan(0.5 * x), mx.tan(x)
    q = mx.where(mx.abs(t) > 1e8, math.inf, t * t)
    steep = mx.abs(whole) > 1
    flat = mx.where(mx.isinf(q), -1.0, 1 - 2 * q / (1 + mx.where(mx.isinf(q), 0.0, q)))
    return mx.where(steep, _sin_of_double(x) / mx.where(steep, whole, 1.0), flat)


_exp = _differentiable(_exp_reduced, lambda x, y: y)
_sin: Callable[[Any], Any] = _differentiable(_sin_of_double, lambda x, y: _cos(x))
_cos: Callable[[Any], Any] = _differentiable(_cos_of_double, lambda x, y: -_sin(x))


def _is_double(x: Any) -> Any:
    return isinstance(x, mx.array) and x.dtype == mx.float64


def exp(x: Any, /) -> Any:  # type: ignore[no-redef]
    reduced = _is_double(x) or (
        isinstance(x, mx.array) and x.dtype == mx.float32 and mx.default_device().type == mx.cpu
    )
    return _exp(x) if reduced else mx.exp(x)


def sin(x: Any, /) -> Any:  # type: ignore[no-redef]
    return _sin(x) if _is_double(x) else mx.sin(x)


def cos(x: Any, /) -> Any:  # type: ignore[no-redef]
    return _cos(x) if _is_double(x) else mx.cos(x)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:  # type: ignore[no-redef]
    """By position or by keyword."""
    return mx.clip(x, min, max)


def signbit(x: Any, /) -> Any:
    return (x < 0) | ((x == 0) & (1 / x < 0))


def copysign(x1: Any, x2: Any, /) -> Any:
    size = mx.abs(x1)
    return mx.where(signbit(x2), -size, size)


def result_type(*arrays_and_dtypes: Any) -> Any:  # type: ignore[no-redef]
    """Python numbers take the dtype of what is beside them."""
    typed = [a for a in arrays_and_dtypes if isinstance(a, (mx.array, mx.Dtype))]
    return mx.result_type(*typed)


def sort(x: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Any:  # type: ignore[no-redef]
    found = mx.sort(x, axis)
    return mx.flip(found, axis) if descending else found
