"""Where an activation is tested, and the floating-point formats it is tested in.

16-bit dtypes are tested at every bit pattern. For float32 and float64 the points are stratified: every exponent, a dense
part around 0, the special values, and the neighbours of every place where the function does something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from . import oracle


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes
    ----------
    name : "float32" and so on.
    digits : binary digits of a significand, the leading one included.
    low, high : exponents of the smallest and of the largest normal number.
    """

    name: str
    digits: int
    low: int
    high: int

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0**self.low

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2.0 - 2.0 ** (1 - self.digits)) * 2.0**self.high

    @property
    def tiny(self) -> int:
        """The power of two below which a number makes no difference: far below half the smallest subnormal."""
        return self.low - self.digits - 24

    @property
    def half(self) -> bool:
        return self.digits < 16

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(ml_dtypes.bfloat16 if self.name == "bfloat16" else self.name)

    def ulp(self, value: np.ndarray) -> np.ndarray:
        """The distance of neighbouring numbers at `value`, at least that of the smallest normal numbers."""
        magnitude = np.abs(np.asarray(value, dtype=np.float64))
        exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 0.0))[1] - 1
        exponent = np.where(magnitude == 0, self.low, np.clip(exponent, self.low, self.high))
        return np.ldexp(1.0, exponent - (self.digits - 1))

    def round(self, value: np.ndarray) -> np.ndarray:
        """`value` rounded to the format, once, ties to even, as float64."""
        value = np.asarray(value, dtype=np.float64)
        if self.digits == 53:
            return value
        # Not by a cast: those of bfloat16 round to float32 on the way.
        unit = self.ulp(value)
        rounded = np.where(np.isfinite(value), np.rint(value / unit) * unit, value)
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, value), rounded)


FORMATS = {
    f.name: f
    for f in (
        Format("float32", 24, -126, 127),
        Format("float64", 53, -1022, 1023),
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
    )
}


def patterns(fmt: Format) -> np.ndarray:
    """The numbers of all 65,536 bit patterns of a 16-bit format, as float64."""
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(fmt.dtype).astype(np.float64)


def _bits(x: np.ndarray) -> np.ndarray:
    """Floats as integers of the same order."""
    integer = np.int32 if x.dtype == np.float32 else np.int64
    raw: np.ndarray = x.view(integer)
    return np.where(raw < 0, np.iinfo(integer).min - raw, raw)


def _floats(ordered: np.ndarray, dtype: np.dtype) -> np.ndarray:
    integer = np.int32 if dtype == np.float32 else np.int64
    ordered = np.asarray(ordered, dtype=integer)
    return np.where(ordered < 0, np.iinfo(integer).min - ordered, ordered).view(dtype)


def neighbours(centres: np.ndarray, fmt: Format, reach: int = 4) -> np.ndarray:
    """The `reach` floats on each side of every centre, and the centres."""
    ordered = _bits(np.asarray(centres).astype(fmt.dtype))[:, None] + np.arange(-reach, reach + 1)
    return _floats(ordered.ravel(), fmt.dtype).astype(np.float64)


def special(fmt: Format) -> np.ndarray:
    """Zeros, infinities, NaN, subnormals, and the ends of the range."""
    least = 2.0 ** (fmt.low - fmt.digits + 1)
    positive = [0.0, least, 2 * least, 3 * least, fmt.smallest - least, fmt.smallest / 2, fmt.smallest / 3]
    positive += [fmt.smallest, fmt.smallest + least, 2 * fmt.smallest, fmt.largest, fmt.largest / 2, np.inf]
    spread = fmt.smallest * np.linspace(0.01, 0.99, 20)
    values = fmt.round(np.concatenate([positive, spread]))
    return np.concatenate([values, -values, [np.nan]])


def exponents(fmt: Format) -> np.ndarray:
    """Every exponent with both signs, and several significands where functions are neither linear nor constant."""
    random = np.random.default_rng(20)
    far = np.arange(fmt.low, fmt.high + 1)
    near = np.repeat(np.arange(-40, 12), 16)
    every = np.concatenate([far, np.repeat(far[(far > -140) & (far < 140)], 3), near])
    values = np.ldexp(random.uniform(1.0, 2.0, every.size), every)
    powers = np.ldexp(1.0, np.arange(-30, 12))
    values = fmt.round(np.concatenate([values, powers]))
    return np.concatenate([values, -values])


def dense(fmt: Format) -> np.ndarray:
    """A linear part around 0, off the round numbers, and the tails that exponentials reach."""
    random = np.random.default_rng(21)
    parts = [np.linspace(-20, 20, 2001) + random.uniform(-0.01, 0.01, 2001), np.linspace(-4, 4, 801)]
    reach = 110 if fmt.name == "float32" else 760
    parts.append(np.linspace(-reach, reach, 801) + random.uniform(-0.05, 0.05, 801))
    return fmt.round(np.concatenate(parts))


def edges(evaluate: Callable[[np.ndarray], Mapping[Any, oracle.Pair]], fmt: Format, kinks: np.ndarray) -> np.ndarray:
    """Where a function does something, found by bisection between neighbouring floats.

    That is where the value or a derivative changes its sign, becomes 0, subnormal or infinite in this format, or becomes
    equal to its limit or to the input.

    Parameters
    ----------
    evaluate : true value and derivatives at an array of points.
    kinks : points known beforehand.
    """

    def label(x: np.ndarray) -> np.ndarray:
        code = np.zeros(x.size, dtype=np.int64)
        for high, _ in evaluate(x).values():
            rounded = fmt.round(high)
            magnitude = np.abs(rounded)
            kind = np.select(
                [rounded == x, rounded == np.round(rounded), magnitude < fmt.smallest, np.isinf(magnitude)],
                [1, 2, 3, 4],
                0,
            )
            code = code * 15 + kind * 3 + np.where(np.isnan(rounded), 0, np.sign(rounded)).astype(np.int64) + 1
        return code

    scan = np.concatenate(
        [np.ldexp(1.0, np.arange(fmt.low, fmt.high, 3)), np.ldexp(1.5, np.arange(-8, 10)), [fmt.largest]]
    )
    scan = np.concatenate(
        [
            np.unique(np.concatenate([scan, np.linspace(0.05, 40, 300), np.linspace(50, 800, 76)])),
            kinks[np.isfinite(kinks)],
        ]
    )
    scan = np.unique(fmt.round(np.concatenate([scan, -scan])))

    return np.concatenate([kinks[np.isfinite(kinks)], changes(label, scan, fmt)])


def changes(label: Callable[[np.ndarray], np.ndarray], scan: np.ndarray, fmt: Format) -> np.ndarray:
    """The last floats before a label changes, found by bisection between the sorted points of a scan.

    Parameters
    ----------
    label : gives an integer for each point of an array.
    """

    def at(ordered: np.ndarray) -> np.ndarray:
        return label(_floats(ordered.astype(np.int64), fmt.dtype).astype(np.float64))

    # As objects, since the sum of two such integers need not fit.
    start, end = (_bits(part.astype(fmt.dtype)).astype(object) for part in (scan[:-1], scan[1:]))
    found = [np.empty(0)]
    # An interval may hold several places; after each, the search goes on behind it.
    for _ in range(4):
        before, after = at(start), at(end)
        start, end, before = start[before != after], end[before != after], before[before != after]
        if not start.size:
            break
        low, high = start, end
        while (high - low).max() > 1:
            middle = (low + high) // 2
            same = at(middle) == before
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        found.append(_floats(low.astype(np.int64), fmt.dtype).astype(np.float64))
        start = high
    return np.concatenate(found)


def stratified(
    evaluate: Callable[[np.ndarray], Mapping[Any, oracle.Pair]], fmt: Format, kinks: np.ndarray
) -> np.ndarray:
    """The points for a 32- or 64-bit format; every pattern for a 16-bit one. Deterministic, each once.

    Filled up with random ones to a multiple of `STEP`, since compilers make a function for a shape.
    """
    if fmt.half:
        return patterns(fmt)
    near = neighbours(edges(evaluate, fmt, kinks), fmt)
    more = fmt.round(np.random.default_rng(24).uniform(-30, 30, 4 * STEP))
    return _filled(np.concatenate([special(fmt), exponents(fmt), dense(fmt), near]), more, STEP)


def few(fmt: Format, kinks: np.ndarray) -> np.ndarray:
    """The points of a quick run for a 32- or 64-bit format: some of the stratified ones, among them those around the kinks."""
    near = neighbours(kinks[np.isfinite(kinks)], fmt)
    spread = np.concatenate([exponents(fmt), dense(fmt)])
    return _filled(np.concatenate([special(fmt), spread[::5], near]), spread, STEP // 2)


def _filled(wanted: np.ndarray, more: np.ndarray, step: int) -> np.ndarray:
    """Each point once, with some of `more` up to a multiple of `step`."""
    # np.unique merges the zeros, of which both are wanted.
    distinct = np.unique(wanted)
    distinct = distinct[distinct != 0]
    further = np.random.default_rng(24).permutation(np.setdiff1d(more, np.append(distinct, 0.0)))
    return np.concatenate([distinct, [0.0, -0.0], further[: -(distinct.size + 2) % step]])


#: The number of points is a multiple of it.
STEP = 4096


ROW = 4


def rows(fmt: Format, *, every_pattern: bool) -> np.ndarray:
    """Rows for a function along an axis: shape (rows, 4).

    Spread from equal entries to one that dominates, ties, masks of -inf, one +inf, all -inf, NaN; with `every_pattern`
    in a 16-bit format also every bit pattern, three neighbours in a row.
    """
    random = np.random.default_rng(22)
    big = fmt.largest / 64  # the sum of a few of them is finite
    parts = [random.normal(0.0, scale, (10, ROW)) for scale in (1e-4, 0.1, 1.0, 5.0, 20.0, 80.0)]
    parts.append(random.normal(0.0, 1.0, (10, ROW)) + random.choice([-60.0, 0.0, 1000.0], (10, 1)))
    ties = np.repeat(random.normal(0.0, 3.0, (12, 2)), 2, axis=1)
    parts += [ties, np.repeat(random.normal(0.0, 3.0, (6, 1)), ROW, axis=1), np.zeros((1, ROW)), np.eye(ROW) * 90]
    parts += [np.eye(ROW) * big, np.full((1, ROW), big), np.eye(ROW) * -big]
    masked = random.normal(0.0, 2.0, (16, ROW))
    masked[np.arange(16), random.integers(0, ROW, 16)] = -np.inf
    masked[8:, 0], masked[8:, 1] = -np.inf, -np.inf
    masked[12:, 2] = -np.inf
    one = random.normal(0.0, 2.0, (4, ROW))
    one[np.arange(4), np.arange(4)] = np.inf
    parts += [masked, one, np.full((1, ROW), -np.inf), np.array([[np.nan, 0.0, 1.0, 2.0], [1.0, -np.inf, np.nan, 0.0]])]
    result = fmt.round(np.concatenate(parts))
    if fmt.half and every_pattern:
        neighbours = np.resize(patterns(fmt), (-(-(1 << 16) // (ROW - 1)), ROW - 1))
        result = np.concatenate([result, np.insert(neighbours, 1, 0.5, axis=1)])
    return result
