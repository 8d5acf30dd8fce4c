"""Our Modules under names that Hugging Face transformers looks up; what knows transformers is in its own folder."""

from __future__ import annotations

import importlib

from multiact.declaration import Activation


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
    names: tuple[str, ...] = importlib.import_module("multiact.backends.transformers.register").register(*activations)
    return names
