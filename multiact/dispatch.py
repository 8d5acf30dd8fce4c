"""Which backend an array belongs to. Frameworks are imported by those who hold their arrays, never by us."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from array_api_compat import is_array_api_obj

from .declaration import Activation
from .errors import BackendNotAvailableError, InputError
from .protocols import Backend

#: Our own backends, and the module whose presence in sys.modules says that its arrays can exist.
BUILTIN = {
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "flax": "flax",
    "equinox": "equinox",
    "mlx": "mlx",
    "numpy": "numpy",
}

_backends: dict[str, Backend] = {}


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {e.name: e for e in metadata.entry_points(group="multiact.backends") if e.name not in BUILTIN}


def backend_names() -> list[str]:
    """The names of all backends, ours and those that other packages add under the entry point multiact.backends."""
    return [*BUILTIN, *_entry_points()]


def installed(name: str) -> bool:
    """Whether the framework of one of our own backends can be imported; nothing is imported to find out."""
    module = BUILTIN.get(name)
    return module is None or module in sys.modules or importlib.util.find_spec(module) is not None


def require(name: str) -> None:
    """Raise `BackendNotAvailableError` naming the extra to install when the framework of a backend is missing."""
    if not installed(name):
        raise BackendNotAvailableError(
            f"multiact.backends.{name} needs {BUILTIN[name]}, which is not installed. "
            f"Install it with: pip install 'multiact[{name}]'"
        )


def backend(name: str) -> Backend:
    """The backend of that name, loaded on first use.

    Raises
    ------
    BackendNotAvailableError : there is no such backend, or its framework is not installed.
    """
    found = _backends.get(name)
    if found is None:
        if name in BUILTIN:
            require(name)
            found = importlib.import_module(f"multiact.backends.{name}").backend
        else:
            entries = _entry_points()
            if name not in entries:
                raise BackendNotAvailableError(
                    f"no backend is named {name!r}. There are: {', '.join(backend_names())}."
                )
            found = entries[name].load()
        assert found is not None
        _backends[name] = found
    return found


def _present() -> Iterator[Backend]:
    """The backends whose framework is imported, loaded one by one."""
    for name in backend_names():
        if name in _backends or BUILTIN.get(name, name) in sys.modules:
            yield backend(name)


def prepare(activation: Activation) -> None:
    """Make the function of an activation on every backend whose framework is imported.

    torch.compile can trace a call to it then, but neither the import of a backend nor the making of a function.
    """
    for found in _present():
        found.function(activation)


def backend_of(x: Any, *others: Any) -> Backend:
    """The backend that owns an array.

    Raises
    ------
    InputError : no backend does.
    """
    for found in _backends.values():
        if found.owns(x):
            return found
    for found in _present():
        if found.owns(x):
            return found
    if is_array_api_obj(x):
        return backend("numpy")  # whose formulas run on any array API library, without differentiation
    raise InputError(
        f"expected an array of NumPy, PyTorch, JAX, TensorFlow or another array API library. "
        f"Received: {type(x).__module__}.{type(x).__qualname__}. Convert it first, e.g. numpy.asarray(x, dtype='float32')."
    )
