"""The MLX backend: its rules under every transformation, its namespace, its Modules, and a sample of conformance."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma
from multiact import registry
from multiact.conformance import report, runner

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")

from mlx.utils import tree_flatten

from multiact.backends import mlx as own
from multiact.backends.mlx import namespace
from multiact.backends.mlx.harness import get, harness, put

X = np.linspace(-3, 3, 7, dtype=np.float32)
SAMPLE = ("gelu", "geglu", "sparsemax")
FURTHER = (("exponential", "float64"), ("tanh", "bfloat16"), ("relu", "float16"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize(("activation", "dtype"), [*((n, "float32") for n in SAMPLE), *FURTHER])
def test_a_sample_of_conformance(activation, dtype):
    modes = ["eager", "vmapped", "reverse", "forward", "second"]
    rows = runner.run_here(harness, runner.request(["mlx"], [activation], [dtype], modes))
    assert {r.mode for r in rows} >= {"eager", "reverse"} and (
        dtype != "float32" or {r.mode for r in rows} == set(modes)
    )
    assert not [report.describe([r]) for r in rows if r.verdict == "fail"]


def test_compiled():
    rows = runner.run_here(harness, runner.request(["mlx"], ["softplus"], ["float32"], ["compiled"], effort="quick"))
    assert len(rows) >= 2 and not [report.describe([r]) for r in rows if r.verdict == "fail"]


@pytest.fixture
def odd():
    """An activation whose declared derivatives are not those of its formula, so that it shows who has differentiated."""
    ma.define(
        "test_odd",
        lambda xp, x, /, *, alpha, beta: alpha * beta * x * x,
        {
            "x": lambda xp, x, /, *, alpha, beta: 7 * alpha + 0 * x,
            ("x", "x"): lambda xp, x, /, *, alpha, beta: 11 + 0 * x,
            "alpha": lambda xp, x, /, *, alpha, beta: 13 + 0 * x,
        },
        parameters={"alpha": 1.0, "beta": 1.0},
    )
    yield ma.get("test_odd")
    registry.unregister("test_odd")


def total(f):
    return lambda *arrays: f(*arrays).sum()


def test_declared_derivatives_are_used_by_every_transformation(odd):
    x, one = mx.array(X), mx.ones(7)
    scalar = mx.grad(odd)
    ways = {
        "grad": mx.grad(total(odd))(x),
        "vjp": mx.vjp(odd, [x], [one])[1][0],
        "jvp": mx.jvp(odd, [x], [one])[1][0],
        "vmap of grad": mx.vmap(scalar)(x),
        "grad of vmap": mx.grad(total(mx.vmap(odd)))(x),
        "jvp of vmap": mx.jvp(mx.vmap(odd), [x], [one])[1][0],
        "compile of grad": mx.compile(mx.grad(total(odd)))(x),
        "grad of compile": mx.grad(total(mx.compile(odd)))(x),
        "checkpoint": mx.grad(total(mx.checkpoint(odd)))(x),
    }
    for name, found in ways.items():
        assert found.tolist() == [7.0] * 7, name
    second = {
        "grad of grad": mx.vmap(mx.grad(scalar))(x),
        "jvp of grad": mx.jvp(mx.vmap(scalar), [x], [one])[1][0],
        "grad of jvp": mx.grad(lambda v: mx.jvp(odd, [v], [one])[1][0].sum())(x),
        "jvp of jvp": mx.jvp(lambda v: mx.jvp(odd, [v], [one])[1][0], [x], [one])[1][0],
    }
    for name, found in second.items():
        assert found.tolist() == [11.0] * 7, name


def test_beyond_what_is_declared_the_formula_is_differentiated():
    third = mx.grad(mx.grad(mx.grad(ma.tanh)))
    x = mx.array(0.5)
    y = np.tanh(0.5)
    assert third(x).item() == pytest.approx((1 - y * y) * (6 * y * y - 2), rel=1e-5)


def test_parameters_are_arguments(odd):
    x = mx.array(X)
    by_alpha = mx.grad(lambda a: odd(x, alpha=a).sum())
    assert by_alpha(mx.array(2.0)).item() == 13 * 7
    assert mx.grad(lambda a: odd(mx.stack([x, x]), alpha=a).sum())(mx.ones(7)).tolist() == [26.0] * 7
    assert mx.jvp(lambda a: odd(x, alpha=a), [mx.array(2.0)], [mx.array(1.0)])[1][0].tolist() == [13.0] * 7
    # Batched beside an x that is not, and with an axis that is not the first.
    assert mx.vmap(lambda a: odd(x, alpha=a))(mx.array([1.0, 2.0])).shape == (2, 7)
    found = mx.vmap(lambda v, a: odd(v, alpha=a), in_axes=(1, 0))(mx.stack([x, x], axis=1), mx.array([1.0, 2.0]))
    np.testing.assert_allclose(np.asarray(found), [X * X, 2 * X * X], rtol=1e-6)


def test_a_missing_derivative_raises_where_it_is_asked_for_and_nowhere_else(odd):
    x, beta = mx.array(X), mx.array(2.0)
    assert mx.grad(lambda v: odd(v, beta=beta).sum())(x).tolist() == [7.0] * 7
    with pytest.raises(ma.MissingDerivativeError, match="'beta'"):
        mx.grad(lambda b: odd(x, beta=b).sum())(beta)
    with pytest.raises(ma.MissingDerivativeError, match="'beta'"):
        mx.jvp(lambda b: odd(x, beta=b), [beta], [beta])
    with pytest.raises(ma.MissingDerivativeError, match="'beta'"):
        mx.grad(lambda b: mx.vmap(lambda v: odd(v, beta=b))(x).sum())(beta)


def test_along_an_axis_under_vmap():
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    for axis in (0, 1, -1, -2):
        found = mx.vmap(lambda v, a=axis: ma.softmax(v, axis=a))(mx.array(x))
        counted = axis + 1 if axis >= 0 else axis
        np.testing.assert_allclose(np.asarray(found), ma.softmax(x, axis=counted), rtol=1e-6)
    slope = mx.grad(lambda t: (ma.softmax(mx.array(x), temperature=t) ** 2).sum())(mx.array(2.0))
    step = (ma.softmax(x.astype(float), temperature=2.001) ** 2).sum() - (
        ma.softmax(x.astype(float), temperature=1.999) ** 2
    ).sum()
    assert slope.item() == pytest.approx(step / 0.002, rel=1e-3)


@pytest.mark.parametrize("name", ["exp", "sin", "cos"])
def test_float64_has_its_digits(name):
    """MLX's own are those of float32."""
    x = np.random.default_rng(0).uniform(-700, 700, 2000)
    wanted = getattr(np, name)(x)
    np.testing.assert_allclose(get(getattr(namespace, name)(put(x, "float64"))), wanted, rtol=1e-15)
    slope = {"exp": np.exp, "sin": np.cos, "cos": lambda v: -np.sin(v)}[name](x)
    for found in (
        mx.vmap(mx.grad(getattr(namespace, name)))(put(x, "float64")),
        mx.jvp(getattr(namespace, name), [put(x, "float64")], [put(np.ones_like(x), "float64")])[1][0],
    ):
        np.testing.assert_allclose(get(found), slope, rtol=1e-15)


def test_exp_of_float32_up_to_its_ends():
    x = np.asarray([-np.inf, -104, -87, -50.3, 0, 50.3, 88.5, 89, np.inf, np.nan])
    with np.errstate(over="ignore"):
        wanted = np.exp(x.astype(np.float32).astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(get(namespace.exp(put(x, "float32"))), wanted, rtol=3e-7)


def test_what_the_standard_has_and_mlx_lacks():
    x = mx.array([-1.0, -0.0, 0.0, 2.0])
    assert namespace.signbit(x).tolist() == [True, True, False, False]
    assert namespace.copysign(mx.array([1.0, -1.0, 1.0, -1.0]), x).tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert namespace.clip(x, min=-0.5).tolist() == [-0.5, 0.0, 0.0, 2.0]
    assert namespace.result_type(x, 2.0) == mx.float32 == namespace.result_type(x, mx.float16, 1)
    assert namespace.sort(x, descending=True).tolist() == [2.0, 0.0, 0.0, -1.0]
    assert namespace.astype(x, namespace.bool).dtype == mx.bool_


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16])
def test_16_bits_are_computed_in_float32_and_rounded_once(dtype):
    x = mx.array(np.linspace(-8, 8, 999, dtype=np.float32)).astype(dtype)
    for f in (ma.mish, ma.softmax):
        assert mx.array_equal(f(x), f(x.astype(mx.float32)).astype(dtype))
    slope, wide = (mx.vmap(mx.grad(ma.mish))(v) for v in (x, x.astype(mx.float32)))
    assert slope.dtype == dtype and mx.array_equal(slope, wide.astype(dtype))


def test_what_is_no_array_of_mlx():
    assert own.silu(0.5).item() == pytest.approx(0.5 / (1 + np.exp(-0.5)), rel=1e-6)
    assert own.leaky_relu(mx.array([-1.0, -2.0]), negative_slope=np.asarray([0.5, 0.25])).tolist() == [-0.5, -0.5]
    with pytest.raises(ma.InputError, match="int32"):
        ma.gelu(mx.array([1, 2]))


def test_random_numbers():
    x = -mx.ones(2000)
    first, again, other = (ma.rrelu(x, training=True, rng=mx.random.key(k)) for k in (1, 1, 2))
    assert mx.array_equal(first, again) and not mx.array_equal(first, other)
    assert ((-first >= 1 / 8) & (-first < 1 / 3)).all().item()
    mx.random.seed(3)
    drawn = ma.rrelu(x, training=True)
    mx.random.seed(3)
    assert mx.array_equal(ma.rrelu(x, training=True), drawn)
    u = own.backend.uniform(put(np.zeros(20_000), "float64"), "float64", mx.random.key(0))
    assert u.dtype == mx.float64 and 0 <= u.min().item() and u.max().item() < 1
    assert abs(u.mean().item() - 0.5) < 0.01 and len(set(u.tolist())) == 20_000
    with pytest.raises(ma.ParameterError, match=r"mx\.random\.key"):
        ma.rrelu(x, training=True, rng=1)


def test_forward_over_reverse_beside_an_infinity():
    """A tangent of 0 times an infinity is NaN."""
    x, ones = mx.array([0.5, -1.0, -np.inf, 2.0]), mx.ones(4)
    for f in (ma.softmax, ma.softmax1, ma.solu):
        slope = lambda v, f=f: mx.vjp(f, [v], [mx.array([1.0, -1.5, 0.5, 2.0])])[1][0]
        forward, reverse = mx.jvp(slope, [x], [ones])[1][0], mx.vjp(slope, [x], [ones])[1][0]
        np.testing.assert_allclose(np.asarray(forward), np.asarray(reverse), atol=1e-6)


def test_numbers_are_constants_only_up_to_a_limit():
    x = mx.array(X)
    for k in range(40):
        slope = mx.grad(lambda v, k=k: ma.leaky_relu(v, negative_slope=0.01 * k).sum())(x)
        np.testing.assert_allclose(np.asarray(slope), np.where(X > 0, 1, 0.01 * k), rtol=1e-6)


# Modules


def test_every_class_can_be_made_and_learned():
    from multiact.exports import class_names

    x = mx.array(np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32))
    for kind, name in class_names().items():
        activation = ma.get(name)
        given = {p.name: 1.0 for p in activation.held if p.default is None}
        learnable = bool(activation.held)
        module = getattr(own, kind)(**given, learnable=learnable)
        images = mx.broadcast_to(x[..., None, None], (2, 4, 2, 2))
        given = images if name == "softmax2d" else x
        mx.eval(module(given))
        if activation.held:
            slopes = nn.value_and_grad(module, lambda m, v: m(v).sum())(module, given)[1]
            mx.eval(slopes)
            assert len(tree_flatten(slopes)) == len(activation.held), kind
        assert repr(module).startswith(f"{kind}(")


def test_adaptive_modules():
    from multiact.adaptive import ADAPTIVE

    x = mx.array(np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype(np.float32))
    for kind in ADAPTIVE:
        module = getattr(own, kind)(num_parameters=4)
        slopes = nn.value_and_grad(module, lambda m, v: (m(v) ** 2).sum())(module, x)[1]
        assert tree_flatten(slopes) and all(np.isfinite(np.asarray(g)).all() for _, g in tree_flatten(slopes)), kind
    assert own.Mixture(activations=("relu", "tanh")).describe() == {"relu": 0.5, "tanh": 0.5}


def test_arguments_of_a_constructor():
    prelu = own.PReLU(num_parameters=3)
    assert prelu(mx.array([[-4.0, 0.0, 4.0]])).tolist() == [[-1.0, 0.0, 4.0]]
    assert dict(prelu.parameters())["negative_slope"].shape == (3,)
    images = own.PReLU(num_parameters=3, channel_axis=1)
    assert images(mx.ones((2, 3, 4, 4))).shape == (2, 3, 4, 4)
    with pytest.raises(ma.ShapeError, match="channel_axis"):
        prelu(mx.ones((2, 4)))
    positive = own.Snake(learnable=True, alpha=2.0)
    assert dict(positive.parameters()).keys() == {"log_alpha"} and positive.alpha.item() == pytest.approx(2.0)
    assert own.LeakyReLU(0.2)(mx.array([-1.0])).tolist() == pytest.approx([-0.2])
    assert own.Softmax(axis=0)(mx.zeros((2, 1))).tolist() == [[0.5], [0.5]]
    with pytest.raises(ma.ParameterError, match="no argument 'slope'"):
        own.LeakyReLU(slope=0.2)


def test_random_modules_draw_in_training_alone():
    module = own.RReLU()
    x = -mx.ones(100)
    assert len(set(module(x).tolist())) > 50
    module.eval()
    assert len(set(module(x).tolist())) == 1


def network():
    return nn.Sequential(nn.Linear(3, 4), own.PReLU(num_parameters=4), nn.Linear(4, 1), own.SiLU(learnable=True))


def test_a_network_learns_inside_compile_and_is_saved(tmp_path):
    from mlx import optimizers

    net, optimizer = network(), optimizers.SGD(0.1)
    state = [net.state, optimizer.state]
    derive = nn.value_and_grad(net, lambda m, v: ((m(v) - 1) ** 2).mean())

    def step(v):
        loss, slopes = derive(net, v)
        optimizer.update(net, slopes)
        return loss

    fast = mx.compile(step, inputs=state, outputs=state)
    x = mx.array(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    losses = [fast(x).item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    slope = net.layers[1].negative_slope
    assert not mx.array_equal(slope, mx.full((4,), 0.25))
    net.save_weights(str(tmp_path / "weights.safetensors"))
    other = network()
    other.load_weights(str(tmp_path / "weights.safetensors"))
    assert mx.allclose(other(x), net(x)) and mx.array_equal(other.layers[1].negative_slope, slope)


# The framework's own


def test_objects_are_translated():
    assert ma.translate("mlx", nn.LeakyReLU(0.2)).parameters == {"negative_slope": pytest.approx(0.2)}
    assert ma.translate("mlx", nn.ELU(2.0)).parameters == {"alpha": 2.0}
    assert ma.translate("mlx", nn.GELU("tanh")).activation.name == "gelu_tanh"
    assert ma.translate("mlx", nn.GELU("fast")).activation.name == "quick_gelu"
    assert ma.translate("mlx", nn.PReLU(3, init=0.5)).parameters == {"negative_slope": 0.5}
    assert ma.translate("mlx", nn.gelu_approx).activation.name == "gelu_tanh"
    assert ma.translate("torch", "GELU", to="mlx").spelling == "mlx.nn.GELU()"
    assert ma.translate("mlx", "mlx.nn.gelu_approx", to="jax").spelling == "jax.nn.gelu(x)"


def test_the_framework_s_own_is_judged():
    rows = runner.run_here(harness, runner.request(["mlx"], ["softsign"], ["float32"], ["eager"], native=True))
    assert [r.verdict for r in rows] == ["fail"] and "infinite or NaN" in rows[0].reason  # inf / inf


def test_subnormal_numbers_are_kept():
    assert harness.flushes() == ()
    assert get(put(np.asarray(2.0**-149), "float32")) == 2.0**-149
    assert get(put(np.asarray(2.0**-1074), "float64")) == 2.0**-1074
