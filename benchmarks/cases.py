"""What is timed: an activation in a mode, dtype, size and direction, on which arrays, and beside what."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multiact.declaration import Activation, Array
from multiact.errors import ParameterError
from multiact.protocols import Native, Timed
from multiact.registry import get

DIRECTIONS = ("forward", "forward_backward")
MODES = ("eager", "compiled", "xla")
#: Length of a row along the axis of softmax and its like.
ROW = 1024
#: Inputs are normal with this standard deviation: activations see numbers around 0, and meet all their pieces.
SPREAD = 2.0
DRAWN = 1 << 20


@dataclass(frozen=True)
class Case:
    """One row of the report."""

    activation: str
    mode: str
    dtype: str
    size: int
    direction: str


def cases(
    harness: Timed,
    activations: Sequence[str],
    modes: Sequence[str] | None,
    dtypes: Sequence[str],
    sizes: Sequence[int],
    directions: Sequence[str],
) -> list[Case]:
    """All that a backend has of them, an activation at a time, so that a function that is compiled is soon forgotten."""
    return [
        Case(activation, mode, dtype, size, direction)
        for activation in activations
        for mode in MODES
        if mode in harness.timed_modes and (modes is None or mode in modes)
        for dtype in dtypes
        if dtype in harness.dtypes
        for size in sizes
        for direction in directions
    ]


def shape(activation: Activation, size: int) -> tuple[int, ...]:
    """The shape of an input of so many elements: rows where the activation works along an axis."""
    if activation.kind != "axiswise":
        return (size,)
    row = min(size, ROW)
    if activation.name == "softmax2d":  # channels in front of two axes
        return (1, row, size // row, 1)
    return (size // row, row)


def arrays(activation: Activation, size: int) -> list[np.ndarray]:
    """The inputs, always the same numbers; value and gate of a gated unit have so many elements each.

    Raises
    ------
    ParameterError : so many elements are no rows.
    """
    wanted = shape(activation, size)
    if np.prod(wanted) != size or size < 2:
        raise ParameterError(
            f"{size} elements are no rows of {ROW}. Give a size that is, such as 64, 16384 or 1048576."
        )
    count = 2 if activation.kind == "gated" or noise(activation) else 1
    return [a.reshape(wanted) for a in _normal(size, count)]


@functools.lru_cache(maxsize=1)
def _normal(size: int, count: int) -> list[np.ndarray]:
    """Normal numbers; large arrays repeat the first `DRAWN` of them, as drawing takes longer than all that is timed."""
    random = np.random.default_rng(0)
    drawn = [random.standard_normal(min(size, DRAWN), dtype=np.float32) * SPREAD for _ in range(count)]
    return [np.resize(a, size) for a in drawn]


def noise(activation: Activation) -> str | None:
    """The parameter that is drawn in every call unless it is given; here it is given as a second input."""
    random = activation.random
    return random.name if random is not None and random.default is None else None


def given(activation: Activation, native: Native | None = None) -> dict[str, float]:
    """The parameters that are passed: what has no default, and what the framework's own has another value for."""
    values = dict(activation.examples[0]) if activation.examples else {}
    theirs = dict(native.parameters) if native is not None else {}
    return {
        p.name: float(theirs.get(p.name, values.get(p.name, 0.0)))
        for p in activation.parameters
        if not p.random and (p.default is None or theirs.get(p.name, p.default) != p.default)
    }


def ours(harness: Timed, activation: Activation, parameters: Mapping[str, float]) -> Callable[..., Array]:
    """Our public function of the positional inputs: x, or the value and the gate, or x and random numbers."""
    keywords: dict[str, Any] = dict(parameters)
    names: tuple[str, ...] = ("x",)
    if activation.kind == "gated":
        keywords["gate"], names = "second", ("value", "gate")
    function = harness.function(activation)
    random = noise(activation)
    if random is not None:
        # Its second input is a keyword.
        call: Any = functools.partial(_with_noise, function, random, **keywords)
        names = ("x", random)
    else:
        call = functools.partial(function, **keywords)
    call.activation, call.names = activation, names  # with which NumPy finds the declared derivatives
    return call  # type: ignore[no-any-return]


def _with_noise(function: Callable[..., Array], name: str, x: Array, noise: Array, **keywords: Any) -> Array:
    return function(x, **{name: noise}, **keywords)


def native(harness: Timed, activation: Activation) -> Native | None:
    """The framework's own, the one to be preferred where there are several."""
    found = harness.natives(activation)
    return found[0] if found else None


def activations(chosen: Sequence[str], everything: Sequence[str]) -> tuple[str, ...]:
    """Canonical names without repetition; everything for none."""
    return tuple(dict.fromkeys(get(name).name for name in chosen)) or tuple(everything)
