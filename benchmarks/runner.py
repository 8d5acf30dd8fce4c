"""Running the benchmark: a case, a backend in this process, or all backends, each in a process of its own, one at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, cast
from unittest.mock import patch

import cpuinfo
import numpy as np

import multiact
from multiact.declaration import DTYPES, Activation, Array
from multiact.dispatch import BUILTIN, backend_names, installed, require
from multiact.errors import BackendNotAvailableError, MultiactError, ParameterError
from multiact.harnesses import device_of, expand, load, needed
from multiact.protocols import Timed
from multiact.registry import get, names

from . import cases as catalogue
from .cases import DIRECTIONS, MODES, Case
from .measure import QUICK, Effort, Times, interleaved
from .naive import naive

Measurement = Literal["activations", "networks", "first_calls"]
Advance = Callable[[str, int, int], None]

#: In this order; Keras only when it is asked for.
BACKENDS = ("torch", "jax", "tensorflow", "numpy")
KERAS = ("keras-torch", "keras-jax", "keras-tensorflow")
SIZES = (64, 16384, 1 << 20)
#: Of activations; networks and first calls are measured in the first alone.
DTYPES_TIMED = ("float32", "bfloat16")
#: Two results are of one function when they differ by no more than this, absolutely or relatively; it tells functions
#: apart, and says nothing about accuracy.
TOLERANCE = {"float64": 1e-3, "float32": 1e-3, "bfloat16": 0.05, "float16": 0.02}
#: So many entries may differ more: at a kink frameworks choose other slopes, and 16-bit inputs lie on them.
EXCEPTIONS = 0.02
#: About so many entries are compared.
COMPARED = (1 << 20) + 1

NETWORKS: dict[str, dict[str, int]] = {
    "feed_forward": {"tokens": 512, "width": 512, "hidden": 2048},
    "convolutional": {"images": 16, "side": 32, "channels": 32, "classes": 10},
}
SMALL_NETWORKS: dict[str, dict[str, int]] = {
    "feed_forward": {"tokens": 32, "width": 64, "hidden": 256},
    "convolutional": {"images": 2, "side": 16, "channels": 8, "classes": 10},
}
#: What is put into networks and called for the first time unless activations are asked for.
USUAL = ("relu", "gelu", "gelu_tanh", "silu", "mish", "elu")
FIRST = ("gelu", "mish")


#: glibc gives large blocks back to the system when they are freed, or does not, depending on what was freed before; getting the
#: pages again takes longer than most activations. So it keeps them, up to blocks of 32 MB, the most that it can keep.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(1 << 33), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}


class BenchError(ParameterError):
    """The benchmark was asked for something that does not exist or is not installed."""


@dataclass(frozen=True)
class Row:
    """One line of the report: seconds of one call, medians over all rounds; None for what does not exist.

    Attributes
    ----------
    setting : parameters that are not the defaults, those of the framework's own.
    seconds, native_seconds, naive_seconds, copy_seconds : ours, the framework's own, the definition operation by
        operation, and moving the bytes that have to be moved at least.
    speedup : native_seconds / seconds. None where the framework's own is another function; see `native_difference`.
    of_limit : copy_seconds / seconds; above 1 where a compiler fuses both passes and so moves less.
    spread, native_spread, naive_spread, copy_spread : the distance between the quartiles.
    saved_bytes : what is kept for the backward pass. peak_bytes : the most held at a time beside the arguments.
    native_difference, naive_difference : the share of the entries that differ from ours by more than a loose tolerance, of
        the value or of a gradient, whichever is larger. The naive formula may overflow or lose its digits.
    rounds : how often each was measured.
    built : whether kernels were built before, where a backend can.
    reason : why there are no figures, or why some are missing.
    """

    activation: str
    backend: str
    mode: str
    dtype: str
    device: str
    size: int
    direction: str
    seconds: float | None = None
    native_seconds: float | None = None
    copy_seconds: float | None = None
    speedup: float | None = None
    of_limit: float | None = None
    saved_bytes: int | None = None
    kind: str = "pointwise"
    setting: str = ""
    native: str | None = None
    naive_seconds: float | None = None
    spread: float | None = None
    native_spread: float | None = None
    naive_spread: float | None = None
    copy_spread: float | None = None
    native_saved_bytes: int | None = None
    peak_bytes: int | None = None
    native_peak_bytes: int | None = None
    native_difference: float | None = None
    naive_difference: float | None = None
    rounds: int = 0
    built: bool = True
    reason: str = ""


@dataclass(frozen=True)
class NetworkRow:
    """One network in which an activation is ours, the framework's own, and the identity; seconds of one step.

    `share` and `native_share` say what part of the step the activation takes: (with it - with the identity) / with it.
    """

    network: str
    activation: str
    backend: str
    mode: str
    dtype: str
    device: str
    shape: Mapping[str, int]
    seconds: float | None = None
    native_seconds: float | None = None
    identity_seconds: float | None = None
    share: float | None = None
    native_share: float | None = None
    spread: float | None = None
    native_spread: float | None = None
    identity_spread: float | None = None
    native: str | None = None
    rounds: int = 0
    built: bool = True
    reason: str = ""


@dataclass(frozen=True)
class FirstRow:
    """The first calls of an activation in a fresh process.

    Attributes
    ----------
    cache : "cold" with nothing kept on disk by earlier processes, "warm" with what the cold one has kept.
    import_seconds : loading the framework and the backend.
    first_seconds, second_seconds : the first and the second call, with the making of the function.
    longest_seconds : the longest call while it is called again and again, the first included, for `watched_seconds`.
    """

    activation: str
    backend: str
    mode: str
    dtype: str
    device: str
    size: int
    direction: str
    cache: str
    import_seconds: float | None = None
    first_seconds: float | None = None
    second_seconds: float | None = None
    longest_seconds: float | None = None
    watched_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Request:
    """What is to be measured; everything a process of its own needs to know, so names only.

    Attributes
    ----------
    modes : None for all that a backend has.
    explicit : whether the backends were named. Those that were not are left out where they do not have the device.
    build : whether a backend that can builds kernels of the activations before; otherwise it uses none.
    watch : seconds of the watch over the longest call.
    """

    backends: tuple[str, ...]
    activations: tuple[str, ...]
    dtypes: tuple[str, ...] = DTYPES_TIMED
    modes: tuple[str, ...] | None = None
    sizes: tuple[int, ...] = SIZES
    directions: tuple[str, ...] = DIRECTIONS
    device: str = "cpu"
    measurement: Measurement = "activations"
    explicit: bool = False
    quick: bool = False
    build: bool = True
    naive: bool = True
    watch: float = 10.0

    @property
    def effort(self) -> Effort:
        if self.quick:
            return QUICK
        # Waiting for a device takes as long as many a call.
        return Effort() if self.device == "cpu" else Effort(slice=4e-3)


def request(
    backends: Sequence[str] = (),
    activations: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    modes: Sequence[str] = (),
    sizes: Sequence[int] = (),
    directions: Sequence[str] = (),
    device: str = "cpu",
    measurement: Measurement = "activations",
    **settings: Any,
) -> Request:
    """A checked request; empty sequences mean the defaults: every backend that is installed, but Keras.

    Raises
    ------
    BenchError : a dtype, mode or direction does not exist, or a size is none.
    BackendNotAvailableError : a backend does not exist, or its framework is not installed.
    UnknownActivationError : an activation does not exist.
    """
    known = (*BACKENDS, *KERAS, "keras", *(n for n in backend_names() if n not in BUILTIN))
    for name in backends:
        if name not in known:
            raise BackendNotAvailableError(f"no backend is named {name!r}. There are: {', '.join(sorted(known))}.")
        for framework in needed(name):
            require(framework)
    for given, accepted, what in (
        (dtypes, DTYPES, "dtype"),
        (modes, MODES, "mode"),
        (directions, DIRECTIONS, "direction"),
    ):
        for name in given:
            if name not in accepted:
                raise BenchError(f"no {what} is named {name!r}. There are: {', '.join(accepted)}.")
    everything = {"activations": tuple(names()), "networks": USUAL, "first_calls": FIRST}[measurement]
    chosen = catalogue.activations(activations, everything)
    for size in sizes:
        for activation in chosen:
            wanted = catalogue.shape(get(activation), size)
            if size < 2 or np.prod(wanted) != size:
                raise BenchError(f"a size must be from 2 to {catalogue.ROW}, or a multiple of that. Received: {size}.")
    if measurement == "networks":
        for name in chosen:
            if get(name).kind != "pointwise" or catalogue.given(get(name)):
                raise BenchError(
                    f"a network takes a function of one number without further arguments, which {name} is not."
                )
    found = tuple(dict.fromkeys(b for name in backends for b in expand(name))) or tuple(filter(installed, BACKENDS))
    return Request(
        found,
        chosen,
        tuple(dict.fromkeys(dtypes)) or (DTYPES_TIMED if measurement == "activations" else DTYPES_TIMED[:1]),
        tuple(dict.fromkeys(modes)) or None,
        tuple(dict.fromkeys(sizes)) or SIZES,
        tuple(dict.fromkeys(directions)) or DIRECTIONS,
        device,
        measurement,
        bool(backends),
        **settings,
    )


# One case


def difference(results: Sequence[np.ndarray], others: Sequence[np.ndarray], dtype: str) -> float:
    """The share of entries in which two results differ beyond `TOLERANCE`; 1 where they have other shapes."""
    if len(results) != len(others) or any(a.shape != b.shape for a, b in zip(results, others)):
        return 1.0
    shares = []
    for a, b in zip(results, others):
        close = np.isclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True)
        shares.append(1.0 - float(np.mean(close)))
    return max(shares)


def _what(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


class Backend:
    """A harness and what has been made with it. Functions are made once, so that what is compiled is found again."""

    def __init__(self, harness: Timed, asked: Request) -> None:
        device = device_of(harness, asked.device)
        if device is None:
            raise BenchError(
                f"{harness.name} has no device {asked.device!r} here. There are: {', '.join(harness.devices())}."
            )
        self.harness, self.asked, self.device = harness, asked, device
        self._activation: Activation | None = None
        self._functions: dict[str, Any] = {}

    def functions(self, activation: Activation) -> dict[str, Any]:
        """Ours, the framework's own and the naive formula, as far as there are; and why one is missing."""
        if self._activation is not activation:
            peer = catalogue.native(self.harness, activation)
            parameters = catalogue.given(activation, peer)
            found: dict[str, Any] = {"ours": catalogue.ours(self.harness, activation, parameters), "why": ""}
            found["setting"] = ", ".join(f"{k}={v:g}" for k, v in parameters.items())
            if peer is not None:
                found["native"], found["name"] = peer.call, peer.name
            if self.asked.naive:
                try:
                    found["naive"] = naive(activation, self.harness.operation, parameters)
                except NotImplementedError as error:
                    found["why"] = f"no naive formula: {error}"
            self._activation, self._functions = activation, found
        return self._functions

    def run(self, case: Case) -> Row:
        """Measure a case. Whatever goes wrong with ours becomes a row without figures, and the reason."""
        activation = get(case.activation)
        row = Row(
            **asdict(case),
            backend=self.harness.name,
            device=self.asked.device,
            kind=activation.kind,
            built=self.asked.build,
        )
        try:
            return self._measured(row, activation, case)
        except Exception as error:  # noqa: BLE001 - any crash of a case is a finding, not the end of the run
            return replace(row, reason=_what(error))

    def _measured(self, row: Row, activation: Activation, case: Case) -> Row:
        harness, device = self.harness, self.device
        made = self.functions(activation)
        arrays = catalogue.arrays(activation, case.size)
        step = case.size // COMPARED | 1  # odd, so that other entries are met in every repetition of the inputs
        placed: dict[str, Any] = {"dtype": case.dtype, "device": device}
        how = {**placed, "direction": case.direction, "mode": case.mode}
        runs: dict[str, Callable[[], Any]] = {}
        results: dict[str, list[np.ndarray]] = {}
        why: list[str] = [made["why"]]
        for name in ("ours", "native", "naive"):
            if name in made:
                try:
                    run = harness.runner(made[name], arrays, **how)
                    once = run()
                    results[name] = [harness.values(x, step) for x in once]
                    runs[name] = run
                    if name == "ours":  # it comes first
                        reshaped = once[0].shape != arrays[0].shape
                except Exception as error:
                    if name == "ours":
                        raise
                    why.append(f"{name}: {error if isinstance(error, NotImplementedError) else _what(error)}")
        shares = {n: difference(results["ours"], r, case.dtype) for n, r in results.items() if n != "ours"}
        del once
        results.clear()
        if not reshaped:
            runs["copy"] = harness.copier(arrays, direction=case.direction, **placed)
        times = interleaved(
            {n: partial(harness.seconds, run, device=device) for n, run in runs.items()}, self.asked.effort
        )
        figures = self._figures(times, row, shares, why)
        if "native" in made:
            figures |= {"native": made["name"]}
        for prefix, name in (("", "ours"), ("native_", "native")):
            if name in runs:
                with contextlib.suppress(NotImplementedError):
                    figures[f"{prefix}peak_bytes"] = harness.peak_bytes(runs[name], device)
                    if case.direction != "forward":
                        saved = harness.saved_bytes(made[name], arrays, mode=case.mode, **placed)
                        figures[f"{prefix}saved_bytes"] = saved
        return replace(row, **figures, setting=made["setting"], reason=" | ".join(filter(None, why)))

    def _figures(
        self, times: Mapping[str, Times], row: Row, shares: Mapping[str, float], why: list[str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {"rounds": len(times["ours"].rounds)}
        for name, prefix in (("ours", ""), ("native", "native_"), ("naive", "naive_"), ("copy", "copy_")):
            if name in times:
                found[f"{prefix}seconds"], found[f"{prefix}spread"] = times[name].median, times[name].spread
        for name, share in shares.items():
            found[f"{name}_difference"] = share
            if share > EXCEPTIONS + 2 / row.size:
                why.append("native is another function" if name == "native" else "naive gives other numbers")
        if "native" in times and shares["native"] <= EXCEPTIONS + 2 / row.size:
            found["speedup"] = times["native"].median / times["ours"].median
        if "copy" in times:
            found["of_limit"] = times["copy"].median / times["ours"].median
        return found

    def network(self, name: str, activation: Activation, mode: str, dtype: str) -> NetworkRow:
        """Measure a network with an activation in three ways."""
        shape = (SMALL_NETWORKS if self.asked.quick else NETWORKS)[name]
        identity = {"backend": self.harness.name, "device": self.asked.device, "built": self.asked.build}
        row = NetworkRow(name, activation.name, mode=mode, dtype=dtype, shape=shape, **identity)  # type: ignore[arg-type]
        functions: dict[str, Callable[[Array], Array]] = {"ours": self.harness.function(activation)}
        peer = catalogue.native(self.harness, activation)
        if peer is not None and not catalogue.given(activation, peer):
            functions["native"] = peer.call
        functions["identity"] = _unchanged
        try:
            runs = {
                n: self.harness.network(name, f, mode=mode, dtype=dtype, device=self.device, shape=shape)
                for n, f in functions.items()
            }
            times = interleaved(
                {n: partial(self.harness.seconds, run, device=self.device) for n, run in runs.items()},
                self.asked.effort,
            )
        except Exception as error:  # noqa: BLE001
            return replace(row, reason=_what(error))
        found: dict[str, Any] = {"rounds": len(times["ours"].rounds), "native": peer.name if peer else None}
        bare = times["identity"].median
        for key, prefix in (("ours", ""), ("native", "native_"), ("identity", "identity_")):
            if key in times:
                found[f"{prefix}seconds"], found[f"{prefix}spread"] = times[key].median, times[key].spread
                if key != "identity":
                    found[f"{prefix}share"] = 1 - bare / times[key].median
        return replace(row, **found)


def _unchanged(x: Array) -> Array:
    return x


# One backend


def plan(harness: Timed, asked: Request) -> list[Any]:
    """What there is to do for a backend."""
    if asked.measurement == "activations":
        return list(
            catalogue.cases(harness, asked.activations, asked.modes, asked.dtypes, asked.sizes, asked.directions)
        )
    modes = [m for m in MODES if m in harness.network_modes and (asked.modes is None or m in asked.modes)]
    dtypes = [d for d in asked.dtypes if d in harness.dtypes]
    return [(n, a, m, d) for n in NETWORKS for m in modes for d in dtypes for a in asked.activations]


def run_here(harness: Timed, asked: Request) -> Iterator[Row | NetworkRow]:
    """All that is asked for of one backend, in this process."""
    backend = Backend(harness, asked)
    harness.prepare([get(n) for n in asked.activations], asked.dtypes, backend.device, asked.build)
    for item in plan(harness, asked):
        if isinstance(item, Case):
            yield backend.run(item)
        else:
            name, activation, mode, dtype = item
            yield backend.network(name, get(activation), mode, dtype)


def worker(name: str, asked: Request, channel: Any, log: str) -> None:
    """The body of a backend's process.

    Sends ("plan", versions, hardware, count), or ("refused", why); waits until it is told to go; then sends ("row", row) for
    each, and ("done",).
    """
    _quiet(log)
    try:
        harness = load(name)
        if not isinstance(harness, Timed):
            raise BenchError(f"{name} cannot be timed: its harness is not a multiact.protocols.Timed.")
        backend = Backend(harness, asked)
        count = len(plan(harness, asked))
    except MultiactError as error:
        channel.send(("refused", str(error)))
        return
    channel.send(("plan", dict(harness.versions()), dict(harness.hardware(backend.device)), count))
    channel.recv()
    try:
        for row in run_here(harness, asked):
            channel.send(("row", row))
    except MultiactError as error:
        channel.send(("refused", str(error)))
        return
    channel.send(("done",))


def _quiet(log: str) -> None:
    """Whatever the frameworks print goes to the log, which is quoted if the process dies."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Otherwise JAX takes most of the memory of a GPU from the frameworks beside it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# First calls


def first_worker(name: str, asked: Request, case: Case, folder: str, channel: Any, log: str) -> None:
    """In a fresh process: how long the first call takes, and the longest of those after it. Sends a dict of figures."""
    _quiet(log)
    os.environ["MULTIACT_CACHE"] = folder
    try:
        start = time.perf_counter()
        harness = cast(Timed, load(name))
        device = device_of(harness, asked.device)
        if device is None:
            raise BenchError(f"{name} has no device {asked.device!r} here.")
        loaded = time.perf_counter() - start
        if case.mode not in harness.timed_modes or case.dtype not in harness.dtypes:
            channel.send({})
            return
        harness.use_cache(folder)
        activation = get(case.activation)
        arrays = catalogue.arrays(activation, case.size)
        harness.runner(_unchanged, arrays[:1], dtype=case.dtype, device=device)()  # wakes the framework up
        found: dict[str, Any] = {"import_seconds": loaded, "versions": dict(harness.versions())}
        began = time.perf_counter()
        function = catalogue.ours(harness, activation, catalogue.given(activation))
        how: dict[str, Any] = {"direction": case.direction, "mode": case.mode, "dtype": case.dtype, "device": device}
        run = harness.runner(function, arrays, **how)
        harness.seconds(run, 1, device)
        found["first_seconds"] = longest = time.perf_counter() - began
        found["second_seconds"] = harness.seconds(run, 1, device)
        until = time.perf_counter() + asked.watch
        while time.perf_counter() < until:
            longest = max(longest, harness.seconds(run, 1, device))
        channel.send({**found, "longest_seconds": longest, "watched_seconds": asked.watch})
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        channel.send({"reason": _what(error)})


def first_calls(asked: Request, versions: dict[str, str], advance: Advance) -> Iterator[FirstRow]:
    """The first calls of each activation on each backend and in each mode, with a cold cache and then with a warm one.

    `versions` is given those of the frameworks.
    """
    modes = asked.modes or MODES
    todo = [(b, a, m, d) for b in asked.backends for m in modes for d in asked.dtypes for a in asked.activations]
    size = max(asked.sizes)
    for done, (backend, activation, mode, dtype) in enumerate(todo):
        advance(f"{backend}: {activation} {mode}", done, len(todo))
        case = Case(activation, mode, dtype, size, DIRECTIONS[-1] if DIRECTIONS[-1] in asked.directions else "forward")
        if backend == "numpy":
            case = replace(case, direction="forward")
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("cold", "warm"):
                found = _first(backend, asked, case, folder)
                if not found:
                    break
                versions |= found.pop("versions", {})
                yield FirstRow(**asdict(case), backend=backend, device=asked.device, cache=cache, **found)


def _first(backend: str, asked: Request, case: Case, folder: str) -> dict[str, Any]:
    log = Path(folder, "log")
    log.touch()
    context = multiprocessing.get_context("spawn")
    channel, theirs = context.Pipe()
    process = context.Process(target=first_worker, args=(backend, asked, case, folder, theirs, str(log)), daemon=True)
    process.start()
    theirs.close()
    try:
        return cast(dict[str, Any], channel.recv())
    except EOFError:
        process.join()
        return {"reason": f"the process died ({_how(process.exitcode)})"}
    finally:
        process.terminate()
        process.join()


# All backends


def _how(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


@lru_cache(maxsize=1)  # asking takes a second
def processor() -> str:
    """The model of the CPU."""
    return str(cpuinfo.get_cpu_info().get("brand_raw") or platform.processor() or platform.machine())


def environment(asked: Request) -> dict[str, Any]:
    """What the figures depend on; versions and threads of the frameworks are added when they are loaded."""
    return {
        "multiact": multiact.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "device": asked.device,
        "model": processor() if asked.device == "cpu" else None,
        "allocator": ALLOCATOR if asked.measurement != "first_calls" else {},
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "build": asked.build,
        "quick": asked.quick,
        "versions": {"numpy": np.__version__},
        "threads": {},
        "skipped": {},
        "seconds": {},
    }


@dataclass
class Report:
    """What a run has found. "rows" are of activations."""

    environment: dict[str, Any]
    rows: list[Row]
    networks: list[NetworkRow]
    first_calls: list[FirstRow]

    def add(self, row: Row | NetworkRow | FirstRow) -> None:
        found: list[Any] = (
            self.rows if isinstance(row, Row) else self.networks if isinstance(row, NetworkRow) else self.first_calls
        )
        found.append(row)

    def __len__(self) -> int:
        return len(self.rows) + len(self.networks) + len(self.first_calls)


def run(asked: Request, *, advance: Advance = lambda what, done, total: None) -> Report:
    """Everything that is asked for, each backend in a process of its own, one after the other.

    Parameters
    ----------
    advance : told what is running, how much is done, and how much there is.

    Returns
    -------
    Report : on KeyboardInterrupt what there is by then, and ``environment["interrupted"]``.

    Raises
    ------
    BenchError : a backend that was named does not have the device; nothing of what was named can be run.
    """
    report = Report(environment(asked), [], [], [])
    started = time.perf_counter()
    try:
        if asked.measurement == "first_calls":
            for row in first_calls(asked, report.environment["versions"], advance):
                report.add(row)
        else:
            _run_backends(asked, report, advance)
    except KeyboardInterrupt:
        report.environment["interrupted"] = True
    report.environment["seconds"]["all"] = round(time.perf_counter() - started, 1)
    return report


def _run_backends(asked: Request, report: Report, advance: Advance) -> None:
    about = report.environment
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        running = []
        # All say what they are going to do before anything takes long, so that a mistake in the request is told at once.
        for number, name in enumerate(asked.backends):
            advance(f"starting {name}", number, len(asked.backends))
            backend = _Running(name, asked, folder)
            stack.callback(backend.stop)
            message = backend.receive()
            if message is None:
                about["skipped"][name] = f"the process did not start{backend.said()}"
            elif message[0] == "refused":
                if asked.explicit:
                    raise BenchError(message[1])
                about["skipped"][name] = message[1]
            else:
                _, versions, hardware, backend.count = message
                about["versions"].update(versions)
                about["threads"][name] = hardware.get("threads")
                about["model"] = about["model"] or hardware.get("model")
                running.append(backend)
        if not running:
            raise BenchError("nothing can be run: " + "; ".join(f"{n}: {why}" for n, why in about["skipped"].items()))
        total, done = sum(backend.count for backend in running), 0
        for backend in running:
            started = time.perf_counter()
            advance(f"{backend.name}: preparing", done, total)
            backend.channel.send("go")
            while (message := backend.receive()) is not None and message[0] == "row":
                done += 1
                report.add(message[1])
                advance(f"{backend.name}: {message[1].activation}", done, total)
            if message is None:
                about["skipped"][backend.name] = f"the process died{backend.said()}"
            elif message[0] == "refused":
                about["skipped"][backend.name] = message[1]
            about["seconds"][backend.name] = round(time.perf_counter() - started, 1)
            backend.end()


class _Running:
    """A backend's process."""

    def __init__(self, name: str, asked: Request, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.count, self._log = name, 0, Path(folder, f"{name}.log")
        self._log.touch()
        self.channel, theirs = context.Pipe()
        self._process = context.Process(target=worker, args=(name, asked, theirs, str(self._log)), daemon=True)
        with patch.dict(os.environ, ALLOCATOR):
            self._process.start()
        theirs.close()

    def receive(self) -> tuple[Any, ...] | None:
        try:
            return cast(tuple[Any, ...], self.channel.recv())
        except (EOFError, ConnectionError):
            self._process.join()
            return None

    def said(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f" ({_how(self._process.exitcode)})" + (f": {' | '.join(lines[-3:])[-300:]}" if lines else "")

    def end(self, seconds: float = 15.0) -> None:
        """Let it clean up, so that nothing else runs when the next one is timed."""
        self._process.join(seconds)
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()
