"""What people do to a model in a framework, and an activation has to survive: ``backends/<framework>/capabilities.toml``.

A table is data, and can be read where the framework is not installed. ``capabilities.py`` beside it has a function for each
entry, of the same name, that evaluates an activation in this way; the conformance suite judges what comes out.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .natives import folder

KINDS = ("pointwise", "gated", "axiswise")
#: A letter for each verdict, in the file below.
LETTERS = {"pass": "p", "known": "k", "fail": "f"}
#: What became of every activation, made by ``multiact capabilities`` and shipped with the package.
FILE = os.path.join(os.path.dirname(__file__), "survived.json")


@dataclass(frozen=True)
class Capability:
    """One way of using an activation, the mode of its rows in a report.

    Attributes
    ----------
    name : "onnx".
    title : what is done, in the framework's words.
    group : the heading under which it is listed: "transforms", "export" ...
    orders : what is judged: 0 the value, 1 to 4 derivatives in the input, "parameters" the first derivative in each parameter.
    dtypes : in which dtypes. Orders above 2 are judged in float64 alone, as autodiff by the framework is.
    kinds : of which kinds of activations.
    layers : whether it concerns our Modules or Layers, so that a framework's own functions cannot be judged in it.
    """

    name: str
    title: str
    group: str
    orders: tuple[int | str, ...] = (0,)
    dtypes: tuple[str, ...] = ("float32",)
    kinds: tuple[str, ...] = KINDS
    layers: bool = False


def framework_of(backend: str) -> str:
    """The folder of a backend: keras for keras-torch."""
    return backend.partition("-")[0]


@cache
def capabilities(backend: str) -> Mapping[str, Capability]:
    """The table of a backend by name; empty where there is none."""
    path = os.path.join(folder(), framework_of(backend), "capabilities.toml")
    try:
        with open(path, "rb") as file:
            entries = tomllib.load(file)
    except FileNotFoundError:
        return {}
    read = {}
    for name, given in entries.items():
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        read[name] = Capability(name, **fields)
    return read


def evaluator(backend: str, name: str) -> Callable[..., Any]:
    """What evaluates in this way, called as `multiact.protocols.Harness.evaluate` is but for the mode."""
    module = importlib.import_module(f"{__package__}.backends.{framework_of(backend)}.capabilities")
    found: Callable[..., Any] = getattr(module, name)
    return found


def load(backend: str) -> None:
    """Import what evaluates, which may have to set up devices before the framework is used."""
    if capabilities(backend):
        importlib.import_module(f"{__package__}.backends.{framework_of(backend)}.capabilities")


def survived(name: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """Of each backend group, title and name of every capability that was tried with an activation, and the verdict.

    Returns
    -------
    dict : empty when nothing was published. Verdicts are "pass", "known" (for a cause in docs/capabilities.md) and "fail".

    Raises
    ------
    UnknownActivationError : there is no such activation.
    """
    from .registry import get

    found, name = _published(), get(name).name
    if name not in found["activations"]:
        return {}
    at = found["activations"].index(name)
    letters = {letter: verdict for verdict, letter in LETTERS.items()}
    return {
        backend: [
            (group, title, capability, letters[verdicts[at]])
            for group, title, capability, verdicts in rows
            if verdicts[at] in letters
        ]
        for backend, rows in found["backends"].items()
    }


@cache
def _published() -> dict[str, Any]:
    import json  # not needed to import multiact

    try:
        with open(FILE, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {"activations": [], "backends": {}}
