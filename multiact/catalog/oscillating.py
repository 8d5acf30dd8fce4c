"""Oscillating functions."""

from __future__ import annotations

import math

from ..declaration import Budget, parameter
from ..numerics import (
    Decay,
    differentiated,
    exact_sum,
    finite,
    horner,
    is_double,
    keeps_subnormals,
    magnitude,
    near,
    product,
    split,
    times,
)
from ..registry import pointwise, preset

INF = math.inf


def _sum_of_angles(xp, u, v):
    """Sine and cosine of u + v."""
    s, c, s_v, c_v = xp.sin(u), xp.cos(u), xp.sin(v), xp.cos(v)
    return s * c_v + c * s_v, c * c_v - s * s_v


def _power_of_two(alpha):
    return type(alpha) is float and abs(math.frexp(alpha)[0]) == 0.5


def near_zero(xp, u):
    """Where the sine of u is u. That of XLA loses digits of what is nearly subnormal."""
    return xp.abs(u) < 1e-9


#: Beyond the largest number, 2^5 times as far.
_DOUBLINGS = 5


def phase(xp, x, alpha):
    """x, and sine and cosine of alpha x; all of 0 where alpha x is beyond 2^5 times the largest number.

    Unless the product is exact, it is taken in two parts: at an extremum nothing forgives a rounded phase. Where it overflows,
    a 32nd of it is doubled five times.
    """
    v = finite(xp, x)
    exact = _power_of_two(alpha)
    if exact and abs(alpha) <= 1:
        if differentiated(xp, x):
            u = times(alpha, v)
            s, c = xp.sin(u), xp.cos(u)
        else:  # in code of Inductor a selection costs little behind a sine, and a third of it before
            u, infinite = times(alpha, x), xp.abs(x) == INF
            s, c = xp.where(infinite, 0.0, xp.sin(u)), xp.where(infinite, 1.0, xp.cos(u))
    else:
        far = xp.abs(alpha * v) == INF
        w = xp.where(far, 2.0**-_DOUBLINGS * v, v)
        u, rest = (alpha * w, None) if exact else product(xp, alpha, w)
        infinite = xp.abs(u) == INF
        u, v = xp.where(infinite, 0.0, u), xp.where(infinite, 0.0, v)
        s, c = (xp.sin(u), xp.cos(u)) if exact else _sum_of_angles(xp, u, xp.where(infinite, 0.0, rest))
        sine, cosine = s, c
        for _ in range(_DOUBLINGS):
            sine, cosine = 2 * sine * cosine, 1 - 2 * (sine * sine)
        s, c = xp.where(far, sine, s), xp.where(far, cosine, c)
    return v, s if keeps_subnormals(xp, x) else xp.where(near_zero(xp, alpha * v), alpha * v, s), c


def _sine_x(xp, x, /, *, omega):
    return omega * phase(xp, x, omega)[2]


def _sine_omega(xp, x, /, *, omega):
    v, _, c = phase(xp, x, omega)
    return v * c


def _less(xp, x, y, /, **_):
    """The side of a sine, omega x (1 - (omega x)^2 / 6)."""
    return near(xp, y, -xp.ones_like(y))


sine = pointwise(
    "sine",
    lambda xp, x, /, *, omega: phase(xp, x, omega)[1],
    {
        "x": _sine_x,
        ("x", "x"): lambda xp, x, /, *, omega: -omega * omega * phase(xp, x, omega)[1],
        "omega": _sine_omega,
    },
    parameters=[parameter("omega", 1.0, description="the frequency")],
    ties={(): _less},
    aliases=("sin",),
    family="oscillating",
    formula=r"\sin(\omega x)",
    definition="sin(omega * x)",
    notes="It has no limit at infinity; at an infinite x it is what it is at 0.",
    smoothness="Cinf",
    examples=({"omega": 0.25},),
    reference="Sopena, Romero & Alquezar, Neural networks with periodic and monotonic activation functions: a comparative "
    "study in classification problems, ICANN 1999.",
)

preset(
    "siren",
    sine,
    defaults={"omega": 30.0},
    class_name="SIREN",
    family="oscillating",
    formula=r"\sin(\omega x)",
    definition="sin(omega * x)",
    notes="sine with the frequency 30. It has no limit at infinity; at an infinite x it is what it is at 0.",
    smoothness="Cinf",
    reference="Sitzmann, Martel, Bergman, Lindell & Wetzstein, Implicit neural representations with periodic activation "
    "functions, 2020, arXiv:2006.09661.",
)

pointwise(
    "cosine",
    lambda xp, x, /: phase(xp, x, 1.0)[2],
    {"x": lambda xp, x, /: -phase(xp, x, 1.0)[1], ("x", "x"): lambda xp, x, /: -phase(xp, x, 1.0)[2]},
    aliases=("cos",),
    family="oscillating",
    formula=r"\cos x",
    definition="cos(x)",
    notes="It has no limit at infinity; at an infinite x it is what it is at 0.",
    smoothness="Cinf",
    reference="Rahimi & Recht, Random features for large-scale kernel machines, NIPS 2007.",
)


def _sinc_series(xp, x, factor):
    """Near 0, x^2 up to 4, the sum of factor(k) (-x^2)^k / (2k + 1)!, and where that is."""
    near = (x > -2) & (x < 2)
    v = xp.where(near, x, 0.0)
    terms = 15 if is_double(xp, x) else 9
    # In x / 2, which rounds alike and has coefficients that the optimizer of onnxscript does not take for 0.
    coefficients = [factor(k) * (-4) ** k / math.factorial(2 * k + 1) for k in range(terms)]
    half = 0.5 * v
    return near, v, horner(half * half, coefficients), xp.where(near, 2.0, x)


def _sinc(xp, x, /):
    near, _, series, v = _sinc_series(xp, x, lambda k: 1)
    return xp.where(near, series, phase(xp, v, 1.0)[1] / v)


def _sinc_x(xp, x, /):
    # from k = 1 on, without a factor x
    near, w, series, v = _sinc_series(xp, x, lambda k: -(2 * k + 2) / ((2 * k + 2) * (2 * k + 3)))
    _, s, c = phase(xp, v, 1.0)
    return xp.where(near, w * series, (c - s / v) / v)


def _sinc_xx(xp, x, /):
    near, _, series, v = _sinc_series(xp, x, lambda k: -(2 * k + 1) / (2 * k + 3))
    _, s, c = phase(xp, v, 1.0)
    y = s / v
    return xp.where(near, series, -y - 2 * ((c - y) / v) / v)


pointwise(
    "sinc",
    _sinc,
    {"x": _sinc_x, ("x", "x"): _sinc_xx},
    family="oscillating",
    formula=r"\frac{\sin x}{x}",
    definition="sinc(x)",
    notes="1 at 0. Not normalised: numpy.sinc(x) and torch.sinc(x) are sin(pi x) / (pi x).",
    smoothness="Cinf",
    reference="Whittaker, On the functions which are represented by the expansions of the interpolation-theory, 1915.",
)


def _snake_x(xp, x, /, *, alpha):
    # 1 + sin 2u as a square where it has double zeros, near which the plain sum loses all digits.
    _, s, c = phase(xp, x, alpha)
    return xp.where(s * c > 0, 1 + 2 * (s * c), (s + c) * (s + c))


def _snake_xx(xp, x, /, *, alpha):
    # cos 2u itself, not (c - s) (c + s): near its zeros it keeps its digits.
    return 2 * alpha * phase(xp, x, 2 * alpha)[2]


def _snake_alpha(xp, x, /, *, alpha):
    v, s, c = phase(xp, x, alpha)
    t = s / alpha
    return t * (v * c) + t * (v * c - t)


def _snake_beta(xp, x, /, *, alpha, beta):
    s = phase(xp, x, alpha)[1]
    return x + s * s / beta


def _snake_beta_x(xp, x, /, *, alpha, beta):
    k = alpha / beta
    return (1 - k) + k * _snake_x(xp, x, alpha=alpha)  # a mean of 1 and the slope of snake


def _snake_beta_alpha(xp, x, /, *, alpha, beta):
    v, s, c = phase(xp, x, alpha)
    return 2 / beta * s * (v * c)


def _snake_beta_beta(xp, x, /, *, alpha, beta):
    s = phase(xp, x, alpha)[1] / beta
    return -s * s


pointwise(
    "snake",
    lambda xp, x, /, *, alpha: _snake_beta(xp, x, alpha=alpha, beta=alpha),
    {"x": _snake_x, ("x", "x"): _snake_xx, "alpha": _snake_alpha},
    parameters=[parameter("alpha", 1.0, "(0, inf)", description="the frequency")],
    family="oscillating",
    formula=r"x + \frac{1}{\alpha} \sin^2(\alpha x)",
    definition="x + sin(alpha * x)**2 / alpha",
    notes="Its derivatives have no limit at infinity; at an infinite x they are those at 0.",
    smoothness="Cinf",
    examples=({"alpha": 2.0}, {"alpha": 0.25}),
    reference="Ziyin, Hartwig & Ueda, Neural networks fail to learn periodic functions and how to fix it, 2020, "
    "arXiv:2006.08195.",
)

pointwise(
    "snake_beta",
    _snake_beta,
    {
        "x": _snake_beta_x,
        ("x", "x"): lambda xp, x, /, *, alpha, beta: alpha / beta * _snake_xx(xp, x, alpha=alpha),
        "alpha": _snake_beta_alpha,
        "beta": _snake_beta_beta,
    },
    parameters=[
        parameter("alpha", 1.0, "(0, inf)", learned=True, description="the frequency"),
        parameter("beta", 1.0, "(0, inf)", learned=True, description="one over the amplitude"),
    ],
    family="oscillating",
    formula=r"x + \frac{1}{\beta} \sin^2(\alpha x)",
    definition="x + sin(alpha * x)**2 / beta",
    notes="BigVGAN stores the logarithms of alpha and beta, and adds 1e-9 to beta. Its derivatives have no limit at infinity; "
    "at an infinite x they are those at 0.",
    smoothness="Cinf",
    examples=({"alpha": 0.5, "beta": 2.0},),
    reference="Lee, Ping, Ginsburg, Catanzaro & Yoon, BigVGAN: a universal neural vocoder with large-scale training, 2022, "
    "arXiv:2206.04658.",
)


def _gcu(xp, x, /):
    v, _, c = phase(xp, x, 1.0)
    return v * c


def _gcu_x(xp, x, /):
    v, s, c = phase(xp, x, 1.0)
    return c - v * s


def _gcu_xx(xp, x, /):
    v, s, c = phase(xp, x, 1.0)
    return -2 * s - v * c


pointwise(
    "gcu",
    _gcu,
    {"x": _gcu_x, ("x", "x"): _gcu_xx},
    class_name="GCU",
    family="oscillating",
    formula=r"x \cos x",
    definition="x * cos(x)",
    notes="It has no limit at infinity; at an infinite x it is what it is at 0.",
    smoothness="Cinf",
    budget=Budget(
        reason="near 0 the second derivative is almost -3 x, in 16 bits often a tie, whose side float32 does not hold"
    ),
    reference="Noel, Arunkumar, Trivedi & Dutta, Growing cosine unit: a novel oscillatory activation function that can speedup "
    "training and reduce parameters in convolutional neural networks, 2021, arXiv:2108.12943.",
)


def _finer_parts(xp, x, omega):
    """x, |x|, and sine and cosine of omega (|x| + 1) x; all 0 where neighbouring x are millions of periods apart."""
    lost = omega * x * x > 1e30
    v, a = xp.where(lost, 0.0, x), xp.where(lost, 0.0, magnitude(xp, x))
    # omega (a^2 + a) in two parts, as in `phase`; of 16-bit numbers and a short omega both are exact
    head, tail = split(xp, a, bounded=True)
    square, rest = split(xp, head * head, 17, bounded=True)
    omega_head, omega_tail = split(xp, xp.zeros_like(a) + omega, 7)
    large, small, beyond = (
        omega_head * square,
        omega * a,
        omega_tail * square + omega * (rest + 2 * head * tail + tail * tail),
    )
    u, rest = exact_sum(xp, large, small)
    u, rest = exact_sum(xp, u, rest + beyond)
    s, c = _sum_of_angles(xp, u, rest)
    first = omega * (a * a + a)
    s = xp.where(near_zero(xp, first), first, s)
    return v, a, xp.where(v >= 0, xp.ones_like(v), -1.0) * s, xp.where(lost, 0.0, c)


def _finer_x(xp, x, /, *, omega):
    _, a, _, c = _finer_parts(xp, x, omega)
    return omega * (2 * a + 1) * c


def _finer_xx(xp, x, /, *, omega):
    v, a, s, c = _finer_parts(xp, x, omega)
    slope = omega * (2 * a + 1)
    return 2 * omega * xp.where(v >= 0, c, -c) - slope * slope * s


def _finer_omega(xp, x, /, *, omega):
    v, a, _, c = _finer_parts(xp, x, omega)
    return (a + 1) * v * c


pointwise(
    "finer",
    lambda xp, x, /, *, omega: _finer_parts(xp, x, omega)[2],
    {"x": _finer_x, ("x", "x"): _finer_xx, "omega": _finer_omega},
    parameters=[parameter("omega", 30.0, description="the frequency at 0")],
    class_name="FINER",
    family="oscillating",
    formula=r"\sin(\omega (|x| + 1) x)",
    definition="sin(omega * (x + 1) * x) if x >= 0 else sin(omega * (1 - x) * x)",
    notes="The second derivative jumps at 0, where that of the right side, 2 omega, is taken. The authors' code does not "
    "differentiate through |x| + 1 unless told to. Where the phase is beyond 1e30, it is 0.",
    smoothness="C1",
    kinks=("0",),
    ties={(): lambda xp, x, y, /, *, omega: near(xp, y, xp.ones_like(y))},  # omega x (1 + |x|)
    examples=({"omega": 4.0},),
    reference="Liu et al., FINER: flexible spectral-bias tuning in implicit neural representation by variable-periodic "
    "activation functions, 2023, arXiv:2312.02434.",
)


class _Wavelet:
    """x, sine and cosine of omega x, and products with exp(-(sigma x)^2).

    At the extrema in the tails nothing forgives an error of the exponent: it is taken as an exact square and a rest, which
    is below 1/16 where the exponential is not 0.
    """

    def __init__(self, xp, x, omega, sigma):
        self._xp, self.zero = xp, (sigma * x > 40) | (sigma * x < -40)
        self.x = xp.where(self.zero, 0.0, x)
        u, rest = product(xp, omega, self.x)
        s, c, small, bend = xp.sin(u), xp.cos(u), xp.sin(rest), xp.cos(rest) - 1
        first = omega * self.x
        self.sin = xp.where(near_zero(xp, first), first, s + (c * small + s * bend))
        self.cos = c - (s * small - c * bend)
        y, beyond = product(xp, sigma, self.x)
        head, tail = split(xp, y)
        tail = tail + beyond
        rest = -tail * (2 * head + tail)
        self._decay = Decay(xp, head * head)
        self._beyond = rest * horner(rest, [1 / math.factorial(k) for k in range(1, 7)])

    def times(self, factor):
        """The factor times exp(-(sigma x)^2)."""
        return self._xp.where(self.zero, 0.0, self._decay.times(factor + factor * self._beyond))


def _wire(xp, x, /, *, omega, sigma):
    w = _Wavelet(xp, x, omega, sigma)
    return w.times(w.cos)


def _wire_x(xp, x, /, *, omega, sigma):
    w = _Wavelet(xp, x, omega, sigma)
    return w.times(-omega * w.sin - 2 * sigma * sigma * (w.x * w.cos))


def _wire_xx(xp, x, /, *, omega, sigma):
    w = _Wavelet(xp, x, omega, sigma)
    y, variance = sigma * w.x, sigma * sigma
    bend = variance * (4 * y * y - 2) - omega * omega
    return w.times(bend * w.cos + 4 * omega * variance * (w.x * w.sin))


def _wire_omega(xp, x, /, *, omega, sigma):
    w = _Wavelet(xp, x, omega, sigma)
    return w.times(-w.x * w.sin)


def _wire_sigma(xp, x, /, *, omega, sigma):
    w = _Wavelet(xp, x, omega, sigma)
    # selected, so that TensorFlow does not form x^2 first, which may be flushed to zero
    slope = xp.where(w.zero, 0.0, -2 * sigma * x)
    return w.times(slope * (w.x * w.cos))


pointwise(
    "wire",
    _wire,
    {"x": _wire_x, ("x", "x"): _wire_xx, "omega": _wire_omega, "sigma": _wire_sigma},
    parameters=[
        parameter("omega", 20.0, description="the frequency"),
        parameter("sigma", 10.0, description="one over the width"),
    ],
    class_name="WIRE",
    family="oscillating",
    formula=r"\cos(\omega x)\, e^{-(\sigma x)^2}",
    definition="cos(omega * x) * exp(-(sigma * x)**2)",
    notes="The real part of the complex Gabor wavelet exp(i omega x - (sigma x)^2), for real x. The layers in the authors' code "
    "have omega = 10 and sigma = 10 or 40 unless told otherwise.",
    smoothness="Cinf",
    budget=Budget(
        first=6.0,
        reason="at the extrema of a derivative in the tails only the rounding of the result is forgiven, where terms cancel",
    ),
    examples=({"omega": 5.0, "sigma": 1.25},),
    reference="Saragadam et al., WIRE: wavelet implicit neural representations, 2023, arXiv:2301.05187.",
)
