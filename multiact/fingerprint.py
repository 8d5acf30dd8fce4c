"""What a result depends on, as a short text: the formulas of a function, by the files that they are written in.

Rows of conformance reports and compiled kernels are kept under it, so that none outlives the code that it came from.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from .declaration import Activation, Axiswise, Elementwise

CATALOG = "multiact.catalog"


def key(*parts: object) -> str:
    """A name for everything that `parts` say."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"|")
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()[:24]


@functools.cache
def content(files: tuple[Path, ...]) -> str:
    """A name for what is in some files."""
    return key(*(part for file in files for part in (file.name, file.read_bytes())))


def bodies(function: Any) -> set[Any]:
    """The formulas that a function of a tower, or along an axis, is made of."""
    found: set[Any] = set()
    todo, seen = [function], set[int]()
    while todo:
        part = todo.pop()
        if isinstance(part, FunctionType):
            found.add(part)
        elif isinstance(part, Mapping):
            todo += part.values()
        elif isinstance(part, (tuple, list)):
            todo += part
        elif isinstance(part, (Elementwise, Axiswise)) and id(part) not in seen:
            seen.add(id(part))
            todo += vars(part).values()
    return found


def modules(function: Elementwise | Axiswise) -> set[str]:
    """The modules that its formulas were written in, and those of the catalogue that these take functions from."""
    todo, found = {f.__module__ or "" for f in bodies(function)}, set[str]()  # "" of what an exec has made
    while todo:
        name = todo.pop()
        found.add(name)
        if name.startswith(CATALOG):
            used: set[Any] = set()
            for value in vars(sys.modules[name]).values():
                used |= bodies(value.function if isinstance(value, Activation) else value)
            todo |= {f.__module__ for f in used if f.__module__.startswith(CATALOG)} - found
    return found


def files(function: Elementwise | Axiswise) -> set[Path] | None:
    """The files of `modules`; None when one has none, as in an interactive session."""
    found = set()
    for name in modules(function):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is None:
            return None
        found.add(Path(file))
    return found
