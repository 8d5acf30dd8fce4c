"""Activations that learn their shape: the same from the same weights in every framework, and they do learn. Keras: keras_cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

import multiact as ma
from multiact.adaptive import ADAPTIVE, BSpline, Mixture, ScalarMLP

torch = pytest.importorskip("torch")
IMAGE = np.random.default_rng(3).normal(size=(2, 4, 5, 6)).astype(np.float32)


def module(name, **given):
    import multiact.backends.torch as own

    torch.manual_seed(0)
    return getattr(own, name)(**given)


def reference(name, x, weights):
    """What the paper says, written with NumPy for one channel of NCHW after the other."""
    result = np.empty_like(x, dtype=np.float64)
    for c in range(x.shape[1]):
        v = x[:, c].astype(np.float64)
        w = {k: p[c].astype(np.float64) for k, p in weights.items()}
        if name == "Mixture":
            e = np.exp(w["logits"])
            parts = [v, np.maximum(v, 0), np.tanh(v), v / (1 + np.exp(-v))]
            result[:, c] = sum(s * p for s, p in zip(e / e.sum(), parts))
        elif name == "ScalarMLP":
            u = v[..., None] * w["slope"] + w["shift"]
            result[:, c] = (u / (1 + np.exp(-u))) @ w["height"] + w["bias"][0]
        elif name == "BSpline":
            from scipy.interpolate import BSpline as Spline

            knots = -4 + np.arange(-3, 8 + 4)
            spline = Spline(knots, w["coefficients"], 3, extrapolate=False)
            result[:, c] = w["base"] * v / (1 + np.exp(-v)) + w["scale"] * np.nan_to_num(spline(v))
        elif name == "PolyNorm":
            powers = [v**i / np.sqrt((v ** (2 * i)).mean(-1, keepdims=True) + 1e-6) for i in (1, 2, 3)]
            result[:, c] = sum(a * p for a, p in zip(w["coefficients"], powers)) + w["bias"]
        elif name == "FReLU":
            kernel = w["kernel"].reshape(3, 3)
            padded = np.pad(v, ((0, 0), (1, 1), (1, 1)))
            window = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            result[:, c] = np.maximum(v, (window * kernel).sum((-1, -2)))
    if name == "MetaACON":
        w = {k: p.astype(np.float64) for k, p in weights.items()}
        beta = 1 / (1 + np.exp(-(x.astype(np.float64).mean((2, 3)) @ w["squeeze"] @ w["excite"].T)))
        p1, p2, beta = w["p1"][..., None], w["p2"][..., None], beta[..., None, None]
        u = (p1 - p2) * x
        result = u / (1 + np.exp(-beta * u)) + p2 * x
    return result


@pytest.mark.parametrize("name", ADAPTIVE)
def test_the_formula_in_torch_and_flax(name):
    f = module(name, num_parameters=4)
    rng = np.random.default_rng(5)
    for p in f.parameters():
        p.data += torch.tensor(rng.normal(scale=0.3, size=p.shape), dtype=p.dtype)
    weights = {n: p.detach().numpy() for n, p in f.named_parameters()}
    wanted = reference(name, IMAGE, weights)
    np.testing.assert_allclose(f(torch.tensor(IMAGE)).detach().numpy(), wanted, rtol=2e-5, atol=2e-6)
    half = f(torch.tensor(IMAGE, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16
    nnx = pytest.importorskip("flax.nnx")
    jnp = pytest.importorskip("jax.numpy")
    flax = __import__("multiact.backends.flax", fromlist=[name])
    g = getattr(flax, name)(num_parameters=4, channel_axis=1, rngs=nnx.Rngs(0))
    for key, w in weights.items():
        getattr(g, key)[...] = jnp.asarray(w)
    run = nnx.jit(lambda m, x: m(x))
    np.testing.assert_allclose(run(g, jnp.asarray(IMAGE)), wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_every_weight_gets_a_gradient_that_is_the_slope(name):
    f = module(name, num_parameters=4).double()
    x = torch.tensor(IMAGE[:1, :, :3, :3], dtype=torch.float64)
    with torch.no_grad():
        for p in f.parameters():
            p += 0.1 * torch.randn_like(p)
    names, values = zip(*f.named_parameters())

    def call(*weights):
        return torch.func.functional_call(f, dict(zip(names, weights)), (x,))

    assert torch.autograd.gradcheck(call, values, eps=1e-6, atol=1e-5)


def test_the_mixture_reads_its_weights_and_finds_the_right_activation():
    f = module("Mixture", activations=("relu", "tanh", "softsign"))
    assert f.describe() == pytest.approx({"relu": 1 / 3, "tanh": 1 / 3, "softsign": 1 / 3})
    x = torch.linspace(-3, 3, 101)
    optimizer = torch.optim.Adam(f.parameters(), lr=0.3)
    for _ in range(100):
        optimizer.zero_grad()
        ((f(x) - torch.tanh(x)) ** 2).mean().backward()
        optimizer.step()
    assert f.describe()["tanh"] > 0.95
    assert sum(f.describe().values()) == pytest.approx(1)


def test_the_scalar_mlp_starts_as_relu_within_the_error_it_states_and_learns_another_shape():
    f = module("ScalarMLP")
    x = torch.linspace(-8, 8, 12345)
    error = float((f(x) - torch.relu(x)).abs().max().detach())
    assert f.adaptive.fit_error < 0.006
    assert error == pytest.approx(f.adaptive.fit_error, rel=0.02)
    far = torch.tensor([-1000.0, 1000.0])
    assert float((f(far) - torch.relu(far)).detach().abs().max()) < 0.05
    assert ScalarMLP(start="tanh", hidden=24).fit_error < 0.02
    wanted = torch.sin(x)
    optimizer = torch.optim.Adam(f.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = ((f(x) - wanted) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 20


def test_a_spline_starts_as_its_base_and_is_a_partition_of_unity():
    f = module("BSpline")
    x = torch.linspace(-6, 6, 241)
    torch.testing.assert_close(f(x), torch.nn.functional.silu(x))
    with torch.no_grad():
        f.coefficients.fill_(1.0)
    inside = (x >= -4) & (x < 4)
    torch.testing.assert_close((f(x) - torch.nn.functional.silu(x))[inside], torch.ones(int(inside.sum())))


def test_the_state_is_saved_and_the_module_compiles():
    f = module("Mixture", num_parameters=3)
    other = module("Mixture", num_parameters=3)
    other.load_state_dict(f.state_dict())
    x = torch.randn(5, 3)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), f(x))
    assert "num_parameters=3" in repr(f)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mixture("relu"), "activations must be a list of at least two names"),
        (lambda: Mixture(("relu", "softmax")), "softmax is axiswise, not pointwise"),
        (lambda: Mixture(("relu", "threshold")), "threshold needs threshold=..., which has no default"),
        (lambda: Mixture(("relu", "rellu")), "Did you mean"),
        (lambda: ScalarMLP(hidden=1), "hidden must be an integer, at least 2. Received: hidden=1"),
        (lambda: BSpline(low=1.0, high=math.inf), "low must be less than high, both finite"),
        (lambda: module("FReLU", kernel_size=4), "kernel_size must be odd"),
        (lambda: module("FReLU", size=3), "FReLU has no argument 'size'. It takes: kernel_size"),
        (lambda: module("FReLU", num_parameters=4)(torch.zeros(2, 4)), "expects images, with 4 axes"),
        (lambda: module("Mixture", num_parameters=4)(torch.zeros(2, 3)), "weights for 4 channels along axis 1"),
    ],
)
def test_errors_say_what_to_do(make, said):
    with pytest.raises(ma.MultiactError, match=said.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_flax_modules():
    nnx = pytest.importorskip("flax.nnx")
    jnp = pytest.importorskip("jax.numpy")
    import multiact.backends.flax as mf

    x = jnp.asarray([[-4.0, 0.5, 4.0]])
    np.testing.assert_array_equal(mf.GELU(approximate="tanh")(x), ma.gelu(x, approximate="tanh"))
    prelu = mf.PReLU(num_parameters=3)
    assert prelu.negative_slope.shape == (3,) and nnx.state(prelu, nnx.Param)
    snake = mf.Snake(learnable=True, alpha=2.0)
    assert float(snake.log_alpha[...]) == pytest.approx(math.log(2)) and float(snake.alpha) == pytest.approx(2)
    gradient = nnx.grad(lambda m: m(x).sum())(snake)
    alpha = jnp.asarray(2.0)
    partial = __import__("jax").grad(lambda a: ma.snake(x, alpha=a).sum())(alpha)
    np.testing.assert_allclose(gradient["log_alpha"][...], 2 * partial, rtol=1e-6)
    assert mf.SwiGLU()(jnp.ones((2, 6))).shape == (2, 3)
    np.testing.assert_array_equal(ma.relu(prelu.negative_slope), [0.25] * 3)
    ones = -jnp.ones((400,))
    rrelu = mf.RReLU(rngs=nnx.Rngs(0))
    first, second = rrelu(ones), nnx.jit(lambda m, x: m(x))(rrelu, ones)
    assert len(set(first.tolist())) > 300 and first.tolist() != second.tolist()
    rrelu.eval()
    np.testing.assert_allclose(rrelu(ones), -11 / 48, rtol=1e-6)
    sample = mf.GumbelSoftmax(hard=True, rngs=nnx.Rngs(1))(jnp.zeros((50, 3)))
    assert set(np.unique(sample)) == {0.0, 1.0} and (sample.sum(-1) == 1).all()
    with pytest.raises(ma.ParameterError, match="GumbelSoftmax is random: make it with rngs="):
        mf.GumbelSoftmax()(jnp.zeros(3))
    with pytest.raises(ma.ParameterError, match="MetaACON starts at random: give rngs="):
        mf.MetaACON(num_parameters=4)
    for transform in (nnx.remat, nnx.vmap):  # which look at the signature of what they are given
        np.testing.assert_array_equal(transform(mf.SiLU())(x), ma.silu(x))
        np.testing.assert_array_equal(transform(mf.Mixture())(x), mf.Mixture()(x))
    with pytest.raises(ma.ShapeError, match="3 values, one for each channel"):
        prelu(jnp.ones((2, 4)))
    with pytest.raises(ma.ParameterError, match="no argument 'slope'. It takes: negative_slope"):
        mf.PReLU(slope=0.1)


def test_a_parameter_that_must_be_positive_stays_so_while_it_is_learned():
    f = module("Snake", alpha=0.5, learnable=True, num_parameters=2)
    assert list(f.state_dict()) == ["log_alpha"]
    assert f.alpha.tolist() == pytest.approx([0.5, 0.5])
    x = torch.randn(64, 2)
    torch.testing.assert_close(f(x), ma.snake(x, alpha=0.5))
    optimizer = torch.optim.SGD(f.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        f(x).sum().backward()  # the gradient drives alpha towards 0
        optimizer.step()
    assert bool((f.alpha > 0).all()) and f.alpha.max() < 0.5
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), f(x))
