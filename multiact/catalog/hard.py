"""Piecewise linear and quadratic stand-ins for smooth functions, and hard limits."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import choose, zero
from ..registry import pointwise

INF = math.inf


pointwise(
    "hard_tanh",
    lambda xp, x, /, *, min_val, max_val: xp.where(x <= min_val, min_val, xp.where(x >= max_val, max_val, x)),
    {
        "x": lambda xp, x, /, *, min_val, max_val: choose(xp, (x > min_val) & (x < max_val), 1.0, 0.0, x),
        ("x", "x"): zero,
        "min_val": lambda xp, x, /, *, min_val, max_val: choose(xp, x <= min_val, 1.0, 0.0, x),
        "max_val": lambda xp, x, /, *, min_val, max_val: choose(xp, (x > min_val) & (x >= max_val), 1.0, 0.0, x),
    },
    parameters=[
        parameter("min_val", -1.0, description="the lower bound"),
        parameter("max_val", 1.0, description="the upper bound; greater than the lower"),
    ],
    class_name="Hardtanh",
    aliases=("hardtanh",),
    family="hard",
    formula=r"\min(\max(x, a), b)",
    definition="min_val if x <= min_val else max_val if x >= max_val else x",
    notes="The slope at both bounds is 0.",
    range=(-1.0, 1.0),
    limits=(-1.0, 1.0),
    monotonic=True,
    smoothness="C0",
    lipschitz=1.0,
    kinks=("min_val", "max_val"),
    examples=({"min_val": -2.0, "max_val": 0.5},),
    reference="Collobert, Large scale machine learning, thesis, 2004.",
)

pointwise(
    "hard_sigmoid",
    lambda xp, x, /: xp.where(x <= -3, 0.0, xp.where(x >= 3, 1.0, (x + 3) / 6)),
    {"x": lambda xp, x, /: choose(xp, (x > -3) & (x < 3), 1 / 6, 0.0, x), ("x", "x"): zero},
    class_name="Hardsigmoid",
    aliases=("hardsigmoid", "h_sigmoid"),
    family="hard",
    formula=r"\min\left(\max\left(\tfrac{x}{6} + \tfrac12, 0\right), 1\right)",
    definition="0 if x <= -3 else 1 if x >= 3 else (x + 3) / 6",
    notes="The slope at -3 and at 3 is 0. Keras 2 and the default of ONNX have slope 0.2 instead of 1/6.",
    range=(0.0, 1.0),
    limits=(0.0, 1.0),
    monotonic=True,
    smoothness="C0",
    lipschitz=1 / 6,
    kinks=("-3", "3"),
    reference="Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.",
)


def _inside(xp, x):
    """x where |x| < 3 (or NaN), 0 elsewhere, so that the quadratic piece stays finite."""
    return xp.where((x <= -3) | (x >= 3), 0.0, x)


def _hard_swish(xp, x, /):
    v = _inside(xp, x)
    return xp.where(x <= -3, 0.0, xp.where(x >= 3, x, v * (v / 6 + 0.5)))


pointwise(
    "hard_swish",
    _hard_swish,
    {
        "x": lambda xp, x, /: xp.where(x <= -3, 0.0, xp.where(x >= 3, 1.0, (_inside(xp, x) + 1.5) / 3)),
        ("x", "x"): lambda xp, x, /: choose(xp, (x > -3) & (x < 3), 1 / 3, 0.0, x),
    },
    class_name="Hardswish",
    aliases=("hardswish", "hard_silu", "h_swish"),
    family="hard",
    formula=r"x \min\left(\max\left(\tfrac{x}{6} + \tfrac12, 0\right), 1\right)",
    definition="0 if x <= -3 else x if x >= 3 else x * (x + 3) / 6",
    notes="The slope is 0 at -3 and 1 at 3.",
    range=(-0.375, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="C0",
    lipschitz=1.5,
    kinks=("-3", "3"),
    reference="Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.",
)
