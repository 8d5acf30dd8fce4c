"""What Equinox calls an activation: PReLU. Others it takes from jax.nn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.natives import Entry, sets

PACKAGE = "equinox"
BACKEND = "jax"
IGNORED = ("key",)


def _function(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    """A Module as a function, since with an array in it it has no hash."""
    module = kind(**given)
    return lambda x: module(x)


NATIVES = (
    Entry(
        "equinox.nn.PReLU",
        "prelu",
        {"init_alpha": sets("negative_slope", 0.25)},
        prepare=_function,
        notes="Learned; an array for init_alpha is a slope for each channel, of a shape that broadcasts to the input.",
    ),
    Entry("equinox.nn.Identity", "identity"),
)
