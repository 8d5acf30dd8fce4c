"""The command `multiact`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import multiact as ma
from multiact import cli, measured

pytest.importorskip("typer")
pytest.importorskip("rich")


def run(*arguments, code=""):
    """Run the command in a process of its own, wide enough that no cell is folded."""
    source = f"import os, sys; os.environ['COLUMNS'] = '250'\n{code}\nfrom multiact.cli import main; main({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)


def test_list_has_every_activation():
    done = run("list")
    assert done.returncode == 0
    for name in ma.names():
        assert f"│ {name} " in done.stdout
    assert "negative_slope=0.01" in done.stdout and "swish" in done.stdout


def test_list_of_one_family():
    done = run("list", "--family", "shrinkage")
    assert done.returncode == 0 and "soft_shrink" in done.stdout and "gelu" not in done.stdout
    done = run("list", "--family", "shrinkag")
    assert done.returncode == 1 and "no family is named 'shrinkag'. There are:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ma.names())
def test_description(name):
    rows = cli.describe(ma.get(name))
    assert rows["call"].startswith(f"multiact.{name}(")
    assert rows["formula"] == ma.get(name).formula and rows["reference"] == ma.get(name).reference
    for p in ma.get(name).parameters:
        assert str(p.allowed) in rows[f"parameter {p.name}"] and p.description in rows[f"parameter {p.name}"]
    assert all(rows.values())
    if ma.get(name).kind == "pointwise" and None not in [p.default for p in ma.get(name).parameters]:
        assert {"range", "limits", "monotonic", "Lipschitz constant", "saturation", "gain", "initialisation"} <= set(
            rows
        )


def test_description_with_other_parameters():
    rows = cli.describe(ma.get("silu"), beta=2.0)
    assert rows["with"] == "beta = 2" and rows["minimum"] == "-0.139232 at -0.639232"
    assert rows["monotonic"] == "no: decreasing on (-inf, -0.639232), increasing on (-0.639232, inf)"
    assert cli.describe(ma.get("gelu"), approximate="tanh")["call"] == "multiact.gelu_tanh(x, /)"
    assert cli.describe(ma.get("relu6"))["kinks"] == (
        "at 0: slope 0, 0 on the left and 1 on the right; at 6: slope 0, 1 on the left and 0 on the right"
    )
    rows = cli.describe(ma.get("threshold"))
    assert rows["facts"] == "depend on threshold and value: show threshold -p threshold=... -p value=..."
    rows = cli.describe(ma.get("threshold"), threshold=1.0, value=0.0)
    assert rows["limits"] == "0 at -inf, inf at inf" and "the value jumps by 1" in rows["kinks"]


def test_show():
    done = run("show", "swish")
    assert done.returncode == 0
    for part in ("silu", "multiact.silu(x, /, *, beta=1.0)", "SiLU", "in (", ma.get("silu").reference):
        assert part in done.stdout
    assert "-0.278465 at -1.27846" in done.stdout
    assert "-0.139232 at -0.639232" in run("show", "swish", "-p", "beta=2").stdout
    for wrong, said in (
        ("beta", "NAME=VALUE"),
        ("alpha=1", "has no parameter 'alpha'"),
        ("beta=a", "must be a number"),
    ):
        done = run("show", "swish", "--parameter", wrong)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_show_of_an_unknown_name_suggests_the_nearest():
    done = run("show", "sillu")
    assert done.returncode == 1 and "Did you mean 'silu'" in done.stderr and "Traceback" not in done.stderr


def test_version_and_help():
    assert run("--version").stdout == f"multiact {ma.__version__}\n"
    done = run("--help")
    assert done.returncode == 0
    for command in ("list", "show", "plot", *cli.ELSEWHERE):
        assert command in done.stdout


def test_an_unknown_command():
    done = run("lst")
    assert done.returncode == 2 and "No such command 'lst'" in done.stderr


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra(package):
    done = run("list", code=f"sys.modules[{package!r}] = None")
    assert done.returncode == 1
    assert (
        f"needs {package}, which is not installed. Install it with: pip install 'multiact[conformance]'" in done.stderr
    )


def test_commands_elsewhere_are_loaded_only_when_called():
    code = "import atexit; atexit.register(lambda: print('multiact.conformance' in sys.modules))"
    assert run("list", code=code).stdout.endswith("False\n")
    done = run("conformance", "--help", code=code)
    assert done.returncode == 0 and done.stdout.endswith("True\n"), done.stderr


ROW = {"activation": "gelu", "backend": "torch", "dtype": "float32", "faults": [], "native": False, "title": "gelu"}
FAULT = {"from": -8.0, "to": "-inf", "at": "-inf", "got": "nan", "wanted": -0.0, "error": "inf"}
SMALLER = {"from": -7.0, "to": -5.0, "at": -5.5, "got": -1e-7, "wanted": -1.04e-07, "error": 372149.0}
ROWS = [
    {**ROW, "order": 0, "worst_error": 1.5},
    {**ROW, "order": 1, "worst_error": 2.25},
    {**ROW, "order": 1, "worst_error": 3.0, "backend": "jax"},
    {**ROW, "order": "beta", "worst_error": 0.5, "backend": "jax"},
    {**ROW, "order": 0, "worst_error": "inf", "native": True, "title": "F.gelu", "faults": [SMALLER, FAULT]},
    {**ROW, "order": 1, "worst_error": None, "native": True, "title": "F.gelu"},
    {**ROW, "order": 0, "worst_error": 1.0, "activation": "silu"},
]


def test_measured_errors_as_tables(tmp_path, monkeypatch, capsys):
    file = tmp_path / "measured.json"
    monkeypatch.setattr(measured, "FILE", file)
    assert measured.rows("gelu") == []
    cli._show(ma.get("gelu"), {})
    assert capsys.readouterr().out.count(": not measured; run multiact conformance") == 2
    columns = sorted({key for row in ROWS for key in row})
    values = [[row.get(c) for c in columns] for row in ROWS]
    rows = [dict(zip(columns, v)) for v in values]
    file.write_text(json.dumps({"environment": {}, "columns": columns, "rows": values}))
    measured._read.cache_clear()
    assert measured.rows("gelu") == rows[:-1] and measured.rows("swish") == rows[-1:]
    with pytest.raises(ma.UnknownActivationError):
        measured.rows("no_such_thing")
    head, lines = cli.comparison([r for r in measured.rows("gelu") if not r["native"]], False)
    assert head == ["backend", "dtype", "value", "first derivative", "in beta"]
    assert lines == [["jax", "float32", "", "3", "0.5"], ["torch", "float32", "1.5", "2.25", ""]]
    head, lines = cli.comparison([r for r in measured.rows("gelu") if r["native"]], True)
    assert head == ["backend", "function", "dtype", "value", "first derivative", "where it is worst"]
    assert lines == [["torch", "F.gelu", "float32", "inf", "", "value at -inf: nan, should be -0"]]
    monkeypatch.setenv("COLUMNS", "200")
    cli._show(ma.get("gelu"), {})
    shown = capsys.readouterr().out
    assert "measured error E per backend and dtype" in shown and "value at -inf: nan, should be -0" in shown
    file.write_text("[{")
    measured._read.cache_clear()
    with pytest.raises(ma.errors.MultiactError, match="is damaged .* Install multiact again"):
        measured.rows("gelu")
    measured._read.cache_clear()
