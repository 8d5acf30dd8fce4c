"""Which weights go with which activation, and which output layer and loss with which task: the table ``pairing.toml``."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

FILE = os.path.join(os.path.dirname(__file__), "pairing.toml")


@dataclass(frozen=True)
class Hidden:
    """A rule for the weights before an activation; the first one that fits counts.

    Attributes
    ----------
    id : its name.
    activations : those it is for; without any, `property` says for which.
    property : "self_normalising", "saturating", "gated", "axiswise" or "any".
    scheme, gain, fan, distribution : how weights are drawn; the gain is a number or the name of a rule.
    reason, source : why, and where it is from.
    """

    id: str
    scheme: str
    gain: float | str
    fan: str
    reason: str
    source: str
    activations: tuple[str, ...] = ()
    property: str = ""
    distribution: str = "normal"


@dataclass(frozen=True)
class Output:
    """What the last layer of a model for a task is, and its loss.

    Attributes
    ----------
    task : the kind of target.
    activation : what turns the output into a prediction. others : that also do.
    in_model : "yes", or "logits" where the loss applies it and the model must not.
    units : how many outputs.
    loss : in words; torch, keras, optax : how it is spelled there.
    reason, source : why, and where it is from.
    """

    task: str
    activation: str
    others: tuple[str, ...]
    in_model: str
    units: str
    loss: str
    torch: str
    keras: str
    optax: str
    reason: str
    source: str


@dataclass(frozen=True)
class Table:
    """All of it: rules for hidden layers in their order, output layers by task, and the rule for their weights."""

    hidden: tuple[Hidden, ...]
    outputs: Mapping[str, Output]
    output_weights: Hidden


@cache
def table() -> Table:
    """The table, read once."""
    import tomllib  # not needed to import multiact

    with open(FILE, "rb") as file:
        read = tomllib.load(file)
    outputs = [Output(**fields(entry)) for entry in read["output"]]
    return Table(
        tuple(Hidden(**fields(entry)) for entry in read["hidden"]),
        {output.task: output for output in outputs},
        Hidden(id="output", **fields(read["output_weights"])),
    )


def fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a table as the fields of a dataclass, which holds tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}


def output_activations() -> frozenset[str]:
    """The activations that stand at the end of a model."""
    found = {name for o in table().outputs.values() for name in (o.activation, *o.others)}
    return frozenset(found - {"identity"})


def _self_normalising(kind: str, slope: float, known: Mapping[str, Any]) -> bool:
    gain = known["forward_gain"]
    return kind == "pointwise" and known["zero_centred"] and known["symmetry"] == "none" and abs(gain - 1) < 1e-6


def _saturating(kind: str, slope: float, known: Mapping[str, Any]) -> bool:
    if kind != "pointwise" or not slope:
        return False
    return bool(known["zero_centred"] and known["monotonic"] and None not in known["saturation"])


#: Whether an activation of a kind, with this slope at 0 and these facts, has a property.
PROPERTIES: dict[str, Callable[[str, float, Mapping[str, Any]], bool]] = {
    "self_normalising": _self_normalising,
    "saturating": _saturating,
    "gated": lambda kind, slope, known: kind == "gated",
    "axiswise": lambda kind, slope, known: kind == "axiswise",
    "any": lambda kind, slope, known: kind == "pointwise",
}

#: The gain, from the slope at 0 and the forward gain. NaN or infinite where there is none.
GAINS: dict[str, Callable[[float, float], float]] = {
    "forward": lambda slope, forward: forward,
    "1 / slope": lambda slope, forward: 1 / abs(slope) if slope else math.inf,
    "sqrt(2) / slope": lambda slope, forward: math.sqrt(2) / abs(slope) if slope else math.inf,
}


def pair(name: str, kind: str, slope: float, known: Mapping[str, Any]) -> tuple[Hidden, float] | None:
    """The rule for the weights before an activation, and its gain; None where the size of a signal cannot be kept.

    Parameters
    ----------
    name, kind : of the activation.
    slope : its derivative at 0.
    known : the fields of `multiact.facts.Facts`.
    """
    forward = known.get("forward_gain")
    for rule in table().hidden:
        if rule.activations:
            if name not in rule.activations:
                continue
            if isinstance(rule.gain, str) and not _usable(GAINS[rule.gain](slope, forward or math.nan)):
                continue  # a sine of frequency 0
        elif not (_usable(forward) or rule.property == "axiswise") or not PROPERTIES[rule.property](kind, slope, known):
            continue
        return rule, rule.gain if isinstance(rule.gain, float) else GAINS[rule.gain](slope, forward or math.nan)
    return None


def _usable(gain: float | None) -> bool:
    return gain is not None and 0 < gain < math.inf
