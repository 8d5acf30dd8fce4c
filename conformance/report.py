"""The report: a table in the terminal, JSON, and a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from multiact.commands import template
from multiact.files import write

from .runner import Row, as_json

#: Worst first.
VERDICTS = ("fail", "known", "skip", "pass")
STYLE = {"fail": "bold red", "known": "yellow", "skip": "dim", "pass": "green"}


@dataclass(frozen=True)
class Cell:
    """All rows of one activation on one backend."""

    activation: str
    backend: str
    verdict: str
    worst: float
    counts: Mapping[str, int]

    @property
    def figure(self) -> str:
        judged = any(self.counts.get(verdict) for verdict in ("pass", "fail", "known"))
        return f"{self.worst:.2g}" if judged else "-"

    @property
    def failures(self) -> str:
        return f"{self.counts['fail']} fail" if self.counts.get("fail") else ""

    @property
    def text(self) -> str:
        return f"{self.figure} ({self.failures})" if self.failures else self.figure


def number(figure: float | str | None) -> float:
    """A figure of a row, in which infinities are text, and which is missing where nothing was judged."""
    return 0.0 if figure is None else float(figure)


def matrix(rows: Iterable[Row]) -> tuple[list[str], list[str], dict[tuple[str, str], Cell]]:
    """Activations, backends, and a cell for each pair that was run."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.activation, row.backend), []).append(row)
    cells = {}
    for (activation, backend), group in groups.items():
        counts = {v: sum(r.verdict == v for r in group) for v in VERDICTS}
        verdict = next(v for v in VERDICTS if counts[v])
        if verdict == "skip" and counts["pass"]:
            verdict = "pass"
        worst = max(number(r.worst_error) for r in group)
        cells[activation, backend] = Cell(activation, backend, verdict, worst, counts)
    return sorted({a for a, _ in cells}), list(dict.fromkeys(b for _, b in cells)), cells


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


ORDERS: dict[int | str, str] = {0: "value", 1: "first derivative", 2: "second derivative"}


def describe(group: Sequence[Row]) -> list[str]:
    """Lines for cases that are not as they should be: one activation on one backend, of one order, in modes and dtypes.

    What is wrong is shown for one of them, float32 before other dtypes.
    """
    row = min(group, key=lambda r: (r.dtype != "float32", -min(r.nonfinite_disagreements, 1), -number(r.worst_error)))
    case = " ".join(filter(None, [row.activation, row.setting]))
    modes, dtypes = (", ".join(dict.fromkeys(getattr(r, a) for r in group)) for a in ("mode", "dtype"))
    order = ORDERS.get(row.order, f"derivative in {row.order}")
    lines = [f"{case} | {row.backend} | {order} | {modes} | {dtypes}", f"    {row.mode} {row.dtype}: {row.reason}"]
    for fault in row.faults:
        start, end = _text(fault["from"]), _text(fault["to"])
        where = start if start == end else f"{start} to {end}, {fault['points']} points, worst"
        if isinstance(fault["at"], list) or start != end:
            where += f" at {_text(fault['at'])}"
        error = fault["error"]
        size = "" if isinstance(error, str) else f" (E = {error:.3g})"
        lines.append(f"      {where}: got {_text(fault['got'])}, wanted {_text(fault['wanted'])}{size}")
    return lines


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """Cases of one activation, setting, backend and order together, those that are wrongly infinite or NaN first."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault((row.activation, row.setting, row.backend, row.order), []).append(row)

    def severity(group: list[Row]) -> tuple[int, float]:
        return -max(min(r.nonfinite_disagreements, 1) for r in group), -max(number(r.worst_error) for r in group)

    return sorted(groups.values(), key=severity)


def print_report(
    console: Console, environment: Mapping[str, Any], rows: Sequence[Row], *, most: int = 40, hint: str = ""
) -> None:
    """The table of activations by backends with the worst E of each, and what fails below it."""
    activations, backends, cells = matrix(rows)
    title = "worst error E, the frameworks' own" if environment.get("native") else "worst error E"
    table = Table(title=title, header_style="bold", box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("activation", no_wrap=True)
    for backend in backends:
        table.add_column(backend.replace("-", "-\n"), justify="right")  # so narrow that all fit into 80 columns
    for activation in activations:
        line: list[str | Text] = [activation]
        for backend in backends:
            cell = cells.get((activation, backend))
            line.append(Text(f"{cell.figure}\n{cell.failures}".rstrip(), STYLE[cell.verdict]) if cell else Text())
        table.add_row(*line)
    console.print(table)
    for verdict, name in (("fail", "failing"), ("known", "known")):
        found = [r for r in rows if r.verdict == verdict]
        groups = grouped(found)
        if found:
            console.print(f"\n{len(found)} {name} cases", style=STYLE[verdict])
        for group in groups[:most]:
            for text in describe(group):
                console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
        if len(groups) > most:
            console.print(f"  and {sum(map(len, groups[most:]))} more cases{hint}")
    skipped: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.verdict == "skip":
            skipped[row.backend, row.reason] = skipped.get((row.backend, row.reason), 0) + 1
    for (backend, reason), count in skipped.items():
        console.print(f"  skipped on {backend}: {count} cases: {reason}", style="dim", markup=False, soft_wrap=True)
    counts = {v: sum(r.verdict == v for r in rows) for v in VERDICTS}
    console.print(f"\n{len(rows)} cases: " + ", ".join(f"{counts[v]} {v}" for v in reversed(VERDICTS)))
    if kept := environment.get("kept"):
        console.print(f"{kept} of them as an earlier run found them; --fresh runs everything again", style="dim")
    if seconds := environment.get("seconds"):
        console.print("seconds: " + ", ".join(f"{k} {v:g}" for k, v in seconds.items()), style="dim")


def page(environment: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """A page that needs nothing beside itself."""
    activations, backends, cells = matrix(rows)
    shown = [
        [
            activations.index(r.activation),
            backends.index(r.backend),
            r.setting,
            r.mode,
            r.dtype,
            r.order,
            r.points,
            r.worst_error,
            r.worst_ulp,
            r.worst_at,
            r.got,
            r.wanted,
            r.share_correctly_rounded,
            r.nonfinite_disagreements,
            r.budget,
            r.verdict,
            r.reason,
            [[f["from"], f["to"], f["points"], f["at"], f["got"], f["wanted"], f["error"]] for f in r.faults],
        ]
        for r in rows
    ]
    return template(Path(__file__).with_name("report.html.j2")).render(
        environment=environment,
        activations=activations,
        backends=backends,
        cells=cells,
        counts={v: sum(r.verdict == v for r in rows) for v in VERDICTS},
        total=len(rows),
        # "</" would end the script element that holds the data.
        data=json.dumps(shown, separators=(",", ":"), allow_nan=False).replace("</", "<\\/"),
        names=json.dumps({"activations": activations, "backends": backends}).replace("</", "<\\/"),
    )


def write_json(path: Path, environment: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """The report as JSON: ``{"environment": {...}, "rows": [...]}``; infinities are the strings "inf" and "-inf"."""
    write(path, json.dumps(as_json(environment, rows), indent=1, allow_nan=False))


def write_page(path: Path, environment: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """The report as a page."""
    write(path, page(environment, rows))
