"""Drawings of activations: value, first and second derivative in three panels, several activations over each other."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .declaration import Activation, Axiswise
from .errors import MultiactError, ParameterError
from .facts import Kink, facts
from .files import replacing
from .registry import get

#: Of files, by their endings.
FORMATS = (".png", ".svg", ".pdf")
#: Told apart by colour-blind people too (Okabe & Ito, Color universal design, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: The first is drawn widest, so that it shows below what covers it.
WIDTHS = (3.2, 2.2, 1.4)
#: Of the curves when the colours begin again.
STYLES = ("-", "--", ":")
POINTS = 2001
LABELS = (("value", "$f(x)$"), ("first derivative", "$f\\,'(x)$"), ("second derivative", "$f\\,''(x)$"))


#: What is drawn: an activation or its name, alone or with settings of its own.
Drawn = str | Activation | tuple[str | Activation, Mapping[str, Any]]


def figure(
    names: Sequence[Drawn],
    parameters: Mapping[str, Any] | None = None,
    low: float = -5.0,
    high: float = 5.0,
    *,
    size: tuple[float, float] = (13, 4.6),
    window: bool = False,
) -> Any:
    """Draw activations and their derivatives.

    Where a curve jumps, a filled dot is the value taken there and open circles are the limits from both sides; a dot on an
    unbroken curve is a kink, where one of its derivatives jumps. Axes are cut where a curve grows beyond what the others need.

    Parameters
    ----------
    names : of pointwise activations, or the activations; each can be a pair with settings that are its own.
    parameters : settings, each used for every activation that has it.
    low, high : the ends of the x axis.
    size : width and height in inches.
    window : whether the figure is one of `matplotlib.pyplot`, to be shown in a window.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UnknownActivationError, ParameterError : an activation or a parameter does not exist; the ends are not in order.
    MultiactError : matplotlib is not installed; an activation is not a function of one number.
    """
    _check(low, high)
    chosen = _settings(names, dict(parameters or {}))
    if window:
        from matplotlib import pyplot

        drawn = pyplot.figure(figsize=size, layout="constrained")
    else:
        from matplotlib.figure import Figure

        drawn = Figure(figsize=size, layout="constrained")
    drawn.get_layout_engine().set(w_pad=0.12)
    panels = drawn.subplots(1, 3)
    for order, panel in enumerate(panels):
        curves = [_Curve(activation, given, order, low, high) for activation, given in chosen]
        for i, curve in enumerate(curves):
            style = STYLES[i // len(COLOURS) % len(STYLES)]
            curve.draw(panel, COLOURS[i % len(COLOURS)], WIDTHS[min(i, len(WIDTHS) - 1)], style)
        _dress(panel, order, low, high, [c for c in curves if c.drawable])
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    return drawn


def thumbnail(name: Drawn, low: float = -5.0, high: float = 5.0) -> Any:
    """The value alone, of a pointwise activation or of `along_axis`, small and without numbers on the axes: for lists.

    Parameters, returns and raises as `figure`.
    """
    _check(low, high)
    ((activation, given),) = _chosen([name])
    drawn, panel = _panel((2.2, 1.5))
    if activation.kind == "axiswise":
        for x, y, colour, width, _ in _rows(activation, given, low, high):
            panel.plot(x, y, color=colour, linewidth=width)
        _dress(panel, 0, low, high, [])
    else:
        ((activation, given),) = _settings([name], {})
        curve = _Curve(activation, given, 0, low, high)
        curve.draw(panel, COLOURS[0], WIDTHS[1], STYLES[0])
        _dress(panel, 0, low, high, [curve])
    panel.set(title="", xlabel="", ylabel="", xticks=[], yticks=[])
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    return drawn


def along_axis(name: Drawn, low: float = -5.0, high: float = 5.0, *, size: tuple[float, float] = (5, 3.6)) -> Any:
    """Draw what a function along an axis makes of the row (x, 0): each entry of the result over x.

    Random numbers count as 0. Parameters, returns and raises as `figure`.
    """
    _check(low, high)
    ((activation, given),) = _chosen([name])
    drawn, panel = _panel(size)
    for x, y, colour, width, label in _rows(activation, given, low, high):
        panel.plot(x, y, color=colour, linewidth=width, label=label)
    _dress(panel, 0, low, high, [])
    panel.set(title="", ylabel=f"{activation.name} of (x, 0)")
    panel.legend(frameon=False)
    return drawn


def require(path: Path | None = None) -> None:
    """Raise an error where nothing can be drawn, or not into this file; called before anything takes long.

    Raises
    ------
    MultiactError : matplotlib is not installed.
    ParameterError : the ending is none of `FORMATS`.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MultiactError(
            "plots need matplotlib, which is not installed. Install it with: pip install 'multiact[plot]'"
        )
    if path is not None and path.suffix.lower() not in FORMATS:
        raise ParameterError(f"a plot is written as {', '.join(FORMATS)}. Received: {path.name!r}.")


def save(drawn: Any, path: Path, dpi: int = 150) -> None:
    """Write a figure to a file, under another name first; the ending says in which format.

    Raises
    ------
    ParameterError : the ending is none of `FORMATS`.
    OSError : the file cannot be written.
    """
    require(path)
    with replacing(path) as temporary:
        drawn.savefig(temporary, dpi=dpi)


def show(drawn: Any) -> None:
    """Open a window with a figure drawn for one, until it is closed.

    Raises
    ------
    MultiactError : there is no display.
    """
    from matplotlib import pyplot

    if drawn.canvas.manager is None or pyplot.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg"):
        raise MultiactError("there is no display to open a window on. Give a file to write: --output plot.png")
    pyplot.show()


def _check(low: float, high: float) -> None:
    require()
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ParameterError(f"the x axis must go from a number to a larger one. Received: from {low:g} to {high:g}.")


def _panel(size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure with one panel."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=size, layout="constrained")
    return drawn, drawn.subplots()


def _chosen(names: Sequence[Drawn]) -> list[tuple[Activation, dict[str, Any]]]:
    pairs = [name if isinstance(name, tuple) else (name, {}) for name in names]
    return [(get(name), dict(given)) for name, given in pairs]


def _settings(names: Sequence[Drawn], parameters: dict[str, Any]) -> list[tuple[Activation, dict[str, Any]]]:
    """Each activation with those of the parameters that it has; one that none has is an error."""
    chosen = _chosen(names)
    for name in parameters:
        if not any(name == s.name for a, _ in chosen for s in a.settings):
            raise ParameterError(f"none of {', '.join(a.name for a, _ in chosen)} has a parameter {name!r}.")
    for activation, given in chosen:
        if activation.kind != "pointwise":
            raise MultiactError(
                f"{activation.name} is {activation.kind}: only a function of one number can be drawn as a curve."
            )
        given |= {
            s.name: parameters[s.name] for s in activation.settings if s.name in parameters and s.name not in given
        }
    return chosen


def _rows(
    activation: Activation, given: dict[str, Any], low: float, high: float
) -> Iterator[tuple[Any, Any, str, float, str]]:
    """Each entry of the result for the row (x, 0): x, the entry, and its colour, width and label."""
    import numpy as np

    function = activation.function
    if not isinstance(function, Axiswise):
        raise MultiactError(f"{activation.name} is {activation.kind}: it does not work along an axis.")
    x = np.linspace(low, high, POINTS)
    rows = np.stack([x, np.zeros_like(x)], axis=-1)
    if function.fixed_axis is not None:
        rows = rows.reshape(*rows.shape, *[1] * (-1 - function.fixed_axis))
    if activation.random is not None:
        given = {activation.random.name: 0.0, **given}
    result = activation(rows, **given).reshape(POINTS, -1)
    for i, y in enumerate(result.T):
        yield x, y, COLOURS[i % len(COLOURS)], WIDTHS[min(i, len(WIDTHS) - 1)], f"entry {i + 1}"


class _Curve:
    """One derivative of an activation between two ends, in pieces between its jumps."""

    def __init__(self, activation: Activation, given: dict[str, Any], order: int, low: float, high: float) -> None:
        import numpy as np

        self._order, self._activation, self._given = order, activation, given
        self.label = activation.name + (
            f" ({', '.join(f'{k}={_short(v)}' for k, v in given.items())})" if given else ""
        )
        known = facts(activation, **given)
        first: Any = activation.function.partial("x")  # type: ignore[union-attr]
        self.drawable = order < 2 or first.partial("x") is not None
        kinks = [k for k in known.kinks if low <= k.at <= high]
        self.jumps: list[Kink] = [k for k in kinks if k.order <= order]
        self.bends: list[Kink] = [k for k in kinks if k.order > order]
        step = (high - low) * 1e-9
        ends = [low, *(k.at for k in self.jumps), high]
        self.pieces = []
        for a, b in itertools.pairwise(ends) if self.drawable else ():
            if b > a:
                x = np.linspace(a, b, POINTS)
                x[0], x[-1] = x[0] + step * (a != low), x[-1] - step * (b != high)
                self.pieces.append((x, self(x)))

    def __call__(self, x: Any) -> Any:
        if self._order == 0:
            return self._activation(x, **self._given)
        return self._activation.derivative(x, order=self._order, **self._given)

    def draw(self, panel: Any, colour: str, width: float, style: str) -> None:
        import numpy as np

        label = self.label
        for x, y in self.pieces:
            panel.plot(x, y, style, color=colour, linewidth=width, label=label, solid_capstyle="butt")
            label = "_nolegend_"
        if not self.drawable:
            return
        dot = {"linestyle": "none", "marker": "o", "color": colour, "zorder": 4}
        for kink in self.jumps:
            sides = [y[-1] for x, y in self.pieces if x[-1] <= kink.at][-1:]
            sides += [y[0] for x, y in self.pieces if x[0] >= kink.at][:1]
            panel.plot([kink.at] * len(sides), sides, **dot, markersize=6, markerfacecolor="white")
        places = [k.at for k in (*self.jumps, *self.bends)]
        panel.plot(places, self(np.asarray(places, dtype="float64")), **dot, markersize=4.5)

    def reach(self, ends: float) -> tuple[float, float]:
        """The lowest and highest y to show: all of it, unless it grows far beyond the x axis and its own middle."""
        import numpy as np

        every = np.concatenate([y for _, y in self.pieces])
        every = every[np.isfinite(every)]
        cut = max(ends, 3 * float(np.median(np.abs(every))))
        return max(float(every.min()), -cut), min(float(every.max()), cut)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dress(panel: Any, order: int, low: float, high: float, curves: list[_Curve]) -> None:
    title, label = LABELS[order]
    panel.set_title(title)
    panel.set_xlabel("x")
    panel.set_ylabel(label)
    panel.set_xlim(low, high)
    if curves:
        reaches = [curve.reach(max(abs(low), abs(high))) for curve in curves]
        bottom, top = min(0.0, *(r[0] for r in reaches)), max(0.0, *(r[1] for r in reaches))
        margin = 0.06 * (top - bottom) or 0.5
        panel.set_ylim(bottom - margin, top + margin)
    panel.grid(color="0.9", linewidth=0.8)
    panel.axhline(0, color="0.6", linewidth=0.9, zorder=1.5)
    panel.axvline(0, color="0.6", linewidth=0.9, zorder=1.5)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
