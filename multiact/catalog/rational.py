"""Rational functions with learned coefficients."""

from __future__ import annotations

from collections.abc import Sequence

from ..declaration import Activation, Budget, parameter
from ..errors import DefinitionError
from ..numerics import magnitude
from ..registry import detached, pointwise


def _bracket(a, b, times):
    """Coefficients of a' b - times * a b' for two polynomials, where what vanishes at the highest power is left out."""
    result = [0.0] * max(len(a) + len(b) - 2, 1)
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            if i != times * j:
                result[i + j - 1] = result[i + j - 1] + (i - times * j) * (p * q)
    return result


class _Rational:
    """P, Q and 1 + |Q| at x; for |x| > 1 in powers of 1 / x, so that nothing overflows.

    Attributes
    ----------
    inside : |x| <= 1.
    sign : that of Q, 1 where Q = 0: the slope of |Q|.
    denominator : 1 + |Q|, for |x| > 1 divided by |x|^n.
    """

    def __init__(self, xp, x, given, m, n):
        self._xp, self._x, self._n = xp, x, n
        self.p = [given[f"p{i}"] for i in range(m + 1)]
        self.q = [0.0, *(given[f"q{j}"] for j in range(1, n + 1))]
        self.inside = ~((x > 1) | (x < -1))
        self._far = xp.where(self.inside, 1.0, x)
        # of halves: TensorFlow takes an inaccurate reciprocal for 1 / x
        self._u = xp.where(self.inside, x, 0.5 / (0.5 * self._far))
        q = self.polynomial(self.q, n)
        self.denominator = xp.where(self.inside, 1.0, magnitude(xp, self._power(self._u, n))) + magnitude(xp, q)
        sign = xp.where(q >= 0, xp.ones_like(x), -1.0)
        self.sign = xp.where(self.inside, sign, sign * self._parity())

    def _power(self, base, exponent):
        result = self._xp.ones_like(self._x)
        for _ in range(exponent):
            result = result * base
        return result

    def _parity(self):
        """The sign of x^n."""
        return self._power(self._xp.where(self._x >= 0, self._xp.ones_like(self._x), -1.0), self._n % 2)

    def polynomial(self, coefficients, degree):
        """The polynomial at x, for |x| > 1 divided by x^degree."""
        up = [*coefficients, *[0.0] * (degree + 1 - len(coefficients))]
        zero = self._xp.zeros_like(self._x)
        value = zero
        for a, b in zip(reversed(up), up):
            value = value * self._u + self._xp.where(self.inside, zero + a, zero + b)
        return value

    def times_power(self, value, inner, outer, signed):
        """`value` times x^inner for |x| <= 1, beyond times x^outer and, if `signed`, the sign of x^n."""
        near, far = value, value * self._parity() if signed else value
        for _ in range(inner):
            near = near * self._u
        for _ in range(abs(outer)):
            far = far * self._far if outer > 0 else far / self._far
        return self._xp.where(self.inside, near, far)

    def slope(self, m):
        """P' (1 + |Q|) - P |Q|', whose two polynomials are also returned."""
        plain, signed = _bracket(self.p, [1.0], 1), _bracket(self.p, self.q, 1)
        degree = m + self._n - 1
        return plain, signed, self.polynomial(plain, degree) + self.sign * self.polynomial(signed, degree)


def pade(m: int, n: int, coefficients: Sequence[float], *, listed: bool = False) -> Activation:
    """The Padé activation unit, a rational function P(x) / (1 + |Q(x)|) of any degrees.

    P = p0 + p1 x + ... + pm x^m and Q = q1 x + ... + qn x^n, with the coefficients as parameters.

    Parameters
    ----------
    m, n : the degrees of P and Q, both at least 1.
    coefficients : the initial values of p0, ..., pm, q1, ..., qn.
    listed : whether to register it, under the name pau; otherwise it is only returned.

    Raises
    ------
    DefinitionError : a degree is not a positive integer, or the number of coefficients is not m + 1 + n.

    Source: Molina, Schramowski & Kersting, Padé activation units: end-to-end learning of flexible activation functions in deep
    networks, 2019, arXiv:1907.06732.
    """
    for name, degree in (("m", m), ("n", n)):
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise DefinitionError(f"pade needs positive degrees. Received: {name}={degree!r}.")
    if len(coefficients) != m + 1 + n:
        raise DefinitionError(
            f"pade({m}, {n}) needs {m + 1 + n} coefficients, p0 to p{m} and q1 to q{n}. Received: {len(coefficients)}."
        )

    def value(xp, x, /, **given):
        r = _Rational(xp, x, given, m, n)
        return r.times_power(r.polynomial(r.p, m) / r.denominator, 0, m - n, True)

    def first(xp, x, /, **given):
        r = _Rational(xp, x, given, m, n)
        return r.times_power(r.slope(m)[2] / r.denominator / r.denominator, 0, m - n - 1, False)

    def second(xp, x, /, **given):
        r = _Rational(xp, x, given, m, n)
        a, b, _ = r.slope(m)
        # (a + s b)' (1 + s Q) - 2 (a + s b) s Q', by powers of the sign s
        degree = m + 2 * n - 2
        plain = r.polynomial(_bracket(a, [1.0], 2), degree) + r.polynomial(_bracket(b, r.q, 2), degree)
        signed = r.polynomial(_bracket(b, [1.0], 2), degree) + r.polynomial(_bracket(a, r.q, 2), degree)
        total = plain + r.sign * signed
        return r.times_power(total / r.denominator / r.denominator / r.denominator, 0, m - n - 2, True)

    def by_numerator(k):
        def partial(xp, x, /, **given):
            r = _Rational(xp, x, given, m, n)
            return r.times_power(1 / r.denominator, k, k - n, True)

        return partial

    def by_denominator(k):
        def partial(xp, x, /, **given):
            r = _Rational(xp, x, given, m, n)
            ratio = r.polynomial(r.p, m) / r.denominator / r.denominator
            return r.times_power(-r.sign * ratio, k, m + k - 2 * n, False)

        return partial

    numbered = [*(f"p{k}" for k in range(m + 1)), *(f"q{k}" for k in range(1, n + 1))]
    described = [*(f"coefficient of x^{k} in P" for k in range(m + 1)), *("that in Q" for k in range(n))]
    p = " + ".join(["p0", *(f"p{k} * x**{k}" for k in range(1, m + 1))])
    q = " + ".join(f"q{k} * x**{k}" for k in range(1, n + 1))
    return (pointwise if listed else detached)(
        "pau" if listed else f"pau_{m}_{n}",
        value,
        {
            "x": first,
            ("x", "x"): second,
            **{f"p{k}": by_numerator(k) for k in range(m + 1)},
            **{f"q{k}": by_denominator(k) for k in range(1, n + 1)},
        },
        parameters=[
            parameter(name, value, learned=True, description=text)
            for name, value, text in zip(numbered, coefficients, described)
        ],
        class_name="PAU" if listed else f"PAU{m}_{n}",
        aliases=("pade", "rational") if listed else (),
        family="rational",
        formula=r"\frac{\sum_{i=0}^{m} p_i x^i}{1 + \left|\sum_{j=1}^{n} q_j x^j\right|}",
        definition=f"({p}) / (1 + ({q})) if {q} >= 0 else ({p}) / (1 - ({q}))",
        notes="The slope of |Q| where Q = 0 is that of Q. The initial coefficients give leaky_relu of slope 0.01 on [-3, 3]; they are "
        "those of the authors' code, but for q1 = 3.3e-6 and q3 = 5.1e-7, which are 0 here, so that Q does not change its sign.",
        smoothness="Cinf",
        budget=Budget(
            value=1000.0,
            first=1000.0,
            second=1e7,
            reason="the terms of P cancel for x < 0, and those of the second derivative far from 0, where P / |Q| is nearly linear: "
            "the error is that of an ulp in the coefficients, which makes up to the whole of it",
        ),
        reference="Molina, Schramowski & Kersting, Padé activation units: end-to-end learning of flexible activation functions "
        "in deep networks, 2019, arXiv:1907.06732.",
    )


pade(
    5,
    4,
    [
        *(0.0335583603, 0.505000375, 1.65343934, 2.01001052, 0.931901999, 0.152424124),
        *(0.0, 3.98021568, 0.0, 0.301830109),
    ],
    listed=True,
)
