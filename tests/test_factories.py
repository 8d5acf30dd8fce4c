"""Activations made with any number of parameters: adaptive piecewise linear units and Padé activation units."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma
from multiact.catalog.learned_rectifiers import apl
from multiact.catalog.rational import pade

X = np.asarray([-50.0, -7.3, -2.1, -1.03, -0.6, -0.02, 0.01, 0.4, 0.97, 1.04, 3.3, 60.0])
COEFFICIENTS = {
    (3, 2): [0.1, 1.0, -0.5, 0.25, 0.5, -0.75],
    (2, 3): [0.1, 1.0, 0.5, 0.3, 0.2, -0.4],
    (1, 1): [0.5, 1, 2],
}


def rational(x, c, m):
    p = sum(v * x**i for i, v in enumerate(c[: m + 1]))
    return p / (1 + abs(sum(v * x**j for j, v in enumerate(c[m + 1 :], 1))))


def hinged(x, a, b):
    return np.maximum(x, 0) + sum(s * np.maximum(t - x, 0) for s, t in zip(a, b))


def slopes_agree(activation, given):
    h = 1e-6
    for order in (1, 2):

        def lower(x, order=order):
            return activation(x, **given) if order == 1 else activation.derivative(x, **given)

        np.testing.assert_allclose(
            activation.derivative(X, order=order, **given),
            (lower(X + h) - lower(X - h)) / (2 * h),
            rtol=1e-6,
            atol=1e-8,
        )
    for name, value in given.items():
        up, down = {**given, name: value + h}, {**given, name: value - h}
        difference = (activation(X, **up) - activation(X, **down)) / (2 * h)
        np.testing.assert_allclose(activation.derivative(X, wrt=name, **given), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("m", "n"), COEFFICIENTS)
def test_rational_functions_of_other_degrees(m, n):
    c = COEFFICIENTS[m, n]
    activation = pade(m, n, c)
    given = {p.name: p.default for p in activation.parameters}
    assert list(given.values()) == c
    np.testing.assert_allclose(activation(X), rational(X, c, m), rtol=1e-13)
    slopes_agree(activation, given)


@pytest.mark.parametrize("hinges", [1, 3, 5])
def test_any_number_of_hinges(hinges):
    a, b = [0.3, -0.2, 0.15, 0.1, -0.4][:hinges], [0.5, -1.5, 0.1, 2.2, -0.3][:hinges]
    activation = apl(hinges)
    given = {f"{n}{s}": v for n, values in (("a", a), ("b", b)) for s, v in enumerate(values, 1)}
    assert {p.name for p in activation.parameters} == set(given)
    np.testing.assert_allclose(activation(X, **given), hinged(X, a, b), rtol=1e-13, atol=1e-15)
    slopes_agree(activation, given)


def test_hinges_that_cancel_far_to_the_left():
    far = np.asarray([-np.inf, -1e308, np.inf])
    level = apl(2)(far, a1=2.0, b1=1.0, a2=-2.0, b2=0.25)
    assert level.tolist() == [1.5, 1.5, np.inf]


def test_what_is_not_asked_to_be_listed_is_not():
    made = [apl(3), pade(3, 2, COEFFICIENTS[3, 2])]
    assert not {a.name for a in made} & set(ma.names())
    torch = pytest.importorskip("torch")
    from multiact.backends.torch import backend

    x = torch.tensor(X, requires_grad=True)
    for activation in made:
        (slope,) = torch.autograd.grad(activation(x).sum(), x)
        np.testing.assert_allclose(slope.numpy(), activation.derivative(X))
        module = backend.layer(activation)().double()
        assert {n for n, _ in module.named_parameters()} == {p.name for p in activation.parameters}
        module(x).sum().backward()
        np.testing.assert_allclose(module(x).detach().numpy(), activation(X), rtol=1e-6)


def test_numbers_that_are_refused():
    for hinges in (0, -1, 1.0, True):
        with pytest.raises(ma.DefinitionError, match=f"positive number of hinges. Received: hinges={hinges}"):
            apl(hinges)
    with pytest.raises(ma.DefinitionError, match="Received: n=0"):
        pade(5, 0, [])
    with pytest.raises(ma.DefinitionError, match="needs 6 coefficients, p0 to p3 and q1 to q2. Received: 5"):
        pade(3, 2, [1.0] * 5)


def test_the_default_rational_function_is_nearly_a_leaky_relu():
    x = np.linspace(-3, 3, 601)
    assert np.abs(ma.pau(x) - ma.leaky_relu(x)).max() < 0.04


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rational_function_is_never_nan(dtype):
    largest = float(np.finfo(dtype).max)
    x = np.asarray([-np.inf, -largest, -1e30, -1e8, 0.0, 1e8, 1e30, largest, np.inf], dtype=dtype)
    pau = ma.get("pau")
    with np.errstate(over="ignore"):
        found = [pau(x), pau.derivative(x), pau.derivative(x, order=2)]
        found += [pau.derivative(x, wrt=p.name) for p in pau.parameters]
    assert not np.isnan(found).any()
