"""Every formula runs on the strict reference implementation of the array API standard, and gives what it gives on NumPy."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest

import multiact as ma
from multiact import dispatch
from multiact.conformance.purity import Impure, compare
from multiact.declaration import Axiswise
from multiact.registry import pointwise, unregister

numpy = dispatch.backend("numpy").namespace
ELEMENTWISE = [n for n in ma.names() if not isinstance(ma.get(n).function, Axiswise)]
AXISWISE = [n for n in ma.names() if isinstance(ma.get(n).function, Axiswise)]
POINTS = np.asarray(
    [-np.inf, -1e300, -1e30, -500.0, -88.0, -30.0, -9.5, -6.0, -3.0, -2.5, -1.0, -0.7, -0.5, -0.1, -1e-5, -1e-30, -0.0]
    + [np.nan]
)
POINTS = np.concatenate([POINTS, -POINTS[::-1]])


def settings(activation):
    defaults = {p.name: p.default for p in activation.parameters}
    return [g for g in (defaults, *({**defaults, **e} for e in activation.examples)) if None not in g.values()]


def tower(function, depth=2):
    """The function and its partials down to second derivatives."""
    yield function
    if depth:
        for argument in function.arguments:
            partial = function.partial(argument)
            if partial is not None:
                yield from tower(partial, depth - 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_formula_is_pure(name, dtype):
    activation = ma.get(name)
    with np.errstate(over="ignore"):
        points = POINTS.astype(dtype)
    inputs = [points] if activation.kind == "pointwise" else [points, points[::-1].copy()]
    for given in settings(activation):
        numbers = list(given.values())
        for node in tower(activation.function):
            compare(node, [*inputs, *numbers], dtype)
            compare(node, [*inputs, *(np.asarray(v, dtype=dtype) for v in numbers)], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", AXISWISE)
def test_every_axiswise_formula_is_pure(name, dtype):
    activation = ma.get(name)
    function = activation.function
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 6, 2)).astype(dtype)
    x[0, 1], x[1] = -np.inf, 400.0
    direction = rng.normal(size=x.shape).astype(dtype)
    numbers = [p.default for p in activation.held]
    noise = [rng.normal(size=x.shape).astype(dtype)] if activation.random else []  # random numbers are an array too
    options = {o.name: o.default for o in activation.options if not o.variants}
    y = np.asarray(function.value(numpy, x, *numbers, *noise, **options))
    compare(lambda xp, x, *n: function.value(xp, x, *numbers, *n, **options), [x, *noise], dtype, y.shape)
    constant = [None] * (len(numbers) + len(noise))
    compare(
        lambda xp, x, y, d, *n: function.jvp(xp, [x, *numbers, *n], y, [d, *constant], **options),
        [x, y, direction, *noise],
        dtype,
        y.shape,
    )
    needed = [True] * (1 + len(constant))
    cotangent = rng.normal(size=y.shape).astype(dtype)
    compare(
        lambda xp, x, y, d, *n: function.vjp(xp, [x, *numbers, *n], y, d, needed, **options),
        [x, y, cotangent, *noise],
        dtype,
    )


@pytest.mark.parametrize("name", ma.names())
def test_public_functions_take_strict_arrays(name):
    activation = ma.get(name)
    x = np.linspace(-4, 4, 24).reshape(2, 3, 4)
    for given in settings(activation):
        got = activation(strict.asarray(x), **given)
        assert isinstance(got, type(strict.asarray(x)))
        np.testing.assert_array_equal(np.asarray(got), activation(x, **given))


@pytest.mark.parametrize(
    "formula",
    [
        lambda xp, x, /: np.multiply(np.asarray(x), 2.0),  # leaves the namespace
        lambda xp, x, /: x * np.float64(2.0),  # a constant that is not a Python number
        lambda xp, x, /: xp.where(x > 0, 1.0, 0.0),  # no array to take the dtype from
        lambda xp, x, /: (x > 0) * x,  # a boolean used as a number
        lambda xp, x, /: xp.erf(x),  # not in the standard
        lambda xp, x, /: xp.astype(x, xp.float64),  # another dtype
    ],
    ids=["numpy function", "numpy constant", "where of numbers", "boolean product", "not standard", "dtype"],
)
def test_an_impure_formula_is_caught(formula):
    activation = pointwise("test_impure", formula, {"x": formula})
    try:
        with pytest.raises(Impure):
            compare(activation.function, [POINTS.astype("float32")], "float32")
    finally:
        unregister("test_impure")
