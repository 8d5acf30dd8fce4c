"""Our activations under names that Hugging Face transformers looks up."""

from __future__ import annotations

from multiact.declaration import Activation
from multiact.dispatch import backend
from multiact.errors import BackendNotAvailableError, ParameterError
from multiact.registry import get, names

#: Before the name of an activation in a configuration.
PREFIX = "multiact/"


def register(*activations: str | Activation) -> tuple[str, ...]:
    """What `multiact.backends.torch.register_transformers` does."""
    try:
        from transformers.activations import ACT2FN
    except ModuleNotFoundError as error:
        raise BackendNotAvailableError(
            f"transformers cannot be imported: {error}. Install it with: pip install transformers"
        ) from error

    chosen = [get(a) for a in activations] or [a for a in map(get, names()) if not _unfit(a)]
    for activation in chosen:
        why = _unfit(activation)
        if why:
            raise ParameterError(
                f"transformers calls an activation with one array and no numbers; {activation.name} {why}."
            )
    for activation in chosen:
        ACT2FN[PREFIX + activation.name] = backend("torch").layer(activation)
    return tuple(PREFIX + activation.name for activation in chosen)


def _unfit(activation: Activation) -> str:
    if activation.kind == "gated":
        return "takes a value and a gate"
    required = [p.name for p in activation.parameters if p.default is None and not p.random]
    return f"needs {', '.join(required)}" if required else ""
