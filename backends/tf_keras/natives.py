"""What tf_keras calls an activation: Keras 2, which is kept for models that were written for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.errors import ParameterError
from multiact.natives import Entry, only, sets

PACKAGE = "tf_keras"
BACKEND = "tensorflow"
IGNORED = ("name", "dtype", "trainable", "activity_regularizer", "alpha_regularizer", "alpha_constraint", "shared_axes",
           "robust_masking")  # fmt: skip


def make(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    """A Layer for every dtype, built before anything is traced; a Layer casts its input to its own dtype."""
    layers = {}
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        layers[dtype] = kind(**given, dtype=dtype)
        layers[dtype].build((2,))
        layers[dtype].input_spec = None  # which asks for as many axes also of what is mapped over
    return lambda x: layers[x.dtype.name](x)


def _start(initializer: Any) -> float:
    """Where a weight starts, when all start alike."""
    constants = {"zeros": 0.0, "ones": 1.0}
    value = constants.get(initializer.lower()) if isinstance(initializer, str) else initializer
    if not isinstance(value, (int, float)):
        raise ParameterError(f"alpha_initializer must be 'zeros', 'ones' or a number here. Received: {initializer!r}.")
    return float(value)


def _prelu(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import tf_keras

    start = given.get("alpha_initializer", 0.0)
    return make(lambda dtype: kind(alpha_initializer=tf_keras.initializers.Constant(start), dtype=dtype), {})


def _relu(spelling: str, slope: str, same_as: str = "") -> tuple[Entry, ...]:
    """A family of functions, not all of which have a name; the slope has two names."""
    neutral = {"max_value": only(None, None), slope: only(0.0, 0.0), "threshold": only(0.0, 0.0)}
    return (
        Entry(spelling, "relu", neutral, same_as=same_as),
        Entry(spelling, "relu6", {**neutral, "max_value": only(6.0, None)}, same_as=same_as),
        Entry(spelling, "bounded_relu", {**neutral, "max_value": sets("max_val", None)}, measured=False),
        Entry(spelling, "thresholded_relu", {**neutral, "threshold": sets("threshold", 0.0)}, measured=False),
        Entry(spelling, "leaky_relu", {**neutral, slope: sets("negative_slope", 0.0)}, same_as=same_as),
    )


NATIVES = (
    Entry("tf_keras.activations.gelu", "gelu", {"approximate": only(False, False)}),
    Entry("tf_keras.activations.gelu", "gelu_tanh", {"approximate": only(True, False)}),
    *_relu("tf_keras.activations.relu", "alpha"),
    Entry("tf_keras.activations.elu", "elu", {"alpha": sets("alpha", 1.0)}),
    Entry("tf_keras.activations.selu", "selu"),
    Entry("tf_keras.activations.swish", "silu"),
    Entry("tf_keras.activations.mish", "mish"),
    Entry("tf_keras.activations.softplus", "softplus"),
    Entry("tf_keras.activations.softsign", "softsign"),
    Entry("tf_keras.activations.sigmoid", "sigmoid"),
    Entry("tf_keras.activations.tanh", "tanh"),
    Entry("tf_keras.activations.exponential", "exponential"),
    Entry("tf_keras.activations.linear", "identity"),
    Entry(
        "tf_keras.activations.hard_sigmoid",
        "hard_sigmoid_legacy",
        notes="Slope 0.2; Keras 3 has 1/6 under the same name.",
    ),
    Entry("tf_keras.activations.softmax", "softmax", {"axis": sets("axis", -1)}),
    *_relu("tf_keras.layers.ReLU", "negative_slope", same_as="tf_keras.activations.relu"),
    Entry(
        "tf_keras.layers.LeakyReLU",
        "leaky_relu",
        {"alpha": sets("negative_slope", 0.3)},
        notes="The slope is 0.3 by default, 0.01 in PyTorch, JAX and ONNX.",
    ),
    Entry(
        "tf_keras.layers.PReLU",
        "prelu",
        {
            "alpha_initializer": sets(
                "negative_slope", "zeros", ours=_start, form="tf_keras.initializers.Constant({!r})"
            )
        },
        prepare=_prelu,
        notes="One weight for each element of the input without the batch axis, unless shared_axes is given; it starts at 0, "
        "as relu.",
    ),
    Entry("tf_keras.layers.ELU", "elu", {"alpha": sets("alpha", 1.0)}, same_as="tf_keras.activations.elu"),
    Entry(
        "tf_keras.layers.ThresholdedReLU",
        "thresholded_relu",
        {"theta": sets("threshold", 1.0)},
        notes="x times a mask, which is NaN at -inf.",
    ),
    Entry("tf_keras.layers.Softmax", "softmax", {"axis": sets("axis", -1)}, same_as="tf_keras.activations.softmax"),
)
