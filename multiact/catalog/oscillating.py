"""Oscillating functions."""

from __future__ import annotations

import math

from ..declaration import Budget, parameter
from ..registry import pointwise

INF = math.inf


def _phase(xp, x, alpha):
    """x, and sine and cosine of alpha x; all of 0 where alpha x is infinite and they have no value."""
    u = alpha * x
    infinite = (u == INF) | (u == -INF)
    u = xp.where(infinite, 0.0, u)
    return xp.where(infinite, 0.0, x), xp.sin(u), xp.cos(u)


def _snake(xp, x, /, *, alpha):
    _, s, _ = _phase(xp, x, alpha)
    return x + s * s / alpha


def _snake_x(xp, x, /, *, alpha):
    # 1 + sin 2u as a square: it has double zeros, near which the plain sum loses all digits.
    _, s, c = _phase(xp, x, alpha)
    return (s + c) * (s + c)


def _snake_xx(xp, x, /, *, alpha):
    # cos 2u itself, not (c - s) (c + s): near its zeros it keeps its digits.
    _, _, c = _phase(xp, x, 2 * alpha)
    return 2 * alpha * c


def _snake_alpha(xp, x, /, *, alpha):
    v, s, c = _phase(xp, x, alpha)
    t = s / alpha
    return t * (v * c) + t * (v * c - t)


pointwise(
    "snake",
    _snake,
    {"x": _snake_x, ("x", "x"): _snake_xx, "alpha": _snake_alpha},
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="the frequency")],
    family="oscillating",
    formula=r"x + \frac{1}{\alpha} \sin^2(\alpha x)",
    definition="x + sin(alpha * x)**2 / alpha",
    notes="Its derivatives have no limit at infinity; at an infinite x they are those at 0.",
    range=(-INF, INF),
    limits=(-INF, INF),
    monotonic=True,
    smoothness="Cinf",
    budget=Budget(
        reason="where alpha * x, or twice that, overflows in float32 the phase is unknown; E, not the ulp, is kept"
    ),
    lipschitz=2.0,
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Ziyin, Hartwig & Ueda, Neural networks fail to learn periodic functions and how to fix it, 2020, "
    "arXiv:2006.08195.",
)
