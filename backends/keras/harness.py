"""The Keras backend under test: our Layers, evaluated by the harness of the framework that Keras runs on."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras

from multiact.declaration import DTYPES, Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result, Timed

from .adapter import backend, framework
from .timing import KerasTiming

if TYPE_CHECKING:
    import numpy as np


class KerasHarness(KerasTiming):
    """Our Layers and Keras' own activations on the framework that this process' Keras runs on."""

    def __init__(self) -> None:
        name = framework().name
        self._below = cast(Timed, importlib.import_module(f"multiact.backends.{name}.harness").harness)
        self.name = f"keras-{name}"
        self._functions: dict[Activation, Callable[..., Array]] = {}
        self.dtypes = self._below.dtypes
        self.modes = self._below.modes
        if name == "torch":
            # What torch.compile makes of a Layer must be one graph. The code generated from it is that of the torch rows.
            self._below.compiler = "eager"  # type: ignore[attr-defined]

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return self._below.flushes(device)

    def devices(self) -> tuple[str, ...]:
        return self._below.devices()

    def versions(self) -> Mapping[str, str]:
        return {**self._below.versions(), "keras": keras.__version__}

    def function(self, activation: Activation) -> Callable[..., Array]:
        """The Layer, as users run it; the function where a parameter is an array, which a constructor does not take."""
        if activation not in self._functions:
            self._functions[activation] = self._make(activation)
        return self._functions[activation]

    def _make(self, activation: Activation) -> Callable[..., Array]:
        plain = backend.function(activation)
        random = activation.random
        if random is not None and random.default is None:
            return plain  # of which the Layer draws an argument in every call
        drawn = {random.name} if random is not None else set()
        make = backend.layer(activation)
        layers: dict[Any, Callable[..., Array]] = {}

        def layer(dtype: str, given: Mapping[str, Any]) -> Callable[..., Array]:
            key = (dtype, *sorted(given.items()))
            if key not in layers:
                made = make(**given, dtype=dtype, **({"learnable": False} if activation.parameters else {}))
                made.build((2,))  # a compiler that sees it built later compiles again
                layers[key] = made
            return layers[key]

        def call(*inputs: Array, **given: Any) -> Array:
            if drawn.isdisjoint(given) and all(isinstance(value, (float, int, str)) for value in given.values()):
                return layer(keras.backend.standardize_dtype(inputs[0].dtype), given)(*inputs)
            return plain(*inputs, **given)

        # Made before anything is traced: a compiler that sees a Layer being made would have to give up.
        required = any(p.default is None for p in activation.parameters)
        for given in ({}, *activation.examples):
            if drawn.isdisjoint(given) and (given or not required):
                for dtype in DTYPES:
                    layer(dtype, given)
        return call

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers("keras", activation.name)

    def evaluate(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        with self.on(device):
            return self._below.evaluate(
                call, arrays, wrt=wrt, mode=mode, dtype=dtype, device=device, directions=directions
            )

    def on(self, device: str) -> contextlib.AbstractContextManager[Any]:
        """On torch, Keras moves every tensor to a device of its own choice unless told which."""
        return keras.device(device) if self._below.name == "torch" else contextlib.nullcontext()

    def synchronise(self, x: Array) -> Array:
        return self._below.synchronise(x)


harness = KerasHarness()
