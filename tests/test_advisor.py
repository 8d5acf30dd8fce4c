"""The advisor: every combination of answers, the tree, costs, the command."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys

import pytest

import multiact as ma
from multiact import advisor, pairing
from multiact.advisor import Leaf, Node

QUESTIONS = advisor.questions()
YEAR = re.compile(r"\b(19|20)\d\d\b")


def combinations(names=advisor.QUESTIONS):
    """Every combination of answers, with none among them."""
    for given in itertools.product(*([None, *QUESTIONS[name].answers] for name in names)):
        yield {name: answer for name, answer in zip(names, given) if answer is not None}


def test_every_combination_has_an_answer_and_every_rule_is_reached():
    reached = {advisor.decide(answers).id for answers in combinations(("architecture", "symptom", "resources"))}
    assert reached == {rule.id for rule in advisor.rules()}
    assert all("task" not in rule.when for rule in advisor.rules()), "else the combinations above are too few"
    told = {a.id for answers in combinations() for a in advisor.avoided() if advisor.fits(a.when, answers)}
    assert told == {a.id for a in advisor.avoided()}


def test_every_advice_is_whole():
    """A combination for each rule and task, with all that `advise` makes of it."""
    one = {advisor.decide(answers).id: answers for answers in combinations(("architecture", "symptom", "resources"))}
    for answers in one.values():
        for task in (None, *QUESTIONS["task"].answers):
            advice = ma.advise(**answers, task=task)
            assert ma.get(advice.activation).name == advice.activation
            assert advice.reason and YEAR.search(advice.source)
            assert advice.initialisation == ma.initialisation(advice.activation, **advice.parameters)
            assert (advice.output is None) == (task is None)
            assert not task or advice.output == pairing.table().outputs[task]
            assert f"source: {advice.source}" in str(advice)
            json.dumps(advice.as_dict())


def test_rules_are_well_formed():
    ids = [rule.id for rule in (*advisor.rules(), *advisor.avoided())]
    assert len(set(ids)) == len(ids)
    for rule in (*advisor.rules(), *advisor.avoided()):
        assert YEAR.search(rule.source), f"{rule.id}: a citation has a year"
        for question, allowed in rule.when.items():
            assert allowed and set(allowed) <= set(QUESTIONS[question].answers), rule.id
    for rule in advisor.rules():
        for name in (rule.recommend, *rule.also):
            assert ma.get(name).name == name, rule.id
        ma.facts(rule.recommend, **rule.parameters)
        assert rule.recommend not in rule.also
    assert set(pairing.table().outputs) == set(QUESTIONS["task"].answers), "a task is one of the pairing table"


def test_what_is_recommended_agrees_with_the_facts():
    """What the rules claim can be computed."""

    def facts(**answers):
        advice = ma.advise(**answers)
        return ma.facts(advice.activation, **advice.parameters)

    architectures = [a for a in QUESTIONS["architecture"].answers if a not in ("implicit_representation", "rnn")]
    for architecture in architectures:
        dead = facts(architecture=architecture, symptom="dead_neurons")
        if architecture not in ("gated_ffn",):
            assert not any(p.direction == "constant" for p in dead.pieces), "no plateau without a gradient"
        for symptom in ("exploding_gradients", "unstable_float16"):
            steep = facts(architecture=architecture, symptom=symptom)
            assert steep.lipschitz is None or steep.lipschitz < 1.8, (architecture, symptom)
            assert steep.elasticity is None or steep.elasticity < 2.2
        flat = facts(architecture=architecture, symptom="saturation")
        assert flat.saturation is None or None in flat.saturation
    for resources in ("int8", "microcontroller"):
        for answers in combinations(("architecture", "symptom")):
            if answers.get("architecture") in ("self_normalising", "gan_generator", "gan_discriminator", "transformer"):
                continue
            assert facts(**answers, resources=resources).activation in (
                "relu",
                "relu6",
                "leaky_relu",
                "hard_tanh",
                "reglu",
            )
    assert facts(symptom="noisy_training").smoothness != "C0"
    assert facts(symptom="negative_outputs_needed").range[0] < -0.5


def test_some_that_everybody_knows():
    for answers, activation, scheme in (
        ({}, "relu", "He"),
        ({"architecture": "transformer"}, "gelu", "He"),
        ({"architecture": "gated_ffn"}, "swiglu", "He"),
        ({"architecture": "self_normalising"}, "selu", "LeCun"),
        ({"architecture": "implicit_representation"}, "siren", "SIREN"),
        ({"architecture": "rnn"}, "tanh", "Glorot"),
        ({"architecture": "Mobile CNN"}, "hard_swish", "He"),
        ({"architecture": "diffusion"}, "silu", "He"),
        ({"architecture": "cnn", "symptom": "dead-neurons"}, "leaky_relu", "He"),
    ):
        advice = ma.advise(**answers)
        assert (advice.activation, advice.initialisation.scheme) == (activation, scheme)
    advice = ma.advise(architecture="gan_discriminator", task="binary")
    assert advice.parameters == {"negative_slope": 0.2} and advice.initialisation.gain < math.sqrt(2)
    assert advice.output.torch == "torch.nn.BCEWithLogitsLoss()" and advice.output.in_model == "logits"
    assert any("sigmoid at the end of the model" in a.what for a in advice.avoid)
    assert "activation: leaky_relu(negative_slope=0.2)" in str(advice)


def test_answers_that_there_are_not():
    with pytest.raises(ma.ParameterError, match="architecture has no answer 'transfomer'. Did you mean 'transformer'"):
        ma.advise(architecture="transfomer")
    with pytest.raises(ma.ParameterError, match="Did you mean .*'gan_generator'.* There are: mlp, "):
        ma.advise(architecture="generator")
    for name in advisor.QUESTIONS:
        with pytest.raises(ma.ParameterError, match=f"{name} has no answer 7. There are: "):
            ma.advise(**{name: 7})


# The tree


def test_the_tree_says_what_the_rules_say():
    tree = advisor.tree()
    ends = list(advisor.leaves(tree))
    assert {leaf.rule for _, leaf in ends} == {advisor.decide(a).id for a in combinations() if len(a) == 4}
    for path, leaf in ends:
        free = [[(n, a) for a in QUESTIONS[n].answers] for n in advisor.QUESTIONS if n not in path]
        for rest in itertools.islice(itertools.product(*free), 0, None, 7):
            assert advisor.decide({**path, **dict(rest)}).id == leaf.rule
        assert path["task"] == leaf.task
    assert any("resources" not in path for path, _ in ends), "questions that change nothing are left out"
    asked = [dict(path) for path, _ in ends if path["architecture"] == "self_normalising"]
    assert all(set(path) == {"architecture", "task"} for path in asked)


def test_the_tree_as_json():
    tree = advisor.tree()
    shared = json.loads(json.dumps(advisor.tree_as_dict(tree)))
    assert len(json.dumps(shared)) < 200_000

    def same(node, place):
        part = shared["nodes"][place]
        if isinstance(node, Leaf):
            return part == {"rule": node.rule, "task": node.task}
        assert isinstance(node, Node) and (part["question"], part["text"]) == (node.question, node.text)
        assert [(a["answer"], a["text"]) for a in part["answers"]] == [(a, t) for a, t, _ in node.answers]
        return all(same(after, a["next"]) for (_, _, after), a in zip(node.answers, part["answers"]))

    assert same(tree, shared["root"])


# Costs


def report(folder, name, date, *rows):
    path = folder / name
    keys = ("activation", "backend", "mode", "device", "direction", "size", "seconds")
    made = [{**dict(zip(keys, row)), "dtype": "float32"} for row in rows]
    path.write_text(json.dumps({"environment": {"date": date, "model": "a machine"}, "rows": made}))
    return path


def test_costs_are_those_of_the_newest_report(tmp_path):
    case = ("torch", "eager", "cpu", "forward_backward")
    old = report(tmp_path, "old.json", "2025-01-01", ("relu", *case, 2**20, 1.0), ("elu", *case, 2**20, 3.0))
    new = report(
        tmp_path,
        "new.json",
        "2026-01-01",
        ("relu", *case, 2**20, 2.0),
        ("elu", *case, 2**20, 3.0),
        ("celu", *case, 64, 1.0),
    )
    assert advisor.cost("elu", bench=[old, new]).ratio == 1.5 and advisor.cost("elu", bench=old).ratio == 3.0
    assert advisor.cost("elu", "cuda", bench=[old]) is None is advisor.cost("celu", bench=new)
    advice = ma.advise(architecture="autoencoder", bench=new)
    assert advice.cost.ratio == 1.5 and "1.50 times relu (forward and backward, torch eager" in str(advice)
    assert ma.advise(architecture="autoencoder", resources="tpu", bench=new).cost is None
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    with pytest.raises(ma.ParameterError, match="is no report of multiact bench"):
        ma.advise(bench=wrong)
    with pytest.raises(FileNotFoundError):
        ma.advise(bench=tmp_path / "missing.json")


def test_costs_of_the_committed_reports():
    if not advisor.report_files():
        pytest.skip("an installed package has no reports")
    for device in ("cpu", "cuda"):
        for name in ("gelu", "silu", "mish"):
            found = advisor.cost(name, device)
            assert 0.5 < found.ratio < 20 and found.device == device and found.machine
        assert advisor.cost("relu", device).ratio == 1
        several = list(advisor.costs("gelu", device))
        assert (
            several[0] == advisor.cost("gelu", device)
            and len({(c.backend, c.mode) for c in several}) == len(several) > 1
        )


# The command


def run(*arguments):
    pytest.importorskip("typer")
    pytest.importorskip("rich")
    source = f"import os; os.environ['COLUMNS'] = '250'\nfrom multiact.cli import main; main({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)


def test_the_command(tmp_path):
    done = run("advise", "--architecture", "gan_generator", "--task", "image_generation")
    assert done.returncode == 0, done.stderr
    for part in ("relu", "tanh, applied by the model", "Radford", "He: std = 1.414 / sqrt(fan_in)"):
        assert part in done.stdout
    done = run("advise", "--symptom", "slow", "--json")
    assert json.loads(done.stdout)["activation"] == "relu"
    done = run("advise")
    assert done.returncode == 0
    for question in QUESTIONS.values():
        assert f"--{question.name}: {question.text}" in done.stdout
        assert all(f"│ {answer} " in done.stdout for answer in question.answers)
    assert set(json.loads(run("advise", "--json").stdout)) == set(QUESTIONS)
    done = run("advise", "--task", "classification")
    assert done.returncode == 1 and "There are: binary, multiclass" in done.stderr and "Traceback" not in done.stderr
    done = run("advise", "--task", "binary", "--bench", str(tmp_path / "missing.json"))
    assert done.returncode == 1 and "a report cannot be read" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("framework", ["torch", "optax"])
def test_losses_exist_where_they_are_said_to_be(framework):
    """Those of Keras: tests/keras_cases."""
    pytest.importorskip(framework)
    text = " ".join(getattr(output, framework) for output in pairing.table().outputs.values())
    names = re.findall(rf"\b{framework}(?:\.\w+)+", text)
    assert len(names) >= 8
    for name in names:
        found = __import__(framework)
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        assert callable(found)
