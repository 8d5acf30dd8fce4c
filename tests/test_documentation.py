"""What README, CONTRIBUTING and the guides show is what happens."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import multiact as ma
from multiact import cli, dispatch

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GUIDES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "guides").glob("*.md"))}


def blocks(text, language):
    """The fenced blocks of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def test_the_first_screen():
    first = README.split("\n## ")[0]
    assert len(first.splitlines()) <= 30
    assert ">>> " in first and "pip install 'multiact[torch]'" in first


@pytest.mark.skipif(not all(map(dispatch.installed, dispatch.BUILTIN)), reason="needs every framework")
@pytest.mark.parametrize("document", ["README", *GUIDES])
def test_examples_of_the_documents(document, tmp_path):
    """In a process of their own, as a reader would type them: one session from the first block to the last.

    A block without a prompt is a file that is imported later; of several, the last is the finished one.
    """
    found = blocks(GUIDES.get(document, README), "python")
    for file in (block for block in found if ">>> " not in block):
        (tmp_path / "bump.py").write_text(file, encoding="utf-8")
    code = f"""
import doctest, sys
text = sys.stdin.read()
test = doctest.DocTestParser().get_doctest(text, {{}}, {document!r}, {document!r}, 0)
runner = doctest.DocTestRunner(optionflags={doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS})
runner.run(test)
print(runner.tries, "tried")
sys.exit(runner.failures)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="\n".join(found),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(re.search(r"(\d+) tried", done.stdout)[1]) > (15 if document == "README" else 3)


def test_the_guide_to_adding_an_activation_checks_as_it_says(tmp_path):
    pytest.importorskip("flint")
    guide = GUIDES["add_an_activation"]
    draft, finished = (block for block in blocks(guide, "python") if ">>> " not in block)
    said = {line.split("  ")[1].strip() for line in guide.splitlines() if line.startswith("problem  ")}
    for text, problems in ((draft, said), (finished, set())):
        (tmp_path / "bump.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "multiact.cli", "check", "bump.py", "--backend", "numpy"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        )
        assert done.returncode == bool(problems), done.stdout + done.stderr
        found = {line.split("  ")[1].strip() for line in done.stdout.splitlines() if line.startswith("problem  ")}
        assert found == problems, done.stdout


def test_commands_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    every = "\n".join([README, CONTRIBUTING, *GUIDES.values()])
    named = {n for code in re.findall(r"`[^`]+`", every) for n in re.findall(r"\bmake ([a-z-]+)", code)}
    assert {"test", "site"} <= named <= targets, named - targets
    commands = {
        m for block in blocks(every, "sh") for m in re.findall(r"^multiact ([a-z-]+)", block, flags=re.MULTILINE)
    }
    assert "check" in commands and commands <= {"list", "show", "plot", *cli.ELSEWHERE}
    for path in re.findall(r"`((?:multiact|backends|tools|tests|conformance|benchmarks|docs)/[\w/.]*)`", every):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([\w.]+)\)", README):
        assert (ROOT / path).is_file(), path


def test_every_activation_is_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name in ma.names():
        assert re.search(rf"\b{name}\b", text), name


@pytest.fixture
def with_the_example(tmp_path):
    """A copy of the packages with the example of CONTRIBUTING as one more file of the catalogue."""
    for room in ("multiact", "backends", "conformance", "benchmarks"):
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = tmp_path / ("" if room == "multiact" else "multiact") / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    (example,) = [b for b in blocks(CONTRIBUTING, "python") if "pointwise(" in b]
    (tmp_path / "multiact" / "catalog" / "radial.py").write_text(example, encoding="utf-8")

    def run(code, *arguments):
        source = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{textwrap.dedent(code)}"
        return subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True, text=True, check=False)

    return run


def test_one_file_adds_an_activation_everywhere(with_the_example):
    done = with_the_example(
        """
        import multiact as ma, numpy as np
        assert "radial" in ma.__file__ or "ricker" in ma.names()
        ricker = ma.get("ricker")
        assert ma.ricker(np.asarray([0.0, -np.inf, np.inf])).tolist() == [1.0, 0.0, 0.0]
        assert ricker.derivative(np.asarray([-np.inf, 0.0, np.inf])).tolist() == [0.0, 0.0, 0.0]
        assert np.isnan(ricker.derivative(np.asarray(np.nan), order=2))
        x = np.linspace(-9, 9, 200_001)
        steepest = np.sqrt(3 - np.sqrt(6))
        slope = steepest * (3 - steepest**2) * np.exp(-(steepest**2) / 2)
        assert abs(np.abs(ricker.derivative(x)).max() / slope - 1) < 1e-8

        from multiact import dispatch, stubs
        assert set(stubs.stale()) == set(stubs.available().values())
        for name in stubs.available():
            text = stubs.generate(name)
            assert "def ricker(" in text and ("class Ricker(" in text) == (name in ("torch", "keras", "flax", "equinox", "mlx"))
        for name in dispatch.BUILTIN:
            if dispatch.installed(name):
                backend = dispatch.backend(name)
                assert backend.function(ricker).__name__ == "ricker"
                assert not getattr(backend, "has_layers", False) or backend.layer(ricker).__name__ == "Ricker"
        """
    )
    assert done.returncode == 0, done.stderr


def test_one_file_adds_an_activation_to_the_commands(with_the_example):
    pytest.importorskip("typer")
    pytest.importorskip("flint")
    shown = with_the_example("from multiact.cli import main; main(sys.argv[1:])", "show", "ricker")
    assert shown.returncode == 0 and "Benveniste" in shown.stdout, shown.stderr
    small = ["--backend", "numpy", "--activation", "ricker", "--dtype", "float32", "--dtype", "float64"]
    judged = with_the_example("from multiact.cli import main; main(sys.argv[1:])", "conformance", *small)
    assert judged.returncode == 0 and "ricker" in judged.stdout, judged.stdout + judged.stderr
