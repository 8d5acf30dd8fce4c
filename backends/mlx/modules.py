"""mlx.nn Modules: one class for each activation, and the adaptive ones."""

from __future__ import annotations

from typing import Any, ClassVar

import mlx.core as mx
import numpy as np
from mlx import nn

from multiact import adaptive, learning
from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array
from multiact.functions import documentation

from . import namespace
from .adapter import backend

CONSTRUCTOR = (
    learning.CONSTRUCTOR
    + """\
channel_axis : the axis of the channels, the last by default.
param_dtype : of the learnable parameters, float32 by default.
"""
)


class ActivationModule(nn.Module):
    """Base of all activation Modules. A parameter is an attribute, learnable or not; what is learnable is an array."""

    activation: ClassVar[Activation]

    def __init__(
        self,
        *values: Any,
        learnable: bool | str | tuple[str, ...] | None = None,
        num_parameters: int = 1,
        channel_axis: int = -1,
        param_dtype: Any = None,
        **given: Any,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        settings = learning.settings(self.activation, values, given, kind)
        self.learnable = learning.learnable_names(self.activation, learnable, kind)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        weights, fixed = learning.held(self.activation, self.learnable, settings, num_parameters)
        for name, (shape, start) in weights.items():
            setattr(self, name, mx.full(shape, start, param_dtype or mx.float32))
        for name, setting in fixed.items():
            setattr(self, name, setting)

    def __call__(self, *inputs: Array) -> Array:
        return backend.function(self.activation)(*inputs, **self._keywords(inputs[0]))

    def _keywords(self, x: Array) -> dict[str, Any]:
        """The keyword arguments for an input, those at their default left out."""

        def read(name: str) -> Any:
            return getattr(self, name)

        return learning.arguments(self.activation, read, x.shape, self.channel_axis, type(self).__name__)

    def _extra_repr(self) -> str:
        fixed = [s.name for s in self.activation.held_settings if s.name not in self.learnable]
        learned = {"learnable": self.learnable, "num_parameters": self.num_parameters} if self.learnable else {}
        return ", ".join(f"{n}={v!r}" for n, v in ({n: getattr(self, n) for n in fixed} | learned).items())


class RandomModule(ActivationModule):
    """Base of the Modules of random activations, which draw from MLX's global state: in training, or always.

    model.train() and model.eval() switch, as for nn.Dropout; what has no evaluation form is always random.
    """

    def _keywords(self, x: Array) -> dict[str, Any]:
        random = self.activation.random
        assert random is not None
        return super()._keywords(x) | ({} if random.default is None else {"training": self.training})


def make_module(activation: Activation) -> type[ActivationModule]:
    """The Module class of an activation."""
    return type(
        activation.class_name,
        (RandomModule if activation.random else ActivationModule,),
        {
            "__module__": __package__,
            "__doc__": documentation(activation) + "\n" + CONSTRUCTOR,
            "__signature__": learning.signature(activation, ActivationModule.__init__),
            "activation": activation,
            **learning.positive(activation, namespace.exp),
        },
    )


ADAPTIVE_ARGUMENTS = """\
num_parameters : 1, or the number of channels: there are weights for each of them then.
channel_axis : the axis of the channels, the last by default.
param_dtype : of the weights, float32 by default.
"""


class AdaptiveModule(nn.Module):
    """Base of the Modules that learn the shape of an activation. Weights that start at random are drawn as mlx.nn's are."""

    kind: ClassVar[type[Adaptive]]

    def __init__(
        self, *, num_parameters: int = 1, channel_axis: int = -1, param_dtype: Any = None, **settings: Any
    ) -> None:
        super().__init__()
        self.adaptive = adaptive.made(self.kind, type(self).__name__, settings)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        seed = int(np.asarray(mx.random.randint(0, 2**31 - 1))) if self.adaptive.random else 0
        start = self.adaptive.initial(num_parameters, np.random.default_rng(seed))
        self._names = tuple(start)
        for name, weight in start.items():
            setattr(self, name, mx.array(weight, param_dtype or mx.float32))

    def _weights(self) -> dict[str, Array]:
        return {name: getattr(self, name) for name in self._names}

    def __call__(self, x: Array) -> Array:
        return self.adaptive(namespace, x, self._weights(), self.channel_axis)

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        return self.adaptive.read({name: np.asarray(w.astype(mx.float32)) for name, w in self._weights().items()})


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveModule]:
    """The Module class of an adaptive activation."""
    return adaptive.module_class(kind, AdaptiveModule, __package__, ADAPTIVE_ARGUMENTS)
