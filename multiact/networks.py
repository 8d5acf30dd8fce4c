"""Small classifiers as data, the same in every framework, so that all of them start from the same weights and learn the same.

A backend builds and trains them in ``backends/<framework>/training.py``, which has ``classifier(network, weights, optimizer)``,
and may have ``running()``, a context in which networks as small as these run best.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from .declaration import Activation
from .errors import ParameterError
from .initialisation import Initialisation, initialisation, of_output
from .registry import get

#: Weights and biases of every layer, the output last: (inputs, outputs) of a dense one, (3, 3, inputs, outputs) of a convolution.
Weights = Sequence[tuple[np.ndarray, np.ndarray]]
Optimizer = Literal["adam", "sgd"]
MOMENTUM = 0.9
#: What stands for no activation.
NONE = "none"
_SPELLED = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*")


@dataclass(frozen=True)
class Choice:
    """An activation with its parameters, or none at all.

    Attributes
    ----------
    text : as it was written: ``gelu``, ``leaky_relu(negative_slope=0.2)``, ``none``.
    activation : None for none.
    """

    text: str
    activation: Activation | None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """
        Raises
        ------
        ParameterError : it cannot be read, or a parameter is unknown.
        ShapeError : it does not take rows of numbers.
        UnknownActivationError : there is no such activation.
        """
        found = _SPELLED.fullmatch(text)
        if found is None:
            raise ParameterError(
                f"an activation is written as name or name(parameter=number, ...). Received: {text!r}."
            )
        name, given = found.groups()
        if name == NONE:
            return cls(NONE, None)
        activation, parameters = get(name), {}
        for part in filter(None, (p.strip() for p in (given or "").split(","))):
            key, _, value = part.partition("=")
            try:
                parameters[key.strip()] = float(value)
            except ValueError:
                raise ParameterError(
                    f"a parameter is written as name=number. Received: {part!r} in {text!r}."
                ) from None
        made = cls(text.strip(), activation, parameters)
        made.width(12)  # refuses what the activation does not know, before anything takes long
        return made

    def width(self, units: int) -> int:
        """How many units it makes of so many."""
        if self.activation is None:
            return units
        return int(self.activation(np.zeros((1, units)), **self.parameters).shape[-1])

    @property
    def initialisation(self) -> Initialisation:
        """How the weights before it are drawn."""
        return of_output() if self.activation is None else initialisation(self.activation, None, **self.parameters)


@dataclass(frozen=True)
class Stage:
    """A hidden layer: weights, then an activation.

    Attributes
    ----------
    width : the number of units or channels after the activation, where that does not make more or fewer of them.
    convolution : of 3 by 3 entries instead of a dense layer.
    stride : of the convolution.
    """

    width: int
    choice: Choice
    convolution: bool = False
    stride: int = 1


@dataclass(frozen=True)
class Network:
    """A classifier. After convolutions the mean over the image is taken; the last layer is dense and gives logits.

    Attributes
    ----------
    shape : of one example: (entries,) or (height, width, channels).
    """

    shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    classes: int

    def __post_init__(self) -> None:
        for stage in self.stages:
            activation = stage.choice.activation
            if stage.convolution and activation is not None and activation.kind != "pointwise":
                raise ParameterError(
                    f"in a convolutional network the activation is pointwise. Received: {activation.name}, which is "
                    f"{activation.kind}. Use it in a network of dense layers."
                )
        convolutional = any(stage.convolution for stage in self.stages)
        if convolutional != (len(self.shape) == 3):
            raise ParameterError(
                f"examples of a {'convolutional' if convolutional else 'dense'} network have the shape "
                f"{'(height, width, channels)' if convolutional else '(entries,)'}. Received: {self.shape}."
            )

    @property
    def convolutional(self) -> bool:
        return len(self.shape) == 3

    def draw(self, seed: int, std: Callable[[float, float], float] | None = None, bias: float = 0.0) -> Weights:
        """Weights in float32, normal.

        Parameters
        ----------
        std : of the hidden weights, for the numbers of inputs and outputs of a unit; None for what goes with the activation
            after them, see `multiact.initialisation`.
        bias : of the hidden layers.
        """
        random = np.random.default_rng(seed)
        weights, inputs = [], self.shape[-1]
        for number, stage in enumerate(self.stages):
            outputs, area = before(stage), 9 if stage.convolution else 1
            fans = area * inputs, area * outputs
            spread = stage.choice.initialisation.std(*fans, first=number == 0) if std is None else std(*fans)
            shape = (3, 3, inputs, outputs) if stage.convolution else (inputs, outputs)
            weights.append((spread * random.standard_normal(shape), np.full(outputs, bias)))
            inputs = stage.choice.width(outputs)
        spread = of_output().std(inputs, self.classes)
        weights.append((spread * random.standard_normal((inputs, self.classes)), np.zeros(self.classes)))
        return [(w.astype("float32"), b.astype("float32")) for w, b in weights]


def before(stage: Stage) -> int:
    """The number of units that the layer gives to its activation: gated ones take two for each."""
    activation = stage.choice.activation
    return stage.width * (2 if activation is not None and activation.kind == "gated" else 1)


class Classifier(Protocol):
    """A network of a framework that is trained with the cross-entropy of its logits.

    Attributes
    ----------
    model, loss : as `multiact.diagnostics` takes them.
    """

    model: Any
    loss: Any

    def epoch(self, x: np.ndarray, y: np.ndarray, batches: Sequence[np.ndarray], rate: float) -> float:
        """One pass: the numbers of the examples of every batch, and the rate of learning; the mean of the losses.

        Frameworks agree to rounding while the rate stays. When it changes, Keras' momentum goes on with the old one for a while,
        since its velocity has the rate in it.
        """
        ...

    def logits(self, x: np.ndarray) -> np.ndarray: ...

    def inputs(self, x: np.ndarray) -> Any:
        """Examples as the model takes them."""
        ...


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log softmax(logits)[label]; NaN where the logits are not finite."""
    if not np.isfinite(logits).all():
        return math.nan
    shifted = logits.astype("float64") - logits.max(-1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(-1)) - chosen))
