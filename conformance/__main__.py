"""``python -m multiact.conformance``, the same as ``multiact conformance``."""

from __future__ import annotations

import typer

from .command import conformance

if __name__ == "__main__":
    typer.run(conformance)
