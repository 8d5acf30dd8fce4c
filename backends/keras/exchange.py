"""Models with one activation, made in this process or written by Keras on another of its backends, in a process of its own.

What is asked for goes between the processes as a line of JSON, since no process can hold two of Keras' backends.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from multiact import registry
from multiact.declaration import Activation, Array
from multiact.natives import peers

from .adapter import backend, get

#: How many seconds a process may take to end after its last word.
LIMIT = 60.0


@dataclass(frozen=True)
class Described:
    """An activation in one setting, in words that another process understands.

    Attributes
    ----------
    name : of the activation.
    keywords : parameters and options that are not at their default.
    native : the title of Keras' own activation in its place; empty for ours.
    """

    name: str
    keywords: tuple[tuple[str, Any], ...] = ()
    native: str = ""

    @property
    def activation(self) -> Activation:
        return registry.get(self.name)

    @property
    def given(self) -> dict[str, Any]:
        return dict(self.keywords)

    @property
    def learnable(self) -> bool:
        """Whether the Layer has parameters to learn, and is the same function in every call."""
        random = self.activation.random
        return not self.native and bool(self.activation.held) and (random is None or random.default is not None)

    @property
    def nodes(self) -> bool:
        """Whether a model keeps it as operations, which of Keras' own is everything that it does not find by a name."""
        own = self.native.partition("keras.activations.")[2]
        found = own.isidentifier() and self.activation.kind != "gated"
        return bool(self.native) and not found and not self._is_prelu

    @property
    def _is_prelu(self) -> bool:
        return self.native.startswith("keras.layers.PReLU")

    @functools.cached_property
    def function(self) -> Any:
        """The function of tensors, symbolic ones too: Keras' own, or ours with its keywords."""
        if self.native:
            own = getattr(keras.activations, self.native.removeprefix("keras.activations."), None)
            if own is not None and self.activation.kind != "gated":
                return own
            return next(n.call for n in peers("keras", self.name) if n.name == self.native)
        return get(self.name, **self.given)

    def ordered(self, inputs: Sequence[Array]) -> list[Array]:
        """Value and gate in the order in which our functions and Layers take them; whatever else as it is."""
        second = len(inputs) < 2 or self.native or self.activation.option("gate").default == "second"
        return list(inputs if second else inputs[::-1])

    def layer(self, dtype: str | None = None, **more: Any) -> keras.layers.Layer:
        """Our Layer; around a function of Keras' own, or of random numbers that are given, a layer that calls it."""
        if not self.native and (self.activation.random is None or self.activation.random.name not in self.given):
            made: keras.layers.Layer = backend.layer(self.activation)(
                **{"learnable": False, **self.given, "dtype": dtype, **more}
            )
            return made
        if self._is_prelu:  # the only one of their layers with weights: made anew for each shape
            start = self.activation.parameters[0].default
            return keras.layers.PReLU(keras.initializers.Constant(start), dtype=dtype)
        if self.activation.kind == "gated":
            return Calling(self.function, dtype=dtype)
        return keras.layers.Activation(self.function, dtype=dtype)


class Calling(keras.layers.Layer):
    """A layer that calls a function of several tensors."""

    def __init__(self, function: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._function = function
        self.built = True

    def call(self, *inputs: Array) -> Array:
        return self._function(*inputs)


def inputs(shapes: Sequence[Sequence[int]], dtype: str = "float32") -> list[keras.KerasTensor]:
    """Symbolic tensors of arrays with these shapes, the batch of any size."""
    return [keras.Input(tuple(shape[1:]), dtype=dtype) for shape in shapes]


def model(given: Sequence[keras.KerasTensor], outputs: Any) -> keras.Model:
    """A model of one tensor, or of a list of them."""
    return keras.Model(given[0] if len(given) == 1 else list(given), outputs)


def pair(asked: Described, shapes: Sequence[Sequence[int]]) -> keras.Model:
    """A model of an activation, and beside it where there are parameters to learn the same with learned ones.

    Its outputs are a list. The weights have values that no initializer gives, the same in every process: the logarithm of
    a parameter is not the same in every framework, and rounded therefore.
    """
    given = inputs(shapes)
    ordered = asked.ordered(given)
    outputs = [asked.function(*ordered) if asked.nodes else asked.layer()(*ordered)]
    if asked.learnable:
        outputs.append(asked.layer(learnable=True, channel_axis=-1)(*ordered))
    made = model(given, outputs)
    for variable in made.trainable_variables:
        value = np.round(np.asarray(keras.ops.convert_to_numpy(variable)) * 2.0**16) / 2.0**16
        variable.assign(value + 2.0**-10 * np.arange(1, value.size + 1).reshape(value.shape))
    return made


def write(asked: Described, shapes: Sequence[Sequence[int]], path: str, framework: str) -> None:
    """Have Keras on another backend save `pair` as a file.

    Raises
    ------
    RuntimeError : it could not, with what it says.
    """
    process = _writer(framework)
    assert process.stdin is not None and process.stdout is not None
    request = {"asked": asdict(asked), "shapes": [list(s) for s in shapes], "path": path}
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        # Whatever a framework prints comes before the answer.
        answer = next((line for line in process.stdout if line.startswith(ANSWER)), "")
    except BrokenPipeError:
        answer = ""
    if not answer:
        _writer.cache_clear()
        raise RuntimeError(f"the process of Keras on {framework} ended with exit code {process.wait(LIMIT)}.")
    failure = json.loads(answer.removeprefix(ANSWER))
    if failure:
        raise RuntimeError(f"Keras on {framework}: {failure}")


ANSWER = "written: "


@functools.cache
def _writer(framework: str) -> subprocess.Popen[str]:
    """A process that reads requests until its input ends, which it does when this process ends."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        env={**os.environ, "KERAS_BACKEND": framework},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def serve() -> None:
    """Save the models that are asked for on the standard input, one a line."""
    for line in sys.stdin:
        request = json.loads(line)
        asked = request["asked"]
        failure = ""
        try:
            described = Described(asked["name"], tuple((k, v) for k, v in asked["keywords"]), asked["native"])
            pair(described, request["shapes"]).save(request["path"])
        except Exception as error:  # noqa: BLE001 - told to the process that asked
            failure = f"{type(error).__name__}: {error}"
        print(ANSWER + json.dumps(failure), flush=True)


if __name__ == "__main__":
    serve()
