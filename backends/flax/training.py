"""The classifiers of `multiact.networks` in Flax NNX, trained by Optax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from multiact.networks import MOMENTUM, Choice, Network, Optimizer, Weights

from .adapter import backend

T = TypeVar("T", nnx.Linear, nnx.Conv)


class Model(nnx.Module):
    """Its layers one after the other, then the mean over the image if there is one, then the last."""

    def __init__(self, network: Network, weights: Weights) -> None:
        layers: list[Any] = []
        for stage, own in zip(network.stages, weights):
            layers.append(_convolution(own, stage.stride) if stage.convolution else _linear(own))
            if stage.choice.activation is not None:
                layers.append(_activation(stage.choice))
        self.layers = nnx.List(layers)
        self.last = _linear(weights[-1])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return self.last(x.mean((1, 2)) if x.ndim == 4 else x)


def _loss(model: Model, x: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


@nnx.jit
def _step(model: Model, optimizer: nnx.Optimizer, x: jax.Array, y: jax.Array) -> jax.Array:
    loss, gradients = nnx.value_and_grad(_loss)(model, x, y)
    optimizer.update(model, gradients)
    return loss


@nnx.jit
def _logits(model: Model, x: jax.Array) -> jax.Array:
    return model(x)


def classifier(network: Network, weights: Weights, optimizer: Optimizer) -> FlaxClassifier:
    return FlaxClassifier(network, weights, optimizer)


class FlaxClassifier:
    """See `multiact.networks.Classifier`."""

    loss = staticmethod(optax.softmax_cross_entropy_with_integer_labels)

    def __init__(self, network: Network, weights: Weights, optimizer: Optimizer) -> None:
        self.model = Model(network, weights)
        kind = optax.inject_hyperparams(optax.adam if optimizer == "adam" else optax.sgd)
        made = kind(1e-3) if optimizer == "adam" else kind(1e-3, momentum=MOMENTUM)
        self._optimizer = nnx.Optimizer(self.model, made, wrt=nnx.Param)

    def inputs(self, x: np.ndarray) -> jax.Array:
        return jnp.asarray(x)

    def epoch(self, x: np.ndarray, y: np.ndarray, batches: Sequence[np.ndarray], rate: float) -> float:
        self._optimizer.opt_state.hyperparams["learning_rate"][...] = jnp.asarray(rate, jnp.float32)
        inputs, labels = jnp.asarray(x), jnp.asarray(y)
        losses = [_step(self.model, self._optimizer, inputs[batch], labels[batch]) for batch in batches]
        return float(np.mean([float(loss) for loss in losses]))

    def logits(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(_logits(self.model, jnp.asarray(x)))


def _linear(own: tuple[np.ndarray, np.ndarray]) -> nnx.Linear:
    return _filled(nnx.Linear(*own[0].shape, rngs=nnx.Rngs(0)), own)


def _convolution(own: tuple[np.ndarray, np.ndarray], stride: int) -> nnx.Conv:
    inputs, outputs = own[0].shape[2:]
    # Not "SAME", which begins at another entry than PyTorch does where the stride is not 1.
    made = nnx.Conv(inputs, outputs, (3, 3), stride, padding=((1, 1), (1, 1)), rngs=nnx.Rngs(0))
    return _filled(made, own)


def _filled(layer: T, own: tuple[np.ndarray, np.ndarray]) -> T:
    layer.kernel[...], layer.bias[...] = map(jnp.asarray, own)  # type: ignore[index]
    return layer


def _activation(choice: Choice) -> Any:
    assert choice.activation is not None
    return backend.layer(choice.activation)(**choice.parameters, rngs=nnx.Rngs(0))
