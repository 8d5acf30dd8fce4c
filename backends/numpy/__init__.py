"""Activations as plain functions of NumPy arrays, and of any array that follows the array API standard.

>>> import numpy as np
>>> from multiact.backends.numpy import relu
>>> relu(np.asarray([-1.0, 2.0]))
array([0., 2.])
"""

from __future__ import annotations

from typing import Any

from multiact.exports import listing, lookup

from .adapter import backend

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return listing(backend)
