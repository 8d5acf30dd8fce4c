"""Keras Layers: one class for each activation, with learnable parameters where asked for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras

from multiact import learning
from multiact.declaration import Activation, Array, Axiswise, Parameter
from multiact.errors import ParameterError, ShapeError
from multiact.functions import documentation, settings
from multiact.registry import gated, registered

from .adapter import PACKAGE, backend, halved, identifier, output_spec

#: Positional arguments of Keras' own class, where they are not the parameters and options of ours.
POSITIONAL = {
    "relu": ("max_value", "negative_slope", "threshold"),
    "softmax": ("axis",),
    "prelu": ("alpha_initializer", "alpha_regularizer", "alpha_constraint", "shared_axes"),
}

#: Arguments of keras.layers.ReLU that make it another function: the value at which they do not, and what to use instead.
OF_ANOTHER_FUNCTION = {
    "relu": {
        "max_value": (None, "ReLU6() for 6, Hardtanh(min_val=0, max_val=...) for another bound"),
        "negative_slope": (0.0, "LeakyReLU(negative_slope=...)"),
        "threshold": (0.0, "Threshold(threshold=..., value=0)"),
    }
}

#: Activations whose Keras class has one parameter for each element of the input without the batch axis.
FOR_EACH_ELEMENT = ("prelu",)

LAYER_KEYWORDS = ("name", "dtype", "trainable", "activity_regularizer", "autocast", "input_shape", "input_dim")
ROLES = ("initializer", "regularizer", "constraint")

CONSTRUCTOR = """
Constructor
-----------
The parameters and options above, numbers only, by keyword or in that order; and
learnable : True for all parameters, False for none, or their names; by default those that are learned by definition. One that
    has to be positive is learned as its logarithm: the weight is log_<parameter>.
channel_axis : one learnable value for each entry of this axis of the input.
shared_axes : one learnable value for each element of the input without the batch axis, shared along these axes, as in
    keras.layers.PReLU. By default each parameter is one number{exception}.
<parameter>_initializer, <parameter>_regularizer, <parameter>_constraint : of a learnable parameter, as for any Keras
    weight; it starts at the number given or the default otherwise.
{seed}name, dtype, trainable, activity_regularizer : as for any Layer. Learnable parameters keep the variable dtype, float32 under
    mixed_float16 and mixed_bfloat16.
"""


class ActivationLayer(keras.layers.Layer):
    """What the Layers of all activations share."""

    activation: ClassVar[Activation]

    def __init__(
        self,
        *values: Any,
        learnable: bool | str | Sequence[str] | None = None,
        shared_axes: int | Sequence[int] | None = None,
        channel_axis: int | None = None,
        **keywords: Any,
    ) -> None:
        owner = self.activation
        given = _named(owner, values, keywords)
        super().__init__(**{k: given.pop(k) for k in LAYER_KEYWORDS if k in given})
        shared_axes = given.pop("shared_axes", shared_axes)
        _drop_native(owner, given)
        roles = {k: given.pop(k) for k in list(given) if k.endswith(tuple(f"_{r}" for r in ROLES))}
        chosen, numbers, options = settings(owner, given)
        parameters = {p.name: value for p, value in zip(chosen.parameters, numbers) if not p.random}
        for p in chosen.held:
            learning.number(p, parameters[p.name], owner.class_name)
        self._learnable = learning.learnable_names(chosen, learnable, owner.class_name)
        self._shared_axes, self._channel_axis = _axes(owner, self._learnable, shared_axes, channel_axis)
        self._roles = {
            f"{name}_{role}": getattr(keras, f"{role}s").get(roles.pop(f"{name}_{role}", None))
            for name in self._learnable
            for role in ROLES
        }
        if roles:
            raise ParameterError(
                f"{owner.class_name}: {next(iter(roles))} was given, but the learnable parameters are "
                f"{list(self._learnable)}. Name the parameter in learnable=...."
            )
        self._given = {k: parameters.get(k, v) for k, v in given.items()}
        self._fixed = {k: v for k, v in self._given.items() if k not in self._learnable}
        self._start = {name: parameters[name] for name in self._learnable}
        self._learned: dict[str, Any] = {}
        for name, value in (parameters | options).items():
            self._show(name, value)
        self._function = backend.function(owner)
        self.supports_masking = True
        if not self._learnable:
            self.built = True

    def _show(self, name: str, value: Any) -> None:
        """A parameter as an attribute, unless Keras has one of that name, or it is a property of this class."""
        if not hasattr(type(self), name):
            setattr(self, name, value)

    def build(self, inputs_shape: Any) -> None:
        self._build(tuple(inputs_shape), tuple(inputs_shape))

    def _build(self, inputs_shape: tuple[int | None, ...], shape: tuple[int | None, ...]) -> None:
        """Make the learnable parameters for values of `shape`, which is not that of the input in a gated unit."""
        sizes: dict[int, int] = {}
        for p in settings(self.activation, self._given)[0].parameters:
            if p.name not in self._learnable:
                continue
            own = self._parameter_shape(p, shape)
            sizes |= {len(shape) - len(own) + i: n for i, n in enumerate(own) if n != 1}
            roles = {role: self._roles[f"{p.name}_{role}"] for role in ROLES}
            roles["initializer"] = roles["initializer"] or keras.initializers.Constant(self._start[p.name])
            if learning.is_positive(p):
                roles = _of_the_logarithm(**roles)
            # 16-bit input is computed in float32, so a parameter is not rounded to 16 bits first
            variable = self.add_weight(name=learning.stored_name(p), shape=own, autocast=False, **roles)
            self._learned[p.name] = variable
            self._show(learning.stored_name(p), variable)
        if sizes:
            self.input_spec = keras.InputSpec(ndim=len(inputs_shape), axes={i: inputs_shape[i] for i in sizes})

    def _parameter_shape(self, p: Parameter, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        rank = len(shape)
        axes = self._shared_axes if self._channel_axis is None else (self._channel_axis,)
        if axes is None or p.broadcast == "scalar":
            return ()
        for axis in axes:
            if not -rank < axis < rank or axis % rank == 0:
                raise ShapeError(
                    f"{self.activation.class_name}: axis {axis} of a learnable parameter must be an axis of the input "
                    f"other than the batch axis. Received: input of shape {shape}."
                )
        places = [axis % rank for axis in axes]
        if self._channel_axis is None:
            own = tuple(1 if i in places else shape[i] for i in range(1, rank))
        else:
            own = (shape[places[0]], *(1,) * (rank - 1 - places[0]))
        known = tuple(n for n in own if n is not None)
        if len(known) < len(own):
            raise ParameterError(
                f"{self.activation.class_name}: {p.name} has one value for each element of {own}, so these sizes must be "
                f"known. Share it along the others with shared_axes=... or give channel_axis=.... "
                f"Received: input of shape {shape}."
            )
        return known

    def call(self, inputs: Array) -> Array:
        return self._function(inputs, **self._fixed, **self._learned_values())

    def _learned_values(self) -> dict[str, Any]:
        positive = {p.name for p in self.activation.parameters if learning.is_positive(p)}
        return {n: keras.ops.exp(v) if n in positive else v for n, v in self._learned.items()}

    def compute_output_shape(self, inputs_shape: Any) -> tuple[int | None, ...]:
        return tuple(inputs_shape)

    def compute_output_spec(self, *inputs: Any, **keywords: Any) -> keras.KerasTensor:
        return output_spec(self.activation, inputs, self._given)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() | dict(self._given)
        if self.activation.held:
            config |= {"learnable": list(self._learnable)}
        if self._learnable:
            config |= {
                "shared_axes": None if self._shared_axes is None else list(self._shared_axes),
                "channel_axis": self._channel_axis,
            }
        for key, value in self._roles.items():
            if value is not None:
                config[key] = keras.saving.serialize_keras_object(value)
        return config


class GatedLayer(ActivationLayer):
    """A gated unit: of one input that is split along `axis`, or of two."""

    def build(self, inputs_shape: Any, other_shape: Any = None) -> None:
        self._build(tuple(inputs_shape), self.compute_output_shape(inputs_shape, other_shape))

    def call(self, inputs: Array, other: Array | None = None) -> Array:
        return self._function(inputs, other, **self._fixed, **self._learned_values())

    def compute_output_shape(self, inputs_shape: Any, other_shape: Any = None) -> tuple[int | None, ...]:
        options = settings(self.activation, self._given)[2]
        shape = tuple(inputs_shape)
        return shape if other_shape is not None else halved(shape, options["axis"], self.activation.name)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the input, unless it covers the axis that is split."""
        return _beside(previous_mask, settings(self.activation, self._given)[2]["axis"], inputs)


class AxiswiseLayer(ActivationLayer):
    """A function along an axis, which may change its size."""

    @property
    def _along(self) -> Axiswise:
        assert isinstance(self.activation.function, Axiswise)
        return self.activation.function

    def compute_output_shape(self, inputs_shape: Any) -> tuple[int | None, ...]:
        return self._along.output_shape(tuple(inputs_shape), settings(self.activation, self._given)[2])

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the input, unless it covers an axis that changes its size."""
        if self._along.size is None:
            return previous_mask
        return _beside(previous_mask, self._along.axis(settings(self.activation, self._given)[2]), inputs)


def _beside(mask: Any, axis: int, inputs: Any) -> Any:
    """The mask, unless it covers `axis` of the input."""
    return mask if mask is None or axis % len(inputs.shape) >= len(mask.shape) else None


@keras.saving.register_keras_serializable(PACKAGE)
class Gated(GatedLayer):
    """The gated form of any pointwise activation as a Layer of one input, split along an axis, or of two.

    Parameters
    ----------
    activation : its name, or an Activation. Define one of your own before a saved model is loaded.
    gate : the side that goes through it: "first", "second", or "interleaved" (even entries).
    **keywords : `axis`, -1 by default, the parameters of the activation, `learnable` and what else the Layer of a gated unit
        such as SwiGLU takes.

    Raises
    ------
    UnknownActivationError, DefinitionError, ParameterError : as multiact.gated; a keyword is unknown or out of range.

    Examples
    --------
    >>> import keras
    >>> from multiact.backends.keras import Gated
    >>> Gated("mish", gate="second")(keras.Input((8,))).shape
    (None, 4)
    """

    def __init__(self, activation: str | Activation, gate: str = "first", **keywords: Any) -> None:
        self.activation = gated(activation, gate)  # type: ignore[misc]
        super().__init__(**keywords)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | identifier(self.activation)


class RandomLayer(ActivationLayer):
    """An activation with random numbers, drawn from a generator of its own that starts at `seed`."""

    def __init__(self, *values: Any, seed: int | None = None, **keywords: Any) -> None:
        super().__init__(*values, **keywords)
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Array, training: bool | None = None) -> Array:
        random = self.activation.random
        given = {"training": bool(training)} if random is not None and random.default is not None else {}
        return self._function(inputs, rng=self._generator, **given, **self._fixed, **self._learned_values())

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


class SoftmaxLayer(AxiswiseLayer):
    """Softmax with the call argument `mask` of keras.layers.Softmax: True keeps an entry, the others get exactly 0.

    The mask of a sequence, which comes with the input, is about all entries of a step.
    """

    def __call__(self, inputs: Array, *others: Any, mask: Array | None = None, **keywords: Any) -> Array:
        # Keras would give call() the mask of the steps, which is that of entries to whoever reads it there.
        steps = keras.src.backend.get_keras_mask(inputs) if mask is None and not others else None
        if steps is not None:
            mask = steps
            for _ in range(len(inputs.shape) - len(steps.shape)):
                mask = keras.ops.expand_dims(mask, -1)
        return super().__call__(inputs, *others, mask=mask, **keywords)

    def call(self, inputs: Array, mask: Array | None = None) -> Array:
        if mask is not None and keras.backend.standardize_dtype(mask.dtype) != "bool":
            mask = mask > 0.5
        return self._function(inputs, where=mask, **self._fixed, **self._learned_values())

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask that came with the input, whatever call() was given."""
        steps = keras.src.backend.get_keras_mask(inputs)
        return previous_mask if steps is None else steps


def _of_the_logarithm(initializer: Any, regularizer: Any, constraint: Any) -> dict[str, Any]:
    """What was meant for a parameter, for the weight that is its logarithm."""
    ops = keras.ops
    return {
        "initializer": lambda shape, dtype=None: ops.log(initializer(shape, dtype)),
        "regularizer": regularizer and (lambda w: regularizer(ops.exp(w))),
        "constraint": constraint and (lambda w: ops.log(constraint(ops.exp(w)))),
    }


def _positive(p: Parameter) -> property:
    """A parameter that is learned as its logarithm, to be read as it is."""

    def get(self: ActivationLayer) -> Any:
        if p.name in self._learned:
            return self._learned_values()[p.name]
        return self._start.get(p.name, self._fixed.get(p.name, p.default))

    return property(get, doc=p.description)


def _named(owner: Activation, values: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """Positional arguments under their names, beside the keywords; Keras' alpha_... under the name of our parameter."""
    names = POSITIONAL.get(owner.name) or tuple(s.name for s in owner.held_settings)
    if len(values) > len(names):
        raise ParameterError(
            f"{owner.class_name} takes at most {len(names)} positional arguments ({', '.join(names)}). "
            f"Received: {len(values)}."
        )
    given = dict(zip(names, values))
    twice = [name for name in given if name in keywords]
    if twice:
        raise ParameterError(f"{owner.class_name}: {twice[0]} was given twice, by position and by keyword.")
    given |= keywords
    random = [p.name for p in owner.parameters if p.random and p.name in given]
    if random:
        raise ParameterError(f"{owner.class_name} holds no {random[0]}. Give it to the function: {owner.name}(x, ...).")
    if owner.name in FOR_EACH_ELEMENT:
        given = {_own_spelling(owner, name): value for name, value in given.items()}
    return given


def _own_spelling(owner: Activation, name: str) -> str:
    stem, _, role = name.partition("_")
    return f"{owner.parameters[0].name}_{role}" if stem == "alpha" and role in ROLES else name


def _drop_native(owner: Activation, given: dict[str, Any]) -> None:
    """Remove arguments of Keras' class that leave the function as it is; raise for those that would change it."""
    for name, (neutral, instead) in OF_ANOTHER_FUNCTION.get(owner.name, {}).items():
        if name in given and given.pop(name) != neutral:
            raise ParameterError(
                f"{owner.class_name} is max(x, 0): {name} must be {neutral}. Use {instead}, or keras.layers.ReLU."
            )


def _axes(
    owner: Activation, learnable: tuple[str, ...], shared: int | Sequence[int] | None, channel: int | None
) -> tuple[tuple[int, ...] | None, int | None]:
    """The axes along which learnable parameters are shared, or the one along which they are not."""
    if shared is not None and channel is not None:
        raise ParameterError(f"{owner.class_name}: give shared_axes or channel_axis, not both.")
    if not learnable and (shared is not None or channel is not None):
        raise ParameterError(
            f"{owner.class_name}: shared_axes and channel_axis shape learnable parameters. Name them in learnable=...."
        )
    if isinstance(shared, int):
        shared = (shared,)
    if shared is None and channel is None and learnable and owner.name in FOR_EACH_ELEMENT:
        shared = ()
    return None if shared is None else tuple(int(axis) for axis in shared), channel


def _signature(activation: Activation) -> inspect.Signature:
    """What the constructor takes, for help, editors and the generated stub."""
    kind = inspect.Parameter
    defaults = {p.name: kind.empty if p.default is None else p.default for p in activation.held}
    defaults |= {o.name: o.default for o in activation.options}
    native = {name: neutral for name, (neutral, _) in OF_ANOTHER_FUNCTION.get(activation.name, {}).items()}
    names = POSITIONAL.get(activation.name) or tuple(defaults)
    own = inspect.signature(ActivationLayer.__init__).parameters
    rest = [p for p in own.values() if p.kind is kind.KEYWORD_ONLY and p.name not in names]
    return inspect.Signature(
        [
            *(
                kind(
                    n,
                    kind.POSITIONAL_OR_KEYWORD,
                    default=defaults.get(n, native.get(n)),
                    annotation=_annotation(own, n),
                )
                for n in names
            ),
            *(kind(n, kind.KEYWORD_ONLY, default=value) for n, value in defaults.items() if n not in names),
            *rest,
            *([inspect.signature(RandomLayer.__init__).parameters["seed"]] if activation.random else []),
            own["keywords"],
        ]
    )


def _annotation(parameters: Mapping[str, inspect.Parameter], name: str) -> Any:
    return parameters[name].annotation if name in parameters else inspect.Parameter.empty


def _unnamed(activation: Activation) -> type:
    """The Layer class of a gated form without a name. What it makes is saved as `Gated`."""

    def new(cls: type, *values: Any, **keywords: Any) -> Gated:
        return Gated(**identifier(activation) | _named(activation, values, keywords))

    return type(activation.class_name, (Gated,), {"__new__": new, "__signature__": _signature(activation)})


def make_layer(activation: Activation) -> type:
    """The Layer class of an activation, known to Keras' saving as "multiact>" and its class name."""
    base: type = ActivationLayer
    if activation.kind == "gated" and not registered(activation):
        return _unnamed(activation)
    if activation.kind == "gated":
        base = GatedLayer
    elif activation.random:
        base = RandomLayer
    elif activation.kind == "axiswise":
        base = SoftmaxLayer if activation.name == "softmax" else AxiswiseLayer
    exception = ", except here, where it is one for each element" if activation.name in FOR_EACH_ELEMENT else ""
    seed = "seed : of the random numbers; by default another one each time.\n" if activation.random else ""
    own = {
        "activation": activation,
        "__doc__": documentation(activation) + "\n" + CONSTRUCTOR.format(exception=exception, seed=seed),
        "__module__": "multiact.backends.keras",
        "__signature__": _signature(activation),
        **{p.name: _positive(p) for p in activation.parameters if learning.is_positive(p)},
    }
    return keras.saving.register_keras_serializable(PACKAGE)(type(activation.class_name, (base,), own))
