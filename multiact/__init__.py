"""Activation functions, each defined once, with the same values and gradients in every framework.

>>> import numpy as np
>>> import multiact as ma
>>> ma.gelu(np.asarray([-1.0, 0.0, 2.0]))
array([-0.15865525,  0.        ,  1.95449974])
"""

from __future__ import annotations

import importlib as _importlib
import os as _os
import typing as _typing
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
from .initialisation import Initialisation, initialisation
from .registry import define, gated, get, names
from .surgery import Swap, swap
from .translation import audit, translate

if _typing.TYPE_CHECKING:
    from .advisor import Advice, advise
    from .weights import InitReport, check_initialisation, init_for

_functions: dict[Activation, _Any] = {}

#: Public names of modules that are imported when they are asked for.
_later = {
    **dict.fromkeys(("Advice", "advise"), "advisor"),
    **dict.fromkeys(("InitReport", "check_initialisation", "init_for"), "weights"),
}

__all__ = [
    "Activation",
    "Advice",
    "BackendNotAvailableError",
    "Budget",
    "DefinitionError",
    "Facts",
    "InitReport",
    "Initialisation",
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
    "advise",
    "audit",
    "check_initialisation",
    "define",
    "errors",
    "facts",
    "gain",
    "gated",
    "get",
    "init_for",
    "initialisation",
    "names",
    "parameter",
    "registry",
    "swap",
    "translate",
]


def __getattr__(name: str) -> _Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'multiact' has no attribute {name!r}")
    if name == "diagnostics":
        return _importlib.import_module("multiact.diagnostics")
    if name in _later:
        return getattr(_importlib.import_module(f"multiact.{_later[name]}"), name)
    activation = registry.get(name)
    found = _functions.get(activation)
    if found is None:
        found = _functions.setdefault(activation, _dispatching(activation))
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_later, *registry.names(), *registry.aliases()])
