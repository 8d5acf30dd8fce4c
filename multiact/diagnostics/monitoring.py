"""How the activations of a model change while it is trained."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MultiactError, ParameterError
from .neurons import dead_neurons
from .showing import Shown, draw, table

if TYPE_CHECKING:
    from rich.table import Table

#: What is kept of every activation at every step.
FIGURES = ("mean", "std", "min", "max", "sparsity", "saturation", "dead")


class Writer(Protocol):
    """Where scalars go: torch.utils.tensorboard.SummaryWriter, tensorboard.summary.Writer, or anything like them."""

    def add_scalar(self, tag: str, value: float, step: int) -> Any: ...


@dataclass(frozen=True)
class Reading:
    """One activation at one step: the figures by their names in `FIGURES`."""

    step: int
    path: str
    figures: dict[str, float]


class Monitor(Shown):
    """Looks at the activations of a model on the same data again and again, usually once an epoch.

    Between two looks nothing is attached to the model, and each leaves it as it was.

    Parameters
    ----------
    model : a torch.nn.Module, a Keras model or a flax.nnx.Module.
    data : what it is looked at with, see `gradient_flow`; a few hundred examples suffice.
    live : a file (.png, .svg, .pdf) that is drawn anew at every look.
    writer : gets a scalar ``activations/<path>/<figure>`` for each figure, or a folder for TensorBoard.

    Examples
    --------
    >>> import torch
    >>> from multiact.diagnostics import Monitor
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> monitor = Monitor(model, torch.randn(64, 4))
    >>> for epoch in range(2):
    ...     pass  # train
    ...     monitor.look()
    >>> sorted({reading.path for reading in monitor.readings})
    ['1']
    """

    def __init__(
        self, model: Any, data: Any, *, live: str | Path | None = None, writer: Writer | str | Path | None = None
    ) -> None:
        self._model, self._data, self._live = model, data, live
        self._writer = _writer(writer) if isinstance(writer, (str, Path)) else writer
        self._steps = itertools.count()
        self.readings: list[Reading] = []

    def look(self, step: int | None = None) -> None:
        """Look at the model now; the step is the next number unless it is given."""
        step = next(self._steps) if step is None else step
        for place in dead_neurons(self._model, self._data, progress=False).places:
            after = place.after
            figures = {
                "mean": after.mean,
                "std": after.std,
                "min": after.low,
                "max": after.high,
                "sparsity": after.sparsity,
                "saturation": place.units.saturation,
                "dead": place.dead_share,
            }
            self.readings.append(Reading(step, place.path, figures))
            if self._writer is not None:
                for name, value in figures.items():
                    self._writer.add_scalar(f"activations/{place.path}/{name}", value, step)
        if self._live is not None:
            self.plot(self._live)

    def of(self, path: str) -> list[Reading]:
        """All looks at one activation."""
        return [reading for reading in self.readings if reading.path == path]

    @property
    def paths(self) -> list[str]:
        return list(dict.fromkeys(reading.path for reading in self.readings))

    def table(self) -> Table:
        """The first and the last look at every activation."""
        rows = []
        for path in self.paths:
            seen = self.of(path)
            for reading in dict.fromkeys([0, len(seen) - 1]):
                one = seen[reading]
                rows.append([path, str(one.step), *(f"{one.figures[f]:.3g}" for f in FIGURES), ""])
        return table("activations over training, first and last look", ["place", "step", *FIGURES, ""], rows)

    def plot(self, path: str | Path) -> Path:
        """Draw every figure over the steps, a line for each activation."""
        if not self.readings:
            raise ParameterError("there is nothing to draw: call look() first.")

        def make(figure: Any) -> None:
            panels = figure.subplots(2, 4).ravel()
            for name, panel in zip(FIGURES, panels):
                for place in self.paths:
                    seen = self.of(place)
                    panel.plot([r.step for r in seen], [r.figures[name] for r in seen], marker=".", label=place)
                panel.set_title(name)
            panels[-1].axis("off")
            handles, labels = panels[0].get_legend_handles_labels()
            panels[-1].legend(handles, labels, loc="center", fontsize=8, frameon=False)

        return draw(path, make, (14, 6))

    def keras_callback(self) -> Any:
        """A keras.callbacks.Callback that looks at the end of every epoch."""
        make: Callable[[Monitor], Any] = importlib.import_module("multiact.backends.keras.diagnostics").callback
        return make(self)


def _writer(folder: str | Path) -> Writer:
    try:
        made: Writer = importlib.import_module("tensorboard.summary").Writer(str(folder))
    except ImportError:
        raise MultiactError(
            "writing scalars into a folder needs tensorboard, which is not installed. Install it with: "
            "pip install tensorboard, or give a writer of your own that has add_scalar(tag, value, step)."
        ) from None
    return made
