"""The Keras backend on torch, jax and tensorflow: tests/keras_cases/suite.py in three processes at the same time.

Keras chooses its framework once in a process, so each needs its own; together they exchange saved models.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "keras_cases" / "suite.py"
FRAMEWORKS = ("torch", "jax", "tensorflow")
LIMIT = 900


def environment(framework: str, **more: str) -> dict[str, str]:
    return {**os.environ, "KERAS_BACKEND": framework, "TF_CPP_MIN_LOG_LEVEL": "3", **more}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[subprocess.Popen[bytes], Path]]]:
    folder = tmp_path_factory.mktemp("keras")
    started = {}
    for framework in FRAMEWORKS:
        output = folder / f"{framework}.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(SUITE)],
                cwd=ROOT,
                env=environment(framework, MULTIACT_KERAS_EXCHANGE=str(folder)),
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        started[framework] = (process, output)
    yield started
    for process, _ in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_keras_on(framework: str, runs: dict[str, tuple[subprocess.Popen[bytes], Path]]) -> None:
    process, output = runs[framework]
    code = process.wait(LIMIT)
    text = output.read_text(errors="replace")
    assert code == 0, f"Keras on {framework}:\n{text[-8000:]}"
    assert " passed" in text and " skipped" not in text, text[-2000:]


def python(framework: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(framework),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_keras_on_numpy_runs_everything_but_training() -> None:
    code = """
import tempfile
import numpy as np, keras
import multiact as ma, multiact.backends.keras as mk
x = np.linspace(-3, 3, 96, dtype="float32").reshape(2, 3, 4, 4)
symbol = keras.Input(x.shape[1:])
for name in ma.names():
    activation = ma.get(name)
    if activation.random is not None and activation.random.default is None:
        continue
    given = dict(activation.examples[0]) if any(p.default is None for p in activation.parameters) else {}
    function, layer = mk.backend.function(activation), mk.backend.layer(activation)(**given)
    want = ma.dispatch.backend("numpy").function(activation)(x, **given)
    np.testing.assert_array_equal(function(x, **given), want, name)
    np.testing.assert_allclose(layer(x), want, rtol=1e-6, atol=1e-7, err_msg=name)
    model = keras.Model(symbol, layer(symbol))
    assert model.output_shape[1:] == want.shape[1:], name
model = keras.Sequential([
    keras.Input((4, 3)), keras.layers.Masking(), keras.layers.Dense(4, activation=mk.gelu), mk.Softmax(axis=1),
    mk.PReLU(channel_axis=-1), mk.SwiGLU(learnable=True),
])
given = np.linspace(-3, 3, 24, dtype="float32").reshape(2, 4, 3)
given[:, 0] = 0
y = model.predict(given, verbose=0)
assert y.shape == (2, 4, 2) and model.layers[-2].negative_slope.shape == (4,)
again = keras.Sequential.from_config(model.get_config())
again.set_weights(model.get_weights())
np.testing.assert_array_equal(again.predict(given, verbose=0), y)
with tempfile.TemporaryDirectory() as folder:
    model.save(folder + "/model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(folder + "/model.keras").predict(given, verbose=0), y)
model.compile("sgd", "mse")
try:
    model.fit(given, y, verbose=0)
except NotImplementedError as error:
    assert "NumPy" in str(error), error  # it is Keras that cannot
else:
    raise AssertionError("Keras trains on NumPy: it should be tested as on the others")
"""
    done = python("numpy", code)
    assert done.returncode == 0, done.stderr[-4000:]


def test_an_array_of_another_framework_is_served_while_keras_runs_on_one_without_a_backend() -> None:
    """Importing Keras must not break ma.gelu(numpy array), whatever Keras runs on."""
    code = """
import numpy as np, keras
import multiact as ma
keras.backend.backend = lambda: "openvino"
assert ma.relu(np.asarray([-1.0, 2.0])).tolist() == [0.0, 2.0]
try:
    import multiact.backends.keras as mk
    mk.gelu(keras.Input((2,)))
except ma.BackendNotAvailableError as error:
    assert "openvino" in str(error) and "KERAS_BACKEND" in str(error)
else:
    raise AssertionError("no error")
"""
    done = python("numpy", code)
    assert done.returncode == 0, done.stderr[-4000:]
