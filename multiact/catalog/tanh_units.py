"""Functions made of the hyperbolic tangent: scaled, penalised on one side, multiplied with x."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import BIG, Decay, clamped, constant, expm1, finite, magnitude, sech2, sign, tanh, tanh_excess
from ..registry import pointwise


def _scaled(xp, x, inner, outer):
    """outer * tanh(inner * x), which is outer * inner * x also where inner * x is subnormal."""
    u = inner * x
    return xp.where(_tiny(u), (outer * inner) * finite(xp, x), outer * tanh(xp, u))


def _scaled_xx(xp, x, inner, outer):
    """Its second derivative."""
    u, factor = inner * x, -2 * outer * inner * inner
    return xp.where(_tiny(u), (factor * inner) * finite(xp, x), sech2(xp, u, factor * tanh(xp, u)))


def _tiny(u):
    return (u < 1e-10) & (u > -1e-10)


_INNER, _OUTER = 2 / 3, 1.7159

pointwise(
    "lecun_tanh",
    lambda xp, x, /: _scaled(xp, x, _INNER, _OUTER),
    {
        "x": lambda xp, x, /: sech2(xp, _INNER * x, _OUTER * _INNER),
        ("x", "x"): lambda xp, x, /: _scaled_xx(xp, x, _INNER, _OUTER),
    },
    class_name="LeCunTanh",
    family="sigmoids",
    formula=r"1.7159 \tanh\left(\tfrac23 x\right)",
    definition="1.7159 * tanh(2 * x / 3)",
    notes="f(1) = 1 and f(-1) = -1 up to 3e-6. Paddle's stanh takes 0.67 in place of 2/3 by default.",
    smoothness="Cinf",
    reference="LeCun, Bottou, Orr & Müller, Efficient backprop, 1998.",
)


def _side(xp, x, alpha):
    return xp.where(x > 0, 1.0, alpha + xp.zeros_like(x))


pointwise(
    "penalized_tanh",
    lambda xp, x, /, *, alpha: tanh(xp, x) * _side(xp, x, alpha),
    {
        "x": lambda xp, x, /, *, alpha: sech2(xp, x, _side(xp, x, alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha: _scaled_xx(xp, x, 1.0, _side(xp, x, alpha)),
        "alpha": lambda xp, x, /, *, alpha: tanh(xp, xp.where(x > 0, 0.0, x)),
        ("x", "alpha"): lambda xp, x, /, *, alpha: xp.where(x > 0, 0.0, sech2(xp, x)),
    },
    parameters=[parameter("alpha", 0.25, description="the factor for x <= 0")],
    aliases=("leaky_tanh",),
    family="sigmoids",
    formula=r"\begin{cases} \tanh x & x > 0 \\ \alpha \tanh x & x \le 0 \end{cases}",
    definition="tanh(x) if x > 0 else alpha * tanh(x)",
    notes="The slope at 0 is `alpha`.",
    smoothness="C0",
    kinks=("0",),
    examples=({"alpha": 0.5},),
    reference="Xu, Huang & Li, Revise saturated activation functions, 2016, arXiv:1602.05980.",
)

pointwise(
    "softcap",
    lambda xp, x, /, *, cap: _scaled(xp, x, 1 / cap, cap),
    {
        "x": lambda xp, x, /, *, cap: sech2(xp, x / cap),
        ("x", "x"): lambda xp, x, /, *, cap: _scaled_xx(xp, x, 1 / cap, cap),
        "cap": lambda xp, x, /, *, cap: tanh_excess(xp, x / cap),
    },
    parameters=[parameter("cap", 30.0, "(0, inf)", description="the bound of the result")],
    aliases=("soft_cap",),
    family="sigmoids",
    formula=r"c \tanh\left(\frac{x}{c}\right)",
    definition="cap * tanh(x / cap)",
    notes="Gemma 2 caps its logits with 30 and those of its attention with 50.",
    smoothness="Cinf",
    examples=({"cap": 2.5},),
    reference="Gemma Team, Gemma 2: improving open language models at a practical size, 2024, arXiv:2408.00118; as "
    "logit clipping in Bello et al., Neural combinatorial optimization with reinforcement learning, 2016, "
    "arXiv:1611.09940.",
)


def _dyt_alpha(xp, x, /, *, alpha, weight, bias):
    u = alpha * x
    return sech2(xp, u, weight * xp.where((u > BIG) | (u < -BIG), 0.0, x))


pointwise(
    "dyt",
    lambda xp, x, /, *, alpha, weight, bias: _scaled(xp, x, alpha, weight) + bias,
    {
        "x": lambda xp, x, /, *, alpha, weight, bias: sech2(xp, alpha * x, weight * alpha),
        ("x", "x"): lambda xp, x, /, *, alpha, weight, bias: _scaled_xx(xp, x, alpha, weight),
        "alpha": _dyt_alpha,
        "weight": lambda xp, x, /, *, alpha, weight, bias: _scaled(xp, x, alpha, 1.0),
        "bias": lambda xp, x, /, *, alpha, weight, bias: constant(xp, x, 1.0),
    },
    parameters=[
        parameter("alpha", 0.5, learned=True, description="the steepness"),
        parameter(
            "weight", 1.0, learned=True, description="the factor of the result, one for each channel in the paper"
        ),
        parameter("bias", 0.0, learned=True, description="what is added to it, one for each channel in the paper"),
    ],
    class_name="DyT",
    aliases=("dynamic_tanh",),
    family="sigmoids",
    formula=r"w \tanh(\alpha x) + b",
    definition="weight * tanh(alpha * x) + bias",
    notes="In place of a normalisation layer.",
    smoothness="Cinf",
    examples=({"alpha": 2.0, "weight": 0.5, "bias": -0.25},),
    reference="Zhu, Chen, He, LeCun & Liu, Transformers without normalization, 2025, arXiv:2503.10622.",
)


def _lisht_xx(xp, x, /):
    v = clamped(xp, x)
    return sech2(xp, v, 2 * (1 - v * tanh(xp, v)))


pointwise(
    "lisht",
    lambda xp, x, /: x * tanh(xp, x),
    {"x": lambda xp, x, /: tanh(xp, x) + sech2(xp, x, clamped(xp, x)), ("x", "x"): _lisht_xx},
    class_name="LiSHT",
    family="sigmoids",
    formula=r"x \tanh x",
    definition="x * tanh(x)",
    smoothness="Cinf",
    reference="Roy, Manna, Dubey & Chaudhuri, LiSHT: non-parametric linearly scaled hyperbolic tangent activation "
    "function for neural networks, 2019, arXiv:1901.05894.",
)


def _gudermannian(xp, x, /):
    small = (x < 1e-10) & (x > -1e-10)
    return xp.where(small, x, 2 * xp.atan(tanh(xp, 0.5 * xp.where(small, 0.0, x))))


def _gudermannian_x(xp, x, /):
    d = Decay(xp, magnitude(xp, x))
    return d.times(2.0) / (1 + d.z * d.z)


def _gudermannian_xx(xp, x, /):
    a = magnitude(xp, x)
    d = Decay(xp, a)
    s = 1 + d.z * d.z
    w = d.times(2 * expm1(xp, -2 * a)) / (s * s)
    return sign(xp, x) * w


pointwise(
    "gudermannian",
    _gudermannian,
    {"x": _gudermannian_x, ("x", "x"): _gudermannian_xx},
    family="sigmoids",
    formula=r"2 \arctan\left(\tanh\frac{x}{2}\right)",
    definition="2 * atan(tanh(x / 2))",
    notes="The integral of 1 / cosh x; from -pi/2 to pi/2.",
    smoothness="Cinf",
    reference="Gudermann, Theorie der Potenzial- oder cyklisch-hyperbolischen Functionen, 1833.",
)
