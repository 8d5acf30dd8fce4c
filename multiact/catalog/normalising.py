"""Functions that normalise along an axis: the softmax family.

With m the maximum along the axis and e = exp(z - m), the sum of e is 1 plus the rest without one maximum. Keeping the rest
apart keeps the digits of log_softmax where one entry dominates, and so does relating all entries to that one in the
derivatives. Entries that share an infinite maximum share the probability equally, so a row of
-inf gives the uniform distribution and no NaN.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ..declaration import parameter
from ..numerics import count, detached, differentiated, is_double, keeps_subnormals, of_row, positive, times
from ..registry import axiswise

INF = math.inf
#: The largest numbers of float32 and float64.
LARGEST_32, LARGEST_64 = (2 - 2.0**-23) * 2.0**127, (2 - 2.0**-52) * 2.0**1023


def _scaled(x, temperature, sign):
    """sign * x / temperature, without the work where it changes nothing."""
    z = x if isinstance(temperature, float) and temperature == 1.0 else x / temperature
    return z if sign == 1 else -z


def tops(xp, z, axis):
    """The maximum along the axis, and the mask of the entries that are equal to it."""
    top = xp.max(z, axis=axis, keepdims=True)
    return top, z == top


def nan_rows(xp, x, axis, y):
    """y, NaN in rows of x that have a NaN."""
    return xp.where(xp.any(xp.isnan(x), axis=axis, keepdims=True), math.nan, y)


def below_top(xp, z, axis):
    """z - max, with entries that share an infinite maximum at 0 and the others of their row at -inf."""
    top = xp.max(z, axis=axis, keepdims=True)
    infinite = (top == INF) | (top == -INF)
    # Entries are compared with a number of their row that only infinite ones can be equal to.
    return xp.where(z == xp.where(infinite, top, math.nan), 0.0, z - xp.where(top == -INF, 0.0, top))


def _fall(xp, z, axis, sign=1):
    """The maximum along the axis of sign * z, and how far that is below it: 0 at the maximum inf and huge elsewhere, and inf all
    over a row of -inf.

    All else is done once for a row: XLA takes long for a selection of every number of an array, and writes -z out.
    """
    top = xp.max(z, axis=axis, keepdims=True) if sign == 1 else -xp.min(z, axis=axis, keepdims=True)
    largest = LARGEST_64 if is_double(xp, z) else LARGEST_32
    # The maximum inf is taken for the largest number, which then nothing finite is as large as.
    factor = of_row(xp, detached(xp, sign - 0.5 * sign * xp.astype(top == INF, z.dtype)))
    return top, positive(xp, of_row(xp, xp.clip(top, -largest, largest)) - factor * z)


def probabilities(xp, z, axis, sign=1):
    """softmax(sign * z)."""
    top, fall = _fall(xp, z, axis, sign)
    e = xp.exp(-fall)
    alone = xp.where(top == -INF, xp.ones_like(top), 0.0)  # the sum where all of e is 0
    return e / of_row(xp, xp.sum(e, axis=axis, keepdims=True) + alone) + of_row(xp, alone / count(xp, z, axis))


def first_top(xp, is_top, like, axis):
    """The mask of the first maximum alone."""
    counted = xp.cumulative_sum(xp.where(is_top, xp.ones_like(like), 0.0), axis=axis)
    return is_top & (counted == 1)


def relative_to(xp, t, one, axis):
    """t minus its entry where the mask `one` holds, if it does. softmax does not see a constant, and where one entry has
    nearly the whole it drops out of sums in which it would cancel; of the transpose too, as it is 0 and not a difference."""
    return xp.where(one, 0.0, t - xp.sum(xp.where(one, t, 0.0), axis=axis, keepdims=True))


def weighted(xp, p, t):
    """p * t, and 0 where p is 0 even if t is infinite."""
    return p * xp.where(p == 0, 0.0, t)


def offsets(xp, x, sign, axis):
    """x without what the whole row has in common, which softmax does not see; 0 for infinite x."""
    infinite = (x == INF) | (x == -INF)
    top = xp.max(xp.where(infinite, -INF, sign * x), axis=axis, keepdims=True)
    return xp.where(infinite, 0.0, x - sign * xp.where(top == -INF, 0.0, top))


def _direction(xp, arguments, tangents, sign, axis):
    """The tangent of sign * x / temperature, up to a constant along the axis."""
    x, temperature = arguments
    tx, tt = tangents
    total = xp.zeros_like(x) if tx is None else tx
    if tt is not None:
        total = total - offsets(xp, x, sign, axis) * (tt / temperature)
    return _scaled(total, temperature, sign)


def _cotangents(xp, arguments, gz, needed, sign, axis):
    """The cotangents of x and temperature from that of sign * x / temperature, which sums to 0 along the axis."""
    x, temperature = arguments
    gx = _scaled(gz, temperature, sign)
    by_temperature = -gx * (offsets(xp, x, sign, axis) / temperature) if needed[1] else None
    return gx if needed[0] else None, by_temperature


def project(xp, y, t, axis):
    """y * (t - sum(y t)) for y that sum to 1, the Jacobian of softmax applied to t. It is symmetric."""
    d = relative_to(xp, t, y > 0.5, axis)
    g = weighted(xp, y, d - xp.sum(weighted(xp, y, d), axis=axis, keepdims=True))
    if not (differentiated(xp, y) or differentiated(xp, t)):
        return g
    # what is left, after rounding, of what all have in common; its transpose takes that from the direction of the next derivative
    return g - y * xp.sum(g, axis=axis, keepdims=True)


def _softmax(sign):
    def value(xp, x, temperature, *, axis):
        return probabilities(xp, _scaled(x, temperature, 1), axis, sign)

    def jvp(xp, arguments, y, tangents, *, axis):
        return project(xp, y, _direction(xp, arguments, tangents, sign, axis), axis)

    def vjp(xp, arguments, y, cotangent, needed, *, axis):
        return _cotangents(xp, arguments, project(xp, y, cotangent, axis), needed, sign, axis)

    return {"value": value, "jvp": jvp, "vjp": vjp, "result_suffices": True}


#: The unit of a sum of small terms, among which those that are subnormal count.
_UNIT = 2.0**-46


def _log_softmax_value(xp, x, temperature, *, axis):
    top, fall = _fall(xp, _scaled(x, temperature, 1), axis)
    huge = of_row(xp, xp.where(top == INF, 4.0, xp.ones_like(top)))  # what is huge becomes infinite
    shifted = 0.0 - huge * xp.where(top == -INF, 0.0, fall)  # not -0
    e = xp.exp(shifted)
    total = xp.sum(e, axis=axis, keepdims=True)  # in which the digits of a small rest are lost
    unit = 1.0
    if not keeps_subnormals(xp, x):
        unit = _UNIT
        far = shifted < -64
        e = xp.exp(xp.where(far, shifted + 32, shifted)) * xp.where(
            far, math.exp(-32) / unit, xp.ones_like(shifted) / unit
        )
    rest = times(unit, xp.sum(xp.where(shifted == 0, 0.0, e), axis=axis, keepdims=True))
    return shifted - of_row(xp, xp.log1p(xp.where(total > 1.5, total - 1, rest)))


def _log_softmax_jvp(xp, arguments, y, tangents, *, axis):
    p = xp.exp(y)
    d = relative_to(xp, _direction(xp, arguments, tangents, 1, axis), p > 0.5, axis)
    return d - xp.sum(weighted(xp, p, d), axis=axis, keepdims=True)


def _log_softmax_vjp(xp, arguments, y, cotangent, needed, *, axis):
    # g - p sum(g), which would cancel where p is nearly 1: there (1 - p) g - p (sum(g) - g), with 1 - p from the others.
    p = xp.exp(y)
    one = p > 0.5
    others = xp.sum(xp.where(one, 0.0, cotangent), axis=axis, keepdims=True)
    top = xp.sum(xp.where(one, cotangent, 0.0), axis=axis, keepdims=True)
    complement = xp.sum(xp.where(one, 0.0, p), axis=axis, keepdims=True)
    gz = xp.where(one, complement * top - p * others, cotangent - p * (others + top))
    return _cotangents(xp, arguments, gz, needed, 1, axis)


_temperature = parameter("temperature", 1.0, "(0, inf)", broadcast="scalar", description="what the input is divided by")

axiswise(
    "softmax",
    **_softmax(1),
    parameters=[_temperature],
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"\frac{e^{x_i / T}}{\sum_j e^{x_j / T}}",
    definition="exp(x / temperature) / sum(exp(x / temperature))",
    smoothness="Cinf",
    examples=({"temperature": 2.0}, {"temperature": 0.5}),
    reference="Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.",
)

axiswise(
    "log_softmax",
    value=_log_softmax_value,
    jvp=_log_softmax_jvp,
    vjp=_log_softmax_vjp,
    result_suffices=True,
    parameters=[_temperature],
    left_out=(-INF, -INF),
    family="normalising",
    formula=r"\frac{x_i}{T} - \ln \sum_j e^{x_j / T}",
    definition="x / temperature - log(sum(exp(x / temperature)))",
    smoothness="Cinf",
    examples=({"temperature": 2.0},),
    reference="The logarithm of softmax.",
)

axiswise(
    "softmin",
    **_softmax(-1),
    parameters=[_temperature],
    left_out=(INF, 0.0),
    family="normalising",
    formula=r"\frac{e^{-x_i / T}}{\sum_j e^{-x_j / T}}",
    definition="exp(-x / temperature) / sum(exp(-x / temperature))",
    smoothness="Cinf",
    examples=({"temperature": 2.0},),
    reference="torch.nn.Softmin, PyTorch.",
)

_over_channels: dict[str, Any] = {
    name: partial(body, axis=-3) if callable(body) else body for name, body in _softmax(1).items()
}

axiswise(
    "softmax2d",
    **_over_channels,
    parameters=[_temperature],
    options=(),
    fixed_axis=-3,
    ranks=(3, 4),
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"\frac{e^{x_c / T}}{\sum_{c'} e^{x_{c'} / T}}",
    definition="exp(x / temperature) / sum(exp(x / temperature))",
    notes="softmax over the channels of images of shape (batch, channels, height, width) or (channels, height, width).",
    smoothness="Cinf",
    reference="torch.nn.Softmax2d, PyTorch.",
)
