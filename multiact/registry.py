"""The names: declaring activations, finding them again, and what a misspelt name is answered with."""

from __future__ import annotations

import difflib
import importlib
import inspect
import keyword
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from types import CodeType
from typing import Any, cast

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
_gated_forms: dict[tuple[Activation, str], Activation] = {}
#: In which run of which module an activation was declared.
_runs: dict[Activation, tuple[str, CodeType]] = {}
_lock = threading.RLock()
_loaded = False

#: Called with every activation that is registered from now on, by a backend whose framework keeps names of its own.
listeners: list[Callable[[Activation], None]] = []

GATE_SIDES = ("first", "second", "interleaved")

AXIS = Option("axis", -1, description="the axis along which the function is taken")


def _load_catalog() -> None:
    global _loaded
    if _loaded:
        return
    with _lock:
        if not _loaded:
            importlib.import_module("multiact.catalog").load()
            _loaded = True


def _run() -> tuple[str, CodeType] | None:
    """The module that is being executed and declares an activation, and its code; None when a function declares it."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    outermost = frame.f_code.co_name == "<module>" or frame.f_code.co_name.startswith("<cell line")
    return (frame.f_globals.get("__name__", ""), frame.f_code) if outermost else None


def register(activation: Activation) -> Activation:
    """Make an activation available under its name and aliases; a name that is taken raises `DefinitionError`.

    A module that is executed again, by importlib.reload or as a cell of a notebook, replaces what it has declared before.
    """
    if not activation.name.isidentifier() or keyword.iskeyword(activation.name) or activation.name.startswith("_"):
        raise DefinitionError(f"{activation.name!r} cannot be a name: give a lower-case Python identifier.")
    if activation.class_name.islower():
        raise DefinitionError(f"{activation.class_name!r} cannot be a class name: give one with a capital letter.")
    run = _run()
    with _lock:
        before = _activations.get(activation.name)
        module, code = _runs.get(before, (None, None)) if before is not None else (None, None)
        if run is not None and run[0] == module and run[1] is not code:
            unregister(activation.name)
        for name in (activation.name, *activation.aliases):
            if name in _activations or name in _aliases:
                owner = _aliases.get(name, name)
                raise DefinitionError(
                    f"the name {name!r} is taken by {_activations[owner]!r}. Choose another, or remove the first with "
                    f"multiact.registry.unregister({owner!r})."
                )
        _activations[activation.name] = activation
        if run is not None:
            _runs[activation] = run
        _aliases.update(dict.fromkeys(activation.aliases, activation.name))
    for listener in listeners:
        listener(activation)
    return activation


def unregister(name: str) -> None:
    """Remove an activation and its aliases, for tests and interactive work."""
    with _lock:
        activation = _activations.pop(get(name).name)
        _runs.pop(activation, None)
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


def pointwise(name: str, value: Body, derivatives: Mapping[str | tuple[str, ...], Body], **facts: Any) -> Activation:
    """Declare and register a pointwise activation; the arguments are those of `detached`."""
    return register(detached(name, value, derivatives, **facts))


def detached(
    name: str,
    value: Body,
    derivatives: Mapping[str | tuple[str, ...], Body],
    *,
    parameters: Sequence[Parameter] = (),
    options: Sequence[Option] = (),
    class_name: str | None = None,
    ties: Mapping[tuple[str, ...], Body] | None = None,
    **facts: Any,
) -> Activation:
    """Declare a pointwise activation and register nothing: for what one with a name is made of, or one of a family.

    Parameters
    ----------
    name : lower snake case.
    value : ``f(xp, x, /, *, alpha=1.0)``, in the array API standard alone.
    derivatives : formulas of the same form, keyed by "x", ("x", "x"), and the name of every parameter.
    parameters, options : see `Parameter`, `Option`.
    class_name : of the Module and Layer; the name in camel case by default.
    ties : see `Tower`.
    **facts : the remaining fields of `Activation`.
    """
    return Activation(
        name,
        "pointwise",
        tower(name, value, derivatives, parameters, ties),
        class_name or _class_name(name),
        parameters=tuple(parameters),
        options=tuple(options),
        **facts,
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
        replace(p, default=defaults.get(p.name, p.default), learned=p.name in learned)
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


def gated_unit(
    name: str,
    activation: Activation,
    *,
    outer: Activation | None = None,
    factors: Sequence[Activation] = (),
    gate: str = "first",
    class_name: str | None = None,
    **facts: Any,
) -> Activation:
    """Declare the gated unit ``outer(value) * activation(gate)``; nothing else has to be written for it.

    Parameters
    ----------
    activation, outer : pointwise, of the gate and of the value; without an outer one the value is taken as it is.
        A parameter of the same name in both is one parameter.
    factors : activations whose product `activation` is: multiplied one after the other, so that nothing overflows before
        the result does.
    gate : the default side of the gate when one input is split along `axis`: "first" (packed SwiGLU), "second"
        (torch's GLU) or "interleaved" (even entries are the gate).
    """
    return register(_gated_unit(name, activation, outer, factors, gate, class_name, facts))


def _gated_unit(
    name: str,
    activation: Activation,
    outer: Activation | None,
    factors: Sequence[Activation],
    gate: str,
    class_name: str | None,
    facts: Mapping[str, Any],
) -> Activation:
    parts = (*(factors or (activation,)), *((outer,) if outer else ()))
    for part in parts:
        if part.kind != "pointwise":
            raise DefinitionError(f"{name}: only a pointwise activation has a gated form, {part.name} is {part.kind}.")
    options = (
        Option("axis", -1, description="the axis that is split into value and gate"),
        Option("gate", gate, choices=GATE_SIDES, description="which part goes through the activation"),
    )
    options[1].check(gate, name)
    value = re.sub(r"\bx\b", "value", outer.definition) if outer else "value"
    parameters = {p.name: p for part in parts for p in part.parameters}
    functions = [cast(Elementwise, part.function) for part in parts]
    function = Product.gated(name, functions.pop() if outer else None, functions)
    return Activation(
        name,
        "gated",
        function,
        class_name or _class_name(name),
        parameters=tuple(parameters[a] for a in function.arguments[2:]),
        options=options,
        gate_of=activation,
        value_of=outer,
        definition=f"({value}) * ({activation.definition})",
        examples=activation.examples,
        **facts,
    )


def gated(activation: str | Activation, gate: str = "first") -> Activation:
    """The gated form ``value * f(gate)`` of any pointwise activation f, one of your own included; it gets no name.

    Call it as any gated unit, with one array, split along ``axis=-1``, or with two; parameters are those of f. It is the
    same object for the same arguments. Where f of the gate overflows the result is infinite, whatever the value.

    Parameters
    ----------
    activation : its name, or an `Activation`.
    gate : which side goes through f: "first" (packed SwiGLU), "second" (torch's GLU), or "interleaved" (even entries).

    Raises
    ------
    UnknownActivationError : there is no activation of that name.
    DefinitionError : it is not pointwise.
    ParameterError : there is no such side.

    Examples
    --------
    >>> import numpy as np, multiact as ma
    >>> ma.gated("relu", gate="second")(np.asarray([3.0, 4.0, -1.0, 2.0]))
    array([0., 8.])
    """
    inner = get(activation)
    with _lock:
        found = _gated_forms.get((inner, gate))
        if found is None:
            facts = {
                "family": "gated",
                "formula": rf"b\, f(a), \quad f(x) = {inner.formula}" if inner.formula else r"b\, f(a)",
                "notes": f"The gated form of {inner.name}, f, which is applied to the gate a; the value is b.",
                "smoothness": inner.smoothness,
                "reference": inner.reference,
            }
            made = _gated_unit(f"gated_{inner.name}", inner, None, (), gate, f"Gated{inner.class_name}", facts)
            found = _gated_forms[inner, gate] = made
    return found


def registered(activation: Activation) -> bool:
    """Whether an activation has its name; the gated forms that `gated` makes do not."""
    return _activations.get(activation.name) is activation


def axiswise(
    name: str,
    *,
    value: Body,
    jvp: Body,
    vjp: Body,
    parameters: Sequence[Parameter] = (),
    options: Sequence[Option] = (AXIS,),
    fixed_axis: int | None = None,
    ranks: tuple[int, ...] = (),
    size: Callable[..., int] | None = None,
    left_out: tuple[float, float] | None = None,
    result_suffices: bool = False,
    class_name: str | None = None,
    **facts: Any,
) -> Activation:
    """Declare and register an activation along an axis.

    Parameters
    ----------
    value, jvp, vjp, fixed_axis, ranks, size, left_out, result_suffices : see `Axiswise`.
    parameters, options : see `Parameter`, `Option`. Options are integers, which reach the three by keyword, or have variants.
    class_name, **facts : as for `pointwise`.
    """
    arguments = ("x", *(p.name for p in parameters))
    static = tuple(o.name for o in options if not o.variants)
    function = Axiswise(name, arguments, value, jvp, vjp, static, fixed_axis, ranks, size, left_out, result_suffices)
    return register(
        Activation(
            name,
            "axiswise",
            function,
            class_name or _class_name(name),
            parameters=tuple(parameters),
            options=tuple(options),
            **facts,
        )
    )


def _parameter(owner: str, name: str, default: Any) -> Parameter:
    if default is not None and (isinstance(default, bool) or not isinstance(default, (int, float))):
        raise DefinitionError(
            f"{owner}: the default of {name} must be a number, or None when it has to be given. Received: {default!r}."
        )
    return parameter(name, None if default is None else float(default))


def _check_body(owner: str, what: str, body: Any, parameters: Sequence[str]) -> None:
    """Raise `DefinitionError` unless a formula can be called as ``body(xp, x, **parameters)``."""
    wanted = f"lambda xp, x, /{''.join([', *', *(f', {p}' for p in parameters)]) if parameters else ''}: ..."
    if not callable(body):
        raise DefinitionError(f"{owner}: {what} must be a function, {wanted}. Received: {body!r}.")
    try:
        signature = inspect.signature(body)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    kinds = inspect.Parameter
    own = [n for n, p in signature.parameters.items() if p.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    own = own if any(p.kind == kinds.POSITIONAL_ONLY for p in signature.parameters.values()) else own[2:]
    takes_all = any(p.kind == kinds.VAR_KEYWORD for p in signature.parameters.values())
    for p in parameters:
        if p not in own and not takes_all:
            raise DefinitionError(
                f"{owner}: {what} does not take the parameter {p!r}; its signature is {signature}. Write it as {wanted}."
            )
    for n, taken in signature.parameters.items():
        if taken.kind == kinds.KEYWORD_ONLY and n not in parameters and taken.default is not kinds.empty:
            raise DefinitionError(
                f"{owner}: {what} takes {n!r}, which is not declared. Add it: parameters={{{n!r}: {taken.default!r}}}."
            )
    try:
        signature.bind(None, None, **dict.fromkeys(parameters))
    except TypeError as error:
        undeclared = [n for n in own if n not in parameters and signature.parameters[n].default is kinds.empty]
        hint = f" Declare it: parameters={{{undeclared[0]!r}: default}}." if undeclared else ""
        raise DefinitionError(
            f"{owner}: {what} cannot be called as f(xp, x{''.join(f', {p}=...' for p in parameters)}): {error}; its "
            f"signature is {signature}.{hint or f' Write it as {wanted}.'}"
        ) from None


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
        ``"x * tanh(log(1 + exp(x)))"``, ``multiact check`` judges the value by it, too.

    Returns
    -------
    function of an array of any framework, the same as ``multiact.<name>``.

    Raises
    ------
    DefinitionError : the name is taken, but by an earlier run of the same module or notebook, or no name, the derivative in x is missing, or a formula does not take the parameters
        that are declared.

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
        parameters = [_parameter(name, key, default) for key, default in parameters.items()]
    if not isinstance(derivatives, Mapping):
        raise DefinitionError(
            f"{name}: derivatives must be a dict such as {{'x': slope}}. Received: {type(derivatives).__name__}."
        )
    accepts = [p.name for p in parameters]
    _check_body(name, "the value", value, accepts)
    for key, body in derivatives.items():
        if not (isinstance(key, str) or isinstance(key, tuple) and all(isinstance(k, str) for k in key)):
            raise DefinitionError(
                f"{name}: a derivative is keyed by 'x', ('x', 'x') or a parameter. Received: {key!r}."
            )
        _check_body(name, f"derivatives[{key!r}]", body, accepts)
    known = [f.name for f in fields(Activation)]
    for fact in facts:
        if fact not in known:
            near = difflib.get_close_matches(fact, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DefinitionError(f"{name}: an activation has no field {fact!r}.{hint} See multiact.Activation.")
    activation = pointwise(name, value, derivatives, parameters=parameters, **facts)
    return importlib.import_module(__package__).__getattr__(activation.name)
