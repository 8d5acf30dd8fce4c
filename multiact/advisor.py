"""Which activation to use, and why: the rules in ``advice.toml``, evaluated.

>>> advice = advise(architecture="transformer", task="multiclass")
>>> advice.activation, advice.output.activation, advice.output.in_model
('gelu', 'softmax', 'logits')
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .errors import ParameterError
from .initialisation import Initialisation, initialisation
from .pairing import Output, fields
from .pairing import table as pairings

FILE = os.path.join(os.path.dirname(__file__), "advice.toml")

#: The order in which they are asked.
QUESTIONS = ("architecture", "symptom", "resources", "task")

#: Where a measured cost is looked for, the first that has both activations: backend and mode.
MEASURED = (("torch", "compiled"), ("jax", "compiled"), ("torch", "eager"), ("tensorflow", "compiled"))
#: On fewer elements the call is measured, not the activation.
LARGE = 2**16
#: The device of a benchmark that stands for an answer; for others there is none.
DEVICES = {"gpu": "cuda", "cpu": "cpu", None: "cpu"}


@dataclass(frozen=True)
class Question:
    """A question, and its possible answers with what they mean."""

    name: str
    text: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Rule:
    """What to use where `when` fits; see ``advice.toml``."""

    id: str
    when: Mapping[str, Sequence[str]]
    recommend: str
    because: str
    source: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Avoid:
    """What not to do where `when` fits."""

    id: str
    when: Mapping[str, Sequence[str]]
    what: str
    because: str
    source: str

    def __str__(self) -> str:
        return f"{self.what}: {self.because}"


@dataclass(frozen=True)
class Cost:
    """The time of an activation relative to that of relu, and where it was measured.

    Attributes
    ----------
    ratio : seconds over those of relu.
    machine, backend, mode, dtype, device, size, direction, date : of the benchmark.
    """

    ratio: float
    machine: str
    backend: str
    mode: str
    dtype: str
    device: str
    size: int
    direction: str
    date: str

    def __str__(self) -> str:
        way = self.direction.replace("_", " and ")
        return (
            f"{self.ratio:.2f} times relu ({way}, {self.backend} {self.mode}, {self.dtype}, {self.size:,} elements, "
            f"{self.machine}, {self.date[:10]})"
        )


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    Attributes
    ----------
    activation, parameters : for hidden layers; parameters that are not at their default.
    also : others to try.
    reason, source : why, and the paper or book.
    remedies : what else to change.
    initialisation : of the weights before it.
    output : the output layer and the loss for the task; None when no task was given.
    avoid : what not to do.
    cost : measured, relative to relu; None where there is no benchmark.
    rule : the id of the rule. asked : the answers that were given.
    """

    activation: str
    parameters: dict[str, float]
    also: tuple[str, ...]
    reason: str
    source: str
    remedies: tuple[str, ...]
    initialisation: Initialisation
    output: Output | None
    avoid: tuple[Avoid, ...]
    cost: Cost | None
    rule: str
    asked: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "avoid": [{k: v for k, v in asdict(a).items() if k != "when"} for a in self.avoid]}

    def lines(self) -> list[tuple[str, str]]:
        """As pairs of a title and a text, without what there is none of."""
        given = ", ".join(f"{n}={v:g}" for n, v in self.parameters.items())
        rows = [
            ("activation", f"{self.activation}({given})" if given else self.activation),
            ("because", self.reason),
            ("source", self.source),
            ("initialisation", f"{self.initialisation}; {self.initialisation.reason}"),
            ("also", ", ".join(self.also)),
            *(("besides", remedy) for remedy in self.remedies),
        ]
        if self.output is not None:
            o = self.output
            applied = {
                "yes": "applied by the model",
                "logits": "not in the model: the loss applies it to logits; apply it to predict",
            }[o.in_model]
            rows += [
                ("output", f"{o.activation}, {applied}; units: {o.units}"),
                ("loss", o.loss),
                *((f"in {name}", getattr(o, name)) for name in ("torch", "keras", "optax")),
                ("output because", f"{o.reason}. {o.source}"),
            ]
        rows += [("avoid", f"{a}. {a.source}") for a in self.avoid]
        rows.append(("cost", "no benchmark of it" if self.cost is None else str(self.cost)))
        return [(title, text) for title, text in rows if text]

    def __str__(self) -> str:
        return "\n".join(f"{title}: {text}" for title, text in self.lines())


@dataclass(frozen=True)
class Leaf:
    """The end of a path through the tree: a rule, and the task."""

    rule: str
    task: str


@dataclass(frozen=True)
class Node:
    """A question of the tree, and what follows each answer."""

    question: str
    text: str
    answers: tuple[tuple[str, str, Node | Leaf], ...]


@dataclass(frozen=True)
class _Book:
    questions: Mapping[str, Question]
    rules: tuple[Rule, ...]
    avoid: tuple[Avoid, ...]


@cache
def _book() -> _Book:
    import tomllib  # not needed to import multiact

    with open(FILE, "rb") as file:
        read = tomllib.load(file)
    questions = {}
    for name in QUESTIONS:
        answers = dict(read["questions"][name])
        questions[name] = Question(name, answers.pop("text"), answers)
    return _Book(
        questions,
        tuple(Rule(**fields(entry)) for entry in read["rule"]),
        tuple(Avoid(**fields(entry)) for entry in read["avoid"]),
    )


def questions() -> Mapping[str, Question]:
    """The questions by name, in their order, with all possible answers."""
    return _book().questions


def rules() -> tuple[Rule, ...]:
    """The rules in their order."""
    return _book().rules


def avoided() -> tuple[Avoid, ...]:
    """What is to be avoided, and where."""
    return _book().avoid


def fits(when: Mapping[str, Sequence[str]], answers: Mapping[str, str]) -> bool:
    """Whether a condition holds: each question that it names has one of its answers."""
    return all(answers.get(question) in allowed for question, allowed in when.items())


def advise(
    architecture: str | None = None,
    symptom: str | None = None,
    task: str | None = None,
    resources: str | None = None,
    *,
    bench: str | Path | Iterable[str | Path] | None = None,
) -> Advice:
    """Which activation to use in hidden layers, with which weights, and which output layer and loss; why, and from where.

    Parameters
    ----------
    architecture : "mlp", "cnn", "resnet", "mobile_cnn", "transformer", "gated_ffn", "rnn", "gan_generator", "gan_discriminator",
        "autoencoder", "implicit_representation", "self_normalising" or "diffusion".
    symptom : "none", "dead_neurons", "vanishing_gradients", "exploding_gradients", "saturation", "slow", "unstable_float16",
        "noisy_training" or "negative_outputs_needed".
    task : "binary", "multiclass", "multilabel", "regression", "bounded_regression", "positive_regression", "density",
        "representation" or "image_generation".
    resources : "cpu", "gpu", "tpu", "mobile", "int8" or "microcontroller".
    bench : reports of ``multiact bench --json`` from which the cost is taken; None for those in ``benchmarks/results``
        of a checkout, if it is one.

    Returns
    -------
    `Advice`, which prints as lines. Questions that are not answered, None, decide nothing.

    Raises
    ------
    ParameterError : an answer is none of the possible ones.
    OSError, ParameterError : a report cannot be read.

    Examples
    --------
    >>> advice = advise(architecture="gan_discriminator")
    >>> advice.activation, advice.parameters, advice.initialisation.scheme
    ('leaky_relu', {'negative_slope': 0.2}, 'He')
    """
    given = {"architecture": architecture, "symptom": symptom, "resources": resources, "task": task}
    asked = {name: _answer(name, value) for name, value in given.items() if value is not None}
    rule = decide(asked)
    parameters: dict[str, Any] = dict(rule.parameters)
    device = DEVICES.get(asked.get("resources"))
    return Advice(
        rule.recommend,
        parameters,
        rule.also,
        rule.because,
        rule.source,
        rule.remedies,
        initialisation(rule.recommend, **parameters),
        pairings().outputs[asked["task"]] if "task" in asked else None,
        tuple(a for a in avoided() if fits(a.when, asked)),
        None if device is None else cost(rule.recommend, device, bench),
        rule.id,
        asked,
    )


def decide(answers: Mapping[str, str]) -> Rule:
    """The first rule that fits the answers."""
    return next(rule for rule in rules() if fits(rule.when, answers))


def _answer(question: str, given: Any) -> str:
    answers = questions()[question].answers
    word = given.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(given, str) else ""
    if word in answers:
        return word
    import difflib

    near = difflib.get_close_matches(word or str(given), answers, n=2, cutoff=0.5)
    near += [a for a in answers if word and word in a and a not in near]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ParameterError(f"{question} has no answer {given!r}.{hint} There are: {', '.join(answers)}.")


# The tree


def tree() -> Node | Leaf:
    """The rules as a decision tree. A question is left out where its answer would change nothing."""
    return _below(QUESTIONS, {})


def _below(left: Sequence[str], answers: dict[str, str]) -> Node | Leaf:
    if not left:
        return Leaf(decide(answers).id, answers["task"])
    question = questions()[left[0]]
    found = [(a, text, _below(left[1:], {**answers, question.name: a})) for a, text in question.answers.items()]
    if all(after == found[0][2] for _, _, after in found):
        return found[0][2]
    return Node(question.name, question.text, tuple(found))


def leaves(node: Node | Leaf, path: Mapping[str, str] | None = None) -> Iterable[tuple[dict[str, str], Leaf]]:
    """All ends of the tree, with the answers that lead there."""
    path = dict(path or {})
    if isinstance(node, Leaf):
        yield path, node
        return
    for answer, _, after in node.answers:
        yield from leaves(after, {**path, node.question: answer})


def tree_as_dict(node: Node | Leaf) -> dict[str, Any]:
    """The tree for JSON: ``{"root": i, "nodes": [...]}``, each part once, as branches that are equal are shared.

    A node is ``{"question": name, "text": ..., "answers": [{"answer", "text", "next": i}]}``, a leaf ``{"rule": id, "task": task}``.
    """
    nodes: list[dict[str, Any]] = []
    known: dict[Any, int] = {}

    def place(part: Node | Leaf) -> int:
        if isinstance(part, Leaf):
            key: Any = part
            made: dict[str, Any] = asdict(part)
        else:
            answers = [{"answer": a, "text": text, "next": place(after)} for a, text, after in part.answers]
            key = (part.question, *(a["next"] for a in answers))
            made = {"question": part.question, "text": part.text, "answers": answers}
        if key not in known:
            known[key] = len(nodes)
            nodes.append(made)
        return known[key]

    return {"root": place(node), "nodes": nodes}


# What it costs


def cost(name: str, device: str = "cpu", bench: str | Path | Iterable[str | Path] | None = None) -> Cost | None:
    """The first of `costs`; None where there is none."""
    return next(costs(name, device, bench), None)


def costs(name: str, device: str = "cpu", bench: str | Path | Iterable[str | Path] | None = None) -> Iterator[Cost]:
    """The time of an activation relative to relu, from the newest benchmark that has both: one of each backend and mode.

    Parameters
    ----------
    name : of the activation.
    device : "cpu" or "cuda".
    bench : reports of ``multiact bench --json``; None for those of a checkout.

    Raises
    ------
    OSError : a report cannot be read. ParameterError : a file is no report.
    """
    from .registry import get

    name = get(name).name
    reports = sorted(
        map(_report, map(str, report_files(bench))), key=lambda r: str(r["environment"].get("date")), reverse=True
    )
    for backend, mode in MEASURED:
        cases = ((report, direction) for direction in ("forward_backward", "forward") for report in reports)
        compared = (_compared(report, name, (backend, mode, device, direction)) for report, direction in cases)
        found = next((cost for cost in compared if cost is not None), None)
        if found is not None:
            yield found


def report_files(bench: str | Path | Iterable[str | Path] | None = None) -> list[str | Path]:
    """The reports that are given; with None those of a checkout."""
    if bench is not None:
        return [bench] if isinstance(bench, (str, Path)) else list(bench)
    room = importlib.util.find_spec(f"{__package__}.benchmarks")
    places = list(room.submodule_search_locations or ()) if room is not None else []
    return sorted(path for place in places for path in Path(place, "results").glob("*.json"))


def _usual(row: Mapping[str, Any]) -> bool:
    """Whether it is a time of long use: in eager mode a kernel is built, where a backend can."""
    return row["mode"] != "eager" or bool(row.get("built", True))


@cache
def _report(path: str) -> dict[str, Any]:
    import json  # not needed for advice without a report

    text = Path(path).read_text(encoding="utf-8")
    try:
        read = json.loads(text)
        rows = [r for r in read["rows"] if r["dtype"] == "float32" and r.get("seconds") and _usual(r)]
        return {"environment": dict(read["environment"]), "rows": rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{path} is no report of multiact bench --json ({type(error).__name__}: {error})."
        ) from error


def _compared(report: Mapping[str, Any], name: str, case: tuple[str, str, str, str]) -> Cost | None:
    """The ratio at the largest size at which both were measured."""
    times: dict[tuple[int, str], float] = {}
    for row in report["rows"]:
        if (row["backend"], row["mode"], row["device"], row["direction"]) == case:
            times[row["size"], row["activation"]] = row["seconds"]
    sizes = [size for size, activation in times if activation == name and (size, "relu") in times and size >= LARGE]
    if not sizes:
        return None
    size = max(sizes)
    environment = report["environment"]
    machine = str(environment.get("model") or environment.get("cpu") or "an unknown machine")
    backend, mode, device, direction = case
    ratio = times[size, name] / times[size, "relu"]
    return Cost(ratio, machine, backend, mode, "float32", device, size, direction, str(environment.get("date", "")))
