"""Which framework a model is of. Frameworks are imported by those who hold their models, never by us."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any

from .errors import ParameterError

#: Models that can be looked into, in the order in which their frameworks are asked: on torch a Keras Layer is a Module.
MODELS = {"keras": "a Keras model", "flax": "a flax.nnx.Module", "torch": "a torch.nn.Module"}


def framework_of(model: Any, caller: str, frameworks: Iterable[str] = MODELS) -> str:
    """The framework of a model, of which its ``initialisation.py`` says whether it is one.

    Parameters
    ----------
    caller : for the message of an error.
    frameworks : of `MODELS`, in that order.

    Raises
    ------
    ParameterError : it is no model of a framework that is imported.
    """
    for framework in frameworks:
        if framework in sys.modules and room(framework, "initialisation").is_model(model):
            return framework
    *others, last = (MODELS[framework] for framework in frameworks)
    raise ParameterError(
        f"{caller} expects {', '.join(others)} or {last}. Received: {type(model).__module__}.{type(model).__qualname__}."
    )


def room(framework: str, name: str) -> Any:
    """What a framework's folder has for this."""
    return importlib.import_module(f"multiact.backends.{framework}.{name}")
