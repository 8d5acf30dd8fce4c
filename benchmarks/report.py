"""The report: tables in the terminal, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from multiact.errors import MultiactError
from multiact.files import write

from .runner import Report, Row
from .targets import Group, Outcome, groups, outcomes

Figures = Mapping[str, Any]
STYLE = {"met": "green", "fell short": "bold red", "not measured": "dim"}
DIRECTION = {"forward": "fwd", "forward_backward": "fwd+bwd"}
SHORT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
#: More rows than these are not printed one by one.
PRINTED = 240
#: So many activations are listed behind a target that was not met.
NAMED = 4


class ReportError(MultiactError, ValueError):
    """A file is not a report of the benchmark."""


def as_json(report: Report) -> dict[str, Any]:
    """``{"environment", "rows", "networks", "first_calls", "targets"}``."""
    rows = [asdict(row) for row in report.rows]
    return {
        "environment": report.environment,
        "rows": rows,
        "networks": [asdict(row) for row in report.networks],
        "first_calls": [asdict(row) for row in report.first_calls],
        "targets": [asdict(outcome) for outcome in outcomes(rows) if outcome.verdict != "not measured"],
    }


#: What every row of a file has.
REQUIRED = (
    *("activation", "backend", "mode", "dtype", "device", "size", "direction", "seconds", "native_seconds"),
    *("copy_seconds", "speedup", "of_limit", "saved_bytes"),
)
#: Fields that are left out of a file where they are at their default, as most are.
_OPTIONAL = {"rows": {f.name: f.default for f in fields(Row) if f.name not in REQUIRED}}


def _shorter(value: Any, optional: Mapping[str, Any]) -> Any:
    """Numbers with five digits, which is more than any measurement has, and no fields that say nothing."""
    if isinstance(value, float):
        return value if not math.isfinite(value) else float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: _shorter(v, {}) for k, v in value.items() if k not in optional or v != optional[k]}
    if isinstance(value, (list, tuple)):
        return [_shorter(v, {}) for v in value]
    return value


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The content of `as_json` to a file, whole or not at all: a row in a line, without optional fields at their default."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            short = (_shorter(item, _OPTIONAL.get(key, {})) for item in value)
            lines = ",\n".join(json.dumps(item, allow_nan=False) for item in short)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    write(path, "{" + ",\n".join(parts) + "}\n")


def read(path: Path) -> dict[str, Any]:
    """The content of a report.

    Raises
    ------
    ReportError : there is no such file, or it is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {key: content[key] for key in ("environment", "rows", "networks", "first_calls")}
        found["rows"] = [{**_OPTIONAL["rows"], **row} for row in found["rows"]]
        for row in found["rows"]:
            row["backend"], row["seconds"], row["native_seconds"], row["size"]
        found["environment"]["date"], found["environment"]["versions"]
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise ReportError(f"{path} is not a report ({what}). Write one with: multiact bench --json {path}") from None


# Numbers


def microseconds(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "-"
    return number(value * 1e6)


def number(value: float | None, digits: int = 3) -> str:
    """With so many digits, without an exponent."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def sizes(size: int) -> str:
    """2^20 for a large power of two."""
    return f"2^{size.bit_length() - 1}" if size >= 1024 and size & (size - 1) == 0 else str(size)


# The terminal


def print_report(console: Console, content: Mapping[str, Any], hint: str = "") -> None:
    """Tables of all that was measured, as far as they can be read; then how far it is from the targets."""
    rows: Sequence[Figures] = content["rows"]
    if rows:
        measured = [r for r in rows if r["seconds"] is not None]
        found = groups(measured)
        if len(measured) <= PRINTED:
            for group in found:
                console.print(_activations(group, _of(measured, group)))
        else:
            console.print(f"{len(measured)} rows{hint}", style="dim", highlight=False)
        console.print(_summary(found))
    if content["networks"]:
        console.print(_networks(content["networks"]))
    if content["first_calls"]:
        console.print(_first_calls(content["first_calls"]))
    _print_reasons(console, [*rows, *content["networks"], *content["first_calls"]])
    judged = [o for o in outcomes(rows) if o.verdict != "not measured"]
    if judged:
        console.print(_targets(judged))
    about = content["environment"]
    if about.get("interrupted"):
        console.print("interrupted: this is not all", style="yellow")
    for name, why in about["skipped"].items():
        console.print(f"{name} left out: {why}", style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print(environment(about), style="dim", markup=False, highlight=False)


def environment(about: Mapping[str, Any]) -> str:
    """One line: where, with what and when it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    threads = {t for t in about["threads"].values() if t}
    count = f", {threads.pop()} threads" if len(threads) == 1 else ""
    return f"{about['model'] or about['device']}, {about['cores']} cores{count}; {versions}; {about['date'][:16]}"


def _of(rows: Iterable[Figures], group: Group) -> list[Figures]:
    return [
        r for r in rows if all(r[k] == getattr(group, k) for k in ("backend", "mode", "dtype", "direction", "size"))
    ]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, header_style="bold", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def _activations(group: Group, rows: Sequence[Figures]) -> Table:
    title = (
        f"{group.backend} {group.mode}, {group.dtype}, {sizes(group.size)} elements, {DIRECTION[group.direction]}, us"
    )
    table = _table(title, "activation", "ours", "±", "native", "naive", "copy", "speed-up", "of limit", "saved")
    for r in rows:
        speedup = r["speedup"]
        style = "" if speedup is None else "green" if speedup >= 1 else "red"
        table.add_row(
            r["activation"],
            microseconds(r["seconds"]),
            microseconds(r["spread"]),
            microseconds(r["native_seconds"]),
            microseconds(r["naive_seconds"]),
            microseconds(r["copy_seconds"]),
            Text(f"{number(speedup)}x" if speedup is not None else "-", style),
            "-" if r["of_limit"] is None else f"{r['of_limit']:.0%}",
            "-" if r["saved_bytes"] is None else str(r["saved_bytes"]),
        )
    return table


def _summary(found: Sequence[Group]) -> Table:
    """Geometric means over the activations that a framework has, and the worst of them."""
    columns = ("where", "dtype", "size", "bwd", "native", "naive", "limit", "worst")
    table = _table("times as fast as the framework's own and as the naive formula, share of the copy limit", *columns)
    for g in found:
        worst = ", ".join(f"{name} {number(v, 2)}" for name, v in g.worst[:1])
        limit = "-" if math.isnan(g.of_limit) else f"{g.of_limit:.0%}"
        speeds = [number(v) for v in (g.speedup, g.over_naive)]
        backward = "+" if g.direction == "forward_backward" else ""
        table.add_row(f"{g.backend} {g.mode}", SHORT[g.dtype], sizes(g.size), backward, *speeds, limit, worst)
    return table


def _networks(rows: Sequence[Figures]) -> Table:
    table = _table(
        "networks, forward + backward, ms",
        "network",
        "activation",
        "where",
        "dtype",
        "ours",
        "native",
        "without",
        "share",
    )
    for r in rows:
        figures = [number(r[k] and 1e3 * r[k]) for k in ("seconds", "native_seconds", "identity_seconds")]
        share = "-" if r["share"] is None else f"{r['share']:.0%}"
        where = f"{r['backend']} {r['mode']}"
        name = r["network"].replace("_", " ")
        table.add_row(name, r["activation"], where, SHORT[r["dtype"]], *figures, share)
    return table


def _first_calls(rows: Sequence[Figures]) -> Table:
    table = _table(
        "first calls in a fresh process, ms", "activation", "where", "dtype", "cache", "first", "second", "longest"
    )
    for r in rows:
        figures = [number(r[k] and 1e3 * r[k]) for k in ("first_seconds", "second_seconds", "longest_seconds")]
        table.add_row(r["activation"], f"{r['backend']} {r['mode']}", r["dtype"], r["cache"], *figures)
    return table


def _print_reasons(console: Console, rows: Sequence[Figures]) -> None:
    """Each reason once, with how many rows have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for reason in filter(None, row["reason"].split(" | ")):
            found.setdefault((row["backend"], reason), []).append(row["activation"])
    for (backend, reason), names in found.items():
        distinct = list(dict.fromkeys(names))
        shown = ", ".join(distinct[:3]) + (f" and {len(distinct) - 3} more" if len(distinct) > 3 else "")
        style = "yellow" if "another function" in reason else "dim"
        console.print(f"{backend}: {shown}: {reason}", style=style, markup=False, highlight=False, soft_wrap=True)


def described(outcome: Outcome) -> tuple[str, str]:
    """What was wanted and what was got, for people."""
    sign = {"geometric mean": "mean ≥", "at least": "each ≥", "at most": "each ≤"}[outcome.statistic]
    unit = {"us": " us"}.get(outcome.unit, outcome.unit)
    return f"{sign} {outcome.bound:g}{unit}", "-" if outcome.value is None else f"{number(outcome.value)}{unit}"


def _targets(judged: Sequence[Outcome]) -> Table:
    table = _table("targets", "about", "wanted", "got", "of", "falls short")
    table.columns[0].no_wrap = table.columns[4].no_wrap = False
    table.columns[4].justify = "left"
    for o in judged:
        short = ", ".join(f"{name} {number(v, 2)}" for name, v in o.short[:NAMED])
        more = f" and {len(o.short) - NAMED} more" if len(o.short) > NAMED else ""
        wanted, got = described(o)
        table.add_row(o.about, wanted, Text(got, STYLE[o.verdict]), str(o.count), short + more)
    return table
