"""Which units are dead, saturated or sparse, over a whole data set and not one batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .showing import Shown, draw, table
from .survey import PlaceUnits, survey

if TYPE_CHECKING:
    from rich.table import Table

#: Shares of dead units, and what is said of them.
BANDS = ((0.05, "healthy"), (0.15, "watch"), (0.30, "many dead"))
WORST = "most of the layer is lost"
STYLES = {"healthy": "", "watch": "yellow", "many dead": "red", WORST: "bold red"}


def band(share: float) -> str:
    """What a share of dead units means: below 5, 15 and 30 %, and above."""
    return next((name for below, name in BANDS if share < below), WORST)


@dataclass(frozen=True)
class Neurons(Shown):
    """What `dead_neurons` found: the activations in the order in which they ran."""

    places: tuple[PlaceUnits, ...]

    @property
    def dead(self) -> int:
        return sum(place.units.dead for place in self.places)

    @property
    def count(self) -> int:
        return sum(place.units.count for place in self.places)

    @property
    def share(self) -> float:
        """Of all units."""
        return self.dead / self.count if self.count else 0.0

    @property
    def verdict(self) -> str:
        return band(self.share)

    def table(self) -> Table:
        columns = ["place", "activation", "units", "dead", "%", "zeros", "saturated", "verdict"]
        rows, styles = [], []
        for place in self.places:
            units = place.units
            known = units.count > 0
            rows.append(
                [
                    place.path,
                    place.name,
                    str(units.count) if known else "-",
                    str(units.dead) if known else "-",
                    f"{100 * place.dead_share:.1f}" if known else "-",
                    f"{place.after.sparsity:.1%}",
                    f"{units.saturation:.1%}" if place.bounded else "-",
                    band(place.dead_share) if known else "not a function of one number",
                ]
            )
            styles.append(STYLES[band(place.dead_share)])
        title = f"dead neurons: {self.dead} of {self.count} ({self.share:.1%}): {self.verdict}"
        return table(title, columns, rows, styles)

    def plot(self, path: str | Path) -> Path:
        """Draw the share of dead units of every activation, with the bands."""

        def make(figure: Any) -> None:
            panel = figure.subplots()
            places = [p for p in self.places if p.units.count]
            panel.bar(range(len(places)), [100 * p.dead_share for p in places])
            for limit, _ in BANDS:
                panel.axhline(100 * limit, color="0.5", linestyle=":", linewidth=1)
            panel.set_xticks(range(len(places)), [p.path for p in places], rotation=90, fontsize=8)
            panel.set_ylim(0, 100)
            panel.set_ylabel("dead units, %")
            panel.set_title(f"{self.dead} of {self.count} units are dead")

        return draw(path, make, (8, 5))


def dead_neurons(model: Any, data: Any, *, max_batches: int | None = None, progress: bool | None = None) -> Neurons:
    """The units through which no gradient comes back for any input of a data set.

    A unit is a channel along the axis of channels; it is dead where the slope of its activation is 0 (below 1e-6 of the
    steepest) at every input and every place. Of a rectifier these are the units that never fire; of a sigmoid those that are
    stuck in saturation. Beside it the share of results that are 0, and of inputs where the slope is below 1 % of the steepest.

    Parameters and errors are those of `gradient_flow`; targets are not needed.
    """
    found = survey(model, data, gradients=False, max_batches=max_batches, progress=progress, what="dead neurons")
    if not found.places:
        raise ParameterError("no activation was seen in the model.")
    return Neurons(tuple(found.places.values()))
