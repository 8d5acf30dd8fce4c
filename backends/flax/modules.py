"""NNX Modules: one class for each activation, and the adaptive ones."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from multiact import adaptive, learning
from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array
from multiact.errors import ParameterError
from multiact.functions import documentation

from .adapter import backend, value

CONSTRUCTOR = (
    learning.CONSTRUCTOR
    + """\
channel_axis : the axis of the channels, the last by default.
param_dtype : of the learnable parameters, float32 by default.
rngs : accepted as by other Modules; needed where the function itself is random.
"""
)


class ActivationModule(nnx.Module):
    """Base of all activation Modules. A parameter is an attribute, learnable or not."""

    activation: ClassVar[Activation]

    def __init__(
        self,
        *values: Any,
        learnable: bool | str | tuple[str, ...] | None = None,
        num_parameters: int = 1,
        channel_axis: int = -1,
        param_dtype: Any = None,
        rngs: nnx.Rngs | None = None,
        **given: Any,
    ) -> None:
        kind = type(self).__name__
        settings = learning.settings(self.activation, values, given, kind)
        self.learnable = learning.learnable_names(self.activation, learnable, kind)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        weights, fixed = learning.held(self.activation, self.learnable, settings, num_parameters)
        for name, (shape, start) in weights.items():
            setattr(self, name, nnx.Param(jnp.full(shape, start, param_dtype or jnp.float32)))
        for name, setting in fixed.items():
            setattr(self, name, setting)

    def __call__(self, *inputs: Array) -> Array:
        return backend.function(self.activation)(*inputs, **self._given(value(inputs[0])))

    def _given(self, x: Array) -> dict[str, Any]:
        """The keyword arguments for an input, those at their default left out."""

        def read(name: str) -> Any:
            return value(getattr(self, name))

        return learning.arguments(self.activation, read, x.shape, self.channel_axis, type(self).__name__)


class RandomModule(ActivationModule):
    """Base of the Modules of random activations, with the switch `deterministic` as in nnx.Dropout.

    model.train() and model.eval() set it; what has no evaluation form is always random.
    """

    def __init__(self, *values: Any, deterministic: bool = False, rngs: nnx.Rngs | None = None, **given: Any) -> None:
        super().__init__(*values, **given)
        self.deterministic = deterministic
        self.rngs = nnx.data(None) if rngs is None else rngs["activation"].fork()

    def __call__(self, x: Array) -> Array:
        given, random = self._given(value(x)), self.activation.random
        assert random is not None
        if random.default is not None:
            given["training"] = not self.deterministic
        if given.get("training", True):
            if self.rngs is None:
                raise ParameterError(
                    f"{type(self).__name__} is random: make it with rngs=nnx.Rngs(seed), or call eval()."
                )
            given["rng"] = self.rngs()
        return backend.function(self.activation)(x, **given)


def make_module(activation: Activation) -> type[ActivationModule]:
    """The Module class of an activation."""
    bases = (ActivationModule, RandomModule) if activation.random else (ActivationModule,)
    return type(
        activation.class_name,
        bases[-1:],
        {
            "__module__": __package__,
            "__doc__": documentation(activation) + "\n" + CONSTRUCTOR,
            "__signature__": learning.OfClass(learning.signature(activation, *(b.__init__ for b in bases))),
            "activation": activation,
            **learning.positive(activation, lambda weight: jnp.exp(value(weight))),
        },
    )


ADAPTIVE_ARGUMENTS = """\
num_parameters : 1, or the number of channels: there are weights for each of them then.
channel_axis : the axis of the channels, the last by default.
param_dtype : of the weights, float32 by default.
rngs : flax.nnx.Rngs; needed where the weights start at random.
"""


class AdaptiveModule(nnx.Module):
    """Base of the Modules that learn the shape of an activation."""

    kind: ClassVar[type[Adaptive]]

    def __init__(
        self,
        *,
        num_parameters: int = 1,
        channel_axis: int = -1,
        param_dtype: Any = None,
        rngs: nnx.Rngs | None = None,
        **settings: Any,
    ) -> None:
        self.adaptive = adaptive.made(self.kind, type(self).__name__, settings)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        if rngs is None and self.adaptive.random:
            raise ParameterError(f"{type(self).__name__} starts at random: give rngs=nnx.Rngs(seed).")
        rng: Any = None if rngs is None else adaptive.Draws(jax.random, rngs.params())
        for name, start in self.adaptive.initial(num_parameters, rng).items():
            setattr(self, name, nnx.Param(jnp.asarray(start, param_dtype or jnp.float32)))

    def _weights(self) -> dict[str, Array]:
        return {name: v[...] for name, v in vars(self).items() if isinstance(v, nnx.Param)}

    def __call__(self, x: Array) -> Array:
        return self.adaptive(jnp, value(x), self._weights(), self.channel_axis)

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        return self.adaptive.read({name: np.asarray(w, np.float32) for name, w in self._weights().items()})


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveModule]:
    """The Module class of an adaptive activation."""
    return adaptive.module_class(kind, AdaptiveModule, __package__, ADAPTIVE_ARGUMENTS)
