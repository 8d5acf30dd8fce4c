"""How wrong a computed number is.

E = |got - true| / (ulp(true) + sum over inputs of |partial| ulp(input)): an error of 1 is what rounding the inputs and the
result would excuse. ulp is that of the dtype under test, at least that of its smallest normal numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .points import Format

#: what a 16-bit result has to reach.
HALF_ULPS, HALF_SHARE = 1.0, 0.999


@dataclass(frozen=True)
class Truth:
    """True numbers: `high` + `low`, unevaluated, and `slack`, how far an ulp in each input moves them. NaN means NaN."""

    high: np.ndarray
    low: np.ndarray
    slack: np.ndarray

    def __getitem__(self, which: np.ndarray) -> Truth:
        return Truth(self.high[which], self.low[which], self.slack[which])

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
    the other is something else."""

    error: np.ndarray
    ulps: np.ndarray
    exact: np.ndarray
    disagree: np.ndarray


def errors(got: np.ndarray, truth: Truth, fmt: Format) -> Errors:
    """Compare results with the truth.

    A result within half an ulp is correctly rounded: at a tie, or what
    cannot be told from one, either neighbour. Results below the smallest normal number may be flushed to zero, the sign of a zero does not count, and near the
    largest number infinity and a finite result are both right as far as E allows either.
    """
    target = truth.rounded(fmt)
    unit = fmt.ulp(truth.high)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = unit + np.where(np.isnan(truth.slack), 0.0, truth.slack)
        distance = np.abs((got - truth.high) - truth.low)
        # An infinity is as far away as the number that would come after the largest.
        past = np.isinf(got) & np.isfinite(target) & (np.sign(got) == np.sign(truth.high))
        after = (fmt.largest - np.abs(truth.high)) + fmt.ulp(np.asarray(fmt.largest))
        distance = np.where(past, after, distance)
        error = np.where(np.isinf(scale), 0.0, distance / scale)
        ulps = distance / unit
    same = (got == target) | (np.isnan(got) & np.isnan(target))
    flushed = (got == 0) & (np.abs(truth.high) < fmt.smallest)
    good = same | flushed | (ulps <= 0.5)
    finite = np.isfinite(got) & np.isfinite(truth.high)
    near = past & np.isfinite(error)
    disagree = ~good & ~finite & ~near
    excused = (flushed & ~same) | (good & ~finite)
    error = np.where(excused, 0.0, np.where(disagree, np.inf, error))
    ulps = np.where(excused, 0.0, np.where(disagree, np.inf, ulps))
    return Errors(error, ulps, good, disagree)


def best(first: Errors, second: Errors) -> Errors:
    """At each point the more favourable of two comparisons."""
    take = second.error < first.error
    return Errors(
        np.where(take, second.error, first.error),
        np.where(take, second.ulps, first.ulps),
        first.exact | second.exact,
        first.disagree & second.disagree,
    )


def spread(found: Errors, where: np.ndarray) -> Errors:
    """Errors of the points `where` among all points, of which the others are as wrong as can be."""
    error, ulps = np.full(where.shape, np.inf), np.full(where.shape, np.inf)
    exact, disagree = np.zeros(where.shape, dtype=bool), np.ones(where.shape, dtype=bool)
    error[where], ulps[where], exact[where], disagree[where] = found.error, found.ulps, found.exact, found.disagree
    return Errors(error, ulps, exact, disagree)


def only(found: Errors, which: np.ndarray) -> Errors:
    """Errors of some of the points."""
    return Errors(found.error[which], found.ulps[which], found.exact[which], found.disagree[which])


@dataclass(frozen=True)
class Summary:
    """The figures of one case; `at` is the index of the worst point, None when there are no points."""

    points: int
    worst_error: float
    worst_ulp: float
    share: float
    disagreements: int
    at: int | None


def summary(found: Errors) -> Summary:
    """The worst point and the shares. A disagreement counts as the worst; E decides between the others."""
    if not found.error.size:
        return Summary(0, 0.0, 0.0, 1.0, 0, None)
    ordinary = ~found.disagree
    worst = float(found.error[ordinary].max(initial=0.0))
    at = int(np.argmax(np.where(found.disagree, np.inf, found.error)))
    return Summary(
        found.error.size,
        worst,
        float(found.ulps[ordinary].max(initial=0.0)),
        float(found.exact.mean()),
        int(found.disagree.sum()),
        at,
    )
