"""From reports to what is shipped: multiact/measured.json, and the page docs/accuracy.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from multiact import measured
from multiact.commands import refusing, template
from multiact.declaration import DTYPES
from multiact.errors import MultiactError
from multiact.files import check_writable
from multiact.harnesses import LIBRARIES
from multiact.registry import get

from . import report
from .cases import subjects
from .report import number
from .runner import BACKENDS

#: What identifies a row of measured.json, what it says, and how many runs of inputs it lists.
KEYS = ("activation", "backend", "native", "title", "dtype", "order")
FIGURES = ("worst_error", "worst_ulp", "share_correctly_rounded", "nonfinite_disagreements", "faults")
FAULTS = 3
#: The page and the file give figures to so many digits, rounded up.
DIGITS = 3


class ReportError(MultiactError, ValueError):
    """A file is not a report of the conformance suite."""


def _up(value: float) -> float | str:
    """Rounded up to a few digits, as JSON can hold it."""
    if not math.isfinite(value) or value == 0:
        return str(value) if value else 0.0
    rounded = float(f"{value:.{DIGITS - 1}e}")
    if rounded < value:
        exponent = int(f"{value:e}".partition("e")[2])
        rounded = float(f"{rounded + 10.0 ** (exponent - DIGITS + 1):.{DIGITS - 1}e}")
    return rounded


def summarised(rows: Iterable[Mapping[str, Any]], native: bool) -> list[dict[str, Any]]:
    """The worst of all modes: one row for each activation, backend, dtype and order, with the usual parameters.

    Those of array libraries are left out, of which most runs have a sample.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    first = cache(lambda name: subjects(get(name))[0].setting)
    for row in rows:
        usual = (native or row["setting"] == first(row["activation"])) and row["backend"] not in LIBRARIES
        if usual and row["order"] in (0, 1, 2) and row["worst_error"] is not None and row["points"]:
            title = row["setting"] if native else ""
            key = (row["activation"], row["backend"], native, title, row["dtype"], row["order"])
            groups.setdefault(key, []).append(row)
    found = []
    for key, group in groups.items():
        worst = max(group, key=lambda r: (r["nonfinite_disagreements"] > 0, number(r["worst_error"])))
        found.append(
            dict(zip(KEYS, key))
            | {
                "worst_error": _up(max(number(r["worst_error"]) for r in group)),
                "worst_ulp": _up(max(number(r["worst_ulp"]) for r in group)),
                "share_correctly_rounded": int(min(r["share_correctly_rounded"] for r in group) * 1e4) / 1e4,
                "nonfinite_disagreements": max(r["nonfinite_disagreements"] for r in group),
                "faults": worst["faults"][:FAULTS] if native else [],
            }
        )
    return found


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Environment and rows of a report.

    Raises
    ------
    ReportError : there is no such file, or it is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["environment"], content["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(
            f"{path} is not a report ({error}). Write one with: multiact conformance --json {path}"
        ) from None


def beaten(rows: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where a report is worse than what is published, or has what is not published, one line each."""
    by_key = {tuple(row[k] for k in KEYS): row for row in published}
    lines = []
    for row in rows:
        key = tuple(row[k] for k in KEYS)
        what = " ".join(str(v) for v in key if v not in (False, ""))
        if key not in by_key:
            lines.append(f"{what}: not published")
            continue
        for figure in ("worst_error", "worst_ulp", "nonfinite_disagreements"):
            got, said = number(row[figure]), number(by_key[key][figure])
            if got > said:
                lines.append(f"{what}: {figure} is {got:g}, published is {said:g}")
    return lines


def _cell(rows: Sequence[Mapping[str, Any]], figure: str) -> str:
    """A figure of the value, the first and the second derivative."""
    by_order = {row["order"]: row for row in rows}
    texts = []
    for order in (0, 1, 2):
        row = by_order.get(order)
        if row is None:
            texts.append("·")
        elif figure == "share_correctly_rounded":
            texts.append(f"{100 * row[figure]:.4g}")
        else:
            text = f"{number(row[figure]):.3g}"
            texts.append(text + (" NaN" if figure == "worst_error" and row["nonfinite_disagreements"] else ""))
    return " / ".join(texts)


def page(environment: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """docs/accuracy.md."""
    groups: dict[str, dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]]] = {}
    for row in rows:
        line = groups.setdefault(row["backend"], {}).setdefault((row["activation"], row["dtype"]), {})
        line.setdefault(row["title"] if row["native"] else "", []).append(row)
    sections = []
    for backend in sorted(groups, key=lambda b: (*BACKENDS, b).index(b)):
        lines = []
        for (activation, dtype), by_title in sorted(
            groups[backend].items(), key=lambda g: (g[0][0], DTYPES.index(g[0][1]))
        ):
            for title, group in sorted(by_title.items()):
                figures = [_cell(group, f) for f in ("worst_error", "worst_ulp", "share_correctly_rounded")]
                lines.append([activation, dtype, f"`{title}`" if title else "multiact", *figures])
        sections.append((backend, lines))
    ours = [r for r in rows if not r["native"]]
    names = sorted({r["activation"] for r in ours})
    reasons = {n: get(n).budget.reason for n in names if get(n).budget.reason}
    worst = {
        (dtype, order): max(
            (
                number(r["worst_error"])
                for r in ours
                if (r["dtype"], r["order"]) == (dtype, order) and r["activation"] not in reasons
            ),
            default=0.0,
        )
        for dtype in DTYPES
        for order in (0, 1, 2)
    }
    return template(Path(__file__).with_name("accuracy.md.j2")).render(
        environment=environment,
        sections=sections,
        worst=worst,
        dtypes=DTYPES,
        activations=len(names),
        reasons=reasons,
    )


def accuracy(
    ours: Annotated[Path, typer.Argument(help="A report: multiact conformance --json FILE.")],
    native: Annotated[
        Path | None, typer.Argument(help="A report of multiact conformance --native --json FILE.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Where to write the figures.")] = Path(measured.FILE),
    markdown: Annotated[Path | None, typer.Option(help="Where to write the page.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where it is worse than published for this processor.")
    ] = False,
) -> None:
    """Publish the figures of conformance reports, or check a report against what is published."""
    console, errors = Console(), Console(stderr=True)
    with refusing(errors, "accuracy"):
        environment, rows = read(ours)
        found = summarised(rows, native=False)
        if native is not None:
            theirs, rows = read(native)
            found += summarised(rows, native=True)
            environment["versions"] |= theirs["versions"]
        if check:
            names = {row["activation"] for row in found}
            worse = beaten(found, [row for name in sorted(names) for row in measured.rows(name)])
            for line in worse:
                errors.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
            console.print(f"{len(found)} rows, {len(worse)} worse than published")
            published, here = measured.environment().get("processor"), environment.get("processor")
            if worse and published != here:
                console.print(
                    f"The published figures are those of {published}, this report was made on {here}, where libraries run "
                    "other code: the budgets hold for both, the figures for one.",
                    soft_wrap=True,
                )
            elif worse:
                raise typer.Exit(1)
            return
        kept = {k: environment[k] for k in ("date", "python", "machine", "processor", "cores", "versions", "multiact")}
        for path in filter(None, (data, markdown)):
            check_writable(path)
        lines = ",\n".join(json.dumps([row[k] for k in (*KEYS, *FIGURES)], allow_nan=False) for row in found)
        columns = json.dumps([*KEYS, *FIGURES])
        report.write(data, f'{{"environment": {json.dumps(kept)},\n"columns": {columns},\n"rows": [\n{lines}\n]}}\n')
        if markdown is not None:
            report.write(markdown, page(kept, found))
        console.print(f"{len(found)} rows written to {data}" + (f" and {markdown}" if markdown else ""), soft_wrap=True)
