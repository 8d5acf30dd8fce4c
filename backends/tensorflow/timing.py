"""What the benchmarks need of TensorFlow beside the harness: running, copying, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

import multiact.timing
from multiact.declaration import Activation, Array

from . import namespace
from .adapter import traced

Tensors = tuple[tf.Tensor, ...]


def tensor(values: np.ndarray, dtype: str) -> tf.Tensor:
    """An array of NumPy as a tensor."""
    with np.errstate(over="ignore", invalid="ignore"):
        return tf.constant(np.asarray(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


def _put(arrays: Sequence[np.ndarray], dtype: str, device: str) -> list[tf.Tensor]:
    with tf.device(f"/{device.upper()}:0"):
        return [tf.identity(tensor(a, dtype)) for a in arrays]


class TensorFlowTiming:
    """The part of the harness that the benchmarks alone use: outside a tf.function, inside one, and inside one under XLA."""

    timed_modes = ("eager", "compiled", "xla")
    network_modes: tuple[str, ...] = ()

    def hardware(self, device: str) -> Mapping[str, Any]:
        if device == "cpu":
            return {"threads": tf.config.threading.get_intra_op_parallelism_threads() or None}
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices(device.upper())[0])
        return {"model": details.get("device_name")}

    def operation(self, name: str) -> Callable[..., Array]:
        return getattr(tf.math if name in ("erf", "erfc") else namespace, name)  # type: ignore[no-any-return]

    def runner(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        direction: str = "forward",
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Callable[[], Tensors]:
        given = _put(arrays, dtype, device)

        def forward(*inputs: tf.Tensor) -> Tensors:
            return (call(*inputs),)

        def both(cotangent: tf.Tensor, *inputs: tf.Tensor) -> Tensors:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs)
                y = call(*inputs)
            return (y, *tape.gradient(y, inputs, cotangent, unconnected_gradients="zero"))

        function: Callable[..., Tensors] = forward
        if direction != "forward":
            function, given = both, [tf.ones_like(call(*given)), *given]
        if mode != "eager":
            function = traced(function, jit_compile=mode == "xla")
        return lambda: function(*given)

    def copier(
        self, arrays: Sequence[np.ndarray], *, direction: str = "forward", dtype: str = "float32", device: str = "cpu"
    ) -> Callable[[], Tensors]:
        # The sign is flipped, because tf.identity copies nothing.
        first, *rest = _put(arrays, dtype, device)
        ones = tf.ones_like(first)
        forward: Callable[[], tf.Tensor] = (lambda: first + rest[0]) if rest else (lambda: tf.negative(first))
        if direction == "forward":
            return lambda: (forward(),)
        return lambda: (forward(), first + ones, *map(tf.negative, rest))

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        wait = None if device == "cpu" else lambda _: tf.test.experimental.sync_devices()
        return multiact.timing.seconds(run, calls, wait)

    def values(self, x: tf.Tensor, step: int = 1) -> np.ndarray:
        values: np.ndarray = (x if step == 1 else tf.reshape(x, -1)[::step]).numpy().astype(np.float64)
        return values

    def saved_bytes(self, call: Callable[..., Array], arrays: Sequence[np.ndarray], **settings: Any) -> int | None:
        return None

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        if device != "gpu":
            return None
        before = tf.config.experimental.get_memory_info("GPU:0")["current"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        run()
        peak: int = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        return peak - before

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        pass

    def use_cache(self, folder: str) -> None:
        pass

    def network(self, name: str, activation: Callable[[Array], Array], **settings: Any) -> Callable[[], Any]:
        raise NotImplementedError("there are no networks for TensorFlow here.")
