"""The layers of a flax.nnx.Module with weights, and which activations follow them, as far as attributes say it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from multiact.errors import ParameterError
from multiact.natives import activation_of
from multiact.translation import Translation, recognise
from multiact.weights import Follower, Left, Place, found, in_order

WEIGHTS = (nnx.Linear, nnx.Conv, nnx.ConvTranspose)
NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.GroupNorm, nnx.RMSNorm)
#: By the names of classes, some of which older versions lack.
LEFT = {
    "Embed": "an embedding; no signal is scaled by it",
    "MultiHeadAttention": "attention: softmax of products follows its projections, not an activation of one number",
    **dict.fromkeys(
        ("RNN", "Bidirectional", "LSTMCell", "OptimizedLSTMCell", "SimpleCell", "GRUCell"),
        "a recurrent layer; its gates are activations inside",
    ),
    **dict.fromkeys(("Einsum", "LinearGeneral"), "a product over axes of its own choice"),
    **dict.fromkeys(("LoRA", "LoRALinear", "LoRAParam"), "its weights are computed from others"),
}


def is_model(model: Any) -> bool:
    return isinstance(model, nnx.Module)


def walk(model: nnx.Module) -> tuple[list[Place], list[Left]]:
    """The layers with weights in the order of attributes, and those that are to be left.

    What a `__call__` calls is not seen. Where all parts of a Sequential are, nothing else can stand between them.
    """
    parts = list(_parts(model, "", (), set()))
    exact = _linear(model)
    known = in_order([e for path, part in parts for e in _events(path, part)], exact, "order of attributes")
    places: list[Place] = []
    left: list[Left] = []
    for path, part in parts:
        why = _why(part)
        if why:
            left.append(Left(path, type(part).__name__, why))
        elif isinstance(part, WEIGHTS):
            places.append(_place(path, part, known[path]))
    return places, left


def _why(part: Any) -> str:
    return next((LEFT[kind.__name__] for kind in type(part).__mro__ if kind.__name__ in LEFT), "")


def _linear(model: Any) -> bool:
    """Whether a model is a Sequential of layers, and of such ones."""
    whole = (*WEIGHTS, *NORMS, nnx.Dropout)
    if isinstance(model, nnx.Sequential):
        return all(_linear(part) for part in model.layers)
    return isinstance(model, whole) or activation_of(model) is not None or bool(_why(model))


def _parts(thing: Any, path: str, above: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Layers and functions in the order in which attributes were set; what is below a layer is not looked at."""
    if isinstance(thing, nnx.Module) and id(thing) in seen:
        return
    seen.add(id(thing))
    leaf = isinstance(thing, (*WEIGHTS, *NORMS)) or _why(thing) or activation_of(thing) is not None
    if leaf:
        yield path or type(thing).__name__, thing
    elif isinstance(thing, nnx.Module) and not isinstance(thing, nnx.List):
        for name, value in vars(thing).items():
            if not name.startswith("_"):
                yield from _parts(value, f"{path}.{name}".strip("."), (*above, path), seen)
    elif isinstance(thing, (list, tuple, nnx.List)):
        for i, value in enumerate(thing):
            yield from _parts(value, f"{path}.{i}", (*above, path), seen)
    elif isinstance(thing, dict):
        for name, value in thing.items():
            yield from _parts(value, f"{path}.{name}", (*above, path), seen)


def _events(path: str, part: Any) -> Iterator[tuple[str, Any]]:
    activation = _activation(part)
    if isinstance(part, WEIGHTS):
        yield "weights", path
    elif activation is not None and activation.activation.name != "identity":
        yield "activation", found(activation)
    elif isinstance(part, NORMS):
        yield "norm", None
    elif _why(part):
        yield "end", None


def _activation(thing: Any) -> Translation | None:
    try:
        return recognise(thing) if activation_of(thing) is not None else None
    except ParameterError:
        return None


def _place(path: str, layer: Any, follower: Follower) -> Place:
    kernel = layer.kernel
    fan_in, fan_out = fans(layer)

    def write(values: np.ndarray) -> None:
        kernel[...] = jnp.asarray(values, kernel[...].dtype)

    def zero() -> None:
        bias = getattr(layer, "bias", None)
        if isinstance(bias, nnx.Variable) and bias[...] is not None:
            bias[...] = jnp.zeros_like(bias[...])

    def std() -> float:
        values = np.asarray(kernel[...], "float64")
        return math.sqrt(float(np.mean(values * values)))

    shape = tuple(kernel[...].shape)
    return Place(path, type(layer).__name__, fan_in, fan_out, shape, follower, std, write, zero)


def fans(layer: Any) -> tuple[float, float]:
    """The inputs of a unit, and the outputs that an input goes to."""
    *field, first, second = layer.kernel[...].shape
    size = math.prod(field)
    if isinstance(layer, nnx.ConvTranspose):
        if getattr(layer, "transpose_kernel", False):
            first, second = second, first
        strides = layer.strides if isinstance(layer.strides, (tuple, list)) else (layer.strides or 1,) * len(field)
        return max(1.0, first * size / math.prod(strides)), second * size
    return first * size, second * size // getattr(layer, "feature_group_count", 1)
