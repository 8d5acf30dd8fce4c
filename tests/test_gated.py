"""Gated units: their formulas against plain ones, both sides, and the gated form of any activation."""

from __future__ import annotations

import copy
import importlib
import pickle

import numpy as np
import pytest

import multiact as ma
from multiact import dispatch, registry

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 5, 4)) * 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


#: value, gate -> result, and the default side of the gate.
UNITS = {
    "glu": (lambda v, g: v * sigmoid(g), "second"),
    "bilinear": (lambda v, g: v * g, "second"),
    "gtu": (lambda v, g: np.tanh(v) * sigmoid(g), "second"),
    "reglu": (lambda v, g: v * np.maximum(g, 0), "second"),
    "geglu": (lambda v, g: v * ma.gelu(g), "second"),
    "geglu_tanh": (lambda v, g: v * gelu_tanh(g), "second"),
    "seglu": (lambda v, g: v * selu(g), "second"),
    "reglu2": (lambda v, g: v * np.maximum(g, 0) ** 2, "second"),
    "swiglu": (lambda v, g: v * g * sigmoid(g), "first"),
    "swiglu_oai": (
        lambda v, g: (np.clip(v, -7, 7) + 1) * np.minimum(g, 7) * sigmoid(1.702 * np.minimum(g, 7)),
        "interleaved",
    ),
}


def packed(value, gate, side):
    if side == "interleaved":
        return np.stack([gate, value], axis=-1).reshape(*value.shape[:-1], -1)
    return np.concatenate([gate, value] if side == "first" else [value, gate], axis=-1)


def test_all_gated_units_are_here():
    assert set(UNITS) == set(ma.names(family="gated"))


@pytest.mark.parametrize("name", UNITS)
def test_formula_and_sides(name):
    formula, side = UNITS[name]
    unit = ma.get(name)
    want = formula(A, B)
    assert unit.option("gate").default == side
    np.testing.assert_allclose(unit(packed(A, B, side)), want, rtol=1e-13, atol=1e-13)
    for other in registry.GATE_SIDES:
        np.testing.assert_allclose(unit(packed(A, B, other), gate=other), want, rtol=1e-13, atol=1e-13)
        two = (A, B) if other == "second" else (B, A)
        np.testing.assert_allclose(unit(*two, gate=other), want, rtol=1e-13, atol=1e-13)


def test_swiglu_oai_is_that_of_gpt_oss():
    torch = pytest.importorskip("torch")

    def theirs(packed):  # the formula of gpt-oss, written with torch's own functions
        gate, up = packed[..., ::2], packed[..., 1::2]
        gate, up = gate.clamp(max=7.0), up.clamp(min=-7.0, max=7.0)
        return (up + 1) * (gate * torch.sigmoid(gate * 1.702))

    ends = torch.tensor([[7.0, 7.0, 7.0, -7.0, 7.1, 3.0, 1.0, 7.1, 1.0, -7.1]], dtype=torch.float64)
    for x in (ends, torch.tensor(packed(A, B, "interleaved"))):
        ours = [x.clone().requires_grad_() for _ in range(2)]
        results = [ma.swiglu_oai(ours[0]), theirs(ours[1])]
        torch.testing.assert_close(*results)
        for y in results:
            y.sum().backward()
        torch.testing.assert_close(ours[0].grad, ours[1].grad)


def test_a_parameter_of_both_sides_has_the_derivative_of_both():
    torch = pytest.importorskip("torch")
    x = torch.tensor(packed(A, B, "interleaved"), requires_grad=True)
    alpha, limit = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.3, 4.0))
    function = lambda x, a, l: ma.swiglu_oai(x, alpha=a, limit=l)
    assert torch.autograd.gradcheck(function, (x, alpha, limit))
    assert torch.autograd.gradgradcheck(function, (x, alpha, limit))
    unit = ma.get("swiglu_oai").function
    value, gate = np.asarray([9.0, 1.0, 9.0, 1.0]), np.asarray([9.0, 9.0, 1.0, 1.0])
    step = 1e-6
    xp = dispatch.backend("numpy").namespace
    slope = (unit(xp, value, gate, 1.702, 4 + step) - unit(xp, value, gate, 1.702, 4 - step)) / (2 * step)
    np.testing.assert_allclose(unit.partial("limit")(xp, value, gate, 1.702, 4.0), slope, rtol=1e-8, atol=1e-8)
    assert slope[0] > slope[1] > 0 and slope[2] > 0 and slope[3] == 0


@pytest.fixture
def cube():
    ma.define(
        "test_cube", lambda xp, x, /: x * x * x, {"x": lambda xp, x, /: 3 * x * x}, definition="x**3", formula="x^3"
    )
    yield ma.get("test_cube")
    registry.unregister("test_cube")


def test_the_gated_form_of_any_activation(cube):
    for inner in [n for n in ma.names() if ma.get(n).kind == "pointwise"]:
        activation = ma.get(inner)
        given = dict(activation.examples[0]) if any(p.default is None for p in activation.parameters) else {}
        for side in registry.GATE_SIDES:
            unit = ma.gated(inner, side)
            assert unit is ma.gated(activation, gate=side) and unit.option("gate").default == side
            np.testing.assert_allclose(unit(packed(A, B, side), **given), A * activation(B, **given), rtol=1e-15)
    assert ma.gated("swish") is ma.gated("silu") and ma.gated("silu") is not ma.gated("silu", "second")
    unit = ma.gated("test_cube", "second")
    assert unit.name not in ma.names() and not registry.registered(unit)
    assert "x^3" in unit.formula and unit.definition == "(value) * (x**3)"
    for name in ("torch", "jax", "tensorflow"):
        if dispatch.installed(name):
            x = importlib.import_module({"jax": "jax.numpy"}.get(name, name))
            x = getattr(x, "asarray" if name == "jax" else "tensor" if name == "torch" else "constant")([2.0, 3.0])
            assert np.asarray(unit(x)).tolist() == [54.0]


def test_the_gated_form_is_differentiable(cube):
    torch = pytest.importorskip("torch")
    x = torch.tensor([2.0, 3.0], requires_grad=True)
    ma.gated(cube)(x).backward()
    assert x.grad.tolist() == [36.0, 8.0]
    jax = pytest.importorskip("jax")
    found = jax.grad(lambda v: ma.gated("silu")(v, beta=2.0)[0])(jax.numpy.asarray([1.0, 3.0]))
    want = jax.grad(lambda v: ma.swiglu(v, beta=2.0)[0])(jax.numpy.asarray([1.0, 3.0]))
    assert found.tolist() == want.tolist()


def test_what_has_no_gated_form():
    with pytest.raises(ma.DefinitionError, match="only a pointwise activation has a gated form, softmax is axiswise"):
        ma.gated("softmax")
    with pytest.raises(ma.ParameterError, match=r"gate must be one of \['first', 'second', 'interleaved'\].*'left'"):
        ma.gated("silu", "left")
    with pytest.raises(ma.UnknownActivationError, match="Did you mean 'silu'"):
        ma.gated("sillu")


def test_gated_modules():
    torch = pytest.importorskip("torch")
    mt = importlib.import_module("multiact.backends.torch")
    x = torch.tensor(packed(A, B, "second"))
    module = mt.Gated("mish", gate="second")
    assert repr(module) == "GatedMish(gate='second')" and type(module) is mt.backend.layer(ma.gated("mish", "second"))
    want = torch.tensor(A) * torch.nn.functional.mish(torch.tensor(B))
    torch.testing.assert_close(module(x), want)
    torch.testing.assert_close(module(torch.tensor(A), torch.tensor(B)), want)
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="eager")(x), want)
    torch._dynamo.reset()
    learned = mt.Gated("silu", axis=0, learnable="beta", num_parameters=2, channel_axis=0, dtype=torch.float64)
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(again(x), module(x)) and again is not module
    again = pickle.loads(pickle.dumps(learned))
    again.beta.data += 1
    assert learned.beta.tolist() == [1.0, 1.0] and again.beta.tolist() == [2.0, 2.0]
    torch.testing.assert_close(learned(torch.tensor(A[:4])), ma.swiglu(torch.tensor(A[:4]), axis=0))
    with pytest.raises(ma.ParameterError, match="GatedMish: .*'beta'. It takes: axis, gate"):
        mt.Gated("mish", beta=1.0)


def test_a_parameter_called_value_is_not_the_value():
    torch = pytest.importorskip("torch")
    x = torch.tensor([3.0, -1.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)  # value, then gate
    fill = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    y = ma.gated("threshold", "second")(x, threshold=4.0, value=fill)
    assert y.tolist() == [21.0, -5.0]
    y.sum().backward()
    assert x.grad.tolist() == [7.0, 5.0, 0.0, -1.0] and float(fill.grad) == 3.0
