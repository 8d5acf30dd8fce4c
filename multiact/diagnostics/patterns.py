"""What a layer answers to one input, as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ParameterError
from .probing import probe
from .showing import draw
from .statistics import to_numpy

#: No more maps are drawn.
MOST = 64


@dataclass(frozen=True)
class Patterns:
    """The results of one activation for one input: maps of shape (units, height, width), or one row for each unit."""

    path: str
    maps: np.ndarray

    def plot(self, path: str | Path, most: int = MOST) -> Path:
        """Draw the maps of the first units in a grid, all in the same colours."""
        shown = self.maps[:most]
        columns = math.ceil(math.sqrt(len(shown)))
        rows = math.ceil(len(shown) / columns)
        finite = shown[np.isfinite(shown)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)

        def make(figure: Any) -> None:
            panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
            for panel in panels:
                panel.axis("off")
            for unit, (panel, image) in enumerate(zip(panels, shown)):
                drawn = panel.imshow(image, vmin=low, vmax=high, cmap="viridis")
                panel.set_title(str(unit), fontsize=7)
            figure.colorbar(drawn, ax=list(panels), shrink=0.8)
            more = f", the first {len(shown)} of {len(self.maps)} units" if len(shown) < len(self.maps) else ""
            figure.suptitle(f"{self.path}{more}")

        return draw(path, make, (1.1 * columns + 1.5, 1.1 * rows + 0.8))


def activation_patterns(model: Any, inputs: Any, path: str, example: int = 0) -> Patterns:
    """What one activation of a model gives for one input, unit by unit.

    Parameters
    ----------
    model : a torch.nn.Module, a Keras model or a flax.nnx.Module.
    inputs : a batch as the model takes it. example : which of the batch.
    path : of the activation, as `dead_neurons` lists them.

    Raises
    ------
    ParameterError : there is no such activation; the message lists those there are.
    """
    places = probe(model).run(inputs).places
    found = next((place for place in places if place.path == path), None)
    if found is None:
        raise ParameterError(f"no activation is at {path!r}. There are: {', '.join(p.path for p in places) or 'none'}.")
    values = to_numpy(found.after)[example]
    axis = found.axis % (values.ndim + 1) - 1
    values = np.moveaxis(values, axis, 0) if values.ndim > 1 else values[:, None]
    maps = values.reshape(values.shape[0], *(values.shape[1:] if values.ndim == 3 else (1, -1)))
    return Patterns(path, maps)
