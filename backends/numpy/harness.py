"""What the conformance suite and the benchmarks need of NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from multiact.declaration import Array
from multiact.declared import DeclaredHarness

from .timing import NumPyTiming, ml_dtypes, put


class NumPyHarness(NumPyTiming, DeclaredHarness):
    """Values from the public function, derivatives from the declared formulas: NumPy differentiates nothing itself."""

    name = "numpy"
    dtypes = ("float32", "float64", "float16", *(("bfloat16",) if ml_dtypes is not None else ()))

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def put(self, a: np.ndarray, dtype: str) -> np.ndarray:
        return put(a, dtype)

    def get(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def compute(
        self, function: Callable[..., Array], arrays: Sequence[np.ndarray], dtype: str, device: str
    ) -> np.ndarray:
        with np.errstate(all="ignore"):
            return super().compute(function, arrays, dtype, device)


harness = NumPyHarness()
