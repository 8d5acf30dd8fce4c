"""Facts about an activation as data, computed from the function itself for any setting of its parameters.

Nothing is declared but the smoothness and where the kinks are; `multiact.curves` says how the rest is found.

>>> silu = facts("silu", beta=2.0)
>>> silu.minimum
Extremum(at=-0.6392322713805368, value=-0.1392322713805369)
>>> [piece.direction for piece in silu.pieces], silu.limits, silu.kinks
(['decreasing', 'increasing'], (0.0, inf), ())
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from .declaration import Activation, Elementwise
from .errors import MissingDerivativeError, ParameterError
from .initialisation import Initialisation, recommended

INF = math.inf
Direction = Literal["increasing", "decreasing", "constant"]

#: An input is said to be in a saturation region where the slope stays below this.
SATURATED = 1e-3


class Extremum(NamedTuple):
    """The least or largest value, and the place nearest to 0 where it is taken."""

    at: float
    value: float


class Piece(NamedTuple):
    """An interval between turning points or kinks on which the function goes one way."""

    low: float
    high: float
    direction: Direction


class Kink(NamedTuple):
    """A place where the value or one of the first two derivatives jumps.

    Attributes
    ----------
    at : the place.
    order : which of them is the first to jump: 0 the value, 1 the slope, 2 the second derivative.
    slope : the derivative chosen there, the same on every backend.
    left, right : the slopes on both sides; any number between them is a subgradient where the value does not jump.
    jump : the value on the right less the value on the left.
    """

    at: float
    order: int
    slope: float
    left: float
    right: float
    jump: float


@dataclass(frozen=True)
class Facts:
    """What is known about an activation with one setting of its parameters. None stands for unknown or for none there is.

    Attributes
    ----------
    activation, parameters : what this is about.
    domain : the interval on which it has a value; elsewhere it is NaN.
    range : the closure of the values taken, (low, high).
    limits : (at -inf, at +inf); None for one that does not exist, as for a sine.
    minimum, maximum : the extreme values and where they are taken; None if they are only approached.
    zeros : the places where the sign of the value changes; None if there are infinitely many. A plateau of zeros, as that of
        relu, is not one; it is among the pieces.
    symmetry : "odd", "even" or "none".
    mean : E f(z) for z ~ N(0, 1).
    zero_centred : whether that mean is 0.
    monotonic : whether it never both rises and falls.
    pieces : where it increases, decreases or is constant; None if there are infinitely many turning points.
    convexity : "convex", "concave", "linear" (both) or "neither".
    lipschitz : the largest slope in magnitude; inf if there is none, or if the value jumps.
    saturation : (a, b) such that |f'| < `SATURATED` for all x < a and for all x > b; None for a side where there is none.
    smoothness : "C0", "C1", ..., "Cinf", or "discontinuous".
    kinks : where the value or one of its first two derivatives jumps, with the slope chosen there.
    forward_gain, backward_gain : 1 / sqrt(E f(z)^2) and 1 / sqrt(E f'(z)^2) for z ~ N(0, 1).
    elasticity : by how many per cent E f(z)^2 grows when the variance of z grows from 1 by one. In a deep network with the
        forward gain a deviation in the size of the signal is multiplied by it in every layer: below 1 it dies out.
    initialisation : what to draw the weights before the activation from, and why.
    """

    activation: str
    parameters: dict[str, float]
    smoothness: str = ""
    domain: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    limits: tuple[float | None, float | None] | None = None
    minimum: Extremum | None = None
    maximum: Extremum | None = None
    zeros: tuple[float, ...] | None = None
    symmetry: str | None = None
    mean: float | None = None
    zero_centred: bool | None = None
    monotonic: bool | None = None
    pieces: tuple[Piece, ...] | None = None
    convexity: str | None = None
    lipschitz: float | None = None
    saturation: tuple[float | None, float | None] | None = None
    kinks: tuple[Kink, ...] = ()
    forward_gain: float | None = None
    backward_gain: float | None = None
    elasticity: float | None = None
    initialisation: Initialisation | None = None


def facts(name: str | Activation, **parameters: Any) -> Facts:
    """The facts about an activation with these parameters, computed from the function; kept for the next time.

    Parameters
    ----------
    name : an activation, its name or an alias.
    **parameters : numbers, as for the function itself.

    Returns
    -------
    `Facts`. For gated units those that follow from their two factors; for functions along an axis the declared ones and the
    initialisation.

    Raises
    ------
    UnknownActivationError : there is no such activation.
    ParameterError : a parameter is unknown, missing, out of range, or not a number.
    """
    from .functions import settings
    from .registry import get

    activation, values, _ = settings(get(name), parameters)
    for p, value in zip(activation.parameters, values):
        if not isinstance(value, float):
            raise ParameterError(
                f"facts are about one setting of {activation.name}: {p.name} must be a number. "
                f"Received: {type(value).__qualname__}. Call facts once for each value."
            )
    return _facts(activation, tuple(values))


def gain(name: str | Activation, *, backward: bool = False, **parameters: Any) -> float:
    """What to multiply weights of variance 1 / fan_in by, so that signals keep their size through a layer.

    Parameters
    ----------
    name : an activation, its name or an alias.
    backward : whether the size of gradients is to be kept, 1 / sqrt(E f'(z)^2), and not that of values, 1 / sqrt(E f(z)^2),
        with z ~ N(0, 1).
    **parameters : as for the function itself.

    Returns
    -------
    float : inf for an activation that is 0 nearly everywhere.

    Raises
    ------
    UnknownActivationError, ParameterError : as for `facts`.
    MissingDerivativeError : no such gain exists: it is not a function of one number, or not of every number.

    References
    ----------
    He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852.

    Examples
    --------
    >>> round(gain("relu"), 4), round(gain("gelu"), 4), round(gain("leaky_relu", negative_slope=0.2), 4)
    (1.4142, 1.5335, 1.3868)
    """
    found = facts(name, **parameters)
    value = found.backward_gain if backward else found.forward_gain
    if value is None:
        why = (
            "a function of one number" if found.domain is None else f"defined for every number, only on {found.domain}"
        )
        raise MissingDerivativeError(
            f"{found.activation} has no {'backward' if backward else 'forward'} gain: it is not {why}."
        )
    return value


@lru_cache(maxsize=1024)
def _facts(activation: Activation, values: tuple[float, ...]) -> Facts:
    function = activation.function
    known: dict[str, Any] = {}
    parameters = dict(zip((p.name for p in activation.parameters), values))
    if activation.kind == "pointwise" and isinstance(function, Elementwise):
        from .curves import Curve  # which imports NumPy

        known = Curve(activation, function, parameters).facts()
    elif activation.gate_of is not None:
        known = _gated(activation, parameters)
        known["initialisation"] = recommended(activation.name, 0.0, known, "gated")
    elif activation.kind == "axiswise":
        known["initialisation"] = recommended(activation.name, 0.0, known, "axiswise")
    return Facts(activation.name, parameters, **{"smoothness": activation.smoothness, **known})


def _gated(activation: Activation, parameters: dict[str, float]) -> dict[str, Any]:
    """What is known of a product of a function of the value and one of the gate, whose inputs are independent."""
    from .registry import get

    outer = activation.value_of or get("identity")
    inner = activation.gate_of
    assert inner is not None
    value, gate = (facts(part, **{p.name: parameters[p.name] for p in get(part).parameters}) for part in (outer, inner))
    of_value, of_gate = value.range or (-INF, INF), gate.range or (-INF, INF)
    ends = [_product(a, b) for a in of_value for b in of_gate]
    steepest = (_product(value.lipschitz or 0, _size(of_gate)), _product(_size(of_value), gate.lipschitz or 0))
    known: dict[str, Any] = {"range": (min(ends), max(ends)), "lipschitz": INF if INF in steepest else None}
    if value.mean is not None and gate.mean is not None:
        known |= {"mean": value.mean * gate.mean, "zero_centred": value.zero_centred or gate.zero_centred}
    if value.forward_gain is not None and gate.forward_gain is not None:
        known["forward_gain"] = value.forward_gain * gate.forward_gain
    if value.elasticity is not None and gate.elasticity is not None:
        known["elasticity"] = value.elasticity + gate.elasticity
    return known


def _product(a: float, b: float) -> float:
    """a * b for bounds, where 0 times inf is 0."""
    return a * b if a and b else 0.0


def _size(ends: tuple[float, float]) -> float:
    """The least upper bound of |f| for the range of f."""
    return max(map(abs, ends))
