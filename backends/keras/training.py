"""The classifiers of `multiact.networks` in Keras, on whichever backend it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from multiact.networks import MOMENTUM, Choice, Network, Optimizer, Weights

from .adapter import backend


def classifier(network: Network, weights: Weights, optimizer: Optimizer) -> KerasClassifier:
    return KerasClassifier(network, weights, optimizer)


class KerasClassifier:
    """See `multiact.networks.Classifier`."""

    def __init__(self, network: Network, weights: Weights, optimizer: Optimizer) -> None:
        layers: list[Any] = []
        weighted = []
        for stage, (weight, _) in zip(network.stages, weights):
            if stage.convolution:  # padding="same" begins at another entry than PyTorch does where the stride is not 1
                layers.append(keras.layers.ZeroPadding2D(1))
                layer = keras.layers.Conv2D(weight.shape[-1], 3, stage.stride)
            else:
                layer = keras.layers.Dense(weight.shape[-1])
            weighted.append(layer)
            layers.append(layer)
            if stage.choice.activation is not None:
                layers.append(_activation(stage.choice, len(network.shape)))
        if network.convolutional:
            layers.append(keras.layers.GlobalAveragePooling2D())
        weighted.append(keras.layers.Dense(network.classes))
        self.model = keras.Sequential([keras.Input(network.shape), *layers, weighted[-1]])
        for layer, own in zip(weighted, weights):
            layer.set_weights(list(own))
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(epsilon=1e-8)  # as the others have it
        made = adam if optimizer == "adam" else keras.optimizers.SGD(1e-3, MOMENTUM)
        self.model.compile(made, self.loss)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        return x

    def epoch(self, x: np.ndarray, y: np.ndarray, batches: Sequence[np.ndarray], rate: float) -> float:
        self.model.optimizer.learning_rate.assign(rate)
        losses = [float(self.model.train_on_batch(x[batch], y[batch])) for batch in batches]
        return float(np.mean(losses))

    def logits(self, x: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(self.model.predict(x, verbose=0, batch_size=len(x)))


def _activation(choice: Choice, axes: int) -> Any:
    assert choice.activation is not None
    learned = any(p.learned for p in choice.activation.held)  # one number, as elsewhere, and not one for each entry
    return backend.layer(choice.activation)(
        **choice.parameters, **({"shared_axes": list(range(1, axes + 1))} if learned else {})
    )


def data_set(name: str) -> Any:
    """((x, y), (test_x, test_y)) of a data set in keras.datasets, fetched at the first time."""
    return getattr(keras.datasets, name).load_data()
