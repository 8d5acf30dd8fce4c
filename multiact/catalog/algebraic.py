"""Sigmoid-shaped functions and relatives without an exponential: powers, roots, and inverse functions."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import choose, clamped, finite, horner, inside, is_double, magnitude, off_tie, root, sign
from ..registry import pointwise


def _folded(xp, x):
    """Whether |x| > 1; t, which is |x|, or 1 / |x| beyond 1; and 1 + t^2. With these no power of x can overflow."""
    a = magnitude(xp, x)
    far = a > 1
    # halves, since TensorFlow makes 1 / a a reciprocal, which is inexact for a huge a
    t = xp.where(far, 0.5 / (0.5 * xp.where(far, a, 1.0)), a)
    return far, t, 1 + t * t


def _arctan_x(xp, x, /):
    far, t, q = _folded(xp, x)
    return xp.where(far, t * t, 1.0) / q


def _arctan_xx(xp, x, /):
    far, t, q = _folded(xp, x)
    w = 2 * t  # the factor first, since the cube may be subnormal where the result is not
    y = xp.where(far, w * t * t, w) / (q * q)
    return -sign(xp, x) * y


pointwise(
    "arctan",
    lambda xp, x, /: xp.atan(x),
    {"x": _arctan_x, ("x", "x"): _arctan_xx},
    aliases=("atan",),
    family="sigmoids",
    formula=r"\arctan x",
    definition="atan(x)",
    smoothness="Cinf",
    reference="The inverse tangent.",
)


# (arsinh(x) / x - 1) / x^2 in powers of x^2; for |x| < 0.625 arsinh(x) has a relative error of 3e-10. Interpolated at Chebyshev
# nodes with Lawson's weights.
_ASINH_32 = (-0.16666652741377672, 0.07499275818825304, -0.04451626661697022) + (
    0.029343665554451406,
    -0.01787488138678206,
    0.0066879810536318975,
)


def _asinh(xp, x, /):
    a = magnitude(xp, x)
    far = a > 1e9
    v = xp.where(far, 1.0, a)
    if is_double(xp, x):
        near = xp.log1p(v + v * (v / (1 + root(xp, v))))
        return sign(xp, x) * xp.where(far, xp.log(xp.where(far, a, 1.0)) + math.log(2), near)
    log = xp.log(xp.where(far, a, v + xp.sqrt(v * v + 1))) + xp.where(far, math.log(2), xp.zeros_like(a))
    near = a < 0.625
    w = inside(xp, near, x)
    q = w * w
    return xp.where(near, w + w * (q * horner(q, _ASINH_32)), sign(xp, x) * log)


def _asinh_x(xp, x, /):
    far, t, q = _folded(xp, x)
    return xp.where(far, t, 1.0) / xp.sqrt(q)


def _asinh_xx(xp, x, /):
    far, t, q = _folded(xp, x)
    y = xp.where(far, t * t, t) / (xp.sqrt(q) * q)
    return -sign(xp, x) * y


pointwise(
    "asinh",
    _asinh,
    {"x": _asinh_x, ("x", "x"): _asinh_xx},
    aliases=("arcsinh",),
    family="sigmoids",
    formula=r"\operatorname{arsinh} x = \ln\left(x + \sqrt{x^2 + 1}\right)",
    definition="log(x + sqrt(x**2 + 1)) if x >= 0 else -log(sqrt(x**2 + 1) - x)",
    notes="Unbounded: it grows like a logarithm on both sides.",
    smoothness="Cinf",
    reference="The inverse hyperbolic sine.",
)


def _isru_parts(xp, x, alpha):
    s = xp.sqrt(alpha + xp.zeros_like(x))
    return s, *_folded(xp, s * x)


def _isru(xp, x, /, *, alpha):
    s, far, _, q = _isru_parts(xp, x, alpha)
    return xp.where(far, xp.where(x >= 0, 1 / s, -1 / s), finite(xp, x)) / xp.sqrt(q)


def _isru_x(xp, x, /, *, alpha):
    _, far, t, q = _isru_parts(xp, x, alpha)
    return xp.where(far, t * t * t, 1.0) / (xp.sqrt(q) * q)


def _isru_xx(xp, x, /, *, alpha):
    s, far, t, q = _isru_parts(xp, x, alpha)
    w = 3 * s * t
    y = xp.where(far, w * t * t * t, w) / (xp.sqrt(q) * q * q)
    y = xp.where(~far & (q == 1), off_tie(xp, 3 * alpha * magnitude(xp, finite(xp, x)), -1), y)
    return -sign(xp, x) * y


def _isru_alpha(xp, x, /, *, alpha):
    y = _isru(xp, x, alpha=alpha)
    return -0.5 * (y * y * y)


pointwise(
    "isru",
    _isru,
    {"x": _isru_x, ("x", "x"): _isru_xx, "alpha": _isru_alpha},
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="one over the square of the bound")],
    class_name="ISRU",
    family="sigmoids",
    formula=r"\frac{x}{\sqrt{1 + \alpha x^2}}",
    definition="x / sqrt(1 + alpha * x**2)",
    smoothness="Cinf",
    examples=({"alpha": 3.0},),
    reference="Carlile, Delamarter, Kinney, Marti & Whitney, Improving deep learning by inverse square root linear units "
    "(ISRLUs), 2017, arXiv:1710.09967.",
)


def _sqnl(xp, x, /):
    v = clamped(xp, x, 2.0)
    return v * (1 - 0.25 * magnitude(xp, v))


pointwise(
    "sqnl",
    _sqnl,
    {
        "x": lambda xp, x, /: choose(xp, (x <= -2) | (x >= 2), 0.0, 1 - 0.5 * magnitude(xp, x), x),
        ("x", "x"): lambda xp, x, /: choose(xp, (x <= -2) | (x >= 2), 0.0, choose(xp, x >= 0, -0.5, 0.5, x), x),
    },
    class_name="SQNL",
    family="sigmoids",
    formula=r"\begin{cases} x - x^2 / 4 & 0 \le x \le 2 \\ x + x^2 / 4 & -2 \le x < 0 \\ \operatorname{sign} x & "
    r"|x| > 2 \end{cases}",
    definition="1 if x >= 2 else -1 if x <= -2 else x - x**2 / 4 if x >= 0 else x + x**2 / 4",
    notes="The second derivative jumps: at 0 it is that of the right side, -1/2, at -2 and 2 it is 0.",
    smoothness="C1",
    kinks=("-2", "0", "2"),
    reference="Wuraola & Patel, SQNL: a new computationally efficient activation function, IJCNN 2018.",
)


def _bent_identity(xp, x, /):
    a = magnitude(xp, x)
    near = a < 1
    v = xp.where(near, x, 0.0)
    inner = v + v * (0.5 * v / (1 + root(xp, v)))
    w = xp.where(near, 1.0, a)
    outer = (xp.where(x > 0, 1.5 * x, 0.5 * x) - 0.5) + 0.5 / (root(xp, w) + w)
    # far out a little less than 1.5 x
    return xp.where(near, inner, xp.where(x > 2**21, off_tie(xp, outer, -1), outer))


def _bent_identity_x(xp, x, /):
    v = clamped(xp, x, 1e30)
    return 1 + 0.5 * (v / root(xp, v))


def _bent_identity_xx(xp, x, /):
    far, t, q = _folded(xp, x)
    return 0.5 * xp.where(far, t * t * t, 1.0) / (xp.sqrt(q) * q)


pointwise(
    "bent_identity",
    _bent_identity,
    {"x": _bent_identity_x, ("x", "x"): _bent_identity_xx},
    family="sigmoids",
    formula=r"\frac{\sqrt{x^2 + 1} - 1}{2} + x",
    definition="(sqrt(x**2 + 1) - 1) / 2 + x",
    notes="Between the slopes 1/2 and 3/2.",
    smoothness="Cinf",
    reference="Of unknown origin; known from collections of activations such as Echo and torch-activation.",
)


def _symlog(xp, x, /):
    y = xp.log1p(magnitude(xp, x))
    return sign(xp, x) * y


def _symlog_xx(xp, x, /):
    s = 1 + magnitude(xp, x)
    w = (1 / s) / s
    return -sign(xp, x) * w


pointwise(
    "symlog",
    _symlog,
    {"x": lambda xp, x, /: 0.5 / (0.5 + 0.5 * magnitude(xp, x)), ("x", "x"): _symlog_xx},
    family="sigmoids",
    formula=r"\operatorname{sign}(x) \ln(1 + |x|)",
    definition="log(1 + x) if x >= 0 else -log(1 - x)",
    notes="The second derivative jumps at 0, where that of the right side, -1, is taken.",
    smoothness="C1",
    kinks=("0",),
    reference="Hafner, Pasukonis, Ba & Lillicrap, Mastering diverse domains through world models, 2023, "
    "arXiv:2301.04104.",
)
