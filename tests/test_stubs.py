"""The generated stubs: up to date, and what a type checker makes of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import multiact as ma
from multiact import exports, stubs

ROOT = Path(__file__).resolve().parent.parent

GOOD = """
import torch
import multiact
from multiact.backends.torch import GELU, PReLU, SwiGLU, gelu, leaky_relu, swiglu

x = torch.ones(4)
a: torch.Tensor = gelu(x, approximate="tanh")
b: torch.Tensor = leaky_relu(x, negative_slope=torch.ones(4))
c: torch.Tensor = swiglu(x, x, gate="first")
model = torch.nn.Sequential(GELU("tanh"), PReLU(num_parameters=3), SwiGLU(axis=1))
y = multiact.gelu(x)
multiact.softmax(x, axis=0)
facts: multiact.Activation = multiact.get("swish")
multiact.names(family="rectifiers")
"""

BAD = {
    "from multiact.backends.torch import geluu": "attr-defined",
    "from multiact.backends.torch import gelu\ngelu(torch.ones(1), approximate='erf')": "arg-type",
    "from multiact.backends.torch import gelu\ngelu(torch.ones(1), slope=1.0)": "call-arg",
    "from multiact.backends.torch import GELU\nGELU(approximate=3)": "arg-type",
    "multiact.leaky_relu(torch.ones(1), alpha=0.1)": "call-arg",
    "multiact.no_such_thing": "attr-defined",
    "multiact.softmax(torch.ones(1), axis='channels')": "arg-type",
}


@pytest.mark.parametrize("name", stubs.available())
def test_the_committed_stub_is_up_to_date(name):
    text = stubs.paths()[name].read_text(encoding="utf-8")
    assert text == stubs.generate(name), "run: python -m multiact.stubs"


def test_a_new_activation_makes_the_stub_stale():
    ma.define("test_stale", lambda xp, x, /: x, {"x": lambda xp, x, /: x})
    try:
        assert set(stubs.stale()) == set(stubs.available().values())
    finally:
        ma.registry.unregister("test_stale")
    assert not stubs.stale()


def test_the_check_of_the_command(tmp_path, monkeypatch, capsys):
    old = tmp_path / "__init__.pyi"
    old.write_text("# old")
    monkeypatch.setattr(stubs, "available", lambda: {"numpy": old})
    monkeypatch.setattr(sys, "argv", ["stubs", "--check"])
    with pytest.raises(SystemExit) as stop:
        stubs.main()
    assert stop.value.code == 1 and "is out of date. Run: python -m multiact.stubs" in capsys.readouterr().err
    assert old.read_text() == "# old"
    monkeypatch.setattr(sys, "argv", ["stubs"])
    stubs.main()
    assert old.read_text() == stubs.generate("numpy")
    monkeypatch.setattr(sys, "argv", ["stubs", "--check"])
    with pytest.raises(SystemExit) as stop:
        stubs.main()
    assert stop.value.code == 0


@pytest.mark.parametrize("name", stubs.available())
def test_every_public_name_is_in_the_stub(name):
    text = stubs.generate(name)
    for activation in ma.names():
        assert f"def {activation}(" in text
    for alias, canonical in ma.registry.aliases().items():
        assert f"{alias} = {canonical}" in text
    for cls in exports.class_names():
        assert (f"class {cls}(" in text) == (name in ("torch", "keras", "flax", "equinox", "mlx"))
    if name == "multiact":
        assert all(f" as {public}" in text for public in ma.__all__)


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """A function that type-checks a text against the stubs, and gives mypy's messages."""
    pytest.importorskip("mypy")
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("mypy")
    specification = importlib.util.spec_from_file_location("link_tree", ROOT / "tools" / "link_tree.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    tree = module.make(folder / "tree")

    def run(files):
        for name, text in files.items():
            (folder / name).write_text(text)
        command = [sys.executable, "-m", "mypy", "--cache-dir", str(folder / "cache"), "--strict", "--no-site-packages"]
        command += ["--follow-imports=silent", *files]
        environment = {"MYPYPATH": f"{tree}:{folder / 'stand_in'}", "PATH": ""}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout

    # torch itself takes mypy a minute; what the stubs need of it is this.
    package = folder / "stand_in" / "torch"
    package.mkdir(parents=True)
    (package / "__init__.pyi").write_text(
        "from . import nn as nn\nclass Tensor: ...\ndef ones(*n: int) -> Tensor: ...\n"
    )
    (package / "nn.pyi").write_text(
        "from typing import Any\nclass Module:\n    def __call__(self, *a: Any) -> Any: ...\n"
        "class Sequential(Module):\n    def __init__(self, *m: Module) -> None: ...\n"
    )
    return run


def test_user_code_type_checks(mypy):
    report = mypy({"good.py": GOOD})
    assert "good.py" not in report, report


def test_wrong_user_code_does_not_type_check(mypy):
    files = {f"bad{i}.py": f"import torch\nimport multiact\n{code}\n" for i, code in enumerate(BAD)}
    report = mypy(files)
    for i, (code, kind) in enumerate(BAD.items()):
        lines = [line for line in report.splitlines() if line.startswith(f"bad{i}.py")]
        assert any(line.endswith(f"[{kind}]") for line in lines), f"{code}\n{report}"
