"""Gradients in what a model computes on the way, for JAX and for Keras and Flax on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from multiact.declaration import Array
from multiact.diagnostics.recording import Tap


def watched(run: Callable[[Tap, Any], Array], weights: Any, gradients: bool) -> tuple[dict[str, Array], Any]:
    """See `multiact.diagnostics.recording.Watched`. Zeros are added to the outputs; their gradients are those of the outputs."""
    zeros: dict[str, Array] = {}

    def record(key: str, output: Array) -> Array | None:
        if isinstance(output, jax.core.Tracer):
            return None
        zeros[key] = jnp.zeros_like(output)
        return output

    run(record, None)
    if not gradients:
        return {}, None

    def again(taps: dict[str, Array], values: Any) -> Array:
        return run(lambda key, output: output + taps[key] if key in taps else None, values)

    return jax.grad(again, argnums=(0, 1))(zeros, weights)  # type: ignore[no-any-return]
