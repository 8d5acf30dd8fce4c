"""Measuring several functions at once: one after the other in every round, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

#: A contestant told how many calls to make; it gives the seconds that one took.
Contestant = Callable[[int], float]


@dataclass(frozen=True)
class Effort:
    """How long a case is measured.

    Attributes
    ----------
    least : rounds at least.
    most : rounds at most.
    seconds : the time at least, until `most` rounds are done.
    slice : a contestant makes so many calls in a round that they take about this long.
    """

    least: int = 15
    most: int = 400
    seconds: float = 0.2
    slice: float = 1e-3


QUICK = Effort(least=5, most=50, seconds=0.05, slice=5e-4)


@dataclass(frozen=True)
class Times:
    """The seconds of one call in each round."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles."""
        if len(self.rounds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return high - low


def interleaved(contestants: Mapping[str, Contestant], effort: Effort) -> dict[str, Times]:
    """The times of all contestants, each measured once in every round, in an order that changes.

    The first two calls of each, which may compile and allocate, are not counted.
    """
    calls = {}
    for name, run in contestants.items():
        run(1)
        calls[name] = max(1, round(effort.slice / max(run(1), 1e-9)))
        if calls[name] > 1:  # the clock is too coarse for one short call
            calls[name] = max(1, round(effort.slice / max(run(calls[name]), 1e-9)))
    found: dict[str, list[float]] = {name: [] for name in contestants}
    order, shuffle = list(contestants), random.Random(0).shuffle
    spent, done = 0.0, 0
    with _undisturbed():
        while contestants and done < effort.most and (done < effort.least or spent < effort.seconds):
            shuffle(order)
            for name in order:
                seconds = contestants[name](calls[name])
                found[name].append(seconds)
                spent += seconds * calls[name]
            done += 1
    return {name: Times(rounds) for name, rounds in found.items()}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
