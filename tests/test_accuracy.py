"""What is published about the accuracy holds, and a figure that does not is noticed. Rows of earlier runs are used rightly."""

from __future__ import annotations

import dataclasses
import json

import pytest

import multiact as ma
from multiact import dispatch, fingerprint, measured
from multiact.conformance import accuracy, kept, runner

#: A few of each kind, where rounding differs between frameworks; `make quick` compares all.
CHECKED = ("gelu", "silu", "mish", "tanh", "elu", "softplus", "log_softmax")


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MULTIACT_CACHE", str(tmp_path_factory.mktemp("cache")))


def small(**more):
    return runner.request(["numpy"], ["relu", "elu"], ["float32"], **more)


def test_figures_are_rounded_up():
    assert accuracy._up(1.2345) == 1.24 and accuracy._up(1.23) == 1.23 and accuracy._up(0.0) == 0.0
    assert accuracy._up(9.999e7) == 1e8 and accuracy._up(float("inf")) == "inf"


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_no_published_figure_is_beaten_by_reality(backend):
    pytest.importorskip(backend)
    asked = runner.request([backend], CHECKED, ["float32", "bfloat16"], effort="quick")
    rows = [dataclasses.asdict(r) for r in runner.run_here(runner.load_harness(backend), asked)]
    published = [row for name in CHECKED for row in measured.rows(name)]
    found = accuracy.summarised(rows, native=False)
    assert len(found) >= 2 * len(CHECKED)
    if measured.environment().get("processor") == runner._processor():
        assert accuracy.beaten(found, published) == []
    worse = [{**row, "worst_error": float(row["worst_error"]) * 1.5 + 1} for row in found]
    assert len(accuracy.beaten(worse, published)) == len(worse)
    assert all("not published" in line for line in accuracy.beaten(found, []))


def test_every_activation_has_published_figures_on_every_backend():
    backends = {b for b in runner.BACKENDS if b.split("-")[0] in dispatch.BUILTIN}
    for name in ma.names():
        assert {row["backend"] for row in measured.rows(name) if not row["native"]} == backends, name


def test_the_command_writes_figures_and_page(tmp_path):
    from typer.testing import CliRunner

    from multiact import cli

    _, rows = {}, [dataclasses.asdict(r) for r in runner.run_here(runner.load_harness("numpy"), small())]
    environment = runner._environment(small())
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"environment": environment, "rows": rows}))
    data, page = tmp_path / "measured.json", tmp_path / "accuracy.md"

    def run(*arguments):
        return CliRunner().invoke(cli._app(["accuracy"]), ["accuracy", *map(str, arguments)])

    done = run(report, "--data", data, "--markdown", page)
    assert done.exit_code == 0, done.output
    assert "| elu | float32 | multiact |" in page.read_text()
    assert measured._read(str(data))[1]["relu"][0]["dtype"] == "float32"
    assert run(tmp_path / "none.json", "--data", data).exit_code == 2
    report.write_text("[]")
    assert run(report, "--data", data).exit_code == 2
    assert "relu" in data.read_text(), "a failure must leave the old file"


def test_damaged_figures_are_told(tmp_path, monkeypatch):
    (tmp_path / "measured.json").write_text("{")
    monkeypatch.setattr(measured, "FILE", str(tmp_path / "measured.json"))
    with pytest.raises(ma.MultiactError, match="is damaged"):
        measured.rows("relu")
    monkeypatch.setattr(measured, "FILE", str(tmp_path / "absent.json"))
    assert measured.rows("relu") == [] and measured.environment() == {}


def test_an_interrupted_run_goes_on_where_it_stopped(own_cache, monkeypatch):
    done = []

    def interrupted(what, count, total):
        done.append(what)
        if len([w for w in done if w.startswith("numpy")]) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(small(), advance=interrupted)
    environment, rows = runner.run(small())
    assert environment["kept"] == 3
    assert len(rows) == len(runner.run_here(runner.load_harness("numpy"), small()))
    assert runner.run(small())[0]["kept"] == len(rows)
    again, same = runner.run(small(fresh=True))
    assert again["kept"] == 0 and len(same) == len(rows)
    assert runner.run(small(effort="quick"))[0]["kept"] == 0, "a quick run has other points"


def test_rows_are_kept_only_for_the_code_that_made_them(own_cache, monkeypatch):
    _, rows = runner.run(small())
    keep = kept.Kept("numpy", {"numpy": runner.np.__version__}, thin=False)
    facts = dataclasses.asdict(rows[0])
    assert keep.find(facts) is not None
    assert kept.Kept("numpy", {"numpy": "0.0"}, thin=False).find(facts) is None, "another version"
    changed = dataclasses.replace(ma.get(rows[0].activation), definition="x * 2")
    monkeypatch.setattr(kept, "get", lambda name: changed)
    assert keep.find(facts) is None, "another definition"
    failing = dataclasses.replace(rows[0], verdict="fail", mode="never")
    keep.add(failing)
    assert kept.Kept("numpy", {"numpy": runner.np.__version__}, thin=False).find(dataclasses.asdict(failing)) is None


def test_formulas_are_found_with_what_they_use_of_the_catalogue():
    modules = fingerprint.modules(ma.get("sparsemax").function)
    assert {"multiact.catalog.sparse", "multiact.catalog.normalising"} <= modules
    modules = fingerprint.modules(ma.get("elish").function)
    assert {"multiact.catalog.exponential_units", "multiact.catalog.self_gated"} <= modules, (
        "its formulas call those of silu"
    )
    assert "multiact.catalog.normalising" in fingerprint.modules(ma.get("softmax").function)
    assert fingerprint.bodies(ma.get("swiglu").function), "those of the activation that is gated"


def test_a_cut_off_line_is_passed_over(own_cache):
    runner.run(small())
    (file,) = (kept.cache.directory("rows")).glob("numpy-*.jsonl")
    text = file.read_text()
    file.write_text(text[:-40])
    environment, rows = runner.run(small())
    assert environment["kept"] == len(rows) - 1
