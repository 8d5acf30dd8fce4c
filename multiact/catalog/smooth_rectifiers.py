"""Rectifiers with a rounded corner or a flattened end."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import Decay, choose, clamped, expm1, inverse_factorial, magnitude, series
from ..registry import pointwise, preset


def _inside(xp, x, beta):
    """x where |x| < beta (or NaN), 0 elsewhere, so that the quadratic piece stays finite."""
    return xp.where((x <= -beta) | (x >= beta), 0.0, x)


def _smelu(xp, x, /, *, beta):
    s = _inside(xp, x, beta) + beta
    return xp.where(x <= -beta, 0.0, xp.where(x >= beta, x, s * (s / (4 * beta))))


def _smelu_x(xp, x, /, *, beta):
    return xp.where(x <= -beta, 0.0, xp.where(x >= beta, 1.0, (_inside(xp, x, beta) + beta) / (2 * beta)))


def _smelu_beta(xp, x, /, *, beta):
    v = _inside(xp, x, beta)
    return choose(xp, (x > -beta) & (x < beta), (v + beta) / (2 * beta) * ((beta - v) / (2 * beta)), 0.0, x)


smelu = pointwise(
    "smelu",
    _smelu,
    {
        "x": _smelu_x,
        ("x", "x"): lambda xp, x, /, *, beta: choose(xp, (x > -beta) & (x < beta), 0.5 / beta, 0.0, x),
        "beta": _smelu_beta,
    },
    parameters=[parameter("beta", 1.0, "(0, inf)", description="half the width of the rounded part")],
    class_name="SmeLU",
    family="rectifiers",
    formula=r"\begin{cases} 0 & x \le -\beta \\ \frac{(x + \beta)^2}{4 \beta} & |x| < \beta \\ x & x \ge \beta \end{cases}",
    definition="0 if x <= -beta else x if x >= beta else (x + beta)**2 / (4 * beta)",
    notes="The second derivative at both ends of the rounded part is 0.",
    smoothness="C1",
    kinks=("-beta", "beta"),
    examples=({"beta": 0.5},),
    reference="Shamir, Lin & Coviello, Smooth activations and reproducibility in deep networks, 2020, arXiv:2010.09931.",
)

preset(
    "sparse_plus",
    smelu,
    fixed={"beta": 1.0},
    class_name="SparsePlus",
    family="rectifiers",
    formula=r"\begin{cases} 0 & x \le -1 \\ \frac{(x + 1)^2}{4} & |x| < 1 \\ x & x \ge 1 \end{cases}",
    definition="0 if x <= -1 else x if x >= 1 else (x + 1)**2 / 4",
    notes="The integral of sparse_sigmoid; smelu with beta = 1. The second derivative at -1 and at 1 is 0.",
    smoothness="C1",
    kinks=("-1", "1"),
    reference="Blondel, Martins & Niculae, Learning with Fenchel-Young losses, 2019, arXiv:1901.02324.",
)


def _nlrelu(xp, x, /, *, beta):
    # beyond 2^30 as ln x + ln(beta + 1 / x), since beta x may overflow
    far = x > _FAR
    near = xp.where((x <= 0) | far, 0.0, x)
    v = xp.where(far, x, 1.0)
    return xp.where(far, xp.log(v) + xp.log(beta + 1 / v), xp.log1p(beta * near))


def _nlrelu_slope(xp, x, beta):
    # beta / (1 + beta x) as a quotient without overflow, of halves: TensorFlow takes an inaccurate reciprocal for 1 / x
    return 0.5 / (0.5 / beta + 0.5 * xp.where(x <= 0, 0.0, x))


def _nlrelu_x(xp, x, /, *, beta):
    return choose(xp, x > 0, _nlrelu_slope(xp, x, beta), 0.0, x)


def _nlrelu_xx(xp, x, /, *, beta):
    slope = _nlrelu_slope(xp, x, beta)
    return choose(xp, x > 0, -(slope * slope), 0.0, x)


def _nlrelu_beta(xp, x, /, *, beta):
    far = x > _FAR
    near = xp.where((x <= 0) | far, 0.0, x)
    return xp.where(far, 1 / (beta + 1 / xp.where(far, x, 1.0)), near / (1 + beta * near))


_FAR = 2.0**30

pointwise(
    "nlrelu",
    _nlrelu,
    {"x": _nlrelu_x, ("x", "x"): _nlrelu_xx, "beta": _nlrelu_beta},
    parameters=[parameter("beta", 1.0, "(0, inf)", description="the slope at 0 from the right")],
    class_name="NLReLU",
    family="rectifiers",
    formula=r"\ln(1 + \beta \max(x, 0))",
    definition="log(1 + beta * x) if x > 0 else 0",
    notes="Slope and second derivative at 0 are 0.",
    smoothness="C0",
    kinks=("0",),
    examples=({"beta": 2.0},),
    reference="Liu et al., Natural-logarithm-rectified activation function in convolutional neural networks, "
    "2019, arXiv:1908.03682.",
)

# The root of softplus: with L = ln(1 + e^x) and z = e^-|x|. Below -40 it is exp(x / 2) to the last digit, and L itself underflows
# long before its root does.


def _soft_parts(xp, x):
    """Whether x is far to the left, exp(x / 2) there, and z, L and the sigmoid elsewhere (those of 0 where it is)."""
    far = x < -40
    near = xp.where(far, 0.0, x)
    z = xp.exp(-magnitude(xp, near))
    right = near >= 0
    level = xp.where(right, near, 0.0) + xp.log1p(z)
    return far, Decay(xp, xp.where(far, -0.5 * x, 0.0)), z, level, xp.where(right, 1.0, z) / (1 + z)


def _sqrt_softplus(xp, x, /):
    far, root, _, level, _ = _soft_parts(xp, x)
    return xp.where(far, root.times(1.0), xp.sqrt(level))


def _sqrt_softplus_x(xp, x, /):
    far, root, _, level, sigmoid = _soft_parts(xp, x)
    return xp.where(far, root.times(0.5), 0.5 * sigmoid / xp.sqrt(level))


def _bend(xp, x, z, level):
    """2 z L - 1 for x >= 0, else 2 L - z, a difference of which little is left between 0 and 1.5."""
    # near 0 from y = expm1(-x) and L = ln 2 + x + log1p(y / 2)
    low = (x >= 0) & (x < 0.65)
    v = xp.where(low, x, 0.0)
    y = expm1(xp, -v)
    start = (_2_LN_2 - 1) + (_2_LN_2 * y + 2 * (1 + y) * (v + xp.log1p(0.5 * y)))
    # near its zero r from w = expm1(r - x), with L and the sigmoid of r
    middle = (x >= 0.65) & (x < 1.2)
    u = xp.where(middle, (_ROOT[0] - x) + _ROOT[1], 0.0)
    w = u + series(xp, u, inverse_factorial)
    zero = w + (1 + w) * xp.log1p(-_ROOT_SIGMOID * w / (1 + w)) * _ROOT_INVERSE_LEVEL
    away = xp.where(x >= 0, 2 * z * clamped(xp, level) - 1, 2 * level - z)
    return xp.where(low, start, xp.where(middle, zero, away))


def _sqrt_softplus_xx(xp, x, /):
    # (2 (1 - s) L - s) s / (4 L^(3/2)) with the sigmoid s, whose denominator 1 + z is taken out
    far, root, z, level, sigmoid = _soft_parts(xp, x)
    bend = _bend(xp, xp.where(far, 0.0, x), z, level) / (1 + z)
    return xp.where(far, root.times(0.25), 0.25 * (sigmoid / level) * (bend / xp.sqrt(level)))


_2_LN_2 = 2 * math.log(2)
#: The zero of the second derivative in two parts, the first a float32, and there the sigmoid and 1 / L.
_ROOT = (0.9214224815368652, 2.7118495076364117e-08)
_ROOT_SIGMOID = 0.7153318629591615
_ROOT_INVERSE_LEVEL = 0.7959050946318331

pointwise(
    "sqrt_softplus",
    _sqrt_softplus,
    {"x": _sqrt_softplus_x, ("x", "x"): _sqrt_softplus_xx},
    class_name="SqrtSoftplus",
    family="rectifiers",
    formula=r"\sqrt{\ln(1 + e^x)}",
    definition="sqrt(log(1 + exp(x)))",
    notes="Goes like exp(x / 2) to the left and like the square root of x to the right.",
    smoothness="Cinf",
    reference="sqrtsoftplus, the score of the expert router of DeepSeek-V4, transformers.",
)
