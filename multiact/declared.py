"""The harness of array libraries that differentiate nothing: values from the public function, derivatives from the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from . import dispatch
from .declaration import Activation, Array, Axiswise, Elementwise, widen
from .natives import frameworks, peers
from .numerics import summed
from .protocols import Native, Result

if TYPE_CHECKING:
    import numpy as np


class DeclaredHarness:
    """What conformance needs of a library whose arrays go to the functions of the NumPy backend.

    A library's own has `name`, `dtypes`, `versions`, `put` and `get`, and `compute` where a function is not simply called.
    """

    name: str
    dtypes: tuple[str, ...] = ("float32", "float64")
    modes: tuple[str, ...] = ("eager",)

    def put(self, a: np.ndarray, dtype: str) -> Array:
        """A float64 array of numbers that `dtype` has as an array of the library."""
        raise NotImplementedError

    def get(self, x: Array) -> np.ndarray:
        """An array of the library as one of NumPy, with its dtype."""
        raise NotImplementedError

    def compute(
        self, function: Callable[..., Array], arrays: Sequence[np.ndarray], dtype: str, device: str
    ) -> np.ndarray:
        """What a function of arrays of the library gives."""
        return self.get(function(*(self.put(a, dtype) for a in arrays)))

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return ()

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def versions(self) -> Mapping[str, str]:
        raise NotImplementedError

    def function(self, activation: Activation) -> Callable[..., Array]:
        return dispatch.backend("numpy").function(activation)

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name) if self.name in frameworks() else ()

    def evaluate(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        if mode not in self.modes:
            raise NotImplementedError(f"{self.name} has no mode {mode!r}.")
        count = len(arrays)

        def function(*given: Array) -> Array:
            if not wrt:
                return call(*given)
            return self.derivative(call, given[:count], wrt, None if directions is None else given[count:])

        found = self.compute(function, [*arrays, *(directions or ())], dtype, device)
        return Result(found.astype("float64"), str(found.dtype))

    def derivative(
        self, call: Any, own: Sequence[Array], wrt: tuple[int, ...], weights: Sequence[Array] | None
    ) -> Array:
        """The declared derivative of a `conformance.cases.Call`, contracted with the weights along an axis."""
        activation: Activation | None = getattr(call, "activation", None)
        if activation is None or not hasattr(call, "keywords"):
            raise NotImplementedError(
                f"{self.name} has no automatic differentiation; only declared derivatives can be had."
            )
        function, given = activation.function, dict(call.keywords)
        defaults = {p.name: given.get(p.name, p.default) for p in activation.parameters}
        arguments = {**defaults, **dict(zip(call.names, own))}
        values = [arguments[a] for a in function.arguments]
        if isinstance(function, Axiswise):
            options = {o.name: given.get(o.name, o.default) for o in activation.options if not o.variants}
            return self._along_axis(function, values, wrt, options, weights)
        node: Elementwise | None = function
        for i in wrt:
            node = None if node is None else node.partial(call.names[i])
        if node is None:
            raise NotImplementedError(f"{activation.name} does not declare this derivative.")
        return dispatch.backend("numpy").elementwise(node)(*values)

    def _along_axis(
        self,
        function: Axiswise,
        values: list[Any],
        wrt: tuple[int, ...],
        options: Mapping[str, int],
        weights: Sequence[Array] | None,
    ) -> Array:
        if len(wrt) != 1:
            raise NotImplementedError("the second derivative along an axis is left to the framework's differentiation.")
        x, at = values[0], values[wrt[0]]
        xp = array_namespace(x)
        wide = [widen(xp, v) if hasattr(v, "dtype") else v for v in values]
        y = function.value(xp, *wide, **options)
        cotangent = xp.ones_like(y) if weights is None else widen(xp, weights[0])
        needed = tuple(i == wrt[0] for i in range(len(values)))
        found = function.vjp(xp, wide, y, cotangent, needed, **options)[wrt[0]]
        return xp.astype(summed(xp, found, at.shape), x.dtype)

    def synchronise(self, x: Array) -> Array:
        return x
