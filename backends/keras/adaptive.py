"""The adaptive activations of the core as Layers."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np

from multiact import adaptive
from multiact.adaptive import Adaptive
from multiact.declaration import Array

from .adapter import PACKAGE, as_tensor, framework

ARGUMENTS = """\
channel_axis : there are weights for each entry of this axis of the input; None for one set of weights, where it has a
    meaning, else the last axis.
name, dtype, trainable : as for any Layer. The weights keep the variable dtype under mixed precision.
"""


class AdaptiveLayer(keras.layers.Layer):
    """Base of the Layers that learn the shape of an activation."""

    kind: ClassVar[type[Adaptive]]

    def __init__(self, *, channel_axis: int | None = None, name: str | None = None, **keywords: Any) -> None:
        own = {k: keywords.pop(k) for k in ("dtype", "trainable", "autocast") if k in keywords}
        super().__init__(name=name, **own)
        self.adaptive = adaptive.made(self.kind, type(self).__name__, keywords)
        self.channel_axis = -1 if channel_axis is None and self.adaptive.needs_channels else channel_axis
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        channels = 1 if self.channel_axis is None else inputs_shape[self.channel_axis]
        rng = np.random.default_rng(np.random.randint(2**31))  # which keras.utils.set_random_seed sets
        self._learned = {}
        for key, start in self.adaptive.initial(channels, rng).items():
            variable = self.add_weight(name=key, shape=start.shape, initializer="zeros", autocast=False)
            variable.assign(start)
            self._learned[key] = variable

    def call(self, inputs: Array) -> Array:
        below = framework()
        weights = {key: as_tensor(v, below) for key, v in self._learned.items()}
        return self.adaptive(below.namespace, inputs, weights, -1 if self.channel_axis is None else self.channel_axis)

    def compute_output_shape(self, inputs_shape: Any) -> tuple[int | None, ...]:
        return tuple(inputs_shape)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        return self.adaptive.read({key: keras.ops.convert_to_numpy(v) for key, v in self._learned.items()})

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"channel_axis": self.channel_axis} | vars(self.adaptive)


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveLayer]:
    """The Layer class of an adaptive activation, known to Keras' saving as "multiact>" and its name."""
    made = adaptive.module_class(kind, AdaptiveLayer, __package__, ARGUMENTS)
    return keras.saving.register_keras_serializable(PACKAGE)(made)
