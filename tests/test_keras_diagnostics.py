"""Diagnostics of Keras models on torch, jax and tensorflow: tests/keras_cases/diagnostics.py in a process for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "keras_cases" / "diagnostics.py"
LIMIT = 900


@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow"])
def test_keras_on(framework: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(SUITE)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": framework, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"Keras on {framework}:\n{done.stdout[-8000:]}"
    assert " passed" in done.stdout and " skipped" not in done.stdout, done.stdout[-2000:]


def test_keras_on_numpy_runs_without_gradients() -> None:
    code = """
import numpy as np, keras
import multiact as ma
from multiact import diagnostics
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
model.layers[0].bias.assign(np.asarray([0, -100, 0, 0], "float32"))
found = diagnostics.dead_neurons(model, np.random.default_rng(0).normal(size=(40, 3)).astype("float32"))
assert 1 in found.places[0].dead
try:
    diagnostics.gradient_flow(model, np.ones((2, 3), "float32"))
except ma.ParameterError as error:
    assert "Keras on NumPy has no gradients" in str(error)
else:
    raise AssertionError("no error")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
