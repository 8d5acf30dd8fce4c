"""The classifier of multiact.benchmarks.port_model in JAX."""

from __future__ import annotations

import jax
import numpy as np

from multiact.backends.jax import gelu, prelu

VERSIONS = {"jax": jax.__version__}
OWN = {"gelu": "jax.nn.gelu", "prelu": "jax.nn.leaky_relu"}


def logits(weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray:
    """The logits of every image with the weights given; `own` names the activations to take from the framework."""
    first = jax.nn.gelu if "gelu" in own else gelu

    @jax.jit
    def forward(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        x = first(x @ w["w1"] + w["b1"])
        x = x @ w["w2"] + w["b2"]
        x = jax.nn.leaky_relu(x) if "prelu" in own else prelu(x, negative_slope=w["slope"])
        return x @ w["w3"] + w["b3"]

    return np.asarray(forward(weights, images))
