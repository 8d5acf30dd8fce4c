"""How functions are evaluated in eager mode: by compiled kernels of the definitions, by torch's own kernels, or as composed.

Composed of torch's operations, a formula reads and writes memory once for each of them. A kernel compiled from the definition
does it once. Kernels are packages of AOTInductor: torch.compile needs its Dynamo guards in every call (13 to 46 us, where a
package takes 2), 2 to 8 s of imports and tracing in every process, and compiles in the process that calls; a package is built
in a process of its own, kept on disk, and loaded in milliseconds without Dynamo or Inductor. So no call waits for a compiler.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import json
import os
import platform
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.autograd import forward_ad

from multiact import cache, fingerprint
from multiact.declaration import DTYPES, Activation, Axiswise, Elementwise
from multiact.errors import MultiactError, ParameterError
from multiact.registry import get, names, registered

Tensor: TypeAlias = torch.Tensor
Key = tuple[Any, ...]

MODES = ("auto", "compiled", "native", "composed")
#: The environment variable that says which way is taken from the start.
VARIABLE = "MULTIACT_TORCH_KERNELS"
#: A kernel is built in the background after so many calls with at least so many elements. Below, building costs more than it
#: ever gains.
CALLS, ELEMENTS = 24, 1 << 14
#: So many settings of the parameters of one function get kernels in the background: a schedule of ever new values gets none.
SETTINGS = 4
#: So many kernels are tried that cannot be built, before building in the background is given up.
PATIENCE = 3
#: Composed formulas are evaluated in blocks of so many elements for each thread, at most in blocks of so many, so that what is
#: in between stays in the cache and in memory that the allocator has at hand.
GRAIN, BLOCK = 1 << 15, 1 << 18
#: How many threads may run one kernel at a time.
RUNNERS = 4
#: How far what builds in the background stands back. With a tenth of a processor (10) calls of a process that keeps all processors busy
#: were held up for 0.2 s again and again, at the barriers of its threads; with the least share not for more than 0.03 s.
NICE = 19
#: The parts of a package.
PARTS = ("forward", "backward")

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NAMES = {getattr(torch, name): name for name in DTYPES}


class KernelError(MultiactError, RuntimeError):
    """A kernel could not be built."""


# Which way


def _from_environment() -> str:
    given = os.environ.get(VARIABLE, "auto")
    if given not in MODES:
        warnings.warn(
            f"{VARIABLE} must be one of {', '.join(MODES)}. Received: {given!r}. auto is taken.", stacklevel=4
        )
        return "auto"
    return given


_mode = _from_environment()


def kernels(mode: str | None = None) -> str:
    """Choose how functions of Tensors are evaluated in eager mode, for the whole process.

    Parameters
    ----------
    mode : "auto" takes a compiled kernel where there is one, otherwise torch's own where it is within the error budget, otherwise
        the composed formula; functions that are called again and again on large tensors get kernels in the background.
        "compiled" leaves out torch's own, and builds nothing by itself; "native" leaves out the compiled; "composed" leaves out
        both. None changes nothing. The environment variable MULTIACT_TORCH_KERNELS sets it from the start.

    Returns
    -------
    str, the mode that was in force before.

    Raises
    ------
    ParameterError : there is no such mode.

    Examples
    --------
    >>> from multiact.backends.torch import kernels
    >>> before = kernels("composed")
    >>> kernels(before)
    'composed'
    """
    global _mode
    before = _mode
    if mode is not None:
        if mode not in MODES:
            raise ParameterError(f"mode must be one of {', '.join(MODES)}. Received: mode={mode!r}.")
        _mode = mode
    return before


# What a kernel is of


@dataclass(frozen=True)
class Spec:
    """What a kernel is compiled for: a function with its numbers, a dtype and a device.

    Attributes
    ----------
    function : the value of an activation. One along an axis is compiled for the last axis of contiguous Tensors.
    constants : the numbers given for its last arguments; the others are Tensors of one shape.
    device : "cpu" or "cuda".
    """

    function: Elementwise | Axiswise
    constants: tuple[float, ...]
    dtype: torch.dtype
    device: str

    @functools.cached_property
    def path(self) -> Path | None:
        """The file of the package; None for a function that has no file itself."""
        files = fingerprint.files(self.function)
        if files is None:
            return None
        core = (sys.modules[Elementwise.__module__], sys.modules[fingerprint.__name__])
        room = Path(__file__).parent
        files |= {Path(str(m.__file__)) for m in core} | {
            room / n for n in ("adapter.py", "kernel_worker.py", "kernels.h", "namespace.py")
        }
        code = fingerprint.content(tuple(sorted(files)))
        name = self.function.name.replace("/", "_")
        kept = keeps_result(self.function, self.dtype, self.constants)
        key = fingerprint.key(code, name, self.constants, kept, torch.__version__, _processor(self.device))
        return cache.directory("torch-kernels") / f"{name}-{_NAMES[self.dtype]}-{self.device}-{key}.pt2"


@functools.cache
def _processor(device: str) -> tuple[str, ...]:
    """What the machine code depends on."""
    if device == "cuda":
        return torch.cuda.get_device_name(), str(torch.cuda.get_device_capability()), str(torch.version.cuda)
    flags = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")
    return platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), flags


class Kernel:
    """A package that is loaded: one compiled pass over memory forward, and one backward. `rows` for a function along an axis."""

    def __init__(self, path: Path, index: int, rows: bool) -> None:
        load = torch._C._aoti.AOTIModelPackageLoader
        self._forward, self._backward = (load(str(path), part, False, RUNNERS, index) for part in PARTS)
        self._axes = 2 if rows else 1

    def forward(self, tensors: Sequence[Tensor]) -> Tensor:
        """The value, for tensors that can be read, in the shape and strides of the first."""
        x = tensors[0]
        if x.dim() == self._axes:
            return self._forward.run(list(tensors))[0]
        return _shaped(self._forward.run([self._flat(t) for t in tensors])[0], x)

    def backward(self, tensors: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
        """The gradient of every tensor."""
        x = tensors[0]
        if x.dim() == self._axes:
            return self._backward.run([*tensors, grad.contiguous()])
        if grad.stride() != x.stride():
            grad = torch.empty_like(x).copy_(grad)
        return [_shaped(g, x) for g in self._backward.run([*map(self._flat, tensors), self._flat(grad)])]

    def _flat(self, x: Tensor) -> Tensor:
        return x.view(-1, x.shape[-1]) if self._axes == 2 else _flat(x)


def _flat(x: Tensor) -> Tensor:
    """A dense Tensor in the order of its memory."""
    return x.view(-1) if x.is_contiguous() else x.as_strided((x.numel(),), (1,))


def _shaped(y: Tensor, x: Tensor) -> Tensor:
    return y.view(x.shape) if x.is_contiguous() else y.as_strided(x.shape, x.stride())


def keeps_result(function: Elementwise | Axiswise, dtype: torch.dtype, parameters: Sequence[Any]) -> bool:
    """Whether the backward pass takes the result and not x. In 16 bits that lacks digits, and a parameter needs x."""
    return (
        function.result_suffices
        and dtype in (torch.float32, torch.float64)
        and not any(isinstance(p, torch.Tensor) for p in parameters)
    )


def usable(x: Tensor, rows: bool) -> bool:
    """Whether a kernel can read a Tensor: a plain, dense one of two elements or more, rows of two or more."""
    return (
        type(x) in _PLAIN
        and x.layout is torch.strided
        and x.numel() > 1
        and not x.is_nested
        and (x.is_contiguous() or not rows and x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
        and not (rows and x.shape[-1] < 2)
        and not x.is_neg()
        and (x.is_cpu or x.data_ptr() % 16 == 0)  # which compiled code takes for granted on a GPU
    )


def _alike(other: Tensor, x: Tensor) -> bool:
    """Whether a Tensor can be read element by element beside another."""
    return usable(other, False) and other.shape == x.shape and other.stride() == x.stride() and other.device == x.device


def _watched() -> bool:
    """Whether operations are being recorded or transformed, which a kernel would hide from."""
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )


class Entry:
    """What is known of one `Spec` on one device in this process: its kernel if there is one, and how often it was wanted."""

    __slots__ = ("asked", "index", "kernel", "spec", "wanted")

    def __init__(self, spec: Spec, index: int) -> None:
        self.spec, self.index = spec, index
        self.kernel: Kernel | None = None
        self.wanted, self.asked = 0, False
        self.load()

    def load(self) -> bool:
        """Load the package, if it is there and can be loaded."""
        path = self.spec.path
        if self.kernel is None and path is not None and path.is_file():
            try:
                self.kernel = Kernel(path, self.index, isinstance(self.spec.function, Axiswise))
            except Exception as error:  # noqa: BLE001 - a broken package must not break a call
                _builder.failed(f"{path} cannot be loaded: {error}")
        return self.kernel is not None


class Eager:
    """The ways to evaluate one function in eager mode, `plain` being the composed formula. Options such as the axis come last.

    `native` are torch's own kernels: a function of the same arguments, and the dtypes in which it is within the budget.
    """

    def __init__(self, function: Elementwise | Axiswise, plain: Callable[..., Tensor]) -> None:
        self._function, self._plain = function, plain
        self._rows = isinstance(function, Axiswise)
        self._entries: dict[Key, Entry] = {}
        self._native: Callable[..., Tensor] | None = None
        self._native_backward: Callable[..., Tensor] | None = None
        self._native_dtypes: frozenset[torch.dtype] = frozenset()
        #: Whose value it is; None for a derivative, which has no kernels.
        self.activation: Activation | None = None
        #: How many of the arguments are Tensors of one shape; the others are parameters.
        self.inputs = 1
        #: What a process that builds a kernel finds the function by; None for one that it cannot find.
        self.recipe: dict[str, Any] | None = None

    def belongs_to(self, activation: Activation) -> None:
        """Told whose function it is."""
        from .native_kernels import NATIVE, NATIVE_BACKWARD

        self.activation = activation
        self.inputs = 2 if activation.kind == "gated" else 1
        self.recipe = _recipe(activation) if compilable(activation) else None
        if activation.name in NATIVE and registered(activation):
            self._native, dtypes = NATIVE[activation.name]
            self._native_dtypes = frozenset(getattr(torch, name) for name in dtypes)
            self._native_backward = NATIVE_BACKWARD.get(activation.name)

    def forward(self, *arguments: Any) -> Tensor:
        """The value; no derivative is recorded. It is not asked for under transforms, in forward mode, and while tracing."""
        x = arguments[0]
        if torch._C._len_torch_dispatch_stack():
            return self._plain(*arguments)
        if _mode == "auto" or _mode == "compiled":
            kernel = self._kernel(arguments)
            if kernel is not None:
                return kernel.forward(arguments[: self.inputs])
        if _mode in ("auto", "native") and self._native is not None and x.dtype in self._native_dtypes:
            y = self._native(*arguments)
            if y is not None:
                return y
        if not self._rows and x.is_cpu:
            block = min(BLOCK, GRAIN * torch.get_num_threads())
            if x.numel() >= 2 * block:
                return self._by_blocks(arguments, block)
        return self._plain(*arguments)

    def _by_blocks(self, arguments: Sequence[Any], block: int) -> Tensor:
        """The composed formula, block by block if all Tensors are dense and of one shape."""
        x = arguments[0]
        tensors = [isinstance(a, torch.Tensor) for a in arguments]
        if not all(_alike(a, x) for a in itertools.compress(arguments, tensors)):
            return self._plain(*arguments)
        y = torch.empty_like(x)
        flat = [_flat(a) if t else a for a, t in zip(arguments, tensors)]
        result = _flat(y)
        for start in range(0, y.numel(), block):
            part = slice(start, start + block)
            result[part] = self._plain(*[a[part] if t else a for a, t in zip(flat, tensors)])
        return y

    def backward(
        self, arguments: Sequence[Any], grad: Tensor, needed: Sequence[bool]
    ) -> tuple[Tensor | None, ...] | None:
        """The gradients of the arguments in one pass, None where there is no way to; no derivative is recorded.

        The first of them is the result where that has been kept.
        """
        rest = needed[self.inputs :]
        if _mode == "composed" or torch.is_grad_enabled() or True in rest or _watched():
            return None
        if torch._C._functorch.is_legacy_batchedtensor(grad):  # of is_grads_batched=True, where no transform is active
            return None
        x = arguments[0]
        dense = type(grad) is torch.Tensor and grad.layout is torch.strided and not grad.is_neg()
        if _mode != "native" and dense and grad.dtype == x.dtype:
            kernel = self._kernel(arguments)
            if kernel is not None:
                found: Sequence[Tensor | None] = kernel.backward(arguments[: self.inputs], grad)
                if False in needed[: self.inputs]:
                    found = [g if need else None for g, need in zip(found, needed)]
                return (*found, *(None,) * len(rest))
        if _mode != "compiled" and self._native_backward is not None and x.dtype in self._native_dtypes:
            gradient = self._native_backward(grad, *arguments)
            return None if gradient is None else (gradient, *(None,) * (len(needed) - 1))
        return None

    def entry(self, arguments: Sequence[Any]) -> Entry | None:
        """What is known for these arguments; None when there cannot be a kernel for them."""
        x, constants = arguments[0], arguments[self.inputs :]
        if self._rows:
            *constants, axis = constants
            if axis not in (-1, x.dim() - 1):
                return None
        key = (x.dtype, x.device, *constants)
        found = self._entries.get(key)
        if found is None:
            if any(type(a) is not float for a in constants) or x.device.type not in ("cpu", "cuda"):
                return None
            spec = Spec(self._function, tuple(constants), x.dtype, x.device.type)
            found = self._entries.setdefault(key, Entry(spec, -1 if x.is_cpu else x.device.index))
        return found

    def _kernel(self, arguments: Sequence[Any]) -> Kernel | None:
        entry = None if self.recipe is None else self.entry(arguments)
        if entry is None:
            return None
        x = arguments[0]
        if entry.kernel is None:
            if _mode == "auto" and not entry.asked and x.numel() >= ELEMENTS:
                entry.wanted += 1
                if entry.wanted >= CALLS:
                    self._ask(entry)
            return None
        if not usable(x, self._rows) or self.inputs > 1 and not _alike(arguments[1], x):
            return None
        return entry.kernel

    def _ask(self, entry: Entry) -> None:
        entry.asked = True
        settings = sum(e.asked for e in self._entries.values())
        if self.recipe is not None and entry.spec.path is not None and settings <= SETTINGS:
            _builder.submit(entry, self.recipe)

    def entries(self, dtypes: Iterable[str], device: str, constants: tuple[float, ...]) -> list[Entry]:
        """Those for which kernels are to be built."""
        found = []
        for dtype in dtypes:
            x = torch.empty(0, dtype=getattr(torch, dtype), device=device)
            entry = self.entry((*(x,) * self.inputs, *constants, *((-1,) if self._rows else ())))
            if entry is not None:
                found.append(entry)
        return found


def _recipe(activation: Activation) -> dict[str, Any] | None:
    """By what another process finds an activation: its name, and the modules that declare it."""
    found: dict[str, Any]
    if registered(activation):
        found = {"name": activation.name}
    elif activation.gate_of is not None and registered(activation.gate_of):
        found = {"name": activation.gate_of.name, "gate": activation.option("gate").default}
    else:
        return None
    modules = sorted(m for m in fingerprint.modules(activation.function) if not m.startswith("multiact."))
    return None if {"", "__main__"} & {*modules} else found | {"modules": modules}


# Building


class Builder:
    """Builds kernels in a process of its own, one after the other, while calls go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Entry, dict[str, Any]]] = []
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._failures = 0
        atexit.register(self.stop)

    def submit(self, entry: Entry, recipe: dict[str, Any]) -> None:
        """Build the kernel of an entry in the background, and load it then."""
        with self._lock:
            if self._failures >= PATIENCE:
                return
            self._waiting.append((entry, recipe))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="multiact-kernels", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being built; whether that is so."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def failed(self, why: str) -> None:
        """Say once that there is a function without a kernel, and why; after `PATIENCE` of them build no more."""
        with self._lock:
            self._failures += 1
            first = self._failures == 1
            if self._failures >= PATIENCE:
                self._waiting.clear()
        if first:
            warnings.warn(
                f"multiact goes on without a compiled kernel, with torch's own or the composed formula, which are slower: {why} "
                f"Set {VARIABLE}=native to have none from the start.",
                RuntimeWarning,
                stacklevel=2,
            )

    def stop(self) -> None:
        """End what is running, when the interpreter ends."""
        self._failures = PATIENCE
        if self._process is not None:
            self._process.kill()

    def _work(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._thread = None
                    return
            try:
                for (entry, _), error in self.build(batch, quietly=True):
                    if error:
                        self.failed(error)
                    else:
                        entry.load()
            except Exception as error:  # noqa: BLE001 - nobody calls this thread
                self.failed(f"{type(error).__name__}: {error}")

    def build(
        self, batch: Sequence[tuple[Entry, dict[str, Any]]], quietly: bool = False
    ) -> Iterator[tuple[tuple[Entry, dict[str, Any]], str]]:
        """Build kernels in a process of its own; gives each with what went wrong, "" for nothing, as soon as it is done.

        Parameters
        ----------
        quietly : with one thread and low priority, beside what the user is doing.
        """
        jobs = [job(entry.spec, recipe) for entry, recipe in batch]
        start = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main()"
        if quietly:  # before anything is imported; Windows has no nice
            start = f"import os; hasattr(os, 'nice') and os.nice({NICE}); {start}"
        ours = {k: v for k, v in os.environ.items() if k != "TORCH_LOGS"}
        process = subprocess.Popen(
            [sys.executable, "-c", start.format(f"{__package__}.kernel_worker"), json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ours, VARIABLE: "composed", "PYTHONWARNINGS": "ignore"},
        )
        self._process = process if quietly else None
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        said: list[str] = []
        listener = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
        listener.start()
        try:
            process.stdin.write(json.dumps({"quietly": quietly, "jobs": jobs}))
            process.stdin.close()
            done = 0
            for line in process.stdout:
                if line.startswith(REPLY):
                    yield batch[done], json.loads(line.removeprefix(REPLY))["error"]
                    done += 1
            process.wait()
            listener.join(5)
            for path in [entry.spec.path for entry, _ in batch[done : done + 1] if entry.spec.path]:
                for half in path.parent.glob(f".{path.stem}.*"):  # what it was writing when it ended
                    half.unlink(missing_ok=True)
            for rest in batch[done:]:
                last = next((t.strip() for t in reversed(said) if t.strip()), "nothing was said")
                yield rest, f"the process that builds kernels ended with exit code {process.returncode}: {last}"
        finally:
            process.kill()
            process.stdout.close()
            self._process = None


#: What a line of the answer of a worker begins with.
REPLY = "multiact-kernel "


def job(spec: Spec, recipe: dict[str, Any]) -> dict[str, Any]:
    """What a worker is told."""
    return {
        **recipe,
        "constants": list(spec.constants),
        "dtype": _NAMES[spec.dtype],
        "device": spec.device,
        "path": str(spec.path),
    }


_builder = Builder()


def build_kernels(
    *activations: str | Activation,
    dtypes: Sequence[str] = ("float32",),
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
    **parameters: float,
) -> dict[str, str]:
    """Build the compiled kernels of activations, and use them from now on in eager mode, in this process and in later ones.

    It waits for the compiler: seconds for each kernel. A package that is there already is only loaded.

    Parameters
    ----------
    *activations : names, or Activations; none for all of the catalogue with a default for every parameter. Those along an axis
        are compiled for the last one.
    dtypes : of "float32", "float64", "float16", "bfloat16".
    device : "cpu" or "cuda".
    progress : called with what is being built, how much is done, and how much there is.
    **parameters : numbers that are not the defaults; all the activations must take them.

    Returns
    -------
    dict from "mish float32" to "built", "kept" (from an earlier process), or what went wrong.

    Raises
    ------
    KernelError : there can be no kernel of it, or it is declared where another process cannot find it.
    UnknownActivationError, ParameterError : an activation, a parameter or a dtype does not exist.

    Examples
    --------
    >>> from multiact.backends.torch import build_kernels
    >>> build_kernels("mish", "gelu", dtypes=["float32", "bfloat16"])  # doctest: +SKIP
    {'mish float32': 'built', 'mish bfloat16': 'built', 'gelu float32': 'built', 'gelu bfloat16': 'built'}
    """
    from multiact.functions import settings

    from .adapter import backend

    for dtype in dtypes:
        if dtype not in DTYPES:
            raise ParameterError(f"no dtype is named {dtype!r}. There are: {', '.join(DTYPES)}.")
    found: dict[str, str] = {}
    todo: list[tuple[Entry, dict[str, Any]]] = []
    chosen = [get(a) for a in activations] or [a for a in map(get, names()) if buildable(a)]
    for activation in chosen:
        chosen_, numbers, _ = settings(activation, parameters)
        if not compilable(chosen_):
            raise KernelError(f"{chosen_.name} works along an axis in a way that no kernel is built for.")
        backend.function(activation)
        eager = backend.eager(chosen_)
        if eager.recipe is None or fingerprint.files(chosen_.function) is None:
            raise KernelError(
                f"{chosen_.name} is declared in a script or a session, where the process that builds kernels cannot find it. "
                f"Declare it in a module, and import that."
            )
        for entry in eager.entries(dtypes, device, tuple(numbers)):
            if entry.load():
                found[_label(entry)] = "kept"
            else:
                todo.append((entry, eager.recipe))
    for done, ((entry, _), error) in enumerate(_builder.build(todo) if todo else ()):
        if progress is not None:
            progress(_label(entry), done + 1, len(todo))
        found[_label(entry)] = error or ("built" if entry.load() else "built, but it cannot be loaded")
    return found


def compilable(activation: Activation) -> bool:
    """Whether there can be a kernel of an activation: it keeps the shape, and draws no random numbers."""
    f = activation.function
    return isinstance(f, Elementwise) or f.options == ("axis",) and f.size is None and activation.random is None


def buildable(activation: Activation) -> bool:
    """Whether a kernel of an activation with its defaults can be built."""
    return compilable(activation) and all(p.default is not None for p in activation.parameters)


def _label(entry: Entry) -> str:
    return f"{entry.spec.function.name} {_NAMES[entry.spec.dtype]}"
