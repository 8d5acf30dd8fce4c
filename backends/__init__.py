"""One folder for each framework; everything that knows a framework is in its folder."""

if __name__ != "multiact.backends":
    raise ImportError(f"import this package as multiact.backends, not as {__name__!r}.")
