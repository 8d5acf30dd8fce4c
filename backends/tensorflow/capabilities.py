"""What people do to TensorFlow functions: each function evaluates an activation in the way of its entry in capabilities.toml.

What survives a SavedModel is the value, and the first derivative in inputs and Variables by the declared formula: TensorFlow
writes the gradients of the functions that it saves, unless that is switched off with ``experimental_custom_gradients=False``, but
not the gradients of those. A second derivative of what was loaded raises `LookupError`; it survives if a tf.function that computes
the first one is saved in the same module.

Two devices are made of the CPU when this file is imported, unless TensorFlow has been used before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import tensorflow as tf

from multiact.declaration import Array
from multiact.protocols import Result

from .adapter import traced
from .harness import Evaluation, Tensors, evaluated, forward, reverse

Call: TypeAlias = Callable[..., Array]
Arrays: TypeAlias = Sequence[np.ndarray]
Wrt: TypeAlias = tuple[int, ...]

#: What is not a parameter, among the names of the arguments of a call.
INPUTS = ("x", "value", "gate", "packed")

with contextlib.suppress(RuntimeError):  # it is too late; `mirrored` says so
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


def _learned(call: Call, count: int) -> list[int]:
    """The positions of the arguments that are parameters."""
    names = getattr(call, "names", ())
    return [i for i in range(count) if i < len(names) and names[i] not in INPUTS]


def _signature(tensors: Tensors, known: bool = True) -> list[tf.TensorSpec]:
    """Specifications of any size of the first axis, or of any rank."""
    return [tf.TensorSpec([None, *t.shape[1:]] if known else None, t.dtype) for t in tensors]


# Derivatives


@functools.lru_cache(maxsize=8)  # along an axis the same is evaluated at several points
def _inside(call: Call, wrt: Wrt) -> Evaluation:
    return traced(reverse(call, wrt))  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=8)
def _outside(call: Call, wrt: Wrt) -> Evaluation:
    return reverse(traced(call), wrt)


@functools.lru_cache(maxsize=8)
def _mixed_modes(call: Call, wrt: Wrt) -> Evaluation:
    """An accumulator over tapes; the derivatives in one argument do not depend on the order of differentiation."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        x = tensors[wrt[-1]]
        tangent = directions[len(wrt) - 1] if directions else tf.ones_like(x)
        with tf.autodiff.ForwardAccumulator(x, tangent) as accumulator:
            below = reverse(call, wrt[:-1])(tensors, directions[: len(wrt) - 1])
        return accumulator.jvp(below, unconnected_gradients="zero")

    return traced(evaluate)  # type: ignore[no-any-return]


def third(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_inside(call, wrt), arrays, **settings)


def third_outside(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_outside(call, wrt), arrays, **settings)


def third_forward(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_mixed_modes(call, wrt), arrays, **settings)


def nested_forward(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(traced(forward(call, wrt)), arrays, **settings)


def reverse_over_forward(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        x = tensors[wrt[0]]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            slope = forward(call, wrt[:1])(tensors, directions[1:])
        return tape.gradient(slope, x, directions[0] if directions else None, unconnected_gradients="zero")

    return evaluated(traced(evaluate), arrays, **settings)


# Transforms


def _rows(x: tf.Tensor) -> tf.Tensor:
    """Points as rows of 32, so that Jacobians stay small; what has an axis already stays as it is."""
    return tf.reshape(x, [-1, 32]) if x.shape.rank == 1 else x


def _contracted(jacobian: tf.Tensor, y: tf.Tensor, cotangent: tf.Tensor | None, batched: bool = False) -> tf.Tensor:
    """The product of a cotangent, ones if not given, with a Jacobian of `y`."""
    cotangent = tf.ones_like(y) if cotangent is None else tf.reshape(cotangent, tf.shape(y))
    axes = range(1 if batched else 0, y.shape.rank)
    full = tf.reshape(cotangent, [*y.shape, *[1] * (jacobian.shape.rank - y.shape.rank)])
    # An infinite or undefined entry must not spoil what it is not part of.
    return tf.reduce_sum(tf.math.multiply_no_nan(jacobian, tf.broadcast_to(full, jacobian.shape)), list(axes))


def _differentiated(call: Call, wrt: Wrt, jacobian: Callable[..., tf.Tensor], batched: bool = False) -> Evaluation:
    """The last derivative by a Jacobian; of points, which are rows then, of the sums of the columns, which is as large as one row."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        given = [_rows(t) for t in tensors]
        points = tensors[0].shape.rank == 1
        last = given[wrt[-1]]
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(last)
            y = reverse(call, wrt[:-1])(given, directions[: len(wrt) - 1])
            if points and not batched:
                y = tf.reduce_sum(y, 0)
        found = jacobian(tape, y, last, unconnected_gradients="zero")
        if points:
            found = _diagonal(found, batched)
        else:
            found = _contracted(found, y, directions[len(wrt) - 1] if directions else None, batched)
        return tf.reshape(found, tf.shape(tensors[wrt[-1]]))

    return traced(evaluate)  # type: ignore[no-any-return]


def _diagonal(jacobian: tf.Tensor, batched: bool) -> tf.Tensor:
    """Of the Jacobian of an elementwise function, which must be 0 elsewhere."""
    by_row = jacobian if batched else tf.transpose(jacobian, [1, 0, 2])
    diagonal = tf.linalg.diag_part(by_row)
    finite = tf.math.is_finite(diagonal)[:, None, :]
    rest = tf.where(finite, by_row - tf.linalg.diag(diagonal), 0.0)
    check = tf.debugging.assert_equal(
        rest, tf.zeros_like(rest), "the Jacobian of an elementwise function is not diagonal"
    )
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(diagonal)


def jacobian(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_differentiated(call, wrt, tf.GradientTape.jacobian), arrays, **settings)


def jacobian_loop(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    by_loop = functools.partial(tf.GradientTape.jacobian, experimental_use_pfor=False)
    return evaluated(_differentiated(call, wrt, by_loop), arrays, **settings)


def batch_jacobian(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_differentiated(call, wrt, tf.GradientTape.batch_jacobian, batched=True), arrays, **settings)


def hessian(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_differentiated(call, wrt, tf.GradientTape.jacobian), arrays, **settings)


# Shapes and control flow


def _of_shapes(call: Call, wrt: Wrt, known: bool) -> Evaluation:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        signature = [_signature(tensors, known), _signature(directions, known)]
        return traced(reverse(call, wrt), input_signature=signature)(tensors, directions)

    return evaluate


def unknown_batch(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_of_shapes(call, wrt, known=True), arrays, **settings)


def unknown_rank(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_of_shapes(call, wrt, known=False), arrays, **settings)


def variable(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        return reverse(call, wrt)([tf.Variable(t) for t in tensors], directions)

    return evaluated(evaluate, arrays, **settings)


def _parts(count: int) -> int:
    """Into how many equal parts so many rows can be divided."""
    return next(parts for parts in (8, 6, 3, 2, 1) if count % parts == 0)


def _divided(tensors: Tensors) -> list[tf.Tensor]:
    """Parts of the rows along a new leading axis."""
    parts = _parts(tensors[0].shape[0])
    return [tf.reshape(t, [parts, -1, *t.shape[1:]]) for t in tensors]


def _joined(parts: tf.Tensor) -> tf.Tensor:
    return tf.reshape(parts, tf.concat([[-1], tf.shape(parts)[2:]], 0))


def dataset(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        rows = tensors[0].shape[0]
        batches = tf.data.Dataset.from_tensor_slices((tuple(tensors), tuple(directions))).batch(rows // _parts(rows))
        found = batches.map(reverse(call, wrt), num_parallel_calls=tf.data.AUTOTUNE)
        return tf.concat(list(found), 0)

    return evaluated(evaluate, arrays, **settings)


def map_fn(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def mapped(*tensors: tf.Tensor) -> tf.Tensor:
        parts = tf.map_fn(lambda rows: call(*rows), tuple(_divided(tensors)), fn_output_signature=tensors[0].dtype)
        return _joined(parts)

    return evaluated(traced(reverse(mapped, wrt)), arrays, **settings)


def while_loop(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def looped(*tensors: tf.Tensor) -> tf.Tensor:
        divided = _divided(tensors)
        count = divided[0].shape[0]

        def step(i: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return i + 1, found.write(i, call(*(d[i] for d in divided)))

        found = tf.TensorArray(tensors[0].dtype, count)
        return _joined(tf.while_loop(lambda i, _: i < count, step, (tf.constant(0), found))[1].stack())

    return evaluated(traced(reverse(looped, wrt)), arrays, **settings)


def cond(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def evaluate(chosen: tf.Tensor, tensors: Tensors, directions: Tensors) -> tf.Tensor:
        either = lambda *given: tf.cond(chosen, lambda: call(*given), lambda: 2 * call(*given))
        return reverse(either, wrt)(tensors, directions)

    return evaluated(functools.partial(traced(evaluate), tf.constant(True)), arrays, **settings)


# Saving and export


class Model(tf.Module):
    """An activation with what it has learned, as a user of functions writes it."""

    def __init__(self, call: Call, tensors: Tensors, learned: Sequence[int]) -> None:
        super().__init__()
        self.call, self.learned = call, list(learned)
        self.parameters = [tf.Variable(tensors[i]) for i in learned]
        self.inputs = [t for i, t in enumerate(tensors) if i not in learned]
        # Names by which the inputs of an exported model can be told apart.
        specifications = [tf.TensorSpec(s.shape, s.dtype, f"input{i}") for i, s in enumerate(_signature(self.inputs))]
        self.f = tf.function(self.evaluate, autograph=False, input_signature=specifications)

    def evaluate(self, *inputs: tf.Tensor) -> tf.Tensor:
        given = list(inputs)
        for position, parameter in zip(self.learned, self.parameters):
            given.insert(position, parameter)
        return self.call(*given)


def _derivative(model: Any, call: Call, wrt: Wrt, tensors: Tensors, directions: Tensors) -> tf.Tensor:
    """Of a model's function, in an input or in a Variable."""
    learned = _learned(call, len(tensors))
    given = list(tensors)
    for position, parameter in zip(learned, model.parameters):
        given[position] = parameter
    inputs = [i for i in range(len(given)) if i not in learned]
    return reverse(lambda *all_of_them: model.f(*(all_of_them[i] for i in inputs)), wrt)(given, directions)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of TensorFlow about gradients that are not saved, and about its own interpreter."""
    import absl.logging

    before = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            absl.logging.set_verbosity(before)


def save_and_load(model: tf.Module, gradients: bool) -> Any:
    """What is left of a module after it was written as a SavedModel."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=gradients)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, options=options)
        return tf.saved_model.load(folder)


def _saved(call: Call, wrt: Wrt, gradients: bool) -> Evaluation:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        model = Model(call, tensors, _learned(call, len(tensors)))
        if len(wrt) > 1:
            first = lambda *inputs: reverse(model.f, wrt[:1])(inputs, [])
            model.slope = tf.function(first, autograph=False, input_signature=model.f.input_signature)
        return _derivative(save_and_load(model, gradients), call, wrt, tensors, directions)

    return evaluate


def saved(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_saved(call, wrt, gradients=False), arrays, **settings)


def saved_gradients(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_saved(call, wrt, gradients=True), arrays, **settings)


def saved_second(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_saved(call, wrt, gradients=True), arrays, **settings)


def checkpoint(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        learned = _learned(call, len(tensors))
        model, fresh = Model(call, tensors, learned), Model(call, [tf.zeros_like(t) for t in tensors], learned)
        with tempfile.TemporaryDirectory() as folder:
            path = tf.train.Checkpoint(model=model).save(os.path.join(folder, "model"))
            tf.train.Checkpoint(model=fresh).restore(path).assert_consumed()
        for before, after in zip(model.parameters, fresh.parameters):
            tf.debugging.assert_equal(before, after, "a parameter is restored with another value")
        return _derivative(fresh, call, wrt, tensors, directions)

    return evaluated(evaluate, arrays, **settings)


def frozen(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        function = convert_variables_to_constants_v2(Model(call, tensors, []).f.get_concrete_function())
        written = function.graph.as_graph_def().SerializeToString()
        graph = tf.compat.v1.GraphDef.FromString(written)
        read = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
        names = [[t.name for t in side] for side in (function.inputs, function.outputs)]
        pruned = read.prune(*([read.graph.as_graph_element(n) for n in side] for side in names))
        return pruned(*tensors)[0]

    return evaluated(evaluate, arrays, **settings)


def _interpreter(model: bytes) -> Any:
    """That of LiteRT if it is installed, else TensorFlow's own, which it is to replace."""
    try:
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        interpreter = tf.lite.Interpreter
    return interpreter(model_content=model)


def _lite(call: Call, operations: Sequence[tf.lite.OpsSet]) -> Evaluation:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        model = Model(call, tensors, [])
        with quiet():
            converter = tf.lite.TFLiteConverter.from_concrete_functions([model.f.get_concrete_function()], model)
            converter.target_spec.supported_ops = list(operations)
            interpreter = _interpreter(converter.convert())
        inputs = sorted(interpreter.get_input_details(), key=lambda d: str(d["name"]))
        for detail, given in zip(inputs, tensors):
            interpreter.resize_tensor_input(detail["index"], given.shape)
        interpreter.allocate_tensors()
        for detail, given in zip(inputs, tensors):
            interpreter.set_tensor(detail["index"], given.numpy())
        interpreter.invoke()
        return tf.constant(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return evaluate


def lite(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(_lite(call, [tf.lite.OpsSet.TFLITE_BUILTINS]), arrays, **settings)


# Training


def mixed(call: Call, arrays: Arrays, *, wrt: Wrt = (), dtype: str = "bfloat16", **settings: Any) -> Result:
    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        kept = [tf.Variable(t) for t in tensors]

        def step() -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                y = call(*(tf.cast(v, dtype) for v in kept))
            return y, tape.gradient(y, kept, unconnected_gradients="zero")

        y, slopes = traced(step)()
        for slope, wide in zip(slopes, (reverse(call, (i,))(tensors, []) for i in range(len(tensors)))):
            if slope.dtype != tf.float32:
                raise AssertionError(f"the gradient of a float32 Variable is {slope.dtype.name}")
            _assert_rounded(slope, wide, dtype)
        return y

    return evaluated(evaluate, arrays, dtype="float32", **settings)


def _assert_rounded(slope: tf.Tensor, wide: tf.Tensor, dtype: str) -> None:
    """A gradient that came through 16 bits is that of float32, rounded to them once."""
    information = ml_dtypes.finfo(tf.as_dtype(dtype).as_numpy_dtype)
    rounded = tf.cast(wide, dtype)
    unit = tf.maximum(tf.abs(wide), float(information.smallest_normal)) * float(information.eps)
    same = (tf.cast(rounded, tf.float32) == slope) | (tf.abs(slope - wide) <= unit) | tf.math.is_nan(wide)
    if not bool(tf.reduce_all(same)):
        raise AssertionError(
            f"{int(tf.reduce_sum(tf.cast(~same, tf.int32)))} gradients in {dtype} are not those of float32"
        )


def recompute(call: Call, arrays: Arrays, *, wrt: Wrt = (), **settings: Any) -> Result:
    return evaluated(traced(reverse(tf.recompute_grad(lambda *given: call(*given)), wrt)), arrays, **settings)


# Several devices


def mirrored(call: Call, arrays: Arrays, *, wrt: Wrt = (), device: str = "cpu", **settings: Any) -> Result:
    devices = [d.name for d in tf.config.list_logical_devices(device.upper())][:2]
    if len(devices) < 2:
        if device != "cpu":
            raise NotImplementedError(f"needs two devices, there is one {device}")
        raise RuntimeError("TensorFlow was used before this file could make two devices of the CPU")
    return evaluated(_replicated(call, wrt, _strategy(tuple(devices))), arrays, device=device, **settings)


@functools.cache  # a second one would number its collective operations like the first
def _strategy(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


def _replicated(call: Call, wrt: Wrt, strategy: tf.distribute.Strategy) -> Evaluation:
    """Inputs are divided among the replicas. A parameter is a mirrored Variable: its gradient is the sum over the replicas, each of
    which has a cotangent for half of the rows."""

    def evaluate(tensors: Tensors, directions: Tensors) -> tf.Tensor:
        count, learned = strategy.num_replicas_in_sync, _learned(call, len(tensors))
        if not set(wrt) & set(learned):
            halves = [[tf.split(t, count) for t in side] for side in (tensors, directions)]
            given = strategy.experimental_distribute_values_from_function(
                lambda context: tuple([h[context.replica_id_in_sync_group] for h in side] for side in halves)
            )
            found = strategy.run(traced(reverse(call, wrt)), args=(given[0], given[1]))
            return tf.concat(strategy.experimental_local_results(found), 0)
        with strategy.scope():
            given = [tf.Variable(t) if i in learned else t for i, t in enumerate(tensors)]

        def step() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                y = call(*given)
            rows = tf.range(tf.shape(y)[0]) % count == context.replica_id_in_sync_group
            rows = tf.reshape(rows, [-1, *[1] * (y.shape.rank - 1)])
            cotangent = tf.where(rows, directions[0] if directions else tf.ones_like(y), tf.zeros_like(y))
            slope = tape.gradient(y, given[wrt[-1]], cotangent)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, slope)

        results = strategy.experimental_local_results(traced(lambda: strategy.run(step))())
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0], "the replicas have different gradients")
        return results[0]

    return evaluate
