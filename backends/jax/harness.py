"""What the conformance suite and the benchmarks need of JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from multiact import cache
from multiact.declaration import Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result
from multiact.transforms import Function, Transforms

from .adapter import backend
from .timing import JaxTiming

# Compiled functions are kept on disk: Keras on JAX and a second run meet the same ones.
jax.config.update("jax_compilation_cache_dir", str(cache.directory("jax")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pull(function: Function, at: Array, weight: Array | None) -> Array:
    """The cotangent of the argument for one of the result, ones for None."""
    result, back = jax.vjp(function, at)
    return back(jnp.ones_like(result) if weight is None else weight)[0]


def push(function: Function, at: Array, weight: Array | None) -> Array:
    """The tangent of the result along one of the argument, ones for None."""
    return jax.jvp(function, (at,), (jnp.ones_like(at) if weight is None else weight,))[1]


transforms = Transforms(pull, push)


@lru_cache(maxsize=256)
def _prepared(call: Function, wrt: tuple[int, ...], mode: str, weighted: bool) -> Function:
    """A function of (arrays, weights), compiled or vectorised as the mode says."""
    derive = transforms.by_mode(mode, wrt)

    def function(arrays: tuple[Array, ...], weights: tuple[Array, ...] | None) -> Array:
        return derive(call, wrt, arrays, (None,) * len(wrt) if weights is None else weights)

    if mode in ("eager", "reverse"):
        return function
    return jax.jit(jax.vmap(function, in_axes=(0, 0 if weighted else None)) if mode == "vmapped" else function)


class JaxHarness(JaxTiming):
    """JAX, with float64 enabled for the time of an evaluation.

    "eager" and "reverse" run outside jax.jit, the other modes inside: "compiled" takes derivatives by reverse mode, and
    "second" the second one by forward over reverse.
    """

    name = "jax"
    dtypes = ("float32", "float64", "float16", "bfloat16")
    modes = ("eager", "compiled", "vmapped", "reverse", "forward", "second")

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return _flushes(device)

    def devices(self) -> tuple[str, ...]:
        found = ["cpu"]
        for platform in ("gpu", "tpu"):
            try:
                if jax.devices(platform):
                    found.append(platform)
            except RuntimeError:
                pass
        return tuple(found)

    def versions(self) -> Mapping[str, str]:
        return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}

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
            raise NotImplementedError(f"jax has no mode {mode!r}.")
        with jax.enable_x64(True):
            place = jax.devices(device)[0]
            placed = partial(put, dtype=jnp.dtype(dtype), place=place)
            weights = None if directions is None else tuple(map(placed, directions))
            result = _prepared(call, wrt, mode, weights is not None)(tuple(map(placed, arrays)), weights)
            return Result(np.asarray(result).astype(np.float64), str(result.dtype))

    def synchronise(self, x: Array) -> Array:
        return jax.block_until_ready(x)


def put(a: np.ndarray, dtype: Any, place: Any) -> Array:
    """An array in a dtype on a device, or laid over several as a Sharding says."""
    return jax.device_put(np.asarray(a).astype(dtype), place)


@lru_cache(maxsize=4)
def _flushes(device: str) -> tuple[str, ...]:
    """The dtypes in which a multiplication loses a subnormal number on a device."""
    lost = []
    with jax.enable_x64(True), jax.default_device(jax.devices(device)[0]):
        for dtype in JaxHarness.dtypes:
            small = jnp.asarray(jnp.finfo(dtype).tiny, dtype=dtype)
            wide = jnp.float32 if jnp.finfo(dtype).bits == 16 else jnp.dtype(dtype)
            halved = jax.jit(lambda x, wide=wide: (x.astype(wide) * 0.5).astype(x.dtype))(small)
            doubled = jax.jit(lambda x, wide=wide: (x.astype(wide) * 2.0).astype(x.dtype))(
                jnp.asarray(np.asarray(jnp.finfo(dtype).tiny, dtype=jnp.dtype(dtype)) / 2)
            )
            if float(halved) == 0 or float(doubled) == 0:
                lost.append(dtype)
    return tuple(lost)


harness = JaxHarness()
