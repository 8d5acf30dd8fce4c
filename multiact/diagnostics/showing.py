"""Results as tables and drawings."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plot import require, save

if TYPE_CHECKING:
    from rich.table import Table


class Shown:
    """A result that prints itself as a table."""

    def table(self) -> Table:
        """A rich.table.Table."""
        raise NotImplementedError

    def __str__(self) -> str:
        return rendered(self.table())


def rendered(*parts: Any) -> str:
    """What rich makes of tables and lines, as text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=120)
    for part in parts:
        console.print(part)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined, no-any-return]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> Table:
    """The first column and the last are text, the others numbers."""
    from rich import box
    from rich.table import Table

    found = Table(title=title, header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, min_width=len(title))
    for i, name in enumerate(columns):
        found.add_column(name, justify="left" if i in (0, len(columns) - 1) else "right")
    for i, row in enumerate(rows):
        found.add_row(*row, style=styles[i] if styles else "")
    return found


def draw(path: str | Path, make: Callable[[Any], None], size: tuple[float, float]) -> Path:
    """Draw a figure and write it to a file, first under a temporary name.

    Raises
    ------
    MultiactError : matplotlib is not installed, or the ending of the file is none of `multiact.plot.FORMATS`.
    """
    path = Path(path)
    require(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    make(figure)
    save(figure, path, dpi=120)
    return path
