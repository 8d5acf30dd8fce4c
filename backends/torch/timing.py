"""What the benchmarks need of torch beside the harness: running, copying, and how long and how much memory it takes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

import multiact.timing
from multiact.declaration import Activation

from .eager import build_kernels, buildable, compilable, kernels

Tensor: TypeAlias = torch.Tensor
Function = Callable[..., Tensor]
Run = Callable[[], tuple[Tensor, ...]]


def put(a: np.ndarray, dtype: str, device: str) -> Tensor:
    """An array of NumPy as a Tensor of its own."""
    kept = np.array(a, dtype=a.dtype if a.dtype == np.float32 else np.float64)
    return torch.from_numpy(kept).to(getattr(torch, dtype)).to(device)


class TorchTiming:
    """The part of the harness that the benchmarks alone use."""

    timed_modes = ("eager", "compiled")
    network_modes = timed_modes

    if TYPE_CHECKING:

        def _compile(self, call: Function, tensors: Sequence[Tensor]) -> Function: ...

        def traced(self, call: Callable[..., Any]) -> Callable[..., Any]: ...

    def hardware(self, device: str) -> Mapping[str, Any]:
        model = torch.cuda.get_device_name() if device == "cuda" else None
        return {"threads": torch.get_num_threads(), "model": model}

    def operation(self, name: str) -> Callable[..., Tensor]:
        own: Any = {"max": torch.amax}
        return own.get(name) or getattr(torch, name)

    def runner(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        direction: str = "forward",
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Run:
        tensors = [put(a, dtype, device) for a in arrays]
        function = self._compile(call, tensors) if mode == "compiled" else call
        if direction == "forward":
            return lambda: (function(*tensors),)
        for t in tensors:
            t.requires_grad_()
        y = function(*tensors)
        if not y.requires_grad:  # a constant to torch
            return lambda: (function(*tensors), *map(torch.zeros_like, tensors))
        ones, grad = torch.ones_like(y), torch.autograd.grad

        def run() -> tuple[Tensor, ...]:
            y = function(*tensors)
            return (y, *grad(y, tensors, ones))

        return run

    def copier(
        self, arrays: Sequence[np.ndarray], *, direction: str = "forward", dtype: str = "float32", device: str = "cpu"
    ) -> Run:
        first, *rest = [put(a, dtype, device) for a in arrays]
        ones = torch.ones_like(first)
        forward: Callable[[], Tensor] = (lambda: first + rest[0]) if rest else first.clone
        if direction == "forward":
            return lambda: (forward(),)
        return lambda: (forward(), first + ones, *(other.clone() for other in rest))

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        if device != "cuda":
            return multiact.timing.seconds(run, calls, _wait if device != "cpu" else None)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / calls

    def values(self, x: Tensor, step: int = 1) -> np.ndarray:
        chosen = x.detach() if step == 1 else x.detach().reshape(-1)[::step]
        values: np.ndarray = chosen.cpu().to(torch.float64).numpy()
        return values

    def saved_bytes(
        self,
        call: Function,
        arrays: Sequence[np.ndarray],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> int | None:
        tensors = [put(a, dtype, device).requires_grad_() for a in arrays]
        function = self._compile(call, tensors) if mode == "compiled" else call
        function(*tensors)
        kept: dict[int, int] = {}

        def pack(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = function(*tensors)
        del y
        return sum(kept.values())

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        if device != "cuda":
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        if not build:
            kernels("native")
            return
        usual = [a for a in activations if buildable(a)]
        if usual:
            build_kernels(*usual, dtypes=dtypes, device=device)
        for a in activations:
            if a not in usual and compilable(a) and a.examples:
                given: dict[str, Any] = dict(a.examples[0])
                build_kernels(a, dtypes=dtypes, device=device, **given)

    def use_cache(self, folder: str) -> None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder

    def network(
        self,
        name: str,
        activation: Callable[[Tensor], Tensor],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        shape: Mapping[str, int],
    ) -> Run:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model, size = _NETWORKS[name](activation, shape)
            x = torch.randn(size).to(getattr(torch, dtype)).to(device).requires_grad_()
        model = model.to(getattr(torch, dtype)).to(device)
        function = self.traced(model) if mode == "compiled" else model
        wanted = [x, *model.parameters()]

        def run() -> tuple[Tensor, ...]:
            return torch.autograd.grad(function(x).sum(), wanted)

        return run


def _wait(result: Any) -> None:
    torch.mps.synchronize()


class _FeedForward(torch.nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.down(self.activation(self.up(x)))
        return y


class _Convolutional(torch.nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], channels: int, classes: int) -> None:
        super().__init__()
        sizes = [3, channels, 2 * channels, 4 * channels]
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(a, b, 3, padding=1, stride=1 if i == 0 else 2)
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.last = torch.nn.Linear(sizes[-1], classes)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = self.activation(convolution(x))
        y: Tensor = self.last(x.mean((2, 3)))
        return y


def _feed_forward(activation: Any, shape: Mapping[str, int]) -> tuple[torch.nn.Module, tuple[int, ...]]:
    return _FeedForward(activation, shape["width"], shape["hidden"]), (shape["tokens"], shape["width"])


def _convolutional(activation: Any, shape: Mapping[str, int]) -> tuple[torch.nn.Module, tuple[int, ...]]:
    model = _Convolutional(activation, shape["channels"], shape["classes"])
    return model, (shape["images"], 3, shape["side"], shape["side"])


_NETWORKS = {"feed_forward": _feed_forward, "convolutional": _convolutional}
