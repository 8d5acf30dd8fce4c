"""Rectifiers: piecewise linear or quadratic, and their smooth relative squareplus."""

from __future__ import annotations

import math

from ..declaration import parameter
from ..numerics import choose, constant, magnitude, sign, zero
from ..registry import pointwise, preset

pointwise(
    "identity",
    lambda xp, x, /: x * 1,
    {"x": lambda xp, x, /: constant(xp, x, 1.0), ("x", "x"): zero},
    aliases=("linear",),
    family="rectifiers",
    formula="x",
    definition="x",
    smoothness="Cinf",
    reference="The linear unit.",
)

pointwise(
    "relu",
    lambda xp, x, /: xp.where(x <= 0, 0.0, x),
    {"x": lambda xp, x, /: choose(xp, x > 0, 1.0, 0.0, x), ("x", "x"): zero},
    class_name="ReLU",
    family="rectifiers",
    formula=r"\max(x, 0)",
    definition="x if x > 0 else 0",
    notes="The slope at 0 is 0.",
    smoothness="C0",
    kinks=("0",),
    reference="Nair & Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.",
)

pointwise(
    "relu6",
    lambda xp, x, /: xp.where(x <= 0, 0.0, xp.where(x >= 6, 6.0, x)),
    {"x": lambda xp, x, /: choose(xp, (x > 0) & (x < 6), 1.0, 0.0, x), ("x", "x"): zero},
    class_name="ReLU6",
    family="rectifiers",
    formula=r"\min(\max(x, 0), 6)",
    definition="0 if x <= 0 else 6 if x >= 6 else x",
    notes="The slope at 0 and at 6 is 0.",
    smoothness="C0",
    kinks=("0", "6"),
    reference="Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.",
)

leaky_relu = pointwise(
    "leaky_relu",
    lambda xp, x, /, *, negative_slope: xp.where(x > 0, x, negative_slope * x),
    {
        "x": lambda xp, x, /, *, negative_slope: choose(xp, x > 0, 1.0, negative_slope, x),
        ("x", "x"): zero,
        # >= since TensorFlow takes a subnormal number for 0 in comparisons alone
        "negative_slope": lambda xp, x, /, *, negative_slope: xp.where(x >= 0, 0.0, x),
        ("x", "negative_slope"): lambda xp, x, /, *, negative_slope: choose(xp, x <= 0, 1.0, 0.0, x),
        ("negative_slope", "negative_slope"): zero,
    },
    parameters=[parameter("negative_slope", 0.01, description="the slope for x <= 0")],
    class_name="LeakyReLU",
    aliases=("lrelu",),
    family="rectifiers",
    formula=r"\begin{cases} x & x > 0 \\ \alpha x & x \le 0 \end{cases}",
    definition="x if x > 0 else negative_slope * x",
    notes="The slope at 0 is `negative_slope`. The default is that of PyTorch, JAX and ONNX; TensorFlow's is 0.2, the Keras "
    "layer's 0.3.",
    smoothness="C0",
    kinks=("0",),
    examples=({"negative_slope": 0.25}, {"negative_slope": -0.5}),
    reference="Maas, Hannun & Ng, Rectifier nonlinearities improve neural network acoustic models, ICML 2013.",
)

preset(
    "prelu",
    leaky_relu,
    defaults={"negative_slope": 0.25},
    learned=("negative_slope",),
    class_name="PReLU",
    family="rectifiers",
    formula=leaky_relu.formula,
    definition=leaky_relu.definition,
    notes="leaky_relu with a learned slope, one for all channels or one for each.",
    smoothness="C0",
    kinks=("0",),
    examples=({"negative_slope": -0.5},),
    reference="He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852.",
)

threshold = pointwise(
    "threshold",
    lambda xp, x, /, *, threshold, value: xp.where(x <= threshold, value, x),
    {
        "x": lambda xp, x, /, *, threshold, value: choose(xp, x > threshold, 1.0, 0.0, x),
        ("x", "x"): zero,
        "threshold": zero,
        "value": lambda xp, x, /, *, threshold, value: choose(xp, x <= threshold, 1.0, 0.0, x),
    },
    parameters=[
        parameter("threshold", None, description="the largest x that is replaced"),
        parameter("value", None, description="what it is replaced by"),
    ],
    family="rectifiers",
    formula=r"\begin{cases} x & x > t \\ v & x \le t \end{cases}",
    definition="x if x > threshold else value",
    notes="The slope at the threshold is 0, and so is the derivative in the threshold itself.",
    smoothness="discontinuous",
    kinks=("threshold",),
    examples=({"threshold": 1.0, "value": 0.0}, {"threshold": -0.5, "value": 2.0}),
    reference="torch.nn.Threshold, PyTorch.",
)

preset(
    "thresholded_relu",
    threshold,
    fixed={"value": 0.0},
    defaults={"threshold": 1.0},
    class_name="ThresholdedReLU",
    family="rectifiers",
    formula=r"\begin{cases} x & x > t \\ 0 & x \le t \end{cases}",
    definition="x if x > threshold else 0",
    notes="The slope at the threshold is 0, and so is the derivative in the threshold itself. ONNX calls it `alpha`, Keras "
    "`theta`.",
    smoothness="discontinuous",
    kinks=("threshold",),
    examples=({"threshold": -0.5},),
    reference="Konda, Memisevic & Krueger, Zero-bias autoencoders and the benefits of co-adapting features, 2014, "
    "arXiv:1402.3337.",
)

pointwise(
    "bounded_relu",
    lambda xp, x, /, *, max_val: xp.where(x <= 0, 0.0, xp.where(x >= max_val, max_val, x)),
    {
        "x": lambda xp, x, /, *, max_val: choose(xp, (x > 0) & (x < max_val), 1.0, 0.0, x),
        ("x", "x"): zero,
        "max_val": lambda xp, x, /, *, max_val: choose(xp, (x > 0) & (x >= max_val), 1.0, 0.0, x),
    },
    parameters=[parameter("max_val", 1.0, "(0, inf)", description="the upper bound")],
    class_name="BoundedReLU",
    aliases=("relu_n", "brelu"),
    family="rectifiers",
    formula=r"\min(\max(x, 0), a)",
    definition="0 if x <= 0 else max_val if x >= max_val else x",
    notes="The slope at 0 and at `max_val` is 0.",
    smoothness="C0",
    kinks=("0", "max_val"),
    examples=({"max_val": 4.0},),
    reference="Liew, Khalil-Hani & Bakhteri, Bounded activation functions for enhanced training stability of deep neural "
    "networks on visual pattern recognition problems, Neurocomputing 216, 2016.",
)

pointwise(
    "step",
    lambda xp, x, /: choose(xp, x > 0, 1.0, 0.0, x),
    {"x": zero, ("x", "x"): zero},
    aliases=("heaviside", "binary_step"),
    family="rectifiers",
    formula=r"\begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases}",
    definition="1 if x > 0 else 0",
    notes="The value at 0 is 0, and the slope is 0 everywhere, at 0 too: the derivative of relu.",
    smoothness="discontinuous",
    kinks=("0",),
    reference="McCulloch & Pitts, A logical calculus of the ideas immanent in nervous activity, 1943.",
)

pointwise(
    "abs",
    lambda xp, x, /: xp.where(x == 0, 0.0, xp.where(x > 0, x, -x)),
    {
        "x": lambda xp, x, /: choose(xp, x > 0, 1.0, choose(xp, x < 0, -1.0, 0.0, x), x),
        ("x", "x"): zero,
    },
    family="rectifiers",
    formula="|x|",
    definition="x if x > 0 else -x if x < 0 else 0",
    notes="The slope at 0 is 0, as in PyTorch, JAX and TensorFlow.",
    smoothness="C0",
    kinks=("0",),
    reference="Jarrett et al., What is the best multi-stage architecture for object recognition?, ICCV 2009.",
)


def _wave(xp, x):
    """Sine and cosine of x where x <= 0, of 0 elsewhere and at -inf, where they have no value."""
    v = xp.where((x > 0) | (x == -math.inf), 0.0, x)
    return xp.sin(v), xp.cos(v)


def _sine_relu(xp, x, /, *, epsilon):
    s, c = _wave(xp, x)
    return xp.where(x > 0, x, epsilon * (s - c))


def _sine_relu_x(xp, x, /, *, epsilon):
    s, c = _wave(xp, x)
    return xp.where(x > 0, 1.0, epsilon * (s + c))


def _sine_relu_xx(xp, x, /, *, epsilon):
    s, c = _wave(xp, x)
    return xp.where(x > 0, 0.0, epsilon * (c - s))


def _sine_relu_epsilon(xp, x, /, *, epsilon):
    s, c = _wave(xp, x)
    return xp.where(x > 0, 0.0, s - c)


pointwise(
    "sine_relu",
    _sine_relu,
    {"x": _sine_relu_x, ("x", "x"): _sine_relu_xx, "epsilon": _sine_relu_epsilon},
    parameters=[parameter("epsilon", 0.01, description="the size of the wave for x <= 0")],
    class_name="SineReLU",
    family="rectifiers",
    formula=r"\begin{cases} x & x > 0 \\ \epsilon (\sin x - \cos x) & x \le 0 \end{cases}",
    definition="x if x > 0 else epsilon * (sin(x) - cos(x))",
    notes="The value at 0 is -`epsilon` and the slope there is `epsilon`. There is no limit at -inf, where value and slope are "
    "those at 0.",
    smoothness="discontinuous",
    kinks=("0",),
    examples=({"epsilon": 0.25},),
    reference="Rodrigues, SineReLU: an alternative to the ReLU activation function, 2018 (blog post).",
)

pointwise(
    "relu_squared",
    lambda xp, x, /: xp.where(x <= 0, 0.0, x) * xp.where(x <= 0, 0.0, x),
    {
        "x": lambda xp, x, /: 2 * xp.where(x <= 0, 0.0, x),
        ("x", "x"): lambda xp, x, /: choose(xp, x > 0, 2.0, 0.0, x),
    },
    class_name="ReLUSquared",
    aliases=("relu2", "squared_relu"),
    family="rectifiers",
    formula=r"\max(x, 0)^2",
    definition="x**2 if x > 0 else 0",
    notes="The second derivative at 0 is 0.",
    smoothness="C1",
    kinks=("0",),
    reference="So et al., Primer: searching for efficient transformers for language modeling, 2021, arXiv:2109.08668.",
)


def _root(xp, x, b):
    """sqrt(x^2 + b), which is |x| long before x^2 overflows."""
    a = magnitude(xp, x)
    far = a > 1e18
    near = xp.where(far, 0.0, x)
    return a, xp.where(far, a, xp.sqrt(near * near + b))


def _squareplus(xp, x, /, *, b):
    a, h = _root(xp, x, b)
    return xp.where(x >= 0, x, 0.0) + (0.5 * b) / (h + a)


def _squareplus_x(xp, x, /, *, b):
    a, h = _root(xp, x, b)
    left = xp.where(2 * a < h, 0.5 - 0.5 * (a / h), (0.5 * b / h) / (h + a))
    return xp.where(x >= 0, xp.ones_like(x), 0.0) - sign(xp, x) * left


def _squareplus_xx(xp, x, /, *, b):
    _, h = _root(xp, x, b)
    return ((0.5 * b / h) / h) / h


pointwise(
    "squareplus",
    _squareplus,
    {
        "x": _squareplus_x,
        ("x", "x"): _squareplus_xx,
        "b": lambda xp, x, /, *, b: 0.25 / _root(xp, x, b)[1],
        ("x", "b"): lambda xp, x, /, *, b: ((-0.25 * x / _root(xp, x, b)[1]) / _root(xp, x, b)[1]) / _root(xp, x, b)[1],
    },
    parameters=[parameter("b", 4.0, "(0, inf)", description="the roundness of the corner")],
    family="rectifiers",
    formula=r"\tfrac12\left(x + \sqrt{x^2 + b}\right)",
    definition="(x + sqrt(x**2 + b)) / 2",
    smoothness="Cinf",
    examples=({"b": 1.0}, {"b": 0.125}),
    reference="Barron, Squareplus: a softplus-like algebraic rectifier, 2021, arXiv:2112.11687.",
)
