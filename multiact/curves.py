"""A pointwise activation as a curve: the facts about it, found by evaluating it and its derivatives.

Everything is evaluated in float64 by the NumPy backend on points that cover every magnitude. Turning points, zeros and points of
inflection are then found by bisection, and means over the normal distribution by adaptive quadrature. Between two kinks a
function is taken to be analytic: a slope that is 0 on a part of such a region has underflowed, one that is 0 on all of it
is 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import legendre

from .declaration import Activation, Elementwise
from .dispatch import backend
from .facts import INF, SATURATED, Direction, Extremum, Kink, Piece
from .initialisation import recommended

Function = Callable[[np.ndarray], np.ndarray]

#: A function with more zeros or turning points than this is taken to have infinitely many, and they are not listed.
MANY = 32
#: Numbers that differ by no more than so many ulp are taken to be the same.
SAME = 8
#: Beyond this nothing new happens: what is not settled there oscillates.
FAR = 2.0**64
#: Of Gauss-Legendre quadrature on one panel.
NODES, WEIGHTS = legendre.leggauss(16)


class Curve:
    """A pointwise activation with numbers for its parameters, and what is found out about it step by step."""

    def __init__(self, activation: Activation, function: Elementwise, parameters: dict[str, float]) -> None:
        self.activation = activation
        self.f = _evaluated(function, parameters)
        first = function.partial("x")
        assert first is not None  # a declaration without it is refused
        self.slope = _evaluated(first, parameters)
        second = first.partial("x")
        self.curvature = None if second is None else _evaluated(second, parameters)
        self.places = activation.kinks_at(parameters)
        self.grid, self.ends = self._domain(_grid(self.places))
        self.values, self.slopes = self.f(self.grid), self.slope(self.grid)

    @np.errstate(all="ignore")
    def _domain(self, grid: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
        """Those points where there is a value, and the first and last number that has one; infinite if all have."""
        missing = lambda x: np.where(np.isnan(self.f(x)), -1.0, 1.0)
        there = np.flatnonzero(missing(grid) > 0)
        ends, more = [-INF, INF], [grid]
        for i, (last, outward) in enumerate(((there[0], -1), (there[-1], 1))):
            if 0 <= last + outward < grid.size:
                ends[i] = end = float(_narrowed(missing, grid[[last]], grid[[last + outward]])[0][0])
                more.append(end - outward * (abs(end) or 1.0) * np.append(2.0 ** np.arange(-52, 0, 1 / 2), 0.0))
        grid = np.unique(np.concatenate(more))
        return grid[missing(grid) > 0], (ends[0], ends[1])

    @np.errstate(all="ignore")
    def facts(self) -> dict[str, Any]:
        """The fields of `Facts` that are computed."""
        low, high = 0.0 - self._supremum(-1), self._supremum(1)
        known: dict[str, Any] = {
            "domain": (_short(self.ends[0]), _short(self.ends[1])),
            "range": (low, high),
            "limits": self.limits,
            "minimum": self._attained(low),
            "maximum": self._attained(high),
            "zeros": self._zeros(),
            "symmetry": self.symmetry,
            "monotonic": self.monotonic,
            "pieces": tuple(self.pieces) if len(self.pieces) <= MANY else None,
            "convexity": self._convexity(),
            "lipschitz": self._lipschitz(),
            "saturation": (self._saturated(-1), self._saturated(1)),
            "smoothness": self._smoothness(),
            "kinks": self.kinks,
        }
        if self.ends != (-INF, INF):
            return known  # normal input falls outside as well
        mean, square, slope_square, scaled = self._moments()
        known |= {
            "mean": 0.0 if self.symmetry == "odd" else mean,
            "zero_centred": self.symmetry == "odd" or abs(mean) < 1e-6 * math.sqrt(square),
            "forward_gain": _inverse_root(square),
            "backward_gain": _inverse_root(slope_square),
            "elasticity": (scaled / square - 1) / 2 if 0 < square < INF else None,
        }
        slope = float(self.slope(_at(0.0))[0])
        return {**known, "initialisation": recommended(self.activation.name, slope, known)}

    # Limits and bounds

    @cached_property
    def limits(self) -> tuple[float | None, float | None]:
        low, high = (_limit(self.f, side) if math.isinf(end) else None for side, end in zip((-1, 1), self.ends))
        return low, high

    def _outermost(self, g: Function) -> list[float | None]:
        """What `g` tends to at both ends of where it has a value; None where it oscillates."""
        return [_limit(g, s) if math.isinf(end) else _edge(g, end, -s) for s, end in zip((-1, 1), self.ends)]

    def _supremum(self, sign: int) -> float:
        """The least upper bound of sign * f."""
        known = [float(v) for v in sign * self.f(_at(*self.turns))]
        known += [sign * _one_sided(self.f, k.at, side) for k in self.kinks if k.order == 0 for side in (-1, 1)]
        limits = [None if limit is None else sign * limit for limit in self._outermost(self.f)]
        return _bound(sign * self.values, self.grid, known, limits)

    def _attained(self, value: float) -> Extremum | None:
        """Where a value is taken: at a turning point, a kink, or on a constant piece."""
        flat = [(p.low, p.high) for p in self.pieces if p.direction == "constant"]
        inner = [(_beside(low, 1), _beside(high, -1)) for low, high in flat]
        places = [*self.turns, *self.places, *(min(max(0.0, low), high) for low, high in inner)]
        places += [end for end in self.ends if math.isfinite(end)]
        if not places or math.isinf(value):
            return None
        at = _at(*sorted(places, key=abs))
        values = self.f(at)
        found = np.flatnonzero(np.abs(values - value) <= SAME * np.spacing(abs(value)))
        return Extremum(float(at[found[0]]) + 0.0, float(values[found[0]]) + 0.0) if found.size else None

    def _lipschitz(self) -> float:
        if any(k.order == 0 for k in self.kinks):
            return INF
        steepest = lambda x: np.abs(self.slope(x))
        a, b = _changes(self.grid, self._bends)
        best = np.argsort(np.fmax(steepest(a), steepest(b)))[-2 * MANY :]
        inner = _root(self._bend, a[best], b[best])
        known = [float(v) for v in steepest(inner)]
        known += [abs(s) for k in self.kinks for s in (k.left, k.right)]
        limits = [None if limit is None else abs(limit) for limit in self._outermost(self.slope)]
        return _bound(np.abs(self.slopes), self.grid, known, limits)

    # Shape

    @cached_property
    def kinks(self) -> tuple[Kink, ...]:
        found = []
        for place in self.places:
            order = next((i for i, g in enumerate((self.f, self.slope, self._bend)) if _jumps(g, place)), None)
            if order is None:
                continue
            left, right = (_one_sided(self.slope, place, side) for side in (-1, 1))
            low, high = (_one_sided(self.f, place, side) for side in (-1, 1))
            slope = float(self.slope(_at(place))[0]) + 0.0
            found.append(Kink(place, order, slope, left, right, high - low if order == 0 else 0.0))
        return tuple(found)

    def _smoothness(self) -> str:
        if self.kinks:
            return ("discontinuous", "C0", "C1")[min(k.order for k in self.kinks)]
        # Where none of the declared kinks is one with these parameters, the pieces are one function.
        return "Cinf" if self.places else self.activation.smoothness

    def _bend(self, x: np.ndarray) -> np.ndarray:
        """The second derivative, or where none is declared a central difference."""
        if self.curvature is not None:
            return self.curvature(x)
        h = 1e-6 * np.fmax(np.abs(x), 1e-3)
        return (self.slope(x + h) - self.slope(x - h)) / (2 * h)

    @cached_property
    def _bends(self) -> np.ndarray:
        return self._bend(self.grid)

    @cached_property
    def pieces(self) -> list[Piece]:
        every: list[Piece] = []
        edges = [self.ends[0], *(p for p in self.places if self.ends[0] < p < self.ends[1]), self.ends[1]]
        for low, high in itertools.pairwise(edges):
            inside = (self.grid > low) & (self.grid < high)
            x, slopes = self.grid[inside], self.slopes[inside]
            signs = _signs(slopes)
            if not signs.any():
                every.append(Piece(low, high, "constant"))
                continue
            a, b = _changes(x, slopes)
            nearest = np.sort(np.argsort(np.abs(a), kind="stable")[: 8 * MANY])
            turns = _root(self.slope, a[nearest], b[nearest])
            ends = [low, *(float(t) + 0.0 for t in turns), high]
            at_end = [self._inside(low, 1), *self.f(turns), self._inside(high, -1)]
            first = int(_signs(self.slope(a[nearest[:1]]))[0] if turns.size else signs[signs != 0][0])
            region: list[Piece] = []
            for i in range(len(ends) - 1):
                step = at_end[i + 1] - at_end[i]
                direction = first if i % 2 == 0 else -first
                size = np.fmax(abs(at_end[i]), abs(at_end[i + 1]))
                if len(ends) > 2 and (np.sign(step) == -direction or abs(step) <= SAME * np.spacing(size)):
                    continue  # rounding errors of a slope that touches 0
                word: Direction = "increasing" if direction > 0 else "decreasing"
                if region and region[-1].direction == word:
                    region[-1] = Piece(region[-1].low, ends[i + 1], word)
                else:
                    region.append(Piece(region[-1].high if region else low, ends[i + 1], word))
            region[-1] = Piece(region[-1].low, high, region[-1].direction)
            every += region
        return self._joined(every)

    def _inside(self, end: float, side: int) -> float:
        """The value at an end of a region, from inside it."""
        if math.isinf(end):
            limit = self.limits[0 if end < 0 else 1]
            return math.nan if limit is None else limit
        if end in self.ends:
            return _edge(self.f, end, side)
        return float(self.f(_at(_beside(end, side)))[0])

    def _joined(self, pieces: list[Piece]) -> list[Piece]:
        """Pieces that go the same way across a kink as one, unless the value jumps against it there."""
        whole: list[Piece] = []
        for piece in pieces:
            last = whole[-1] if whole else None
            allowed = {"increasing": {"up"}, "decreasing": {"down"}, "constant": set()}[piece.direction]
            if last and last.direction == piece.direction and self._steps(piece.low) <= allowed:
                whole[-1] = Piece(last.low, piece.high, piece.direction)
            else:
                whole.append(piece)
        return whole

    def _steps(self, place: float) -> set[str]:
        """The ways in which the value jumps at a place: to the value there, and from it."""
        if not any(k.at == place and k.order == 0 for k in self.kinks):
            return set()
        left, at, right = self.f(_at(_beside(place, -1), place, _beside(place, 1)))
        small = 1e-6 * abs(right - left)
        return {"up" if step > 0 else "down" for step in (at - left, right - at) if abs(step) > small}

    @cached_property
    def monotonic(self) -> bool:
        ways = {"increasing": "up", "decreasing": "down"}
        found = {ways[p.direction] for p in self.pieces if p.direction in ways}
        found |= {step for kink in self.kinks for step in self._steps(kink.at)}
        return len(found) < 2

    @cached_property
    def turns(self) -> list[float]:
        """Where it turns from rising to falling or back."""
        return [p.high for p in self.pieces[:-1]]

    @cached_property
    def symmetry(self) -> str:
        if self.ends[0] != -self.ends[1]:
            return "none"
        mirrored = self.f(-self.grid)
        for word, other in (("odd", -mirrored), ("even", mirrored)):
            same = (self.values == other) | (np.abs(self.values - other) <= 1e-12 * np.abs(other)) | np.isnan(other)
            if same[~np.isin(self.grid, self.places) & ~np.isin(-self.grid, self.places)].all():
                return word
        return "none"

    def _zeros(self) -> tuple[float, ...] | None:
        a, b = _changes(self.grid, self.values)
        if a.size > 8 * MANY:
            return None
        roots = _root(self.f, a, b)
        width = 1e-9 * np.fmax(np.abs(roots), 1e-3)
        roots = roots[(self.f(roots - width) != 0) & (self.f(roots + width) != 0)]
        return tuple(float(r) + 0.0 for r in roots) if roots.size <= MANY else None

    def _convexity(self) -> str | None:
        if self.curvature is None:
            return None
        signs = set(_signs(self._bends[~np.isin(self.grid, self.places)]).tolist()) - {0}
        signs |= {int(math.copysign(1, k.right - k.left)) for k in self.kinks if k.order == 1}
        if len(signs) > 1 or any(k.order == 0 for k in self.kinks):
            return "neither"
        return {1: "convex", -1: "concave"}[signs.pop()] if signs else "linear"

    def _saturated(self, side: int) -> float | None:
        """Where the slope falls below `SATURATED` for good, going to one side."""
        x, steep = side * self.grid, np.abs(self.slopes) >= SATURATED
        if not steep.any():
            return -side * INF
        last = int(np.flatnonzero(steep)[-1 if side > 0 else 0])
        if math.isfinite(self.ends[side > 0]) or _limit(self.slope, side) is None:
            return None
        around = _signs(self.slopes[max(0, last - 16) : last + 16])
        if x[last] > FAR or np.count_nonzero(np.diff(around)) > 8:
            return None  # the last, or one of so many that there may be others between the points
        beyond = lambda x: np.abs(self.slope(x)) - SATURATED
        _, end = _narrowed(beyond, self.grid[[last]], self.grid[[last + side]])
        return float(end[0]) + 0.0

    # Means

    def _moments(self) -> tuple[float, float, float, float]:
        """E f, E f^2, E f'^2 and E z^2 f^2 under the standard normal distribution."""

        def integrand(x: np.ndarray) -> np.ndarray:
            y, slope = self.f(x), self.slope(x)
            return np.stack([y, y * y, slope * slope, (x * y) ** 2]) * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)

        centres = np.asarray([0.0, *self.places])
        around = np.ldexp(1.0, np.arange(-40, 2, 3))
        edges = np.concatenate(
            [np.linspace(-37, 37, 149), centres, *(c + s * around for c in centres for s in (-1, 1))]
        )
        mean, square, slope_square, scaled = _integral(integrand, np.unique(edges[np.abs(edges) <= 37]))
        return float(mean), float(square), float(slope_square), float(scaled)


def _at(*places: float) -> np.ndarray:
    return np.asarray(places, dtype="float64")


def _evaluated(node: Elementwise, parameters: dict[str, float]) -> Function:
    call = backend("numpy").elementwise(node)
    arguments = tuple(parameters.values())

    def evaluate(x: np.ndarray) -> np.ndarray:
        return np.asarray(call(x, *arguments)) if x.size else x

    return evaluate


def _grid(places: list[float]) -> np.ndarray:
    """Points in increasing order: linear around 0, geometric to the largest and smallest numbers and around every kink."""
    dense, usual, far = np.arange(-24, 10, 1 / 32), np.arange(-64, 64, 1 / 8), np.arange(-1020, 1024, 1.37)
    sizes = np.concatenate([2.0**dense, 2.0**usual, 2.0 ** far[np.abs(far) >= 64], [np.finfo(float).max]])
    parts = [sizes, -sizes, np.arange(-64, 64, 1 / 32)]
    for place in places:
        around = (abs(place) or 1.0) * 2.0 ** np.arange(-52, 0, 1 / 2)
        parts += [place - around, place + around, _at(place, _beside(place, -1), _beside(place, 1))]
    return np.unique(np.concatenate(parts))


def _beside(place: float, side: int) -> float:
    """A number next to a place, not a subnormal one."""
    return math.nextafter(place, side * INF) if place else side * 2.0**-200


def _one_sided(g: Function, place: float, side: int) -> float:
    """The limit of `g` at a place from one side, to the digits that are certain."""
    near, next_ = (float(v) for v in g(_at(*_two_beside(place, side))))
    value = 2 * near - next_
    if not math.isfinite(value):
        return near
    return _short(value)


def _short(value: float) -> float:
    """A number of few digits if one is as good as the same."""
    short = float(f"{value:.12g}")
    return (short if abs(value - short) <= SAME * np.spacing(abs(short)) else value) + 0.0


def _two_beside(place: float, side: int) -> tuple[float, float]:
    """The two numbers next to a place; equally far from it and each other."""
    near = _beside(place, side)
    return near, near + (near - place)


def _signs(values: np.ndarray) -> np.ndarray:
    return np.sign(np.where(np.isnan(values), 0.0, values)).astype(int)


def _changes(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neighbouring points between which the sign changes; points where the value is 0 are passed over."""
    signs = _signs(values)
    x, signs = x[signs != 0], signs[signs != 0]
    change = np.flatnonzero(signs[1:] != signs[:-1])
    return x[change], x[change + 1]


def _narrowed(g: Function, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets narrowed to neighbouring numbers between which `g` changes its sign, or to one where it is 0.

    Each step cuts a bracket into many parts and keeps the first with a change: few evaluations of many points are fastest.
    """
    start, row = _signs(g(a)), np.arange(a.size)
    parts = max(2, 512 // max(1, a.size))
    cuts = np.arange(1, parts) / parts
    for _ in range(1100):
        inner = a[:, None] + (b - a)[:, None] * cuts
        signs = _signs(g(inner.ravel())).reshape(inner.shape)
        other = signs != start[:, None]
        first = np.where(other.any(axis=1), other.argmax(axis=1), parts - 1)
        points = np.concatenate([a[:, None], inner, b[:, None]], axis=1)
        # the middle one of the points where it is 0, of which there are many where a power underflows
        middle = np.argmax(np.cumsum(signs == 0, axis=1) * 2 > np.count_nonzero(signs == 0, axis=1)[:, None], axis=1)
        zero = (signs == 0).any(axis=1)
        new_a = np.where(zero, points[row, middle + 1], points[row, first])
        new_b = np.where(zero, points[row, middle + 1], points[row, first + 1])
        if ((new_a == a) & (new_b == b)).all():
            break
        a, b = new_a, new_b
    return a, b


def _root(g: Function, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where `g` is 0, between points where it has different signs."""
    a, b = _narrowed(g, a, b)
    return np.where(np.abs(g(a)) <= np.abs(g(b)), a, b)


def _limit(g: Function, side: int) -> float | None:
    """The limit at an infinity: `g` there if it goes there steadily, or is as good as there; None if it does neither."""
    far = g(side * 2.0 ** np.concatenate([np.arange(20.0, 60.0, 1.3), np.arange(64.0, 1020.0, 17.3)]))
    if np.isnan(far).any():
        return None
    there, last = float(g(_at(side * INF))[0]), float(far[-1])
    steps = np.where(far[1:] == far[:-1], 0.0, far[1:]) - np.where(far[1:] == far[:-1], 0.0, far[:-1])
    turns = np.count_nonzero(np.diff(np.sign(steps[steps != 0])))
    steady = turns <= 2  # a last bump far out is no oscillation
    apart = np.abs(far[far != last] - last)
    close = math.isfinite(last) and (not apart.size or bool(apart[-1] < 1e-9 * np.max(np.abs(far))))
    if not steady and not close:
        return None
    if math.isnan(there) or (math.isfinite(there) and abs(there - last) > 1e-6 * max(1.0, abs(last))):
        there = last if abs(last) < FAR else math.copysign(INF, last)
    return there + 0.0


def _edge(g: Function, end: float, inward: int) -> float:
    """What `g` tends to at the last number where it has a value: an infinity if doubling the distance does not matter less."""
    unit = float(np.spacing(abs(end))) if end else 2.0**-1000
    near, next_, far, farther = (float(v) for v in g(_at(*(end + inward * unit * 2.0**k for k in (0, 1, 20, 21)))))
    if abs(near - next_) >= abs(far - farther) / 2 > 0:
        return math.copysign(INF, near - next_)
    return near


def _bound(values: np.ndarray, grid: np.ndarray, known: list[float], limits: list[float | None]) -> float:
    """The least upper bound of values on the grid, at known places and in the limit."""
    highest = max([float(np.nanmax(values)), *known, *(v for v in limits if v is not None)])
    if None in limits and math.isfinite(highest):
        # An oscillation. One that does not grow comes as high again much farther out.
        middle = float(np.nanmedian(values))
        high = np.abs(grid[values >= middle + (np.nanmax(values) - middle) / 2])
        if high.max() <= 4 * high.min():
            return INF
    for v in (*limits, max(known, default=None)):  # rather than a number beside it that was rounded up
        if v is not None and math.isfinite(v) and abs(highest - v) <= SAME * np.spacing(abs(v)):
            return _short(v)
    return _short(highest)


def _jumps(g: Function, place: float) -> bool:
    """Whether `g` is discontinuous at a place: the values beside it differ by more than a small part of those around."""
    width = abs(place) or 1.0
    around = [place + width * part for part in (-0.25, -0.0625, 0.0625, 0.25)]
    values = g(_at(_beside(place, -1), place, _beside(place, 1), *around))
    left, at, right = values[:3]
    return bool(max(abs(right - left), abs(at - left), abs(at - right)) > 1e-9 * np.nanmax(np.abs(values)))


def _inverse_root(square: float) -> float:
    return 1 / math.sqrt(square) if square else INF


def _integral(integrand: Function, edges: np.ndarray) -> np.ndarray:
    """Integrals over the panels between the edges by Gauss-Legendre quadrature; a panel is halved until that changes nothing."""

    def panels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        half = (b - a) / 2
        x = (a + half)[:, None] + half[:, None] * NODES
        values = integrand(x.ravel())
        return (values.reshape(len(values), *x.shape) * WEIGHTS).sum(axis=-1) * half

    a, b = edges[:-1], edges[1:]
    whole = panels(a, b)
    total = np.zeros(len(whole))
    for _ in range(40):
        middle = a + (b - a) / 2
        left, right = panels(a, middle), panels(middle, b)
        size = np.abs(total) + np.abs(left + right).sum(axis=1)
        rough = (np.abs(left + right - whole) > 1e-15 * size[:, None]).any(axis=0)
        total = total + (left + right)[:, ~rough].sum(axis=1)
        if not rough.any():
            break
        a, b = np.concatenate([a[rough], middle[rough]]), np.concatenate([middle[rough], b[rough]])
        whole = np.concatenate([left[:, rough], right[:, rough]], axis=1)
    else:
        total = total + whole.sum(axis=1)
    return total
