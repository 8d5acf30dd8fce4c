"""What people do to TensorFlow functions: a sample in every way, that wrong activations fail in them, and what is said of SavedModels.

The ways are run in processes of their own, since two devices cannot be made of the CPU once TensorFlow is in use.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import multiact as ma
from multiact import registry
from multiact.capabilities import capabilities

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

from multiact.backends.tensorflow import capabilities as ways
from multiact.conformance import runner

TABLE = capabilities("tensorflow")
#: TensorFlow cannot do it with any tf.function.
IMPOSSIBLE = {"reverse_over_forward"}
SAMPLE = ("mish", "softmax")

WRONG = """
import multiact as ma

def wrong(xp, x, /, *, alpha):
    return 1.001 * alpha * x * x

ma.define(
    "wrong",
    wrong,
    {
        "x": lambda xp, x, /, *, alpha: 2.002 * alpha * x,
        ("x", "x"): lambda xp, x, /, *, alpha: 2.002 * alpha * xp.ones_like(x) + 0.001 * x * x,
        "alpha": lambda xp, x, /, *, alpha: 1.001 * x * x,
    },
    parameters={"alpha": 1.0},
    definition="alpha * x**2",
)
"""


def test_every_way_has_its_function_and_its_row():
    assert all(callable(getattr(ways, name)) for name in TABLE)
    found = runner.run(runner.request(["tensorflow"], SAMPLE, modes=list(TABLE), fresh=True))[1]
    assert {r.mode for r in found} == set(TABLE)
    wanted = {True: "known", False: "pass"}
    wrong = [
        (r.activation, r.mode, r.order, r.verdict, r.reason) for r in found if r.verdict != wanted[r.mode in IMPOSSIBLE]
    ]
    assert not wrong
    assert all(r.points for r in found if r.verdict == "pass")


def test_a_wrong_activation_fails_in_every_way(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    asked = runner.Request(
        ("tensorflow",), ("wrong",), modes=tuple(TABLE), effort="quick", fresh=True, file=(str(file), str(tmp_path))
    )
    asked.declare()
    try:
        found = runner.run(asked)[1]
    finally:
        registry.unregister("wrong")
    assert {r.mode for r in found} == set(TABLE)
    assert [r.mode for r in found if r.verdict != "fail" and r.mode not in IMPOSSIBLE] == []
    assert all(
        "E = " in r.reason or "ulp" in r.reason or "order 3" in r.reason for r in found if r.mode not in IMPOSSIBLE
    )


# SavedModels


def tape(f, order=1):
    if order == 0:
        return f

    def gradient(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = tape(f, order - 1)(x)
        return t.gradient(y, x)

    return gradient


def saved(path, f, slope=False, **options):
    """Write a module of a function, and of its gradient."""
    module, signature = tf.Module(), [tf.TensorSpec([None])]
    module.f = tf.function(f, autograph=False, input_signature=signature)
    if slope:
        module.slope = tf.function(tape(f), autograph=False, input_signature=signature)
    tf.saved_model.save(module, str(path), options=tf.saved_model.SaveOptions(**options))


#: Without multiact: that is how a model is served.
READER = """
import sys, tensorflow as tf
x = tf.constant([0.5, -2.0])
for path in sys.argv[1:]:
    f, found = tf.saved_model.load(path).f, []
    for order in range(3):
        def g(x, order=order, f=f):
            if not order:
                return f(x)
            with tf.GradientTape() as t:
                t.watch(x)
                y = g(x, order - 1)
            return t.gradient(y, x)
        try:
            found.append(g(x).numpy().tolist())
        except LookupError:
            found.append("LookupError")
    print(found)
"""


def test_what_survives_a_saved_model(tmp_path):
    marked = ma.define(
        "marked",
        lambda xp, x, /: x * x,
        {"x": lambda xp, x, /: 7 * x, ("x", "x"): lambda xp, x, /: 11 * xp.ones_like(x)},
    )
    try:
        saved(tmp_path / "default", lambda x: marked(x))
        saved(tmp_path / "without", lambda x: marked(x), experimental_custom_gradients=False)
        saved(tmp_path / "with_slope", lambda x: marked(x), slope=True)
    finally:
        registry.unregister("marked")
    names = [str(tmp_path / name) for name in ("default", "without", "with_slope")]
    done = subprocess.run([sys.executable, "-c", READER, *names], capture_output=True, text=True, check=True)
    value, slope, curve, lost = "[0.25, 4.0]", "[3.5, -14.0]", "[11.0, 11.0]", "'LookupError'"
    assert done.stdout.splitlines() == [
        f"[{value}, {slope}, {lost}]",
        f"[{value}, {lost}, {lost}]",
        f"[{value}, {slope}, {curve}]",
    ]


@pytest.mark.parametrize("name", ["softmax", "crelu", "exponential", "glu"])
def test_a_saved_model_can_be_loaded(name, tmp_path):
    """Gradients that call the function itself would make a circle of functions, which TensorFlow does not load."""
    f = ma.get(name)
    x = tf.constant([[0.5, -2.0, 1.0, 0.25]])
    module = tf.Module()
    module.f = tf.function(lambda x: f(x), autograph=False, input_signature=[tf.TensorSpec([None, 4])])
    module.slope = tf.function(tape(lambda x: f(x) ** 2), autograph=False, input_signature=[tf.TensorSpec([None, 4])])
    module.curve = tf.function(
        tape(lambda x: f(x) ** 2, 2), autograph=False, input_signature=[tf.TensorSpec([None, 4])]
    )
    with ways.quiet():
        tf.saved_model.save(module, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
    for function in ("f", "slope", "curve"):
        assert (getattr(loaded, function)(x).numpy() == getattr(module, function)(x).numpy()).all()
