"""Rows of earlier runs, so that an interrupted run goes on where it stopped.

A row is kept under everything that it depends on: the case, the files that define and evaluate it, and the versions it ran with.
What misses its budget is not kept, so that it is always run again.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import multiact
from multiact import cache, fingerprint, natives
from multiact.declaration import Activation
from multiact.harnesses import LIBRARIES
from multiact.registry import get

if TYPE_CHECKING:
    from .runner import Row

#: The files, beside the backend's and the catalogue's, on which a row depends.
CORE = (
    "declaration",
    "declared",
    "dispatch",
    "errors",
    "exports",
    "fingerprint",
    "functions",
    "learning",
    "natives",
    "numerics",
    "protocols",
    "registry",
    "transforms",
)
CONFORMANCE = ("autodiff", "cases", "measure", "oracle", "points", "runner")
#: What a case is, of the facts in its row.
CASE = ("activation", "setting", "mode", "dtype", "device", "order")


@functools.cache
def _fingerprint(activation: Activation, backend: str) -> str | None:
    """A name for the code that evaluates an activation; None when it has no files, as in an interactive session."""
    files = {Path(multiact.__file__).with_name(f"{name}.py") for name in CORE}
    files |= {Path(__file__).with_name(f"{name}.py") for name in CONFORMANCE}
    below = natives.room(backend).BACKEND if backend in natives.frameworks() else None  # Flax stands on JAX
    for framework in (*backend.split("-"), *(["numpy"] if backend in LIBRARIES else []), *([below] if below else [])):
        room = importlib.util.find_spec(f"multiact.backends.{framework}")
        if room is None or room.submodule_search_locations is None:
            return None
        files |= {file for folder in room.submodule_search_locations for file in Path(folder).glob("*.[pt][yo]*")}
    written = fingerprint.files(activation.function)
    if written is None:
        return None
    files |= written
    declared = (activation.definition, activation.parameters, activation.kinks, activation.examples, activation.budget)
    return fingerprint.key(fingerprint.content(tuple(sorted(files))), *map(repr, declared))


class Kept:
    """The rows of one backend, with the versions and on the machine of this run."""

    def __init__(self, backend: str, versions: Mapping[str, str], thin: bool, fresh: bool = False) -> None:
        self._backend, self._thin = backend, thin
        where = fingerprint.key(
            backend, sorted(versions.items()), platform.python_version(), platform.platform(), platform.node()
        )
        self._path = cache.directory("rows") / f"{backend}-{where}.jsonl"
        self._rows = {} if fresh else self._read()
        self._file: TextIO | None = None

    def _read(self) -> dict[str, Any]:
        rows = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        for line in lines:
            try:  # the last line of an interrupted run may be cut off
                entry = json.loads(line)
                rows[entry["key"]] = entry["row"]
            except (ValueError, KeyError):
                continue
        return rows

    def _key(self, facts: Mapping[str, Any]) -> str | None:
        code = _fingerprint(get(facts["activation"]), self._backend)
        return code and fingerprint.key(code, self._thin, *(facts[name] for name in CASE))

    def find(self, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row of a case, as keyword arguments of `Row`, if it has been run before."""
        key = self._key(facts)  # also when there is nothing: that of the code as it is when the run begins
        return None if key is None else self._rows.get(key)

    def add(self, row: Row) -> None:
        """Keep a row, unless it misses its budget."""
        if row.verdict == "fail":
            return
        facts = asdict(row)
        key = self._key(facts)
        if key is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps({"key": key, "row": facts}) + "\n")
        self._file.flush()
