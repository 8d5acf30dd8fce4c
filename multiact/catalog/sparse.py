"""Sparse alternatives to softmax: alpha-entmax, with its special cases sparsemax (2) and entmax15 (1.5).

All are (z - t)_+ to the power 1 / (alpha - 1) for z = (alpha - 1) x, with the threshold t that makes them sum to 1. Entries
that share an infinite maximum share the whole equally, as for softmax. The Jacobian is that of softmax with the weights
q = p^(2 - alpha) in place of the probabilities p, times the sum of q.
"""

from __future__ import annotations

import math

from ..declaration import Budget, parameter
from ..numerics import along, horner, is_double
from ..registry import axiswise
from .normalising import below_top, first_top, nan_rows, relative_to, tops, weighted

INF = math.inf


def _near_top(xp, x, axis, scale):
    """scale * (x - max), at least -1: what is not above that is never in the support."""
    z = below_top(xp, x, axis) * scale
    return xp.where(z <= -1, -1.0, z)


def _weighted_jacobian(xp, q, t, axis):
    """q * (t - sum(q t) / sum(q)).

    It is symmetric and its rows sum to 0, so the entry at the maximum is minus the sum of the others. Written as Q' K Q, with
    Q taking the differences to that entry, its transpose is the same computation and as accurate.
    """
    _, is_top = tops(xp, q, axis)
    first = first_top(xp, is_top, q, axis)
    y = q / xp.sum(q, axis=axis, keepdims=True)
    d = relative_to(xp, t, first, axis)
    r = weighted(xp, q, d - xp.sum(weighted(xp, y, d), axis=axis, keepdims=True))
    others = xp.where(first, 0.0, r)
    return others - xp.where(first, xp.sum(others, axis=axis, keepdims=True), 0.0)


def _sorted(xp, z, axis):
    """z in falling order, and the numbers 1, 2, 3 ... beside it."""
    ordered = xp.sort(z, axis=axis, descending=True)
    return ordered, xp.cumulative_sum(xp.ones_like(z), axis=axis)


def _inside(xp, z, t):
    """The mask of the support."""
    return (z > t) & (z > -1)


def _sparsemax(xp, x, *, axis):
    z = _near_top(xp, x, axis, 1.0)
    ordered, number = _sorted(xp, z, axis)
    total = xp.cumulative_sum(ordered, axis=axis)
    supported = (1 + number * ordered > total) & (ordered > -1)
    # The smallest entry of the support says which entries are in it; their sum is taken anew, in no order.
    least = xp.min(xp.where(supported, ordered, 0.0), axis=axis, keepdims=True)
    kept = z >= least
    count = xp.sum(xp.where(kept, xp.ones_like(z), 0.0), axis=axis, keepdims=True)
    t = (xp.sum(xp.where(kept, z, 0.0), axis=axis, keepdims=True) - 1) / count
    return nan_rows(xp, x, axis, xp.where(_inside(xp, z, t), z - t, 0.0))


def _sparsemax_jacobian(xp, x, y, t, *, axis):
    q = xp.where(y > 0, xp.ones_like(y), xp.where(xp.isnan(y), y, 0.0))
    return _weighted_jacobian(xp, q, t, axis)


axiswise(
    "sparsemax",
    value=_sparsemax,
    **along(_sparsemax_jacobian),
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"\operatorname{arg\,min}_{p \in \Delta} \lVert p - x \rVert^2",
    definition="simplex(x, 1)",
    notes="The Euclidean projection onto the probability simplex. An entry exactly at the threshold has slope 0.",
    smoothness="C0",
    reference="Martins & Astudillo, From softmax to sparsemax, 2016, arXiv:1602.02068.",
)


def _entmax15(xp, x, *, axis):
    z = _near_top(xp, x, axis, 0.5)
    ordered, number = _sorted(xp, z, axis)
    mean = xp.cumulative_sum(ordered, axis=axis) / number
    spread = xp.cumulative_sum(ordered * ordered, axis=axis) - number * (mean * mean)
    # The threshold if so many entries were in the support.
    left = (1 - spread) / number
    threshold = mean - xp.sqrt(xp.where(left > 0, left, 0.0))
    t = xp.max(xp.where(threshold <= ordered, threshold, -1.0), axis=axis, keepdims=True)
    # The sums above lose digits to cancellation; Newton's iteration brings them back.
    for _ in range(2):
        u = xp.where(_inside(xp, z, t), z - t, 0.0)
        rest = xp.sum(u * u, axis=axis, keepdims=True) - 1
        t = t + 0.5 * (rest / xp.sum(u, axis=axis, keepdims=True))
    u = xp.where(_inside(xp, z, t), z - t, 0.0)
    return nan_rows(xp, x, axis, u * u)


def _entmax15_jacobian(xp, x, y, t, *, axis):
    present = ~(y == 0)
    q = xp.where(present, xp.sqrt(xp.where(present, y, 1.0)), 0.0)
    return _weighted_jacobian(xp, q, t, axis)


axiswise(
    "entmax15",
    value=_entmax15,
    **along(_entmax15_jacobian),
    left_out=(-INF, 0.0),
    family="normalising",
    formula=r"(x_i / 2 - \tau)_+^2, \quad \tau: \sum_j (x_j / 2 - \tau)_+^2 = 1",
    definition="simplex(x / 2, 2)",
    notes="alpha-entmax with alpha = 1.5, between softmax and sparsemax.",
    smoothness="C1",
    reference="Peters et al., Sparse sequence-to-sequence models, 2019, arXiv:1905.05702.",
)


#: Of Newton's iteration. Usual rows need 5, a million entries that are exponentially more frequent below need 14.
STEPS = 16


def _artanh_parts(xp, v):
    """For -0.5 < v <= 0, where log(1 + v) = 2 artanh(s): s = v / (2 + v), and (artanh(s) - s) / s^3."""
    s = v / (2 + v)
    return s, horner(s * s, [1 / k for k in range(3, 41 if is_double(xp, v) else 21, 2)])


def _log1p(xp, v):
    """log(1 + v) for -1 < v <= 0. That of XLA is off by 126 ulp in float64."""
    near = v > -0.5
    s, odd = _artanh_parts(xp, xp.where(near, v, 0.0))
    return xp.where(near, 2 * (s + s * (s * s) * odd), xp.log(1 + xp.where(near, 0.0, v)))


def _powers(xp, a, w):
    """p = (1 + a w)_+^(1 / a) and q = p^(1 - a), the slope of p, for w <= 0; NaN stays NaN."""
    v = a * w
    inside = ~(v <= -1)
    v = xp.where(inside, v, 0.0)
    q = xp.where(inside, xp.exp((1 - a) / a * _log1p(xp, v)), 0.0)
    return q * (1 + v), q


def _entmax_alpha(xp, x, alpha, *, axis):
    a = alpha - 1
    z = below_top(xp, x, axis)
    # p is a generalised exponential of z - s, and s starts from 0, where the largest alone gives 1. The generalised
    # logarithm of the sum is convex in s, so that no step goes too far, and nearly linear.
    s = xp.zeros_like(xp.sum(z, axis=axis, keepdims=True))
    for _ in range(STEPS):
        p, q = _powers(xp, a, z - s)
        total = xp.sum(p, axis=axis, keepdims=True)
        s = s + total * (1 - xp.exp(-a * xp.log(total))) / (a * xp.sum(q, axis=axis, keepdims=True))
    # In proportion to the largest, where nearly equal entries do not feel the rounding of s: 1 + a (z - s) is a z more than
    # 1 - a s there.
    p, _ = _powers(xp, a, z / (1 - a * s))
    return p / xp.sum(p, axis=axis, keepdims=True)


def _gap(xp, v):
    """(1 + v) log(1 + v) - v for -1 < v <= 0."""
    near = v > -0.5
    s, odd = _artanh_parts(xp, xp.where(near, v, 0.0))  # with which nothing cancels
    close = 2 / (1 - s) * (s * s + (1 + s) * (s * s * s) * odd)
    far = xp.where(near, -0.5, v)
    return xp.where(near, close, (1 + far) * xp.log(1 + far) - far)


def _entmax_alpha_parts(xp, x, y, alpha, axis):
    """The weights q = p^(2 - alpha), and as what tangent of x a change of alpha counts, up to a constant along the axis.

    That is g(p^a - 1) / -a^2 for a = alpha - 1 and g(v) = (1 + v) log(1 + v) - v. Of its difference to the entry at the
    maximum, with probability p0, p^a = p0^a + a (x - max) leaves two terms of one sign.
    """
    a = alpha - 1
    present = ~(y == 0)
    log = xp.log(xp.where(present, y, 1.0))
    q = xp.where(present, xp.exp((1 - a) * log), 0.0)
    log_top = xp.log(xp.max(y, axis=axis, keepdims=True))
    root = xp.exp(a * log_top)
    z = below_top(xp, x, axis)
    v = a * z / root
    inside = present & (v > -1)
    v = xp.where(inside, v, 0.0)
    moved = xp.where(inside, z, 0.0) * log_top + root * (_gap(xp, v) / a / a)
    return q, -moved


def _entmax_alpha_jvp(xp, arguments, y, tangents, *, axis):
    x, alpha = arguments
    tx, ta = tangents
    q, moved = _entmax_alpha_parts(xp, x, y, alpha, axis)
    total = xp.zeros_like(x) if tx is None else tx
    return _weighted_jacobian(xp, q, total if ta is None else total + moved * ta, axis)


def _entmax_alpha_vjp(xp, arguments, y, cotangent, needed, *, axis):
    x, alpha = arguments
    q, moved = _entmax_alpha_parts(xp, x, y, alpha, axis)
    gx = _weighted_jacobian(xp, q, cotangent, axis)
    return (gx if needed[0] else None, moved * gx if needed[1] else None)


axiswise(
    "entmax_alpha",
    value=_entmax_alpha,
    jvp=_entmax_alpha_jvp,
    vjp=_entmax_alpha_vjp,
    left_out=(-INF, 0.0),
    parameters=[
        parameter(
            "alpha",
            1.5,
            "(1, 2]",
            learned=True,
            broadcast="scalar",
            description="how sparse the result is: softmax is the limit at 1, sparsemax is 2, and beyond that the slope would be "
            "infinite where an entry enters the support",
        )
    ],
    aliases=("entmax_bisect",),
    family="normalising",
    formula=r"((\alpha - 1) x_i - \tau)_+^{1 / (\alpha - 1)}, \quad \tau: \text{the sum is } 1",
    definition="simplex((alpha - 1) * x, 1 / (alpha - 1))",
    smoothness="C0",
    examples=({"alpha": 1.25},),
    budget=Budget(
        second=16.0,
        reason="the second derivative is left to the framework; between two equal entries it is 0 by symmetry, and found as "
        "the difference of two products whose rounding is all that remains",
    ),
    reference="Peters et al., Sparse sequence-to-sequence models, 2019, arXiv:1905.05702; the derivative in alpha: Correia et "
    "al., Adaptively sparse transformers, 2019, arXiv:1909.00015.",
)
