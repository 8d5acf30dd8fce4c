"""Statistics of what a model computes, written once against the array API standard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dispatch
from ..declaration import Array
from ..facts import facts
from .probing import Place

#: An input is saturated where the slope is below this share of the steepest slope.
SATURATED = 0.01
#: A unit is dead where the slope is below this share of the steepest for every input: nothing comes back through it.
DEAD = 1e-6


def namespace(x: Array) -> Any:
    """The array API namespace of an array of any framework."""
    backend = dispatch.backend_of(x)
    if backend.name == "numpy" and not isinstance(x, np.ndarray):
        import array_api_compat

        return array_api_compat.array_namespace(x)
    return backend.namespace


def to_numpy(x: Array) -> np.ndarray:
    """An array of any framework, on any device, as one of NumPy."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x  # which NumPy does not have
    return np.asarray(x)


def number(x: Array) -> float:
    """An array of one entry as a Python number."""
    return float(x)


@dataclass
class Moments:
    """Count, mean, standard deviation, least and largest of all finite entries so far, and how many are 0 or not finite."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    nonfinite: int = 0

    def add(self, x: Array) -> None:
        """Take in the entries of one more array (Chan et al., Updating formulae for computing sample variances, 1983)."""
        xp = namespace(x)
        wide = xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits == 16 else x
        finite = xp.isfinite(wide)
        size = math.prod(x.shape)
        n = int(number(xp.sum(xp.astype(finite, xp.float32))))
        self.nonfinite += size - n
        if not n:
            return
        safe = xp.where(finite, wide, xp.zeros_like(wide))
        mean = number(xp.sum(safe)) / n
        centred = xp.where(finite, wide - mean, xp.zeros_like(wide))
        squares = number(xp.sum(centred * centred))
        shift, total = mean - self.mean, self.count + n
        self.squares += squares + shift * shift * self.count * n / total
        self.mean += shift * n / total
        self.count = total
        self.low = min(self.low, number(xp.min(xp.where(finite, wide, xp.full_like(wide, math.inf)))))
        self.high = max(self.high, number(xp.max(xp.where(finite, wide, xp.full_like(wide, -math.inf)))))
        self.zeros += int(number(xp.sum(xp.astype(wide == 0, xp.float32))))

    @property
    def std(self) -> float:
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    @property
    def rms(self) -> float:
        return math.sqrt(self.squares / self.count + self.mean**2) if self.count else math.nan

    @property
    def norm(self) -> float:
        return self.rms * math.sqrt(self.count) if self.count else 0.0

    @property
    def sparsity(self) -> float:
        """The share of entries that are 0."""
        return self.zeros / self.count if self.count else math.nan


@dataclass
class Units:
    """The units of one activation over a whole data set.

    Attributes
    ----------
    alive : for each unit whether anything came back through it, for any input.
    responded : for each unit whether its result differed from 0 for any input.
    highest : for each unit the largest input.
    steepest : the largest slope of the activation.
    saturated, seen : how many entries had next to no slope, and how many there were.
    """

    alive: np.ndarray | None = None
    responded: np.ndarray | None = None
    highest: np.ndarray | None = None
    steepest: float = 1.0
    saturated: int = 0
    seen: int = 0

    def add(self, place: Place) -> None:
        """Take in one more batch."""
        x = place.before
        xp = namespace(x)
        axes = tuple(i for i in range(x.ndim) if i != place.axis % x.ndim)
        nonzero = xp.any(place.after != 0, axis=axes) if place.after.shape == x.shape else None
        slope = self._slope(xp, place)
        if slope is None:
            return
        steepest = self.steepest = self._steepest(place)
        alive = to_numpy(xp.any(slope > DEAD * steepest, axis=axes))
        self.alive = alive if self.alive is None else self.alive | alive
        if nonzero is not None:
            found = to_numpy(nonzero)
            self.responded = found if self.responded is None else self.responded | found
        top = to_numpy(xp.max(x, axis=axes)).astype(np.float64)
        self.highest = top if self.highest is None else np.maximum(self.highest, top)
        self.saturated += int(number(xp.sum(xp.astype(slope < SATURATED * steepest, xp.float32))))
        self.seen += math.prod(x.shape)

    @staticmethod
    def _slope(xp: Any, place: Place) -> Array | None:
        """The magnitude of the declared derivative at every entry; None for what is no function of one number."""
        if place.activation is None or place.activation.kind != "pointwise":
            return None
        slope = place.activation.derivative(place.before, **place.parameters)
        return xp.where(slope < 0, -slope, slope)

    @staticmethod
    def _steepest(place: Place) -> float:
        steepest = facts(place.activation, **place.parameters).lipschitz  # type: ignore[arg-type]
        return steepest if steepest and math.isfinite(steepest) else 1.0

    @property
    def count(self) -> int:
        return 0 if self.alive is None else int(self.alive.size)

    @property
    def dead(self) -> int:
        return 0 if self.alive is None else int((~self.alive).sum())

    @property
    def saturation(self) -> float:
        return self.saturated / self.seen if self.seen else math.nan
