"""The Keras backend on one framework. tests/test_keras.py runs this file in three processes, one for each KERAS_BACKEND.

All three exchange saved models through the folder named by MULTIACT_KERAS_EXCHANGE.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import multiact as ma
import multiact.backends.keras as mk
from multiact import learning, pairing, registry
from multiact.backends.keras import capabilities as ways
from multiact.backends.keras.adapter import framework
from multiact.backends.keras.harness import harness
from multiact.capabilities import capabilities
from multiact.conformance import cases, runner
from multiact.errors import (
    BackendNotAvailableError,
    InputError,
    ParameterError,
    ShapeError,
    UnknownActivationError,
)
from multiact.protocols import Harness

FRAMEWORK = keras.backend.backend()
EXCHANGE = Path(os.environ["MULTIACT_KERAS_EXCHANGE"])
NAMES = ma.names()
#: For what `multiact conformance --backend keras --mode capabilities` does with all of them: of every kind, with and without
#: options, learned parameters, random numbers, a default for each parameter.
SAMPLE = ("gelu", "prelu", "rrelu", "softplus", "threshold", "swiglu", "maxout", "softmax")
KINKS = (0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0)
LEARNABLE = [(n, p.name) for n in SAMPLE for p in ma.get(n).held if ma.get(n).kind == "pointwise"]


def required(activation: ma.Activation) -> dict[str, float]:
    return dict(activation.examples[0]) if any(p.default is None for p in activation.parameters) else {}


def held(activation: ma.Activation, given) -> dict[str, float]:
    """Of these parameters what a Layer takes: no random numbers."""
    return {p.name: given[p.name] for p in activation.held if p.name in given}


def points(*shape: int) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=shape).astype("float32") * 2
    x.flat[: len(KINKS)] = KINKS
    return x


def tensor(x):
    return keras.ops.convert_to_tensor(x)


def array(x) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def gradient(function, x: np.ndarray) -> np.ndarray:
    """The gradient of the sum of a function, by the framework's own reverse mode."""
    if FRAMEWORK == "jax":
        import jax

        return np.asarray(jax.grad(lambda v: function(v).sum())(x))
    if FRAMEWORK == "torch":
        t = tensor(x).requires_grad_()
        function(t).sum().backward()
        return t.grad.numpy()
    import tensorflow as tf

    t = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(t)
        y = function(t)
    return tape.gradient(y, t).numpy()


def weight_gradient(layer, x: np.ndarray) -> np.ndarray:
    """The gradient of the sum of a layer's output in its only weight."""
    (weight,) = layer.trainable_variables
    if FRAMEWORK == "jax":
        import jax

        state = [v.value for v in layer.non_trainable_variables]
        value = jax.grad(lambda w: layer.stateless_call([w], state, x)[0].sum())(weight.value)
        return np.asarray(value)
    if FRAMEWORK == "torch":
        layer(tensor(x)).sum().backward()
        return weight.value.grad.numpy()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        y = layer(tensor(x))
    return tf.convert_to_tensor(tape.gradient(y, weight.value)).numpy()


def everything() -> keras.Model:
    """A functional model with functions, layers, learnable parameters, gates and options."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 8))
    x = keras.layers.Dense(8, activation=mk.leaky_relu)(inputs)
    x = mk.gelu(x, approximate="tanh")
    x = keras.layers.Dense(8, activation=ma.silu)(x)
    x = keras.layers.Dense(8, activation=mk.get("softplus", beta=2.0))(x)
    x = mk.PReLU(shared_axes=[1])(x)
    x = mk.SwiGLU(axis=1, gate="second", learnable="beta", channel_axis=-1)(x)
    x = mk.GELU(approximate="tanh")(x)
    x = mk.glu(x, keras.layers.Dense(8)(x))
    x = keras.layers.LSTM(8, activation=mk.mish, return_sequences=True)(x)
    x = mk.Softmax(axis=1, temperature=0.5)(x) + mk.log_softmax(x)
    return keras.Model(inputs, x)


def test_models_are_written_for_the_other_frameworks() -> None:
    model = everything()
    for weight in model.weights:  # so that nothing is at a start value that loading would restore by itself
        weight.assign(weight + 0.1 * np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    x = points(3, 6, 8)
    y = array(model(x))
    assert np.isfinite(y).all()
    model.save(EXCHANGE / f"{FRAMEWORK}-model.keras")
    np.savez(EXCHANGE / f"{FRAMEWORK}-partial.npz", x=x, y=y)
    os.replace(EXCHANGE / f"{FRAMEWORK}-partial.npz", EXCHANGE / f"{FRAMEWORK}.npz")  # complete once it is there
    again = keras.saving.load_model(EXCHANGE / f"{FRAMEWORK}-model.keras")
    np.testing.assert_array_equal(array(again(x)), y)


@pytest.mark.parametrize("name", SAMPLE)
def test_function_layer_and_symbolic_agree(name: str) -> None:
    activation = ma.get(name)
    given = required(activation)
    function, layer = mk.backend.function(activation), mk.backend.layer(activation)(**given)
    x = points(5, 4, 8)
    y = array(function(x, **given))
    want = mk_numpy(activation)(x.astype("float64"), **given)
    np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-6)
    z = array(layer(x))
    if layer.weights:  # parameters that are learned are arrays, for which there may be another formula
        np.testing.assert_allclose(z, y, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(z, y)
    symbol = keras.Input((4, 8))
    for result in (function(symbol, **given), layer(symbol)):
        assert result.shape == (None, *y.shape[1:]) and result.dtype == "float32"
    assert layer.compute_output_shape((None, 4, 8)) == (None, *y.shape[1:])
    model = keras.Model(symbol, function(symbol, **given))
    np.testing.assert_allclose(array(model(x)), y, rtol=1e-6, atol=1e-6)


def mk_numpy(activation: ma.Activation):
    return ma.dispatch.backend("numpy").function(activation)


@pytest.mark.parametrize(("name", "parameter"), LEARNABLE)
def test_gradient_in_a_learnable_parameter_is_the_declared_partial(name: str, parameter: str) -> None:
    activation = ma.get(name)
    given = required(activation)
    x = points(16, 3, 4)
    partial = activation.derivative(x.astype("float64"), wrt=parameter, **given)
    declared = next(p for p in activation.parameters if p.name == parameter)
    if learning.is_positive(declared):  # d/d(log b) = b d/db
        partial = partial * given.get(parameter, declared.default)
    layer_type = mk.backend.layer(activation)
    for keywords, axes in (({"channel_axis": 1}, (0, 2)), ({"shared_axes": [1, 2]}, (0, 1, 2))):
        layer = layer_type(**given, learnable=parameter, **keywords)
        layer.build(x.shape)
        got = weight_gradient(layer, x)
        np.testing.assert_allclose(got.ravel(), partial.sum(axis=axes).ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLE)
def test_config_round_trip(name: str) -> None:
    activation = ma.get(name)
    layer_type = mk.backend.layer(activation)
    settings = [required(activation), *(held(activation, e) for e in activation.examples)]
    if activation.held:
        settings += [{**required(activation), "learnable": True, "channel_axis": -1, "dtype": "mixed_bfloat16"}]
    x = points(5, 4, 8)
    for given in settings:
        layer = layer_type(**given, name="here")
        config = json.loads(json.dumps(layer.get_config()))
        again = layer_type.from_config(config)
        assert again.get_config() == layer.get_config()
        assert again.dtype_policy.name == layer.dtype_policy.name and again.name == "here"
        np.testing.assert_array_equal(
            array(keras.ops.cast(again(x), "float32")), array(keras.ops.cast(layer(x), "float32"))
        )
        assert keras.saving.get_registered_name(layer_type) == f"multiact>{activation.class_name}"


def test_initializer_regularizer_and_constraint_survive_saving() -> None:
    layer = mk.PReLU(
        alpha_initializer=keras.initializers.RandomUniform(0.1, 0.2, seed=3),
        negative_slope_regularizer=keras.regularizers.L2(0.5),
        negative_slope_constraint="non_neg",
        shared_axes=[1],
    )
    again = mk.PReLU.from_config(json.loads(json.dumps(layer.get_config())))
    again(points(4, 5, 6))
    assert again.negative_slope.shape == (1, 6)
    slope = array(again.negative_slope)
    assert ((slope > 0.1) & (slope < 0.2)).all() and slope.std() > 0
    np.testing.assert_allclose(array(again.losses[0]), 0.5 * (slope**2).sum(), rtol=1e-6)
    assert isinstance(again.negative_slope.constraint, keras.constraints.NonNeg)


def test_activation_argument_is_saved_as_ours_whatever_it_is_taken_from(tmp_path: Path) -> None:
    x = points(4, 6)
    for function in (mk.leaky_relu, ma.leaky_relu, framework().function(ma.get("leaky_relu")), mk.get("swish")):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation=function)])
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(array(again(x)), array(model(x)))  # Keras' own leaky_relu has slope 0.2
        assert "multiact>" in json.dumps(model.layers[-1].get_config())


def test_get() -> None:
    assert mk.get("swish") is mk.silu and mk.get("multiact>silu") is mk.silu
    assert mk.get(None) is keras.activations.linear and mk.get(mk.mish) is mk.mish
    x = points(32)
    steep = mk.get("leaky_relu", negative_slope=0.25)
    np.testing.assert_array_equal(array(steep(x)), array(mk.leaky_relu(x, negative_slope=0.25)))
    restored = mk.get(json.loads(json.dumps(keras.activations.serialize(steep))))
    np.testing.assert_array_equal(array(restored(x)), array(steep(x)))
    with pytest.raises(UnknownActivationError, match="silu"):
        mk.get("sillu")
    with pytest.raises(ParameterError, match="slope"):
        mk.get("leaky_relu", slope=0.2)


def test_inside_other_layers_and_cloned() -> None:
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            keras.layers.TimeDistributed(mk.SwiGLU()),
            keras.layers.GRU(6, activation=mk.softsign, return_sequences=True),
            keras.layers.Activation(mk.hard_swish),
            mk.PReLU(channel_axis=2),
        ]
    )
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = points(3, 5, 4)
    np.testing.assert_allclose(array(clone(x)), array(model(x)), rtol=1e-6, atol=1e-6)
    assert model.output_shape == (None, 5, 6)


def test_weights_file(tmp_path: Path) -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), mk.SiLU(learnable=True, channel_axis=-1), mk.PReLU()])

    model, again = build(), build()
    for weight in model.weights:
        weight.assign(np.arange(4) / 8 + 0.1)
    model.save_weights(tmp_path / "w.weights.h5")
    again.load_weights(tmp_path / "w.weights.h5")
    x = points(7, 4)
    np.testing.assert_array_equal(array(again(x)), array(model(x)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_learnable_parameter_trains_in_fit(jit_compile: bool) -> None:
    x = points(256, 3)
    slopes = np.asarray([0.6, -0.2, 0.1], "float32")
    model = keras.Sequential([keras.Input((3,)), mk.LeakyReLU(learnable=True, channel_axis=-1)])
    model.compile(keras.optimizers.SGD(0.3), "mse", jit_compile=jit_compile)
    history = model.fit(x, np.where(x > 0, x, slopes * x), epochs=12, batch_size=64, verbose=0).history["loss"]
    assert history[-1] < 1e-3 * history[0]
    np.testing.assert_allclose(array(model.layers[0].negative_slope), slopes, atol=0.02)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_mixed_precision(half: str) -> None:
    from ml_dtypes import bfloat16

    dtype = np.float16 if half == "float16" else bfloat16
    x = points(64, 4).astype(dtype)
    wide = x.astype("float32")
    layer = mk.LeakyReLU(0.1, learnable=True, dtype=f"mixed_{half}")
    y = layer(tensor(wide))
    assert keras.backend.standardize_dtype(y.dtype) == half
    assert layer.compute_output_spec(keras.KerasTensor((None, 4), half)).dtype == half
    assert keras.backend.standardize_dtype(layer.negative_slope.dtype) == "float32"
    # The slope is not rounded to 16 bits before it is used, the result is rounded once.
    want = np.where(wide > 0, wide, wide * np.float32(0.1)).astype(dtype).astype("float32")
    np.testing.assert_array_equal(array(keras.ops.cast(y, "float32")), want)
    exact = mk.GELU(dtype=f"mixed_{half}")(tensor(wide))
    got = array(keras.ops.cast(exact, "float32")).astype(dtype)
    want = ma.gelu(wide.astype("float64")).astype(dtype)
    step = np.abs(got.view("int16").astype(int) - want.view("int16").astype(int))
    assert step.max() <= 1 and (step == 0).mean() > 0.99
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, dtype=f"mixed_{half}"), layer])
    assert model(wide).dtype == y.dtype


def test_masks_pass_through() -> None:
    tokens = np.asarray([[1, 2, 0, 0], [3, 0, 0, 0]])
    embedded = keras.layers.Embedding(5, 6, mask_zero=True)(tokens)
    for layer in (mk.GELU(), mk.SwiGLU(), mk.LogSoftmax(), mk.Softmax(), mk.PReLU(shared_axes=[1])):
        np.testing.assert_array_equal(array(layer(embedded)._keras_mask), tokens != 0)
    assert getattr(mk.SwiGLU(axis=1)(embedded), "_keras_mask", None) is None  # it would have the wrong length
    # To a softmax the mask of the steps is about all of their entries, in a functional model too.
    plain, kept = tensor(array(embedded)), (tokens != 0)[:, :, None] & np.ones((1, 1, 6), bool)
    symbol = keras.Input((4,), dtype="int32")
    for axis in (1, 2):
        want = array(mk.Softmax(axis=axis)(plain, mask=kept))
        assert (want[~kept] == 0).all() and np.allclose(want.sum(axis=axis).max(axis=1), 1)
        np.testing.assert_array_equal(array(mk.Softmax(axis=axis)(embedded)), want)
        y = mk.Softmax(axis=axis)(keras.layers.Embedding(5, 6, mask_zero=True)(symbol))
        for model in (keras.Model(symbol, y), keras.models.clone_model(keras.Model(symbol, y))):
            found = array(model(tokens))
            assert (found[~kept] == 0).all() and np.allclose(found.sum(axis=axis).max(axis=1), 1)
            np.testing.assert_array_equal(array(model(tokens)._keras_mask), tokens != 0)


def test_layers_that_change_the_size() -> None:
    x = points(5, 6, 4)
    for layer, shape in ((mk.CReLU(), (6, 8)), (mk.CReLU(axis=1), (12, 4)), (mk.Maxout(axis=1, pool_size=3), (2, 4))):
        model = keras.Sequential([keras.Input((6, 4)), layer])
        assert model.output_shape == (None, *shape)
        assert model(x).shape == (5, *shape) and layer.compute_output_shape((None, None, 4))[2] == shape[1]
    masked = keras.layers.Masking()(tensor(x))
    assert getattr(mk.CReLU()(masked), "_keras_mask", None) is not None
    assert getattr(mk.CReLU(axis=1)(masked), "_keras_mask", None) is None  # it would have the wrong length
    with pytest.raises(ShapeError, match="pool_size=4"):
        mk.Maxout(axis=1, pool_size=4)(keras.Input((6, 4)))
    with pytest.raises(ShapeError, match="3 or 4 axes"):
        mk.Softmax2d()(keras.Input((4,)))


def test_softmax_mask() -> None:
    x = points(3, 4)
    mask = np.asarray([[True, True, False, True], [False] * 4, [True] * 4])
    layer = mk.Softmax()
    y = array(layer(x, mask=mask))
    np.testing.assert_array_equal(y[~mask], 0)
    np.testing.assert_allclose(y, array(keras.layers.Softmax()(x, mask=mask)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(y.sum(axis=-1), [1, 0, 1], rtol=1e-6)
    weights = tensor(np.arange(4, dtype="float32"))
    slopes = gradient(lambda v: layer(v, mask=tensor(mask)) * weights, x)
    assert np.isfinite(slopes).all() and (slopes[~mask] == 0).all() and (slopes[mask] != 0).all()
    with pytest.raises(ParameterError, match="where of shape .* does not broadcast"):
        layer(x, mask=mask[:, :3])
    inputs, masks = keras.Input((4,)), keras.Input((4,), dtype="bool")
    model = keras.Model([inputs, masks], [layer(inputs, mask=masks), mk.log_softmax(inputs, where=masks)])
    first, second = (array(y) for y in model([tensor(x), tensor(mask)]))
    np.testing.assert_array_equal(first, y)
    assert (second[~mask] == -np.inf).all() and np.isfinite(second[mask]).all()


def test_keras_spellings() -> None:
    x = points(4, 5, 6, 3)
    for ours, native in (
        (mk.LeakyReLU(negative_slope=0.3), keras.layers.LeakyReLU()),
        (mk.LeakyReLU(0.3), keras.layers.LeakyReLU(0.3)),
        (mk.ELU(alpha=0.5), keras.layers.ELU(alpha=0.5)),
        (mk.ReLU(max_value=None, negative_slope=0.0), keras.layers.ReLU(None, 0.0)),
        (mk.Softmax(axis=1), keras.layers.Softmax(axis=1)),
        (mk.PReLU("ones", shared_axes=[1, 2]), keras.layers.PReLU("ones", shared_axes=[1, 2])),
        (mk.PReLU(alpha_initializer="zeros"), keras.layers.PReLU()),
    ):
        np.testing.assert_allclose(array(ours(x)), array(native(x)), rtol=1e-6, atol=1e-6)
        assert [w.shape for w in ours.weights] == [w.shape for w in native.weights]
    default = mk.PReLU()
    default(x)
    assert default.negative_slope.shape == (5, 6, 3)
    np.testing.assert_array_equal(array(default.negative_slope), np.float32(0.25))


def test_gated_of_two_inputs() -> None:
    a, b = points(4, 6), points(4, 6)[::-1].copy()
    packed = np.concatenate([a, b], axis=-1)
    layer = mk.SwiGLU(learnable=True, channel_axis=-1)
    np.testing.assert_array_equal(array(layer(tensor(a), tensor(b))), array(mk.SwiGLU()(packed)))
    assert layer.beta.shape == (6,)
    left, right = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([left, right], layer(left, right) + mk.swiglu(left, right))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(array(again([a, b])), array(model([a, b])))
    with pytest.raises(ShapeError, match="one shape"):
        mk.swiglu(left, keras.Input((5,)))


def test_the_gated_form_of_any_activation(tmp_path: Path) -> None:
    value, gate = points(6, 4), points(6, 4)[::-1].copy()
    packed = np.concatenate([value, gate], axis=-1)
    want = value * array(mk.mish(gate))
    of_class = mk.backend.layer(ma.gated("mish", "second"))
    for layer in (mk.Gated("mish", gate="second"), of_class(), of_class(-1)):
        np.testing.assert_allclose(array(layer(packed)), want, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(array(layer(tensor(value), tensor(gate))), want, rtol=1e-6, atol=1e-6)
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
        assert config["registered_name"] == "multiact>Gated" and config["config"]["activation"] == "mish"
        again = keras.saving.deserialize_keras_object(config)
        assert type(again) is mk.Gated and again.get_config() == layer.get_config()
        np.testing.assert_array_equal(array(again(packed)), array(layer(packed)))
    inputs = keras.Input((8,))
    x = mk.Gated(mk.silu.activation, gate="interleaved", learnable="beta", channel_axis=-1)(inputs)
    model = keras.Model(inputs, x + ma.gated("gelu")(inputs))
    model.save(tmp_path / "gated.keras")
    again = keras.saving.load_model(tmp_path / "gated.keras")
    np.testing.assert_array_equal(array(again(packed)), array(model(packed)))
    assert [w.shape for w in again.weights] == [(4,)]
    with pytest.raises(ParameterError, match="gated_mish has no parameter 'beta'"):
        mk.Gated("mish", beta=1.0)
    with pytest.raises(ParameterError, match="gate must be one of"):
        mk.Gated("mish", gate="left")


def test_random_layers(tmp_path: Path) -> None:
    x = -np.ones((40, 50), "float32")
    layer = mk.RReLU(0.1, 0.3, seed=7)
    np.testing.assert_allclose(array(layer(x)), -0.2, rtol=1e-6)
    first, second = (array(layer(x, training=True)) for _ in range(2))
    assert (first != second).any() and first.std() > 0.05
    assert -0.3 - 1e-6 <= first.min() < -0.29 and -0.11 < first.max() <= -0.1 + 1e-6
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["config"]["seed"] == 7
    again = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(array(again(x, training=True)), first)
    learned = mk.RReLU(learnable=True, channel_axis=-1)
    assert learned(x, training=True).shape == x.shape and [w.shape for w in learned.weights] == [(50,), (50,)]
    sample = mk.GumbelSoftmax(temperature=0.5, hard=True, axis=1, seed=3)
    one, two = (array(sample(x)) for _ in range(2))
    assert set(np.unique(one)) == {0.0, 1.0} and (one.sum(axis=1) == 1).all() and (one != two).any()
    assert type(sample).from_config(sample.get_config()).get_config() == sample.get_config()
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(4), mk.RReLU(), mk.GumbelSoftmax(seed=1)])
    model.save(tmp_path / "random.keras")
    again = keras.saving.load_model(tmp_path / "random.keras")
    assert array(again(x)).shape == (40, 4) and again.layers[-1].seed == 1
    with pytest.raises(ParameterError, match="RReLU holds no noise"):
        mk.RReLU(noise=0.5)
    assert "seed" in str(mk.RReLU.__signature__) and "noise" not in str(mk.RReLU.__signature__)


def test_random_functions() -> None:
    x = -np.ones((40, 50), "float32")
    rng = keras.random.SeedGenerator(5)
    first, second = (array(mk.gumbel_softmax(x, rng=rng)) for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(array(mk.gumbel_softmax(x, rng=keras.random.SeedGenerator(5))), first)
    np.testing.assert_array_equal(array(mk.rrelu(x, training=True, rng=5)), array(mk.rrelu(x, training=True, rng=5)))
    assert array(mk.rrelu(x, training=True)).std() > 0.05
    noise = np.linspace(0, 1, x.size, dtype="float32").reshape(x.shape)
    np.testing.assert_allclose(array(mk.rrelu(x, noise=noise)), -(1 / 8 + noise * (1 / 3 - 1 / 8)), rtol=1e-6)
    symbol = keras.Input((50,))
    np.testing.assert_array_equal(array(keras.Model(symbol, mk.rrelu(symbol))(x)), array(mk.rrelu(x)))
    with pytest.raises(InputError, match="Use the Layer"):
        mk.gumbel_softmax(symbol)
    with pytest.raises(ParameterError, match="rng=a keras.random.SeedGenerator.*Received: rng of type str"):
        mk.rrelu(x, training=True, rng="seed")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_random_layers_in_fit(jit_compile: bool) -> None:
    x = points(64, 3)
    model = keras.Sequential([keras.Input((3,)), mk.RReLU(), keras.layers.Dense(3), mk.GumbelSoftmax(hard=True)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(x, np.eye(3, dtype="float32")[np.arange(64) % 3], epochs=2, verbose=0)
    predicted = model.predict(x, verbose=0)
    assert (predicted.sum(axis=1) == 1).all()


def test_variables_and_symbolic_parameters() -> None:
    x = points(8, 3)
    variable, slope = keras.Variable(x), keras.Variable(np.float32(0.3))
    np.testing.assert_array_equal(array(mk.gelu(variable)), array(mk.gelu(x)))
    np.testing.assert_array_equal(array(ma.gelu(variable)), array(mk.gelu(x)))
    np.testing.assert_array_equal(
        array(mk.leaky_relu(x, negative_slope=slope)), array(mk.leaky_relu(x, negative_slope=0.3))
    )
    np.testing.assert_array_equal(
        array(ma.get("mish").derivative(variable)), array(ma.get("mish").derivative(tensor(x)))
    )
    values, slopes = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([values, slopes], ma.leaky_relu(values, negative_slope=slopes))
    again = keras.Model.from_config(model.get_config())
    given = np.linspace(-1, 1, 24, dtype="float32").reshape(8, 3)
    np.testing.assert_allclose(array(again([x, given])), np.where(x > 0, x, given * x), rtol=1e-6)


def test_an_activation_of_ones_own() -> None:
    try:
        cube_plus = ma.define(
            "cube_plus",
            lambda xp, x, /, *, shift: x * x * x + shift,
            {"x": lambda xp, x, /, *, shift: 3 * x * x, "shift": lambda xp, x, /, *, shift: xp.ones_like(x)},
            parameters={"shift": 1.0},
        )
        x = points(16, 2)
        symbol = keras.Input((2,))
        model = keras.Model(symbol, mk.CubePlus(learnable="shift")(mk.cube_plus(symbol, shift=0.5)))
        again = keras.Model.from_config(model.get_config())
        np.testing.assert_allclose(array(again(x)), (x**3 + 0.5) ** 3 + 1, rtol=1e-5)
        np.testing.assert_allclose(gradient(mk.cube_plus, x), 3 * x * x, rtol=1e-6)
        # Known to Keras' saving as soon as it is defined: a script that loads a model need not touch the names first.
        known = keras.saving.get_custom_objects()
        assert keras.saving.get_registered_name(cube_plus) == "multiact>cube_plus"
        assert known["multiact>cube_plus"] is mk.cube_plus and known["multiact>CubePlus"] is mk.CubePlus
    finally:
        registry.unregister("cube_plus")


def test_input_errors() -> None:
    whole = np.arange(4)
    for call in (mk.gelu, mk.GELU(), mk.Softmax(), mk.SwiGLU()):
        for wrong in (whole, whole > 1, keras.KerasTensor((None, 4), "int32")):
            with pytest.raises(InputError, match="real floating-point"):
                call(wrong)
    with pytest.raises(InputError, match="functional model"):
        ma.get("mish").derivative(keras.Input((3,)))


def test_shape_errors() -> None:
    odd = points(4, 5)
    for wrong in (odd, keras.Input((5,))):
        for call in (mk.glu, mk.GLU()):
            with pytest.raises(ShapeError, match="must be even"):
                call(wrong)
        for call in (mk.Softmax(axis=2), mk.GLU(axis=-3)):
            with pytest.raises(ShapeError, match="out of range"):
                call(wrong)
    assert mk.glu(keras.Input((None, 4)), axis=1).shape == (None, None, 4)
    with pytest.raises(ParameterError, match="does not broadcast"):
        mk.leaky_relu(keras.Input((5,)), negative_slope=np.ones(4, "float32"))
    layer = mk.PReLU(channel_axis=1)
    layer(points(4, 3, 5))
    with pytest.raises(ValueError, match="expected axis 1"):
        layer(points(4, 2, 5))
    with pytest.raises(ShapeError, match="batch axis"):
        mk.PReLU(channel_axis=0)(odd)
    with pytest.raises(ParameterError, match=r"shared_axes=\.\.\."):
        mk.PReLU()(keras.Input((None, None, 3)))
    assert mk.PReLU(shared_axes=[1, 2])(keras.Input((None, None, 3))).shape == (None, None, None, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mk.LeakyReLU(slope=0.2), "no parameter 'slope'"),
        (lambda: mk.LeakyReLU(0.2, 0.3), "at most 1 positional"),
        (lambda: mk.LeakyReLU(0.2, negative_slope=0.3), "given twice"),
        (lambda: mk.LeakyReLU(negative_slope=np.ones(3)), "must be a number"),
        (lambda: mk.Softshrink(lambd=-1.0), "must be in"),
        (lambda: mk.Softmax(axis=[1, 2]), "must be an integer"),
        (lambda: mk.GELU(approximate="erf"), "must be one of"),
        (lambda: mk.GELU(learnable=True), "no parameters"),
        (lambda: mk.LeakyReLU(learnable="alpha"), "negative_slope"),
        (lambda: mk.LeakyReLU(channel_axis=1), "learnable="),
        (lambda: mk.PReLU(channel_axis=1, shared_axes=[2]), "not both"),
        (lambda: mk.SiLU(beta_initializer="ones"), "learnable="),
        (lambda: mk.ReLU(max_value=6.0), "ReLU6"),
        (lambda: mk.ReLU(None, 0.1), "LeakyReLU"),
        (lambda: mk.Threshold(), "needs threshold"),
    ],
)
def test_constructor_errors(make, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def test_harness_runs_the_layer_and_the_natives_of_this_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiact.natives import table

    assert isinstance(harness, Harness) and harness.name == f"keras-{FRAMEWORK}"
    assert harness.versions()["keras"] == keras.__version__ and FRAMEWORK in harness.versions()
    x = np.round(np.linspace(-5, 5, 64) * 16) / 16
    calls = []
    call_layer = mk.SiLU.call
    monkeypatch.setattr(mk.SiLU, "call", lambda self, inputs: calls.append(self) or call_layer(self, inputs))
    silu = harness.function(ma.get("silu"))
    for dtype in harness.dtypes:
        result = harness.evaluate(silu, [x], dtype=dtype)
        assert result.dtype == dtype and calls.pop().compute_dtype == dtype
        np.testing.assert_allclose(result.values, ma.silu(x), rtol=0.01 if dtype == "bfloat16" else 2e-3)
    slope = harness.evaluate(silu, [x], wrt=(0,))
    np.testing.assert_allclose(slope.values, ma.get("silu").derivative(x), rtol=1e-5, atol=1e-6)
    both = harness.evaluate(lambda v, beta: silu(v, beta=beta), [x, np.full(x.shape, 1.5)], wrt=(1,))
    np.testing.assert_allclose(both.values, ma.get("silu").derivative(x, wrt="beta", beta=1.5), rtol=1e-5, atol=1e-6)
    assert not harness.natives(ma.get("snake"))
    peers = [
        (ma.get(e.activation), n)
        for e in table("keras")
        if e.activation in NAMES and e.activation != "sparsemax"  # Keras' own gives zeros in a row of 64
        for n in harness.natives(ma.get(e.activation))
    ]
    assert len(peers) > 25
    for activation, native in dict.fromkeys(peers):
        inputs = [x, x[::-1]] if activation.kind == "gated" else [x]
        side = {"gate": "second"} if activation.kind == "gated" else {}  # two inputs with the value first
        want = mk_numpy(activation)(*inputs, **native.parameters, **side)
        np.testing.assert_allclose(harness.evaluate(native.call, inputs).values, want, rtol=1e-4, atol=1e-5)


def test_names() -> None:
    assert {"gelu", "GELU", "hard_silu", "get"} <= set(dir(mk))
    with pytest.raises(UnknownActivationError, match="multiact.backends.keras"):
        mk.gellu  # noqa: B018


def test_another_keras_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(BackendNotAvailableError, match="KERAS_BACKEND"):
        framework()


@pytest.mark.parametrize("other", [f for f in ("torch", "jax", "tensorflow") if f != FRAMEWORK])
def test_models_of_the_other_frameworks_load(other: str) -> None:
    deadline = time.monotonic() + 150
    while not (EXCHANGE / f"{other}.npz").exists():
        assert time.monotonic() < deadline, f"the process for {other} has not written its model"
        time.sleep(0.5)
    saved = np.load(EXCHANGE / f"{other}.npz")
    model = keras.saving.load_model(EXCHANGE / f"{other}-model.keras")
    np.testing.assert_allclose(array(model(saved["x"])), saved["y"], rtol=4e-6, atol=4e-6)


def test_adaptive_layers_compute_what_they_do_elsewhere_learn_and_are_saved(tmp_path):
    import multiact.backends.keras as own
    from multiact.adaptive import ADAPTIVE
    from multiact.dispatch import backend as backend_named

    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("float32")
    below = backend_named("numpy").namespace
    for name in ADAPTIVE:
        layer = getattr(own, name)(channel_axis=-1)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        weights = {k: keras.ops.convert_to_numpy(v) for k, v in layer._learned.items()}
        np.testing.assert_allclose(
            model.predict(x, verbose=0), layer.adaptive(below, x, weights, -1), rtol=1e-4, atol=1e-5
        )
        model.compile("sgd", "mse")
        model.fit(x, np.zeros_like(x), epochs=1, verbose=0)
        changed = [not np.array_equal(weights[k], keras.ops.convert_to_numpy(v)) for k, v in layer._learned.items()]
        assert sum(changed) >= len(changed) - 1, name  # the scale of a spline that is 0 has no slope yet
        path = tmp_path / f"{name}.keras"
        model.save(path)
        again = keras.models.load_model(path)
        np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_parameter_that_must_be_positive_is_learned_as_its_logarithm(tmp_path):
    x = np.linspace(-2, 2, 12).astype("float32").reshape(4, 3)
    layer = mk.Snake(alpha=0.5, learnable=True, channel_axis=-1, alpha_regularizer=keras.regularizers.L1(1.0))
    model = keras.Sequential([keras.Input((3,)), layer])
    assert [w.name for w in layer.weights] == ["log_alpha"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.alpha), [0.5] * 3, rtol=1e-6)
    np.testing.assert_allclose(float(sum(layer.losses)), 1.5, rtol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), ma.snake(x, alpha=0.5), rtol=1e-5)
    model.save(tmp_path / "snake.keras")
    again = keras.models.load_model(tmp_path / "snake.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    started = mk.Snake(learnable=True, alpha_initializer=keras.initializers.Constant(3.0))
    started.build((None, 3))
    np.testing.assert_allclose(float(started.alpha), 3.0, rtol=1e-6)
    assert mk.Snake(alpha=2.0).alpha == 2.0


def test_activations_are_exchanged_and_weights_kept(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, activation="relu", name="first")(inputs)
    x = keras.layers.ReLU(name="act")(x)
    x = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(8), keras.layers.LeakyReLU(0.3, name="leaky")], name="inner"
    )(x)
    x = keras.layers.PReLU(name="learned")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="gelu", name="last")(x))
    given = points(5, 4)
    before = array(model(given))

    found = ma.swap(model, {keras.layers.LeakyReLU: lambda old: mk.LeakyReLU(negative_slope=float(old.negative_slope))})
    assert [c.path for c in found] == ["inner.leaky"] and not found.left
    np.testing.assert_allclose(array(found.model(given)), before, rtol=1e-5, atol=1e-6)
    assert found.model is not model and type(model.get_layer("inner").layers[-1]) is keras.layers.LeakyReLU

    found = ma.swap(model, {keras.layers.ReLU: "mish", keras.activations.gelu: mk.SiLU(beta=2.0), "learned": mk.ELU})
    assert {c.path: c.dropped for c in found} == {
        "first.activation": (),
        "act": (),
        "learned": ("alpha",),
        "last.activation": (),
    }
    new = found.model

    def dense(layer, h):
        kernel, bias = layer.get_weights()
        return h @ kernel + bias

    h = np.asarray(ma.mish(ma.mish(dense(model.get_layer("first"), given))))
    h = dense(model.get_layer("inner").layers[0], h)
    h = np.asarray(ma.elu(np.where(h > 0, h, np.float32(0.3) * h)))
    wanted = ma.silu(dense(model.get_layer("last"), h), beta=2.0)
    np.testing.assert_allclose(array(new(given)), wanted, rtol=2e-5, atol=2e-6)
    new.save(tmp_path / "new.keras")
    np.testing.assert_array_equal(array(keras.models.load_model(tmp_path / "new.keras")(given)), array(new(given)))
    new.compile("sgd", "mse")
    new.fit(given, np.zeros((5, 2)), verbose=0)


def test_the_activations_of_a_recurrent_layer_are_left_and_told() -> None:
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(2), keras.layers.Dense(2, activation="tanh")])
    found = ma.swap(model, {keras.activations.tanh: "mish"})
    assert len(found) == 1 and len(found.left) == 1 and ".activation: a recurrent layer" in found.left[0]


def test_what_swap_refuses() -> None:
    class Own(keras.Model):
        def call(self, x):
            return keras.ops.relu(x)

    with pytest.raises(ma.ParameterError, match="Own is neither"):
        ma.swap(Own(), {keras.layers.ReLU: "mish"})
    with pytest.raises(ma.ParameterError, match="rewrite is for torch"):
        ma.swap(keras.Sequential([keras.layers.ReLU()]), {keras.layers.ReLU: "mish"}, rewrite=True)


# Initialisation


def test_weights_for_the_activations_that_follow() -> None:
    x = start = keras.Input((8, 8, 3))
    for part in (
        keras.layers.Conv2D(16, 3, activation="relu", name="kept"),
        keras.layers.Conv2D(16, 3, use_bias=False, name="normed"),
        keras.layers.BatchNormalization(),
        keras.layers.LeakyReLU(negative_slope=0.2),
        keras.layers.DepthwiseConv2D(3, name="depthwise"),
        mk.Mish(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(16, name="plain"),
    ):
        x = part(x)
    x = keras.ops.tanh(keras.layers.Add()([keras.layers.Dense(16, name="branch")(x), x]))
    x = keras.Sequential(
        [keras.layers.Dense(8, name="a"), keras.layers.Dense(8, activation="gelu", name="b")], name="in"
    )(x)
    gate = keras.layers.Activation("silu")(keras.layers.Dense(8, name="gate")(x))
    x = keras.layers.Multiply()([gate, keras.layers.Dense(8, name="up")(x)])
    model = keras.Model(start, keras.layers.Dense(3, activation="softmax", name="head")(x))
    report = ma.init_for(model, seed=0)
    assert {i.path: (i.follower.role, i.follower.activation, i.chosen.scheme) for i in report} == {
        "kept": ("hidden", "relu", "He"),
        "normed": ("hidden", "leaky_relu", "He"),
        "depthwise": ("hidden", "mish", "He"),
        "plain": ("hidden", "tanh", "Glorot"),
        "branch": ("hidden", "tanh", "Glorot"),
        "in.a": ("linear", "", "LeCun"),
        "in.b": ("hidden", "gelu", "He"),
        "gate": ("hidden", "silu", "He"),
        "up": ("hidden", "silu", "He"),
        "head": ("output", "softmax", "Glorot"),
    }
    assert not report.left and [i.path for i in report if i.follower.normalised] == ["normed"]
    kernel, bias = model.get_layer("kept").get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 27), rel=0.15) and not bias.any()
    assert ma.check_initialisation(model) == []
    ma.init_for(model, seed=0)
    np.testing.assert_array_equal(model.get_layer("kept").get_weights()[0], kernel)
    model.get_layer("kept").set_weights([kernel / 9, bias])
    assert [f.path for f in ma.check_initialisation(model)] == ["kept"]


def test_weights_of_layers_that_are_called_in_any_way() -> None:
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.act = keras.layers.Dense(8), keras.layers.ELU()
            self.second, self.norm = keras.layers.Dense(8), keras.layers.LSTM(8)
            self.last = keras.layers.Dense(1)

        def call(self, x):
            return self.last(keras.ops.relu(self.second(self.act(self.first(x)))))

    model = Own()
    reasons = [left.reason for left in ma.init_for(model).left]
    assert reasons.count("it is not built; call the model on an input first") == 3 and "a recurrent" in "".join(reasons)
    model(tensor(points(5, 8)))
    report = ma.init_for(model, seed=0)
    assert [(i.follower.activation, i.follower.how) for i in report] == [
        ("elu", "order of layers"),
        ("", "order of layers"),
    ]
    assert [left.kind for left in report.left] == ["LSTM", "Dense"]
    assert [i.follower.activation for i in ma.init_for(model, "relu", seed=0)] == ["relu", "relu", ""]
    from multiact.backends.keras.initialisation import fans

    layer = keras.layers.Conv2DTranspose(16, 4, strides=2)
    layer.build((None, 8, 8, 8))
    assert fans(layer) == (8 * 4, 16 * 16)
    layer = keras.layers.Conv2D(16, 3, groups=4)
    layer.build((None, 8, 8, 8))
    assert fans(layer) == (2 * 9, 4 * 9)


def test_selu_and_alpha_dropout_keep_mean_and_variance_through_fifty_layers() -> None:
    """The bounds are three standard deviations of what 1024 units and 32 examples fluctuate by; see tests/test_initialisation.py."""
    keras.utils.set_random_seed(0)
    dense, drop = keras.layers.Dense(1024, activation=mk.selu), keras.layers.AlphaDropout(0.1, seed=1)
    alone = keras.Sequential([keras.Input((1024,)), dense, keras.layers.Dense(1)])
    rng = np.random.default_rng(0)
    x = tensor(rng.standard_normal((32, 1024)).astype("float32"))
    for _ in range(50):
        assert ma.init_for(alone, seed=rng).layers[0].chosen.scheme == "LeCun"
        x = drop(dense(x), training=True)
        assert abs(float(array(x).mean())) < 0.1 and 0.8 < float(array(x).var()) < 1.25


def test_losses_of_the_pairing_table_exist() -> None:
    for output in pairing.table().outputs.values():
        names = re.findall(r"\bkeras\.losses\.(\w+)", output.keras)
        assert names and all(issubclass(getattr(keras.losses, name), keras.Loss) for name in names)


TABLE = capabilities(f"keras-{FRAMEWORK}")
#: Another process, or seconds of torch.compile, which need not be waited for with every framework.
COSTLY = {"crossed": "tensorflow", "fit_compiled": "jax"}


def rows(name: str, activations, native: bool = False, dtypes=("float32", "float64", "float16", "bfloat16")):
    """What conformance says of activations in one way, those of one kind with the others that are not the first left out."""
    found = cases.cases(
        harness, [ma.get(a) for a in activations], dtypes=dtypes, modes=[name], native=native, effort="quick"
    )
    return [runner.run_case(harness, case) for case in found]


@pytest.mark.parametrize("name", TABLE)
def test_every_way_of_using_a_model(name: str) -> None:
    if COSTLY.get(name, FRAMEWORK) != FRAMEWORK:
        return
    activations = ["leaky_relu"] if name in COSTLY else ["leaky_relu", "swiglu", "softmax"]
    found = rows(name, activations)
    assert found and all(r.verdict in ("pass", "skip") for r in found), [(r.activation, r.reason) for r in found]
    without = {"saved_model": ("torch",), "onnx": ("jax", "tensorflow"), "exported_program": ("jax", "tensorflow")}
    impossible = FRAMEWORK in without.get(name, ()) and all("Keras" in r.reason for r in found)
    assert impossible or any(r.verdict == "pass" and r.points for r in found)


def test_the_ways_are_those_of_keras_own_activations_too() -> None:
    for name, entry in TABLE.items():
        found = [] if entry.layers or name in COSTLY else rows(name, ["exponential"], native=True)
        assert all(r.verdict in ("pass", "skip") for r in found), (name, [r.reason for r in found])
    assert rows("fit", ["relu"], native=True) == []


def failing(name: str, activation: str) -> str:
    (first, *_) = rows(name, [activation], dtypes=("float32",))
    assert first.verdict == "fail", (name, first.verdict)
    return first.reason


def test_what_a_layer_gets_wrong_becomes_a_failing_row(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = mk.LeakyReLU
    with monkeypatch.context() as patched:
        patched.setattr(layer, "call", lambda self, x: 1.001 * self._function(x, **self._learned_values()))
        for name in (
            "functional",
            "sequential",
            "subclassed",
            "saved",
            "weights",
            "clone",
            "masking",
            "predict",
            "fit",
        ):
            assert "E = " in failing(name, "leaky_relu"), name
    with monkeypatch.context() as patched:
        config = layer.get_config
        patched.setattr(layer, "get_config", lambda self: config(self) | {"channel_axis": None, "learnable": []})
        assert "config" in failing("config", "leaky_relu") and "loaded" in failing("saved", "leaky_relu")
    with monkeypatch.context() as patched:
        patched.setattr(layer, "compute_mask", lambda self, inputs, mask: None)
        assert "mask" in failing("masking", "leaky_relu")
        patched.setattr(layer, "compute_output_shape", lambda self, shape: (*shape[:-1], 3))
        assert "compute_output_shape" in failing("shapes", "leaky_relu")
    with monkeypatch.context() as patched:
        patched.setattr(keras.layers.Layer, "load_own_variables", lambda self, store: None)
        assert "the weight" in failing("weights", "leaky_relu") and "the weight" in failing("saved", "leaky_relu")


def test_the_process_that_writes_models_says_what_failed() -> None:
    other = "jax" if FRAMEWORK == "torch" else "torch"
    if FRAMEWORK == "tensorflow":  # it has started one
        with pytest.raises(RuntimeError, match=f"Keras on {other}: .*no activation is named"):
            ways.exchange.write(ways.Described("gellu"), [(2, 3)], "model.keras", other)
