"""The classifier of multiact.benchmarks.port_model in TensorFlow."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from multiact.backends.tensorflow import gelu, prelu

VERSIONS = {"tensorflow": tf.__version__}
OWN = {"gelu": "tf.nn.gelu", "prelu": "tf.nn.leaky_relu"}


def logits(weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray:
    """The logits of every image with the weights given; `own` names the activations to take from the framework."""
    w = {name: tf.constant(value) for name, value in weights.items()}
    first = tf.nn.gelu if "gelu" in own else gelu

    @tf.function
    def forward(x: tf.Tensor) -> tf.Tensor:
        x = first(x @ w["w1"] + w["b1"])
        x = x @ w["w2"] + w["b2"]
        x = tf.nn.leaky_relu(x) if "prelu" in own else prelu(x, negative_slope=w["slope"])
        return x @ w["w3"] + w["b3"]

    return forward(tf.constant(images)).numpy()
