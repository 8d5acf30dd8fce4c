"""Sigmoid-shaped functions and their integrals."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import Decay, clamped, expm1, magnitude, tanh
from ..registry import pointwise

INF = math.inf


def _sigmoid(xp, x, /):
    z = xp.exp(-magnitude(xp, x))
    return xp.where(x >= 0, 1.0, z) / (1 + z)


def _sigmoid_x(xp, x, /, factor=1.0):
    d = Decay(xp, magnitude(xp, x))
    return d.times(factor) / ((1 + d.z) * (1 + d.z))


def _sigmoid_xx(xp, x, /):
    a = magnitude(xp, x)
    z = xp.exp(-a)
    w = (z * expm1(xp, -a)) / ((1 + z) * (1 + z) * (1 + z))
    return xp.where(x >= 0, w, -w)


pointwise(
    "sigmoid",
    _sigmoid,
    {"x": _sigmoid_x, ("x", "x"): _sigmoid_xx},
    aliases=("logistic",),
    family="sigmoids",
    formula=r"\frac{1}{1 + e^{-x}}",
    definition="1 / (1 + exp(-x))",
    range=(0.0, 1.0),
    limits=(0.0, 1.0),
    monotonic=True,
    smoothness="Cinf",
    lipschitz=0.25,
    reference="Verhulst, Notice sur la loi que la population suit dans son accroissement, 1838.",
)


def _log_sigmoid(xp, x, /):
    return xp.where(x >= 0, 0.0, x) - xp.log1p(xp.exp(-magnitude(xp, x)))


def _log_sigmoid_x(xp, x, /):
    z = xp.exp(-magnitude(xp, x))
    return xp.where(x >= 0, z, 1.0) / (1 + z)


pointwise(
    "log_sigmoid",
    _log_sigmoid,
    {"x": _log_sigmoid_x, ("x", "x"): lambda xp, x, /: -_sigmoid_x(xp, x)},
    class_name="LogSigmoid",
    aliases=("logsigmoid",),
    family="sigmoids",
    formula=r"-\ln(1 + e^{-x})",
    definition="-log(1 + exp(-x))",
    range=(-INF, 0.0),
    limits=(-INF, 0.0),
    monotonic=True,
    smoothness="Cinf",
    lipschitz=1.0,
    reference="The logarithm of the sigmoid; minus softplus(-x).",
)


def _softplus(xp, x, /, *, beta):
    u = beta * x
    a = magnitude(xp, u)
    d = Decay(xp, a)
    # log1p(z) is z beyond 40, and z / beta can be normal where z is not
    return xp.where(u >= 0, x, 0.0) + xp.where(a > 40, d.times(1 / beta), xp.log1p(d.z) / beta)


def _softplus_beta(xp, x, /, *, beta):
    a = clamped(xp, magnitude(xp, beta * x))
    d = Decay(xp, a)
    square = beta * beta
    return -xp.where(a > 40, d.times((a + 1) / square), (d.times(a) / (1 + d.z) + xp.log1p(d.z)) / square)


pointwise(
    "softplus",
    _softplus,
    {
        "x": lambda xp, x, /, *, beta: _sigmoid(xp, beta * x),
        ("x", "x"): lambda xp, x, /, *, beta: _sigmoid_x(xp, beta * x, beta),
        "beta": _softplus_beta,
        ("x", "beta"): lambda xp, x, /, *, beta: _sigmoid_x(xp, beta * x, clamped(xp, x, 1e30)),
    },
    parameters=[parameter("beta", 1.0, "(0, inf)", description="the sharpness; relu for beta to infinity")],
    family="sigmoids",
    formula=r"\frac{1}{\beta} \ln\left(1 + e^{\beta x}\right)",
    definition="log(1 + exp(beta * x)) / beta",
    notes="Needs no threshold beyond which x is returned: it is accurate everywhere.",
    range=(0.0, INF),
    limits=(0.0, INF),
    monotonic=True,
    smoothness="Cinf",
    lipschitz=1.0,
    examples=({"beta": 2.0}, {"beta": 0.25}),
    reference="Dugas et al., Incorporating second-order functional knowledge for better option pricing, NIPS 2000.",
)


def sech2(xp, x, factor=1.0):
    """factor / cosh(x)^2, which does not underflow before the product does."""
    d = Decay(xp, 2 * magnitude(xp, x))
    return d.times(4 * factor) / ((1 + d.z) * (1 + d.z))


pointwise(
    "tanh",
    tanh,
    {"x": lambda xp, x, /: sech2(xp, x), ("x", "x"): lambda xp, x, /: sech2(xp, x, -2 * tanh(xp, x))},
    family="sigmoids",
    formula=r"\tanh x",
    definition="tanh(x)",
    range=(-1.0, 1.0),
    limits=(-1.0, 1.0),
    monotonic=True,
    smoothness="Cinf",
    lipschitz=1.0,
    reference="LeCun et al., Efficient backprop, 1998.",
)


def _softsign(xp, x, /):
    finite = clamped(xp, x, 1e30)  # at 1e30 the quotient is 1 in every dtype
    return finite / (1 + magnitude(xp, finite))


def _softsign_x(xp, x, /):
    # not 1 / (1 + a)^2, which is 1 / inf where the result is still normal
    s = 1 + magnitude(xp, x)
    return (1 / s) / s


def _softsign_xx(xp, x, /):
    s = 1 + magnitude(xp, x)
    w = ((2 / s) / s) / s
    return xp.where(x >= 0, -w, w)


pointwise(
    "softsign",
    _softsign,
    {"x": _softsign_x, ("x", "x"): _softsign_xx},
    aliases=("soft_sign",),
    family="sigmoids",
    formula=r"\frac{x}{1 + |x|}",
    definition="x / (1 + x) if x >= 0 else x / (1 - x)",
    notes="The second derivative jumps at 0, where that of the right side, -2, is taken.",
    range=(-1.0, 1.0),
    limits=(-1.0, 1.0),
    monotonic=True,
    smoothness="C1",
    lipschitz=1.0,
    kinks=("0",),
    reference="Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.",
)
