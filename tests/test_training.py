"""One network, trained in every framework from the same weights on the same data: the losses agree at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from multiact.dispatch import installed

WORKER = Path(__file__).parent / "training" / "worker.py"
FRAMEWORKS = ("torch", "flax", "equinox", "keras-torch", "keras-jax", "keras-tensorflow")


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """By framework; each in a process of its own, as Keras chooses its framework once."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    from tests.training.worker import CLASSES, WIDTHS

    folder = tmp_path_factory.mktemp("training")
    images, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    kept = {"x": (images[:256] / 16).astype("float32"), "y": np.eye(CLASSES, dtype="float32")[labels[:256]]}
    for i, (a, b) in enumerate(zip(WIDTHS, (*WIDTHS[1:], CLASSES))):
        kept[f"w{i}"] = (random.standard_normal((a, b)) * 1.6 / np.sqrt(a)).astype("float32")
        kept[f"b{i}"] = (random.standard_normal(b) / 10).astype("float32")
    np.savez(folder / "data.npz", **kept)
    found = {}
    for framework in FRAMEWORKS:
        if all(installed(name) for name in framework.split("-")):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": framework.rpartition("-")[2]}
            command = [sys.executable, str(WORKER), framework, str(folder)]
            run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert run.returncode == 0, f"{framework}: {run.stderr[-2000:]}"
            found[framework] = np.asarray(json.loads(run.stdout.splitlines()[-1]))
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_losses_agree_at_every_step(losses, framework):
    if framework not in losses or "torch" not in losses:
        pytest.skip(f"{framework} is not installed")
    own, first = losses[framework], losses["torch"]
    assert own.shape == (20,) and own[-1] < 0.7 * own[0], "it learns"
    np.testing.assert_allclose(own, first, rtol=1e-5)
