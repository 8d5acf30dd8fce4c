"""Activations as PyTorch functions and Modules: differentiable to any order, in both modes, under torch.compile.

>>> import torch
>>> from multiact.backends.torch import SiLU, silu
>>> silu(torch.tensor([-1.0, 0.0, 2.0]))
tensor([-0.2689,  0.0000,  1.7616])
>>> SiLU()
SiLU()
"""

from __future__ import annotations

from typing import Any

from multiact.dispatch import require
from multiact.exports import listing, lookup

require("torch")

from .adapter import backend
from .eager import build_kernels, kernels
from .hugging_face import register_timm, register_transformers
from .layers import Gated

__all__ = ["Gated", "backend", "build_kernels", "kernels", "register_timm", "register_transformers"]


def __getattr__(name: str) -> Any:
    return lookup(backend, name)


def __dir__() -> list[str]:
    return sorted([*listing(backend), *__all__])
