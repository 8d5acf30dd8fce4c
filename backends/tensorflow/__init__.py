"""Activations as TensorFlow functions: eager, in tf.function and XLA, differentiable to any order in both modes.

>>> import tensorflow as tf
>>> from multiact.backends.tensorflow import silu
>>> x = tf.Variable(0.0)
>>> with tf.GradientTape() as tape:
...     y = silu(x)
>>> float(tape.gradient(y, x))
0.5

A SavedModel keeps the value and the declared first derivative, in inputs and Variables, unless it is written with
``experimental_custom_gradients=False``, which leaves the value alone. A second derivative of what was loaded raises `LookupError`;
it survives if a tf.function that computes the first one is saved in the same module.
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.exports import listing, lookup

require("tensorflow")

from .adapter import backend

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return listing(backend)
