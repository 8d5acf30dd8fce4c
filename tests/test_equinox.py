"""Equinox Modules: what is learned is a leaf and nothing else is, and Equinox's own functions work on them."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest

import multiact as ma
from multiact.adaptive import ADAPTIVE

eqx = pytest.importorskip("equinox")
jax = pytest.importorskip("jax")
jnp = jax.numpy

import multiact.backends.equinox as me
from multiact.backends.equinox import backend

X = jnp.asarray([-4.0, -0.5, 0.5, 4.0])
KEY = jax.random.key(0)


def test_every_activation_has_a_module_whose_leaves_are_what_it_learns():
    for name in ma.names():
        activation = ma.get(name)
        given = dict(activation.examples[0]) if any(p.default is None for p in activation.held) else {}
        module = backend.layer(activation)(**given)
        leaves = [leaf for leaf in jax.tree.leaves(module) if not isinstance(leaf, bool)]
        assert len(leaves) == len(module.learnable) and all(map(eqx.is_array, leaves)), name
        if not activation.held:
            continue
        module = backend.layer(activation)(**given, learnable=True, num_parameters=3)
        leaves = [leaf for leaf in jax.tree.leaves(module) if not isinstance(leaf, bool)]
        assert len(leaves) == len(activation.held) and all(leaf.dtype == jnp.float32 for leaf in leaves), name
        assert pickle.loads(pickle.dumps(module)) == copy.deepcopy(module) == module, name


def test_values_are_those_of_the_function():
    np.testing.assert_array_equal(me.GELU(approximate="tanh")(X), ma.gelu(X, approximate="tanh"))
    np.testing.assert_array_equal(me.LeakyReLU(0.3)(X), ma.leaky_relu(X, negative_slope=0.3))
    np.testing.assert_array_equal(me.PReLU()(X), eqx.nn.PReLU()(X))
    assert me.SwiGLU()(jnp.ones((2, 6))).shape == (2, 3)
    assert me.gelu is backend.function(ma.get("gelu")) and "PReLU" in dir(me)


def test_a_positive_parameter_is_learned_as_its_logarithm():
    snake = me.Snake(learnable=True, alpha=2.0)
    assert float(snake.log_alpha) == pytest.approx(np.log(2)) and float(snake.alpha) == pytest.approx(2)
    assert me.Snake(alpha=2.0).alpha == 2.0
    by_alpha = jax.grad(lambda a: ma.snake(X, alpha=a).sum())(2.0)
    gradient = eqx.filter_grad(lambda m: m(X).sum())(snake)
    np.testing.assert_allclose(gradient.log_alpha, 2 * by_alpha, rtol=1e-5)


def test_channels_come_first_as_in_equinox():
    images = jax.random.normal(KEY, (3, 5, 5))
    prelu = eqx.tree_at(lambda m: m.negative_slope, me.PReLU(num_parameters=3), jnp.asarray([0.1, 0.2, 0.3]))
    wanted = ma.leaky_relu(images, negative_slope=jnp.asarray([0.1, 0.2, 0.3])[:, None, None])
    np.testing.assert_array_equal(prelu(images), wanted)
    np.testing.assert_array_equal(jax.vmap(prelu)(images[None])[0], wanted)
    with pytest.raises(ma.ShapeError, match="3 values, one for each channel"):
        prelu(jnp.ones((4, 2)))


def test_tree_at_makes_a_fixed_parameter_a_learned_one():
    fixed = me.LeakyReLU(0.3)
    assert jax.tree.leaves(fixed) == [] and isinstance(fixed.negative_slope, float)
    learned = eqx.tree_at(lambda m: m.negative_slope, fixed, jnp.asarray(0.5))
    np.testing.assert_array_equal(learned(X), ma.leaky_relu(X, negative_slope=0.5))
    gradient = jax.jit(jax.grad(lambda m, x: m(x).sum()))(learned, X)
    assert float(gradient.negative_slope) == -4.5


def test_in_place_of_another_layer_of_a_model():
    model = eqx.nn.Sequential([eqx.nn.Linear(4, 3, key=KEY), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Linear(3, 2, key=KEY)])
    changed = eqx.tree_at(lambda m: m.layers[1], model, me.PReLU())
    hidden = model.layers[0](X)
    np.testing.assert_array_equal(changed(X, key=KEY), model.layers[2](ma.leaky_relu(hidden, negative_slope=0.25)))


def test_saved_leaves_are_read_into_a_module_made_anew():
    def make(slope):
        return eqx.nn.MLP(2, 2, 16, 1, activation=me.PReLU(slope), key=KEY)

    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, make(0.7))
    file.seek(0)
    read = eqx.tree_deserialise_leaves(file, make(0.1))
    np.testing.assert_array_equal(read(X[:2]), make(0.7)(X[:2]))
    assert not np.allclose(read(X[:2]), make(0.1)(X[:2]))


def test_random_modules_take_a_key_and_the_switch_of_equinox():
    rrelu, ones = me.RReLU(), -jnp.ones(400)
    first, second = (eqx.filter_jit(rrelu)(ones, key=jax.random.key(i)) for i in range(2))
    assert len(set(first.tolist())) > 300 and first.tolist() != second.tolist()
    np.testing.assert_allclose(eqx.nn.inference_mode(rrelu)(ones), -11 / 48, rtol=1e-6)
    np.testing.assert_allclose(rrelu(ones, inference=True), -11 / 48, rtol=1e-6)
    sample = me.GumbelSoftmax(hard=True)(jnp.zeros((50, 3)), key=KEY)
    assert set(np.unique(sample)) == {0.0, 1.0}
    with pytest.raises(ma.ParameterError, match="RReLU is random: call it with key="):
        rrelu(ones)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_modules_are_those_of_torch_and_are_made_inside_vmap(name):
    torch = pytest.importorskip("torch")
    own = __import__("multiact.backends.torch", fromlist=[name])
    x = np.random.default_rng(3).normal(size=(2, 4, 5, 6)).astype(np.float32)
    there = getattr(own, name)(num_parameters=4)
    here = getattr(me, name)(num_parameters=4, key=KEY)
    names = [n for n, _ in there.named_parameters()]
    with torch.no_grad():
        for p in there.parameters():
            p += 0.1 * torch.randn_like(p)
    weights = [jnp.asarray(p.detach().numpy()) for p in there.parameters()]
    here = eqx.tree_at(lambda m: [getattr(m, n) for n in names], here, weights)
    assert len(jax.tree.leaves(here)) == len(names)
    wanted = there(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(eqx.filter_jit(eqx.filter_vmap(here))(x), wanted, rtol=2e-5, atol=2e-6)
    assert here.describe().keys() == there.describe().keys()

    made = eqx.filter_vmap(lambda k: getattr(me, name)(num_parameters=4, key=k))(jax.random.split(KEY, 3))
    starts = jax.tree.leaves(made)
    assert all(w.shape[0] == 3 for w in starts)
    assert made.adaptive.random == any(not np.array_equal(w[0], w[1]) for w in starts)


def test_optax_learns_the_slope():
    optax = pytest.importorskip("optax")
    model = eqx.nn.Sequential([eqx.nn.Identity(), me.PReLU(0.9)])
    optimizer = optax.adam(0.05)
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        loss = lambda model: ((model(X) - ma.leaky_relu(X, negative_slope=0.2)) ** 2).mean()
        value, gradient = eqx.filter_value_and_grad(loss)(model)
        updates, state = optimizer.update(gradient, state)
        return value, eqx.apply_updates(model, updates), state

    for _ in range(80):
        value, model, state = step(model, state)
    assert float(value) < 1e-3 and float(model.layers[1].negative_slope) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: me.PReLU(slope=0.1), "no argument 'slope'. It takes: negative_slope"),
        (lambda: me.PReLU(0.1, negative_slope=0.1), "negative_slope was given twice"),
        (lambda: me.ReLU(learnable=True), "has no parameters, so learnable must be False"),
        (lambda: me.MetaACON(num_parameters=4), "MetaACON starts at random: give key="),
    ],
)
def test_errors_say_what_to_do(make, said):
    with pytest.raises(ma.MultiactError, match=said.replace("(", r"\(")):
        make()
