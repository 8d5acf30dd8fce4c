"""Gradients in what a model computes on the way, for Keras on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from multiact.declaration import Array
from multiact.diagnostics.recording import Tap


def watched(run: Callable[[Tap, Any], Array], weights: Any, gradients: bool) -> tuple[dict[str, Array], Any]:
    """See `multiact.diagnostics.recording.Watched`."""
    kept: dict[str, Array] = {}
    with tf.GradientTape() if gradients else tf.GradientTape(watch_accessed_variables=False) as tape:

        def record(key: str, output: Array) -> Array | None:
            if tf.is_symbolic_tensor(output):
                return None
            if gradients:
                tape.watch(output)
                kept[key] = output
            return output

        value = run(record, None)
    if not gradients:
        return {}, None
    found, in_weights = tape.gradient(value, (kept, weights))
    return {key: g for key, g in found.items() if g is not None}, [_dense(g) for g in in_weights]


def _dense(gradient: Any) -> Any:
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient
