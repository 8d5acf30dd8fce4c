"""Our activations under names that Hugging Face transformers looks up."""

from __future__ import annotations

from collections.abc import Sequence

from multiact.declaration import Activation
from multiact.dispatch import backend
from multiact.errors import BackendNotAvailableError


def register(prefix: str, activations: Sequence[Activation]) -> None:
    """Give transformers the Module of each activation under `prefix` and its name."""
    try:
        from transformers.activations import ACT2FN
    except ModuleNotFoundError as error:
        raise BackendNotAvailableError(
            f"transformers cannot be imported: {error}. Install it with: pip install transformers"
        ) from error

    for activation in activations:
        ACT2FN[prefix + activation.name] = backend("torch").layer(activation)
