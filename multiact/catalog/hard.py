"""Piecewise linear and quadratic stand-ins for smooth functions, and hard limits."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import choose, zero
from ..registry import pointwise, preset

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
    smoothness="C0",
    kinks=("min_val", "max_val"),
    examples=({"min_val": -2.0, "max_val": 0.5},),
    reference="Collobert, Large scale machine learning, thesis, 2004.",
)


def _ends(width, offset):
    """Where the slope of hard_sigmoid begins and ends."""
    return -(width * offset), width * (1 - offset)


def _over(x, width):
    """x / width, for a number without a division, which takes as long as ten products."""
    return x * (1 / width) if isinstance(width, float) and 1e-30 < width < 1e30 else x / width


def _hard_sigmoid(xp, x, /, *, width, offset):
    low, high = _ends(width, offset)
    return xp.where(x <= low, 0.0, xp.where(x >= high, 1.0, _over(x - low, width)))


def _hard_sigmoid_x(xp, x, /, *, width, offset):
    low, high = _ends(width, offset)
    return choose(xp, (x > low) & (x < high), 1 / width, 0.0, x)


def _hard_sigmoid_width(xp, x, /, *, width, offset):
    low, high = _ends(width, offset)
    return xp.where((x <= low) | (x >= high), 0.0, -(x / width) / width)


def _hard_sigmoid_offset(xp, x, /, *, width, offset):
    low, high = _ends(width, offset)
    return choose(xp, (x > low) & (x < high), 1.0, 0.0, x)


hard_sigmoid = pointwise(
    "hard_sigmoid",
    _hard_sigmoid,
    {
        "x": _hard_sigmoid_x,
        ("x", "x"): zero,
        "width": _hard_sigmoid_width,
        "offset": _hard_sigmoid_offset,
    },
    parameters=[
        parameter("width", 6.0, "(0, inf)", description="one over the slope: how far it is from 0 to 1"),
        parameter("offset", 0.5, description="the value at 0"),
    ],
    class_name="Hardsigmoid",
    aliases=("hardsigmoid", "h_sigmoid"),
    family="hard",
    formula=r"\min\left(\max\left(\tfrac{x}{w} + c, 0\right), 1\right)",
    definition="0 if x <= -width * offset else 1 if x >= width * (1 - offset) else x / width + offset",
    notes="The slope at both ends, -3 and 3 by default, is 0. It takes the width and not the slope, since 1/6 is not a "
    "floating-point number. Keras 2 and the default of ONNX are hard_sigmoid_legacy.",
    smoothness="C0",
    kinks=("-width * offset", "width * (1 - offset)"),
    examples=({"width": 4.0, "offset": 0.25},),
    reference="Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.",
)

preset(
    "hard_sigmoid_legacy",
    hard_sigmoid,
    fixed={"width": 5.0, "offset": 0.5},
    class_name="HardSigmoidLegacy",
    family="hard",
    formula=r"\min\left(\max\left(\tfrac{x}{5} + \tfrac12, 0\right), 1\right)",
    definition="0 if x <= -2.5 else 1 if x >= 2.5 else x / 5 + 0.5",
    notes="hard_sigmoid of slope 0.2, as in Keras 2 and the default of ONNX. The slope at -2.5 and at 2.5 is 0.",
    smoothness="C0",
    kinks=("-2.5", "2.5"),
    reference="keras.activations.hard_sigmoid, Keras 2; HardSigmoid, ONNX.",
)

preset(
    "sparse_sigmoid",
    hard_sigmoid,
    fixed={"width": 2.0, "offset": 0.5},
    class_name="SparseSigmoid",
    family="hard",
    formula=r"\min\left(\max\left(\tfrac{x + 1}{2}, 0\right), 1\right)",
    definition="0 if x <= -1 else 1 if x >= 1 else (x + 1) / 2",
    notes="The derivative of sparse_plus; the hard sigmoid of BinaryConnect. The slope at -1 and at 1 is 0.",
    smoothness="C0",
    kinks=("-1", "1"),
    reference="Blondel, Martins & Niculae, Learning with Fenchel-Young losses, 2019, arXiv:1901.02324.",
)


def _inside(xp, x):
    """x where |x| < 3 (or NaN), 0 elsewhere, so that the quadratic piece stays finite."""
    return xp.where((x <= -3) | (x >= 3), 0.0, x)


def _hard_swish(xp, x, /):
    v = _inside(xp, x)
    return xp.where(x <= -3, 0.0, xp.where(x >= 3, x, v * (v * (1 / 6) + 0.5)))


pointwise(
    "hard_swish",
    _hard_swish,
    {
        "x": lambda xp, x, /: xp.where(x <= -3, 0.0, xp.where(x >= 3, 1.0, (_inside(xp, x) + 1.5) * (1 / 3))),
        ("x", "x"): lambda xp, x, /: choose(xp, (x > -3) & (x < 3), 1 / 3, 0.0, x),
    },
    class_name="Hardswish",
    aliases=("hardswish", "hard_silu", "h_swish"),
    family="hard",
    formula=r"x \min\left(\max\left(\tfrac{x}{6} + \tfrac12, 0\right), 1\right)",
    definition="0 if x <= -3 else x if x >= 3 else x * (x + 3) / 6",
    notes="The slope is 0 at -3 and 1 at 3.",
    smoothness="C0",
    kinks=("-3", "3"),
    reference="Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244.",
)


def _within(x):
    return (x > -2) & (x < 0)


def _hard_mish(xp, x, /):
    v = xp.where(_within(x), x, 0.0)
    return xp.where(_within(x), v * (0.5 * v + 1), xp.where(x <= -2, 0.0, x))


pointwise(
    "hard_mish",
    _hard_mish,
    {
        "x": lambda xp, x, /: xp.where(_within(x), xp.where(_within(x), x, 0.0) + 1, choose(xp, x >= 0, 1.0, 0.0, x)),
        ("x", "x"): lambda xp, x, /: choose(xp, _within(x), 1.0, 0.0, x),
    },
    class_name="HardMish",
    aliases=("h_mish",),
    family="hard",
    formula=r"\tfrac{x}{2} \min(\max(x + 2, 0), 2)",
    definition="0 if x <= -2 else x if x >= 0 else x * (x + 2) / 2",
    notes="The slope is 0 at -2, where timm takes -1, and 1 at 0. The second derivative at both is 0.",
    smoothness="C0",
    kinks=("-2", "0"),
    reference="Misra, H-Mish, 2020 (github.com/digantamisra98/H-Mish).",
)
