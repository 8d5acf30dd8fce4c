"""Exponential linear units."""

from __future__ import annotations

import math
from typing import Any

from ..declaration import Budget, parameter
from ..numerics import (
    Decay,
    choose,
    clamped,
    constant,
    expm1,
    inverse_factorial,
    is_double,
    negative,
    positive,
    series,
    tail,
    times,
)
from ..registry import pointwise
from .self_gated import silu

SCALE = 1.0507009873554805
ALPHA = 1.6732632423543772


def _exp(xp, x, factor):
    """factor * exp(x) for x <= 0."""
    return Decay(xp, -x, factor).times(factor)


pointwise(
    "elu",
    lambda xp, x, /, *, alpha: positive(xp, x, 0) + times(alpha, expm1(xp, negative(xp, x))),
    {
        "x": lambda xp, x, /, *, alpha: xp.where(x > 0, 1.0, _exp(xp, negative(xp, x), alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, _exp(xp, negative(xp, x), alpha)),
        "alpha": lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, expm1(xp, negative(xp, x))),
        ("x", "alpha"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, xp.exp(negative(xp, x))),
    },
    parameters=[parameter("alpha", 1.0, description="minus the limit at -inf")],
    class_name="ELU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \alpha (e^x - 1) & x \le 0 \end{cases}",
    definition="x if x > 0 else alpha * expm1(x)",
    notes="The slope at 0 is `alpha`.",
    smoothness="C1",
    kinks=("0",),
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by ELUs, 2015, "
    "arXiv:1511.07289.",
)


def _scaled_expm1(xp, x, v, height, slope):
    """height * expm1(v) for v <= 0, where height * v = slope * x: x itself, so that a subnormal v does no harm."""
    near = v > -1
    inner = slope * x + height * series(xp, xp.where(near, v, 0.0), inverse_factorial)
    return xp.where(near, inner, height * (xp.exp(xp.where(near, -1.0, v)) - 1))


def _celu(xp, x, /, *, alpha):
    v = negative(xp, x)
    if isinstance(alpha, float) and alpha == 1:
        return positive(xp, x, 0) + expm1(xp, v)
    return xp.where(x > 0, x, _scaled_expm1(xp, v, v / alpha, alpha, 1.0))


def _celu_alpha(xp, x, /, *, alpha):
    # expm1(v) - v exp(v): below -1 as it stands, above by its own series.
    v = clamped(xp, negative(xp, x) / alpha)
    near = v > -1
    inner = -series(xp, xp.where(near, v, 0.0), lambda k: (k - 1) / math.factorial(k))
    outer = xp.where(near, -1.0, v)
    return xp.where(x > 0, 0.0, xp.where(near, inner, xp.exp(outer) * (1 - outer) - 1))


pointwise(
    "celu",
    _celu,
    {
        "x": lambda xp, x, /, *, alpha: xp.where(x > 0, 1.0, xp.exp(negative(xp, x) / alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, _exp(xp, negative(xp, x) / alpha, 1 / alpha)),
        "alpha": _celu_alpha,
    },
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="minus the limit at -inf")],
    class_name="CELU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \alpha (e^{x / \alpha} - 1) & x \le 0 \end{cases}",
    definition="x if x > 0 else alpha * expm1(x / alpha)",
    notes="Continuously differentiable for every `alpha`; the slope at 0 is 1.",
    smoothness="C1",
    kinks=("0",),
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Barron, Continuously differentiable exponential linear units, 2017, arXiv:1704.07483.",
)

pointwise(
    "selu",
    lambda xp, x, /: SCALE * positive(xp, x, 0) + SCALE * ALPHA * expm1(xp, negative(xp, x)),
    {
        "x": lambda xp, x, /: xp.where(x > 0, SCALE, _exp(xp, negative(xp, x), SCALE * ALPHA)),
        ("x", "x"): lambda xp, x, /: xp.where(x > 0, 0.0, _exp(xp, negative(xp, x), SCALE * ALPHA)),
    },
    class_name="SELU",
    family="exponential_units",
    formula=r"\lambda \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & x \le 0 \end{cases}",
    definition="1.0507009873554805 * x if x > 0 else 1.0507009873554805 * 1.6732632423543772 * expm1(x)",
    notes="lambda = 1.0507009873554805 and alpha = 1.6732632423543772 keep mean 0 and variance 1. The slope at 0 is "
    "lambda * alpha = 1.7581.",
    smoothness="C0",
    kinks=("0",),
    reference="Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515.",
)


def _exponential(xp, x, /):
    return xp.exp(x)


pointwise(
    "exponential",
    _exponential,
    {"x": _exponential, ("x", "x"): _exponential},
    aliases=("exp",),
    family="exponential_units",
    formula="e^x",
    definition="exp(x)",
    smoothness="Cinf",
    reference="The exponential function.",
)


def _pelu(xp, x, /, *, alpha, beta):
    v, slope = negative(xp, x), alpha / beta
    return xp.where(x > 0, slope * x, _scaled_expm1(xp, v, v / beta, alpha, slope))


def _pelu_alpha(xp, x, /, *, alpha, beta):
    v = negative(xp, x)
    return xp.where(x > 0, x / beta, _scaled_expm1(xp, v, v / beta, 1.0, 1 / beta))


def _pelu_beta(xp, x, /, *, alpha, beta):
    v = clamped(xp, negative(xp, x) / beta)
    slope = alpha / beta
    return -xp.where(x > 0, slope / beta * x, _exp(xp, v, v * slope))


pointwise(
    "pelu",
    _pelu,
    {
        "x": lambda xp, x, /, *, alpha, beta: xp.where(
            x > 0, alpha / beta, _exp(xp, negative(xp, x) / beta, alpha / beta)
        ),
        ("x", "x"): lambda xp, x, /, *, alpha, beta: xp.where(
            x > 0, 0.0, _exp(xp, negative(xp, x) / beta, alpha / beta / beta)
        ),
        "alpha": _pelu_alpha,
        "beta": _pelu_beta,
    },
    parameters=[
        parameter("alpha", 1.0, "(0, inf)", learned=True, description="minus the limit at -inf"),
        parameter("beta", 1.0, "(0, inf)", learned=True, description="the length on which the exponential decays"),
    ],
    class_name="PELU",
    family="exponential_units",
    formula=r"\begin{cases} \frac{\alpha}{\beta} x & x > 0 \\ \alpha (e^{x / \beta} - 1) & x \le 0 \end{cases}",
    definition="alpha / beta * x if x > 0 else alpha * expm1(x / beta)",
    notes="The slope at 0 is `alpha` / `beta` from both sides.",
    smoothness="C1",
    kinks=("0",),
    examples=({"alpha": 0.5, "beta": 2.0},),
    reference="Trottier, Giguere & Chaib-draa, Parametric exponential linear unit for deep convolutional neural networks, 2016, "
    "arXiv:1605.09332.",
)


def _mpelu(xp, x, /, *, alpha, beta):
    v = negative(xp, x)
    return xp.where(x > 0, x, _scaled_expm1(xp, v, beta * v, alpha, alpha * beta))


def _mpelu_alpha(xp, x, /, *, alpha, beta):
    v = negative(xp, x)
    return xp.where(x > 0, 0.0, _scaled_expm1(xp, v, beta * v, 1.0, beta))


def _mpelu_beta(xp, x, /, *, alpha, beta):
    v = negative(xp, x)
    return xp.where(x > 0, 0.0, _exp(xp, beta * v, alpha * clamped(xp, v, _LONG)))


#: Finite, and so long that its product with an exponential which has not vanished by then does not occur.
_LONG = 1e30

pointwise(
    "mpelu",
    _mpelu,
    {
        "x": lambda xp, x, /, *, alpha, beta: xp.where(x > 0, 1.0, _exp(xp, beta * negative(xp, x), alpha * beta)),
        ("x", "x"): lambda xp, x, /, *, alpha, beta: xp.where(
            x > 0, 0.0, _exp(xp, beta * negative(xp, x), alpha * beta * beta)
        ),
        "alpha": _mpelu_alpha,
        "beta": _mpelu_beta,
    },
    parameters=[
        parameter("alpha", 1.0, learned=True, description="minus the limit at -inf"),
        parameter("beta", 1.0, "(0, inf)", learned=True, description="how fast the exponential decays"),
    ],
    class_name="MPELU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \alpha (e^{\beta x} - 1) & x \le 0 \end{cases}",
    definition="x if x > 0 else alpha * expm1(beta * x)",
    notes="The slope at 0 is `alpha` * `beta`.",
    smoothness="C1",
    kinks=("0",),
    examples=({"alpha": 0.25, "beta": 2.0},),
    reference="Li et al., Improving deep neural network with multiple parametric exponential linear units, 2016, "
    "arXiv:1606.00305.",
)


def _root(xp, x, alpha):
    """x <= 0, w = alpha x^2 and sqrt(1 + w), all those of a finite x whose square does not overflow."""
    v = clamped(xp, negative(xp, x), 1e150 if is_double(xp, x) else 1e18)
    w = alpha * v * v
    return v, w, xp.sqrt(1 + w)


def _isrlu(xp, x, /, *, alpha):
    v, _, q = _root(xp, x, alpha)
    return xp.where(x > 0, x, v / q)


def _isrlu_x(xp, x, /, *, alpha):
    # 1 / q^3, near 0 by what it lacks to 1: (q^3 - 1) / q^3 = w (q^2 + q + 1) / ((q + 1) q^3)
    _, w, q = _root(xp, x, alpha)
    s = 1 + w
    near = w < 1
    inner = 1 - xp.where(near, w, 0.0) * (s + q + 1) / ((q + 1) * q) / s
    return xp.where(x > 0, 1.0, xp.where(near, inner, 1 / q / s))


def _isrlu_xx(xp, x, /, *, alpha):
    v, w, q = _root(xp, x, alpha)
    # 3 x halves the distance of 16-bit numbers, and what it is divided by is a little more than 1
    three = 3 - (2.0**-51 if is_double(xp, x) else 2.0**-22)
    # once divided by s and once multiplied with 1 / s: XLA would make one denominator of two, which overflows
    s = 1 + w
    return xp.where(x > 0, 0.0, -three * alpha * v / q / s * (1 / s))


def _isrlu_alpha(xp, x, /, *, alpha):
    v, _, q = _root(xp, x, alpha)
    return xp.where(x > 0, 0.0, -0.5 * (v / q) * (v / q) * (v / q))


pointwise(
    "isrlu",
    _isrlu,
    {"x": _isrlu_x, ("x", "x"): _isrlu_xx, "alpha": _isrlu_alpha},
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="the limit at -inf is -1 / sqrt(alpha)")],
    class_name="ISRLU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \frac{x}{\sqrt{1 + \alpha x^2}} & x \le 0 \end{cases}",
    definition="x if x > 0 else x / sqrt(1 + alpha * x**2)",
    notes="The third derivative is the first that jumps, at 0.",
    smoothness="C2",
    examples=({"alpha": 3.0},),
    reference="Carlile, Delamarter, Kinney, Marti & Whitney, Improving deep learning by inverse square root linear units "
    "(ISRLUs), 2017, arXiv:1710.09967.",
)


def _bend(xp, x):
    """For x <= 0 where it is near 0, there expm1(x) - x, and expm1(x) elsewhere."""
    near = x > -1.6
    v = 0.5 * xp.where(x > -2, x, 0.0)
    t = tail(xp, v, inverse_factorial)
    square = 1 + v * t  # expm1(x / 2) is x / 2 times it, and expm1(x) = expm1(x / 2) (2 + expm1(x / 2))
    h = v * square
    outer = xp.where(x > -2, h * (2 + h), xp.exp(xp.where(x > -2, -2.0, x)) - 1)
    u = 2 * v
    return near, u * (u * (0.25 * square * square + 0.5 * t)), outer


def _xielu(xp, x, /, *, alpha_p, alpha_n, beta):
    v = negative(xp, x)
    near, inner, outer = _bend(xp, v)
    # far to the left the two multiples of x are one, so that -inf does not meet inf
    left = xp.where(near, alpha_n * inner + beta * v, alpha_n * outer + (beta - alpha_n) * xp.where(near, 0.0, v))
    return xp.where(x > 0, x * (alpha_p * x + beta), left)


def _xielu_x(xp, x, /, *, alpha_p, alpha_n, beta):
    v = negative(xp, x)
    near = v > -1
    small = xp.where(near, v, 0.0)
    inner = alpha_n * (small + series(xp, small, inverse_factorial)) + beta  # exp(x) - 1 is not near enough at the zero
    left = xp.where(near, inner, _exp(xp, v, alpha_n) + (beta - alpha_n))
    return xp.where(x > 0, 2 * alpha_p * x + beta, left)


def _xielu_xx(xp, x, /, *, alpha_p, alpha_n, beta):
    return xp.where(x > 0, 2 * alpha_p, _exp(xp, negative(xp, x), alpha_n))


def _xielu_alpha_n(xp, x, /, *, alpha_p, alpha_n, beta):
    v = negative(xp, x)
    near, inner, outer = _bend(xp, v)
    return xp.where(x > 0, 0.0, xp.where(near, inner, outer - v))


pointwise(
    "xielu",
    _xielu,
    {
        "x": _xielu_x,
        ("x", "x"): _xielu_xx,
        "alpha_p": lambda xp, x, /, *, alpha_p, alpha_n, beta: xp.where(x <= 0, 0.0, x) * xp.where(x <= 0, 0.0, x),
        "alpha_n": _xielu_alpha_n,
        "beta": lambda xp, x, /, *, alpha_p, alpha_n, beta: x * 1,
    },
    parameters=[
        parameter("alpha_p", 0.8, learned=True, description="half the curvature for x > 0"),
        parameter("alpha_n", 0.8, learned=True, description="the curvature at 0 from the left; greater than `beta`"),
        parameter("beta", 0.5, description="the slope at 0"),
    ],
    class_name="XIELU",
    family="exponential_units",
    formula=r"\begin{cases} \alpha_p x^2 + \beta x & x > 0 \\ \alpha_n (e^x - 1 - x) + \beta x & x \le 0 \end{cases}",
    definition="alpha_p * x**2 + beta * x if x > 0 else alpha_n * (expm1(x) - x) + beta * x",
    notes="These are the effective parameters. The paper and transformers learn raw ones, with `alpha_p` = softplus(raw) and "
    "`alpha_n` = `beta` + softplus(raw), initialised so that both are 0.8. transformers also takes expm1 of min(x, -1e-6), which "
    "moves the value at 0 to -8e-7.",
    smoothness="C1",
    kinks=("0",),
    budget=Budget(
        reason="1.6 x is next to halfway between two float16 numbers for every multiple of 5 up to 1275, since 0.8 is not a float32"
    ),
    examples=({"alpha_p": 0.3, "alpha_n": 1.5},),
    reference="Huang & Schlag, Deriving activation functions using integration, 2024, arXiv:2411.13010.",
)


# With z = e^x the left side is z (z - 1) / (1 + z).


def _elish(xp, x, /):
    a = -negative(xp, x)
    d = Decay(xp, a)
    return xp.where(x > 0, silu.function(xp, x, 1.0), d.times(expm1(xp, -a)) / (1 + d.z))


def _elish_x(xp, x, /):
    n = negative(xp, x)
    d = Decay(xp, -n)
    z = d.z
    # near 0 by what it differs from 1/2, in y = z - 1
    y = expm1(xp, xp.where(n > -0.5, n, 0.0))
    near = 0.5 + y * (8 + y * (9 + 2 * y)) / (2 * (2 + y) * (2 + y))
    left = xp.where(n > -0.5, near, d.times(z * (z + 2) - 1) / ((1 + z) * (1 + z)))
    return xp.where(x > 0, _silu_x(xp, x, 1.0), left)


def _elish_xx(xp, x, /):
    d = Decay(xp, -negative(xp, x))
    z = d.z
    left = d.times(z * (z * (z + 3) + 5) - 1) / ((1 + z) * (1 + z) * (1 + z))
    return xp.where(x > 0, _silu_xx(xp, x, 1.0), left)


_silu: Any = silu.function
_silu_x = _silu.partial("x")
_silu_xx = _silu_x.partial("x")

pointwise(
    "elish",
    _elish,
    {"x": _elish_x, ("x", "x"): _elish_xx},
    class_name="ELiSH",
    family="exponential_units",
    formula=r"\begin{cases} \frac{x}{1 + e^{-x}} & x > 0 \\ \frac{e^x - 1}{1 + e^{-x}} & x \le 0 \end{cases}",
    definition="x / (1 + exp(-x)) if x > 0 else expm1(x) / (1 + exp(-x))",
    notes="The second derivative jumps at 0, from 1 to 1/2.",
    smoothness="C1",
    kinks=("0",),
    reference="Basirat & Roth, The quest for the golden activation function, 2018, arXiv:1808.00783.",
)


def _hard_parts(xp, x):
    """Where |x| < 1, x there, and the part of it at or below 0."""
    within = (x > -1) & (x < 1)
    v = xp.where(within, x, 0.0)
    return within, v, negative(xp, v)


def _hard_elish(xp, x, /):
    within, v, n = _hard_parts(xp, x)
    inner = xp.where(v > 0, v, expm1(xp, n)) * (0.5 * (v + 1))
    return xp.where(within, inner, xp.where(x <= -1, 0.0, x))


def _hard_elish_x(xp, x, /):
    within, v, n = _hard_parts(xp, x)
    inner = xp.where(v > 0, v + 0.5, 0.5 * (expm1(xp, n) * (n + 2) + (n + 1)))
    return xp.where(within, inner, choose(xp, x >= 1, 1.0, 0.0, x))


def _hard_elish_xx(xp, x, /):
    within, v, n = _hard_parts(xp, x)
    return choose(xp, within, xp.where(v > 0, 1.0, 0.5 * xp.exp(n) * (n + 3)), 0.0, x)


pointwise(
    "hard_elish",
    _hard_elish,
    {"x": _hard_elish_x, ("x", "x"): _hard_elish_xx},
    class_name="HardELiSH",
    family="exponential_units",
    formula=r"\begin{cases} x\, h(x) & x > 0 \\ (e^x - 1)\, h(x) & x \le 0 \end{cases},\ "
    r"h(x) = \min\left(\max\left(\tfrac{x + 1}{2}, 0\right), 1\right)",
    definition="0 if x <= -1 else x if x >= 1 else x * (x + 1) / 2 if x > 0 else expm1(x) * (x + 1) / 2",
    notes="The slope is 0 at -1 and 1 at 1, where that of h is taken as 0. The second derivative at both is 0.",
    smoothness="C0",
    kinks=("-1", "0", "1"),
    reference="Basirat & Roth, The quest for the golden activation function, 2018, arXiv:1808.00783.",
)


def _fts_part(xp, x, which):
    return xp.where(x <= 0, 0.0, which(xp, xp.where(x <= 0, 1.0, x), 1.0))


pointwise(
    "fts",
    lambda xp, x, /, *, threshold: _fts_part(xp, x, silu.function) + threshold,
    {
        "x": lambda xp, x, /, *, threshold: _fts_part(xp, x, _silu_x),
        ("x", "x"): lambda xp, x, /, *, threshold: _fts_part(xp, x, _silu_xx),
        "threshold": lambda xp, x, /, *, threshold: constant(xp, x, 1.0),
    },
    parameters=[parameter("threshold", -0.2, description="the value for x <= 0, T in the paper")],
    class_name="FTS",
    aliases=("flatten_t_swish",),
    family="exponential_units",
    formula=r"\frac{\max(x, 0)}{1 + e^{-x}} + T",
    definition="x / (1 + exp(-x)) + threshold if x > 0 else threshold",
    notes="The slope at 0 is 0, as that of relu.",
    smoothness="C0",
    kinks=("0",),
    examples=({"threshold": 0.5},),
    reference="Chieng, Wahid, Ong & Perla, Flatten-T Swish: a thresholded ReLU-Swish-like activation function for deep learning, "
    "2018, arXiv:1812.06247.",
)
