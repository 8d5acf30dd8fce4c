"""The command ``multiact onnx``."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact import cli

onnx = pytest.importorskip("onnx")
pytest.importorskip("ndonnx")
pytest.importorskip("typer")
ort = pytest.importorskip("onnxruntime")


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """The command in a folder of its own: (exit code or message, what it printed)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main(["onnx", *arguments])
        return stop.value.code, capsys.readouterr().out

    return run


def evaluated(file, **inputs):
    return ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_a_file_is_a_model_of_any_batch(command):
    code, out = command("gelu", "gelu.onnx")
    assert code == 0 and "gelu.onnx: gelu of x: float32 (batch, channels); opset" in out and "run by onnxruntime" in out
    for shape in ((1, 1), (5, 3), (0, 2)):
        np.testing.assert_allclose(
            evaluated("gelu.onnx", x=normal(*shape)), ma.gelu(normal(*shape)), rtol=1e-6, atol=1e-7
        )
    special = np.asarray([[-np.inf, np.inf, np.nan, -6.0]], np.float32)
    np.testing.assert_allclose(evaluated("gelu.onnx", x=special), ma.gelu(special), rtol=1e-6)
    model = onnx.load("gelu.onnx")
    assert model.producer_name == "multiact" and model.graph.name == "gelu" and "erf" in model.doc_string
    assert [d.dim_param for d in model.graph.output[0].type.tensor_type.shape.dim] == ["batch", "channels"]


def test_parameters_dtype_and_shape(command):
    assert command("swish", "swish.onnx", "-p", "beta=2", "--dtype", "float16", "--shape", "n,3,h,w")[0] == 0
    x = normal(2, 3, 4, 5, dtype="float16")
    assert np.array_equal(evaluated("swish.onnx", x=x), ma.silu(x, beta=2.0))
    with pytest.raises(Exception, match="(?i)dimension"):
        evaluated("swish.onnx", x=x[:, :2])
    assert command("gelu", "tanh.onnx", "-p", "approximate=tanh", "--dtype", "float64", "--shape", "n")[0] == 0
    x = normal(7, dtype="float64")
    np.testing.assert_allclose(evaluated("tanh.onnx", x=x), ma.gelu_tanh(x), rtol=1e-14)


def test_along_an_axis(command):
    assert command("softmax", "softmax.onnx", "-p", "axis=1", "--shape", "a,b,c")[0] == 0
    x = normal(2, 5, 3)
    np.testing.assert_allclose(evaluated("softmax.onnx", x=x), ma.softmax(x, axis=1), rtol=1e-6)
    assert command("softmax2d", "images.onnx")[0] == 0
    x = normal(2, 3, 4, 5)
    np.testing.assert_allclose(evaluated("images.onnx", x=x), ma.softmax2d(x), rtol=1e-6)


def test_a_gated_unit_has_two_inputs(command):
    value, gate = normal(4, 6), normal(4, 6, seed=1)
    wanted = value * gate / (1 + np.exp(-gate))
    for side in ("first", "second"):
        code, out = command("swiglu", "swiglu.onnx", "-p", f"gate={side}")
        assert code == 0 and "of value: float32 (batch, channels), gate: float32 (batch, channels)" in out
        np.testing.assert_allclose(evaluated("swiglu.onnx", value=value, gate=gate), wanted, rtol=1e-5)


def test_random_numbers_are_an_input(command):
    assert command("gumbel_softmax", "gumbel.onnx")[0] == 0
    x, noise = normal(3, 4), normal(3, 4, seed=1)
    np.testing.assert_allclose(evaluated("gumbel.onnx", x=x, noise=noise), ma.softmax(x + noise), rtol=1e-5)
    assert command("rrelu", "rrelu.onnx")[0] == 0  # as in evaluation
    np.testing.assert_allclose(evaluated("rrelu.onnx", x=x), ma.rrelu(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gellu", "x.onnx"), "no activation is named 'gellu'"),
        (("gelu", "none/x.onnx"), "there is no folder none. Create it first."),
        (("gelu", "."), "it is a folder"),
        (("gelu", "x.onnx", "--dtype", "bfloat16"), "dtype must be one of"),
        (("gelu", "x.onnx", "--shape", "a,,b"), "--shape takes sizes and names"),
        (("gelu", "x.onnx", "--shape", "0,b"), "--shape takes sizes and names"),
        (("gelu", "x.onnx", "-p", "alpha=3"), "gelu has no parameter 'alpha'"),
        (("gelu", "x.onnx", "-p", "alpha"), "NAME=VALUE"),
        (("threshold", "x.onnx"), "threshold needs threshold=..."),
        (("softmax", "x.onnx", "-p", "axis=4"), "axis 4 is out of range"),
        (("softmax", "x.onnx", "-p", "axis=0.5"), "axis must be an integer"),
        (("cosine", "x.onnx", "--dtype", "float64"), "cosine cannot be written in float64: ndonnx computes cos"),
    ],
)
def test_errors_say_what_to_do_and_write_nothing(command, tmp_path, arguments, message):
    code, out = command(*arguments)
    assert isinstance(code, str) and message in code and not out
    assert not list(tmp_path.iterdir())


def test_what_does_not_compute_the_same_is_not_written(command, tmp_path, monkeypatch):
    from multiact.backends.ndonnx import model

    old = tmp_path / "x.onnx"
    old.write_text("old")
    monkeypatch.setattr(model, "run", lambda made, arrays: np.asarray(arrays[0]))
    code, _ = command("gelu", "x.onnx")
    assert "x.onnx is not written, as onnxruntime computes something else of it: the largest difference" in code
    assert old.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_without_onnxruntime_it_is_written_and_that_is_told(command, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else find(name, *a))
    code, out = command("relu", "relu.onnx")
    assert code == 0 and "not run, since onnxruntime is not installed" in out
    assert evaluated("relu.onnx", x=np.asarray([[-1.0, 2.0]], np.float32)).tolist() == [[0.0, 2.0]]


def test_without_ndonnx_the_extra_is_named(tmp_path):
    code = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "ndonnx" else find(name, *a)
from multiact.cli import main
main(["onnx", "gelu", {str(tmp_path / "x.onnx")!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install 'multiact[onnx]'" in done.stderr and "Traceback" not in done.stderr
