"""Do the gradients reach the first layers? Row by row through the model, flagged where they vanish or explode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .showing import Shown, draw, table
from .survey import LayerFlow, survey

if TYPE_CHECKING:
    from rich.table import Table

#: The size of the gradient at the output of the first layer, as a share of that at the last: below and above it vanishes
#: and explodes. A factor of 2 in each of ten layers.
VANISHING, EXPLODING = 1e-3, 1e3


@dataclass(frozen=True)
class GradientFlow(Shown):
    """What `gradient_flow` found, layer by layer in the order in which they ran.

    Attributes
    ----------
    layers : first to last.
    ratio : the norm of the gradient in the output of the first layer, over that of the last.
    verdict : "vanishing", "exploding", "not finite" or "healthy".
    """

    layers: tuple[LayerFlow, ...]
    loss: float

    @property
    def ratio(self) -> float:
        first, last = (self.layers[i].gradient.norm for i in (0, -1))
        return first / last if last else (math.inf if first else math.nan)

    @property
    def verdict(self) -> str:
        if any(m.nonfinite for layer in self.layers for m in (layer.signal, layer.gradient, layer.weight_gradient)):
            return "not finite"
        if len(self.layers) < 2 or math.isnan(self.ratio):
            return "healthy"
        return "vanishing" if self.ratio < VANISHING else "exploding" if self.ratio > EXPLODING else "healthy"

    def table(self) -> Table:
        columns = ["layer", "output rms", "gradient norm", "mean", "std", "weights': norm", "min", "max", "kind"]
        rows = []
        for layer in self.layers:
            g, w = layer.gradient, layer.weight_gradient
            figures = (layer.signal.rms, g.norm, g.mean, g.std, w.norm, w.low, w.high)
            rows.append([layer.path, *(f"{v:.2e}" for v in figures), layer.kind])
        title = f"gradient flow: {self.verdict}, first over last layer {self.ratio:.2e}"
        return table(title, columns, rows)

    def plot(self, path: str | Path) -> Path:
        """Draw the gradients of the weights and of the outputs over the layers, linear and logarithmic."""

        def make(figure: Any) -> None:
            panels = figure.subplots(1, 2)
            names = [layer.path for layer in self.layers]
            places = range(len(names))
            for panel, scale in zip(panels, ("linear", "log")):
                for what, label in (("gradient", "in the output"), ("weight_gradient", "in the weights")):
                    sizes = [getattr(layer, what).norm for layer in self.layers]
                    panel.plot(places, sizes, marker="o", label=label)
                panel.set_yscale(scale)
                panel.set_xticks(list(places), names, rotation=90, fontsize=8)
                panel.set_ylabel("norm of the gradient")
                panel.legend()
            figure.suptitle(f"gradient flow: {self.verdict}")

        return draw(path, make, (11, 5))


def gradient_flow(
    model: Any,
    data: Any,
    loss: Callable[..., Any] | None = None,
    *,
    max_batches: int | None = None,
    progress: bool | None = None,
) -> GradientFlow:
    """The gradients of a loss in the output and the weights of every layer, over a data set.

    Parameters
    ----------
    model : a torch.nn.Module or a flax.nnx.Module, run in the mode in which it is, or a Keras model, run as `fit` does, with
        training=True. It is left as it was.
    data : an array, a pair (inputs, targets), or batches of these.
    loss : of output and targets, in Keras of targets and output; None for the one that a Keras model is compiled with, and
        elsewhere for half the mean of the squares of the output.
    max_batches : no more than so many; None for all.
    progress : a bar on stderr; None for one where there is more than a batch and a terminal.

    Raises
    ------
    ParameterError : it is no model, has no layers with weights, or there are no data.
    """
    found = survey(model, data, loss, gradients=True, max_batches=max_batches, progress=progress, what="gradient flow")
    if not found.layers:
        raise ParameterError("the model has no layers with weights through which gradients could flow.")
    return GradientFlow(tuple(found.layers.values()), sum(found.losses) / len(found.losses))
