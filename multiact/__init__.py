"""Activation functions, each defined once, with the same values and gradients in every framework.

>>> import numpy as np
>>> import multiact as ma
>>> ma.gelu(np.asarray([-1.0, 0.0, 2.0]))
array([-0.15865525,  0.        ,  1.95449974])
"""

from __future__ import annotations

import os as _os
from typing import Any as _Any

__version__ = "0.1.0"

# In a checkout that is not installed the rooms stand beside this folder, not below it.
_root = _os.path.dirname(_os.path.dirname(_os.path.abspath(__file__)))
if _os.path.isfile(_os.path.join(_root, "backends", "__init__.py")) and _os.path.isfile(
    _os.path.join(_root, "pyproject.toml")
):
    __path__.append(_root)

from . import errors, registry
from .declaration import Activation, Budget, Interval, Option, Parameter, parameter
from .errors import (
    BackendNotAvailableError,
    DefinitionError,
    InputError,
    MissingDerivativeError,
    MultiactError,
    ParameterError,
    ShapeError,
    UnknownActivationError,
)
from .facts import Facts, facts, gain
from .functions import dispatching as _dispatching
from .registry import define, gated, get, names
from .surgery import Swap, swap
from .translation import audit, translate

_functions: dict[Activation, _Any] = {}

__all__ = [
    "Activation",
    "BackendNotAvailableError",
    "Budget",
    "DefinitionError",
    "Facts",
    "InputError",
    "Interval",
    "MissingDerivativeError",
    "MultiactError",
    "Option",
    "Parameter",
    "ParameterError",
    "ShapeError",
    "Swap",
    "UnknownActivationError",
    "audit",
    "define",
    "errors",
    "facts",
    "gain",
    "gated",
    "get",
    "names",
    "parameter",
    "registry",
    "swap",
    "translate",
]


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'multiact' has no attribute {name!r}")
    activation = registry.get(name)
    found = _functions.get(activation)
    if found is None:
        found = _functions.setdefault(activation, _dispatching(activation))
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *registry.names(), *registry.aliases()])
