"""What was measured: the errors of ours on each backend and dtype, and of each framework's own version.

The file is made by ``multiact accuracy`` from reports of the conformance suite and shipped with the package.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from .errors import MultiactError
from .registry import get

FILE = os.path.join(os.path.dirname(__file__), "measured.json")


@lru_cache(maxsize=4)
def _read(path: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    import json  # not needed to import multiact

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}, {}
    try:
        found = json.loads(text)
        columns = found["columns"]
        by_name: dict[str, list[dict[str, Any]]] = {}
        for values in found["rows"]:
            row = dict(zip(columns, values))
            by_name.setdefault(row["activation"], []).append(row)
        return found["environment"], by_name
    except (ValueError, KeyError, TypeError) as error:
        raise MultiactError(f"{path} is damaged ({error}). Install multiact again, or remove the file.") from error


def environment() -> dict[str, Any]:
    """When, where and with which versions it was measured; empty when nothing was."""
    return dict(_read(FILE)[0])


def rows(activation: str) -> list[dict[str, Any]]:
    """What was measured for an activation, by its name or an alias: one row for each implementation, dtype and order.

    Returns
    -------
    list of dicts : empty when nothing was measured. Each has the keys activation, backend, native (whether it is the
        framework's own version), title (what was called; "" for ours), dtype, order (0, 1, 2 for the value, first and second
        derivative), worst_error (E), worst_ulp, share_correctly_rounded, nonfinite_disagreements, and faults: runs of inputs
        beyond the budget, each with from, to, points, at, got, wanted, error; infinities are "inf" and "-inf".

    Raises
    ------
    UnknownActivationError : there is no such activation.
    MultiactError : the file of measurements cannot be read.
    """
    return list(_read(FILE)[1].get(get(activation).name, []))
