"""Arithmetic with twice the digits, and results that are moved off a tie."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import array_api_compat.numpy as xp
import ml_dtypes
import numpy as np
import pytest

import multiact as ma
from multiact import numerics
from multiact.catalog.rational import pade
from multiact.conformance import cases

DTYPES = (np.float32, np.float64)


def pairs(dtype):
    random = np.random.default_rng(5)
    a, b = (random.normal(size=300) * 10.0 ** random.uniform(-6, 6, 300) for _ in range(2))
    return a.astype(dtype), b.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_and_what_its_rounding_loses_are_exact(dtype):
    a, b = pairs(dtype)
    total, lost = numerics.exact_sum(xp, a, b)
    assert (total == a + b).all()
    for p, q, t, rest in zip(*(v.tolist() for v in (a, b, total, lost))):
        assert Fraction(p) + Fraction(q) == Fraction(t) + Fraction(rest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_has_twice_the_digits(dtype):
    a, b = pairs(dtype)
    product, lost = numerics.exact_product(xp, a, b)
    unit = Fraction(float(np.finfo(dtype).eps)) ** 2
    for p, q, t, rest in zip(*(v.tolist() for v in (a, b, product, lost))):
        true = Fraction(p) * Fraction(q)
        assert abs(true - Fraction(t) - Fraction(rest)) <= unit * abs(true)


@pytest.mark.parametrize("bits", [7, 12, 17])
def test_a_split_has_a_head_of_so_many_bits(bits):
    x = pairs(np.float32)[0]
    head, tail = numerics.split(xp, x, bits)
    assert (head + tail == x).all()
    mantissa = np.frexp(head.astype(np.float64))[0] * 2.0**bits
    assert (mantissa == np.rint(mantissa)).all()


def test_float64_is_used_where_there_is_one():
    def call(double, x):
        assert double == (x.dtype == np.float64)
        return x / 3

    x = np.asarray([1.0, 2.0], np.float32)
    y = numerics.with_twice_the_digits(xp, call, x)
    assert y.dtype == np.float32 and (y == (np.asarray([1.0, 2.0]) / 3).astype(np.float32)).all()
    bare = SimpleNamespace(float64=np.dtype(np.float64))  # a namespace that says nothing
    assert numerics.with_twice_the_digits(bare, call, x).dtype == np.float32


@pytest.mark.parametrize("coefficients", [(0.1, 1.0, 0.25, 0.5), (0.0, -2.0, -0.25, 3.0)])
def test_pairs_and_float64_agree(coefficients):
    unit = pade(1, 2, coefficients)
    x = np.linspace(-4, 4, 101, dtype=np.float32)
    bare = SimpleNamespace(**{n: getattr(np, n) for n in ("where", "zeros_like", "ones_like", "abs", "float64")})
    given = dict(zip((p.name for p in unit.parameters), coefficients))
    for wrt in ((), ("x",), ("x", "x"), ("p1",), ("q2",)):
        node = unit.function
        for name in wrt:
            node = node.partial(name)
        by_pairs, by_double = (node(namespace, x, *given.values()) for namespace in (bare, xp))
        assert by_pairs.dtype == by_double.dtype == np.float32
        np.testing.assert_allclose(by_pairs, by_double, rtol=3e-7, atol=5e-8)  # 1 / x is rounded in float32


@pytest.mark.parametrize(
    ("name", "x", "side"), [("e_swish", 2.0**-40, 1), ("e_swish", -(2.0**-40), -1), ("siren", 2.0**-40, -1)]
)
def test_a_result_beside_a_tie_is_rounded_to_its_side(name, x, side):
    # 1.5 x / 2 and 30 x are halfway between two bfloat16 numbers for these x, and the rest is less than float32 holds.
    numbers = x * (1 + np.arange(128) / 128)
    slope = {"e_swish": 0.75, "siren": 30.0}[name]
    ties = [v for v in numbers.tolist() if float(ml_dtypes.bfloat16(slope * v)) != slope * v]
    ties = [v for v in ties if slope * v * 2.0**60 % 1 == 0 and _halfway(slope * v)]
    assert ties
    y = np.asarray(ma.get(name)(np.asarray(ties, ml_dtypes.bfloat16)), np.float64)
    assert (np.sign(np.abs(y) - np.abs(slope * np.asarray(ties))) == side).all()


def _halfway(value):
    below, above = (float(ml_dtypes.bfloat16(value * (1 + sign * 2.0**-12))) for sign in (-1, 1))
    return below + above == 2 * value and below != above


def test_a_sign_that_an_ulp_of_the_input_decides_is_not_asked_for():
    def judged(name, order):
        activation = ma.get(name)
        case = cases.Case(cases.subjects(activation)[0], "eager", order, "float64", "cpu", None, None)
        data = cases.data(case)
        finite = np.isfinite(data.arrays[0])
        return data.judged[finite], data.arrays[0][finite]

    asked, x = judged("finer", 2)
    assert not asked[np.abs(x) > 1e200].any() and asked[np.abs(x) < 1e100].all()
    for order in (0, 1, 2):  # what overflows with a sign that is known is asked for
        assert judged("exponential", order)[0].all()
