"""Pieces that several formulas share, in array API arithmetic alone.

Rules that hold here and in the catalogue: ``where`` instead of maximum and minimum across a smooth joint (frameworks disagree
on their slope at a tie); both branches of a ``where`` finite; arguments clamped before an exponential; no subnormal
intermediate where the result is normal (XLA and TensorFlow flush them); constants are Python numbers; what is expensive is
used few times (XLA evaluates it in a loop of its own if more than 15 ways lead to it from the result), and a comparison once
(code of Inductor with two selections by the same mask around an exponential takes twice as long).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .declaration import Array

#: Beyond this magnitude exp(-a) is 0 in every dtype; finite, so that a * exp(-a) is 0 and not NaN.
BIG = 1000.0

_SHIFT = 32.0
_SHIFT_FACTOR = math.exp(-_SHIFT)


def magnitude(xp: Any, x: Array) -> Array:
    """abs(x), with slope 1 at 0 in every framework; a namespace may have a shorter way."""
    own = getattr(xp, "magnitude", None)
    return xp.where(x >= 0, x, -x) if own is None else own(x)


def positive(xp: Any, x: Array, slope: int = 1) -> Array:
    """max(x, 0), with that slope at 0 in every framework; a namespace may have a shorter way."""
    own = getattr(xp, "positive_part", None)
    return xp.where(x < 0 if slope else x <= 0, 0.0, x) if own is None else own(x, slope)


def negative(xp: Any, x: Array, slope: int = 1) -> Array:
    """min(x, 0), likewise."""
    return -positive(xp, -x, slope)


def near(xp: Any, x: Array, y: Array) -> Array:
    """`y` where `x` is near 0, and 0 beyond: the side of a tie, where a series of few terms tells it."""
    return xp.where((x < 2.0**-7) & (x > -(2.0**-7)), y, 0.0)


def sign(xp: Any, x: Array) -> Array:
    """1 where x >= 0, else -1."""
    return xp.where(x >= 0, xp.ones_like(x), -1.0)


def keeps_subnormals(xp: Any, x: Array) -> bool:
    """Whether the arithmetic on `x` has subnormal numbers, so that nothing underflows before its result does.

    A namespace says so; XLA and TensorFlow flush them to zero. An exponential that is one lacks fewer digits than the rounding
    of its argument takes from it, as long as its product with a factor that is not large is a normal number.
    """
    own = getattr(xp, "keeps_subnormals", None)
    return own is not None and bool(own(x))


def differentiated(xp: Any, x: Array) -> bool:
    """Whether the framework may differentiate what is done with `x`; where a namespace does not say, it may."""
    own = getattr(xp, "differentiated", None)
    return own is None or bool(own(x))


def inside(xp: Any, where: Array, x: Array, other: float = 0.0) -> Array:
    """`x`, with a number in place of it where a mask does not hold, for what is selected by that mask afterwards.

    Derivatives need that, as both branches of a selection have to be finite; a value alone does not.
    """
    return xp.where(where, x, other) if differentiated(xp, x) else x


def own_or(xp: Any, name: str, formula: Callable[[Any, Array], Array], x: Array) -> Array:
    """The framework's own function of that name where a namespace says that it is within the error budget and faster, else the formula."""
    own = getattr(xp, "own", None)
    y = None if own is None else own(name, x)
    return formula(xp, x) if y is None else y


def kept(xp: Any, x: Array) -> Array:
    """`x`, of which a long formula makes much use; a namespace may see to it that it is computed once."""
    own = getattr(xp, "kept", None)
    return x if own is None else own(x)


def detached(xp: Any, x: Array) -> Array:
    """`x`, which is the same all around: MLX would multiply its tangent 0 with infinities."""
    own = getattr(xp, "stop_gradient", None)
    return x if own is None else own(x)


def of_row(xp: Any, x: Array) -> Array:
    """`x`, which has one number for a row of others and is met in each of them; likewise."""
    own = getattr(xp, "of_row", None)
    return x if own is None else own(x)


def clamped(xp: Any, x: Array, bound: float = BIG) -> Array:
    """`x` limited to [-bound, bound], far from where that changes a result; NaN stays NaN."""
    return xp.clip(x, -bound, bound)


def choose(xp: Any, condition: Array, yes: Array, no: Array, like: Array) -> Array:
    """`yes` where the condition holds, else `no`, both possibly numbers; NaN where `like` is NaN."""
    return xp.where(condition, yes, xp.where(xp.isnan(like), like, no))


def constant(xp: Any, x: Array, value: float) -> Array:
    """`value` in the shape and dtype of `x`, NaN where `x` is NaN."""
    return xp.where(xp.isnan(x), x, value)


def bounded(factor: Any, bound: float) -> bool:
    """Whether a factor is known to be no larger than that: it is a number, not an array."""
    return isinstance(factor, float) and abs(factor) <= bound


def times(factor: Any, x: Array) -> Array:
    """factor * x, without the work where the factor is the number 1."""
    return x if isinstance(factor, float) and factor == 1 else factor * x


def finite(xp: Any, x: Array) -> Array:
    """`x`, with 0 in place of an infinity, for products whose other factor makes the limit."""
    return xp.where(xp.abs(x) == math.inf, 0.0, x)


def root(xp: Any, x: Array) -> Array:
    """sqrt(x^2 + 1), which is |x| long before x^2 overflows."""
    far = (x > 1e18) | (x < -1e18)
    near = xp.where(far, 0.0, x)
    return xp.where(far, magnitude(xp, x), xp.sqrt(near * near + 1))


def zero(xp: Any, x: Array, /, **_: Any) -> Array:
    """The derivative of what is piecewise constant, whatever the parameters: 0, and NaN where `x` is NaN."""
    return constant(xp, x, 0.0)


zero.vanishes = True  # type: ignore[attr-defined]


def off_tie(xp: Any, y: Array, side: float) -> Array:
    """`y`, in float32 a neighbour of it: farther from 0 if `side` is 1, nearer to 0 if it is -1.

    For results that are `y` but for something too small for float32. Where `y` is halfway between two 16-bit numbers, it would
    else be rounded as the tie that the true number is not.
    """
    return y if is_double(xp, y) else (1 + side * 2.0**-23) * y


def logistic(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return own_or(xp, "logistic", _logistic, x)


def _logistic(xp: Any, x: Array) -> Array:
    if keeps_subnormals(xp, x):
        return 1 / (1 + xp.exp(-x))
    z = xp.exp(-magnitude(xp, x))  # for 1 / a TensorFlow takes a reciprocal that loses digits of a large a
    return xp.where(x >= 0, xp.ones_like(x), z) / (1 + z)


#: The bound of a factor of exp(-a) that grows like 2 a.
LINEAR = 256.0


class Decay:
    """exp(-a) for a >= 0, and products with it that do not underflow before their result does.

    Parameters
    ----------
    factor : a bound of what it is multiplied with, where that is not 0. If it is a number up to 1, no product is larger than
        exp(-a), and where one is subnormal it may be flushed to zero, which saves work. Arithmetic that keeps subnormal numbers
        is as good up to `LINEAR`.

    Attributes
    ----------
    z : exp(-a). It may be flushed to zero where it is subnormal, which does not matter in sums such as 1 + z.
    """

    def __init__(self, xp: Any, a: Array, factor: Any = None) -> None:
        self._xp, self._a = xp, a
        self._small = bounded(factor, LINEAR if keeps_subnormals(xp, a) else 1.0)
        self._near = xp.exp(-a if self._small else xp.where(a > 2 * _SHIFT, _SHIFT, xp.zeros_like(a)) - a)
        self.z = self._whole(self._near)

    def _whole(self, product: Array) -> Array:
        """What was multiplied with the exponential, by what that lacks.

        A selection, since TensorFlow's optimiser reorders products, and what is smallest has to be multiplied last.
        """
        if self._small:
            return product
        return self._xp.where(self._a <= 2 * _SHIFT, product, _SHIFT_FACTOR * product)

    def times(self, *factors: Array) -> Array:
        """The product of exp(-a) and the factors, multiplied in this order."""
        product = self._near
        for factor in factors:
            product = product * factor
        return self._whole(product)


def growth(xp: Any, u: Array, high: float | None = None) -> tuple[Array, Array, Array, Array]:
    """(v, s, unit, gone), with which the sigmoid of u is unit / (1 + s), and 0 or subnormal where gone.

    v is u, limited to where it is not gone, and to `high`. s is exp(-v), divided by unit where that is large, so that it stays
    below e^72, beyond which the reciprocal of TensorFlow loses digits.
    """
    shift, low = (40.0, -740.0) if is_double(xp, u) else (32.0, -100.0)  # beside exp(shift) the 1 is less than an ulp
    v = xp.clip(u, low, high)
    s = xp.exp(xp.where(v < -2 * shift, -shift - v, -v))
    return v, s, xp.where(v >= -2 * shift, xp.ones_like(v), math.exp(-shift)), u < low


def gumbel(xp: Any, u: Array) -> Array:
    """Numbers of the standard Gumbel distribution from uniform ones on [0, 1], at whose ends they stay finite."""
    step = 2.0**-53 if is_double(xp, u) else 2.0**-24
    inside = xp.where(u >= 1, 1 - step, xp.where(u <= 0, step / 2, u))
    return -xp.log(-xp.log(inside))


def horner(x: Array, coefficients: Sequence[float]) -> Array:
    """The polynomial with these coefficients, the constant one first."""
    value = coefficients[-1] * x + coefficients[-2]
    for c in coefficients[-3::-1]:
        value = value * x + c
    return value


def is_double(xp: Any, x: Array) -> bool:
    """Whether `x` is float64, which needs longer approximations than float32."""
    return bool(x.dtype == xp.float64)


def split(xp: Any, x: Array, bits: int = 12, *, bounded: bool = False) -> tuple[Array, Array]:
    """`x` as head + tail, each with half of its digits, so that a product of two heads is exact; up to 1e30.

    In float32 the head has so many bits.

    Products with a power of two are exact, so that it does not matter whether a compiler fuses them with a sum. Beyond 1e30
    the tail is 0, which need not be asked of what is `bounded`: a compiler takes `x` apart each time that it is used.
    """
    power = 2.0 ** (27 if is_double(xp, x) else 24 - bits)
    head = (power * x + x) - power * x
    if not bounded:
        head = xp.where((x < 1e30) & (x > -1e30), head, x)
    return head, x - head


def with_twice_the_digits(xp: Any, call: Callable[..., Array], *arrays: Array) -> Array:
    """``call(True, *arrays)`` of float32 in float64, rounded, where there is float64 beside it, otherwise ``call(False, *arrays)``.

    A namespace may have a way of its own; one gives None where there is no float64.
    """
    x = arrays[0]
    if not is_double(xp, x):
        own, info = getattr(xp, "in_double", None), getattr(xp, "__array_namespace_info__", None)
        if own is not None:
            y = own(partial(call, True), *arrays)
            if y is not None:
                return y
        elif info is not None and "float64" in info().dtypes(kind="real floating"):
            return xp.astype(call(True, *(xp.astype(a, xp.float64) for a in arrays)), x.dtype)
    return call(False, *arrays)


def exact_sum(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """a + b as a number and what is lost by its rounding (Knuth 1969)."""
    total = kept(xp, a + b)
    back = kept(xp, total - a)
    return total, (a - (total - back)) + (b - back)


def exact_product(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """a b as a number and what is lost by its rounding, for arrays up to 1e30.

    Of products without rounding, as in Dekker 1971, so that it does not matter whether a compiler fuses them with sums.
    """
    (a_head, a_tail), (b_head, b_tail) = split(xp, a, bounded=True), split(xp, b, bounded=True)
    heads = a_head * b_head
    mixed, lost = exact_sum(xp, a_head * b_tail, a_tail * b_head)
    rounded = kept(xp, heads + mixed)
    return rounded, kept(xp, (mixed - (rounded - heads)) + (a_tail * b_tail + lost))


def product(xp: Any, a: Array, x: Array) -> tuple[Array, Array]:
    """a x as the sum of an exact product of heads and of what is beyond it; `a` may be a number."""
    a_head, a_tail = split(xp, xp.zeros_like(x) + a)
    head, tail = split(xp, x)
    return a_head * head, a_head * tail + a_tail * x


# tanh(x / 2) as x times a rational function of x^2, relative error 8e-10 for |x| < 9.1, from where on tanh(x) is 1 in float32.
# Interpolated at Chebyshev nodes with Lawson's weights.
_HALF_TANH = (
    (0.9999999992380142, 0.032406538129261836, 0.00018520870790661866, 1.4804649177903972e-07, -4.502733602623702e-11),
    (2.0, 0.23147973774376688, 0.0029937316065564998, 7.283224594820065e-06),
)
# (2 p - d) / x^2 for numerator and denominator of that; for |x| < 1 the last term does not count.
_HALF_TANH_EXCESS = tuple(2 * p - d for p, d in zip(_HALF_TANH[0][1:], _HALF_TANH[1][1:]))
# tanh(x) / x as a rational function of x^2: a convergent of Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))),
# relative error 5e-18 for |x| < 0.6.
_TANH = ((2027025.0, 270270.0, 6930.0, 36.0), (2027025.0, 945945.0, 51975.0, 630.0, 1.0))


def tanh(xp: Any, x: Array) -> Array:
    """tanh, within 2 ulp and never beyond 1; in float32 from t = tanh(x / 2), without an exponential."""
    if is_double(xp, x):
        v = clamped(xp, x, 40.0)
        near = (v < 0.6) & (v > -0.6)
        z, w = xp.exp(-2 * v), xp.where(near, v, 0.0)
        upper, lower = (horner(w * w, c) for c in _TANH)
        return xp.where(near, w * upper, 1 - z) / xp.where(near, lower, 1 + z)
    v = clamped(xp, x, 9.1)
    q, s = v * v, sign(xp, x)
    p, d = horner(q, _HALF_TANH[0]), horner(q, _HALF_TANH[1])
    # With t = n / d for n = v p the result is, far from 0, 1 - (1 - t)^2 / (1 + t^2), and near 0 2 t / (1 + t^2), from which v is
    # taken to keep its digits: v + v q (d (2 p - d) / q - p^2) / (d^2 + n^2).
    n, near = v * p, q < 1
    gap = d - s * n
    part = xp.where(near, v * (q * (d * horner(q, _HALF_TANH_EXCESS) - p * p)), -s * (gap * gap))
    return part / (n * n + d * d) + xp.where(near, v, s)


def inverse_factorial(k: int) -> float:
    """1 / k!, the coefficients of exp."""
    return 1 / math.factorial(k)


def tail(xp: Any, x: Array, coefficients: Callable[[int], float]) -> Array:
    """The sum of coefficients(k) x^(k - 2) for k >= 2, of coefficients that fall like 1 / k!, for -1 <= x <= 1."""
    return horner(x, [coefficients(k) for k in range(2, 21 if is_double(xp, x) else 12)])


def sech2(xp: Any, x: Array, factor: Array = 1.0) -> Array:
    """factor / cosh(x)^2, which does not underflow before the product does."""
    z = xp.exp(-magnitude(xp, x))
    r = z / (0.5 + z * (0.5 * z))  # not 1 + z * z, which XLA takes for one more exponential
    product = factor * r
    if not keeps_subnormals(xp, x):  # a selection, since TensorFlow's optimiser reorders products
        product = xp.where(z == 0, 0.0, product)
    return product * r


# (sinh(w) - w) / w^3 in powers of w^2, for |w| < 2
_SINH = [1 / math.factorial(2 * k + 3) for k in range(13)]


def tanh_excess(xp: Any, x: Array) -> Array:
    """tanh(x) - x / cosh(x)^2, near 0 as (sinh(2 x) - 2 x) / (2 cosh(x)^2), where it cancels."""
    v = clamped(xp, x)
    a = magnitude(xp, v)
    near = a < 1
    w = 2 * xp.where(near, v, 0.0)
    inner = sech2(xp, v, 0.5 * (w * w * w) * horner(w * w, _SINH if is_double(xp, x) else _SINH[:7]))
    d = Decay(xp, 2 * xp.where(near, 1.0, a))
    outer = (1 - d.times(d.z + 4 * a)) / ((1 + d.z) * (1 + d.z))
    return xp.where(near, inner, sign(xp, x) * outer)


def series(xp: Any, x: Array, coefficients: Callable[[int], float]) -> Array:
    """x^2 times `tail`, in an order in which x^2 does not underflow before it."""
    return x * (x * tail(xp, x, coefficients))


# (exp(x) - 1 - x) / x^2 in powers of x, with which exp(x) - 1 has a relative error of 3e-8 for -0.4 < x <= 0, interpolated as
# above; and of 1e-21 by its Taylor series, whose coefficients balls of high precision are given too.
_EXPM1_32 = (0.49999774577474454, 0.16661246377380132, 0.04125665723299909, 0.007087472079663243)
_EXPM1_64 = [inverse_factorial(k) for k in range(2, 17)]


def expm1(xp: Any, x: Array) -> Array:
    """exp(x) - 1 for x <= 0. Some compilers take just that for expm1, and lose all digits near 0."""
    small = xp.clip(x, -0.4, None) if differentiated(xp, x) else x
    near = small + small * (small * horner(small, _EXPM1_64 if is_double(xp, x) else _EXPM1_32))
    return xp.where(x > -0.4, near, xp.exp(x) - 1)


# (artanh(s) / s - 1) / s^2 in powers of s^2; for s < 1/3 it adds 2e-9 and 2e-17 less than it should to artanh(s) / s.
_ARTANH = [1 / (2 * k + 3) for k in range(16)]


def log1p_loss(xp: Any, x: Array) -> Array:
    """1 - ln(1 + x) / x for 0 <= x <= 1."""
    c = 2 + x
    s = x / c
    return s * (1 - 2 * (s / c) * horner(s * s, _ARTANH if is_double(xp, x) else _ARTANH[:7]))


# ln(1 + x) / x in powers of x, relative error 8e-10 for 0 <= x <= 1. Interpolated as above.
_LOG1P = (
    (0.9999999992567383, -0.49999981431997875, 0.3333255957192398, -0.2498727019295847, 0.1989074334993342)
    + (-0.16105675221101454, 0.1241839901075454, -0.08244123091764785, 0.04147778354105126, -0.013407321245864329)
    + (0.00203019957517998,)
)


def log1p_ratio(xp: Any, x: Array) -> Array:
    """ln(1 + x) / x for 0 <= x <= 1, within 2 ulp."""
    return 1 - log1p_loss(xp, x) if is_double(xp, x) else horner(x, _LOG1P)


def log1p(xp: Any, x: Array) -> Array:
    """ln(1 + x) for 0 <= x <= 1, within 1 ulp; those of the frameworks are off by up to 3."""
    return x - x * log1p_loss(xp, x)


def artanh_excess(xp: Any, x: Array) -> Array:
    """artanh(x) - x for |x| < 0.9."""
    q = x * x
    near = q < 1 / 9
    v, q = xp.where(near, x, 0.0), xp.where(near, q, 0.0)
    inner = v * q * horner(q, _ARTANH if is_double(xp, x) else _ARTANH[:7])
    return xp.where(near, inner, 0.5 * xp.log1p(2 * x / (1 - x)) - x)


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


#: Beyond this argument the tail of the normal distribution is 0 in every dtype.
NORMAL_END = 40.0


def normal_tail(xp: Any, x: Array, factor: Any = None) -> tuple[Array, Array, Decay]:
    """Phi(-|x|) as (a, m, d): it is ``d.times(m)``, with d the decay exp(-x^2 / 2) and a = |x|, at most `NORMAL_END`.

    `factor` is a bound of what d is multiplied with.
    """
    a = xp.clip(magnitude(xp, x), None, NORMAL_END)
    upper, lower = _MILLS_64 if is_double(xp, x) else _MILLS_32
    # XLA would evaluate `a` more often if it were used once more
    q = a * a if keeps_subnormals(xp, x) else xp.clip(x * x, None, NORMAL_END * NORMAL_END)
    return a, horner(a, upper) / horner(a, lower), Decay(xp, 0.5 * q, factor)


_PHI_0 = 1 / math.sqrt(2 * math.pi)


def _gap(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """The numerator of _PHI_0 lower(a) / upper(a) - a, over upper(a)."""
    return [_PHI_0 * q - p for q, p in zip(lower, (0.0, *upper))]


_GAP_32, _GAP_64 = _gap(*_MILLS_32), _gap(*_MILLS_64)


def mills(xp: Any, a: Array) -> Array:
    """The m of `normal_tail`, as _PHI_0 / (a + g) with a small g: for one more division within 2 ulp, not 5."""
    (upper, _), gap = (_MILLS_64, _GAP_64) if is_double(xp, a) else (_MILLS_32, _GAP_32)
    return _PHI_0 / (a + horner(a, gap) / horner(a, upper))


#: The slope of erf at 0.
ERF_SLOPE = 2 / math.sqrt(math.pi)

# erf(x) / x in powers of x^2: in float32 with the relative error 1.2e-9 for |x| < 1, with Lawson's weights; in float64 the Taylor
# series, the first term left out of which is 5e-18 of the first for |x| < 0.5. And (1 - erf(a))^(-1/8) in powers of a, with which
# erf(a) has an error of 1.2e-8 for 1 <= a <= 4, from where on it is 1 in float32.
_ERF_32 = (
    1.128379165726707,
    -0.37612625824215995,
    0.11283585148431548,
    -0.026853811927819132,
    0.005188327671642218,
    -0.0008010193501771057,
    7.853860945903019e-05,
)
_ERF_64 = [ERF_SLOPE * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(12)]
_ERFC_32 = (
    0.9964869770589004,
    0.15921051851054072,
    0.049417256071783974,
    0.07373604700264368,
    -0.03303092668783466,
) + (0.017750711210941116, -0.004002155544580805, 0.0005436667832195202)


def erfc_tail(xp: Any, a: Array) -> tuple[Array, Decay]:
    """1 - erf(a) for 0 <= a <= 28 as a pair (m, d): it is ``d.times(m)``, with d the decay exp(-a^2)."""
    return 2 * mills(xp, math.sqrt(2) * a), Decay(xp, a * a)


def erf(xp: Any, x: Array) -> Array:
    """The error function: a polynomial near 0, one minus the tail beyond. In float32 that is the reciprocal of an eighth power."""
    double = is_double(xp, x)
    a = magnitude(xp, x)
    if double:
        a = clamped(xp, a, 28.0)
        near = a < 0.5
        m, d = erfc_tail(xp, xp.where(near, 0.5, a))
        rest = d.times(m)
    else:
        near = a < 1
        p = horner(xp.clip(a, None, 4.0), _ERFC_32)
        p = p * p
        p = p * p
        rest = 1 / (p * p)
    small = inside(xp, near, x)
    return xp.where(near, small * horner(small * small, _ERF_64 if double else _ERF_32), sign(xp, x) * (1 - rest))


# (arctan(t) / t - 1) / t^2 in powers of t^2; for |t| <= 1 arctan(t) has a relative error of 1.5e-8. Interpolated as above.
_ARCTAN_32 = (
    -0.3333316696493983,
    0.199941371781421,
    -0.14214208906916803,
    0.10678939359988604,
    -0.0758057611246901,
) + (0.043553515029822604, -0.016581168793564863, 0.002974586545703927)


def arctan_32(xp: Any, x: Array) -> Array:
    """arctan in float32 within 2 ulp, for frameworks whose own is slow."""
    far = magnitude(xp, x) > 1
    t = xp.where(far, -1 / xp.where(far, x, 1.0), x)
    q = t * t
    return t + t * (q * horner(q, _ARCTAN_32)) + xp.where(far, sign(xp, x) * (math.pi / 2), -0.0)


#: 1 / (2 pi) in units of 2^-_TURN_BITS.
_TURN_BITS = 256
_INVERSE_TURN = 0x28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E4107F9458EAF7AEF158


def _window(start: int) -> list[float]:
    """1 / (2 pi) without the bits of a weight above 2^-start, in numbers of 29, 29, 29 and 53 bits."""
    unit, rest = 1 << _TURN_BITS, _INVERSE_TURN % (1 << (_TURN_BITS - start))
    found = []
    for end in (start + 29, start + 58, start + 87):
        head = rest >> (_TURN_BITS - end) << (_TURN_BITS - end)
        found.append(head / unit)
        rest -= head
    return [*found, rest / unit]


#: Beyond this magnitude numbers of float32 are multiples of 2^57, and the bits of more weight than 2^-57 make whole turns.
_FAR_TURNS = 2.0**80
_TURNS = list(zip(_window(2), _window(57)))
# (sin(u) / u - 1) / u^2 in powers of u^2, with which sin(u) has a relative error of 3e-11 for |u| <= pi / 2. Interpolated as above.
_SINE_32 = (
    -0.1666666662614939,
    0.008333331108593156,
    -0.0001984086820866093,
    2.7525384363203093e-06,
    -2.388890822210533e-08,
)


def sine_32(xp: Any, x: Array, quarters: int = 0) -> Array:
    """sin(x + quarters pi / 2) of float32 in float64, rounded, for frameworks whose own is slow.

    `x` holds numbers of float32 in float64. It is multiplied with those digits of 1 / (2 pi) that count, in products without
    rounding, of which whole turns are dropped (Payne & Hanek, Radian reduction for trigonometric functions, 1983).
    """
    far = (x > _FAR_TURNS) | (x < -_FAR_TURNS)
    zero = xp.zeros_like(x)
    *heads, last = (xp.where(far, zero + beyond, usual) for usual, beyond in _TURNS)
    turns = x * last
    for head in heads[::-1]:
        turns = turns + (x * head - xp.round(x * head))
    if quarters:
        turns = turns + 0.25 * quarters
    turns = turns - xp.round(turns)
    half = 0.5 * xp.round(2 * turns)  # 0, or half a turn, which changes the sign
    u = (2 * math.pi) * xp.where(half == 0, turns, half - turns)
    q = u * u
    return xp.astype(u + u * (q * horner(q, _SINE_32)), xp.float32)


def part(x: Array, axis: int, which: slice) -> Array:
    """A slice of `x` along an axis, also where not even the rank of `x` is known."""
    if axis >= 0:
        return x[(*(slice(None),) * axis, which, ...)]
    return x[(..., which, *(slice(None),) * (-axis - 1))]


def size(xp: Any, x: Array, axis: int) -> Any:
    """The size along an axis: a number, or a tensor of TensorFlow where it becomes known only when a graph runs."""
    return shape(xp, x)[axis]


def count(xp: Any, x: Array, axis: int) -> Any:
    """The same, to divide floating-point numbers by."""
    sizes = shape(xp, x)
    return sizes[axis] if isinstance(sizes, tuple) else xp.astype(sizes[axis], x.dtype)


def shape(xp: Any, x: Array) -> Any:
    """The shape of `x`: a tuple, or a tensor of TensorFlow or ndonnx where it becomes known only when a graph runs."""
    known = getattr(x.shape, "rank", 0) is not None and None not in tuple(x.shape)
    if known:
        return tuple(x.shape)
    return x.dynamic_shape if hasattr(x, "dynamic_shape") else xp.shape(x)


def summed(xp: Any, x: Array, shape: Sequence[int | None]) -> Array:
    """The sum of `x` over the axes along which an array of that shape was broadcast to it: the gradient of that array."""
    more = len(x.shape) - len(shape)
    if more:
        x = xp.sum(x, axis=tuple(range(more)))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 != x.shape[i])
    return xp.sum(x, axis=axes, keepdims=True) if axes else x


def along(jacobian: Callable[..., Array]) -> dict[str, Any]:
    """The derivatives of a function of x alone along an axis, from ``jacobian(xp, x, y, t, **options)``.

    That is its Jacobian, a symmetric matrix, applied to t.
    """

    def jvp(xp: Any, arguments: Sequence[Array], y: Array, tangents: Sequence[Array], **options: int) -> Array:
        (x,), (t,) = arguments, tangents
        return jacobian(xp, x, y, xp.zeros_like(x) if t is None else t, **options)

    def vjp(
        xp: Any, arguments: Sequence[Array], y: Array, cotangent: Array, needed: Sequence[bool], **options: int
    ) -> tuple[Array | None]:
        return (jacobian(xp, arguments[0], y, cotangent, **options) if needed[0] else None,)

    return {"jvp": jvp, "vjp": vjp}
