"""Our activations under names that timm looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from multiact.declaration import Activation
from multiact.dispatch import backend
from multiact.errors import BackendNotAvailableError


def register(prefix: str, activations: Sequence[Activation]) -> None:
    """Give timm the Module and the function of each activation under `prefix` and its name."""
    try:
        from timm.layers import create_act, register_notrace_module
    except ModuleNotFoundError as error:
        raise BackendNotAvailableError(
            f"timm cannot be imported: {error}. Install it with: pip install timm"
        ) from error

    for activation in activations:
        kind = backend("torch").layer(activation)
        register_notrace_module(kind)  # features are extracted by torch.fx, to which it is one operation
        create_act._ACT_LAYER_DEFAULT[prefix + activation.name] = _layer(kind)
        create_act._ACT_FN_DEFAULT[prefix + activation.name] = _function(backend("torch").function(activation))


def _layer(kind: Any) -> Callable[..., Any]:
    """What makes the Module; many models of timm ask for inplace=True of whatever it is."""
    if "inplace" in kind._signature.parameters:
        return kind

    def make(*args: Any, inplace: bool = False, **kwargs: Any) -> Any:
        return kind(*args, **kwargs)

    make.__name__ = make.__qualname__ = kind.__name__
    return make


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, inplace: bool = False) -> Any:
        return function(x)

    return call
