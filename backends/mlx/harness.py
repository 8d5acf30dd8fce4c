"""What the conformance suite needs of MLX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from typing import Any

import mlx.core as mx
import numpy as np

from multiact.declaration import Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result
from multiact.transforms import Function, Transforms

from .adapter import backend


def pull(function: Function, at: Array, weight: Array | None) -> Array:
    """The cotangent of the argument for one of the result, ones for None."""
    if weight is None:
        return mx.grad(lambda v: function(v).sum())(at)
    return mx.vjp(function, [at], [weight])[1][0]


def push(function: Function, at: Array, weight: Array | None) -> Array:
    """The tangent of the result along one of the argument, ones for None."""
    return mx.jvp(function, [at], [mx.ones_like(at) if weight is None else weight])[1][0]


transforms = Transforms(pull, push)


@lru_cache(maxsize=256)
def _prepared(call: Function, wrt: tuple[int, ...], mode: str, weighted: bool) -> Function:
    """A function of the arrays and then the weights, compiled or vectorised as the mode says."""
    derive = transforms.by_mode(mode, wrt)

    def function(*given: Array) -> Array:
        arrays, weights = (given[: -len(wrt)], given[-len(wrt) :]) if weighted else (given, (None,) * len(wrt))
        return derive(call, wrt, arrays, weights)

    if mode == "compiled":
        return mx.compile(function)
    return mx.vmap(function) if mode == "vmapped" else function


class MlxHarness:
    """MLX on the CPU, and on Apple's GPUs, which have no float64.

    "compiled" is mx.compile and "vmapped" mx.vmap, with derivatives by reverse mode; "second" takes the second one by forward over
    reverse.
    """

    name = "mlx"
    dtypes = ("float32", "float64", "float16", "bfloat16")
    modes = ("eager", "compiled", "vmapped", "reverse", "forward", "second")
    compiles_slowly = True  # on the CPU a C++ compiler is started for each function, which takes half a second

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return _flushes(device)

    def devices(self) -> tuple[str, ...]:
        return ("cpu", "gpu") if mx.is_available(mx.gpu) else ("cpu",)

    def versions(self) -> Mapping[str, str]:
        return {"mlx": metadata.version("mlx")}

    def function(self, activation: Activation) -> Function:
        return backend.function(activation)

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name)

    def evaluate(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        if mode not in self.modes:
            raise NotImplementedError(f"mlx has no mode {mode!r}.")
        if dtype == "float64" and device != "cpu":
            raise NotImplementedError("MLX has float64 on the CPU alone.")
        with mx.stream(mx.Device(getattr(mx, device))):
            given = [put(a, dtype) for a in (*arrays, *(directions or ()))]
            result = _prepared(call, wrt, mode, directions is not None)(*given)
            return Result(get(result), backend.dtype(result))

    def synchronise(self, x: Array) -> Array:
        mx.eval(x)
        return x


def put(a: np.ndarray, dtype: str) -> Array:
    """A float64 array of numbers that `dtype` has as an array of MLX."""
    return mx.array(np.asarray(a, np.float64), mx.float64 if dtype == "float64" else mx.float32).astype(
        getattr(mx, dtype)
    )


def get(x: Array) -> np.ndarray:
    """An array of MLX as float64."""
    return np.asarray(x if x.dtype == mx.float64 else x.astype(mx.float32)).astype(np.float64)


@lru_cache(maxsize=4)
def _flushes(device: str) -> tuple[str, ...]:
    """The dtypes in which a multiplication loses a subnormal number on a device."""
    lost = []
    with mx.stream(mx.Device(getattr(mx, device))):
        for dtype in MlxHarness.dtypes if device == "cpu" else ("float32", "float16", "bfloat16"):
            smallest = mx.finfo(getattr(mx, dtype)).smallest_normal
            wide = mx.float64 if dtype == "float64" else mx.float32

            def times(factor: float, a: Array, wide: Any = wide) -> Array:
                return (a.astype(wide) * factor).astype(a.dtype)

            halved = times(0.5, put(np.asarray(smallest), dtype))
            doubled = times(2.0, put(np.asarray(smallest / 2), dtype))
            if get(halved) == 0 or get(doubled) == 0:
                lost.append(dtype)
    return tuple(lost)


harness = MlxHarness()
