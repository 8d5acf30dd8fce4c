"""What Flax calls an activation: JAX's own functions under its name, and PReLU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.natives import Entry, only, sets

PACKAGE = "flax"
BACKEND = "jax"
IGNORED = ("where", "param_dtype", "parent", "name")

_GELU = "The tanh form unless approximate=False."
_PRELU = "One number, learned; it starts at 0.01."


def _linen(kind: Callable[..., Any], given: Mapping[str, Any]) -> Callable[..., Any]:
    import jax.numpy as jnp

    module, slope = kind(**given), given["negative_slope_init"]
    return lambda x: module.apply({"params": {"negative_slope": jnp.asarray(slope, x.dtype)}}, x)


def _entries(module: str, identity: bool) -> tuple[Entry, ...]:
    """What flax.linen and flax.nnx both have."""

    def same(name: str, activation: str, arguments: Mapping[str, Any] | None = None, notes: str = "") -> Entry:
        return Entry(f"{module}.{name}", activation, arguments or {}, same_as=f"jax.nn.{name}", notes=notes)

    return (
        same("gelu", "gelu", {"approximate": only(False, True)}, _GELU),
        same("gelu", "gelu_tanh", {"approximate": only(True, True)}, _GELU),
        same("relu", "relu"),
        same("relu6", "relu6"),
        same("leaky_relu", "leaky_relu", {"negative_slope": sets("negative_slope", 0.01)}),
        same("elu", "elu", {"alpha": sets("alpha", 1.0)}),
        same("celu", "celu", {"alpha": sets("alpha", 1.0)}),
        same("selu", "selu"),
        same("silu", "silu"),
        same("swish", "silu"),
        same("softplus", "softplus"),
        same("soft_sign", "softsign"),
        same("sigmoid", "sigmoid"),
        same("log_sigmoid", "log_sigmoid"),
        same("tanh", "tanh"),
        same("hard_sigmoid", "hard_sigmoid", notes="Slope 1/6, not the 0.2 of Keras 2 and of ONNX."),
        same("hard_silu", "hard_swish"),
        same("hard_swish", "hard_swish"),
        same("hard_tanh", "hard_tanh"),
        same("glu", "glu", {"axis": sets("axis", -1)}, "The gate is the second half."),
        same("softmax", "softmax", {"axis": sets("axis", -1)}),
        same("log_softmax", "log_softmax", {"axis": sets("axis", -1)}),
        *((same("identity", "identity"),) if identity else ()),
    )


NATIVES = (
    *_entries("flax.linen", identity=False),
    Entry(
        "flax.linen.PReLU",
        "prelu",
        {"negative_slope_init": sets("negative_slope", 0.01)},
        prepare=lambda kind, given: _linen(kind, {"negative_slope_init": 0.01, **given}),
        notes=_PRELU,
    ),
    *_entries("flax.nnx", identity=True),
    Entry(
        "flax.nnx.PReLU",
        "prelu",
        {"negative_slope_init": sets("negative_slope", 0.01)},
        same_as="flax.linen.PReLU",
        notes=_PRELU,
    ),
)
