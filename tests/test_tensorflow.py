"""The TensorFlow backend: its namespace, the derivatives in every mode of TensorFlow, unknown shapes, and the harness."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest

import multiact as ma
from multiact import registry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

import ml_dtypes
import mpmath

from multiact.backends.tensorflow import backend, namespace
from multiact.backends.tensorflow.harness import harness
from multiact.exports import CONSTANTS
from multiact.natives import table

POINTS = [-3.0, -0.7, 0.0, 0.4, 2.5]
BFLOAT16 = ml_dtypes.bfloat16


def plain(f, **options):
    return f


def graph(f, **options):
    return tf.function(f, autograph=False, **options)


def xla(f, **options):
    return tf.function(f, autograph=False, jit_compile=True, **options)


def tape(f, order=1):
    """The derivative of that order of a function of one tensor, by nested tapes, summed over the output."""
    if order == 0:
        return f

    def gradient(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = tape(f, order - 1)(x)
        return t.gradient(y, x)

    return gradient


def forward(f, order=1):
    """The derivative of that order of an elementwise function, by nested accumulators."""
    if order == 0:
        return f

    def tangent(x):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = forward(f, order - 1)(x)
        return accumulator.jvp(y)

    return tangent


def same(got, wanted, rtol=1e-6, atol=1e-12):
    np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(wanted, np.float64), rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def marked():
    """alpha x^2 with wrong derivatives, by which one sees that they are used: 7, 11 and 13 where 2 and 1 are right."""
    f = ma.define(
        "marked",
        lambda xp, x, /, *, alpha: x * x * alpha,
        {
            "x": lambda xp, x, /, *, alpha: 7 * x * alpha,
            ("x", "x"): lambda xp, x, /, *, alpha: 11 * x * alpha,
            "alpha": lambda xp, x, /, *, alpha: 5 * x * xp.ones_like(x),
            ("x", "alpha"): lambda xp, x, /, *, alpha: 13 * x,
        },
        parameters={"alpha": 1.0},
    )
    yield f
    registry.unregister("marked")


@pytest.fixture
def x():
    return tf.constant(POINTS)


# Derivatives


@pytest.mark.parametrize("outer", [plain, graph, xla])
@pytest.mark.parametrize("inner", [plain, graph, xla])
def test_tapes_use_the_declared_derivatives_to_the_third_order(marked, x, inner, outer):
    f = inner(lambda x: marked(x))
    same(outer(tape(f))(x), 7 * x)
    same(outer(tape(f, 2))(x), 11 * x)
    same(outer(tape(f, 3))(x), 11 * np.ones(5))  # beyond the last declared order the formula is differentiated


@pytest.mark.parametrize("inner", [plain, graph])
@pytest.mark.parametrize("outer", [plain, graph])
def test_forward_accumulators_use_the_declared_derivatives(marked, x, inner, outer):
    f = inner(lambda x: marked(x))
    same(outer(forward(f))(x), 7 * x)
    same(outer(forward(f, 2))(x), 11 * x)
    same(outer(forward(tape(f)))(x), 11 * x)


def test_forward_accumulator_inside_xla(marked, x):
    same(xla(forward(lambda x: marked(x)))(x), 7 * x)


@pytest.mark.parametrize("pfor", [True, False])
def test_jacobian_and_hessian(marked, x, pfor):
    with tf.GradientTape(persistent=True) as t2:
        t2.watch(x)
        with tf.GradientTape(persistent=True) as t1:
            t1.watch(x)
            y = marked(x)
        slope = t1.gradient(y, x)
    same(t1.jacobian(y, x, experimental_use_pfor=pfor), np.diag(7 * x.numpy()))
    same(t2.jacobian(slope, x, experimental_use_pfor=pfor), np.diag(11 * x.numpy()))


def test_batch_jacobian(marked):
    x = tf.reshape(tf.range(6.0), (2, 3))
    with tf.GradientTape() as t:
        t.watch(x)
        y = marked(x)
    same(t.batch_jacobian(y, x), [np.diag(7 * row) for row in x.numpy()])


@pytest.mark.parametrize("outer", [plain, graph, xla])
def test_vectorized_map(marked, outer):
    x = tf.reshape(tf.range(6.0), (3, 2))

    def mapped(f):
        return outer(lambda x: tf.vectorized_map(f, x, fallback_to_while_loop=False))

    same(mapped(lambda row: marked(row))(x), x * x)
    same(mapped(tape(lambda row: marked(row)))(x), 7 * x)
    same(mapped(lambda row: ma.softmax(row))(x), ma.softmax(x))


@pytest.mark.parametrize("how", [plain, graph, xla])
@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("silu", lambda t: t / (1 + mpmath.exp(-t))),
        ("mish", lambda t: t * mpmath.tanh(mpmath.log(1 + mpmath.exp(t)))),
        ("gelu", lambda t: t * mpmath.ncdf(t)),
    ],
)
def test_catalogue_functions_have_the_right_derivatives(name, definition, how):
    x = tf.constant(POINTS, tf.float64)
    for order in range(4):
        wanted = [float(mpmath.diff(definition, mpmath.mpf(p), order)) for p in POINTS]
        same(how(tape(lambda x: getattr(ma, name)(x), order))(x), wanted, rtol=1e-11)


KINKS = [
    ("relu", {}, 0.0, 0.0),
    ("leaky_relu", {}, 0.0, 0.01),
    ("leaky_relu", {"negative_slope": 0.3}, 0.0, 0.3),
    ("relu6", {}, 6.0, 0.0),
    ("hard_tanh", {}, -1.0, 0.0),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("name", "given", "at", "slope"), KINKS)
def test_slope_at_a_kink_is_the_declared_one_in_both_modes(name, given, at, slope, dtype):
    x = tf.constant([at, at - 0.5, at + 0.5], dtype)
    f = getattr(ma, name)
    wanted = tf.cast(tf.constant(slope, tf.float64), dtype).numpy()
    for derivative in (tape(lambda x: f(x, **given)), forward(lambda x: f(x, **given))):
        assert derivative(x).numpy()[0] == wanted
        assert graph(derivative)(x).numpy()[0] == wanted
        assert xla(derivative)(x).numpy()[0] == wanted


def test_nan_and_infinity_in_value_and_slope():
    x = tf.constant([np.nan, -np.inf, np.inf])
    for how in (plain, graph, xla):
        np.testing.assert_array_equal(how(lambda x: ma.silu(x))(x), [np.nan, 0, np.inf])
        np.testing.assert_array_equal(how(tape(lambda x: ma.silu(x)))(x), [np.nan, 0, 1])


# Parameters


@pytest.mark.parametrize("how", [plain, graph, xla])
def test_gradient_of_a_scalar_and_of_a_parameter_for_each_channel(how):
    x = tf.constant(np.arange(-6.0, 6).reshape(2, 3, 2))
    negative = np.where(x <= 0, x, 0)
    for shape, axes in (((), (0, 1, 2)), ((2,), (0, 1)), ((3, 1), (0, 2)), ((1, 3, 1), (0, 2))):
        alpha = tf.fill(shape, tf.constant(0.25, tf.float64))
        gradient = how(tape(lambda a: ma.prelu(x, negative_slope=a)))(alpha)
        assert gradient.shape == shape
        same(gradient, negative.sum(axes).reshape(shape))


def test_variables_are_inputs_and_parameters():
    x, alpha = tf.Variable([-2.0, 3.0]), tf.Variable(0.25)

    def gradients():
        with tf.GradientTape() as t:
            y = ma.prelu(x, negative_slope=alpha)
        return t.gradient(y, [x, alpha])

    for how in (plain, graph, xla):
        dx, dalpha = how(gradients)()
        same(dx, [0.25, 1])
        same(dalpha, -2)


def test_mixed_second_derivatives(marked, x):
    alpha = tf.constant(2.0)

    def mixed(x, alpha):
        with tf.GradientTape() as t2:
            t2.watch(alpha)
            with tf.GradientTape() as t1:
                t1.watch(x)
                y = marked(x, alpha=alpha)
            slope = t1.gradient(y, x)
        return t2.gradient(slope, alpha)

    for how in (plain, graph, xla):
        same(how(mixed)(x, alpha), 13 * sum(POINTS))


def test_forward_mode_in_a_parameter(marked, x):
    alpha = tf.constant(2.0)
    for how in (plain, graph):
        same(how(forward(lambda a: marked(x, alpha=a)))(alpha), 5 * x)


def test_a_parameter_may_be_of_another_dtype():
    alpha = tf.constant(0.1)
    for dtype in (tf.float64, tf.float16, tf.bfloat16):
        x = tf.constant([-3.0, 2.0], dtype)
        y = ma.prelu(x, negative_slope=alpha)
        assert y.dtype == dtype
        gradient = tape(lambda a, x=x: ma.prelu(x, negative_slope=a))(alpha)
        assert gradient.dtype == tf.float32
        same(gradient, -3)
    assert ma.silu(tf.constant([1.0]), beta=tf.constant(2)).dtype == tf.float32
    same(ma.silu(tf.constant([1.0]), beta=np.float32(2)), 1 / (1 + np.exp(-2.0)))


def test_numbers_are_constants_only_up_to_a_limit(marked, x):
    own = backend.register_elementwise(registry.get("marked").function)
    graphs = own.__closure__[[*own.__code__.co_freevars].index("graphs")].cell_contents
    for k in range(3 * CONSTANTS):
        same(own(x, 0.5 + k), x * x * (0.5 + k))
        same(tape(lambda x, k=k: own(x, 0.5 + k))(x), 7 * x * (0.5 + k))
    assert len(graphs._ways[False]) == CONSTANTS + 1  # and the one in which the number is a tensor


def test_new_shapes_are_not_traced_for_ever(marked):
    traces = []
    counted = ma.define(
        "counted", lambda xp, x, /: (traces.append(1), x * 1)[1], {"x": lambda xp, x, /: xp.ones_like(x)}
    )
    try:
        for size in range(1, 30):
            assert counted(tf.ones(size)).shape == (size,)
    finally:
        registry.unregister("counted")
    assert len(traces) <= 3


# Dtypes


def all_patterns(dtype):
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(BFLOAT16 if dtype == "bfloat16" else dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["mish", "gelu"])
def test_16_bit_input_is_computed_in_float32_and_rounded_once(name, dtype):
    patterns = all_patterns(dtype)
    x = tf.constant(patterns[np.isfinite(patterns.astype(np.float32))])
    wide, exact = tf.cast(x, tf.float32), tf.cast(x, tf.float64)
    f = getattr(ma, name)
    y = f(x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.numpy(), tf.cast(f(wide), dtype).numpy())
    rounded = f(exact).numpy().astype(x.dtype.as_numpy_dtype)
    normal = np.abs(rounded.astype(np.float64)) >= float(namespace.finfo(x).smallest_normal)
    assert (y.numpy() == rounded)[normal].mean() > 0.999


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_gradient_of_16_bit_input_is_rounded_once(dtype):
    x = tf.constant(np.linspace(-4, 4, 1001).astype(BFLOAT16 if dtype == "bfloat16" else dtype))
    weight = tf.cast(tf.linspace(0.1, 3.0, 1001), dtype)
    with tf.GradientTape() as t:
        t.watch(x)
        y = ma.mish(x)
    got = t.gradient(y, x, weight)
    wide = tf.cast(weight, tf.float32) * ma.get("mish").derivative(tf.cast(x, tf.float32))
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got.numpy(), tf.cast(wide, dtype).numpy())
    twice = weight * tf.cast(ma.get("mish").derivative(tf.cast(x, tf.float32)), dtype)
    assert np.any(got.numpy() != twice.numpy())


def test_the_gradient_of_a_parameter_is_summed_in_float32():
    x = tf.cast(tf.fill([4096], -1.0), tf.bfloat16)  # a running sum in bfloat16 would stop growing at 256
    gradient = tape(lambda a: ma.prelu(x, negative_slope=a))(tf.constant(0.25, tf.bfloat16))
    assert gradient.dtype == tf.bfloat16
    same(gradient, -4096)


# Unknown shapes


UNKNOWN = [tf.TensorSpec(shape, tf.float64) for shape in ([None, 4], [None, None], None)]


@pytest.mark.parametrize("how", [graph, xla])
@pytest.mark.parametrize("spec", UNKNOWN, ids=str)
def test_unknown_shapes(spec, how):
    x = tf.constant(np.linspace(-2, 2, 24).reshape(6, 4))
    alpha = tf.constant([0.1, 0.2, 0.3, 0.4], tf.float64)
    cases = [
        lambda x: ma.gelu(x),
        lambda x: ma.prelu(x, negative_slope=alpha),
        lambda x: ma.softmax(x),
        lambda x: ma.softmax(x, axis=0),
        lambda x: ma.log_softmax(x, temperature=tf.constant(2.0)),
        lambda x: ma.swiglu(x),
        lambda x: ma.glu(x, axis=0),
        lambda x: ma.swiglu(x, x),
    ]

    def derivatives(x):
        squares = [lambda x, f=f: f(x) ** 2 for f in cases]
        return [[f(x), tape(f)(x), tape(f, 2)(x)] for f in squares]

    for got, wanted in zip(how(derivatives, input_signature=[spec])(x), derivatives(x)):
        for g, w in zip(got, wanted):
            same(g, w, rtol=1e-11)


@pytest.mark.parametrize("spec", UNKNOWN, ids=str)
def test_gradient_of_a_parameter_with_unknown_shapes(spec):
    x = tf.constant(np.linspace(-2, 2, 24).reshape(6, 4))
    for shape, axes in (((), (0, 1)), ((4,), 0), ((6, 1), 1)):

        @tf.function(input_signature=[spec, tf.TensorSpec(None, tf.float64)])
        def gradient(x, alpha):
            with tf.GradientTape() as t:
                t.watch(alpha)
                y = ma.prelu(x, negative_slope=alpha)
            return t.gradient(y, alpha)

        wanted = np.minimum(x, 0).sum(axes).reshape(shape)
        got = gradient(x, tf.fill(shape, tf.constant(0.25, tf.float64)))
        assert got.shape == shape
        same(got, wanted)


@pytest.mark.parametrize("side", ["first", "second", "interleaved"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_gated_split_is_the_same_for_known_and_unknown_shapes(axis, side):
    values = np.random.default_rng(1).normal(size=(4, 6, 2))
    wanted = ma.swiglu(values, axis=axis, gate=side)
    same(ma.swiglu(tf.constant(values), axis=axis, gate=side), wanted, rtol=1e-14)
    for spec in (tf.TensorSpec([None] * 3, tf.float64), tf.TensorSpec(None, tf.float64)):
        f = graph(lambda x: ma.swiglu(x, axis=axis, gate=side), input_signature=[spec])
        same(f(tf.constant(values)), wanted, rtol=1e-14)


def test_the_static_shape_is_that_of_the_input():
    @tf.function(input_signature=[tf.TensorSpec([None, 7]), tf.TensorSpec(None)])
    def f(x, parameter):
        y = ma.prelu(x, negative_slope=parameter)
        assert y.shape.as_list() == [None, 7]
        assert ma.softmax(x, temperature=parameter).shape.as_list() == [None, 7]
        return y

    same(f(-tf.ones((2, 7)), tf.constant(0.5)), -0.5 * np.ones((2, 7)))


def test_an_odd_axis_of_unknown_size_fails_when_it_runs():
    for side in ("first", "interleaved"):
        f = graph(lambda x, side=side: ma.swiglu(x, gate=side)).get_concrete_function(tf.TensorSpec([None, None]))
        with pytest.raises(tf.errors.InvalidArgumentError):
            f(tf.ones((2, 3)))


def test_two_inputs_of_partly_known_shapes():
    @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([2, None])])
    def f(x, other):
        return ma.swiglu(x, other)

    same(f(tf.ones((2, 4)), 2 * tf.ones((2, 4))), 2 / (1 + np.exp(-1.0)) * np.ones((2, 4)))
    g = graph(lambda x, other: ma.swiglu(x, other))
    with pytest.raises(ma.ShapeError, match=r"\(None, 4\) and \(2, 3\)"):
        g.get_concrete_function(tf.TensorSpec([None, 4]), tf.TensorSpec([2, 3]))


# Along an axis


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_axiswise_first_and_second_derivatives(name):
    rng = np.random.default_rng(2)
    x, c, d = (tf.constant(rng.normal(size=(3, 5))) for _ in range(3))
    f = getattr(ma, name)
    reference = {
        "softmax": tf.nn.softmax,
        "log_softmax": tf.nn.log_softmax,
        "softmin": lambda x: tf.nn.softmax(-x),
    }[name]

    def second(f):
        def evaluate(x):
            with tf.GradientTape() as t2:
                t2.watch(x)
                with tf.GradientTape() as t1:
                    t1.watch(x)
                    y = f(x)
                slope = t1.gradient(y, x, c)
            return slope, t2.gradient(slope, x, d)

        return evaluate

    wanted = second(reference)(x)
    for how in (plain, graph, xla):
        for got, exact in zip(how(second(f))(x), wanted):
            same(got, exact, rtol=1e-12)
    with tf.autodiff.ForwardAccumulator(x, d) as ours:
        y = f(x)
    with tf.autodiff.ForwardAccumulator(x, d) as theirs:
        z = reference(x)
    same(ours.jvp(y), theirs.jvp(z), rtol=1e-12)


def test_gradient_of_a_temperature():
    x = tf.constant(np.random.default_rng(3).normal(size=(3, 5)))
    c = tf.constant(np.random.default_rng(4).normal(size=(3, 5)))
    for shape in ((), (3, 1)):
        t = tf.fill(shape, tf.constant(1.7, tf.float64))
        got = tape(lambda t: c * ma.softmax(x, temperature=t))(t)
        assert got.shape == shape
        same(got, tape(lambda t: c * tf.nn.softmax(x / t))(t), rtol=1e-12)


# Users


def test_dispatch_on_tensors_and_variables(x):
    same(ma.silu(x), POINTS / (1 + np.exp(-np.asarray(POINTS))))
    assert isinstance(ma.silu(x), tf.Tensor)
    assert isinstance(ma.silu(tf.Variable(x)), tf.Tensor)
    same(tf.function(lambda x: ma.silu(x), jit_compile=True)(x), ma.silu(x))
    same(tf.function(lambda x: ma.gelu(x, approximate="tanh"))(x), ma.gelu_tanh(x))
    same(ma.get("silu").derivative(x, order=2), tape(lambda x: ma.silu(x), 2)(x))


def test_training_with_a_learned_slope_lowers_the_loss():
    x = tf.constant(np.random.default_rng(5).normal(size=(64, 3)), tf.float32)
    wanted = tf.where(x > 0, x, x * [0.1, 0.5, -0.2])
    slope = tf.Variable([0.25, 0.25, 0.25])

    @tf.function
    def step():
        with tf.GradientTape() as t:
            loss = tf.reduce_mean((ma.prelu(x, negative_slope=slope) - wanted) ** 2)
        slope.assign_sub(2.0 * t.gradient(loss, slope))
        return loss

    losses = [float(step()) for _ in range(60)]
    assert losses[-1] < 1e-6 * losses[0]
    same(slope, [0.1, 0.5, -0.2], rtol=1e-2)


def test_autograph_leaves_our_code_alone(x):
    assert backend.function(registry.get("silu")).__name__ == "silu"
    assert "beta" in str(__import__("inspect").signature(backend.function(registry.get("silu"))))

    @tf.function
    def loop(x):
        for _ in tf.range(2):
            x = ma.silu(x)
        return x

    same(loop(x), ma.silu(ma.silu(x)))


def test_saved_model_gives_the_same_values(tmp_path, x):
    module = tf.Module()
    module.f = tf.function(lambda x: ma.mish(x), input_signature=[tf.TensorSpec([None])])
    tf.saved_model.save(module, str(tmp_path), options=tf.saved_model.SaveOptions(experimental_custom_gradients=True))
    loaded = tf.saved_model.load(str(tmp_path))
    same(loaded.f(x), ma.mish(x), rtol=0)
    same(tape(loaded.f)(x), tape(lambda x: ma.mish(x))(x))


# Errors


@pytest.mark.parametrize("name", ["silu", "swiglu", "softmax"])
@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_dtypes_that_are_refused(name, dtype):
    x = tf.cast(tf.ones((2, 2)), dtype)
    with pytest.raises(ma.InputError, match=dtype):
        getattr(ma, name)(x)
    with pytest.raises(TypeError, match=dtype):  # AutoGraph raises it again with more context, as the same type
        tf.function(lambda x: getattr(ma, name)(x))(x)


def test_ragged_and_sparse_tensors_are_refused():
    own = backend.function(registry.get("silu"))
    for x in (tf.ragged.constant([[1.0], [2.0, 3.0]]), tf.sparse.from_dense([[1.0, 0.0]])):
        with pytest.raises(ma.InputError, match="dense"):
            own(x)


def test_shapes_that_do_not_fit(x):
    with pytest.raises(ma.ParameterError, match="channel"):
        ma.prelu(tf.ones((2, 3)), negative_slope=tf.ones(2))
    with pytest.raises(ma.ShapeError, match="even"):
        ma.swiglu(tf.ones((2, 3)))
    with pytest.raises(ma.ShapeError, match="out of range"):
        ma.softmax(tf.ones((2, 3)), axis=2)


@pytest.fixture
def undeclared():
    yield ma.define(
        "undeclared",
        lambda xp, x, /, *, alpha: x * alpha,
        {"x": lambda xp, x, /, *, alpha: alpha * xp.ones_like(x)},
        parameters={"alpha": 2.0},
    )
    registry.unregister("undeclared")


def test_a_missing_derivative_raises_only_where_its_gradient_can_be_asked_for(undeclared, x):
    alpha = tf.constant(3.0)
    same(undeclared(x, alpha=alpha), 3 * x)
    same(tape(lambda x: undeclared(x, alpha=alpha))(x), 3 * np.ones(5))
    same(forward(lambda x: undeclared(x, alpha=alpha))(x), 3 * np.ones(5))
    same(graph(tape(lambda x: undeclared(x, alpha=alpha)))(x), 3 * np.ones(5))
    f = lambda a: undeclared(x, alpha=a)
    with pytest.raises(ma.MissingDerivativeError, match="'alpha'.*Python number"):
        tape(f)(alpha)
    with pytest.raises(ma.MissingDerivativeError, match="alpha"):
        tape(graph(f))(alpha)
    with pytest.raises(ma.MissingDerivativeError, match="alpha"):
        graph(tape(f))(alpha)
    with pytest.raises(ma.MissingDerivativeError, match="alpha"):
        forward(f)(alpha)
    variable = tf.Variable(3.0)
    same(undeclared(x, alpha=variable), 3 * x)
    with pytest.raises(ma.MissingDerivativeError, match="alpha"):
        tape(lambda x: undeclared(x, alpha=variable))(x)  # a tape watches variables


# The namespace


UNARY = """
    abs acos asin asinh atan atanh ceil cos cosh exp expm1 floor isfinite isinf isnan log log10 log1p log2 negative positive
    reciprocal round sign signbit sin sinh sqrt square tan tanh trunc
"""
BINARY = """
    add atan2 copysign divide equal greater greater_equal hypot less less_equal logaddexp maximum minimum multiply
    nextafter not_equal pow subtract
"""
EDGES = [0.0, -0.0, 0.3, -0.7, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e30, -3.0]


def agrees(got, wanted, name=""):
    wanted = np.asarray(wanted)
    assert got.numpy().dtype == wanted.dtype, name
    if wanted.dtype == np.bool_:
        np.testing.assert_array_equal(got, wanted, name)
    else:
        np.testing.assert_allclose(got, wanted, rtol=4e-6 if wanted.dtype == np.float32 else 1e-14, err_msg=name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("how", [plain, graph, xla])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_functions_agree_with_numpy(dtype, how):
    x = np.asarray(EDGES, dtype)
    a, b = (v.ravel() for v in np.meshgrid(x, x))
    unary = how(lambda x: [getattr(namespace, name)(x) for name in UNARY.split()])(tf.constant(x))
    for name, got in zip(UNARY.split(), unary):
        agrees(got, getattr(np, name)(x), name)
    binary = how(lambda a, b: [getattr(namespace, name)(a, b) for name in BINARY.split()])(
        tf.constant(a), tf.constant(b)
    )
    for name, got in zip(BINARY.split(), binary):
        agrees(got, getattr(np, name)(a, b), name)
    agrees(how(lambda x: namespace.clip(x, -1.5, 0.5))(tf.constant(x)), np.clip(x, -1.5, 0.5))
    agrees(how(lambda x: namespace.acosh(x))(tf.constant(x[6:7])), np.acosh(x[6:7]))
    whole = np.arange(-5, 6).astype(dtype)
    for name in ("floor_divide", "remainder"):
        got = how(lambda x, name=name: getattr(namespace, name)(x, 3))(tf.constant(whole))
        agrees(got, getattr(np, name)(whole, 3), name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_python_numbers_take_the_dtype_of_the_array(dtype):
    x = tf.constant([-1.0, 2.0], dtype)
    for y in (
        namespace.where(x > 0, x, 0.0),
        namespace.where(x > 0, 0, x),
        namespace.maximum(x, 0.5),
        namespace.minimum(0.5, x),
        namespace.clip(x, 0, 1),
        namespace.full_like(x, 3.0),
        namespace.zeros_like(x),
        namespace.ones_like(x),
        namespace.copysign(x, -1.0),
        namespace.hypot(x, 2.0),
        namespace.sum(x),
        namespace.mean(x, axis=0, keepdims=True),
    ):
        assert y.dtype == dtype
        assert x.dtype == getattr(namespace, dtype)
    assert namespace.where(x > 0, 1.0, 0.0).dtype == tf.float32
    np.testing.assert_array_equal(namespace.signbit(-x * 0), [False, True])
    info = namespace.finfo(x)
    assert (1.0 + info.eps, info.smallest_normal > 0, type(info.max)) == (
        1 + float(ml_dtypes.finfo(x.dtype.as_numpy_dtype).eps),
        True,
        float,
    )


def test_dtypes_are_promoted_as_the_standard_says():
    f16, b16, f32, f64 = (tf.ones(2, d) for d in ("float16", "bfloat16", "float32", "float64"))
    integer = tf.ones(2, tf.int32)
    assert namespace.result_type(f16, b16) == tf.float32
    assert namespace.add(f32, f64).dtype == tf.float64
    assert namespace.where(f32 > 0, f16, f32).dtype == tf.float32
    assert namespace.concat([f16, f32]).dtype == tf.float32
    assert namespace.multiply(integer, f16).dtype == tf.float16
    assert namespace.add(tf.ones(2, tf.int8), tf.ones(2, tf.uint8)).dtype == tf.int16
    assert namespace.result_type(f16, 2.0) == tf.float16
    assert namespace.isdtype(tf.bfloat16, "real floating")
    assert not namespace.isdtype(tf.int32, ("real floating", "bool", tf.int64))
    assert namespace.isdtype(tf.uint8, ("unsigned integer", "bool"))
    with pytest.raises(ValueError, match="real floating"):
        namespace.isdtype(tf.int32, "float")
    assert namespace.iinfo(tf.int16).max == 32767
    assert namespace.astype(f32, tf.bfloat16).dtype == tf.bfloat16
    assert namespace.sum(tf.constant([True, True])).numpy() == 2


@pytest.mark.parametrize("how", [plain, graph, xla])
def test_reductions_and_shapes_agree_with_numpy(how):
    x = np.random.default_rng(6).normal(size=(3, 4, 2))
    t = tf.constant(x)

    cases = []

    def call(xp, x, name, **options):
        return getattr(xp, name)(x, **options)

    def check(f, g=None):
        cases.append((f, (g or f)(np, x)))

    for name in ("sum", "prod", "mean", "max", "min", "var", "std"):
        for axis in (None, 1, (0, 2), -1):
            for keepdims in (False, True):
                check(partial(call, name=name, axis=axis, keepdims=keepdims))
    for name in ("argmax", "argmin"):
        for axis in (None, 0, -1):
            check(partial(call, name=name, axis=axis, keepdims=True))
    check(lambda xp, x: xp.all(x > -1, axis=1))
    check(lambda xp, x: xp.any(x > 1))
    check(lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True))
    check(lambda xp, x: xp.sort(x, axis=1))
    check(lambda xp, x: xp.sort(x, axis=-1, descending=True), lambda xp, x: -np.sort(-x, axis=-1))
    check(lambda xp, x: xp.argsort(x, axis=1))
    check(lambda xp, x: xp.permute_dims(x, (2, 0, 1)))
    check(lambda xp, x: xp.concat([x, x], axis=1))
    check(lambda xp, x: xp.concat([x, x], axis=None))
    check(lambda xp, x: xp.stack([x, x], axis=-1))
    check(lambda xp, x: xp.squeeze(xp.expand_dims(x, axis=1), axis=1))
    check(lambda xp, x: xp.reshape(x, (-1, 6)))
    check(lambda xp, x: xp.broadcast_to(x[:, :1], (3, 4, 2)))
    check(lambda xp, x: xp.broadcast_arrays(x[:1], x)[0])
    check(lambda xp, x: xp.flip(x, axis=1))
    check(lambda xp, x: xp.roll(x, 2, axis=1))
    check(lambda xp, x: xp.take(x, [2, 0], axis=1), lambda xp, x: np.take(x, [2, 0], axis=1))
    check(lambda xp, x: xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1))
    check(lambda xp, x: xp.unstack(x, axis=1)[2])
    check(lambda xp, x: xp.matmul(x, xp.permute_dims(x, (0, 2, 1))))
    results = how(lambda t: [f(namespace, t) for f, _ in cases])(t)
    for got, (_, wanted) in zip(results, cases):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


# The harness


@pytest.mark.parametrize("dtype", harness.dtypes)
def test_every_mode_of_the_harness_gives_value_and_slope(dtype):
    x = np.asarray([-4.0, -0.5, 0.0, 0.75, 3.0])
    f = harness.function(registry.get("softplus"))
    sigmoid = 1 / (1 + np.exp(-x))
    wanted = {(): np.log1p(np.exp(x)), (0,): sigmoid, (0, 0): sigmoid * (1 - sigmoid)}
    for mode in harness.modes:
        for wrt, exact in wanted.items():
            result = harness.evaluate(f, [x], wrt=wrt, mode=mode, dtype=dtype)
            assert (result.dtype, result.values.dtype, result.values.shape) == (dtype, np.float64, x.shape)
            same(
                result.values, exact, rtol={"float64": 1e-13, "float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
            )


def test_the_harness_differentiates_in_parameters_and_along_directions():
    rng = np.random.default_rng(7)
    x, c, d = rng.normal(size=(3, 4, 5))
    slope = np.asarray(0.25)
    f = lambda x, a: backend.function(registry.get("prelu"))(x, negative_slope=a)
    negative = np.minimum(x, 0)
    for mode in ("eager", "compiled", "xla", "vmapped", "reverse", "second"):
        result = harness.evaluate(f, [x, slope], wrt=(1,), mode=mode, dtype="float64", directions=[c])
        same(result.values, (c * negative).sum(), rtol=1e-12)
        result = harness.evaluate(f, [x, slope + 0 * x], wrt=(1,), mode=mode, dtype="float64")
        same(result.values, negative, rtol=1e-12)
    result = harness.evaluate(f, [x, slope], wrt=(1,), mode="forward", dtype="float64")
    same(result.values, negative, rtol=1e-12)
    soft = harness.function(registry.get("softmax"))
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    jacobian_c = p * (c - (p * c).sum(-1, keepdims=True))
    reference = harness.evaluate(tf.nn.softmax, [x], wrt=(0, 0), dtype="float64", directions=[c, d]).values
    for mode in harness.modes:
        result = harness.evaluate(soft, [x], wrt=(0,), mode=mode, dtype="float64", directions=[c])
        same(result.values, jacobian_c, rtol=1e-11)
        if mode != "forward":
            result = harness.evaluate(soft, [x], wrt=(0, 0), mode=mode, dtype="float64", directions=[c, d])
            same(result.values, reference, rtol=1e-10)


def test_the_natives_of_the_harness_are_our_functions():
    x = np.linspace(-3, 3, 25)
    names = dict.fromkeys(e.activation for e in table("tensorflow") if e.activation in registry.names())
    for activation in map(registry.get, names):
        for native in harness.natives(activation):
            inputs = [x, x[::-1]] if activation.kind == "gated" else [x]
            ours = partial(harness.function(activation), **native.parameters, **_side(activation))
            same(
                harness.evaluate(native.call, inputs, dtype="float64").values,
                harness.evaluate(ours, inputs, dtype="float64").values,
                rtol=1e-6,  # TensorFlow's GELU has the error of a constant in float32
                atol=1e-9,
            )
    assert harness.natives(registry.get("snake")) == ()


def _side(activation):
    """With two inputs, the value first."""
    return {"gate": "second"} if activation.kind == "gated" else {}


def test_the_harness_says_what_it_can_do():
    from multiact.protocols import Backend, Harness

    assert isinstance(harness, Harness)
    assert isinstance(backend, Backend)
    assert harness.devices()[0] == "cpu"
    assert harness.versions()["tensorflow"] == tf.__version__
    small = np.asarray([1e-40])
    kept = harness.evaluate(lambda x: x * 1, [small], dtype="float64").values
    assert kept == small
    assert "float16" not in harness.flushes()
    with pytest.raises(ValueError, match="mode must be one of"):
        harness.evaluate(tf.nn.relu, [small], mode="jit")
    with pytest.raises(ValueError, match="device must be one of"):
        harness.evaluate(tf.nn.relu, [small], device="tpu")
    assert harness.synchronise(tf.ones(2)).shape == (2,)
