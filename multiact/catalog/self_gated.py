"""Smooth self-gated functions: x times a sigmoid-shaped function of x."""

from __future__ import annotations

import math

from ..declaration import Option, parameter
from ..numerics import BIG, Decay, clamped, expm1, magnitude, normal_tail
from ..registry import pointwise, preset

INF = math.inf
APPROXIMATE = {"none": "gelu", "tanh": "gelu_tanh"}


def _silu(xp, x, /, *, beta):
    u = beta * x
    d = Decay(xp, magnitude(xp, u))
    left = xp.where(u < -BIG, 0.0, x)
    return xp.where(u >= 0, x, d.times(left)) / (1 + d.z)


def _silu_x(xp, x, /, *, beta):
    u = beta * x
    a = clamped(xp, magnitude(xp, u))
    d = Decay(xp, a)
    s = 1 + d.z
    return xp.where(u >= 0, s + d.times(a), d.times(1 - a + d.z)) / (s * s)


def _silu_xx(xp, x, /, *, beta):
    a = clamped(xp, magnitude(xp, beta * x))
    d = Decay(xp, a)
    s = 1 + d.z
    return d.times(beta * (2 + a * expm1(xp, -a) / s)) / (s * s)


def _silu_beta(xp, x, /, *, beta):
    u = beta * x
    d = Decay(xp, magnitude(xp, u))
    v = xp.where((u > BIG) | (u < -BIG), 0.0, x)
    s = 1 + d.z
    return d.times(v, v) / (s * s)


silu = pointwise(
    "silu",
    _silu,
    {"x": _silu_x, ("x", "x"): _silu_xx, "beta": _silu_beta},
    parameters=[parameter("beta", 1.0, description="the sharpness of the gate")],
    class_name="SiLU",
    aliases=("swish",),
    family="self_gated",
    formula=r"x\, \sigma(\beta x)",
    definition="x / (1 + exp(-beta * x))",
    notes="The minimum is -0.2785 at -1.2785 for beta = 1.",
    range=(-0.2784645427610738, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="Cinf",
    lipschitz=1.0998393201288669,
    examples=({"beta": 1.5}, {"beta": 0.25}),
    reference="Hendrycks & Gimpel, 2016, arXiv:1606.08415; Elfwing, Uchibe & Doya, 2017, arXiv:1702.03118; as swish in "
    "Ramachandran, Zoph & Le, 2017, arXiv:1710.05941.",
)

preset(
    "quick_gelu",
    silu,
    fixed={"beta": 1.702},
    class_name="QuickGELU",
    aliases=("gelu_fast_approx",),
    family="self_gated",
    formula=r"x\, \sigma(1.702 x)",
    definition="x / (1 + exp(-1.702 * x))",
    notes="The sigmoid approximation of GELU, as in CLIP.",
    range=(-0.16361018963635358, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="Cinf",
    lipschitz=1.0998393201288669,
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)

_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)


def _gelu(xp, x, /):
    m, d = normal_tail(xp, clamped(xp, magnitude(xp, x), 40.0))
    return xp.where(x >= 0, x * (1 - d.times(m)), d.times(clamped(xp, x, 40.0) * m))


def _gelu_x(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 40.0)
    m, d = normal_tail(xp, a)
    left = d.times(m - _INV_SQRT_2PI * a)
    return xp.where(x >= 0, 1 - left, left)


def _gelu_xx(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 40.0)
    q = a * a
    return Decay(xp, 0.5 * q).times(_INV_SQRT_2PI * (2 - q))


pointwise(
    "gelu",
    _gelu,
    {"x": _gelu_x, ("x", "x"): _gelu_xx},
    options=[
        Option(
            "approximate",
            "none",
            choices=tuple(APPROXIMATE),
            variants=APPROXIMATE,
            description="'none' for the exact function, 'tanh' for gelu_tanh",
        )
    ],
    class_name="GELU",
    family="self_gated",
    formula=r"x\, \Phi(x)",
    definition="x * erfc(-x / sqrt(2)) / 2",
    notes="The exact function unless approximate='tanh'; jax.nn.gelu and flax default to the tanh form. "
    "The minimum is -0.16997 at -0.75179.",
    range=(-0.16997120747990369, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="Cinf",
    lipschitz=1.1289041451851548,
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)

_K0 = 2 * math.sqrt(2 / math.pi)
_K1 = _K0 * 0.044715


def _gelu_tanh(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 100.0)
    d = Decay(xp, a * (_K0 + _K1 * (a * a)))
    return xp.where(x >= 0, x, d.times(clamped(xp, x, 100.0))) / (1 + d.z)


def _gelu_tanh_x(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 100.0)
    cubic = _K1 * (a * a) * a
    v = _K0 * a + cubic
    d = Decay(xp, v)
    w = v + 2 * cubic  # a times the slope of v
    s = 1 + d.z
    return xp.where(x >= 0, s + d.times(w), d.times(1 - w + d.z)) / (s * s)


def _gelu_tanh_xx(xp, x, /):
    a = clamped(xp, magnitude(xp, x), 100.0)
    q = a * a
    v = a * (_K0 + _K1 * q)
    slope = _K0 + 3 * _K1 * q
    d = Decay(xp, v)
    s = 1 + d.z
    return d.times(2 * slope + 6 * _K1 * q + a * (slope * slope) * (expm1(xp, -v) / s)) / (s * s)


pointwise(
    "gelu_tanh",
    _gelu_tanh,
    {"x": _gelu_tanh_x, ("x", "x"): _gelu_tanh_xx},
    class_name="GELUTanh",
    aliases=("gelu_new",),
    family="self_gated",
    formula=r"\tfrac{x}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,(x + 0.044715\, x^3)\right)\right)",
    definition="x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))",
    notes="Differs from the exact function by up to 4.7e-4.",
    range=(-0.17004075057125412, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="Cinf",
    lipschitz=1.1289930686587718,
    reference="Hendrycks & Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415.",
)

# mish = x T(x) with T = tanh(ln(1 + e^x)) = (e^2 + 2e) / (e^2 + 2e + 2) for e = e^x. For x > 0 everything is divided by the
# largest power of e, which leaves z = e^-x.


def _mish(xp, x, /):
    d = Decay(xp, magnitude(xp, x))
    z = d.z
    left = d.times(clamped(xp, x) * (2 + z)) / (2 + z * (2 + z))
    return xp.where(x >= 0, x * ((1 + 2 * z) / (1 + 2 * z * (1 + z))), left)


def _mish_x(xp, x, /):
    a = clamped(xp, magnitude(xp, x))
    d = Decay(xp, a)
    z = d.z
    q = 1 + 2 * z * (1 + z)
    p = 2 + z * (2 + z)
    right = ((1 + 2 * z) * q + d.times(4 * a * (1 + z)) * z) / (q * q)
    left = d.times(4 * (1 - a) + z * (6 - 4 * a + z * (4 + z))) / (p * p)
    return xp.where(x >= 0, right, left)


def _mish_xx(xp, x, /):
    a = clamped(xp, magnitude(xp, x))
    d = Decay(xp, a)
    z = d.z
    q = 1 + 2 * z * (1 + z)
    p = 2 + z * (2 + z)
    right = d.times(8 * (1 - a) + 4 * z * (6 - 3 * a + z * (8 + 2 * a + z * (4 + 2 * a)))) * z / (q * q * q)
    left = d.times(8 * (2 - a) + 4 * z * (8 - 2 * a + z * (6 + 3 * a + z * (2 + 2 * a)))) / (p * p * p)
    return xp.where(x >= 0, right, left)


pointwise(
    "mish",
    _mish,
    {"x": _mish_x, ("x", "x"): _mish_xx},
    family="self_gated",
    formula=r"x \tanh\left(\ln(1 + e^x)\right)",
    definition="x * tanh(log(1 + exp(x)))",
    notes="The minimum is -0.30884 at -1.19243.",
    range=(-0.3088434130172504, INF),
    limits=(0.0, INF),
    monotonic=False,
    smoothness="Cinf",
    lipschitz=1.0884981612517279,
    reference="Misra, Mish: a self regularized non-monotonic activation function, 2019, arXiv:1908.08681.",
)
