"""Relatives of swish: x, or nearly that, times a sigmoid-shaped function of x."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import BIG, Decay, clamped, magnitude, near
from ..registry import pointwise
from .oscillating import near_zero, phase
from .self_gated import sigmoid_slope, sigmoid_times, silu_curvature, silu_slope

pointwise(
    "e_swish",
    lambda xp, x, /, *, beta: sigmoid_times(xp, x, beta * x, beta),
    {
        "x": lambda xp, x, /, *, beta: silu_slope(xp, x, beta),
        ("x", "x"): lambda xp, x, /, *, beta: silu_curvature(xp, x, beta),
        "beta": lambda xp, x, /, *, beta: sigmoid_times(xp, x, x, 1.0),
        ("x", "beta"): lambda xp, x, /, *, beta: silu_slope(xp, x, 1.0),
    },
    parameters=[parameter("beta", 1.5, description="the factor; silu for 1")],
    class_name="ESwish",
    aliases=("eswish",),
    family="self_gated",
    formula=r"\beta x\, \sigma(x)",
    definition="beta * x / (1 + exp(-x))",
    notes="The paper leaves beta open and tries values from 1 to 2; 1.5 is the middle. Echo has 1.75.",
    smoothness="Cinf",
    # beta x (1 + x / 2) / 2 near 0, beta x (1 - exp(-x)) far from it
    ties={(): lambda xp, x, y, /, *, beta: near(xp, x, x) - xp.where(x > 8, xp.ones_like(x), 0.0)},
    examples=({"beta": 2.0},),
    reference="Alcaide, E-swish: adjusting activations to different network depths, 2018, arXiv:1801.07145.",
)


def _times(xp, p, x):
    """p x, where 0 times infinity is 0."""
    y = p * x
    return xp.where(xp.isnan(y) & ~xp.isnan(x), 0.0, y)


def _acon_parts(xp, x, p1, p2, beta):
    """The argument u of the sigmoid, |u|, exp(-|u|) and 1 + exp(-|u|)."""
    u = beta * (p1 - p2) * x
    a = clamped(xp, magnitude(xp, u))
    d = Decay(xp, a)
    return u, a, d, 1 + d.z


def _far_is_zero(xp, u, x):
    """x, and 0 where the sigmoid of u or of -u is 0."""
    return xp.where((u > BIG) | (u < -BIG), 0.0, x)


# x (p1 sigmoid(u) + p2 sigmoid(-u)): a mean of two lines, which does not cancel while they slope to the same side.


def _acon_c(xp, x, /, *, p1, p2, beta):
    u, a, d, s = _acon_parts(xp, x, p1, p2, beta)
    v = _far_is_zero(xp, u, x)
    mean = xp.where(u >= 0, p1 + p2 * d.z, p2 + p1 * d.z) / s
    right, left = _times(xp, p1, x) + d.times(p2 * v), _times(xp, p2, x) + d.times(p1 * v)
    return xp.where(a < 40, v * mean, xp.where(u >= 0, right, left))


def _acon_c_x(xp, x, /, *, p1, p2, beta):
    u, a, d, s = _acon_parts(xp, x, p1, p2, beta)
    bend = (p1 - p2) * a
    right, left = p1 * s + d.times(p2 * s + bend), p2 * s + d.times(p1 * s - bend)
    return xp.where(u >= 0, right, left) / (s * s)


def _acon_c_p1(xp, x, /, *, p1, p2, beta):
    u = beta * (p1 - p2) * x
    return silu_slope(xp, u, xp.where(u < -BIG, 0.0, x))


def _acon_c_p2(xp, x, /, *, p1, p2, beta):
    u = beta * (p1 - p2) * x
    return silu_slope(xp, -u, xp.where(u > BIG, 0.0, x))


pointwise(
    "acon_c",
    _acon_c,
    {
        "x": _acon_c_x,
        ("x", "x"): lambda xp, x, /, *, p1, p2, beta: silu_curvature(
            xp, beta * (p1 - p2) * x, beta * (p1 - p2) * (p1 - p2)
        ),
        "p1": _acon_c_p1,
        "p2": _acon_c_p2,
        "beta": lambda xp, x, /, *, p1, p2, beta: sigmoid_slope(xp, beta * (p1 - p2) * x, (p1 - p2) * x),
    },
    parameters=[
        parameter("p1", 1.0, learned=True, description="the slope at +inf"),
        parameter("p2", 0.0, learned=True, description="the slope at -inf"),
        parameter("beta", 1.0, learned=True, description="the sharpness; max(p1 x, p2 x) for beta to infinity"),
    ],
    family="self_gated",
    formula=r"(p_1 - p_2) x\, \sigma(\beta (p_1 - p_2) x) + p_2 x",
    definition="(p1 - p2) * x / (1 + exp(-beta * (p1 - p2) * x)) + p2 * x",
    notes="The defaults make it silu, which the paper calls ACON-A; ACON-B is p1 = 1, p2 = 0.25. The authors' code starts from "
    "random p1 and p2 and beta = 1.",
    smoothness="Cinf",
    examples=({"p1": 1.25, "p2": -0.25, "beta": 0.5},),
    reference="Ma, Zhang, Liu & Sun, Activate or not: learning customized activation, 2020, arXiv:2009.04759.",
)


def _aria2_parts(xp, x, alpha, beta):
    """u = beta x, y = alpha ln(1 + exp(-u)), the decays exp(-|u|) and exp(-y), and u and x where neither is 0."""
    u = beta * x
    d = Decay(xp, magnitude(xp, u))
    s = xp.where(u >= 0, 0.0, clamped(xp, -u, 1e30)) + xp.log1p(d.z)
    y = alpha * s
    zero = (u > BIG) | (y > BIG)
    return s, d, Decay(xp, y), xp.where(zero, 0.0, u), xp.where(zero, 0.0, x)


def _aria2(xp, x, /, *, alpha, beta):
    _, _, t, _, v = _aria2_parts(xp, x, alpha, beta)
    return xp.where(beta * x > BIG, x, t.times(v))


def _aria2_x(xp, x, /, *, alpha, beta):
    _, d, t, u, _ = _aria2_parts(xp, x, alpha, beta)
    n = xp.where(u >= 0, d.z, 1.0) / (1 + d.z)
    return t.times(1 + alpha * u * n)


def _aria2_xx(xp, x, /, *, alpha, beta):
    _, d, t, u, _ = _aria2_parts(xp, x, alpha, beta)
    s = 1 + d.z
    n, rest = xp.where(u >= 0, d.z, 1.0) / s, xp.where(u >= 0, 1.0, d.z) / s
    bend = alpha * beta * (2 + u * (alpha * n - rest)) / s
    return xp.where(u >= 0, d.times(t.z * bend), t.times(bend))


def _aria2_alpha(xp, x, /, *, alpha, beta):
    s, d, t, u, v = _aria2_parts(xp, x, alpha, beta)
    return xp.where(u > 40, d.times(-v), t.times(-v * s))


def _aria2_beta(xp, x, /, *, alpha, beta):
    _, d, t, u, v = _aria2_parts(xp, x, alpha, beta)
    w = alpha * v / (1 + d.z)
    return xp.where(u >= 0, d.times(t.z * w, v), t.times(w, v))


pointwise(
    "aria2",
    _aria2,
    {"x": _aria2_x, ("x", "x"): _aria2_xx, "alpha": _aria2_alpha, "beta": _aria2_beta},
    parameters=[
        parameter("alpha", 1.5, "(0, inf)", description="the exponent of the gate"),
        parameter("beta", 2.0, "(0, inf)", description="the sharpness of the gate"),
    ],
    class_name="ARiA2",
    family="self_gated",
    formula=r"x \left(1 + e^{-\beta x}\right)^{-\alpha}",
    definition="x * (1 + exp(-beta * x))**(-alpha)",
    notes="silu for alpha = 1.",
    smoothness="Cinf",
    examples=({"alpha": 0.75, "beta": 1.0},),
    reference="Patwardhan, Ingalhalikar & Walambe, ARiA: utilizing Richard's curve for controlling the non-monotonicity of "
    "the activation function in deep neural nets, 2018, arXiv:1805.08878.",
)


def _sinlu_parts(xp, x, a, b):
    """g = x + a sin(b x), its first two derivatives, the decay exp(-|x|) and 1 + exp(-|x|).

    From half the phase, since 1 + cos keeps its digits only as the square 2 cos^2 of the half.
    """
    v, s, c = phase(xp, x, 0.5 * b)
    a_b = a * b
    d = Decay(xp, magnitude(xp, x))
    return v + 2 * a * (s * c), (1 - a_b) + 2 * a_b * (c * c), -2 * a_b * b * (s * c), d, 1 + d.z


def _sinlu(xp, x, /, *, a, b):
    wave = xp.where(near_zero(xp, b * x), a * b * x, a * phase(xp, x, b)[1])
    return sigmoid_times(xp, x, x + wave)


def _sinlu_x(xp, x, /, *, a, b):
    g, slope, _, d, s = _sinlu_parts(xp, x, a, b)
    y = slope * s
    return xp.where(x >= 0, y + d.times(g), d.times(y + g)) / (s * s)


def _sinlu_xx(xp, x, /, *, a, b):
    g, slope, bend, d, s = _sinlu_parts(xp, x, a, b)
    y, w, g = bend * (s * s), 2 * slope * s, g * (1 - d.z)
    return xp.where(x >= 0, y + d.times(w - g), d.times(y + w + g)) / (s * s * s)


def _sinlu_a(xp, x, /, *, a, b):
    _, s, _ = phase(xp, x, b)
    return sigmoid_times(xp, x, s)


def _sinlu_b(xp, x, /, *, a, b):
    v, _, c = phase(xp, x, b)
    return sigmoid_times(xp, x, a * c * v)


pointwise(
    "sinlu",
    _sinlu,
    {"x": _sinlu_x, ("x", "x"): _sinlu_xx, "a": _sinlu_a, "b": _sinlu_b},
    parameters=[
        parameter("a", 1.0, learned=True, description="the amplitude of the sine"),
        parameter("b", 1.0, learned=True, description="the frequency of the sine"),
    ],
    class_name="SinLU",
    family="self_gated",
    formula=r"(x + a \sin(b x))\, \sigma(x)",
    definition="(x + a * sin(b * x)) / (1 + exp(-x))",
    notes="Its derivatives have no limit at +inf; there they are those of x -> x + a sin(b x) at 0.",
    smoothness="Cinf",
    examples=({"a": 2.0, "b": 0.5},),
    reference="Paul, Bandyopadhyay, Yoon, Geem & Sarkar, SinLU: sinu-sigmoidal linear unit, 2022, Mathematics 10(3), 337.",
)


def _golu_parts(xp, x):
    """x within bounds, the decay exp(-|x|), t = exp(-x), the decay exp(-t), which below -7 is 0 in every dtype."""
    v = xp.where(x < -7, -7.0, clamped(xp, x))
    d = Decay(xp, magnitude(xp, v))
    t = xp.where(v >= 0, d.z, 1 / xp.where(v >= 0, 1.0, d.z))
    return v, d, t, Decay(xp, t)


def _golu(xp, x, /):
    _, _, _, e = _golu_parts(xp, x)
    return e.times(xp.where(x < -7, -7.0, x))


def _golu_x(xp, x, /):
    v, _, t, e = _golu_parts(xp, x)
    return e.times(1 + v * t)


def _golu_xx(xp, x, /):
    v, d, t, e = _golu_parts(xp, x)
    bend = 2 + v * (t - 1)
    return xp.where(v >= 0, d.times(e.z * bend), e.times(t * bend))


pointwise(
    "golu",
    _golu,
    {"x": _golu_x, ("x", "x"): _golu_xx},
    class_name="GoLU",
    family="self_gated",
    formula=r"x\, e^{-e^{-x}}",
    definition="x * exp(-exp(-x))",
    smoothness="Cinf",
    reference="Das, Safari, Adriaensen & Hutter, Gompertz linear units: leveraging asymmetry for enhanced learning dynamics, "
    "2025, arXiv:2502.03654.",
)


def _colu_parts(xp, x):
    """x within bounds, t = e^x, and a decay: R = exp(-(x + t)) for x >= 0, E = exp(x + t) for x < 0.

    The function is x / (1 - x R), for x < 0 multiplied through by E = 1 / R. From 7 on R is 0 in every dtype.
    """
    v = xp.where(x > 7, 7.0, clamped(xp, x))
    right = v >= 0
    d = Decay(xp, magnitude(xp, v))
    t = xp.where(right, 1 / xp.where(right, d.z, 1.0), d.z)
    return v, right, t, Decay(xp, xp.where(right, v + t, -(v + t)))


def _colu(xp, x, /):
    v, right, _, h = _colu_parts(xp, x)
    return xp.where(right, x / (1 - v * h.z), h.times(v) / (h.z - v))


def _colu_x(xp, x, /):
    v, right, t, h = _colu_parts(xp, x)
    y, e = v * (1 + t), h.z
    lower = 1 - v * e
    return xp.where(right, (1 - v * y * e) / (lower * lower), h.times(e - v * y) / ((e - v) * (e - v)))


def _colu_xx(xp, x, /):
    v, right, t, h = _colu_parts(xp, x)
    y, q, e = v * (1 + t), v * v * t, h.z
    p, r = y * (y - 4) + 2 - q, v * (y * y + q)
    lower = 1 - v * e
    left = h.times(e * p + r) / ((e - v) * (e - v) * (e - v))
    return xp.where(right, h.times(p + e * r) / (lower * lower * lower), left)


pointwise(
    "colu",
    _colu,
    {"x": _colu_x, ("x", "x"): _colu_xx},
    class_name="CoLU",
    family="self_gated",
    formula=r"\frac{x}{1 - x e^{-(x + e^x)}}",
    definition="x / (1 - x * exp(-(x + exp(x))))",
    smoothness="Cinf",
    reference="Vagerwal, Deeper learning with CoLU activation, 2021, arXiv:2112.12078.",
)


_FAR = 1e9  # from here on 1 + x^2 is x^2 in every dtype


def _dish_parts(xp, x):
    """With a = |x|: r = a / sqrt(1 + a^2), w = 1 / (1 + a^2), and w sqrt(w)."""
    a = magnitude(xp, x)
    far = a > _FAR
    n, inverse = xp.where(far, 0.0, a), 1 / xp.where(far, a, 1.0)
    w = 1 / (1 + n * n)
    root = xp.sqrt(w)
    square = inverse * inverse
    return xp.where(far, 1.0, n * root), xp.where(far, square, w), xp.where(far, square * inverse, w * root)


def _dish(xp, x, /):
    r, w, _ = _dish_parts(xp, x)
    far = x < -_FAR
    # 1 - r = w / (1 + r) does not cancel
    left = xp.where(far, 0.25 / xp.where(far, x, 1.0), 0.5 * xp.where(far, -_FAR, x) * w / (1 + r))
    return xp.where(x >= 0, x * (0.5 + 0.5 * r), left)


def _dish_x(xp, x, /):
    r, w, _ = _dish_parts(xp, x)
    signed = xp.where(x >= 0, r, -r)
    return xp.where(x > -0.25, 0.5 + 0.5 * (signed * (1 + w)), 0.5 * (w - r) * w / (1 + r))


def _dish_xx(xp, x, /):
    r, w, w_root = _dish_parts(xp, x)
    return (w - 0.5 * (r * r)) * w_root


pointwise(
    "dish",
    _dish,
    {"x": _dish_x, ("x", "x"): _dish_xx},
    family="self_gated",
    formula=r"\frac{x}{2} \left(1 + \frac{x}{\sqrt{1 + x^2}}\right)",
    definition="x * (1 + x / sqrt(1 + x**2)) / 2",
    notes="A stand-in for silu without an exponential; it goes to 0 like 1 / (4 x) for x to -inf.",
    smoothness="Cinf",
    reference="Explosion, Thinc, 2022, thinc.ai.",
)
