"""One walk over a data set, in which everything is counted that the diagnostics speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..declaration import Activation
from ..errors import ParameterError
from ..facts import facts
from ..progress import track
from .probing import Layer, Pass, batches, count, probe
from .statistics import Moments, Units


@dataclass
class LayerFlow:
    """A layer with weights over a data set.

    Attributes
    ----------
    path, kind : where it is, and its class.
    layer : as it was in the last pass, without what it computed there.
    signal : moments of its output. gradient : of the loss' in its output. weight_gradient : of that in its weights.
    """

    path: str
    kind: str
    layer: Layer
    signal: Moments = field(default_factory=Moments)
    gradient: Moments = field(default_factory=Moments)
    weight_gradient: Moments = field(default_factory=Moments)


@dataclass
class PlaceUnits:
    """One activation over a data set.

    Attributes
    ----------
    path, name, parameters : where it is and what it computes; `activation` is ours, None where it is not known.
    layer : the path of the layer with weights before it; None if it takes something else.
    last : whether its result is the output of the model.
    units : which of them are alive, and how many entries are saturated.
    before, after : moments of what it was given and what it gave.
    """

    path: str
    name: str
    activation: Activation | None
    parameters: Mapping[str, Any]
    layer: str | None = None
    last: bool = False
    units: Units = field(default_factory=Units)
    before: Moments = field(default_factory=Moments)
    after: Moments = field(default_factory=Moments)

    @property
    def dead(self) -> np.ndarray:
        """The numbers of the dead units."""
        return np.flatnonzero(~self.units.alive) if self.units.alive is not None else np.zeros(0, dtype=int)

    @property
    def dead_share(self) -> float:
        return self.units.dead / self.units.count if self.units.count else 0.0

    @property
    def bounded(self) -> bool:
        """Whether it levels out on both sides, so that it can saturate; a rectifier is sparse instead."""
        if self.activation is None or self.activation.kind != "pointwise":
            return False
        limits = facts(self.activation, **self.parameters).saturation
        return limits is not None and None not in limits


@dataclass
class Survey:
    """What was seen of a model over a data set, in the order in which it ran. `loss` is the one that was taken."""

    layers: dict[str, LayerFlow] = field(default_factory=dict)
    places: dict[str, PlaceUnits] = field(default_factory=dict)
    inputs: Moments = field(default_factory=Moments)
    output: Moments = field(default_factory=Moments)
    unseen: dict[str, None] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    loss: Any = None
    passes: int = 0

    def add(self, one: Pass) -> None:
        for layer in one.layers:
            flow = self.layers.setdefault(layer.path, LayerFlow(layer.path, layer.kind, layer))
            flow.signal.add(layer.output)
            for moments, gradient in ((flow.gradient, layer.gradient), (flow.weight_gradient, layer.weight_gradient)):
                if gradient is not None:
                    moments.add(gradient)
            layer.output = layer.gradient = layer.weight_gradient = None
            flow.layer = layer
        for place in one.places:
            name = place.activation.name if place.activation is not None else "unknown"
            known = self.places.setdefault(place.path, PlaceUnits(place.path, name, place.activation, place.parameters))
            known.layer, known.last = place.layer, place.last
            known.units.add(place)
            known.before.add(place.before)
            known.after.add(place.after)
        self.output.add(one.output)
        self.unseen |= dict.fromkeys(one.unseen)
        self.losses += [] if one.loss is None else [one.loss]
        self.passes += 1


def survey(
    model: Any,
    data: Any,
    loss: Callable[..., Any] | None = None,
    *,
    gradients: bool,
    inference: bool = False,
    max_batches: int | None = None,
    progress: bool | None = None,
    what: str = "looking at the model",
) -> Survey:
    """Run a model over a data set; for the parameters see `multiact.diagnostics.gradient_flow`.

    Raises
    ------
    ParameterError : it is no model, or there are no data.
    """
    seen, found = probe(model), Survey()
    known = seen.default_loss() if gradients and loss is None else None
    for inputs, targets in track(batches(data), count(data), max_batches, what, progress):
        if hasattr(inputs, "dtype") and "float" in str(inputs.dtype):
            found.inputs.add(inputs)
        found.loss = known if loss is None and targets is not None else loss
        found.add(seen.run(inputs, targets, loss=found.loss, gradients=gradients, inference=inference))
    if not found.passes:
        raise ParameterError("there are no data: the data set has no batches.")
    return found
