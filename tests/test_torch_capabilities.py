"""What people do to torch models: one activation of each kind, and that what is wrong there is found."""

from __future__ import annotations

import os
import signal

import pytest
import torch

import multiact as ma
from multiact import registry
from multiact.backends.torch import ranks
from multiact.backends.torch.harness import harness
from multiact.capabilities import capabilities
from multiact.conformance import cases
from multiact.conformance.runner import run_case

TABLE = capabilities("torch")
#: A pointwise one with a learned parameter, a gated one, one along an axis.
SAMPLE = ("prelu", "swiglu", "softmax")


def rows(name, capability, native=False):
    dtypes = ("float32", "float64", "bfloat16")
    plan = cases.cases(harness, [ma.get(name)], dtypes=dtypes, modes=[capability], native=native, effort="quick")
    return [run_case(harness, c) for c in plan]


@pytest.fixture
def square():
    """Declares the square of x by other formulas."""

    def declare(value=lambda xp, x, /: x * x, derivative=lambda xp, x, /: 2 * x):
        return ma.define("cap_square", value, {"x": derivative}, definition="x**2")

    yield declare
    registry.unregister("cap_square")


@pytest.fixture(scope="module", autouse=True)
def end_processes():
    yield
    ranks.close()
    torch._dynamo.reset()


@pytest.mark.parametrize("capability", TABLE)
@pytest.mark.parametrize("name", SAMPLE)
def test_sample(name, capability):
    kinds = TABLE[capability].kinds
    found = rows(name, capability)
    assert bool(found) == (ma.get(name).kind in kinds)
    assert [(r.order, r.reason) for r in found if r.verdict != "pass"] == []


def test_a_native_is_judged_too():
    """torch's own backward of tanh loses all digits where the slope is small, in whatever way it is asked for."""
    for capability in ("jacrev", "checkpoint", "compiled_dynamic", "dtensor"):
        found = rows("tanh", capability, native=True)
        assert {r.verdict for r in found if r.order == 1} == {"fail"}, capability
    assert rows("tanh", "deepcopy", native=True) == []


# What is wrong is found


@pytest.mark.parametrize(
    "capability",
    [
        *("jacrev", "jacfwd", "vmap_grad", "nested_vmap", "ensemble", "compiled_dynamic"),
        *("checkpoint", "checkpoint_reentrant", "deepcopy", "state_dict", "channels_last", "strided", "expanded"),
        *("scalar", "empty"),
    ],
)
def test_a_wrong_derivative(square, capability):
    square(derivative=lambda xp, x, /: 2 * x + 1e-4)
    failed = {r.order for r in rows("cap_square", capability) if r.verdict == "fail"}
    assert 1 in failed and 0 not in failed


@pytest.mark.parametrize("capability", ["jacfwd_jacfwd", "hessian", "jacrev_jacfwd", "vmap_grad"])
def test_a_wrong_second_derivative(square, capability):
    """Far from 0, where a derivative of 2 x is lost in it."""
    square(derivative=lambda xp, x, /: xp.where(xp.abs(x) > 1e9, 2.0 * xp.abs(x), 2 * x))
    assert "fail" in {r.verdict for r in rows("cap_square", capability) if r.order == 2}


@pytest.mark.parametrize("capability", ["export", "export_strict", "onnx", "compiled_dynamic"])
def test_a_formula_that_is_not_to_be_traced(square, capability):
    square(value=lambda xp, x, /: xp.asarray([v * v for v in x.tolist()], dtype=x.dtype))
    assert {r.verdict for r in rows("cap_square", "inference_mode") if r.dtype == "float32"} == {"pass"}
    assert {r.verdict for r in rows("cap_square", capability)} == {"fail"}


def test_points_that_depend_on_each_other(square):
    square(
        value=lambda xp, x, /: x * x + 0 * xp.sum(xp.where(xp.isfinite(x), x, 0.0)),
        derivative=lambda xp, x, /: 2 * x + xp.sum(xp.where(x == 0, 1.0, 0.0)),
    )
    assert "fail" in {r.verdict for r in rows("cap_square", "nested_vmap")}


def test_a_layout_that_is_not_kept(square):
    square(value=lambda xp, x, /: (x * x).contiguous())
    (first, *_) = rows("cap_square", "channels_last")
    assert first.verdict == "fail" and "channels_last is not kept" in first.reason


def test_a_batch_that_is_not_dynamic(square):
    square(value=lambda xp, x, /: x * x if x.shape[0] == 6 else x * x + 0)
    for capability in ("export", "compiled_dynamic"):
        (first, *_) = rows("cap_square", capability)
        assert first.verdict == "fail", capability


# Two processes


def test_a_process_that_dies():
    both = ranks.running().processes
    os.kill(both[1].pid, signal.SIGKILL)
    both[1].wait()
    first, *others = rows("relu", "dtensor")
    assert first.verdict == "fail" and "rank 1 died (exit code -9)" in first.reason
    assert all(p.poll() is not None for p in both), "the other one is left"
    assert {r.verdict for r in others} == {"pass"}


def test_a_process_that_does_not_answer(monkeypatch):
    both = ranks.running().processes
    monkeypatch.setattr(ranks, "PATIENCE", 2.0)
    os.kill(both[1].pid, signal.SIGSTOP)
    first = rows("relu", "dtensor")[0]
    assert first.verdict == "fail" and "no answer from rank" in first.reason
    assert all(p.poll() is not None for p in both)


def test_an_error_in_the_processes_is_a_failing_row(square):
    square()  # of which they do not know
    found = rows("cap_square", "dtensor")
    assert {r.verdict for r in found} == {"fail"} and "UnknownActivationError" in found[0].reason
    both = ranks.running().processes
    assert all(p.poll() is None for p in both)
    ranks.close()
    assert all(p.poll() is not None for p in both)
