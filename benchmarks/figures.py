"""Drawings of a report: cost relative to ReLU, speed-up over native, share of the copy limit, scaling with size."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiact.errors import MultiactError
from multiact.plot import COLOURS, require, save

from .targets import LEFT_OUT, usual_size

Row = Mapping[str, Any]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: More activations than these are no longer readable on one axis.
LARGEST = 50
#: Whose time is drawn over the size, as far as they were measured.
SCALED = ("relu", "gelu", "silu", "mish", "softplus", "tanh")
DIRECTION = {"forward": "forward", "forward_backward": "forward + backward"}


class Selection:
    """The rows that one set of drawings is about: one dtype and direction; every panel but the last at one size."""

    def __init__(self, rows: Iterable[Row], dtype: str, direction: str) -> None:
        self.dtype, self.direction = dtype, direction
        self.all = [r for r in rows if r["seconds"] is not None and r["dtype"] == dtype and r["direction"] == direction]
        self.size = usual_size(self.all)
        self.rows = [r for r in self.all if r["size"] == self.size]
        self.series = list(dict.fromkeys((r["backend"], r["mode"]) for r in self.all))

    def of(self, backend: str, mode: str) -> list[Row]:
        return [r for r in self.rows if (r["backend"], r["mode"]) == (backend, mode)]

    @property
    def about(self) -> str:
        return f"{self.dtype} elements, {DIRECTION[self.direction]}"

    @property
    def title(self) -> str:
        return f"{self.size:,} {self.about}"

    def style(self, backend: str, mode: str) -> dict[str, Any]:
        at = self.series.index((backend, mode))
        return {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)], "label": f"{backend} {mode}"}


def _chosen(selection: Selection, figure: Callable[[Row], float | None]) -> tuple[list[str], str]:
    """Activations with a figure, the lowest median first; where there are too many, those that frameworks have."""
    values: dict[str, list[float]] = {}
    own = set()
    for row in selection.rows:
        value = figure(row)
        if value is not None and row["activation"] not in LEFT_OUT:
            values.setdefault(row["activation"], []).append(value)
            if row["native_seconds"] is not None:
                own.add(row["activation"])
    names = sorted(values, key=lambda n: statistics.median(values[n]))
    if len(names) <= LARGEST:
        return names, ""
    kept = [n for n in names if n in own][:LARGEST]
    return kept, f"{len(kept)} of {len(names)} activations, those that a framework has"


def _dots(axes: Any, selection: Selection, figure: Callable[[Row], float | None], label: str, line: float) -> None:
    names, note = _chosen(selection, figure)
    place = {name: i for i, name in enumerate(names)}
    for i in range(len(names)):
        axes.axhline(i, color="0.92", linewidth=0.8, zorder=0)
    axes.axvline(line, color="0.4", linewidth=1.0, zorder=1)
    for backend, mode in selection.series:
        points = [
            (v, place[r["activation"]])
            for r in selection.of(backend, mode)
            if r["activation"] in place and (v := figure(r)) is not None
        ]
        if points:
            xs, ys = zip(*points)
            axes.plot(xs, ys, linestyle="", markersize=4.5, alpha=0.85, **selection.style(backend, mode))
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel(f"{label}\n{note}".strip())
    _plain(axes.xaxis)


def _plain(axis: Any) -> None:
    """Labels 0.5, 1, 2, 5, 10 on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / max(low, 1e-12) < 300 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def relative(axes: Any, selection: Selection) -> None:
    """Ours divided by our ReLU on the same backend and in the same mode."""
    base = {(r["backend"], r["mode"]): r["seconds"] for r in selection.rows if r["activation"] == "relu"}

    def figure(row: Row) -> float | None:
        relu = base.get((row["backend"], row["mode"]))
        return row["seconds"] / relu if relu else None

    if not base:
        _empty(axes, "ReLU was not measured")
    else:
        _dots(axes, selection, figure, "time relative to ReLU on the same backend", 1.0)
    axes.set_title("Cost relative to ReLU", loc="left")


def speedup(axes: Any, selection: Selection) -> None:
    """How many times as fast as the framework's own."""
    if not any(r["speedup"] for r in selection.rows):
        _empty(axes, "no framework has any of these")
    else:
        _dots(axes, selection, lambda r: r["speedup"], "times as fast as the framework's own", 1.0)
    axes.set_title("Speed-up over the framework's own", loc="left")


def limit(axes: Any, selection: Selection) -> None:
    """The share of the copy limit: each pointwise activation a dot, the median a line."""
    drawn = 0
    for at, (backend, mode) in enumerate(selection.series):
        rows = [r for r in selection.of(backend, mode) if r["of_limit"] is not None and r["kind"] == "pointwise"]
        values = sorted(r["of_limit"] for r in rows)
        if not values:
            continue
        drawn += 1
        # Beside each other as far as they are many, so that none hides another.
        spread = [at + 0.3 * ((i * 0.618) % 1.0 - 0.5) for i in range(len(values))]
        axes.plot(spread, values, linestyle="", markersize=4, alpha=0.6, **selection.style(backend, mode))
        axes.hlines(statistics.median(values), at - 0.3, at + 0.3, color="0.1", linewidth=2)
    if not drawn:
        _empty(axes, "the copy was not measured")
    axes.axhline(1.0, color="0.4", linewidth=1.0)
    axes.set_xticks(range(len(selection.series)), [f"{b}\n{m}" for b, m in selection.series], fontsize=8)
    axes.set_xlim(-0.6, len(selection.series) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("time of a copy / time of the activation")
    axes.set_title("Share of the copy limit", loc="left")


def scaling(axes: Any, selection: Selection) -> None:
    """Nanoseconds for an element over the size: the median of a few activations, the copy dotted."""
    sizes = sorted({r["size"] for r in selection.all})
    if len(sizes) < 2:
        _empty(axes, "only one size was measured")
    known = [r["activation"] for r in selection.all]
    chosen = [n for n in SCALED if n in known] or list(dict.fromkeys(known))[:6]
    for backend, mode in selection.series:
        rows = [r for r in selection.all if (r["backend"], r["mode"]) == (backend, mode) and r["activation"] in chosen]
        style = selection.style(backend, mode)
        for key, line in (("seconds", "-"), ("copy_seconds", ":")):
            points = []
            for size in sizes:
                values = [r[key] / size * 1e9 for r in rows if r["size"] == size and r[key] is not None]
                if values:
                    points.append((size, statistics.median(values)))
            if points and len(sizes) > 1:
                shown = style if line == "-" else {**style, "label": None, "marker": "", "alpha": 0.7}
                axes.plot(*zip(*points), linestyle=line, markersize=4.5, **shown)
    if len(sizes) > 1:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("elements")
        axes.set_ylabel("nanoseconds for an element")
        axes.annotate(
            f"median of {', '.join(chosen)};\ndotted: a copy",
            (0.98, 0.97),
            xycoords="axes fraction",
            ha="right",
            va="top",
            fontsize=8,
            color="0.4",
        )
    axes.set_title("Scaling with size", loc="left")


def _empty(axes: Any, why: str) -> None:
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color="0.4")


PANELS: dict[str, Callable[[Any, Selection], None]] = {
    "relative": relative,
    "speedup": speedup,
    "limit": limit,
    "scaling": scaling,
}


def _height(selection: Selection) -> float:
    names = min(LARGEST, len({r["activation"] for r in selection.rows}))
    return max(3.4, 1.4 + 0.17 * names)


def figure(rows: Sequence[Row], subtitle: str = "") -> Any:
    """All panels on one page, for the dtype and direction that come first: float32, forward and backward.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MultiactError : matplotlib is not installed, or no row has figures.
    """
    require()
    from matplotlib.figure import Figure

    selection = first(rows)
    drawn = Figure(figsize=(13, _height(selection) + 5.2), layout="constrained")
    grid = drawn.add_gridspec(2, 2, height_ratios=[_height(selection), 4.2])
    axes = [drawn.add_subplot(grid[i // 2, i % 2]) for i in range(4)]
    for place, panel in zip(axes, PANELS.values()):
        panel(place, selection)
        _dress(place)
    drawn.suptitle("\n".join([selection.title, *textwrap.wrap(subtitle, 130)]), fontsize=11)
    _legend(drawn, selection)
    return drawn


def panels(rows: Sequence[Row]) -> list[str]:
    """The names of the panels that show something; none where nothing was measured."""
    if all(r["seconds"] is None for r in rows):
        return []
    sizes = {r["size"] for r in first(rows).all}
    return [name for name in PANELS if name != "scaling" or len(sizes) > 1]


def panel(name: str, rows: Sequence[Row], dtype: str | None = None, direction: str | None = None) -> Any:
    """One panel as a figure of its own; see `PANELS`."""
    require()
    from matplotlib.figure import Figure

    selection = first(rows) if dtype is None or direction is None else Selection(rows, dtype, direction)
    height = _height(selection) if name in ("relative", "speedup") else 4.4
    drawn = Figure(figsize=(8.5, height + 0.8), layout="constrained")
    axes = drawn.subplots()
    PANELS[name](axes, selection)
    _dress(axes)
    drawn.suptitle(selection.about if name == "scaling" else selection.title, fontsize=10)
    _legend(drawn, selection)
    return drawn


def first(rows: Sequence[Row]) -> Selection:
    """float32 before other dtypes, forward + backward before forward alone, whatever was measured.

    Raises
    ------
    MultiactError : nothing was.
    """
    with_figures = [r for r in rows if r["seconds"] is not None]
    if not with_figures:
        raise MultiactError("there is nothing to draw: no row has figures.")
    best = min(with_figures, key=lambda r: (r["dtype"] != "float32", r["direction"] != "forward_backward"))
    return Selection(rows, best["dtype"], best["direction"])


def _dress(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x" if axes.get_xscale() == "log" else "y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(drawn: Any, selection: Selection) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for backend, mode in selection.series:
        handles.append(Line2D([], [], linestyle="", markersize=6, **selection.style(backend, mode)))
    drawn.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False, fontsize=9)


def write(drawn: Any, path: Path) -> None:
    """Write a figure whole or not at all; the ending says in which format."""
    save(drawn, path)
