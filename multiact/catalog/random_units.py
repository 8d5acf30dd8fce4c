"""Activations with random numbers. The formulas take them as an argument; a backend draws them."""

from __future__ import annotations

import math

from ..declaration import Activation, Axiswise, Option, parameter
from ..numerics import choose, split, zero
from ..registry import AXIS, axiswise, get, pointwise
from .normalising import first_top, offsets, tops

INF = math.inf


def _slope(lower, upper, noise):
    if type(noise) is float and noise == 0.5:
        return 0.5 * (lower + upper)  # so that it rounds alike when torch.compile(dynamic=True) multiplies it out
    return lower + noise * (upper - lower)


def _side(xp, x, y, /, *, lower, upper, noise):
    """What the rounded product of the slope and x lacks. With 11/48 many are 2e-8 beside a tie of 16-bit numbers."""
    head, tail = split(xp, xp.zeros_like(x) + _slope(lower, upper, noise), bounded=True)
    power = xp.where(x > -1, 2.0**40, xp.ones_like(x))  # what is lacking must not be subnormal
    return xp.where(x < 0, (power * y - head * (power * x)) - tail * (power * x), 0.0)


pointwise(
    "rrelu",
    lambda xp, x, /, *, lower, upper, noise: xp.where(x > 0, x, _slope(lower, upper, noise) * x),
    {
        "x": lambda xp, x, /, *, lower, upper, noise: choose(xp, x > 0, 1.0, _slope(lower, upper, noise), x),
        ("x", "x"): zero,
        "lower": lambda xp, x, /, *, lower, upper, noise: xp.where(x >= 0, 0.0, (1 - noise) * x),
        "upper": lambda xp, x, /, *, lower, upper, noise: xp.where(x >= 0, 0.0, noise * x),
        "noise": lambda xp, x, /, *, lower, upper, noise: xp.where(x >= 0, 0.0, (upper - lower) * x),
        ("x", "lower"): lambda xp, x, /, *, lower, upper, noise: choose(xp, x <= 0, 1 - noise, 0.0, x),
        ("x", "upper"): lambda xp, x, /, *, lower, upper, noise: choose(xp, x <= 0, noise, 0.0, x),
        ("x", "noise"): lambda xp, x, /, *, lower, upper, noise: choose(xp, x <= 0, upper - lower, 0.0, x),
    },
    parameters=[
        parameter("lower", 1 / 8, description="the least slope for x <= 0"),
        parameter("upper", 1 / 3, description="the largest slope"),
        parameter("noise", 0.5, "[0, 1]", random="uniform", description="how far the slope is from `lower` to `upper`"),
    ],
    class_name="RReLU",
    family="rectifiers",
    formula=r"\begin{cases} x & x > 0 \\ (l + n (u - l))\, x & x \le 0 \end{cases}, \quad n \sim U(0, 1)",
    definition="x if x > 0 else (lower + noise * (upper - lower)) * x",
    notes="In evaluation, the default, the slope is the mean (l + u) / 2; `training=True` draws one for each element. The "
    "slope at 0 is that of the left side.",
    smoothness="C0",
    kinks=("0",),
    examples=({"lower": 0.0, "upper": 0.5, "noise": 0.75},),
    ties={(): _side},
    reference="Xu, Wang, Chen & Li, Empirical evaluation of rectified activations in convolutional network, 2015, "
    "arXiv:1505.00853.",
)

# softmax((x + noise) / temperature), and in its place the one-hot vector of its largest entry with the same derivatives.

_soft = get("softmax").function


def _noisy(xp, x, noise, axis):
    """x + noise up to what the row has in common, which would cost the digits of the noise where x is large."""
    infinite = (x == INF) | (x == -INF)
    return xp.where(infinite, x, offsets(xp, x, 1, axis) + noise)


def _value(xp, x, temperature, noise, *, axis):
    return _soft.value(xp, _noisy(xp, x, noise, axis), temperature, axis=axis)


def _jvp(xp, arguments, y, tangents, *, axis):
    x, temperature, noise = arguments
    tx, tt, tn = tangents
    both = tn if tx is None else tx if tn is None else tx + tn
    return _soft.jvp(xp, (_noisy(xp, x, noise, axis), temperature), y, (both, tt), axis=axis)


def _vjp(xp, arguments, y, cotangent, needed, *, axis):
    x, temperature, noise = arguments
    wanted = (needed[0] or needed[2], needed[1])
    gx, gt = _soft.vjp(xp, (_noisy(xp, x, noise, axis), temperature), y, cotangent, wanted, axis=axis)
    return gx if needed[0] else None, gt, gx if needed[2] else None


def _one_hot(xp, x, temperature, noise, *, axis):
    _, is_top = tops(xp, _noisy(xp, x, noise, axis), axis)
    hot = xp.where(first_top(xp, is_top, x, axis), xp.ones_like(x), 0.0)
    y = _value(xp, x, temperature, noise, axis=axis)
    return xp.where(xp.isnan(y), y, hot)


def _with_soft(rule):
    def hard(xp, arguments, y, *rest, axis):
        return rule(xp, arguments, _value(xp, *arguments, axis=axis), *rest, axis=axis)

    return hard


_parameters = (
    parameter("temperature", 1.0, "(0, inf)", broadcast="scalar", description="what the input is divided by"),
    parameter("noise", None, random="gumbel", description="numbers of the standard Gumbel distribution"),
)
_names = ("x", "temperature", "noise")

_hard = Activation(
    "gumbel_softmax",
    "axiswise",
    Axiswise("gumbel_softmax_hard", _names, _one_hot, _with_soft(_jvp), _with_soft(_vjp), ("axis",)),
    "GumbelSoftmax",
    parameters=_parameters,
    options=(AXIS,),
)

axiswise(
    "gumbel_softmax",
    value=_value,
    jvp=_jvp,
    vjp=_vjp,
    left_out=(-INF, 0.0),
    parameters=_parameters,
    options=[
        Option(
            "hard",
            False,
            choices=(False, True),
            variants={False: "gumbel_softmax", True: _hard},
            description="True for the one-hot vector of the largest entry, whose derivatives are still the soft ones",
        ),
        AXIS,
    ],
    family="normalising",
    formula=r"\frac{e^{(x_i + g_i) / T}}{\sum_j e^{(x_j + g_j) / T}}, \quad g_i \sim \operatorname{Gumbel}(0, 1)",
    definition="exp((x + noise) / temperature) / sum(exp((x + noise) / temperature))",
    notes="A sample of the categorical distribution with the logits x, relaxed so that it is differentiable. It is random in "
    "every call. Of equal largest entries `hard` takes the first. PyTorch calls the temperature tau.",
    smoothness="Cinf",
    examples=({"noise": 0.0}, {"temperature": 2.0}),
    reference="Jang, Gu & Poole, Categorical reparameterization with Gumbel-softmax, 2016, arXiv:1611.01144.",
)
