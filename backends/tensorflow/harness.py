"""The TensorFlow backend under test: evaluating functions and their derivatives in every mode, and TensorFlow's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import ml_dtypes
import numpy as np
import tensorflow as tf

from multiact.declaration import DTYPES, Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result

from .adapter import backend, traced
from .timing import TensorFlowTiming, tensor

Tensors = Sequence[tf.Tensor]
Evaluation = Callable[[Tensors, Tensors], tf.Tensor]


class TensorFlowHarness(TensorFlowTiming):
    """Functions of TensorFlow tensors.

    Derivatives by reverse mode come from a GradientTape: inside the tf.function in the modes "compiled" and "xla", inside
    the mapped function in "vmapped", and in "reverse" outside a tf.function that holds the call. "forward" is a
    ForwardAccumulator and "second" one over a tape, both in a tf.function, which is traced faster than it runs eagerly.
    """

    name = "tensorflow"
    dtypes = DTYPES
    modes = ("eager", "compiled", "xla", "vmapped", "reverse", "forward", "second")

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return _flushes(device)

    def devices(self) -> tuple[str, ...]:
        found = {device.device_type.lower() for device in tf.config.list_logical_devices()}
        return ("cpu", *sorted(found & {"gpu", "tpu"}))

    def versions(self) -> Mapping[str, str]:
        return {"tensorflow": tf.__version__, "numpy": np.__version__}

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
        if mode not in self.modes:
            raise ValueError(f"mode must be one of {list(self.modes)}. Received: {mode!r}.")
        if device not in self.devices():
            raise ValueError(f"device must be one of {list(self.devices())}. Received: {device!r}.")
        mapped = tuple(a.ndim > 0 and a.shape[:1] == arrays[0].shape[:1] and a.ndim == arrays[0].ndim for a in arrays)
        evaluation = _evaluation(call, mode, wrt, mapped if mode == "vmapped" else ())
        return evaluated(evaluation, arrays, dtype=dtype, device=device, directions=directions)

    def synchronise(self, x: Array) -> Array:
        tf.test.experimental.sync_devices()
        return x


def evaluated(
    evaluation: Evaluation,
    arrays: Sequence[np.ndarray],
    *,
    dtype: str = "float32",
    device: str = "cpu",
    directions: Sequence[np.ndarray] | None = None,
) -> Result:
    """What an evaluation gives of arrays put on a device."""
    with tf.device(f"/{device.upper()}:0"):
        result = evaluation([tensor(a, dtype) for a in arrays], [tensor(d, dtype) for d in directions or ()])
    return Result(result.numpy().astype(np.float64), result.dtype.name)


@functools.lru_cache(maxsize=4)
def _flushes(device: str) -> tuple[str, ...]:
    """The dtypes in which a product that is subnormal is flushed to zero on a device."""
    lost = []
    for dtype in DTYPES:
        smallest = float(ml_dtypes.finfo(tf.as_dtype(dtype).as_numpy_dtype).smallest_normal)
        with tf.device(f"/{device.upper()}:0"):
            product = tensor(np.full(16, smallest), dtype) * tensor(np.full(16, 0.5), dtype)
        if not np.all(product.numpy()):
            lost.append(dtype)
    return tuple(lost)


@functools.lru_cache(maxsize=64)
def _evaluation(call: Callable[..., Array], mode: str, wrt: tuple[int, ...], mapped: tuple[bool, ...]) -> Evaluation:
    """A function of (arguments, directions) in the mode given, traced once for each dtype and shape."""
    if mode == "reverse":
        return reverse(traced(call), wrt)
    if mode == "forward":
        return traced(forward(call, wrt))
    if mode == "second" and len(wrt) == 2 and wrt[0] == wrt[1]:
        return traced(_forward_over_reverse(call, wrt))
    evaluation = reverse(call, wrt)
    if mode == "vmapped":
        return traced(_vmapped(evaluation, wrt, mapped))
    if mode in ("compiled", "xla"):
        return traced(evaluation, jit_compile=mode == "xla")
    return evaluation


def reverse(call: Callable[..., Array], wrt: tuple[int, ...]) -> Evaluation:
    """A derivative by nested tapes, as a function of (arguments, cotangents)."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        if not wrt:
            return call(*tensors)
        last = tensors[wrt[-1]]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(last)
            y = reverse(call, wrt[:-1])(tensors, directions[: len(wrt) - 1])
        cotangent = directions[len(wrt) - 1] if directions else None
        return tape.gradient(y, last, cotangent, unconnected_gradients="zero")

    return evaluate


def forward(call: Callable[..., Array], wrt: tuple[int, ...]) -> Evaluation:
    """A derivative by nested accumulators, as a function of (arguments, tangents)."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        if not wrt:
            return call(*tensors)
        last = tensors[wrt[-1]]
        tangent = directions[len(wrt) - 1] if directions else tf.ones_like(last)
        with tf.autodiff.ForwardAccumulator(last, tangent) as accumulator:
            y = forward(call, wrt[:-1])(tensors, directions[: len(wrt) - 1])
        return accumulator.jvp(y, unconnected_gradients="zero")

    return evaluate


def _forward_over_reverse(call: Callable[..., Array], wrt: tuple[int, ...]) -> Evaluation:
    """For the second derivative in one argument, whose matrix is symmetric, the same as reverse over reverse."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        x = tensors[wrt[1]]
        with tf.autodiff.ForwardAccumulator(x, directions[1] if directions else tf.ones_like(x)) as accumulator:
            slope = reverse(call, wrt[:1])(tensors, directions[:1])
        return accumulator.jvp(slope, unconnected_gradients="zero")

    return evaluate


def _vmapped(evaluation: Evaluation, wrt: tuple[int, ...], mapped: tuple[bool, ...]) -> Evaluation:
    """Mapped over the leading axis of the arguments that have as many axes as the first, and of the directions."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        def row(rows: tuple[Tensors, Tensors]) -> tf.Tensor:
            given = iter(rows[0])
            return evaluation([next(given) if m else t for t, m in zip(tensors, mapped)], rows[1])

        batch = [t for t, m in zip(tensors, mapped) if m]
        result = tf.vectorized_map(row, (batch, list(directions)), fallback_to_while_loop=False)
        return tf.reduce_sum(result, 0) if wrt and not mapped[wrt[-1]] else result

    return evaluate


harness = TensorFlowHarness()
