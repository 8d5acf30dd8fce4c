"""The activations of a Keras model: its layers, and the functions that they were given.

>>> import keras
>>> import multiact as ma
>>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, activation="gelu", name="dense")])
>>> [(f.path, f.equivalent.spelling) for f in ma.audit(model, to="jax")]
[('dense.activation', 'jax.nn.gelu(x, approximate=False)')]
"""

from __future__ import annotations

from typing import Any

import keras

from multiact.natives import activation_of, identify
from multiact.translation import Seen

#: Under which names layers keep activation functions.
ATTRIBUTES = ("activation", "recurrent_activation")


def is_model(model: Any) -> bool:
    return isinstance(model, keras.layers.Layer)


def walk(model: keras.layers.Layer) -> tuple[list[Seen], list[str]]:
    """What was seen, in order, and what could not be looked into."""
    seen: list[Seen] = []
    unseen: list[str] = []
    _layer(model, "", seen, unseen, set())
    return seen, unseen


def _layer(layer: Any, path: str, seen: list[Seen], unseen: list[str], told: set[int]) -> None:
    if id(layer) in told:
        return
    told.add(id(layer))
    where = path or layer.name
    if activation_of(layer) is not None:
        seen.append(Seen(where, layer, traps=_weights(layer)))
        return
    for name in ATTRIBUTES:
        value = getattr(layer, name, None)
        if isinstance(value, keras.layers.Layer):
            _layer(value, f"{where}.{name}", seen, unseen, told)
        elif callable(value):
            seen.append(Seen(f"{where}.{name}", value))
    below = list(layer._flatten_layers(include_self=False, recursive=False))
    functional = isinstance(layer, (keras.Sequential, getattr(keras.src.models, "Functional", ()))) or getattr(
        layer, "_functional", None
    )
    if functional:
        below = list(layer.layers)
        for node in getattr(layer, "operations", ()):
            found = None if isinstance(node, keras.layers.Layer) else operation(node)
            if found is not None:
                seen.append(Seen(f"{path}.{node.name}".strip("."), spelling=found[0], arguments=found[1]))
    elif type(layer).__module__.partition(".")[0] != "keras" or type(layer) is keras.Model:
        unseen.append(f"functions called in call() of {where} ({type(layer).__name__}): Keras does not record them")
    if isinstance(layer, keras.layers.Lambda):
        unseen.append(f"what {where} computes: it is a Lambda")
    for child in below:
        if child is getattr(layer, "cell", None) and hasattr(layer, ATTRIBUTES[0]):
            continue  # of a recurrent layer, whose activations are those of its cell
        _layer(child, f"{path}.{child.name}".strip("."), seen, unseen, told)


def _weights(layer: Any) -> tuple[str, ...]:
    if type(layer) is not keras.layers.PReLU or not layer.built or not tuple(layer.alpha.shape):
        return ()
    return (f"learned slopes of shape {tuple(layer.alpha.shape)}; the number given is their mean. Copy the weights.",)


def operation(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """keras.ops.relu(x) in a functional model is an operation Relu with its arguments as attributes: its spelling and those."""
    function = getattr(keras.ops, _snake(type(thing).__name__), None)
    found = identify(function) if type(thing).__module__.startswith("keras.src.ops") and function is not None else None
    if found is None:
        return None
    names = {n for e in found[1] for n in e.arguments}
    return found[1][0].spelling, {n: getattr(thing, n) for n in names if hasattr(thing, n)}


def _snake(name: str) -> str:
    """ "HardSigmoid" as "hard_sigmoid"."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
