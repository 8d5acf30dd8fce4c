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

from multiact.declaration import Activation, Elementwise
from multiact.files import replacing
from multiact.registry import gated, get

from . import namespace
from .adapter import rounded, wide
from .eager import PARTS, REPLY

#: The size for which Inductor plans; for small ones it plans no threads.
SIZE = 1 << 18
#: So many elements are worth a second thread, as in torch's own kernels.
GRAIN = 1 << 15
OPTIONS = {"aot_inductor.package": True, "cpp.dynamic_threads": True}


def main() -> None:
    """Build what standard input asks for."""
    asked = json.load(sys.stdin)
    if asked["quietly"]:
        os.nice(10)
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

    assert isinstance(activation.function, Elementwise)
    count = len(activation.function.arguments) - len(constants)
    x = torch.empty(SIZE, dtype=getattr(torch, dtype), device=device)
    size = torch.export.Dim("size", min=2, max=2**62)
    parts: dict[str, Any] = {}
    for part, rule, inputs in zip(PARTS, _rules(activation.function, constants, count), (count, count + 1)):
        given = tuple(torch.empty_like(x) for _ in range(inputs))
        program = torch.export.export(_Graph(rule), given, dynamic_shapes=(({0: size},) * inputs,), strict=False)
        with _threads_where_they_pay():
            parts[part] = aot_compile(program.module(), given, options=OPTIONS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        package_aoti(str(temporary), parts)


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


def _rules(function: Elementwise, constants: tuple[float, ...], count: int) -> tuple[Callable[..., Any], ...]:
    """The value of tensors, and the gradients of tensors and the gradient of the value."""

    def forward(*tensors: torch.Tensor) -> torch.Tensor:
        return rounded(function(namespace, *wide((*tensors, *constants))), tensors[0])

    def backward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        *inputs, grad = wide(tensors)
        partials = [function.require(a) for a in function.arguments[:count]]
        return [rounded(grad * p(namespace, *inputs, *constants), tensors[0]) for p in partials if p is not None]

    return forward, backward
