"""The derivatives that `multiact show` prints are those of the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multiact as ma
from multiact import symbolic

pytest.importorskip("sympy")
oracle = pytest.importorskip("multiact.conformance.oracle")

MATH = {name: getattr(math, name) for name in oracle.FUNCTIONS if hasattr(math, name)} | {"pi": math.pi}
MATH["Piecewise"] = lambda *pieces: next(value for value, holds in pieces if holds)
X = [-7.3, -3.2, -2.9, -0.9, -0.4, 0.3, 0.6, 1.7, 3.1, 6.2]


@pytest.mark.parametrize("name", [n for n in ma.names() if ma.get(n).kind == "pointwise"])
def test_the_text_has_the_value_of_the_derivative(name):
    a = ma.get(name)
    given = {p.name: p.default for p in a.parameters} | dict(a.examples[0] if a.examples else {})
    texts = symbolic.derivatives(a)
    assert len(texts) == 2
    for order, text in enumerate(texts, start=1):
        got = [eval(text, {"__builtins__": {}, **MATH, **given, "x": x}) for x in X]
        np.testing.assert_allclose(got, a.derivative(np.asarray(X), order=order, **given), rtol=1e-9, atol=1e-13)


def test_pieces_and_conditions():
    ma.define(
        "test_symbolic",
        lambda xp, x, /: x,
        {"x": lambda xp, x, /: x},
        definition="3 * (x**2 if not (x < 0 or 1 <= x < 2) else -x) + 0.5 * x",
    )
    try:
        text = symbolic.derivatives(ma.get("test_symbolic"))[0]
        assert "Piecewise" in text and "0.5" in text
    finally:
        ma.registry.unregister("test_symbolic")
    assert symbolic.derivatives(ma.get("relu")) == ["1 if x > 0 else 0", "0"]
    assert symbolic.derivatives(ma.get("softmax")) == symbolic.derivatives(ma.get("swiglu")) == []


def test_without_sympy(monkeypatch):
    monkeypatch.setattr(symbolic.importlib.util, "find_spec", lambda name: None)
    assert symbolic.derivatives(ma.get("gelu")) == []
