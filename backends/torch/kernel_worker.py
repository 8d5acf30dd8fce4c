"""The process that builds kernels: it is told what to build on its standard input, and answers with a line for each."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from multiact.declaration import Activation, Axiswise, Elementwise
from multiact.files import replacing
from multiact.registry import gated, get

from . import namespace
from .adapter import evaluated, rounded, wide
from .eager import PARTS, REPLY, Kernel, keeps_result

#: The size for which Inductor plans; for small ones it plans no threads.
SIZE, ROWS = 1 << 18, 1 << 8
#: What is put before the code of Inductor.
HEADER = Path(__file__).with_name("kernels.h")
#: So many elements are worth a second thread, as in torch's own kernels.
GRAIN = 1 << 15
#: So many elements are in a block of rows.
BLOCK = 1 << 14
#: Products and sums fused into one operation are faster, and no less accurate; our formulas do not depend on it.
OPTIONS = {
    "aot_inductor.package": True,
    "cpp.dynamic_threads": True,
    "cpp.enable_floating_point_contract_flag": "fast",
}

_PREFIX = re.compile(r"^#include <torch/csrc/inductor/cpp_prefix.h>$", re.MULTILINE)
_EXP = re.compile(r"\b(tmp\d+)\.exp\(\)")
_OF_ROW = re.compile(r"\b(tmp_acc\d+_vec) = at::vec::(maximum|minimum)\(\1, ")
_ASSIGNMENT = re.compile(r"\s*auto (tmp\d+) = (.*);")
_NUMBER = re.compile(r"static_cast<\w+>\([-+.\de]+\)")
_VECTOR = re.compile(r"at::vec::Vectorized(?:N<\w+,\d+>|<\w+>)\((tmp\d+)\)")
_LIMIT = re.compile(r"at::vec::(minimum|maximum)\((tmp\d+), (tmp\d+)\)")
_PARALLEL = "    #pragma omp parallel\n    {\n        int tid = omp_get_thread_num();\n"
_POINTER = re.compile(r"\b(?:in_out|in|out)_ptr\d+\b")
_PLACE = r"(?:\[| \+ )static_cast<int64_t>\((.*?)\)(?=[\],)])"
#: How far a place is from that in the row before.
_STEPS = {"x1 + ks1*x0": "ks1", "x0": "1"}


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
        with _better_code(rows):
            parts[part] = aot_compile(program.module(), given, options=OPTIONS)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        package_aoti(str(temporary), parts)
        # A package that crashes, as one does that was linked to another C++ library than torch, ends this process and no other.
        kernel = Kernel(temporary, -1 if x.is_cpu else torch.cuda.current_device(), rows)
        _check(kernel, rules, [_sample(x) for _ in range(count + 1)], keeps_result(function, x.dtype, constants))


def _sample(x: torch.Tensor) -> torch.Tensor:
    """Numbers in the shape of `x`, those among them that formulas treat apart."""
    found = 3 * torch.randn_like(x)
    special = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan], dtype=x.dtype, device=x.device)
    found.view(-1)[: len(special)] = special
    return found


def _check(
    kernel: Kernel, rules: Sequence[Callable[..., Any]], tensors: list[torch.Tensor], keeps_result: bool
) -> None:
    """Raise AssertionError unless a kernel gives what the formulas give; a wrong kernel has another result by far, where products and
    sums are fused a little another."""
    *inputs, grad = tensors
    y = rules[0](*inputs)
    kept = [y] if keeps_result else inputs
    got = [kernel.forward(inputs), *kernel.backward(kept, grad)]
    wanted = [y, *rules[1](*kept, grad)]
    torch.testing.assert_close(got, wanted, rtol=0.05, atol=1e-3, equal_nan=True)


@contextlib.contextmanager
def _better_code(rows: bool) -> Iterator[None]:
    """Let Inductor write shorter code for processors; where it no longer writes what is looked for, that stays as it is."""
    from torch._inductor.codegen import cpp

    written = cpp.KernelGroup.codegen_group

    def codegen_group(self: Any, *given: Any) -> str:
        return better(written(self, *given), rows)

    cpp.KernelGroup.codegen_group = codegen_group  # type: ignore[method-assign]
    try:
        yield
    finally:
        cpp.KernelGroup.codegen_group = written  # type: ignore[method-assign]


def better(code: str, rows: bool) -> str:
    """Code of Inductor in which a few things are put differently.

    - exp, and the maximum and minimum of a row, as in kernels.h.
    - The minimum or maximum with a number keeps NaN by the order of its operands, in one instruction, not by a mask, in four.
    - One thread below `GRAIN` elements. With a size that is known only at run time Inductor starts all threads for every call:
      microseconds for a few elements, and milliseconds where other processes want the same cores. It has no option for that.
    - Rows are done in blocks that stay in the cache, and not in several loops over all of them.
    """
    code = _PREFIX.sub(lambda found: f"{found[0]}\n{HEADER.read_text(encoding='utf-8')}", code, count=1)
    code = _EXP.sub(r"multiact::exp(\1)", code)
    code = _OF_ROW.sub(r"\1 = multiact::\2(\1, ", code)
    numbers: set[str] = set()
    lines = code.split("\n")
    for i, line in enumerate(lines):
        assigned = _ASSIGNMENT.match(line)
        if assigned is None:
            continue
        name, value = assigned.groups()
        numbers.discard(name)
        vector = _VECTOR.fullmatch(value)
        if _NUMBER.fullmatch(value) or vector is not None and vector[1] in numbers:
            numbers.add(name)
        limit = _LIMIT.fullmatch(value)
        if limit is not None and limit[3] in numbers:
            lines[i] = line.replace(limit[1], {"minimum": "clamp_max", "maximum": "clamp_min"}[limit[1]])
    code = "\n".join(lines)
    if rows:
        return _in_blocks_of_rows(code)
    return code.replace("#pragma omp parallel\n", f"#pragma omp parallel if(ks0 >= {GRAIN})\n")  # the only size


def _in_blocks_of_rows(code: str) -> str:
    """Code of loops over all of the ks0 rows of ks1 numbers, one after the other, done for a block of rows at a time."""
    start, end = code.find(_PARALLEL), code.rfind("    }\n    inductor_cpu_integer_div_error_flag = nullptr;")
    body = code[start + len(_PARALLEL) : end].replace("#pragma omp for\n", "\n")
    bounds = {*re.findall(r"\bx0<static_cast<int64_t>\((.*?)\);", body)}
    if min(start, end) < 0 or "#pragma omp" in body or "tid" in body or bounds != {"ks0"}:
        return code
    steps: dict[str, str] = {}
    for name in {*_POINTER.findall(body)}:
        places = [_STEPS.get(place.replace("_tail", "")) for place in re.findall(rf"\b{name}{_PLACE}", body)]
        if None in places or len({*places}) != 1 or len(places) != len(re.findall(rf"\b{name}\b", body)):
            return code
        steps[name] = str(places[0])
    whole = "".join(f"    const auto all_{name} = {name};\n" for name in ("ks0", *sorted(steps)))
    parts = "".join(
        f"        const auto {name} = all_{name} + first * {step};\n" for name, step in sorted(steps.items())
    )
    return (
        f"{code[:start]}{whole}"
        f"    const int64_t block = std::max<int64_t>(1, {BLOCK} / ks1);\n"
        f"    #pragma omp parallel for if(ks0 * ks1 >= {GRAIN})\n"
        f"    for (int64_t first = 0; first < all_ks0; first += block) {{\n"
        f"        const int64_t ks0 = std::min(block, all_ks0 - first);\n"
        f"{parts}{body}{code[end:]}"
    )


class _Graph(torch.nn.Module):
    def __init__(self, rule: Callable[..., Any]) -> None:
        super().__init__()
        self._rule = rule

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self._rule(*tensors)


def _pointwise(function: Elementwise, constants: tuple[float, ...], count: int) -> tuple[Callable[..., Any], ...]:
    """The value of tensors, and the gradients of tensors and the gradient of the value."""

    def forward(*tensors: torch.Tensor) -> torch.Tensor:
        return evaluated(function, (*tensors, *constants))

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
