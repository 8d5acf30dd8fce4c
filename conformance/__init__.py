"""Whether every backend is right: points, oracle, error measure, runner and reports."""

if __name__ != "multiact.conformance":
    raise ImportError(f"import this package as multiact.conformance, not as {__name__!r}.")
