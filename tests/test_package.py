"""The packages: complete, imported by one name only, and each importing only what it may."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import multiact as ma
from multiact import dispatch

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("multiact", "backends", "conformance", "benchmarks")
FRAMEWORKS = {
    "torch",
    "jax",
    "jaxlib",
    "flax",
    "equinox",
    "mlx",
    "dask",
    "ndonnx",
    "cupy",
    "tensorflow",
    "keras",
    "tf_keras",
    "onnx",
    "onnxruntime",
    "transformers",
    "timm",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources():
    """Every Python file of the four rooms, with its room and the path inside it."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield room, path.relative_to(ROOT / room), path


def dotted(room, inside):
    """The name under which a file is imported."""
    parts = ["multiact", *([] if room == "multiact" else [room]), *inside.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every absolute module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def test_packages_match_the_tree():
    found = {dotted(room, inside) for room, inside, _ in sources() if inside.name == "__init__.py"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found
    holding = {dotted(room, inside.parent / "__init__.py") for room, inside, _ in sources()}
    assert holding == found, "a folder with modules has no __init__.py"


def test_every_room_refuses_another_name():
    for room in ROOMS[1:]:
        done = subprocess.run(
            [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert f"ImportError: import this package as multiact.{room}, not as '{room}'" in done.stderr


def test_the_checkout_works_without_being_installed(tmp_path):
    """From the root, and from elsewhere with the root on the path; -S leaves out the site packages and what they hook."""
    code = "import multiact.backends, multiact.benchmarks, multiact.conformance; print(multiact.backends.__file__)"
    for folder, path in ((ROOT, "."), (tmp_path, str(ROOT))):
        source = f"import sys; sys.path.insert(0, {path!r}); {code}"
        done = subprocess.run(
            [sys.executable, "-S", "-c", source], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (folder / done.stdout.strip()).resolve() == ROOT / "backends" / "__init__.py"


@pytest.mark.parametrize("room", ROOMS)
def test_a_framework_is_imported_only_in_its_own_folder(room):
    for found, inside, path in sources():
        if found != room:
            continue
        allowed = {inside.parts[0]} if room == "backends" and len(inside.parts) > 1 else set()
        allowed |= {
            "jax": {"jaxlib"},
            "flax": {"jax"},
            "equinox": {"jax"},
            "onnx": {"onnxruntime"},
            "ndonnx": {"onnx", "onnxruntime"},
            "torch": {"onnxruntime"},
            "transformers": {"torch"},
        }.get(next(iter(allowed), ""), set())
        used = {module.partition(".")[0] for module in imports(path)} & FRAMEWORKS
        assert used <= allowed, f"{path.relative_to(ROOT)} imports {used - allowed}"


def test_the_core_depends_on_numpy_and_array_api_compat_alone():
    assert [d.partition(">")[0] for d in PROJECT["project"]["dependencies"]] == ["numpy", "array-api-compat"]
    allowed = {"numpy", "array_api_compat", "multiact", *sys.stdlib_module_names}
    optional = {
        "cli.py": {"typer", "rich"},
        "commands.py": {"typer", "rich", "jinja2"},
        "advisor_command.py": {"typer", "rich"},
        "translation_command.py": {"typer", "rich"},
        "plot.py": {"matplotlib"},
        "progress.py": {"rich"},
        "showing.py": {"matplotlib"},
        "symbolic.py": {"sympy"},
    }
    folders = {"diagnostics": {"rich"}, "explorer": {"typer", "rich", "jinja2", "bokeh", "latex2mathml"}}
    for room, inside, path in sources():
        if room == "multiact":
            more = optional.get(inside.name, set()) | folders.get(inside.parts[0], set())
            assert {m.partition(".")[0] for m in imports(path)} <= allowed | more, path.name


def test_extras():
    extras = PROJECT["project"]["optional-dependencies"]
    rooms = {"torch", "jax", "tensorflow", "keras", "flax", "equinox", "mlx", "onnx"}
    assert set(extras) == {*rooms, "conformance", "bench", "explore", "plot", "docs", "all", "dev"}
    assert set(dispatch.BUILTIN) - {"numpy"} <= set(extras)
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in constraints()}
    for name, requirements in extras.items():
        for requirement in requirements:
            project = requirement.partition(">")[0].partition("[")[0].lower().replace("_", "-")
            assert project == "multiact" or project in pinned, f"{requirement} of {name} is not in constraints.txt"


def constraints():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_pin_exactly():
    assert all(line.count("==") == 1 and "/" not in line for line in constraints())


@pytest.fixture
def tree(tmp_path):
    """The packages as they lie once installed; see tools/link_tree.py."""
    specification = importlib.util.spec_from_file_location("link_tree", ROOT / "tools" / "link_tree.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.make(tmp_path)


def contracts(tree):
    """Run import-linter over a tree; gives its exit status and report."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = {"PYTHONPATH": str(tree), "PATH": "", "TERM": "dumb"}
    command += ["--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_who_imports_whom(tree):
    pytest.importorskip("importlinter")
    status, report = contracts(tree)
    assert status == 0 and "3 kept, 0 broken" in report, report


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors.py", "import multiact.backends.numpy"),
        ("errors.py", "from multiact.conformance import oracle"),
        ("backends/numpy/adapter.py", "from multiact.backends.jax import adapter"),
        ("benchmarks/port_model.py", "from multiact.backends.torch import port"),
        ("unheard_of.py", "import math"),
    ],
)
def test_a_forbidden_import_is_found(tree, module, line):
    pytest.importorskip("importlinter")
    changed = tree / "multiact" / module
    room = changed.parent
    while room.parent != tree and not room.is_symlink():
        room = room.parent
    if room.is_symlink():  # a copy of the room, so that the checkout is left alone
        original = room.resolve()
        room.unlink()
        for path in original.rglob("*.py"):
            copy = room / path.relative_to(original)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    text = changed.read_text() if changed.exists() else ""
    changed.unlink(missing_ok=True)
    changed.write_text(f"{text}\n{line}\n")
    status, report = contracts(tree)
    assert status == 1, report


def modules():
    """Every module with doctests that can be imported here."""
    for room, inside, path in sources():
        name = dotted(room, inside)
        backend = inside.parts[0] if room == "backends" and len(inside.parts) > 1 else "numpy"
        if ">>>" in path.read_text(encoding="utf-8"):
            yield pytest.param(
                name, marks=pytest.mark.skipif(not dispatch.installed(backend), reason=f"needs {backend}")
            )


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried and not failed


def test_version_and_entry_point():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "multiact.__version__"}
    assert f"## [{ma.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    module, _, function = PROJECT["project"]["scripts"]["multiact"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_third_party_backends_are_found_by_entry_point(tmp_path, monkeypatch):
    """A backend of another package needs nothing but its entry point."""
    (tmp_path / "other_backend.py").write_text(
        "from multiact.backends.numpy.adapter import NumPyBackend\n"
        "class Other(NumPyBackend):\n    name = 'other'\n    def owns(self, x): return False\n"
        "backend = Other()\n"
    )
    information = tmp_path / "other_backend-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other-backend\nVersion: 1.0\n")
    entries = configparser.ConfigParser()
    entries["multiact.backends"] = {"other": "other_backend:backend"}
    with (information / "entry_points.txt").open("w") as file:
        entries.write(file)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "other" in dispatch.backend_names()
    assert dispatch.backend("other").name == "other"
    dispatch._backends.pop("other")


def test_no_module_of_the_core_is_hidden_by_an_activation():
    hidden = {m.name for m in pkgutil.iter_modules(ma.__path__)} & {*ma.names(), *ma.registry.aliases()}
    assert not hidden
