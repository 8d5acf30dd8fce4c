"""Derivatives up to the fourth in JAX against finite differences of the one before, for the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma

jax = pytest.importorskip("jax")

from jax.test_util import check_grads

from multiact.backends.jax import backend

#: Away from kinks and from where differences lose all digits.
POINTS = np.array([-5.3, -2.3, -1.17, -0.61, 0.21, 0.7, 1.43, 4.7])
#: At their frequency of 30 the fourth derivative is a million times the value, which differences do not resolve.
SLOWER = {"siren": {"omega": 1.0}, "finer": {"omega": 1.0}}


@pytest.mark.parametrize("name", ma.names())
def test_reverse_mode_to_the_fourth_order(name):
    activation = ma.get(name)
    required = any(p.default is None for p in activation.parameters)
    given = dict(activation.examples[0]) if required else SLOWER.get(name, {})
    if activation.kind == "gated":
        given["gate"] = "second"
    random = activation.random
    shape = {"axiswise": (1, 4, 2, 1) if name == "softmax2d" else (2, 4)}.get(activation.kind, (8,))
    if random is not None and random.default is None:  # drawn in every call unless it is given
        given[random.name] = np.linspace(-1, 1, 8).reshape(shape)
    function = jax.jit(lambda *inputs: backend.function(activation)(*inputs, **given))
    with jax.enable_x64(True):
        x = jax.numpy.asarray(POINTS.reshape(shape))
        inputs = (x, x[::-1]) if activation.kind == "gated" else (x,)
        check_grads(function, inputs, order=4, modes=("rev",), atol=2e-4, rtol=2e-4, eps=1e-4)
