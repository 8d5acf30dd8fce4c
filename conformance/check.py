"""The command ``multiact check FILE``: everything that can be wrong with an activation of one's own, before it is trusted."""

from __future__ import annotations

import json as json_module
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from multiact import dispatch
from multiact.commands import refusing
from multiact.declaration import DTYPES, Activation, Elementwise
from multiact.files import check_writable
from multiact.progress import progress

from . import autodiff, cases, oracle, points, purity, report, runner
from .own import FileError, Own, forget, load
from .runner import Row

#: Eager and compiled, in the two dtypes that stand for all, and what the frameworks make of the formulas alone.
MODES = ("eager", "compiled", "autodiff")
FRAMEWORK_DTYPES = ("float32", "bfloat16")
#: Of Keras the first that is installed: a Layer calls the function of the framework below, which is checked by itself.
KERAS = ("keras-jax", "keras-torch", "keras-tensorflow")

PROBE = np.asarray([0.013, 0.11, 0.37, 0.9, 1.7, 2.6, 4.3])
PROBE = np.concatenate([-PROBE[::-1], PROBE])
#: A formula that is off by more, of the true number or of the largest, is another formula and not a rounded one.
WRONG, WRONG_NEAR_ZERO = 1e-6, 1e-9
#: A jump that is smaller, beside the function around it or anywhere, comes from pieces that approximate the same.
JUMP, INVISIBLE = 1e-6, 1e-12
#: An error that is smaller says little beside a larger one of the same formula.
LITTLE = 64.0
#: So much of an error message is shown.
LONG = 200
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One check of one activation.

    Attributes
    ----------
    check : what was looked at: "purity", "first derivative", "accuracy" ...
    status : "ok", "note" or "problem".
    text : what was found.
    place, got, wanted : of a problem at one input.
    fix : of a problem, what to do.
    """

    check: str
    status: str
    text: str
    place: str = ""
    got: float | str | None = None
    wanted: float | str | None = None
    fix: str = ""


@dataclass(frozen=True)
class Result:
    """All findings on one activation, and the conformance rows they come from."""

    own: Own
    findings: list[Finding]
    rows: list[Row]

    @property
    def failed(self) -> bool:
        return any(f.status == "problem" for f in self.findings)


# What things are called


def _derivative(wrt: Sequence[str]) -> str:
    if not wrt or set(wrt) == {"x"}:
        return ("value", "first derivative", "second derivative", "third derivative")[len(wrt)]
    return f"derivative in {', '.join(wrt)}"


def _wrt(order: int | str) -> tuple[str, ...]:
    return ("x",) * order if isinstance(order, int) else tuple(order.split("/"))


def _key(wrt: Sequence[str]) -> str:
    return repr(wrt[0]) if len(wrt) == 1 else repr(tuple(wrt))


def _signature(activation: Activation) -> str:
    names = ", ".join(p.name for p in activation.parameters)
    return f"lambda xp, x, /, *, {names}: ..." if names else "lambda xp, x, /: ..."


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float, str)) else math.nan


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def _function(activation: Activation) -> Elementwise | None:
    """The tower of a pointwise activation; other kinds are checked by conformance alone."""
    return activation.function if activation.kind == "pointwise" else None  # type: ignore[return-value]


def _settings(activation: Activation) -> list[dict[str, float]]:
    """The parameters that are tested."""
    return [dict(s.parameters) for s in cases.subjects(activation) if s.form == "plain"]


# 1. Purity


def check_purity(own: Own) -> list[Finding]:
    """Whether the formulas need nothing but the array API standard, in float32 and float64, and keep dtype and shape."""
    function = _function(own.activation)
    if function is None:
        return []
    if not purity.installed():
        missing = "array-api-strict is not installed, so that this is skipped: pip install 'multiact[conformance]'"
        return [Finding("purity", "note", missing)]
    x = np.concatenate([PROBE, [0.0, -0.0, 1e30, -1e30, np.inf, -np.inf, np.nan, 700.0]])
    problems: dict[str, list[str]] = {}
    formulas = list(autodiff.tower(function))
    for wrt, node in formulas:
        for dtype in ("float32", "float64"):
            inputs = x.astype(dtype).reshape(2, -1)
            for given in _settings(own.activation)[:1]:
                arrays = [np.full_like(inputs, v) for v in given.values()]
                for parameters in (list(given.values()), arrays) if given else ([],):
                    try:
                        purity.compare(node, [inputs, *parameters], dtype)
                    except purity.Impure as error:
                        problems.setdefault(f"{_derivative(wrt)}: {error}", []).append(dtype)
    if not problems:
        return [Finding("purity", "ok", f"{len(formulas)} formulas, on array-api-strict in float32 and float64")]
    return [
        Finding("purity", "problem", f"{text} ({_listed(dtypes)})", fix=_pure(text))
        for text, dtypes in problems.items()
    ]


def _pure(text: str) -> str:
    if "not in the array API standard" in text:
        return "Write it with functions of the standard (data-apis.org/array-api); multiact.numerics has more pieces."
    if "where" in text or "dtype" in text:
        return (
            "Keep the dtype of x: no astype, constants are Python numbers, and at least one of the two values of xp.where is "
            "an array (xp.zeros_like(x))."
        )
    if "shape" in text:
        return "Compute elementwise: the result has the shape of x."
    return "Use xp, arrays and Python numbers alone: no numpy, no condition as a number, no Python if on an array."


# 2. Derivatives


def check_reference(own: Own) -> list[Finding]:
    """Whether there is a true value and slope everywhere. Without it nothing else can be judged."""
    activation = own.activation
    if _function(activation) is None:
        return []
    x = np.concatenate([PROBE, [0.0, 1e-20, -1e-20, 30.0, -30.0, 1000.0, -1000.0, 1e18, -1e18]])
    for given in _settings(activation):
        bad = []
        for at in x.tolist():
            inputs = {"x": np.asarray([at]), **{n: np.asarray([v]) for n, v in given.items()}}
            try:
                oracle.derivatives(activation.definition, inputs, [(), ("x",), ("x", "x")])
            except oracle.OracleError as error:
                if "is not certain" not in str(error):  # it says itself what is wrong
                    return [Finding("reference", "problem", str(error), fix="Nothing else is checked until then.")]
                bad.append(at)
        if bad:
            source = "definition" if own.definition else "formula of the value"
            places = ", ".join(f"{at:g}" for at in bad[:SHOWN])
            more = f" and {len(bad) - SHOWN} more of {x.size}" if len(bad) > SHOWN else ""
            return [
                Finding(
                    "reference",
                    "problem",
                    f"the {source} has no value or slope at x = {places}{more}: a division by zero, or a function outside "
                    f"its domain",
                    place=f"x = {bad[0]:g}",
                    fix="Say with a condition what holds there, 'a if x > 0 else b'."
                    if own.definition
                    else "Choose another value there with xp.where, or give a definition= to be judged by.",
                )
            ]
    if own.definition:
        return [Finding("reference", "ok", f"the definition {own.definition}, in ball arithmetic")]
    text = (
        "no definition is given: derivatives are judged by differentiating the formula of the value in ball arithmetic, and "
        "the value itself for rounding only, not whether it is the function that was meant. Give definition='...'"
    )
    return [Finding("reference", "note", text)]


def _rows_at(activation: Activation, given: Mapping[str, float], x: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": x, **{n: np.full_like(x, v) for n, v in given.items()}}


def check_formulas(own: Own) -> tuple[list[Finding], set[tuple[str, ...]]]:
    """Whether each formula is the derivative it is declared to be, in float64 at ordinary points.

    Returns the findings, and which formulas are wrong or missing, so that nothing else is said of them.
    """
    activation, function = own.activation, _function(own.activation)
    if function is None:
        return [], set()
    xp = dispatch.backend("numpy").namespace
    findings: list[Finding] = []
    wrong: set[tuple[str, ...]] = set()
    known: list[tuple[tuple[str, ...], Elementwise]] = []
    unknown: list[tuple[tuple[str, ...], Elementwise]] = []
    for wrt, node in autodiff.tower(function):
        (known if len(set(wrt)) <= 2 else unknown).append((wrt, node))
    for wrt, node in known:
        for given in _settings(activation):
            inputs = _rows_at(activation, given, PROBE)
            truth = oracle.derivatives(activation.definition, inputs, [wrt])[wrt][0]
            with np.errstate(all="ignore"):
                try:
                    got = np.broadcast_to(np.asarray(node(xp, *inputs.values()), dtype=np.float64), PROBE.shape)
                except Exception as error:  # noqa: BLE001 - whatever a user's formula raises
                    text = f"the formula raises {type(error).__name__}: {error}"
                    findings.append(Finding(_derivative(wrt), "problem", text, fix="Run it on a NumPy array alone."))
                    wrong.add(wrt)
                    break
                size = np.nanmax(np.abs(truth), initial=0.0)
                off = np.abs(got - truth) > WRONG * np.abs(truth) + WRONG_NEAR_ZERO * size
                bad = (off | np.isnan(got)) & ~np.isnan(truth)
            if bad.any():
                i = int(np.flatnonzero(bad)[np.argmax(np.nan_to_num(np.abs(got - truth)[bad], nan=np.inf))])
                setting = ", ".join(f"{n} = {v:g}" for n, v in given.items())
                place = f"x = {PROBE[i]:g}" + (f", {setting}" if setting else "")
                text, fix = _what_is_wrong(wrt, got, truth, bool(own.definition), activation)
                findings.append(Finding(_derivative(wrt), "problem", text, place, float(got[i]), float(truth[i]), fix))
                wrong.add(wrt)
                break
    right = [_derivative(wrt) for wrt, _ in known if wrt not in wrong and (wrt or own.definition)]
    if right:
        findings.insert(0, Finding("formulas", "ok", f"right in float64: {'; '.join(right)}"))
    if unknown:
        text = f"not checked, since the reference has two variables at most: {'; '.join(_derivative(w) for w, _ in unknown)}"
        findings.append(Finding("formulas", "note", text))
    if function.partial("x").partial("x") is None:  # type: ignore[union-attr]
        findings.append(
            Finding(
                "second derivative",
                "note",
                "not declared: the frameworks differentiate the first one. Declare "
                f"{{('x', 'x'): {_signature(activation)}}} if that is not accurate",
            )
        )
    for p in activation.parameters:
        if function.partial(p.name) is None:
            wrong.add((p.name,))
            findings.append(
                Finding(
                    _derivative((p.name,)),
                    "problem",
                    f"not declared: whoever learns {p.name} or asks for its gradient gets MissingDerivativeError",
                    fix=f"Add {p.name!r}: {_signature(activation)} to the derivatives.",
                )
            )
    return findings, wrong


def _what_is_wrong(
    wrt: tuple[str, ...], got: np.ndarray, truth: np.ndarray, defined: bool, activation: Activation
) -> tuple[str, str]:
    reference = "the definition" if defined else "the formula of the value"
    if not wrt:
        return "the formula and the definition are different functions", "Correct whichever is not what you mean."
    usable = np.isfinite(got) & np.isfinite(truth) & (np.abs(truth) > 1e-9)
    ratio = np.median(got[usable] / truth[usable]) if usable.any() else math.nan
    fix = f"Differentiate {reference} in {', '.join(wrt)} and correct derivatives[{_key(wrt)}]."
    if usable.any() and np.allclose(got[usable], ratio * truth[usable], rtol=1e-5) and not abs(ratio - 1) < WRONG:
        if abs(ratio + 1) < WRONG:
            return f"has the wrong sign: it is minus the derivative of {reference}", fix
        if ratio:
            return f"is {ratio:.6g} times the derivative of {reference}", fix
        return f"is 0, and the derivative of {reference} is not", fix
    return f"is not the derivative of {reference}", fix


# 4. Kinks


def _jumps(activation: Activation, given: Mapping[str, float]) -> list[tuple[float, float, int, float, float]]:
    """(left, right, order, before, after): neighbouring floats between which the value or a derivative jumps."""
    text, fmt = activation.definition, points.FORMATS["float64"]
    names: dict[tuple[bool, ...], int] = {}

    def label(x: np.ndarray) -> np.ndarray:
        found = oracle.branches(text, _rows_at(activation, given, x))
        return np.asarray([names.setdefault(branch, len(names)) for branch in found], dtype=np.int64)

    declared = np.asarray(activation.kinks_at(given))
    positive = np.concatenate([np.ldexp(1.0, np.arange(-1022, 1023, 12)), np.linspace(0.05, 40, 300), [100.0, 800.0]])
    scan = np.unique(np.concatenate([-positive, [0.0], positive, declared, np.nextafter(declared, np.inf)]))
    left = points.changes(label, scan, fmt)
    left = np.unique(np.concatenate([left, declared, np.nextafter(declared, -np.inf)]))
    right = np.nextafter(left, np.inf)
    reach = 1e-3 * np.maximum(1.0, np.abs(left))
    columns = [left - reach, left, right, right + reach, np.full_like(left, 0.7)]
    wanted: list[oracle.Wrt] = [("x",) * order for order in range(3)]
    ordinary = oracle.derivatives(text, _rows_at(activation, given, PROBE), wanted)
    everywhere = np.concatenate(columns)
    truth = oracle.derivatives(text, _rows_at(activation, given, everywhere), wanted)
    found = []
    for order, wrt in enumerate(wanted):
        _, before, after, _, _ = np.split(truth[wrt][0], len(columns))
        around = np.nanmax(np.abs(np.split(truth[wrt][0], len(columns))[:4]), axis=0, initial=0.0)
        size = np.maximum(JUMP * around, INVISIBLE * np.nanmax(np.abs(ordinary[wrt][0]), initial=0.0))
        with np.errstate(invalid="ignore"):
            jumps = np.abs(after - before) > size
        found += [
            (float(left[i]), float(right[i]), order, float(before[i]), float(after[i])) for i in np.flatnonzero(jumps)
        ]
    return sorted(found)


def check_kinks(own: Own) -> list[Finding]:
    """Whether the declared kinks are those of the reference."""
    activation = own.activation
    if _function(activation) is None:
        return []
    problems: dict[str, Finding] = {}
    seen: set[int] = set()
    for given in _settings(activation):
        try:
            declared = np.asarray(activation.kinks_at(given))
        except Exception as error:  # noqa: BLE001 - an expression of the user's
            text = f"kinks={activation.kinks!r} cannot be read: {error}"
            fix = "Give expressions in the parameters, such as kinks=('0', '-alpha')."
            return [Finding("kinks", "problem", text, fix=fix)]
        for left, right, order, before, after in _jumps(activation, given):
            at = [i for i, k in enumerate(declared) if left <= k <= right]
            seen.update(at)
            if at:
                continue
            middle = 0.0 if left <= 0 <= right else left
            name = f"{middle:.9g}"
            problems.setdefault(
                f"{name}",
                Finding(
                    "kinks",
                    "problem",
                    f"the {_derivative(('x',) * order)} jumps at x = {name}, and no kink is declared there"
                    + ("; the function is not continuous" if order == 0 else ""),
                    f"from x = {left:.17g} to {right:.17g}",
                    after,
                    before,
                    f"Declare kinks=({name!r},), or join the pieces if no jump is meant.",
                ),
            )
    for i, kink in enumerate(activation.kinks):
        if i not in seen:
            text = f"{kink!r} is declared, and neither the value nor its first two derivatives jump there"
            problems[kink] = Finding("kinks", "problem", text, fix="Remove it from kinks, or correct the expression.")
    if problems:
        return list(problems.values())
    text = (
        f"the declared ones and no others: {', '.join(activation.kinks)}" if activation.kinks else "none, as declared"
    )
    return [Finding("kinks", "ok", text)]


# 3. and 4. Accuracy and special inputs, from the rows of NumPy


def _main(fault: Mapping[str, Any]) -> float:
    """The input at which a formula is wrong; of several the gate."""
    return _number(fault["at"][-1] if isinstance(fault["at"], list) else fault["at"])


def _special(fault: Mapping[str, Any]) -> str:
    """What is special about an input; empty if nothing is."""
    at = _main(fault)
    if not math.isfinite(at):
        return "NaN" if math.isnan(at) else f"x = {at:g}"
    return "x = 0" if at == 0 else ""


def _place(fault: Mapping[str, Any]) -> str:
    at = fault["at"]
    if isinstance(at, list):
        return f"inputs {', '.join(f'{_number(v):.9g}' for v in at)}"
    special = _special(fault)
    if special:
        return special
    size = abs(_number(at))
    kind = " (subnormal)" if size < points.FORMATS["float32"].smallest else ""
    if fault["points"] > 1:
        low, high = _number(fault["from"]), _number(fault["to"])
        return f"x = {_number(at):.9g}{kind}, worst of {fault['points']} points in [{low:.6g}, {high:.6g}]"
    return f"x = {_number(at):.9g}{kind}"


def _advice(fault: Mapping[str, Any], wrt: tuple[str, ...], activation: Activation) -> str:
    """Which rule of numerics was broken, as far as input and result tell."""
    at, got, wanted = _main(fault), _number(fault["got"]), _number(fault["wanted"])
    function = _function(activation)
    if wrt == ("x", "x") and function is not None and function.partial("x").partial("x") is None:  # type: ignore[union-attr]
        return f"Declare the second derivative, {{('x', 'x'): {_signature(activation)}}}: differentiating the first is not enough."
    if math.isnan(at):
        return "NaN must stay NaN: end with xp.where(xp.isnan(x), x, ...), or let every branch depend on x."
    if math.isinf(at):
        if math.isnan(got):
            return (
                "inf * 0, inf - inf and inf / inf are NaN: limit x before, u = xp.where(x < -1000, -1000.0, x), or choose the "
                "limit with xp.where."
            )
        return "Choose the limit there with xp.where, or correct the branch that is taken."
    if not math.isfinite(got):
        if abs(at) >= 5:
            return (
                "An intermediate result overflows (exp(x) from 88.7 in float32, x * x from 1.8e19): take exp of negative numbers "
                "only, dividing numerator and denominator by the larger power, or limit x first."
            )
        return "A division by zero or a function outside its domain: choose the value there with xp.where, all branches finite."
    if math.isinf(wanted):
        return "The result is larger than any number of the dtype: do not limit x so early."
    if abs(at) < points.FORMATS["float32"].smallest:
        return "Small numbers get lost: multiply the smallest factor last, and let x itself be a factor near 0."
    if abs(at) < 0.5 and abs(wanted) <= 8 * abs(at):
        return (
            "Nearly equal numbers are subtracted near 0: use xp.expm1(x) for exp(x) - 1, xp.log1p(x) for log(1 + x), or a short "
            "series."
        )
    if abs(at) > 2 and abs(wanted) < 1e-30:
        return "An intermediate result underflows in the tail: multiply the smallest factor last (multiact.numerics.Decay)."
    if abs(at) > 2 and abs(wanted) < 0.05:
        return (
            "Nearly equal numbers are subtracted in the tail, as in 1 - tanh(x) or y * (1 - y): write it with exp(-abs(x)) as a "
            "factor."
        )
    return "Rounding errors are amplified: look for a difference of nearly equal numbers, and write it as a product or a quotient."


def _judged(row: Row, wrong: set[tuple[str, ...]]) -> bool:
    """Whether a failing row says something new."""
    return row.verdict == "fail" and _wrt(row.order) not in wrong


def _faults(row: Row) -> list[dict[str, Any]]:
    """Where a row fails; of too many results that are hardly wrong the worst."""
    if row.faults or row.worst_at is None:
        return row.faults
    at = row.worst_at
    return [
        {"from": at, "to": at, "points": 1, "at": at, "got": row.got, "wanted": row.wanted, "error": row.worst_error}
    ]


def check_accuracy(own: Own, rows: Sequence[Row], wrong: set[tuple[str, ...]]) -> list[Finding]:
    """E and ulps on NumPy in every dtype, and the special inputs, each problem once for all dtypes it has."""
    activation = own.activation
    groups: dict[Any, list[tuple[Row, dict[str, Any]]]] = {}
    plain = []
    for row in rows:
        if not _judged(row, wrong):
            continue
        faults = _faults(row)
        if not faults:
            plain.append(row)
        for fault in faults:
            nonfinite = fault["error"] == "inf"
            special = _special(fault) if nonfinite else ""
            key = (row.order, nonfinite, special, special or _advice(fault, _wrt(row.order), activation))
            groups.setdefault(key, []).append((row, fault))
    findings = []
    for dtype in DTYPES:
        own_rows = [r for r in rows if r.dtype == dtype and r.worst_error is not None]
        if own_rows and not any(_judged(r, wrong) for r in own_rows):
            figures: dict[str, tuple[float, float]] = {}
            for r in own_rows:
                if _wrt(r.order) not in wrong:
                    name = _derivative(_wrt(r.order))
                    before = figures.get(name, (0.0, 0.0))
                    figures[name] = (max(before[0], _number(r.worst_error)), max(before[1], _number(r.worst_ulp)))
            text = ", ".join(f"{name} {e:.2g} ({ulp:.2g} ulp)" for name, (e, ulp) in figures.items())
            findings.append(Finding(f"accuracy {dtype}", "ok", f"worst E: {text}" if text else "nothing left to judge"))
    seen = False
    worst: dict[int | str, float] = {}
    for (order, nonfinite, _, _), members in groups.items():
        if not nonfinite:
            worst[order] = max(worst.get(order, 0.0), *(_number(f["error"]) for _, f in members))
    for (order, nonfinite, where, advice), members in groups.items():
        # What is hardly outside the budget has the same cause as what is far outside.
        if not nonfinite and max(_number(f["error"]) for _, f in members) < min(LITTLE, worst[order]):
            continue
        row, fault = max(members, key=lambda m: (m[0].dtype == "float32", _number(m[1]["error"])))
        dtypes = _listed(r.dtype for r, _ in members)
        name = _derivative(_wrt(order))
        setting = f" with {row.setting}" if row.setting else ""
        seen = seen or bool(where)
        if nonfinite:
            check = "special inputs" if where else "finite inputs"
            text = f"{name}{setting}: {_shown(fault['got'])} where {_shown(fault['wanted'])} is right ({dtypes})"
            advice = _advice(fault, _wrt(order), activation) if where else advice
        else:
            check = f"accuracy {row.dtype}"
            error = max(_number(f["error"]) for _, f in members)
            budget = f"budget {row.budget:g}" if row.dtype in ("float32", "float64") else "budget 1 ulp, 99.9 % rounded"
            text = f"{name}{setting}: error E up to {error:.3g}, {budget} ({dtypes})"
        findings.append(Finding(check, "problem", text, _place(fault), fault["got"], fault["wanted"], advice))
    findings += _not_run("accuracy", plain)
    if () not in wrong and not seen and any(r.worst_error is not None for r in rows):
        every = " every 16-bit number," if any(points.FORMATS[r.dtype].half for r in rows) else ""
        text = f"NaN gives NaN and infinities the limit; zeros, subnormal numbers,{every} and the largest are among the points"
        findings.append(Finding("special inputs", "ok", text))
    return findings


def _not_run(check: str, rows: Sequence[Row]) -> list[Finding]:
    """One finding for each reason why formulas gave nothing that could be judged."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.reason.partition(" ")[0], []).append(row)
    findings = []
    for members in groups.values():
        names = _listed(_derivative(_wrt(r.order)) for r in members)
        how = "; ".join(filter(None, (_listed(getattr(r, a) for r in members) for a in ("mode", "dtype"))))
        reason = members[0].reason
        reason = reason if len(reason) < LONG else f"{reason[:LONG]} ..."
        fix = "See purity: a formula uses xp, arrays and Python numbers alone, and keeps the dtype."
        findings.append(Finding(check, "problem", f"{names} ({how}): {reason}", fix=fix))
    return findings


def _shown(value: Any) -> str:
    return f"{_number(value):.6g}" if value is not None else "-"


# 5. Frameworks


def check_autodiff(own: Own, rows: Sequence[Row], wrong: set[tuple[str, ...]]) -> list[Finding]:
    """What the frameworks make of the formulas by themselves."""
    ours = [r for r in rows if r.mode == "autodiff"]
    if not ours:
        return []
    groups: dict[Any, list[Row]] = {}
    failed = [r for r in ours if r.verdict == "fail" and _wrt(r.order)[:-1] not in wrong]
    for row in failed:
        if row.faults:
            groups.setdefault((row.order, _shown(row.worst_at)), []).append(row)
    findings = _not_run("autodiff", [r for r in failed if not r.faults])
    for (order, _), members in groups.items():
        *below, last = _wrt(order)
        row = members[0]
        what = (
            f"the formula of the {_derivative(below)} differentiated in {last} by {_listed(r.backend for r in members)}"
        )
        nan = math.isnan(_number(row.got))
        setting = f", {row.setting}" if row.setting else ""
        fix = (
            "Something is infinite or NaN there, an overflow or the branch of xp.where that is not taken: choose its argument "
            "first, xp.sqrt(xp.where(x > 0, x, 1.0))."
            if nan or math.isinf(_number(row.got))
            else "Let xp.where take the piece that the reference takes, without abs, maximum or minimum at a joint."
        )
        wanted = None if math.isnan(_number(row.wanted)) else row.wanted
        text = f"{what} is {'NaN' if nan else 'wrong'}"
        findings.append(
            Finding("autodiff", "problem", text, f"x = {_shown(row.worst_at)}{setting}", row.got, wanted, fix)
        )
    if findings:
        return findings
    backends = _listed(r.backend for r in ours)
    text = f"{len({r.order for r in ours})} derivatives of formulas by {backends} alone, all finite and right"
    return [Finding("autodiff", "ok", text)]


def check_backends(
    own: Own, backends: Sequence[str], rows: Sequence[Row], wrong: set[tuple[str, ...]]
) -> list[Finding]:
    """The conformance suite on the frameworks, without what NumPy has shown already; each problem once for all it is in."""
    known = {(r.order, r.setting) for r in rows if r.backend == "numpy" and r.verdict == "fail"}
    groups: dict[Any, list[Row]] = {}
    findings = []
    for backend in backends:
        modes = [r for r in rows if r.mode != "autodiff" and r.backend == backend]
        new = [r for r in modes if _judged(r, wrong) and (r.order, r.setting) not in known]
        for row in new:
            for fault in _faults(row)[:1]:
                advice = _advice(fault, _wrt(row.order), own.activation)
                groups.setdefault((row.order, fault["error"] == "inf", advice), []).append(row)
        findings += _not_run(backend, [r for r in new if not _faults(r)])
        same = sum(r.verdict == "fail" for r in modes) - len(new)
        if same:
            findings.append(Finding(backend, "note", f"{same} cases fail in what is listed above"))
        elif not new:
            worst = max((_number(r.worst_error) for r in modes if r.worst_error is not None), default=0.0)
            how = f"{_listed(r.mode for r in modes)}; {_listed(r.dtype for r in modes)}"
            text = f"{sum(r.verdict == 'pass' for r in modes)} cases, worst E {worst:.2g} ({how})"
            findings.append(Finding(backend, "ok", text))
    for (order, _, advice), members in groups.items():
        row = max(members, key=lambda r: (r.dtype == "float32", _number(r.worst_error)))
        which = "; ".join(_listed(getattr(r, a) for r in members) for a in ("backend", "mode", "dtype"))
        setting = f" with {row.setting}" if row.setting else ""
        text = f"{_derivative(_wrt(order))}{setting} ({which}): {row.reason}"
        fault = _faults(row)[0]
        findings.append(Finding("frameworks", "problem", text, _place(fault), fault["got"], fault["wanted"], advice))
    return findings


# All of them


def default_backends() -> list[str]:
    """NumPy, and the frameworks that are installed, Keras on one of them."""
    chosen = [name for name in ("torch", "jax", "tensorflow") if dispatch.installed(name)]
    keras = [name for name in KERAS if dispatch.installed("keras") and dispatch.installed(name.removeprefix("keras-"))]
    return ["numpy", *chosen, *keras[:1]]


def _readable(found: Own, path: str) -> None:
    """Raise `FileError` when the definition of an activation cannot be read, or its parameters not be chosen."""
    try:
        inputs = ("value", "x") if found.activation.kind == "gated" else ("x",)
        oracle.definition(found.activation.definition, (*inputs, *(p.name for p in found.activation.parameters)))
        cases.subjects(found.activation)
    except oracle.OracleError as error:
        raise FileError(f"{path}:{found.line}: {found.activation.name}: {error}") from None


def check_file(
    path: str,
    backends: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    *,
    advance: Callable[[str, int, int], None] = lambda what, done, total: None,
    processes: int = 2,
) -> tuple[dict[str, Any], list[Result]]:
    """Check every activation that a Python file declares.

    Parameters
    ----------
    path : a file that calls `multiact.define`.
    backends : to be run beside NumPy; by default torch, jax, tensorflow and one of Keras, as far as installed.
    dtypes : by default all on NumPy, and float32 and bfloat16 on the others.
    advance : told what is running, how much is done, and how much there is.

    Returns
    -------
    (environment, results).

    Raises
    ------
    FileError : the file cannot be run, declares no activation, or one whose definition cannot be read.
    BackendNotAvailableError : a backend does not exist, or its framework is not installed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = (path, folder)
        chosen = runner.request(backends or default_backends(), (), dtypes).backends
        found = load(*file)
        stack.callback(forget, found)
        for own in found:
            _readable(own, path)
        advance("formulas", 0, 1)
        early: dict[str, list[Finding]] = {}
        wrong: dict[str, set[tuple[str, ...]]] = {}
        usable = []
        for own in found:
            name = own.activation.name
            early[name] = [*check_purity(own), *(reference := check_reference(own))]
            if any(f.status == "problem" for f in reference):
                continue
            formulas, wrong[name] = check_formulas(own)
            early[name] += [*formulas, *check_kinks(own)]
            usable.append(name)
        environment: dict[str, Any] = {"seconds": {"formulas": round(time.perf_counter() - started, 1)}}
        rows: list[Row] = []
        others = tuple(b for b in chosen if b != "numpy")
        for those, usual, modes in ((("numpy",), DTYPES, ()), (others, FRAMEWORK_DTYPES, MODES)):
            if usable and those:
                asked = runner.request(those, usable, dtypes or usual, modes, file=file)
                facts, more = runner.run(asked, advance=advance, processes=processes)
                rows += more
                versions = {**environment.get("versions", {}), **facts["versions"]}
                seconds = environment["seconds"]
                for what, took in facts["seconds"].items():
                    seconds[what] = round(seconds.get(what, 0.0) + took, 1)
                seconds.pop("all")
                environment = {**facts, "versions": versions, "seconds": seconds, "file": path}
        results = []
        for own in found:
            name = own.activation.name
            ours = [r for r in rows if r.activation in (name, "*")]
            findings = early[name]
            if name in usable:
                numpy = [r for r in ours if r.backend == "numpy"]
                findings += check_accuracy(own, numpy, wrong[name])
                findings += check_autodiff(own, ours, wrong[name])
                findings += check_backends(own, others, ours, wrong[name])
            results.append(Result(own, findings, ours))
    environment["seconds"]["all"] = round(time.perf_counter() - started, 1)
    return environment, results


STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


def print_results(console: Console, path: str, environment: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Every check of every activation, problems with the place and what to do."""
    for result in results:
        own = result.own
        console.print(f"\n{own.activation.name}  ({path}:{own.line})", style="bold")
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for f in result.findings:
            lines = [f.text]
            if f.place or f.got is not None:
                figures = (
                    f"got {_shown(f.got)}, wanted {_shown(f.wanted)}"
                    if f.got is not None and f.check != "kinks"
                    else ""
                )
                figures = (
                    f"{_shown(f.wanted)} before, {_shown(f.got)} after" if f.check == "kinks" and f.place else figures
                )
                lines.append(": ".join(filter(None, [f.place, figures])))
            if f.fix:
                lines.append(f"-> {f.fix}")
            table.add_row(f.status, f.check, "\n".join(lines), style=None if f.status == "ok" else STYLE[f.status])
        console.print(table)
        count = sum(f.status == "problem" for f in result.findings)
        verdict = f"{count} problem{'s' if count > 1 else ''}" if count else "no problems"
        console.print(f"{own.activation.name}: {verdict}", style=STYLE["problem" if count else "ok"])
    console.print("\nseconds: " + ", ".join(f"{k} {v:g}" for k, v in environment["seconds"].items()), style="dim")


def as_json(environment: Mapping[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """The report as JSON values; infinities and NaN are strings."""

    def number(value: Any) -> Any:
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return {
        "environment": dict(environment),
        "activations": [
            {
                "name": r.own.activation.name,
                "line": r.own.line,
                "definition": r.own.definition,
                "judged_by": "definition" if r.own.definition else "formula",
                "verdict": "fail" if r.failed else "pass",
                "checks": [{k: number(v) for k, v in asdict(f).items()} for f in r.findings],
                "rows": [asdict(row) for row in r.rows],
            }
            for r in results
        ],
    }


def check(
    file: Annotated[Path, typer.Argument(help="A Python file that calls multiact.define.", show_default=False)],
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A backend beside NumPy; may be repeated. Default: torch, jax, tensorflow and one of Keras."),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated. Default: all on NumPy, float32 and bfloat16 on the others."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the findings and all rows to this file.")] = None,
) -> None:
    """Can an activation of your own be trusted? Its formulas, derivatives, accuracy and every framework's gradients.

    Ends with exit code 1 when there is a problem, 2 when the file cannot be used.
    """
    console, errors = Console(markup=False, highlight=False), Console(stderr=True)
    with refusing(errors, "check"):
        if json is not None:
            check_writable(json)
        with progress(errors) as advance:
            processes = max(1, min(2, os.cpu_count() or 1))
            environment, results = check_file(
                str(file), backend or (), dtype or (), advance=advance, processes=processes
            )
    if json is not None:
        report.write(json, json_module.dumps(as_json(environment, results), indent=1, allow_nan=False))
    print_results(console, str(file), environment, results)
    if any(r.failed for r in results):
        raise typer.Exit(1)
