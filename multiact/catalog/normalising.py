"""Functions that normalise along an axis: the softmax family.

With m the maximum along the axis and e = exp(z - m), the sum of e is 1 plus the rest without one maximum. Keeping the rest
apart keeps the digits of log_softmax and of all derivatives where one entry dominates. Entries that share an infinite
maximum share the probability equally, so a row of -inf gives the uniform distribution and no NaN.
"""

from __future__ import annotations

import math

from ..declaration import parameter
from ..registry import axiswise

INF = math.inf


def _scaled(x, temperature, sign):
    """sign * x / temperature, without the work where it changes nothing."""
    z = x if isinstance(temperature, float) and temperature == 1.0 else x / temperature
    return z if sign == 1 else -z


def _parts(xp, z, axis):
    """z - max, its exponential, the mask of the maxima, and the sum of the exponentials without one maximum."""
    top = xp.max(z, axis=axis, keepdims=True)
    is_top = z == top
    infinite = (top == INF) | (top == -INF)
    safe = xp.where(infinite, xp.where(is_top, xp.zeros_like(z), -INF), z)
    shifted = safe - xp.where(infinite, 0.0, top)
    e = xp.exp(shifted)
    others = xp.sum(xp.where(is_top, 0.0, e), axis=axis, keepdims=True)
    rest = others + (xp.sum(xp.where(is_top, e, 0.0), axis=axis, keepdims=True) - 1)
    return shifted, e, is_top, rest


def _relative_to_top(xp, t, is_top, axis):
    """t minus its mean over the maxima. softmax does not see a constant, and the dominant entry then drops out of sums."""
    count = xp.sum(xp.where(is_top, xp.ones_like(t), 0.0), axis=axis, keepdims=True)
    return t - xp.sum(xp.where(is_top, t, 0.0), axis=axis, keepdims=True) / count


def _offsets(xp, x, sign, axis):
    """x without what the whole row has in common, which softmax does not see; 0 for infinite x."""
    finite = xp.where((x == INF) | (x == -INF), 0.0, x)
    return finite - sign * xp.max(sign * finite, axis=axis, keepdims=True)


def _direction(xp, arguments, tangents, sign, axis):
    """The tangent of sign * x / temperature, up to a constant along the axis."""
    x, temperature = arguments
    tx, tt = tangents
    total = xp.zeros_like(x) if tx is None else tx
    if tt is not None:
        total = total - _offsets(xp, x, sign, axis) * (tt / temperature)
    return _scaled(total, temperature, sign)


def _cotangents(xp, arguments, gz, needed, sign, axis):
    """The cotangents of x and temperature from that of sign * x / temperature, which sums to 0 along the axis."""
    x, temperature = arguments
    gx = _scaled(gz, temperature, sign)
    by_temperature = -gx * (_offsets(xp, x, sign, axis) / temperature) if needed[1] else None
    return gx if needed[0] else None, by_temperature


def _softmax(sign):
    def project(xp, arguments, y, t, axis):
        """y * (t - sum(y t)), the symmetric Jacobian of softmax applied to t."""
        _, _, is_top, _ = _parts(xp, _scaled(*arguments, sign), axis)
        d = _relative_to_top(xp, t, is_top, axis)
        return y * (d - xp.sum(y * d, axis=axis, keepdims=True))

    def value(xp, x, temperature, *, axis):
        _, e, _, rest = _parts(xp, _scaled(x, temperature, sign), axis)
        return e / (1 + rest)

    def jvp(xp, arguments, y, tangents, *, axis):
        return project(xp, arguments, y, _direction(xp, arguments, tangents, sign, axis), axis)

    def vjp(xp, arguments, y, cotangent, needed, *, axis):
        return _cotangents(xp, arguments, project(xp, arguments, y, cotangent, axis), needed, sign, axis)

    return {"value": value, "jvp": jvp, "vjp": vjp}


def _log_softmax_value(xp, x, temperature, *, axis):
    shifted, _, _, rest = _parts(xp, _scaled(x, temperature, 1), axis)
    return shifted - xp.log1p(rest)


def _log_softmax_jvp(xp, arguments, y, tangents, *, axis):
    _, e, is_top, rest = _parts(xp, _scaled(*arguments, 1), axis)
    d = _relative_to_top(xp, _direction(xp, arguments, tangents, 1, axis), is_top, axis)
    return d - xp.sum((e / (1 + rest)) * d, axis=axis, keepdims=True)


def _log_softmax_vjp(xp, arguments, y, cotangent, needed, *, axis):
    # g - p sum(g), with p's complement from the rest where p is nearly 1.
    _, e, is_top, rest = _parts(xp, _scaled(*arguments, 1), axis)
    complement = xp.where(is_top, rest, (1 + rest) - e) / (1 + rest)
    total = xp.sum(cotangent, axis=axis, keepdims=True)
    gz = cotangent * complement - (e / (1 + rest)) * (total - cotangent)
    return _cotangents(xp, arguments, gz, needed, 1, axis)


_temperature = parameter("temperature", 1.0, "(0, inf)", broadcast="scalar", description="what the input is divided by")

axiswise(
    "softmax",
    **_softmax(1),
    parameters=[_temperature],
    family="normalising",
    formula=r"\frac{e^{x_i / T}}{\sum_j e^{x_j / T}}",
    definition="exp(x / temperature) / sum(exp(x / temperature))",
    range=(0.0, 1.0),
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
    family="normalising",
    formula=r"\frac{x_i}{T} - \ln \sum_j e^{x_j / T}",
    definition="x / temperature - log(sum(exp(x / temperature)))",
    range=(-INF, 0.0),
    smoothness="Cinf",
    examples=({"temperature": 2.0},),
    reference="The logarithm of softmax.",
)

axiswise(
    "softmin",
    **_softmax(-1),
    parameters=[_temperature],
    family="normalising",
    formula=r"\frac{e^{-x_i / T}}{\sum_j e^{-x_j / T}}",
    definition="exp(-x / temperature) / sum(exp(-x / temperature))",
    range=(0.0, 1.0),
    smoothness="Cinf",
    examples=({"temperature": 2.0},),
    reference="torch.nn.Softmin, PyTorch.",
)
