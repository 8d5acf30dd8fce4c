"""Learned polynomials."""

from __future__ import annotations

from ..declaration import Budget, parameter
from ..numerics import choose, constant
from ..registry import pointwise


def _right(xp, x):
    """max(x, 0)."""
    return xp.where(x <= 0, 0.0, x)


def _poly_relu(xp, x, /, *, a0, a1, a2, a3):
    r = _right(xp, x)
    return a0 + r * (a1 + r * (a2 + r * a3))


def _poly_relu_x(xp, x, /, *, a0, a1, a2, a3):
    r = _right(xp, x)
    return choose(xp, x > 0, a1 + r * (2 * a2 + r * (3 * a3)), 0.0, x)


pointwise(
    "poly_relu",
    _poly_relu,
    {
        "x": _poly_relu_x,
        ("x", "x"): lambda xp, x, /, *, a0, a1, a2, a3: choose(xp, x > 0, 2 * a2 + _right(xp, x) * (6 * a3), 0.0, x),
        "a0": lambda xp, x, /, **_: constant(xp, x, 1.0),
        "a1": lambda xp, x, /, **_: _right(xp, x),
        "a2": lambda xp, x, /, **_: _right(xp, x) * _right(xp, x),
        "a3": lambda xp, x, /, **_: _right(xp, x) * (_right(xp, x) * _right(xp, x)),
    },
    parameters=[
        parameter("a0", 0.0, learned=True, description="the constant"),
        *(parameter(f"a{i}", 1 / 3, learned=True, description=f"the coefficient of the power {i}") for i in (1, 2, 3)),
    ],
    class_name="PolyReLU",
    family="rectifiers",
    formula=r"\sum_{i=0}^{3} a_i \max(x, 0)^i",
    definition="a0 + a1 * x + a2 * x**2 + a3 * x**3 if x > 0 else a0",
    notes="All coefficients are learned. The slope at 0 is 0.",
    smoothness="C0",
    kinks=("0",),
    budget=Budget(
        reason="with coefficients of 1/3, rounded to float32, slopes in bfloat16 are so close to ties that float32 cannot tell; "
        "E is kept"
    ),
    reference="Zhuo et al., Polynomial composition activations: unleashing the dynamics of large language models, 2024, "
    "arXiv:2411.03884.",
)
