"""Every formula must also be right under plain automatic differentiation: some framework paths bypass custom rules."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma
from multiact.conformance import oracle

jax = pytest.importorskip("jax")
namespace = pytest.importorskip("multiact.backends.jax").backend.namespace

POINTWISE = [n for n in ma.names() if ma.get(n).kind == "pointwise"]
NUMBERS = [
    0.0,
    -0.0,
    1e-8,
    -1e-8,
    0.3,
    -0.3,
    1.0,
    -1.0,
    2.5,
    -2.5,
    7.0,
    -7.0,
    30.0,
    -30.0,
    150.0,
    -150.0,
    1e6,
    -1e6,
    1e20,
    -1e20,
]


def settings(activation):
    required = {p.name: 1.0 for p in activation.parameters if p.default is None}
    yield {p.name: required.get(p.name, p.default) for p in activation.parameters}
    for example in activation.examples:
        yield {p.name: example.get(p.name, p.default) for p in activation.parameters}


def knots(activation, parameters):
    return [float(eval(kink, {}, parameters)) for kink in activation.kinks]


def points(activation, parameters, numbers=NUMBERS):
    """Those numbers, and the kinks, for which the definition has a value."""
    x = np.asarray([*numbers, *knots(activation, parameters)])
    inputs = {"x": x, **{n: np.full_like(x, v) for n, v in parameters.items()}}
    return x[~np.isnan(oracle.derivatives(activation.definition, inputs, [()])[()][0])]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", POINTWISE)
def test_derivative_of_each_formula_is_the_next_one(name):
    activation = ma.get(name)
    for parameters in settings(activation):
        x = points(activation, parameters)
        values = list(parameters.values())
        node = activation.function
        for order in (1, 2):
            body = node

            def alone(v, body=body, values=values):
                return body(namespace, v, *values)

            node = node.partial("x")
            declared = np.asarray(node(namespace, x, *values))
            found = np.asarray(jax.vmap(jax.grad(alone))(x))
            assert not np.isnan(declared).any(), f"{name} {parameters} order {order}: NaN from a number at {x}"
            np.testing.assert_allclose(
                found, declared, rtol=1e-9, atol=1e-14, err_msg=f"{name} {parameters} order {order} at {x}"
            )


@pytest.mark.parametrize("name", [n for n in POINTWISE if ma.get(n).parameters])
def test_derivative_in_each_parameter(name):
    activation = ma.get(name)
    for parameters in settings(activation):
        x = points(activation, parameters, [v for v in NUMBERS if abs(v) < 1e5])
        values = [np.full_like(x, v) for v in parameters.values()]
        for i, parameter in enumerate(parameters):
            declared = np.asarray(activation.function.partial(parameter)(namespace, x, *values))

            def total(v, i=i):
                return jax.numpy.sum(activation.function(namespace, x, *values[:i], v, *values[i + 1 :]))

            found = np.asarray(jax.grad(total)(values[i]))
            np.testing.assert_allclose(
                found, declared, rtol=1e-9, atol=1e-12, err_msg=f"{name} {parameters} {parameter}"
            )


@pytest.mark.parametrize("name", POINTWISE)
def test_third_derivative_is_finite(name):
    activation = ma.get(name)
    for parameters in settings(activation):
        x = points(activation, parameters)
        values = list(parameters.values())
        second = activation.function.partial("x").partial("x")
        third = jax.vmap(jax.grad(lambda v: second(namespace, v, *values)))(x)
        keep = np.isfinite(second(namespace, x, *values))  # it may overflow
        assert np.isfinite(np.asarray(third)[keep]).all(), f"{name} {parameters}: {third}"
