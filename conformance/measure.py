"""How wrong a computed number is.

E = |got - true| / (ulp(true) + sum over inputs of |partial| ulp(input)): an error of 1 is what rounding the inputs and the
result would excuse. ulp is that of the dtype under test, at least that of its smallest normal numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from multiact.declaration import Budget

from .points import Format

#: what a 16-bit result has to reach.
HALF_ULPS, HALF_SHARE = 1.0, 0.999
#: an infinity at most so far from a finite truth is an error, judged by its size; beyond, a disagreement.
NEAR = 64.0


@dataclass(frozen=True)
class Truth:
    """True numbers: `high` + `low`, unevaluated, and `slack`, how far an ulp in each input moves them. NaN means NaN.

    `factor` is what an intermediate result that may be flushed to zero is multiplied with: the value of a gated unit.
    """

    high: np.ndarray
    low: np.ndarray
    slack: np.ndarray
    factor: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Truth:
        return Truth(*(getattr(self, f.name)[which] for f in fields(self)))

    def ravel(self) -> Truth:
        return Truth(*(getattr(self, f.name).ravel() for f in fields(self)))

    @classmethod
    def stack(cls, parts: Sequence[Truth]) -> Truth:
        """Several results of each point side by side, along a new last axis."""
        return cls(*(np.stack([getattr(p, f.name) for p in parts], axis=-1) for f in fields(cls)))

    def rounded(self, fmt: Format) -> np.ndarray:
        """Correctly rounded to a format, once: `high` is rounded to odd first where a second rounding follows."""
        if fmt.name == "float64":
            return self.high
        high, low = self.high, self.low
        even = (high.view(np.int64) & 1) == 0
        toward = np.nextafter(high, np.where(low > 0, np.inf, -np.inf))
        odd = np.where((low != 0) & even & np.isfinite(high), toward, high)
        return fmt.round(odd)


@dataclass(frozen=True)
class Errors:
    """Per point: the error E, the plain error in ulps, whether correctly rounded, whether one is not a finite number and
    the other is something else, and whether the truth is below the smallest normal number, though not 0."""

    error: np.ndarray
    ulps: np.ndarray
    exact: np.ndarray
    disagree: np.ndarray
    subnormal: np.ndarray

    def columns(self) -> list[np.ndarray]:
        return [getattr(self, f.name) for f in fields(self)]

    def __getitem__(self, which: np.ndarray) -> Errors:
        return Errors(*(c[which] for c in self.columns()))


def errors(got: np.ndarray, truth: Truth, fmt: Format) -> Errors:
    """Compare results with the truth.

    A result within half an ulp is correctly rounded: at a tie, or what cannot be told from one, either neighbour. Results
    below the smallest normal number may be flushed to zero; in a product value * f(gate) that holds for f(gate). The sign
    of a zero does not count, and near the largest number infinity and a finite result are both right as far as E allows
    either.
    """
    target = truth.rounded(fmt)
    unit = fmt.ulp(truth.high)
    magnitude = np.abs(truth.high)
    # A processor that flushes decides before it rounds, and from a result that has its own error.
    factor = np.maximum(np.abs(truth.factor), 1.0)
    normal = fmt.smallest * factor * (1 + 2.0 ** (4 - fmt.digits))
    with np.errstate(invalid="ignore", over="ignore"):
        scale = unit + np.where(np.isnan(truth.slack), 0.0, truth.slack)
        # There f(gate) is subnormal, and its ulp is multiplied with the value.
        scale = np.where(magnitude < normal, scale + (factor - 1) * fmt.ulp(np.asarray(0.0)), scale)
        distance = np.abs((got - truth.high) - truth.low)
        # An infinity is as far away as the number that would come after the largest.
        past = np.isinf(got) & np.isfinite(target) & (np.sign(got) == np.sign(truth.high))
        after = (fmt.largest - magnitude) + fmt.ulp(np.asarray(fmt.largest))
        distance = np.where(past, after, distance)
        error = np.where(np.isinf(scale), 0.0, distance / scale)
        ulps = distance / unit
        # Where zero is allowed, what is closer than zero cannot be wrong.
        closer = (magnitude < normal) & (distance <= magnitude)
        error, ulps = (np.where(closer, np.minimum(e, 1.0), e) for e in (error, ulps))
    same = (got == target) | (np.isnan(got) & np.isnan(target))
    with np.errstate(invalid="ignore"):
        # What is computed within the budget may round to below the smallest normal number, and is then flushed.
        flushed = (got == 0) & (magnitude - Budget().value * scale <= normal)
    good = same | flushed | (ulps <= 0.5)
    finite = np.isfinite(got) & np.isfinite(truth.high)
    near = past & (error < NEAR)
    disagree = ~good & ~finite & ~near
    excused = (flushed & ~same) | (good & ~finite)
    error = np.where(excused, 0.0, np.where(disagree, np.inf, error))
    ulps = np.where(excused, 0.0, np.where(disagree, np.inf, ulps))
    return Errors(error, ulps, good, disagree, (magnitude < normal) & (magnitude > 0))


def best(first: Errors, second: Errors) -> Errors:
    """At each point the more favourable of two comparisons with different truths."""
    take = second.error < first.error
    return Errors(
        np.where(take, second.error, first.error),
        np.where(take, second.ulps, first.ulps),
        first.exact | second.exact,
        first.disagree & second.disagree,
        first.subnormal,
    )


@dataclass(frozen=True)
class Summary:
    """The figures of one case.

    `share` is that of correctly rounded results, `excused` that of those which are that or have E <= 0.5, and `at` the
    index of the worst point, None when there are no points.
    """

    points: int
    worst_error: float
    worst_ulp: float
    share: float
    excused: float
    disagreements: int
    at: int | None


@dataclass(frozen=True)
class Fault:
    """Neighbouring points that miss the budget: from where to where, how many, and the index of the worst."""

    low: float
    high: float
    points: int
    at: int


#: So many good points in between, and two runs of bad ones are still one fault.
GAP = 24


def faults(found: Errors, positions: np.ndarray, budget: float, half: bool) -> list[Fault]:
    """The points that miss the budget, by where they are: each infinity, NaN, and runs of finite ones. Worst first.

    Parameters
    ----------
    positions : the input at each point. A run is one of neighbours in it; what is wrongly infinite or NaN is a run of its
        own, since its cause is another.
    budget : as for the case: in E, or in ulps for a 16-bit dtype.
    """
    size = np.where(found.disagree, np.inf, found.ulps if half else found.error)
    bad = size > budget
    order = np.argsort(positions, kind="stable")
    runs: list[np.ndarray] = []
    for special in (np.isnan(positions), positions == -np.inf, positions == np.inf):
        runs.append(np.flatnonzero(special & bad))
    finite = order[np.isfinite(positions[order])]
    for kind in (bad & found.disagree, bad & ~found.disagree):
        places = np.flatnonzero(kind[finite])
        runs += [finite[run] for run in np.split(places, np.flatnonzero(np.diff(places) > GAP) + 1)]
    result = [
        Fault(float(positions[run[0]]), float(positions[run[-1]]), run.size, int(run[np.argmax(size[run])]))
        for run in runs
        if run.size
    ]
    return sorted(result, key=lambda fault: -size[fault.at])


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if which.size else 1.0


def summary(found: Errors, half: bool = False) -> Summary:
    """The worst point and the shares. A disagreement counts as the worst; E decides between the others.

    The share of correctly rounded results is one of results that must not be flushed to zero.
    """
    if not found.error.size:
        return Summary(0, 0.0, 0.0, 1.0, 1.0, 0, None)
    ordinary = ~found.disagree
    worst = float(found.error[ordinary].max(initial=0.0))
    size = found.error
    wrong = ~found.exact & ~found.subnormal
    if half and wrong.any():
        # The share decides as well, so that the point shown is one that is not correctly rounded.
        size = np.where(wrong, 1 + found.ulps, 0.0)
    at = int(np.argmax(np.where(found.disagree, np.inf, size)))
    return Summary(
        found.error.size,
        worst,
        float(found.ulps[ordinary].max(initial=0.0)),
        _share(found.exact[~found.subnormal]),
        _share((found.exact | (found.error <= 0.5))[~found.subnormal]),
        int(found.disagree.sum()),
        at,
    )
