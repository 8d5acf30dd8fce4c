"""Activations as Keras 3 functions and Layers, on Keras' torch, jax, tensorflow and numpy backends.

Keras looks strings up among its own activations only, so ``Dense(64, activation="multiact>gelu")`` cannot work: pass the
function itself, ``Dense(64, activation=gelu)``, or what `get` returns. Import this module before loading a saved model.

>>> import keras
>>> from multiact.backends.keras import GELU, gelu, get
>>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation=gelu), GELU(approximate="tanh")])
>>> model.output_shape
(None, 4)
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.errors import BackendNotAvailableError
from multiact.exports import listing, lookup

require("keras")
try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    raise BackendNotAvailableError(
        f"Keras runs on another framework, and this one is not installed: {error.name}. Install one and name it before "
        f"Python starts, for example: pip install 'multiact[keras,torch]' and KERAS_BACKEND=torch"
    ) from error

from .adapter import backend, get, register_all
from .layers import Gated

__all__ = ["Gated", "backend", "get"]

register_all()


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return sorted([*listing(backend), "Gated", "get"])
