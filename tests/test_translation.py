"""translate and audit: what they say is what the frameworks compute."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact import measured, natives, translation

X = np.linspace(-4.0, 4.0, 33)

#: Natives with the settings of ours, and where they are spelled otherwise: (from, name, arguments, to, spelling there).
PAIRS = [
    ("torch", "GELU", {}, "jax", "jax.nn.gelu(x, approximate=False)"),
    ("torch", "GELU", {"approximate": "tanh"}, "jax", "jax.nn.gelu(x)"),
    ("jax", "gelu", {}, "torch", "torch.nn.functional.gelu(x, approximate='tanh')"),
    ("jax", "gelu", {}, "transformers", "transformers.activations.ACT2FN['gelu_pytorch_tanh'](x)"),
    ("keras", "LeakyReLU", {}, "torch", "torch.nn.LeakyReLU(negative_slope=0.3)"),
    ("keras", "leaky_relu", {}, "tensorflow", "tf.nn.leaky_relu(x)"),
    ("tensorflow", "leaky_relu", {}, "keras", "keras.activations.leaky_relu(x)"),
    ("torch", "LeakyReLU", {}, "keras", "keras.layers.LeakyReLU(negative_slope=0.01)"),
    ("torch", "leaky_relu", {}, "onnx", "onnx.LeakyRelu(x)"),
    ("keras", "ReLU", {"max_value": 6.0}, "torch", "torch.nn.ReLU6()"),
    ("torch", "ReLU6", {}, "tensorflow", "tf.nn.relu6(x)"),
    ("torch", "PReLU", {}, "flax", "flax.linen.PReLU(negative_slope_init=0.25)"),
    ("torch", "PReLU", {}, "keras", "keras.layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25))"),
    ("keras", "PReLU", {}, "torch", "torch.nn.PReLU(init=0.0)"),
    ("torch", "PReLU", {}, "jax", "jax.nn.leaky_relu(x, negative_slope=0.25)"),
    ("torch", "Softplus", {"beta": 2.0}, "jax", "jax.nn.softplus(2.0 * x) / 2.0"),
    ("torch", "ELU", {"alpha": 2.0}, "keras", "keras.layers.ELU(alpha=2.0)"),
    ("torch", "Softmax", {"dim": 1}, "jax", "jax.nn.softmax(x, axis=1)"),
    ("tensorflow", "softmax", {}, "torch", "torch.nn.functional.softmax(x, dim=-1)"),
    ("torch", "Hardshrink", {"lambd": 1.0}, "onnx", "onnx.Shrink(x, lambd=1.0)"),
    ("torch", "Softshrink", {}, "onnx", "onnx.Shrink(x, bias=0.5)"),
    ("torch", "Softshrink", {"lambd": 1.0}, "onnx", "onnx.Shrink(x, lambd=1.0, bias=1.0)"),
    ("transformers", "quick_gelu", {}, "tensorflow", "tf.nn.silu(x, beta=1.702)"),
    ("tensorflow", "silu", {"beta": 1.702}, "transformers", "transformers.activations.ACT2FN['quick_gelu'](x)"),
    ("tensorflow", "swish", {}, "torch", "torch.nn.functional.silu(x)"),
    ("multiact", "swiglu", {}, "onnx", "onnx.SwiGLU(gate, value)"),
    ("torch", "Hardswish", {}, "tensorflow", "x * tf.nn.relu6(x + 3) / 6"),
    ("jax", "soft_sign", {}, "torch", "torch.nn.functional.softsign(x)"),
    ("torch", "GLU", {}, "keras", "keras.activations.glu(x)"),
]  # fmt: skip


@pytest.mark.parametrize(("framework", "name", "arguments", "to", "spelling"), PAIRS)
def test_the_exact_equivalent(framework, name, arguments, to, spelling):
    found = ma.translate(framework, name, to=to, **arguments)
    assert found.spelling == spelling and found.exact
    assert spelling in str(found)


@pytest.mark.parametrize("framework", ["torch", "jax", "keras", "tensorflow"])
def test_equivalents_compute_the_same(framework):
    """Every equivalent in a framework is evaluated as it is spelled, and compared with the source's definition."""
    pytest.importorskip(framework)
    array, scope = spelled(framework)
    tried = 0
    for source_framework in natives.frameworks():
        for entry in natives.table(source_framework):
            if entry.activation not in ma.names() or entry.composed:
                continue
            try:
                source = translation.stated(source_framework, entry)
            except ma.ParameterError:
                continue  # an argument is required
            if source.activation.kind != "pointwise" or not source.exact:
                continue
            found = source.to(framework)
            if found.spelling is None:
                continue
            wanted = source(X)
            function = eval(found.spelling, {**scope, "x": array(X)})
            if framework == "torch" and callable(function):
                function = getattr(function, "eval", lambda f=function: f)()  # RReLU is random in training
            got = function(array(X)) if callable(function) else function
            got = got.detach() if framework == "torch" else got  # the module of PReLU has a weight
            np.testing.assert_allclose(np.asarray(got, dtype=np.float64), wanted, atol=2e-6, err_msg=found.spelling)
            tried += 1
    assert tried > 100


def spelled(framework):
    """How to make an array, and the names that a spelling needs."""
    if framework == "torch":
        import torch

        return (lambda x: torch.tensor(x, dtype=torch.float32)), {"torch": torch}
    if framework == "jax":
        import jax
        import jax.scipy.special

        return (lambda x: jax.numpy.asarray(x, dtype="float32")), {"jax": jax}
    if framework == "keras":
        import keras

        return (lambda x: keras.ops.convert_to_tensor(np.asarray(x, "float32"))), {"keras": keras}
    import tensorflow as tf

    return (lambda x: tf.constant(x, dtype="float32")), {"tf": tf}


def test_a_translation_is_a_function_of_ours():
    leaky = ma.translate("keras", "LeakyReLU")
    assert (leaky.activation.name, leaky.parameters, leaky.options) == ("leaky_relu", {"negative_slope": 0.3}, {})
    np.testing.assert_array_equal(leaky(X), ma.leaky_relu(X, negative_slope=0.3))
    assert leaky.spelling == "keras.layers.LeakyReLU()" and "0.3" in str(leaky)
    assert ma.translate("torch", "Softmax", dim=0).options == {"axis": 0}


@pytest.mark.parametrize(
    "name", ["LeakyReLU", "nn.LeakyReLU", "torch.nn.LeakyReLU", "leaky_relu", "F.leaky_relu", "functional.leaky_relu"]
)
def test_names_by_which_it_is_found(name):
    assert ma.translate("torch", name).activation.name == "leaky_relu"


@pytest.mark.parametrize(
    ("framework", "name", "arguments", "error", "said"),
    [
        ("torhc", "ReLU", {}, ma.BackendNotAvailableError, "Did you mean 'torch'.*There are: torch, jax, keras"),
        ("tf", "relu", {}, ma.BackendNotAvailableError, "'tensorflow'"),
        ("torch", "LeekyReLU", {}, ma.UnknownActivationError, "Did you mean 'LeakyReLU'"),
        ("tensorflow", "snake", {}, ma.UnknownActivationError, "multiact.snake exists; tensorflow has no function for it"),
        ("torch", "LeakyReLU", {"slope": 1}, ma.ParameterError, "has no argument 'slope'. It takes: negative_slope"),
        ("torch", "Threshold", {}, ma.ParameterError, "needs threshold="),
        ("keras", "ReLU", {"max_value": 6.0, "negative_slope": 0.1}, ma.ParameterError, "none of the activations"),
        ("torch", 3, {}, ma.UnknownActivationError, "3 is not an activation"),
    ],
)  # fmt: skip
def test_errors(framework, name, arguments, error, said):
    with pytest.raises(error, match=said):
        ma.translate(framework, name, **arguments)


def test_an_unknown_target():
    with pytest.raises(ma.BackendNotAvailableError, match="no framework is named 'jaks'"):
        ma.translate("torch", "ReLU", to="jaks")


def test_without_an_equivalent_the_nearest_and_how_far_it_is():
    found = ma.translate("torch", "ELU", alpha=2.0, to="onnx")
    assert found.exact
    found = ma.translate("torch", "ELU", alpha=2.0, to="tf_keras")
    assert found.spelling == "tf_keras.layers.ELU(alpha=2.0)"
    found = ma.translate("torch", "Softplus", beta=2.0, to="onnx")
    assert not found.exact and found.spelling is None and found.nearest == "onnx.Softplus(x)"
    assert found.difference.largest == pytest.approx(np.log(2) / 2) and found.difference.at == pytest.approx(
        0, abs=1e-9
    )
    assert found.difference.error > 1e6
    assert "no exact equivalent in onnx" in str(found) and "0.35" in str(found)
    found = ma.translate("torch", "Softplus", beta=2.0, to="flax")
    assert found.nearest == "flax.linen.softplus(x)" and found.ours == "multiact.backends.jax.softplus(x, beta=2.0)"
    found = ma.translate("multiact", "snake", to="jax")
    assert not found.exact and found.nearest is None and found.ours == "multiact.backends.jax.snake(x)"


def test_other_defaults_are_told_with_their_difference():
    said = " ".join(ma.translate("torch", "GELU", to="jax").differs)
    assert "Their defaults differ: jax.nn.gelu(x) is multiact.gelu_tanh(x)" in said and "0.00047" in said
    assert "defaults differ" not in str(ma.translate("torch", "GELU", to="keras"))


def test_an_axis_that_is_left_open():
    found = ma.translate("torch", "Softmax")
    assert found.options == {"axis": None} and "axis 0 of an array with 0, 1 or 3 axes" in str(found)
    with pytest.raises(ma.ParameterError, match="leaves the axis open.*axis=-1"):
        found(X)
    assert not found.to("jax").exact and "axis 0 of an array" in str(found.to("jax"))


def test_objects_of_torch():
    torch = pytest.importorskip("torch")
    nn, F = torch.nn, torch.nn.functional
    for thing, name, settings in (
        (nn.LeakyReLU(0.2), "leaky_relu", {"negative_slope": 0.2}),
        (nn.GELU(), "gelu", {}),
        (nn.GELU("tanh"), "gelu_tanh", {}),
        (nn.Hardtanh(-2.0, 3.0), "hard_tanh", {"min_val": -2.0, "max_val": 3.0}),
        (nn.PReLU(init=0.5), "prelu", {"negative_slope": 0.5}),
        (nn.Softmax(dim=1), "softmax", {"temperature": 1.0, "axis": 1}),
        (nn.Softmax, "softmax", {"temperature": 1.0, "axis": None}),
        (nn.Threshold(1.0, 0.0), "threshold", {"threshold": 1.0, "value": 0.0}),
        (F.silu, "silu", {"beta": 1.0}),
        (torch.tanh, "tanh", {}),
        (functools.partial(F.gelu, approximate="tanh"), "gelu_tanh", {}),
        (functools.partial(F.elu, alpha=2.0), "elu", {"alpha": 2.0}),
    ):
        found = ma.translate("torch", thing)
        assert (found.activation.name, found.settings) == (name, settings), thing
    assert ma.translate("torch", nn.GELU(), to="jax").spelling == "jax.nn.gelu(x, approximate=False)"
    assert translation.recognise(nn.Linear(2, 2)) is None and translation.recognise(torch.matmul) is None


def test_objects_of_jax():
    jax = pytest.importorskip("jax")
    assert ma.translate("jax", jax.nn.gelu).activation.name == "gelu_tanh"
    assert ma.translate("jax", functools.partial(jax.nn.gelu, approximate=False)).activation.name == "gelu"
    assert ma.translate("jax", jax.nn.swish, to="torch").spelling == "torch.nn.functional.silu(x)"


def test_objects_of_onnx():
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.25)
    assert ma.translate("onnx", node, to="torch").spelling == "torch.nn.functional.leaky_relu(x, negative_slope=0.25)"
    assert translation.recognise(onnx.helper.make_node("Gemm", ["a", "b"], ["y"])) is None


def test_objects_of_transformers():
    activations = pytest.importorskip("transformers.activations")
    found = ma.translate("transformers", activations.ACT2FN["gelu_new"])
    assert found.activation.name == "gelu_tanh" and "gelu_new" in found.spelling
    assert ma.translate("transformers", activations.ACT2FN["quick_gelu"]).activation.name == "quick_gelu"


def test_tables_are_read_without_the_framework():
    code = """
import sys
import multiact as ma
assert ma.translate("torch", "GELU", to="jax").spelling == "jax.nn.gelu(x, approximate=False)"
loaded = {"torch", "jax", "keras", "tensorflow", "flax", "onnx", "transformers"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What was measured


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A file of measurements with two natives in it."""

    def row(title, order, faults, backend="torch", activation="gelu"):
        return {
            "activation": activation, "title": title, "backend": backend, "native": True, "dtype": "float32", "order": order,
            "worst_error": 4e5, "worst_ulp": 1e7, "share_correctly_rounded": 0.5, "nonfinite_disagreements": 1,
            "verdict": "fail" if faults else "pass", "faults": faults,
        }  # fmt: skip

    def fault(low, high, at, got, wanted, error):
        return {"from": low, "to": high, "points": 3, "at": at, "got": got, "wanted": wanted, "error": error}

    tail = fault(-8.0, -4.0, -5.5, -0.0, -1e-7, 3.7e5)
    rows = [
        row("torch.nn.functional.gelu", 0, [fault("-inf", "-inf", "-inf", "nan", 0.0, "inf"), tail]),
        row("jax.nn.gelu(approximate=False)", 0, [], "jax"),
        row("keras.activations.celu", 1, [fault(0.0, 0.0, 0.0, 2.0, 1.0, 9.0)], "keras-tensorflow", "celu"),
    ]
    path = tmp_path / "measured.json"
    columns = list(rows[0])
    values = [[r[c] for c in columns] for r in rows]
    path.write_text(json.dumps({"environment": {"device": "cpu"}, "columns": columns, "rows": values}))
    monkeypatch.setattr(measured, "FILE", str(path))
    return path


def test_measured(report):
    assert [r["title"] for r in measured.rows("celu")] == ["keras.activations.celu"]
    assert measured.rows("relu") == [] and measured.environment() == {"device": "cpu"}


def test_measured_without_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "FILE", str(tmp_path / "none.json"))
    assert measured.rows("gelu") == [] and measured.environment() == {}


def test_deviations_are_read_from_what_was_measured(report):
    said = ma.translate("torch", "GELU", to="jax").differs
    assert "torch.nn.GELU: value at -inf is nan, should be 0" in said
    assert "torch.nn.GELU: value from -8 to -4, worst at -5.5 is -0, should be -1e-07, E = 3.7e+05" in said
    assert not any(line.startswith("jax.nn.gelu: value") for line in said)
    said = str(ma.translate("torch", "CELU", to="keras"))
    assert "keras.activations.celu: slope at 0 is 2, should be 1, E = 9 (on tensorflow)" in said


# Models


def test_audit_of_torch():
    torch = pytest.importorskip("torch")
    nn, F = torch.nn, torch.nn.functional
    from multiact.backends import torch as mt

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.act, self.slopes, self.ours = nn.Linear(4, 8), nn.GELU(), nn.PReLU(4), mt.SiLU(beta=1.5)
            self.kept = F.relu6

        def forward(self, x):
            gate, value = self.up(x).chunk(2, -1)
            x = F.silu(gate) * value
            return self.ours(self.slopes(F.leaky_relu(self.act(x), 0.1))).softmax(-1)

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.soft = Block(), nn.Softmax()

        def forward(self, x):
            return self.block(x) if x.sum() > 0 else F.relu(x)

    report = ma.audit(nn.Sequential(Branch(), nn.Hardsigmoid(), nn.Linear(2, 2)), to="jax")
    found = {f.path: f for f in report}
    becomes = {path: f.equivalent.spelling for path, f in found.items()}
    assert becomes == {
        "0.block.act": "jax.nn.gelu(x, approximate=False)",
        "0.block.slopes": "jax.nn.leaky_relu(x, negative_slope=0.25)",
        "0.block.ours": "x * jax.nn.sigmoid(1.5 * x)",
        "0.block.kept": "jax.nn.relu6(x)",
        "0.block: silu in forward": "jax.nn.silu(x)",
        "0.block: leaky_relu in forward": "jax.nn.leaky_relu(x, negative_slope=0.1)",
        "0.block: softmax in forward": "jax.nn.softmax(x)",
        "0.soft": None,
        "1": "jax.nn.hard_sigmoid(x)",
    }
    traps = {path: " ".join(f.traps) for path, f in found.items()}
    assert "SwiGLU) whose gate is the first half" in traps["0.block: silu in forward"]
    assert "4 learned slopes, one for each entry of axis 1" in traps["0.block.slopes"]
    assert "jax.nn.gelu(x) is multiact.gelu_tanh(x)" in traps["0.block.act"]
    assert "dim=None" in traps["0.soft"]
    assert len(report.unseen) == 1 and "forward of 0: torch.fx cannot trace it" in report.unseen[0]
    assert len(report) == 9 and "0.block.act: torch.nn.GELU() -> jax.nn.gelu" in str(report)


def test_audit_needs_a_model():
    with pytest.raises(ma.ParameterError, match="expects a Keras model or a torch.nn.Module. Received: builtins.int"):
        ma.audit(3, to="jax")


KERAS = """
import keras
import multiact as ma
import multiact.backends.keras as mk

x = inputs = keras.Input((8,))
x = keras.layers.Dense(4, activation="gelu", name="dense")(x)
x = keras.layers.LeakyReLU(name="leaky")(x)
x = keras.ops.gelu(x)
x = keras.layers.PReLU(name="slopes")(x)
x = mk.Mish(name="ours")(x)
x = keras.layers.Reshape((2, 2))(x)
x = keras.layers.LSTM(3, name="lstm")(x)
x = keras.layers.Activation("hard_sigmoid", name="hard")(x)
model = keras.Sequential([keras.Model(inputs, x, name="inner"), keras.layers.ELU(2.0, name="elu")])
report = ma.audit(model, to="torch")
becomes = {f.path: f.equivalent.spelling for f in report}
operation = next(p for p in becomes if p.startswith("inner.gelu"))
assert becomes == {
    "inner.dense.activation": "torch.nn.functional.gelu(x)",
    "inner.leaky": "torch.nn.LeakyReLU(negative_slope=0.3)",
    operation: "torch.nn.functional.gelu(x, approximate='tanh')",
    "inner.slopes": "torch.nn.PReLU(init=0.0)",
    "inner.ours": "torch.nn.functional.mish(x)",
    "inner.lstm.activation": "torch.nn.functional.tanh(x)",
    "inner.lstm.recurrent_activation": "torch.nn.functional.sigmoid(x)",
    "inner.hard.activation": "torch.nn.functional.hardsigmoid(x)",
    "elu": "torch.nn.ELU(alpha=2.0)",
}, becomes
traps = {f.path: " ".join(f.traps) for f in report}
assert "learned slopes of shape (4,)" in traps["inner.slopes"] and "for each element" in traps["inner.slopes"]
assert "negative_slope=0.3" in traps["inner.leaky"]
assert not report.unseen

class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, activation="silu")
    def call(self, x):
        return keras.activations.relu(self.dense(x))

report = ma.audit(Subclassed(), to="jax")
assert [f.equivalent.spelling for f in report] == ["jax.nn.silu(x)"]
assert "functions called in call() of" in report.unseen[0]
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_audit_of_keras(backend):
    pytest.importorskip("keras")
    pytest.importorskip(backend)
    code = f"import os; os.environ['KERAS_BACKEND'] = {backend!r}\n{KERAS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


# Commands


def run(*arguments, cwd=None, code=""):
    source = f"import os, sys; os.environ['COLUMNS'] = '250'\n{code}\nfrom multiact.cli import main; main({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, cwd=cwd)


def test_translate_command():
    pytest.importorskip("typer")
    done = run("translate", "torch", "GELU")
    assert done.returncode == 0, done.stderr
    for part in (
        "jax.nn.gelu(x, approximate=False)",
        "keras.activations.gelu(x)",
        "onnx.Gelu(x)",
        "Their defaults differ",
    ):
        assert part in done.stdout
    done = run("translate", "torch", "Softplus", "--to", "onnx", "--with", "beta=2.0")
    assert (
        "none" in done.stdout and "onnx.Softplus(x): up to 0.35 at x = 0" in done.stdout and "keras" not in done.stdout
    )
    done = run("translate", "keras")
    assert "keras.layers.LeakyReLU" in done.stdout and "negative_slope=0.3" in done.stdout
    done = run("translate", "torch", "gellu")
    assert done.returncode == 1 and "Did you mean 'GELU'" in done.stderr and "Traceback" not in done.stderr


def test_audit_command(tmp_path):
    pytest.importorskip("typer")
    pytest.importorskip("torch")
    (tmp_path / "my_model.py").write_text(
        "import torch\nclass Net(torch.nn.Sequential):\n"
        "    def __init__(self): super().__init__(torch.nn.Linear(2, 2), torch.nn.LeakyReLU(0.2))\n"
        "net = Net()\ndef make(size): return net\nnumber = 3\n"
    )
    for place in ("my_model:Net", "my_model:net", f"{tmp_path / 'my_model.py'}:Net"):
        done = run("audit", place, "--to", "keras", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "keras.layers.LeakyReLU(negative_slope=0.2)" in done.stdout and "1 activations, 0 without" in done.stdout
    for place, said in (
        ("my_model:Nett", "my_model has no Nett"),
        ("no_model:Net", "cannot load no_model"),
        ("my_model", "expected MODULE:ATTRIBUTE"),
        ("my_model:make", "cannot be called without arguments"),
        ("my_model:number", "is int, not a model"),
    ):
        done = run("audit", place, "--to", "keras", cwd=tmp_path)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
