"""Running cases: one in this process, a backend in this process, or all backends in processes of their own."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.util
import math
import multiprocessing
import os
import platform
import signal
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from multiprocessing import connection
from pathlib import Path
from typing import Any, cast

import cpuinfo
import numpy as np

import multiact
from multiact import capabilities
from multiact.declaration import DTYPES, Budget
from multiact.dispatch import BUILTIN, backend_names, installed, require
from multiact.errors import BackendNotAvailableError, MultiactError, ParameterError
from multiact.harnesses import LIBRARIES, device_of, expand, library_present, needed
from multiact.harnesses import load as load_harness
from multiact.natives import frameworks, room
from multiact.protocols import BatchCompiler, Harness
from multiact.registry import get, names

from . import autodiff, measure, oracle, own
from . import cases as catalogue
from .cases import Case, Order
from .kept import Kept
from .points import FORMATS

MODES = (
    "eager",
    "compiled",
    "xla",
    "vmapped",
    "reverse",
    "forward",
    "second",
    *catalogue.ON_REQUEST,
    "autodiff",
    catalogue.CAPABILITIES,
)
#: How many functions a `BatchCompiler` compiles at once.
BATCH = 12
#: How many places are listed where a case is wrong.
FAULTS = 8
#: Longest first, so that the last process to end is a short one; Keras on JAX well after JAX, whose compiled functions it
#: finds in the cache.
BACKENDS = ("torch", "jax", "tensorflow", "keras-tensorflow", "keras-torch", "keras-jax", "mlx", "numpy")


@dataclass(frozen=True)
class Row:
    """One line of the report. `worst_at`, `got` and `wanted` describe the worst point; infinities are "inf" and "-inf".

    `faults` says of a case that misses its budget where it does: up to `FAULTS` runs of inputs, worst first, each with the
    first and last of the main input, the number of points, and input, got, wanted and E of the worst of them.
    """

    activation: str
    setting: str
    backend: str
    mode: str
    dtype: str
    device: str
    order: Order
    points: int
    worst_error: float | str | None
    worst_ulp: float | str | None
    worst_at: Any
    share_correctly_rounded: float | None
    nonfinite_disagreements: int
    budget: float
    verdict: str
    reason: str
    got: float | str | None = None
    wanted: float | str | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Request:
    """What is to be run; everything a process of its own needs to know, so names only.

    Attributes
    ----------
    backends : "keras" is there as keras-torch, keras-jax, keras-tensorflow.
    modes : None for all.
    effort : "quick", "usual" or "full"; see `cases.cases`.
    fresh : run everything again, also what an earlier run has done.
    brief : backends that nobody has named, of which a sample is enough; see `cases.cases`.
    file : the file that declares the activations, if it is not the catalogue, and a folder for its results; see `own.load`.
    """

    backends: tuple[str, ...]
    activations: tuple[str, ...]
    dtypes: tuple[str, ...] = DTYPES
    modes: tuple[str, ...] | None = None
    device: str = "cpu"
    native: bool = False
    effort: catalogue.Effort = "usual"
    fresh: bool = False
    file: tuple[str, str] | None = None
    brief: tuple[str, ...] = ()

    def declare(self) -> None:
        """Make the activations known in this process."""
        if self.file is not None:
            own.load(*self.file)


class RequestError(ParameterError):
    """Conformance was asked for something that does not exist or is not installed."""


# What was asked for


def peers() -> list[str]:
    """Frameworks on which nothing of ours is judged, but their own activations can be."""
    return [n for n in frameworks() if n not in (*BACKENDS, "keras")]


def modules(modes: Sequence[str]) -> list[str]:
    """Of these, those that add Modules of ours to another backend and are capable of one of these modes."""
    return [
        n
        for n in peers()
        if n in BUILTIN and any(m == catalogue.CAPABILITIES or m in capabilities.capabilities(n) for m in modes)
    ]


def request(
    backends: Sequence[str] = (),
    activations: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    modes: Sequence[str] = (),
    device: str = "cpu",
    native: bool = False,
    effort: catalogue.Effort = "usual",
    fresh: bool = False,
    file: tuple[str, str] | None = None,
) -> Request:
    """A checked request; empty sequences mean everything that is installed.

    Raises
    ------
    RequestError : a dtype or mode does not exist.
    BackendNotAvailableError : a backend does not exist, or its framework is not installed.
    UnknownActivationError : an activation does not exist.

    Notes
    -----
    With a capability among the modes the effort is "quick": what it can break is not a matter of more points.
    """
    others = peers() if native else modules(modes)
    known = (*BACKENDS, "keras", *(n for n in backend_names() if n not in BUILTIN), *LIBRARIES, *others)
    for name in backends:
        if name in peers() and name not in others:
            ours = " and the capabilities of its Modules, with --mode capabilities" if name in BUILTIN else ""
            raise BackendNotAvailableError(
                f"{name} is no backend of conformance; only its own activations can be judged, with --native{ours}."
            )
        if name not in known:
            raise BackendNotAvailableError(f"no backend is named {name!r}. There are: {', '.join(sorted(known))}.")
        for framework in needed(name):
            if framework in LIBRARIES:
                if not library_present(name):
                    raise BackendNotAvailableError(
                        f"{name} is not installed. Install it with: pip install {LIBRARIES[name][1]}"
                    )
            elif framework not in peers():
                require(framework)
            elif not _present(framework):
                raise BackendNotAvailableError(f"{name} is not installed. Install it with: pip install {name}")
    brief: tuple[str, ...] = ()
    if not backends:
        brief = tuple(n for n in LIBRARIES if n != "cupy" and device == "cpu" and not native)
        left_out = {"keras", *LIBRARIES} - {*brief}
        backends = [n for n in known if n not in left_out and all(map(_present, needed(n)))]
    ways = dict.fromkeys(m for b in (*BACKENDS, *backend_names()) for m in capabilities.capabilities(b))
    for given, accepted, what in ((dtypes, DTYPES, "dtype"), (modes, tuple(dict.fromkeys([*MODES, *ways])), "mode")):
        for name in given:
            if name not in accepted:
                raise RequestError(f"no {what} is named {name!r}. There are: {', '.join(accepted)}.")
    if any(m in ways or m == catalogue.CAPABILITIES for m in modes):
        effort = "quick"
    chosen = dict.fromkeys(b for name in backends for b in expand(name))
    return Request(
        tuple(chosen),
        tuple(dict.fromkeys(get(n).name for n in activations)) or tuple(names()),
        tuple(dict.fromkeys(dtypes)) or DTYPES,
        tuple(dict.fromkeys(modes)) or None,
        device,
        native,
        effort,
        fresh,
        file,
        brief,
    )


def _present(framework: str) -> bool:
    """Whether a framework is installed, nothing being imported to find out."""
    if framework in LIBRARIES:
        return library_present(framework)
    if framework in peers():
        return importlib.util.find_spec(room(framework).PACKAGE.partition(".")[0]) is not None
    return installed(framework)


# One case


@lru_cache(maxsize=1)
def _known() -> list[dict[str, Any]]:
    text = Path(__file__).with_name("known.toml").read_text(encoding="utf-8")
    return tomllib.loads(text).get("known", [])


def _fits(value: str, patterns: str | Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(value, str(p)) for p in ([patterns] if isinstance(patterns, str) else patterns))


def known_reason(case: Case, backend: str) -> str | None:
    """The reason listed in known.toml for this case, if any; of a framework's own activations nothing is excused."""
    if case.peer is not None:
        return None
    facts = {
        "activation": case.subject.activation.name,
        "backend": backend,
        "mode": case.mode,
        "dtype": case.dtype,
        "order": str(case.order),
    }
    for entry in _known():
        if all(_fits(value, entry.get(key, "*")) for key, value in facts.items()):
            return str(entry["reason"])
    return None


def _number(value: float) -> float | str:
    """A number that JSON can hold."""
    return float(value) if math.isfinite(value) else str(float(value))


def _shown(value: Any) -> Any:
    return [_number(v) for v in value] if isinstance(value, list) else _number(value)


def _degree(order: Order) -> int:
    return order if isinstance(order, int) else 1 + order.count("/")


AUTODIFF = "the framework's own derivative of this formula is wrong"


def _worst(place: Mapping[str, Any]) -> dict[str, Any]:
    return {"worst_at": place["at"], "got": place["got"], "wanted": place["wanted"]}


def _evaluator(harness: Harness, case: Case) -> Callable[..., Any]:
    if case.capability is None:
        return partial(harness.evaluate, mode=case.mode)
    return capabilities.evaluator(harness.name, case.capability.name)


def run_case(harness: Harness, case: Case) -> Row:
    """Evaluate and judge one case. Whatever goes wrong becomes a failing row with the reason."""
    started = time.perf_counter()
    activation, fmt = case.subject.activation, FORMATS[case.dtype]
    degree = _degree(case.order) if case.mode != "autodiff" else 0
    usual, own = (budget.order(min(degree, 2)) for budget in (Budget(), activation.budget))
    identity: dict[str, Any] = {
        "activation": activation.name,
        "setting": case.peer.title if case.peer else case.subject.setting,
        "backend": harness.name,
        "mode": case.mode,
        "dtype": case.dtype,
        "device": case.device,
        "order": case.order,
        "budget": measure.HALF_ULPS if fmt.half else usual,
    }

    def without_figures(verdict: str, reason: str, points: int = 0) -> Row:
        reason = " ".join(reason.split())[:400]
        seconds = round(time.perf_counter() - started, 4)
        return Row(
            **identity,
            points=points,
            worst_error=None,
            worst_ulp=None,
            worst_at=None,
            share_correctly_rounded=None,
            nonfinite_disagreements=0,
            verdict=verdict,
            reason=reason,
            seconds=seconds,
        )

    def by_framework(wrong: Sequence[autodiff.Wrong], points: int, what: str) -> Row:
        reason = known_reason(case, harness.name) if wrong else ""
        row = without_figures(
            "known" if reason else "fail" if wrong else "pass", reason or (what if wrong else ""), points
        )
        places = [{"at": w.at, "got": _number(w.got), "wanted": _number(w.wanted)} for w in wrong[:FAULTS]]
        faults = [{"from": p["at"], "to": p["at"], "points": 1, **p, "error": "inf"} for p in places]
        return replace(row, faults=faults, **(_worst(places[0]) if wrong else {}))

    try:
        if case.mode == "autodiff":
            x = autodiff.points(activation.kinks_at(dict(case.subject.parameters)))
            wrong = autodiff.wrong(harness, activation, str(case.order), dict(case.subject.parameters), x, case.device)
            return by_framework(wrong, x.size, AUTODIFF)
        call = case.peer or case.subject.call(harness)
        evaluate = _evaluator(harness, case)
        if degree > 2:
            wrong, points = autodiff.higher(evaluate, case.subject, call, degree, case.device)
            return by_framework(wrong, points, f"the derivative of order {degree} is wrong")
        data = catalogue.data(case)
        result = evaluate(
            call,
            data.arrays,
            wrt=case.wrt,
            dtype=case.dtype,
            device=case.device,
            directions=data.directions,
        )
    except NotImplementedError as error:
        if isinstance(error, MultiactError):
            return without_figures("fail", f"{type(error).__name__}: {error}")
        return without_figures("skip", str(error) or "not supported by the framework")
    except Exception as error:  # noqa: BLE001 - any crash of a case is a finding, not the end of the run
        reason = known_reason(case, harness.name)
        return without_figures("known" if reason else "fail", reason or f"{type(error).__name__}: {error}")
    got = np.asarray(result.values, dtype=np.float64).ravel()
    truth = data.truth
    if result.dtype != case.dtype:
        return without_figures("fail", f"the result is {result.dtype}, the input {case.dtype}", got.size)
    if got.size != truth.high.size:
        return without_figures("fail", f"the result has {got.size} entries, expected {truth.high.size}", got.size)
    if data.invisible is not None:
        got = np.where(np.abs(got) <= data.invisible, 0.0, got)
    found = measure.errors(got, truth, fmt)
    if data.flushed is not None and case.dtype in harness.flushes(case.device):
        where, other = data.flushed
        better = measure.best(found[where], measure.errors(got[where], other, fmt))
        for kept, new in zip(found.columns(), better.columns()):
            kept[where] = new
    found = found[data.judged]
    index = np.flatnonzero(data.judged)
    figures = measure.summary(found, fmt.half)
    at = None if figures.at is None else int(index[figures.at])
    within = _within(figures, usual, fmt.half, activation.kind == "axiswise", degree)
    verdict, reason = "pass", ""
    if not within:
        reason = known_reason(case, harness.name) or ""
        declared = activation.budget.reason and figures.disagreements == 0 and figures.worst_error <= own
        verdict = "known" if reason or declared else "fail"
        reason = reason or (activation.budget.reason if declared else _why(figures, usual, fmt.half))
        if declared:
            identity["budget"] = own
    wanted = truth.rounded(fmt)
    faults = []
    if verdict != "pass":
        plain = measure.HALF_ULPS if fmt.half else usual
        for fault in measure.faults(found, data.positions[data.judged], plain, fmt.half)[:FAULTS]:
            i = int(index[fault.at])
            run = {"from": _number(fault.low), "to": _number(fault.high), "points": fault.points}
            point = {"at": _shown(data.shown(i)), "got": _number(got[i]), "wanted": _number(wanted[i])}
            faults.append({**run, **point, "error": _number(found.error[fault.at])})
    return Row(
        **identity,
        points=figures.points,
        worst_error=_number(figures.worst_error),
        worst_ulp=_number(figures.worst_ulp),
        worst_at=None if at is None else _shown(data.shown(at)),
        share_correctly_rounded=figures.share,
        nonfinite_disagreements=figures.disagreements,
        verdict=verdict,
        reason=reason,
        got=None if at is None else _number(got[at]),
        wanted=None if at is None else _number(wanted[at]),
        faults=faults,
        seconds=round(time.perf_counter() - started, 4),
    )


def _within(figures: measure.Summary, budget: float, half: bool, axiswise: bool, degree: int) -> bool:
    if figures.disagreements:
        return False
    if not half:
        return figures.worst_error <= budget
    # Sums along an axis cancel, and in float32 cannot be told from ties: there the inputs are allowed for.
    worst = figures.worst_error if axiswise and degree else figures.worst_ulp
    share = figures.excused if axiswise else figures.share
    return worst <= measure.HALF_ULPS and share >= measure.HALF_SHARE


def _why(figures: measure.Summary, budget: float, half: bool) -> str:
    found = []
    if figures.disagreements:
        found.append(f"{figures.disagreements} results are infinite or NaN where the truth is not, or the reverse")
    if half and (not found or figures.worst_ulp > measure.HALF_ULPS):
        share = f"{figures.share:.2%} correctly rounded (at least {measure.HALF_SHARE:.1%})"
        found.append(f"{figures.worst_ulp:.3g} ulp at worst (at most {measure.HALF_ULPS:g}), {share}")
    elif not half and figures.worst_error > budget:
        found.append(f"E = {figures.worst_error:.3g}, budget {budget:g}")
    return "; ".join(found)


# A backend


def backend_cases(harness: Harness, asked: Request) -> list[Case]:
    """The cases of a request on one backend.

    Raises
    ------
    RequestError : the device is not there.
    """
    device = device_of(harness, asked.device)
    if device is None:
        there = ", ".join(harness.devices())
        raise RequestError(f"{harness.name} has no device {asked.device!r} here. There are: {there}.")
    activations = [get(n) for n in asked.activations]
    return catalogue.cases(
        harness,
        activations,
        dtypes=asked.dtypes,
        modes=asked.modes,
        device=device,
        native=asked.native,
        effort=asked.effort,
        brief=harness.name in asked.brief,
    )


def _tested(case: Case) -> Any:
    """What is evaluated in a case, whatever the order, mode and dtype."""
    return case.subject, case.peer


def run_cases(harness: Harness, plan: Sequence[Case]) -> Iterator[Row]:
    """Evaluate and judge cases one after the other; a slow compiler is told of several at a time."""
    told: set[tuple[Any, str]] = set()
    for i, case in enumerate(plan):
        if isinstance(harness, BatchCompiler) and case.mode == "compiled" and (_tested(case), case.dtype) not in told:
            alike = [c for c in plan[i:] if c.mode == "compiled" and c.dtype == case.dtype]
            group = list(dict.fromkeys(_tested(c) for c in alike if (_tested(c), c.dtype) not in told))[:BATCH]
            told.update((tested, case.dtype) for tested in group)
            calls = {}
            with contextlib.suppress(Exception):  # each is met again, and then becomes a row
                for c in alike:
                    if _tested(c) in group:
                        call, arrays = c.peer or c.subject.call(harness), catalogue.data(c).arrays
                        calls[call, *(a.shape for a in arrays)] = (call, arrays)
                harness.expect(list(calls.values()), dtype=case.dtype, device=case.device)
        yield run_case(harness, case)


def run_here(harness: Harness, asked: Request) -> list[Row]:
    """All cases of one backend in this process."""
    return list(run_cases(harness, backend_cases(harness, asked)))


def _failure(backend: str, asked: Request, reason: str, case: Mapping[str, Any] | None = None) -> Row:
    unknown = {"activation": "*", "setting": "", "mode": "*", "dtype": "*", "device": asked.device, "order": 0}
    facts: dict[str, Any] = unknown | dict(case or {})
    return Row(
        **facts,
        backend=backend,
        points=0,
        worst_error=None,
        worst_ulp=None,
        worst_at=None,
        share_correctly_rounded=None,
        nonfinite_disagreements=0,
        budget=0.0,
        verdict="fail",
        reason=reason,
    )


def _facts(case: Case) -> dict[str, Any]:
    setting = case.peer.title if case.peer else case.subject.setting
    return {
        "activation": case.subject.activation.name,
        "setting": setting,
        "mode": case.mode,
        "dtype": case.dtype,
        "device": case.device,
        "order": case.order,
    }


def worker(name: str, asked: Request, channel: Any, log: str) -> None:
    """The body of a backend's process.

    Sends ("plan", versions, cases), or ("refused", why); waits until it is told which of them to run; then sends
    ("row", row) for each, and ("done",).
    """
    # Whatever the frameworks print goes to the log, which is quoted if the process dies.
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Two backends run at a time, each on its share of the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")
    try:
        asked.declare()
        harness = load_harness(name, capable=asked.modes is not None)
        plan = backend_cases(harness, asked)
    except MultiactError as error:
        channel.send(("refused", str(error)))
        return
    channel.send(("plan", dict(harness.versions()), [_facts(c) for c in plan]))
    for row in run_cases(harness, [plan[i] for i in channel.recv()]):
        channel.send(("row", row))
    channel.send(("done",))


# All backends


def _truth(subject: catalogue.Subject, dtype: str) -> None:
    catalogue.prepare(subject, dtype)


def _prepare_by_name(activation: str, number: int, dtype: str, effort: catalogue.Effort) -> str | None:
    """In a pool: the truth of one subject. A definition that cannot be evaluated fails its cases later, with the reason."""
    try:
        _truth(catalogue.subjects(get(activation), effort)[number], dtype)
    except oracle.OracleError as error:
        return str(error)
    return None


def prepare(asked: Request, advance: Callable[[str, int, int], None], processes: int = 2) -> None:
    """Compute all true values that are not in the cache yet, in a pool of processes."""
    distinct: dict[Any, tuple[str, int, str, catalogue.Effort]] = {}
    for name in asked.activations if asked.modes != ("autodiff",) else ():
        with contextlib.suppress(oracle.OracleError):
            for i, subject in enumerate(catalogue.subjects(get(name), asked.effort)):
                if asked.native and not subject.default:
                    continue
                for dtype in catalogue.dtypes_of(subject, asked.dtypes):
                    distinct.setdefault((catalogue.same_truth(subject), dtype), (name, i, dtype, asked.effort))
    tasks = list(distinct.values())
    # 16-bit dtypes take longest.
    tasks.sort(key=lambda t: not FORMATS[t[2]].half)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=asked.declare) as pool:
        futures = [pool.submit(_prepare_by_name, *task) for task in tasks]
        for done, (future, task) in enumerate(zip(futures, tasks), start=1):
            future.result()
            advance(f"true values: {task[0]}", done, len(tasks))


def run(
    asked: Request,
    *,
    advance: Callable[[str, int, int], None] = lambda what, done, total: None,
    processes: int = 2,
) -> tuple[dict[str, Any], list[Row]]:
    """All backends of a request, each in a process of its own, `processes` at a time.

    Parameters
    ----------
    asked : see `request`.
    advance : told what is running, how much is done, and how much there is.

    Returns
    -------
    (environment, rows). A backend whose process dies has failing rows, with the reason, for the case that killed it and
    for the cases it did not come to.

    Raises
    ------
    RequestError : a backend does not have the device.
    """
    environment = _environment(asked)
    seconds = environment["seconds"]
    started = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        backends = [_Running(name, asked, folder) for name in asked.backends]
        try:
            # All say what they are going to do before anything takes long, so that a mistake in the request is told at once.
            for number, state in enumerate(backends):
                advance(f"starting {state.name}", number, len(backends))
                state.begin()
                environment["versions"].update(state.versions)
                rows += state.kept_rows(asked)
            total = sum(len(state.plan or ()) for state in backends)
            if not total and all(state.plan is not None for state in backends):
                return environment, []
            environment["kept"] = len(rows)
            needed = {state.plan[i]["activation"] for state in backends if state.plan for i in state.todo}
            prepare(replace(asked, activations=tuple(sorted(needed))), advance, processes)
            seconds["true values"] = round(time.perf_counter() - started, 1)
            waiting = [state for state in backends if not state.ended]
            for state in backends:
                rows += state.left_over(asked) if state.ended else []
            running: dict[Any, _Running] = {}
            while waiting or running:
                while waiting and len(running) < processes:
                    state = waiting.pop(0)
                    state.go()
                    running[state.channel] = state
                for channel in connection.wait(list(running), timeout=1.0):
                    state = running[cast(Any, channel)]
                    row = state.next_row()
                    if row is not None:
                        rows.append(row)
                        advance(f"{state.name}: {row.activation}", len(rows), max(total, len(rows)))
                    elif state.ended:
                        seconds[state.name] = round(time.perf_counter() - state.started, 1)
                        rows += state.left_over(asked)
                        del running[cast(Any, channel)]
        finally:
            for state in backends:
                state.stop()
    seconds["all"] = round(time.perf_counter() - started, 1)
    return environment, rows


class _Running:
    """A backend's process and how far it has come."""

    def __init__(self, name: str, asked: Request, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.name, self.log = name, Path(folder, f"{name}.log")
        self.log.touch()
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(name, asked, theirs, str(self.log)), daemon=True)
        self.process.start()
        theirs.close()
        self.plan: list[dict[str, Any]] | None = None
        self.todo: list[int] = []
        self.versions: dict[str, str] = {}
        self.done, self.finished, self.ended, self.started = 0, False, False, 0.0

    def _receive(self) -> tuple[Any, ...] | None:
        try:
            return cast(tuple[Any, ...], self.channel.recv())
        except (EOFError, ConnectionError):
            self.process.join()
            self.ended = True
            return None

    def begin(self) -> None:
        """Wait for the plan; raises `RequestError` when the backend cannot do what was asked."""
        message = self._receive()
        if message is None:
            return
        if message[0] == "refused":
            raise RequestError(message[1])
        _, self.versions, self.plan = message

    def kept_rows(self, asked: Request) -> list[Row]:
        """The rows of cases that an earlier run has done; the others are to do."""
        # What a file of one's own imports is not known, so that its rows are not kept.
        thin = asked.effort == "quick" or self.name in asked.brief
        self.kept = None if asked.file else Kept(self.name, self.versions, thin, asked.fresh)
        found = [None if self.kept is None else self.kept.find(facts) for facts in self.plan or ()]
        self.todo = [i for i, row in enumerate(found) if row is None]
        return [Row(**row) for row in found if row is not None]

    def go(self) -> None:
        self.started = time.perf_counter()
        with contextlib.suppress(BrokenPipeError):
            self.channel.send(self.todo)

    def next_row(self) -> Row | None:
        message = self._receive()
        if message is None:
            return None
        if message[0] == "done":
            self.finished = True
            return None
        self.done += 1
        if self.kept is not None:
            self.kept.add(message[1])
        return cast(Row, message[1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()

    def left_over(self, asked: Request) -> list[Row]:
        """Failing rows for what a process that died left undone."""
        if self.finished:
            return []
        code = self.process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        said = f": {' | '.join(lines[-3:])[-300:]}" if lines else ""
        if self.plan is None:
            return [_failure(self.name, asked, f"the process of the backend did not start ({how}){said}")]
        rest = [self.plan[i] for i in self.todo[self.done :]]
        first = f"the process died in this case ({how}){said}"
        later = f"not run: the process died before ({how})"
        return [_failure(self.name, asked, later if i else first, case) for i, case in enumerate(rest)]


@lru_cache(maxsize=1)  # asking takes a second
def _processor() -> str:
    """Maker and instruction set: libraries choose their code by these, and results are rounded otherwise on another one."""
    extensions = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return ", ".join([cpuinfo.get_cpu_info().get("vendor_id_raw", platform.machine()), *extensions])


def _environment(asked: Request) -> dict[str, Any]:
    return {
        "multiact": multiact.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": asked.device,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "native": asked.native,
        "versions": {"numpy": np.__version__},
        "seconds": {},
    }


def failed(rows: Sequence[Row]) -> bool:
    """Whether any case missed its budget."""
    return any(row.verdict == "fail" for row in rows)


def as_json(environment: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """The report as JSON values."""
    return {"environment": dict(environment), "rows": [asdict(row) for row in rows]}
