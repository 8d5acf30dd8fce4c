"""Drawings: the curves are the functions, broken at jumps, and files are written whole."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact import plot

pytest.importorskip("matplotlib")


def curves(panel):
    """The label or colour and the points of every line drawn as a curve."""
    return [line for line in panel.lines if len(line.get_xdata()) == plot.POINTS]


def dots(panel, filled):
    """The points marked with filled or with open circles."""
    marked = [line for line in panel.lines if line.get_marker() == "o" and len(line.get_xdata())]
    kept = [line for line in marked if (line.get_markerfacecolor() != "white") == filled]
    return {(float(x), float(y)) for line in kept for x, y in zip(line.get_xdata(), line.get_ydata())}


@pytest.mark.parametrize("name", [n for n in ma.names() if ma.get(n).kind == "pointwise"])
def test_every_curve_is_the_function(name):
    a = ma.get(name)
    given = dict(a.examples[0]) if any(p.default is None for p in a.parameters) else {}
    panels = plot.figure([name], given).axes
    assert [p.get_title() for p in panels] == ["value", "first derivative", "second derivative"]
    assert all(p.get_xlabel() and p.get_ylabel() and p.get_xlim() == (-5, 5) for p in panels)
    for order, panel in enumerate(panels):
        jumps = [k.at for k in ma.facts(name, **given).kinks if k.order <= order and abs(k.at) < 5]
        drawn = curves(panel)
        assert len(drawn) == len(jumps) + 1
        ends = [-5, *jumps, 5]
        for line, low, high in zip(drawn, ends, ends[1:]):
            x, y = np.asarray(line.get_xdata()), line.get_ydata()
            assert x[0] == pytest.approx(low, abs=1e-7) and x[-1] == pytest.approx(high, abs=1e-7)
            assert not set(jumps) & set(x), "a curve takes in the value at a jump"
            np.testing.assert_array_equal(y, a.derivative(x, order=order, **given) if order else a(x, **given))
        bottom, top = panel.get_ylim()
        every = np.concatenate([line.get_ydata() for line in drawn])
        assert bottom < 0 < top and np.mean((bottom <= every) & (every <= top)) > 0.5


def test_kinks_are_marked():
    value, first, second = plot.figure(["hard_swish"]).axes
    assert dots(value, True) == {(-3.0, 0.0), (3.0, 3.0)} and not dots(value, False)
    assert dots(first, True) == {(-3.0, 0.0), (3.0, 1.0)}
    assert {(x, round(y, 6)) for x, y in dots(first, False)} == {(-3.0, 0.0), (-3.0, -0.5), (3.0, 1.5), (3.0, 1.0)}
    assert dots(second, True) == {(-3.0, 0.0), (3.0, 0.0)}
    value = plot.figure(["threshold"], {"threshold": 1.0, "value": -1.0}).axes[0]
    assert dots(value, True) == {(1.0, -1.0)} and {(x, round(y, 6)) for x, y in dots(value, False)} == {(1, -1), (1, 1)}


def test_the_legend_tells_curves_apart():
    drawn = plot.figure(["silu", "gelu", "leaky_relu"], {"beta": 2.0, "negative_slope": 0.2}, -1, 2)
    (legend,) = drawn.legends
    assert [t.get_text() for t in legend.texts] == ["silu (beta=2)", "gelu", "leaky_relu (negative_slope=0.2)"]
    colours = [line.get_color() for line in legend.get_lines()]
    assert len(set(colours)) == 3 and colours == [c.get_color() for c in curves(drawn.axes[0])]
    many = plot.figure(ma.names(family="sigmoids")[: 3 * len(plot.COLOURS)])
    looks = {(line.get_color(), line.get_linestyle()) for line in many.legends[0].get_lines()}
    assert len(looks) == len(many.legends[0].texts) > len(plot.COLOURS)


def test_a_steep_curve_does_not_flatten_the_others():
    drawn = plot.figure(["softplus", "exponential"])
    assert drawn.axes[0].get_ylim()[1] < 12 < math.exp(5)
    assert drawn.axes[1].get_ylim()[1] < 12
    assert plot.figure(["snake"], {"alpha": 30.0}, -1, 1).axes[2].get_ylim()[1] > 59, "all of an oscillation"


def test_without_a_second_derivative():
    ma.define("test_plot", lambda xp, x, /: x * x, {"x": lambda xp, x, /: 2 * x})
    try:
        panels = plot.figure(["test_plot"]).axes
        assert [len(curves(p)) for p in panels] == [1, 1, 0]
    finally:
        ma.registry.unregister("test_plot")


@pytest.mark.parametrize("ending", plot.FORMATS)
def test_files(tmp_path, ending):
    path = tmp_path / f"curves{ending}"
    path.write_text("old")
    plot.save(plot.figure(["gelu", "relu"]), path)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert path.read_bytes().startswith(start) and path.stat().st_size > 5000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "curves.png"
    path.write_text("old")
    drawn = plot.figure(["gelu"])
    drawn.savefig = lambda *a, **k: (_ for _ in ()).throw(OSError("no space"))
    with pytest.raises(OSError, match="no space"):
        plot.save(drawn, path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_wrong_requests(tmp_path, monkeypatch):
    with pytest.raises(ma.errors.MultiactError, match="softmax is axiswise: only a function of one number"):
        plot.figure(["gelu", "softmax"])
    with pytest.raises(ma.ParameterError, match="none of gelu, relu has a parameter 'beta'"):
        plot.figure(["gelu", "relu"], {"beta": 1.0})
    with pytest.raises(ma.ParameterError, match="must go from a number to a larger one. Received: from 5 to -5"):
        plot.figure(["gelu"], low=5, high=-5)
    with pytest.raises(ma.ParameterError, match=r"written as .png, .svg, .pdf. Received: 'a.jpg'"):
        plot.save(plot.figure(["gelu"]), tmp_path / "a.jpg")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ma.errors.MultiactError, match=r"need matplotlib, .* pip install 'multiact\[plot\]'"):
        plot.figure(["gelu"])


def run(*arguments, **environment):
    source = f"from multiact.cli import main; main({list(map(str, arguments))!r})"
    environment = {"PATH": "", "MPLBACKEND": "agg", **environment}
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, env=environment)


def test_the_command(tmp_path):
    pytest.importorskip("typer")
    done = run("plot", "swish", "gelu", "-p", "beta=2", "--from", -2, "--to", 2, "-o", tmp_path / "a.svg")
    assert done.returncode == 0 and not done.stderr and (tmp_path / "a.svg").stat().st_size > 5000
    for arguments, said in (
        (["gelu"], "there is no display to open a window on. Give a file to write: --output"),
        (["gelu", "-o", tmp_path / "none" / "a.png"], "cannot be written: No such file or directory"),
        (["gellu", "-o", tmp_path / "b.png"], "Did you mean 'gelu'"),
    ):
        done = run("plot", *arguments)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_settings_of_its_own_for_each():
    value = plot.figure([("elu", {"alpha": 2.0}), "elu"], {"alpha": 0.5}).axes[0]
    ends = {line.get_label(): float(line.get_ydata()[0]) for line in curves(value)}
    assert ends == {
        "elu (alpha=2)": float(ma.elu(np.asarray(-5.0), alpha=2.0)),
        "elu (alpha=0.5)": 0.5 * np.expm1(-5.0),
    }


@pytest.mark.parametrize("name", [n for n in ma.names() if ma.get(n).kind == "axiswise"])
def test_a_function_along_an_axis_is_drawn_for_two_entries(name):
    (panel,) = plot.along_axis(name).axes
    (small,) = plot.thumbnail(name).axes
    a = ma.get(name)
    x = np.linspace(-5, 5, plot.POINTS)
    for i in (0, 700, 2000):
        row = np.asarray([x[i], 0.0]).reshape(2, 1, 1) if name == "softmax2d" else np.asarray([x[i], 0.0])
        want = a(row, **({"noise": 0.0} if a.random else {})).ravel()
        for drawn in (panel, small):
            np.testing.assert_array_equal([line.get_ydata()[i] for line in curves(drawn)], want)


def test_what_cannot_be_drawn_small():
    assert not plot.thumbnail("relu").axes[0].get_xticks().size
    with pytest.raises(ma.MultiactError, match="glu is gated: only a function of one number"):
        plot.thumbnail("glu")
    with pytest.raises(ma.MultiactError, match="relu is pointwise: it does not work along an axis"):
        plot.along_axis("relu")
    with pytest.raises(ma.ParameterError, match="x axis"):
        plot.along_axis("softmax", 1.0, 0.0)
