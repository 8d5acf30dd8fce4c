"""Functions along an axis: their values by other means, sizes that change, options, masks, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import multiact as ma
from multiact import dispatch
from multiact.declaration import Axiswise

# What is drawn at random has no value to compare.
NAMES = [n for n in ma.names() if ma.get(n).kind == "axiswise" and not ma.get(n).random]
INF, NAN = np.inf, np.nan
FRAMEWORKS = ("torch", "jax", "tensorflow")


def rows(*shape):
    return np.random.default_rng(5).normal(0.0, 1.5, shape)


def entmax(x, alpha):
    """By bisection."""
    z = (alpha - 1) * x
    low, high = z.max(axis=-1, keepdims=True) - 1, z.max(axis=-1, keepdims=True)
    for _ in range(80):
        middle = (low + high) / 2
        more = (np.maximum(z - middle, 0) ** (1 / (alpha - 1))).sum(axis=-1, keepdims=True) > 1
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.maximum(z - low, 0) ** (1 / (alpha - 1))


def test_values_by_other_means():
    x = rows(40, 12)
    e = np.exp(x)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    taylor = 1 + x + x * x / 2
    for got, wanted in (
        (ma.softmax1(x), e / (1 + e.sum(axis=-1, keepdims=True))),
        (ma.taylor_softmax(x), taylor / taylor.sum(axis=-1, keepdims=True)),
        (ma.solu(x), x * e / e.sum(axis=-1, keepdims=True)),
        (ma.squash(x), norm**2 / (1 + norm**2) * x / norm),
        (ma.hardmax(x), np.eye(12)[x.argmax(axis=-1)]),
        (ma.sparsemax(x), entmax(x, 2.0)),
        (ma.entmax15(x), entmax(x, 1.5)),
        (ma.entmax_alpha(x), entmax(x, 1.5)),
        (ma.entmax_alpha(x, alpha=1.1), entmax(x, 1.1)),
        (ma.entmax_alpha(x, alpha=2.0), entmax(x, 2.0)),
        (ma.crelu(x), np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis=-1)),
        (ma.maxout(x), x.reshape(40, 6, 2).max(axis=-1)),
        (ma.maxout(x, pool_size=3), x.reshape(40, 4, 3).max(axis=-1)),
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(ma.softmax2d(x.reshape(2, 4, 5, 12)), ma.softmax(x.reshape(2, 4, 5, 12), axis=1))


@pytest.mark.parametrize("name", [n for n in NAMES if "axis" in ma.get(n).function.options])
def test_every_axis(name):
    x = rows(6, 4, 2)
    along_last = getattr(ma, name)(x)
    for axis in (0, 1, -3, -2):
        moved = np.moveaxis(getattr(ma, name)(np.moveaxis(x, -1, axis), axis=axis), axis, -1)
        np.testing.assert_array_equal(moved, along_last)


@pytest.mark.parametrize("name", ["softmax1", "sparsemax", "entmax15", "entmax_alpha"])
def test_masks(name):
    f = getattr(ma, name)
    masked = f(np.asarray([1.0, -INF, 0.5, -INF]))
    np.testing.assert_allclose(masked[[0, 2]], f(np.asarray([1.0, 0.5])), rtol=1e-15)
    assert masked[1] == masked[3] == 0
    assert f(np.full(4, -INF)).tolist() == ([0.0] * 4 if name == "softmax1" else [0.25] * 4)
    assert f(np.asarray([INF, 3.0])).tolist() == [1, 0]
    np.testing.assert_allclose(f(np.asarray([INF, 3.0, INF])), [0.5, 0, 0.5], rtol=1e-15)
    assert np.isnan(f(np.asarray([0.0, NAN, 9.0]))).all()


MASKED = [n for n in NAMES if ma.get(n).left_out is not None and "axis" in ma.get(n).function.options]


@pytest.mark.parametrize("name", MASKED)
def test_entries_left_out(name):
    """The others are as if these were not there, and what these hold does not matter, not even NaN."""
    f, becomes = getattr(ma, name), ma.get(name).left_out[1]
    x = rows(5, 6)
    keep = np.asarray([True, False, True, True, False, True])
    wanted = f(x[:, keep])
    for left_out in (0.0, 1e300, INF, -INF, NAN):
        y = f(np.where(keep, x, left_out), where=keep)
        np.testing.assert_allclose(y[:, keep], wanted, rtol=1e-13)
        assert (y[:, ~keep] == becomes).all()
    np.testing.assert_array_equal(f(x.T, where=keep[:, None], axis=0).T, f(x, where=keep))
    assert (f(x, where=np.zeros(6, bool)) == becomes).all()
    assert f(x.astype("float32"), where=keep).dtype == "float32"
    np.testing.assert_array_equal(f(x, where=None), f(x))


def test_masks_of_images_and_noise():
    x = rows(2, 3, 4, 5)
    keep = rows(2, 3, 4, 5) > -1
    np.testing.assert_array_equal(ma.softmax2d(x, where=keep), ma.softmax(x, axis=-3, where=keep))
    noise = rows(3, 4)
    keep = np.asarray([True, True, False, True])
    y = ma.gumbel_softmax(rows(3, 4), noise=noise, where=keep)
    np.testing.assert_allclose(y, ma.softmax(rows(3, 4) + noise, where=keep), rtol=1e-12)
    hard = ma.gumbel_softmax(rows(200, 4), hard=True, rng=0, where=keep)
    assert set(hard.argmax(axis=1)) == {0, 1, 3} and (hard.sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    "given, message",
    [
        ([1.0, 0.0], "booleans.*list.*Compare"),
        (np.asarray([1, 0]), "booleans.*int64.*Compare"),
        (np.asarray([True] * 3), "where of shape .3,. does not broadcast"),
    ],
)
def test_masks_that_are_none(given, message):
    with pytest.raises(ma.ParameterError, match=message):
        ma.softmax(np.zeros((4, 2)), where=given)
    with pytest.raises(ma.ParameterError, match="taylor_softmax has no parameter 'where'"):
        ma.taylor_softmax(np.zeros((4, 2)), where=np.asarray([True, False]))


def test_what_softmax1_shifts():
    assert ma.softmax1(np.asarray([-1000.0, -1000.0])).tolist() == [0, 0]
    assert ma.softmax1(np.asarray([1000.0, 1000.0])).tolist() == [0.5, 0.5]


def test_squash_of_any_size():
    assert ma.squash(np.zeros(3)).tolist() == [0, 0, 0]
    np.testing.assert_allclose(ma.squash(np.asarray([3e300, 4e300])), [0.6, 0.8], rtol=1e-15)
    np.testing.assert_allclose(ma.squash(np.asarray([3e-150, 4e-150])), [1.5e-299, 2e-299], rtol=1e-15)
    assert ma.squash(np.asarray([-INF, 5.0])).tolist() == [-1, 0]


def test_wide_rows_of_entmax_sum_to_1():
    x = np.random.default_rng(6)
    for scale in (1e-3, 0.3, 3.0, 100.0):
        wide = x.normal(0.0, scale, (3, 20000))
        crowded = -scale * np.log1p(np.arange(20000.0))[None]
        for f in (ma.sparsemax, ma.entmax15, ma.entmax_alpha, lambda v: ma.entmax_alpha(v, alpha=1.9)):
            for v in (wide, crowded):
                np.testing.assert_allclose(f(v).sum(axis=-1), 1, rtol=1e-12)


def gradients(name, framework, x, c, **given):
    """The result, the cotangent of x, and the tangent for the direction x, of one function in one framework, float64."""
    f = getattr(ma, name)
    if framework == "torch":
        torch = pytest.importorskip("torch")
        v, w = torch.tensor(x), torch.tensor(c)
        y, pull = torch.func.vjp(lambda u: f(u, **given), v)
        return y.numpy(), pull(w)[0].numpy(), torch.func.jvp(lambda u: f(u, **given), (v,), (v,))[1].numpy()
    if framework == "jax":
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            v, w = jax.numpy.asarray(x), jax.numpy.asarray(c)
            y, pull = jax.vjp(lambda u: f(u, **given), v)
            tangent = jax.jvp(lambda u: f(u, **given), (v,), (v,))[1]
            return np.asarray(y), np.asarray(pull(w)[0]), np.asarray(tangent)
    tf = pytest.importorskip("tensorflow")
    v = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(v)
        y = f(v, **given)
    with tf.autodiff.ForwardAccumulator(v, v) as forward:
        tangent = forward.jvp(f(v, **given), unconnected_gradients="zero")
    return y.numpy(), tape.gradient(y, v, tf.constant(c)).numpy(), tangent.numpy()


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_differences_of_values(name, framework):
    x = rows(3, 4, 2)
    f, h = getattr(ma, name), 1e-6
    y = f(x)
    c = np.random.default_rng(7).normal(size=y.shape)
    got, vjp, jvp = gradients(name, framework, x, c)
    np.testing.assert_allclose(got, y, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jvp, (f(x + h * x) - f(x - h * x)) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose((vjp * x).sum(), (c * jvp).sum(), rtol=1e-10, atol=1e-12)


def of_framework(framework, mask):
    if framework == "jax":
        return pytest.importorskip("jax").numpy.asarray(mask)
    return pytest.importorskip("torch").tensor(mask) if framework == "torch" else mask  # NumPy's in TensorFlow


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", MASKED)
def test_gradients_of_entries_left_out_are_0(name, framework):
    x, c = rows(3, 4, 2), rows(3, 4, 2) + 1
    keep = np.asarray([[True, False], [True, True], [False, True], [True, True]])
    kept = np.broadcast_to(keep, x.shape)
    for left_out in (0.5, INF, NAN):
        y, vjp, jvp = gradients(
            name, framework, np.where(keep, x, left_out), c, where=of_framework(framework, keep), axis=1
        )
        for column in range(2):
            rest = [a[:, keep[:, column], column] for a in (x, c)]
            wanted = gradients(name, framework, *rest, axis=-1)
            for got, want in zip((y, vjp, jvp), wanted):
                np.testing.assert_allclose(got[:, keep[:, column], column], want, rtol=1e-10, atol=1e-12)
        assert (vjp[~kept] == 0).all() and (jvp[~kept] == 0).all()


def test_masks_in_compiled_code():
    x = rows(3, 4).astype("float32")
    keep = np.asarray([True, False, True, True])
    wanted = ma.softmax(x, where=keep)
    jax, tf, torch = (pytest.importorskip(m) for m in ("jax", "tensorflow", "torch"))
    y = jax.jit(lambda v, m: ma.softmax(v, where=m))(x + jax.numpy.zeros(()), jax.numpy.asarray(keep))
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    spec = [tf.TensorSpec(None, tf.float32), tf.TensorSpec(None, tf.bool)]
    graph = tf.function(lambda v, m: ma.softmax(v, where=m), input_signature=spec, autograph=False)
    np.testing.assert_allclose(graph(x, keep), wanted, rtol=1e-6)
    compiled = torch.compile(lambda v, m: ma.softmax(v, where=m), fullgraph=True, backend="eager")
    np.testing.assert_allclose(compiled(torch.tensor(x), torch.tensor(keep)), wanted, rtol=1e-6)
    half = ma.softmax(torch.tensor(x, dtype=torch.bfloat16), where=torch.tensor(keep))
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_options_reach_the_derivative(framework):
    x = np.asarray([[1.0, 5.0, 5.0, -1.0, -2.0, -3.0]])
    y, vjp, _ = gradients("maxout", framework, x, np.asarray([[2.0, 3.0]]), pool_size=3)
    assert y.tolist() == [[5, -1]] and vjp.tolist() == [[0, 2, 0, 3, 0, 0]], "all to the first maximum"
    y, vjp, _ = gradients("maxout", framework, x, np.full((1, 6), 4.0), pool_size=1)
    assert y.tolist() == x.tolist() and vjp.tolist() == [[4] * 6]


@pytest.mark.parametrize("name", ["crelu", "maxout", "softmax1", "sparsemax", "softmax2d"])
def test_shapes_that_become_known_when_a_graph_runs(name):
    tf = pytest.importorskip("tensorflow")
    x = rows(3, 4, 2)
    f, axis = getattr(ma, name), {} if name == "softmax2d" else {"axis": 1}
    shapes = []

    def run(v):
        with tf.GradientTape() as tape:
            tape.watch(v)
            y = f(v, **axis)
        shapes.append(y.shape)
        return y, tape.gradient(y, v)

    for spec in ((None, None, None), None, (3, None, 2), (None, 4, 2)):
        y, g = tf.function(run, input_signature=[tf.TensorSpec(spec, tf.float64)], autograph=False)(tf.constant(x))
        np.testing.assert_allclose(y, f(x, **axis), rtol=1e-14)
        assert g.shape == x.shape
        if spec == (None, 4, 2):
            out = {"crelu": 8, "maxout": 2}.get(name, 4)
            assert shapes[-1].as_list() == [None, out, 2]


@pytest.mark.parametrize("backend", ["numpy", *FRAMEWORKS])
def test_shapes_and_options_that_are_refused(backend):
    pytest.importorskip(backend)
    make = {
        "numpy": np.asarray,
        "torch": lambda a: __import__("torch").tensor(a),
        "jax": lambda a: __import__("jax").numpy.asarray(a),
        "tensorflow": lambda a: __import__("tensorflow").constant(a),
    }[backend]
    f = lambda name: dispatch.backend(backend).function(ma.get(name))
    x = make(np.ones((4, 3), "float32"))
    said = r"maxout: axis -1 of an input of shape \(4, 3\) has a size that is not a multiple of pool_size=2"
    with pytest.raises(ma.ShapeError, match=said):
        f("maxout")(x)
    assert tuple(f("maxout")(x, axis=0).shape) == (2, 3)
    with pytest.raises(ma.ParameterError, match="pool_size must be at least 1. Received: pool_size=0"):
        f("maxout")(x, pool_size=0)
    with pytest.raises(ma.ParameterError, match="pool_size must be an integer"):
        f("maxout")(x, pool_size=2.0)
    with pytest.raises(ma.ShapeError, match=r"softmax2d expects an input of 3 or 4 axes. Received: shape \(4, 3\)"):
        f("softmax2d")(x)
    with pytest.raises(ma.ParameterError, match="softmax2d has no parameter 'axis'"):
        f("softmax2d")(x, axis=1)
    with pytest.raises(ma.ParameterError, match=r"entmax_alpha: alpha must be in \(1, 2\]"):
        f("entmax_alpha")(x, alpha=2.5)


def test_size_is_that_of_the_value():
    x = rows(2, 6, 2)
    for name in NAMES:
        activation = ma.get(name)
        assert isinstance(activation.function, Axiswise)
        options = {o.name: o.default for o in activation.options}
        assert activation.function.output_shape(x.shape, options) == activation(x).shape, name
        assert activation.function.output_shape((None,) * 3, options) == (None,) * 3, name


def test_modules_that_change_the_size():
    torch = pytest.importorskip("torch")
    from multiact.backends import torch as mt

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), mt.CReLU(), mt.Maxout(pool_size=4), mt.EntmaxAlpha())
    y = model(torch.ones(5, 3))
    assert y.shape == (5, 2)
    y[:, 0].sum().backward()
    assert model[3].alpha.grad is not None and model[0].weight.grad is not None
    assert repr(model[2]) == "Maxout(pool_size=4)"
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(torch.ones(5, 3)), y)
    image = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(mt.Softmax2d()(image), torch.nn.Softmax2d()(image))
