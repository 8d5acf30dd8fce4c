"""The process that builds kernels: it is told what to build on its standard input, and answers with a line for each."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from multiact.declaration import Activation, Axiswise, Elementwise
from multiact.files import replacing
from multiact.registry import gated, get

from . import namespace
from .adapter import rounded, wide
from .eager import PARTS, REPLY, Kernel, keeps_result

#: The size for which Inductor plans; for small ones it plans no threads.
SIZE, ROWS = 1 << 18, 1 << 8
#: So many elements are worth a second thread, as in torch's own kernels.
GRAIN = 1 << 15
#: Products and sums fused into one operation are faster, and no less accurate; our formulas do not depend on it.
OPTIONS = {
    "aot_inductor.package": True,
    "cpp.dynamic_threads": True,
    "cpp.enable_floating_point_contract_flag": "fast",
}


def main() -> None:
    """Build what standard input asks for."""
    asked = json.load(sys.stdin)
    namespace.exports_to_inductor = True
    if asked["quietly"]:
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    for job in asked["jobs"]:
        error = ""
        try:
            build(find(job), tuple(job["constants"]), job["dtype"], job["device"], Path(job["path"]))
        except Exception as problem:  # noqa: BLE001 - told to whoever asked
            error = f"{type(problem).__name__}: {' '.join(str(problem).split())[:400]}"
        print(REPLY + json.dumps({"error": error}), flush=True)


def find(job: dict[str, Any]) -> Activation:
    """The activation that a job names."""
    for module in job["modules"]:
        importlib.import_module(module)
    return gated(job["name"], job["gate"]) if "gate" in job else get(job["name"])


def build(activation: Activation, constants: tuple[float, ...], dtype: str, device: str, path: Path) -> None:
    """Compile the value and the gradients of a function with these numbers, and write the package."""
    from torch._inductor import aot_compile
    from torch._inductor.package import package_aoti

    function = activation.function
    count = len(function.arguments) - len(constants)
    rows = isinstance(function, Axiswise)
    x = torch.empty((ROWS, SIZE // ROWS) if rows else SIZE, dtype=getattr(torch, dtype), device=device)
    sizes = {i: torch.export.Dim(f"size{i}", min=2, max=2**62) for i in range(x.dim())}
    rules = (
        _along_axis(function, constants) if isinstance(function, Axiswise) else _pointwise(function, constants, count)
    )
    parts: dict[str, Any] = {}
    for part, rule, inputs in zip(PARTS, rules, (count, count + 1)):
        given = tuple(torch.empty_like(x) for _ in range(inputs))
        program = torch.export.export(_Graph(rule), given, dynamic_shapes=((sizes,) * inputs,), strict=False)
        with contextlib.nullcontext() if rows else _threads_where_they_pay():
            parts[part] = aot_compile(program.module(), given, options=OPTIONS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        package_aoti(str(temporary), parts)
        # A package that crashes, as one does that was linked to another C++ library than torch, ends this process and no other.
        kernel = Kernel(temporary, -1 if x.is_cpu else torch.cuda.current_device(), rows)
        kernel.backward(given[:count], kernel.forward(given[:count]))
        if not x.is_cpu:
            torch.cuda.synchronize()


@contextlib.contextmanager
def _threads_where_they_pay() -> Iterator[None]:
    """Let Inductor write kernels that take one thread below `GRAIN` elements.

    With a size that is known only at run time it starts all threads for every call: microseconds for a few elements, and
    milliseconds where other processes want the same cores. It has no option for that, so the line that starts them is changed.
    """
    from torch._inductor.codegen import cpp

    start = cpp.WorkSharing.parallel

    def parallel(self: Any, threads: int) -> None:
        code, line = self.code, self.code.writeline

        def writeline(text: Any) -> None:
            line(f"{text} if(ks0 >= {GRAIN})" if text == "#pragma omp parallel" else text)

        code.writeline = writeline  # ks0 is the only size in our graphs
        try:
            start(self, threads)
        finally:
            del code.writeline

    cpp.WorkSharing.parallel = parallel  # type: ignore[method-assign]
    try:
        yield
    finally:
        cpp.WorkSharing.parallel = start  # type: ignore[method-assign]


class _Graph(torch.nn.Module):
    def __init__(self, rule: Callable[..., Any]) -> None:
        super().__init__()
        self._rule = rule

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self._rule(*tensors)


def _pointwise(function: Elementwise, constants: tuple[float, ...], count: int) -> tuple[Callable[..., Any], ...]:
    """The value of tensors, and the gradients of tensors and the gradient of the value."""

    def forward(*tensors: torch.Tensor) -> torch.Tensor:
        return rounded(function(namespace, *wide((*tensors, *constants))), tensors[0])

    def backward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        *inputs, grad = wide(tensors)
        if keeps_result(function, tensors[0].dtype, constants):
            return [rounded(grad * inputs[0], tensors[0])]
        partials = [function.require(a) for a in function.arguments[:count]]
        return [rounded(grad * p(namespace, *inputs, *constants), tensors[0]) for p in partials if p is not None]

    return forward, backward


def _along_axis(function: Axiswise, constants: tuple[float, ...]) -> tuple[Callable[..., Any], ...]:
    """The same of rows, along the last axis. The value is computed again for the gradient where only the input is kept."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        return rounded(function.value(namespace, *wide((x, *constants)), axis=-1), x)

    def backward(kept: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
        arguments: list[Any] = wide((kept, *constants))
        if keeps_result(function, kept.dtype, constants):
            y, arguments[0] = kept, None
        else:
            y = rounded(function.value(namespace, *arguments, axis=-1), arguments[0])
        needed = (True, *(False for _ in constants))
        found = function.vjp(namespace, arguments, y, wide((kept, grad))[1], needed, axis=-1)
        return [rounded(found[0], kept)]

    return forward, backward
