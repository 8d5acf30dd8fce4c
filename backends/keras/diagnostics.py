"""Looking into a Keras model while it runs: the `call` of each of its layers and the functions they keep are wrapped.

What is not seen: functions of the framework below that a `call` of your own calls (torch.relu in a Layer), functions that are held
in lists or closures, and what a recurrent layer computes step by step.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
from keras import layers

from multiact.declaration import Array
from multiact.diagnostics.probing import Layer, Pass
from multiact.diagnostics.recording import Recorder, Tap, Watched, is_function, main, mean_loss, recognised
from multiact.errors import ParameterError
from multiact.natives import activation_of
from multiact.translation import Translation, translate

from .adapter import framework
from .audit import operation
from .initialisation import DEPTHWISE, TRANSPOSED, WEIGHTS, fans

if TYPE_CHECKING:
    from multiact.diagnostics.monitoring import Monitor

SEEN = (*WEIGHTS, layers.EinsumDense)
#: What hands on the units of a layer.
PASSING = (
    *(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D, layers.AlphaDropout),
    *(layers.GaussianDropout, layers.GaussianNoise, layers.Flatten, layers.Identity, layers.ActivityRegularization),
)
NORMALISING = (
    *(layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization),
    layers.UnitNormalization,
)
#: Losses that take probabilities, or logits if told to; by class, and by function and name.
CROSS_ENTROPIES = {
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
}
PROBABILITIES = {"kl_divergence": "KLDivergence"}


def probe(model: layers.Layer) -> KerasProbe:
    """A probe of a model that has been built.

    Raises
    ------
    ParameterError : it has not been built.
    """
    if not model.built:
        raise ParameterError(f"{type(model).__name__} is not built: call the model on an input first.")
    return KerasProbe(model)


class KerasProbe:
    """A model, looked at as `fit` runs it, with ``training=True``. What its variables would be assigned is dropped."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._parts = list(_parts(model, "", set()))
        self._below = framework().name

    def default_loss(self) -> Any:
        """The one that the model is compiled with, for a model of one output."""
        loss = getattr(self._model, "loss", None) if getattr(self._model, "compiled", False) else None
        return loss if isinstance(loss, str) or callable(loss) else None

    def loss_kind(self, loss: Any) -> tuple[str, str] | None:
        given = dict(loss.keywords) if isinstance(loss, functools.partial) else {}
        loss = keras.losses.get(loss) if isinstance(loss, str) else getattr(loss, "func", loss)
        if isinstance(loss, keras.losses.Loss):
            name, given = type(loss).__name__, {"from_logits": _from_logits(loss)}
        else:
            name = getattr(loss, "__name__", "")
        if name in (*CROSS_ENTROPIES, *CROSS_ENTROPIES.values()):
            return name, "logits" if given.get("from_logits") else "probabilities"
        return (name, "probabilities") if name in (*PROBABILITIES, *PROBABILITIES.values()) else None

    def run(
        self, inputs: Any, targets: Any = None, *, loss: Any = None, gradients: bool = False, inference: bool = False
    ) -> Pass:
        inputs, targets = _tensors(inputs), _tensors(targets)
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
        kernels = [layer.kernel for _, layer in self._parts if isinstance(layer, SEEN)]
        kernels = [k for k in kernels if isinstance(k, keras.Variable) and k.trainable]  # some are computed from others
        recorders: list[Recorder] = []

        def run(tap: Tap, values: Sequence[Array] | None) -> Array:
            recorder = Recorder(tap, values is not None)
            recorders.append(recorder)
            mapping = [] if values is None else list(zip(kernels, values))
            with self._losses_kept(), keras.StatelessScope(state_mapping=mapping), self._wrapped(recorder, kernels):
                output = self._model(inputs, training=not inference)
            result = main(output)
            recorder.finish(result)
            if not gradients:
                return result
            value = mean_loss(_half_mean_square(result) if loss is None else loss(targets, output), keras.ops.mean)
            if values is None:
                recorder.found.loss = float(keras.ops.convert_to_numpy(keras.ops.stop_gradient(value)))
            return value

        found, in_weights = _watched(self._below, gradients)(run, [kernel.value for kernel in kernels], gradients)
        if gradients:
            recorders[0].differentiated(found, in_weights)
        return self._with_notes(recorders[0].found)

    def _with_notes(self, found: Pass) -> Pass:
        recurrent = [path for path, layer in self._parts if isinstance(layer, (layers.RNN, layers.Bidirectional))]
        found.unseen += [f"the steps of {path}: it is a recurrent layer" for path in recurrent]
        if not found.places:
            found.unseen.append(
                "functions of the framework below that a call() calls, or that stand in lists and closures"
            )
        return found

    @contextlib.contextmanager
    def _losses_kept(self) -> Iterator[None]:
        """A call of a model forgets what `add_loss` was given in the one before."""
        held = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in self._model._flatten_layers()]
        try:
            yield
        finally:
            for layer, losses, ids in held:
                layer._losses[:] = losses
                layer._loss_ids.clear()
                layer._loss_ids.update(ids)

    @contextlib.contextmanager
    def _wrapped(self, recorder: Recorder, kernels: Sequence[Any]) -> Iterator[None]:
        """Let a recorder see a pass."""
        with contextlib.ExitStack() as stack:
            for path, part in self._parts:
                own = _by_user(part)
                if not isinstance(part, layers.Layer):
                    call = _operation(recorder, path, part)
                elif activation_of(part) is not None and not isinstance(part, layers.Identity):
                    call = _activation(recorder, path, part)
                else:
                    call = _layer(recorder, path, part, own, kernels)
                    for name, value in list(vars(part).items()):
                        if not name.startswith("_") and name not in ("call", "build") and is_function(value):
                            kept = path if isinstance(part, layers.Activation) else f"{path}.{name}".strip(".")
                            stack.enter_context(_attribute(part, name, recorder.keeping(kept, value, _axis)))
                stack.enter_context(_attribute(part, "call", call))
            stack.enter_context(recorder.listening(self._spaces(), _axis))
            yield

    def _spaces(self) -> list[dict[str, Any]]:
        """Where the forwards of a user's own layers find functions."""
        found = {id(vars(m)): vars(m) for m in (keras.ops, keras.activations)}
        for _, part in self._parts:
            functions = [part.function] if isinstance(part, layers.Lambda) else []
            if _by_user(part):
                functions += [f for kind in type(part).__mro__ if _own(kind) for f in vars(kind).values()]
            for function in filter(inspect.isfunction, functions):
                found[id(function.__globals__)] = function.__globals__
        return list(found.values())


def callback(monitor: Monitor) -> keras.callbacks.Callback:
    """A callback that looks at the end of every epoch."""

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model  # noqa: B018 - on JAX this writes what was learned so far into the variables
            monitor.look(epoch)

    return Look()


def _watched(below: str, gradients: bool) -> Watched:
    """How the framework below differentiates."""
    if below != "numpy":
        return cast(Watched, importlib.import_module(f"multiact.backends.{below}.taps").watched)
    if gradients:
        raise ParameterError("Keras on NumPy has no gradients. Run Keras on torch, jax or tensorflow.")
    return _forward


def _forward(run: Callable[[Tap, Any], Array], weights: Any, gradients: bool) -> tuple[dict[str, Array], Any]:
    run(lambda key, output: output, None)
    return {}, None


def _parts(part: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Layers, and the operations of functional models that are activations, by their paths; the model itself is ""."""
    if id(part) in seen:
        return
    seen.add(id(part))
    yield path, part
    if activation_of(part) is not None or isinstance(part, (*SEEN, layers.RNN, layers.Bidirectional)):
        if isinstance(part, SEEN) and isinstance(part.activation, layers.Layer):
            yield from _parts(part.activation, f"{path}.activation".strip("."), seen)
        return
    functional = isinstance(part, (keras.Sequential, keras.src.models.Functional))
    names: set[str] = set()
    for child in part.layers if functional else part._flatten_layers(include_self=False, recursive=False):
        name = child.name
        while name in names:
            name += "'"
        names.add(name)
        yield from _parts(child, f"{path}.{name}".strip("."), seen)
    for child in getattr(part, "operations", ()) if functional else ():
        if not isinstance(child, layers.Layer) and (activation_of(child) is not None or operation(child) is not None):
            yield f"{path}.{child.name}".strip("."), child


def _layer(recorder: Recorder, path: str, layer: Any, own: bool, kernels: Sequence[Any]) -> Callable[..., Any]:
    """The call of a layer that is no activation."""
    original = layer.call
    path = path or (layer.name if not layer._layers else "")
    places = {id(kernel): i for i, kernel in enumerate(kernels)}

    def make() -> tuple[Layer, int | None]:
        return _made(path, layer), places.get(id(layer.kernel))

    # The output of a layer with weights is what goes into the function that it keeps.
    keeps = isinstance(layer, SEEN) and layer.activation not in (None, keras.activations.linear)

    @functools.wraps(original)
    def call(*arguments: Any, **keywords: Any) -> Any:
        if recorder.idle:
            return original(*arguments, **keywords)
        with recorder.running(path, own):
            if keeps:
                before = layer.activation

                def activation(x: Any, *rest: Any, **more: Any) -> Any:
                    return before(recorder.layer(path, x, make), *rest, **more)

                with _attribute(layer, "activation", activation):
                    return original(*arguments, **keywords)
            output = original(*arguments, **keywords)
        if isinstance(layer, SEEN):
            return recorder.layer(path, output, make)
        if isinstance(layer, NORMALISING):
            bias = getattr(layer, "beta", None)
            recorder.passed(arguments[0], output, True, None if bias is None else _numpy(bias))
        elif isinstance(layer, PASSING) or isinstance(layer, layers.Activation) and not is_function(layer.activation):
            recorder.passed(arguments[0], output)
        return output

    return call


def _activation(recorder: Recorder, path: str, layer: Any) -> Callable[..., Any]:
    """The call of a layer that is an activation."""
    original = layer.call
    path = path or layer.name

    @functools.wraps(original)
    def call(inputs: Any, *rest: Any, **keywords: Any) -> Any:
        if recorder.idle:
            return original(inputs, *rest, **keywords)
        return recorder.activation(
            path, recognised(layer, {}), inputs, lambda: original(inputs, *rest, **keywords), _axis
        )

    return call


def _operation(recorder: Recorder, path: str, node: Any) -> Callable[..., Any]:
    """The call of an activation that is an operation of a functional model."""
    original = node.call
    found = operation(node)
    native: Translation | None = None
    if found is not None:
        with contextlib.suppress(ValueError, TypeError):
            native = cast(Translation, translate("keras", found[0], **found[1]))

    @functools.wraps(original)
    def call(inputs: Any, *rest: Any, **keywords: Any) -> Any:
        if recorder.idle:
            return original(inputs, *rest, **keywords)
        given = {n: v for n, v in keywords.items() if isinstance(v, (int, float, str))}
        known = native if found is not None else recognised(node, given)
        return recorder.activation(path, known, inputs, lambda: original(inputs, *rest, **keywords), _axis)

    return call


def _made(path: str, layer: Any) -> Layer:
    """A layer with weights, without its output."""
    kernel, bias = _numpy(layer.kernel), getattr(layer, "bias", None)
    if isinstance(layer, TRANSPOSED):
        kernel = np.moveaxis(kernel, -2, -1)
    elif isinstance(layer, DEPTHWISE):
        kernel = kernel.reshape(*kernel.shape[:-2], math.prod(kernel.shape[-2:]))
    if isinstance(layer, layers.EinsumDense):
        kernel = _matrix(kernel, layer.equation)
        fan_in, fan_out = kernel.shape
    else:
        fan_in, fan_out = (max(1, round(n)) for n in fans(layer))
    axis = 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else -1
    return Layer(
        path, type(layer).__name__, fan_in, fan_out, axis, kernel, None if bias is None else _numpy(bias), output=None
    )


def _matrix(kernel: np.ndarray, equation: str) -> np.ndarray:
    """The kernel of an EinsumDense, inputs by outputs."""
    inputs, output = equation.split("->")
    letters = inputs.split(",")[1]
    summed = [i for i, letter in enumerate(letters) if letter not in output]
    kernel = np.moveaxis(kernel, summed, range(len(summed)))
    return kernel.reshape(math.prod(kernel.shape[: len(summed)]), -1)


@contextlib.contextmanager
def _attribute(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of an attribute, past what a Layer does when one is set."""
    held, had = vars(thing), name in vars(thing)
    before = held.get(name)
    held[name] = value
    try:
        yield
    finally:
        if had:
            held[name] = before
        else:
            del held[name]


def _by_user(part: Any) -> bool:
    return _own(type(part)) or isinstance(part, layers.Lambda)


def _own(kind: type) -> bool:
    """Whether a class is of neither Keras nor a framework nor ours."""
    return kind.__module__.partition(".")[0] not in ("keras", "multiact", "builtins", "torch", "tensorflow", "flax")


def _axis(output: Array) -> int:
    """Of the units of an activation that follows no layer with weights."""
    return 1 if len(output.shape) > 2 and keras.config.image_data_format() == "channels_first" else -1


def _half_mean_square(x: Array) -> Array:
    return 0.5 * keras.ops.mean(keras.ops.square(keras.ops.cast(x, "float32")))


def _tensors(x: Any) -> Any:
    return None if x is None else keras.tree.map_structure(keras.ops.convert_to_tensor, x)


def _numpy(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable)).astype(np.float32)


def _from_logits(loss: Any) -> bool:
    try:
        return bool(loss.get_config().get("from_logits"))
    except (NotImplementedError, TypeError, ValueError):
        return bool(getattr(loss, "from_logits", False))
