"""Sigmoid-shaped functions and their integrals."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import (
    Decay,
    artanh_excess,
    clamped,
    expm1,
    log1p,
    log1p_ratio,
    logistic,
    magnitude,
    negative,
    own_or,
    positive,
    sech2,
    sign,
    tanh,
    tanh_excess,
    times,
)
from ..registry import pointwise
from .self_gated import silu


def _sigmoid_x(xp, x, /):
    z = xp.exp(-magnitude(xp, x))
    return z / ((1 + z) * (1 + z))


def _bump(xp, x, factor):
    """The derivative of the sigmoid, multiplied by a factor."""
    d = Decay(xp, magnitude(xp, x))
    return d.times(factor) / ((1 + d.z) * (1 + d.z))


def _sigmoid_xx(xp, x, /):
    a = magnitude(xp, x)
    z = xp.exp(-a)
    w = (z * expm1(xp, -a)) / ((1 + z) * (1 + z) * (1 + z))
    return sign(xp, x) * w


pointwise(
    "sigmoid",
    logistic,
    {"x": _sigmoid_x, ("x", "x"): _sigmoid_xx},
    aliases=("logistic",),
    family="sigmoids",
    formula=r"\frac{1}{1 + e^{-x}}",
    definition="1 / (1 + exp(-x))",
    smoothness="Cinf",
    reference="Verhulst, Notice sur la loi que la population suit dans son accroissement, 1838.",
)


def _log_sigmoid(xp, x, /):
    z = xp.exp(-magnitude(xp, x))
    return negative(xp, x, 0) - z * log1p_ratio(xp, z)


pointwise(
    "log_sigmoid",
    _log_sigmoid,
    {"x": lambda xp, x, /: logistic(xp, -x), ("x", "x"): lambda xp, x, /: -_sigmoid_x(xp, x)},
    class_name="LogSigmoid",
    aliases=("logsigmoid",),
    family="sigmoids",
    formula=r"-\ln(1 + e^{-x})",
    definition="-log(1 + exp(-x))",
    smoothness="Cinf",
    reference="The logarithm of the sigmoid; minus softplus(-x).",
)


def _softplus(xp, x, /, *, beta):
    d = Decay(xp, magnitude(xp, times(beta, x)), 1 / beta)
    return positive(xp, x) + d.times(times(1 / beta, log1p_ratio(xp, d.z)))


def _softplus_beta(xp, x, /, *, beta):
    a = clamped(xp, magnitude(xp, beta * x))
    d = Decay(xp, a)
    return -d.times((a / (1 + d.z) + log1p_ratio(xp, d.z)) / (beta * beta))


pointwise(
    "softplus",
    _softplus,
    {
        "x": lambda xp, x, /, *, beta: logistic(xp, times(beta, x)),
        ("x", "x"): lambda xp, x, /, *, beta: _bump(xp, beta * x, beta),
        "beta": _softplus_beta,
        ("x", "beta"): lambda xp, x, /, *, beta: _bump(xp, beta * x, clamped(xp, x, 1e30)),
    },
    parameters=[parameter("beta", 1.0, "(0, inf)", description="the sharpness; relu for beta to infinity")],
    family="sigmoids",
    formula=r"\frac{1}{\beta} \ln\left(1 + e^{\beta x}\right)",
    definition="log(1 + exp(beta * x)) / beta",
    notes="Needs no threshold beyond which x is returned: it is accurate everywhere.",
    smoothness="Cinf",
    examples=({"beta": 2.0}, {"beta": 0.25}),
    reference="Dugas et al., Incorporating second-order functional knowledge for better option pricing, NIPS 2000.",
)


pointwise(
    "tanh",
    lambda xp, x, /: own_or(xp, "tanh", tanh, x),
    {"x": lambda xp, x, /: sech2(xp, x), ("x", "x"): lambda xp, x, /: sech2(xp, x, -2 * tanh(xp, x))},
    family="sigmoids",
    formula=r"\tanh x",
    definition="tanh(x)",
    smoothness="Cinf",
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
    return -sign(xp, x) * w


pointwise(
    "softsign",
    _softsign,
    {"x": _softsign_x, ("x", "x"): _softsign_xx},
    aliases=("soft_sign",),
    family="sigmoids",
    formula=r"\frac{x}{1 + |x|}",
    definition="x / (1 + x) if x >= 0 else x / (1 - x)",
    notes="The second derivative jumps at 0, where that of the right side, -2, is taken.",
    smoothness="C1",
    kinks=("0",),
    reference="Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.",
)


def _cloglog_x(xp, x, /, factor=1.0):
    v = clamped(xp, xp.where(x > 10, 10.0, x))
    return Decay(xp, xp.exp(v) - v).times(factor)


def _cloglog_xx(xp, x, /):
    # 1 - e^x, as -e^x times 1 - e^-x for x > 0
    u = xp.exp(xp.where(x > 10, 10.0, x))
    return _cloglog_x(xp, x, expm1(xp, -magnitude(xp, x)) * xp.where(x >= 0, u, -1.0))


pointwise(
    "cloglog",
    lambda xp, x, /: -expm1(xp, -xp.exp(xp.where(x > 10, 10.0, x))),
    {"x": _cloglog_x, ("x", "x"): _cloglog_xx},
    class_name="CLogLog",
    family="sigmoids",
    formula=r"1 - e^{-e^x}",
    definition="-expm1(-exp(x))",
    notes="The inverse of the complementary log-log link. It is asymmetric: steep towards 1, slow towards 0.",
    smoothness="Cinf",
    reference="Gomes & Ludermir, Redes neurais artificiais com funções de ativação complemento log-log e probit para "
    "aproximar funções na presença de observações extremas, Learning and Nonlinear Models 6, 2008.",
)


def _dsilu(xp, x, /):
    return silu.function.partial("x")(xp, x, 1.0)


def _dsilu_parts(xp, x):
    """a = |x|, z = e^-a as a decay, t = tanh(a / 2), 1 - t, and the square of 1 + z."""
    a = clamped(xp, magnitude(xp, x))
    d = Decay(xp, a)
    s = 1 + d.z
    return a, d, -expm1(xp, -a) / s, 2 * d.z / s, s * s


def _dsilu_x(xp, x, /):
    # s' (2 - a t) for the sigmoid s; where that would cancel with r = 1 - t
    a, d, t, r, square = _dsilu_parts(xp, x)
    return d.times(xp.where(a < 1, 2 - a * t, (2 - a) + a * r)) / square


def _dsilu_xx(xp, x, /):
    # s' (a (3 t^2 - 1) / 2 - 3 t)
    a, d, t, r, square = _dsilu_parts(xp, x)
    near = 0.5 * a * (3 * t * t - 1) - 3 * t
    far = (a - 3) + 3 * r * (1 - a + 0.5 * a * r)
    w = d.times(xp.where(a < 2, near, far)) / square
    return sign(xp, x) * w


pointwise(
    "dsilu",
    _dsilu,
    {"x": _dsilu_x, ("x", "x"): _dsilu_xx},
    class_name="DSiLU",
    family="sigmoids",
    formula=r"\sigma(x) \left(1 + x \left(1 - \sigma(x)\right)\right)",
    definition="(1 + x / (1 + exp(x))) / (1 + exp(-x))",
    notes="The derivative of silu, from -0.0998 to 1.0998.",
    smoothness="Cinf",
    reference="Elfwing, Uchibe & Doya, Sigmoid-weighted linear units for neural network function approximation in "
    "reinforcement learning, 2017, arXiv:1702.03118.",
)


def _clipping_parts(xp, x, alpha):
    """All for v, the smaller of x and 1 - x, since f(x) = 1 - f(1 - x).

    v; a = alpha |v|; delta = alpha (1 - v) - a; r = e^-a as a decay; q = e^-(a + delta); and 1 - e^-delta.
    """
    v = xp.where(x > 0.5, 1 - x, x)
    a = alpha * magnitude(xp, v)
    delta = xp.where(v >= 0, alpha * (1 - 2 * v), alpha + xp.zeros_like(x))
    return v, a, delta, Decay(xp, a), xp.exp(-(a + delta)), -expm1(xp, -delta)


def _soft_clipping(xp, x, /, *, alpha):
    v, a, _, r, q, e = _clipping_parts(xp, x, alpha)
    y = xp.where(v >= 0, v, 0.0) + xp.where(a > 40, r.times(e / alpha), log1p(xp, r.z * e / (1 + q)) / alpha)
    return xp.where(x > 0.5, 1 - y, y)


def _soft_clipping_x(xp, x, /, *, alpha):
    v, _, _, r, q, _ = _clipping_parts(xp, x, alpha)
    e = -expm1(xp, -alpha + xp.zeros_like(x))
    return xp.where(v >= 0, e, r.times(e)) / ((1 + r.z) * (1 + q))


def _soft_clipping_xx(xp, x, /, *, alpha):
    v, a, delta, r, q, inner = _clipping_parts(xp, x, alpha)
    e = expm1(xp, -alpha + xp.zeros_like(x))
    s = (1 + r.z) * (1 + q)
    y = r.times(alpha * e * xp.where(v >= 0, -inner, expm1(xp, -(2 * a + delta)))) / (s * s)
    return xp.where(x > 0.5, -y, y)


def _soft_clipping_alpha(xp, x, /, *, alpha):
    v, a, delta, r, q, e = _clipping_parts(xp, x, alpha)
    a = clamped(xp, a)
    square = alpha * alpha
    far = r.times(((1 + a) * e - delta * (1 - e)) / square)
    middle = log1p(xp, r.z * e / (1 + q)) + r.z * (a * e / (1 + r.z) - delta * (1 - e)) / (1 + q)
    # These cancel near 1/2. There f = 1/2 + 2 / alpha artanh(tanh(u) tanh(w)), the derivative of which starts with p.
    near = delta + 2 * xp.where(v >= 0, 0.0, a) < 2
    u, w = xp.where(near, 0.5 * alpha * (v - 0.5), 0.0), 0.25 * alpha + xp.zeros_like(x)
    s, t = tanh(xp, u), tanh(xp, w)
    p = s * t
    extra = 2 * (p * p * p) - t * tanh_excess(xp, u) - s * tanh_excess(xp, w)
    inner = 2 * (p + (extra / (1 - p * p) - artanh_excess(xp, p)))
    y = xp.where(near, inner / square, -xp.where(a > 40, far, middle / square))
    return xp.where(x > 0.5, -y, y)


pointwise(
    "soft_clipping",
    _soft_clipping,
    {"x": _soft_clipping_x, ("x", "x"): _soft_clipping_xx, "alpha": _soft_clipping_alpha},
    parameters=[
        parameter("alpha", 0.5, "(0, inf)", description="the sharpness; a clip to [0, 1] for alpha to infinity")
    ],
    family="sigmoids",
    formula=r"\frac{1}{\alpha} \ln\frac{1 + e^{\alpha x}}{1 + e^{\alpha (x - 1)}}",
    definition="(log(1 + exp(alpha * x)) - log(1 + exp(alpha * (x - 1)))) / alpha",
    notes="The default is that of Echo, where it is hardly a clip.",
    smoothness="Cinf",
    examples=({"alpha": 8.0},),
    reference="Klimek & Perelstein, Neural network-based approach to phase space integration, 2018, arXiv:1810.11509.",
)
