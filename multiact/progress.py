"""How far a long command has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a console, and a function that is told what is running, how much is done, and how much there is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description:42}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as bar:
        task, told = bar.add_task("starting", total=None), ""

        def advance(what: str, done: int, total: int) -> None:
            nonlocal told
            bar.update(task, description=what, completed=done, total=total)
            # A log has no bar: there every tenth of a stage is a line.
            line = f"{'true values' if what.startswith('true values') else 'cases'} {10 * (10 * done // total)} %"
            if not console.is_terminal and line != told and total >= 100:
                console.print(line, highlight=False)
                told = line

        yield advance
