"""What Keras 3 itself calls an activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.errors import ParameterError
from multiact.natives import Argument, Entry, only, sets

PACKAGE = "keras"
BACKEND = "keras"
IGNORED = ("name", "dtype", "trainable", "activity_regularizer", "alpha_regularizer", "alpha_constraint", "shared_axes")

_SLOPE = (
    "The slope is 0.2 in keras.activations.leaky_relu, 0.3 in keras.layers.LeakyReLU, 0.01 in PyTorch, JAX and ONNX."
)
_HALVES = "Of two inputs; packed layers differ in the side."
_PRELU = "One weight for each element of the input without the batch axis, unless shared_axes is given; it starts at 0, as relu."


def _glu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    from keras import ops

    return lambda value, gate: function(ops.stack([value, gate], axis=-1))[..., 0]


def make(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    """A Layer for every dtype, built before anything is traced; a Layer casts its input to its own dtype."""
    import keras

    layers = {}
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        layers[dtype] = kind(**given, dtype=dtype)
        layers[dtype].build((2,))
        layers[dtype].input_spec = None  # which asks for as many axes also of what is mapped over
    return lambda x: layers[keras.backend.standardize_dtype(x.dtype)](x)


def _start(initializer: Any) -> float:
    """Where a weight starts, when all start alike."""
    constants = {"zeros": 0.0, "ones": 1.0}
    value = constants.get(initializer.lower()) if isinstance(initializer, str) else initializer
    if not isinstance(value, (int, float)):
        raise ParameterError(f"alpha_initializer must be 'zeros', 'ones' or a number here. Received: {initializer!r}.")
    return float(value)


def _prelu(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import keras

    start = given.get("alpha_initializer", 0.0)
    return make(lambda dtype: kind(alpha_initializer=keras.initializers.Constant(start), dtype=dtype), {})


def _relu(spelling: str, same_as: str = "") -> tuple[Entry, ...]:
    """keras.layers.ReLU and keras.activations.relu are a family of functions, not all of which have a name."""
    neutral = {"max_value": only(None, None), "negative_slope": only(0.0, 0.0), "threshold": only(0.0, 0.0)}
    slope: dict[str, Argument] = {"negative_slope": sets("negative_slope", 0.0)}
    bound: dict[str, Argument] = {"max_value": sets("max_val", None)}
    cut: dict[str, Argument] = {"threshold": sets("threshold", 0.0)}
    return (
        Entry(spelling, "relu", neutral, same_as=same_as),
        Entry(spelling, "relu6", {**neutral, "max_value": only(6.0, None)}, same_as=same_as, measured=False),
        Entry(spelling, "bounded_relu", {**neutral, **bound}, same_as=same_as, measured=False),
        Entry(spelling, "thresholded_relu", {**neutral, **cut}, same_as=same_as, measured=False),
        Entry(spelling, "leaky_relu", {**neutral, **slope}, same_as=same_as, measured=False),
    )


def _function(name: str, activation: str, /, **arguments: Argument) -> Entry:
    return Entry(f"keras.activations.{name}", activation, arguments)


_FUNCTIONS = (
    _function("gelu", "gelu", approximate=only(False, False)),
    _function("gelu", "gelu_tanh", approximate=only(True, False)),
    *_relu("keras.activations.relu"),
    _function("relu6", "relu6"),
    Entry("keras.activations.leaky_relu", "leaky_relu", {"negative_slope": sets("negative_slope", 0.2)}, notes=_SLOPE),
    _function("elu", "elu", alpha=sets("alpha", 1.0)),
    _function("celu", "celu", alpha=sets("alpha", 1.0)),
    _function("selu", "selu"),
    _function("silu", "silu"),
    Entry("keras.activations.swish", "silu", same_as="keras.activations.silu"),
    _function("mish", "mish"),
    _function("softplus", "softplus"),
    _function("squareplus", "squareplus", b=sets("b", 4)),
    _function("sparse_plus", "sparse_plus"),
    _function("sparse_sigmoid", "sparse_sigmoid"),
    _function("softsign", "softsign"),
    _function("sigmoid", "sigmoid"),
    _function("log_sigmoid", "log_sigmoid"),
    _function("tanh", "tanh"),
    Entry(
        "keras.activations.hard_sigmoid", "hard_sigmoid", notes="Slope 1/6; in Keras 2 it was 0.2 under the same name."
    ),
    _function("hard_silu", "hard_swish"),
    Entry("keras.activations.hard_swish", "hard_swish", same_as="keras.activations.hard_silu"),
    _function("hard_tanh", "hard_tanh"),
    _function("hard_shrink", "hard_shrink", threshold=sets("lambd", 0.5)),
    _function("soft_shrink", "soft_shrink", threshold=sets("lambd", 0.5)),
    _function("tanh_shrink", "tanh_shrink"),
    _function("threshold", "threshold", threshold=sets("threshold"), default_value=sets("value")),
    _function("exponential", "exponential"),
    _function("linear", "identity"),
    Entry(
        "keras.activations.glu",
        "glu",
        {"axis": sets("axis", -1)},
        prepare=_glu,
        notes="The gate is the second half.",
    ),
    _function("softmax", "softmax", axis=sets("axis", -1)),
    _function("log_softmax", "log_softmax", axis=sets("axis", -1)),
    Entry(
        "keras.activations.sparsemax",
        "sparsemax",
        {"axis": sets("axis", -1)},
        notes="Wrong where more than one entry is kept: the threshold sums over all partial sums, not the last one.",
    ),
)

NATIVES = (
    *_FUNCTIONS,
    *_relu("keras.layers.ReLU", same_as="keras.activations.relu"),
    Entry(
        "keras.layers.LeakyReLU",
        "leaky_relu",
        {"negative_slope": sets("negative_slope", 0.3)},
        same_as="keras.activations.leaky_relu",
        notes=_SLOPE,
    ),
    Entry(
        "keras.layers.PReLU",
        "prelu",
        {"alpha_initializer": sets("negative_slope", "Zeros", ours=_start, form="keras.initializers.Constant({!r})")},
        prepare=_prelu,
        notes=_PRELU,
    ),
    Entry("keras.layers.ELU", "elu", {"alpha": sets("alpha", 1.0)}, same_as="keras.activations.elu"),
    Entry("keras.layers.Softmax", "softmax", {"axis": sets("axis", -1)}, same_as="keras.activations.softmax"),
    Entry("keras.layers.Identity", "identity", same_as="keras.activations.linear"),
    # keras.ops has them under the same names; only gelu has another default.
    Entry(
        "keras.ops.gelu",
        "gelu",
        {"approximate": only(False, True)},
        same_as="keras.activations.gelu",
        notes="The tanh form by default, unlike keras.activations.gelu.",
    ),
    Entry(
        "keras.ops.gelu",
        "gelu_tanh",
        {"approximate": only(True, True)},
        same_as="keras.activations.gelu",
        notes="The tanh form by default, unlike keras.activations.gelu.",
    ),
    *(
        Entry(f"keras.ops.{e.name}", e.activation, e.arguments, same_as=e.same_as or e.spelling, notes=e.notes)
        for e in _FUNCTIONS
        if e.name not in ("gelu", "relu", "exponential", "linear", "swish", "mish")
    ),
    Entry("keras.ops.relu", "relu", same_as="keras.activations.relu"),
    Entry("keras.ops.swish", "silu", same_as="keras.activations.silu"),
    Entry("keras.ops.exp", "exponential", same_as="keras.activations.exponential"),
    Entry("keras.ops.abs", "abs"),
    Entry("keras.ops.sin", "sine"),
    Entry("keras.ops.cos", "cosine"),
    Entry("keras.ops.arctan", "arctan"),
    Entry("keras.ops.arcsinh", "asinh"),
    Entry("keras.ops.erf", "erf"),
    # What takes two operations.
    Entry("keras.activations.softmax(-x)", "softmin"),
    Entry("keras.activations.softmax(-x, axis={axis})", "softmin", {"axis": sets("axis")}),
    Entry("keras.activations.softplus({beta} * x) / {beta}", "softplus", {"beta": sets("beta")}),
    Entry("x * keras.activations.sigmoid({beta} * x)", "silu", {"beta": sets("beta")}),
    Entry(
        "keras.ops.clip(x, {min_val}, {max_val})", "hard_tanh", {"min_val": sets("min_val"), "max_val": sets("max_val")}
    ),
    Entry("keras.ops.square(keras.activations.relu(x))", "relu_squared"),
    Entry("x * keras.activations.sigmoid(1.702 * x)", "quick_gelu"),
    Entry("value * keras.activations.silu(gate)", "swiglu", notes=_HALVES),
    Entry("value * keras.activations.gelu(gate)", "geglu", notes=_HALVES),
    Entry("value * keras.activations.gelu(gate, approximate=True)", "geglu_tanh", notes=_HALVES),
    Entry("value * gate", "bilinear", notes=_HALVES),
    Entry("value * keras.activations.relu(gate)", "reglu", notes=_HALVES),
)


def read(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """keras.layers.PReLU by its weights, the mean of them where they are several, and by its start before that."""
    import keras

    if type(thing) is not keras.layers.PReLU:
        return None
    if thing.built:
        return "keras.layers.PReLU", {"alpha_initializer": float(keras.ops.convert_to_numpy(thing.alpha).mean())}
    value = getattr(thing.alpha_initializer, "value", 0.0)
    return "keras.layers.PReLU", {"alpha_initializer": float(value)}
