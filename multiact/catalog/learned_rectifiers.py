"""Rectifiers whose shape is usually learned."""

from __future__ import annotations

import math

from ..declaration import Activation, parameter
from ..errors import DefinitionError
from ..numerics import choose, constant, zero
from ..registry import detached, pointwise

INF = math.inf


def _positive(xp, x):
    """max(x, 0), with slope 0 at 0."""
    return xp.where(x <= 0, 0.0, x)


pointwise(
    "star_relu",
    lambda xp, x, /, *, scale, bias: scale * _positive(xp, x) * _positive(xp, x) + bias,
    {
        "x": lambda xp, x, /, *, scale, bias: 2 * scale * _positive(xp, x),
        ("x", "x"): lambda xp, x, /, *, scale, bias: choose(xp, x > 0, 2 * scale, 0.0, x),
        "scale": lambda xp, x, /, *, scale, bias: _positive(xp, x) * _positive(xp, x),
        "bias": lambda xp, x, /, *, scale, bias: constant(xp, x, 1.0),
    },
    parameters=[
        parameter("scale", 0.8944, learned=True, description="the factor of the square"),
        parameter("bias", -0.4472, learned=True, description="the value for x <= 0"),
    ],
    class_name="StarReLU",
    family="rectifiers",
    formula=r"s \max(x, 0)^2 + b",
    definition="scale * x**2 + bias if x > 0 else bias",
    notes="The defaults are those of the paper, which give mean 0 and variance 1 for normal input; timm starts from scale 1 and "
    "bias 0. The second derivative at 0 is 0.",
    smoothness="C1",
    kinks=("0",),
    examples=({"scale": 1.0, "bias": 0.0},),
    reference="Yu et al., MetaFormer baselines for vision, 2022, arXiv:2210.13452.",
)

pointwise(
    "tlu",
    lambda xp, x, /, *, tau: xp.where(x <= tau, tau, x),
    {
        "x": lambda xp, x, /, *, tau: choose(xp, x > tau, 1.0, 0.0, x),
        ("x", "x"): zero,
        "tau": lambda xp, x, /, *, tau: choose(xp, x <= tau, 1.0, 0.0, x),
    },
    parameters=[parameter("tau", 0.0, learned=True, description="the lower bound")],
    class_name="TLU",
    family="rectifiers",
    formula=r"\max(x, \tau)",
    definition="x if x > tau else tau",
    notes="The slope at `tau` is 0.",
    smoothness="C0",
    kinks=("tau",),
    examples=({"tau": -0.5},),
    reference="Singh & Krishnan, Filter response normalization layer: eliminating batch dependence in the training of deep "
    "neural networks, 2019, arXiv:1911.09737.",
)


def _srelu_parts(x, t_left, t_right):
    return x >= t_right, x <= t_left


def _srelu(xp, x, /, *, t_left, a_left, t_right, a_right):
    right, left = _srelu_parts(x, t_left, t_right)
    return xp.where(right, t_right + a_right * (x - t_right), xp.where(left, t_left + a_left * (x - t_left), x))


def _srelu_x(xp, x, /, *, t_left, a_left, t_right, a_right):
    right, left = _srelu_parts(x, t_left, t_right)
    return xp.where(right, a_right, choose(xp, left, a_left, 1.0, x))


def _srelu_t_left(xp, x, /, *, t_left, a_left, t_right, a_right):
    right, left = _srelu_parts(x, t_left, t_right)
    return choose(xp, left & ~right, 1 - a_left, 0.0, x)


def _srelu_a_left(xp, x, /, *, t_left, a_left, t_right, a_right):
    right, left = _srelu_parts(x, t_left, t_right)
    return choose(xp, left & ~right, x - t_left, 0.0, x)


def _srelu_t_right(xp, x, /, *, t_left, a_left, t_right, a_right):
    return choose(xp, x >= t_right, 1 - a_right, 0.0, x)


def _srelu_a_right(xp, x, /, *, t_left, a_left, t_right, a_right):
    return choose(xp, x >= t_right, x - t_right, 0.0, x)


pointwise(
    "srelu",
    _srelu,
    {
        "x": _srelu_x,
        ("x", "x"): zero,
        "t_left": _srelu_t_left,
        "a_left": _srelu_a_left,
        "t_right": _srelu_t_right,
        "a_right": _srelu_a_right,
    },
    parameters=[
        parameter("t_left", 0.0, learned=True, description="where the left piece ends"),
        parameter("a_left", 0.2, learned=True, description="the slope of the left piece"),
        parameter("t_right", 1.0, learned=True, description="where the right piece begins; not less than `t_left`"),
        parameter("a_right", 1.0, learned=True, description="the slope of the right piece"),
    ],
    class_name="SReLU",
    family="rectifiers",
    formula=r"\begin{cases} t_r + a_r (x - t_r) & x \ge t_r \\ x & t_l < x < t_r \\ t_l + a_l (x - t_l) & x \le t_l \end{cases}",
    definition="t_right + a_right * (x - t_right) if x >= t_right else t_left + a_left * (x - t_left) if x <= t_left else x",
    notes="The slopes at `t_left` and `t_right` are `a_left` and `a_right`. It starts as a leaky ReLU, as in the paper, which sets "
    "`t_right` from the first activations.",
    smoothness="C0",
    kinks=("t_left", "t_right if a_right != 1 else t_left"),
    examples=({"t_left": -1.0, "a_right": 0.5},),
    reference="Jin et al., Deep learning with S-shaped rectified linear activation units, 2015, arXiv:1512.07030.",
)


def apl(hinges: int, *, listed: bool = False) -> Activation:
    """The adaptive piecewise linear unit with any number of hinges.

    f(x) = max(x, 0) + sum of a_s max(b_s - x, 0) over the hinges s = 1, 2, ..., with the parameters a1, b1, a2, b2, ...
    The paper draws each a from [-0.2, 0.2] and each b from N(0, 0.5^2). Here every a is -0.125 at first and the b are spread evenly
    from -0.5 to 0.5.

    Parameters
    ----------
    hinges : their number, at least 1.
    listed : whether to register it, under the name aplu; otherwise it is only returned.

    Raises
    ------
    DefinitionError : `hinges` is not a positive integer.

    Source: Agostinelli, Hoffman, Sadowski & Baldi, Learning activation functions to improve deep neural networks, 2014,
    arXiv:1412.6830.
    """
    if isinstance(hinges, bool) or not isinstance(hinges, int) or hinges < 1:
        raise DefinitionError(f"apl needs a positive number of hinges. Received: hinges={hinges!r}.")
    numbers = range(1, hinges + 1)
    named = [
        (f"a{s}", f"b{s}") for s in numbers
    ]  # torch.compile(dynamic=True) makes symbols of numbers that a formula counts

    def line(xp, x, given):
        """Slope and intercept of the sum of the hinges to the right of x."""
        slope, intercept = xp.zeros_like(x), xp.zeros_like(x)
        for a, b in [(given[height], given[place]) for height, place in named]:
            slope = slope - xp.where(x < b, a + xp.zeros_like(x), 0.0)
            intercept = intercept + xp.where(x < b, a * b + xp.zeros_like(x), 0.0)
        return slope, intercept

    def value(xp, x, /, **given):
        slope, intercept = line(xp, x, given)
        flat = (slope == 0) & ((x == INF) | (x == -INF))
        return _positive(xp, x) + (slope * xp.where(flat, 0.0, x) + intercept)

    def first(xp, x, /, **given):
        return choose(xp, x > 0, 1.0, 0.0, x) + line(xp, x, given)[0]

    def by_height(place):
        return lambda xp, x, /, **given: choose(xp, x < given[place], given[place] - x, 0.0, x)

    def by_place(height, place):
        return lambda xp, x, /, **given: choose(xp, x < given[place], given[height], 0.0, x)

    spread = [0.0] if hinges == 1 else [(s - 1) / (hinges - 1) - 0.5 for s in numbers]
    return (pointwise if listed else detached)(
        "aplu" if listed else f"aplu_{hinges}",
        value,
        {
            "x": first,
            ("x", "x"): zero,
            **{a: by_height(b) for a, b in named},
            **{b: by_place(a, b) for a, b in named},
        },
        parameters=[
            p
            for s, b in zip(numbers, spread)
            for p in (
                parameter(
                    f"a{s}", -0.125, learned=True, description=f"minus the slope that hinge {s} adds to its left"
                ),
                parameter(f"b{s}", b, learned=True, description=f"where hinge {s} is"),
            )
        ],
        class_name="APLU" if listed else f"APLU{hinges}",
        aliases=("apl",) if listed else (),
        family="rectifiers",
        formula=r"\max(x, 0) + \sum_s a_s \max(b_s - x, 0)",
        definition=" + ".join(["(x if x > 0 else 0)", *(f"(a{s} * (b{s} - x) if x < b{s} else 0)" for s in numbers)]),
        notes="The slope at each of the kinks is that of its right side, at 0 that of its left side.",
        smoothness="C0",
        kinks=("0", *(f"b{s}" for s in numbers)),
        examples=({"a1": 0.25, "b1": -1.0, "a2": -0.25},) if listed else (),
        reference="Agostinelli, Hoffman, Sadowski & Baldi, Learning activation functions to improve deep neural networks, 2014, "
        "arXiv:1412.6830.",
    )


apl(2, listed=True)
