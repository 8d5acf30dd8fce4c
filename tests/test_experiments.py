"""The experiments: networks that learn the same in every framework, and what is said of them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from multiact.dispatch import installed
from multiact.errors import BackendNotAvailableError, MultiactError, ParameterError, UnknownActivationError
from multiact.networks import Choice, Network, Stage, cross_entropy

pytest.importorskip("sklearn")
experiments = pytest.importorskip("multiact.benchmarks.experiments")
claims = pytest.importorskip("multiact.benchmarks.experiments.claims")

HERE = Path(__file__).parent
FRAMEWORKS = ("torch", "flax", "keras-torch", "keras-jax", "keras-tensorflow")
ROOM = HERE.parent / "benchmarks" / "experiments"


@pytest.fixture(scope="module")
def digits():
    return experiments.load("digits")


@pytest.fixture(autouse=True)
def _needs_torch(request):
    if "framework" not in request.fixturenames and not installed("torch"):
        pytest.skip("torch is not installed")


# The same network everywhere

LEARN = """
import json, sys
from dataclasses import replace
from multiact.benchmarks.experiments import Setup, load
from multiact.benchmarks.experiments.study import dense, train
from multiact.networks import Choice, Network, Stage

setup = Setup(load("digits"), sys.argv[1])
flat, images = (replace(d, x=d.x[:640], y=d.y[:640]) for d in (setup.data.flat(), setup.data.images()))
found = {}
names = ("prelu", "glu", "softmax", "none")
found["dense"] = dense(flat, [Choice.parse(n) for n in names], 24), flat, {}
stages = (Stage(8, Choice.parse("prelu"), True), Stage(8, Choice.parse("elu(alpha=0.5)"), True, 2))
found["convolutional"] = Network(images.shape, stages, 10), images, {"optimizer": "sgd"}
rows = {k: train(setup, n, d, 0, 2, 0.01, **more).rows() for k, (n, d, more) in found.items()}
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def learned():
    found = {}
    for framework in FRAMEWORKS:
        if all(installed(name) for name in framework.split("-")):
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            run = subprocess.run(
                [sys.executable, "-c", LEARN, framework], capture_output=True, text=True, check=False, env=environment
            )
            assert run.returncode == 0, f"{framework}: {run.stderr[-2000:]}"
            found[framework] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_frameworks_learn_the_same(learned, framework):
    if framework not in learned or "torch" not in learned:
        pytest.skip(f"{framework} is not installed")
    for name, first in learned["torch"].items():
        own = learned[framework][name]
        np.testing.assert_allclose(own["losses"], first["losses"], rtol=2e-3, err_msg=name)
        np.testing.assert_allclose(own["accuracies"], first["accuracies"], atol=0.012, err_msg=name)
        assert own["losses"][1] < own["losses"][0], name


# Networks


def test_weights_are_those_that_go_with_the_activation():
    network = Network((64,), (Stage(512, Choice.parse("relu")), Stage(512, Choice.parse("glu"))), 10)
    (first, bias), (second, _), (last, _) = network.draw(0)
    assert first.shape == (64, 512) and second.shape == (512, 1024) and last.shape == (512, 10)
    assert abs(first.std() - math.sqrt(2 / 64)) < 2e-3 and not bias.any() and first.dtype == np.float32
    same, other = network.draw(0), network.draw(1)
    assert np.array_equal(first, same[0][0]) and not np.array_equal(first, other[0][0])
    (fixed, shifted), *_ = network.draw(0, lambda inputs, outputs: 1 / outputs, bias=-1.0)
    assert abs(fixed.std() - 1 / 512) < 1e-4 and (shifted == -1).all()


def test_choices():
    choice = Choice.parse("leaky_relu(negative_slope=0.2)")
    assert choice.activation.name == "leaky_relu" and choice.parameters == {"negative_slope": 0.2}
    assert Choice.parse("none").activation is None and Choice.parse("maxout").width(8) == 4
    with pytest.raises(UnknownActivationError, match="gelo"):
        Choice.parse("gelo")
    with pytest.raises(ParameterError, match="slope"):
        Choice.parse("relu(slope=1)")
    for text in ("relu(", "relu(3)", "elu(alpha=a)", ""):
        with pytest.raises(ParameterError, match=r"written as"):
            Choice.parse(text)


def test_networks_that_cannot_be():
    with pytest.raises(ParameterError, match=r"pointwise.*softmax"):
        Network((8, 8, 1), (Stage(4, Choice.parse("softmax"), True),), 10)
    with pytest.raises(ParameterError, match=r"\(height, width, channels\)"):
        Network((64,), (Stage(4, Choice.parse("relu"), True),), 10)


def test_cross_entropy():
    logits = np.asarray([[1000.0, 0.0], [0.0, math.log(3)]])
    assert cross_entropy(logits, np.asarray([0, 1])) == pytest.approx(math.log(4 / 3) / 2)
    assert math.isnan(cross_entropy(np.asarray([[math.inf, 0.0]]), np.asarray([0])))


# Data


def test_digits(digits):
    assert digits.shape == (8, 8, 1) and digits.classes == 10 and len(digits.x) + len(digits.test_x) == 1797
    flat, images = digits.flat(), digits.images()
    assert flat.shape == (64,) and images.shape == (8, 8, 1)
    assert abs(flat.x.mean()) < 1e-5 and abs(flat.x.std() - 1) < 1e-5
    assert np.array_equal(images.test_x.reshape(-1, 64), flat.test_x)


def test_data_that_are_not_there(monkeypatch):
    with pytest.raises(ParameterError, match="digits, circles, mnist, cifar10"):
        experiments.load("imagenet")
    with pytest.raises(ParameterError, match="circles has rows of 2"):
        experiments.load("circles").images()
    from multiact.benchmarks.experiments import data

    class Room:
        @staticmethod
        def data_set(name):
            raise OSError(f"no network for {name}")

    monkeypatch.setattr(data, "room", lambda framework, what: Room)
    with pytest.raises(data.DataError, match=r"no network for mnist.*digits"):
        experiments.load("mnist")
    pictures, labels = np.full((12, 4, 4, 3), 255, "uint8"), np.arange(12).reshape(-1, 1)
    monkeypatch.setattr(Room, "data_set", staticmethod(lambda name: ((pictures, labels), (pictures, labels))))
    found = experiments.load("cifar10")
    assert found.shape == (4, 4, 3) and found.x.max() == 1 and found.y.shape == (12,)


# Studies


@pytest.fixture(scope="module")
def results(digits):
    """Every experiment but the cost, as short as possible."""
    pytest.importorskip("torch")
    found = {}
    for name, study in experiments.STUDIES.items():
        if name != "cost":
            chosen = {"dead": ("relu", "leaky_relu"), "flow": ("relu", "selu", "sigmoid")}.get(name, ())
            found[name] = study(experiments.Setup(digits, activations=chosen, seeds=1, epochs=1))
    return found


@pytest.fixture
def complete(results):
    """With rows of a benchmark that was never run."""
    rows = [
        {
            "activation": name,
            "backend": "torch",
            "mode": mode,
            "direction": direction,
            "seconds": seconds,
            "native_seconds": 12 * seconds if name == "gelu" else seconds,
            "naive_seconds": None,
            "copy_seconds": 0.8,
            "saved_bytes": 4,
            "native_saved_bytes": 4,
            "peak_bytes": None,
        }
        for name, seconds in (("relu", 1.0), ("gelu", 1.5), ("mish", 2.0))
        for mode in ("eager", "compiled")
        for direction in ("forward", "forward_backward")
    ]
    settings = {"activations": ["relu", "gelu", "mish"], "seconds": 1.0}
    environment = results["flow"].environment
    return {**results, "cost": experiments.Result(experiments.cost, rows, settings, environment)}


def test_every_experiment_gives_a_table_a_drawing_and_a_file(complete, tmp_path):
    for name, found in complete.items():
        assert found.study.title in " ".join(str(found).split())
        columns, lines = found.study.lines(found.rows)
        assert lines and all(len(line) == len(columns) for line in lines), name
        written, drawn = found.write(tmp_path)
        assert drawn.stat().st_size > 10_000
        again = experiments.read(written, experiments.STUDIES)
        assert again.study is found.study and len(again.rows) == len(found.rows)
        assert again.study.lines(again.rows)[0] == columns
    assert sorted(p.suffix for p in tmp_path.iterdir()) == 7 * [".json"] + 7 * [".png"]
    assert "nan" not in str(complete["dead"]).lower()


def test_what_the_rows_say(results):
    first = results["compare"].rows[0]
    assert first["activation"] == "relu" and 0.3 < first["zeros_before"] < 0.7 and first["accuracy"] > 0.5
    ratios = {(r["activation"], r["start"]): r["ratio"] for r in results["flow"].rows}
    assert 0.1 < ratios["relu", "paired"] < 10 and ratios["sigmoid", "torch"] < 1e-15
    assert {r["verdict"] for r in results["flow"].rows if r["activation"] == "sigmoid" and r["start"] == "torch"} == {
        "vanishing"
    }
    dead = results["dead"].rows
    assert len(dead) == 2 * 4 * 4 and all(
        not r["dead"] for r in dead if r["activation"] == "leaky_relu" and not r["diverged"]
    )
    assert max(r["dead"] for r in dead if r["activation"] == "relu" and not r["diverged"]) > 0.3
    assert len(results["ablation"].rows) == 27
    picture = results["boundary"].rows[0]["picture"]
    assert len(picture) == 61 and set("".join(picture)) <= {"0", "1"}


def test_a_run_that_diverges_ends(digits):
    from multiact.benchmarks.experiments.study import dense, train

    network = dense(digits.flat(), [Choice.parse("relu")] * 2, 16)
    found = train(experiments.Setup(digits), network, digits.flat(), 0, 5, 1e30, optimizer="sgd")
    assert found.diverged and len(found.losses) < 5


def test_setups_that_cannot_be(digits, monkeypatch):
    for change, message in (
        ({"framework": "caffe"}, "torch, keras"),
        ({"seeds": 0}, "seeds"),
        ({"epochs": 0}, "epochs"),
    ):
        with pytest.raises(ParameterError, match=message):
            experiments.Setup(digits, **change)
    with pytest.raises(UnknownActivationError):
        experiments.Setup(digits, activations=("gelo",))
    with pytest.raises(ParameterError, match="ablation and boundary"):
        experiments.compare(experiments.Setup(digits, activations=("none", "relu")))
    monkeypatch.setattr("multiact.dispatch.installed", lambda name: False)
    with pytest.raises(BackendNotAvailableError, match=r"multiact\[flax\]"):
        experiments.Setup(digits, "flax")


# Claims


def test_every_claim_has_a_verdict(complete):
    judged = claims.judged(complete)
    assert len(judged) == len(claims.CLAIMS) >= 15
    for one, verdict, text in judged:
        assert verdict in ("confirmed", "wrong", "depends", "not seen here"), one.text
        assert "nan" not in text.split() and text.endswith("."), one.text
        assert one.source and all(name in experiments.STUDIES for name in one.studies)
    assert {name for one in claims.CLAIMS for name in one.studies} == set(experiments.STUDIES)


def test_verdicts_follow_the_figures(complete):
    found = {one.text: verdict for one, verdict, _ in claims.judged(complete)}
    cost = next(text for text in found if text.startswith("GELU costs"))
    assert found[cost] == "depends"
    for row in complete["cost"].rows:
        row["native_seconds"] = row["seconds"]
    assert {one.text: verdict for one, verdict, _ in claims.judged(complete)}[cost] == "wrong"
    assert found["Leaky ReLU has no dead units."] == "confirmed"


def test_claims_without_results(complete):
    with pytest.raises(MultiactError, match=r"boundary.*multiact experiment all"):
        claims.judged({name: found for name, found in complete.items() if name != "boundary"})
    fewer = experiments.Result(
        experiments.flow, [r for r in complete["flow"].rows if r["activation"] != "selu"], {}, {}
    )
    with pytest.raises(MultiactError, match="selu"):
        claims.judged({**complete, "flow": fewer})


# Commands


def _run(*arguments):
    import typer

    from multiact.benchmarks.experiments.command import claims as claims_command
    from multiact.benchmarks.experiments.command import experiment

    app = typer.Typer()
    app.command()(experiment)
    app.command()(claims_command)
    return CliRunner().invoke(app, list(arguments))


def test_commands(tmp_path, complete):
    said = _run("experiment", "boundary", "--seeds", "1", "--epochs", "1", "--output", str(tmp_path / "new"))
    assert said.exit_code == 0 and "is a point inside of a circle" in said.output, said.output
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"boundary.json", "boundary.png"}
    for found in complete.values():
        found.write(tmp_path / "new")
    page = tmp_path / "claims.md"
    assert _run("claims", str(tmp_path / "new"), "--markdown", str(page)).exit_code == 0
    text = page.read_text()
    assert text.count("![") == 7 and all(one.text in text for one in claims.CLAIMS)
    assert all((tmp_path / "claims" / f"{name}.png").is_file() for name in complete)
    for wrong in (["experiment", "F9"], ["experiment", "flow", "--activation", "gelo"], ["claims", str(tmp_path)]):
        assert _run(*wrong).exit_code == 2


def test_the_page_in_the_repository_is_of_its_results():
    folder, page = HERE.parent / "benchmarks" / "results" / "experiments", HERE.parent / "docs" / "claims.md"
    results = {path.stem: experiments.read(path, experiments.STUDIES) for path in folder.glob("*.json")}
    assert set(results) == set(experiments.STUDIES)
    text = page.read_text()
    for one, verdict, measured in claims.judged(results):
        assert f"{one.text} <br>*{one.source}* | **{verdict}** | {measured}" in text


def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOM / "experiments.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    parameters.source += "\nseeds, epochs = 1, 1"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell for cell in notebook.cells if any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))]
    assert len(shown) == 5 and len(list((tmp_path / "experiments").glob("*.png"))) == 5
