"""The NumPy backend, which also serves every other array library that follows the array API standard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import numpy as namespace

from multiact.declaration import Array, Axiswise, Elementwise
from multiact.exports import BackendBase


class NumPyBackend(BackendBase):
    """Formulas evaluated as they stand; NumPy has no automatic differentiation."""

    name = "numpy"
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, (np.ndarray, np.generic, float, int, complex))

    def dtype(self, x: Array) -> str:
        return str(np.asarray(x).dtype if isinstance(x, (float, int, complex)) else x.dtype).rpartition(".")[2]

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        def call(x: Array, *others: Array) -> Array:
            if not _is_numpy(x):
                return function.evaluate(array_namespace(x), x, *others)
            with np.errstate(all="ignore"):
                return function.evaluate(namespace, np.asarray(x), *others)[()]

        return call

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        def call(x: Array, *parameters: Array, axis: int) -> Array:
            if not _is_numpy(x):
                return function.evaluate(array_namespace(x), x, *parameters, axis=axis)
            with np.errstate(all="ignore"):
                return function.evaluate(namespace, np.asarray(x), *parameters, axis=axis)

        return call


def _is_numpy(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic, float))


backend = NumPyBackend()
