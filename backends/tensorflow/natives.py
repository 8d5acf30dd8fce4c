"""What TensorFlow itself calls an activation."""

from __future__ import annotations

from multiact.natives import Entry, only, sets

PACKAGE = "tensorflow"
ROOT = "tf"
BACKEND = "tensorflow"
IGNORED = ("name",)


def _last(axis: int | None) -> int:
    return -1 if axis is None else axis


_HALVES = "Of two inputs; packed layers differ in the side."

NATIVES = (
    Entry("tf.nn.gelu", "gelu", {"approximate": only(False, False)}),
    Entry("tf.nn.gelu", "gelu_tanh", {"approximate": only(True, False)}),
    Entry("tf.nn.relu", "relu"),
    Entry("tf.nn.relu6", "relu6"),
    Entry(
        "tf.nn.leaky_relu",
        "leaky_relu",
        {"alpha": sets("negative_slope", 0.2)},
        notes="The slope is 0.2 by default, 0.01 in PyTorch, JAX and ONNX.",
    ),
    Entry("tf.nn.elu", "elu", notes="Without a parameter: alpha is 1."),
    Entry("tf.nn.selu", "selu"),
    Entry("tf.nn.silu", "silu", {"beta": sets("beta", 1.0)}),
    Entry("tf.nn.swish", "silu", {"beta": sets("beta", 1.0)}, same_as="tf.nn.silu"),
    Entry("tf.nn.softplus", "softplus"),
    Entry("tf.nn.softsign", "softsign"),
    Entry("tf.nn.sigmoid", "sigmoid"),
    Entry("tf.nn.tanh", "tanh"),
    Entry("tf.nn.crelu", "crelu", {"axis": sets("axis", -1)}),
    Entry("tf.nn.softmax", "softmax", {"axis": sets("axis", None, ours=_last)}),
    Entry("tf.nn.log_softmax", "log_softmax", {"axis": sets("axis", None, ours=_last)}),
    Entry("tf.math.log_sigmoid", "log_sigmoid"),
    # The same kernels under other names.
    Entry("tf.math.sigmoid", "sigmoid", same_as="tf.nn.sigmoid"),
    Entry("tf.math.tanh", "tanh", same_as="tf.nn.tanh"),
    Entry("tf.math.softplus", "softplus", same_as="tf.nn.softplus"),
    # Operations of TensorFlow that are activations by name of ours.
    Entry("tf.identity", "identity"),
    Entry("tf.math.exp", "exponential"),
    Entry("tf.math.abs", "abs"),
    Entry("tf.math.sin", "sine"),
    Entry("tf.math.cos", "cosine"),
    Entry("tf.math.atan", "arctan"),
    Entry("tf.math.asinh", "asinh"),
    Entry("tf.math.erf", "erf"),
    # What takes two operations.
    Entry("tf.nn.relu6(x + 3) / 6", "hard_sigmoid"),
    Entry("x * tf.nn.relu6(x + 3) / 6", "hard_swish"),
    Entry("x * tf.math.tanh(tf.nn.softplus(x))", "mish"),
    Entry("x - tf.math.tanh(x)", "tanh_shrink"),
    Entry("tf.nn.softmax(-x)", "softmin"),
    Entry("tf.nn.softmax(-x, axis={axis})", "softmin", {"axis": sets("axis")}),
    Entry("tf.nn.softplus({beta} * x) / {beta}", "softplus", {"beta": sets("beta")}),
    Entry("tf.where(x > 0, x, {alpha} * tf.math.expm1(tf.minimum(x, 0)))", "elu", {"alpha": sets("alpha")}),
    Entry("tf.where(x > 0, x, {alpha} * tf.math.expm1(tf.minimum(x, 0) / {alpha}))", "celu", {"alpha": sets("alpha")}),
    Entry(
        "tf.clip_by_value(x, {min_val}, {max_val})",
        "hard_tanh",
        {"min_val": sets("min_val"), "max_val": sets("max_val")},
    ),
    Entry("tf.clip_by_value(x, 0, {max_val})", "bounded_relu", {"max_val": sets("max_val")}),
    Entry("tf.where(tf.abs(x) > {lambd}, x, tf.zeros_like(x))", "hard_shrink", {"lambd": sets("lambd")}),
    Entry("x - tf.clip_by_value(x, -{lambd}, {lambd})", "soft_shrink", {"lambd": sets("lambd")}),
    Entry(
        "tf.where(x > {threshold}, x, tf.fill(tf.shape(x), {value}))",
        "threshold",
        {"threshold": sets("threshold"), "value": sets("value")},
    ),
    Entry("tf.math.square(tf.nn.relu(x))", "relu_squared"),
    Entry("value * tf.nn.sigmoid(gate)", "glu", notes=_HALVES),
    Entry("value * tf.nn.silu(gate)", "swiglu", notes=_HALVES),
    Entry("value * tf.nn.gelu(gate)", "geglu", notes=_HALVES),
    Entry("value * tf.nn.gelu(gate, approximate=True)", "geglu_tanh", notes=_HALVES),
    Entry("value * gate", "bilinear", notes=_HALVES),
    Entry("value * tf.nn.relu(gate)", "reglu", notes=_HALVES),
)
