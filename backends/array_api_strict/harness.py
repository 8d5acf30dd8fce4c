"""What the conformance suite needs of array-api-strict."""

from __future__ import annotations

from collections.abc import Mapping

import array_api_strict as strict
import numpy as np

from multiact.declaration import Array
from multiact.declared import DeclaredHarness


class StrictHarness(DeclaredHarness):
    """array-api-strict, which has the dtypes of the standard and computes by NumPy."""

    name = "array_api_strict"

    def versions(self) -> Mapping[str, str]:
        return {"array-api-strict": strict.__version__}

    def put(self, a: np.ndarray, dtype: str) -> Array:
        return strict.asarray(np.asarray(a).astype(dtype))

    def get(self, x: Array) -> np.ndarray:
        return np.asarray(x)


harness = StrictHarness()
