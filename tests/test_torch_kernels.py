"""Eager mode of PyTorch: which way a call goes, that every way gives the same, and that nothing waits for a compiler."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import warnings

import pytest

torch = pytest.importorskip("torch")

import multiact as ma
from multiact import measured, registry
from multiact.backends.torch import backend, build_kernels, kernel_worker, kernels, native_kernels
from multiact.backends.torch import eager as ways
from multiact.declaration import Budget
from multiact.errors import ParameterError, UnknownActivationError

F = torch.nn.functional


@pytest.fixture(autouse=True)
def auto():
    before = kernels("auto")
    yield
    kernels(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Real kernels, built once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIACT_CACHE", str(tmp_path_factory.mktemp("kernels")))
        clear()
        outcome = build_kernels("mish", "swiglu", "softmax", "exponential") | build_kernels("gelu", dtypes=["bfloat16"])
        yield outcome
        clear()


def clear():
    for eager in backend._eager.values():
        eager._entries.clear()


def gradient(f, *tensors, grad=None):
    given = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    y = f(*given)
    return torch.autograd.grad(y, given, torch.ones_like(y) if grad is None else grad)


def composed(f, *arguments):
    before = kernels("composed")
    try:
        return f(*arguments)
    finally:
        kernels(before)


class Spy:
    """In place of a kernel: counts, and answers with what it was told to."""

    def __init__(self):
        self.forwards = self.backwards = 0

    def forward(self, tensors):
        self.forwards += 1
        return torch.full_like(tensors[0], 7.0)

    def backward(self, tensors, grad):
        self.backwards += 1
        return [torch.full_like(t, 9.0) for t in tensors]


@pytest.fixture
def spy(monkeypatch):
    """A kernel of mish in float32 on the CPU that is easily told from the function."""
    x = torch.zeros(4)
    ma.mish(x)
    entry = backend.eager(ma.get("mish")).entry((x,))
    monkeypatch.setattr(entry, "kernel", Spy())
    return entry.kernel


def test_kernels_give_what_the_formulas_give(built):
    assert set(built.values()) <= {"built", "kept"}, built
    x = torch.linspace(-110, 110, 40001)
    for shape in ((-1,), (1, -1), (13, -1)):
        part = x[: 13 * 3000].reshape(shape)
        torch.testing.assert_close(ma.mish(part), composed(ma.mish, part), rtol=1e-6, atol=1e-37)
        (got,), (wanted,) = gradient(ma.mish, part), composed(gradient, ma.mish, part)
        torch.testing.assert_close(got, wanted, rtol=2e-6, atol=1e-37)
    inf, nan = float("inf"), float("nan")
    special = torch.tensor([inf, -inf, nan, 0.0, -0.0] * 5)
    assert ma.mish(special)[:5].tolist()[:2] == [inf, 0] and ma.mish(special)[2].isnan()
    assert gradient(ma.mish, special)[0][:5].nan_to_num(nan=5.0).tolist() == pytest.approx([1, 0, 5, 0.6, 0.6])
    half = x.to(torch.bfloat16)
    assert torch.equal(ma.gelu(half), composed(ma.gelu, half))
    assert ma.gelu(half).dtype == gradient(ma.gelu, half)[0].dtype == torch.bfloat16
    value, gate = torch.randn(30, 20), torch.randn(30, 20)
    grad = torch.randn(30, 20)
    torch.testing.assert_close(ma.swiglu(gate, value), composed(ma.swiglu, gate, value))
    for got, wanted in zip(
        gradient(ma.swiglu, gate, value, grad=grad), composed(lambda: gradient(ma.swiglu, gate, value, grad=grad))
    ):
        torch.testing.assert_close(got, wanted)


def test_kernels_along_an_axis(built):
    x = torch.randn(3, 50, 40) * 5
    x[0, 0, 3:] = -float("inf")
    x[0, 1] = -float("inf")
    x[0, 2, 7] = float("nan")
    grad = torch.randn(3, 50, 40)
    entry = backend.eager(ma.get("softmax")).entry((x, 1.0, -1))
    for axis in (-1, 2, 1):
        f = lambda v: ma.softmax(v, axis=axis)
        torch.testing.assert_close(f(x), composed(f, x), equal_nan=True)
        torch.testing.assert_close(
            gradient(f, x, grad=grad)[0], composed(lambda: gradient(f, x, grad=grad))[0], equal_nan=True
        )
    assert entry.kernel is not None
    for small in (torch.randn(7), torch.randn(1, 7), torch.randn(7, 1), torch.randn(0, 3)):
        torch.testing.assert_close(ma.softmax(small), composed(ma.softmax, small))


@pytest.mark.parametrize("shape", [(2, 3), (3, 40000), (40000, 3), (37, 129), (1000, 17)])
def test_kernels_of_rows_of_all_lengths(built, shape):
    x, grad = torch.randn(shape) * 5, torch.randn(shape)
    x[0, 0], x[-1, -1] = float("inf"), float("nan")
    x[1, 1:] = -float("inf")
    torch.testing.assert_close(ma.softmax(x), composed(ma.softmax, x), equal_nan=True)
    got = gradient(ma.softmax, x, grad=grad)
    wanted = composed(lambda: gradient(ma.softmax, x, grad=grad))
    torch.testing.assert_close(got, wanted, equal_nan=True)


def test_exp_of_kernels(built):
    x = torch.arange(-(1 << 31), 1 << 31, 9973).to(torch.int32).view(torch.float32)  # of all exponents
    x = torch.cat(
        [x, torch.linspace(-110, 95, 1 << 18), torch.tensor([math.inf, -math.inf, math.nan, -0.0, 88.72284, -87.4])]
    )
    y, true = ma.exponential(x), torch.exp(x.double())
    normal = (true >= 2.0**-126) & (true < torch.finfo(torch.float32).max)
    ulp = 2.0 ** (torch.log2(true).floor().clamp(min=-126) - 23)
    finite = true < torch.finfo(torch.float32).max
    assert normal.sum() > 100000
    assert ((y - true).abs() / ulp)[finite].max() < 1
    assert torch.equal(y.isnan(), x.isnan())
    assert y[true > 3.4028236e38].isinf().all()


CODE = """#include <torch/csrc/inductor/cpp_prefix.h>
auto tmp1 = static_cast<float>(40.0);
auto tmp2 = at::vec::VectorizedN<float,2>(tmp1);
auto tmp3 = at::vec::minimum(tmp0, tmp2);
auto tmp4 = at::vec::maximum(tmp3, tmp0);
auto tmp2 = tmp3.exp();
auto tmp5 = at::vec::maximum(tmp3, tmp2);
#pragma omp parallel
tmp_acc0_vec = at::vec::maximum(tmp_acc0_vec, tmp1);
"""


def test_code_is_put_differently_where_it_may_be():
    first, header, rest = kernel_worker.better(CODE, False).partition(kernel_worker.HEADER.read_text())
    assert header and first == "#include <torch/csrc/inductor/cpp_prefix.h>\n"
    assert rest.strip().split("\n") == [
        "auto tmp1 = static_cast<float>(40.0);",
        "auto tmp2 = at::vec::VectorizedN<float,2>(tmp1);",
        "auto tmp3 = at::vec::clamp_max(tmp0, tmp2);",
        "auto tmp4 = at::vec::maximum(tmp3, tmp0);",  # either may be NaN
        "auto tmp2 = multiact::exp(tmp3);",
        "auto tmp5 = at::vec::maximum(tmp3, tmp2);",  # which is no number any more
        f"#pragma omp parallel if(ks0 >= {kernel_worker.GRAIN})",
        "tmp_acc0_vec = multiact::maximum(tmp_acc0_vec, tmp1);",
    ]
    unknown = "code that Inductor does not write yet"
    assert kernel_worker.better(unknown, True) == kernel_worker.better(unknown, False) == unknown


def test_a_wrong_kernel_is_not_kept(spy):
    rules = kernel_worker._pointwise(ma.get("mish").function, (), 1)
    with pytest.raises(AssertionError, match="not close"):
        kernel_worker._check(spy, rules, [kernel_worker._sample(torch.empty(100)) for _ in range(2)], False)


@pytest.mark.parametrize("order", [0, 1])
def test_conformance_judges_kernels(built, order):
    from multiact.backends.torch.harness import harness
    from multiact.conformance import cases, runner

    row = runner.run_case(harness, cases.Case(cases.subjects(ma.get("mish"))[0], "kernels", order, "float32"))
    assert row.verdict == "pass" and row.points > 1000, row
    row = runner.run_case(harness, cases.Case(cases.subjects(ma.get("maxout"))[0], "kernels", order, "float32"))
    assert row.verdict == "skip" and "no kernel can be built of maxout" in row.reason


def test_functions_along_a_fixed_axis_are_composed():
    """softmax2d has no axis to be told: its last argument is the temperature, also as a Tensor."""
    x = torch.randn(2, 3, 4, 5)
    for temperature in (2.0, torch.tensor([[[[2.0]]]])):
        torch.testing.assert_close(ma.softmax2d(x, temperature=temperature), ma.softmax(x / 2, axis=1))
    with pytest.raises(ways.KernelError, match="softmax2d"):
        build_kernels("softmax2d")


def test_layouts(built):
    image = torch.randn(3, 5, 7, 11)
    for x in (
        image.to(memory_format=torch.channels_last),
        image.transpose(1, 3),
        image[:, ::2],
        image[1:],
        image.expand(2, 3, 5, 7, 11),
        torch.randn(()),
        torch.randn(1),
        torch.randn(0, 4),
    ):
        y, wanted = ma.mish(x), composed(ma.mish, x)
        torch.testing.assert_close(y, wanted)
        if x.is_contiguous(memory_format=torch.channels_last):
            assert y.stride() == x.stride()
        for grad in (torch.randn(x.shape), torch.ones(()).expand(x.shape)):
            torch.testing.assert_close(
                gradient(ma.mish, x, grad=grad)[0], composed(lambda: gradient(ma.mish, x, grad=grad))[0]
            )
    x = image.to(memory_format=torch.channels_last).requires_grad_()
    ma.mish(x).sum().backward()
    torch.testing.assert_close(x.grad, composed(lambda: gradient(ma.mish, image))[0])


def test_only_the_input_is_saved(built):
    x = torch.randn(100, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        ma.mish(x)
    assert [t.data_ptr() for t in kept] == [x.data_ptr()]


def test_a_later_process_loads_what_was_built(built):
    code = (
        "import json, sys, torch, multiact as ma\n"
        "from multiact.backends.torch import backend\n"
        "x = torch.linspace(-3, 3, 100)\n"
        "y = ma.mish(x)\n"
        "kernel = backend.eager(ma.get('mish')).entry((x,)).kernel\n"
        "print(json.dumps([kernel is not None, 'torch._inductor.compile_fx' in sys.modules, float(y[99])]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True)
    assert json.loads(run.stdout) == [True, False, pytest.approx(2.98653, abs=1e-5)]


def test_a_kernel_is_used_where_it_may_be(spy):
    x = torch.zeros(4)
    assert ma.mish(x).tolist() == [7] * 4 and spy.forwards == 1
    assert gradient(ma.mish, x)[0].tolist() == [9] * 4 and (spy.forwards, spy.backwards) == (2, 1)
    with torch.no_grad():
        assert ma.mish(torch.nn.Parameter(x)).tolist() == [7] * 4
    with torch.inference_mode():
        assert ma.mish(torch.zeros(4)).tolist() == [7] * 4
    assert torch.nn.utils.parametrize is not None and ma.mish(x.double()).tolist() == [0] * 4, "of another dtype"


class Marked(torch.Tensor):
    """A subclass."""


def test_a_kernel_is_not_used_where_it_may_not_be(spy):
    x = torch.zeros(4)
    torch.testing.assert_close(torch.func.grad(lambda v: ma.mish(v).sum())(x), torch.full((4,), 0.6))
    spy.forwards = 0  # below the transform the Tensor is a plain one
    torch.testing.assert_close(torch.func.vmap(ma.mish)(x[None]), x[None])
    torch.testing.assert_close(torch.func.jvp(ma.mish, (x,), (x + 1,))[1], torch.full((4,), 0.6))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x + 1)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(ma.mish(dual)).tangent, torch.full((4,), 0.6))
    assert ma.mish(x.as_subclass(Marked)).tolist() == [0] * 4
    assert ma.mish(torch._neg_view(x)).tolist() == [0] * 4
    assert ma.mish(torch.zeros(1)).tolist() == [0] and ma.mish(torch.zeros(4, 2)[:, 0]).tolist() == [0] * 4
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        assert ma.mish(x).tolist() == [0] * 4
    assert torch.jit.trace(ma.mish, x, check_trace=False)(x).tolist() == [0] * 4
    assert torch.compile(ma.mish, backend="eager", fullgraph=True)(x).tolist() == [0] * 4
    assert spy.forwards == spy.backwards == 0
    y = x.requires_grad_()
    (first,) = torch.autograd.grad(ma.mish(y).sum(), y, create_graph=True)
    torch.testing.assert_close(first, torch.full((4,), 0.6)), "which is differentiated once more"
    (second,) = torch.autograd.grad(first.sum(), y)
    assert spy.backwards == 0 and (second > 0.5).all()


def test_modes(spy):
    x = torch.zeros(4)
    for mode, wanted in (("compiled", 7), ("native", 0), ("composed", 0), ("auto", 7)):
        kernels(mode)
        assert ma.mish(x).tolist() == [wanted] * 4
    assert kernels() == "auto" and kernels("native") == "auto" and kernels() == "native"
    with pytest.raises(ParameterError, match="auto, compiled, native, composed. Received: mode='fast'"):
        kernels("fast")
    assert kernels() == "native"


def test_the_environment_sets_the_mode():
    code = "from multiact.backends.torch import kernels; print(kernels())"
    for given, wanted in (("native", "native"), ("quick", "auto")):
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, ways.VARIABLE: given},
        )
        assert run.stdout.split() == [wanted]
        assert ("must be one of" in run.stderr) == (given == "quick")


@pytest.mark.parametrize("name", sorted(native_kernels.NATIVE))
def test_torchs_own_kernels_are_proved_and_used(name, monkeypatch, tmp_path):
    # A compiled kernel that an earlier process has kept on this machine would come first.
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path))
    clear()
    _, dtypes = native_kernels.NATIVE[name]
    rows = [r for r in measured.rows(name) if r["backend"] == "torch" and r["native"]]
    if name in ("prelu", "rrelu"):  # evaluated as leaky_relu is, rrelu with the mean slope
        rows = [r for r in measured.rows("leaky_relu") if r["backend"] == "torch" and r["native"]]
    given = {"threshold": {"threshold": 0.5, "value": 2.0}}.get(name, {})
    numbers = [float(given.get(p.name, p.default or 0.0)) for p in ma.get(name).parameters]
    backward = native_kernels.NATIVE_BACKWARD.get(name, lambda *_: None)
    for dtype in dtypes:
        x = torch.ones(2, dtype=getattr(torch, dtype))
        for order in (0,) if backward(x, x, *numbers) is None else (0, 1):
            found = [r for r in rows if r["dtype"] == dtype and r["order"] == order]
            assert found, f"{name} {dtype} {order} was never measured"
            best = found[0]
            # torch's slope at NaN, which alone is not rounded correctly
            mended = order == 1 and best["nonfinite_disagreements"] > 0
            if mended:
                assert {fault["at"] for fault in best["faults"]} == {"nan"}
            else:
                assert best["nonfinite_disagreements"] == 0
            if "16" in dtype:
                assert float(best["worst_ulp"]) <= (0.5 if mended else 1)
                assert best["share_correctly_rounded"] >= 0.999 or mended
            else:
                assert float(best["worst_error"]) <= Budget().order(order)
    x = torch.linspace(-5, 5, 1001)
    others = [x.flip(0)] if ma.get(name).kind == "gated" else []
    eager = backend.eager(ma.get(name))
    used = []
    own = eager._native
    monkeypatch.setattr(eager, "_native", lambda *a: used.append(own(*a)) or used[-1])

    def call(*tensors):
        return getattr(ma, name)(*tensors, **({"gate": "second"} if others else {}), **given)

    y = call(x, *others)
    assert used and used[-1] is y, "the kernel of torch has been called"
    torch.testing.assert_close(y, composed(call, x, *others), rtol=1e-6, atol=1e-7)
    ends = torch.tensor([float("nan"), 0.0, -0.0])
    tensors = [torch.cat((t, ends)) for t in (x, *others)]
    true = composed(lambda: gradient(call, *tensors))
    torch.testing.assert_close(gradient(call, *tensors), true, equal_nan=True)
    kernels("composed")
    used.clear()
    call(x, *others)
    assert not used


@pytest.mark.parametrize("name", ["mish", "sine"])  # with a kernel, and with torch's own
def test_batched_gradients(name):
    """is_grads_batched=True, as in torch.autograd.functional.jacobian(vectorize=True)."""
    if name == "mish":
        build_kernels("mish")
    x = torch.linspace(-3, 3, 40, requires_grad=True)
    f = getattr(ma, name)
    (matrix,) = torch.autograd.grad(f(x), x, torch.eye(40), is_grads_batched=True)
    torch.testing.assert_close(matrix, torch.diag(gradient(f, x)[0]))


def test_parameters_that_are_tensors_are_composed():
    x = torch.linspace(-2, 2, 100)
    slope = torch.tensor([0.3], requires_grad=True)
    ma.leaky_relu(x, negative_slope=slope).sum().backward()
    torch.testing.assert_close(slope.grad, x[x < 0].sum()[None])


@pytest.mark.parametrize(
    ("name", "parameters"), [("gelu", {}), ("dyt", {"alpha": 0.5}), ("swiglu", {"gate": "second"}), ("tanh", {})]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_composed_formulas_are_evaluated_in_blocks(name, parameters, dtype, monkeypatch):
    f = getattr(ma, name)
    inputs = [torch.linspace(-9, 9, 4 * 6 * 8 * 10).to(getattr(torch, dtype)).view(4, 6, 8, 10) for _ in range(2)]
    if ma.get(name).kind != "gated":
        del inputs[1]
    kernels("composed")
    seen = []
    entry = ways.Eager._by_blocks
    monkeypatch.setattr(ways.Eager, "_by_blocks", lambda self, *given: seen.append(0) or entry(self, *given))
    last = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    for tensors in (inputs, last, [x.transpose(1, 2) for x in inputs]):  # dense, dense otherwise, not dense

        def run():
            given = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in tensors]
            y = f(*given, **parameters)
            return y, *torch.autograd.grad(y.sum(), given)

        whole = run()
        with monkeypatch.context() as patch:
            patch.setattr(ways, "BLOCK", 100)
            seen.clear()
            for a, b in zip(whole, run()):
                assert a.stride() == b.stride()
                assert torch.equal(a, b)
            assert seen


def test_large_tensors_again_and_again_get_a_kernel_in_the_background(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path))
    monkeypatch.setattr(ways, "NICE", 0)  # beside other tests it would never end
    clear()
    x = torch.linspace(-9, 9, ways.ELEMENTS)
    wanted = composed(ma.telu, x)
    threads = [threading.Thread(target=lambda: [ma.telu(x) for _ in range(ways.CALLS)]) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    entry = backend.eager(ma.get("telu")).entry((x,))
    assert entry.asked
    while entry.kernel is None and not ways._builder.wait(1.0):
        torch.testing.assert_close(ma.telu(x), wanted, rtol=1e-5, atol=1e-37)
    assert ways._builder.wait(300)
    assert entry.kernel is not None and len(list(tmp_path.rglob("telu-float32-cpu-*.pt2"))) == 1
    torch.testing.assert_close(ma.telu(x), wanted, rtol=1e-5, atol=1e-37)
    small = backend.eager(ma.get("serf"))
    for _ in range(ways.CALLS + 1):
        ma.serf(x[:100])
    assert not small.entry((x,)).asked, "small tensors never get one"
    clear()


def test_without_a_compiler_there_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "/nonexistent/compiler")
    monkeypatch.setattr(ways, "_builder", ways.Builder())
    clear()
    x = torch.linspace(-9, 9, ways.ELEMENTS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name in ("telu", "serf"):
            for _ in range(ways.CALLS):
                getattr(ma, name)(x)
            assert ways._builder.wait(300)
    said = [str(w.message) for w in said if "without a compiled kernel" in str(w.message)]
    assert len(said) == 1 and "MULTIACT_TORCH_KERNELS=native" in said[0]
    assert not list(tmp_path.rglob("*.pt2")), "nothing half-built is left"
    torch.testing.assert_close(ma.telu(x), composed(ma.telu, x))
    outcome = build_kernels("serf")
    assert list(outcome) == ["serf float32"] and "built" not in outcome["serf float32"]
    clear()


def test_a_broken_package_is_told_and_left(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path))
    monkeypatch.setattr(ways, "_builder", ways.Builder())
    clear()
    x = torch.linspace(-1, 1, 10)
    path = ways.Spec(ma.get("telu").function, (), torch.float32, "cpu").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no package")
    with pytest.warns(RuntimeWarning, match="telu-float32-cpu-.*cannot be loaded"):
        torch.testing.assert_close(ma.telu(x), composed(ma.telu, x))
    clear()


def test_what_cannot_be_built_is_told():
    with pytest.raises(ways.KernelError, match="maxout works along an axis"):
        build_kernels("maxout")
    with pytest.raises(ParameterError, match="no dtype is named 'int8'"):
        build_kernels("mish", dtypes=["int8"])
    with pytest.raises(UnknownActivationError):
        build_kernels("mishmash")
    with pytest.raises(ParameterError, match="mish has no parameter 'beta'"):
        build_kernels("mish", beta=2.0)
    with pytest.raises(ParameterError, match="threshold needs"):
        build_kernels("threshold")


def test_the_key_changes_with_what_it_depends_on(monkeypatch):
    silu = ma.get("silu").function
    one = ways.Spec(silu, (1.0,), torch.float32, "cpu").path
    assert one != ways.Spec(silu, (2.0,), torch.float32, "cpu").path
    assert one != ways.Spec(silu, (1.0,), torch.float64, "cpu").path
    assert one != ways.Spec(ma.get("mish").function, (), torch.float32, "cpu").path
    monkeypatch.setattr(ways, "_processor", lambda device: ("another",))
    assert one != ways.Spec(silu, (1.0,), torch.float32, "cpu").path


def test_activations_of_a_script_stay_composed(monkeypatch):
    def double(xp, x, /):
        return 2 * x

    double.__module__ = "__main__"
    ma.define("double_it", double, {"x": lambda xp, x, /: 2 + 0 * x})
    try:
        activation = ma.get("double_it")
        backend.function(activation)
        assert backend.eager(activation).recipe is None
        with pytest.raises(ways.KernelError, match="declared in a script or a session"):
            build_kernels("double_it")
        x = torch.ones(ways.ELEMENTS)
        for _ in range(ways.CALLS + 1):
            assert float(activation(x)[0]) == 2
    finally:
        registry.unregister("double_it")
