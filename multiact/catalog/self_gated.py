"""Smooth self-gated functions: x times a sigmoid-shaped function of x."""

from __future__ import annotations

import math

from ..declaration import Option, parameter
from ..numerics import (
    BIG,
    NORMAL_END,
    Decay,
    bounded,
    choose,
    clamped,
    expm1,
    growth,
    is_double,
    keeps_subnormals,
    magnitude,
    normal_tail,
    positive,
    sign,
    times,
)
from ..registry import pointwise, preset

INF = math.inf
APPROXIMATE = {"none": "gelu", "tanh": "gelu_tanh", "sigmoid": "quick_gelu"}


#: Factors of u e^u up to this lose no digits to arithmetic that keeps subnormal numbers.
STEEP = 4.0


def sigmoid_times(xp, u, v, ratio=None):
    """v times the sigmoid of u; `ratio`, if it is a number, is a bound of v / u far from 0."""
    if keeps_subnormals(xp, u):
        if bounded(ratio, STEEP) and ratio > 0:
            # max(v, 0) - |v| z / (1 + z); where |v| is limited, z is 0
            z = xp.exp(-magnitude(xp, u))
            return positive(xp, v) - xp.clip(magnitude(xp, v), None, 1e30) * z / (1 + z)
        # with the bits of the above up to |u| = 64; from there on the exponential is shifted, and nothing beside the 1
        a = magnitude(xp, u)
        steep = not bounded(ratio, STEEP)
        far = a > 64
        z = xp.exp(xp.where(far, 32 - a, -a) if steep else -a)
        h = xp.where(z == 0, 0.0, v * z / (1 + (xp.where(far, 0.0, z) if steep else z)))
        h = xp.where(far, math.exp(-32) * h, h) if steep else h
        return xp.where(u >= 0, v - h, h)
    _, s, unit, gone = growth(xp, u)
    return xp.where(gone, 0.0, unit * v) / (1 + s)


def silu_slope(xp, u, factor, w=None):
    """The derivative of u times the sigmoid of u, multiplied by a factor.

    With a finite `w` that of x times the sigmoid of u, where w is x times the derivative of u.
    """
    # not in float64, where w exp(-40) may count
    if keeps_subnormals(xp, u) and bounded(factor, STEEP) and not is_double(xp, u):
        v = xp.clip(u, -BIG, 40.0)  # from where on e is 1 + e, so that the fraction is exactly 1
        e = xp.exp(v)
        t = 1 + e
        return times(factor, e * (t + v if w is None else (1 + w) + e)) / (t * t)
    v, s, unit, gone = growth(xp, u, BIG)
    p = 0.5 / (0.5 + 0.5 * s)  # for 1 / x TensorFlow takes an inaccurate reciprocal
    return times(factor, xp.where(gone, 0.0, unit)) * (p * (1 + (v if w is None else w) * (s * p)))


def silu_curvature(xp, u, factor):
    """The second derivative of u times the sigmoid of u, multiplied by a factor."""
    a = clamped(xp, magnitude(xp, u))
    d = Decay(xp, a)
    s = 1 + d.z
    return d.times(factor * (2 + a * expm1(xp, -a) / s)) / (s * s)


def sigmoid_slope(xp, u, v):
    """v^2 times the derivative of the sigmoid at u, where u grows with v."""
    d = Decay(xp, magnitude(xp, u))
    v = xp.where((u > BIG) | (u < -BIG), 0.0, v)
    s = 1 + d.z
    return d.times(v, v) / (s * s)


def _inverse(beta):
    """1 / beta of a number that has one."""
    return 1 / beta if isinstance(beta, float) and beta != 0 else None


silu = pointwise(
    "silu",
    lambda xp, x, /, *, beta: sigmoid_times(xp, times(beta, x), x, _inverse(beta)),
    {
        "x": lambda xp, x, /, *, beta: silu_slope(xp, times(beta, x), 1.0),
        ("x", "x"): lambda xp, x, /, *, beta: silu_curvature(xp, beta * x, beta),
        "beta": lambda xp, x, /, *, beta: sigmoid_slope(xp, beta * x, x),
    },
    parameters=[parameter("beta", 1.0, description="the sharpness of the gate")],
    class_name="SiLU",
    aliases=("swish",),
    family="self_gated",
    formula=r"x\, \sigma(\beta x)",
    definition="x / (1 + exp(-beta * x))",
    notes="The minimum is -0.2785 at -1.2785 for beta = 1.",
    smoothness="Cinf",
    examples=({"beta": 1.5}, {"beta": 0.25}),
    reference="Hendrycks & Gimpel, 2016, arXiv:1606.08415; Elfwing, Uchibe & Doya, 2017, arXiv:1702.03118; as swish in "
    "Ramachandran, Zoph & Le, 2017, arXiv:1710.05941.",
)

preset(
    "quick_gelu",
    silu,
    fixed={"beta": 1.702},
    class_name="QuickGELU",
    aliases=("gelu_fast_approx",),
    family="self_gated",
    formula=r"x\, \sigma(1.702 x)",
    definition="x / (1 + exp(-1.702 * x))",
    notes="The sigmoid approximation of GELU, as in CLIP.",
    smoothness="Cinf",
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)

INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)


def _gelu(xp, x, /):
    a, m, d = normal_tail(xp, x, 1.0)
    y = positive(xp, x) - d.times(a * m)
    if keeps_subnormals(xp, x):
        return y
    return xp.where(a < 1e-30, x * (0.5 + INV_SQRT_2PI * x), y)  # where a * m is subnormal


def _gelu_x(xp, x, /):
    a, m, d = normal_tail(xp, x, NORMAL_END)
    return xp.where(x >= 0, xp.ones_like(x), 0.0) - sign(xp, x) * d.times(m - INV_SQRT_2PI * a)


def _gelu_xx(xp, x, /):
    q = xp.clip(x * x, None, NORMAL_END * NORMAL_END)
    return Decay(xp, 0.5 * q).times(INV_SQRT_2PI * (2 - q))


pointwise(
    "gelu",
    _gelu,
    {"x": _gelu_x, ("x", "x"): _gelu_xx},
    options=[
        Option(
            "approximate",
            "none",
            choices=tuple(APPROXIMATE),
            variants=APPROXIMATE,
            description="'none' for the exact function, 'tanh' for gelu_tanh, 'sigmoid' for quick_gelu",
        )
    ],
    class_name="GELU",
    family="self_gated",
    formula=r"x\, \Phi(x)",
    definition="x * erfc(-x / sqrt(2)) / 2",
    notes="The exact function unless approximate says otherwise; jax.nn.gelu and flax default to the tanh form. "
    "The minimum is -0.16997 at -0.75179.",
    smoothness="Cinf",
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)


def _clipped_gelu(xp, x, /, *, min_val, max_val):
    y = _gelu(xp, x)
    return xp.where(y > max_val, max_val, xp.where(y < min_val, min_val, y))


def _inside(xp, x, derivative, min_val, max_val):
    """A derivative of gelu, 0 where it is clipped."""
    y = _gelu(xp, x)
    return xp.where((y < min_val) | (y > max_val), 0.0, derivative(xp, x))


pointwise(
    "clipped_gelu",
    _clipped_gelu,
    {
        "x": lambda xp, x, /, *, min_val, max_val: _inside(xp, x, _gelu_x, min_val, max_val),
        ("x", "x"): lambda xp, x, /, *, min_val, max_val: _inside(xp, x, _gelu_xx, min_val, max_val),
        "min_val": lambda xp, x, /, *, min_val, max_val: choose(xp, _gelu(xp, x) < min_val, 1.0, 0.0, x),
        "max_val": lambda xp, x, /, *, min_val, max_val: choose(xp, _gelu(xp, x) > max_val, 1.0, 0.0, x),
    },
    parameters=[
        parameter("min_val", -10.0, description="the lower bound; below -0.17 it has no effect"),
        parameter("max_val", 10.0, description="the upper bound; greater than the lower"),
    ],
    class_name="ClippedGELU",
    aliases=("gelu_10",),
    family="self_gated",
    formula=r"\min(\max(x\, \Phi(x), a), b)",
    definition="max_val if x * erfc(-x / sqrt(2)) / 2 > max_val else min_val if x * erfc(-x / sqrt(2)) / 2 < min_val "
    "else x * erfc(-x / sqrt(2)) / 2",
    notes="gelu(10) is 10 - 8e-23, so x = 10 is not clipped, and the slope there is 1, as in PyTorch's clip.",
    smoothness="C0",
    kinks=("max_val",),
    examples=({"min_val": -1.0, "max_val": 16.0},),
    reference="Wu et al., Integer quantization for deep learning inference: principles and empirical evaluation, 2020, "
    "arXiv:2004.09602.",
)

_K0 = 2 * math.sqrt(2 / math.pi)
_K1 = _K0 * 0.044715


def _gelu_tanh(xp, x, /):
    return sigmoid_times(xp, x * (_K0 + _K1 * (x * x)), x, 1.0)


def _gelu_tanh_x(xp, x, /):
    v = clamped(xp, x, 100.0)
    q = v * v
    u = v * (_K0 + _K1 * q)
    # x times the derivative of u, from u, whose rounding then partly cancels
    return silu_slope(xp, u, 1.0, u + v * (2 * _K1 * q))


def _gelu_tanh_xx(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 100.0)
    q = a * a
    v = a * (_K0 + _K1 * q)
    slope = _K0 + 3 * _K1 * q
    d = Decay(xp, v)
    s = 1 + d.z
    return d.times(2 * slope + 6 * _K1 * q + a * (slope * slope) * (expm1(xp, -v) / s)) / (s * s)


pointwise(
    "gelu_tanh",
    _gelu_tanh,
    {"x": _gelu_tanh_x, ("x", "x"): _gelu_tanh_xx},
    class_name="GELUTanh",
    aliases=("gelu_new",),
    family="self_gated",
    formula=r"\tfrac{x}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,(x + 0.044715\, x^3)\right)\right)",
    definition="x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))",
    notes="Differs from the exact function by up to 4.7e-4.",
    smoothness="Cinf",
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)
