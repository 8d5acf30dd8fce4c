"""The layers of a Keras model with weights, and which activations follow them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

from multiact.errors import ParameterError
from multiact.natives import activation_of, identify
from multiact.translation import Translation, recognise, translate
from multiact.weights import Follower, Left, Place, ending, found, in_order

from .audit import _snake, is_model

__all__ = ["is_model", "walk"]

Layer: TypeAlias = layers.Layer

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
WEIGHTS = (layers.Dense, *TRANSPOSED, *CONVOLUTIONS, *DEPTHWISE)
LEFT: tuple[tuple[tuple[type[Layer], ...], str], ...] = (
    ((layers.Embedding,), "an embedding; no signal is scaled by it"),
    (
        (layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention, layers.AdditiveAttention),
        "attention: softmax of products follows its projections, not an activation of one number",
    ),
    ((layers.RNN, layers.Bidirectional), "a recurrent layer; its gates are activations inside"),
    ((layers.SeparableConv1D, layers.SeparableConv2D), "two kernels in one layer, with nothing between them"),
    ((layers.EinsumDense,), "a product over axes of its own choice"),
)
#: Operations of a graph through which a signal passes, beside the layers without weights.
THROUGH = {
    *("Add", "Subtract", "Concatenate", "Stack", "Mean", "Sum", "Max", "Average", "Reshape", "Transpose", "Squeeze"),
    *("ExpandDims", "Flatten", "GetItem", "Split", "Pad", "Cast", "Swapaxes", "Moveaxis", "MaxPool", "AveragePool"),
    *("TrueDivide", "Divide", "Negative", "Ravel", "Repeat", "Tile"),
}
PRODUCTS = {"Matmul", "Einsum", "Dot", "Tensordot"}


def walk(model: Layer) -> tuple[list[Place], list[Left]]:
    """The layers with weights in their order, and those that are to be left."""
    reader = _Reader(model)
    places: list[Place] = []
    left: list[Left] = []
    told: set[int] = set()
    for path, layer in reader.layers:
        if id(layer) in told:
            continue
        told.add(id(layer))
        kind = type(layer).__name__
        why = next((reason for kinds, reason in LEFT if isinstance(layer, kinds)), "")
        if why:
            left.append(Left(path, kind, why))
        elif not isinstance(layer, WEIGHTS):
            if layer.weights and not _normalises(layer) and _activation(layer) is None:
                left.append(Left(path, kind, "its weights are of no kind that is known"))
        elif not layer.built:
            left.append(Left(path, kind, "it is not built; call the model on an input first"))
        elif getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
            left.append(Left(path, kind, "its weights are quantised, or are computed from others"))
        else:
            places.append(_place(path, layer, reader.follower(path, layer)))
    return places, left


def _place(path: str, layer: Any, follower: Follower) -> Place:
    kernel = layer.kernel
    fan_in, fan_out = fans(layer)

    def zero() -> None:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(np.zeros(tuple(layer.bias.shape), "float32"))

    def std() -> float:
        values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32")), "float64")
        return math.sqrt(float(np.mean(values * values)))

    def write(values: np.ndarray) -> None:
        kernel.assign(np.asarray(values, "float32"))

    return Place(path, type(layer).__name__, fan_in, fan_out, tuple(kernel.shape), follower, std, write, zero)


def fans(layer: Any) -> tuple[float, float]:
    """The inputs of a unit, and the outputs that an input goes to."""
    *field, first, second = (int(n) for n in layer.kernel.shape)
    size = math.prod(field)
    if isinstance(layer, DEPTHWISE):
        return size, size * second
    if isinstance(layer, TRANSPOSED):  # the kernel is (..., outputs, inputs), and a unit has one of `strides` taps
        return max(1.0, second * size / math.prod(layer.strides)), first * size
    groups = getattr(layer, "groups", 1)
    return first * size, second * size // groups


def _graph(layer: Any) -> Any:
    """The functional model that a model is, or was built as; None for others."""
    if isinstance(layer, keras.Sequential):
        return getattr(layer, "_functional", None)
    return layer if isinstance(layer, keras.src.models.Functional) else None


class _Reader:
    """Follows the output of a layer through the graphs of functional models; in others layers stand in their order."""

    def __init__(self, model: Layer) -> None:
        self.layers: list[tuple[str, Any]] = []
        #: The graph around a layer, with those around it, innermost first.
        self._around: dict[int, tuple[Any, ...]] = {}
        self._order: dict[str, Follower] = {}
        self._collect(model, "", ())
        events = [e for path, layer in self.layers for e in self._events(path, layer)]
        self._order = in_order(events, exact=False, how="order of layers")

    def _collect(self, layer: Any, path: str, around: tuple[Any, ...]) -> None:
        graph = _graph(layer)
        known = any(isinstance(layer, kinds) for kinds, _ in LEFT)
        below = (
            () if known or isinstance(layer, WEIGHTS) else layer._flatten_layers(include_self=False, recursive=False)
        )
        if graph is not None or isinstance(layer, keras.Sequential):
            below = layer.layers
        if not below or _activation(layer) is not None:
            self.layers.append((path or layer.name, layer))
            self._around[id(layer)] = around
        for child in below:
            self._collect(child, f"{path}.{child.name}".strip("."), around if graph is None else (graph, *around))

    def _events(self, path: str, layer: Any) -> Iterator[tuple[str, Any]]:
        kept = _kept(layer)
        activation = _activation(layer)
        if isinstance(layer, WEIGHTS):
            yield "weights", path
            if kept is not None:
                yield "activation", found(kept)
        elif activation is not None and activation.activation.name != "identity":
            yield "activation", found(activation)
        elif _normalises(layer):
            yield "norm", None
        elif any(isinstance(layer, kinds) for kinds, _ in LEFT):
            yield "end", None

    def follower(self, path: str, layer: Any) -> Follower:
        """What follows a layer: what it keeps itself, what is in the graph, or what stands after it."""
        kept = _kept(layer)
        around = self._around[id(layer)]
        if kept is not None:
            made = found(kept, how="kept by the layer")
            if around:
                after = {what for what, *_ in self._after(layer, around, set(), False)}
            else:
                after = {"output"} if self._order[path].role == "output" else set()
            return ending(made) if after == {"output"} else made
        if not around:
            return self._order[path]
        ends = list(self._after(layer, around, set(), False))
        for role in ("activation", "unknown", "weights", "attention", "output"):
            for what, follower, normalised, why in ends:
                if what != role:
                    continue
                if what == "activation":
                    return replace(follower, normalised=normalised)
                if what in ("attention", "unknown"):
                    return Follower("unknown", how=why)
                return Follower("linear" if what == "weights" else "output", normalised=normalised)
        return self._order[path]

    def _after(
        self, operation: Any, around: Sequence[Any], seen: set[Any], normalised: bool
    ) -> Iterator[tuple[str, Any, bool, str]]:
        """Where the output of an operation goes, as (what, activation, normalised, why)."""
        graph, *outer = around
        if (id(operation), id(graph)) in seen:
            return
        seen.add((id(operation), id(graph)))
        within = {id(o) for o in graph.operations}
        outputs = {id(t) for t in keras.tree.flatten(graph.outputs)}
        made = {id(t) for node in operation._inbound_nodes for t in keras.tree.flatten(node.output_tensors)}
        if made & outputs:
            if outer:
                holder = next((o for o in outer[0].operations if o is graph or _graph(o) is graph), None)
                if holder is not None:
                    yield from self._after(holder, outer, seen, normalised)
            else:
                yield "output", None, normalised, ""
        for node in operation._outbound_nodes:
            if id(node.operation) in within:
                yield from self._step(operation, node, around, seen, normalised)

    def _step(
        self, before: Any, node: Any, around: Sequence[Any], seen: set[Any], normalised: bool
    ) -> Iterator[tuple[str, Any, bool, str]]:
        """What an operation makes of a signal."""
        operation = node.operation
        activation = _activation(operation)
        if activation is not None and activation.activation.name != "identity":
            follower = found(activation)
            after = {what for what, *_ in self._after(operation, around, set(), False)}
            yield "activation", ending(follower) if after == {"output"} else follower, normalised, ""
            return
        name = type(operation).__name__
        graph = _graph(operation)
        if graph is not None:
            inputs = keras.tree.flatten(graph.inputs)
            for start in graph.operations:
                if any(id(t) in {id(i) for i in inputs} for n in start._inbound_nodes for t in n.output_tensors):
                    yield from self._after(start, (graph, *around), seen, normalised)
        elif isinstance(operation, (*WEIGHTS, *(k for kinds, _ in LEFT for k in kinds))):
            yield "weights", None, normalised, ""
        elif isinstance(operation, layers.Multiply) or name == "Multiply":
            gates = [g for t in node.input_tensors if (g := self._source(t, before)) is not None]
            if gates:
                yield "activation", replace(found(gates[0]), how="graph, gated"), normalised, ""
            elif len(node.input_tensors) > 1:
                yield "unknown", None, normalised, "it is multiplied with another signal"
            else:
                yield from self._after(operation, around, seen, normalised)
        elif name in PRODUCTS or isinstance(operation, layers.Dot):
            yield "attention", None, normalised, "a product of two signals follows"
        elif _normalises(operation):
            yield from self._after(operation, around, seen, True)
        elif name in THROUGH or _passing(operation):
            yield from self._after(operation, around, seen, normalised)
        else:
            yield "unknown", None, normalised, f"it goes into {operation.name}"

    def _source(self, tensor: Any, but: Any) -> Translation | None:
        """The activation that another factor of a product comes from directly."""
        history = getattr(tensor, "_keras_history", None)
        return (
            None
            if history is None or history.operation is but
            else _activation(history.operation) or _kept(history.operation)
        )


def _normalises(layer: Any) -> bool:
    """By the name, as not every version has the same ones."""
    return type(layer).__name__.endswith("Normalization")


def _passing(layer: Any) -> bool:
    """Whether a layer without weights, of Keras itself, hands its input on."""
    own = is_model(layer) and type(layer).__module__.startswith("keras.") and not isinstance(layer, layers.Lambda)
    return own and not layer.weights


def _kept(layer: Any) -> Translation | None:
    """The activation that a layer with weights was given."""
    if not isinstance(layer, WEIGHTS):
        return None
    seen = _activation(layer.activation)
    return None if seen is None or seen.activation.name == "identity" else seen


def _activation(thing: Any) -> Translation | None:
    """An activation that a layer, a function or an operation of a graph is; None for none."""
    try:
        if isinstance(thing, layers.Activation):
            thing = thing.activation
        if activation_of(thing) is not None:
            return recognise(thing)
        if type(thing).__module__.startswith("keras.src.ops"):
            native = identify(getattr(keras.ops, _snake(type(thing).__name__), None))
            if native is not None:
                names = {n for e in native[1] for n in e.arguments}
                given = {n: getattr(thing, n) for n in names if hasattr(thing, n)}
                made = translate("keras", native[1][0].spelling, **given)
                return made if isinstance(made, Translation) else None
    except ParameterError:
        return None
    return None
