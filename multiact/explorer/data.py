"""What the explorer page knows, as JSON values: everything is read from the registry and from reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import advisor, measured, natives, registry
from ..capabilities import survived
from ..cli import describe
from ..declaration import Activation, Parameter
from ..errors import MultiactError
from ..pairing import table as pairings
from . import javascript

#: A slider ends where the parameter may not go, or so far beyond its default.
REACH = 4.0
#: Of facts on the page: what has a place of its own there is left out.
ELSEWHERE = ("formula", "reference", "notes")
DTYPES = ("float32", "float64", "float16", "bfloat16")


def everything(benchmark: Path | None = None) -> dict[str, Any]:
    """All data of the page.

    Parameters
    ----------
    benchmark : a report of ``multiact bench --json``, from which the bars are drawn.

    Raises
    ------
    MultiactError : the report cannot be read.
    """
    activations = [registry.get(name) for name in registry.names()]
    return {
        "activations": {a.name: _activation(a) for a in activations},
        "measured": {"environment": measured.environment(), "backends": _backends(activations)},
        "benchmark": None if benchmark is None else _benchmark(benchmark),
        "advisor": _advisor(),
    }


def _activation(a: Activation) -> dict[str, Any]:
    given = {p.name: _default(a, p) for p in a.parameters}
    facts = describe(a, **required(a))
    return {
        "family": a.family.replace("_", " "),
        "kind": a.kind,
        "aliases": list(a.aliases),
        "formula": mathml(a.formula),
        "facts": [[k, v] for k, v in facts.items() if k not in ELSEWHERE],
        "notes": a.notes,
        "reference": a.reference,
        "parameters": [_slider(p, given[p.name]) for p in a.parameters],
        "functions": javascript.tower(a) if a.kind == "pointwise" else [],
        "translations": _translations(a),
        "errors": _errors(a),
        "survived": _survived(a),
    }


def required(a: Activation) -> dict[str, float]:
    """A value for each parameter that has to be given."""
    return {p.name: _default(a, p) for p in a.parameters if p.default is None and not p.random}


def _default(a: Activation, p: Parameter) -> float:
    if p.default is not None:
        return float(p.default)
    return float(dict(a.examples[0]).get(p.name, 0.0)) if a.examples else 0.0


def _slider(p: Parameter, value: float) -> dict[str, Any]:
    reach = max(REACH, 2 * abs(value))
    low = max(p.allowed.low, value - reach)
    high = min(p.allowed.high, value + reach)
    step = 10.0 ** math.floor(math.log10((high - low) / 100)) if high > low else 1.0
    low += step if low not in p.allowed else 0.0
    high -= step if high not in p.allowed else 0.0
    return {"name": p.name, "value": value, "low": low, "high": high, "step": step, "about": p.description}


def mathml(formula: str) -> str:
    """Mathematics that a browser shows without help."""
    from latex2mathml.converter import convert

    return str(convert(formula)) if formula else ""


def _translations(a: Activation) -> list[list[str]]:
    """Framework, how it is written there, and what is different."""
    found = []
    for framework, entry in natives.of(a.name):
        fixed = ", ".join(f"{n}={v}" for n, v in entry.fixed.items())
        notes = [f"it computes {entry.definition}"] if entry.definition else []
        notes += [f"with {fixed}"] if fixed else []
        notes += [entry.notes] if entry.notes else []
        found.append([framework, entry.spelling, "; ".join(notes)])
    return found


def _errors(a: Activation) -> list[list[Any]]:
    """Backend, implementation ("" for ours), dtype, and the worst error of value, first and second derivative."""
    groups: dict[tuple[str, str, str], dict[int, Any]] = {}
    for row in measured.rows(a.name):
        text = "NaN" if row["nonfinite_disagreements"] else row["worst_error"]
        groups.setdefault((row["backend"], row["title"], row["dtype"]), {})[row["order"]] = text
    return [[*key, *(orders.get(o) for o in (0, 1, 2))] for key, orders in groups.items()]


def _survived(a: Activation) -> list[list[Any]]:
    """Group, and for each backend how many of its capabilities were passed, and titles and verdicts of the others."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for backend, rows in survived(a.name).items():
        for group, title, name, verdict in rows:
            found.setdefault(group, {}).setdefault(backend, []).append((f"{title} ({name})", verdict))
    return [
        [group, {b: [len(own), [v for v in own if v[1] != "pass"]] for b, own in by.items()}]
        for group, by in found.items()
    ]


def _backends(activations: Sequence[Activation]) -> list[str]:
    return list(dict.fromkeys(row["backend"] for a in activations for row in measured.rows(a.name)))


def _benchmark(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        environment, rows = report["environment"], report["rows"]
        shown = [
            [
                r["activation"],
                r["backend"],
                r["mode"],
                r["dtype"],
                r["size"],
                r["direction"],
                *(r.get(k) for k in ("seconds", "native_seconds", "copy_seconds")),
            ]
            for r in rows
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MultiactError(
            f"{path} is no report of the benchmark ({error}). Write one with: multiact bench --json FILE"
        ) from None
    about = {k: environment.get(k) for k in ("cpu", "model", "cores", "device", "date", "versions")}
    return {"environment": about, "rows": shown}


def _advisor() -> dict[str, Any]:
    """The decision tree, and what each of its ends says."""
    tree = advisor.tree_as_dict(advisor.tree())
    rules = {}
    for rule in advisor.rules():
        rules[rule.id] = {
            "recommend": rule.recommend,
            "parameters": dict(rule.parameters),
            "also": list(rule.also),
            "because": rule.because,
            "source": rule.source,
            "remedies": list(rule.remedies),
            "initialisation": _initialisation(rule.recommend, rule.parameters),
        }
    outputs = {task: _output(output) for task, output in pairings().outputs.items()}
    avoid = [
        {"when": {k: list(v) for k, v in a.when.items()}, "text": str(a), "source": a.source} for a in advisor.avoided()
    ]
    return {"tree": tree, "rules": rules, "outputs": outputs, "avoid": avoid}


def _initialisation(name: str, parameters: Mapping[str, Any]) -> str:
    from ..initialisation import initialisation

    found = initialisation(name, **parameters)
    return f"{found.scheme}, gain {found.gain:.4g}, {found.fan}: {found.reason}"


def _output(output: Any) -> str:
    losses = ", ".join(filter(None, (output.torch, output.keras, output.optax)))
    given = "in the model" if output.in_model == "yes" else "left out of the model, since the loss applies it"
    return f"{output.activation}, {given}; {output.units}. Loss: {output.loss} ({losses}). {output.reason}"
