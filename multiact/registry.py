"""The names: declaring activations, finding them again, and what a misspelt name is answered with."""

from __future__ import annotations

import difflib
import importlib
import keyword
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .declaration import (
    Activation,
    Axiswise,
    Body,
    Bound,
    Elementwise,
    Option,
    Parameter,
    Product,
    parameter,
    tower,
)
from .errors import DefinitionError, UnknownActivationError

_activations: dict[str, Activation] = {}
_aliases: dict[str, str] = {}
_lock = threading.RLock()
_loaded = False

#: Called with every activation that is registered from now on, by a backend whose framework keeps names of its own.
listeners: list[Callable[[Activation], None]] = []

GATE_SIDES = ("first", "second", "interleaved")


def _load_catalog() -> None:
    global _loaded
    if _loaded:
        return
    with _lock:
        if not _loaded:
            importlib.import_module("multiact.catalog").load()
            _loaded = True


def register(activation: Activation) -> Activation:
    """Make an activation available under its name and aliases; a name that is taken raises `DefinitionError`."""
    if not activation.name.isidentifier() or keyword.iskeyword(activation.name) or activation.name.startswith("_"):
        raise DefinitionError(f"{activation.name!r} cannot be a name: give a lower-case Python identifier.")
    with _lock:
        for name in (activation.name, *activation.aliases):
            if name in _activations or name in _aliases:
                owner = _aliases.get(name, name)
                raise DefinitionError(
                    f"the name {name!r} is taken by {_activations[owner]!r}. Choose another, or remove the first with "
                    f"multiact.registry.unregister({owner!r})."
                )
        _activations[activation.name] = activation
        _aliases.update(dict.fromkeys(activation.aliases, activation.name))
    for listener in listeners:
        listener(activation)
    return activation


def unregister(name: str) -> None:
    """Remove an activation and its aliases, for tests and interactive work."""
    with _lock:
        activation = _activations.pop(get(name).name)
        for alias in activation.aliases:
            _aliases.pop(alias, None)


def get(name: str | Activation) -> Activation:
    """The activation of that name or alias.

    Raises
    ------
    UnknownActivationError : there is none; the message suggests the nearest names.
    """
    if isinstance(name, Activation):
        return name
    _load_catalog()
    found = _activations.get(name) or _activations.get(_aliases.get(name, ""))
    if found is None:
        near = difflib.get_close_matches(str(name).lower(), [*_activations, *_aliases], n=2, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise UnknownActivationError(
            f"no activation is named {name!r}.{hint} multiact.names() lists all {len(_activations)}."
        )
    return found


def names(family: str | None = None) -> list[str]:
    """Every canonical name, sorted; with `family`, those of one chapter of the catalogue."""
    _load_catalog()
    families = sorted({a.family for a in _activations.values()})
    if family is not None and family not in families:
        raise UnknownActivationError(f"no family is named {family!r}. There are: {', '.join(families)}.")
    return sorted(n for n, a in _activations.items() if family is None or a.family == family)


def aliases() -> dict[str, str]:
    """Every alias and the canonical name it stands for."""
    _load_catalog()
    return dict(_aliases)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def pointwise(
    name: str,
    value: Body,
    derivatives: Mapping[str | tuple[str, ...], Body],
    *,
    parameters: Sequence[Parameter] = (),
    options: Sequence[Option] = (),
    class_name: str | None = None,
    **facts: Any,
) -> Activation:
    """Declare and register a pointwise activation.

    Parameters
    ----------
    name : lower snake case.
    value : ``f(xp, x, /, *, alpha=1.0)``, in the array API standard alone.
    derivatives : formulas of the same form, keyed by "x", ("x", "x"), and the name of every parameter.
    parameters, options : see `Parameter`, `Option`.
    class_name : of the Module and Layer; the name in camel case by default.
    **facts : the remaining fields of `Activation`.
    """
    function = tower(name, value, derivatives, parameters)
    return register(
        Activation(
            name,
            "pointwise",
            function,
            class_name or _class_name(name),
            parameters=tuple(parameters),
            options=tuple(options),
            **facts,
        )
    )


def preset(
    name: str,
    base: Activation,
    *,
    fixed: Mapping[str, float] | None = None,
    defaults: Mapping[str, float] | None = None,
    learned: Sequence[str] = (),
    class_name: str | None = None,
    **facts: Any,
) -> Activation:
    """Declare another name for an activation with some parameters fixed, given another default, or learned."""
    fixed, defaults = dict(fixed or {}), dict(defaults or {})
    parameters = tuple(
        Parameter(
            p.name,
            defaults.get(p.name, p.default),
            p.allowed,
            p.name in learned,
            p.broadcast,
            p.description,
        )
        for p in base.parameters
        if p.name not in fixed
    )
    assert isinstance(base.function, Elementwise)
    function = Bound(name, base.function, fixed)
    return register(
        Activation(
            name,
            base.kind,
            function,
            class_name or _class_name(name),
            parameters=parameters,
            based_on=base.name,
            **facts,
        )
    )


def gated(
    name: str, activation: Activation, *, gate: str = "first", class_name: str | None = None, **facts: Any
) -> Activation:
    """Declare the gated form ``value * f(gate)`` of a pointwise activation; nothing else has to be written for it.

    Parameters
    ----------
    gate : the default side of the gate when one input is split along `axis`: "first" (packed SwiGLU), "second"
        (torch's GLU) or "interleaved" (even entries are the gate).
    """
    if activation.kind != "pointwise":
        raise DefinitionError(
            f"{name}: only a pointwise activation has a gated form, {activation.name} is {activation.kind}."
        )
    assert isinstance(activation.function, Elementwise)
    options = (
        Option("axis", -1, description="the axis that is split into value and gate"),
        Option("gate", gate, choices=GATE_SIDES, description="which part goes through the activation"),
    )
    return register(
        Activation(
            name,
            "gated",
            Product(name, activation.function),
            class_name or _class_name(name),
            parameters=activation.parameters,
            options=options,
            gate_of=activation.name,
            definition=f"value * ({activation.definition})",
            examples=activation.examples,
            **facts,
        )
    )


def axiswise(
    name: str,
    *,
    value: Body,
    jvp: Body,
    vjp: Body,
    parameters: Sequence[Parameter] = (),
    class_name: str | None = None,
    **facts: Any,
) -> Activation:
    """Declare and register an activation along an axis; see `Axiswise` for the signatures."""
    arguments = ("x", *(p.name for p in parameters))
    return register(
        Activation(
            name,
            "axiswise",
            Axiswise(name, arguments, value, jvp, vjp),
            class_name or _class_name(name),
            parameters=tuple(parameters),
            options=(Option("axis", -1, description="the axis along which the result is normalised"),),
            **facts,
        )
    )


def define(
    name: str,
    value: Body,
    derivatives: Mapping[str | tuple[str, ...], Body],
    *,
    parameters: Mapping[str, float] | Sequence[Parameter] = (),
    **facts: Any,
) -> Callable[..., Any]:
    """Declare an activation of your own; it is at once available in every framework.

    Parameters
    ----------
    name : lower snake case, not yet taken.
    value : ``f(xp, x, /, *, alpha=1.0)``, written with the array API standard alone.
    derivatives : formulas of the same form, keyed by "x" (required), ("x", "x"), and the name of every parameter. A
        parameter without one raises `MissingDerivativeError` when a gradient is asked for it.
    parameters : names with their defaults, or `Parameter` objects.
    **facts : any further field of `Activation`; with `definition`, the textbook formula as an expression such as
        ``"x * tanh(log(1 + exp(x)))"``, the conformance suite can judge it.

    Returns
    -------
    function of an array of any framework, the same as ``multiact.<name>``.

    Examples
    --------
    >>> import numpy as np, multiact as ma
    >>> cube = ma.define(
    ...     "cube", lambda xp, x, /: x * x * x, {"x": lambda xp, x, /: 3 * x * x}, definition="x**3"
    ... )
    >>> cube(np.asarray([2.0]))
    array([8.])
    >>> ma.registry.unregister("cube")
    """
    _load_catalog()
    if isinstance(parameters, Mapping):
        parameters = [parameter(key, default) for key, default in parameters.items()]
    activation = pointwise(name, value, derivatives, parameters=parameters, **facts)
    return importlib.import_module(__package__).__getattr__(activation.name)
