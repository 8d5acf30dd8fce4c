"""How far a long command has come."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


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


def track(items: Iterable[T], total: int | None, most: int | None, what: str, shown: bool | None = None) -> Iterator[T]:
    """The items, at most so many of them, with a bar on stderr that says how far they have come.

    Parameters
    ----------
    total : how many there are, if that is known.
    shown : None for where there are several and stderr is a terminal.
    """
    if most is not None:
        items, total = itertools.islice(items, most), most if total is None else min(total, most)
    if not (sys.stderr.isatty() and total != 1 if shown is None else shown):
        yield from items
        return
    from rich import progress
    from rich.console import Console

    yield from progress.track(items, description=what, total=total, console=Console(stderr=True), transient=True)
