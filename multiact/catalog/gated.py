"""Gated units: the value times an activation of the gate. Nothing but the activation and the side has to be given."""

from __future__ import annotations

from ..registry import gated, get
from . import self_gated, sigmoids  # noqa: F401  (the activations they are built from)

gated(
    "glu",
    get("sigmoid"),
    gate="second",
    class_name="GLU",
    family="gated",
    formula=r"a\, \sigma(b)",
    notes="The gate is the second half by default, as in PyTorch, JAX and Keras.",
    smoothness="Cinf",
    reference="Dauphin et al., Language modeling with gated convolutional networks, 2016, arXiv:1612.08083.",
)

gated(
    "swiglu",
    get("silu"),
    gate="first",
    class_name="SwiGLU",
    family="gated",
    formula=r"b\; a\, \sigma(\beta a)",
    notes="The gate is the first half by default, as in packed SwiGLU layers (ONNX, Paddle, Liger).",
    smoothness="Cinf",
    reference="Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202.",
)
