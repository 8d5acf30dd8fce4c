"""The real-data example: weights trained in PyTorch give the same logits in every framework with our activations."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from multiact.benchmarks import port_model

for package in ("torch", "sklearn", "rich"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """The rows of a short training, and what was printed."""
    file = tmp_path_factory.mktemp("port_model") / "rows.json"
    command = [sys.executable, "-m", "multiact.benchmarks.port_model", "--epochs", "20", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {row["target"]: row for row in json.loads(file.read_text())}, done.stdout


def test_every_installed_framework_is_compared(outcome):
    rows, printed = outcome
    assert list(rows) == [t for t in port_model.TARGETS if not port_model.missing(t)]
    for target in port_model.TARGETS:
        assert target in printed


def test_the_classifier_learned(outcome):
    rows, _ = outcome
    assert rows["torch"]["accuracy"]["ours"] > 0.93


def test_ours_agree_to_rounding(outcome):
    rows, _ = outcome
    for target, row in rows.items():
        # Three float32 products of 64, 64 and 32 terms, added in another order: a few roundings of the largest logit.
        assert row["difference"]["ours"] <= 16 * 2**-24 * row["largest_logit"], target
        assert row["accuracy"]["ours"] == rows["torch"]["accuracy"]["ours"], target
    assert rows["torch"]["difference"]["ours"] == 0


def test_defaults_differ_where_they_are_another_function(outcome):
    rows, _ = outcome
    for target in ("jax", "tensorflow", "keras/jax", "keras/tensorflow", "keras/torch"):
        if target in rows:
            assert rows[target]["difference"]["prelu"] > 0.1, target
    if "jax" in rows:
        assert rows["jax"]["difference"]["gelu"] > 100 * rows["jax"]["difference"]["ours"]


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    command = [sys.executable, "-m", "multiact.benchmarks.port_model", "--json", str(tmp_path / "no" / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("torch", "which is not installed. Install it with: pip install 'multiact[torch]'"),
        ("rich", "port_model needs rich, which is not installed. Install it with: pip install 'multiact[bench]'"),
        (
            "sklearn",
            "port_model needs scikit-learn, which is not installed. Install it with: pip install 'multiact[bench]'",
        ),
    ],
)
def test_what_is_missing_is_named(absent, message):
    code = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else find(name, *rest)
sys.modules[{absent!r}] = None
if {absent!r} == "torch":
    del sys.modules["torch"]
from multiact.benchmarks.port_model import main
sys.argv = ["port_model"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
