"""A quick part of the suite in this process, its processes, its reports, and what it answers to impossible requests."""

from __future__ import annotations

import json
import re

import pytest
import typer
from typer.testing import CliRunner

import multiact
from multiact import files
from multiact.capabilities import capabilities
from multiact.conformance import cases, command, report, runner

QUICK = ("relu", "sigmoid", "leaky_relu", "softplus", "glu", "mish")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def cli():
    app = typer.Typer()
    app.command()(command.conformance)
    tester = CliRunner()
    return lambda *arguments: tester.invoke(app, list(arguments))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("backend", ["numpy", "jax"])
@pytest.mark.parametrize("activation", QUICK)
def test_quick_part(backend, activation, dtype):
    pytest.importorskip(backend)
    rows = runner.run_here(runner.load_harness(backend), runner.request([backend], [activation], [dtype]))
    assert rows
    assert not [report.describe([r]) for r in rows if r.verdict == "fail"]


def test_every_activation_has_cases_in_every_mode_and_dtype():
    pytest.importorskip("jax")
    harness = runner.load_harness("jax")
    for name in multiact.names():
        activation = multiact.get(name)
        full = cases.cases(harness, [activation], dtypes=harness.dtypes, effort="full")
        everything = {(m, d) for m in harness.modes for d in harness.dtypes}
        assert {(c.mode, c.dtype) for c in full} == everything
        usual = cases.cases(harness, [activation], dtypes=harness.dtypes)
        found = {(c.mode, c.dtype) for c in usual}
        assert {m for m, _ in found} == set(harness.modes)
        assert found >= {(m, d) for m, d in everything if m in ("eager", "reverse")}
        assert found >= {(m, d) for m, d in everything if d in ("float32", "bfloat16")}
        quick = cases.cases(harness, [activation], dtypes=harness.dtypes, effort="quick")
        assert {c.dtype for c in quick} == {"float32", "bfloat16"} and len(quick) < len(usual) / 2
        for plan in (full, usual, quick):
            orders = {c.order for c in plan if c.mode == "reverse"}
            assert orders >= {1, *(p.name for p in activation.held)}, name


def test_every_fault_of_a_native_is_listed():
    pytest.importorskip("torch")
    asked = runner.request(["torch"], ["gelu"], ["float32"], ["eager"], native=True)
    (row,) = (r for r in runner.run_here(runner.load_harness("torch"), asked) if r.order == 0)
    faults = {f["from"]: f for f in row.faults}
    assert faults["-inf"]["got"] == "nan" and faults["-inf"]["wanted"] == 0
    (tail,) = (f for f in row.faults if isinstance(f["from"], float) and f["from"] < -5 < f["to"])
    assert tail["got"] != tail["wanted"] and tail["error"] > 1e4
    assert "-inf: got nan, wanted" in "\n".join(report.describe([row]))


def test_names_are_checked_before_anything_runs():
    with pytest.raises(multiact.BackendNotAvailableError, match="no backend is named 'pytorch'.*torch"):
        runner.request(["pytorch"])
    with pytest.raises(multiact.UnknownActivationError, match="Did you mean 'gelu'"):
        runner.request(["numpy"], ["gellu"])
    with pytest.raises(runner.RequestError, match="no dtype is named 'float8'.*bfloat16"):
        runner.request(["numpy"], dtypes=["float8"])
    with pytest.raises(runner.RequestError, match="no mode is named 'fast'.*compiled"):
        runner.request(["numpy"], modes=["fast"])


def test_a_framework_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(multiact.dispatch, "installed", lambda name: name != "jax")
    with pytest.raises(multiact.BackendNotAvailableError, match=re.escape("pip install 'multiact[jax]'")):
        runner.request(["jax"])
    with pytest.raises(multiact.BackendNotAvailableError, match="jax"):
        runner.request(["keras-jax"])


def test_a_device_that_is_not_there():
    asked = runner.request(["numpy"], ["relu"], device="gpu")
    with pytest.raises(runner.RequestError, match="numpy has no device 'gpu' here. There are: cpu"):
        runner.run_here(runner.load_harness("numpy"), asked)


def test_command_writes_its_reports(cli, tmp_path):
    page, data = tmp_path / "c.html", tmp_path / "c.json"
    found = cli(
        "--backend",
        "numpy",
        "--activation",
        "leaky_relu",
        "--dtype",
        "float32",
        "--html",
        str(page),
        "--json",
        str(data),
    )
    assert found.exit_code == 0, found.output
    assert "leaky_relu" in found.output and "0 fail" in found.output
    content = json.loads(data.read_text())
    assert set(content) == {"environment", "rows"} and content["environment"]["versions"]["numpy"]
    fields = {
        "activation", "backend", "mode", "dtype", "device", "order", "points", "worst_error", "worst_ulp", "worst_at",
        "share_correctly_rounded", "nonfinite_disagreements", "budget", "verdict", "reason",
    }  # fmt: skip
    assert content["rows"] and all(fields <= set(row) for row in content["rows"])
    assert {row["order"] for row in content["rows"]} == {0, 1, 2, "negative_slope"}
    text = page.read_text()
    assert "leaky_relu" in text and "http" not in text.replace("http-equiv", "")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.html", "c.json"]


def test_command_ends_with_1_when_something_misses_its_budget(cli):
    pytest.importorskip("jax")
    found = cli("--backend", "jax", "--activation", "gelu", "--dtype", "float32", "--mode", "eager", "--native")
    assert found.exit_code == 1, found.output
    assert "1 failing cases" in found.output and "jax.nn.gelu" in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "numpi"], "no backend is named 'numpi'"),
        (["--activation", "rellu"], "Did you mean"),
        (["--dtype", "int8"], "no dtype is named 'int8'"),
        (["--mode", "spread"], "no mode is named 'spread'"),
        (["--backend", "numpy", "--activation", "relu", "--dtype", "float32", "--device", "tpu"], "no device 'tpu'"),
        (["--backend", "numpy", "--mode", "forward"], "nothing to run"),
    ],
)
def test_command_refuses(cli, tmp_path, arguments, said):
    path = tmp_path / "c.json"
    found = cli(*arguments, "--json", str(path))
    assert found.exit_code == 2
    assert said in found.output
    assert not path.exists()


def test_output_is_checked_before_the_run(cli, tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the run was started")

    monkeypatch.setattr(runner, "run", never)
    for path, said in ((tmp_path / "no" / "c.html", "there is no folder"), (tmp_path, "it is a folder")):
        found = cli("--backend", "numpy", "--html", str(path))
        assert found.exit_code == 2 and said in found.output.replace("\n", "")
    monkeypatch.setattr(files.tempfile, "TemporaryFile", _denied)
    found = cli("--backend", "numpy", "--html", str(tmp_path / "c.html"))
    assert found.exit_code == 2 and "cannot write" in found.output
    assert not list(tmp_path.iterdir())


def _denied(**kwargs):
    raise PermissionError(13, "Permission denied")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.json"
    files.write(path, "old")
    monkeypatch.setattr(files.os, "replace", _replaced)
    with pytest.raises(OSError):
        files.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def _replaced(*args):
    raise OSError("disk full")


def test_a_process_that_dies_is_reported_not_passed_over(monkeypatch):
    def go(self):
        self.log.write_text("terminate called without an active exception\n")
        self.process.kill()

    monkeypatch.setattr(runner._Running, "go", go)
    monkeypatch.setattr(runner, "prepare", lambda *args: None)
    asked = runner.request(["numpy"], ["relu"], ["float32"])
    _, rows = runner.run(asked)
    assert [(r.order, r.verdict) for r in rows] == [(0, "fail"), (1, "fail"), (2, "fail")]
    assert "SIGKILL" in rows[0].reason and "terminate called" in rows[0].reason
    assert "not run" in rows[1].reason


def test_a_process_that_does_not_start_is_reported(monkeypatch):
    monkeypatch.setattr(runner._Running, "begin", lambda self: (self.process.kill(), self._receive()))
    monkeypatch.setattr(runner, "prepare", lambda *args: None)
    _, rows = runner.run(runner.request(["numpy"], ["relu"], ["float32"]))
    assert [r.verdict for r in rows] == ["fail"] and "did not start (signal SIGKILL)" in rows[0].reason


def test_known_cases_need_a_reason(monkeypatch):
    entry = {"activation": "tanh", "backend": "numpy", "mode": "eager", "dtype": "*", "order": "0", "reason": "because"}
    monkeypatch.setattr(runner, "_known", lambda: [entry])
    harness = runner.load_harness("numpy")
    found = {
        c.order: runner.known_reason(c, "numpy")
        for c in cases.cases(harness, [multiact.get("tanh")], dtypes=["float32"])
    }
    assert found == {0: "because", 1: None, 2: None}


def test_the_list_of_known_cases_gives_reasons():
    for entry in runner._known():
        assert len(str(entry.get("reason", ""))) > 20
        assert set(entry) <= {"activation", "backend", "mode", "dtype", "order", "reason"}


def test_known_cases_of_capabilities_name_a_report():
    found = [e for e in runner._known() if e.get("mode") in capabilities(str(e["backend"]))]
    assert found
    for entry in found:
        assert re.search(r"\w#\d+", entry["reason"]), entry


def test_frameworks_without_a_backend_are_judged_with_native_only():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(multiact.BackendNotAvailableError, match="onnx is no backend.*--native"):
        runner.request(["onnx"])
    asked = runner.request(["onnx"], ["hard_swish", "leaky_relu"], ["float32"], native=True)
    rows = runner.run_here(runner.load_harness("onnx"), asked)
    found = {(r.setting, r.order): r.verdict for r in rows}
    assert found["onnx.HardSwish", 0] in ("pass", "fail") and found["onnx.LeakyRelu", 0] == "pass"
    assert {v for (_, order), v in found.items() if order} == {"skip"}
    assert "onnx" in runner.request([], ["relu"], native=True).backends
    assert "onnx" not in runner.request([], ["relu"]).backends


def test_the_peers_of_a_framework_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(runner, "_present", lambda name: name != "onnx")
    with pytest.raises(multiact.BackendNotAvailableError, match="pip install onnx"):
        runner.request(["onnx"], native=True)
    assert "onnx" not in runner.request([], ["relu"], native=True).backends
