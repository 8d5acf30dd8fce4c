"""What PyTorch itself calls an activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from multiact.natives import Argument, Entry, only, sets

PACKAGE = "torch"
BACKEND = "torch"
IGNORED = ("inplace", "device", "dtype", "training", "num_parameters", "_stacklevel", "min_value", "max_value", "eps")

_DIM = "dim=None warns and takes axis 0 of an array with 0, 1 or 3 axes and axis 1 of any other."
_SLOPE = sets("negative_slope", 0.01)


def _both(layer: str, function: str, activation: str, /, notes: str = "", **arguments: Argument) -> tuple[Entry, Entry]:
    """The function, and the Module that calls it."""
    spelling = f"torch.nn.functional.{function}"
    return (
        Entry(spelling, activation, arguments, notes=notes),
        Entry(f"torch.nn.{layer}", activation, arguments, notes=notes, same_as=spelling),
    )


def _prelu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    return lambda x: function(x, x.new_full((1,), given["weight"]))


def _glu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import torch

    return lambda value, gate: function(torch.stack((value, gate)), dim=0).squeeze(0)


_PRELU = "One weight, or one for each channel, which is axis 1; the input needs two axes or more then."
_HALVES = "Of two inputs; packed layers differ in the side."
_GLU = "The gate is the second half."

NATIVES = (
    *_both("GELU", "gelu", "gelu", approximate=only("none", "none")),
    *_both("GELU", "gelu", "gelu_tanh", approximate=only("tanh", "none")),
    *_both("ReLU", "relu", "relu"),
    *_both("ReLU6", "relu6", "relu6"),
    *_both("LeakyReLU", "leaky_relu", "leaky_relu", negative_slope=_SLOPE),
    Entry(
        "torch.nn.functional.prelu",
        "prelu",
        {"weight": sets("negative_slope", form="torch.tensor([{!r}])")},
        prepare=_prelu,
        notes=_PRELU,
    ),
    Entry(
        "torch.nn.PReLU",
        "prelu",
        {"init": sets("negative_slope", 0.25)},
        same_as="torch.nn.functional.prelu",
        notes=_PRELU,
    ),
    *_both(
        "RReLU",
        "rrelu",
        "rrelu",
        notes="Random in training; the mean of both slopes in evaluation.",
        lower=sets("lower", 1 / 8),
        upper=sets("upper", 1 / 3),
    ),
    *_both("Threshold", "threshold", "threshold", threshold=sets("threshold"), value=sets("value")),
    *_both("ELU", "elu", "elu", alpha=sets("alpha", 1.0)),
    *_both("CELU", "celu", "celu", alpha=sets("alpha", 1.0)),
    *_both("SELU", "selu", "selu"),
    *_both("SiLU", "silu", "silu"),
    *_both("Mish", "mish", "mish"),
    *_both(
        "Softplus",
        "softplus",
        "softplus",
        notes="Gives x itself where beta * x is above `threshold`.",
        beta=sets("beta", 1.0),
        threshold=Argument(20.0),
    ),
    *_both("Sigmoid", "sigmoid", "sigmoid"),
    *_both("LogSigmoid", "logsigmoid", "log_sigmoid"),
    *_both("Tanh", "tanh", "tanh"),
    *_both("Softsign", "softsign", "softsign"),
    *_both("Hardsigmoid", "hardsigmoid", "hard_sigmoid", notes="Slope 1/6, not the 0.2 of Keras 2 and of ONNX."),
    *_both("Hardswish", "hardswish", "hard_swish"),
    *_both("Hardtanh", "hardtanh", "hard_tanh", min_val=sets("min_val", -1.0), max_val=sets("max_val", 1.0)),
    *(
        replace(e, measured=False)
        for e in _both("Hardtanh", "hardtanh", "bounded_relu", min_val=only(0.0, -1.0), max_val=sets("max_val", 1.0))
    ),
    *_both("Hardshrink", "hardshrink", "hard_shrink", lambd=sets("lambd", 0.5)),
    *_both("Softshrink", "softshrink", "soft_shrink", lambd=sets("lambd", 0.5)),
    *_both("Tanhshrink", "tanhshrink", "tanh_shrink"),
    *_both("Softmax", "softmax", "softmax", dim=sets("axis", None, open=_DIM)),
    *_both("LogSoftmax", "log_softmax", "log_softmax", dim=sets("axis", None, open=_DIM)),
    *_both("Softmin", "softmin", "softmin", dim=sets("axis", None, open=_DIM)),
    Entry(
        "torch.nn.Softmax2d",
        "softmax2d",
        same_as="torch.nn.functional.softmax",
        notes="Along the channels, axis -3, of an input of three or four axes.",
    ),
    Entry(
        "torch.nn.functional.gumbel_softmax",
        "gumbel_softmax",
        {"tau": sets("temperature", 1), "hard": sets("hard", False), "dim": sets("axis", -1)},
        measured=False,
        notes="Random in training and in evaluation; it takes its noise from torch's generator.",
    ),
    Entry("torch.nn.functional.glu", "glu", {"dim": sets("axis", -1)}, prepare=_glu, notes=_GLU),
    Entry("torch.nn.GLU", "glu", {"dim": sets("axis", -1)}, same_as="torch.nn.functional.glu", notes=_GLU),
    Entry("torch.nn.Identity", "identity"),
    # The same kernels under other names.
    Entry("torch.relu", "relu", same_as="torch.nn.functional.relu"),
    Entry("torch.sigmoid", "sigmoid", same_as="torch.nn.functional.sigmoid"),
    Entry("torch.tanh", "tanh", same_as="torch.nn.functional.tanh"),
    Entry("torch.selu", "selu", same_as="torch.nn.functional.selu"),
    Entry("torch.celu", "celu", {"alpha": sets("alpha", 1.0)}, same_as="torch.nn.functional.celu"),
    Entry("torch.hardshrink", "hard_shrink", {"lambd": sets("lambd", 0.5)}, same_as="torch.nn.functional.hardshrink"),
    Entry("torch.softmax", "softmax", {"dim": sets("axis")}, same_as="torch.nn.functional.softmax"),
    Entry("torch.log_softmax", "log_softmax", {"dim": sets("axis")}, same_as="torch.nn.functional.log_softmax"),
    Entry("torch.special.expit", "sigmoid", same_as="torch.nn.functional.sigmoid"),
    # Operations of torch that are activations by name of ours.
    Entry("torch.exp", "exponential"),
    Entry("torch.abs", "abs"),
    Entry("torch.sin", "sine"),
    Entry("torch.cos", "cosine"),
    Entry("torch.atan", "arctan"),
    Entry("torch.asinh", "asinh"),
    Entry("torch.erf", "erf"),
    # What takes two operations.
    Entry("value * torch.nn.functional.silu(gate)", "swiglu", notes=_HALVES),
    Entry("value * torch.nn.functional.gelu(gate)", "geglu", notes=_HALVES),
    Entry('value * torch.nn.functional.gelu(gate, approximate="tanh")', "geglu_tanh", notes=_HALVES),
    Entry("value * gate", "bilinear", notes=_HALVES),
    Entry("value * torch.nn.functional.relu(gate)", "reglu", notes=_HALVES),
    Entry("torch.square(torch.nn.functional.relu(x))", "relu_squared"),
    Entry("x * torch.sigmoid(1.702 * x)", "quick_gelu"),
    Entry("x * torch.sigmoid({beta} * x)", "silu", {"beta": sets("beta")}),
)


def read(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """torch.nn.PReLU by the weight that it has learned, as far as that is one number."""
    import torch

    if type(thing) is not torch.nn.PReLU:
        return None
    return "torch.nn.PReLU", {"init": float(thing.weight.detach().mean())}
