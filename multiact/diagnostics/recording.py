"""What happens in one pass, told by those who wrap the layers and functions of a model.

All keep a `Record`. In the `Recorder` that Keras and Flax NNX share, every output is handed to a `Tap` besides, through which the
framework below gets the gradient in it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from ..declaration import Activation, Array
from ..functions import observed
from ..natives import identify
from ..translation import Translation, recognise
from .probing import Layer, Pass, Place


class Tap(Protocol):
    """Where outputs come by."""

    def __call__(self, key: str, output: Array) -> Array | None:
        """What goes on in place of an output; None where it has no values to look at, inside of what is compiled."""
        ...


class Watched(Protocol):
    """The function ``watched`` of ``backends/<framework>/taps.py``, which runs a model and differentiates its loss."""

    def __call__(self, run: Callable[[Tap, Any], Array], weights: Any, gradients: bool) -> tuple[dict[str, Array], Any]:
        """The gradients of the loss in the outputs, by their keys, and in the weights.

        Parameters
        ----------
        run : runs the model with a tap and gives the loss. It is given None first, and may be run again with weights that take
            the place of the model's: only the first run is to be recorded.
        weights : arrays in a list or a dict; the gradients come in the same. gradients : False to run it only.
        """
        ...


class Record:
    """Layers and activations in the order in which they ran, and which array comes from which of them."""

    def __init__(self) -> None:
        self.found = Pass([], [], None)
        self._kept: list[Any] = []  # as long as they live, no other array has their id
        self._fed: dict[int, Layer] = {}  # by the id of an array: the layer whose output it is
        self._from: dict[int, Place] = {}  # by the id of an array: the activation that gave it
        self._ran: Counter[str] = Counter()  # by the path, without its number: how often an activation has run

    def feeds(self, layer: Layer, output: Array) -> None:
        """The units of an array are those of a layer."""
        self._fed[id(output)] = layer
        self._kept.append(output)

    def passed(self, given: Any, output: Any, normalised: bool = False, bias: Any = None) -> None:
        """Something has handed on the units of a layer; a normalisation has taken their scale and bias over."""
        layer = self._fed.get(id(given))
        if layer is not None:
            if normalised:
                layer.normalised, layer.bias = True, bias
            self.feeds(layer, output)

    def runs(self, path: str) -> None:
        """An activation runs."""
        self._ran[path.partition(" #")[0]] += 1

    def call_in(self, owner: str, name: str) -> str:
        """The path of a function that the forward of a layer calls, with a number from the second on."""
        base = f"{owner}: {name}" if owner else name
        ran = self._ran[base]
        return f"{base} #{ran + 1}" if ran else base

    def place(
        self, path: str, known: Translation | None, given: Any, output: Any, before: Any, after: Any, axis: int
    ) -> Place:
        """An activation has run.

        Parameters
        ----------
        given, output : the arrays, which tell what comes from what. before, after : what was in them.
        axis : of its units, where it takes the output of no layer.
        """
        layer = self._fed.get(id(given))
        exact = known is not None and known.exact
        place = Place(
            path,
            known.activation if known is not None and exact else None,
            {n: v for n, v in known.parameters.items() if v is not None} if known is not None and exact else {},
            before,
            after,
            layer.axis if layer is not None else axis,
            layer.path if layer is not None else None,
        )
        self.found.places.append(place)
        self._from[id(output)] = place
        self._kept.append(output)
        return place

    def finish(self, output: Array) -> None:
        """The model has given its output."""
        self.found.output = _detached(output)
        last = self._from.get(id(output))
        if last is not None:
            last.last = True


class Recorder(Record):
    """A record whose outputs go through a tap.

    Parameters
    ----------
    tap : gets every output. replaying : whether this is a second run of the same, of which nothing is kept.
    """

    def __init__(self, tap: Tap, replaying: bool) -> None:
        super().__init__()
        self._tap, self._replaying = tap, replaying
        self.weights: list[tuple[Layer, Any]] = []
        self._seen: dict[str, Layer | Place] = {}  # by the keys of taps
        self._owners: list[tuple[str, bool]] = []
        self._keys: Counter[str] = Counter()
        self._thread, self._inside = threading.get_ident(), False

    @contextlib.contextmanager
    def running(self, path: str, listening: bool) -> Iterator[None]:
        """While the forward of a layer runs; listening to the functions that it calls where it is a user's own."""
        self._owners.append((path, listening))
        try:
            yield
        finally:
            self._owners.pop()

    @property
    def idle(self) -> bool:
        """Whether nothing that is called now is to be recorded: it is part of an activation, or of another thread."""
        return self._inside or threading.get_ident() != self._thread

    def layer(self, path: str, output: Array, make: Callable[[], tuple[Layer, Any]], feeds: bool = True) -> Array:
        """A layer with weights has run: what goes on in place of its output.

        Parameters
        ----------
        make : the layer without its output, and what its weights are called in the gradients.
        feeds : whether its units are those of an activation that takes its output.
        """
        key, tapped = self._tapped(f"layer {path}", output)
        if tapped is None or self._replaying:
            return output if tapped is None else tapped
        layer, weights = make()
        layer.output = _detached(tapped)
        self.found.layers.append(layer)
        self.weights.append((layer, weights))
        self._seen[key] = layer
        if feeds:
            self.feeds(layer, tapped)
        return tapped

    def activation(
        self, path: str, known: Translation | None, given: Any, run: Callable[[], Any], axis: Callable[[Array], int]
    ) -> Any:
        """Run an activation: its result, or what goes on in place of it."""
        self.runs(path)
        self._inside = True
        try:
            output = run()
        finally:
            self._inside = False
        if not _floating(given) or not _floating(output):
            return output
        key, tapped = self._tapped(f"activation {path}", output)
        if tapped is None or self._replaying:
            return output if tapped is None else tapped
        place = self.place(path, known, given, tapped, _detached(given), _detached(tapped), axis(output))
        self._seen[key] = place
        return tapped

    def keeping(self, path: str, function: Callable[..., Any], axis: Callable[[Array], int]) -> Callable[..., Any]:
        """A function that a layer keeps, wrapped."""

        @functools.wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Any:
            if self.idle or not arguments:
                return function(*arguments, **keywords)
            known = recognised(function, _settings(function, arguments, keywords))
            return self.activation(path, known, arguments[0], lambda: function(*arguments, **keywords), axis)

        return call

    @contextlib.contextmanager
    def listening(self, spaces: Sequence[dict[str, Any]], axis: Callable[[Array], int]) -> Iterator[None]:
        """Record the activations that forwards call: ours, and the frameworks' that are found in these namespaces."""

        def wrapped(name: str, function: Any) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*arguments: Any, **keywords: Any) -> Any:
                if self.idle or not arguments or not self._listening:
                    return function(*arguments, **keywords)
                known = recognised(function, _settings(function, arguments, keywords))
                return self._called(name, known, arguments[0], lambda: function(*arguments, **keywords), axis)

            return call

        def ours(activation: Activation, inputs: tuple[Array, ...], given: Any, run: Callable[[], Array]) -> Array:
            if self.idle or not self._listening:
                return run()
            known = recognised(activation, {n: v for n, v in given.items() if isinstance(v, (int, float, str))})
            return self._called(activation.name, known, inputs[0], run, axis)

        # All are found before one is replaced: what is identified is identified by what stands in these namespaces.
        found = [(s, n, f, spelled) for s in spaces for n, f in list(s.items()) if (spelled := _spelling(f))]
        try:
            for space, name, function, spelled in found:
                space[name] = wrapped(spelled, function)
            with observed(ours):
                yield
        finally:
            for space, name, function, _ in found:
                space[name] = function

    @property
    def _listening(self) -> bool:
        return self._owners[-1][1] if self._owners else True

    def _called(
        self, name: str, known: Translation | None, given: Any, run: Callable[[], Any], axis: Callable[[Array], int]
    ) -> Any:
        owner = self._owners[-1][0] if self._owners else ""
        return self.activation(self.call_in(owner, name), known, given, run, axis)

    def differentiated(self, gradients: Mapping[str, Array], weights: Any) -> None:
        """Take in the gradients in the outputs and in the weights."""
        for key, seen in self._seen.items():
            seen.gradient = gradients.get(key)
        for layer, where in self.weights:
            layer.weight_gradient = None if where is None else weights[where]

    def _tapped(self, base: str, output: Array) -> tuple[str, Array | None]:
        self._keys[base] += 1
        key = f"{base} #{self._keys[base]}"
        tapped = self._tap(key, output)
        if tapped is None and not self._replaying:
            path = base.partition(" ")[2]
            self.found.unseen.append(f"{path}: it runs inside of what is compiled, mapped or scanned")
        return key, tapped


def recognised(thing: Any, given: Mapping[str, Any]) -> Translation | None:
    """What a function or a layer is, called with these settings; None where that cannot be told."""
    if isinstance(thing, functools.partial):
        return None if thing.args else recognised(thing.func, {**thing.keywords, **given})
    if isinstance(thing, Activation):
        thing = _Named(thing)
    try:
        return recognise(thing, given)
    except (ValueError, TypeError):
        return None


class _Named:
    def __init__(self, activation: Activation) -> None:
        self.activation = activation


def is_function(thing: Any) -> bool:
    """Whether something is a function that is an activation, ours or a framework's, and does something."""
    if isinstance(thing, functools.partial):
        return is_function(thing.func)
    if isinstance(thing, type) or not callable(thing):
        return False
    own = getattr(thing, "activation", None)
    if isinstance(own, Activation):
        return own.name != "identity"
    found = identify(thing)
    return found is not None and not found[1][0].layer and found[1][0].activation != "identity"


def _spelling(thing: Any) -> str | None:
    """The name of a framework's function that is an activation."""
    if isinstance(thing, (type, functools.partial)) or not callable(thing):
        return None
    found = identify(thing)
    if found is None or found[1][0].layer or found[1][0].activation == "identity":
        return None
    return found[1][0].spelling.rpartition(".")[2]


def _settings(function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and words that a function is called with beside its input, by their names."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*arguments, **keywords).arguments
        first = next(iter(signature.parameters))
    except (TypeError, ValueError):
        return dict(keywords)
    return {n: v for n, v in bound.items() if n != first and isinstance(v, (int, float, str, bool, type(None)))}


def mean_loss(value: Any, mean: Callable[[Any], Any]) -> Any:
    """A loss as one number: the mean, where it gives one for each example."""
    return mean(value) if getattr(value, "shape", ()) else value


def main(output: Any) -> Any:
    """The main array of what a model gives."""
    if hasattr(output, "shape"):
        return output
    values = list(output.values()) if isinstance(output, Mapping) else list(output)
    return next(v for v in values if _floating(v))


def _floating(x: Any) -> bool:
    return "float" in str(getattr(x, "dtype", ""))


def _detached(x: Any) -> Any:
    return x.detach() if hasattr(x, "detach") else x
