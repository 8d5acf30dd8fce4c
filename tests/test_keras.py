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


def test_keras_on_numpy_runs_functions_and_layers() -> None:
    code = """
import numpy as np, keras
from multiact.backends.keras import GELU, PReLU, gelu
x = np.linspace(-3, 3, 12, dtype="float32").reshape(4, 3)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation=gelu), GELU(), PReLU(channel_axis=-1)])
assert model.predict(x, verbose=0).shape == (4, 3)
np.testing.assert_array_equal(GELU()(x), gelu(x))
assert model.layers[-1].negative_slope.shape == (3,)
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
