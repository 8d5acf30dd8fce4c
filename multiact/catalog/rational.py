"""Rational functions with learned coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..declaration import Activation, parameter
from ..errors import DefinitionError
from ..numerics import exact_product, exact_sum, kept, with_twice_the_digits
from ..registry import detached, pointwise


class _Number:
    """A number of an array."""

    def __init__(self, xp, number):
        self._xp, self.number = xp, number

    def times(self, other):
        return _Number(self._xp, self.number * other.number)

    def minus(self, other):
        return _Number(self._xp, self.number - other.number)

    def over(self, other):
        return _Number(self._xp, self.number / other.number)

    def scaled(self, factor):
        """Times a small whole number."""
        return _Number(self._xp, factor * self.number)

    def step(self, u, below):
        """Of Horner's scheme: u times it, plus the one below it."""
        return _Number(self._xp, self.number * u + below.number)


class _Pair:
    """A number as the sum of two, the second beyond the digits of the first: with twice the digits, of the same dtype."""

    def __init__(self, xp, high, low=None):
        self._xp, self.high, self.low = xp, high, xp.zeros_like(high) if low is None else low

    @property
    def number(self):
        return self.high + self.low

    def times(self, other):
        high, low = exact_product(self._xp, self.high, other.high)
        return _Pair(self._xp, high, low + (self.high * other.low + self.low * other.high))

    def minus(self, other):
        high, low = exact_sum(self._xp, self.high, -other.high)
        return _Pair(self._xp, high, low + (self.low - other.low))

    def over(self, other):
        ratio = self.high / other.high
        product, beyond = exact_product(self._xp, ratio, other.high)
        rest = ((self.high - product) - beyond) + (self.low - ratio * other.low)
        return _Pair(self._xp, ratio, kept(self._xp, rest / other.high))

    def scaled(self, factor):
        if factor in (0, 1, 2):
            return _Pair(self._xp, factor * self.high, factor * self.low)
        return self.times(_Pair(self._xp, factor * self._xp.ones_like(self.high)))

    def step(self, u, below):
        product, lost = exact_product(self._xp, self.high, u)
        high, beyond = exact_sum(self._xp, product, below.high)
        return _Pair(self._xp, high, kept(self._xp, u * self.low + (lost + beyond + below.low)))


def _jet(number, coefficients, u, order):
    """A polynomial at u and its derivatives up to an order by Horner's scheme, with pairs a compensated one.

    Source: Graillat, Langlois & Louvet, Compensated Horner scheme, 2005.
    """
    found = []
    for c in reversed(coefficients):
        # Each takes what the one below it was: p_j = u p_j + p_(j - 1), which is the j-th derivative over j!.
        below = [number(c), *found[:order]]
        found = [p.step(u, b) for p, b in zip(found, below)] + below[len(found) :]
    found += [number(0 * u)] * (order + 1 - len(found))
    return [p.scaled(factor) for p, factor in zip(found, (1, 1, 2))]


class _Rational:
    """P / (1 + |Q|) at x as a power of x times a ratio of two polynomials in u: x itself for |x| <= 1, beyond 1 / x.

    So nothing overflows, and the derivatives of what is nearly linear far from 0 cancel less. With the coefficients of a
    rectifier P cancels for x < 0, so that all is computed with twice the digits.

    Attributes
    ----------
    inside : |x| <= 1.
    sign : that of Q, 1 where Q = 0: the slope of |Q|.
    denominator : 1 + |Q|, for |x| > 1 divided by |x|^n.
    ratio, slope, bend : the ratio of polynomials and its derivatives in u, as far as they are asked for by `order`.
    """

    def __init__(self, xp, double, x, coefficients, m, n, order=0):
        self._xp, self._x, self._power = xp, x, m - n
        self._number = partial(_Number if double else _Pair, xp)
        one, zero = xp.ones_like(x), xp.zeros_like(x)
        p, q = coefficients[: m + 1], [zero, *coefficients[m + 1 :]]
        self.inside = ~((x > 1) | (x < -1))
        self._far = xp.where(self.inside, 1.0, x)
        # of halves: TensorFlow takes an inaccurate reciprocal for 1 / x
        self.u = kept(xp, xp.where(self.inside, x, 0.5 / (0.5 * self._far)))
        value = zero
        for c in reversed(self._ordered(q)):
            value = value * self.u + c
        side = xp.where(value >= 0, one, -one)
        self._parity = xp.where(x >= 0, one, -one) if n % 2 else one
        self.sign = xp.where(self.inside, side, side * self._parity)
        below = [side * c for c in self._ordered(q)]
        below[0] = xp.where(self.inside, one, below[0])
        below[n] = xp.where(self.inside, below[n], self._parity)
        above, below = (_jet(self._number, c, self.u, order) for c in (self._ordered(p), below))
        self.denominator = below[0].number
        self.ratio = above[0].over(below[0])
        if order:
            self.slope = above[1].minus(self.ratio.times(below[1])).over(below[0])
        if order == 2:
            rest = above[2].minus(self.slope.times(below[1]).scaled(2))
            self.bend = rest.minus(self.ratio.times(below[2])).over(below[0])

    def _ordered(self, coefficients):
        """The coefficients of the polynomial in u."""
        return [self._xp.where(self.inside, a, b) for a, b in zip(coefficients, reversed(coefficients))]

    def outside(self, order):
        """The derivative in x for |x| > 1, where it is x^power ratio(1 / x), over x^(power - order), and unsigned."""
        k, value, u = self._power, self.ratio, self._number(self.u)
        if order == 1:
            return value.scaled(k).minus(u.times(self.slope)).number
        bend = u.times(u).times(self.bend).number
        if k == 1:
            return bend
        slope = u.times(self.slope)
        return value.scaled(k * (k - 1)).minus(slope.scaled(2 * (k - 1))).number + bend

    def times_power(self, value, inner, outer, signed):
        """`value` times x^inner for |x| <= 1, beyond times x^outer and, if `signed`, the sign of x^n."""
        near, far = value, value * self._parity if signed else value
        for _ in range(inner):
            near = near * self.u
        for _ in range(abs(outer)):
            far = far * self._far if outer > 0 else far / self._far
        return self._xp.where(self.inside, near, far)


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

    def of(body, order=0):
        """A formula from what is made of the rational function."""

        def formula(xp, x, /, **given):
            zero = xp.zeros_like(x)  # to which coefficients are added, so that numbers have the precision of arrays

            def call(double, x, *coefficients):
                return body(xp, _Rational(xp, double, x, coefficients, m, n, order))

            return with_twice_the_digits(xp, call, x, *(zero + given[name] for name in numbered))

        return formula

    def value(xp, r):
        return r.times_power(r.ratio.number, 0, m - n, True)

    def first(xp, r):
        return r.times_power(xp.where(r.inside, r.slope.number, r.outside(1)), 0, m - n - 1, True)

    def second(xp, r):
        return r.times_power(xp.where(r.inside, r.bend.number, r.outside(2)), 0, m - n - 2, True)

    def by_numerator(k):
        def derivative(xp, r):
            return r.times_power(1 / r.denominator, k, k - n, True)

        return derivative

    def by_denominator(k):
        def derivative(xp, r):
            return r.times_power(-r.sign * (r.ratio.number / r.denominator), k, m + k - 2 * n, False)

        return derivative

    numbered = [*(f"p{k}" for k in range(m + 1)), *(f"q{k}" for k in range(1, n + 1))]
    described = [*(f"coefficient of x^{k} in P" for k in range(m + 1)), *("that in Q" for k in range(n))]
    p = " + ".join(["p0", *(f"p{k} * x**{k}" for k in range(1, m + 1))])
    q = " + ".join(f"q{k} * x**{k}" for k in range(1, n + 1))
    return (pointwise if listed else detached)(
        "pau" if listed else f"pau_{m}_{n}",
        of(value),
        {
            "x": of(first, 1),
            ("x", "x"): of(second, 2),
            **{f"p{k}": of(by_numerator(k)) for k in range(m + 1)},
            **{f"q{k}": of(by_denominator(k)) for k in range(1, n + 1)},
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
