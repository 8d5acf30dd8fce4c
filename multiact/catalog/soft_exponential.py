"""Soft exponential: from the logarithm over the identity to the exponential, with one parameter."""

from __future__ import annotations

import math

from ..declaration import Budget, parameter
from ..numerics import clamped, horner, inverse_factorial, is_double, tail
from ..registry import pointwise

INF = math.inf
_SHIFT = 32.0


class _Exponential:
    """What alpha >= 0 needs: v = alpha x, which is 0 where alpha < 0, and exp(v) as a product that overflows late.

    Attributes
    ----------
    near : |v| <= 1, where differences of exp(v) are taken from its series in `inner`, which is v there and 0 elsewhere.
    alpha : 1 where `near`, so that one can divide by it.
    """

    def __init__(self, xp, x, alpha):
        self._xp = xp
        v = xp.where(alpha >= 0, alpha, 0.0) * x
        self.near = ~((v > 1) | (v < -1))
        self.v = v
        self.inner = xp.where(self.near, v, 0.0)
        self.alpha = xp.where(self.near, 1.0, alpha)
        shift = xp.where(
            v > 2 * _SHIFT, xp.full_like(x, _SHIFT), xp.where(v < -2 * _SHIFT, xp.full_like(x, -_SHIFT), 0.0)
        )
        self._scaled = xp.exp(v - shift)
        high, low = math.exp(_SHIFT), math.exp(-_SHIFT)
        self._factor = xp.where(shift > 0, high, xp.where(shift < 0, xp.full_like(x, low), 1.0))

    def times(self, factor):
        return self._scaled * factor * self._factor


class _Logarithm:
    """What alpha < 0 needs: s = x + alpha and u = -alpha s, both 0 where alpha >= 0, so that 1 + u is under the logarithm.

    Attributes
    ----------
    near : -2/3 < u < 2, where `ratio` is ln(1 + u) / u and `slope` its derivative.
    defined : u > -1. `level` is 1 + u there, 1 elsewhere.
    log : ln(1 + u) where it is defined and not `near`.
    alpha : -1 where alpha >= 0, so that one can divide by it.
    """

    def __init__(self, xp, x, alpha):
        negative = alpha < 0
        self.alpha = xp.where(negative, alpha, -1.0)
        self.s = xp.where(negative, x + alpha, 0.0)
        u = -self.alpha * self.s
        self.near = (u > -2 / 3) & (u < 2)
        self.defined = u > -1
        self.level = xp.where(self.defined, 1 + u, 1.0)
        self.log = xp.log1p(xp.where(self.near | ~self.defined, 2.0, u))
        # ln(1 + u) = 2 artanh(w)
        c = xp.where(self.near, u, 0.0)
        double = 2 + c
        w = c / double
        terms = 27 if is_double(xp, x) else 13
        series = horner(w * w, [1 / (2 * k + 1) for k in range(terms)])
        bend = horner(w * w, [k / (2 * k + 1) for k in range(1, terms)])
        self.ratio = 2 * series / double
        self.slope = (8 * w * bend / double - 2 * series) / (double * double)

    def choose(self, xp, near, far):
        return xp.where(self.near, near, xp.where(self.defined, far, math.nan))


def _finite(xp, x, alpha):
    """alpha in the shape of x, and x with 0 for the infinities."""
    return xp.zeros_like(x) + alpha, xp.where((x == INF) | (x == -INF), 0.0, x)


def _at_infinity(xp, x, alpha, y, positive):
    """`y`, and the limits: inf at inf; at -inf `positive` for alpha > 0, -inf for 0, none below."""
    left = xp.where(alpha > 0, positive, xp.where(alpha == 0, xp.full_like(x, -INF), math.nan))
    return xp.where(x == INF, INF, xp.where(x == -INF, left, y))


def _soft_exponential(xp, x, /, *, alpha):
    alpha, v = _finite(xp, x, alpha)
    e, n = _Exponential(xp, v, alpha), _Logarithm(xp, v, alpha)
    inner = v + v * (e.inner * tail(xp, e.inner, inverse_factorial))
    up = xp.where(e.near, inner, e.times(1 / e.alpha) - 1 / e.alpha) + alpha
    down = n.choose(xp, n.s * n.ratio, n.log / -n.alpha)
    return _at_infinity(xp, x, alpha, xp.where(alpha >= 0, up, down), alpha - 1 / xp.where(alpha > 0, alpha, 1.0))


def _derivative(xp, x, alpha, up, down):
    """`up` of the exponential for alpha >= 0, `down` of the logarithm below."""
    alpha, v = _finite(xp, x, alpha)
    # at an infinite x, alpha x is that infinity, or 0
    v = xp.where(alpha == 0, v, x)
    n = _Logarithm(xp, v, alpha)
    return xp.where(alpha >= 0, up(_Exponential(xp, v, alpha), alpha), xp.where(n.defined, down(n), math.nan))


def _soft_exponential_x(xp, x, /, *, alpha):
    return _derivative(xp, x, alpha, lambda e, _: e.times(1.0), lambda n: 0.5 / (0.5 * n.level))


def _soft_exponential_xx(xp, x, /, *, alpha):
    return _derivative(xp, x, alpha, lambda e, a: e.times(a), lambda n: n.alpha / n.level / n.level)


def _soft_exponential_alpha(xp, x, /, *, alpha):
    alpha, v = _finite(xp, x, alpha)
    e, n = _Exponential(xp, v, alpha), _Logarithm(xp, v, alpha)
    inner = v * (v * tail(xp, e.inner, lambda k: (k - 1) * inverse_factorial(k)))
    outer = e.times((clamped(xp, e.v) - 1) / e.alpha / e.alpha) + 1 / e.alpha / e.alpha
    up = 1 + xp.where(e.near, inner, outer)
    t = v + 2 * alpha
    down = n.choose(xp, n.ratio - n.s * t * n.slope, (n.log / n.alpha + t / n.level) / n.alpha)
    safe = xp.where(alpha > 0, alpha, 1.0)
    y = _at_infinity(xp, x, alpha, xp.where(alpha >= 0, up, down), 1 + 1 / safe / safe)
    return xp.where((x == -INF) & (alpha == 0), INF, y)


pointwise(
    "soft_exponential",
    _soft_exponential,
    {"x": _soft_exponential_x, ("x", "x"): _soft_exponential_xx, "alpha": _soft_exponential_alpha},
    parameters=[
        parameter("alpha", 0.0, learned=True, description="below 0 a logarithm, 0 the identity, above 0 an exponential")
    ],
    family="exponential_units",
    formula=r"\begin{cases} -\frac{1}{\alpha} \ln(1 - \alpha (x + \alpha)) & \alpha < 0 \\ x & \alpha = 0 \\ "
    r"\frac{1}{\alpha} (e^{\alpha x} - 1) + \alpha & \alpha > 0 \end{cases}",
    definition="x * exprel(alpha * x) + alpha if alpha >= 0 else "
    "(x + alpha) * logrel(-alpha * (x + alpha)) if 1 - alpha * (x + alpha) > 0 else nan",
    notes="The derivative in `alpha` is continuous at 0, where it is 1 + x^2 / 2. For `alpha` < 0 the logarithm, and with it "
    "every derivative, is NaN for x <= 1 / `alpha` - `alpha`, where it has no real value (to an ulp of that x).",
    smoothness="Cinf",
    budget=Budget(
        reason="at alpha = 0 the derivative in alpha is 1 + x^2 / 2, where x^2 / 2 is often halfway between two bfloat16 numbers "
        "and the 1 is lost in float32"
    ),
    examples=({"alpha": 0.5}, {"alpha": -0.125}),
    reference="Godfrey & Gashler, A continuum among logarithmic, linear, and exponential functions, and its potential to improve "
    "generalization in neural networks, 2016, arXiv:1602.01321.",
)
