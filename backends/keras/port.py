"""The classifier of multiact.benchmarks.port_model in Keras, on the framework that KERAS_BACKEND names."""

from __future__ import annotations

import keras
import numpy as np

from multiact.backends.keras import GELU, PReLU

VERSIONS = {"keras": keras.__version__}
OWN = {"gelu": "activation='gelu'", "prelu": "keras.layers.PReLU()"}


def logits(weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray:
    """The logits of every image with the weights given; `own` names the activations to take from the framework."""
    w = weights
    prelu = keras.layers.PReLU() if "prelu" in own else PReLU(channel_axis=-1)
    model = keras.Sequential(
        [
            keras.Input((w["w1"].shape[0],)),
            keras.layers.Dense(w["w1"].shape[1]),
            keras.layers.Activation("gelu") if "gelu" in own else GELU(),
            keras.layers.Dense(w["w2"].shape[1]),
            prelu,
            keras.layers.Dense(w["w3"].shape[1]),
        ]
    )
    for layer, number in ((0, 1), (2, 2), (4, 3)):
        model.layers[layer].set_weights([w[f"w{number}"], w[f"b{number}"]])
    if "prelu" not in own:
        prelu.set_weights([w["slope"]])
    return model.predict(images, batch_size=len(images), verbose=0)
