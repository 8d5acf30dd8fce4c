"""Alternatives to softmax, and functions that share its form."""

from __future__ import annotations

import math

from ..numerics import Decay, along, finite, part
from ..registry import axiswise
from .normalising import below_top, first_top, nan_rows, probabilities, project, tops

INF = math.inf


def _with_zero(xp, x, axis):
    """x with one more entry, a 0."""
    return xp.concat([x, xp.zeros_like(part(x, axis, slice(0, 1)))], axis=axis)


def _softmax1(xp, x, *, axis):
    return part(probabilities(xp, _with_zero(xp, x, axis), axis), axis, slice(None, -1))


def _softmax1_jacobian(xp, x, y, t, *, axis):
    r = project(xp, probabilities(xp, _with_zero(xp, x, axis), axis), _with_zero(xp, t, axis), axis)
    return part(r, axis, slice(None, -1))


axiswise(
    "softmax1",
    value=_softmax1,
    **along(_softmax1_jacobian),
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"\frac{e^{x_i}}{1 + \sum_j e^{x_j}}",
    definition="exp(x) / (1 + sum(exp(x)))",
    aliases=("quiet_softmax",),
    notes="softmax with one more entry, 0, that is left out of the result: the 1 takes part in the shift by the maximum. "
    "The sum is below 1, and a row of -inf gives zeros.",
    smoothness="Cinf",
    reference="Miller, Attention is off by one, 2023, evanmiller.org/attention-is-off-by-one.html.",
)


def _taylor_parts(xp, x):
    """1 + x, and 0 where that is infinite, with the mask of it."""
    u = 1 + x
    infinite = (u == INF) | (u == -INF)
    return xp.where(infinite, 0.0, u), infinite


def _taylor_softmax(xp, x, *, axis):
    # The terms are (u^2 + 1) / 2, u = 1 + x. All are divided by the square of an eighth of the largest |u|, or of 1.
    u, infinite = _taylor_parts(xp, x)
    size = xp.where(u >= 0, u, -u)
    unit = xp.max(xp.where(size > 1, size, 1.0), axis=axis, keepdims=True) * 0.125
    v, w = u / unit, 1 / unit
    terms = v * v + w * w
    # Infinite entries share the whole.
    among = xp.any(infinite, axis=axis, keepdims=True)
    terms = xp.where(among, xp.where(infinite, xp.ones_like(terms), xp.where(xp.isnan(u), u, 0.0)), terms)
    return terms / xp.sum(terms, axis=axis, keepdims=True)


def _taylor_slope(xp, x):
    """The derivative of the logarithm of 1 + x + x^2 / 2, that is 2 u / (u^2 + 1)."""
    u, infinite = _taylor_parts(xp, x)
    far = (u > 1) | (u < -1)
    outer, inner = xp.where(far, u, 1.0), xp.where(far, 0.0, u)
    slope = xp.where(far, 2 / (outer + 1 / outer), 2 * inner / (inner * inner + 1))
    return xp.where(infinite, 0.0, slope)


def _taylor_jvp(xp, arguments, y, tangents, *, axis):
    (x,), (t,) = arguments, tangents
    return project(xp, y, xp.zeros_like(x) if t is None else _taylor_slope(xp, x) * t, axis)


def _taylor_vjp(xp, arguments, y, cotangent, needed, *, axis):
    return (_taylor_slope(xp, arguments[0]) * project(xp, y, cotangent, axis) if needed[0] else None,)


axiswise(
    "taylor_softmax",
    value=_taylor_softmax,
    jvp=_taylor_jvp,
    vjp=_taylor_vjp,
    family="normalising",
    formula=r"\frac{1 + x_i + x_i^2 / 2}{\sum_j (1 + x_j + x_j^2 / 2)}",
    definition="(1 + x + x**2 / 2) / sum(1 + x + x**2 / 2)",
    notes="The Taylor polynomial of order 2 in place of the exponential. It grows on both sides: an entry of -inf gets the "
    "whole and not 0, so a mask has to be applied to the result.",
    smoothness="Cinf",
    reference="de Brebisson & Vincent, An exploration of softmax alternatives belonging to the spherical loss family, 2015, "
    "arXiv:1511.05042.",
)


def _solu(xp, x, *, axis):
    shifted = below_top(xp, x, axis)
    d = Decay(xp, -shifted)
    # -inf * exp(-inf) is 0.
    kept = xp.where((x == -INF) & ~(shifted == 0), 0.0, x)
    return d.times(kept) / xp.sum(d.z, axis=axis, keepdims=True)


def _solu_parts(xp, x, axis):
    """The probabilities, and x, 0 where it is infinite."""
    return probabilities(xp, x, axis), finite(xp, x)


def _solu_jvp(xp, arguments, y, tangents, *, axis):
    (x,), (t,) = arguments, tangents
    t = xp.zeros_like(x) if t is None else t
    p, v = _solu_parts(xp, x, axis)
    return p * t + v * project(xp, p, t, axis)


def _solu_vjp(xp, arguments, y, cotangent, needed, *, axis):
    p, v = _solu_parts(xp, arguments[0], axis)
    return (p * cotangent + project(xp, p, v * cotangent, axis) if needed[0] else None,)


axiswise(
    "solu",
    value=_solu,
    jvp=_solu_jvp,
    vjp=_solu_vjp,
    left_out=(-INF, 0.0),
    class_name="SoLU",
    family="normalising",
    formula=r"x_i \frac{e^{x_i}}{\sum_j e^{x_j}}",
    definition="x * exp(x) / sum(exp(x))",
    notes="The published networks normalise the result with a layer norm, which is not part of the function.",
    smoothness="Cinf",
    reference="Elhage et al., Softmax linear units, 2022, transformer-circuits.pub/2022/solu.",
)


def _hardmax(xp, x, *, axis):
    _, is_top = tops(xp, x, axis)
    return nan_rows(xp, x, axis, xp.where(first_top(xp, is_top, x, axis), xp.ones_like(x), 0.0))


axiswise(
    "hardmax",
    value=_hardmax,
    **along(lambda xp, x, y, t, *, axis: nan_rows(xp, x, axis, xp.zeros_like(x))),
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"[i = \min \operatorname{arg\,max}_j x_j]",
    definition="argmax(x)",
    notes="1 at the first maximum, 0 elsewhere. The derivative is 0.",
    smoothness="discontinuous",
    reference="Hardmax, ONNX operator specification.",
)


def _length(xp, x, axis):
    """x / n for the Euclidean norm n of a row, n, and the mask of rows that have a norm; infinite entries count alone."""
    infinite = (x == INF) | (x == -INF)
    among = xp.any(infinite, axis=axis, keepdims=True)
    alone = xp.where(infinite, xp.where(x > 0, xp.ones_like(x), -1.0), xp.where(xp.isnan(x), x, 0.0))
    x = xp.where(among, alone, x)
    # Squares neither overflow nor vanish after a scaling by a power of 2.
    bits = 600 if x.dtype == xp.float64 else 80
    top = xp.max(xp.where(x >= 0, x, -x), axis=axis, keepdims=True)
    large, small = top > 2.0 ** (bits // 2), top < 2.0 ** (-bits // 2)
    scaled = x * xp.where(large, 2.0**-bits, xp.where(small, 2.0**bits, xp.ones_like(top)))
    squared = xp.sum(scaled * scaled, axis=axis, keepdims=True)
    present = ~(squared == 0)
    norm = xp.sqrt(xp.where(present, squared, 1.0))
    n = norm * xp.where(large, 2.0**bits, xp.where(small, 2.0**-bits, xp.ones_like(top)))
    return scaled / norm, xp.where(among, INF, n), present


def _squash(xp, x, *, axis):
    direction, n, present = _length(xp, x, axis)
    far = n > 1
    w, v = 1 / xp.where(far, n, 1.0), xp.where(far, 1.0, n)
    finite = xp.where(far, 0.0, x)
    y = xp.where(far, direction / (1 + w * w), finite * (v / (1 + v * v)))
    return xp.where(present, y, 0.0)


def _squash_jacobian(xp, x, y, t, *, axis):
    """f (t + c e (e t)) for f = n / (1 + n^2), c = (1 - n^2) / (1 + n^2), e = x / n, without the cancellation where e t is
    nearly t: at an entry with e^2 > 1/2, 1 + c e^2 is the sum of 1 - e^2, from the other entries, and 2 e^2 / (1 + n^2).
    """
    e, n, present = _length(xp, x, axis)
    far = n > 1
    w, v = 1 / xp.where(far, n, 1.0), xp.where(far, 1.0, n)
    slope = xp.where(far, w, v) / (1 + xp.where(far, w * w, v * v))
    c = xp.where(far, w * w - 1, 1 - v * v) / (1 + xp.where(far, w * w, v * v))
    one_more = 2 * xp.where(far, w * w, xp.ones_like(v)) / (1 + xp.where(far, w * w, v * v))
    first = e * e > 0.5
    others = xp.where(first, 0.0, e)
    rest = xp.sum(others * others, axis=axis, keepdims=True)
    beside = xp.sum(others * t, axis=axis, keepdims=True)
    whole = beside + xp.sum(xp.where(first, e * t, 0.0), axis=axis, keepdims=True)
    at_top = t * (rest + one_more * (e * e)) + c * (e * beside)
    return xp.where(present, slope * xp.where(first, at_top, t + c * (e * whole)), 0.0)


axiswise(
    "squash",
    value=_squash,
    **along(_squash_jacobian),
    left_out=(0.0, 0.0),
    family="normalising",
    formula=r"\frac{\lVert x \rVert^2}{1 + \lVert x \rVert^2} \frac{x_i}{\lVert x \rVert}",
    definition="x * 0 if sum(x**2) == 0 else sum(x**2) / (1 + sum(x**2)) * x / sqrt(sum(x**2))",
    notes="The zero vector gives the zero vector, with derivative 0.",
    smoothness="C1",
    reference="Sabour et al., Dynamic routing between capsules, 2017, arXiv:1710.09829.",
)
