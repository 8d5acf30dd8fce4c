"""Activations as functions of MLX arrays, differentiable to any order in both modes, and mlx.nn Modules with learnable parameters.

>>> import mlx.core as mx
>>> from multiact.backends.mlx import PReLU, silu
>>> mx.grad(silu)(mx.array(0.0)).item()
0.5
>>> PReLU()(mx.array([-4.0, 4.0])).tolist()
[-1.0, 4.0]
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.exports import listing, lookup

require("mlx")

from .adapter import backend

__all__ = ["backend"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return listing(backend)
