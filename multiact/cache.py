"""Where results that take long are kept between processes."""

from __future__ import annotations

import os
from pathlib import Path


def directory(kind: str) -> Path:
    """The folder for one kind of result, below the environment variable MULTIACT_CACHE or ~/.cache/multiact."""
    return Path(os.environ.get("MULTIACT_CACHE") or Path.home() / ".cache" / "multiact") / kind
