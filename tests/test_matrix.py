"""The page of capabilities: what is counted, what is said of what fails, and the files it is made from."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from multiact import capabilities
from multiact.conformance import matrix
from multiact.conformance.matrix import Cell
from multiact.natives import folder, frameworks


def row(activation="gelu", verdict="pass", mode="second", **more):
    inaccurate = {"worst_error": 30.0} if verdict == "fail" else {"worst_error": 0.5}
    usual = {
        "setting": "",
        "backend": "torch",
        "dtype": "float32",
        "order": 2,
        "nonfinite_disagreements": 0,
        "reason": "",
    }
    return {**usual, **inaccurate, "activation": activation, "verdict": verdict, "mode": mode, **more}


def report(path, rows, native=False):
    environment = {
        "date": "2026-11-27 10:00:00",
        "machine": "x86_64",
        "cores": 2,
        "python": "3.11.7",
        "versions": {"torch": "2.13"},
        "native": native,
    }
    path.write_text(json.dumps({"environment": environment, "rows": rows}), encoding="utf-8")
    return str(path)


def run(*arguments):
    import typer

    app = typer.Typer()
    app.command()(matrix.command)
    return CliRunner().invoke(app, list(arguments))


def test_the_worst_of_an_activation_counts():
    cell = Cell()
    for name, verdict in [("a", "pass"), ("a", "known"), ("a", "skip"), ("b", "pass"), ("c", "skip")]:
        cell.add(name, verdict)
    assert cell.text == "◐ 1, 1 known"
    cell.add("b", "fail")
    assert cell.text == "✗ 0, 1 known, 1 failing"
    assert Cell({"a": "skip"}).text == "n/a" and Cell().text == ""
    assert Cell({"a": "pass", "b": "skip"}).text == "✓ 1"
    assert Cell({"a": "pass", "b": "known", "c": "fail"}).own == "1 ✓ 1 ≈ 1 ✗"


def test_a_page_of_what_passes_is_known_and_fails(tmp_path):
    ours = [row(), row("relu", "known", reason="torch#1: wrong there"), row("silu", mode="eager", order=0)]
    own = [
        row("relu", "fail", setting="torch.relu"),
        row(
            "hard_sigmoid",
            "fail",
            setting="torch.hardsigmoid",
            worst_error=None,
            reason="RuntimeError: | not implemented",
        ),
    ]
    page = tmp_path / "page.md"
    result = run(report(tmp_path / "a", ours), report(tmp_path / "b", own, native=True), "--markdown", str(page))
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    second = next(line for line in text.splitlines() if line.startswith("| second derivative"))
    assert second == "| second derivative (`second`) | ◐ 0, 1 known<br>own: 1 ≈ | ✓ 1 |"
    assert "| torch#1: wrong there | relu | torch: `second` |" in text
    assert "| torch | `second` | torch.relu | misses the error budget |" in text
    assert "| torch | `second` | torch.hardsigmoid | RuntimeError: \\| not implemented |" in text
    assert "## Failing" not in text


def test_one_of_ours_that_fails_is_told_and_ends_with_1(tmp_path):
    page = tmp_path / "page.md"
    failing = row(verdict="fail", worst_error=None, reason="ValueError: not exported")
    result = run(report(tmp_path / "a", [failing]), "--markdown", str(page))
    assert result.exit_code == 1 and "not exported" in result.output
    assert "| torch | `second` | gelu | ValueError: not exported |" in page.read_text(encoding="utf-8")
    assert "✗ 0, 1 failing" in page.read_text(encoding="utf-8")


def test_the_tests_of_whole_models_are_counted(tmp_path):
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_matrix" name="a"/>'
        '<testcase classname="tests.test_matrix" name="b"><failure/></testcase>'
        '<testcase classname="tests.test_matrix" name="c"><skipped/></testcase></testsuite></testsuites>',
        encoding="utf-8",
    )
    (found,) = matrix.whole(junit)
    assert (found.passed, found.failed, found.skipped) == (1, 1, 1)
    assert found.file == "tests/test_matrix.py" and found.title.startswith("The page of capabilities")
    result = run(report(tmp_path / "a", [row()]), "--tests", str(junit))
    assert result.exit_code == 1 and "1 failing" in result.output


@pytest.mark.parametrize("content", ["", "{}", "[1]", "<a>"])
def test_a_file_that_is_no_report_is_refused(tmp_path, content):
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    result = run(str(file))
    assert result.exit_code == 2 and "is not a report" in " ".join(result.output.split())
    result = run(report(tmp_path / "a", [row()]), "--tests", str(tmp_path / "missing.xml"))
    assert result.exit_code == 2 and "no JUnit file" in " ".join(result.output.split())


@pytest.mark.parametrize("framework", [f for f in frameworks() if capabilities.capabilities(f)])
def test_every_entry_of_a_table_can_be_shown(framework):
    for name, entry in capabilities.capabilities(framework).items():
        assert name.isidentifier() and name not in matrix.MODES
        assert entry.title and entry.group and set(entry.kinds) <= set(capabilities.KINDS)
        assert entry.orders and set(entry.orders) <= {0, 1, 2, 3, "parameters"}


@pytest.mark.parametrize("framework", [f for f in frameworks() if capabilities.capabilities(f)])
def test_every_entry_of_a_table_is_evaluated_by_something(framework):
    tree = ast.parse(Path(folder(), framework, "capabilities.py").read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assigned = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    assert set(capabilities.capabilities(framework)) <= functions | assigned


def test_verdicts_are_published_for_the_explorer(tmp_path, monkeypatch):

    def row(name, mode, verdict, backend="torch"):
        return {"backend": backend, "mode": mode, "activation": name, "setting": name, "verdict": verdict, "reason": ""}

    rows = [
        (False, row("relu", "onnx", "pass")),
        (False, row("silu", "onnx", "known")),
        (False, row("silu", "scan", "fail", "jax")),
        (False, row("relu", "scan", "skip", "jax")),
    ]
    path = tmp_path / "survived.json"
    path.write_text(matrix.published({"date": "2026-01-01", "versions": {}, "cores": 2}, rows))
    monkeypatch.setattr(capabilities, "FILE", str(path))
    capabilities._published.cache_clear()
    try:
        found = capabilities.survived("swish")
        assert {b: [(r[0], r[2], r[3]) for r in own] for b, own in found.items()} == {
            "torch": [("export", "onnx", "known")],
            "jax": [("transforms", "scan", "fail")],
        }
        assert capabilities.survived("relu")["jax"] == [] and capabilities.survived("gelu") == {}
    finally:
        capabilities._published.cache_clear()


def test_what_is_shipped_is_of_the_catalogue():
    from multiact import registry

    published = capabilities._published()
    assert published["activations"] == sorted(registry.names())
    for backend, rows in published["backends"].items():
        assert rows and all(len(row[3]) == len(published["activations"]) for row in rows), backend
        assert not any("f" in row[3] for row in rows), backend
