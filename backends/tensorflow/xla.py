"""XLA for eager calls on large tensors that come again and again.

XLA compiles for each shape, in 25 ms to a second, and for itself what a tape records and its gradient. No call waits for it: the
graph function is called until another thread has compiled. TensorFlow releases the interpreter meanwhile.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from multiact.errors import ParameterError

try:
    from tensorflow.python import pywrap_tfe
except ImportError:  # who differentiates a call cannot be known then
    pywrap_tfe = None

Tensor: TypeAlias = tf.Tensor
Graph: TypeAlias = Callable[..., Tensor]

#: From so many elements on, XLA is two to three times as fast; compiling it for less would take long to come back.
LARGE = 1 << 16

#: At which call with the same dtypes and shapes XLA begins to compile, and how often it does so for one function.
CALLS, COMPILED = 8, 16

#: The environment variable: "auto", or "never".
VARIABLE = "MULTIACT_TENSORFLOW_XLA"

#: How many calls are counted that have not come often enough yet.
_COUNTED = 64

_one_at_a_time = threading.Lock()


class Recurring:
    """What of one function is called again and again on large tensors, and compiled.

    Parameters
    ----------
    name : of the function, for the warning when XLA does not compile it.
    compiled : the graph function given, to be compiled by XLA.
    """

    def __init__(self, name: str, compiled: Callable[[Graph], Graph]) -> None:
        self._name, self._compiled = name, compiled
        self._calls: dict[Any, int] = {}
        self._found: dict[Any, Graph] = {}
        self._error: Exception | None = None
        self._failed = False

    def version(self, graph: Graph, tensors: Sequence[Tensor]) -> Graph:
        """What computes `graph` of eager tensors: itself, or compiled."""
        if math.prod(tensors[0].shape.as_list()) < LARGE or not _wanted():
            return graph
        if self._failed:
            self._warn()
            return graph
        recorded = _recorded(tensors)
        if recorded is None:
            return graph
        key = (graph, recorded, *((t.dtype, t.device, *t.shape.as_list()) for t in tensors))
        found = self._found.get(key)
        if found is None:
            self._count(key, graph, recorded, tensors)
        return found or graph

    def _count(self, key: Any, graph: Graph, recorded: bool, tensors: Sequence[Tensor]) -> None:
        if len(self._calls) >= _COUNTED:
            self._calls.clear()
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if calls < CALLS or len(self._found) >= COMPILED:
            return
        self._found[key] = graph
        like = [(t.shape, t.dtype, t.device) for t in tensors]
        # It ends before the interpreter does, which a thread inside XLA would not survive.
        threading.Thread(target=self._compile, args=(key, graph, recorded, like), name="multiact-xla").start()

    def _compile(self, key: Any, graph: Graph, recorded: bool, like: Sequence[tuple[Any, Any, str]]) -> None:
        with _one_at_a_time:
            if self._failed or not threading.main_thread().is_alive():
                return
            try:
                found = self._compiled(graph)
                tensors = []
                for shape, dtype, device in like:
                    with tf.device(device):
                        tensors.append(tf.zeros(shape, dtype))
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(tensors if recorded else [])
                    y = found(*tensors)
                if recorded:
                    tape.gradient(y, tensors)
                self._found[key] = found
            except Exception as error:  # noqa: BLE001 - whatever XLA cannot compile
                self._error, self._failed = error, True

    def _warn(self) -> None:
        error, self._error = self._error, None
        if error is None:
            return
        warnings.warn(
            f"{self._name}: XLA cannot compile it, so that its graph function is used on large tensors too. "
            f"{type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )


@functools.cache
def _wanted() -> bool:
    given = os.environ.get(VARIABLE) or "auto"
    if given not in ("auto", "never"):
        raise ParameterError(f"{VARIABLE} must be auto or never. Received: {given!r}.")
    return given == "auto" and hasattr(pywrap_tfe, "TFE_Py_PackJVPs")


def _recorded(tensors: Sequence[Tensor]) -> bool | None:
    """Whether a tape records what is done with the tensors; None if it may be differentiated in another way too.

    Persistent and nested tapes and forward accumulators make gradient functions of their own.
    """
    order = pywrap_tfe.TFE_Py_TapeSetPossibleGradientTypes(tensors)
    if order == 0:
        return False
    return None if order > 1 or pywrap_tfe.TFE_Py_PackJVPs(tensors)[1] else True
