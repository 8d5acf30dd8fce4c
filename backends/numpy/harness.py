"""What the conformance suite and the benchmarks need of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from multiact.declaration import Activation, Array, Axiswise, Elementwise
from multiact.natives import peers
from multiact.protocols import Native, Result

from .adapter import backend, namespace
from .timing import NumPyTiming, ml_dtypes, put


class NumPyHarness(NumPyTiming):
    """Values from the public function, derivatives from the declared formulas: NumPy differentiates nothing itself."""

    name = "numpy"
    dtypes = ("float32", "float64", "float16", *(("bfloat16",) if ml_dtypes is not None else ()))
    modes = ("eager",)

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return ()

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def function(self, activation: Activation) -> Callable[..., Array]:
        return backend.function(activation)

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name)

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
        own = [put(a, dtype) for a in arrays]
        with np.errstate(all="ignore"):
            if not wrt:
                result = call(*own)
            else:
                weights = None if directions is None else [put(d, dtype) for d in directions]
                result = self._derivative(call, own, wrt, weights)
            return Result(np.asarray(result).astype(np.float64), str(np.asarray(result).dtype))

    def _derivative(self, call: Any, own: list[Any], wrt: tuple[int, ...], weights: list[Any] | None) -> Array:
        activation: Activation | None = getattr(call, "activation", None)
        if activation is None or not hasattr(call, "keywords"):
            raise NotImplementedError("NumPy has no automatic differentiation; only declared derivatives can be had.")
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
        return backend.elementwise(node)(*values)

    def _along_axis(
        self,
        function: Axiswise,
        values: list[Any],
        wrt: tuple[int, ...],
        options: Mapping[str, int],
        weights: list[Any] | None,
    ) -> Array:
        if len(wrt) != 1:
            raise NotImplementedError("the second derivative along an axis is left to the framework's differentiation.")
        x = values[0]
        half = x.dtype.itemsize < 4
        wide = [v.astype(np.float32) if half and hasattr(v, "dtype") else v for v in values]
        y = function.value(namespace, *wide, **options)
        cotangent = np.ones_like(y) if weights is None else weights[0].astype(wide[0].dtype)
        needed = tuple(i == wrt[0] for i in range(len(values)))
        found = function.vjp(namespace, wide, y, cotangent, needed, **options)[wrt[0]]
        shape = np.shape(values[wrt[0]])
        for d, size in enumerate(shape):
            if size == 1 and found.shape[d] != 1:
                found = found.sum(axis=d, keepdims=True)
        return found.astype(x.dtype)

    def synchronise(self, x: Array) -> Array:
        return x


harness = NumPyHarness()
