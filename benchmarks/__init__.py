"""Measurements and experiments over all backends."""

if __name__ != "multiact.benchmarks":
    raise ImportError(f"import this package as multiact.benchmarks, not as {__name__!r}.")
