"""The NumPy backend, which also serves every other array library that follows the array API standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from array_api_compat import numpy as namespace

from multiact.declaration import Array, Axiswise, Distribution, Elementwise
from multiact.exports import BackendBase, check_generator

from . import blocks


class NumPyBackend(BackendBase):
    """Formulas evaluated as they stand; NumPy has no automatic differentiation."""

    name = "numpy"
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, (np.ndarray, np.generic, float, int, complex))

    def dtype(self, x: Array) -> str:
        return str(np.asarray(x).dtype if isinstance(x, (float, int, complex)) else x.dtype).rpartition(".")[2]

    def draw(self, distribution: Distribution, like: Array, rng: Any) -> Array:
        found = super().draw(distribution, like, rng)
        return found if _is_numpy(like) else array_namespace(like).asarray(found, device=device(like))

    def select(self, mask: Array, x: Array, other: float) -> Array:
        if _is_numpy(x):
            return super().select(mask, x, other)
        xp = array_namespace(x)
        return xp.where(mask, x, xp.full_like(x, other))

    def uniform(self, like: Array, dtype: str, rng: Any) -> Array:
        accepted = (type(None), int, np.random.Generator)
        check_generator(self.name, rng, accepted, "a numpy.random.Generator, a seed, or None for a fresh one")
        return np.random.default_rng(rng).random(np.shape(like), dtype=dtype)  # type: ignore[call-overload]

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        def call(x: Array, *others: Array) -> Array:
            if not _is_numpy(x):
                if _in_chunks(x, others):
                    return x.map_blocks(call, *others, dtype=x.dtype)
                return function.evaluate(array_namespace(x), x, *others)
            x = np.asarray(x)
            with np.errstate(all="ignore"):
                if x.size < blocks.LARGE:
                    return function.evaluate(namespace, x, *others)[()]
                return blocks.elementwise(function, x, others)[()]

        return call

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        def call(x: Array, *parameters: Array, **options: int) -> Array:
            if not _is_numpy(x):
                return function.evaluate(array_namespace(x), x, *parameters, **options)
            x = np.asarray(x)
            with np.errstate(all="ignore"):
                if x.size < blocks.LARGE:
                    return function.evaluate(namespace, x, *parameters, **options)
                return blocks.along_axis(function, x, parameters, options)

        return call


def _is_numpy(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic, float))


def _in_chunks(x: Any, others: Sequence[Any]) -> bool:
    """Whether it is an array of Dask, and what else there is has the same chunks: each of them is one task then, not fifty."""
    return hasattr(x, "map_blocks") and all(
        isinstance(o, float) or getattr(o, "chunks", None) == x.chunks for o in others
    )


backend = NumPyBackend()
