"""Pieces that several formulas share, in array API arithmetic alone.

Rules that hold here and in the catalogue: ``where`` instead of abs, maximum and minimum across a smooth joint (frameworks
disagree on their slope at a tie); both branches of a ``where`` finite; arguments clamped before an exponential;
no subnormal intermediate where the result is normal (XLA and TensorFlow flush them); constants are Python numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .declaration import Array

#: Beyond this magnitude exp(-a) is 0 in every dtype; finite, so that a * exp(-a) is 0 and not NaN.
BIG = 1000.0

_SHIFT = 32.0
_SHIFT_FACTOR = math.exp(-_SHIFT)


def magnitude(xp: Any, x: Array) -> Array:
    """abs(x), with slope 1 at 0 in every framework."""
    return xp.where(x >= 0, x, -x)


def clamped(xp: Any, x: Array, bound: float = BIG) -> Array:
    """`x` limited to [-bound, bound]; NaN stays NaN."""
    return xp.where(x > bound, bound, xp.where(x < -bound, -bound, x))


def choose(xp: Any, condition: Array, yes: Array, no: Array, like: Array) -> Array:
    """`yes` where the condition holds, else `no`, both possibly numbers; NaN where `like` is NaN."""
    return xp.where(condition, yes, xp.where(xp.isnan(like), like, no))


def constant(xp: Any, x: Array, value: float) -> Array:
    """`value` in the shape and dtype of `x`, NaN where `x` is NaN."""
    return xp.where(xp.isnan(x), x, value)


def zero(xp: Any, x: Array, /, **_: Any) -> Array:
    """The derivative of what is piecewise constant, whatever the parameters: 0, and NaN where `x` is NaN."""
    return constant(xp, x, 0.0)


class Decay:
    """exp(-a) for a >= 0, and products with it that do not underflow before their result does.

    Attributes
    ----------
    z : exp(-a). It may be flushed to zero where it is subnormal, which does not matter in sums such as 1 + z.
    """

    def __init__(self, xp: Any, a: Array) -> None:
        self._xp = xp
        self._far = a > 2 * _SHIFT
        self._scaled = xp.exp(xp.where(self._far, _SHIFT - a, -a))
        self.z = xp.where(self._far, self._scaled * _SHIFT_FACTOR, self._scaled)

    def sum(self, keep: Array, axis: int) -> Array:
        """The sum of exp(-a) along an axis where `keep` holds, without losing the small terms of a small sum."""
        xp = self._xp
        near = xp.sum(xp.where(keep & ~self._far, self._scaled, 0.0), axis=axis, keepdims=True)
        far = xp.sum(xp.where(keep & self._far, self._scaled, 0.0), axis=axis, keepdims=True)
        return near + far * _SHIFT_FACTOR

    def times(self, *factors: Array) -> Array:
        """The product of exp(-a) and the factors, multiplied in this order."""
        product = self._scaled
        for factor in factors:
            product = product * factor
        return self._xp.where(self._far, product * _SHIFT_FACTOR, product)


def horner(x: Array, coefficients: Sequence[float]) -> Array:
    """The polynomial with these coefficients, the constant one first."""
    value = coefficients[-1] * x + coefficients[-2]
    for c in coefficients[-3::-1]:
        value = value * x + c
    return value


def is_double(xp: Any, x: Array) -> bool:
    """Whether `x` is float64, which needs longer approximations than float32."""
    return bool(x.dtype == xp.float64)


# tanh(x) / x as a rational function of x^2: convergents of Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))),
# relative error 6e-10 and 5e-18 for |x| < 0.6.
_TANH_32 = ((945.0, 105.0, 1.0), (945.0, 420.0, 15.0))
_TANH_64 = ((2027025.0, 270270.0, 6930.0, 36.0), (2027025.0, 945945.0, 51975.0, 630.0, 1.0))


def tanh(xp: Any, x: Array) -> Array:
    """tanh from one exponential and one division."""
    a = magnitude(xp, x)
    near = a < 0.6
    v = xp.where(near, a, 0.0)
    upper, lower = _TANH_64 if is_double(xp, x) else _TANH_32
    z = xp.exp(-2 * a)
    y = xp.where(near, v * horner(v * v, upper), 1 - z) / xp.where(near, horner(v * v, lower), 1 + z)
    return xp.where(x >= 0, y, -y)


def series(xp: Any, x: Array, coefficients: Callable[[int], float]) -> Array:
    """x^2 times the sum of coefficients(k) x^(k - 2) for k >= 2, of terms that fall like 1 / k!, for -1 < x <= 0."""
    terms = 21 if is_double(xp, x) else 12
    return x * (x * horner(x, [coefficients(k) for k in range(2, terms)]))


def expm1(xp: Any, x: Array) -> Array:
    """exp(x) - 1 for x <= 0. Some compilers take just that for expm1, and lose all digits near 0."""
    near = x > -1
    small = xp.where(near, x, 0.0)
    taylor = small + series(xp, small, lambda k: 1 / math.factorial(k))
    return xp.where(near, taylor, xp.exp(xp.where(near, -1.0, x)) - 1)


# exp(a^2 / 2) * Phi(-a), a Mills ratio, as a rational function of a. All coefficients are positive, so nothing cancels.
# Interpolated at Chebyshev nodes in 1 / (1 + a / p) in 60-digit arithmetic; relative error 7.4e-9 on [0, 14.5] (p = 3) and
# 1.8e-18 on [0, 40] (p = 4).
_MILLS_32 = (
    (0.5000000020195996, 0.4375937007939662, 0.18267022756395898, 0.04042960576918461, 0.004082358524791503),
    (1.0, 1.6730722810342096, 1.200255081794842, 0.4679680460669196, 0.10134849167433184, 0.010232834964710953),
)
_MILLS_64 = (
    (
        0.5,
        0.8271826026699026,
        0.6783918019176626,
        0.3563636068023978,
        0.13154403773894913,
        0.03548940042984599,
        0.007077350580471882,
        0.0010313590966463827,
        0.00010550308358398394,
        6.888404471046805e-06,
        2.206141608820233e-07,
    ),
    (
        1.0,
        2.4522497661426708,
        2.8133958314729957,
        1.9973289481605838,
        0.9772321662020906,
        0.34694890025332376,
        0.0915094353867671,
        0.018003638082759107,
        0.002602500542560113,
        0.0002650100100628648,
        1.7266669414247877e-05,
        5.529976934507568e-07,
    ),
)


def normal_tail(xp: Any, a: Array) -> tuple[Array, Decay]:
    """Phi(-a) for 0 <= a <= 40 as a pair (m, d): it is ``d.times(m)``, with d the decay exp(-a^2 / 2)."""
    upper, lower = _MILLS_64 if is_double(xp, a) else _MILLS_32
    return horner(a, upper) / horner(a, lower), Decay(xp, a * a * 0.5)
