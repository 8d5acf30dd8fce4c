"""The page docs/performance.md out of reports of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiact.commands import template

from . import figures
from .report import DIRECTION, described, environment, microseconds, number, sizes
from .targets import LEFT_OUT, geometric_mean, groups, outcomes, usual_size

Row = Mapping[str, Any]
Content = Mapping[str, Any]
#: Drawn and listed one activation at a time.
LISTED = ("float32", "forward_backward")
SMALL = 64


def _chip(content: Content) -> str:
    about = content["environment"]
    return str(about["model"] or about["device"])


def chips(contents: Sequence[Content]) -> dict[str, list[Content]]:
    """The reports by the chip they were made on."""
    found: dict[str, list[Content]] = {}
    for content in contents:
        found.setdefault(_chip(content), []).append(content)
    return found


def _rows(contents: Sequence[Content], kind: str = "rows") -> list[Row]:
    return [row for content in contents for row in content[kind]]


def _main(rows: Sequence[Row]) -> list[Row]:
    """With what a user has after `build_kernels`, where both were measured."""
    built = [r for r in rows if r["built"]]
    return built or list(rows)


def _slug(chip: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in chip.lower()).split())


def drawings(contents: Sequence[Content]) -> dict[str, Any]:
    """The figures of all chips, by the names of their files."""
    found: dict[str, Any] = {}
    for chip, group in chips(contents).items():
        rows = _main(_rows(group))
        found |= {f"{_slug(chip)}-{name}.png": figures.panel(name, rows) for name in figures.panels(rows)}
    return found


def _where(row: Any) -> str:
    return f"{row['backend']} {row['mode']}"


def _summary(rows: Sequence[Row]) -> list[list[str]]:
    lines = []
    for g in groups(rows):
        worst = ", ".join(f"{name} {number(v, 2)}" for name, v in g.worst)
        figures_ = [*map(number, (g.speedup, g.at_limit, g.over_naive)), number(g.of_limit, 2)]
        where = f"{g.backend} {g.mode}"
        lines.append([where, g.dtype, sizes(g.size), DIRECTION[g.direction], *figures_, str(g.compared), worst or "-"])
    return lines


def _activations(rows: Sequence[Row]) -> list[tuple[str, list[list[str]]]]:
    """For each backend and mode the table of its activations, at the size that was measured most, in one listing."""
    dtype, direction = LISTED
    chosen = [r for r in rows if r["dtype"] == dtype and r["seconds"] is not None]
    sections = []
    for where in dict.fromkeys(map(_where, chosen)):
        own = [r for r in chosen if _where(r) == where]
        way = direction if any(r["direction"] == direction for r in own) else "forward"
        own = [r for r in own if r["direction"] == way]
        size = usual_size(own)
        lines = [
            [
                r["activation"],
                microseconds(r["seconds"]),
                microseconds(r["spread"]),
                microseconds(r["native_seconds"]),
                microseconds(r["naive_seconds"]),
                microseconds(r["copy_seconds"]),
                number(r["speedup"]),
                number(r["of_limit"], 2),
                "-" if r["saved_bytes"] is None else f"{r['saved_bytes']:,}",
                f"`{r['native']}`" if r["native"] else "",
            ]
            for r in sorted(own, key=lambda r: r["activation"])
            if r["size"] == size
        ]
        sections.append((f"{where}, {size:,} {dtype} elements, {DIRECTION[way]}", lines))
    return sections


def _overhead(rows: Sequence[Row]) -> list[list[str]]:
    """Calls on 64 elements: medians over the activations that a framework has."""
    lines = []
    found: dict[tuple[str, str], list[Row]] = {}
    for r in rows:
        if r["size"] == SMALL and r["dtype"] == "float32" and r["speedup"] and r["activation"] not in LEFT_OUT:
            found.setdefault((_where(r), r["direction"]), []).append(r)
    for (where, direction), group in found.items():
        ours, native = (geometric_mean(r[k] for r in group) for k in ("seconds", "native_seconds"))
        worst = max(group, key=lambda r: r["seconds"] - r["native_seconds"])
        most = f"{worst['activation']} {microseconds(worst['seconds'] - worst['native_seconds'])}"
        lines.append([where, DIRECTION[direction], microseconds(ours), microseconds(native), str(len(group)), most])
    return lines


def _networks(rows: Sequence[Row]) -> list[list[str]]:
    lines = []
    for r in rows:
        if r["seconds"] is not None:
            ms = [number(r[k] and 1e3 * r[k]) for k in ("seconds", "native_seconds", "identity_seconds")]
            shares = ["-" if r[k] is None else f"{r[k]:.1%}" for k in ("share", "native_share")]
            lines.append([r["network"].replace("_", " "), r["activation"], _where(r), r["dtype"], *ms, *shares])
    return lines


def _first_calls(rows: Sequence[Row]) -> list[list[str]]:
    lines = []
    for r in rows:
        if r["first_seconds"] is not None:
            ms = [number(1e3 * r[k]) for k in ("first_seconds", "second_seconds", "longest_seconds")]
            lines.append([r["activation"], _where(r), r["dtype"], f"{r['size']:,}", r["cache"], *ms])
    return lines


def page(contents: Sequence[Content], names: Sequence[str], plots: str) -> str:
    """docs/performance.md.

    Parameters
    ----------
    contents : reports, see `report.read`.
    names : the names of their files.
    plots : where the drawings are, as seen from the page.
    """
    sections = []
    for chip, group in chips(contents).items():
        rows = _rows(group)
        main = _main(rows)
        sections.append(
            {
                "chip": chip,
                "environments": list(dict.fromkeys(environment(c["environment"]) for c in group)),
                "notes": [c["environment"]["note"] for c in group if c["environment"].get("note")],
                "targets": [(o, *described(o)) for o in outcomes(rows) if o.verdict != "not measured"],
                "summary": _summary(main),
                "activations": _activations(main),
                "overhead": _overhead(main),
                "networks": _networks(_rows(group, "networks")),
                "first_calls": _first_calls(_rows(group, "first_calls")),
                "drawings": [f"{plots}/{_slug(chip)}-{name}.png" for name in figures.panels(main)],
                "disagreeing": sorted(
                    {
                        (r["activation"], r["backend"], r["native"])
                        for r in rows
                        if r["native_seconds"] is not None and r["speedup"] is None
                    }
                ),
            }
        )
    gpu = any(c["environment"]["device"] != "cpu" for c in contents)
    return template(Path(__file__).with_name("performance.md.j2")).render(
        sections=sections, names=names, gpu=gpu, number=number
    )
