"""The command `multiact`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import multiact as ma
from multiact import cli

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
def test_facts(name):
    rows = cli.facts(ma.get(name))
    assert rows["call"].startswith(f"multiact.{name}(")
    assert rows["formula"] == ma.get(name).formula and rows["reference"] == ma.get(name).reference
    for p in ma.get(name).parameters:
        assert str(p.allowed) in rows[f"parameter {p.name}"] and p.description in rows[f"parameter {p.name}"]
    assert all(rows.values())


def test_show():
    done = run("show", "swish")
    assert done.returncode == 0
    for part in ("silu", "multiact.silu(x, /, *, beta=1.0)", "SiLU", "in (", ma.get("silu").reference):
        assert part in done.stdout


def test_show_of_an_unknown_name_suggests_the_nearest():
    done = run("show", "sillu")
    assert done.returncode == 1 and "Did you mean 'silu'" in done.stderr and "Traceback" not in done.stderr


def test_version_and_help():
    assert run("--version").stdout == f"multiact {ma.__version__}\n"
    done = run("--help")
    assert done.returncode == 0
    for command in ("list", "show", *cli.ELSEWHERE):
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
