"""Two processes for what is distributed: they are started with the first case, told one case after the other, and end with us.

A case travels by the names of its activation, of its arguments and of the framework's own function, and is made there.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from multiact.protocols import Result
from multiact.registry import get

Tensor: TypeAlias = torch.Tensor
Given = Sequence[Tensor | None]

WORLD = 2
#: How long processes may take to start, and a case to be evaluated, in seconds.
START, PATIENCE = 120.0, 60.0
#: The mean of these factors of the loss is 1/2: twice its gradients is right if they have been averaged, and only then. The sum
#: is 1, so that they do not overflow.
FACTORS = (0.75, 0.25)
#: How many collectives a function along an axis that is sharded may need for its value and for each derivative, one for each
#: sum or maximum; those that iterate need more.
COLLECTIVES, ITERATING = 16, {"entmax15": 24, "entmax_alpha": 64}


# The process that asks


class Ranks:
    """The processes, each with a channel to it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="multiact-ranks-")
        self._logs = [Path(self._folder.name, f"rank{r}.log") for r in range(WORLD)]
        self.processes: list[subprocess.Popen[bytes]] = []
        self._channels: list[Any] = []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for rank, log in enumerate(self._logs):
            ours, theirs = Pipe()
            command = [sys.executable, "-m", __name__, str(rank), str(Path(self._folder.name, "store"))]
            with log.open("wb") as file:
                self.processes.append(
                    subprocess.Popen(command, stdin=theirs.fileno(), stdout=file, stderr=file, env=environment)
                )
            theirs.close()
            self._channels.append(ours)
        self._replies(START)

    def ask(self, *job: Any) -> list[tuple[str, Any]]:
        """What each of them answers to a case: ("done", a Result), ("skip", why) or ("failed", why).

        Raises
        ------
        RuntimeError : one has died, or does not answer. Both are ended then.
        """
        try:
            for channel in self._channels:
                channel.send(job)
        except OSError:
            pass  # it is dead, as its channel will say
        return self._replies(PATIENCE)

    def _replies(self, seconds: float) -> list[Any]:
        replies: dict[int, Any] = {}
        end = time.monotonic() + seconds
        while len(replies) < WORLD:
            waiting = [c for r, c in enumerate(self._channels) if r not in replies]
            ready = connection.wait(waiting, timeout=max(0.0, end - time.monotonic()))
            if not ready:
                silent = [r for r in range(WORLD) if r not in replies]
                self.close(at_once=True)
                told = f" Rank {next(iter(replies))}: {next(iter(replies.values()))[1]}" if replies else ""
                raise RuntimeError(f"no answer from rank {silent[0]} in {seconds:g} s.{told}")
            for rank in [r for r, channel in enumerate(self._channels) if channel in ready]:
                try:
                    replies[rank] = self._channels[rank].recv()
                except (EOFError, OSError):
                    raise RuntimeError(self._death(rank)) from None
        return [replies[r] for r in range(WORLD)]

    def _death(self, rank: int) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processes[rank].wait(5)
        code = self.processes[rank].returncode
        lines = [line for line in self._logs[rank].read_text(errors="replace").splitlines() if line.strip()]
        self.close(at_once=True)
        return f"rank {rank} died (exit code {code}){': ' + ' | '.join(lines[-3:])[-300:] if lines else ''}"

    def close(self, at_once: bool = False) -> None:
        """End the processes."""
        for channel in self._channels:
            channel.close()  # which tells them to end
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0 if at_once else 5)
            process.kill()
            process.wait()
        self._folder.cleanup()


_running: Ranks | None = None


def running() -> Ranks:
    """The processes of this one, started if they are not."""
    global _running
    if _running is None:
        _running = Ranks()
    return _running


@atexit.register
def close() -> None:
    """End the processes; the next case starts others."""
    global _running
    if _running is not None:
        _running.close()
        _running = None


def way(name: str) -> Callable[..., Result]:
    """What evaluates a case by the function `name` of this module in both processes, called as a harness is."""

    def evaluate(
        call: Any,
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        global _running
        if device != "cpu":
            raise NotImplementedError("two processes share what there is for certain: the CPU.")
        case = replace(call, function=None, activation=call.activation.name)
        try:
            replies = running().ask(name, case, [*arrays], wrt, dtype, directions)
        except RuntimeError:
            _running = None
            raise
        first, second = replies
        if first[0] != second[0]:
            close()  # what the one waits for the other has not done
        for kind, answer in replies:
            if kind == "skip":
                raise NotImplementedError(answer)
            if kind == "failed":
                raise RuntimeError(answer)
        values, dtype = first[1]
        if not np.array_equal(values, second[1][0], equal_nan=True):
            raise AssertionError("the ranks have different results.")
        return Result(values, dtype)

    return evaluate


# The processes


def main() -> None:
    """A rank: evaluates the cases that come over the channel at standard input, until it is closed."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    from .eager import kernels

    channel: Any = connection.Connection(os.dup(0))
    rank, store = int(sys.argv[1]), sys.argv[2]
    kernels("native")
    wait = timedelta(seconds=PATIENCE / 2)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD, timeout=wait)
    mesh = init_device_mesh("cpu", (WORLD,))
    channel.send(("ready", None))
    with contextlib.suppress(EOFError):
        while True:
            channel.send(_answer(mesh, *channel.recv()))
    os._exit(0)  # without waiting for a rank that may be dead


def _answer(mesh: Any, name: str, case: Any, arrays: Any, wrt: Any, dtype: str, directions: Any) -> tuple[str, Any]:
    from .harness import as_result
    from .timing import put

    try:
        tensors = [put(a, dtype, "cpu") for a in arrays]
        given: Given = [None] * len(wrt) if directions is None else [put(d, dtype, "cpu") for d in directions]
        result = as_result(_WAYS[name](mesh, _made(case), tensors, wrt, given))
    except NotImplementedError as error:
        if type(error) is NotImplementedError and name in ("ddp", "fsdp2"):
            return "skip", str(error)
        return "failed", f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - told to whoever asked
        return "failed", f"{type(error).__name__}: {error}"
    return "done", (result.values, result.dtype)


def _made(case: Any) -> Any:
    """A case with its function, ours or the framework's own of its title."""
    from .harness import harness

    activation = get(case.activation)
    if hasattr(case, "title"):
        function = next(n.call for n in harness.natives(activation) if n.name == case.title)
    else:
        function = harness.function(activation)
    return replace(case, function=function, activation=activation)


def _sharded(
    mesh: Any, call: Any, tensors: list[Tensor], wrt: Any, given: Given, placement: Any, allowed: int
) -> Tensor:
    """A value or derivative of DTensors that are all placed so, and come out so after at most so many collectives."""
    from torch.distributed.tensor import Replicate, distribute_tensor
    from torch.distributed.tensor.debug import CommDebugMode

    from .harness import by_autograd

    def put(x: Tensor | None) -> Any:
        if x is None:
            return None
        whole = placement.is_shard() and x.shape[placement.dim] == 1
        return distribute_tensor(x, mesh, [Replicate() if whole else placement])

    parts, directions = list(map(put, tensors)), list(map(put, given))
    wanted = parts[wrt[-1]].placements if wrt else (placement,)
    counter = CommDebugMode()
    with counter:
        y: Any = by_autograd(call, parts, wrt, directions)
    if not hasattr(y, "placements"):
        raise AssertionError("the result is no DTensor.")
    if counter.get_total_counts() > allowed:
        counts = {str(k): v for k, v in counter.get_comm_counts().items() if v}
        raise AssertionError(f"{counts} collectives for {placement}, at most {allowed} are needed.")
    if not allowed and y.placements != wanted:
        raise AssertionError(f"the result is placed {y.placements}, expected {wanted}.")
    whole: Tensor = y.full_tensor()
    return whole


def _dtensor(mesh: Any, call: Any, tensors: list[Tensor], wrt: Any, given: Given) -> Tensor:
    from torch.distributed.tensor import Replicate, Shard

    found, other = (_sharded(mesh, call, tensors, wrt, given, p, 0) for p in (Shard(0), Replicate()))
    # Remainders of vectors are computed by other code.
    torch.testing.assert_close(found, other, equal_nan=True)
    return found


def _dtensor_axis(mesh: Any, call: Any, tensors: list[Tensor], wrt: Any, given: Given) -> Tensor:
    from torch.distributed.tensor import Shard

    allowed = ITERATING.get(call.activation.name, COLLECTIVES)
    return _sharded(mesh, call, tensors, wrt, given, Shard(1), allowed * (1 + len(wrt)))


class _Shifted(torch.nn.Module):
    """A Module whose inputs have a bias of 0 added, so that it has parameters in every case."""

    def __init__(self, inner: Any, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        dtype = next((p.dtype for p in inner.parameters()), inputs[0].dtype)
        self.inner = inner
        self.bias = torch.nn.ParameterList(torch.zeros(x.shape, dtype=dtype) for x in inputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.inner(*(x + b.to(x.dtype) for x, b in zip(inputs, self.bias)))
        return y


def _parallel(
    wrap: Callable[[Any, torch.nn.Module], Any], mesh: Any, call: Any, tensors: list[Tensor], wrt: Any, given: Given
) -> Tensor:
    """A training step of a Module on both ranks, with losses of which the mean is that of the case."""
    from .learned import Learned, along_axis

    model = Learned(call, tensors)
    inputs = model.inputs(tensors)
    by_rows = (
        bool(wrt) and model.learns(wrt[0]) and along_axis(tensors)
    )  # one weight for all, whose gradients are wanted each
    shifted = _Shifted(model, [x[:1] for x in inputs] if by_rows else inputs)
    wrapped = wrap(mesh, shifted)
    if not wrt:
        return wrapped(*inputs)
    (i,), (direction,) = wrt, given
    learned = model.learns(i)
    found = []
    for at in map(slice, range(len(inputs[0])), range(1, len(inputs[0]) + 1)) if by_rows else (slice(None),):
        wrapped.zero_grad()
        y = wrapped(*(x[at] for x in inputs))
        cotangent = torch.ones_like(y) if direction is None else direction[at].reshape(y.shape)
        y.backward(FACTORS[mesh.get_rank()] * cotangent)
        weight: Any = model.weight(model.names[i]) if learned else shifted.bias[i]
        grad = weight.grad
        found.append((grad.full_tensor() if hasattr(grad, "full_tensor") else grad).clone())
    gradient = torch.cat(found) / sum(FACTORS) * len(FACTORS)
    if learned:
        weight = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        gradient = model.gradient(model.names[i], weight, gradient)
    return gradient.to(tensors[0].dtype)


def _ddp(mesh: Any, *case: Any) -> Tensor:
    return _parallel(lambda _, model: torch.nn.parallel.DistributedDataParallel(model), mesh, *case)


def _fsdp2(mesh: Any, *case: Any) -> Tensor:
    from torch.distributed.fsdp import fully_shard

    return _parallel(lambda mesh, model: fully_shard(model, mesh=mesh), mesh, *case)


_WAYS: dict[str, Callable[..., Tensor]] = {
    "dtensor": _dtensor,
    "dtensor_axis": _dtensor_axis,
    "ddp": _ddp,
    "fsdp2": _fsdp2,
}

if __name__ == "__main__":
    main()
