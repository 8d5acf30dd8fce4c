"""Eager calls on large tensors that come again and again are compiled by XLA, and give the same before, during and after."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import multiact as ma
from multiact import registry

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

from multiact.backends.tensorflow import backend, xla

SIZE = 1000


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """XLA from 100 elements on, at the third call."""
    monkeypatch.setattr(xla, "LARGE", 100)
    monkeypatch.setattr(xla, "CALLS", 3)
    monkeypatch.delenv(xla.VARIABLE, raising=False)
    xla._wanted.cache_clear()
    yield
    settle()
    xla._wanted.cache_clear()


@pytest.fixture
def compiled(monkeypatch):
    """The calls that were compiled: whether a tape recorded them, and the shapes of their tensors."""
    done, compile_ = [], xla.Recurring._compile

    def record(self, key, graph, recorded, like):
        compile_(self, key, graph, recorded, like)
        if self._found.get(key, graph) is not graph:
            done.append((recorded, *(tuple(shape) for shape, _, _ in like)))

    monkeypatch.setattr(xla.Recurring, "_compile", record)
    return done


@pytest.fixture
def define():
    made = []

    def make(body, slope=lambda xp, x, /: 7 * x, **given):
        made.append(f"recurring{len(made)}")
        return ma.define(made[-1], body, {"x": slope, **given.pop("also", {})}, **given)

    yield make
    settle()
    for name in made:
        registry.unregister(name)


@pytest.fixture
def marked(define):
    """alpha x^2 with wrong derivatives, by which one sees that they are used: 7, 11 and 13 where 2 and 1 are right."""
    return define(
        lambda xp, x, /, *, alpha: x * x * alpha,
        lambda xp, x, /, *, alpha: 7 * x * alpha,
        also={
            ("x", "x"): lambda xp, x, /, *, alpha: 11 * x * alpha,
            "alpha": lambda xp, x, /, *, alpha: 5 * x * xp.ones_like(x),
            ("x", "alpha"): lambda xp, x, /, *, alpha: 13 * x,
        },
        parameters={"alpha": 1.0},
    )


def settle():
    """Wait until XLA has compiled what was asked for."""
    for thread in threading.enumerate():
        if thread.name == "multiact-xla":
            thread.join()


def again(f, *arguments, calls=4):
    """Results before, during and after the switch, each a NumPy array."""
    results = [f(*arguments) for _ in range(calls)]
    settle()
    return [np.asarray(r, np.float64) for r in [*results, f(*arguments), f(*arguments)]]


def tape(f, order=1, **options):
    if order == 0:
        return f

    def gradient(x):
        with tf.GradientTape(**options) as t:
            t.watch(x)
            y = tape(f, order - 1, **options)(x)
        return t.gradient(y, x)

    return gradient


def forward(f):
    def tangent(x):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            y = f(x)
        return accumulator.jvp(y)

    return tangent


def numbers(size=SIZE, dtype="float32"):
    return tf.constant(np.random.default_rng(0).normal(size=size) * 3, dtype)


def all_same(results, wanted, rtol=1e-6):
    for got in results:
        np.testing.assert_allclose(got, np.asarray(wanted, np.float64), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["gelu", "mish", "softplus"])
def test_value_and_gradient_keep_the_budget(name, dtype, compiled):
    x = numbers(dtype=dtype)
    wide, budget = x.numpy().astype(np.float64), 4 if dtype == "float32" else 8  # for float64 both have an error
    activation = ma.get(name)
    f, slope, curve = activation(wide), activation.derivative(wide), activation.derivative(wide, order=2)
    ulp = lambda v: np.spacing(np.abs(v).astype(dtype)).astype(np.float64)
    for g, true, derivative in ((activation, f, slope), (tape(activation), slope, curve)):
        for got in again(g, x):
            error = np.abs(got - true) / (ulp(true) + np.abs(derivative) * ulp(x.numpy()))
            assert error.max() <= budget
    assert compiled == [(False, (SIZE,)), (True, (SIZE,))]


@pytest.mark.parametrize("name", ["softmax", "swiglu", "prelu", "log_softmax"])
def test_axes_gates_and_parameters(name, compiled):
    x = numbers((10, 100))
    f, axis = ma.get(name), {}
    reference = backend.function(f)
    cotangent = numbers((10, 100 if name != "swiglu" else 50))

    def gradient(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = f(x, **axis)
        return t.gradient(y, x, cotangent)

    in_graph = tf.function(lambda x: (reference(x), gradient(x)), autograph=False)
    value, slope = in_graph(x)
    all_same(again(f, x), value, 1e-5)
    for got in again(gradient, x):
        np.testing.assert_allclose(got, slope, rtol=1e-5, atol=1e-6)
    assert [recorded for recorded, *_ in compiled] == [False, True]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_tensors_are_rounded_once(dtype, compiled):
    x = numbers(dtype=dtype)
    wide = tf.cast(x, tf.float32)
    for f in (ma.mish, tape(ma.mish)):
        wanted = tf.cast(f(wide), dtype).numpy().astype(np.float64)
        for got in again(f, x):
            assert (got == wanted).mean() > 0.99
            np.testing.assert_allclose(got, wanted, rtol=2.0**-7)
    assert compiled


# Every way to differentiate uses the declared derivative


@pytest.mark.parametrize("persistent", [False, True])
def test_tapes_of_every_order(marked, persistent):
    x = numbers()
    for order, wanted in ((0, x * x), (1, 7 * x), (2, 11 * x), (3, 11 * tf.ones(SIZE)), (1, 7 * x)):
        all_same(again(tape(marked, order, persistent=persistent), x), wanted)


@pytest.mark.parametrize("known", [True, False])
def test_forward_mode_and_its_mixtures(marked, compiled, known):
    x = numbers()
    if known:
        all_same(again(marked, x), x * x)
        all_same(again(tape(marked), x), 7 * x)
    before = list(compiled)
    assert len(before) == 2 * known
    all_same(again(forward(marked), x), 7 * x)
    all_same(again(forward(tape(marked)), x), 11 * x)
    all_same(again(tape(tape(marked)), x), 11 * x)
    all_same(again(tape(marked, persistent=True), x), 7 * x)
    assert all(not recorded for recorded, *_ in compiled[2 * known :])  # XLA would compile these anew, for each way


def test_inside_functions_and_maps(marked):
    x = numbers((20, 50))
    again(marked, x)
    again(tape(marked), x)
    row = tf.function(lambda x: tape(marked)(x), autograph=False)
    all_same(again(row, x), 7 * x)
    all_same(again(tape(tf.function(lambda x: marked(x), autograph=False)), x), 7 * x)
    all_same(again(lambda x: tf.vectorized_map(lambda r: marked(r), x), x), x * x)
    all_same(again(lambda x: tf.vectorized_map(tape(lambda r: marked(r)), x), x), 7 * x)


@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("pfor", [True, False])
def test_jacobian(marked, pfor, persistent):
    x = numbers(120)
    again(tape(marked), x)

    def jacobian(x):
        with tf.GradientTape(persistent=persistent or not pfor) as t:
            t.watch(x)
            y = marked(x)
        return t.jacobian(y, x, experimental_use_pfor=pfor)

    all_same(again(jacobian, x), np.diag(7 * x.numpy()))


def test_an_outer_tape_that_watches_the_cotangent(marked):
    x, weight = numbers(), numbers(1)
    again(tape(marked), x)

    def gradient(weight):
        with tf.GradientTape() as outer:
            outer.watch(weight)
            with tf.GradientTape() as t:
                t.watch(x)
                y = marked(x)
            slope = t.gradient(y, x, weight * tf.ones(SIZE))
        return outer.gradient(slope, weight)

    all_same(again(gradient, weight), [np.sum(7 * x.numpy().astype(np.float64))], 1e-5)


def test_variables_and_parameters(marked, compiled):
    x, alpha = tf.Variable(numbers((10, 100))), tf.Variable(2.0)

    def gradients():
        with tf.GradientTape() as t:
            y = marked(x, alpha=alpha)
        return t.gradient(y, [x, alpha])

    for k in range(5):
        alpha.assign(2.0 + k)
        dx, dalpha = gradients()
        all_same([dx], 7 * x * alpha)
        all_same([dalpha], 5 * tf.reduce_sum(x), 1e-4)
        if k == 3:
            settle()
    assert compiled == [(True, (10, 100), ())]


def test_a_missing_derivative_still_raises(define):
    f = define(
        lambda xp, x, /, *, alpha: x * alpha,
        lambda xp, x, /, *, alpha: alpha * xp.ones_like(x),
        parameters={"alpha": 2.0},
    )
    x, alpha = numbers(), tf.constant(3.0)
    all_same(again(lambda x: f(x, alpha=alpha), x), 3 * x)
    all_same(again(tape(lambda x: f(x, alpha=alpha)), x), 3 * tf.ones(SIZE))
    for _ in range(5):
        with pytest.raises(ma.MissingDerivativeError, match="alpha"):
            tape(lambda a: f(x, alpha=a))(alpha)
        settle()


# What is compiled, and what is not


def test_nothing_waits_for_the_compiler(marked, compiled, monkeypatch):
    x, gate = numbers(), threading.Event()
    slow, found = xla.Recurring._compile, []
    monkeypatch.setattr(xla.Recurring, "_compile", lambda self, *given: (gate.wait(30), slow(self, *given))[1])
    for _ in range(10):
        found.append(marked(x))
    assert not compiled
    gate.set()
    settle()
    assert compiled == [(False, (SIZE,))]
    all_same([*found, marked(x)], x * x)


def test_small_tensors_and_shapes_that_do_not_recur_are_not_compiled(marked, compiled):
    for size in range(100, 140):
        marked(tf.ones(size))
    for _ in range(10):
        marked(tf.ones(99))
        tape(marked)(tf.ones(99))
    settle()
    assert not compiled


def test_no_more_shapes_are_compiled_than_a_limit(define, compiled, monkeypatch):
    monkeypatch.setattr(xla, "COMPILED", 3)
    f = define(lambda xp, x, /: x * x)
    for size in range(100, 106):
        all_same(again(f, tf.fill([size], 3.0)), [9.0] * size)
    assert compiled == [(False, (size,)) for size in range(100, 103)]


def test_what_xla_cannot_compile_stays_a_graph_with_one_warning(define, compiled):
    f = define(lambda xp, x, /: tf.ensure_shape(tf.numpy_function(lambda v: v * 2, [x], x.dtype), x.shape))
    x = numbers()

    def use():
        for _ in range(4):
            all_same([f(x)], 2 * x)  # the last of them may find it already
        settle()
        for _ in range(4):
            all_same([f(x)], 2 * x)
            all_same([tape(f)(x)], 7 * x)
        settle()

    with pytest.warns(RuntimeWarning, match="recurring0: XLA cannot compile it") as warned:
        use()
    assert len([w for w in warned if "XLA cannot compile it" in str(w.message)]) == 1
    assert not compiled


def test_never(marked, compiled, monkeypatch):
    monkeypatch.setenv(xla.VARIABLE, "never")
    xla._wanted.cache_clear()
    again(marked, numbers())
    assert not compiled
    monkeypatch.setenv(xla.VARIABLE, "sometimes")
    xla._wanted.cache_clear()
    with pytest.raises(ma.ParameterError, match=f"{xla.VARIABLE} must be auto or never. Received: 'sometimes'"):
        marked(numbers())


def operations(function, *like):
    """The kinds of all operations of a tf.function, those of the functions that it calls among them."""
    graph = function.get_concrete_function(*like).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize(("name", "own"), [("sine", {"Sin", "Cos"}), ("cosine", {"Sin", "Cos"}), ("arctan", {"Atan"})])
def test_what_xla_does_one_number_at_a_time_has_another_formula_there(name, own):
    x = tf.constant(np.linspace(-1e6, 1e6, SIZE).astype(np.float32))
    exact = {"sine": np.sin, "cosine": np.cos, "arctan": np.arctan}[name](x.numpy().astype(np.float64))
    f = lambda x: getattr(ma, name)(x)
    outside, inside = tf.function(f), tf.function(f, jit_compile=True)
    nested = tf.function(lambda x: outside(x), jit_compile=True)
    assert operations(outside, x) & own and operations(outside, x) == operations(tf.function(f), x)
    assert not operations(inside, x) & own
    for function in (outside, inside, nested):
        np.testing.assert_allclose(function(x), exact, rtol=5e-7, atol=1e-30)

    with tf.GradientTape() as tape:  # which asks for the gradient when the function has been compiled
        tape.watch(x)
        y = inside(x)
    outer = tape.gradient(y, x)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x)

    for found in (outer, tf.function(gradient)(x), tf.function(gradient, jit_compile=True)(x)):
        np.testing.assert_allclose(found, gradient(x), rtol=1e-6, atol=1e-20)
    assert not operations(tf.function(gradient, jit_compile=True), x) & own
