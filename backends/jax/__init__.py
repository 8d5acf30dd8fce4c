"""Activations as JAX functions: jitted, differentiable to any order in both modes, shardable.

>>> import jax
>>> from multiact.backends.jax import silu
>>> float(jax.grad(silu)(0.0))
0.5
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.exports import listing, lookup

require("jax")

from .adapter import backend

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return listing(backend)
