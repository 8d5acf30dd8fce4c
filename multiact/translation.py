"""From one framework's activation to another's: `translate` and `audit`.

What is the same is read from the tables of `multiact.natives`; how far apart two functions are is computed from their
definitions; how far a native is from its definition is read from what was measured (`multiact.measured`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from . import measured, models, natives, registry
from .declaration import Activation, Array, Elementwise
from .errors import BackendNotAvailableError, MultiactError, ParameterError, UnknownActivationError
from .natives import Entry

#: Where two definitions are compared: from, to, number of points.
GRID = (-10.0, 10.0, 20001)


@dataclass(frozen=True)
class Difference:
    """How far apart two functions are on [-10, 10], in steps of 0.001.

    Attributes
    ----------
    largest, at : the largest difference, and where.
    error, error_at : the largest error E of one taken for the other, in float32, and where.
    """

    largest: float
    at: float
    error: float
    error_at: float

    def __str__(self) -> str:
        return f"up to {self.largest:.2g} at x = {self.at:.4g}; E up to {self.error:.2g} at x = {self.error_at:.4g}"


@dataclass(frozen=True, repr=False)
class Translation:
    """A framework's activation as one of ours, with that framework's parameters.

    Call it with an array of any framework.

    Attributes
    ----------
    framework, spelling : what was translated, and how it is written there.
    activation : ours.
    parameters, options : its settings, as that framework has them.
    exact : whether both are one function by definition; `definition` is the other's when they are not.
    notes : what to know about the native when moving to or from it.
    """

    framework: str
    spelling: str
    activation: Activation
    parameters: Mapping[str, float]
    options: Mapping[str, Any]
    exact: bool = True
    definition: str = ""
    notes: tuple[str, ...] = ()
    entry: Entry | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.parameters, **self.options}

    @property
    def ours(self) -> str:
        """The call of ours, settings at our defaults left out."""
        return _ours(self.activation, self.settings)

    def __call__(self, *inputs: Array) -> Array:
        """Our function with these settings.

        Raises
        ------
        ParameterError : the native is another function than ours, or its axis depends on the input.
        """
        if not self.exact:
            raise ParameterError(
                f"{self.spelling} is {self.definition}, which is not {self.activation.name}; multiact has no such function."
            )
        missing = [name for name, value in self.options.items() if value is None]
        if missing:
            raise ParameterError(
                f"{self.spelling} leaves the {missing[0]} open. {' '.join(self.notes)} Give it: "
                f"multiact.{self.activation.name}(x, {missing[0]}=-1)."
            )
        return self.activation(*inputs, **self.settings)

    def to(self, framework: str) -> Equivalent:
        """The same in another framework."""
        return _equivalent(self, framework)

    def __repr__(self) -> str:
        return f"<{self.ours}, from {self.spelling}>"

    def __str__(self) -> str:
        lines = [f"{self.spelling} is {self.ours}"]
        if not self.exact:
            lines = [f"{self.spelling} is {self.definition}, not {self.ours}"]
        return "\n".join([*lines, *(f"  {note}" for note in (*self.notes, *deviations(self)))])


@dataclass(frozen=True, repr=False)
class Equivalent:
    """What an activation is in another framework.

    Attributes
    ----------
    source : what was asked for.
    framework : where to.
    spelling : the exact equivalent there, None when there is none.
    nearest, difference : without one, the nearest that there is, and how far off it is.
    ours : our function there, which is exact; None for a framework in which ours does not run.
    differs : what else to watch: other defaults, slopes at kinks, NaN, tails.
    """

    source: Translation
    framework: str
    spelling: str | None
    nearest: str | None = None
    difference: Difference | None = None
    ours: str | None = None
    differs: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        return self.spelling is not None

    def __repr__(self) -> str:
        return f"<{self.spelling or f'nothing exact in {self.framework}'}, for {self.source.spelling}>"

    def __str__(self) -> str:
        found = self.spelling or f"no exact equivalent in {self.framework}"
        lines = [f"{self.source.spelling} -> {found}"]
        if self.nearest:
            lines.append(f"  the nearest is {self.nearest}" + (f": {self.difference}" if self.difference else ""))
        if self.ours and not self.exact:
            lines.append(f"  exact: {self.ours}")
        return "\n".join([*lines, *(f"  {line}" for line in self.differs)])


# Names


def translate(framework: str, name: Any, *, to: str | None = None, **arguments: Any) -> Translation | Equivalent:
    """What a framework's activation is with us, or in another framework.

    Parameters
    ----------
    framework : "torch", "jax", "keras", "tensorflow", "flax", "equinox", "mlx", "tf_keras", "onnx", "transformers", or "multiact" for ours.
    name : its name there ("LeakyReLU", "nn.LeakyReLU", "torch.nn.LeakyReLU"), or the object: a Module, Layer, function,
        functools.partial of one, ONNX node.
    to : a framework, for the equivalent there.
    **arguments : the native's own, under its names.

    Returns
    -------
    `Translation`; with `to`, `Equivalent`.

    Raises
    ------
    BackendNotAvailableError : no such framework.
    UnknownActivationError : no such activation there; the message has the nearest names.
    ParameterError : it has no such argument, or is no activation of the catalogue with them.

    Examples
    --------
    >>> import multiact as ma
    >>> leaky = ma.translate("keras", "LeakyReLU")
    >>> leaky
    <multiact.leaky_relu(x, negative_slope=0.3), from keras.layers.LeakyReLU()>
    >>> leaky.activation.name, leaky.parameters
    ('leaky_relu', {'negative_slope': 0.3})
    >>> ma.translate("torch", "GELU", to="jax").spelling
    'jax.nn.gelu(x, approximate=False)'
    >>> ma.translate("tensorflow", "leaky_relu", to="torch").spelling
    'torch.nn.functional.leaky_relu(x, negative_slope=0.2)'
    """
    if isinstance(name, str):
        found = _by_name(framework, name, arguments)
    else:
        if framework != "multiact":
            natives.room(framework)
        known = recognise(name, arguments)
        if known is None:
            raise UnknownActivationError(
                f"{name!r} is not an activation that multiact knows of {framework}. "
                f"Give its name, or one of: {', '.join(_short(framework))}."
            )
        found = known
    return found if to is None else found.to(to)


def recognise(thing: Any, arguments: Mapping[str, Any] | None = None) -> Translation | None:
    """A framework's activation given as an object; None when it is none.

    Raises
    ------
    ParameterError : it belongs to a family of which the catalogue does not have this member.
    """
    activation = getattr(thing, "activation", None)
    if isinstance(activation, Activation):
        spelled = {s.name: s.name for s in activation.settings} | dict(getattr(thing, "_spelled", {}))
        values = {ours: getattr(thing, theirs, None) for ours, theirs in spelled.items()}
        held = getattr(
            thing, "settings", {}
        )  # of a function that was given them before, e.g. keras.get("elu", alpha=2)
        given = {n: v for n, v in {**values, **held}.items() if isinstance(v, (int, float, str))}
        return _of_ours(activation, {**given, **(arguments or {})})
    found = natives.identify(thing)
    if found is None:
        return None
    framework, entries, given = found
    return _translation(framework, entries, {**given, **(arguments or {})})


def _by_name(framework: str, name: str, arguments: Mapping[str, Any]) -> Translation:
    if framework == "multiact":
        return _of_ours(registry.get(name), arguments)
    entries = find(framework, name)
    return _translation(framework, entries, arguments)


def find(framework: str, name: str) -> list[Entry]:
    """The entries of a framework under a name of its own, or of ours.

    Raises
    ------
    UnknownActivationError : there are none.
    """
    table = natives.table(framework)
    plain = [e for e in table if not e.composed]
    for same in (
        lambda e: e.spelling == name,
        lambda e: e.spelling.endswith(f".{name}") or e.spelling.endswith(f"[{name!r}]"),
        lambda e: name.partition(".")[2] and e.spelling.endswith(f".{name.partition('.')[2]}"),
    ):
        found = [e for e in plain if same(e)]
        if found:
            return [e for e in found if e.spelling == found[0].spelling]
    try:
        ours = registry.get(name).name
    except UnknownActivationError:
        ours = ""
    found = [e for e in table if e.activation == ours]
    if found:
        return [e for e in found if e.spelling == found[0].spelling]
    known = {e.activation: e.name for e in plain} | {s.lower(): s for s in _short(framework)}
    near = difflib.get_close_matches(name.rpartition(".")[2].lower(), known, n=3, cutoff=0.5)
    near = list(dict.fromkeys(known[n] for n in near))
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    if ours:
        hint = f" multiact.{ours} exists; {framework} has no function for it.{hint}"
    raise UnknownActivationError(
        f"{framework} has no activation named {name!r}.{hint} `multiact translate {framework}` lists all."
    )


def _short(framework: str) -> list[str]:
    if framework == "multiact":
        return registry.names()
    entries = [e for e in natives.table(framework) if not e.composed]
    return list(dict.fromkeys(e.name.partition("[")[2].strip("']") or e.name for e in entries))


def _split(activation: Activation, settings: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """All parameters, and the options that are not at our default."""
    parameters = {}
    for p in activation.parameters:
        value = settings.get(p.name, p.default)
        parameters[p.name] = float(value) if isinstance(value, (int, float)) else value
    defaults = {o.name: o.default for o in activation.options}
    options = {n: settings[n] for n in defaults if n in settings and settings[n] != defaults[n]}
    return parameters, options


def _translation(framework: str, entries: Sequence[Entry], arguments: Mapping[str, Any]) -> Translation:
    entry, settings, full = natives.bind(framework, entries, arguments)
    activation = registry.get(entry.activation)
    changed = {n: v for n, v in full.items() if v != entry.arguments[n].default}
    parameters, options = _split(activation, settings)
    return Translation(
        framework,
        entry.spelled(changed),
        activation,
        parameters,
        options,
        not entry.definition,
        entry.definition,
        tuple(filter(None, (entry.notes, *(a.open for n, a in entry.arguments.items() if full[n] is None)))),
        entry,
    )


def _of_ours(activation: Activation, given: Mapping[str, Any]) -> Translation:
    from .functions import settings

    chosen, values, options = settings(activation, given)
    found = dict(zip((p.name for p in chosen.parameters), values))
    parameters, options = _split(chosen, {**found, **options})
    return Translation("multiact", _ours(chosen, {**parameters, **options}), chosen, parameters, options)


def _ours(activation: Activation, settings: Mapping[str, Any], prefix: str = "multiact") -> str:
    defaults = {s.name: s.default for s in activation.settings}
    shown = [f"{n}={v!r}" for n, v in settings.items() if v != defaults.get(n)]
    return f"{prefix}.{activation.name}({', '.join(('x', *shown))})"


# The equivalent


def _equivalent(source: Translation, framework: str) -> Equivalent:
    room = natives.room(framework)
    ours = _ours(source.activation, source.settings, f"multiact.backends.{room.BACKEND}") if room.BACKEND else None
    if any(value is None for value in source.settings.values()):
        return Equivalent(source, framework, None, ours=None, differs=(*source.notes, "Give the axis to translate it."))
    exact = _candidates(source, framework)
    if exact:
        entry, given = exact[0]
        spelling = entry.spelled(given)
        return Equivalent(source, framework, spelling, ours=ours, differs=tuple(_differs(source, framework, entry)))
    ours = ours if source.exact else None
    nearest = _nearest(source, framework)
    if nearest is None:
        return Equivalent(source, framework, None, ours=ours)
    there, apart, near = nearest
    return Equivalent(source, framework, None, there, apart, ours, tuple(_differs(source, framework, near)))


def _candidates(source: Translation, framework: str) -> list[tuple[Entry, dict[str, Any]]]:
    """The natives that are this function, and their arguments; the one most like the source first."""
    wanted = natives.canonical(source.activation, source.settings)
    found = []
    first: dict[str, Entry] = {}
    for order, entry in enumerate(natives.table(framework)):
        first.setdefault(entry.spelling, entry)
        if entry.definition != source.definition:
            continue
        try:
            activation = registry.get(entry.activation)
        except UnknownActivationError:
            continue
        if activation is source.activation:
            settings = dict(source.settings)
        elif _base(activation) is wanted[0]:
            # A preset of the same function is this one when the settings it fixes are these.
            settings = {n: v for n, v in wanted[1].items() if n in {s.name for s in activation.settings}}
            if natives.canonical(activation, settings) != wanted:
                continue
        else:
            continue
        if source.definition:
            given = {n: a.value for n, a in entry.arguments.items() if a.bound and a.value != a.default}
        else:
            represented = natives.represent(entry, settings)
            if represented is None:
                continue
            given = represented
        alike = (
            activation is not source.activation,
            entry.composed,
            first[entry.spelling] is not entry,  # one of a family, such as keras.layers.ReLU with a slope
            _is_layer(source) != entry.layer,
            order,
        )
        found.append((alike, entry, given))
    return [(entry, given) for _, entry, given in sorted(found, key=lambda f: f[0])]


def _is_layer(source: Translation) -> bool:
    return source.entry is not None and source.entry.layer


def _base(activation: Activation) -> Activation:
    return natives.canonical(activation, {})[0]


def _nearest(source: Translation, framework: str) -> tuple[str, Difference, Entry] | None:
    """What a framework has under the name, with its own defaults where it cannot be told otherwise."""
    related = _variants(source.activation.name) | {_base(source.activation).name}
    best: tuple[Difference, str, Entry] | None = None
    for entry in natives.table(framework):
        if entry.activation not in related and _base_name(entry) not in related:
            continue
        try:
            there = stated(framework, entry)
        except ParameterError:
            continue
        apart = difference(source, there)
        if apart is not None and (best is None or apart.largest < best[0].largest):
            best = (apart, there.spelling, entry)
    return None if best is None else (best[1], best[0], best[2])


def _variants(name: str) -> set[str]:
    """An activation and those that are other forms of it, as gelu_tanh is of gelu."""
    found = {name}
    for option in (o for n in registry.names() for o in registry.get(n).options if o.variants):
        forms = {v for v in (option.variants or {}).values() if isinstance(v, str)}
        found |= forms if name in forms else set()
    return found


def _base_name(entry: Entry) -> str:
    try:
        return _base(registry.get(entry.activation)).name
    except UnknownActivationError:
        return ""


def stated(framework: str, entry: Entry) -> Translation:
    """An entry of a framework's table, with the defaults of its other arguments.

    Raises
    ------
    ParameterError : it has arguments that must be given.
    """
    return _translation(framework, [entry], {n: a.value for n, a in entry.arguments.items() if a.bound})


# How far apart


def _values(of: Translation, x: Any) -> Any:
    """The values of a native's definition at an array, in float64; None when it is no function of one number."""
    import numpy as np

    if of.definition:
        scope = {name: getattr(math, name) for name in ("exp", "expm1", "tanh")}
        scope |= {"min": min, "max": max}
        return np.asarray([eval(of.definition, {"__builtins__": {}}, {**scope, "x": float(v)}) for v in x])
    if of.activation.kind != "pointwise" or any(v is None for v in of.settings.values()):
        return None
    return np.asarray(of.activation(x, **of.settings))


def difference(a: Translation, b: Translation) -> Difference | None:
    """How far `b` is from `a` by their definitions; None when one of them is not a function of one number."""
    import numpy as np

    x = np.linspace(*GRID[:2], int(GRID[2]))
    first, second = _values(a, x), _values(b, x)
    if first is None or second is None:
        return None
    apart = np.abs(second - first)
    slope = np.gradient(first, x)
    if not a.definition and isinstance(a.activation.function, Elementwise):
        slope = np.asarray(a.activation.derivative(x, **a.settings))

    def ulp(values: Any) -> Any:
        return np.spacing(np.maximum(np.abs(values), np.finfo(np.float32).tiny).astype(np.float32)).astype(np.float64)

    error = apart / (ulp(first) + np.abs(slope) * ulp(x))
    i, j = int(np.argmax(apart)), int(np.argmax(error))
    return Difference(float(apart[i]), float(x[i]), float(error[j]), float(x[j]))


# What else differs


def _differs(source: Translation, framework: str, entry: Entry) -> Iterator[str]:
    """Notes on a pair: other defaults, what is said of either native, and what was measured of them."""
    if not entry.composed:
        yield from _defaults(source, framework, entry)
    for note in dict.fromkeys((*source.notes, entry.notes)):
        if note:
            yield f"{source.spelling}: {note}" if note in source.notes else f"{entry.spelling}: {note}"
    if source.activation.name != entry.activation and any(p.learned for p in source.activation.parameters):
        yield f"{entry.spelling} does not learn {', '.join(p.name for p in source.activation.parameters if p.learned)}."
    yield from deviations(source)
    yield from _measured(entry, entry.spelling)


def _defaults(source: Translation, framework: str, entry: Entry) -> Iterator[str]:
    """When the bare call here and the bare call there are two functions."""
    if source.entry is None:
        return
    try:
        there = _translation(framework, find(framework, entry.spelling), {})
        here = _translation(source.framework, find(source.framework, source.entry.spelling), {})
    except MultiactError:
        return
    same = natives.canonical(there.activation, there.settings) == natives.canonical(here.activation, here.settings)
    if same and there.definition == here.definition or there.activation.name not in _variants(here.activation.name):
        return
    if any(v is None for v in (*here.settings.values(), *there.settings.values())):
        return
    apart = difference(here, there)
    far = f", up to {apart.largest:.2g} apart on [-10, 10], at x = {apart.at:.4g}." if apart else "."
    yield (
        f"Their defaults differ: {there.spelling} is {there.definition or there.ours}, "
        f"{here.spelling} is {here.definition or here.ours}{far}"
    )


def deviations(of: Translation) -> list[str]:
    """Where a native is not what its definition says, as measured: values and slopes in float32."""
    return [] if of.entry is None else list(_measured(of.entry, of.entry.spelling))


def figures(entry: Entry) -> list[dict[str, Any]]:
    """The measured rows of a native, of the one that does the computing for it."""
    root = entry.same_as or entry.spelling
    return [
        row
        for row in measured.rows(entry.activation)
        if row.get("native", True) and (row["title"] == root or row["title"].startswith(f"{root}("))
    ]


def _measured(entry: Entry, name: str) -> Iterator[str]:
    for order, what in ((0, "value"), (1, "slope")):
        rows = [r for r in figures(entry) if r["dtype"] == "float32" and r["order"] == order and r["faults"]]
        worst: dict[str, str] = {}
        for row in rows:
            for fault in row.get("faults", ()):
                key = str(fault["from"])
                worst.setdefault(key, f"{_fault(fault, what)}{_where(row['backend'])}")
        for text in list(worst.values())[:4]:
            yield f"{name}: {text}"


def _where(backend: str) -> str:
    """Keras is another function on each of its frameworks."""
    return f" (on {backend.removeprefix('keras-')})" if backend.startswith("keras-") else ""


def _fault(fault: Mapping[str, Any], what: str) -> str:
    low, high = (_text(fault[k]) for k in ("from", "to"))
    where = f"at {low}" if low == high else f"from {low} to {high}, worst at {_text(fault['at'])}"
    error = fault["error"]
    size = f", E = {float(error):.2g}" if math.isfinite(float(error)) else ""
    return f"{what} {where} is {_text(fault['got'])}, should be {_text(fault['wanted'])}{size}"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_text, value)) + "]"
    return f"{float(value):.4g}"


# A whole model


@dataclass(frozen=True)
class Found:
    """One activation of a model.

    Attributes
    ----------
    path : where it is: "encoder.layers.0.act", "encoder: forward, gelu".
    translation : what it is; None with the reason in `problem` when multiact cannot say.
    equivalent : what it becomes.
    traps : what to watch.
    """

    path: str
    spelling: str
    translation: Translation | None = None
    equivalent: Equivalent | None = None
    traps: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Seen:
    """What a framework's walk over a model reports: an object, or a native by name, at a place."""

    path: str
    thing: Any = None
    spelling: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    traps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audit:
    """Every activation found in a model, and what could not be looked into."""

    to: str
    found: tuple[Found, ...]
    unseen: tuple[str, ...]

    def __iter__(self) -> Iterator[Found]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __str__(self) -> str:
        lines = []
        for f in self.found:
            becomes = f.problem or str(f.equivalent and (f.equivalent.spelling or f"no equivalent in {self.to}"))
            lines += [f"{f.path}: {f.spelling} -> {becomes}", *(f"    {trap}" for trap in f.traps)]
        return "\n".join([*lines, *(f"not seen: {text}" for text in self.unseen)])


def audit(model: Any, *, to: str) -> Audit:
    """Every activation in a torch.nn.Module or a Keras model, and what it becomes in another framework.

    Parameters
    ----------
    model : an instance.
    to : a framework, as for `translate`.

    Returns
    -------
    `Audit`, to be iterated over; printed, it is a list.

    Raises
    ------
    ParameterError : it is no model of PyTorch or Keras.
    BackendNotAvailableError : no such framework.

    Examples are in multiact.backends.torch.audit and multiact.backends.keras.audit.
    """
    natives.room(to)
    framework = models.framework_of(model, "audit", ("keras", "torch"))
    seen, unseen = models.room(framework, "audit").walk(model)
    return Audit(to, tuple(f for s in _merged(seen) if (f := _found(s, to)) is not None), tuple(unseen))


def _merged(seen: Sequence[Seen]) -> Iterator[Seen]:
    """Each place once, with all that is to be watched there."""
    by_path: dict[str, Seen] = {}
    for s in seen:
        first = by_path.get(s.path)
        by_path[s.path] = s if first is None else replace(first, traps=(*first.traps, *s.traps))
    yield from by_path.values()


def _found(seen: Seen, to: str) -> Found | None:
    """None when what was seen is no activation."""
    try:
        if seen.spelling:
            framework = seen.spelling.partition(".")[0]
            translation: Translation | None = _by_name(framework, seen.spelling, seen.arguments)
        else:
            translation = recognise(seen.thing, seen.arguments)
        if translation is None:
            return None
        equivalent = translation.to(to)
    except (ParameterError, UnknownActivationError, BackendNotAvailableError) as error:
        return Found(seen.path, seen.spelling or _name(seen.thing), traps=seen.traps, problem=str(error))
    traps = (*seen.traps, *(equivalent.differs if equivalent.exact else str(equivalent).split("\n  ")[1:]))
    return Found(seen.path, translation.spelling, translation, equivalent, tuple(traps))


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", None) or type(thing).__name__
