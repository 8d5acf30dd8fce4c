"""What the conformance suite needs of CuPy: ``multiact conformance --backend cupy --device gpu``.

Untested: no run on a GPU has been made. The tests run this file on a stand-in for the module, made of NumPy; that covers which of
CuPy's functions are called and with what, and not what CuPy computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cupy
import numpy as np

from multiact.declaration import Array
from multiact.declared import DeclaredHarness


class CuPyHarness(DeclaredHarness):
    """CuPy arrays on the first GPU."""

    name = "cupy"
    dtypes = ("float32", "float64", "float16")

    def devices(self) -> tuple[str, ...]:
        try:
            return ("gpu",) if cupy.cuda.runtime.getDeviceCount() else ()
        except cupy.cuda.runtime.CUDARuntimeError:  # no driver
            return ()

    def versions(self) -> Mapping[str, str]:
        return {"cupy": cupy.__version__}

    def put(self, a: np.ndarray, dtype: str) -> Array:
        return cupy.asarray(np.asarray(a).astype(dtype))

    def get(self, x: Array) -> np.ndarray:
        return cupy.asnumpy(x)  # type: ignore[no-any-return]

    def compute(
        self, function: Callable[..., Array], arrays: Sequence[np.ndarray], dtype: str, device: str
    ) -> np.ndarray:
        with cupy.cuda.Device(0):
            return super().compute(function, arrays, dtype, device)

    def synchronise(self, x: Array) -> Array:
        cupy.cuda.get_current_stream().synchronize()
        return x


harness = CuPyHarness()
