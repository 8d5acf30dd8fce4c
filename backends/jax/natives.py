"""What JAX itself calls an activation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.natives import Entry, only, sets

PACKAGE = "jax"
BACKEND = "jax"
IGNORED = ("where",)


def _glu(function: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import jax.numpy as jnp

    return lambda value, gate: function(jnp.stack((value, gate)), axis=0).squeeze(0)


_HALVES = "Of two inputs; packed layers differ in the side."

NATIVES = (
    Entry("jax.nn.gelu", "gelu", {"approximate": only(False, True)}, notes="The tanh form unless approximate=False."),
    Entry(
        "jax.nn.gelu", "gelu_tanh", {"approximate": only(True, True)}, notes="The tanh form unless approximate=False."
    ),
    Entry("jax.nn.identity", "identity"),
    Entry("jax.nn.relu", "relu"),
    Entry("jax.nn.relu6", "relu6"),
    Entry("jax.nn.leaky_relu", "leaky_relu", {"negative_slope": sets("negative_slope", 0.01)}),
    Entry("jax.nn.elu", "elu", {"alpha": sets("alpha", 1.0)}),
    Entry("jax.nn.celu", "celu", {"alpha": sets("alpha", 1.0)}),
    Entry("jax.nn.selu", "selu"),
    Entry("jax.nn.silu", "silu"),
    Entry("jax.nn.swish", "silu", same_as="jax.nn.silu"),
    Entry("jax.nn.mish", "mish"),
    Entry("jax.nn.softplus", "softplus"),
    Entry("jax.nn.squareplus", "squareplus", {"b": sets("b", 4)}),
    Entry("jax.nn.sparse_plus", "sparse_plus"),
    Entry("jax.nn.sparse_sigmoid", "sparse_sigmoid"),
    Entry("jax.nn.soft_sign", "softsign"),
    Entry("jax.nn.sigmoid", "sigmoid"),
    Entry("jax.nn.log_sigmoid", "log_sigmoid"),
    Entry("jax.nn.tanh", "tanh"),
    Entry("jax.nn.hard_sigmoid", "hard_sigmoid", notes="Slope 1/6, not the 0.2 of Keras 2 and of ONNX."),
    Entry("jax.nn.hard_silu", "hard_swish"),
    Entry("jax.nn.hard_swish", "hard_swish", same_as="jax.nn.hard_silu"),
    Entry("jax.nn.hard_tanh", "hard_tanh"),
    Entry("jax.nn.glu", "glu", {"axis": sets("axis", -1)}, prepare=_glu, notes="The gate is the second half."),
    Entry("jax.nn.softmax", "softmax", {"axis": sets("axis", -1)}),
    Entry("jax.nn.log_softmax", "log_softmax", {"axis": sets("axis", -1)}),
    # Operations of JAX that are activations by name of ours.
    Entry("jax.numpy.exp", "exponential"),
    Entry("jax.numpy.abs", "abs"),
    Entry("jax.numpy.sin", "sine"),
    Entry("jax.numpy.cos", "cosine"),
    Entry("jax.numpy.arctan", "arctan"),
    Entry("jax.numpy.arcsinh", "asinh"),
    Entry("jax.scipy.special.erf", "erf"),
    # What takes two operations.
    Entry("jax.nn.softmax(-x)", "softmin"),
    Entry("jax.nn.softmax(-x, axis={axis})", "softmin", {"axis": sets("axis")}),
    Entry("jax.nn.softplus({beta} * x) / {beta}", "softplus", {"beta": sets("beta")}),
    Entry("x * jax.nn.sigmoid({beta} * x)", "silu", {"beta": sets("beta")}),
    Entry(
        "jax.numpy.clip(x, {min_val}, {max_val})", "hard_tanh", {"min_val": sets("min_val"), "max_val": sets("max_val")}
    ),
    Entry("jax.numpy.clip(x, 0, {max_val})", "bounded_relu", {"max_val": sets("max_val")}),
    Entry("jax.numpy.where(jax.numpy.abs(x) > {lambd}, x, 0)", "hard_shrink", {"lambd": sets("lambd")}),
    Entry("x - jax.numpy.clip(x, -{lambd}, {lambd})", "soft_shrink", {"lambd": sets("lambd")}),
    Entry(
        "jax.numpy.where(x > {threshold}, x, {value})",
        "threshold",
        {"threshold": sets("threshold"), "value": sets("value")},
    ),
    Entry("x - jax.numpy.tanh(x)", "tanh_shrink"),
    Entry("jax.numpy.square(jax.nn.relu(x))", "relu_squared"),
    Entry("x * jax.nn.sigmoid(1.702 * x)", "quick_gelu"),
    Entry("value * jax.nn.silu(gate)", "swiglu", notes=_HALVES),
    Entry("value * jax.nn.gelu(gate, approximate=False)", "geglu", notes=_HALVES),
    Entry("value * jax.nn.gelu(gate)", "geglu_tanh", notes=_HALVES),
    Entry("value * gate", "bilinear", notes=_HALVES),
    Entry("value * jax.nn.relu(gate)", "reglu", notes=_HALVES),
)
