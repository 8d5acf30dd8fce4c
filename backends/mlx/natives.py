"""What MLX calls an activation: the functions and classes of mlx.nn, and operations of mlx.core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.natives import Argument, Entry, only, sets

PACKAGE = "mlx"
BACKEND = "mlx"
IGNORED = ("num_parameters", "stream")

_TRUNCATED = "Its constants are 1.0507 and 1.67326."
_STEP = "The result is an array of integers."


def _glu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import mlx.core as mx

    return lambda value, gate: function(mx.stack([value, gate]), axis=0).squeeze(0)


def _glu_layer(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    return _glu(lambda x, axis: kind(axis=axis)(x), given)


def _prelu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import mlx.core as mx

    return lambda x: function(x, mx.array(given["alpha"], x.dtype))


def _prelu_layer(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        layer = kind(**given)
        layer.set_dtype(x.dtype)
        return layer(x)

    return call


def _both(
    function: str, layer: str, activation: str, notes: str = "", definition: str = "", **arguments: Argument
) -> tuple[Entry, Entry]:
    """A function and the class of it, with the same arguments."""
    name = f"mlx.nn.{function}"
    return (
        Entry(name, activation, arguments, definition=definition, notes=notes),
        Entry(f"mlx.nn.{layer}", activation, arguments, same_as=name, definition=definition, notes=notes),
    )


NATIVES = (
    Entry("mlx.nn.gelu", "gelu"),
    Entry("mlx.nn.gelu_approx", "gelu_tanh"),
    Entry("mlx.nn.gelu_fast_approx", "quick_gelu"),
    Entry("mlx.nn.GELU", "gelu", {"approx": only("none", "none")}, same_as="mlx.nn.gelu"),
    Entry("mlx.nn.GELU", "gelu_tanh", {"approx": only("precise", "none")}, same_as="mlx.nn.gelu_approx"),
    Entry("mlx.nn.GELU", "gelu_tanh", {"approx": only("tanh", "none")}, same_as="mlx.nn.gelu_approx"),
    Entry("mlx.nn.GELU", "quick_gelu", {"approx": only("fast", "none")}, same_as="mlx.nn.gelu_fast_approx"),
    *_both("relu", "ReLU", "relu"),
    *_both("relu2", "ReLU2", "relu_squared"),
    *_both("relu6", "ReLU6", "relu6"),
    *_both("leaky_relu", "LeakyReLU", "leaky_relu", negative_slope=sets("negative_slope", 0.01)),
    Entry(
        "mlx.nn.prelu",
        "prelu",
        {"alpha": sets("negative_slope", form="mx.array({!r})")},
        prepare=_prelu,
        notes="The slope is an array.",
    ),
    Entry(
        "mlx.nn.PReLU",
        "prelu",
        {"init": sets("negative_slope", 0.25)},
        prepare=_prelu_layer,
        same_as="mlx.nn.prelu",
    ),
    *_both("elu", "ELU", "elu", alpha=sets("alpha", 1.0)),
    *_both("celu", "CELU", "celu", alpha=sets("alpha", 1.0)),
    *_both("selu", "SELU", "selu", _TRUNCATED, "1.0507 * (x if x > 0 else 1.67326 * (exp(x) - 1))"),
    *_both("silu", "SiLU", "silu"),
    *_both("mish", "Mish", "mish"),
    *_both("softplus", "Softplus", "softplus"),
    *_both("softsign", "Softsign", "softsign"),
    *_both("sigmoid", "Sigmoid", "sigmoid"),
    *_both("log_sigmoid", "LogSigmoid", "log_sigmoid"),
    *_both("tanh", "Tanh", "tanh"),
    *_both("hardswish", "Hardswish", "hard_swish"),
    Entry("mlx.nn.hard_tanh", "hard_tanh", {"min_val": sets("min_val", -1.0), "max_val": sets("max_val", 1.0)}),
    Entry("mlx.nn.HardTanh", "hard_tanh", same_as="mlx.nn.hard_tanh", notes="The class takes no bounds."),
    *_both("hard_shrink", "HardShrink", "hard_shrink", lambd=sets("lambd", 0.5)),
    *_both("softshrink", "Softshrink", "soft_shrink", lambd=sets("lambd", 0.5)),
    *_both("step", "Step", "step", _STEP, "1 if x >= 0 else 0", threshold=only(0.0, 0.0)),
    Entry("mlx.nn.glu", "glu", {"axis": sets("axis", -1)}, prepare=_glu, notes="The gate is the second half."),
    Entry("mlx.nn.GLU", "glu", {"axis": sets("axis", -1)}, prepare=_glu_layer, same_as="mlx.nn.glu"),
    Entry("mlx.nn.softmax", "softmax", {"axis": sets("axis", -1)}),
    Entry("mlx.nn.log_softmax", "log_softmax", {"axis": sets("axis", -1)}),
    Entry("mlx.nn.softmin", "softmin", {"axis": sets("axis", -1)}),
    Entry("mlx.nn.Softmax", "softmax", same_as="mlx.nn.softmax", notes="Along the last axis always."),
    Entry("mlx.nn.LogSoftmax", "log_softmax", same_as="mlx.nn.log_softmax", notes="Along the last axis always."),
    Entry("mlx.nn.Softmin", "softmin", same_as="mlx.nn.softmin", notes="Along the last axis always."),
    Entry("mlx.nn.Identity", "identity"),
    # Operations of MLX that are activations by name of ours.
    Entry("mlx.core.exp", "exponential"),
    Entry("mlx.core.abs", "abs"),
    Entry("mlx.core.sin", "sine"),
    Entry("mlx.core.cos", "cosine"),
    Entry("mlx.core.arctan", "arctan"),
    Entry("mlx.core.arcsinh", "asinh"),
    Entry("mlx.core.erf", "erf"),
)

#: Where an instance keeps the argument of its constructor.
_KEPT = {"LeakyReLU": "negative_slope", "ELU": "alpha", "CELU": "alpha", "GELU": "approx"}


def read(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """An instance of a class that keeps its arguments under other names; PReLU by the mean of what it has learned."""
    kind = type(thing)
    if not kind.__module__.startswith("mlx.nn."):
        return None
    name = kind.__name__
    if name in _KEPT:
        return f"mlx.nn.{name}", {_KEPT[name]: getattr(thing, f"_{_KEPT[name]}")}
    return ("mlx.nn.PReLU", {"init": thing.weight.mean().item()}) if name == "PReLU" else None
