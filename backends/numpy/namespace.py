"""The array API on large NumPy arrays: that of array-api-compat, with a choice that does not branch.

``numpy.where`` branches on every element. Where neighbours have different signs, as the inputs of an activation have, the
processor guesses wrong half of the time, and a choice takes as long as ten exponentials.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat.numpy import *

_BITS: dict[Any, Any] = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """What ``numpy.where`` gives, bit for bit: x2 ^ (condition * (x1 ^ x2)) of the bits, or a copy where all choose one."""
    dtype = _dtype(x1, x2)
    if dtype is None or type(condition) is not np.ndarray or condition.dtype != np.bool_:
        return np.where(condition, x1, x2)
    first, second = np.asarray(x1, dtype), np.asarray(x2, dtype)
    if first.shape in ((), condition.shape) and second.shape in ((), condition.shape):
        count = np.count_nonzero(condition)
        if count in (0, condition.size):
            copy = np.empty_like(condition, dtype)
            copy[...] = first if count else second
            return copy
    bits = _BITS[dtype]
    second = second.view(bits)
    chosen = np.multiply(condition, first.view(bits) ^ second, dtype=bits)
    return np.asarray(chosen ^ second).view(dtype)


def _dtype(x1: Any, x2: Any) -> np.dtype | None:
    """float32 or float64, if one is an array of that dtype and the other one too or a Python number."""
    first, second = getattr(x1, "dtype", None), getattr(x2, "dtype", None)
    if first is None and type(x1) in (float, int):
        first = second
    if second is None and type(x2) in (float, int):
        second = first
    return first if first == second and first in _BITS else None
