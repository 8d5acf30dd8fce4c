"""The PyTorch backend under test: evaluating functions and their derivatives in every mode, and torch's own activations."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, TypeAlias

import numpy as np
import torch

from multiact.declaration import DTYPES, Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result

from .adapter import backend
from .eager import build_kernels, compilable, kernels
from .timing import TorchTiming, put

Tensor: TypeAlias = torch.Tensor
Function = Callable[..., Tensor]
Key = tuple[Any, ...]

#: How many compiled functions are kept.
KEPT = 64


class TorchHarness(TorchTiming):
    """Functions of torch Tensors.

    "eager", "second" and "compiled" differentiate with torch.autograd, "reverse" with torch.func.vjp, "forward" with
    torch.func.jvp, and "vmapped" is torch.func.vmap over the leading axis of the call or of its torch.func.vjp. "kernels" is
    eager mode with compiled kernels, which are built first.
    """

    name = "torch"
    dtypes = DTYPES
    modes = ("eager", "compiled", "vmapped", "reverse", "forward", "second", "kernels")

    #: The backend of torch.compile.
    compiler = "inductor"

    def __init__(self) -> None:
        self._compiled: OrderedDict[Key, Function] = OrderedDict()
        self._numbers = itertools.count()

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return _flushes(device)

    def devices(self) -> tuple[str, ...]:
        found = ["cpu"]
        if torch.cuda.is_available():
            found.append("cuda")
        if torch.backends.mps.is_available():
            found.append("mps")
        return tuple(found)

    def versions(self) -> Mapping[str, str]:
        return {"torch": torch.__version__, "array-api-compat": metadata.version("array-api-compat")}

    def function(self, activation: Activation) -> Callable[..., Array]:
        return backend.function(activation)

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name)

    def evaluate(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        if mode not in self.modes:
            raise NotImplementedError(f"torch has no mode {mode!r}.")
        if mode == "compiled" and len(wrt) > 1:
            raise NotImplementedError("torch.compile does not support double backward.")

        # Kernels that are kept on this machine are judged in their mode alone.
        before = kernels("compiled" if mode == "kernels" else "native")
        try:
            result = self._evaluate(call, arrays, wrt, mode, dtype, device, directions)
        finally:
            kernels(before)
        return as_result(result)

    def _evaluate(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        wrt: tuple[int, ...],
        mode: str,
        dtype: str,
        device: str,
        directions: Sequence[np.ndarray] | None,
    ) -> Tensor:
        tensors = [put(a, dtype, device) for a in arrays]
        given = [None] * len(wrt) if directions is None else [put(d, dtype, device) for d in directions]
        if mode == "compiled":
            return by_autograd(self._compile(call, tensors), tensors, wrt, given, record_all=True)
        if mode == "reverse":
            return by_vjp(call, tensors, wrt, given)
        if mode == "forward":
            return _by_jvp(call, tensors, wrt, given)
        if mode == "vmapped":
            return _vmapped(call, tensors, wrt, given)
        if mode == "kernels":
            _build(call, tensors[0])
        return by_autograd(call, tensors, wrt, given)

    def synchronise(self, x: Array) -> Array:
        if x.device.type == "cuda":
            torch.cuda.synchronize(x.device)
        elif x.device.type == "mps":
            torch.mps.synchronize()
        return x

    def expect(
        self, calls: Sequence[tuple[Function, Sequence[np.ndarray]]], *, dtype: str, device: str = "cpu"
    ) -> None:
        """Compile these calls as one graph when the first of them is evaluated in mode "compiled".

        Most of the time to compile one goes into starting the compiler. A call that cannot be compiled is met alone again.
        """
        examples = [[put(np.ones_like(a), dtype, device) for a in arrays] for _, arrays in calls]
        functions = [call for call, _ in calls]

        def together(*tensors: Tensor) -> tuple[Tensor, ...]:
            rest = iter(tensors)
            return tuple([f(*[next(rest) for _ in own]) for f, own in zip(functions, examples)])

        graph = self.traced(together)

        def member(at: int) -> Function:
            def call(*tensors: Tensor) -> Tensor:
                given = [t.detach().requires_grad_() for own in examples for t in own]
                start = sum(map(len, examples[:at]))
                given[start : start + len(tensors)] = tensors
                try:
                    return graph(*given)[at]
                except Exception:  # noqa: BLE001 - whichever of them it was
                    self._compiled.pop(_key(functions[at], tensors))
                    return self._compile(functions[at], tensors)(*tensors)

            return call

        for at, function in enumerate(functions):
            self._remember(_key(function, examples[at]), member(at))

    def _compile(self, call: Function, tensors: Sequence[Tensor]) -> Function:
        """`call` compiled, the same for its value and its gradients, so that both come from one compilation."""
        key = _key(call, tensors)
        if key not in self._compiled:
            self._remember(key, self.traced(call))
        return self._compiled[key]

    def _remember(self, key: Key, compiled: Function) -> None:
        self._compiled[key] = compiled
        if len(self._compiled) > KEPT:
            self._compiled.popitem(last=False)

    def traced(self, call: Function, dynamic: bool = False, compiler: str | None = None) -> Function:
        """`call` to be compiled as one graph, when it is called first."""

        def compiled(*tensors: Tensor) -> Any:
            return call(*tensors)

        # Code of its own, because torch limits the compilations of one code object.
        compiled.__code__ = compiled.__code__.replace(co_name=f"compiled_{next(self._numbers)}")
        return torch.compile(compiled, fullgraph=True, dynamic=dynamic, backend=compiler or self.compiler)


def as_result(x: Tensor) -> Result:
    """A Tensor as what a harness returns."""
    return Result(x.detach().cpu().to(torch.float64).numpy(force=True), str(x.dtype).removeprefix("torch."))


def _build(call: Any, x: Tensor) -> None:
    """Build the kernel of a call with its numbers; `NotImplementedError` where there can be none."""
    activation, numbers = call.activation, dict(call.keywords)
    if not compilable(activation):
        raise NotImplementedError(f"no kernel can be built of {activation.name}.")
    found = build_kernels(activation, dtypes=[str(x.dtype).removeprefix("torch.")], device=x.device.type, **numbers)
    for what, outcome in found.items():
        if outcome not in ("built", "kept"):
            raise RuntimeError(f"{what}: {outcome}")


@functools.lru_cache(maxsize=4)
def _flushes(device: str) -> tuple[str, ...]:
    """The dtypes in which compiled code loses a subnormal result: Triton calls CUDA's exponential so that it does."""
    if device != "cuda":
        return ()
    compiled = torch.compile(torch.exp, fullgraph=True, dynamic=False)
    lost = []
    for dtype in DTYPES:
        given = put(np.full(16, np.log(torch.finfo(getattr(torch, dtype)).tiny) - 1), dtype, device)
        if not compiled(given).all():
            lost.append(dtype)
    return tuple(lost)


def _key(call: Function, tensors: Sequence[Tensor]) -> Key:
    """What a compiled function is made for."""
    return call, *((t.shape, t.dtype, t.device) for t in tensors)


def by_autograd(
    call: Function,
    tensors: list[Tensor],
    wrt: tuple[int, ...],
    given: Sequence[Tensor | None],
    record_all: bool = False,
) -> Tensor:
    """A derivative by torch.autograd.

    With `record_all` every argument requires a gradient, so that all derivatives come from one compilation.
    """
    for i, t in enumerate(tensors):
        t.requires_grad_(record_all or i in wrt)
    result = call(*tensors)
    for step, (i, direction) in enumerate(zip(wrt, given), start=1):
        if not result.requires_grad:  # torch's own derivative is a constant
            return torch.zeros_like(tensors[i])
        cotangent = torch.ones_like(result) if direction is None else direction
        (result,) = torch.autograd.grad(
            result, tensors[i], cotangent, create_graph=step < len(wrt), materialize_grads=True
        )
    return result


def _of(call: Function, tensors: Sequence[Tensor], i: int) -> Callable[[Tensor], Tensor]:
    """`call` as a function of argument `i` alone."""
    return lambda value: call(*tensors[:i], value, *tensors[i + 1 :])


def by_vjp(call: Function, tensors: Sequence[Tensor], wrt: tuple[int, ...], given: Sequence[Tensor | None]) -> Tensor:
    """A derivative by torch.func.vjp."""
    if not wrt:
        return call(*tensors)
    *inner, i = wrt
    *below, direction = given
    value, pull = torch.func.vjp(_of(lambda *t: by_vjp(call, t, tuple(inner), below), tensors, i), tensors[i])
    return pull(torch.ones_like(value) if direction is None else direction)[0]


def _by_jvp(call: Function, tensors: Sequence[Tensor], wrt: tuple[int, ...], given: Sequence[Tensor | None]) -> Tensor:
    if not wrt:
        return call(*tensors)
    *inner, i = wrt
    *below, direction = given
    tangent = torch.ones_like(tensors[i]) if direction is None else direction
    function = _of(lambda *t: _by_jvp(call, t, tuple(inner), below), tensors, i)
    return torch.func.jvp(function, (tensors[i],), (tangent,))[1]


def _vmapped(call: Function, tensors: list[Tensor], wrt: tuple[int, ...], given: Sequence[Tensor | None]) -> Tensor:
    """Parameters with fewer axes than the input are shared by the examples, and their gradients summed."""
    dims = tuple(0 if t.ndim == tensors[0].ndim else None for t in tensors)

    def example(parts: tuple[Tensor, ...], directions: tuple[Tensor | None, ...]) -> Tensor:
        return by_vjp(call, parts, wrt, directions)

    along = tuple(None if d is None else 0 for d in given)
    result = torch.func.vmap(example, in_dims=(dims, along))(tuple(tensors), tuple(given))
    return result.sum(0) if wrt and dims[wrt[-1]] is None else result


harness = TorchHarness()
