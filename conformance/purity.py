"""Does a formula use the array API standard alone? It is run on array-api-strict, which has nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multiact import dispatch

#: The reference implementation of the standard, an optional dependency.
STRICT = "array_api_strict"


class Impure(Exception):
    """A formula needs more than the standard, or does not keep dtype or shape."""


def installed() -> bool:
    """Whether formulas can be tested here."""
    return importlib.util.find_spec(STRICT) is not None


def compare(call: Callable[..., Any], arrays: Sequence[Any], dtype: str, shape: tuple[int, ...] | None = None) -> None:
    """Evaluate ``call(xp, *arrays)`` on strict arrays and on NumPy's.

    Parameters
    ----------
    call : a formula, or a function that gives a tuple of arrays.
    arrays : NumPy arrays of the dtype, and Python numbers.
    shape : of the result; that of the first array by default.

    Raises
    ------
    Impure : an error is raised there, the result is no strict array, or it has another dtype, shape or other bits than on
        NumPy.
    """
    import array_api_strict as strict

    numpy = dispatch.backend("numpy").namespace
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error")
        try:
            own = call(strict, *(strict.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays))
            ours = call(numpy, *arrays)
        except Exception as error:  # whatever a formula raises
            raise Impure(f"{_said(error)}{_line(error)}") from error
    own, ours = (r if isinstance(r, tuple) else (r,) for r in (own, ours))
    shape = shape or next(a.shape for a in arrays if isinstance(a, np.ndarray))
    for a, b in zip(own, ours, strict=True):
        if type(a) is not type(strict.zeros(1)):
            raise Impure(f"the result is {type(a).__module__}.{type(a).__qualname__}, not an array of the namespace xp")
        kept: dict[str, tuple[Any, Any]] = {
            "dtype": (str(a.dtype).rpartition(".")[2], dtype),
            "NumPy's dtype": (str(b.dtype), dtype),
        }
        kept |= {"shape": (tuple(a.shape), b.shape), "NumPy's shape": (b.shape, shape)}
        for what, (got, wanted) in kept.items():
            if got != wanted:
                raise Impure(f"the {what} of the result is {got}, expected {wanted}")
        with contextlib.suppress(AssertionError):
            np.testing.assert_array_equal(np.asarray(a), b)
            continue
        raise Impure("the result is another than on NumPy")


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, AttributeError) and getattr(error, "obj", None).__class__.__name__ == "module":
        return f"xp.{error.name} is not in the array API standard"
    return f"{type(error).__name__}: {text}"


def _line(error: Exception) -> str:
    """Where in the formula: the last line that is neither ours nor a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    below = [f for f in frames if f.filename != __file__ and "site-packages" not in f.filename]
    below = [f for f in below if f.filename.rpartition("/")[2] != "declaration.py" and f.lineno]
    return f" (line {below[-1].lineno})" if below else ""
