"""Mish and its relatives: x times a function of x built from tanh, logarithm and exponential."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import BIG, LINEAR, Decay, clamped, horner, magnitude, mills, near, normal_tail, tanh
from ..registry import pointwise
from .self_gated import INV_SQRT_2PI

# x T(w) for a gate T that is a ratio of polynomials in e^w: with z = exp(-|w|), for w > 0 everything is divided by the largest
# power of e^w. x and w are the same but for mila. A derivative that cancels is one fraction, which rounds less than a sum.


def _within(xp, x, w):
    """x, and 0 where the gate does not change any more."""
    return xp.where((w > BIG) | (w < -BIG), 0.0, x)


# tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2) for e = e^w.


def _mish(xp, x, w):
    d = Decay(xp, magnitude(xp, w), LINEAR)
    z = d.z
    left = d.times(xp.where(w < -BIG, 0.0, x) * (2 + z)) / (2 + z * (2 + z))
    return xp.where(w >= 0, x * ((1 + 2 * z) / (1 + 2 * z * (1 + z))), left)


def _mish_x(xp, x, w):
    d, v = Decay(xp, magnitude(xp, w), LINEAR), _within(xp, x, w)
    z = d.z
    q, p = 1 + 2 * z * (1 + z), 2 + z * (2 + z)
    right = ((1 + 2 * z) * q + d.times(4 * v * (1 + z)) * z) / (q * q)
    whole = (4 * (1 + v) + z * (6 + 4 * v + z * (4 + z))) / p
    return xp.where(w >= 0, right, d.times(xp.where(v < -1, whole, 2 + z + v * (4 * (1 + z) / p))) / p)


def _mish_xx(xp, x, w):
    d, v = Decay(xp, magnitude(xp, w)), _within(xp, x, w)
    z = d.z
    q, p = 1 + 2 * z * (1 + z), 2 + z * (2 + z)
    right = d.times(8 * (1 - v) + 4 * z * (6 - 3 * v + z * (8 + 2 * v + z * (4 + 2 * v)))) * z / (q * q * q)
    left = d.times(8 * (2 + v) + 4 * z * (8 + 2 * v + z * (6 - 3 * v + z * (2 - 2 * v)))) / (p * p * p)
    return xp.where(w >= 0, right, left)


pointwise(
    "mish",
    lambda xp, x, /: _mish(xp, x, x),
    {"x": lambda xp, x, /: _mish_x(xp, x, x), ("x", "x"): lambda xp, x, /: _mish_xx(xp, x, x)},
    family="self_gated",
    formula=r"x \tanh\left(\ln(1 + e^x)\right)",
    definition="x * tanh(log(1 + exp(x)))",
    notes="The minimum is -0.30884 at -1.19243.",
    smoothness="Cinf",
    reference="Misra, Mish: a self regularized non-monotonic activation function, 2019, arXiv:1908.08681.",
)


def _mila_beta(xp, x, /, *, beta):
    w = x + beta
    d, v = Decay(xp, magnitude(xp, w)), _within(xp, x, w)
    z = d.z
    q, p = 1 + 2 * z * (1 + z), 2 + z * (2 + z)
    y = d.times(4 * v * (1 + z))
    return xp.where(w >= 0, y * z / (q * q), y / (p * p))


pointwise(
    "mila",
    lambda xp, x, /, *, beta: _mish(xp, x, x + beta),
    {
        "x": lambda xp, x, /, *, beta: _mish_x(xp, x, x + beta),
        ("x", "x"): lambda xp, x, /, *, beta: _mish_xx(xp, x, x + beta),
        "beta": _mila_beta,
    },
    parameters=[parameter("beta", -0.25, description="how far the gate is moved to the left")],
    family="self_gated",
    formula=r"x \tanh\left(\ln(1 + e^{\beta + x})\right)",
    definition="x * tanh(log(1 + exp(beta + x)))",
    notes="mish for beta = 0.",
    smoothness="Cinf",
    examples=({"beta": 1.5},),
    reference="Misra, Mila, 2019, github.com/digantamisra98/Mila.",
)


def _beta_mish_parts(xp, x, beta):
    """Where the gate is beta e^x, the decay there, softplus s, y = beta s, tanh(y), and x where 1 / cosh(y) is not 0.

    Beyond -40, 1 + e^x is 1 in every dtype.
    """
    d = Decay(xp, magnitude(xp, x))
    s = xp.where(x >= 0, clamped(xp, x, 1e30), 0.0) + xp.log1p(d.z)
    y = beta * s
    return x < -40, d, s, y, tanh(xp, y), xp.where((y > BIG) | (x < -BIG), 0.0, x)


def _sech2_times(xp, y, t, factor):
    """The factor over cosh(y)^2, for y >= 0 and t = tanh(y)."""
    h = Decay(xp, 2 * y)
    return xp.where(y < 0.5, (1 - t) * (1 + t) * factor, h.times(factor * _sech2(h)))


def _sech2(h):
    """1 / cosh(y)^2 without its factor exp(-2y), from the decay with that."""
    return 4 / ((1 + h.z) * (1 + h.z))


def _beta_mish(xp, x, /, *, beta):
    far, d, _, _, t, v = _beta_mish_parts(xp, x, beta)
    return xp.where(far, d.times(beta * v), x * t)


def _beta_mish_x(xp, x, /, *, beta):
    far, d, _, y, t, v = _beta_mish_parts(xp, x, beta)
    gate = xp.where(x >= 0, 1.0, d.z) / (1 + d.z)
    return xp.where(far, d.times(beta * (1 + v)), t + _sech2_times(xp, y, t, beta * v * gate))


def _beta_mish_xx(xp, x, /, *, beta):
    far, d, _, y, t, v = _beta_mish_parts(xp, x, beta)
    s = 1 + d.z
    gate, rest = xp.where(x >= 0, 1.0, d.z) / s, xp.where(x >= 0, d.z, 1.0) / s
    near = _sech2_times(xp, y, t, beta * gate * (2 + v * (rest - 2 * beta * t * gate)))
    return xp.where(far, d.times(beta * (2 + v)), near)


def _beta_mish_beta(xp, x, /, *, beta):
    far, d, s, y, t, v = _beta_mish_parts(xp, x, beta)
    return xp.where(far, d.times(v), _sech2_times(xp, y, t, v * s))


pointwise(
    "beta_mish",
    _beta_mish,
    {"x": _beta_mish_x, ("x", "x"): _beta_mish_xx, "beta": _beta_mish_beta},
    parameters=[parameter("beta", 1.5, "(0, inf)", description="the sharpness of the gate; mish for 1")],
    family="self_gated",
    formula=r"x \tanh\left(\beta \ln(1 + e^x)\right)",
    definition="x * tanh(beta * log(1 + exp(x)))",
    smoothness="Cinf",
    examples=({"beta": 0.5},),
    reference="Misra, Echo, 2019, github.com/digantamisra98/Echo.",
)


def _telu_parts(xp, x):
    """x within bounds, the decay exp(-|x|), t = e^x, tanh(t), the decay exp(-2t).

    From 6.5 on exp(-2t) is 0 in every dtype; beyond -20 tanh(t) is t.
    """
    v = xp.where(x > 6.5, 6.5, clamped(xp, x))
    d = Decay(xp, magnitude(xp, v))
    t = xp.where(v >= 0, 1 / xp.where(v >= 0, d.z, 1.0), d.z)
    return v, d, t, tanh(xp, t), Decay(xp, 2 * t)


def _telu(xp, x, /):
    v, d, _, y, _ = _telu_parts(xp, x)
    return xp.where(x < -20, d.times(v), x * y)


def _telu_x(xp, x, /):
    v, d, t, y, h = _telu_parts(xp, x)
    # t (y / t + x (1 - y^2)), for x < -1 with 1 + x as a whole: the rest is small there and nothing cancels
    near = v < -1
    ratio = y / t
    inner = t * ((1 + v) + ((ratio - 1) - v * (y * y)))
    return xp.where(x < -20, d.times(1 + v), xp.where(near, inner, y + h.times(v * t * _sech2(h))))


def _telu_xx(xp, x, /):
    v, d, t, y, h = _telu_parts(xp, x)
    return xp.where(x < -20, d.times(2 + v), h.times(t * (2 + v * (1 - 2 * t * y)) * _sech2(h)))


pointwise(
    "telu",
    _telu,
    {"x": _telu_x, ("x", "x"): _telu_xx},
    class_name="TeLU",
    aliases=("tanhexp",),
    family="self_gated",
    formula=r"x \tanh(e^x)",
    definition="x * tanh(exp(x))",
    notes="Published first as TanhExp, later as TeLU.",
    smoothness="Cinf",
    reference="Liu & Di, TanhExp: a smooth activation function with high convergence speed for lightweight neural networks, "
    "2020, arXiv:2003.09855; Fernandez & Mali, TeLU activation function for fast and stable deep learning, 2024, "
    "arXiv:2412.20269.",
)


def _phish_parts(xp, x):
    """Where tanh is linear since g = gelu(x) is so small, |x| within bounds, m and d with Phi(-|x|) = m d, and g."""
    a, _, d = normal_tail(xp, x)
    m = mills(xp, a)
    return x < -7, a, m, d, clamped(xp, x) * xp.where(x >= 0, 1 - d.times(m), d.times(m))


def _phish(xp, x, /):
    far, a, m, d, g = _phish_parts(xp, x)
    return xp.where(far, d.times(m * a * a), x * tanh(xp, g))


def _phish_x(xp, x, /):
    far, a, m, d, g = _phish_parts(xp, x)
    left = d.times(m - INV_SQRT_2PI * a)
    t, slope = tanh(xp, g), xp.where(x >= 0, 1 - left, left)
    near = t + _sech2_times(xp, magnitude(xp, g), t, clamped(xp, x) * slope)
    near = xp.where((x < 1e-18) & (x > -1e-18), x, near)  # the sum of two halves that may be subnormal
    return xp.where(far, d.times(a * (INV_SQRT_2PI * a - 2 * m)), near)


def _phish_xx(xp, x, /):
    far, a, m, d, g = _phish_parts(xp, x)
    left = d.times(m - INV_SQRT_2PI * a)
    t, slope = tanh(xp, g), xp.where(x >= 0, 1 - left, left)
    bend = d.times(INV_SQRT_2PI * (2 - a * a)) - 2 * t * (slope * slope)
    near = _sech2_times(xp, magnitude(xp, g), t, 2 * slope + clamped(xp, x) * bend)
    return xp.where(far, d.times(2 * m - INV_SQRT_2PI * a * (4 - a * a)), near)


pointwise(
    "phish",
    _phish,
    {"x": _phish_x, ("x", "x"): _phish_xx},
    family="self_gated",
    formula=r"x \tanh\left(x\, \Phi(x)\right)",
    definition="x * tanh(x * erfc(-x / sqrt(2)) / 2)",
    notes="With the exact GELU.",
    smoothness="Cinf",
    ties={(): lambda xp, x, y, /: near(xp, x, x)},  # x^2 (1 + 1.6 x) / 2
    reference="Naveen, Phish: a novel hyper-optimizable activation function, 2022, doi:10.36227/techrxiv.17283824.",
)

# tanh(ln(1 + s)) = s (2 + s) / (2 + 2s + s^2) for s = sigmoid(x), which is 1 / (1 + z) or z / (1 + z).


def _smish_parts(xp, x):
    """x within bounds, the decay exp(-|x|), and the denominators for x >= 0 and for x < 0."""
    d = Decay(xp, magnitude(xp, x))
    return clamped(xp, x), d, 5 + d.z * (6 + 2 * d.z), 2 + d.z * (6 + 5 * d.z)


def _smish(xp, x, /):
    v, d, q, p = _smish_parts(xp, x)
    return xp.where(x >= 0, x * ((3 + 2 * d.z) / q), d.times(v * (2 + 3 * d.z)) / p)


def _smish_x(xp, x, /):
    v, d, q, p = _smish_parts(xp, x)
    z = d.z
    right = ((3 + 2 * z) * q + d.times(4 * v * (1 + z) * (2 + z))) / (q * q)
    whole = (4 * (1 + v) + z * (18 + 12 * v + z * (28 + 8 * v + 15 * z))) / p
    sum_ = 2 + 3 * z + v * (4 * (1 + z) * (1 + 2 * z) / p)
    return xp.where(x >= 0, right, d.times(xp.where(v < -1, whole, sum_)) / p)


def _smish_xx(xp, x, /):
    v, d, q, p = _smish_parts(xp, x)
    right = horner(d.z, (10 - 5 * v, 27 - 9 * v, 27 - 1.5 * v, 12 + 3 * v, 2 + v)) / (q * q * q)
    left = horner(d.z, (2 + v, 12 + 3 * v, 27 - 1.5 * v, 27 - 9 * v, 10 - 5 * v)) / (p * p * p)
    return d.times(8 * xp.where(x >= 0, right, left))


pointwise(
    "smish",
    _smish,
    {"x": _smish_x, ("x", "x"): _smish_xx},
    family="self_gated",
    formula=r"x \tanh\left(\ln(1 + \sigma(x))\right)",
    definition="x * tanh(log(1 + 1 / (1 + exp(-x))))",
    notes="The slope goes to 0.6, not to 1.",
    smoothness="Cinf",
    reference="Wang, Ren & Wang, Smish: a novel activation function for deep learning methods, 2022, Electronics 11(4), 540.",
)


def _logish_parts(xp, x):
    """x within bounds, the decay exp(-|x|), and for x >= 0 and for x < 0 the gate, there without that factor."""
    d = Decay(xp, magnitude(xp, x))
    z = d.z
    tiny = z < 1e-17  # there the logarithm is its argument, z
    left = xp.where(tiny, 1.0, xp.log1p(z / (1 + z)) / xp.where(tiny, 1.0, z))
    return clamped(xp, x), d, xp.log1p(1 / (1 + z)), left


def _logish(xp, x, /):
    v, d, right, left = _logish_parts(xp, x)
    return xp.where(x >= 0, x * right, d.times(v * left))


def _logish_x(xp, x, /):
    v, d, right, left = _logish_parts(xp, x)
    z = d.z
    near = right + d.times(v / ((1 + z) * (2 + z)))
    return xp.where(x >= 0, near, d.times(left + v / ((1 + z) * (1 + 2 * z))))


def _logish_xx(xp, x, /):
    v, d, _, _ = _logish_parts(xp, x)
    z = d.z
    q, p = (1 + z) * (2 + z), (1 + z) * (1 + 2 * z)
    right, left = (2 * q + v * (z * z - 2)) / (q * q), (2 * p + v * (1 - 2 * z * z)) / (p * p)
    return d.times(xp.where(x >= 0, right, left))


pointwise(
    "logish",
    _logish,
    {"x": _logish_x, ("x", "x"): _logish_xx},
    family="self_gated",
    formula=r"x \ln(1 + \sigma(x))",
    definition="x * log(1 + 1 / (1 + exp(-x)))",
    notes="The slope goes to ln 2 = 0.693, not to 1.",
    smoothness="Cinf",
    reference="Zhu, Zeng, Liu & Zhang, Logish: a new nonlinear nonmonotonic activation function for convolutional neural "
    "network, 2021, Neurocomputing 458.",
)
