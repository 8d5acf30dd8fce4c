"""What the conformance suite needs of Dask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import dask
import dask.array as da
import numpy as np

from multiact.declaration import Array
from multiact.declared import DeclaredHarness

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None  # type: ignore[assignment]


class DaskHarness(DeclaredHarness):
    """Dask arrays in several chunks along every axis, also the one along which a softmax works.

    That a function computes nothing, and that its result has the chunks of its input or parts of them, is asserted in every case.
    """

    name = "dask"
    dtypes = ("float32", "float64", "float16", *(("bfloat16",) if ml_dtypes is not None else ()))

    def versions(self) -> Mapping[str, str]:
        return {"dask": dask.__version__}

    def put(self, a: np.ndarray, dtype: str) -> Array:
        a = np.asarray(a).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        return da.from_array(a, chunks=tuple(-(-n // (2 if i else 3)) for i, n in enumerate(a.shape)))

    def get(self, x: Array) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(x.compute(scheduler="synchronous"))

    def compute(
        self, function: Callable[..., Array], arrays: Sequence[np.ndarray], dtype: str, device: str
    ) -> np.ndarray:
        given = [self.put(a, dtype) for a in arrays]
        with dask.config.set(scheduler=_refuse):
            found = function(*given)
        if not isinstance(found, da.Array):
            raise AssertionError(f"the result is {type(found).__name__}, not a lazy array")  # noqa: TRY004
        like = next((a for a in given if a.shape == found.shape), None)
        if like is not None and not all(_bounds(x) <= _bounds(y) for x, y in zip(like.chunks, found.chunks)):
            raise AssertionError(f"the result has chunks {found.chunks}, the input {like.chunks}")
        return self.get(found)


def _bounds(chunks: Sequence[int]) -> set[int]:
    """Where chunks end."""
    return set(accumulate(chunks))


def _refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was computed before it was asked for")


harness = DaskHarness()
