"""Functions that normalise along an axis: the softmax family.

With m the maximum along the axis and e = exp(z - m), the sum of e is 1 plus the rest without one maximum. Keeping the rest
apart keeps the digits of log_softmax where one entry dominates, and so does relating all entries to the first maximum in the
derivatives. Entries that share an infinite maximum share the probability equally, so a row of -inf gives the uniform
distribution and no NaN.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ..declaration import parameter
from ..numerics import Decay
from ..registry import axiswise

INF = math.inf


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
    """z - max, with entries that share an infinite maximum at 0 and the others of their row at -inf; the mask of the maxima."""
    top, is_top = tops(xp, z, axis)
    infinite = (top == INF) | (top == -INF)
    # NaN once more by itself: the maximum of a compiler may have passed over it.
    apart = xp.where(is_top, 0.0, xp.where(xp.isnan(z), z, -INF))
    return xp.where(infinite, apart, z) - xp.where(infinite, 0.0, top), is_top


def decay(xp, z, axis):
    """z - max, the mask of the maxima, and exp(z - max)."""
    shifted, is_top = below_top(xp, z, axis)
    return shifted, is_top, Decay(xp, -shifted)


def probabilities(xp, z, axis):
    """softmax(z), and the mask of the maxima."""
    _, is_top, d = decay(xp, z, axis)
    return d.z / xp.sum(d.z, axis=axis, keepdims=True), is_top


def first_top(xp, is_top, like, axis):
    """The mask of the first maximum alone."""
    counted = xp.cumulative_sum(xp.where(is_top, xp.ones_like(like), 0.0), axis=axis)
    return is_top & (counted == 1)


def relative_to(xp, t, first, axis):
    """t minus its entry at the first maximum. softmax does not see a constant, and the dominant entry drops out of sums."""
    return xp.where(first, 0.0, t - xp.sum(xp.where(first, t, 0.0), axis=axis, keepdims=True))


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


def project(xp, y, t, first, axis, q=None):
    """y * (t - sum(y t)) for y that sum to 1, the Jacobian of softmax applied to t; `first` is the mask of a maximum of y.

    With `q`, of which y is a multiple, q * (t - sum(y t)). It is symmetric and its rows sum to 0, so the entry at the maximum
    is minus the sum of the others. Written as Q' K Q, with Q taking the differences to that entry, its transpose is the same
    computation and as accurate.
    """
    d = relative_to(xp, t, first, axis)
    r = weighted(xp, y if q is None else q, d - xp.sum(weighted(xp, y, d), axis=axis, keepdims=True))
    others = xp.where(first, 0.0, r)
    return others - xp.where(first, xp.sum(others, axis=axis, keepdims=True), 0.0)


def _softmax(sign):
    def jacobian(xp, arguments, y, t, axis):
        _, is_top = tops(xp, _scaled(*arguments, sign), axis)
        return project(xp, y, t, first_top(xp, is_top, y, axis), axis)

    def value(xp, x, temperature, *, axis):
        return probabilities(xp, _scaled(x, temperature, sign), axis)[0]

    def jvp(xp, arguments, y, tangents, *, axis):
        return jacobian(xp, arguments, y, _direction(xp, arguments, tangents, sign, axis), axis)

    def vjp(xp, arguments, y, cotangent, needed, *, axis):
        return _cotangents(xp, arguments, jacobian(xp, arguments, y, cotangent, axis), needed, sign, axis)

    return {"value": value, "jvp": jvp, "vjp": vjp}


def _log_softmax_value(xp, x, temperature, *, axis):
    shifted, is_top, d = decay(xp, _scaled(x, temperature, 1), axis)
    several = d.sum(is_top, axis)
    # TensorFlow's optimiser takes a constant 1 out of the sum, and with it the digits of small rests.
    rest = d.sum(~is_top, axis) + (several - xp.where(several > 0, xp.ones_like(several), 0.0))
    return shifted - xp.log1p(rest)


def _log_softmax_jvp(xp, arguments, y, tangents, *, axis):
    p, is_top = probabilities(xp, _scaled(*arguments, 1), axis)
    first = first_top(xp, is_top, p, axis)
    d = relative_to(xp, _direction(xp, arguments, tangents, 1, axis), first, axis)
    return d - xp.sum(weighted(xp, p, d), axis=axis, keepdims=True)


def _log_softmax_vjp(xp, arguments, y, cotangent, needed, *, axis):
    # g - p sum(g), the entry at the maximum from the others: there p may be nearly 1.
    p, is_top = probabilities(xp, _scaled(*arguments, 1), axis)
    first = first_top(xp, is_top, p, axis)
    total = xp.sum(xp.where(first, 0.0, cotangent), axis=axis, keepdims=True)
    top = xp.sum(xp.where(first, cotangent, 0.0), axis=axis, keepdims=True)
    complement = xp.sum(xp.where(first, 0.0, p), axis=axis, keepdims=True)
    gz = xp.where(first, complement * top - (1 - complement) * total, cotangent - p * (total + top))
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

_over_channels: dict[str, Any] = {name: partial(body, axis=-3) for name, body in _softmax(1).items()}

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
