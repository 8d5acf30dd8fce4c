"""Random activations: what is drawn, from which generator, and that derivatives are those for what was drawn."""

from __future__ import annotations

import importlib

import array_api_strict as strict
import numpy as np
import pytest

import multiact as ma
from multiact import dispatch
from multiact.numerics import gumbel

BACKENDS = [n for n in ("numpy", "torch", "jax", "tensorflow") if dispatch.installed(n)]
DIFFERENTIABLE = [n for n in BACKENDS if n != "numpy"]
LOWER, UPPER = 1 / 8, 1 / 3


class Framework:
    """Arrays, generators, gradients and compilation of a framework by the same names."""

    def __init__(self, name):
        self.name = name
        self.module = importlib.import_module(name if name != "jax" else "jax.numpy")

    def array(self, values, dtype="float32"):
        if self.name == "torch":
            return self.module.tensor(np.asarray(values, dtype="float64")).to(getattr(self.module, dtype))
        if self.name == "tensorflow":
            return self.module.cast(self.module.constant(np.asarray(values, dtype="float64")), dtype)
        return self.module.asarray(np.asarray(values), dtype=dtype)

    def generator(self, seed):
        if self.name == "torch":
            return self.module.Generator().manual_seed(seed)
        if self.name == "tensorflow":
            return self.module.random.Generator.from_seed(seed)
        return importlib.import_module("jax").random.key(seed) if self.name == "jax" else np.random.default_rng(seed)

    def values(self, array):
        array = array.detach() if self.name == "torch" else array
        return np.asarray(array.double() if self.name == "torch" else array).astype("float64")

    def gradients(self, function, *arguments, cotangent):
        """The gradients of sum(cotangent * function) in every argument, arrays of float32."""
        if self.name == "jax":
            jax = importlib.import_module("jax")
            found = jax.grad(lambda *a: (function(*a) * cotangent).sum(), tuple(range(len(arguments))))(*arguments)
        elif self.name == "torch":
            leaves = [a.clone().requires_grad_() for a in arguments]
            found = self.module.autograd.grad((function(*leaves) * self.array(cotangent)).sum(), leaves)
        else:
            with self.module.GradientTape() as tape:
                tape.watch(arguments)
                y = function(*arguments)
            found = tape.gradient(y, arguments, self.array(cotangent))
        return [self.values(g) for g in found]

    def compiled(self, function):
        if self.name == "torch":
            return self.module.compile(function, fullgraph=True, backend="aot_eager")
        return (
            self.module.function(function)
            if self.name == "tensorflow"
            else importlib.import_module("jax").jit(function)
        )


@pytest.fixture(params=BACKENDS)
def framework(request):
    return Framework(request.param)


@pytest.fixture(params=DIFFERENTIABLE)
def differentiable(request):
    yield Framework(request.param)
    if request.param == "torch":
        importlib.import_module("torch")._dynamo.reset()


X = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")


def uniform_ks(u):
    """The Kolmogorov-Smirnov distance of a sample to the uniform distribution, times the root of its size."""
    u = np.sort(u)
    n = u.size
    return max((np.arange(1, n + 1) / n - u).max(), (u - np.arange(n) / n).max()) * n**0.5


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_slopes_of_rrelu_are_uniform(framework, dtype):
    if dtype == "float64" and framework.name == "jax" or dtype == "bfloat16" and framework.name == "numpy":
        pytest.skip("not without more set-up")
    x = framework.array(np.full((200, 100), -1.0), dtype)
    slope = -framework.values(ma.rrelu(x, training=True, rng=framework.generator(0))).ravel()
    if dtype == "bfloat16":
        assert LOWER <= slope.min() < 0.127 and 0.332 < slope.max() <= 0.334
        return
    assert LOWER <= slope.min() and slope.max() <= UPPER * (1 + 1e-7)
    assert uniform_ks((slope - LOWER) / (UPPER - LOWER)) < 1.95  # exceeded once in a thousand seeds
    positive = framework.array(X**2, "float32")
    np.testing.assert_array_equal(
        framework.values(ma.rrelu(positive, training=True, rng=framework.generator(0))), framework.values(positive)
    )


def test_samples_of_gumbel_softmax_follow_the_probabilities(framework):
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    x = framework.array(np.tile(logits, (20000, 1)))
    rng = framework.generator(1)
    hard = framework.values(ma.gumbel_softmax(x, hard=True, rng=rng))
    assert set(np.unique(hard)) == {0.0, 1.0} and (hard.sum(axis=1) == 1).all()
    np.testing.assert_allclose(hard.mean(axis=0), np.exp(logits), atol=0.016)  # 4.5 standard deviations
    soft = framework.values(ma.gumbel_softmax(x, temperature=0.5, rng=framework.generator(1)))
    np.testing.assert_array_equal(soft.argmax(axis=1), hard.argmax(axis=1))
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    along = framework.values(ma.gumbel_softmax(framework.array(X), axis=0, hard=True, rng=framework.generator(2)))
    assert (along.sum(axis=0) == 1).all()


def test_the_same_generator_state_gives_the_same_numbers(framework):
    x = framework.array(X)
    for call in (
        lambda seed: ma.rrelu(x, training=True, rng=framework.generator(seed)),
        lambda seed: ma.gumbel_softmax(x, rng=framework.generator(seed)),
    ):
        first, again, other = (framework.values(call(seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    if framework.name != "jax":
        rng = framework.generator(3)
        assert (
            framework.values(ma.gumbel_softmax(x, rng=rng)) != framework.values(ma.gumbel_softmax(x, rng=rng))
        ).any()


@pytest.mark.parametrize("name", [n for n in BACKENDS if n in ("torch", "tensorflow")])
def test_the_global_generator(name):
    framework = Framework(name)
    seed = framework.module.manual_seed if name == "torch" else framework.module.random.set_seed
    x = framework.array(X)
    found = []
    for _ in range(2):
        seed(5)
        found.append(framework.values(ma.gumbel_softmax(x)))
    np.testing.assert_array_equal(*found)


def test_evaluation_is_the_mean_slope_and_draws_nothing(framework):
    x = framework.array(X)
    want = np.where(X > 0, X, X * np.float32((LOWER + UPPER) / 2))
    for given in ({}, {"training": False}, {"training": False, "rng": framework.generator(0)}, {"noise": 0.5}):
        np.testing.assert_array_equal(framework.values(ma.rrelu(x, **given)), want)
    np.testing.assert_allclose(
        framework.values(ma.rrelu(x, lower=0.0, upper=0.5, noise=0.25)), np.where(X > 0, X, X * 0.125), rtol=1e-7
    )


def test_the_same_noise_gives_the_same_result_everywhere():
    noise = np.random.default_rng(1).uniform(size=X.shape)
    rrelu, soft = (ma.rrelu(X.astype("float64"), noise=noise), ma.gumbel_softmax(X.astype("float64"), noise=noise))
    for framework in map(Framework, BACKENDS):
        x, n = framework.array(X), framework.array(noise)
        np.testing.assert_allclose(framework.values(ma.rrelu(x, noise=n)), rrelu, rtol=1e-6)
        np.testing.assert_allclose(framework.values(ma.rrelu(x, noise=n, training=True)), rrelu, rtol=1e-6)
        np.testing.assert_allclose(framework.values(ma.gumbel_softmax(x, noise=n)), soft, rtol=2e-6)
    own = ma.gumbel_softmax(strict.asarray(X), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.asarray(own), ma.gumbel_softmax(X, rng=np.random.default_rng(0)))


def test_gradients_are_those_of_the_noise_that_was_drawn(differentiable):
    framework = differentiable
    weights = np.linspace(-1, 2, X.size, dtype="float32").reshape(X.shape)
    x, seed = framework.array(X), framework.generator
    backend = dispatch.backend(framework.name)
    one, two = framework.array(0.2), framework.array(0.4)
    noise = backend.draw("uniform", x, seed(7))
    u = framework.values(noise)
    found = framework.gradients(
        lambda x, l, u: ma.rrelu(x, lower=l, upper=u, training=True, rng=seed(7)), x, one, two, cotangent=weights
    )
    same = framework.gradients(
        lambda x, l, u: ma.rrelu(x, lower=l, upper=u, noise=noise), x, one, two, cotangent=weights
    )
    part = weights * np.where(X > 0, 0, X)
    want = [weights * np.where(X > 0, 1, 0.2 + 0.2 * u), (part * (1 - u)).sum(), (part * u).sum()]
    for a, b, c in zip(found, same, want):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=2e-5, atol=1e-6)

    noise = backend.draw("gumbel", x, seed(7))
    temperature = framework.array(0.7)
    z = X.astype("float64") + framework.values(noise)
    p = np.exp(z / np.float32(0.7))
    p /= p.sum(axis=1, keepdims=True)
    slope = p * (weights - (p * weights).sum(axis=1, keepdims=True)) / 0.7
    for hard in (False, True):
        given = {"hard": hard, "temperature": temperature}
        found = framework.gradients(
            lambda x, t, h=hard: ma.gumbel_softmax(x, hard=h, temperature=t, rng=seed(7)),
            x,
            temperature,
            cotangent=weights,
        )
        same = framework.gradients(
            lambda x, t, n, h=hard: ma.gumbel_softmax(x, hard=h, temperature=t, noise=n),
            *(x, temperature, noise),
            cotangent=weights,
        )
        for a, b, c in zip(found, same, [slope, -(slope * z).sum() / 0.7]):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_allclose(a, c, rtol=3e-5, atol=3e-6)
        np.testing.assert_allclose(same[2], slope, rtol=3e-5, atol=3e-6)  # the noise is as good as the input
        y = framework.values(ma.gumbel_softmax(x, rng=seed(7), **given))
        np.testing.assert_allclose(y, np.eye(8)[z.argmax(axis=1)] if hard else p, rtol=1e-5)


def test_compiled(differentiable):
    framework = differentiable
    x = framework.array(X)
    keys = [framework.generator(s) for s in (0, 1)] if framework.name == "jax" else [None, None]
    functions = [
        lambda x, rng: ma.rrelu(x, training=True, rng=rng),
        lambda x, rng: ma.gumbel_softmax(x, rng=rng),
        lambda x, rng: ma.gumbel_softmax(x, rng=rng, hard=True),
    ]
    for function in functions:
        call = framework.compiled(function)
        first, second = (framework.values(call(x, key)) for key in keys)
        assert (first != second).any(), "the numbers became a constant"
        if function is functions[0]:
            slope = first[X < 0] / X[X < 0]
            assert slope.min() > LOWER - 1e-6 and slope.max() < UPPER + 1e-6 and slope.std() > 0.03
        else:
            np.testing.assert_allclose(first.sum(axis=-1), 1, rtol=1e-5)
        found = framework.gradients(lambda x, c=call: c(x, keys[0]), x, cotangent=np.ones_like(X))
        assert np.isfinite(found[0]).all()
    if framework.name == "tensorflow":
        tf = framework.module
        rng = tf.random.Generator.from_seed(2)
        call = tf.function(lambda v: ma.rrelu(v, training=True, rng=rng), input_signature=[tf.TensorSpec([None, 8])])
        found = call(x)
        assert found.shape == (6, 8) and (found.numpy() != call(x).numpy()).any()


def test_gumbel_numbers_are_finite_and_follow_the_distribution(framework):
    for dtype in ("float32", "float64"):
        ends = np.asarray([0.0, 1.0, 2.0**-24, 1 - 2.0**-24, 0.5], dtype=dtype)
        found = gumbel(np, ends)
        assert found.dtype == dtype and np.isfinite(found).all()
    like = framework.array(np.zeros((300, 200)))
    backend = dispatch.backend(framework.name)
    g = framework.values(backend.draw("gumbel", like, framework.generator(11))).ravel()
    assert np.isfinite(g).all()
    assert uniform_ks(np.exp(-np.exp(-g))) < 1.95
    assert abs(g.mean() - 0.5772) < 0.02 and abs(g.var() - np.pi**2 / 6) < 0.06


def test_what_is_drawn_is_float32_for_16_bits(framework):
    if framework.name == "numpy":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        x = X.astype(ml_dtypes.bfloat16)
    else:
        x = framework.array(X, "bfloat16")
    backend = dispatch.backend(framework.name)
    noise = backend.draw("gumbel", x, framework.generator(0))
    assert backend.dtype(noise) == "float32"
    y = ma.gumbel_softmax(x, noise=noise)
    assert backend.dtype(y) == "bfloat16"


def test_hard_samples_of_difficult_rows(framework):
    rows = np.asarray([[1.0, 1.0, 0.0], [-np.inf] * 3, [-np.inf, -np.inf, 2.0], [np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0]])
    found = framework.values(ma.gumbel_softmax(framework.array(rows), noise=framework.array(0 * X[:5, :3]), hard=True))
    np.testing.assert_array_equal(found[:4], [[1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]])
    assert np.isnan(found[4]).all()


def test_wrong_generators_raise(framework):
    x = framework.array(X)
    with pytest.raises(
        ma.ParameterError, match=rf"random numbers on {framework.name} come from rng=.*Received: rng of type"
    ):
        ma.rrelu(x, training=True, rng="seed")
    with pytest.raises(ma.ParameterError, match="gumbel_softmax has no parameter 'training'. It takes: .*axis, rng"):
        ma.gumbel_softmax(x, training=True, rng=framework.generator(0))
    with pytest.raises(ma.ParameterError, match="noise of shape .* does not broadcast"):
        ma.rrelu(x, noise=framework.array(np.zeros(5)))
    with pytest.raises(ma.ParameterError, match=r"noise must be in \[0, 1\]"):
        ma.rrelu(x, noise=1.5)
    with pytest.raises(ma.InputError, match="real floating-point"):
        ma.gumbel_softmax(framework.array(X, "int32"), rng=framework.generator(0))
    if framework.name == "jax":
        with pytest.raises(ma.ParameterError, match=r"a key, for example jax.random.key\(0\). Received: no rng"):
            ma.gumbel_softmax(x)


def test_torch_modules():
    torch = pytest.importorskip("torch")
    mt = importlib.import_module("multiact.backends.torch")
    x = torch.tensor(X)
    ours, theirs = mt.RReLU(0.1, 0.3, inplace=True), torch.nn.RReLU(0.1, 0.3, inplace=True)
    assert repr(ours) == repr(theirs)
    assert not torch.equal(ours(x), ours(x))
    slope = (ours(x) / x)[x < 0]
    assert slope.min() >= 0.1 and slope.max() <= 0.3 + 1e-6
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.clone()))
    learned = mt.RReLU(learnable=True, num_parameters=8, channel_axis=-1)
    learned(x).sum().backward()
    assert [tuple(p.grad.shape) for p in learned.parameters()] == [(8,), (8,)]
    sample = mt.GumbelSoftmax(tau=0.5, hard=True, dim=0)
    assert repr(sample) == "GumbelSoftmax(tau=0.5, hard=True, dim=0)"
    torch.manual_seed(0)
    first = sample(x)
    torch.manual_seed(0)
    assert torch.equal(first, ma.gumbel_softmax(x, temperature=0.5, hard=True, axis=0)) and (first.sum(0) == 1).all()
    with pytest.raises(ma.ParameterError, match="unexpected keyword argument 'noise'"):
        mt.RReLU(noise=0.5)


def test_vmap_of_torch_draws_for_each_example():
    torch = pytest.importorskip("torch")
    x = torch.full((4, 3), -1.0)
    rows = torch.func.vmap(lambda v: ma.rrelu(v, training=True), randomness="different")(x)
    assert len({tuple(row.tolist()) for row in rows}) == 4
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(lambda v: ma.rrelu(v, training=True))(x)
