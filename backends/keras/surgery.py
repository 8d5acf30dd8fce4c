"""Exchanging the activations of a Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from multiact.errors import ParameterError
from multiact.natives import activation_of
from multiact.surgery import Change, Rule, Surgeon, Swap, made

from .adapter import backend
from .audit import ATTRIBUTES

Layer: TypeAlias = keras.layers.Layer


def swap(model: Layer, rules: Sequence[Rule], rewrite: bool) -> Swap:
    """`multiact.swap` of a functional or Sequential Keras model: a copy, as Keras cannot change a graph of layers."""
    if rewrite:
        raise ParameterError("rewrite is for torch: Keras does not record which functions a call() calls.")
    if not rebuildable(model):
        raise ParameterError(
            f"swap rebuilds functional and Sequential models. {type(model).__name__} is neither: exchange the activations where "
            f"its layers are made, or swap those of its layers that are such models."
        )
    surgeon = _Surgeon(rules)
    return surgeon.done(surgeon.model(model, ""))


def rebuildable(model: Any) -> bool:
    """Whether a model is made again from its layers: a functional or a Sequential one."""
    return isinstance(model, keras.Sequential) or type(model) is keras.src.models.Functional


class _Surgeon(Surgeon):
    def model(self, model: Any, path: str) -> Any:
        """A copy with the weights of all layers that are kept."""
        kept: list[tuple[Any, Any]] = []

        def clone(layer: Any) -> Any:
            where = f"{path}.{layer.name}".strip(".")
            if rebuildable(layer):
                return self.model(layer, where)
            rule = self.for_layer(where, layer)
            if rule is not None:
                new = self._made(rule, layer)
                dropped = tuple(w.name for w in layer.weights)
                self.changes.append(Change(where, type(layer).__name__, _shown(new), dropped))
                return new
            new = type(layer).from_config(layer.get_config())
            for name in ATTRIBUTES:
                self._attribute(layer, new, name, where)
            kept.append((layer, new))
            return new

        new = keras.models.clone_model(model, clone_function=clone, recursive=False)
        for old, fresh in kept:
            if old.weights:
                own = old.get_weights()
                fresh.set_weights(own + fresh.get_weights()[len(own) :])
            fresh.trainable = old.trainable
        return new

    def _attribute(self, old: Any, new: Any, name: str, where: str) -> None:
        """The activation that a layer was given."""
        value = getattr(old, name, None)
        path = f"{where}.{name}"
        named = activation_of(value)
        if not callable(value) or named is None:
            return
        rule = self.for_function(path, value, named)
        if rule is None:
            return
        if getattr(old, "cell", None) is not None:
            self.left.append(
                f"{path}: a recurrent layer computes in its cell. Give another activation where it is made"
            )
            return
        replacement = self._made(rule, value)
        setattr(new, name, replacement)
        self.changes.append(Change(path, getattr(value, "__name__", type(value).__name__), _shown(replacement)))

    def _made(self, rule: Rule, old: Any) -> Any:
        return made(rule.replacement, old, Layer, backend, _copy)


def _copy(layer: Any) -> Any:
    config = {**layer.get_config(), "name": None}  # names are unique in a model
    return type(layer).from_config(config)


def _shown(layer: Any) -> str:
    held = {k: v for k, v in layer.get_config().items() if k not in ("name", "trainable", "dtype") and v is not None}
    return f"{type(layer).__name__}({', '.join(f'{k}={v!r}' for k, v in held.items())})"
