"""Functions made of the error function or the Gaussian bell."""

from __future__ import annotations

import math

from ..declaration import Budget, parameter
from ..numerics import (
    BIG,
    ERF_SLOPE,
    Decay,
    clamped,
    constant,
    erf,
    erfc_tail,
    finite,
    horner,
    is_double,
    log1p,
    log1p_loss,
    magnitude,
    mills,
    off_tie,
    own_or,
)
from ..registry import pointwise, preset

_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
#: Beyond this multiple of the width a Gaussian bell is 0 in every dtype.
_END = 40.0


def _bell(xp, u, *factors):
    """The product of exp(-u^2) and the factors."""
    v = clamped(xp, u, _END)
    return Decay(xp, v * v).times(*factors)


def _erf_xx(xp, x, /):
    return _bell(xp, x, -2 * ERF_SLOPE * clamped(xp, x, _END))


pointwise(
    "erf",
    lambda xp, x, /: own_or(xp, "erf", erf, x),
    {"x": lambda xp, x, /: xp.exp(math.log(ERF_SLOPE) - x * x), ("x", "x"): _erf_xx},
    family="sigmoids",
    formula=r"\operatorname{erf} x = \frac{2}{\sqrt\pi} \int_0^x e^{-t^2}\, dt",
    definition="erf(x)",
    smoothness="Cinf",
    reference="The error function.",
)


def _derf(xp, x, /, *, alpha, shift, weight, bias):
    u = alpha * x + shift
    small = (u < 1e-10) & (u > -1e-10)  # where alpha * x may be subnormal, though the result is not
    slope = ERF_SLOPE * weight
    line = (slope * alpha) * finite(xp, x) + slope * shift
    return xp.where(small, line, weight * erf(xp, u)) + bias


def _derf_x(xp, x, /, *, alpha, shift, weight, bias):
    return _bell(xp, alpha * x + shift, ERF_SLOPE * weight * alpha)


def _derf_xx(xp, x, /, *, alpha, shift, weight, bias):
    u = alpha * x + shift
    return _bell(xp, u, -2 * ERF_SLOPE * weight * alpha * alpha * clamped(xp, u, _END))


def _derf_alpha(xp, x, /, *, alpha, shift, weight, bias):
    u = alpha * x + shift
    return _bell(xp, u, ERF_SLOPE * weight * xp.where((u > _END) | (u < -_END), 0.0, x))


pointwise(
    "derf",
    _derf,
    {
        "x": _derf_x,
        ("x", "x"): _derf_xx,
        "alpha": _derf_alpha,
        "shift": lambda xp, x, /, *, alpha, shift, weight, bias: _bell(xp, alpha * x + shift, ERF_SLOPE * weight),
        "weight": lambda xp, x, /, *, alpha, shift, weight, bias: _derf(
            xp, x, alpha=alpha, shift=shift, weight=1.0, bias=0.0
        ),
        "bias": lambda xp, x, /, *, alpha, shift, weight, bias: constant(xp, x, 1.0),
    },
    parameters=[
        parameter("alpha", 0.5, learned=True, description="the steepness"),
        parameter("shift", 0.0, learned=True, description="what is added inside"),
        parameter(
            "weight", 1.0, learned=True, description="the factor of the result, one for each channel in the paper"
        ),
        parameter("bias", 0.0, learned=True, description="what is added to it, one for each channel in the paper"),
    ],
    aliases=("dynamic_erf",),
    family="sigmoids",
    formula=r"w \operatorname{erf}(\alpha x + s) + b",
    definition="weight * erf(alpha * x + shift) + bias",
    notes="In place of a normalisation layer.",
    smoothness="Cinf",
    budget=Budget(value=8.0, reason="where weight * erf and bias cancel, the rounding of each of them is left"),
    examples=({"alpha": 2.0, "shift": 0.25, "weight": 0.5, "bias": -0.25},),
    reference="Chen, Lu, Zhu, Sun & Liu, Stronger normalization-free transformers, 2025, arXiv:2512.10938.",
)


def _normal(xp, x, mu, sigma):
    """t = (x - mu) / sigma, limited, and a function that multiplies exp(-t^2 / 2) with a factor.

    Away from mu an error of t is multiplied with t, and near x = 0 no error of x excuses it. So t is taken as head + r, where
    the square of head is exact, and with it what x - mu and the sum of the exponents lose.
    """
    t = (x - mu) / sigma
    far = (t > _END) | (t < -_END)
    v = xp.where(far, mu, x)
    n = v - mu
    back = n - v
    lost = (v - (n - back)) - (mu + back)
    head = xp.floor(32 * xp.where(far, 0.0, t)) / 32
    coarse = xp.floor(4096 * (sigma + xp.zeros_like(x))) / 4096  # its product with head is exact for a usual sigma
    r = (((n - head * coarse) - head * (sigma - coarse)) + lost) / sigma
    square, rest = 0.5 * (head * head), r * (head + 0.5 * r)
    q = square + rest
    d, gap = Decay(xp, xp.where(far, BIG, q)), (square - q) + rest
    return clamped(xp, t, _END), lambda factor: d.times(factor - factor * gap)


def _laplace(xp, x, /, *, mu, sigma):
    t, times = _normal(xp, x, mu, sigma)
    tail = times(mills(xp, magnitude(xp, t)))
    return xp.where(t >= 0, 1 - tail, tail)


def _laplace_x(xp, x, /, *, mu, sigma):
    return _normal(xp, x, mu, sigma)[1](_INV_SQRT_2PI / sigma)


def _laplace_xx(xp, x, /, *, mu, sigma):
    t, times = _normal(xp, x, mu, sigma)
    return times(-_INV_SQRT_2PI / (sigma * sigma) * t)


def _laplace_sigma(xp, x, /, *, mu, sigma):
    t, times = _normal(xp, x, mu, sigma)
    return times(-_INV_SQRT_2PI / sigma * t)


pointwise(
    "laplace",
    _laplace,
    {
        "x": _laplace_x,
        ("x", "x"): _laplace_xx,
        "mu": lambda xp, x, /, *, mu, sigma: -_laplace_x(xp, x, mu=mu, sigma=sigma),
        "sigma": _laplace_sigma,
    },
    parameters=[
        parameter("mu", math.sqrt(1 / 2), description="where the result is 1/2"),
        parameter("sigma", math.sqrt(1 / (4 * math.pi)), "(0, inf)", description="the width"),
    ],
    family="sigmoids",
    formula=r"\frac12 \left(1 + \operatorname{erf}\left(\frac{x - \mu}{\sigma \sqrt 2}\right)\right)",
    definition="erfc((mu - x) / (sigma * sqrt(2))) / 2",
    notes="The defaults give it the value and the slope of relu_squared at x = sqrt(1/2); transformers rounds them to "
    "0.707107 and 0.282095.",
    smoothness="Cinf",
    reference="Ma, Zhou, Kong, He, Gui, Neubig, May & Zettlemoyer, Mega: moving average equipped gated attention, 2022, "
    "arXiv:2209.10655.",
)


def _gaussian_parts(xp, x, sigma):
    u = clamped(xp, x / sigma, _END)
    return u, Decay(xp, 0.5 * (u * u))


def _gaussian_x(xp, x, /, *, sigma):
    u, d = _gaussian_parts(xp, x, sigma)
    return d.times(-u / sigma)


def _gaussian_xx(xp, x, /, *, sigma):
    u, d = _gaussian_parts(xp, x, sigma)
    return d.times((u - 1) * (u + 1) / (sigma * sigma))


def _gaussian_sigma(xp, x, /, *, sigma):
    u, d = _gaussian_parts(xp, x, sigma)
    return d.times(u * u / sigma)


pointwise(
    "gaussian",
    lambda xp, x, /, *, sigma: _gaussian_parts(xp, x, sigma)[1].times(1.0),
    {"x": _gaussian_x, ("x", "x"): _gaussian_xx, "sigma": _gaussian_sigma},
    parameters=[parameter("sigma", 1.0, "(0, inf)", description="the width of the bell")],
    family="sigmoids",
    formula=r"e^{-x^2 / (2 \sigma^2)}",
    definition="exp(-x**2 / (2 * sigma**2))",
    smoothness="Cinf",
    examples=({"sigma": 2.5},),
    reference="Broomhead & Lowe, Multivariable functional interpolation and adaptive networks, 1988.",
)

# smu = (1 + alpha) x / 2 + (1 - alpha) x / 2 erf(t) with t = mu (1 - alpha) x: on each side a line and a rest,
# c = (1 - alpha) / 2 times x times 1 - erf |t|.


def _smu_parts(xp, x, alpha, mu):
    """c, t, and the pair of 1 - erf |t|."""
    b = 1 - alpha
    t = clamped(xp, mu * b * x, _END)
    return 0.5 * b, t, *erfc_tail(xp, magnitude(xp, t))


def _smu(xp, x, /, *, alpha, mu):
    c, t, m, d = _smu_parts(xp, x, alpha, mu)
    a = alpha + xp.zeros_like(x)
    right = x * (1 - c * d.times(m))
    left = a * xp.where((a == 0) & (x == -math.inf), 0.0, x) + d.times(c * m * xp.where(t > -_END, x, 0.0))
    # Near 0 a line and a little more, on the negative side too: erf(t) to its first term.
    near = magnitude(xp, t) < (2.0**-19 if is_double(xp, x) else 2.0**-10)
    v = xp.where(near, x, 0.0)
    line = (0.5 + 0.5 * alpha) * v
    more = line + (c * ERF_SLOPE * t) * v
    line = xp.where(more != line, more, xp.where(x > 0, off_tie(xp, line, 1), off_tie(xp, line, -1)))
    return xp.where(near, line, xp.where(x >= 0, right, left))


# erf(t) + ERF_SLOPE t e^(-t^2) over t in powers of t^2, up to 1e-13 and 1e-19 for t < 0.1
_SMU_SLOPE = [ERF_SLOPE * (-1) ** n * (2 * n + 2) / (math.factorial(n) * (2 * n + 1)) for n in range(8)]


def _smu_x(xp, x, /, *, alpha, mu):
    c, t, m, d = _smu_parts(xp, x, alpha, mu)
    rest = c * d.times(m - ERF_SLOPE * magnitude(xp, t))
    near = (t < 0.1) & (t > -0.1)
    v = xp.where(near, t, 0.0)
    middle = (0.5 + 0.5 * alpha) + c * (v * horner(v * v, _SMU_SLOPE if is_double(xp, x) else _SMU_SLOPE[:5]))
    return xp.where(near, middle, xp.where(x >= 0, 1 - rest, alpha + rest))


def _smu_xx(xp, x, /, *, alpha, mu):
    b = 1 - alpha
    t = clamped(xp, mu * b * x, _END)
    return Decay(xp, t * t).times((ERF_SLOPE * mu * b * b) * ((1 - t) * (1 + t)))


def _smu_alpha(xp, x, /, *, alpha, mu):
    _, t, m, d = _smu_parts(xp, x, alpha, mu)
    # the decay has run out where x is so large that their product would lose its meaning
    rest = d.times((m - ERF_SLOPE * magnitude(xp, t)) * xp.where(magnitude(xp, t) < _END, 0.5 * x, 0.0))
    return xp.where(x >= 0, rest, x - rest)


def _smu_mu(xp, x, /, *, alpha, mu):
    t = mu * (1 - alpha) * x
    v = (1 - alpha) * xp.where((t > _END) | (t < -_END), 0.0, x)
    return _bell(xp, t, 0.5 * ERF_SLOPE * v, v)


pointwise(
    "smu",
    _smu,
    {"x": _smu_x, ("x", "x"): _smu_xx, "alpha": _smu_alpha, "mu": _smu_mu},
    parameters=[
        parameter("alpha", 0.25, "(-inf, 1)", description="the slope far on the negative side"),
        parameter("mu", 1e6, "(0, inf)", learned=True, description="the sharpness of the corner"),
    ],
    class_name="SMU",
    family="rectifiers",
    formula=r"\frac{(1 + \alpha) x + (1 - \alpha) x \operatorname{erf}(\mu (1 - \alpha) x)}{2}",
    definition="x * (1 + alpha + (1 - alpha) * erf(mu * (1 - alpha) * x)) / 2",
    notes="A smooth maximum of x and `alpha` x, leaky_relu for mu to infinity; alpha = 0 and mu = sqrt(1/2) make gelu.",
    smoothness="Cinf",
    examples=({"alpha": 0.0, "mu": 1.0},),
    reference="Biswas, Kumar, Banerjee & Pandey, SMU: smooth activation function for deep networks using smoothing maximum "
    "technique, 2021, arXiv:2111.04682.",
)


# erf(u) = ERF_SLOPE u e^(-u^2) R(u); (R - 1) / (2 u^2) in powers of 2 u^2, up to 7e-9 and 7e-20 for u < 1. All are positive.
_RATIO = [1 / math.prod(range(1, 2 * n + 2, 2)) for n in range(1, 20)]


def _ratio(xp, u, near):
    """R(u) - 1 where `near` holds."""
    v = xp.where(near, u, 0.0)
    w = 2 * v * v
    return w * horner(w, _RATIO if is_double(xp, u) else _RATIO[:10])


def _erfact_parts(xp, x, alpha, beta):
    """v = beta x, u = alpha e^v, e^(v - u^2), and x, 0 where v is so large that this is 0."""
    v = beta * x
    far = (v > BIG) | (v < -BIG)
    v = clamped(xp, v)
    # 60^2 is more than the largest v by so much that e^(v - u^2) is 0
    u = clamped(xp, alpha * xp.exp(clamped(xp, v, 80.0)), 60.0)
    return v, u, Decay(xp, u * u - v), xp.where(far, 0.0, x)


def _erfact(xp, x, /, *, alpha, beta):
    _, u, d, v = _erfact_parts(xp, x, alpha, beta)
    near = magnitude(xp, u) < 1
    slope = xp.where(
        near, ERF_SLOPE * alpha * v, 0.0
    )  # selected, so that TensorFlow does not multiply by its factor first
    return xp.where(near, d.times(slope * (1 + _ratio(xp, u, near))), x * erf(xp, u))


def _erfact_x(xp, x, /, *, alpha, beta):
    v, u, d, _ = _erfact_parts(xp, x, alpha, beta)
    near = magnitude(xp, u) < 1
    slope = ERF_SLOPE * alpha
    return xp.where(near, d.times(slope * ((1 + v) + _ratio(xp, u, near))), erf(xp, u) + d.times(slope * v))


def _erfact_xx(xp, x, /, *, alpha, beta):
    v, u, d, _ = _erfact_parts(xp, x, alpha, beta)
    return d.times(ERF_SLOPE * alpha * beta * (2 + v * (1 - 2 * u * u)))


def _erfact_alpha(xp, x, /, *, alpha, beta):
    _, _, d, near = _erfact_parts(xp, x, alpha, beta)
    return d.times(ERF_SLOPE * near)


def _erfact_beta(xp, x, /, *, alpha, beta):
    _, _, d, near = _erfact_parts(xp, x, alpha, beta)
    return d.times(ERF_SLOPE * alpha * near, near)


pointwise(
    "erfact",
    _erfact,
    {"x": _erfact_x, ("x", "x"): _erfact_xx, "alpha": _erfact_alpha, "beta": _erfact_beta},
    parameters=[
        parameter("alpha", 0.75, learned=True, description="the factor of the exponential"),
        parameter("beta", 0.75, learned=True, description="its rate"),
    ],
    class_name="ErfAct",
    family="self_gated",
    formula=r"x \operatorname{erf}\left(\alpha e^{\beta x}\right)",
    definition="x * erf(alpha * exp(beta * x))",
    smoothness="Cinf",
    budget=Budget(reason="in float16 the second derivative is off by 1.5 ulp at 0.8613, next to its zero"),
    examples=({"alpha": 0.5, "beta": 1.5},),
    reference="Biswas, Kumar, Banerjee & Pandey, ErfAct and Pserf: non-monotonic smooth trainable activation functions, "
    "2021, arXiv:2109.04386.",
)


def _pserf_parts(xp, x, gamma, delta):
    """v = delta x, z = e^-|v|, u = gamma ln(1 + e^v), x, 0 where v is so large that e^-|v| is 0, and a function.

    It multiplies e^(min(v, 0) - u^2) with a factor.
    """
    v = delta * x
    far = (v > BIG) | (v < -BIG)
    v = clamped(xp, v)
    left = v < 0
    side = Decay(xp, magnitude(xp, v))
    u = gamma * (xp.where(left, 0.0, v) + log1p(xp, side.z))
    bell = Decay(xp, u * u)
    return v, side.z, u, xp.where(far, 0.0, x), lambda f: xp.where(left, side.times(bell.z * f), bell.times(f))


def _pserf(xp, x, /, *, gamma, delta):
    v, _, u, near, times = _pserf_parts(xp, x, gamma, delta)
    return xp.where(v < -40, times(ERF_SLOPE * gamma * near), x * erf(xp, u))


def _pserf_x(xp, x, /, *, gamma, delta):
    v, z, u, _, times = _pserf_parts(xp, x, gamma, delta)
    slope = ERF_SLOPE * gamma
    # On the left erf(u) is slope e^(v - u^2) times R(u) ln(1 + z) / z. The sum has a root there, so all is taken next to 1 + v.
    near = (v < -0.25) & (magnitude(xp, u) < 1)
    loss = log1p_loss(xp, z)
    left = (1 + v) + (((1 - loss) * _ratio(xp, u, near) - loss) - v * z / (1 + z))
    return xp.where(near, times(slope * left), erf(xp, u) + times(slope * v / (1 + z)))


def _pserf_xx(xp, x, /, *, gamma, delta):
    v, z, u, _, times = _pserf_parts(xp, x, gamma, delta)
    rises, falls = xp.where(v >= 0, 1.0, z) / (1 + z), xp.where(v >= 0, z, 1.0) / (1 + z)
    return times(ERF_SLOPE * gamma * delta * (2 + v * (falls - 2 * gamma * u * rises))) / (1 + z)


def _pserf_gamma(xp, x, /, *, gamma, delta):
    v, z, _, near, times = _pserf_parts(xp, x, gamma, delta)
    # ln(1 + e^v), for v < 0 divided by e^v
    return times(ERF_SLOPE * xp.where(v < 0, 1 - log1p_loss(xp, z), v + log1p(xp, z)) * near)


def _pserf_delta(xp, x, /, *, gamma, delta):
    _, z, _, near, times = _pserf_parts(xp, x, gamma, delta)
    return times(ERF_SLOPE * gamma / (1 + z) * near * near)


pserf = pointwise(
    "pserf",
    _pserf,
    {"x": _pserf_x, ("x", "x"): _pserf_xx, "gamma": _pserf_gamma, "delta": _pserf_delta},
    parameters=[
        parameter("gamma", 1.25, learned=True, description="the factor of the softplus"),
        parameter("delta", 0.85, learned=True, description="its sharpness"),
    ],
    family="self_gated",
    formula=r"x \operatorname{erf}\left(\gamma \ln(1 + e^{\delta x})\right)",
    definition="x * erf(gamma * log(1 + exp(delta * x)))",
    smoothness="Cinf",
    examples=({"gamma": 0.5, "delta": 1.5},),
    reference="Biswas, Kumar, Banerjee & Pandey, ErfAct and Pserf: non-monotonic smooth trainable activation functions, "
    "2021, arXiv:2109.04386.",
)

preset(
    "serf",
    pserf,
    fixed={"gamma": 1.0, "delta": 1.0},
    family="self_gated",
    formula=r"x \operatorname{erf}\left(\ln(1 + e^x)\right)",
    definition="x * erf(log(1 + exp(x)))",
    smoothness="Cinf",
    reference="Nag & Bhattacharyya, SERF: towards better training of deep neural networks using log-softplus error "
    "activation function, 2021, arXiv:2108.09598.",
)
