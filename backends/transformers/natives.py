"""What Hugging Face transformers calls an activation: the keys of ACT2FN, as a configuration's `hidden_act` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multiact.natives import Entry

PACKAGE = "transformers.activations"
BACKEND = "torch"
IGNORED = ()


def _key(key: str, activation: str, **facts: Any) -> Entry:
    return Entry(f"transformers.activations.ACT2FN[{key!r}]", activation, **facts)


def _xielu(module: Any, given: Mapping[str, Any]) -> Callable[..., Any]:
    import torch

    made = {d: type(module)(dtype=d) for d in (torch.float32, torch.float64, torch.float16, torch.bfloat16)}
    return lambda x: made[x.dtype](x)


_TANH = "The tanh form, written out in Python: rounded after every operation in 16-bit types."

NATIVES = (
    _key("gelu", "gelu", same_as="torch.nn.functional.gelu"),
    _key("gelu_python", "gelu", notes="Written out in Python."),
    _key("gelu_pytorch_tanh", "gelu_tanh", notes="torch's own kernel."),
    _key("gelu_new", "gelu_tanh", notes=_TANH),
    _key(
        "gelu_fast",
        "gelu_tanh",
        notes=f"{_TANH} sqrt(2 / pi) is rounded to ten digits.",
        definition="x / (1 + exp(-2 * 0.7978845608 * x * (1 + 0.044715 * x * x)))",
    ),
    _key("gelu_accurate", "gelu_tanh", notes=_TANH),
    _key("gelu_python_tanh", "gelu_tanh", notes=_TANH),
    _key("quick_gelu", "quick_gelu", notes="x * sigmoid(1.702 * x); not one of the forms of torch's GELU."),
    _key("gelu_10", "clipped_gelu", notes="Clipped to [-10, 10]."),
    _key("relu", "relu", same_as="torch.nn.functional.relu"),
    _key("relu2", "relu_squared"),
    _key("relu6", "relu6", same_as="torch.nn.functional.relu6"),
    _key("leaky_relu", "leaky_relu", same_as="torch.nn.functional.leaky_relu"),
    _key("prelu", "prelu", same_as="torch.nn.functional.prelu", notes="One learned weight, which starts at 0.25."),
    _key("silu", "silu", same_as="torch.nn.functional.silu"),
    _key("swish", "silu", same_as="torch.nn.functional.silu"),
    _key("mish", "mish", same_as="torch.nn.functional.mish"),
    _key("hardswish", "hard_swish", same_as="torch.nn.functional.hardswish"),
    _key("sigmoid", "sigmoid", same_as="torch.nn.functional.sigmoid"),
    _key("tanh", "tanh", same_as="torch.nn.functional.tanh"),
    _key("linear", "identity"),
    _key(
        "laplace",
        "laplace",
        fixed={"mu": 0.707107, "sigma": 0.282095},
        notes="mu and sigma are rounded to six digits.",
    ),
    _key("sqrtsoftplus", "sqrt_softplus"),
    _key(
        "xielu",
        "xielu",
        prepare=_xielu,
        definition="0.8 * x * x + 0.5 * x if x > 0 else 0.8 * (expm1(min(x, -1e-6)) - x) + 0.5 * x",
        notes="alpha_p and alpha_n are learned and start in bfloat16, which rounds them. Between -1e-6 and 0 it is not the "
        "function of the paper, and its slope has another sign.",
    ),
)


def resolve(spelling: str) -> Any:
    from transformers.activations import ACT2FN

    return ACT2FN[spelling.partition("[")[2].strip("']")]


def read(thing: Any) -> tuple[str, dict[str, Any]] | None:
    """A Module that ACT2FN makes, by its class; those of torch are torch's."""
    from transformers.activations import ACT2CLS

    for key, made in ACT2CLS.items():
        kind, given = made if isinstance(made, tuple) else (made, {})
        if type(thing) is kind and kind.__module__ == PACKAGE:
            same = all(getattr(thing, n, v) == v for n, v in given.items())
            return (f"transformers.activations.ACT2FN[{key!r}]", {}) if same else None
    return None
