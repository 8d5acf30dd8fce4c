"""What is tested: every activation with its settings, in every mode and dtype, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from multiact.capabilities import Capability, capabilities
from multiact.declaration import Activation, Axiswise
from multiact.natives import NativeHarness
from multiact.protocols import BatchCompiler, Harness
from multiact.registry import GATE_SIDES, get

from . import autodiff, oracle, points
from .measure import Truth
from .points import FORMATS, Format

Array = Any
Order = int | str
Effort = Literal["quick", "usual", "full"]

INPUTS = {"pointwise": ("x",), "gated": ("value", "gate"), "axiswise": ("x",)}
#: What multiplies the gate; five, so that no bit pattern always meets the same one. In 16 bits powers of two, since a
#: product of two short numbers is a tie so often that float32 cannot round it as an exact product would be.
VALUES = (1.0, -0.75, 3.0, -0.03125, 24.0)
POWERS = (1.0, -0.5, 4.0, -0.03125, 16.0)


#: Of which an array of random numbers is made, where a function takes one beside its input; small, so that a row keeps what
#: it was chosen for.
NOISE = (-0.5, -0.375, -0.125, 0.0, 0.25, 0.3125, 0.5)

#: Of the bit patterns of a 16-bit dtype, all are run with the usual parameters, and one in so many with others and in a
#: quick run.
THINNED = 7
#: One activation in so many is run in more dtypes than the others in a usual run, and where it takes seconds to compile a
#: function it is the one that is compiled in a quick run.
SAMPLED = 9
#: Of more parameters than so many, the first and the last are tested in every mode, the others in reverse mode.
MANY = 6
#: Modes that are run only when they are asked for: compiled kernels of eager mode, which take seconds each to build.
ON_REQUEST = ("kernels",)
#: What stands for every entry of the tables of capabilities, and the other modes beside them.
CAPABILITIES = "capabilities"
UNUSUAL_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Call:
    """An activation as a function of positional arrays; what a harness evaluates.

    Attributes
    ----------
    function : the public function of the backend.
    activation : what it computes.
    names : what each positional array is: "x", "value", "gate", "packed" (value and gate in one array), or a parameter.
    keywords : further settings, Python numbers and options.
    """

    function: Callable[..., Array]
    activation: Activation
    names: tuple[str, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    def __call__(self, *arrays: Array) -> Array:
        given = dict(zip(self.names, arrays))
        if "gate" in given:
            value, gate = given.pop("value"), given.pop("gate")
            side = dict(self.keywords).get("gate") or self.activation.option("gate").default
            inputs: tuple[Array, ...] = (value, gate) if side == "second" else (gate, value)
        else:
            inputs = (given.pop("packed" if "packed" in given else "x"),)
        return self.function(*inputs, **given, **dict(self.keywords))


@dataclass(frozen=True)
class Peer:
    """A framework's own activation in place of ours."""

    function: Callable[..., Array]
    activation: Activation
    names: tuple[str, ...]
    title: str

    def __call__(self, *arrays: Array) -> Array:
        return self.function(*arrays)


@dataclass(frozen=True)
class Subject:
    """An activation with one setting.

    Attributes
    ----------
    form : "plain" (the parameters are Python numbers), "arrays" (they are arrays, and differentiated in), "packed" (value
        and gate in one array), "variant" (chosen by an option of another activation).
    parameters : their values, in order.
    keywords : what is passed by keyword.
    thin : only some of the bit patterns of a 16-bit dtype.
    few : of float32 and float64 only points that need no search, of 16 bits only the value; those of a quick run.
    """

    activation: Activation
    form: str
    parameters: tuple[tuple[str, float], ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()
    of: Activation | None = None
    default: bool = True
    thin: bool = False
    few: bool = False

    @property
    def setting(self) -> str:
        """For people: "alpha=0.5"."""
        shown = dict(self.keywords) if self.form != "arrays" else {}
        shown |= dict(self.parameters) if self.form == "arrays" else {}
        text = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
        if self.form == "packed":
            return f"packed, {text}"
        return f"{text} (arrays)" if self.form == "arrays" else text

    @property
    def names(self) -> tuple[str, ...]:
        if self.form == "packed":
            return ("packed",)
        inputs = INPUTS[self.activation.kind]
        return (*inputs, *(n for n, _ in self.parameters)) if self.form == "arrays" else inputs

    def call(self, harness: Harness) -> Call:
        owner = self.of or self.activation
        return Call(harness.function(owner), owner, self.names, self.keywords)


@dataclass(frozen=True)
class Case:
    """One row of the report: a subject evaluated in a mode, an order, a dtype, on a device."""

    subject: Subject
    mode: str
    order: Order
    dtype: str
    device: str = "cpu"
    peer: Peer | None = None
    capability: Capability | None = None

    @property
    def wrt(self) -> tuple[int, ...]:
        """The order as positions of arguments, as `Harness.evaluate` takes it."""
        names = self.subject.names
        main = names.index("gate") if "gate" in names else 0
        if isinstance(self.order, int):
            return (main,) * self.order
        return tuple(names.index(n) for n in self.order.split("/"))


def _representable(value: float) -> float:
    """The nearest number that every dtype has."""
    largest = 65280.0  # as an infinity the parameter would be another one
    rounded = float(FORMATS["bfloat16"].round(np.clip(value, -largest, largest)))
    return float(FORMATS["float16"].round(np.asarray(rounded)))


def subjects(activation: Activation, effort: Effort = "usual") -> list[Subject]:
    """Every setting of an activation that is tested; of a quick run the usual one, on some of the points."""
    found = _settings(activation)
    if effort == "quick":
        return [replace(s, thin=True, few=True) for s in found if s.default]
    # With the parameters that are tested first, or as near as every dtype has, on all points.
    first = [v for _, v in found[0].parameters]
    usual = [all(v in (w, _representable(w)) for (_, v), w in zip(s.parameters, first)) for s in found]
    return [replace(s, thin=not u) for s, u in zip(found, usual)]


def _settings(activation: Activation) -> list[Subject]:
    defaults = {p.name: p.default for p in activation.parameters}
    required = [n for n, d in defaults.items() if d is None]
    examples = [dict(e) for e in activation.examples]
    if required:
        if not examples:
            raise oracle.OracleError(
                f"{activation.name} needs {required[0]}, which has no default. Give examples=[...]."
            )
        first = examples.pop(0)
        given = tuple((n, float(v)) for n, v in first.items())
        start = {**defaults, **first}
    else:
        given, start = (), defaults
    numbers = tuple((n, float(v)) for n, v in start.items())  # type: ignore[arg-type]
    found = [Subject(activation, "plain", numbers, given)]
    if activation.parameters:
        rounded = tuple((n, _representable(v)) for n, v in numbers)
        found.append(Subject(activation, "arrays", rounded))
        for example in examples:
            chosen = tuple((n, float(v)) for n, v in {**start, **example}.items())  # type: ignore[arg-type]
            keywords = tuple((n, float(v)) for n, v in {**dict(given), **example}.items())
            found.append(Subject(activation, "plain", chosen, keywords, default=False))
            found.append(Subject(activation, "arrays", tuple((n, _representable(v)) for n, v in chosen), default=False))
    if activation.kind == "gated":
        for side in GATE_SIDES:
            found.append(Subject(activation, "packed", numbers, (*given, ("axis", -1), ("gate", side)), default=False))
    for option in activation.options:
        for choice, name in (option.variants or {}).items():
            target = get(name)
            if not target.definition or target is activation and required:
                continue
            numbers = tuple((p.name, float(p.default)) for p in target.parameters)  # type: ignore[arg-type]
            selected = ((option.name, choice),)
            found.append(Subject(target, "variant", numbers, selected, of=activation, default=False))
    return found


def _orders(subject: Subject, effort: Effort = "usual") -> dict[str, list[Order]]:
    """Which orders are tested in which mode, with "all" for a backend that has only one mode."""
    if effort == "quick":
        quick = {
            "eager": (0,),
            "compiled": (0, 1),
            "reverse": (1, "value", *(n for n, _ in subject.parameters)),
            "second": (2,),
        }
        usual = _orders(subject)
        return {m: [o for o in usual.get(m, ()) if o in quick.get(m, usual[m])] for m in usual if m in (*quick, "all")}
    parameters: list[Order] = [n for n, _ in subject.parameters if n not in _vectors(subject)]
    gated = subject.activation.kind == "gated"
    first: list[Order] = [1, "value"] if gated else [1]
    second: list[Order] = [2, "value/gate"] if gated else [2]
    if subject.activation.value_of:
        second.append("value/value")
    if subject.form == "variant" or (subject.form == "plain" and not subject.default):
        return {"eager": [0], "all": [0]}
    if subject.form == "packed":
        return {"eager": [0], "reverse": [1], "all": [0]}
    if subject.form == "arrays":
        modes: dict[str, list[Order]]
        few = parameters if len(parameters) <= MANY else [parameters[0], parameters[-1]]
        modes = {"reverse": parameters, "forward": few, "eager": [0], "all": [0, *parameters]}
        if subject.default:
            return {**modes, "compiled": few, "xla": few}
        modes = {"eager": [0], "reverse": [*first, *parameters], "all": [0, *first, *parameters]}
        if subject.activation.kind == "axiswise":
            return modes
        return {**modes, "second": second, "all": [0, *first, *second, *parameters]}
    return {
        "eager": [0],
        "kernels": [0, *first],
        "compiled": [0, *first, *second],
        "xla": [0, *first, *second],
        "vmapped": [0, *first],
        "reverse": first,
        "forward": first,
        "second": second,
        "all": [0, *first, *second],
    }


def _vectors(subject: Subject) -> list[str]:
    """The parameters that are given as arrays of the shape of the input along the axis: random numbers."""
    along = subject.activation.kind == "axiswise" and subject.form == "arrays"
    return [p.name for p in subject.activation.parameters if along and p.random]


def _thinned(dtypes: Sequence[str]) -> list[str]:
    """The two dtypes of what is not tested in all of them; all that were asked for if these are not among them."""
    return [d for d in dtypes if d in UNUSUAL_DTYPES] or list(dtypes)


def dtypes_of(subject: Subject, dtypes: Sequence[str]) -> list[str]:
    """The dtypes in which a subject is tested: all with the usual parameters, two with others and in a quick run."""
    return list(dtypes) if not subject.thin else _thinned(dtypes)


def _fewer(dtypes: Sequence[str], *, float64: bool, bfloat16: bool) -> list[str]:
    """float32, and these two if they are wanted; if only others are among `dtypes`, all of them."""
    left_out = {"float16", *(["float64"] * (not float64)), *(["bfloat16"] * (not bfloat16))}
    return [d for d in dtypes if d not in left_out] or list(dtypes)


def cases(
    harness: Harness,
    activations: Iterable[Activation],
    *,
    dtypes: Sequence[str],
    modes: Sequence[str] | None = None,
    device: str = "cpu",
    native: bool = False,
    effort: Effort = "usual",
    brief: bool = False,
) -> list[Case]:
    """Every case of a backend, in the order in which they are run.

    Parameters
    ----------
    harness : of the backend.
    dtypes, modes : those asked for; of them the ones the harness has are run. None means all modes but those `ON_REQUEST` and
        "autodiff", which differentiates the formulas by the framework alone, in float64, and the `capabilities` of the
        backend. "capabilities" stands for these and the modes of the harness, with the usual parameters, at some points.
    native : the framework's own activations in place of ours.
    effort : "full" is every dtype in every mode. "usual" has all four in eager and reverse mode. In the others, where the same
        formulas are run once more, it has float32, bfloat16 and for second derivatives float64. One activation in `SAMPLED`
        has float64 in compiled code too; the others have float32 alone where time is short, in torch.compile, and in
        Keras, whose Layers add a cast to the function of the framework below, which has rows of its own.
        "quick" is the usual parameters alone, at some of the points: without `modes`, float32 in eager, reverse and
        compiled mode (Keras: the first two; where the compiler is a `BatchCompiler`, one activation in `SAMPLED` in the
        last), and the value in bfloat16.
    brief : of one activation in `SAMPLED` the value and the first derivative in float32, with the usual parameters.
    """
    if brief:
        effort, dtypes = "quick", [d for d in dtypes if d == "float32"] or dtypes
    found: list[Case] = []
    everything = modes is not None and CAPABILITIES in modes
    if everything:
        modes = [m for m in (*harness.modes, *capabilities(harness.name)) if m not in ON_REQUEST]
    # A framework over another has the functions of that one, which are judged there.
    own = () if isinstance(harness, NativeHarness) and not native else harness.modes
    only = "reverse" not in own
    layers = harness.name.startswith("keras-")
    hurried = effort == "quick" and modes is None
    for number, activation in enumerate(activations):
        slowly = isinstance(harness, BatchCompiler) or getattr(harness, "compiles_slowly", False)
        sampled = number % SAMPLED == 0
        if brief and not sampled:
            continue
        left_out: tuple[str, ...] = ()
        if hurried:  # NumPy judges the second derivatives
            left_out = ("compiled", "second") if layers or slowly and not sampled else ("second",)
        pairs: list[tuple[Subject, Peer | None]]
        if native:
            pairs = native_subjects(harness, activation)
        else:
            pairs = [(s, None) for s in subjects(activation, effort)]
        for subject, peer in pairs:
            plan = _orders(subject, "usual" if everything else effort)
            if layers and subject.form == "arrays" and not subject.default:
                continue  # a Layer takes numbers; arrays go to the function of the framework below
            for mode in own:
                if mode in left_out or mode not in (modes or own) or mode in ON_REQUEST and modes is None:
                    continue
                orders = plan["all"] if only else plan.get(mode, [])
                if brief:
                    orders = [o for o in orders if o in (0, 1, "value")] if subject.form == "plain" else []
                chosen = dtypes_of(subject, dtypes)
                if effort != "full" and mode not in ("eager", "reverse"):
                    costly = layers or slowly and mode == "compiled"
                    code = mode in ("compiled", "kernels", "xla") and sampled
                    wide = (code or mode == "second") and subject.form != "arrays" and not layers
                    chosen = _fewer(chosen, float64=wide, bfloat16=sampled or not costly)
                for dtype in chosen:
                    if dtype in harness.dtypes:
                        short = subject.few and FORMATS[dtype].half  # of these the value alone, once
                        tested = orders if not short else [o for o in orders if o == 0 and mode == "eager"]
                        found += [Case(subject, mode, order, dtype, device, peer) for order in tested]
            asked = [c for c in capabilities(harness.name).values() if c.name in (modes or ())]
            found += _of_capabilities(subject, peer, asked, dtypes, device)
            by_framework = modes is not None and "autodiff" in modes and not only and not layers and peer is None
            if by_framework and subject.form == "plain" and activation.kind == "pointwise":
                names = autodiff.orders(activation)
                found += [Case(subject, "autodiff", name, "float64", device) for name in names]
    return found


def _of_capabilities(
    subject: Subject, peer: Peer | None, asked: Sequence[Capability], dtypes: Sequence[str], device: str
) -> list[Case]:
    """Cases of an activation with its usual parameters, at some of the points."""
    found: list[Case] = []
    if not subject.default or subject.form not in ("plain", "arrays"):
        return found
    subject = replace(subject, thin=True, few=True)
    for capability in asked:
        if subject.activation.kind not in capability.kinds or capability.layers and peer is not None:
            continue
        for order in _orders_of(subject, capability):
            higher = isinstance(order, int) and order > 2
            for dtype in ("float64",) if higher else capability.dtypes:
                short = FORMATS[dtype].half and order != 0  # of 16 bits the truth of the value alone is prepared
                if dtype in dtypes and not short:
                    found.append(Case(subject, capability.name, order, dtype, device, peer, capability))
    return found


def _orders_of(subject: Subject, capability: Capability) -> list[Order]:
    if subject.form == "arrays":
        names = [n for n, _ in subject.parameters if n not in _vectors(subject)]
        few = names if len(names) <= MANY else [names[0], names[-1]]
        return list(few) if "parameters" in capability.orders else []
    orders = [o for o in capability.orders if isinstance(o, int)]
    return [*orders, *(["value"] if 1 in orders and subject.activation.kind == "gated" else [])]


def native_subjects(harness: Harness, activation: Activation) -> list[tuple[Subject, Peer | None]]:
    """The framework's own versions of an activation, each with the parameters for which ours means the same."""
    found: list[tuple[Subject, Peer | None]] = []
    for native in harness.natives(activation):
        values = {p.name: native.parameters.get(p.name, p.default) for p in activation.parameters}
        if None in values.values():
            continue
        numbers = tuple((n, float(v)) for n, v in values.items())  # type: ignore[arg-type]
        subject = Subject(activation, "plain", numbers)
        found.append((subject, Peer(native.call, activation, subject.names, native.name)))
    return found


# Inputs and truth


@dataclass
class Data:
    """The inputs of a case and the true results.

    Attributes
    ----------
    arrays : what is passed, in the order of the call's names, float64.
    directions : cotangents and tangents, None for ones.
    truth : of every entry of the result.
    shown : for each entry of the result the inputs it came from, for the report.
    positions : for each entry of the result the main input it came from: x, the gate, or the largest entry of the row.
    judged : where there is a truth: false at an infinity without a limit, and where not even the sign is that of the input's ulp.
    invisible : where the truth is 0, what cannot be told from it: a formula that stands in for a definition is constant as soon
        as the value does not change any more. None for definitions.
    flushed : the truth with subnormal inputs taken as zero, and where that differs; None when there are none.
    """

    arrays: list[np.ndarray]
    directions: list[np.ndarray] | None
    truth: Truth
    shown: Callable[[int], Any]
    positions: np.ndarray
    judged: np.ndarray
    flushed: tuple[np.ndarray, Truth] | None = field(default=None)
    invisible: np.ndarray | None = None


def _computed(value: float, fmt: Format) -> float:
    """A Python number in the precision in which formulas are computed."""
    return float(np.float32(value)) if fmt.name != "float64" else value


@lru_cache(maxsize=64)
def grid(activation: Activation, parameters: tuple[tuple[str, float], ...], dtype: str, few: bool) -> np.ndarray:
    """The points for x (for the gate, of a gated unit)."""
    fmt = FORMATS[dtype]
    if fmt.half:
        return points.patterns(fmt)
    inner = activation.gate_of or activation
    places = np.asarray(inner.kinks_at(dict(parameters)), dtype=np.float64)
    if few:
        return points.few(fmt, places)
    name = oracle.key("points", inner.definition, parameters, dtype, places)
    found = oracle.load(name)
    if found is None:

        def evaluate(x: np.ndarray) -> Mapping[Any, oracle.Pair]:
            inputs = {"x": x, **{n: np.full_like(x, v) for n, v in parameters}}
            return oracle.derivatives(inner.definition, inputs, [(), ("x",), ("x", "x")], tiny=fmt.tiny)

        found = points.stratified(evaluate, fmt, places)
        oracle.save(name, found)
    return found


def _elementwise_inputs(subject: Subject, fmt: Format) -> dict[str, np.ndarray]:
    """The variables of the definition; of a gated unit x is the gate."""
    exact = tuple((n, _computed(v, fmt)) for n, v in subject.parameters)
    x = grid(subject.activation, exact, fmt.name, subject.few)
    if fmt.half and subject.thin:
        x = x[::THINNED]
    inputs = {"x": x}
    if subject.activation.kind == "gated":
        values = _values(subject.activation, dict(exact), fmt)
        inputs = {"value": values[x.view(np.uint64) % values.size], "x": x}  # a gate meets the same value in every run
    return inputs | {n: np.full_like(x, v) for n, v in exact}


def _values(activation: Activation, parameters: Mapping[str, float], fmt: Format) -> np.ndarray:
    """What multiplies the gate, an odd number of values. With an activation of the value, its kinks are among them."""
    usual = np.asarray(POWERS if fmt.half else VALUES)
    if activation.value_of is None:
        return usual
    values = np.unique(
        np.concatenate([VALUES, POWERS, fmt.round(np.asarray(activation.value_of.kinks_at(parameters)))])
    )
    if fmt.half:
        factors = _outer(activation, parameters, 0, values)
        short = fmt.round(factors) == factors
        values = values[~short | (np.abs(np.frexp(factors)[0]) == 0.5)]
    return values[: values.size - 1 + values.size % 2]


def _outer(activation: Activation, parameters: Mapping[str, float], order: int, value: np.ndarray) -> np.ndarray:
    """What the gate's side of a gated unit is multiplied with in a derivative of that order in the value."""
    outer = activation.value_of
    if outer is None:
        return value if order == 0 else np.ones_like(value)
    given: dict[str, Any] = {p.name: parameters[p.name] for p in outer.parameters}
    return outer(value, **given) if order == 0 else outer.derivative(value, order=order, **given)


def _wanted(subject: Subject, fmt: Format) -> tuple[list[oracle.Wrt], list[oracle.Wrt]]:
    """Derivatives that are judged, and those that only enter the scale of E."""
    gated = subject.activation.kind == "gated"
    # Truth is shared between the plain and the arrays form of the same numbers.
    numbers = [n for n, v in subject.parameters if v == _representable(v)]
    parameters = numbers if len(numbers) == len(subject.parameters) else []
    names = [*(["value"] if gated else []), "x", *parameters]
    judged: list[oracle.Wrt] = [()]
    if not (fmt.half and subject.few):
        judged += [("x",), ("x", "x"), *((p,) for p in parameters)]
        if gated:
            judged += [("value",), ("value", "x")]
        if subject.activation.value_of:
            judged.append(("value", "value"))
    order = names.index
    scaling = []
    for wrt in judged:
        for name in names:
            more = tuple(sorted((*wrt, name), key=order))
            # In 16 bits the plain ulp decides, so that only what comes for free is taken. Nor is there time for all pairs
            # of many parameters, without which E comes out larger.
            scarce = len(parameters) > MANY and ("x" not in more or len(more) > 2)
            costly = (fmt.half or scarce) and len(set(more)) > 1
            if more not in judged and more not in scaling and len(set(more)) <= 2 and not costly:
                scaling.append(more)
    return judged, scaling


@lru_cache(maxsize=16)
def _elementwise_truth(subject: Subject, dtype: str) -> tuple[dict[str, np.ndarray], dict[oracle.Wrt, np.ndarray]]:
    fmt = FORMATS[dtype]
    inputs = _elementwise_inputs(subject, fmt)
    return inputs, _cached_truth(subject, inputs, fmt)


def _cached_truth(
    subject: Subject, inputs: Mapping[str, np.ndarray], fmt: Format, text: str | None = None
) -> dict[oracle.Wrt, np.ndarray]:
    judged, scaling = _wanted(subject, fmt)
    text = subject.activation.definition if text is None else text
    name = oracle.key("elementwise", text, fmt.tiny, judged, scaling, *inputs, *inputs.values())
    packed = oracle.load(name)
    if packed is None:
        found = oracle.derivatives(text, inputs, judged, scaling, tiny=fmt.tiny)
        packed = np.stack([np.stack(found[w]) for w in (*judged, *scaling)])
        oracle.save(name, packed)
    return dict(zip((*judged, *scaling), packed))


def _select(
    subject: Subject,
    order: Order,
    found: Mapping[oracle.Wrt, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    fmt: Format,
) -> Truth:
    """The truth of one order, its slack from the inputs that are arrays."""
    wrt = _wrt(order)
    names = list(inputs)
    numbers = [] if subject.form == "arrays" else [n for n, _ in subject.parameters]
    slack = np.zeros(found[()].shape[1])
    for name, values in inputs.items():
        more = tuple(sorted((*wrt, name), key=names.index))
        if more in found and name not in numbers:
            with np.errstate(over="ignore", invalid="ignore"):
                slack = slack + np.abs(found[more][0]) * fmt.ulp(values)
    factor = np.ones_like(slack)
    if subject.activation.kind == "gated":
        factor = _outer(subject.activation, dict(subject.parameters), wrt.count("value"), inputs["value"])
    return Truth(found[wrt][0], found[wrt][1], slack, factor)


def _arbitrary(
    subject: Subject, order: Order, inputs: Mapping[str, np.ndarray], truth: Truth, fmt: Format
) -> np.ndarray:
    """Where the truth is beyond the largest number and an ulp in the inputs moves it by more than itself: its sign, too.

    Told from the same truth times a number that brings it back into range, together with its slack.
    """
    finite = np.logical_and.reduce([np.isfinite(a) for a in inputs.values()])
    where = finite & np.isinf(truth.high) & np.isinf(truth.slack)
    if not where.any() or subject.activation.definition in oracle.formulas:
        return np.zeros_like(where)
    beyond = {n: a[where] for n, a in inputs.items()}
    arbitrary = np.zeros_like(where[where])
    for powers in (1, 2, 3, 4):
        found = _cached_truth(subject, beyond, fmt, f"({subject.activation.definition})" + powers * " * 1e-300")
        scaled = _select(subject, order, found, beyond, fmt)
        arbitrary |= (scaled.slack > 0) & np.isfinite(scaled.slack) & (scaled.slack >= np.abs(scaled.high))
    where[where] = arbitrary
    return where


def _wrt(order: Order) -> oracle.Wrt:
    if isinstance(order, int):
        return ("x",) * order
    return tuple("x" if n == "gate" else n for n in order.split("/"))


def _subnormal(arrays: Iterable[np.ndarray], fmt: Format) -> np.ndarray:
    return np.logical_or.reduce([(a != 0) & (np.abs(a) < fmt.smallest) for a in arrays])


def _elementwise(case: Case) -> Data:
    subject, fmt = case.subject, FORMATS[case.dtype]
    inputs, found = _elementwise_truth(subject, case.dtype)
    truth = _select(subject, case.order, found, inputs, fmt)
    nan = np.logical_or.reduce([np.isnan(a) for a in inputs.values()])
    judged = (nan | ~np.isnan(truth.high)) & ~_arbitrary(subject, case.order, inputs, truth, fmt)
    gated = subject.activation.kind == "gated"
    by_name = {("gate" if gated and n == "x" else n): a for n, a in inputs.items()}
    small = _subnormal(inputs.values(), fmt)
    flushed = None
    if small.any():
        columns = np.stack([np.where(np.abs(a[small]) < fmt.smallest, 0.0, a[small]) for a in inputs.values()])
        distinct, where = np.unique(columns, axis=1, return_inverse=True)
        zeroed = dict(zip(inputs, distinct))
        other = _cached_truth(subject, zeroed, fmt)
        flushed = (small, _select(subject, case.order, other, zeroed, fmt)[where.ravel()])

    def shown(i: int) -> Any:
        values = [float(a[i % len(a)]) for a in by_name.values()][: len(INPUTS[subject.activation.kind])]
        return values[0] if len(values) == 1 else values

    if subject.form == "packed":
        value, gate = by_name["value"], by_name["gate"]
        side = dict(subject.keywords)["gate"]
        arrays = [np.stack([value, gate] if side == "second" else [gate, value], axis=-1)]
        if case.order == 1:
            # The gradient has both halves, packed like the input.
            halves: list[Order] = ["value", 1] if side == "second" else [1, "value"]
            truth = Truth.stack([_select(subject, o, found, inputs, fmt) for o in halves])
            judged = np.repeat((nan | ~np.isnan(truth.high).any(axis=-1))[:, None], 2, axis=1)
            if flushed is not None:
                pair = Truth.stack([_select(subject, o, other, zeroed, fmt)[where.ravel()] for o in halves])
                flushed = (np.repeat(small[:, None], 2, axis=1), pair)
            return _flat(arrays, None, truth, lambda i: shown(i // 2), np.repeat(inputs["x"], 2), judged, flushed)
        return _flat(arrays, None, truth, shown, inputs["x"], judged, flushed)
    arrays = [by_name[n] for n in subject.names]
    data = _flat(arrays, None, truth, shown, inputs["x"], judged, flushed)
    if subject.activation.definition in oracle.formulas and case.order:
        scale = np.prod([np.maximum(1.0, np.abs(inputs[n])) for n in _wrt(case.order)], axis=0)
        data.invisible = np.where(truth.high == 0, fmt.ulp(found[()][0]) / scale, 0.0)
    return data


def _flat(
    arrays: Any, directions: Any, truth: Truth, shown: Any, positions: np.ndarray, judged: np.ndarray, flushed: Any
) -> Data:
    if flushed is not None:
        flushed = (flushed[0].ravel(), flushed[1].ravel())
    return Data(arrays, directions, truth.ravel(), shown, positions, judged.ravel(), flushed)


def _axiswise(case: Case) -> Data:
    subject, fmt = case.subject, FORMATS[case.dtype]
    forward = case.mode == "forward"
    x = points.rows(fmt, every_pattern=case.order == 0 and subject.form == "plain" and subject.default)
    random = np.random.default_rng(23)
    weights = np.asarray([-1.5, -1.0, -0.5, 0.25, 0.75, 1.0, 2.0])
    function, options = _along_axis(subject)
    out = function.output_shape((points.ROW, *(1,) * (-1 - function.axis(options))), options)[0]
    assert out is not None
    cotangent, tangent = random.choice(weights, (len(x), out)), random.choice(weights, x.shape)
    values = [(n, v if subject.form == "arrays" else _computed(v, fmt)) for n, v in subject.parameters]
    vectors = _vectors(subject)
    columns = [random.choice(NOISE, x.shape) if n in vectors else np.full((len(x), 1), v) for n, v in values]
    if subject.thin:  # after all was drawn, so that a row has the same everywhere
        x, cotangent, tangent, *columns = (a[::THINNED] for a in (x, cotangent, tangent, *columns))
    inputs = np.concatenate([x, *columns], axis=1)
    along = np.concatenate([tangent, *(np.zeros_like(c) for c in columns)], axis=1)
    names = [n for n, _ in values]
    by_parameter = case.order if isinstance(case.order, str) else ""
    if by_parameter and forward:
        along = np.zeros_like(inputs)
        along[:, points.ROW + names.index(by_parameter)] = 1.0
    kinds: dict[Order, str] = {0: "value", 2: "second"}
    kind = kinds.get(case.order, "jvp" if forward else "vjp")
    is_array = np.concatenate([np.ones(points.ROW), *(np.full(c.shape[1], subject.form == "arrays") for c in columns)])
    exact = np.where(along == 0, 0.0, fmt.ulp(along)) if by_parameter else fmt.ulp(along) * is_array
    sweep = len(x) > 1000
    ulps = None if sweep else (fmt.ulp(inputs) * is_array, fmt.ulp(cotangent), exact)
    truth = _axis_truth(subject, kind, inputs, cotangent, along, ulps, fmt)
    parts: Any = slice(0, out if kind in ("value", "jvp") else points.ROW)
    if kind == "vjp" and by_parameter:
        at = points.ROW + names.index(by_parameter)
        parts = slice(at, at + 1)
    # What a result that is flushed to zero would have been multiplied with.
    parts_of_product = {"value": [], "jvp": [inputs, along], "vjp": [inputs, cotangent]}.get(
        kind, [inputs, cotangent, along]
    )
    factor = np.ones(len(x))
    for part in parts_of_product:
        factor *= np.maximum(1.0, np.where(np.isfinite(part), np.abs(part), 0.0).sum(axis=1).clip(max=1e30))
    small = _subnormal(inputs.T, fmt)
    flushed = None
    if small.any():
        zeroed = np.where(np.abs(inputs[small]) < fmt.smallest, 0.0, inputs[small])
        chosen = None if ulps is None else tuple(u[small] for u in ulps)
        other = _axis_truth(subject, kind, zeroed, cotangent[small], along[small], chosen, fmt)[:, parts]
        width = other.shape[1]
        flushed = (np.repeat(small[:, None], width, axis=1), _columns(other, factor[small]))
    truth = truth[:, parts]
    width = truth.shape[1]
    nan = np.isnan(inputs).any(axis=1)
    # With a NaN in the row, what does not depend on it may be NaN as well, as all of a softmax is.
    judged = np.isnan(truth[..., 0]) == nan[:, None]
    if kind != "value":
        # A derivative that grows without limit towards an infinite input is not asked for there.
        judged &= ~(np.isinf(truth[..., 0]) & np.isinf(inputs).any(axis=1)[:, None])
    directions: list[np.ndarray] | None = {
        "value": None,
        "jvp": [along[:, : points.ROW] if not by_parameter else np.ones((len(x), 1))],
        "vjp": [cotangent],
        "second": [cotangent, tangent],
    }[kind]
    arrays = [x, *columns] if subject.form == "arrays" else [x]
    trailing = (1,) * (-1 - function.axis(options))  # a fixed axis need not be the last
    arrays = [a.reshape(a.shape + trailing) for a in arrays]
    directions = None if directions is None else [d.reshape(d.shape + trailing) for d in directions]
    largest = np.repeat(x.max(axis=1), width)
    return _flat(
        arrays, directions, _columns(truth, factor), lambda i: x[i // width].tolist(), largest, judged, flushed
    )


def _along_axis(subject: Subject) -> tuple[Axiswise, dict[str, int]]:
    """The function along an axis and its options, which are those by default."""
    assert isinstance(subject.activation.function, Axiswise)
    return subject.activation.function, {o.name: o.default for o in subject.activation.options if not o.variants}


def _columns(found: np.ndarray, factor: np.ndarray) -> Truth:
    high, low, slack = (np.ascontiguousarray(found[..., i]) for i in range(3))
    return Truth(high, low, slack, np.broadcast_to(factor[:, None], high.shape))


def _axis_truth(
    subject: Subject,
    kind: str,
    inputs: np.ndarray,
    cotangent: np.ndarray,
    along: np.ndarray,
    ulps: Any,
    fmt: Format,
) -> np.ndarray:
    text, names = subject.activation.definition, [n for n, _ in subject.parameters]
    options = {n: v for n, v in _along_axis(subject)[1].items() if n != "axis"}
    name = oracle.key("axis", text, kind, names, fmt.tiny, inputs, cotangent, along, *(ulps or ()), *options.items())
    found = oracle.load(name)
    if found is None:
        found = oracle.along_axis(
            text,
            names,
            kind,
            inputs,
            points.ROW,
            cotangent=cotangent,
            direction=along,
            ulps=ulps,
            tiny=fmt.tiny,
            options=options,
            vectors=_vectors(subject),
        )
        oracle.save(name, found)
    return found


def data(case: Case) -> Data:
    """The inputs of a case and their true results, from the cache or computed now."""
    return _axiswise(case) if case.subject.activation.kind == "axiswise" else _elementwise(case)


def same_truth(subject: Subject) -> Any:
    """Equal for subjects whose true values are the same."""
    form = subject.form if subject.activation.kind == "axiswise" else ""
    return subject.activation.name, subject.parameters, form


def prepare(subject: Subject, dtype: str) -> None:
    """Put the truth of all orders of a subject into the cache."""
    if subject.activation.kind != "axiswise":
        _elementwise(Case(subject, "eager", 0, dtype))
        return
    for mode, orders in _orders(subject).items():
        if mode in ("eager", "reverse", "forward", "second"):
            for order in orders:
                _axiswise(Case(subject, mode, order, dtype))
