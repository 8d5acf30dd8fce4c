"""Diagnostics of Flax NNX models: the networks of tests/test_diagnostics.py, what is seen, and that models are left as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multiact as ma
from multiact import diagnostics
from multiact.diagnostics import probing

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
optax = pytest.importorskip("optax")
import jax.numpy as jnp
from flax.nnx import leaky_relu as imported

CROSS_ENTROPY = optax.softmax_cross_entropy_with_integer_labels


def images(count=128):
    random = np.random.default_rng(3)
    return random.normal(size=(count, 8, 8, 1)).astype("float32"), random.integers(0, 10, count)


class Block(nnx.Module):
    def __init__(self, channels, norm, skip, rngs):
        self.first = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(channels, rngs=rngs) if norm else None
        self.second = nnx.Conv(channels, channels, (3, 3), rngs=rngs)
        self.act, self.skip = nnx.relu, skip

    def __call__(self, x):
        h = self.first(x)
        h = self.second(self.act(self.norm(h) if self.norm is not None else h))
        return jax.nn.relu(x + h if self.skip else h)


class Residual(nnx.Module):
    """Like a ResNet: a stem, eight residual blocks, the mean over places, a linear layer."""

    def __init__(self, channels=12, depth=8, norm=True, skip=True, end=None):
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(1, channels, (3, 3), rngs=rngs)
        self.blocks = nnx.List([Block(channels, norm, skip, rngs) for _ in range(depth)])
        self.head = nnx.Linear(channels, 10, rngs=rngs)
        self.end = end

    def __call__(self, x):
        h = nnx.relu(self.stem(x))
        for block in self.blocks:
            h = block(h)
        h = self.head(h.mean((1, 2)))
        return self.end(h) if self.end is not None else h


class Sigmoids(nnx.Module):
    """Ten layers with sigmoids, residual unless they are made to vanish."""

    def __init__(self, width=64, depth=10, norm=True, skip=True, end=None):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(depth)])
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) if norm else None for _ in range(depth)])
        self.acts = nnx.List([nnx.sigmoid] * depth)
        self.head = nnx.Linear(width, 10, rngs=rngs)
        self.skip, self.end = skip, end

    def __call__(self, x):
        h = x.reshape(x.shape[0], -1)
        for layer, norm, act in zip(self.layers, self.norms, self.acts):
            y = layer(h)
            h = act(norm(y) if norm is not None else y) + (h if self.skip else 0)
        h = self.head(h)
        return self.end(h) if self.end is not None else h


def drawn(model, factor=1.0):
    """Weights as their activations want them, or so many times that."""
    recommended = ma.facts("relu" if isinstance(model, Residual) else "sigmoid").initialisation
    random = np.random.default_rng(5)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, (nnx.Linear, nnx.Conv)):
            shape = module.kernel[...].shape
            fan_in, fan_out = math.prod(shape[:-1]), shape[-1]
            std = factor * recommended.std(fan_in, fan_out)
            module.kernel[...] = jnp.asarray(random.normal(0, std, shape), jnp.float32)
            module.bias[...] = jnp.zeros(shape[-1])
    return model


def with_bias(model, value):
    for path, module in nnx.iter_modules(model):
        if isinstance(module, (nnx.BatchNorm, nnx.LayerNorm)):
            module.bias[...] = jnp.full_like(module.bias[...], value)
    return model


SICK = {
    "residual, drawn too large": (lambda: drawn(Residual(norm=False), 5.0), "wrong initialisation"),
    "residual, dead by bias": (lambda: with_bias(drawn(Residual()), -10.0), "dead neurons"),
    "residual, vanishing": (lambda: drawn(Residual(norm=False, skip=False), 0.4), "vanishing gradients"),
    "residual, softmax twice": (lambda: drawn(Residual(end=nnx.softmax)), "output does not fit the loss"),
    "sigmoids, drawn too small": (lambda: drawn(Sigmoids(norm=False), 0.05), "wrong initialisation"),
    "sigmoids, dead by bias": (lambda: with_bias(drawn(Sigmoids()), -25.0), "dead neurons"),
    "sigmoids, vanishing": (lambda: drawn(Sigmoids(skip=False)), "vanishing gradients"),
    "sigmoids, softmax twice": (lambda: drawn(Sigmoids(end=nnx.softmax)), "output does not fit the loss"),
}


@pytest.mark.parametrize("name", SICK)
def test_the_report_names_the_cause(name):
    make, cause = SICK[name]
    found = diagnostics.report(make(), images(), CROSS_ENTROPY)
    assert cause in found.causes, str(found)
    for finding in found:
        assert finding.where and finding.figure and finding.change
    if "bias" in name:
        (dead,) = [f for f in found if f.cause == "dead neurons"]
        assert "bias" in dead.figure and "100%" in dead.figure


@pytest.mark.parametrize("make", [Residual, Sigmoids])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_found_in_a_healthy_network(make, training):
    model = drawn(make())
    if not training:
        for _ in range(20):  # running statistics as after some training
            model(images()[0])
        model.eval()
    found = diagnostics.report(model, images(), CROSS_ENTROPY)
    assert found.findings == (), str(found)
    assert found.flow.verdict == "healthy" and found.neurons.verdict == "healthy"
    assert "blocks.0.act" in str(found) or "acts.0" in str(found)


def leaves(model):
    return [
        np.asarray(jax.random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v)
        for v in jax.tree.leaves(nnx.state(model))
    ]


def test_a_model_is_left_as_it_was():
    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.linear, self.norm = nnx.Linear(4, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
            self.drop, self.acts = nnx.Dropout(0.5, rngs=rngs), (nnx.relu, [nnx.gelu])

        def __call__(self, x):
            h = self.acts[1][0](self.acts[0](self.drop(self.norm(self.linear(x)))))
            self.calls = nnx.Variable(jnp.ones(()))
            return h

    model = Noisy(nnx.Rngs(0))
    before, attributes = leaves(model), dict(vars(model))
    calls = {kind: kind.__call__ for kind in (Noisy, nnx.Linear, nnx.BatchNorm, nnx.Dropout)}
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    flow = diagnostics.gradient_flow(model, x)
    assert [layer.path for layer in flow.layers] == ["linear"] and flow.layers[0].layer.normalised
    places = probing.probe(model).run(x).places
    assert [(p.path, p.activation.name, p.layer) for p in places] == [
        ("acts.0", "relu", "linear"),
        ("acts.1.0", "gelu_tanh", None),
    ]
    assert all(np.array_equal(a, b) for a, b in zip(leaves(model), before, strict=True))
    assert {n: v for n, v in vars(model).items() if not n.startswith("_")} == {
        n: v for n, v in attributes.items() if not n.startswith("_")
    }
    assert model.acts[0] is nnx.relu and all(kind.__call__ is call for kind, call in calls.items())


class Fails(nnx.Module):
    def __init__(self, rngs=None):
        rngs = nnx.Rngs(0)
        self.norm = nnx.BatchNorm(4, rngs=rngs)

    def __call__(self, x):
        nnx.relu(self.norm(x))
        raise RuntimeError("broken on purpose")


class Derived(Fails):
    pass


def test_what_was_wrapped_is_put_back_when_the_pass_raises():
    model, relu, here = Derived(), nnx.relu, imported
    before = leaves(model)
    for run in (diagnostics.dead_neurons, diagnostics.gradient_flow):
        with pytest.raises(RuntimeError, match="on purpose"):
            run(model, np.ones((8, 4), "float32"))
    assert nnx.relu is relu is jax.nn.relu and imported is here and "__call__" not in vars(Derived)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(model), before, strict=True))
    assert not ma.functions._watches


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda model, x: x.__setitem__((0, 0, 0, 0), math.nan), "data"),
        (lambda model, x: fill(model.blocks[2].first.kernel, math.nan), "blocks.2.first"),
        (lambda model, x: fill(model.stem.kernel, 1e38), "stem"),
    ],
)
def test_nan_is_a_finding(spoil, where):
    model, (x, y) = drawn(Residual(depth=3, norm=False)), images(32)
    spoil(model, x)
    (found,) = diagnostics.report(model, (x, y), CROSS_ENTROPY)
    assert (found.cause, found.where) == ("not finite", (where,))


def fill(parameter, value):
    parameter[...] = jnp.full_like(parameter[...], value)


def test_gradients_are_those_of_jax():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(5, 7, rngs=rngs), nnx.tanh, nnx.Linear(7, 3, rngs=rngs))
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 5)).astype("float32"), random.normal(size=(40, 3)).astype("float32")
    found = diagnostics.gradient_flow(model, (x, y), lambda out, target: jnp.mean((out - target) ** 2))
    first, last = model.layers[0], model.layers[2]

    def loss(hidden):
        return jnp.mean((last(jnp.tanh(hidden)) - y) ** 2)

    hidden = first(x)
    by_hand = jax.grad(loss)(hidden), jax.grad(lambda k: loss(x @ k + first.bias[...]))(first.kernel[...])
    assert found.loss == pytest.approx(float(loss(hidden)))
    for moments, gradient in zip((found.layers[0].gradient, found.layers[0].weight_gradient), by_hand, strict=True):
        assert moments.norm == pytest.approx(float(jnp.linalg.norm(gradient)), rel=1e-5)
        assert moments.std == pytest.approx(float(gradient.std()), rel=1e-4)
        assert (moments.low, moments.high) == pytest.approx((float(gradient.min()), float(gradient.max())), rel=1e-5)
    place = probing.probe(model).run(x, y, loss=optax.squared_error, gradients=True).places[0]
    after = jax.grad(lambda a: jnp.mean(optax.squared_error(last(a), y)))(jnp.tanh(hidden))
    np.testing.assert_allclose(place.gradient, after, rtol=1e-5)


class Calls(nnx.Module):
    """Activations that are functions."""

    def __init__(self):
        from multiact.backends.flax import Mish

        self.inner, self.mish = nnx.Linear(4, 4, rngs=nnx.Rngs(0)), Mish()
        self.act = ma.gelu

    def __call__(self, x):
        import multiact.backends.jax as mj

        h = imported(self.inner(x), negative_slope=0.3)
        h = jax.nn.relu(h) + nnx.relu(h) + jnp.tanh(h) + ma.silu(h) + mj.leaky_relu(h, negative_slope=0.2)
        return nnx.log_softmax(self.act(self.mish(h)), axis=-1)


class Twice(nnx.Module):
    """A function that is kept, and called, under one name."""

    def __init__(self):
        self.relu = nnx.relu

    def __call__(self, x):
        return nnx.relu(self.relu(x) - 1)


def test_a_call_is_told_from_what_is_kept_under_its_name():
    places = probing.probe(Twice()).run(np.ones((6, 4), "float32"), gradients=True).places
    assert [(p.path, p.last) for p in places] == [("relu", False), ("relu #2", True)]
    assert all(p.gradient is not None for p in places)


def test_functions_that_a_call_calls_are_seen():
    places = probing.probe(Calls()).run(np.ones((6, 4), "float32")).places
    assert [(p.path, p.activation.name, p.layer, p.last) for p in places] == [
        ("leaky_relu", "leaky_relu", "inner", False),
        ("relu", "relu", None, False),
        ("relu #2", "relu", None, False),
        ("tanh", "tanh", None, False),
        ("silu", "silu", None, False),
        ("leaky_relu #2", "leaky_relu", None, False),
        ("mish", "mish", None, False),
        ("act", "gelu", None, False),
        ("log_softmax", "log_softmax", None, True),
    ]
    assert [places[i].parameters["negative_slope"] for i in (0, 5)] == [0.3, 0.2]


def test_what_is_compiled_is_looked_into_or_named():
    class Inner(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

        @nnx.jit
        def __call__(self, x):
            return nnx.relu(self.linear(x))

    class Outer(nnx.Module):
        def __init__(self):
            self.inner = Inner()

        def __call__(self, x):
            return jax.jit(lambda h: nnx.gelu(h) * 2)(self.inner(x))

    x, model = np.ones((4, 4), "float32"), Outer()
    wanted = model(x)
    found = probing.probe(model).run(x, gradients=True)
    assert [p.path for p in found.places] == ["inner: relu"] and [layer.path for layer in found.layers] == [
        "inner.linear"
    ]
    assert any("compiled" in text for text in found.unseen) and found.layers[0].gradient is not None
    np.testing.assert_array_equal(found.output, wanted)
    np.testing.assert_array_equal(model(x), wanted)


@pytest.mark.parametrize(
    ("loss", "end", "wrong"),
    [
        (CROSS_ENTROPY, None, False),
        (CROSS_ENTROPY, nnx.log_softmax, True),
        (CROSS_ENTROPY, nnx.relu, True),
        (lambda out, y: optax.l2_loss(out, jax.nn.one_hot(y, 10)).mean(), nnx.softmax, False),
    ],
)
def test_the_output_is_held_against_the_loss(loss, end, wrong):
    x, y = images(64)
    layers = [lambda x: x.reshape(x.shape[0], -1), nnx.Linear(64, 10, rngs=nnx.Rngs(0)), *([end] if end else [])]
    causes = diagnostics.report(nnx.Sequential(*layers), (x, y), loss).causes
    assert ("output does not fit the loss" in causes) == wrong


def test_dead_units_monitor_and_patterns(tmp_path):
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Conv(1, 3, (3, 3), rngs=rngs), nnx.relu, nnx.Conv(3, 1, (3, 3), rngs=rngs))
    x = images(16)[0]
    monitor = diagnostics.Monitor(model, x, live=tmp_path / "live.png")
    monitor.look()
    model.layers[0].bias[...] = jnp.asarray([0.0, -100.0, 0.0])
    monitor.look()
    (found,) = diagnostics.dead_neurons(model, x).places
    assert found.path == "layers.1" and found.units.count == 3 and found.dead.tolist() == [1]
    assert [r.figures["dead"] for r in monitor.of("layers.1")] == [0.0, pytest.approx(1 / 3)]
    maps = diagnostics.activation_patterns(model, x, "layers.1", example=3).maps
    np.testing.assert_allclose(maps, np.moveaxis(nnx.relu(model.layers[0](x))[3], -1, 0), atol=1e-6)
    low = nnx.Sequential(nnx.Linear(4, 8, dtype=jnp.bfloat16, rngs=rngs), nnx.gelu)
    assert diagnostics.dead_neurons(low, np.ones((3, 4), "float32")).count == 8
