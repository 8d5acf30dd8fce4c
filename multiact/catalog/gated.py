"""Gated units: an activation of the gate times the value, or times another of the value. Derivatives follow from theirs.

Which half of one packed array is the gate differs between libraries; the default is that of the usual implementation.
"""

from __future__ import annotations

from typing import Any

from ..declaration import parameter
from ..numerics import choose, constant, zero
from ..registry import detached, gated_unit, get
from . import rectifiers, self_gated, sigmoids  # noqa: F401  (what they are built from)
from .exponential_units import ALPHA, SCALE

SHAZEER = "Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202."
SECOND = (
    "The gate is the second half by default, as in the GLU layers of timm (GluMlp), diffusers and x-transformers; "
    "packed the other way it is gate='first'."
)

gated_unit(
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

gated_unit(
    "bilinear",
    get("identity"),
    gate="second",
    family="gated",
    formula=r"a\, b",
    notes="GLU without its sigmoid, so that it does not matter which side is called the gate. Not torch.nn.Bilinear, which "
    "has weights.",
    smoothness="Cinf",
    reference=SHAZEER,
)

gated_unit(
    "gtu",
    get("sigmoid"),
    outer=get("tanh"),
    gate="second",
    class_name="GTU",
    family="gated",
    formula=r"\tanh(a)\, \sigma(b)",
    notes="The gated tanh unit of PixelCNN and WaveNet. The gate is the second half by default, as for glu.",
    smoothness="Cinf",
    reference="van den Oord et al., Conditional image generation with PixelCNN decoders, 2016, arXiv:1606.05328; named in "
    "Dauphin et al., 2016, arXiv:1612.08083.",
)

gated_unit(
    "reglu",
    get("relu"),
    gate="second",
    class_name="ReGLU",
    family="gated",
    formula=r"a \max(b, 0)",
    notes=SECOND,
    smoothness="C0",
    reference=SHAZEER,
)

gated_unit(
    "geglu",
    get("gelu"),
    gate="second",
    class_name="GEGLU",
    family="gated",
    formula=r"a\, b\, \Phi(b)",
    notes=f"With the exact GELU; geglu_tanh has the tanh form. {SECOND}",
    smoothness="Cinf",
    reference=SHAZEER,
)

gated_unit(
    "geglu_tanh",
    get("gelu_tanh"),
    gate="second",
    class_name="GEGLUTanh",
    family="gated",
    formula=r"a\, \tfrac{b}{2}\left(1 + \tanh\left(\sqrt{2/\pi}\,(b + 0.044715\, b^3)\right)\right)",
    notes=f"geglu with the tanh form of GELU, as in T5 v1.1 and Gemma, whose gate is a tensor of its own. {SECOND}",
    smoothness="Cinf",
    reference=SHAZEER,
)

_elu: Any = get("elu").function
_elu_x = _elu.partial("x")
_elu_xx = _elu_x.partial("x")

# selu in two parts, so that nothing overflows before the result does; TensorFlow's optimiser would move a plain constant.
gated_unit(
    "seglu",
    detached(
        "elu_of_selu",
        lambda xp, x, /: _elu(xp, x, ALPHA),
        {
            "x": lambda xp, x, /: _elu_x(xp, x, ALPHA),
            ("x", "x"): lambda xp, x, /: _elu_xx(xp, x, ALPHA),
        },
        definition="x if x > 0 else 1.6732632423543772 * expm1(x)",
        kinks=("0",),
    ),
    outer=detached(
        "scale_of_selu",
        lambda xp, x, /: constant(xp, x, SCALE) * x,
        {"x": lambda xp, x, /: constant(xp, x, SCALE), ("x", "x"): zero},
        definition="1.0507009873554805 * x",
    ),
    gate="second",
    class_name="SEGLU",
    family="gated",
    formula=r"a\, \operatorname{selu}(b)",
    notes=f"The gated form of selu. {SECOND}",
    smoothness="C0",
    reference="After Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202, with the selu of Klambauer et al., "
    "2017, arXiv:1706.02515.",
)

gated_unit(
    "reglu2",
    get("relu_squared"),
    factors=(get("relu"), get("relu")),
    gate="second",
    class_name="ReGLU2",
    family="gated",
    formula=r"a \max(b, 0)^2",
    notes=f"The gated form of relu_squared. {SECOND}",
    smoothness="C1",
    reference="After Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202, with the squared ReLU of So et al., "
    "2021, arXiv:2109.08668.",
)

gated_unit(
    "swiglu",
    get("silu"),
    gate="first",
    class_name="SwiGLU",
    family="gated",
    formula=r"b\; a\, \sigma(\beta a)",
    notes="The gate is the first half by default, as in packed SwiGLU layers (ONNX, Paddle, Liger).",
    smoothness="Cinf",
    reference=SHAZEER,
)

# The two sides of the unit of gpt-oss. Its slopes at the limits are those of torch.clamp, which counts them as inside.

_silu: Any = get("silu").function
_silu_x, _silu_beta = _silu.partial("x"), _silu.partial("beta")
_silu_xx = _silu_x.partial("x")
_limit = parameter("limit", 7.0, "[0, inf)", description="where the gate is cut off above, and the value on both sides")


def _capped(xp, x, limit):
    return xp.where(x > limit, limit, x)


_gate = detached(
    "capped_silu",
    lambda xp, x, /, *, alpha, limit: _silu(xp, _capped(xp, x, limit), alpha),
    {
        "x": lambda xp, x, /, *, alpha, limit: xp.where(x > limit, 0.0, _silu_x(xp, _capped(xp, x, limit), alpha)),
        ("x", "x"): lambda xp, x, /, *, alpha, limit: xp.where(
            x > limit, 0.0, _silu_xx(xp, _capped(xp, x, limit), alpha)
        ),
        "alpha": lambda xp, x, /, *, alpha, limit: _silu_beta(xp, _capped(xp, x, limit), alpha),
        "limit": lambda xp, x, /, *, alpha, limit: xp.where(x <= limit, 0.0, _silu_x(xp, _capped(xp, x, limit), alpha)),
    },
    parameters=[parameter("alpha", 1.702, description="the sharpness of the sigmoid"), _limit],
    definition="x / (1 + exp(-alpha * x)) if x <= limit else limit / (1 + exp(-alpha * limit))",
    kinks=("limit",),
    examples=({"alpha": 1.0, "limit": 10.0},),
)

_value = detached(
    "clamped_plus_one",
    lambda xp, x, /, *, limit: xp.where(x < -limit, -limit, _capped(xp, x, limit)) + 1,
    {
        "x": lambda xp, x, /, *, limit: choose(xp, (x >= -limit) & (x <= limit), 1.0, 0.0, x),
        ("x", "x"): zero,
        "limit": lambda xp, x, /, *, limit: choose(
            xp, x > limit, 1.0, choose(xp, x < -limit, xp.full_like(x, -1.0), 0.0, x), x
        ),
    },
    parameters=[_limit],
    definition="1 + limit if x > limit else 1 - limit if x < -limit else 1 + x",
    kinks=("-limit", "limit"),
)

gated_unit(
    "swiglu_oai",
    _gate,
    outer=_value,
    gate="interleaved",
    class_name="SwiGLUOAI",
    family="gated",
    formula=r"(\min(\max(b, -l), l) + 1)\; g\, \sigma(\alpha g), \quad g = \min(a, l)",
    notes="As in gpt-oss: the gate a is clamped above, the value b on both sides, and 1 is added to the value. The gate is in "
    "the even entries by default, the value in the odd ones. Slopes at the limits are those inside, as of torch.clamp.",
    smoothness="C0",
    reference="OpenAI, gpt-oss-120b & gpt-oss-20b model card, 2025, arXiv:2508.10925.",
)
