"""The Flax backend: Modules over the functions of JAX. The arrays are JAX's; what belongs here are Variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flax import nnx

from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array, Axiswise, Elementwise
from multiact.exports import LayersOver


def value(x: Any) -> Any:
    """The array in a Variable; anything else as it is."""
    return x[...] if isinstance(x, nnx.Variable) else x


def _reading(function: Callable[..., Array]) -> Callable[..., Array]:
    def call(*arguments: Any, **given: Any) -> Array:
        return function(*map(value, arguments), **{name: value(v) for name, v in given.items()})

    return call


class FlaxBackend(LayersOver):
    """Functions of Variables and of JAX arrays, and NNX Modules."""

    name, below = "flax", "jax"

    def owns(self, x: Any) -> bool:
        return isinstance(x, nnx.Variable)

    def dtype(self, x: Array) -> str:
        return super().dtype(value(x))

    def make_function(self, activation: Activation) -> Callable[..., Array]:
        native = super().make_function(activation)
        call = _reading(native)
        call.__name__ = call.__qualname__ = activation.name
        call.__doc__, call.__signature__ = native.__doc__, native.__signature__  # type: ignore[attr-defined]
        call.activation = activation  # type: ignore[attr-defined]
        return call

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        return _reading(super().register_elementwise(function))

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        return _reading(super().register_axiswise(function))

    def make_layer(self, activation: Activation) -> type:
        from .modules import make_module

        return make_module(activation)

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        from .modules import make_adaptive

        return make_adaptive(kind)


backend = FlaxBackend()
