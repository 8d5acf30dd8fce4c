"""`multiact check`: a right activation passes, and every planted fault is found and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact.conformance import autodiff, ball_namespace, check, oracle, own

pytest.importorskip("flint")

HEAD = """
import numpy as np
import multiact as ma
from multiact.numerics import clamped, expm1


def sigmoid(xp, x, /):
    z = xp.exp(xp.where(x >= 0, -x, x))
    return xp.where(x >= 0, 1.0, z) / (1 + z)


def sigmoid_x(xp, x, /):
    z = xp.exp(xp.where(x >= 0, -x, x))
    return z / ((1 + z) * (1 + z))


def sigmoid_xx(xp, x, /):
    a = xp.where(x >= 0, x, -x)
    z = xp.exp(-a)
    w = z * expm1(xp, -a) / ((1 + z) * (1 + z) * (1 + z))
    return xp.where(x >= 0, w, -w)


def zero(xp, x, /, **_):
    return xp.where(xp.isnan(x), x, 0.0)


TOWER = {"x": sigmoid_x, ("x", "x"): sigmoid_xx}
SIGMOID = "1 / (1 + exp(-x))"
SILU = "x / (1 + exp(-x))"
"""

FAULTS = (
    HEAD
    + """
def silu_x(xp, x, /):
    v = clamped(xp, x)
    return sigmoid(xp, v) + v * sigmoid_x(xp, v)

ma.define("t_right", sigmoid, TOWER, definition=SIGMOID)
ma.define("t_right_by_itself", sigmoid, TOWER)
ma.define("t_sign", sigmoid, {**TOWER, "x": lambda xp, x, /: -sigmoid_x(xp, x)}, definition=SIGMOID)
ma.define("t_sign_by_itself", sigmoid, {**TOWER, "x": lambda xp, x, /: -sigmoid_x(xp, x)})
ma.define("t_factor", sigmoid, {**TOWER, ("x", "x"): lambda xp, x, /: 2 * sigmoid_xx(xp, x)}, definition=SIGMOID)
ma.define("t_another", sigmoid, TOWER, definition="tanh(x)")

def scaled(xp, x, /, *, scale):
    return scale * x

def scaled_x(xp, x, /, *, scale):
    return scale + zero(xp, x)

SCALED = {"x": scaled_x, ("x", "x"): zero}
TWO = {"parameters": {"scale": 2.0}, "definition": "scale * x"}
ma.define("t_no_partial", scaled, SCALED, **TWO)
identity = lambda xp, x, /, *, scale: x
one = lambda xp, x, /, *, scale: 1 + zero(xp, x)
ma.define("t_mixed", scaled, {**SCALED, "scale": identity, ("x", "scale"): lambda xp, x, /, *, scale: -one(xp, x, scale=1)}, **TWO)
ma.define("t_nan_at_minus_infinity", lambda xp, x, /: x * sigmoid(xp, x), {"x": silu_x}, definition=SILU)
ma.define("t_overflow", lambda xp, x, /: x * xp.exp(x) / (1 + xp.exp(x)), {"x": silu_x}, definition=SILU)
down = lambda xp, x: xp.where(x > 0, 0.0, x)
ma.define(
    "t_cancellation",
    lambda xp, x, /: xp.where(x > 0, x, xp.exp(down(xp, x)) - 1),
    {"x": lambda xp, x, /: xp.where(x > 0, 1.0, xp.exp(down(xp, x)))},
    definition="x if x > 0 else exp(x) - 1",
    kinks=("0",),
)
ma.define(
    "t_tail",
    lambda xp, x, /: 1 - sigmoid(xp, x),
    {"x": lambda xp, x, /: -sigmoid_x(xp, x), ("x", "x"): lambda xp, x, /: -sigmoid_xx(xp, x)},
    definition="1 / (1 + exp(x))",
)
ma.define(
    "t_infinite_branch",
    lambda xp, x, /: xp.where(x > 1, xp.sqrt(x - 1), zero(xp, x)),
    {"x": lambda xp, x, /: xp.where(x > 1, 0.5 / xp.sqrt(x - 1), zero(xp, x))},
    kinks=("1",),
)
relu = lambda xp, x, /: xp.where(x > 0, x, zero(xp, x))
step = lambda xp, x, /: xp.where(x > 0, xp.ones_like(x), zero(xp, x))
RELU = {"x": step, ("x", "x"): zero}
ma.define("t_undeclared_kink", relu, RELU, definition="x if x > 0 else 0")
ma.define("t_idle_kink", relu, RELU, definition="x if x > 0 else 0", kinks=("0", "1"))
ma.define("t_swallowed", lambda xp, x, /: xp.where(x > 0, x, 0.0), RELU, definition="x if x > 0 else 0", kinks=("0",))
ma.define("t_tie", lambda xp, x, /: 0.5 * (x + xp.abs(x)), RELU, definition="x if x > 0 else 0", kinks=("0",))
ma.define("t_not_standard", lambda xp, x, /: xp.erf(x), {"x": lambda xp, x, /: xp.exp(-x * x)}, definition="erf(x)")
two = lambda xp, x, /: 2 + zero(xp, x)
ma.define("t_dtype", lambda xp, x, /: 2 * xp.astype(x, xp.float64), {"x": two, ("x", "x"): zero}, definition="2 * x")
ma.define("t_numpy", lambda xp, x, /: np.tanh(x), {"x": lambda xp, x, /: 1 - np.tanh(x) ** 2}, definition="tanh(x)")
ma.define(
    "t_discontinuous",
    lambda xp, x, /: xp.where(x > 1, x + 1, x),
    {"x": lambda xp, x, /: 1 + zero(xp, x), ("x", "x"): zero},
)
def soft(xp, x, /):
    finite = clamped(xp, x, 1e30)
    return finite / (1 + xp.where(finite >= 0, finite, -finite))

def soft_x(xp, x, /):
    s = 1 + xp.where(x >= 0, x, -x)
    return (1 / s) / s

def soft_xx(xp, x, /):
    s = 1 + xp.where(x >= 0, x, -x)
    return xp.where(x >= 0, -2.0, xp.full_like(x, 2.0)) / s / s / s

ma.define("t_clamped_by_itself", soft, {"x": soft_x, ("x", "x"): soft_xx}, kinks=("0",))
ma.define("t_pole", lambda xp, x, /: 1 / x, {"x": lambda xp, x, /: -1 / (x * x)})
"""
)

#: Of each activation with a fault: in which check it is found, and what is said there.
FOUND = {
    "t_sign": ("first derivative", "wrong sign", "derivatives['x']"),
    "t_sign_by_itself": ("first derivative", "wrong sign", "the formula of the value"),
    "t_factor": ("second derivative", "is 2 times the derivative", "derivatives[('x', 'x')]"),
    "t_another": ("value", "different functions", ""),
    "t_no_partial": ("derivative in scale", "MissingDerivativeError", "'scale': lambda xp, x, /, *, scale"),
    "t_mixed": ("derivative in x, scale", "wrong sign", "derivatives[('x', 'scale')]"),
    "t_nan_at_minus_infinity": ("special inputs", "nan where", "x = -inf"),
    "t_overflow": ("finite inputs", "inf where", "overflows"),
    "t_cancellation": ("accuracy float32", "value: error E up to", "subtracted near 0"),
    "t_tail": ("accuracy float32", "value: error E up to", "subtracted in the tail"),
    "t_undeclared_kink": ("kinks", "the first derivative jumps at x = 0", "kinks=('0',)"),
    "t_idle_kink": ("kinks", "'1' is declared", "Remove it"),
    "t_swallowed": ("special inputs", "0 where nan is right", "NaN must stay NaN"),
    "t_not_standard": ("purity", "xp.erf is not in the array API standard", "line "),
    "t_dtype": ("purity", "the dtype of the result is float64, expected float32", "Keep the dtype"),
    "t_numpy": ("purity", "not an array of the namespace", "no numpy"),
    "t_discontinuous": ("kinks", "the value jumps at x = 1", "not continuous"),
    "t_pole": ("reference", "no value or slope at x = 0", "xp.where"),
}
#: What is found only where a framework differentiates.
BY_FRAMEWORKS = {
    "t_infinite_branch": ("autodiff", "the formula of the value differentiated in x by jax is NaN", "not taken"),
    "t_overflow": ("autodiff", "differentiated in x by jax is NaN", "overflow"),
    "t_tie": ("autodiff", "differentiated in x by jax is wrong", "x = 0"),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIACT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def write(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def results(cache, tmp_path_factory):
    """The checks of all faults, in float32, on NumPy and on JAX where it is installed."""
    backends = ["jax"] if ma.dispatch.installed("jax") else ["numpy"]
    path = write(tmp_path_factory.mktemp("faults"), FAULTS)
    before = ma.names()
    _, found = check.check_file(path, backends, ["float32"])
    assert ma.names() == before and not oracle.formulas, "the file left something behind"
    return {r.own.activation.name: r for r in found}


def said(result, name):
    return [f" {f.text} {f.place} {f.fix}" for f in result.findings if f.check == name and f.status == "problem"]


@pytest.mark.parametrize("name", ["t_right", "t_right_by_itself", "t_clamped_by_itself"])
def test_a_right_activation_passes(results, name):
    result = results[name]
    assert not result.failed, [f for f in result.findings if f.status == "problem"]
    judged = {f.check: f.status for f in result.findings}
    assert judged["reference"] == ("ok" if name == "t_right" else "note")
    for one in ("purity", "formulas", "kinks", "accuracy float32", "special inputs"):
        assert judged[one] == "ok"
    assert any(row.points > 4000 and row.verdict == "pass" for row in result.rows)


@pytest.mark.parametrize("name", FOUND)
def test_a_fault_is_found_and_named(results, name):
    where, text, more = FOUND[name]
    problems = said(results[name], where)
    assert any(text in problem and more in problem for problem in problems), results[name].findings


@pytest.mark.parametrize("name", BY_FRAMEWORKS)
def test_a_fault_that_only_a_framework_shows(results, name):
    pytest.importorskip("jax")
    where, text, more = BY_FRAMEWORKS[name]
    problems = said(results[name], where)
    assert any(text in problem and more in problem for problem in problems), results[name].findings


def test_a_wrong_derivative_is_not_reported_again(results):
    assert [f.check for f in results["t_sign"].findings if f.status == "problem"] == ["first derivative"]


def test_line_of_each_activation(results):
    lines = FAULTS.splitlines()
    for name, result in results.items():
        assert lines[result.own.line - 1].startswith("ma.define("), (name, result.own.line)


# The command


def run(*arguments, **environment):
    command = [sys.executable, "-m", "multiact.cli", "check", *arguments]
    environment = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


RIGHT = HEAD + 'ma.define("t_mine", sigmoid, TOWER, definition=SIGMOID)\n'


def test_exit_codes_and_json(cache, tmp_path):
    path, report = write(tmp_path, RIGHT), tmp_path / "report.json"
    done = run(path, "--backend", "numpy", "--dtype", "float16", "--json", str(report))
    assert done.returncode == 0 and "t_mine: no problems" in done.stdout, done.stdout + done.stderr
    (found,) = json.loads(report.read_text())["activations"]
    assert (found["name"], found["verdict"], found["judged_by"]) == ("t_mine", "pass", "definition")
    assert {c["status"] for c in found["checks"]} <= {"ok", "note"}
    assert {r["points"] for r in found["rows"]} == {65536}
    wrong = write(tmp_path, RIGHT.replace('"x": sigmoid_x,', '"x": zero,'))
    done = run(wrong, "--backend", "numpy", "--dtype", "float16")
    assert done.returncode == 1 and "is 0, and the derivative of the definition is not" in done.stdout, done.stdout


FILE_ERRORS = {
    "gate without definition": (
        HEAD + 'ma.define("t_gate", sigmoid, TOWER)\nma.registry.gated_unit("t_gated", ma.get("t_gate"))\n',
        r"t_gated: the definition '\(value\) \* \(\)' uses",
    ),
    "syntax": ("import multiact as ma\nma.define(\n", r"mine.py:2: '\(' was never closed"),
    "raises": ("x = 1\ny = x / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", "mine.py:2: SystemExit: 3"),
    "empty": ("x = 1\n", r"declares no activation. It has to call multiact.define"),
    "below main": ("if __name__ == '__main__':\n    import nothing\n", "declares no activation"),
    "taken": (RIGHT.replace("t_mine", "relu"), r"mine.py:\d+: the name 'relu' is taken"),
    "refused": (RIGHT.replace("sigmoid, TOWER", "3, TOWER"), r"mine.py:\d+: t_mine: the value must be a function"),
    "definition": (
        RIGHT.replace("=SIGMOID", "='sigmoid(x)'"),
        r"mine.py:\d+: t_mine: the definition .* uses 'sigmoid\(x\)'",
    ),
    "no default": (
        RIGHT.replace("SIGMOID)", "SIGMOID, parameters={'scale': None})").replace("/):", "/, **_):"),
        r"t_mine: t_mine needs scale, which has no default. Give examples",
    ),
}


@pytest.mark.parametrize("name", FILE_ERRORS)
def test_a_file_that_cannot_be_used(tmp_path, name):
    text, message = FILE_ERRORS[name]
    before = ma.names()
    with pytest.raises(own.FileError, match=message):
        check.check_file(write(tmp_path, text), ["numpy"])
    assert ma.names() == before and not oracle.formulas


def test_a_missing_file_and_a_missing_backend(tmp_path):
    done = run(str(tmp_path / "none.py"))
    assert done.returncode == 2 and "No such file" in done.stderr and "Traceback" not in done.stderr
    done = run(write(tmp_path, RIGHT), "--backend", "caffe")
    assert done.returncode == 2 and "no backend is named 'caffe'" in done.stderr
    done = run(write(tmp_path, RIGHT), "--json", str(tmp_path / "nowhere" / "report.json"))
    assert done.returncode == 2 and "there is no folder" in done.stderr


# What it stands on


@pytest.mark.parametrize("name", [n for n in ma.names() if ma.get(n).kind == "pointwise" and ma.get(n).definition])
def test_a_formula_in_balls_is_its_own_truth(name, tmp_path):
    """Every formula of the catalogue in high precision is its definition, and so are its derivatives, as far as its value shows."""
    activation = ma.get(name)
    given = check._settings(activation)[0]
    x = np.concatenate([check.PROBE, 40 * check.PROBE, [1e-300, -1e-8]])
    inputs = {"x": x, **{n: np.full_like(x, v) for n, v in given.items()}}
    wanted = [(), ("x",), ("x", "x"), *((n,) for n in given)]
    truth = oracle.derivatives(activation.definition, inputs, wanted)
    try:
        oracle.formulas["own"] = (ball_namespace.Formula(activation.function), tmp_path)
        found = oracle.derivatives("own", inputs, wanted)
    finally:
        del oracle.formulas["own"]
    np.testing.assert_allclose(found[()][0], truth[()][0], rtol=1e-13, atol=1e-300)
    for wrt in wanted[1:]:
        np.testing.assert_allclose(found[wrt][0][:-2], truth[wrt][0][:-2], rtol=1e-13, atol=1e-18, err_msg=str(wrt))


def test_derivatives_at_a_tie_are_left_open(tmp_path):
    activation = ma.registry.pointwise("t_open", lambda xp, x, /: xp.abs(x) * 2, {"x": lambda xp, x, /: x})
    try:
        oracle.formulas["own"] = (ball_namespace.Formula(activation.function), tmp_path)
        found = oracle.derivatives("own", {"x": np.asarray([-2.0, 0.0, 3.0])}, [(), ("x",)])
    finally:
        del oracle.formulas["own"]
        ma.registry.unregister("t_open")
    assert found[()][0].tolist() == [4.0, 0.0, 6.0]
    np.testing.assert_array_equal(found["x",][0], [-2.0, np.nan, 2.0])


BALLS = np.asarray([-3.5, -0.7, 0.25, 0.9, 4.0])


@pytest.mark.parametrize(
    "formula",
    [
        lambda xp, x: xp.sinh(x) + xp.cosh(x) * xp.tan(x),
        lambda xp, x: xp.asinh(x) - xp.atan(x) + xp.tanh(x),
        lambda xp, x: xp.logaddexp(x, 0.5 * x) + xp.log2(xp.abs(x)) + xp.hypot(x, x + 1),
        lambda xp, x: xp.clip(x, min=-1.0, max=2.0) + xp.maximum(x, 0.3) * xp.minimum(x, 1.0),
        lambda xp, x: xp.where(xp.isnan(x) | (x > 10), 0.0, xp.sign(x) * xp.square(x) ** 0.75 + 2**x),
        lambda xp, x: xp.where(x > 0, xp.log(xp.where(x > 0, x, 1.0)), xp.log(x * 0 + 2)) + xp.floor(x) + xp.trunc(x),
        lambda xp, x: xp.where(x > 0, xp.log(x), -x) + xp.where(xp.isfinite(1 / (x - x)), 1.0, x),
        lambda xp, x: xp.astype(x > 0, xp.float64) * x + xp.reciprocal(x) - xp.copysign(x, -1.0 * xp.ones_like(x)),
        lambda xp, x: xp.asin(x / 8) + xp.acos(x / 8) * xp.atanh(x / 8) + xp.expm1(x) / xp.log1p(xp.exp(x)),
    ],
)
def test_balls_and_numpy_compute_the_same(formula, tmp_path):
    numpy = ma.dispatch.backend("numpy").namespace
    with np.errstate(all="ignore"):
        wanted = formula(numpy, BALLS)
    activation = ma.registry.pointwise("t_balls", lambda xp, x, /: formula(xp, x), {"x": lambda xp, x, /: x})
    try:
        oracle.formulas["own"] = (ball_namespace.Formula(activation.function), tmp_path)
        found = oracle.derivatives("own", {"x": BALLS}, [()])[()][0]
    finally:
        del oracle.formulas["own"]
        ma.registry.unregister("t_balls")
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize(
    "name", [n for n in ma.names() if ma.get(n).kind == "pointwise" and ma.get(n).family in ("hard", "shrinkage")]
)
def test_kinks_of_the_catalogue_are_found(name):
    """The places where the definition jumps, found by bisection, are those that the declaration gives."""
    activation = ma.get(name)
    (finding,) = check.check_kinks(own.Own(activation, 0, activation.definition))
    assert finding.status == "ok", finding


def test_every_formula_is_differentiated_in_every_argument():
    assert {"x", "alpha", "x/x", "x/alpha", "alpha/x", "x/x/x"} <= set(autodiff.orders(ma.get("elu")))
