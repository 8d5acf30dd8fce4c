"""What the benchmarks need of JAX beside the harness: running, copying, and how long and how much memory it takes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import multiact.timing
from multiact.declaration import Activation, Array

Function = Callable[..., Array]
Arrays = tuple[Array, ...]


def _wide(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """float64 has to be enabled; 32-bit arrays are timed as users have them."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def _put(arrays: Sequence[np.ndarray], dtype: str, device: str) -> Arrays:
    with _wide(dtype):
        place = jax.devices(device)[0]
        return tuple(jax.device_put(np.asarray(a).astype(jnp.dtype(dtype)), place) for a in arrays)


class _Run:
    """A function of arrays, called with them; jitted or not."""

    def __init__(self, function: Callable[..., Any], given: Arrays, dtype: str, jitted: bool = True) -> None:
        self._function = jax.jit(function) if jitted else function
        self._given, self._jitted, self._dtype = given, jitted, dtype
        self._call = self._in_float64 if dtype == "float64" else self._function

    def _in_float64(self, *given: Array) -> Any:
        with jax.enable_x64(True):
            return self._function(*given)

    def __call__(self) -> Any:
        return self._call(*self._given)

    def peak(self) -> int | None:
        """What the compiler says it needs at a time beside the arguments."""
        if not self._jitted:
            return None
        function: Any = self._function
        with _wide(self._dtype):
            found = function.lower(*self._given).compile().memory_analysis()
        return None if found is None else int(found.temp_size_in_bytes + found.output_size_in_bytes)


class JaxTiming:
    """The part of the harness that the benchmarks alone use. "eager" is outside jax.jit, "compiled" all in one jax.jit."""

    timed_modes = ("eager", "compiled")
    network_modes = ("compiled",)

    def hardware(self, device: str) -> Mapping[str, Any]:
        return {} if device == "cpu" else {"model": jax.devices(device)[0].device_kind}

    def operation(self, name: str) -> Function:
        place: Any = jax.scipy.special if name in ("erf", "erfc") else jnp
        if not hasattr(place, name):
            raise NotImplementedError(f"JAX has no {name}.")
        return getattr(place, name)  # type: ignore[no-any-return]

    def runner(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        direction: str = "forward",
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Callable[[], Arrays]:
        given = _put(arrays, dtype, device)
        if direction == "forward":
            return _Run(lambda *inputs: (call(*inputs),), given, dtype, mode == "compiled")
        with _wide(dtype):
            shaped = jax.eval_shape(call, *given)
            ones = jax.device_put(jnp.ones(shaped.shape, shaped.dtype), jax.devices(device)[0])

        def both(cotangent: Array, *inputs: Array) -> Arrays:
            y, pull = jax.vjp(call, *inputs)
            return (y, *pull(cotangent))

        return _Run(both, (ones, *given), dtype, mode == "compiled")

    def copier(
        self, arrays: Sequence[np.ndarray], *, direction: str = "forward", dtype: str = "float32", device: str = "cpu"
    ) -> Callable[[], Arrays]:
        # The sign is flipped, because a jitted function that returns its argument copies nothing.
        given = _put(arrays, dtype, device)
        forward = _Run(lambda first, *rest: first + rest[0] if rest else -first, given, dtype)
        if direction == "forward":
            return lambda: (forward(),)
        backward = _Run(lambda first, ones, *rest: (first + ones, *(-r for r in rest)), (given[0], *given), dtype)
        return lambda: (forward(), *backward())

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        if device == "cpu":  # where calls that do not wait for each other run at the same time
            return multiact.timing.seconds(lambda: jax.block_until_ready(run()), calls)
        return multiact.timing.seconds(run, calls, jax.block_until_ready)

    def values(self, x: Array, step: int = 1) -> np.ndarray:
        return np.asarray(x if step == 1 else x.reshape(-1)[::step]).astype(np.float64)

    def saved_bytes(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> int | None:
        """The arrays in the function that jax.vjp returns, in both modes: under jax.jit none need be kept."""
        with _wide(dtype):
            _, pull = jax.vjp(call, *_put(arrays, dtype, device))
            kept = {x.unsafe_buffer_pointer(): x.nbytes for x in jax.tree.leaves(pull) if isinstance(x, jax.Array)}
        return sum(kept.values())

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        return run.peak() if isinstance(run, _Run) else None

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        pass

    def use_cache(self, folder: str) -> None:
        jax.config.update("jax_compilation_cache_dir", folder)

    def network(
        self,
        name: str,
        activation: Callable[[Array], Array],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        shape: Mapping[str, int],
    ) -> Callable[[], Any]:
        if mode != "compiled":
            raise NotImplementedError("networks run inside jax.jit.")
        network, sizes = _NETWORKS[name]
        random = np.random.default_rng(0)
        given = [random.standard_normal(s) / np.sqrt(np.prod(s[:-1])) for s in sizes(shape)]

        def loss(weights: Arrays) -> Array:
            return network(activation, *weights).sum()

        return _Run(jax.grad(loss), (_put(given, dtype, device),), dtype)  # type: ignore[arg-type]


def _feed_forward(activation: Function, x: Array, up: Array, up_b: Array, down: Array, down_b: Array) -> Array:
    return x + activation(x @ up + up_b) @ down + down_b


def _feed_forward_sizes(shape: Mapping[str, int]) -> list[tuple[int, ...]]:
    tokens, width, hidden = (shape[n] for n in ("tokens", "width", "hidden"))
    return [(tokens, width), (width, hidden), (hidden,), (hidden, width), (width,)]


def _convolutional(activation: Function, x: Array, *weights: Array) -> Array:
    *layers, last, last_b = weights
    for i, (w, b) in enumerate(zip(layers[::2], layers[1::2])):
        stride = 1 if i == 0 else 2
        y = jax.lax.conv_general_dilated(
            x, w, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = activation(y + b)
    return x.mean((1, 2)) @ last + last_b


def _convolutional_sizes(shape: Mapping[str, int]) -> list[tuple[int, ...]]:
    channels = [3, shape["channels"], 2 * shape["channels"], 4 * shape["channels"]]
    found: list[tuple[int, ...]] = [(shape["images"], shape["side"], shape["side"], 3)]
    for a, b in itertools.pairwise(channels):
        found += [(3, 3, a, b), (b,)]
    return [*found, (channels[-1], shape["classes"]), (shape["classes"],)]


_NETWORKS: dict[str, tuple[Function, Callable[[Mapping[str, int]], list[tuple[int, ...]]]]] = {
    "feed_forward": (_feed_forward, _feed_forward_sizes),
    "convolutional": (_convolutional, _convolutional_sizes),
}
