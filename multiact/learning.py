"""What the Modules and Layers of all frameworks share: which parameters are learned, and how they are kept in their range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .declaration import Activation, Elementwise, Parameter
from .errors import ParameterError, ShapeError


def learnable_names(
    activation: Activation,
    asked: bool | str | Sequence[str] | None,
    owner: str,
    spelled: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """The names of the parameters to learn, in the order of the declaration.

    Parameters
    ----------
    asked : True for all, False for none, names, or None for those that are learned by definition.
    owner : the class, for the message of an error.
    spelled : a framework's own names for parameters, which are accepted too.

    Raises
    ------
    ParameterError : there is no such parameter, or none at all.
    MissingDerivativeError : the derivative in it is not declared.
    """
    names = [p.name for p in activation.held]
    if asked is None:
        return tuple(p.name for p in activation.held if p.learned)
    wanted: Sequence[str]
    if isinstance(asked, bool):
        if asked and not names:
            raise ParameterError(f"{owner} has no parameters, so learnable must be False.")
        wanted = names if asked else []
    else:
        ours = {theirs: name for name, theirs in (spelled or {}).items()}
        wanted = [ours.get(name, name) for name in ([asked] if isinstance(asked, str) else asked)]
    for name in wanted:
        if name not in names:
            raise ParameterError(f"{owner} has no parameter {name!r} to learn. It has: {', '.join(names) or 'none'}.")
        if isinstance(activation.function, Elementwise):
            activation.function.require(name)
    return tuple(name for name in names if name in wanted)


def is_positive(p: Parameter) -> bool:
    """Whether the formula needs the parameter to be greater than 0. Its logarithm is learned then, which cannot leave the range."""
    return p.allowed.low == 0 and p.allowed.low_open and math.isinf(p.allowed.high)


def stored_name(p: Parameter) -> str:
    """The name of the weight that is learned for a parameter: log_alpha for an alpha that has to be positive."""
    return f"log_{p.name}" if is_positive(p) else p.name


def stored_value(p: Parameter, value: float) -> float:
    """The weight for which the parameter has this value."""
    return math.log(value) if is_positive(p) else value


def number(p: Parameter, value: Any, owner: str) -> float:
    """A constructor's argument for a parameter, which must be a number.

    Raises
    ------
    ParameterError : it is an array, or out of range.
    """
    checked = p.check(value, owner)
    if not isinstance(checked, float):
        raise ParameterError(
            f"{owner}: {p.name} must be a number. Received: {type(value).__name__}. To hold an array, make it learnable "
            f"with one value for each channel and load or assign its values."
        )
    return checked


def along_channels(size: int, shape: Sequence[int | None], axis: int, what: str, change: str) -> tuple[int, ...]:
    """The shape in which `size` values, one for each channel, broadcast to an input of `shape`.

    Raises
    ------
    ShapeError : the input has another number of channels along `axis`.
    """
    rank = len(shape)
    if not -rank <= axis < rank or shape[axis] not in (size, None):
        raise ShapeError(
            f"{what} has {size} values, one for each channel, which does not match channel_axis={axis} of an input of shape "
            f"{tuple(shape)}. {change}"
        )
    return (size, *(1,) * (rank - axis % rank - 1))


def describe(p: Parameter, name: str, default: str) -> str:
    """A line of a constructor's documentation."""
    stored = " Learned as its logarithm, which keeps it positive." if is_positive(p) else ""
    return f"{name} : number in {p.allowed}, {default}. {p.description}".rstrip(". ") + "." + stored
