"""What the JAX backend compiles: numbers are constants, arrays are traced."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma
from multiact import registry
from multiact.exports import CONSTANTS

jax = pytest.importorskip("jax")
jnp = jax.numpy

X = np.linspace(-3, 3, 7, dtype=np.float32)


@pytest.fixture
def traced():
    """An activation with a parameter, and for each time that it is traced what the parameter was."""
    seen = []

    def value(xp, x, /, *, alpha):
        seen.append(alpha)
        return alpha * x * x

    ma.define(
        "test_traced",
        value,
        {"x": lambda xp, x, /, *, alpha: 2 * alpha * x, "alpha": lambda xp, x, /, *, alpha: x * x},
        parameters={"alpha": 1.0},
    )
    yield ma.get("test_traced"), seen
    registry.unregister("test_traced")


def test_numbers_are_constants_only_up_to_a_limit(traced):
    activation, seen = traced
    for k in range(3 * CONSTANTS):
        np.testing.assert_allclose(activation(jnp.asarray(X), alpha=0.5 + k), (0.5 + k) * X * X, rtol=1e-6)
    assert len(seen) == CONSTANTS + 1
    assert all(type(a) is float for a in seen[:-1]) and not isinstance(seen[-1], float)


def test_a_number_seen_before_is_not_traced_again(traced):
    activation, seen = traced
    for _ in range(3):
        activation(jnp.asarray(X), alpha=2.0)
    assert seen == [2.0]


def test_the_derivative_in_x_beside_a_number_and_beside_an_array(traced):
    activation, _ = traced
    for alpha in (3.0, jnp.asarray(3.0), jnp.full(7, 3.0)):
        slope = jax.grad(lambda x, alpha=alpha: activation(x, alpha=alpha).sum())(jnp.asarray(X))
        np.testing.assert_allclose(slope, 6 * X, rtol=1e-6)
    by_alpha = jax.grad(lambda alpha: activation(jnp.asarray(X), alpha=alpha).sum())(3.0)
    np.testing.assert_allclose(by_alpha, (X * X).sum(), rtol=1e-6)


def test_along_an_axis_numbers_are_constants_too():
    x = jnp.asarray(np.arange(12, dtype=np.float32).reshape(3, 4))
    for temperature in (2.0, jnp.asarray(2.0)):
        y, pull = jax.vjp(lambda x, t=temperature: ma.softmax(x, temperature=t), x)
        np.testing.assert_allclose(y, jax.nn.softmax(x / 2), rtol=1e-6)
        g = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
        true = jax.vjp(lambda x: jax.nn.softmax(x / 2), x)[1](g)[0]
        np.testing.assert_allclose(pull(g)[0], true, rtol=1e-4, atol=1e-7)
    gradient = jax.grad(lambda t: ma.softmax(x, temperature=t)[0, 0])(2.0)
    by_hand = jax.grad(lambda t: jax.nn.softmax(x / t)[0, 0])(2.0)
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["silu", "prelu", "softmax", "sparsemax", "log_softmax"])
def test_the_input_alone_is_kept_for_the_backward_pass(name, dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16)), dtype)
    _, pull = jax.vjp(ma.get(name), x)
    kept = [a for a in jax.tree.leaves(pull) if getattr(a, "size", 1) > 1]
    assert [(a.shape, str(a.dtype)) for a in kept] == [(x.shape, dtype)]


@pytest.mark.parametrize("name", ["mish", "tanh"])
def test_the_second_derivative_through_a_scan_is_the_declared_one(name):
    x = jnp.asarray([[-jnp.inf, -2.0, -2e-8, 0.0, 0.5, 24.0, jnp.inf]] * 2, jnp.float32)
    f = ma.get(name)

    def twice(function):
        return jax.grad(lambda x: jax.grad(lambda x: function(x).sum())(x).sum())(x)

    scanned = twice(lambda x: jax.lax.scan(lambda carry, row: (carry, f(row)), None, x)[1])
    np.testing.assert_allclose(
        scanned, twice(f), rtol=1e-6
    )  # a derivative of the formula of the slope loses digits at 24, -2e-8
