"""Activations as Equinox Modules, with learnable parameters; the functions are those of JAX.

>>> import jax.numpy as jnp
>>> from multiact.backends.equinox import PReLU, SiLU
>>> PReLU()(jnp.asarray([-4.0, 4.0])).tolist()
[-1.0, 4.0]
>>> float(SiLU(learnable=True).beta)
1.0
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.exports import listing, lookup

require("equinox")

from .adapter import backend

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return listing(backend)
