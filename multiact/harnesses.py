"""The harnesses of backends by name. Keras has one for each framework below it: keras-torch, keras-jax, keras-tensorflow."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import cast

from . import capabilities
from .dispatch import BUILTIN, backend, installed, require
from .natives import frameworks
from .protocols import Harness

KERAS = ("torch", "jax", "tensorflow")
#: Array libraries on whose arrays the functions of the NumPy backend run: what is imported, and how it is installed.
LIBRARIES = {
    "array_api_strict": (("array_api_strict",), "array-api-strict"),
    "dask": (("dask",), "'dask[array]'"),
    "ndonnx": (("ndonnx", "onnxruntime"), "'multiact[onnx]' onnxruntime"),
    "cupy": (("cupy",), "cupy"),
}
#: The same devices under the names that frameworks give them.
DEVICES = {"cuda": ("cuda", "gpu"), "gpu": ("gpu", "cuda")}


def expand(name: str) -> list[str]:
    """The backends that a name stands for: keras for Keras on each framework that is installed."""
    if name == "keras":
        return [f"keras-{below}" for below in KERAS if installed(below)]
    return [name]


def needed(name: str) -> tuple[str, ...]:
    """The frameworks that must be installed for a backend."""
    return ("keras", name.removeprefix("keras-")) if name.startswith("keras") else (name,)


def library_present(name: str) -> bool:
    """Whether one of the `LIBRARIES` is installed; it is not imported to find out."""
    return all(importlib.util.find_spec(module) is not None for module in LIBRARIES[name][0])


def device_of(harness: Harness, device: str) -> str | None:
    """The name that a framework gives to a device; None where it has none."""
    return next((d for d in DEVICES.get(device, (device,)) if d in harness.devices()), None)


def load(name: str, capable: bool = False) -> Harness:
    """The harness of a backend, in this process. For Keras the process must not have loaded it on another framework.

    Parameters
    ----------
    capable : import what evaluates its `multiact.capabilities` too.

    Raises
    ------
    BackendNotAvailableError : there is no such backend, or its framework is not installed.
    """
    called = name
    if name.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = name.removeprefix("keras-")
        name = "keras"
    if name in BUILTIN:
        require(name)
    if capable:
        capabilities.load(called)
    if name in BUILTIN or name in frameworks() or name in LIBRARIES:
        return cast(Harness, importlib.import_module(f"multiact.backends.{name}.harness").harness)
    module = type(backend(name)).__module__.rpartition(".")[0]
    return cast(Harness, importlib.import_module(f"{module}.harness").harness)
