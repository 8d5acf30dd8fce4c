"""What the Modules and Layers of all frameworks share: which parameters are learned, and how they are kept in their range."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .declaration import Activation, Elementwise, Parameter
from .errors import ParameterError, ShapeError

#: For the docstring of a Module that is made like the activation's function is called; the framework's own arguments follow.
CONSTRUCTOR = """
Constructor
-----------
The parameters and options above, numbers only, by keyword or in that order; and
learnable : True for all parameters, False for none, or their names; by default those that are learned by definition. One that
    has to be positive is learned as its logarithm.
num_parameters : 1, or the number of channels: a learnable parameter then has one value for each.
"""


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


def settings(activation: Activation, positional: Sequence[Any], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All parameters and options that a constructor was given, by position in their order or by keyword, or its defaults.

    Raises
    ------
    ParameterError : one is unknown, missing, given twice or out of range.
    """
    names = [s.name for s in activation.held_settings]
    if len(positional) > len(names):
        raise ParameterError(f"{owner} takes at most {len(names)} positional arguments. Received: {len(positional)}.")
    twice = [n for n in names[: len(positional)] if n in given]
    unknown = [n for n in given if n not in names]
    if twice or unknown:
        fault = f"{twice[0]} was given twice" if twice else f"there is no argument {unknown[0]!r}"
        raise ParameterError(f"{owner}: {fault}. It takes: {', '.join(names) or 'none'}.")
    found = {**given, **dict(zip(names, positional))}
    for p in activation.held:
        if p.name not in found and p.default is None:
            raise ParameterError(f"{owner} needs {p.name}=..., which has no default.")
        found[p.name] = number(p, found.get(p.name, p.default), owner)
    return found | {o.name: o.check(found.get(o.name, o.default), owner) for o in activation.options}


def signature(activation: Activation, *constructors: Callable[..., None]) -> inspect.Signature:
    """What a class of an activation is made with: its settings, then the keywords of these constructors."""
    kinds = inspect.Parameter
    ours = [
        kinds(s.name, kinds.POSITIONAL_OR_KEYWORD, default=kinds.empty if s.default is None else s.default)
        for s in activation.held_settings
    ]
    own = {p.name: p for c in constructors for p in inspect.signature(c).parameters.values()}
    return inspect.Signature([*ours, *(p for p in own.values() if p.kind is kinds.KEYWORD_ONLY)])


class OfClass:
    """The `__signature__` of a class, which its instances, being called otherwise, do not have."""

    def __init__(self, signature: inspect.Signature) -> None:
        self._signature = signature

    def __get__(self, instance: object | None, owner: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        return self._signature


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


def attribute(p: Parameter) -> str:
    """The attribute of a Module that holds a parameter which is not learned; one that has to be positive is a property."""
    return f"_{p.name}" if is_positive(p) else p.name


def positive(activation: Activation, exp: Callable[[Any], Any]) -> dict[str, property]:
    """The properties of a Module for the parameters that have to be positive, by which these are read as they are.

    Parameters
    ----------
    exp : of a weight of the framework.
    """

    def made(p: Parameter) -> property:
        def get(module: Any) -> Any:
            if p.name in module.learnable:
                return exp(getattr(module, stored_name(p)))
            return getattr(module, attribute(p))

        return property(get, doc=p.description)

    return {p.name: made(p) for p in activation.parameters if is_positive(p)}


def held(
    activation: Activation, learnable: Sequence[str], given: Mapping[str, Any], num_parameters: int
) -> tuple[dict[str, tuple[tuple[int, ...], float]], dict[str, Any]]:
    """What a Module holds of the `settings` given: its weights as (shape, start) and other attributes, by their names."""
    weights: dict[str, tuple[tuple[int, ...], float]] = {}
    fixed: dict[str, Any] = {}
    for p in activation.held:
        if p.name in learnable:
            shape = (num_parameters,) if num_parameters != 1 and p.broadcast == "channel" else ()
            weights[stored_name(p)] = shape, stored_value(p, given[p.name])
        else:
            fixed[attribute(p)] = given[p.name]
    return weights, fixed | {o.name: given[o.name] for o in activation.options}


def arguments(
    activation: Activation, read: Callable[[str], Any], shape: Sequence[int | None], axis: int, owner: str
) -> dict[str, Any]:
    """The keyword arguments with which a Module calls the function on an input of `shape`, those at their default left out.

    Parameters
    ----------
    read : the value of a setting by its name: an array if it is learned.
    axis : of the channels.
    """
    given = {}
    for s in activation.held_settings:
        v = read(s.name)
        learned = hasattr(v, "shape")
        if learned and v.shape:
            change = "Set num_parameters to the number of channels, or channel_axis to their axis."
            v = v.reshape(along_channels(v.size, shape, axis, f"{owner}: {s.name}", change))
        if learned or v != s.default:
            given[s.name] = v
    return given
