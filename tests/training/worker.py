"""Train a network of five activations, one of them learned, for 20 steps in one framework; print the loss of each step as JSON.

tests/test_training.py runs this file once for each framework, with the same weights and data.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

#: A rate at which the loss falls in every step: where it jumps, training multiplies the rounding of frameworks by thousands.
STEPS, RATE = 20, 0.1
WIDTHS = (64, 32, 32, 32, 32, 32)
CLASSES = 10
SLOPE = 0.25


def data(folder: Path):
    with np.load(folder / "data.npz") as saved:
        kept = dict(saved)
    return kept["x"], kept["y"], [(kept[f"w{i}"], kept[f"b{i}"]) for i in range(len(WIDTHS))]


def in_torch(x, y, weights):
    import torch

    from multiact.backends.torch import GELU, Mish, PReLU, SiLU, Tanh, log_softmax

    layers = []
    for (w, b), act in zip(weights, (GELU(), SiLU(), Mish(), PReLU(32, SLOPE), Tanh(), None)):
        linear = torch.nn.Linear(*w.shape)
        linear.weight.data, linear.bias.data = torch.tensor(w.T), torch.tensor(b)
        layers += [linear, act] if act is not None else [linear]
    model = torch.nn.Sequential(*layers)
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    x, y = torch.tensor(x), torch.tensor(y)
    for _ in range(STEPS):
        loss = -(y * log_softmax(model(x))).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield float(loss.detach())


def in_keras(x, y, weights):
    import keras

    from multiact.backends.keras import GELU, Mish, PReLU, SiLU, Tanh, log_softmax

    acts = [GELU(), SiLU(), Mish(), PReLU(negative_slope=SLOPE), Tanh()]
    layers = [keras.layers.Dense(w.shape[1]) for w, _ in weights]
    chain = [layer for pair in zip(layers, acts) for layer in pair]
    model = keras.Sequential([keras.Input((x.shape[1],)), *chain, layers[-1]])
    for layer, own in zip(layers, weights):
        layer.set_weights(list(own))
    model.compile(keras.optimizers.SGD(RATE), lambda t, p: -keras.ops.sum(t * log_softmax(p), axis=-1))
    for _ in range(STEPS):
        yield float(np.asarray(model.train_on_batch(x, y)))


def in_flax(x, y, weights):
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from multiact.backends.flax import PReLU
    from multiact.backends.jax import gelu, log_softmax, mish, silu, tanh

    class Net(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.layers = nnx.List([nnx.Linear(*w.shape, rngs=rngs) for w, _ in weights])
            for layer, (w, b) in zip(self.layers, weights):
                layer.kernel[...], layer.bias[...] = jnp.asarray(w), jnp.asarray(b)
            self.learned = PReLU(negative_slope=SLOPE, num_parameters=32)

        def __call__(self, h):
            for layer, act in zip(self.layers, (gelu, silu, mish, self.learned, tanh, lambda v: v)):
                h = act(layer(h))
            return h

    def loss(net, x, y):
        return -(y * log_softmax(net(x))).sum(-1).mean()

    @nnx.jit
    def step(net, x, y):
        value, grads = nnx.value_and_grad(loss)(net, x, y)
        nnx.update(net, jax.tree.map(lambda p, g: p - RATE * g, nnx.state(net, nnx.Param), grads))
        return value

    net, x, y = Net(), jnp.asarray(x), jnp.asarray(y)
    for _ in range(STEPS):
        yield float(step(net, x, y))


def in_equinox(x, y, weights):
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    from multiact.backends.equinox import GELU, Mish, PReLU, SiLU, Tanh, log_softmax

    layers, key = [], jax.random.key(0)
    for (w, b), act in zip(weights, (GELU(), SiLU(), Mish(), PReLU(SLOPE, num_parameters=32), Tanh(), None)):
        linear = eqx.nn.Linear(*w.shape, key=key)
        linear = eqx.tree_at(lambda m: (m.weight, m.bias), linear, (jnp.asarray(w.T), jnp.asarray(b)))
        layers += [linear, act] if act is not None else [linear]
    net, optimizer = eqx.nn.Sequential(layers), optax.sgd(RATE)
    state = optimizer.init(eqx.filter(net, eqx.is_array))

    @eqx.filter_value_and_grad
    def loss(net, x, y):
        return -(y * log_softmax(jax.vmap(net)(x))).sum(-1).mean()

    @eqx.filter_jit
    def step(net, state, x, y):
        value, grads = loss(net, x, y)
        updates, state = optimizer.update(grads, state)
        return value, eqx.apply_updates(net, updates), state

    x, y = jnp.asarray(x), jnp.asarray(y)
    for _ in range(STEPS):
        value, net, state = step(net, state, x, y)
        yield float(value)


if __name__ == "__main__":
    train = {"torch": in_torch, "flax": in_flax, "equinox": in_equinox}.get(sys.argv[1], in_keras)
    print(json.dumps(list(train(*data(Path(sys.argv[2]))))))
