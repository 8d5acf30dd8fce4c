"""Our Modules under names that Hugging Face's libraries look up; what knows the libraries is in folders of their own."""

from __future__ import annotations

import importlib

from multiact.declaration import Activation
from multiact.errors import ParameterError
from multiact.registry import get, names

#: Before the name of an activation in a configuration.
PREFIX = "multiact/"


def register_transformers(*activations: str | Activation) -> tuple[str, ...]:
    """Make activations known to Hugging Face transformers, for configurations such as ``hidden_act="multiact/mish"``.

    A configuration keeps the name alone, so that it is called before a model is made or loaded; calling it again changes nothing.
    Each place in a model gets a Module of its own, so that one with learned parameters learns them.

    Parameters
    ----------
    *activations : names, or Activations of one's own; none for all functions of one number with a default for every parameter.

    Returns
    -------
    tuple of str : the names, which begin with "multiact/".

    Raises
    ------
    BackendNotAvailableError : transformers is not installed.
    ParameterError : an activation takes two inputs, or a parameter without default.
    UnknownActivationError : there is no such activation.

    Examples
    --------
    >>> from multiact.backends.torch import register_transformers
    >>> register_transformers("mish", "golu")  # doctest: +SKIP
    ('multiact/mish', 'multiact/golu')
    """
    return _register("transformers", activations)


def register_timm(*activations: str | Activation) -> tuple[str, ...]:
    """Make activations known to timm, for models such as ``timm.create_model("resnet18", act_layer="multiact/mish")``.

    The names are known to everything in timm that takes the name of an activation: `create_act_layer`, `get_act_layer`,
    `get_act_fn`, and models with an argument `act_layer`. Calling it again changes nothing. Each place in a model gets a Module of
    its own, so that one with learned parameters learns them; for torch.fx, with which timm extracts features, it is one operation.

    Parameters
    ----------
    *activations : names, or Activations of one's own; none for all functions of one number with a default for every parameter.

    Returns
    -------
    tuple of str : the names, which begin with "multiact/".

    Raises
    ------
    BackendNotAvailableError : timm is not installed.
    ParameterError : an activation takes two inputs, or a parameter without default.
    UnknownActivationError : there is no such activation.

    Examples
    --------
    >>> from multiact.backends.torch import register_timm
    >>> register_timm("mish", "golu")  # doctest: +SKIP
    ('multiact/mish', 'multiact/golu')
    """
    return _register("timm", activations)


def _register(library: str, activations: tuple[str | Activation, ...]) -> tuple[str, ...]:
    chosen = [get(a) for a in activations] or [a for a in map(get, names()) if not _unfit(a)]
    for activation in chosen:
        why = _unfit(activation)
        if why:
            raise ParameterError(
                f"{library} calls an activation with one array and no numbers; {activation.name} {why}."
            )
    importlib.import_module(f"multiact.backends.{library}.register").register(PREFIX, chosen)
    return tuple(PREFIX + activation.name for activation in chosen)


def _unfit(activation: Activation) -> str:
    if activation.kind == "gated":
        return "takes a value and a gate"
    required = [p.name for p in activation.parameters if p.default is None and not p.random]
    return f"needs {', '.join(required)}" if required else ""
