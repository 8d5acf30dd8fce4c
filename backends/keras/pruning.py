"""Removing units of a Keras model: in one layer, and what they feed in the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from multiact.errors import ParameterError
from multiact.natives import activation_of

from .surgery import rebuildable

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
#: What leaves every unit by itself, and zeros zero.
PASSING = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.Flatten,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)


@dataclass
class _Chain:
    """What follows a layer up to the layer that takes all of it."""

    between: list[Any] = field(default_factory=list)
    consumer: Any = None


def count(model: Any) -> int:
    """The number of parameters."""
    return int(model.count_params())


def prune(model: Any, idle: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray], dict[str, int], list[str]]:
    """A copy without these units of these layers, what was removed, how many units there were, and what was left and why."""
    if not rebuildable(model):
        raise ParameterError(
            f"functional and Sequential models can be pruned. {type(model).__name__} is neither: it cannot be rebuilt."
        )
    layers = {layer.name: layer for layer in model.layers}
    removed: dict[str, np.ndarray] = {}
    units: dict[str, int] = {}
    left: list[str] = []
    outputs: dict[str, np.ndarray] = {}  # of a layer, by its name: the units that are kept
    inputs: dict[str, np.ndarray] = {}  # the inputs that are kept
    for path, gone in idle.items():
        found: _Chain | str = "it is inside another model" if path not in layers else _chain(model, layers[path])
        if isinstance(found, str):
            left.append(f"{path}: {len(gone)} units never respond; {found}")
            continue
        total = layers[path].kernel.shape[-1]
        keep = np.setdiff1d(np.arange(total), gone)
        keep = keep if keep.size else np.arange(1)  # a layer without units cannot be called
        removed[path], units[path] = np.setdiff1d(np.arange(total), keep), total
        outputs |= {layer.name: keep for layer in (layers[path], *found.between)}
        places = found.consumer.kernel.shape[-2] // total  # of a feature map that was flattened
        inputs[found.consumer.name] = (np.arange(places)[:, None] * total + keep).ravel()
    return _rebuilt(model, outputs, inputs), removed, units, left


def _chain(model: Any, layer: Any) -> _Chain | str:
    """What follows a layer up to the next one; a string that says why its units cannot be removed."""
    if not _can_shrink(layer):
        return f"units of a {type(layer).__name__} of this kind cannot be removed"
    graph = model._functional if isinstance(model, keras.Sequential) else model
    every = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    nodes = [node for node in every if node.operation is layer]
    if len(nodes) != 1:
        return f"it is called {len(nodes)} times"
    chain, node = _Chain(), nodes[0]
    activated = _named(layer) is not None
    while True:
        made = {id(tensor) for tensor in node.outputs}
        if made & {id(tensor) for tensor in graph.outputs}:
            return "it is an output of the model"
        users = [n for n in every if made & {id(tensor) for tensor in n.input_tensors}]
        if len(users) != 1:
            return f"the result of {node.operation.name} is used {len(users)} times"
        node = users[0]
        follower = node.operation
        if _can_shrink(follower):
            chain.consumer = follower
            return chain
        if activation_of(follower) is not None or _named(follower) is not None:
            if activated:
                return f"{follower.name} is a second activation"
            activated = True
        elif isinstance(follower, keras.layers.BatchNormalization):
            if activated or follower.axis not in (-1, len(node.outputs[0].shape) - 1):
                return f"{follower.name} is a normalisation after the activation, or over another axis"
        elif not isinstance(follower, PASSING):
            return f"{follower.name} is a {type(follower).__name__}"
        chain.between.append(follower)


def _can_shrink(layer: Any) -> bool:
    if isinstance(layer, CONVOLUTIONS):
        return layer.groups == 1 and layer.data_format == "channels_last"
    return isinstance(layer, keras.layers.Dense)


def _named(layer: Any) -> str | None:
    """The activation that a layer was given, but for the identity."""
    named = activation_of(getattr(layer, "activation", None))
    return None if named == "identity" else named


def _rebuilt(model: Any, outputs: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> Any:
    copies: list[tuple[Any, Any]] = []

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in outputs:
            config |= {name: len(outputs[layer.name]) for name in ("units", "filters") if name in config}
        copies.append((layer, type(layer).from_config(config)))
        return copies[-1][1]

    smaller = keras.models.clone_model(model, clone_function=clone, recursive=False)
    for old, new in copies:
        values = old.get_weights()
        if old.name in inputs:
            values[0] = np.take(values[0], inputs[old.name], axis=-2)
        if old.name in outputs:
            values = [
                np.take(value, outputs[old.name], axis=-1) if value.shape[-1:] != fresh.shape[-1:] else value
                for value, fresh in zip(values, new.get_weights())
            ]
        if values:
            new.set_weights(values)
        new.trainable = old.trainable
    return smaller
