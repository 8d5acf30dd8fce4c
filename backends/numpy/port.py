"""The classifier of multiact.benchmarks.port_model in NumPy, which has no activations of its own."""

from __future__ import annotations

import numpy as np

from multiact.backends.numpy import gelu, prelu

VERSIONS = {"numpy": np.__version__}
OWN: dict[str, str] = {}


def logits(weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray:
    """The logits of every image with the weights given; `own` names the activations to take from the framework."""
    w = weights
    x = gelu(images @ w["w1"] + w["b1"])
    x = prelu(x @ w["w2"] + w["b2"], negative_slope=w["slope"])
    return x @ w["w3"] + w["b3"]
