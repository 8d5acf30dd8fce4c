"""Diagnostics of Keras models on one framework. tests/test_keras_diagnostics.py runs this file once for each KERAS_BACKEND."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import layers, ops

import multiact as ma
import multiact.backends.keras as mk
from multiact import diagnostics
from multiact.backends.keras import pruning
from multiact.diagnostics import probing

FRAMEWORK = keras.backend.backend()
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def images(count=128):
    random = np.random.default_rng(3)
    return random.normal(size=(count, 8, 8, 1)).astype("float32"), random.integers(0, 10, count)


def residual(channels=12, depth=8, norm=True, skip=True, end=None):
    """Like a ResNet, as a functional model: a stem, eight residual blocks, the mean over places, a linear layer."""
    start = keras.Input((8, 8, 1))
    h = layers.Conv2D(channels, 3, padding="same", activation="relu", name="stem")(start)
    for i in range(depth):
        y = layers.Conv2D(channels, 3, padding="same", name=f"first{i}")(h)
        y = layers.BatchNormalization(name=f"norm{i}")(y) if norm else y
        y = layers.Conv2D(channels, 3, padding="same", name=f"second{i}")(layers.ReLU(name=f"act{i}")(y))
        h = ops.relu(h + y if skip else y)
    h = layers.Dense(10, name="head")(layers.GlobalAveragePooling2D()(h))
    return keras.Model(start, h if end is None else layers.Activation(end, name="end")(h))


class Sigmoids(keras.Model):
    """Ten layers with sigmoids, residual unless they are made to vanish, as a subclass."""

    def __init__(self, width=64, depth=10, norm=True, skip=True, end=None):
        super().__init__()
        self.dense = [layers.Dense(width, name=f"dense{i}") for i in range(depth)]
        self.norms = [layers.LayerNormalization(name=f"norm{i}") if norm else layers.Identity() for i in range(depth)]
        self.head = layers.Dense(10, activation=end, name="head")
        self.flatten, self.skip = layers.Flatten(), skip
        self(np.zeros((1, 8, 8, 1), "float32"))

    def call(self, x):
        h = self.flatten(x)
        for dense, norm in zip(self.dense, self.norms):
            h = ops.sigmoid(norm(dense(h))) + (h if self.skip else 0)
        return self.head(h)


def drawn(model, factor=1.0):
    """Weights as their activations want them, or so many times that."""
    recommended = ma.facts("sigmoid" if isinstance(model, Sigmoids) else "relu").initialisation
    random = np.random.default_rng(5)
    for layer in model._flatten_layers():
        if isinstance(layer, (layers.Dense, layers.Conv2D)):
            shape = tuple(layer.kernel.shape)
            std = factor * recommended.std(math.prod(shape[:-1]), shape[-1])
            layer.kernel.assign(random.normal(0, std, shape).astype("float32"))
            layer.bias.assign(np.zeros(shape[-1], "float32"))
    return model


def with_bias(model, value):
    for layer in model._flatten_layers():
        if isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)):
            layer.beta.assign(np.full(tuple(layer.beta.shape), value, "float32"))
    return model


SICK = {
    "residual, drawn too large": (lambda: drawn(residual(norm=False), 5.0), "wrong initialisation"),
    "residual, dead by bias": (lambda: with_bias(drawn(residual()), -10.0), "dead neurons"),
    "residual, vanishing": (lambda: drawn(residual(norm=False, skip=False), 0.4), "vanishing gradients"),
    "residual, softmax twice": (lambda: drawn(residual(end="softmax")), "output does not fit the loss"),
    "sigmoids, drawn too small": (lambda: drawn(Sigmoids(norm=False), 0.05), "wrong initialisation"),
    "sigmoids, dead by bias": (lambda: with_bias(drawn(Sigmoids()), -25.0), "dead neurons"),
    "sigmoids, vanishing": (lambda: drawn(Sigmoids(skip=False)), "vanishing gradients"),
    "sigmoids, softmax twice": (lambda: drawn(Sigmoids(end="softmax")), "output does not fit the loss"),
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


@pytest.mark.parametrize("make", [residual, Sigmoids])
def test_nothing_is_found_in_a_healthy_network(make):
    found = diagnostics.report(drawn(make()), images(), CROSS_ENTROPY)
    assert found.findings == (), str(found)
    assert found.flow.verdict == "healthy" and found.neurons.verdict == "healthy"


def state(model):
    return [np.asarray(ops.convert_to_numpy(v)) for v in model.variables]


def own(layer):
    """What stands in a layer itself, but for what a call counts."""
    return {
        n: v for n, v in vars(layer).items() if n in ("call", "activation") or callable(v) and not n.startswith("_")
    }


class Noisy(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.norm = layers.Dense(4, name="dense"), layers.BatchNormalization(name="norm")
        self.drop, self.act = layers.Dropout(0.5, name="drop"), keras.activations.gelu

    def call(self, x):
        self.add_loss(ops.mean(x))
        return self.act(ops.relu(self.drop(self.norm(self.dense(x)))))


def test_a_model_is_left_as_it_was():
    model, x = Noisy(), np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    model.compile("adam", "mse")
    model.fit(x, x, epochs=1, verbose=0)
    before = state(model) + [np.asarray(ops.convert_to_numpy(v)) for v in model.optimizer.variables]
    attributes = [own(layer) for layer in model._flatten_layers()]
    functions, losses = (ops.relu, keras.activations.relu), len(model.losses)
    found = diagnostics.gradient_flow(model, (x, x))
    assert [layer.path for layer in found.layers] == ["dense"] and found.layers[0].layer.normalised
    places = probing.probe(model).run(x).places
    assert [(p.path, p.activation.name, p.layer) for p in places] == [("relu", "relu", "dense"), ("act", "gelu", None)]
    after = state(model) + [np.asarray(ops.convert_to_numpy(v)) for v in model.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert [own(layer) for layer in model._flatten_layers()] == attributes
    assert (ops.relu, keras.activations.relu) == functions and len(model.losses) == losses


class Fails(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm, self.relu = layers.BatchNormalization(), layers.ReLU()
        self.broken = False

    def call(self, x):
        h = self.relu(self.norm(x))
        if self.broken:
            raise ArithmeticError("broken on purpose")
        return h


def test_what_was_wrapped_is_put_back_when_the_pass_raises():
    model, x = Fails(), np.ones((8, 4), "float32")
    model(x)
    model.broken = True
    before, attributes, relu = state(model), [own(layer) for layer in model._flatten_layers()], ops.relu
    for run in (diagnostics.dead_neurons, diagnostics.gradient_flow):
        with pytest.raises(ArithmeticError, match="on purpose"):
            run(model, x)
    assert all(np.array_equal(a, b) for a, b in zip(state(model), before, strict=True))
    assert [own(layer) for layer in model._flatten_layers()] == attributes
    assert ops.relu is relu and not ma.functions._watches and "call" not in vars(model)


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda model, x: x.__setitem__((0, 0, 0, 0), math.nan), "data"),
        (lambda model, x: fill(model.get_layer("first2").kernel, math.nan), "first2"),
        (lambda model, x: fill(model.get_layer("stem").kernel, 1e38), "stem"),
    ],
)
def test_nan_is_a_finding(spoil, where):
    model, (x, y) = drawn(residual(depth=3, norm=False)), images(32)
    spoil(model, x)
    (found,) = diagnostics.report(model, (x, y), CROSS_ENTROPY)
    assert (found.cause, found.where) == ("not finite", (where,))


def fill(variable, value):
    variable.assign(np.full(tuple(variable.shape), value, "float32"))


def test_gradients_are_those_of_the_formula():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(7, activation="tanh"), layers.Dense(3)])
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 5)).astype("float32"), random.normal(size=(40, 3)).astype("float32")
    found = probing.probe(model).run(x, y, loss="mse", gradients=True)
    (w, b), (v, c) = (layer.get_weights() for layer in model.layers)
    hidden = x @ w + b
    out = np.tanh(hidden) @ v + c
    in_out = 2 * (out - y) / out.size
    in_after = in_out @ v.T
    in_hidden = in_after * (1 - np.tanh(hidden) ** 2)
    assert found.loss == pytest.approx(((out - y) ** 2).mean(), rel=1e-5)
    first, last = found.layers
    wanted = (
        (first.output, hidden),
        (first.gradient, in_hidden),
        (first.weight_gradient, x.T @ in_hidden),
        (last.gradient, in_out),
        (last.weight_gradient, np.tanh(hidden).T @ in_out),
        (found.places[0].gradient, in_after),
        (found.output, out),
    )
    for got, should in wanted:
        np.testing.assert_allclose(ops.convert_to_numpy(got), should, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(first.weights, w)


class Calls(keras.Model):
    """Activations that are functions."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4, activation=layers.LeakyReLU(negative_slope=0.1, name="leaky"), name="inner")
        self.mish, self.act = mk.Mish(name="mish"), ma.gelu
        self.lambd = layers.Lambda(lambda h: ops.softplus(h), name="lambd")

    def call(self, x):
        h = ops.leaky_relu(self.inner(x), negative_slope=0.3)
        h = ops.relu(h) + keras.activations.relu(h) + ma.silu(h) + mk.leaky_relu(h, negative_slope=0.2)
        return ops.log_softmax(self.lambd(self.act(self.mish(h))), axis=-1)


def test_functions_that_a_call_calls_are_seen():
    model = Calls()
    model(np.ones((2, 4), "float32"))
    places = probing.probe(model).run(np.ones((6, 4), "float32")).places
    assert [(p.path, p.activation.name, p.layer, p.last) for p in places] == [
        ("inner.activation", "leaky_relu", "inner", False),
        ("leaky_relu", "leaky_relu", None, False),
        ("relu", "relu", None, False),
        ("relu #2", "relu", None, False),
        ("silu", "silu", None, False),
        ("leaky_relu #2", "leaky_relu", None, False),
        ("mish", "mish", None, False),
        ("act", "gelu", None, False),
        ("lambd: softplus", "softplus", None, False),
        ("log_softmax", "log_softmax", None, True),
    ]
    assert [places[i].parameters["negative_slope"] for i in (0, 1, 5)] == pytest.approx([0.1, 0.3, 0.2])


def test_what_a_functional_model_holds_is_seen_with_its_settings():
    start = keras.Input((8, 8, 3), name="start")
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation=mk.get("elu", alpha=0.5), name="up")(start)
    h = layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(h)
    h = mk.leaky_relu(layers.Dropout(0.1)(h), negative_slope=0.2)
    inner = keras.Sequential([layers.Flatten(), layers.Dense(5, name="dense"), mk.PReLU(name="prelu")], name="inner")
    model = keras.Model(start, layers.Softmax(name="end")(inner(ops.leaky_relu(h, negative_slope=0.3))))
    found = probing.probe(model).run(np.ones((2, 8, 8, 3), "float32"), gradients=True)
    assert [(layer.path, layer.weights.shape[-1], layer.output.shape[-1]) for layer in found.layers] == [
        ("up", 4, 4),
        ("deep", 8, 8),
        ("inner.dense", 5, 5),
    ]
    seen = [(p.activation.name, p.layer, p.last) for p in found.places]
    assert seen == [
        ("elu", "up", False),
        ("leaky_relu", "deep", False),
        ("leaky_relu", None, False),
        ("prelu", "inner.dense", False),
        ("softmax", None, True),
    ]
    assert [found.places[i].parameters[n] for i, n in enumerate(("alpha", "negative_slope", "negative_slope"))] == [
        0.5,
        0.2,
        0.3,
    ]
    assert all(layer.gradient is not None and layer.weight_gradient is not None for layer in found.layers)


LOSSES = keras.losses


@pytest.mark.parametrize(
    ("loss", "end", "wrong"),
    [
        (CROSS_ENTROPY, None, False),
        (CROSS_ENTROPY, "log_softmax", True),
        (CROSS_ENTROPY, "relu", True),
        (LOSSES.SparseCategoricalCrossentropy(), "softmax", False),
        (LOSSES.SparseCategoricalCrossentropy(), None, True),
        ("sparse_categorical_crossentropy", None, True),
        (LOSSES.sparse_categorical_crossentropy, "softmax", False),
        (lambda y, out: ops.mean(out), "softmax", False),
    ],
)
def test_the_output_is_held_against_the_loss(loss, end, wrong):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10), layers.Activation(end)])
    causes = diagnostics.report(model, images(64), loss).causes
    assert ("output does not fit the loss" in causes) == wrong
    model.compile("sgd", loss)
    found = diagnostics.report(model, images(64))
    assert ("output does not fit the loss" in found.causes) == wrong
    assert not any("no loss was given" in note for note in found.notes)


def test_monitor_in_fit():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu", name="hidden"), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    monitor = diagnostics.Monitor(model, x)

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.get_layer("hidden").bias.assign(np.full(8, -100, "float32"))

    model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[monitor.keras_callback()])
    readings = monitor.of("hidden.activation")
    assert [r.step for r in readings] == [0, 1, 2] and len({r.figures["mean"] for r in readings}) == 3
    expected = np.maximum(x @ model.layers[0].get_weights()[0] + model.layers[0].get_weights()[1], 0).mean()
    assert readings[-1].figures["mean"] == pytest.approx(expected, rel=1e-4)
    fill(model.get_layer("hidden").bias, -100)
    monitor.look()
    assert monitor.readings[-1].figures["dead"] == 1.0


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return np.full((4, 4), i - 1.0, "float32"), np.zeros((4, 1), "float32")


def test_batches_mixed_precision_and_what_cannot_be():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, "relu", dtype="mixed_bfloat16", name="hidden"), layers.Dense(1)]
    )
    model.layers[0].set_weights([np.ones((4, 3), "float32"), np.asarray([0, -10, 1], "float32")])
    found = diagnostics.dead_neurons(model, Batches())
    assert found.places[0].after.count == 3 * 4 * 3 and found.places[0].dead.tolist() == [1]
    assert diagnostics.gradient_flow(model, Batches(), "mse").layers[0].weight_gradient.nonfinite == 0
    with pytest.raises(ma.ParameterError, match="is not built"):
        diagnostics.report(keras.Sequential([layers.Dense(3)]), np.ones((2, 2)))
    recurrent = keras.Sequential([keras.Input((5, 2)), layers.LSTM(3, name="lstm"), layers.Dense(2, name="dense")])
    seen = diagnostics.report(recurrent, np.ones((2, 5, 2), "float32"))
    assert [layer.path for layer in seen.flow.layers] == ["dense"] and any("lstm" in note for note in seen.notes)


def test_attention_is_looked_into():
    start = keras.Input((6, 8))
    h = layers.MultiHeadAttention(2, 4, name="attention")(start, start)
    h = layers.EinsumDense("abc,cd->abd", (None, 5), activation="gelu", bias_axes="d", name="wide")(h)
    model = keras.Model(start, layers.Dense(2, name="head")(layers.RMSNormalization()(h)))
    found = probing.probe(model).run(np.ones((3, 6, 8), "float32"), gradients=True)
    shapes = {layer.path.rpartition(".")[2]: (layer.fan_in, layer.fan_out) for layer in found.layers}
    assert shapes == {
        "query": (8, 8),
        "key": (8, 8),
        "value": (8, 8),
        "attention_output": (8, 8),
        "wide": (8, 5),
        "head": (5, 2),
    }
    assert all(layer.gradient is not None and layer.weight_gradient is not None for layer in found.layers)
    assert [(p.path, p.layer) for p in found.places if p.activation.name == "gelu"] == [("wide.activation", "wide")]


def shrinkable() -> keras.Model:
    """Convolutions, normalisation, pooling and Dense layers, with units that never respond in each."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 1))
    h = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    h = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization(name="norm")(h)))
    h = layers.Flatten()(layers.Conv2D(6, 3, activation="relu", name="second")(h))
    h = layers.PReLU(keras.initializers.Constant(0.25))(layers.Dense(10, name="third")(h))
    model = keras.Model(inputs, layers.Dense(3, name="last")(h))
    for name, weight, idle in (("norm", "beta", [2, 5]), ("second", "bias", [4])):
        variable = getattr(model.get_layer(name), weight)
        values = np.zeros(variable.shape)
        values[idle] = -50.0
        variable.assign(values)
    kernel = keras.ops.convert_to_numpy(model.get_layer("third").kernel).copy()
    kernel[:, 1] = 0.0
    model.get_layer("third").kernel.assign(kernel)
    return model


def test_a_pruned_model_gives_the_same_outputs() -> None:
    model, x = shrinkable(), np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32")
    before = model.get_weights()
    found = diagnostics.prune(model, x)
    assert {path: gone.tolist() for path, gone in found.removed.items()} == {
        "first": [2, 5],
        "second": [4],
        "third": [1],
    }
    smaller = found.model
    assert smaller.get_layer("first").filters == 6 and smaller.get_layer("third").units == 9
    np.testing.assert_allclose(smaller.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert found.parameters == smaller.count_params() < found.before == model.count_params()
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert diagnostics.prune(smaller, x).removed == {}


def test_units_that_a_residual_connection_takes_are_left() -> None:
    inputs = keras.Input((4,))
    h = keras.layers.Dense(4, activation="relu", name="wide")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Add()([h, inputs])))
    model.get_layer("wide").bias.assign([0.0, -99.0, 0.0, 0.0])
    found = diagnostics.prune(model, np.ones((8, 4), "float32"))
    assert found.removed == {} and any(line.startswith("wide: ") and "Add" in line for line in found.left)
    with pytest.raises(ma.ParameterError, match="neither: it cannot be rebuilt"):
        pruning.prune(Subclassed(), {})


class Subclassed(keras.Model):
    pass
