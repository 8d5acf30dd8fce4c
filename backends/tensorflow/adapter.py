"""The TensorFlow backend: every function of a tower is a graph function with a custom gradient that calls the next one.

Each is a ``tf.function`` of its own: ForwardAccumulator differentiates a graph function by transposing its gradient and
so uses the declared derivative, where it would look through a bare ``tf.custom_gradient``. In eager mode the cached graph
saves dispatching operation by operation; inside a user's ``tf.function`` it is inlined.

Python numbers given for parameters are constants of the graph. A function keeps at most `multiact.exports.CONSTANTS` graphs;
further numbers travel as tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from multiact.declaration import Activation, Array, Axiswise, Elementwise, widen
from multiact.errors import InputError
from multiact.exports import BackendBase, ByConstants, check_generator, merge
from multiact.functions import build, check_split

from . import namespace
from .xla import Recurring

Tensor: TypeAlias = tf.Tensor


class TensorFlowBackend(BackendBase):
    """Functions of TensorFlow tensors and Variables, eager or symbolic, of known or unknown shape."""

    name = "tensorflow"
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, (tf.Tensor, tf.Variable))

    def dtype(self, x: Array) -> str:
        if isinstance(x, float):
            return "float32" if type(x) is float else np.asarray(x).dtype.name
        dtype = getattr(x, "dtype", None)
        return tf.as_dtype(tf.convert_to_tensor(x).dtype if dtype is None else dtype).name

    def make_function(self, activation: Activation) -> Callable[..., Tensor]:
        # AutoGraph would rewrite all of our code whenever a user's function is traced.
        return tf.autograph.experimental.do_not_convert(build(activation, self))

    def split(self, x: Array, axis: int, gate: str, name: str) -> tuple[Tensor, Tensor]:
        """The value and the gate, also where the size of the axis or the rank becomes known only when the graph runs."""
        x = _tensor(x)
        check_split(x, axis, name)
        if gate != "interleaved":
            first, second = tf.split(x, 2, axis)
            return (second, first) if gate == "first" else (first, second)
        shape = tf.shape(x)
        pairs = [shape[:axis], [-1, 2]] + ([shape[axis + 1 :]] if axis != -1 else [])
        pair = axis if axis < 0 else axis + 1
        even, odd = (tf.squeeze(part, [pair]) for part in tf.split(tf.reshape(x, tf.concat(pairs, 0)), 2, pair))
        return odd, even

    def uniform(self, like: Array, dtype: str, rng: Any) -> Tensor:
        accepted = (type(None), tf.random.Generator)
        check_generator(self.name, rng, accepted, "a tf.random.Generator, or None for the global one")
        like = _tensor(like)
        found = (rng or tf.random).uniform(tf.shape(like), dtype=dtype)
        return tf.ensure_shape(found, like.shape)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Tensor]:
        missing = {a: _guard(function, a) for a in function.arguments if not function.order and not function.partial(a)}

        def make(constants: tuple[float | None, ...]) -> Callable[..., Tensor]:
            def body(*tensors: Tensor) -> Tensor:
                return function.evaluate(namespace, *merge(constants, tensors))

            def gradient(dy: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
                wide = [tf.cast(t, dy.dtype) for t in tensors]
                given = [a for a, c in zip(function.arguments, constants) if c is None]
                return [vjp(dy, wide, i, argument) for i, argument in enumerate(given)]

            def vjp(dy: Tensor, wide: list[Tensor], i: int, argument: str) -> Tensor:
                if argument in missing:  # its guard has raised where the gradient can be asked for
                    return tf.zeros_like(wide[i])
                partial = function.partial(argument)
                if partial is not None:
                    given = merge(constants, wide)
                    # Zero is its own derivative: as a graph that calls itself it could not be loaded from a SavedModel.
                    slope = function(namespace, *given) if partial is function else self.elementwise(partial)(*given)
                    # A second derivative or a jvp multiplies every partial, also the infinite ones nobody asked for, by 0.
                    return tf.math.multiply_no_nan(slope, dy)
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(wide[i])
                    y = function(namespace, *merge(constants, wide))
                return tape.gradient(y, wide[i], dy, unconnected_gradients="zero")

            return _graph(function.name, body, gradient)

        graphs = _Graphs(function.name, make)

        def call(*arguments: Array) -> Tensor:
            if missing:
                arguments = tuple(
                    missing[n](_tensor(a)) if n in missing and not isinstance(a, float) else a
                    for n, a in zip(function.arguments, arguments)
                )
            return graphs(arguments)

        return call

    def register_axiswise(self, function: Axiswise) -> Callable[..., Tensor]:
        by_options: dict[tuple[int, ...], _Graphs] = {}

        def prepare(options: Mapping[str, int], order: int) -> _Graphs:
            def make(constants: tuple[float | None, ...]) -> Callable[..., Tensor]:
                needed = tuple(c is None for c in constants)

                def body(*tensors: Tensor) -> Tensor:
                    x, *parameters = merge(constants, tensors)
                    return function.evaluate(namespace, x, *parameters, **options)

                def gradient(dy: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
                    wide = merge(constants, [tf.cast(t, dy.dtype) for t in tensors])
                    # Computed again by this rule, so that it is differentiable by it too; by a graph of its own, since one
                    # that calls itself could not be loaded from a SavedModel.
                    y = of_order(order + 1, wide, options)
                    grads = function.vjp(namespace, wide, y, dy, needed, **options)
                    return [g for g, need in zip(grads, needed) if need]

                return _graph(function.name, body, gradient)

            def shape(before: tf.TensorShape) -> Any:
                return before if before.rank is None else function.output_shape(tuple(before), options)

            return _Graphs(function.name, make, shape)

        def of_order(order: int, arguments: Sequence[Array], options: Mapping[str, int]) -> Tensor:
            key = (order, *(options[name] for name in function.options))
            graphs = by_options.get(key)
            if graphs is None:
                graphs = by_options.setdefault(key, prepare(options, order))
            return graphs(arguments)

        def entry(*arguments: Array, **options: int) -> Tensor:
            return of_order(0, arguments, options)

        return entry


class _Graphs:
    """The graph functions of one function, by which of its arguments are Python numbers and which numbers; others for XLA.

    `shape` gives the shape of the result for that of the first argument, as far as it is known.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[tuple[float | None, ...]], Callable[..., Tensor]],
        shape: Callable[[tf.TensorShape], Any] = lambda before: before,
    ) -> None:
        self._ways, self._shape = [ByConstants(make), ByConstants(make)], shape
        self._recurring = Recurring(name, compiled)

    def __call__(self, arguments: Sequence[Array]) -> Tensor:
        x = _tensor(arguments[0])
        eager = tf.executing_eagerly()
        graph, others = self._ways[not eager and namespace.by_xla()].find((x, *arguments[1:]))
        tensors = [x, *(_real(a, x) for a in others[1:])]
        if eager:
            return self._recurring.version(graph, tensors)(*tensors)
        y = graph(*tensors)
        y.set_shape(self._shape(x.shape))  # the graph may have been traced for any shape
        return y


def _graph(
    name: str, body: Callable[..., Tensor], gradient: Callable[[Tensor, Sequence[Tensor]], list[Tensor]]
) -> Callable[..., Tensor]:
    """`body` as a graph function whose derivative is `gradient`, computed in float32 for 16-bit tensors and rounded once.

    Only the arguments are kept for it.
    """

    @tf.custom_gradient
    def rule(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
        by_xla = namespace.by_xla()

        def grad(dy: Tensor) -> list[Tensor]:
            with namespace.for_xla(by_xla):
                found = gradient(widen(namespace, dy), tensors)
            x, *parameters = zip(found, tensors)
            return [tf.cast(g, t.dtype) for g, t in (x, *((_sum_to(g, t), t) for g, t in parameters))]

        return body(*tensors), grad

    def graph(*tensors: Tensor) -> Tensor:
        return rule(*tensors)

    graph.__name__ = name.replace("/", "_")
    return traced(graph, reduce_retracing=True)


def traced(function: Callable[..., Any], **options: Any) -> Any:
    """`function` as a tf.function, without the warning that it is traced often.

    TensorFlow counts by code object, and ours share theirs: it would warn of the first call of every new function.
    """
    graph = tf.function(function, autograph=False, **options)
    graph._omit_frequent_tracing_warning = True
    return graph


def compiled(graph: Any) -> Callable[..., Tensor]:
    """A graph function compiled by XLA, for each shape anew."""
    return traced(graph.python_function, jit_compile=True)  # type: ignore[no-any-return]


def _guard(function: Elementwise, argument: str) -> Callable[[Tensor], Tensor]:
    """The identity, which raises `MissingDerivativeError` where a derivative in its argument is built."""

    def gradient(dy: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
        function.require(argument)
        raise AssertionError(f"{function.name} declares its derivative in {argument}")

    return _graph(f"{function.name}/{argument}", tf.identity, gradient)


def _tensor(x: Array) -> Tensor:
    if isinstance(x, tf.Tensor):
        return x
    if isinstance(x, (tf.RaggedTensor, tf.SparseTensor, tf.IndexedSlices)):
        raise InputError(
            f"expected a dense tensor. Received: {type(x).__name__}. Apply the function to its values, for a ragged "
            f"tensor with tf.ragged.map_flat_values."
        )
    return tf.convert_to_tensor(x)


def _real(parameter: Array, x: Tensor) -> Tensor:
    """A parameter as a floating-point tensor; an integer one has no gradient."""
    parameter = _tensor(parameter)
    return parameter if parameter.dtype.is_floating else tf.cast(parameter, widen(namespace, x).dtype)


def _sum_to(grad: Tensor, like: Tensor) -> Tensor:
    """The gradient of a broadcast argument: summed to the shape of `like`, also where shapes are unknown."""
    if grad.shape.is_fully_defined() and grad.shape == like.shape:
        return grad
    axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(grad), s1=tf.shape(like)).r1
    return tf.reshape(tf.reduce_sum(grad, axes), tf.shape(like))


backend = TensorFlowBackend()
