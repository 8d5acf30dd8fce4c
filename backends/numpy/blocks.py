"""Large arrays block by block, so that temporaries stay in cache, and blocks in threads.

A block is evaluated as the whole array would be and gives the same bits; 16-bit input is widened block by block.
"""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

from multiact.declaration import Axiswise, Elementwise
from multiact.errors import ParameterError

from . import namespace

Index: TypeAlias = tuple[int | slice, ...]

#: From so many elements on, what `namespace` does for large arrays pays.
LARGE = 4096

#: Bytes of a temporary. Measured from 2^15 to 2^19: less is lost to calling NumPy, more to the cache.
BLOCK = 1 << 17

#: A tenth of the time a thread holds the interpreter, so that more than a few wait for each other.
THREADS = 8

#: The environment variable with the number of threads; 1 for that of the caller alone.
VARIABLE = "MULTIACT_NUMPY_THREADS"


def elementwise(function: Elementwise, x: np.ndarray, others: Sequence[Any]) -> Any:
    """``function.evaluate`` of an array and of numbers or arrays that broadcast to it."""
    size, arrays = _size(x), _arrays(others)
    if x.size > size and all(type(a) is np.ndarray and _broadcasts(a.shape, x.shape) for a in arrays):
        # In the order in which x lies in memory, and as one axis if all lie so.
        order = sorted(range(x.ndim), key=lambda d: -abs(x.strides[d]))
        out = np.empty_like(x)
        padded = [a.reshape((1,) * (x.ndim - a.ndim) + a.shape) for a in arrays]
        operands = [a.transpose(order) for a in (out, x, *padded)]
        if all(a.flags.c_contiguous and a.shape == operands[0].shape for a in operands):
            operands = [a.reshape(-1) for a in operands]

        def evaluate(x: np.ndarray, *arrays: np.ndarray) -> Any:
            return function.evaluate(namespace, x, *_replaced(others, arrays))

        if _fill(operands[0], evaluate, operands[1:], size):
            return out
    return function.evaluate(namespace, x, *others)


def along_axis(function: Axiswise, x: np.ndarray, parameters: Sequence[Any], options: Mapping[str, int]) -> Any:
    """``function.evaluate`` along an axis, whose blocks are of whole rows: not along the first axis."""
    size, arrays = _size(x), _arrays(parameters)
    axis = function.axis(options) % x.ndim
    alike = all(type(a) is np.ndarray and a.shape == x.shape and a.flags.c_contiguous for a in (x, *arrays))
    if x.size > size and axis and alike:
        shape: Any = function.output_shape(x.shape, options)
        out = np.empty(shape, x.dtype)
        rows = math.prod(x.shape[:axis])
        operands = [a.reshape(rows, *a.shape[axis:]) for a in (out, x, *arrays)]
        from_end = {**options, "axis": axis - x.ndim} if "axis" in options else options

        def evaluate(x: np.ndarray, *arrays: np.ndarray) -> Any:
            return function.evaluate(namespace, x, *_replaced(parameters, arrays), **from_end)

        if _fill(operands[0], evaluate, operands[1:], max(size, math.prod(x.shape[axis:]))):
            return out
    return function.evaluate(namespace, x, *parameters, **options)


def _size(x: np.ndarray) -> int:
    """The elements of a block, which are computed in 4 bytes at least."""
    return BLOCK // max(x.itemsize, 4)


def _arrays(others: Sequence[Any]) -> list[Any]:
    """Those that have axes."""
    return [a for a in others if getattr(a, "ndim", 0)]


def _replaced(others: Sequence[Any], arrays: Sequence[np.ndarray]) -> list[Any]:
    """`others` with those that have axes replaced."""
    given = iter(arrays)
    return [next(given) if getattr(a, "ndim", 0) else a for a in others]


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(target)))


def _fill(out: np.ndarray, evaluate: Callable[..., Any], operands: Sequence[np.ndarray], size: int) -> bool:
    """Write ``evaluate(*operands)`` into `out` by blocks along the leading axes.

    False if a block does not fit, because the formula gives another dtype than the input's or no array of its shape.
    """
    todo = deque(_blocks(operands[0].shape, size))
    misfits: list[Index] = []

    def work() -> None:
        with np.errstate(all="ignore"):  # each thread has its own
            while not misfits:
                try:
                    index = todo.popleft()
                except IndexError:
                    return
                y, to = evaluate(*(_part(a, index) for a in operands)), out[index]
                if np.shape(y) == to.shape and y.dtype == to.dtype:
                    to[...] = y
                else:
                    misfits.append(index)

    # Nobody waits for a helper that has not begun: the pool may be busy with other callers' blocks.
    helpers = _helpers(work, len(todo) // 2 - 1)  # each has two blocks at least, or starting it does not pay
    try:
        work()
    finally:
        todo.clear()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
    return not misfits


def _blocks(shape: tuple[int, ...], size: int) -> Iterator[Index]:
    """Indices of parts with about `size` elements at most."""
    inner = math.prod(shape[1:])
    if inner > size:
        for i in range(shape[0]):
            for rest in _blocks(shape[1:], size):
                yield (i, *rest)
        return
    count = math.ceil(shape[0] * inner / size)
    step = math.ceil(shape[0] / count)
    for i in range(0, shape[0], step):
        yield (slice(i, i + step),)


def _part(a: np.ndarray, index: Index) -> np.ndarray:
    """``a[index]`` of what `a` would be if it were broadcast."""
    return a[tuple(i if n > 1 else slice(None) if isinstance(i, slice) else 0 for i, n in zip(index, a.shape))]


def _helpers(work: Callable[[], None], useful: int) -> list[Future[None]]:
    """`work` begun in as many other threads as there are, or as are useful."""
    count = min(_threads() - 1, useful)
    try:
        return [_pool().submit(work) for _ in range(count)]
    except RuntimeError:  # the interpreter is about to end
        return []


@functools.cache
def _threads() -> int:
    given = os.environ.get(VARIABLE, "")
    if not given:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(processors, THREADS)
    if not given.isdecimal() or not int(given):
        raise ParameterError(f"{VARIABLE} must be a positive number of threads. Received: {given!r}.")
    return int(given)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(_threads() - 1, 1), thread_name_prefix="multiact")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads are not inherited
