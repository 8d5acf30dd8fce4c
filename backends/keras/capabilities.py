"""What people do to Keras models: each function evaluates an activation in the way of its entry in capabilities.toml."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from multiact import learning, registry
from multiact.declaration import Array
from multiact.dispatch import installed
from multiact.protocols import Result

from . import exchange
from .adapter import get
from .exchange import Described, inputs, model, pair
from .harness import harness

FRAMEWORK = keras.backend.backend()
#: On which Keras saves models that the others must load.
TRAINED = ("torch", "jax", "tensorflow")
#: Points lie in rows of so many features, where that matters to nothing.
FEATURES = 8
#: What keras.layers.Masking takes for a step that is not there.
MASKED = 12345.0
#: How many activations torch.compile is given at once: most of its time goes into what Keras does in a step.
TOGETHER = 16

Tensors = Sequence[Array]
Arrays = Sequence[np.ndarray]


def _described(call: Any) -> Described:
    return Described(call.activation.name, tuple(getattr(call, "keywords", ())), getattr(call, "title", ""))


def _array(x: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _laid_out(arrays: Arrays | None) -> list[np.ndarray] | None:
    """Points of one axis in rows of features."""
    if arrays is None:
        return None
    return [a.reshape(-1, FEATURES if a.size % FEATURES == 0 else 1) if a.ndim == 1 else a for a in arrays]


def _evaluated(function: Callable[..., Array], arrays: Arrays, **settings: Any) -> Result:
    """The value or a derivative of a function of tensors, by the framework's own reverse mode."""
    directions = _laid_out(settings.pop("directions", None))
    return harness.evaluate(function, _laid_out(arrays) or [], mode="eager", directions=directions, **settings)


def _of_tensors(made: keras.Model, output: int | None = None) -> Callable[..., Array]:
    """A model as a function of positional tensors."""

    def call(*tensors: Array) -> Array:
        result = made(tensors[0] if len(tensors) == 1 else list(tensors))
        return result if output is None else _listed(result)[output]

    return call


def _values(values: Any) -> Result:
    values = np.asarray(values)
    return Result(values.astype(np.float64), str(values.dtype))


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [a.shape for a in _laid_out(arrays) or []]


def _float32(arrays: Arrays) -> list[np.ndarray]:
    return [a.astype(np.float32) for a in _laid_out(arrays) or []]


def _run(made: keras.Model, arrays: Arrays, device: str) -> list[np.ndarray]:
    """Every output of a model, for arrays of float32 as they are laid out here."""
    with harness.on(device):
        tensors = [keras.ops.convert_to_tensor(a) for a in _float32(arrays)]
        return [_array(y) for y in _listed(_of_tensors(made)(*tensors))]


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def _same(a: Any, b: Any, what: str) -> None:
    """The same numbers, NaN included, with the same bits but for the sign of zero."""
    if not np.array_equal(a, b, equal_nan=True):
        raise AssertionError(f"{what}: {np.sum((a != b) & ~(np.isnan(a) & np.isnan(b)))} of {np.size(a)} differ")


def _model(asked: Described, arrays: Arrays, dtype: str = "float32") -> keras.Model:
    """A functional model of the Layer."""
    given = inputs(_shapes(arrays), dtype)
    return model(given, asked.layer(dtype)(*asked.ordered(given)))


def _as_node(asked: Described, arrays: Arrays) -> keras.Model:
    """A functional model of the function."""
    given = inputs(_shapes(arrays))
    return model(given, asked.function(*asked.ordered(given)))


def _packed(asked: Described, tensors: Tensors) -> Array:
    """Value and gate in one tensor, as a gated unit of one input takes them; whatever else as it is."""
    if len(tensors) == 1:
        return tensors[0]
    ordered = asked.ordered(tensors)
    if asked.activation.option("gate").default != "interleaved":
        return keras.ops.concatenate(ordered, axis=-1)
    return keras.ops.reshape(keras.ops.stack(ordered, axis=-1), (*ordered[0].shape[:-1], -1))


# Models


def functional(call: Any, arrays: Arrays, **settings: Any) -> Result:
    return _evaluated(_of_tensors(_model(_described(call), arrays)), arrays, **settings)


def symbolic(call: Any, arrays: Arrays, **settings: Any) -> Result:
    return _evaluated(_of_tensors(_as_node(_described(call), arrays)), arrays, **settings)


def sequential(call: Any, arrays: Arrays, **settings: Any) -> Result:
    asked = _described(call)
    if asked.native and len(arrays) == 2:
        raise NotImplementedError("a Sequential model hands on one tensor, this is a function of two.")
    made = keras.Sequential([asked.layer()])
    return _evaluated(lambda *tensors: made(_packed(asked, tensors)), arrays, **settings)


def dense(call: Any, arrays: Arrays, **settings: Any) -> Result:
    """The identity of one feature, since in one of more an infinity times 0 is NaN: what is along an axis lies before it."""
    asked = _described(call)
    kind = asked.activation.kind
    function = asked.function
    inside = kind != "pointwise" and arrays[0].ndim < 4
    if inside and asked.native:
        function = lambda h: keras.ops.expand_dims(asked.function(*_unpacked(h, len(arrays))), -1)
    elif inside:
        function = get(asked.name, **asked.given, axis=-2)
    layer = keras.layers.Dense(1, activation=function, kernel_initializer="ones")

    def apply(*tensors: Array) -> Array:
        if kind == "gated":
            ordered = [keras.ops.reshape(t, (-1, 1)) for t in asked.ordered(tensors)]
            return layer(keras.ops.stack(ordered, axis=1))
        if kind == "axiswise":
            return keras.ops.squeeze(layer(keras.ops.expand_dims(tensors[0], -1)), -1) if inside else layer(tensors[0])
        return layer(keras.ops.reshape(tensors[0], (-1, 1)))

    return _evaluated(apply, arrays, **settings)


def _unpacked(h: Array, count: int) -> list[Array]:
    """Out of (..., entries, 1): the entries as one tensor, or each as a tensor."""
    h = keras.ops.squeeze(h, -1)
    return [h] if count == 1 else [h[:, 0:1], h[:, 1:2]]


def recurrent(call: Any, arrays: Arrays, **settings: Any) -> Result:
    """One step from a state of zeros, so that the activation is of the input alone."""
    layer = keras.layers.SimpleRNN(
        1, _described(call).function, kernel_initializer="ones", recurrent_initializer="zeros", unroll=True
    )
    return _evaluated(lambda x: layer(keras.ops.reshape(x, (-1, 1, 1))), arrays, **settings)


class _Subclassed(keras.Model):
    def __init__(self, layer: keras.layers.Layer, ordered: Callable[[Tensors], list[Array]]) -> None:
        super().__init__()
        self.inner, self._ordered = layer, ordered

    def call(self, given: Any) -> Array:
        return self.inner(*self._ordered(_listed(given)))


def subclassed(call: Any, arrays: Arrays, **settings: Any) -> Result:
    asked = _described(call)
    return _evaluated(_of_tensors(_Subclassed(asked.layer(), asked.ordered)), arrays, **settings)


# Saving


def config(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    asked = _described(call)
    through_json = lambda saved: json.loads(json.dumps(saved))
    if asked.native:
        made = pair(asked, _shapes(arrays))
        again = type(made).from_config(through_json(made.get_config()))
        return _evaluated(_of_tensors(again, 0), arrays, device=device, **settings)
    layer = asked.layer()
    save, load = keras.saving.serialize_keras_object, keras.saving.deserialize_keras_object
    restored = type(layer).from_config(through_json(layer.get_config()))
    loaded = load(through_json(save(layer)))
    function = get(through_json(keras.activations.serialize(asked.function)))
    if asked.learnable:
        learned = asked.layer(learnable=True, channel_axis=-1, name="here")
        _check(
            load(through_json(save(learned))).get_config() == learned.get_config(),
            "the config of a learned Layer changed",
        )
    results = []
    for applied in (restored, loaded, function):
        apply = lambda *tensors, applied=applied: applied(*asked.ordered(tensors))
        results.append(_evaluated(apply, arrays, device=device, **settings))
    for what, result in zip(("deserialize_keras_object", "get"), results[1:]):
        _same(result.values, results[0].values, f"from_config and {what}")
    return results[0]


def _alike(made: keras.Model, again: keras.Model, arrays: Arrays, device: str) -> Result:
    """The value of a loaded model, whose weights and outputs must be those of the model that was saved."""
    _check([w.name for w in made.weights] == [w.name for w in again.weights], "the weights have other names")
    for old, new in zip(made.weights, again.weights):
        _same(_array(old), _array(new), f"the weight {old.path}")
    wanted, got = _run(made, arrays, device), _run(again, arrays, device)
    _check(len(wanted) == len(got), "there is another number of outputs")
    for a, b in zip(wanted, got):
        _same(a, b, "the loaded model")
    return _values(got[0])


def saved(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    made = pair(_described(call), _shapes(arrays))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        made.save(path)
        return _alike(made, keras.saving.load_model(path), arrays, device)


def crossed(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    asked, shapes = _described(call), _shapes(arrays)
    others = [f for f in TRAINED if f != FRAMEWORK and installed(f)]
    if not others:
        raise NotImplementedError("none of the other frameworks that Keras runs on is installed.")
    if asked.name not in registry.names():
        raise NotImplementedError(f"{asked.name} is declared in this process alone.")
    made = pair(asked, shapes)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for other in others:
            path = Path(folder, f"{other}.keras")
            exchange.write(asked, shapes, str(path), other)
            results.append(_alike(made, keras.saving.load_model(path), arrays, device))
    return results[0]


def weights(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    """The value is that of learned parameters at their defaults, which come out of a file."""
    asked = _described(call)
    if not asked.learnable:
        raise NotImplementedError("it has no weights.")

    def build() -> keras.Model:
        given = inputs(_shapes(arrays))
        return model(given, asked.layer(learnable=True, channel_axis=-1)(*asked.ordered(given)))

    made, again = build(), build()
    for variable in again.weights:
        variable.assign(variable + 1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        made.save_weights(path)
        again.load_weights(path)
    for old, new in zip(made.weights, again.weights):
        _same(_array(old), _array(new), f"the weight {old.path}")
    return _values(_run(again, arrays, device)[0])


def clone(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    made = pair(_described(call), _shapes(arrays))
    again = keras.models.clone_model(made)
    again.set_weights(made.get_weights())
    return _alike(made, again, arrays, device)


# Training


def _mixed(policy: str, call: Any, arrays: Arrays, dtype: str, **settings: Any) -> Result:
    asked = _described(call)
    layer = asked.layer(policy)
    _check(layer.compute_dtype == dtype and layer.variable_dtype == "float32", f"{policy} is not what the layer has")
    if asked.learnable:
        learned = asked.layer(policy, learnable=True)
        learned.build((None, FEATURES) if asked.activation.kind != "gated" else (None, 2 * FEATURES))
        kept = {keras.backend.standardize_dtype(w.dtype) for w in learned.trainable_variables}
        _check(kept == {"float32"}, f"learned parameters are kept in {kept}")
    apply = lambda *tensors: layer(*asked.ordered([keras.ops.cast(t, "float32") for t in tensors]))
    return _evaluated(apply, arrays, dtype=dtype, **settings)


def mixed_float16(call: Any, arrays: Arrays, *, dtype: str = "float16", **settings: Any) -> Result:
    return _mixed("mixed_float16", call, arrays, dtype, **settings)


def mixed_bfloat16(call: Any, arrays: Arrays, *, dtype: str = "bfloat16", **settings: Any) -> Result:
    return _mixed("mixed_bfloat16", call, arrays, dtype, **settings)


def double(call: Any, arrays: Arrays, *, dtype: str = "float64", **settings: Any) -> Result:
    asked = _described(call)
    # Of a layer that infers its output from a call, JAX would make float32 otherwise.
    with importlib.import_module("jax").enable_x64(True) if FRAMEWORK == "jax" else contextlib.nullcontext():
        made = _model(asked, arrays, dtype)
    _check(
        {keras.backend.standardize_dtype(t.dtype) for t in made.outputs} == {dtype},
        "the symbolic output is not float64",
    )
    return _evaluated(_of_tensors(made), arrays, dtype=dtype, **settings)


def fit(call: Any, arrays: Arrays, **settings: Any) -> Result:
    return _fitted(call, arrays, jit_compile=False, **settings)


def fit_compiled(call: Any, arrays: Arrays, **settings: Any) -> Result:
    return _fitted(call, arrays, jit_compile=True, **settings)


def shared_axes(call: Any, arrays: Arrays, **settings: Any) -> Result:
    return _fitted(call, arrays, jit_compile=False, shared=True, **settings)


def _fitted(
    call: Any,
    arrays: Arrays,
    *,
    jit_compile: bool,
    shared: bool = False,
    wrt: Sequence[int] = (),
    directions: Arrays | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> Result:
    """The gradient in a learned parameter, from the step that it makes.

    A parameter has a value for each channel, and the batch is of one: then its gradient is that of one point.
    """
    asked = _described(call)
    name = call.names[wrt[0]]
    if asked.activation.random is not None:
        raise NotImplementedError("in training it draws random numbers, of which there is no truth.")
    count = 2 if asked.activation.kind == "gated" else 1
    data = [a.astype(np.float32) for a in arrays[:count]]
    start = {n: float(a.flat[0]) for n, a in zip(call.names[count:], arrays[count:])}
    if asked.activation.kind != "axiswise":
        data = [a[None] for a in data]
    cotangents = np.ones_like(data[0]) if directions is None else directions[0].astype(np.float32)
    with harness.on(device):
        if shared:
            return Result(_shared(asked, name, start, data), "float32")
        trainer = _trainer(_alongside(asked, jit_compile), data[0].shape[1:], False, jit_compile)
        steps = [
            trainer(asked.name, name, start, [a[i : i + 1] for a in data], cotangents[i : i + 1]).ravel()
            for i in range(len(data[0]))
        ]
    return Result(np.concatenate(steps), "float32")


def _shared(asked: Described, name: str, start: Mapping[str, float], data: Arrays) -> np.ndarray:
    """The gradient in a parameter that two places have in common."""
    ones = np.ones_like(data[0])
    twice = [np.stack([a, a], axis=-1) for a in data]
    trainer = _trainer((asked,), twice[0].shape[1:], True, False)
    # A place that counts for nothing has a point at which every derivative is finite.
    single = [np.stack([a, ones], axis=-1) for a in data]
    alone: np.ndarray = trainer(asked.name, name, start, single, np.stack([ones, 0 * ones], axis=-1))
    halves = trainer(asked.name, name, start, twice, np.full_like(twice[0], 0.5))
    large = ~(np.abs(alone) < 1e-30)  # the half of a smaller one may be flushed to zero
    _same(halves[large], alone[large], "the sum over the places that share a parameter")
    return alone


def _alongside(asked: Described, jit_compile: bool) -> tuple[Described, ...]:
    """The activations that are trained in one model."""
    if FRAMEWORK != "torch" or not jit_compile:
        return (asked,)
    shaped = lambda a: (a.kind, [o.name for o in a.options if o.name == "axis"])  # softmax2d has more axes
    alike = [a for a in map(registry.get, registry.names()) if shaped(a) == shaped(asked.activation) and a.held]
    names = [a.name for a in alike if a.random is None]
    if asked.name not in names:
        return (asked,)
    first = names.index(asked.name) // TOGETHER * TOGETHER
    return tuple(Described(n) for n in names[first : first + TOGETHER])


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """On torch no code is generated of the graphs that torch.compile takes: that takes minutes, and is judged for torch."""
    if FRAMEWORK != "torch":
        yield
        return
    torch: Any = importlib.import_module("torch")
    torch.compiler.reset()  # it limits the compilations of one code object, and then does without
    usual = torch.compile
    torch.compile = functools.partial(usual, backend="aot_eager")
    try:
        yield
    finally:
        torch.compile = usual


def _graphs() -> int:
    """How many graphs torch.compile has taken in this process; 0 on the other frameworks."""
    if FRAMEWORK != "torch":
        return 0
    return int(importlib.import_module("torch._dynamo.utils").counters["stats"]["unique_graphs"])


@functools.lru_cache(maxsize=1)
def _trainer(
    together: tuple[Described, ...], shape: tuple[int, ...], shared: bool, jit_compile: bool
) -> Callable[..., Any]:
    """A function that makes one step of training and gives the gradient in a parameter of one of the activations."""
    where: dict[str, Any] = {"shared_axes": [2]} if shared else {"channel_axis": -1}
    given: list[keras.KerasTensor] = []
    outputs = []
    layers = {}
    for asked in together:
        own = inputs([(1, *shape)] * (2 if asked.activation.kind == "gated" else 1))
        needed: dict[str, Any] = {p.name: 1.0 for p in asked.activation.held if p.default is None}
        layers[asked.name] = asked.layer(**needed, learnable=True, **where)
        outputs.append(layers[asked.name](*asked.ordered(own)))
        given += own
    made = model(given, outputs)

    def weighted(cotangent: Array, y: Array) -> Array:
        # The gradient of a loss depends on the output, also here, where both branches are alike. Where it does not, TensorFlow's
        # dependency optimizer forgets that a variable is read before its step (2.21.0): gradients are then of the weights after it.
        cotangent = keras.ops.where(keras.ops.equal(y, y), cotangent, cotangent)
        return keras.ops.sum(keras.ops.reshape(cotangent * y, (keras.ops.shape(y)[0], -1)), axis=-1)

    # With momentum the first step is kept as it is, before the weight that it is added to rounds it.
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    made.compile(optimizer, [weighted] * len(outputs), jit_compile=jit_compile)
    with _compiler() if jit_compile else contextlib.nullcontext():
        made.make_train_function()
    graphs = _graphs()
    _check(made.jit_compile == jit_compile, f"Keras trains it with jit_compile={made.jit_compile}")

    def train(name: str, wanted: str, start: Mapping[str, float], data: Arrays, cotangent: np.ndarray) -> np.ndarray:
        layer = layers[name]
        own = {id(layer._learned[p.name]): p for p in layer.activation.held}
        before = {}
        for variable in made.trainable_variables:
            if id(variable) in own:
                p = own[id(variable)]
                variable.assign(np.full(variable.shape, learning.stored_value(p, start[p.name])))
                before[p.name] = _array(variable)
        for step in getattr(optimizer, "momentums", ()):
            step.assign(np.zeros(step.shape))
        # The gradient in a logarithm is the parameter times that in the parameter, which would be flushed to zero earlier.
        positive = any(p.name == wanted and learning.is_positive(p) for p in own.values())
        factor = max(1.0, 2.0 ** -math.floor(math.log2(start[wanted]))) if positive else 1.0
        x: list[np.ndarray] = []
        targets = []
        for asked, output in zip(together, outputs):
            others = [np.ones_like(data[0])] * (2 if asked.activation.kind == "gated" else 1)
            x += data if asked.name == name else others
            targets.append(factor * cotangent if asked.name == name else np.zeros((1, *output.shape[1:]), np.float32))
        # torch.compile compiles again where the strides of an axis of one entry differ, which a copy has always alike.
        x, targets = ([a.copy(order="C") for a in given] for given in (x, targets))
        made.train_on_batch(x if len(x) > 1 else x[0], targets if len(targets) > 1 else targets[0])
        _check(not jit_compile or FRAMEWORK != "torch" or _graphs() > graphs, "torch.compile has taken no graph")
        found = None
        for variable, step in zip(made.trainable_variables, optimizer.momentums):
            if id(variable) in own:
                p, moved = own[id(variable)], _array(step)
                _same(_array(variable), before[p.name] + moved, f"{p.name} has not made the step of its gradient")
                if p.name == wanted:
                    found = -moved.astype(np.float64) / factor / (start[wanted] if positive else 1.0)
        assert found is not None
        return found

    return train


# Shapes


class _Seen(keras.layers.Layer):
    """Hands on what it is given, and remembers the mask."""

    mask: Any = None

    def call(self, given: Array, mask: Array | None = None) -> Array:
        self.mask = mask
        return given


def masking(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    """A masked step before each of the others; before the first row where the axis is taken."""
    asked = _described(call)
    if asked.native and len(arrays) == 2:
        raise NotImplementedError("it is a function of two tensors, of which no layer of Keras hands on the mask.")
    with harness.on(device):
        packed = _array(_packed(asked, [keras.ops.convert_to_tensor(a) for a in _float32(arrays)]))
    steps = packed.ndim < 4
    packed = packed[:, None] if steps else packed
    gap = np.full_like(packed if steps else packed[:1], MASKED)
    whole = np.concatenate([gap, packed], axis=1 if steps else 0)
    seen = _Seen()
    with harness.on(device):
        masked = keras.layers.Masking(MASKED)(keras.ops.convert_to_tensor(whole))
        result = _array(seen(asked.layer()(masked)))
    _check(seen.mask is not None, "the mask was not handed on")
    wanted = np.any(whole != MASKED, axis=-1)
    _check(np.array_equal(_array(seen.mask), wanted), "another mask was handed on")
    return _values(result[:, 1] if steps else result[1:])


def shapes(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    asked = _described(call)
    data = _float32(arrays)
    if asked.native and len(arrays) == 2:
        raise NotImplementedError("it is a function of two tensors, and no layer of Keras.")
    result = np.empty(0)
    fixed = data[0].ndim == 4
    for leading in ((-1,),) if fixed else ((-1,), (-1, 2), (-1, 1, 2)):
        given = [a if fixed else a.reshape(*leading, a.shape[-1]) for a in data]
        ordered, layer = asked.ordered(given), asked.layer()
        with harness.on(device):
            y = layer(*(keras.ops.convert_to_tensor(a) for a in ordered))
        result = _array(y)
        for batch in (len(given[0]), None):
            shape = (batch, *given[0].shape[1:])
            wanted = (batch, *result.shape[1:])
            symbols = [keras.KerasTensor(shape, "float32") for _ in given]
            found = {
                "compute_output_shape": tuple(layer.compute_output_shape(*[shape] * len(given))),
                "compute_output_spec": tuple(layer.compute_output_spec(*symbols).shape),
                "a symbolic call": tuple(layer(*symbols).shape),
            }
            if not asked.native:
                found["the function's symbolic call"] = tuple(asked.function(*asked.ordered(symbols)).shape)
            for what, got in found.items():
                _check(got == wanted, f"{what} of {shape} is {got}, what comes out is {wanted}")
            dtype = keras.backend.standardize_dtype(layer.compute_output_spec(*symbols).dtype)
            _check(dtype == "float32", f"compute_output_spec has the dtype {dtype}")
    return _values(result)


def predict(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    made, data = _model(_described(call), arrays), _float32(arrays)
    batch = len(data[0]) * 3 // 8
    with harness.on(device):
        return _values(made.predict(data if len(data) > 1 else data[0], batch_size=batch, verbose=0))


# Export


@contextlib.contextmanager
def _exported(call: Any, arrays: Arrays, name: str, needed: Sequence[str], **settings: Any) -> Iterator[str]:
    """The path of an exported model. Where Keras needs a package that is not installed, it says which one."""
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise NotImplementedError(f"Keras needs {package} for it on {FRAMEWORK}, which is not installed.")
    made = _model(_described(call), arrays)
    _run(made, arrays, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, name))
        made.export(path, verbose=False, **settings)
        yield path


def saved_model(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    needed = ["tensorflow", *(["torch_xla"] if FRAMEWORK == "torch" else [])]
    with _exported(call, arrays, "model", needed) as path:
        tf = importlib.import_module("tensorflow")
        data = [tf.constant(a) for a in _float32(arrays)]
        loaded = tf.saved_model.load(path)  # holds the variables, which the function does not
        return _values(loaded.serve(data if len(data) > 1 else data[0]).numpy())


def onnx(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    needed = {"tensorflow": ["tf2onnx"], "jax": ["jax2onnx"], "torch": []}[FRAMEWORK]
    with _exported(call, arrays, "model.onnx", [*needed, "onnxruntime"], format="onnx") as path:
        session = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        return _values(session.run(None, dict(zip(names, _float32(arrays))))[0])


def exported_program(call: Any, arrays: Arrays, *, device: str = "cpu", **settings: Any) -> Result:
    if FRAMEWORK != "torch":
        raise NotImplementedError("Keras has it on torch alone.")
    specs = [keras.layers.InputSpec(shape=shape, dtype="float32") for shape in _shapes(arrays)]
    signature = [specs[0] if len(specs) == 1 else specs]
    with _exported(call, arrays, "model.pt2", ["torch"], format="torch", input_signature=signature) as path:
        torch = importlib.import_module("torch")
        tensors = [torch.from_numpy(a) for a in _float32(arrays)]
        loaded = torch.export.load(path).module()
        return _values(loaded(tensors[0] if len(tensors) == 1 else tensors).detach().numpy())
