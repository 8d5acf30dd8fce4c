"""Everything at once: what is wrong with a model, the figure that shows it, and what to change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import natives
from ..advisor import costs
from ..facts import facts
from ..models import framework_of
from .flow import GradientFlow
from .neurons import Neurons
from .probing import probe
from .showing import Shown, rendered, table
from .survey import LayerFlow, PlaceUnits, Survey, survey

if TYPE_CHECKING:
    from rich.table import Table

#: Dead units are a finding above this share of an activation's units.
DEAD = 0.15
#: Saturated inputs are one above this share.
SATURATED = 0.5
#: The standard deviation of the weights of a layer, over the recommended one: outside of this it was drawn wrongly.
SPREAD = (0.25, 4.0)
#: Bounded activations in so many layers after each other are deep.
DEEP = 4
#: A gradient that has lost so much over the bounded activations between: less than vanishing, but on the way.
FADING = 0.05
#: Activations in most of at least so many places are everywhere; they are expensive above so many times the time of ReLU.
MANY, EXPENSIVE = 3, 1.5
#: No more places are named in a finding.
NAMED = 6


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    cause : "wrong initialisation", "dead neurons", "vanishing gradients", "exploding gradients", "saturation",
        "bounded activations in deep layers", "output does not fit the loss" or "not finite".
    where : the layers or activations.
    figure : what was measured.
    change : what to do.
    """

    cause: str
    where: tuple[str, ...]
    figure: str
    change: str

    def __str__(self) -> str:
        return f"{self.cause} at {_listed(self.where)}: {self.figure} {self.change}"


@dataclass(frozen=True)
class Report(Shown):
    """What `report` found, and what it is based on.

    Attributes
    ----------
    findings : empty when nothing is wrong.
    flow, neurons : as `gradient_flow` and `dead_neurons` give them; None where the model has no layers or activations.
    notes : what could not be looked at; dead units that are too few for a finding; and activations that are expensive
        everywhere, where a benchmark of them is there.
    """

    findings: tuple[Finding, ...]
    flow: GradientFlow | None
    neurons: Neurons | None
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def causes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.cause for finding in self.findings))

    def table(self) -> Table:
        rows = [[f.cause, _listed(f.where), f.figure, f.change] for f in self.findings]
        found = table(f"{len(self.findings)} findings", ["cause", "where", "measured", "what to change"], rows)
        for column in found.columns:
            column.justify, column.overflow = "left", "fold"
        found.show_lines = True
        return found

    def __str__(self) -> str:
        parts: list[Any] = [self.table() if self.findings else "nothing was found to be wrong"]
        parts += [part.table() for part in (self.flow, self.neurons) if part is not None]
        return rendered(*parts, *(f"note: {note}" for note in self.notes))


def _listed(where: Sequence[str]) -> str:
    shown = ", ".join(where[:NAMED])
    return f"{shown} and {len(where) - NAMED} more" if len(where) > NAMED else shown


def report(
    model: Any,
    data: Any,
    loss: Callable[..., Any] | None = None,
    *,
    max_batches: int | None = None,
    progress: bool | None = None,
) -> Report:
    """Look for everything that is known to keep a network from training.

    Parameters
    ----------
    model : a torch.nn.Module, a Keras model or a flax.nnx.Module, run in the mode in which it is, and left as it was.
    data : an array, a pair (inputs, targets), or batches of these.
    loss : of output and targets (in Keras of targets and output, or its name), best the one it is trained with: whether the
        output fits it is looked at, too. None for the one that a Keras model is compiled with.
    max_batches : no more than so many; None for all.
    progress : a bar on stderr; None for one where there is more than a batch and a terminal.

    Returns
    -------
    `Report` : prints as tables; its findings name the cause, the layer, the figure, and what to change.

    Raises
    ------
    ParameterError : it is no model, or there are no data.
    """
    seen = survey(
        model, data, loss, gradients=True, max_batches=max_batches, progress=progress, what="looking at the model"
    )
    flow = GradientFlow(tuple(seen.layers.values()), _mean(seen.losses)) if seen.layers else None
    neurons = Neurons(tuple(seen.places.values())) if seen.places else None
    findings = list(_not_finite(seen))
    if not findings:
        findings += _output(seen, probe(model).loss_kind(seen.loss) if seen.loss is not None else None)
        findings += _initialisation(seen)
        findings += _dead(seen)
        findings += _saturation(seen)
        findings += _gradients(seen, flow)
    notes = list(seen.unseen)
    notes += _watched(seen)
    notes += _expensive(seen, framework_of(model, "report"))
    if not seen.places:
        notes.append("no activation was seen: dead neurons and saturation were not looked for")
    if seen.loss is None:
        notes.append("no loss was given: half the mean of the squares of the output stood for it")
    return Report(tuple(findings), flow, neurons, tuple(notes))


def _watched(seen: Survey) -> Iterator[str]:
    """Dead units that are too few for a finding: whether they become more, only a look at every epoch tells."""
    those = [p for p in seen.places.values() if not p.last and 0 < p.dead_share <= DEAD]
    if those:
        dead, count = sum(p.units.dead for p in those), sum(p.units.count for p in those)
        where = _listed([p.path for p in those])
        yield f"{dead} of {count} units at {where} are dead. Watch whether they become more with diagnostics.Monitor."


def _expensive(seen: Survey, framework: str) -> Iterator[str]:
    """Activations in most places that take much longer than ReLU, where a benchmark of them in this framework is there."""
    names = [place.name for place in seen.places.values() if place.activation is not None and not place.last]
    backend = natives.room(framework).BACKEND  # Keras', which runs on several, is measured on none
    for name in dict.fromkeys(names):
        if len(names) >= MANY and names.count(name) > len(names) / 2:
            found = [c for c in costs(name) if backend in ("keras", c.backend)]
            worst = max(found, key=lambda c: c.ratio, default=None)
            if worst is not None and worst.ratio > EXPENSIVE:
                yield (
                    f"{names.count(name)} of {len(names)} activations are {name}, which takes {worst}. Where time matters: "
                    f"relu or leaky_relu, or the compiler of the framework."
                )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _not_finite(seen: Survey) -> Iterator[Finding]:
    """NaN and infinities, where they come from first."""
    change = "Look at what is given there: a logarithm or division without a floor, a learning rate that is too large."
    if seen.inputs.nonfinite:
        share = seen.inputs.nonfinite / (seen.inputs.nonfinite + seen.inputs.count)
        figure = f"{seen.inputs.nonfinite} entries of the data are NaN or infinite ({share:.2%})."
        yield Finding("not finite", ("data",), figure, "Clean the data: drop these examples or fill them in.")
        return
    for flow in seen.layers.values():
        for what, values in (("weights", flow.layer.weights), ("bias", flow.layer.bias)):
            if values is not None and not np.isfinite(values).all():
                number = int((~np.isfinite(values)).sum())
                figure = f"{number} entries of its {what} are NaN or infinite."
                yield Finding(
                    "not finite", (flow.path,), figure, "Go back to a checkpoint, and train with a smaller rate."
                )
                return
    for flow in seen.layers.values():
        for what, moments in (("output", flow.signal), ("gradient", flow.gradient), ("gradient", flow.weight_gradient)):
            if moments.nonfinite:
                figure = f"{moments.nonfinite} entries of its {what} are NaN or infinite."
                yield Finding("not finite", (flow.path,), figure, change)
                return
    if seen.output.nonfinite:
        yield Finding("not finite", ("output",), f"{seen.output.nonfinite} entries are NaN or infinite.", change)


#: Activations whose results are probabilities, or their logarithms.
PROBABILITIES = ("softmax", "softmax1", "softmax2d", "softmin", "sparsemax", "entmax15", "entmax_alpha", "sigmoid")
LOGARITHMS = ("log_softmax", "log_sigmoid")


def _output(seen: Survey, expects: tuple[str, str] | None) -> Iterator[Finding]:
    if expects is None:
        return
    name, wanted = expects
    last = next((place for place in seen.places.values() if place.last), None)
    ends = last.name if last is not None else "no activation"
    where = (last.path if last is not None else "output",)
    cause = "output does not fit the loss"
    low, high = seen.output.low, seen.output.high
    if wanted == "logits" and last is not None:
        if last.name in (*PROBABILITIES, *LOGARITHMS):
            figure = (
                f"the model ends with {ends}, results from {low:.3g} to {high:.3g}, and {name} applies it once more."
            )
            yield Finding(
                cause, where, figure, f"Remove {ends} from the model: {name} takes what the last layer gives."
            )
        elif facts(last.activation, **last.parameters).range not in (None, (-math.inf, math.inf)):  # type: ignore[arg-type]
            figure = f"{ends} limits the logits to {low:.3g} to {high:.3g}; {name} takes any number."
            yield Finding(cause, where, figure, f"Remove {ends} after the last layer.")
    elif wanted == "probabilities" and (low < 0 or high > 1):
        figure = f"{name} takes probabilities; the results go from {low:.3g} to {high:.3g} ({ends} at the end)."
        yield Finding(cause, where, figure, "End the model with sigmoid or softmax, or better take the loss of logits.")
    elif wanted == "log probabilities" and (high > 0 or ends in PROBABILITIES):
        figure = f"{name} takes logarithms of probabilities; the results go from {low:.3g} to {high:.3g} ({ends} at the end)."
        yield Finding(cause, where, figure, "End the model with log_softmax, or take the cross-entropy of logits.")


def spread(flow: LayerFlow, place: PlaceUnits) -> float | None:
    """The standard deviation of the weights before an activation over the recommended one; None if there is none."""
    if place.last or place.activation is None or place.activation.kind != "pointwise" or flow.layer.normalised:
        return None
    recommended = facts(place.activation, **place.parameters).initialisation
    if recommended is None:
        return None
    return float(flow.layer.weights.std()) / recommended.std(flow.layer.fan_in, flow.layer.fan_out)


def _initialisation(seen: Survey) -> Iterator[Finding]:
    wrong: dict[str, float] = {}
    for place in seen.places.values():
        if place.layer in seen.layers:
            ratio = spread(seen.layers[place.layer], place)
            if ratio is not None and not SPREAD[0] <= ratio <= SPREAD[1]:
                wrong[place.layer] = ratio
    for side, those in (
        ("small", {p: r for p, r in wrong.items() if r < 1}),
        ("large", {p: r for p, r in wrong.items() if r > 1}),
    ):
        if those:
            names = sorted({p.name for p in seen.places.values() if p.layer in those})
            middle = float(np.median(list(those.values())))
            figure = (
                f"the weights before {', '.join(names)} have {middle:.2g} times the standard deviation that keeps the signal: "
                f"too {side}."
            )
            yield Finding(
                "wrong initialisation",
                tuple(those),
                figure,
                f"Draw them again: {_drawn(names[0])}, or multiact.init_for(model).",
            )


def _drawn(name: str) -> str:
    recommended = facts(name).initialisation
    return f"{recommended.scheme} with gain {recommended.gain:.3g}" if recommended is not None else "He"


def _dead(seen: Survey) -> Iterator[Finding]:
    by_bias: list[PlaceUnits] = []
    otherwise: list[PlaceUnits] = []
    for place in seen.places.values():
        if not place.last and place.dead_share > DEAD:
            (by_bias if _killed_by_bias(seen, place) else otherwise).append(place)
    for those, why, change in (
        (
            by_bias,
            " Without their bias they would respond: it is too negative, or too large for what comes in.",
            "Set the biases to 0, lower the learning rate, and watch with diagnostics.Monitor.",
        ),
        (
            otherwise,
            "",
            "Draw the weights again with multiact.init_for(model), lower the learning rate, or swap for leaky_relu.",
        ),
    ):
        if those:
            dead, all_ = sum(p.units.dead for p in those), sum(p.units.count for p in those)
            figure = f"{dead} of {all_} units ({dead / all_:.0%}) let no gradient through for any input.{why}"
            yield Finding("dead neurons", tuple(p.path for p in those), figure, change)


def _killed_by_bias(seen: Survey, place: PlaceUnits) -> bool:
    """Whether most of the dead units would respond if their bias were 0."""
    flow = seen.layers.get(place.layer or "")
    bias = flow.layer.bias if flow is not None else None
    highest, dead = place.units.highest, place.dead
    if bias is None or highest is None or bias.shape != highest.shape or place.activation is None:
        return False
    without = (highest - bias)[dead]
    slopes = np.abs(place.activation.derivative(without, **place.parameters))
    steepest = place.units.steepest
    return bool((slopes > 1e-3 * steepest).mean() > 0.5)


def _saturation(seen: Survey) -> Iterator[Finding]:
    those = [p for p in seen.places.values() if p.bounded and not p.last and p.units.saturation > SATURATED]
    if those:
        share = _mean([p.units.saturation for p in those])
        figure = f"{share:.0%} of the inputs lie where the slope is below 1 % of the steepest."
        change = (
            "Draw the weights smaller (multiact.init_for(model)), scale the data, or normalise before the activation."
        )
        yield Finding("saturation", tuple(p.path for p in those), figure, change)


def _gradients(seen: Survey, flow: GradientFlow | None) -> Iterator[Finding]:
    if flow is None or len(flow.layers) < 2:
        return
    hidden = [p for p in seen.places.values() if p.bounded and not p.last]
    first, last = flow.layers[0], flow.layers[-1]
    figure = f"the gradient has the norm {first.gradient.norm:.2g} at {first.path} and {last.gradient.norm:.2g} at {last.path}"
    blocked = any(
        p.dead_share == 1.0 and not p.last for p in seen.places.values()
    )  # which has been said as dead neurons
    if flow.verdict == "vanishing" and not blocked:
        change = "Draw the weights with multiact.init_for(model), add normalisation or residual connections"
        change += "." if not hidden else f", or exchange {hidden[0].name} for one that does not level out."
        yield Finding("vanishing gradients", (first.path,), f"{figure}, {flow.ratio:.1e} times as much.", change)
    elif flow.verdict == "exploding":
        change = "Draw the weights with multiact.init_for(model), normalise, or clip the gradients."
        yield Finding("exploding gradients", (first.path,), f"{figure}, {flow.ratio:.1e} times as much.", change)
    if len(hidden) >= DEEP and flow.ratio < FADING and not blocked:
        names = ", ".join(sorted({p.name for p in hidden}))
        figure = f"{len(hidden)} layers of {names} leave {flow.ratio:.1e} of the gradient."
        change = "Exchange them, e.g. multiact.swap(model, {torch.nn.Sigmoid: 'gelu'}), and draw the weights for that."
        yield Finding("bounded activations in deep layers", tuple(p.path for p in hidden), figure, change)
