"""Array libraries through the NumPy backend's functions: array-api-strict, Dask, ndonnx, and CuPy on a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import multiact as ma
from multiact import harnesses
from multiact.conformance import cases, report, runner

HERE = Path(__file__).parent
SAMPLE = ("gelu", "leaky_relu", "swiglu", "softmax", "sparsemax", "maxout")
SETTINGS = {"maxout": {"pool_size": 2}}
X = np.random.default_rng(0).normal(size=(6, 4))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def present(name):
    if not harnesses.library_present(name):
        pytest.skip(f"needs {name}")


@pytest.mark.parametrize("name", [n for n in harnesses.LIBRARIES if n != "cupy"])
def test_a_sample_of_conformance(name):
    present(name)
    asked = runner.request([name], SAMPLE, ["float32"], effort="quick")
    rows = runner.run_here(runner.load_harness(name), asked)
    assert {r.activation for r in rows} == set(SAMPLE) and {0, 1} <= {r.order for r in rows}
    assert not [report.describe([r]) for r in rows if r.verdict == "fail"]


def test_a_run_that_names_no_backend_has_a_sample_of_each():
    asked = runner.request([], (), ["float32"], effort="usual")
    there = {n for n in harnesses.LIBRARIES if harnesses.library_present(n)} - {"cupy"}
    assert there <= set(asked.backends) and there <= set(asked.brief) and "cupy" not in asked.backends
    assert "numpy" not in asked.brief and runner.request(["dask"]).brief == ()
    for name in there:
        harness = runner.load_harness(name)
        plan = runner.backend_cases(harness, asked)
        assert {c.order for c in plan} == {0, 1, "value"} and {c.dtype for c in plan} == {"float32"}
        assert 8 <= len({c.subject.activation.name for c in plan}) <= len(ma.names()) / cases.SAMPLED + 1
        assert all(c.subject.default and c.subject.few for c in plan)


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(harnesses.LIBRARIES, "cupy", (("no_such_package",), "cupy"))
    with pytest.raises(ma.BackendNotAvailableError, match="cupy is not installed. Install it with: pip install cupy"):
        runner.request(["cupy"])


# Dask


@pytest.fixture
def da():
    return pytest.importorskip("dask.array")


def refuse(*_, **__):
    raise AssertionError("computed")


@pytest.mark.parametrize("name", SAMPLE)
def test_dask_stays_lazy_and_in_chunks(da, name):
    import dask

    f, given = ma.get(name), SETTINGS.get(name, {})
    inputs = [X, X[::-1]] if f.kind == "gated" else [X]
    lazy = [da.from_array(x, chunks=(2, 2)) for x in inputs]
    with dask.config.set(scheduler=refuse):
        y = f(*lazy, **given)
    assert isinstance(y, da.Array) and y.chunks[0] == (2, 2, 2)
    assert name == "maxout" or y.chunks == lazy[0].chunks
    np.testing.assert_allclose(y.compute(), f(*inputs, **given), rtol=1e-12)


def test_dask_has_one_task_for_each_chunk(da):
    x = da.from_array(X, chunks=(2, 2))
    assert len(ma.gelu(x).dask.layers) - len(x.dask.layers) == 1
    # A parameter that is broadcast, in other chunks.
    slopes = np.asarray([0.1, 0.2, 0.3, 0.4])
    wanted = ma.leaky_relu(X, negative_slope=slopes)
    for given in (slopes, da.from_array(slopes, chunks=3), da.from_array(slopes, chunks=2)):
        np.testing.assert_allclose(ma.leaky_relu(x, negative_slope=given).compute(), wanted, rtol=1e-15)
    wanted = ma.swiglu(X, X[::-1])
    for chunks in ((2, 2), (3, 4)):
        np.testing.assert_allclose(ma.swiglu(x, da.from_array(X[::-1], chunks=chunks)).compute(), wanted, rtol=1e-15)


def test_dask_of_unknown_chunks_and_over_blocks(da):
    x = da.from_array(X.ravel(), chunks=5)
    positive = x[x > 0]  # of sizes that only its computation knows
    np.testing.assert_array_equal(ma.gelu(positive).compute(), ma.gelu(X.ravel()[X.ravel() > 0]))
    np.testing.assert_array_equal(x.map_blocks(ma.gelu).compute(), ma.gelu(X.ravel()))


def test_the_harness_of_dask_notices_what_computes_and_what_merges(da):
    harness = runner.load_harness("dask")
    ours = lambda function: harness.evaluate(function, [X], dtype="float64")
    assert ours(ma.gelu).dtype == "float64"
    with pytest.raises(AssertionError, match="computed before"):
        ours(lambda x: ma.gelu(x) * float(x.sum().compute()))
    with pytest.raises(AssertionError, match="not a lazy array"):
        ours(lambda x: X)
    with pytest.raises(AssertionError, match="has chunks"):
        ours(lambda x: ma.gelu(x).rechunk(X.shape))


# ndonnx


@pytest.fixture
def model():
    present("ndonnx")
    from multiact.backends.ndonnx import model

    return model


@pytest.mark.parametrize("name", ["gelu", "swiglu", "softmax", "maxout"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_model_takes_any_batch(model, name, dtype):
    f, given = ma.get(name), SETTINGS.get(name, {})
    made = model.model_of(f, dtype, ("batch", 4), **given)
    for rows in (1, 5, 0):
        arrays = [np.random.default_rng(i).normal(size=(rows, 4)).astype(dtype) for i in range(2)]
        arrays = arrays if f.kind == "gated" else arrays[:1]
        got, wanted = model.run(made, arrays), f(*arrays[::-1], **given)  # swiglu takes the gate first
        assert got.dtype == wanted.dtype == dtype
        np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


def test_an_operation_that_loses_digits_is_refused(model):
    harness = runner.load_harness("ndonnx")
    assert harness.evaluate(ma.cosine, [X[0]], dtype="float32").dtype == "float32"
    with pytest.raises(NotImplementedError, match="cos of float64 in float32"):
        harness.evaluate(ma.cosine, [X[0]], dtype="float64")


# CuPy


def test_cupy_on_a_stand_in():
    """In a process of its own, where ``import cupy`` finds tests/stand_ins; see there for what this shows."""
    code = f"""
import cupy, numpy as np
assert cupy.__version__ == "stand-in"
import multiact as ma
from multiact.conformance import report, runner
harness = runner.load_harness("cupy")
rows = runner.run_here(harness, runner.request(["cupy"], {SAMPLE!r}, ["float32", "float16"], device="cuda", effort="quick"))
assert rows and not [report.describe([r]) for r in rows if r.verdict == "fail"]
assert harness.devices() == ("gpu",) and rows[0].device == "gpu"
x = cupy.asarray([-1.0, 2.0])
for y in (ma.rrelu(x, training=True), ma.softmax(x, where=cupy.asarray([True, False])), ma.get("gelu").derivative(x)):
    assert type(y) is cupy.ndarray, type(y)
try:
    ma.leaky_relu(x, negative_slope=np.asarray([0.1, 0.2]))
except TypeError as error:
    assert "numpy" in str(error)
else:
    raise AssertionError("an array of NumPy was accepted beside one of CuPy")
cupy.cuda.runtime.getDeviceCount = lambda: 0
assert harness.devices() == ()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE / "stand_ins"), str(HERE.parent)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
