"""Large NumPy arrays, evaluated by blocks and in threads, give the bits that evaluating them at once gives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

import multiact as ma
from multiact.backends.numpy import backend, blocks
from multiact.backends.numpy import namespace as fast
from multiact.declaration import Axiswise

plain = backend.namespace
AXISWISE = [n for n in ma.names() if isinstance(ma.get(n).function, Axiswise)]
ELEMENTWISE = [n for n in ma.names() if n not in AXISWISE]
DTYPES = ["float32", "float64", "float16", ml_dtypes.bfloat16]
SIZE = 1000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 1000 float32, from 100 elements on, in three threads."""
    monkeypatch.setattr(blocks, "BLOCK", 4 * SIZE)
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setenv(blocks.VARIABLE, "3")
    blocks._threads.cache_clear()
    blocks._pool.cache_clear()
    yield
    blocks._threads.cache_clear()
    blocks._pool.cache_clear()


@pytest.fixture
def filled(monkeypatch):
    """How many calls were evaluated by blocks."""
    calls, fill = [], blocks._fill
    monkeypatch.setattr(blocks, "_fill", lambda *given: calls.append(fill(*given)) or calls[-1])
    return calls


def numbers(shape, dtype="float32", seed=0):
    """Numbers of all magnitudes and signs, with infinities, NaN and zeros."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 3, size=shape)
    flat = x.reshape(-1)
    flat[:: max(flat.size // 7, 1)] = np.resize(
        [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0], flat[:: max(flat.size // 7, 1)].size
    )
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def at_once(function, *arguments, **options):
    with np.errstate(all="ignore"):
        return function.evaluate(plain, *arguments, **options)


def same(got, wanted):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    bits = f"u{got.dtype.itemsize}"
    differ = (np.ascontiguousarray(got).view(bits) != np.ascontiguousarray(wanted).view(bits)) & ~(
        np.isnan(got) & np.isnan(wanted)
    )
    assert not differ.any(), (np.argwhere(differ)[:3], got[differ][:3], wanted[differ][:3])


def inputs(activation, shape, dtype):
    return [numbers(shape, dtype, seed) for seed in range(2 if activation.kind == "gated" else 1)]


def defaults(activation):
    given = {p.name: p.default for p in activation.parameters}
    return list({**given, **(activation.examples[0] if None in given.values() else {})}.values())


def tower(function):
    """The function and its derivatives in the first argument."""
    while function is not None:
        yield function
        function = function.partial(function.arguments[0]) if function.order < 2 else None


@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_function_and_derivative_keeps_its_bits(name, dtype, filled):
    activation = ma.get(name)
    for node in tower(activation.function):
        for size in (SIZE - 1, 2 * SIZE, 2 * SIZE + 1, 2 * SIZE + 37):
            arguments = [*inputs(activation, size, dtype), *defaults(activation)]
            same(backend.elementwise(node)(*arguments), at_once(node, *arguments))
    assert all(filled)
    assert filled


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_parameter_of_each_channel_keeps_its_bits(name, filled):
    activation = ma.get(name)
    shape = (3, 5, 19, 11)
    arguments = inputs(activation, shape, "float32")
    for own in ((), (1,), (11,), (5, 1, 1), (1, 5, 1, 1), (3, 1, 1, 11), shape):
        parameters = [np.full(own, v, "float32") * np.float32(1) for v in defaults(activation)]
        same(
            backend.elementwise(activation.function)(*arguments, *parameters),
            at_once(activation.function, *arguments, *parameters),
        )
    assert len(filled) == 7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu", "mish", "snake", "relu"])
def test_every_layout(name, dtype, filled):
    x = numbers((6, 40, 50), dtype)
    function = ma.get(name).function
    layouts = [
        x,
        np.asfortranarray(x),
        x.transpose(0, 2, 1),
        x.transpose(1, 2, 0),
        x[:, ::2],
        x[:, :, ::3],
        x[::-1],
        x[:, :, :25],
        x[:, 1:, 1:].transpose(2, 0, 1),
        x.reshape(-1)[1:],
        x.reshape(1, 6, 1, 2000),
        np.broadcast_to(x[:, :1], (6, 300, 50)),
    ]
    for given in layouts:
        for parameter in (*defaults(ma.get(name)), *(numbers((), dtype) + 1 for _ in ma.get(name).parameters)):
            same(backend.elementwise(function)(given, parameter), at_once(function, given, parameter))
        if not ma.get(name).parameters:
            got = ma.get(name)(given)
            same(got, at_once(function, given))
            assert not np.shares_memory(got, x)
    assert len(filled) >= len(layouts)
    assert all(filled)


@pytest.mark.parametrize("gate", ["first", "second", "interleaved"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gated_units_of_one_array(axis, gate, filled):
    x = numbers((6, 40, 50))
    value, gate_side = backend.split(x, axis, gate, "swiglu")
    same(
        ma.swiglu(x, axis=axis, gate=gate),
        at_once(ma.get("swiglu").function, value, gate_side, *defaults(ma.get("swiglu"))),
    )
    assert filled == [True]


def test_numbers_for_each_element_lie_as_the_input_does(filled):
    x = numbers((40, 60)).T
    noise = np.random.default_rng(1).random(x.shape, "float32")
    *bounds, _ = defaults(ma.get("rrelu"))
    for a in (noise, np.asfortranarray(noise)):
        same(ma.rrelu(x, noise=a), at_once(ma.get("rrelu").function, x, *bounds, a))
    y = ma.rrelu(x, training=True, rng=3)
    assert y.shape == x.shape
    assert filled == [True] * 3


@pytest.mark.parametrize("name", AXISWISE)
def test_every_function_along_an_axis_keeps_its_bits(name, filled):
    activation = ma.get(name)
    function = activation.function
    options = {o.name: o.default for o in activation.options if not o.variants}
    for shape in ((4, 60, 12), (50, 60), (2, 3, 20, 32), (1, 4000), (1001, 4)):
        if function.ranks and len(shape) not in function.ranks:
            continue
        for axis in range(-len(shape), len(shape)) if "axis" in options else (None,):
            given = options if axis is None else {**options, "axis": axis}
            try:
                function.output_shape(shape, given)
            except ma.ShapeError:
                continue
            x = numbers(shape)
            x[np.isnan(x)] = 0.5
            parameters = [numbers(shape, seed=2) if v is None else v for v in defaults(activation)]
            for a in (x, np.asfortranarray(x), x[::-1]):
                same(backend.axiswise(function)(a, *parameters, **given), at_once(function, a, *parameters, **given))
    assert any(filled)
    assert all(filled)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_in_every_dtype(dtype, filled):
    x = numbers((3, 40, 50), dtype)
    mask = np.arange(50) % 3 > 0
    same(ma.softmax(x), at_once(ma.get("softmax").function, x, 1.0, axis=-1))
    temperature = np.full((3, 40, 1), 0.5, "float32")
    same(ma.softmax(x, temperature=temperature), at_once(ma.get("softmax").function, x, temperature, axis=-1))
    assert not ma.softmax(x, where=mask)[..., ~mask].any()
    assert filled == [True, True]


@pytest.mark.parametrize("shape", [(300 * SIZE,), (600, 2, 250)])
def test_16_bit_input_is_widened_block_by_block(shape):
    x = np.ones(shape, "float16")[..., : shape[-1] // 2]
    ma.gelu(x)
    tracemalloc.start()
    try:
        ma.gelu(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert x.nbytes < peak < 2 * x.nbytes  # the result, and not once more in float32


# The choice that does not branch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_gives_the_bits_of_numpy(dtype):
    x = numbers((30, 40), dtype)
    y = x[::-1] * 3
    masks = [x > 0, x > -np.inf, np.zeros_like(x, bool), np.ones_like(x, bool), (x > 0).T.copy().T, x[:, :1] > 0]
    sides = [x, y, x.T.copy().T, x[:1], x[:, :1], 0.0, -0.0, 2, np.inf, np.nan, x[0, 0], np.asarray(2.5, dtype)]
    for mask in [*masks, True, np.True_]:
        for a in sides:
            for b in sides:
                got, wanted = fast.where(mask, a, b), np.where(mask, a, b)
                assert got.dtype == wanted.dtype
                assert got.shape == wanted.shape
                assert got.tobytes() == wanted.tobytes()
                assert not any(np.shares_memory(got, s) for s in (x, y) if np.shape(mask))
    assert fast.where(x > 0, x.astype("float16"), 1.0).dtype == np.float16
    assert fast.where(x > 0, 1, 2).dtype == np.where(x > 0, 1, 2).dtype
    assert fast.where(x > 0, x.astype("float32"), x.astype("float64")).dtype == np.float64


# Threads


@pytest.fixture
def define():
    made = []

    def make(body):
        made.append(ma.define("mine", body, {"x": lambda xp, x, /: xp.ones_like(x)}))
        return made[-1]

    yield make
    for _ in made:
        ma.registry.unregister("mine")


def test_blocks_are_evaluated_in_several_threads(define):
    threads, barrier = set(), threading.Barrier(3, timeout=30)

    def body(xp, x, /):
        threads.add(threading.get_ident())
        if x[0] == 1:  # three of the six blocks wait for each other
            barrier.wait()
        return x * 2

    x = np.ones(6 * SIZE, "float32")
    x[: 3 * SIZE] = 0
    np.testing.assert_array_equal(define(body)(x), x * 2)
    assert len(threads) == 3


def test_one_thread_is_that_of_the_caller(define, monkeypatch):
    monkeypatch.setenv(blocks.VARIABLE, "1")
    threads = set()
    define(lambda xp, x, /: (threads.add(threading.get_ident()), x * 2)[1])(np.ones(20 * SIZE))
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_of_threads_is_named(value, monkeypatch):
    monkeypatch.setenv(blocks.VARIABLE, value)
    with pytest.raises(ma.ParameterError, match=f"{blocks.VARIABLE} must be a positive number.*{value}"):
        ma.gelu(np.ones(20 * SIZE))


def test_by_default_there_are_no_more_threads_than_processors(monkeypatch):
    monkeypatch.delenv(blocks.VARIABLE)
    assert 1 <= blocks._threads() <= os.cpu_count()


@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_exception_comes_through(define, at):
    def body(xp, x, /):
        if x[0] == at:
            raise ValueError(f"block {at}")
        return x

    f = define(body)
    x = np.repeat(np.arange(20.0), SIZE // 2)
    with pytest.raises(ValueError, match=f"block {at}"):
        f(x)
    assert (f(x + 100) == x + 100).all()


def test_no_thread_warns(recwarn):
    x = np.full(50 * SIZE, -1e30, "float32")
    with np.errstate(all="raise"):
        ma.exponential(-x)
        ma.softplus(x)
    assert not recwarn.list


def test_many_callers_at_once_do_not_wait_for_each_other():
    x = numbers(20 * SIZE)
    wanted = ma.mish(x)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: ma.mish(x), range(40)):
            same(got, wanted)


def test_a_formula_may_call_another_activation(define):
    f = define(lambda xp, x, /: ma.mish(xp.concat([x, x, x]))[: x.shape[0]])
    x = numbers(20 * SIZE)
    same(f(x), ma.mish(x))


FORK = """
import os, numpy as np, multiact as ma
from multiact.backends.numpy import blocks
x = np.linspace(-3, 3, 1 << 20)
wanted = ma.mish(x)
assert blocks._pool()._threads
child = os.fork()
assert np.array_equal(ma.mish(x), wanted)
assert blocks._pool().submit(int).result(30) == 0
assert child == 0 or os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own():
    program = f"import sys; sys.path[:] = {sys.path!r}\n{FORK}"  # without the frameworks, whose own threads mind a fork
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, blocks.VARIABLE: "3"})


# What stays as it was


def test_scalars_lists_and_subclasses(filled):
    assert isinstance(ma.silu(np.float32(1.0)), np.float32)
    assert isinstance(ma.silu(np.asarray(1.0)), np.float64)
    x = numbers(20 * SIZE).view(np.matrix)
    assert type(ma.silu(x)) is np.ndarray
    assert ma.silu(np.ones((0, 5000))).shape == (0, 5000)
    assert filled == [True]


def test_a_formula_of_another_dtype_or_shape_is_left_alone(define, filled):
    x = np.ones(20 * SIZE, "float32")
    assert define(lambda xp, x, /: xp.where(x > 0, 1.0, 0.0))(x).dtype == np.float64
    assert filled == [False]


def test_a_formula_of_another_dtype_in_some_blocks_is_left_alone(define, filled):
    x = np.repeat(np.arange(20.0, dtype="float32"), SIZE)
    f = define(lambda xp, x, /: xp.astype(x, xp.float64) if x[-1] == 19 else x)
    np.testing.assert_array_equal(f(x), x)
    assert f(x).dtype == np.float64
    assert filled == [False, False]


def test_a_parameter_larger_than_the_input_is_left_alone(filled):
    x, slope = np.full((1, 3000), -1.0), np.full((2, 1), 0.5)
    assert backend.elementwise(ma.get("prelu").function)(x, slope).shape == (2, 3000)
    assert not filled
