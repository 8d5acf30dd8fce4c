"""The packages as they lie once installed, as symbolic links, for tools that read files instead of importing.

In the checkout `backends`, `conformance` and `benchmarks` stand beside `multiact`; mypy and import-linter look for them
below it.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("backends", "conformance", "benchmarks")


def make(target: Path) -> Path:
    """Fill `target` with a `multiact` package of links into the checkout, and return it."""
    package = target / "multiact"
    package.mkdir(parents=True)
    for entry in [*(ROOT / "multiact").iterdir(), *(ROOT / room for room in ROOMS)]:
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)
    return target
