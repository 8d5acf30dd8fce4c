"""The Keras backend: tensors go to the backend of the framework below, symbolic tensors become operations of a model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

import multiact
from multiact import dispatch, registry
from multiact.adaptive import ADAPTIVE, Adaptive
from multiact.declaration import Activation, Array, Axiswise, Elementwise
from multiact.errors import BackendNotAvailableError, InputError, ShapeError
from multiact.exports import BackendBase, check_generator
from multiact.functions import check_along_axis, check_input, check_mask, check_shapes, check_split, drawn, settings
from multiact.protocols import Backend

#: Keras' own backends that can be used; each is also the name of ours.
FRAMEWORKS = ("torch", "jax", "tensorflow", "numpy")

PACKAGE = "multiact"


def supported() -> bool:
    """Whether there is a backend of ours for the framework that Keras runs on."""
    return keras.backend.backend() in FRAMEWORKS


def framework() -> Backend:
    """Our backend for the framework that Keras runs on.

    Raises
    ------
    BackendNotAvailableError : Keras runs on one that has no backend here, such as openvino.
    """
    name = keras.backend.backend()
    if not supported():
        raise BackendNotAvailableError(
            f"multiact.backends.keras runs on Keras' backends {', '.join(FRAMEWORKS)}. Received: {name}. "
            f"Set the environment variable KERAS_BACKEND to one of them before keras is imported."
        )
    return dispatch.backend(name)


def as_tensor(x: Any, below: Backend) -> Any:
    """`x` as a tensor of the framework: Variables are read, NumPy arrays and Python numbers converted."""
    if isinstance(x, keras.Variable) or not below.owns(x):
        return keras.ops.convert_to_tensor(x)
    return x


def symbolic(*values: Any) -> bool:
    return any(isinstance(v, keras.KerasTensor) for v in values)


def halved(shape: tuple[int | None, ...], axis: int, name: str) -> tuple[int | None, ...]:
    """The shape of one half along `axis`; a size that is not known yet stays unknown.

    Raises
    ------
    ShapeError : the axis is out of range, or its size is odd.
    """
    check_split(keras.KerasTensor(shape), axis, name)
    size, axis = shape[axis], axis % len(shape)
    return (*shape[:axis], None if size is None else size // 2, *shape[axis + 1 :])


def output_spec(activation: Activation, inputs: tuple[Any, ...], given: Mapping[str, Any]) -> keras.KerasTensor:
    """The shape and dtype that an activation of symbolic tensors will have, with every check that needs no values."""
    check_input(activation, backend, *inputs)
    given = dict(given)
    where = given.pop("where", None) if activation.left_out is not None else None
    if where is not None:
        check_mask(activation, inputs[0], where)
    chosen, parameters, options = settings(activation, given)
    shapes = [tuple(x.shape) for x in inputs]
    shape, dtype = shapes[0], keras.backend.standardize_dtype(inputs[0].dtype)
    if isinstance(chosen.function, Axiswise):
        check_along_axis(chosen, inputs[0], parameters, options)
        return keras.KerasTensor(chosen.function.output_shape(shape, options), dtype=dtype)
    if len(shapes) == 2:
        if len(shape) != len(shapes[1]) or any(a != b and None not in (a, b) for a, b in zip(*shapes)):
            raise ShapeError(f"{chosen.name} expects two inputs of one shape. Received: {shape} and {shapes[1]}.")
    elif chosen.kind == "gated":
        shape = halved(shape, options["axis"], chosen.name)
    result = keras.KerasTensor(shape, dtype=dtype)
    check_shapes(chosen, result, parameters)
    return result


def identifier(activation: Activation) -> dict[str, Any]:
    """What finds an activation again: its name; for what `multiact.gated` makes, what that was given."""
    if registry.registered(activation) or activation.gate_of is None:
        return {"activation": activation.name}
    return {"activation": activation.gate_of.name, "gate": activation.option("gate").default}


@keras.saving.register_keras_serializable(PACKAGE)
class ActivationFunction(keras.Operation):
    """An activation as a node of a functional model, or with settings of its own as ``activation=`` of a layer.

    Parameters
    ----------
    activation : its name, or the name of what it is the gated form of.
    gate : the default side of a gated form, as of `multiact.gated`; None for an activation that has a name.
    settings : parameters and options, numbers and strings only, so that they can be saved.
    name : of the operation; made from the activation's by default.

    Raises
    ------
    UnknownActivationError, ParameterError : as the function itself.
    """

    def __init__(
        self,
        activation: str,
        settings: Mapping[str, Any] | None = None,
        name: str | None = None,
        gate: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.activation = registry.get(activation) if gate is None else registry.gated(activation, gate)
        self.name: str = name or f"{self.activation.name}_{self.name}"
        self.settings = dict(settings or {})
        self._function = backend.function(self.activation)

    def call(self, *inputs: Array, **given: Any) -> Array:
        return self._function(*inputs, **(self.settings | given))

    def compute_output_spec(self, *inputs: Any, **given: Any) -> keras.KerasTensor:
        return output_spec(self.activation, tuple(x for x in inputs if x is not None), self.settings | given)

    def get_config(self) -> dict[str, Any]:
        return {**identifier(self.activation), "settings": self.settings, "name": self.name}


class KerasBackend(BackendBase):
    """Functions and Layers for Keras. Arrays belong to the framework below; here it is Variables and symbolic tensors."""

    name = "keras"
    has_layers = True

    @property
    def namespace(self) -> Any:
        return framework().namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, (keras.KerasTensor, keras.Variable))

    def dtype(self, x: Array) -> str:
        return str(x.dtype) if symbolic(x) else keras.backend.standardize_dtype(x.dtype)

    def make_function(self, activation: Activation) -> Callable[..., Array]:
        return _function(activation, framework()) if supported() else _unsupported(activation)

    def uniform(self, like: Array, dtype: str, rng: Any) -> Array:
        if symbolic(like):
            raise InputError(
                "random numbers for a symbolic Keras tensor would be drawn once, when the model is made. Use the Layer, "
                "which draws them in every call."
            )
        accepted = (type(None), int, keras.random.SeedGenerator)
        check_generator(self.name, rng, accepted, "a keras.random.SeedGenerator, a seed, or None for the global one")
        return keras.random.uniform(keras.ops.shape(like), dtype=dtype, seed=rng)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        return _delegate(framework().elementwise(function))

    def register_axiswise(self, function: Any) -> Callable[..., Array]:
        return _delegate(framework().axiswise(function))

    def make_layer(self, activation: Activation) -> type:
        from .layers import make_layer

        return make_layer(activation)

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        from .adaptive import make_adaptive

        return make_adaptive(kind)


def _function(activation: Activation, below: Backend) -> Callable[..., Array]:
    native = below.function(activation)

    @functools.wraps(native)
    def call(x: Any, /, *others: Any, **given: Any) -> Any:
        inputs = (x, *(o for o in others if o is not None))
        given = drawn(activation, backend, x, given)
        if symbolic(*inputs, *given.values()):
            return ActivationFunction(**identifier(activation)).symbolic_call(*inputs, **given)
        for key, value in given.items():
            if isinstance(value, (keras.Variable, np.ndarray)):
                given[key] = as_tensor(value, below)
        return native(*(as_tensor(i, below) for i in inputs), **given)

    # As in functions.build: torch.compile limits recompilations for each code object.
    call.__code__ = call.__code__.replace(co_name=activation.name)  # type: ignore[attr-defined]
    return call


def _unsupported(activation: Activation) -> Callable[..., Array]:
    """In place of a function where Keras runs on a framework without a backend: the other backends must still work."""

    def call(x: Any, /, *others: Any, **given: Any) -> Any:
        return framework().function(activation)(x, *others, **given)  # raises

    return call


def _delegate(native: Callable[..., Array]) -> Callable[..., Array]:
    """A function of the framework's arrays as one of Variables."""

    def call(*arguments: Any, **given: Any) -> Any:
        if symbolic(*arguments):
            raise InputError(
                "a derivative of a symbolic Keras tensor cannot be part of a functional model. Compute it in the call() "
                "of a Layer of your own, where tensors have values."
            )
        return native(*(a if isinstance(a, float) else as_tensor(a, framework()) for a in arguments), **given)

    return call


def get(identifier: Any, **parameters: Any) -> Callable[..., Any]:
    """An activation by name, for ``activation=`` of a layer; the counterpart of ``keras.activations.get``.

    Parameters
    ----------
    identifier : a name or alias of ours, with or without the prefix "multiact>"; anything else (None, a function, the
        dict of a saved one) goes to ``keras.activations.get``.
    **parameters : numbers and options that differ from the defaults; the result can still be saved.

    Returns
    -------
    function of a tensor, saved with the model.

    Raises
    ------
    UnknownActivationError : no activation has that name.
    ParameterError : a parameter is unknown or out of range.

    Examples
    --------
    >>> import keras
    >>> from multiact.backends.keras import get
    >>> layer = keras.layers.Dense(4, activation=get("leaky_relu", negative_slope=0.2))
    """
    if not isinstance(identifier, str):
        return keras.activations.get(identifier)
    activation = registry.get(identifier.removeprefix(f"{PACKAGE}>"))
    if not parameters:
        return backend.function(activation)
    settings(activation, parameters)
    return ActivationFunction(activation.name, parameters)


def _register(activation: Activation) -> None:
    """Make an activation known to Keras' saving.

    The functions of the other rooms are registered too: Keras saves an unregistered function called "leaky_relu" as its
    own leaky_relu, and the model comes back with another slope.
    """
    register = keras.saving.register_keras_serializable(PACKAGE, activation.name)
    register(multiact.__getattr__(activation.name))
    register(framework().function(activation))
    register(backend.function(activation))
    backend.layer(activation)


def register_all() -> None:
    """Make every activation known to Keras' saving, so that a model can be loaded before any of them is used."""
    if supported():
        for name in registry.names():
            _register(registry.get(name))
        for name in ADAPTIVE:
            backend.adaptive(name)
        registry.listeners.append(_register)


backend = KerasBackend()
