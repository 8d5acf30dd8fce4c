"""Exponential linear units."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import Decay, clamped, expm1, series
from ..registry import pointwise

INF = math.inf
SCALE = 1.0507009873554805
ALPHA = 1.6732632423543772


def _negative(xp, x):
    """The part of x at or below 0, where the exponential is taken."""
    return xp.where(x > 0, 0.0, x)


def _exp(xp, x, factor):
    """factor * exp(x) for x <= 0."""
    return Decay(xp, -x).times(factor)


pointwise(
    "elu",
    lambda xp, x, /, *, alpha: xp.where(x > 0, x, alpha * expm1(xp, _negative(xp, x))),
    {
        "x": lambda xp, x, /, *, alpha: xp.where(x > 0, 1.0, _exp(xp, _negative(xp, x), alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, _exp(xp, _negative(xp, x), alpha)),
        "alpha": lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, expm1(xp, _negative(xp, x))),
        ("x", "alpha"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, xp.exp(_negative(xp, x))),
    },
    parameters=[parameter("alpha", 1.0, description="minus the limit at -inf")],
    class_name="ELU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \alpha (e^x - 1) & x \le 0 \end{cases}",
    definition="x if x > 0 else alpha * expm1(x)",
    notes="The slope at 0 is `alpha`.",
    range=(-1.0, INF),
    limits=(-1.0, INF),
    monotonic=True,
    smoothness="C1",
    lipschitz=1.0,
    kinks=("0",),
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Clevert, Unterthiner & Hochreiter, Fast and accurate deep network learning by ELUs, 2015, "
    "arXiv:1511.07289.",
)


def _celu(xp, x, /, *, alpha):
    v = _negative(xp, x) / alpha
    near = v > -1
    # x itself and what is beyond it, so that a subnormal x / alpha does no harm
    inner = _negative(xp, x) + alpha * series(xp, xp.where(near, v, 0.0), lambda k: 1 / math.factorial(k))
    outer = alpha * (xp.exp(xp.where(near, -1.0, v)) - 1)
    return xp.where(x > 0, x, xp.where(near, inner, outer))


def _celu_alpha(xp, x, /, *, alpha):
    # expm1(v) - v exp(v): below -1 as it stands, above by its own series.
    v = clamped(xp, _negative(xp, x) / alpha)
    near = v > -1
    inner = -series(xp, xp.where(near, v, 0.0), lambda k: (k - 1) / math.factorial(k))
    outer = xp.where(near, -1.0, v)
    return xp.where(x > 0, 0.0, xp.where(near, inner, xp.exp(outer) * (1 - outer) - 1))


pointwise(
    "celu",
    _celu,
    {
        "x": lambda xp, x, /, *, alpha: xp.where(x > 0, 1.0, xp.exp(_negative(xp, x) / alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, _exp(xp, _negative(xp, x) / alpha, 1 / alpha)),
        "alpha": _celu_alpha,
    },
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="minus the limit at -inf")],
    class_name="CELU",
    family="exponential_units",
    formula=r"\begin{cases} x & x > 0 \\ \alpha (e^{x / \alpha} - 1) & x \le 0 \end{cases}",
    definition="x if x > 0 else alpha * expm1(x / alpha)",
    notes="Continuously differentiable for every `alpha`; the slope at 0 is 1.",
    range=(-1.0, INF),
    limits=(-1.0, INF),
    monotonic=True,
    smoothness="C1",
    lipschitz=1.0,
    kinks=("0",),
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Barron, Continuously differentiable exponential linear units, 2017, arXiv:1704.07483.",
)

pointwise(
    "selu",
    lambda xp, x, /: xp.where(x > 0, SCALE * x, SCALE * ALPHA * expm1(xp, _negative(xp, x))),
    {
        "x": lambda xp, x, /: xp.where(x > 0, SCALE, _exp(xp, _negative(xp, x), SCALE * ALPHA)),
        ("x", "x"): lambda xp, x, /: xp.where(x > 0, 0.0, _exp(xp, _negative(xp, x), SCALE * ALPHA)),
    },
    class_name="SELU",
    family="exponential_units",
    formula=r"\lambda \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & x \le 0 \end{cases}",
    definition="1.0507009873554805 * x if x > 0 else 1.0507009873554805 * 1.6732632423543772 * expm1(x)",
    notes="lambda = 1.0507009873554805 and alpha = 1.6732632423543772 keep mean 0 and variance 1. The slope at 0 is "
    "lambda * alpha = 1.7581.",
    range=(-SCALE * ALPHA, INF),
    limits=(-SCALE * ALPHA, INF),
    monotonic=True,
    smoothness="C0",
    lipschitz=SCALE * ALPHA,
    kinks=("0",),
    reference="Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515.",
)

pointwise(
    "exponential",
    lambda xp, x, /: xp.exp(x),
    {"x": lambda xp, x, /: xp.exp(x), ("x", "x"): lambda xp, x, /: xp.exp(x)},
    aliases=("exp",),
    family="exponential_units",
    formula="e^x",
    definition="exp(x)",
    range=(0.0, INF),
    limits=(0.0, INF),
    monotonic=True,
    smoothness="Cinf",
    reference="The exponential function.",
)
