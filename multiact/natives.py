"""What frameworks themselves call an activation: the tables ``backends/<framework>/natives.py``, and how to read them.

A table is data and can be read where the framework is not installed; what evaluates a native imports it when it is called.
A table's module has

- ``PACKAGE``: what is imported, and ``ROOT``, the first word of its spellings, where that is another,
- ``BACKEND``: the backend of ours that runs on the same arrays, or None,
- ``IGNORED``: arguments that never change the function (``inplace``, ``name``),
- ``NATIVES``: its entries, the ones to be preferred first,
- optionally ``resolve(spelling)``, ``read(object)`` and ``make(layer, given)``, where the usual way does not do.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any, cast

from . import registry
from .declaration import Activation, Array, Bound
from .errors import BackendNotAvailableError, ParameterError
from .protocols import Harness, Native, Result

REQUIRED: Any = inspect.Parameter.empty
_ANY: Any = object()

#: The order in which frameworks are listed; whatever else has a table comes after them.
FIRST = ("torch", "jax", "keras", "tensorflow", "flax", "equinox", "mlx", "tf_keras", "onnx", "transformers")


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Argument:
    """An argument of a native: its default there, and what it does to our activation.

    Attributes
    ----------
    default : the native's own; `REQUIRED` when there is none.
    sets : the name of our parameter or option that it gives, if any.
    value : the one value with which the native is this activation; anything when neither is given.
    ours, theirs : from a value of the native to ours, and back.
    form : how a value of ours is written there.
    open : what None leaves open, where that is no one function.
    """

    default: Any = REQUIRED
    sets: str | None = None
    value: Any = _ANY
    ours: Callable[[Any], Any] = _same
    theirs: Callable[[Any], Any] = _same
    form: str = "{!r}"
    open: str = ""

    @property
    def bound(self) -> bool:
        return self.value is not _ANY


def sets(
    name: str,
    default: Any = REQUIRED,
    ours: Callable[[Any], Any] = _same,
    theirs: Callable[[Any], Any] = _same,
    form: str = "{!r}",
    open: str = "",
) -> Argument:
    """An argument that gives our parameter or option `name`."""
    return Argument(default, sets=name, ours=ours, theirs=theirs, form=form, open=open)


def only(value: Any, default: Any = REQUIRED) -> Argument:
    """An argument with another value of which the native is another function."""
    return Argument(default, value=value)


def free(default: Any = REQUIRED) -> Argument:
    """An argument that does not change the function."""
    return Argument(default)


@dataclass(frozen=True)
class Entry:
    """A framework's own version of an activation.

    Attributes
    ----------
    spelling : the dotted name, "torch.nn.LeakyReLU", or an expression in ``x``, or ``value`` and ``gate``, and in arguments
        in braces: ``jax.nn.softplus({beta} * x) / {beta}``.
    activation : the name of ours.
    arguments : the native's arguments, in their order.
    fixed : parameters and options of ours that it has at another value than our default.
    same_as : the spelling of the native that does the computing, when this is another way to it.
    definition : what it computes in `x`, when that is another function than ours.
    notes : what somebody should know who moves to it or from it.
    prepare : makes a function of positional inputs out of the native and its arguments, when that is more than a call.
    inputs : what it is called with.
    measured : whether `conformance --native` judges it.
    """

    spelling: str
    activation: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    same_as: str = ""
    definition: str = ""
    notes: str = ""
    prepare: Callable[[Any, Mapping[str, Any]], Callable[..., Array]] | None = None
    inputs: tuple[str, ...] = ("x",)
    measured: bool = True

    @property
    def composed(self) -> bool:
        """Whether it is an expression rather than a name."""
        return "(" in self.spelling or " " in self.spelling

    @property
    def name(self) -> str:
        return self.spelling.rpartition(".")[2]

    @property
    def layer(self) -> bool:
        """Whether the spelling is of a class that is made first and called then."""
        return self.name[:1].isupper() and not self.spelling.startswith("onnx.") and "[" not in self.name

    def title(self, given: Mapping[str, Any]) -> str:
        """The native with arguments that are not at their default: ``jax.nn.gelu(approximate=False)``."""
        return self._written(given, ()) if given or self.composed else self.spelling

    def spelled(self, given: Mapping[str, Any]) -> str:
        """The call as it is written: ``jax.nn.gelu(x, approximate=False)``; a class without inputs."""
        return self._written(given, () if self.layer else self.inputs)

    def _written(self, given: Mapping[str, Any], inputs: tuple[str, ...]) -> str:
        if self.composed:
            return self.spelling.format(**{n: repr(v) for n, v in given.items()})
        shown = {n: self.arguments[n].form.format(v) if n in self.arguments else repr(v) for n, v in given.items()}
        return f"{self.spelling}({', '.join([*inputs, *(f'{n}={text}' for n, text in shown.items())])})"


# The tables


def folder() -> str:
    """Where the backends lie on disk."""
    return os.path.dirname(cast(str, importlib.import_module(f"{__package__}.backends").__file__))


@lru_cache(maxsize=1)
def frameworks() -> tuple[str, ...]:
    """The names of all frameworks with a table."""
    here = folder()
    found = {name for name in os.listdir(here) if os.path.isfile(os.path.join(here, name, "natives.py"))}
    return (*(n for n in FIRST if n in found), *sorted(found - set(FIRST)))


@cache
def room(framework: str) -> Any:
    """The module of a framework's table. The package around it, which may need the framework, is not imported.

    Raises
    ------
    BackendNotAvailableError : there is no table of that name.
    """
    if framework not in frameworks():
        import difflib

        near = difflib.get_close_matches(str(framework).lower(), frameworks(), n=2, cutoff=0.5)
        near += [n for n, short in (("tensorflow", "tf"), ("transformers", "huggingface")) if framework == short]
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise BackendNotAvailableError(
            f"no framework is named {framework!r}.{hint} There are: {', '.join(frameworks())}."
        )
    name = f"{__package__}.backends.{framework}.natives"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, os.path.join(folder(), framework, "natives.py"))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return sys.modules.setdefault(name, module)


def table(framework: str) -> Sequence[Entry]:
    """The entries of a framework."""
    return cast(Sequence[Entry], room(framework).NATIVES)


def of(activation: str) -> Iterator[tuple[str, Entry]]:
    """What all frameworks have of an activation, by its name: the framework and the entry."""
    for framework in frameworks():
        for entry in table(framework):
            if entry.activation == activation:
                yield framework, entry


# Arguments


def bind(
    framework: str, entries: Sequence[Entry], given: Mapping[str, Any]
) -> tuple[Entry, dict[str, Any], dict[str, Any]]:
    """Which of the entries of one native it is with these arguments, and our settings for them.

    Returns
    -------
    (entry, settings, arguments) : our parameters and options that are not at their default there, and all arguments that
    the native has then.

    Raises
    ------
    ParameterError : an argument is unknown or missing, or the native is no activation of the catalogue with them.
    """
    ignored = room(framework).IGNORED
    spelling = entries[0].spelling
    accepted = list(dict.fromkeys(n for e in entries for n in e.arguments))
    for name in given:
        if name not in accepted and name not in ignored:
            takes = f"It takes: {', '.join(accepted)}." if accepted else "It takes no arguments."
            raise ParameterError(f"{spelling} has no argument {name!r}. {takes}")
    for entry in entries:
        settings: dict[str, Any] = dict(entry.fixed)
        arguments: dict[str, Any] = {}
        fits = all(name in entry.arguments or name in ignored for name in given)
        for name, argument in entry.arguments.items():
            value = given.get(name, argument.default)
            if value is REQUIRED:
                raise ParameterError(f"{spelling} needs {name}=..., which has no default.")
            arguments[name] = value
            if argument.bound:
                fits = fits and _equal(value, argument.value)
            elif argument.sets is not None:
                ours = argument.ours(value)
                fits = fits and (argument.sets not in settings or _equal(settings[argument.sets], ours))
                settings[argument.sets] = ours
        if fits:
            return entry, settings, arguments
    shown = ", ".join(f"{n}={v!r}" for n, v in given.items())
    raise ParameterError(
        f"{spelling}({shown}) is none of the activations that multiact has. "
        f"It is one of them as: {'; '.join(sorted({e.spelled(_bounds(e)) for e in entries}))}."
    )


def _bounds(entry: Entry) -> dict[str, Any]:
    return {n: a.value for n, a in entry.arguments.items() if a.bound and not _equal(a.value, a.default)}


def _hashable(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool, bytes, type(None)))


def _equal(a: Any, b: Any) -> bool:
    return _hashable(a) and _hashable(b) and a == b


def represent(entry: Entry, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments with which a native is its activation with `settings`, those at their default there left out.

    None when it cannot be told to. Settings that are not given are at our default.
    """
    activation = registry.get(entry.activation)
    given: dict[str, Any] = {}
    wanted = {s.name: settings.get(s.name, s.default) for s in activation.settings if not getattr(s, "variants", None)}
    if any(value is None for value in wanted.values()):
        return None
    for name, argument in entry.arguments.items():
        if argument.bound:
            if not _equal(argument.value, argument.default):
                given[name] = argument.value
        elif argument.sets is not None:
            if argument.sets not in wanted:
                return None
            value = wanted[argument.sets]
            if argument.default is REQUIRED or not _equal(argument.ours(argument.default), value):
                given[name] = argument.theirs(value)
    told = {a.sets for a in entry.arguments.values()}
    for s in activation.settings:
        if s.name in wanted and s.name not in told and not _equal(wanted[s.name], entry.fixed.get(s.name, s.default)):
            return None
    return given


def canonical(activation: Activation, settings: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
    """What a preset stands for: prelu is leaky_relu with its own slope, quick_gelu is silu with beta = 1.702."""
    complete = {s.name: settings.get(s.name, s.default) for s in activation.settings}
    if activation.based_on is None or not isinstance(activation.function, Bound):
        return activation, complete
    return canonical(registry.get(activation.based_on), {**complete, **activation.function.fixed})


# Evaluating


def resolve(framework: str, spelling: str) -> Any:
    """The object that is spelled so, its framework imported.

    Raises
    ------
    BackendNotAvailableError : the framework is not installed, or does not have it in this version.
    """
    module = room(framework)
    try:
        package = importlib.import_module(module.PACKAGE)
        if hasattr(module, "resolve"):
            return module.resolve(spelling)
        found: Any = package
        path = module.PACKAGE
        for part in spelling.split(".")[1:]:
            path = f"{path}.{part}"
            if not hasattr(found, part):
                importlib.import_module(path)
            found = getattr(found, part)
        return found
    except (ImportError, AttributeError) as error:
        raise BackendNotAvailableError(f"{spelling} is not to be had here: {error}") from None


def callable_of(framework: str, entry: Entry, given: Mapping[str, Any]) -> Callable[..., Array]:
    """A native with its arguments as a function of positional arrays: x, or value and gate."""
    module = room(framework)
    if entry.composed:
        importlib.import_module(module.PACKAGE)
        scope = {getattr(module, "ROOT", module.PACKAGE): importlib.import_module(module.PACKAGE)}
        inputs = "value, gate" if registry.get(entry.activation).kind == "gated" else "x"
        return cast(Callable[..., Array], eval(f"lambda {inputs}: {entry.spelled(given)}", scope))
    native = resolve(framework, entry.spelling)
    if entry.prepare is not None:
        return entry.prepare(native, given)
    if entry.layer:
        make = getattr(module, "make", None)
        return cast(Callable[..., Array], make(native, given) if make else native(**given))

    def call(*inputs: Array) -> Array:
        return native(*inputs, **given)

    return call


@cache
def peers(framework: str, name: str) -> tuple[Native, ...]:
    """What a framework has for an activation, to be judged beside ours: with our defaults wherever it takes them."""
    found = []
    for entry in table(framework):
        if entry.activation == name and not entry.same_as and entry.measured and "{" not in entry.spelling:
            described = peer(framework, entry)
            if described is not None:
                title, given, parameters = described
                with contextlib.suppress(BackendNotAvailableError):  # not in this version of the framework
                    found.append(Native(title, callable_of(framework, entry, given), parameters))
    return tuple(found)


def peer(framework: str, entry: Entry) -> tuple[str, dict[str, Any], dict[str, float]] | None:
    """How a native is judged: what the report calls it, its arguments, and our parameters for them."""
    activation = registry.get(entry.activation)
    example = dict(activation.examples[0]) if activation.examples else {}
    parameters = {
        p.name: entry.fixed.get(p.name, example.get(p.name) if p.default is None else p.default)
        for p in activation.parameters
    }
    options = {n: v for n, v in entry.fixed.items() if n not in parameters}
    given = represent(entry, {**parameters, **options})
    return None if given is None else (entry.title(given), given, parameters)


# From objects


def identify(thing: Any) -> tuple[str, list[Entry], dict[str, Any]] | None:
    """A framework's own activation given as an object: (framework, the entries of its spelling, its arguments)."""
    if isinstance(thing, partial):
        found = identify(thing.func)
        return None if found is None or thing.args else (*found[:2], {**found[2], **thing.keywords})
    for framework in frameworks():
        module = room(framework)
        if module.PACKAGE not in sys.modules:
            continue
        if hasattr(module, "read"):
            read = module.read(thing)
            if read is not None:
                spelling, given = read
                entries = [e for e in table(framework) if e.spelling == spelling]
                return (framework, entries, given) if entries else None
        known = _by_identity(framework).get(id(thing)) or _by_identity(framework).get(id(type(thing)))
        if known:
            names = {n for e in known for n in e.arguments}
            given = {} if isinstance(thing, type) or not known[0].layer else _attributes(thing, names)
            return framework, known, given
    return None


def activation_of(thing: Any) -> str | None:
    """The name of the activation that a layer, a class or a function is, ours or a framework's; None for what is none."""
    own = getattr(thing, "activation", None)
    if isinstance(own, Activation):
        return own.name
    found = identify(thing)
    return found[1][0].activation if found else None


def _attributes(thing: Any, names: set[str]) -> dict[str, Any]:
    """The arguments that an instance was made with, which frameworks keep under the same names."""
    return {n: getattr(thing, n) for n in names if hasattr(thing, n)}


@cache
def _by_identity(framework: str) -> dict[int, list[Entry]]:
    """The entries of every object in the table."""
    found: dict[int, list[Entry]] = {}
    objects: list[Any] = []
    for entry in table(framework):
        if not entry.composed:
            try:
                resolved = resolve(framework, entry.spelling)
            except BackendNotAvailableError:
                continue
            objects.append(resolved)
            known = found.setdefault(id(resolved), [])
            if not known or known[0].spelling == entry.spelling:
                known.append(entry)
    _kept.append(objects)  # an id is that of an object as long as the object lives
    return found


_kept: list[list[Any]] = []


class NativeHarness:
    """For a framework that runs on another, whose harness evaluates its activations.

    Of ours only the capabilities are judged, as its functions are those of the one below.
    """

    def __init__(self, name: str, below: str, versions: Callable[[], Mapping[str, str]]) -> None:
        self._below = cast(Harness, importlib.import_module(f"{__package__}.backends.{below}.harness").harness)
        self._versions = versions
        self.name, self.dtypes, self.modes = name, self._below.dtypes, self._below.modes

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return self._below.flushes(device)

    def devices(self) -> tuple[str, ...]:
        return self._below.devices()

    def versions(self) -> Mapping[str, str]:
        return {**self._below.versions(), **self._versions()}

    def function(self, activation: Activation) -> Callable[..., Array]:
        from . import dispatch

        if self.name not in dispatch.BUILTIN:
            raise NotImplementedError(f"{self.name} is no backend of multiact; only its own activations can be judged.")
        return dispatch.backend(self.name).function(activation)

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name)

    def evaluate(self, call: Callable[..., Array], arrays: Sequence[Any], **settings: Any) -> Result:
        return self._below.evaluate(call, arrays, **settings)

    def synchronise(self, x: Array) -> Array:
        return self._below.synchronise(x)
