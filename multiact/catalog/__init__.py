"""The catalogue: one file for each family. Every module in this folder is loaded; adding one needs no other change."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every module of the catalogue, which registers its activations."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
