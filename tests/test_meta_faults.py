"""Faults that the conformance suite must catch, each beside a healthy twin that it must pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import multiact
from multiact import registry
from multiact.conformance import runner
from multiact.declaration import Activation, parameter
from multiact.protocols import Native, Result
from multiact.registry import pointwise

SIGMOID = "1 / (1 + exp(-x))"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def declare():
    """Declares activations for one test."""
    made = []

    def make(
        name: str, value: Callable[..., Any], derivatives: dict[Any, Callable[..., Any]], **facts: Any
    ) -> Activation:
        made.append(pointwise(name, value, derivatives, **facts))
        return made[-1]

    yield make
    for activation in made:
        registry.unregister(activation.name)


def run(
    activation: Activation, dtype: str = "float32", harness: Any = None, backend: str = "numpy"
) -> dict[Any, runner.Row]:
    """The rows by (mode, order, form); the real runner, the real harness unless one is given."""
    asked = runner.request([backend], [activation.name], [dtype])
    rows = runner.run_here(harness or runner.load_harness(backend), asked)
    assert rows
    return {(r.mode, r.order, "arrays" if "(arrays)" in r.setting else r.setting): r for r in rows}


def verdicts(rows: dict[Any, runner.Row]) -> dict[Any, str]:
    return {order: row.verdict for (_, order, _), row in rows.items()}


# One-exponential sigmoid, right to the tails; the healthy base of several twins.
def u(xp, x):
    return xp.exp(xp.where(x >= 0, -x, x))


def sigmoid(xp, x, /):
    return xp.where(x >= 0, xp.ones_like(x), u(xp, x)) / (1 + u(xp, x))


def sigmoid_slope(xp, x, /):
    return u(xp, x) / ((1 + u(xp, x)) * (1 + u(xp, x)))


def sigmoid_curvature(xp, x, /):
    e = u(xp, x)
    slope = e / ((1 + e) * (1 + e))
    return xp.where(x >= 0, -slope, slope) * (-xp.expm1(xp.where(x >= 0, -x, x)) / (1 + e))


FIRST = {"x": sigmoid_slope, ("x", "x"): sigmoid_curvature}


def test_a_wrong_constant(declare):
    def relu6(top):
        return {
            "value": lambda xp, x, /: xp.where(x > top, xp.full_like(x, top), xp.where(x > 0, x, 0 * x)),
            "slope": lambda xp, x, /: xp.where(
                xp.isnan(x), x, xp.where((x > 0) & (x < 6), xp.ones_like(x), xp.zeros_like(x))
            ),
            "zero": lambda xp, x, /: xp.where(xp.isnan(x), x, xp.zeros_like(x)),
        }

    facts = {"definition": "0 if x <= 0 else 6 if x >= 6 else x", "kinks": ("0", "6")}
    for name, top, expected in (("meta_right", 6.0, "pass"), ("meta_constant", 6.00001, "fail")):
        f = relu6(top)
        value = f["value"]
        # -inf * 0 would be NaN, a fault of its own.
        clean = lambda xp, x, /, value=value: value(xp, xp.where(x < -1, -xp.ones_like(x), x))
        rows = run(declare(name, clean, {"x": f["slope"], ("x", "x"): f["zero"]}, **facts))
        assert verdicts(rows) == {0: expected, 1: "pass", 2: "pass"}
    failing = rows["eager", 0, ""]
    assert failing.worst_at >= 6 and failing.wanted == 6.0 and failing.got == pytest.approx(6.00001)
    assert "budget 4" in failing.reason


def test_a_constant_wrong_in_the_sixth_digit_in_16_bits(declare):
    def scaled(c):
        return (
            lambda xp, x, /: c * x,
            {
                "x": lambda xp, x, /: xp.where(xp.isnan(x), x, xp.full_like(x, c)),
                ("x", "x"): lambda xp, x, /: xp.where(xp.isnan(x), x, xp.zeros_like(x)),
            },
        )

    for name, c, expected in (("meta_right", 1.0507009, "pass"), ("meta_constant", 1.0537, "fail")):
        rows = run(declare(name, *scaled(c), definition="1.0507009 * x"), dtype="bfloat16")
        assert rows["eager", 0, ""].verdict == expected, rows["eager", 0, ""]
        assert rows["eager", 0, ""].points == 65536


def test_a_wrong_branch_beyond_a_kink(declare):
    def slope(side):
        def body(xp, x, /):
            at = (
                xp.where(x >= 0.5, xp.ones_like(x), xp.zeros_like(x))
                if side == "wrong"
                else xp.where(x > 0.5, xp.ones_like(x), xp.zeros_like(x))
            )
            return xp.where(xp.isnan(x), x, at)

        return body

    def value(xp, x, /):
        return xp.where(x > 0.5, x - 0.5, xp.where(xp.isnan(x), x, xp.zeros_like(x)))

    zero = lambda xp, x, /: xp.where(xp.isnan(x), x, xp.zeros_like(x))
    facts = {"definition": "x - 0.5 if x > 0.5 else 0", "kinks": ("0.5",)}
    assert verdicts(run(declare("meta_right", value, {"x": slope("right"), ("x", "x"): zero}, **facts)))[1] == "pass"
    rows = run(declare("meta_kink", value, {"x": slope("wrong"), ("x", "x"): zero}, **facts))
    assert verdicts(rows) == {0: "pass", 1: "fail", 2: "pass"}
    # Wrong at one point only, which the points therefore have to hold.
    assert rows["eager", 1, ""].worst_at == 0.5


def test_a_derivative_that_saturates(declare):
    def from_result(xp, x, /):
        y = sigmoid(xp, x)
        return y * (1 - y)

    assert verdicts(run(declare("meta_right", sigmoid, FIRST, definition=SIGMOID))) == dict.fromkeys((0, 1, 2), "pass")
    rows = run(declare("meta_saturates", sigmoid, {**FIRST, "x": from_result}, definition=SIGMOID))
    assert verdicts(rows) == {0: "pass", 1: "fail", 2: "pass"}
    assert rows["eager", 1, ""].worst_at > 10


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_a_dropped_parameter_gradient(declare, backend):
    pytest.importorskip(backend)

    def value(xp, x, /, *, a=2.0):
        return a * x

    def slope(xp, x, /, *, a=2.0):
        return xp.where(xp.isnan(x), x, a + xp.zeros_like(x))

    def zero(xp, x, /, **_):
        return xp.where(xp.isnan(x), x, xp.zeros_like(x))

    def build(name, partial):
        derivatives = {"x": slope, ("x", "x"): zero, "a": partial}
        return declare(name, value, derivatives, parameters=[parameter("a", 2.0)], definition="a * x")

    right = run(build("meta_right", lambda xp, x, /, *, a=2.0: x), backend=backend)
    assert {r.verdict for r in right.values()} == {"pass"}
    rows = run(build("meta_dropped", zero), backend=backend)
    assert {order for (_, order, _), r in rows.items() if r.verdict == "fail"} == {"a"}
    failing = [r for r in rows.values() if r.order == "a"]
    assert all(r.verdict == "fail" for r in failing) and all(
        r.got == 0 for r in failing if r.nonfinite_disagreements == 0
    )


class Wrapped:
    """A harness with something replaced."""

    def __init__(self, inner: Any, **replaced: Any) -> None:
        self._inner = inner
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_native_gelu_in_place_of_ours():
    jax = pytest.importorskip("jax")
    harness = runner.load_harness("jax")
    gelu = multiact.get("gelu")
    native = Wrapped(harness, function=lambda activation: lambda x: jax.nn.gelu(x, approximate=False))
    healthy, faulty = run(gelu, harness=harness, backend="jax"), run(gelu, harness=native, backend="jax")
    assert healthy["eager", 0, ""].verdict == healthy["reverse", 1, ""].verdict == "pass"
    assert faulty["eager", 0, ""].verdict == faulty["reverse", 1, ""].verdict == "fail"


def test_the_same_through_native(monkeypatch):
    pytest.importorskip("jax")
    asked = runner.request(["jax"], ["gelu"], ["float32"], ["eager"], native=True)
    (row,) = runner.run_here(runner.load_harness("jax"), asked)
    assert row.verdict == "fail" and "jax.nn.gelu" in row.setting


def test_nan_at_minus_infinity(declare):
    def silu(safe):
        def body(xp, x, /):
            product = x * sigmoid(xp, x)
            return xp.where(x < -1e30, xp.zeros_like(x), product) if safe else product

        return body

    def slope(xp, x, /):
        finite = xp.where(xp.abs(x) > 200, xp.zeros_like(x), x)
        return sigmoid(xp, x) + finite * sigmoid_slope(xp, x)

    definition = "x / (1 + exp(-x))"
    for name, safe in (("meta_right", True), ("meta_nan", False)):
        row = run(declare(name, silu(safe), {"x": slope}, definition=definition))["eager", 0, ""]
        assert (row.verdict, row.nonfinite_disagreements) == (("pass", 0) if safe else ("fail", 1))
    assert (row.worst_at, row.got, row.wanted) == ("-inf", "nan", 0.0)


def test_nan_that_is_swallowed(declare):
    def value(xp, x, /):
        return xp.where(x > 0, x, xp.zeros_like(x))

    row = run(declare("meta_swallow", value, {"x": value}, definition="x if x > 0 else 0"))["eager", 0, ""]
    assert row.verdict == "fail" and (row.got, row.wanted, row.nonfinite_disagreements) == (0.0, "nan", 1)


def test_a_backend_that_returns_float64(declare):
    harness = runner.load_harness("numpy")
    activation = declare("meta_right", sigmoid, FIRST, definition=SIGMOID)

    def evaluate(*args: Any, **kwargs: Any) -> Result:
        return Result(harness.evaluate(*args, **kwargs).values, "float64")

    assert {r.verdict for r in run(activation).values()} == {"pass"}
    rows = run(activation, harness=Wrapped(harness, evaluate=evaluate))
    assert {r.verdict for r in rows.values()} == {"fail"}
    assert all("the result is float64, the input float32" in r.reason for r in rows.values())


def test_an_oracle_with_a_wrong_sign(declare):
    rows = run(declare("meta_sign", sigmoid, FIRST, definition="1 / (1 + exp(x))"))
    assert verdicts(rows) == {0: "fail", 1: "fail", 2: "pass"} or verdicts(rows) == dict.fromkeys((0, 1, 2), "fail")


def test_an_oracle_that_cannot_read_its_definition(declare):
    rows = run(declare("meta_unread", sigmoid, FIRST, definition="sigmoid(x)"))
    assert {r.verdict for r in rows.values()} == {"fail"}
    assert all("sigmoid" in r.reason for r in rows.values())


def test_a_result_of_the_wrong_shape_or_an_exception(declare):
    harness = runner.load_harness("numpy")
    activation = declare("meta_right", sigmoid, FIRST, definition=SIGMOID)
    short = Wrapped(harness, evaluate=lambda *a, dtype, **k: Result(np.zeros(3), dtype))
    assert {r.verdict for r in run(activation, harness=short).values()} == {"fail"}

    def crash(*args: Any, **kwargs: Any) -> Result:
        raise RuntimeError("out of order")

    rows = run(activation, harness=Wrapped(harness, evaluate=crash))
    assert all(r.verdict == "fail" and "RuntimeError: out of order" in r.reason for r in rows.values())


def test_native_peers_are_run_as_given():
    harness = runner.load_harness("numpy")
    wrong = Wrapped(harness, natives=lambda activation: [Native("numpy.sinh", np.sinh)])
    asked = runner.request(["numpy"], ["tanh"], ["float64"], ["eager"], native=True)
    rows = [r for r in runner.run_here(wrong, asked) if r.order == 0]
    assert [r.verdict for r in rows] == ["fail"] and rows[0].setting == "numpy.sinh"
