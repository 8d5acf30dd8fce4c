"""Equinox Modules: one class for each activation, and the adaptive ones.

The leaves of a Module are the arrays that it learns, and nothing else, so that jax.grad and jax.jit take it as they take any
pytree: a number that is not learned is part of the structure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from multiact import adaptive, learning
from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array
from multiact.errors import ParameterError
from multiact.functions import documentation

from .adapter import backend

CONSTRUCTOR = (
    learning.CONSTRUCTOR
    + """\
channel_axis : the axis of the channels, the first by default, since Modules of Equinox are called without a batch axis.
dtype : of the learnable parameters, the default one of JAX if not given.

The Module takes `key` when it is called, as all do in an equinox.nn.Sequential; it is needed where the function is random.
"""
)


@jax.tree_util.register_pytree_node_class
class Fixed(float):
    """A number in a field that holds an array if it is learned: no leaf. equinox.tree_at can put an array in its place."""

    def tree_flatten(self) -> tuple[tuple[()], float]:
        return (), float(self)

    @classmethod
    def tree_unflatten(cls, value: float, _: tuple[()]) -> Fixed:
        return cls(value)


def _dtype(given: Any) -> Any:
    return jnp.result_type(float) if given is None else given


class ActivationModule(eqx.Module):
    """Base of all activation Modules. A parameter is an attribute, learnable or not."""

    activation: ClassVar[Activation]
    learnable: tuple[str, ...] = eqx.field(static=True)
    num_parameters: int = eqx.field(static=True)
    channel_axis: int = eqx.field(static=True)

    def __init__(
        self,
        *values: Any,
        learnable: bool | str | tuple[str, ...] | None = None,
        num_parameters: int = 1,
        channel_axis: int = 0,
        dtype: Any = None,
        **given: Any,
    ) -> None:
        kind = type(self).__name__
        settings = learning.settings(self.activation, values, given, kind)
        self.learnable = learning.learnable_names(self.activation, learnable, kind)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        weights, fixed = learning.held(self.activation, self.learnable, settings, num_parameters)
        for name in _fields(self.activation):
            setattr(self, name, None)
        for name, (shape, start) in weights.items():
            setattr(self, name, jnp.full(shape, start, _dtype(dtype)))
        for name, setting in fixed.items():
            setattr(self, name, Fixed(setting) if type(setting) is float else setting)

    def __call__(self, *inputs: Array, key: Any = None) -> Array:
        return backend.function(self.activation)(*inputs, **self._given(inputs[0]))

    def _given(self, x: Array) -> dict[str, Any]:
        """The keyword arguments for an input, those at their default left out."""

        def read(name: str) -> Any:
            v = getattr(self, name)
            return float(v) if isinstance(v, Fixed) else v

        return learning.arguments(self.activation, read, x.shape, self.channel_axis, type(self).__name__)


class RandomModule(ActivationModule):
    """Base of the Modules of random activations, with the switch `inference` as in equinox.nn.Dropout.

    equinox.nn.inference_mode sets it; what has no evaluation form is always random.
    """

    inference: bool

    def __init__(self, *values: Any, inference: bool = False, **given: Any) -> None:
        super().__init__(*values, **given)
        self.inference = inference

    def __call__(self, *inputs: Array, key: Any = None, inference: bool | None = None) -> Array:
        given, random = self._given(inputs[0]), self.activation.random
        assert random is not None
        if random.default is not None:
            given["training"] = not (self.inference if inference is None else inference)
        if given.get("training", True):
            if key is None:
                raise ParameterError(f"{type(self).__name__} is random: call it with key=..., or with inference=True.")
            given["rng"] = key
        return backend.function(self.activation)(*inputs, **given)


def _fields(activation: Activation) -> dict[str, Any]:
    """The fields that hold what a constructor takes."""
    found: dict[str, Any] = {}
    for p in activation.held:
        found |= dict.fromkeys((learning.attribute(p), learning.stored_name(p)), Any)
    return found | {o.name: Any for o in activation.options}


def _constructor(base: Any, signature: inspect.Signature) -> Callable[..., None]:
    """The __init__ of a class, which Equinox reads the signature of the class from."""

    def __init__(self: Any, *values: Any, **given: Any) -> None:
        base.__init__(self, *values, **given)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    __init__.__signature__ = inspect.Signature([own, *signature.parameters.values()])  # type: ignore[attr-defined]
    return __init__


def make_module(activation: Activation) -> type[ActivationModule]:
    """The Module class of an activation."""
    bases = (ActivationModule, RandomModule) if activation.random else (ActivationModule,)
    members: dict[str, Any] = learning.positive(activation, jnp.exp)
    members |= {o.name: eqx.field(static=True) for o in activation.options}
    members |= {
        "__module__": __package__,
        "__doc__": documentation(activation) + "\n" + CONSTRUCTOR,
        "__init__": _constructor(bases[-1], learning.signature(activation, *(b.__init__ for b in bases))),
        "__annotations__": _fields(activation),
        "activation": activation,
    }
    return type(activation.class_name, bases[-1:], members)


ADAPTIVE_ARGUMENTS = """\
num_parameters : 1, or the number of channels: there are weights for each of them then.
channel_axis : the axis of the channels, the first by default, since Modules of Equinox are called without a batch axis.
dtype : of the weights, the default one of JAX if not given.
key : of jax.random; needed where the weights start at random.
"""


class AdaptiveModule(eqx.Module):
    """Base of the Modules that learn the shape of an activation."""

    kind: ClassVar[type[Adaptive]]
    weights_held: ClassVar[tuple[str, ...]]
    adaptive: Adaptive = eqx.field(static=True)
    num_parameters: int = eqx.field(static=True)
    channel_axis: int = eqx.field(static=True)

    def __init__(
        self, *, num_parameters: int = 1, channel_axis: int = 0, dtype: Any = None, key: Any = None, **settings: Any
    ) -> None:
        self.adaptive = adaptive.made(self.kind, type(self).__name__, settings)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        if key is None and self.adaptive.random:
            raise ParameterError(f"{type(self).__name__} starts at random: give key=jax.random.key(seed).")
        rng: Any = None if key is None else adaptive.Draws(jax.random, key)
        for name, start in self.adaptive.initial(num_parameters, rng).items():
            setattr(self, name, jnp.asarray(start, _dtype(dtype)))

    def _weights(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in self.weights_held}

    def __call__(self, x: Array, *, key: Any = None) -> Array:
        if not self.kind.needs_channels:
            return self.adaptive(jnp, x, self._weights(), self.channel_axis)
        axis = self.channel_axis + (self.channel_axis >= 0)  # these count the batch, which is not there, as an axis
        return self.adaptive(jnp, x[None], self._weights(), axis)[0]

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        return self.adaptive.read({name: np.asarray(w, np.float32) for name, w in self._weights().items()})


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveModule]:
    """The Module class of an adaptive activation."""
    names = tuple(kind().initial(1, np.random.default_rng(0)))
    own = {
        "__init__": _constructor(AdaptiveModule, adaptive.signature(kind, AdaptiveModule.__init__)),
        "__annotations__": dict.fromkeys(names, Any),
        "weights_held": names,
    }
    return adaptive.module_class(kind, AdaptiveModule, __package__, ADAPTIVE_ARGUMENTS, **own)
