"""The PyTorch backend: derivatives in every mode and order, torch.compile, Modules, errors, the harness."""

from __future__ import annotations

import copy
import functools
import inspect
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

import multiact as ma
from multiact import registry
from multiact.backends import torch as mt
from multiact.backends.torch.harness import harness

F = torch.nn.functional
DOUBLE = torch.float64

#: Away from all kinks: 0, 0.5, 1, 3, 6.
POINTS = torch.tensor([-7.3, -3.4, -1.7, -0.8, -0.3, 0.2, 0.7, 1.4, 2.2, 3.7, 6.4, 8.1], dtype=DOUBLE)


def silu(x, beta=1.0):
    return x * torch.sigmoid(beta * x)


def defaults(activation):
    """A value for every parameter: its default, or that of the first example."""
    example = activation.examples[0] if activation.examples else {}
    return [example.get(p.name, 0.0) if p.default is None else p.default for p in activation.parameters]


def positional(name):
    """The activation as a function of its input and its parameters, with value and gate packed in one input."""
    activation = ma.get(name)
    function = mt.backend.function(activation)
    return activation, lambda x, *parameters: function(
        x, **dict(zip([p.name for p in activation.parameters], parameters))
    )


@pytest.fixture
def declared():
    """Activations of a test, removed again after it."""
    made = []

    def declare(name, value, derivatives, **facts):
        made.append(name)
        return ma.define(name, value, derivatives, **facts)

    yield declare
    for name in made:
        registry.unregister(name)


@pytest.fixture(autouse=True)
def fresh_dynamo():
    yield
    torch._dynamo.reset()


def compiled(function, **options):
    return torch.compile(function, fullgraph=True, backend="aot_eager", **options)


def gradients(function, *arguments):
    y = function(*arguments)
    return torch.autograd.grad(y, [a for a in arguments if a.requires_grad], torch.ones_like(y))


# Derivatives


@pytest.mark.parametrize("name", ma.names())
def test_gradients_of_every_activation(name):
    """Reverse and forward mode, batched too, and double backward, in the input and in every parameter."""
    activation, function = positional(name)
    x = (POINTS.reshape(3, 2, 2) if activation.kind != "pointwise" else POINTS).clone().requires_grad_()
    given = defaults(activation)
    if name == "soft_exponential":
        given = [0.5]  # at 0 its higher derivatives in alpha are others above than below
    parameters = [torch.tensor(v, dtype=DOUBLE, requires_grad=True) for v in given]
    assert torch.autograd.gradcheck(
        function, (x, *parameters), check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert torch.autograd.gradgradcheck(function, (x, *parameters), check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: vmap(grad(f)),
        lambda f: vmap(grad(grad(f))),
        lambda f: vmap(grad(grad(grad(f)))),
        vmap,
        jacrev,
        jacfwd,
        hessian,
        lambda f: jacrev(jacrev(f)),
        lambda f: jacrev(jacfwd(f)),
        lambda f: jacfwd(jacfwd(f)),
        lambda f: jacfwd(jacfwd(jacfwd(f))),
        lambda f: jacfwd(hessian(f)),
        lambda f: jacrev(hessian(f)),
    ],
)
def test_transforms_and_their_nesting(transform):
    x = torch.cat((POINTS[:4], torch.zeros(1, dtype=DOUBLE)))  # at 0 a derivative of abs or maximum would show
    torch.testing.assert_close(transform(mt.silu)(x), transform(silu)(x), atol=1e-12, rtol=1e-10)


def test_vmap_over_either_argument():
    x, beta = POINTS, torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE)
    both = vmap(vmap(lambda v, b: mt.silu(v, beta=b), in_dims=(0, None)), in_dims=(None, 0))
    torch.testing.assert_close(both(x, beta), silu(x, beta[:, None]))
    per_beta = vmap(grad(lambda b, v: mt.silu(v, beta=b).sum()), in_dims=(0, None))
    torch.testing.assert_close(per_beta(beta, x), vmap(grad(lambda b, v: silu(v, b).sum()), in_dims=(0, None))(beta, x))
    rows = x.reshape(3, 4)
    torch.testing.assert_close(vmap(mt.softmax, in_dims=1, out_dims=1)(rows), torch.softmax(rows, 0))
    torch.testing.assert_close(vmap(lambda v: mt.softmax(v, axis=0))(rows), torch.softmax(rows, 1))


def test_forward_mode_uses_the_declared_derivative(declared):
    """A false derivative that only the declaration has shows in every mode, so none of them differentiates the value."""
    wrong = declared("wrong", lambda xp, x, /: x * x, {"x": lambda xp, x, /: 0 * x + 7.0})
    x = POINTS.clone()
    sevens = torch.full_like(x, 7.0)
    torch.testing.assert_close(jvp(wrong, (x,), (torch.ones_like(x),))[1], sevens)
    torch.testing.assert_close(vmap(jacfwd(wrong))(x), sevens)
    torch.testing.assert_close(gradients(wrong, x.clone().requires_grad_())[0], sevens)
    torch.testing.assert_close(gradients(compiled(wrong), x.clone().requires_grad_())[0], sevens)
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(wrong(dual)).tangent, sevens)


def test_gradient_of_a_broadcast_parameter_is_summed_to_its_shape():
    x = torch.randn(2, 3, 4, dtype=DOUBLE, requires_grad=True)
    for shape in [(), (1,), (4,), (3, 1), (2, 1, 1), (2, 3, 4)]:
        beta = torch.rand(shape, dtype=DOUBLE, requires_grad=True)
        for ours, theirs in zip(gradients(lambda x, b: mt.silu(x, beta=b), x, beta), gradients(silu, x, beta)):
            torch.testing.assert_close(ours, theirs)


def test_only_what_is_asked_for_is_differentiated(declared):
    """A gradient that nobody needs is not computed: the partial in x would raise here."""

    def never(xp, x, /, *, a):
        raise AssertionError("the derivative in x was evaluated")

    f = declared(
        "half_known",
        lambda xp, x, /, *, a=1.0: a * x,
        {"x": never, "a": lambda xp, x, /, *, a: x},
        parameters={"a": 1.0},
    )
    a = torch.tensor(2.0, dtype=DOUBLE, requires_grad=True)
    assert gradients(lambda a: f(POINTS, a=a), a)[0] == POINTS.sum()


def test_undeclared_parameter_gradient_raises(declared):
    f = declared(
        "partly", lambda xp, x, /, *, a=1.0: a * x, {"x": lambda xp, x, /, *, a: a + 0 * x}, parameters={"a": 1.0}
    )
    x = POINTS.clone().requires_grad_()
    a = torch.tensor(2.0, dtype=DOUBLE, requires_grad=True)
    torch.testing.assert_close(gradients(lambda x: f(x, a=a.detach()), x)[0], torch.full_like(x, 2.0))
    with pytest.raises(ma.MissingDerivativeError, match="'a'"):
        f(x, a=a).sum().backward()
    with pytest.raises(ma.MissingDerivativeError, match="'a'"):
        jvp(lambda a: f(POINTS, a=a), (a.detach(),), (torch.ones((), dtype=DOUBLE),))
    with pytest.raises(ma.MissingDerivativeError, match="'a'"):
        mt.backend.layer(ma.get("partly"))(learnable="a")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_and_rounded_once(dtype):
    x = torch.linspace(-12, 12, 4001).to(dtype).requires_grad_()
    beta = torch.tensor(1.25, requires_grad=True)  # float32 beside a 16-bit input
    wide = x.detach().float().requires_grad_()
    y, expected = mt.silu(x, beta=beta), mt.silu(wide, beta=beta)
    assert y.dtype == dtype and torch.equal(y, expected.to(dtype))
    ours = torch.autograd.grad(y, (x, beta), torch.ones_like(y), create_graph=True)
    theirs = torch.autograd.grad(expected, (wide, beta), torch.ones_like(expected), create_graph=True)
    assert ours[0].dtype == dtype and torch.equal(ours[0], theirs[0].to(dtype))
    assert ours[1].dtype == torch.float32 and torch.equal(ours[1], theirs[1])
    (second,) = torch.autograd.grad(ours[0], x, torch.ones_like(x))
    (expected,) = torch.autograd.grad(theirs[0], wide, torch.ones_like(wide))
    assert torch.equal(second, expected.to(dtype))


def test_half_parameter_gradient_is_summed_in_float32():
    x = torch.randn(256, 64).bfloat16()
    beta = torch.full((64,), 1.25, dtype=torch.bfloat16, requires_grad=True)
    wide = beta.detach().float().requires_grad_()
    ours = gradients(lambda b: mt.silu(x, beta=b), beta)[0]
    assert torch.equal(ours, gradients(lambda b: mt.silu(x.float(), beta=b), wide)[0].bfloat16())


@pytest.mark.parametrize("name", ma.names())
def test_only_the_input_is_saved_for_backward(name):
    _, function = positional(name)
    saved = []
    x = torch.randn(2, 4, 16, dtype=torch.bfloat16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        function(x, *defaults(ma.get(name)))
    assert sum(t.numel() * t.element_size() for t in saved) == x.numel() * x.element_size()
    assert {t.untyped_storage().data_ptr() for t in saved} == {x.untyped_storage().data_ptr()}


def test_a_learned_parameter_is_all_that_is_saved_beside_the_input():
    saved = []
    x, slope = torch.randn(4, 3, requires_grad=True), torch.rand(3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        mt.leaky_relu(x, negative_slope=slope)
    assert [id(t) for t in saved] == [id(x), id(slope)] or [t.shape for t in saved] == [x.shape, slope.shape]


def test_nothing_is_recorded_without_a_gradient():
    x = torch.randn(5)
    assert mt.silu(x).grad_fn is None
    with torch.no_grad():
        assert mt.silu(x.requires_grad_()).grad_fn is None
    with torch.inference_mode():
        torch.testing.assert_close(mt.silu(x), F.silu(x))


# Kinds of tensors


def test_layouts_and_sizes():
    base = torch.randn(4, 6, dtype=DOUBLE)
    for x in (base.t(), base[:, ::2], base[1:1], torch.tensor(0.7, dtype=DOUBLE), base.expand(3, 4, 6)):
        x = x.detach().requires_grad_()
        torch.testing.assert_close(mt.silu(x), F.silu(x))
        torch.testing.assert_close(gradients(mt.silu, x), gradients(F.silu, x))
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert mt.mish(images).is_contiguous(memory_format=torch.channels_last)


def test_meta_and_fake_tensors():
    x = torch.empty(3, 4, device="meta", dtype=torch.bfloat16, requires_grad=True)
    y = mt.gelu(x)
    assert (y.device.type, y.shape, y.dtype) == ("meta", x.shape, x.dtype)
    assert gradients(mt.gelu, x)[0].shape == x.shape
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        assert mt.swiglu(torch.empty(3, 4)).shape == (3, 2)


def test_autocast_keeps_the_dtype_of_the_input():
    layer = torch.nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = layer(torch.randn(2, 4))
        y = mt.SiLU()(hidden)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y, mt.silu(hidden.float()).bfloat16(), rtol=0, atol=0)
    y.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_infinities_and_nan():
    x = torch.tensor([-torch.inf, torch.inf, torch.nan], requires_grad=True)
    assert torch.equal(mt.silu(x).nan_to_num(nan=5.0, posinf=9.0), torch.tensor([0.0, 9.0, 5.0]))
    assert torch.equal(gradients(mt.silu, x)[0].nan_to_num(nan=5.0), torch.tensor([0.0, 1.0, 5.0]))


def test_input_is_never_overwritten_nor_returned(declared):
    same = declared("same", lambda xp, x, /: x, {"x": lambda xp, x, /: 0 * x + 1})
    x = torch.ones(3, requires_grad=True)
    for function in (same, mt.ReLU(inplace=True)):
        y = function(x)
        y.data.add_(1)
        assert torch.equal(x, torch.ones(3))
    assert torch.equal(gradients(same, x)[0], torch.ones(3))
    assert torch.equal(jvp(same, (x.detach(),), (x.detach(),))[1], torch.ones(3))


# torch.compile


@pytest.mark.parametrize("name", ["silu", "gelu", "prelu", "hard_tanh", "swiglu", "softmax", "quick_gelu"])
def test_compile_value_and_gradients(name):
    activation, function = positional(name)
    x = torch.randn(3, 4, dtype=DOUBLE, requires_grad=True)
    parameters = [torch.tensor(v, dtype=DOUBLE, requires_grad=True) for v in defaults(activation)]
    torch.testing.assert_close(compiled(function)(x, *parameters), function(x, *parameters))
    for ours, eager in zip(gradients(compiled(function), x, *parameters), gradients(function, x, *parameters)):
        torch.testing.assert_close(ours, eager)


def test_compile_the_functions_that_dispatch():
    x = torch.randn(3, 4, requires_grad=True)
    for function in (
        ma.silu,
        lambda x: ma.softmax(x, axis=0),
        lambda x: ma.gelu(x, approximate="tanh"),
        ma.get("mish"),
    ):
        torch.testing.assert_close(compiled(function)(x), function(x))
        torch.testing.assert_close(gradients(compiled(function), x), gradients(function, x))

    def derivative(x):
        return ma.get("silu").derivative(x, beta=1.5)

    torch.testing.assert_close(gradients(compiled(derivative), x), gradients(derivative, x))


def test_compile_with_inductor_and_dynamic_shapes():
    model = torch.nn.Sequential(mt.SiLU(), mt.SwiGLU())  # twice the same constants, which dynamic=True makes inputs
    fast = torch.compile(model, fullgraph=True, dynamic=True)
    for rows in (2, 5):
        x = torch.randn(rows, 8, requires_grad=True)
        torch.testing.assert_close(fast(x), model(x))
        torch.testing.assert_close(gradients(fast, x), gradients(model, x))


def test_compile_is_the_first_thing_a_process_does():
    program = (
        "import torch, multiact as ma\n"
        "f = torch.compile(lambda x: ma.silu(x), fullgraph=True, backend='aot_eager')\n"
        "x = torch.ones(3, requires_grad=True)\n"
        "f(x).sum().backward()\n"
        "torch.testing.assert_close(x.grad, torch.full((3,), 0.9276705))\n"
        "torch.testing.assert_close(torch.compile(ma.mish, fullgraph=True, backend='aot_eager')(x), ma.mish(x))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_compile_when_torch_is_imported_last():
    program = (
        "from multiact import silu\n"
        "import torch\n"
        "f = torch.compile(lambda x: silu(x), fullgraph=True, backend='aot_eager')\n"
        "x = torch.ones(3, requires_grad=True)\n"
        "for _ in range(2):\n"
        "    torch.testing.assert_close(*torch.autograd.grad(f(x).sum(), x), torch.full((3,), 0.9276705))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_compile_many_functions():
    """Each function has its own allowance of recompilations, so that compiling many of them hits no limit."""
    x = torch.randn(4)
    for name in ma.names(family="rectifiers") + ma.names(family="sigmoids") + ma.names(family="hard"):
        if ma.get(name).kind == "pointwise" and all(p.default is not None for p in ma.get(name).parameters):
            function = mt.backend.function(ma.get(name))
            torch.testing.assert_close(torch.compile(function, fullgraph=True, backend="eager")(x), function(x))


def test_compile_saves_no_float_intermediate():
    saved = []
    x = torch.randn(64, requires_grad=True)
    function = compiled(mt.mish)
    function(x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        function(x)
    assert [t.shape for t in saved if t.dtype.is_floating_point] == [x.shape]


@pytest.mark.parametrize("transform", [lambda f: vmap(grad(f)), vmap, jacrev, jacfwd, hessian])
def test_compile_transforms(transform):
    x = POINTS[:3]
    torch.testing.assert_close(compiled(transform(mt.silu))(x), transform(silu)(x))


def test_export():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = torch.nn.Linear(4, 4), mt.PReLU(4)

        def forward(self, x):
            return ma.softmax(self.act(self.linear(x)))

    x = torch.randn(2, 4)
    model = Model().eval()
    for strict in (False, True):
        program = torch.export.export(model, (x,), strict=strict)
        torch.testing.assert_close(program.module()(x), model(x))
    torch.testing.assert_close(torch.jit.trace(mt.silu, (x,))(x), mt.silu(x))


# Modules

SAME_CONSTRUCTORS = [
    ("ReLU", ()),
    ("ReLU", (True,)),
    ("ReLU6", ()),
    ("LeakyReLU", (0.2, True)),
    ("PReLU", (5,)),
    ("ELU", (1.5,)),
    ("CELU", (1.5, True)),
    ("SELU", ()),
    ("GELU", ("tanh",)),
    ("SiLU", (True,)),
    ("Mish", ()),
    ("Softplus", (2.0,)),
    ("Softsign", ()),
    ("Sigmoid", ()),
    ("Tanh", ()),
    ("LogSigmoid", ()),
    ("Hardsigmoid", ()),
    ("Hardswish", ()),
    ("Hardtanh", (-2.0, 0.5)),
    ("Hardshrink", (0.4,)),
    ("Softshrink", (0.4,)),
    ("Tanhshrink", ()),
    ("Threshold", (0.1, 20.0)),
    ("GLU", (0,)),
    ("Softmax", (0,)),
    ("LogSoftmax", (1,)),
    ("Softmin", (-1,)),
]


@pytest.mark.parametrize(("name", "arguments"), SAME_CONSTRUCTORS)
def test_modules_are_called_like_torchs(name, arguments):
    ours, theirs = getattr(mt, name)(*arguments), getattr(torch.nn, name)(*arguments)
    x = torch.randn(4, 5, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    if name not in ("Softplus", "Hardshrink", "Softshrink"):  # torch: threshold=20.0; Hardshrink(0.4)
        assert repr(ours) == repr(theirs)
    by_name = [n for n in inspect.signature(getattr(torch.nn, name)).parameters if n not in ("args", "kwargs")]
    assert repr(getattr(mt, name)(**dict(zip(by_name, arguments)))) == repr(ours)


def test_signature_is_the_constructor():
    assert str(inspect.signature(mt.Threshold)).startswith("(threshold, value, inplace=False, *, learnable=None")
    assert str(inspect.signature(mt.Softplus)).startswith("(beta=1.0, threshold=20.0, *, learnable=None")
    assert str(inspect.signature(mt.GLU)) == "(dim=-1, gate='second')"
    assert "negative_slope : number in" in mt.LeakyReLU.__doc__


def test_prelu_exchanges_its_state_with_torch():
    theirs = torch.nn.PReLU(3, init=0.1)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([0.1, 0.2, 0.3]))
    ours = mt.PReLU(3)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 4, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x))
    for module in (ours, theirs):
        module(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    theirs.load_state_dict(ours.state_dict())


def test_learnable_parameters():
    plain = mt.SiLU(beta=2.0)
    assert not list(plain.parameters()) and repr(plain) == "SiLU(beta=2.0)"
    learned = mt.SiLU(beta=2.0, learnable="beta", num_parameters=3, channel_axis=-1, dtype=DOUBLE)
    assert learned.beta.shape == (3,) and learned.beta.dtype == DOUBLE
    x = torch.randn(5, 3, dtype=DOUBLE)
    learned(x).sum().backward()
    torch.testing.assert_close(learned.beta.grad, gradients(lambda b: silu(x, b), learned.beta)[0])
    both = mt.Hardtanh(-1.0, 2.0, learnable=True)
    assert [n for n, _ in both.named_parameters()] == ["min_val", "max_val"]
    assert not list(mt.PReLU(learnable=()).parameters()) and mt.PReLU(init=0.5, learnable=False)(-torch.ones(1)) == -0.5
    gated = mt.SwiGLU(learnable=("beta",), num_parameters=4, channel_axis=-1)
    assert gated(torch.randn(2, 8)).shape == (2, 4) and gated(torch.randn(2, 4), torch.randn(2, 4)).shape == (2, 4)
    assert mt.PReLU()(torch.tensor(-1.0)) == -0.25


def test_learned_parameters_train():
    torch.manual_seed(0)
    x = torch.randn(256, 2)
    target = torch.where(x > 0, x, x * torch.tensor([0.7, -0.2]))
    module = mt.LeakyReLU(learnable="negative_slope", num_parameters=2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (module(x) - target).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(module.negative_slope.detach(), torch.tensor([0.7, -0.2]), atol=1e-2, rtol=0)


def test_modules_are_copied_and_saved():
    model = torch.nn.Sequential(mt.PReLU(3), mt.SiLU(learnable="beta"), mt.GELU("tanh"), mt.Softmax(1))
    x = torch.randn(2, 3)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(buffer, weights_only=False),
    ):
        assert repr(other) == repr(model) and type(other[0]) is mt.PReLU
        torch.testing.assert_close(other(x), model(x))


def test_module_parameters_follow_to():
    module = mt.PReLU(2).to(torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    assert module(torch.randn(3, 2)).dtype == torch.float32
    assert mt.PReLU(2, device="meta").weight.device.type == "meta"


def test_modules_of_a_new_activation(declared):
    declared(
        "tilted",
        lambda xp, x, /, *, a=2.0: a * x,
        {"x": lambda xp, x, /, *, a: a + 0 * x, "a": lambda xp, x, /, *, a: x + 0 * a},
        parameters={"a": 2.0},
    )
    module = mt.Tilted(learnable="a")
    module(torch.ones(3)).sum().backward()
    assert module.a.grad == 3 and "Tilted" in dir(mt)


# Errors


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.uint8])
def test_other_dtypes_raise(dtype):
    x = torch.ones(4, dtype=dtype)
    for call in (ma.silu, mt.swiglu, mt.Softmax(), lambda x: ma.get("silu").derivative(x)):
        with pytest.raises(ma.InputError, match="float32, float64, float16, bfloat16"):
            call(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mt.LeakyReLU(slope=0.1), "unexpected keyword argument 'slope'.*negative_slope"),
        (lambda: mt.ReLU(0.1, 2), "too many positional arguments.*inplace"),
        (lambda: mt.Threshold(), "missing a required argument: 'threshold'"),
        (lambda: mt.Softplus(beta=-1.0), "beta must be in"),
        (lambda: mt.SiLU(beta="big"), "beta must be a number"),
        (lambda: mt.SiLU(beta=torch.ones(3)), "beta must be a number.*learnable"),
        (lambda: mt.GELU("erf"), "approximate must be one of"),
        (lambda: mt.SiLU(learnable="alpha"), "no parameter 'alpha' to learn. It has: beta"),
        (lambda: mt.PReLU(0), "num_parameters must be a positive integer"),
        (lambda: mt.PReLU(3, channel_axis=None), "channel_axis must be an integer"),
        (lambda: mt.PReLU(3)(torch.ones(2, 4)), r"3 values.*channel_axis=1 of an input of shape \(2, 4\)"),
        (lambda: mt.PReLU(3)(torch.ones(3)), r"channel_axis=1 of an input of shape \(3,\)"),
    ],
)
def test_errors_of_modules(make, message):
    with pytest.raises((ma.ParameterError, ma.ShapeError), match=message):
        make()


def test_errors_of_shapes():
    with pytest.raises(ma.ShapeError, match="even"):
        mt.GLU()(torch.ones(3))
    with pytest.raises(ma.ShapeError, match="out of range"):
        mt.Softmax(2)(torch.ones(3, 4))
    with pytest.raises(ma.ParameterError, match="broadcast"):
        mt.silu(torch.ones(3, 4), beta=torch.ones(3))


def test_unknown_name():
    with pytest.raises(AttributeError, match="silu"):
        mt.sillu  # noqa: B018


# The harness


@pytest.mark.parametrize("mode", [m for m in harness.modes if m != "kernels"])  # see test_torch_kernels.py
@pytest.mark.parametrize("wrt", [(), (0,), (1,), (0, 0)])
def test_harness_modes_agree(mode, wrt):
    def call(x, beta):
        return mt.silu(x, beta=beta)

    x, beta = np.linspace(-3, 3, 8), np.linspace(0.5, 2, 8)
    directions = [np.linspace(1, 2, 8) for _ in wrt]
    if mode == "compiled" and len(wrt) > 1:
        with pytest.raises(NotImplementedError, match="double backward"):
            harness.evaluate(call, [x, beta], wrt=wrt, mode=mode)
        return
    result = harness.evaluate(call, [x, beta], wrt=wrt, mode=mode, dtype="float64", directions=directions or None)
    node = ma.get("silu").function
    for i in wrt:
        node = node.partial(("x", "beta")[i])
    from array_api_compat import numpy as xp

    expected = node(xp, x, beta) * np.prod(directions, axis=0) if wrt else node(xp, x, beta)
    assert result.dtype == "float64"
    np.testing.assert_allclose(result.values, expected, rtol=1e-12)


def test_harness_compiles_once_for_value_and_gradients():
    def call(x, beta):
        return mt.silu(x, beta=beta)

    torch._dynamo.utils.counters.clear()
    arrays = [np.linspace(-3, 3, 8), np.full(8, 1.5)]
    for wrt in ((), (0,), (1,)):
        harness.evaluate(call, arrays, wrt=wrt, mode="compiled")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_harness_shares_a_parameter_among_examples():
    result = harness.evaluate(
        lambda x, beta: mt.silu(x, beta=beta), [np.linspace(-1, 1, 6), np.asarray(1.5)], wrt=(1,), mode="vmapped"
    )
    assert result.values.shape == () and result.dtype == "float32"


def test_harness_keeps_subnormal_numbers():
    """As `flushes` says."""
    assert harness.flushes() == ()
    for dtype in harness.dtypes:
        small = float(torch.finfo(getattr(torch, dtype)).tiny)
        for mode in ("eager", "compiled"):
            result = harness.evaluate(lambda x: x * 0.5, [np.full(64, small)], mode=mode, dtype=dtype)
            assert (result.values == small / 2).all(), (dtype, mode)
            assert result.dtype == dtype


@pytest.mark.parametrize("name", ma.names())
def test_natives_are_the_same_function(name):
    activation = ma.get(name)
    function = mt.backend.function(activation)
    for native in harness.natives(activation):
        values = {p.name: native.parameters.get(p.name, p.default) for p in activation.parameters}
        inputs = [np.linspace(-4.05, 4.05, 40) for _ in range(2 if activation.kind == "gated" else 1)]
        ours = harness.evaluate(functools.partial(function, **values), inputs, dtype="float64")
        theirs = harness.evaluate(native.call, inputs, dtype="float64")
        np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-9, atol=1e-9, err_msg=native.name)
