"""Removing the units that never respond: the same outputs from a smaller model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParameterError
from ..models import framework_of, room
from .showing import Shown, rendered, table
from .survey import survey

if TYPE_CHECKING:
    from rich.table import Table

#: Frameworks in which there is a room for it.
FRAMEWORKS = ("torch", "keras")


@dataclass(frozen=True)
class Pruned(Shown):
    """A smaller model.

    Attributes
    ----------
    model : the pruned one; the one that was given is as it was.
    removed : for each layer the numbers of the units that are gone.
    units : for each of these layers how many it had.
    parameters, before : the numbers of parameters now and before.
    left : layers with units that never respond and could not be removed, and why.
    """

    model: Any
    removed: Mapping[str, np.ndarray]
    units: Mapping[str, int]
    parameters: int
    before: int
    left: tuple[str, ...] = ()

    def table(self) -> Table:
        rows = [[path, str(self.units[path]), str(len(gone)), ""] for path, gone in self.removed.items()]
        share = 1 - self.parameters / self.before if self.before else 0.0
        title = f"{self.before} parameters before, {self.parameters} after ({share:.1%} fewer)"
        return table(title, ["layer", "units", "removed", ""], rows)

    def __str__(self) -> str:
        return rendered(self.table(), *(f"left: {line}" for line in self.left))


def prune(model: Any, data: Any, *, max_batches: int | None = None, progress: bool | None = None) -> Pruned:
    """Remove the units whose activation is 0 for every input of a data set, from the layer before it and the one after.

    For these data the outputs stay the same to rounding. A unit that would respond to other data is gone too, so give all
    there are.

    Parameters
    ----------
    model : a torch.nn.Module that torch.fx can trace, or a functional or Sequential Keras model. It is looked at as it is used
        after training.
    data, max_batches, progress : as for `multiact.diagnostics.dead_neurons`.

    Returns
    -------
    `Pruned` : with a new model. A layer is left as it is, and named, where what it feeds is also used elsewhere, as by a
    residual connection, or is no layer whose inputs can be removed.

    Raises
    ------
    ParameterError : it is no such model, or there are no data.
    """
    framework = framework_of(model, "prune")
    if framework not in FRAMEWORKS:
        raise ParameterError(f"models of {framework} cannot be pruned; those of {' and '.join(FRAMEWORKS)} can.")
    seen = survey(
        model,
        data,
        gradients=False,
        inference=True,
        max_batches=max_batches,
        progress=progress,
        what="looking for idle units",
    )
    idle: dict[str, np.ndarray] = {}
    left: list[str] = []
    for place in seen.places.values():
        responded = place.units.responded
        if responded is None or responded.all():
            continue
        if place.layer is None:
            left.append(
                f"{place.path}: {int((~responded).sum())} units never respond; what they take is no layer's output"
            )
        elif place.layer in idle:
            left.append(f"{place.layer}: it feeds several activations")
            idle.pop(place.layer)
        else:
            idle[place.layer] = np.flatnonzero(~responded)
    smaller, removed, units, refused = room(framework, "pruning").prune(model, idle)
    count = room(framework, "pruning").count
    return Pruned(smaller, removed, units, count(smaller), count(model), (*left, *refused))
