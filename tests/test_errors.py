"""Every error says what was given, what is accepted and what to do; on every backend whose framework is installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import multiact as ma
from multiact import dispatch

BACKENDS = [n for n in ("numpy", "torch", "jax", "tensorflow") if dispatch.installed(n)]


def ones(backend, shape, dtype="float32"):
    """An array of ones of a framework, complex64 and int32 included."""
    if backend == "torch":
        torch = importlib.import_module("torch")
        return torch.ones(shape, dtype=getattr(torch, dtype))
    if backend == "jax":
        return importlib.import_module("jax.numpy").ones(shape, dtype)
    if backend == "tensorflow":
        tf = importlib.import_module("tensorflow")
        return tf.cast(tf.ones(shape), dtype)
    return np.ones(shape, dtype)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=["dispatched", "of the backend"])
def function(request, backend):
    """Our functions by name, both as ``multiact.f`` and as ``multiact.backends.b.f``."""
    owner = ma if request.param == "dispatched" else importlib.import_module(f"multiact.backends.{backend}")
    return lambda name: getattr(owner, name)


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
@pytest.mark.parametrize("name", ["gelu", "prelu", "softmax", "swiglu"])
def test_a_dtype_that_is_not_real_floating_point(backend, function, name, dtype):
    accepted = r"float32, float64, float16, bfloat16\). Received: dtype=" + dtype
    with pytest.raises(TypeError, match=rf"{name} expects a real floating-point array \({accepted}.*float32") as error:
        function(name)(ones(backend, (2, 4), dtype))
    assert error.type is ma.InputError


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_a_derivative_of_a_dtype_that_is_not_real_floating_point(backend, dtype):
    with pytest.raises(ma.InputError, match=f"mish expects a real floating-point array.*{dtype}"):
        ma.get("mish").derivative(ones(backend, (3,), dtype))


@pytest.mark.parametrize("x", ["text", [1.0, 2.0], None, {"a": 1}, object()], ids=lambda v: type(v).__name__)
def test_what_is_not_an_array(x):
    with pytest.raises(ma.InputError, match=rf"expected an array of NumPy.*Received: \w+\.{type(x).__name__}.*Convert"):
        ma.gelu(x)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("geluu", "gelu"), ("sigmiod", "sigmoid"), ("HardSwish", "hard_swish"), ("leaky_rel", "leaky_relu")],
)
def test_an_unknown_name_suggests_the_nearest(given, meant):
    message = (
        rf"no activation is named '{given}'. Did you mean .*'{meant}'.*multiact.names\(\) lists all {len(ma.names())}"
    )
    with pytest.raises(ma.UnknownActivationError, match=message):
        ma.get(given)
    with pytest.raises(AttributeError, match=message):
        getattr(ma, given)
    assert not hasattr(ma, given)


def test_an_unknown_name_in_a_backend(backend):
    module = importlib.import_module(f"multiact.backends.{backend}")
    with pytest.raises(AttributeError, match=rf"multiact.backends.{backend}: no activation is named 'geluu'.*'gelu'"):
        _ = module.geluu
    done = subprocess.run(
        [sys.executable, "-c", f"from multiact.backends.{backend} import geluu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: cannot import name 'geluu'" in done.stderr


def test_a_name_like_nothing_suggests_nothing():
    with pytest.raises(ma.UnknownActivationError) as error:
        ma.get("zzzzzzzz")
    assert "Did you mean" not in str(error.value)


def test_an_unknown_parameter(backend, function):
    x = ones(backend, (3,))
    with pytest.raises(ma.ParameterError, match="silu has no parameter 'alpha'. It takes: beta."):
        function("silu")(x, alpha=1.0)
    with pytest.raises(ma.ParameterError, match="relu has no parameter 'alpha'. It takes no parameters."):
        function("relu")(x, alpha=1.0)
    with pytest.raises(ma.ParameterError, match="softmax has no parameter 'dim'. It takes: temperature, axis."):
        function("softmax")(x, dim=0)


def test_a_parameter_out_of_range(backend, function):
    x = ones(backend, (3,))
    for value in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ma.ParameterError, match=rf"celu: alpha must be in \(0, inf\). Received: alpha={value!r}"):
            function("celu")(x, alpha=value)
    with pytest.raises(ma.ParameterError, match=r"hard_shrink: lambd must be in \[0, inf\). Received: lambd=-1"):
        function("hard_shrink")(x, lambd=-1)
    with pytest.raises(ma.ParameterError, match=r"softmax: temperature must be in \(0, inf\)"):
        function("softmax")(x, temperature=0.0)


@pytest.mark.parametrize("value", ["1", None, True, [1.0], 1j], ids=repr)
def test_a_parameter_that_is_no_number(backend, function, value):
    with pytest.raises(ma.ParameterError, match="celu: alpha must be a number or an array that broadcasts.*Received"):
        function("celu")(ones(backend, (3,)), alpha=value)


def test_a_required_parameter_that_is_missing(backend, function):
    with pytest.raises(ma.ParameterError, match="threshold needs value=..., which has no default"):
        function("threshold")(ones(backend, (3,)), threshold=1.0)


def test_an_option_with_other_choices(backend, function):
    x = ones(backend, (2, 4))
    with pytest.raises(ma.ParameterError, match=r"gelu: approximate must be one of \[.*'tanh'.*\]. Received: .*'erf'"):
        function("gelu")(x, approximate="erf")
    with pytest.raises(ma.ParameterError, match=r"swiglu: gate must be one of \['first', 'second', 'interleaved'\]"):
        function("swiglu")(x, gate="left")
    with pytest.raises(ma.ParameterError, match="softmax: axis must be an integer. Received: axis=0.5"):
        function("softmax")(x, axis=0.5)


@pytest.mark.parametrize("name", ["glu", "swiglu"])
def test_a_gated_input_with_an_odd_axis(backend, function, name):
    x = ones(backend, (4, 3))
    with pytest.raises(ma.ShapeError, match=rf"{name} splits axis -1 .*must be even. Received: shape \(4, 3\)"):
        function(name)(x)
    assert tuple(function(name)(x, axis=0).shape) == (2, 3)


def test_an_axis_out_of_range(backend, function):
    x = ones(backend, (4, 2))
    for name in ("swiglu", "softmax"):
        with pytest.raises(ma.ShapeError, match=rf"{name}: axis 2 is out of range for an input of shape \(4, 2\)"):
            function(name)(x, axis=2)


def test_two_gated_inputs_that_do_not_match(backend, function):
    x = ones(backend, (4, 2))
    with pytest.raises(ma.ShapeError, match=r"swiglu expects two inputs of one shape. Received: \(4, 2\) and \(4, 3\)"):
        function("swiglu")(x, ones(backend, (4, 3)))
    with pytest.raises(
        ma.InputError, match="swiglu expects value and gate in one dtype. Received: float32 and float16"
    ):
        function("swiglu")(x, ones(backend, (4, 2), "float16"))


def test_a_parameter_for_each_channel_that_does_not_match(backend, function):
    x = ones(backend, (2, 5, 4, 4))
    slopes = ones(backend, (3, 1, 1))
    message = r"leaky_relu: negative_slope of shape \(3, 1, 1\) does not broadcast .*\(2, 5, 4, 4\).*\(channels, 1, 1\)"
    with pytest.raises(ma.ParameterError, match=message):
        function("leaky_relu")(x, negative_slope=slopes)
    with pytest.raises(ma.ParameterError, match=r"of shape \(2, 5, 4, 4\) does not broadcast .*of shape \(4,\)"):
        function("leaky_relu")(ones(backend, (4,)), negative_slope=x)
    assert tuple(function("leaky_relu")(x, negative_slope=ones(backend, (5, 1, 1))).shape) == (2, 5, 4, 4)


def test_a_derivative_that_makes_no_sense(backend):
    x = ones(backend, (3,))
    with pytest.raises(ma.ParameterError, match="order must be 1, or 2 with wrt='x'. Received: order=3"):
        ma.get("mish").derivative(x, order=3)
    with pytest.raises(ma.ParameterError, match="mish has no parameter 'beta'. It has: x"):
        ma.get("mish").derivative(x, wrt="beta")
    with pytest.raises(ma.MissingDerivativeError, match="softmax is axiswise.*vjp or jvp"):
        ma.get("softmax").derivative(x)


def test_a_gradient_that_is_not_declared():
    """A learned parameter without a declared derivative raises; it never gets a zero gradient in silence."""
    ma.define(
        "test_undeclared",
        lambda xp, x, /, *, scale: scale * x,
        {"x": lambda xp, x, /, *, scale: scale * xp.ones_like(x)},
        parameters={"scale": 1.0},
    )
    message = "test_undeclared has no declared derivative in 'scale'.*derivatives={'scale'"
    try:
        if "torch" in BACKENDS:
            torch = importlib.import_module("torch")
            scale = torch.tensor(2.0, requires_grad=True)
            with pytest.raises(ma.MissingDerivativeError, match=message):
                ma.test_undeclared(torch.ones(3), scale=scale).sum().backward()
        if "jax" in BACKENDS:
            jax = importlib.import_module("jax")
            with pytest.raises(ma.MissingDerivativeError, match=message):
                jax.grad(lambda s: ma.test_undeclared(jax.numpy.ones(3), scale=s).sum())(2.0)
        if "tensorflow" in BACKENDS:
            tf = importlib.import_module("tensorflow")
            scale = tf.constant(2.0)
            with pytest.raises(ma.MissingDerivativeError, match=message), tf.GradientTape() as tape:
                tape.watch(scale)
                y = ma.test_undeclared(tf.ones(3), scale=scale)
                tape.gradient(y, scale)
    finally:
        ma.registry.unregister("test_undeclared")


def test_an_unknown_backend():
    with pytest.raises(ma.BackendNotAvailableError, match="no backend is named 'theano'. There are: .*torch.*numpy"):
        dispatch.backend("theano")


WITHOUT = textwrap.dedent(
    """
    import sys

    class Without:
        def __init__(self, finder):
            self.finder = finder
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in MISSING:
                return None
            return self.finder.find_spec(name, path, target)
        def __getattr__(self, name):
            return getattr(self.finder, name)

    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    """
)


def without(missing, code):
    """Run code in an interpreter in which some packages are not installed."""
    source = f"MISSING = {set(missing)!r}\n{WITHOUT}\n{textwrap.dedent(code)}"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "module"), [(n, m) for n, m in dispatch.BUILTIN.items() if n != "numpy"])
def test_a_framework_that_is_not_installed_names_the_extra(name, module):
    done = without(
        [module],
        f"""
        import multiact
        for use in (
            lambda: __import__("multiact.backends.{name}"),
            lambda: __import__("multiact.dispatch").dispatch.backend("{name}"),
            lambda: exec("from multiact.backends.{name} import gelu"),
        ):
            try:
                use()
            except ImportError as error:
                assert type(error) is multiact.BackendNotAvailableError, repr(error)
                print(error)
        """,
    )
    assert done.returncode == 0, done.stderr
    line = f"multiact.backends.{name} needs {module}, which is not installed. Install it with: pip install 'multiact[{name}]'"
    assert done.stdout.splitlines() == [line] * 3


def test_the_core_works_with_numpy_alone():
    done = without(
        [*dispatch.BUILTIN, "rich", "typer", "ml_dtypes", "scipy"],
        "import multiact\nprint(len(multiact.names()))",
    )
    # NumPy itself is among the missing here: even then the names can be listed.
    assert done.returncode == 0 and int(done.stdout) == len(ma.names()), done.stderr
    done = without(
        [*(n for n in dispatch.BUILTIN if n != "numpy"), "rich", "typer", "ml_dtypes", "scipy"],
        "import numpy, multiact\nprint(multiact.relu(numpy.asarray([-1.0, 2.0])).tolist())",
    )
    assert done.returncode == 0 and done.stdout == "[0.0, 2.0]\n", done.stderr


def test_every_error_is_what_a_caller_would_catch():
    expected = {
        ma.UnknownActivationError: (AttributeError, KeyError),
        ma.ParameterError: (ValueError, TypeError),
        ma.InputError: (TypeError,),
        ma.ShapeError: (ValueError,),
        ma.DefinitionError: (ValueError,),
        ma.MissingDerivativeError: (NotImplementedError,),
        ma.BackendNotAvailableError: (ImportError,),
    }
    for error, bases in expected.items():
        assert issubclass(error, (ma.MultiactError,)) and all(issubclass(error, b) for b in bases)
    # A KeyError would print the repr of its message.
    assert str(ma.UnknownActivationError("plain text")) == "plain text"
