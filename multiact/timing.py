"""The clock of harnesses whose device has none of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(run: Callable[[], Any], calls: int, wait: Callable[[Any], Any] | None = None) -> float:
    """How long one of so many calls takes by the clock on the wall, `wait` being called with the result of the last one."""
    start = time.perf_counter()
    for _ in range(calls - 1):
        run()
    result = run()
    if wait is not None:
        wait(result)
    return (time.perf_counter() - start) / calls
