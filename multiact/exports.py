"""The names a backend module offers: a function and, where the framework has layers, a class for every activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import dispatch, registry
from .adaptive import ADAPTIVE, Adaptive
from .declaration import Activation, Distribution
from .errors import ParameterError, UnknownActivationError
from .functions import build, split
from .numerics import gumbel
from .protocols import Backend

#: So many sets of parameter values given as Python numbers become constants of a compiled function of their own; a schedule of
#: ever new values does not compile for ever.
CONSTANTS = 16


class BackendBase:
    """What all backends share: one public function and one class for each activation, made on first use."""

    name: str
    has_layers = False
    namespace: Any

    def __init__(self) -> None:
        # by id, because torch.compile cannot hash an Activation; each function holds its activation
        self._functions: dict[int, Callable[..., Any]] = {}
        self._elementwise: dict[Any, Callable[..., Any]] = {}
        self._layers: dict[Activation, type] = {}
        self._adaptive: dict[str, type] = {}

    def function(self, activation: Activation) -> Callable[..., Any]:
        found = self._functions.get(id(activation))
        if found is None:
            found = self._functions.setdefault(id(activation), self.make_function(activation))
        return found

    def make_function(self, activation: Activation) -> Callable[..., Any]:
        return build(activation, self)  # type: ignore[arg-type]

    def elementwise(self, function: Any) -> Callable[..., Any]:
        found = self._elementwise.get(function)
        if found is None:
            found = self._elementwise.setdefault(function, self.register_elementwise(function))
        return found

    def axiswise(self, function: Any) -> Callable[..., Any]:
        found = self._elementwise.get(function)
        if found is None:
            found = self._elementwise.setdefault(function, self.register_axiswise(function))
        return found

    def draw(self, distribution: Distribution, like: Any, rng: Any) -> Any:
        u = self.uniform(like, "float64" if self.dtype(like) == "float64" else "float32", rng)
        return gumbel(self.namespace, u) if distribution == "gumbel" else u

    def select(self, mask: Any, x: Any, other: float) -> Any:
        xp = self.namespace
        return xp.where(mask if self.owns(mask) else xp.asarray(mask), x, xp.full_like(x, other))

    def split(self, x: Any, axis: int, gate: str, name: str) -> tuple[Any, Any]:
        return split(x, axis, gate, name)

    def layer(self, activation: Activation) -> type:
        if not self.has_layers:
            raise NotImplementedError(f"multiact.backends.{self.name} has functions only, no layers.")
        found = self._layers.get(activation)
        if found is None:
            found = self._layers.setdefault(activation, self.make_layer(activation))
        return found

    def adaptive(self, name: str) -> type:
        """The Module or Layer class of an adaptive activation, by its name in `multiact.adaptive.ADAPTIVE`."""
        found = self._adaptive.get(name)
        if found is None:
            found = self._adaptive.setdefault(name, self.make_adaptive(ADAPTIVE[name]))
        return found

    def register_elementwise(self, function: Any) -> Callable[..., Any]:
        raise NotImplementedError

    def register_axiswise(self, function: Any) -> Callable[..., Any]:
        raise NotImplementedError

    def make_layer(self, activation: Activation) -> type:
        raise NotImplementedError

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        raise NotImplementedError

    def owns(self, x: Any) -> bool:
        raise NotImplementedError

    def dtype(self, x: Any) -> str:
        raise NotImplementedError

    def uniform(self, like: Any, dtype: str, rng: Any) -> Any:
        """Random numbers of a dtype on [0, 1) in the shape of `like`, on its device; see `draw` of the protocol."""
        raise NotImplementedError


class LayersOver(BackendBase):
    """A backend that adds Modules to another, whose arrays and functions are its own.

    Attributes
    ----------
    below : the name of the other.
    """

    has_layers = True
    below: str

    @property
    def functions(self) -> Backend:
        """The backend below."""
        return dispatch.backend(self.below)

    @property
    def namespace(self) -> Any:
        return self.functions.namespace

    def owns(self, x: Any) -> bool:
        return False  # its arrays are those of the backend below

    def dtype(self, x: Any) -> str:
        return self.functions.dtype(x)

    def make_function(self, activation: Activation) -> Callable[..., Any]:
        return self.functions.function(activation)

    def register_elementwise(self, function: Any) -> Callable[..., Any]:
        return self.functions.elementwise(function)

    def register_axiswise(self, function: Any) -> Callable[..., Any]:
        return self.functions.axiswise(function)


class ByConstants:
    """What a backend compiles of one function: one for each set of Python numbers among its arguments, which are constants of it.

    Parameters
    ----------
    make : makes one, from the numbers, with None for each argument that is an array.
    """

    def __init__(self, make: Callable[[tuple[float | None, ...]], Callable[..., Any]]) -> None:
        self._make = make
        self._made: dict[tuple[float | None, ...], Callable[..., Any]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def find(self, arguments: Sequence[Any]) -> tuple[Callable[..., Any], list[Any]]:
        """The one for these arguments, and those that it is called with: the arrays, and numbers once there are `CONSTANTS`."""
        constants = (None, *(a if isinstance(a, float) else None for a in arguments[1:]))
        made = self._made.get(constants)
        if made is None:
            if len(self._made) >= CONSTANTS:
                constants = (None,) * len(arguments)
            made = self._made.get(constants) or self._made.setdefault(constants, self._make(constants))
        return made, [a for a, c in zip(arguments, constants) if c is None]


def merge(constants: Sequence[float | None], arrays: Sequence[Any]) -> list[Any]:
    """The arguments in order: the constants where there are some, the arrays elsewhere."""
    given = iter(arrays)
    return [next(given) if c is None else c for c in constants]


def check_generator(backend: str, rng: Any, accepted: tuple[type, ...], described: str) -> None:
    """Raise `ParameterError` unless `rng` is an instance of one of the types accepted."""
    if not isinstance(rng, accepted):
        received = "no rng" if rng is None else f"rng of type {type(rng).__name__}"
        raise ParameterError(f"random numbers on {backend} come from rng={described}. Received: {received}.")


def class_names() -> dict[str, str]:
    """Every class name and the activation it belongs to."""
    return {registry.get(n).class_name: n for n in registry.names()}


def lookup(backend: Backend, name: str) -> Any:
    """The function or class of that name, for the module-level ``__getattr__`` of a backend.

    Raises
    ------
    UnknownActivationError (an AttributeError) : there is no such activation.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    if getattr(backend, "has_layers", False) and not name.islower():  # a table of all classes is slow to make
        classes = class_names()
        if name in classes:
            return backend.layer(registry.get(classes[name]))
        if name in ADAPTIVE:
            return backend.adaptive(name)  # type: ignore[attr-defined]
    try:
        return backend.function(registry.get(name))
    except UnknownActivationError as error:
        raise UnknownActivationError(f"multiact.backends.{backend.name}: {error}") from None


def listing(backend: Backend) -> list[str]:
    """The names a backend module offers, for its ``__dir__``."""
    functions = [*registry.names(), *registry.aliases()]
    return sorted(functions + ([*class_names(), *ADAPTIVE] if getattr(backend, "has_layers", False) else []))
