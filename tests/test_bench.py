"""The benchmark: what is measured, how it is summarised, and what is written. No test asserts a time."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest

import multiact as ma
from multiact import dispatch, harnesses
from multiact.benchmarks import cases, measure, runner, targets
from multiact.benchmarks.naive import naive, source
from multiact.protocols import Native, Timed
from multiact.registry import get

for package in ("rich", "typer", "jinja2", "cpuinfo"):
    pytest.importorskip(package)

from multiact.benchmarks import command, figures, page, report

FAST = measure.Effort(least=2, most=2, seconds=0.0, slice=1e-5)
TIMED = [n for n in ("numpy", "torch", "jax", "tensorflow") if dispatch.installed(n)]
#: What issue and design say a row has.
FIELDS = [
    "activation",
    "backend",
    "mode",
    "dtype",
    "device",
    "size",
    "direction",
    "seconds",
    "native_seconds",
    "copy_seconds",
    "speedup",
    "of_limit",
]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(runner, "QUICK", FAST)


def rows(backend, *activations, **settings):
    """The rows of a request in this process."""
    asked = runner.request([backend], activations, settings.pop("dtypes", ["float32"]), quick=True, **settings)
    harness = harnesses.load(backend)
    return list(runner.run_here(harness, asked))


def bench(*arguments, command="bench"):
    """The command in a process of its own."""
    code = f"from multiact.cli import main; main({[command, *map(str, arguments)]!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# The naive formula


def example(activation):
    return dict(activation.examples[0]) if any(p.default is None for p in activation.parameters) else {}


@pytest.mark.parametrize("name", [n for n in ma.names() if ma.get(n).kind == "pointwise"])
def test_the_naive_formula_is_the_activation(name):
    pytest.importorskip("scipy")
    activation, x = ma.get(name), np.concatenate([np.linspace(-6, 6, 400), [0.0]])
    given = example(activation)
    with np.errstate(all="ignore"):
        got = naive(activation, harnesses.load("numpy").operation, given)(x)
    np.testing.assert_allclose(got, activation(x, **given), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["glu", "swiglu_oai", "softmax", "softmax2d", "crelu", "squash", "log_softmax"])
def test_the_naive_formula_of_several_numbers(name):
    activation = ma.get(name)
    inputs = [x.astype("float64") for x in cases.arrays(activation, 1024)]
    harness = harnesses.load("numpy")
    got = naive(activation, harness.operation)(*inputs)
    np.testing.assert_allclose(got, cases.ours(harness, activation, {})(*inputs), rtol=1e-7, atol=1e-12)


def test_the_naive_formula_computes_what_occurs_twice_once():
    assert source(ma.get("clipped_gelu")).count("erfc(") == 1
    assert "where" not in source(ma.get("soft_exponential"), {"alpha": 0.5}).split("t1 =")[0]
    with pytest.raises(NotImplementedError, match="simplex"):
        source(ma.get("sparsemax"))


# Rows


def test_what_a_row_has():
    names = [f.name for f in dataclasses.fields(runner.Row)]
    assert names[: len(FIELDS)] == FIELDS and "saved_bytes" in names


@pytest.mark.parametrize("backend", TIMED)
def test_rows_of_a_backend(backend):
    harness = harnesses.load(backend)
    assert isinstance(harness, Timed)
    names = ("tanh", "swiglu", "softmax", "threshold", "step")
    mode = "compiled" if backend == "jax" else "eager"  # which is faster to run there
    found = rows(backend, *names, modes=[mode], sizes=[64])
    assert [(r.activation, r.direction) for r in found] == [(a, d) for a in names for d in cases.DIRECTIONS]
    for row in found:
        assert row.seconds > 0 and row.copy_seconds > 0, row
        assert row.of_limit == row.copy_seconds / row.seconds and row.rounds == 2
        if row.native_seconds is not None:
            assert row.speedup == row.native_seconds / row.seconds and row.native, row
        if row.naive_seconds is not None:
            assert row.naive_difference == 0, row
    tanh = found[0]
    assert tanh.native_seconds is not None and tanh.native_difference == 0 and tanh.naive_seconds is not None
    threshold = next(r for r in found if r.activation == "threshold")
    assert threshold.setting == "threshold=1, value=0"


@pytest.mark.parametrize("backend", [b for b in TIMED if b in ("jax", "tensorflow")])
def test_rows_of_compiled_functions(backend):
    modes = ["compiled", "xla"]
    dtypes = ["float64", "bfloat16"] if backend == "jax" else ["bfloat16"]
    found = rows(backend, "silu", modes=modes, sizes=[64], dtypes=dtypes, directions=["forward_backward"])
    expected = [m for m in modes if m in harnesses.load(backend).timed_modes]
    assert {r.mode for r in found} == set(expected) and len(found) == len(dtypes) * len(expected)
    for row in found:
        assert row.seconds > 0 and row.native_difference == 0 and not row.reason, row


@pytest.mark.skipif("torch" not in TIMED, reason="needs torch")
def test_what_torch_saves():
    (row,) = rows("torch", "mish", modes=["eager"], sizes=[4096], directions=["forward_backward"])
    assert row.saved_bytes == 4 * 4096
    (row,) = rows("torch", "swiglu", modes=["eager"], sizes=[4096], directions=["forward_backward"])
    assert row.saved_bytes == 2 * 4 * 4096


@pytest.mark.parametrize("backend", TIMED)
def test_gradients_are_those_of_the_declaration(backend):
    harness, x = harnesses.load(backend), [np.linspace(-2, 2, 8)]
    call = cases.ours(harness, ma.get("silu"), {"beta": 2.0})
    for mode in harness.timed_modes:
        if (backend, mode) != ("torch", "compiled"):  # which takes seconds
            y, grad = harness.runner(call, x, direction="forward_backward", mode=mode, dtype="float64")()
            np.testing.assert_allclose(harness.values(y), ma.silu(x[0], beta=2.0), rtol=1e-12)
            expected = ma.get("silu").derivative(x[0], beta=2.0)
            np.testing.assert_allclose(harness.values(grad), expected, rtol=1e-12)


def test_a_crash_of_ours_is_a_row(monkeypatch):
    monkeypatch.setattr(cases, "ours", lambda harness, activation, parameters: lambda x: 1 / 0)
    (row,) = rows("numpy", "relu", modes=["eager"], sizes=[64], directions=["forward"])
    assert row.seconds is None and row.native_seconds is None and "ZeroDivisionError" in row.reason


# Planted faults


def planted(monkeypatch, call):
    monkeypatch.setattr(cases, "native", lambda harness, activation: Native("planted", call))


def test_a_native_that_is_another_function_is_noticed(monkeypatch):
    planted(monkeypatch, lambda x: np.tanh(x) * 1.1)
    (row,) = rows("numpy", "tanh", modes=["eager"], sizes=[1024], directions=["forward"])
    assert row.native_seconds is not None and row.speedup is None and row.native_difference > 0.5
    assert "native is another function" in row.reason


def test_a_native_of_another_shape_is_noticed(monkeypatch):
    planted(monkeypatch, lambda x: x[:1])
    (row,) = rows("numpy", "tanh", modes=["eager"], sizes=[64], directions=["forward"])
    assert row.speedup is None and row.native_difference == 1


def test_a_native_that_fails_is_said(monkeypatch):
    planted(monkeypatch, lambda x: 1 / 0)
    (row,) = rows("numpy", "tanh", modes=["eager"], sizes=[64], directions=["forward"])
    assert row.seconds is not None and row.native_seconds is None and "ZeroDivisionError" in row.reason


@pytest.mark.skipif("torch" not in TIMED, reason="needs torch")
def test_a_wrong_gradient_is_noticed(monkeypatch):
    planted(monkeypatch, lambda x: x.tanh().detach() + 0 * x)
    forward, both = rows("torch", "tanh", modes=["eager"], sizes=[1024])
    assert forward.speedup is not None and both.speedup is None


# Measuring


def test_contestants_take_turns():
    order = []

    def contestant(name):
        def run(calls):
            order.append(name)
            return 1e-3

        return run

    found = measure.interleaved({n: contestant(n) for n in "abc"}, measure.Effort(least=20, most=20, slice=1e-3))
    told = order[-60:]
    rounds = [told[i : i + 3] for i in range(0, 60, 3)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 2, "always in the same order"
    assert {n: len(t.rounds) for n, t in found.items()} == {"a": 20, "b": 20, "c": 20}


def test_rounds_are_made_until_the_time_is_up():
    effort = measure.Effort(least=3, most=1000, seconds=1.0, slice=1e-3)
    found = measure.interleaved({"a": lambda calls: 0.01}, effort)
    assert len(found["a"].rounds) == 100
    assert len(measure.interleaved({"a": lambda calls: 5.0}, effort)["a"].rounds) == 3
    calls = []
    measure.interleaved({"a": lambda n: calls.append(n) or 1e-5}, effort)
    assert calls[-1] == 100  # a slice of 1 ms


def test_median_and_spread():
    times = measure.Times([1.0, 2.0, 3.0, 4.0, 100.0])
    assert times.median == 3.0 and times.spread == 2.0


# Summaries


def row(activation="gelu", **given):
    made = runner.Row(activation, "torch", "compiled", "float32", "cpu", 1 << 20, "forward_backward")
    return dataclasses.asdict(dataclasses.replace(made, **given))


def timed(activation, speedup, **given):
    return row(activation, seconds=1.0, native_seconds=speedup, speedup=speedup, spread=0.0, native_spread=0.0, **given)


def outcome(about, statistic, found):
    (target,) = [t for t in targets.targets() if t.about == about and t.statistic == statistic]
    return targets.judge(target, found)


def test_geometric_means_and_the_worst():
    found = [timed("relu", 1.0), timed("mish", 4.0), timed("identity", 1e-3), row("silu", seconds=1.0)]
    (group,) = targets.groups([*found, row("tanh")])
    assert group.count == 4 and group.compared == 2 and group.speedup == pytest.approx(2.0)
    assert group.worst == [("relu", 1.0), ("mish", 4.0)] and math.isnan(group.over_naive)
    (group,) = targets.groups([timed("relu", 1.0, copy_seconds=2.0), timed("mish", 4.0, copy_seconds=0.25)])
    assert group.at_limit == pytest.approx(4.0), "what is faster than the copy stays as it is"


def test_targets_are_met_or_fall_short():
    about = "torch.compile, float32, forward + backward"
    assert outcome(about, "geometric mean", []).verdict == "not measured"
    found = [timed("relu", 1.0), timed("mish", 4.0), timed("gelu", 0.6)]
    mean = outcome(about, "geometric mean", found)
    assert mean.verdict == "fell short" and mean.value == pytest.approx(2.4 ** (1 / 3)) and mean.count == 3
    worst = outcome(about, "at least", found)
    assert worst.verdict == "met", "exact GELU may be half as fast"
    worst = outcome(about, "at least", [*found, timed("silu", 0.85), timed("gelu", 0.4)])
    assert worst.verdict == "fell short" and worst.short == [("gelu", 0.4), ("silu", 0.85)] and worst.value == 0.4


def test_targets_concern_the_rows_they_are_about():
    about = "torch.compile, float32, forward + backward"
    for other in ({"size": 64}, {"dtype": "bfloat16"}, {"mode": "eager"}, {"direction": "forward"}, {"device": "cuda"}):
        assert outcome(about, "at least", [timed("relu", 0.1, **other)]).count == 0
    gpu = timed("relu", 0.9, device="cuda", size=1 << 26, of_limit=0.8)
    assert outcome("GPU, torch.compile, float32, forward + backward, against native", "at least", [gpu]).short == [
        ("relu", 0.9)
    ]
    assert outcome(
        "GPU, torch.compile, float32, forward + backward, share of the copy limit", "at least", [gpu]
    ).short == [("relu", 0.8)]


def test_targets_of_memory_and_of_small_arrays():
    about = "torch, tensors saved for backward"
    assert outcome(about, "at most", [row(saved_bytes=4 << 20)]).verdict == "met"
    assert outcome(about, "at most", [row(saved_bytes=8 << 20)]).short == [("gelu", 2.0)]
    small = {"size": 64, "mode": "eager", "direction": "forward"}
    about = "torch eager, 64 elements, forward, more than native"
    slow = {**timed("mish", 2.0, **small), "seconds": 40e-6, "native_seconds": 10e-6}
    found = outcome(about, "at most", [slow])
    assert found.verdict == "fell short" and found.value == pytest.approx(30.0)


def test_only_natives_within_budget_count_where_nothing_is_built():
    names = ("gelu", "relu", "softplus")
    for direction, said, counted in (
        ("forward", "forward", ["relu", "softplus"]),
        ("forward_backward", "forward + backward", ["softplus"]),  # torch's relu has a slope at NaN
    ):
        about = f"torch eager, nothing built, native within budget, {said}"
        found = [timed(n, 0.5, mode="eager", built=False, direction=direction) for n in names]
        assert sorted(name for name, _ in outcome(about, "at least", found).short) == counted


def test_every_target_has_a_title_of_its_own():
    titles = [(t.about, t.statistic) for t in targets.targets()]
    assert len(set(titles)) == len(titles)


def test_numbers_have_three_digits():
    assert [report.number(v) for v in (1234.5, 12.345, 0.012345, 0.0, None)] == ["1234", "12.3", "0.0123", "0", "-"]
    assert report.microseconds(1.5e-6) == "1.50" and report.sizes(1 << 20) == "2^20" and report.sizes(64) == "64"


# Requests


def test_defaults_of_a_request():
    asked = runner.request()
    assert asked.backends == tuple(b for b in runner.BACKENDS if dispatch.installed(b)) and not asked.explicit
    assert asked.activations == tuple(ma.names()) and asked.sizes == (64, 16384, 1 << 20)
    assert asked.dtypes == ("float32", "bfloat16") and asked.device == "cpu"
    assert runner.request(activations=["swish", "silu"]).activations == ("silu",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"backends": ["pytorch"]}, "no backend is named 'pytorch'. There are: jax, keras"),
        ({"activations": ["sillu"]}, "Did you mean 'silu'"),
        ({"dtypes": ["float8"]}, "no dtype is named 'float8'"),
        ({"modes": ["fast"]}, "no mode is named 'fast'. There are: eager, compiled, xla"),
        ({"directions": ["backward"]}, "no direction is named 'backward'"),
        ({"sizes": [1]}, "a size must be from 2 to 1024, or a multiple of that. Received: 1"),
        ({"activations": ["softmax"], "sizes": [1500]}, "Received: 1500"),
        ({"activations": ["softmax"], "measurement": "networks"}, "which softmax is not"),
    ],
)
def test_a_mistake_in_a_request(given, said):
    with pytest.raises(ma.MultiactError, match=said.replace("[", r"\[")):
        runner.request(**given)


def test_a_device_under_the_name_of_another_framework():
    class Other:
        name = "other"

        def devices(self):
            return ("cpu", "gpu")

    assert harnesses.device_of(Other(), "cuda") == "gpu" and harnesses.device_of(Other(), "cpu") == "cpu"
    assert harnesses.device_of(harnesses.load("numpy"), "cuda") is None
    with pytest.raises(runner.BenchError, match="numpy has no device 'cuda' here. There are: cpu"):
        runner.Backend(harnesses.load("numpy"), runner.request(["numpy"], device="cuda"))


# The command


def test_the_command(tmp_path):
    """All of it: a process for the backend, JSON, a drawing, the table, and the page made of it."""
    pytest.importorskip("matplotlib")
    file, drawing = tmp_path / "rows.json", tmp_path / "rows.svg"
    small = [
        "--backend",
        "numpy",
        "--activation",
        "tanh",
        "--activation",
        "relu",
        "--quick",
        "--size",
        64,
        "--size",
        1024,
    ]
    done = bench(*small, "--json", file, "--plot", drawing)
    assert done.returncode == 0 and "tanh" in done.stdout and "numpy eager" in done.stdout, done.stderr
    assert max(len(line) for line in done.stdout.splitlines() if "numpy: " not in line) <= 80
    content = json.loads(file.read_text())
    assert set(content) == {"environment", "rows", "networks", "first_calls", "targets"}
    assert len(content["rows"]) == 8 and all(set(FIELDS) <= set(r) for r in content["rows"])
    about = content["environment"]
    assert about["model"] and about["cores"] and about["versions"]["numpy"] == np.__version__ and about["date"]
    assert about["multiact"] == ma.__version__ and "numpy" in about["seconds"]
    assert "<svg" in drawing.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.json", "rows.svg"]
    done = bench(file, "--markdown", tmp_path / "performance.md", command="bench-page")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "performance.md").read_text()
    assert "There are no figures of GPUs yet" in text and "| tanh |" in text and "rows.json" in text
    for path in (tmp_path / "performance").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG") and f"(performance/{path.name})" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "pytorch"], "no backend is named 'pytorch'"),
        (["--activation", "sillu"], "Did you mean 'silu'"),
        (["--backend", "numpy", "--device", "cuda"], "numpy has no device 'cuda'"),
        (["--json", "nowhere/rows.json"], "there is no folder nowhere"),
        (["--plot", "rows.jpg"], "a plot is written as .png, .svg, .pdf"),
        (["--network", "--first-call"], "Give one of them"),
    ],
)
def test_a_mistake_ends_the_command(arguments, said):
    done = bench(*arguments)
    assert done.returncode == 2 and said in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


def test_a_file_that_is_no_report(tmp_path):
    for text in ("", "{}", '{"environment": {}, "rows": [{}], "networks": [], "first_calls": []}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(report.ReportError, match="is not a report.*multiact bench --json"):
            report.read(tmp_path / "wrong.json")
    with pytest.raises(report.ReportError):
        report.read(tmp_path / "nothing.json")


# What is written


def content():
    """A report of two chips with everything in it."""
    asked = runner.request(["numpy"])
    about = {**runner.environment(asked), "model": "A CPU", "threads": {"torch": 2}}
    found = []
    for i, name in enumerate(("relu", "gelu", "mish", "silu")):
        for size in (64, 1 << 14, 1 << 20):
            for mode in ("eager", "compiled"):
                seconds = 1e-6 * (1 + i) + size * 1e-9
                found.append(timed(name, 1.5, size=size, mode=mode, copy_seconds=seconds / 2, of_limit=0.5))
                found[-1] |= {"seconds": seconds, "native_seconds": 1.5 * seconds, "native": "torch.own"}
    network = dataclasses.asdict(runner.NetworkRow("feed_forward", "gelu", "torch", "eager", "float32", "cpu", {}))
    first = dataclasses.asdict(
        runner.FirstRow("mish", "jax", "eager", "float32", "cpu", 64, "forward", "cold", 1.0, 0.5, 0.1, 0.5, 1.0)
    )
    network |= {"seconds": 2e-3, "native_seconds": 3e-3, "identity_seconds": 1e-3, "share": 0.5, "native_share": 0.67}
    return {"environment": about, "rows": found, "networks": [network], "first_calls": [first]}


def test_the_page_says_what_was_measured():
    both = [content(), content()]
    both[1]["environment"] |= {"model": "A GPU", "device": "cuda"}
    text = page.page(both, ["cpu.json", "gpu.json"], "performance")
    assert "## A CPU" in text and "## A GPU" in text and "no figures of GPUs" not in text
    assert "fell short" in text or "met" in text
    for part in ("### Targets", "### Speed-up", "### Small arrays", "### In a network", "### First calls", "50.0%"):
        assert part in text
    for line in text.splitlines():
        assert "None" not in line and "nan" not in line, line


def test_drawings():
    pytest.importorskip("matplotlib")
    rows = content()["rows"]
    drawn = figures.figure(rows)
    assert len(drawn.axes) == 4
    relative = drawn.axes[0]
    assert {t.get_text() for t in relative.get_yticklabels()} == {"relu", "gelu", "mish", "silu"}
    at = {line.get_label(): line.get_xdata() for line in relative.get_lines()}
    assert len(at["torch eager"]) == 4 and min(at["torch eager"]) == 1.0
    assert all(x == 1.5 for x in drawn.axes[1].get_lines()[-1].get_xdata())
    with pytest.raises(ma.MultiactError, match="nothing to draw"):
        figures.figure([row()])


def test_drawings_of_a_page_show_something():
    one = [timed("relu", 2.0), timed("gelu", 2.0)]
    assert figures.panels(one) == ["relative", "speedup", "limit"] and figures.panels([]) == []
    assert "scaling" in figures.panels([*one, timed("relu", 2.0, size=64)])


def test_large_inputs_repeat_small_ones():
    """Drawing takes longer than what is timed; and of a large result a part is compared that meets other entries in each copy."""
    large, small = (cases.arrays(get("relu"), size)[0] for size in (1 << 22, 1 << 20))
    assert np.array_equal(large.reshape(4, -1), np.tile(small, (4, 1)))
    step = (1 << 22) // runner.COMPARED | 1
    assert len(set(np.arange(0, 1 << 22, step) % (1 << 20))) > 1 << 19


def test_a_drawing_of_one_row():
    pytest.importorskip("matplotlib")
    assert figures.figure([timed("relu", None, native="x")]).axes


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    file = tmp_path / "rows.json"
    file.write_text("before")
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.write_json(file, {"rows": [{"seconds": math.nan}]})
    assert file.read_text() == "before"
    drawn = figures.figure(content()["rows"])
    monkeypatch.setattr(type(drawn), "savefig", lambda self, path, **_: path.write_text("half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        figures.write(drawn, tmp_path / "rows.png")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.json"]


def test_a_report_is_read_as_it_was_written(tmp_path):
    made = {**content(), "targets": []}
    made["rows"].append({**row("tanh", reason="why"), "seconds": 1 / 3})
    report.write_json(tmp_path / "rows.json", made)
    found = report.read(tmp_path / "rows.json")
    assert found["rows"][-1] == {**made["rows"][-1], "seconds": 0.33333}
    assert [set(r) for r in found["rows"]] == [set(r) for r in made["rows"]]
    written = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert all(set(FIELDS) | {"saved_bytes"} <= set(r) for r in written) and "naive_seconds" not in written[0]


def test_an_interrupted_run_keeps_what_it_has(monkeypatch):
    def interrupted(asked, report, advance):
        report.add(runner.Row("relu", "numpy", "eager", "float32", "cpu", 64, "forward", seconds=1.0))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_run_backends", interrupted)
    found = runner.run(runner.request(["numpy"]))
    assert len(found.rows) == 1 and found.environment["interrupted"]


# Networks and first calls


@pytest.mark.parametrize(("backend", "mode"), [("torch", "eager"), ("jax", "compiled")])
def test_networks(backend, mode):
    pytest.importorskip(backend)
    found = rows(backend, "gelu", measurement="networks", modes=[mode])
    assert [r.network for r in found] == list(runner.NETWORKS)
    for r in found:
        assert r.seconds > 0 and r.identity_seconds > 0 and not r.reason, r
        assert r.share == pytest.approx(1 - r.identity_seconds / r.seconds)


@pytest.mark.parametrize("backend", [b for b in ("torch", "jax") if b in TIMED])
def test_networks_learn_through_the_activation(backend):
    harness = harnesses.load(backend)
    shape = runner.SMALL_NETWORKS["feed_forward"]
    mode = harness.network_modes[0]
    relu, none = (
        harness.network("feed_forward", f, mode=mode, shape=shape)()
        for f in (harness.function(ma.get("relu")), lambda x: x)
    )
    a, b = (harness.values(found[0] if not isinstance(found[0], tuple) else found[0][0]) for found in (relu, none))
    assert a.shape == b.shape == (shape["tokens"], shape["width"]) and not np.allclose(a, b)


def test_first_calls():
    asked = runner.request(["numpy"], ["relu"], measurement="first_calls", sizes=[64], watch=0.01)
    found = runner.run(asked)
    assert [r.cache for r in found.first_calls] == ["cold", "warm"]
    for r in found.first_calls:
        assert r.longest_seconds >= r.first_seconds > 0 and r.import_seconds > 0 and not r.reason


def test_the_command_is_the_one_of_the_overview():
    assert callable(command.bench) and callable(command.bench_page)
