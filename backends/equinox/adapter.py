"""The Equinox backend: Modules over the functions of JAX."""

from __future__ import annotations

from multiact.adaptive import Adaptive
from multiact.declaration import Activation
from multiact.exports import LayersOver


class EquinoxBackend(LayersOver):
    """The functions of JAX, and Equinox Modules."""

    name, below = "equinox", "jax"

    def make_layer(self, activation: Activation) -> type:
        from .modules import make_module

        return make_module(activation)

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        from .modules import make_adaptive

        return make_adaptive(kind)


backend = EquinoxBackend()
