"""What is seen of a model while it runs, the same in every framework, and who runs it.

A backend looks into its models in ``backends/<framework>/diagnostics.py``, which has ``probe(model)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..declaration import Activation, Array
from ..errors import ParameterError
from ..models import framework_of, room


@dataclass
class Layer:
    """A layer with weights in one pass.

    Attributes
    ----------
    path : where it is in the model.
    kind : its class.
    fan_in, fan_out : the numbers of inputs and outputs of a unit.
    axis : of its output, along which its units lie.
    weights, bias : its parameters, NumPy arrays; the units lie along the last axis of the weights.
    output : what it gave in this pass.
    gradient : of the loss in the output; weight_gradient : in the weights. None where no gradients were asked for.
    normalised : whether a normalisation takes its output, so that the scale of the weights does not matter.
    """

    path: str
    kind: str
    fan_in: int
    fan_out: int
    axis: int
    weights: Any
    bias: Any
    output: Array
    gradient: Array | None = None
    weight_gradient: Array | None = None
    normalised: bool = False


@dataclass
class Place:
    """An activation in one pass.

    Attributes
    ----------
    path : where it is: a layer, or a layer and the function that its forward calls.
    activation, parameters : what it computes, as ours; None where it could not be told.
    before, after : what it was given, and what it gave.
    axis : along which the units lie.
    layer : the path of the layer with weights whose output it takes, also through a normalisation; None for another's.
    gradient : of the loss in `after`; None where no gradients were asked for.
    last : whether its result is the output of the model.
    """

    path: str
    activation: Activation | None
    parameters: Mapping[str, Any]
    before: Array
    after: Array
    axis: int
    layer: str | None = None
    gradient: Array | None = None
    last: bool = False


@dataclass
class Pass:
    """One batch through a model: layers and activations in the order in which they ran."""

    layers: list[Layer]
    places: list[Place]
    output: Array
    loss: float | None = None
    unseen: list[str] = field(default_factory=list)


class Probe(Protocol):
    """A model of a framework that can be looked into. It is left as it was found, also when the pass raises."""

    def run(
        self, inputs: Any, targets: Any = None, *, loss: Any = None, gradients: bool = False, inference: bool = False
    ) -> Pass:
        """One batch, in the mode in which the model is (training or not).

        Parameters
        ----------
        inputs, targets : arrays of the framework or of NumPy, or structures of them as the model takes them.
        loss : a function of the model's output and the targets, in Keras of the targets and the output, that gives a number
            or one for each example; None for half the mean of the squares of the output.
        gradients : also those of the loss in every output and weight.
        inference : as the model is used after training, whatever mode it is in.
        """
        ...

    def default_loss(self) -> Any:
        """The loss that the model itself knows, as a compiled Keras model does; None for none."""
        ...

    def loss_kind(self, loss: Any) -> tuple[str, str] | None:
        """What a loss is called, and what it expects of the output of the model: "logits", "probabilities" or
        "log probabilities". None where that is not known or does not matter."""
        ...


def probe(model: Any) -> Probe:
    """A model of any framework, to be looked into."""
    found: Probe = room(framework_of(model, "a diagnosis"), "diagnostics").probe(model)
    return found


#: Of arrays that are given as a whole.
BATCH = 256


def batches(data: Any, size: int = BATCH) -> Iterator[tuple[Any, Any]]:
    """Inputs and targets of every batch.

    Parameters
    ----------
    data : an array, or a pair of arrays (inputs, targets), which are cut into batches; or something to iterate over that
        gives batches, each an array or a pair, as a DataLoader and a tf.data.Dataset do.
    """
    if hasattr(data, "num_batches"):  # a keras.utils.PyDataset, of which an iterator would find no end
        data = map(data.__getitem__, range(data.num_batches))
    if hasattr(data, "shape") or _is_pair(data):
        inputs, targets = data if _is_pair(data) else (data, None)
        for start in range(0, inputs.shape[0], size):
            stop = start + size
            yield inputs[start:stop], None if targets is None else targets[start:stop]
        return
    try:
        found = iter(data)
    except TypeError:
        raise ParameterError(
            f"data must be an array, a pair of arrays (inputs, targets), or batches of these. "
            f"Received: {type(data).__module__}.{type(data).__qualname__}."
        ) from None
    for batch in found:
        if isinstance(batch, Sequence) and len(batch) >= 2:
            yield batch[0], batch[1]
        else:
            yield (batch[0] if isinstance(batch, Sequence) else batch), None


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple) and len(data) == 2 and all(hasattr(a, "shape") for a in data)


def count(data: Any, size: int = BATCH) -> int | None:
    """How many batches there are, if that can be told."""
    if hasattr(data, "shape") or _is_pair(data):
        return -(-(data[0] if _is_pair(data) else data).shape[0] // size)
    try:
        return data.num_batches if hasattr(data, "num_batches") else len(data)
    except TypeError:
        return None
