"""What people do to torch models: each function evaluates an activation in the way of its entry in capabilities.toml.

They are called as `multiact.protocols.Harness.evaluate` is. Elementwise functions are given points in arrays of one axis,
functions along an axis rows in arrays of two axes or more, of which the second is the axis.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint as recomputed

from multiact.protocols import Result

from . import ranks
from .eager import kernels
from .harness import as_result, by_autograd, by_vjp, harness
from .learned import Learned, along_axis
from .timing import put

Tensor: TypeAlias = torch.Tensor
Function = Callable[..., Tensor]
Wrt = tuple[int, ...]
Given = Sequence[Tensor | None]

#: How many points are a row where functions of points are given rows; Jacobians grow with its square.
WIDTH = 8
#: How many points or rows something is compiled, exported and traced with, before all are given.
FEW = 6


def _way(function: Callable[[Any, list[Tensor], Wrt, Given], Tensor]) -> Callable[..., Result]:
    """A function of Tensors, called as a harness is."""

    @functools.wraps(function)
    def evaluate(
        call: Any,
        arrays: Sequence[np.ndarray],
        *,
        wrt: Wrt = (),
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        tensors = [put(a, dtype, device) for a in arrays]
        given: Given = [None] * len(wrt) if directions is None else [put(d, dtype, device) for d in directions]
        before = kernels("native")  # those that are kept on this machine are judged in their mode alone
        try:
            return as_result(function(call, tensors, wrt, given))
        finally:
            kernels(before)

    return evaluate


def _rows(points: Tensor, width: int = WIDTH) -> Tensor:
    """Points as rows, of which the last is filled up with the last point; rows are left."""
    if along_axis([points]):
        return points
    return torch.cat([points, points[-1:].expand(-points.numel() % width)]).reshape(-1, width)


def _points(rows: Tensor, like: Tensor) -> Tensor:
    """The reverse of `_rows`."""
    return rows if along_axis([like]) else rows.reshape(-1)[: like.numel()]


# Derivatives


@_way
def third(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    return by_autograd(call, tensors, wrt, given)


# Transforms


def _by_jacobians(*transforms: Any, of_number: bool = False) -> Callable[..., Result]:
    """Derivatives from all those of the points of a row, or of its entries, in each other.

    Parameters
    ----------
    *transforms : the innermost first; one is repeated as often as the order says.
    of_number : a function along an axis is multiplied with the cotangent before, not after.
    """

    def evaluate(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
        i, rows = wrt[0], along_axis(tensors)
        cotangent = given[:1] if of_number and rows else ()

        def value(*parts: Tensor) -> Tensor:
            y: Tensor = call(*parts[: len(tensors)])
            return (y * parts[-1]).sum() if cotangent else y

        of_row = value
        for transform in transforms if len(transforms) > 1 else transforms * len(wrt):
            of_row = transform(of_row, argnums=i)
        found = vmap(of_row)(*map(_rows, tensors), *cotangent)
        if not rows:
            return _points(_diagonals(found), tensors[i])
        found = found.flatten(1).double()
        for direction in given[len(cotangent) :]:
            assert direction is not None
            one = direction.flatten(1)
            found = (found.reshape(len(found), one.shape[1], -1) * one.unsqueeze(-1)).sum(1)
        return found.reshape(tensors[i].shape).to(tensors[i].dtype)

    return _way(evaluate)


def _diagonals(derivatives: Tensor) -> Tensor:
    """What derivatives of points in each other have on the diagonal, beside which there must be nothing.

    A derivative that is not finite gives NaN when it is multiplied with the 0 of another point.
    """
    width, axes = derivatives.shape[1], derivatives.ndim - 1
    index = (slice(None), *(torch.arange(width),) * axes)
    diagonals: Tensor = derivatives[index]
    beside = derivatives.clone()
    beside[index] = 0.0
    for axis in range(axes):
        finite = diagonals.isfinite().reshape(-1, *(width if a == axis else 1 for a in range(axes)))
        beside = torch.where(finite, beside, 0.0)
    if beside.any():
        raise AssertionError(f"points have derivatives in each other, up to {beside.abs().max()}.")
    return diagonals


jacrev = _by_jacobians(torch.func.jacrev)
jacfwd = _by_jacobians(torch.func.jacfwd)
hessian = _by_jacobians(torch.func.jacrev, torch.func.jacfwd, of_number=True)
jacrev_jacfwd = _by_jacobians(torch.func.jacfwd, torch.func.jacrev)
jacfwd_jacfwd = _by_jacobians(torch.func.jacfwd)
jacfwd_thrice = _by_jacobians(torch.func.jacfwd)


@_way
def vmap_grad(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """A sample is a point, or a row."""
    extra = [torch.ones_like(tensors[0]) if d is None else d for d in given]

    def loss(order: int) -> Function:
        if not order:
            below: Function = lambda *parts: call(*parts[: len(tensors)])
        else:
            below = torch.func.grad(loss(order - 1), argnums=wrt[order - 1])
        return lambda *parts: (below(*parts) * parts[len(tensors) + order]).sum()

    return vmap(torch.func.grad(loss(len(wrt) - 1), argnums=wrt[-1]))(*tensors, *extra)


@_way
def nested_vmap(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """A table of points, or of rows, over the second axis of which goes the outer vmap."""

    def table(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        return (
            _rows(x) if x.ndim == 1 else torch.cat([x, x[-1:].expand(len(x) % 2, *x.shape[1:])]).unflatten(0, (-1, 2))
        )

    def example(parts: tuple[Tensor, ...], directions: tuple[Tensor | None, ...]) -> Tensor:
        return by_vjp(call, parts, wrt, directions)

    along = tuple(None if d is None else 0 for d in given), tuple(None if d is None else 1 for d in given)
    inner = vmap(example, in_dims=(0, along[0]))
    found = vmap(inner, in_dims=(1, along[1]), out_dims=1)(tuple(map(table, tensors)), tuple(map(table, given)))
    return found.flatten(0, 1)[: len(tensors[0])]


@_way
def ensemble(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """Points go to the models by rows; each row for a function along an axis has a model of its own."""
    count = len(tensors[0]) if along_axis(tensors) else WIDTH
    parts = [t.split(1) if along_axis([t]) else _rows(t, -(-len(t) // count)).unbind() for t in tensors]
    members = [Learned(call, member) for member in zip(*parts)]
    first = members[0]
    states, _ = stack_module_state(members)  # type: ignore[arg-type]
    inputs = tuple(map(torch.stack, zip(*(m.inputs(member) for m, member in zip(members, zip(*parts))))))

    def value(state: dict[str, Tensor], given: tuple[Tensor, ...]) -> Tensor:
        y: Tensor = functional_call(first, state, given)
        return y

    if not wrt:
        return _points(vmap(value)(states, inputs).flatten(0, 1), tensors[0])
    (i,), (direction,) = wrt, given
    cotangent = torch.ones_like(inputs[0]) if direction is None else direction.unsqueeze(1)
    name = call.names[i]
    if first.learns(i):
        key = first.key(name)
        one = lambda w, state, x, c: (value({**state, key: w}, x) * c).sum()
        found = vmap(torch.func.grad(one))(states[key], states, inputs, cotangent)
        found = first.gradient(name, states[key], found).to(tensors[0].dtype)
    else:
        own = lambda x, state, c: (value(state, x) * c).sum()
        found = vmap(torch.func.grad(own))(inputs, states, cotangent)[i].flatten(0, 1)
    return _points(found, tensors[0])


# Compilers and exporters


@functools.lru_cache(maxsize=2)
def _compiled(call: Any, dtype: torch.dtype, device: torch.device, arguments: int) -> Function:
    return harness.traced(call, dynamic=True, compiler="aot_eager")


@_way
def compiled_dynamic(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """The compiler of the graph is "aot_eager", as the code of Inductor is judged in mode "compiled"."""
    function = _compiled(call, tensors[0].dtype, tensors[0].device, len(tensors))
    few = [t[:FEW].clone() for t in tensors]
    by_autograd(function, few, wrt, [None if d is None else d[:FEW] for d in given], record_all=True)
    with torch.compiler.set_stance("fail_on_recompile"):
        return by_autograd(function, tensors, wrt, given, record_all=True)


class _Model(torch.nn.Module):
    """A call as a Module."""

    def __init__(self, call: Function) -> None:
        super().__init__()
        self.call = call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(*inputs)


def _of_any_size(tensors: list[Tensor]) -> dict[str, Any]:
    """An example for an exporter, and that its first axis may have another size."""
    few = tuple(t[:FEW] for t in tensors)
    batch = {0: torch.export.Dim.DYNAMIC}
    return {"args": few, "dynamic_shapes": ((batch,) * len(few),)}


def _exported(call: Function, tensors: list[Tensor], strict: bool = False) -> torch.export.ExportedProgram:
    return torch.export.export(_Model(call), **_of_any_size(tensors), strict=strict)


@_way
def export(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    return _exported(call, tensors).module()(*tensors)


@_way
def export_strict(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    return _exported(call, tensors, strict=True).module()(*tensors)


@_way
def export_decomposed(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    return _exported(call, tensors).run_decompositions().module()(*tensors)


@_way
def onnx(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    import onnxruntime

    program = torch.onnx.export(_Model(call).eval(), **_of_any_size(tensors), dynamo=True, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    names = [i.name for i in session.get_inputs()]
    (y,) = session.run(None, {n: t.numpy() for n, t in zip(names, tensors)})
    return torch.from_numpy(y)


@_way
def jit_trace(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to be replaced by torch.export
        traced = torch.jit.trace(_Model(call), tuple(t[:FEW] for t in tensors))
    y: Tensor = traced(*tensors)
    return y


# Training


@_way
def autocast(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """A Linear of one feature with the weight 1 gives its input in the dtype of autocast."""
    dtype, device = tensors[0].dtype, tensors[0].device
    layer = torch.nn.Linear(1, 1, bias=False, device=device)
    torch.nn.init.ones_(layer.weight)
    with torch.autocast(device.type, dtype=dtype), _exact_linear():
        hidden = [layer(t.float().unsqueeze(-1)).squeeze(-1) for t in tensors]
        for h, t in zip(hidden, tensors):
            torch.testing.assert_close(h, t, rtol=0, atol=0, equal_nan=True)
        y: Tensor = call(*hidden)
    return y


@contextlib.contextmanager
def _exact_linear() -> Iterator[None]:
    """Without oneDNN, which takes subnormal numbers for 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _recomputing(reentrant: bool) -> Callable[..., Result]:
    def evaluate(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
        (i,), (direction,) = wrt, given
        x = tensors[i].requires_grad_()
        calls = 0

        def counted(*parts: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return call(*parts)

        y = recomputed(counted, *tensors, use_reentrant=reentrant)
        if y.requires_grad:
            y.backward(torch.ones_like(y) if direction is None else direction)
            if calls != 2:
                raise AssertionError(f"the forward pass was evaluated {calls} times, expected 2.")
        return torch.zeros_like(x) if x.grad is None else x.grad

    return _way(evaluate)


checkpoint = _recomputing(False)
checkpoint_reentrant = _recomputing(True)


@_way
def inference_mode(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    with torch.inference_mode():
        y = call(*tensors)
    if not y.is_inference():
        raise AssertionError("the result is none of inference mode.")
    return y.clone()


# Saving


def _restored(restore: Callable[[Learned], Learned]) -> Callable[..., Result]:
    def evaluate(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
        model = Learned(call, tensors)
        other = restore(model)
        if type(other.inner) is not type(model.inner) or repr(other) != repr(model):
            raise AssertionError(f"{model.inner!r} has become {other.inner!r}.")
        with torch.no_grad():  # what is shared with the copy would become wrong there
            for p in model.parameters():
                p.fill_(torch.nan)
        return other.derivative(tensors, wrt, given)

    return _way(evaluate)


def _through_file(thing: Any, weights_only: bool) -> Any:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=weights_only)


def _loaded(model: Learned) -> Learned:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.fill_(torch.nan)
    other.load_state_dict(_through_file(model.state_dict(), True))
    return other


deepcopy = _restored(copy.deepcopy)
pickled = _restored(lambda model: _through_file(model, False))
state_dict = _restored(_loaded)


# Layouts


@_way
def channels_last(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    """Points fill images of four channels; functions along an axis have it as their channels, or as the last axis."""

    def image(x: Tensor) -> Tensor:
        if x.ndim == 1:
            return _rows(x, 24).reshape(-1, 4, 2, 3).contiguous(memory_format=torch.channels_last)
        places = torch.cat([x, x[-1:].expand(-len(x) % 6, *x.shape[1:])]).reshape(-1, 2, 3, x.shape[1])
        return places.permute(0, 3, 1, 2) if x.ndim > 2 else places.contiguous(memory_format=torch.channels_last)

    def back(y: Tensor, like: Tensor) -> Tensor:
        if like.ndim == 1:
            return _points(y, like)
        y = y.permute(0, 2, 3, 1) if like.ndim > 2 else y
        return y.flatten(0, 2)[: len(like)].reshape(len(like), -1, *like.shape[2:])

    images = [image(t) for t in tensors]
    for t in images:
        assert t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous()
    y = by_autograd(call, images, wrt, [None if d is None else image(d) for d in given])
    if not along_axis(tensors) and not y.is_contiguous(memory_format=torch.channels_last):
        raise AssertionError(f"channels_last is not kept: the strides are {y.stride()}.")
    return back(y, tensors[0])


@_way
def strided(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    def spread(x: Tensor) -> Tensor:
        x = _rows(x)
        base = torch.full((2 * x.shape[1], len(x), *x.shape[2:]), torch.nan, dtype=x.dtype, device=x.device)
        base[::2] = x.transpose(0, 1)
        return base[::2].transpose(0, 1)

    y = by_autograd(call, [spread(t) for t in tensors], wrt, [None if d is None else spread(d) for d in given])
    return _points(y, tensors[0])


@_way
def expanded(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    def copies(x: Tensor) -> Tensor:
        """Along a new first axis, or the last one of images."""
        return x.expand(*x.shape[:-1], 3).detach() if x.ndim > 2 else x.expand(3, *x.shape).detach()

    y = by_autograd(call, [copies(t) for t in tensors], wrt, [None if d is None else copies(d) for d in given])
    return y[..., :1] if tensors[0].ndim > 2 else y[1]


@_way
def scalar(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    points = [[x.detach() for x in point] for point in zip(*tensors)]
    leaves = [point[i].requires_grad_() for i in wrt for point in points]
    values = [call(*point) for point in points]
    if any(y.ndim for y in values):
        raise AssertionError("a result has axes.")
    y = torch.stack(values)
    if not wrt:
        return y
    if not y.requires_grad:  # torch's own derivative is a constant
        return torch.zeros_like(y)
    return torch.stack(torch.autograd.grad(y, leaves, torch.ones_like(y), materialize_grads=True))


@_way
def empty(call: Any, tensors: list[Tensor], wrt: Wrt, given: Given) -> Tensor:
    nothing = by_autograd(call, [t[:0] for t in tensors], wrt, [None if d is None else d[:0] for d in given])
    return torch.cat([nothing, by_autograd(call, tensors, wrt, given)])


# Distributed


dtensor = ranks.way("dtensor")
dtensor_axis = ranks.way("dtensor_axis")
ddp = ranks.way("ddp")
fsdp2 = ranks.way("fsdp2")
