"""Shrinkage functions."""

from __future__ import annotations

from ..declaration import parameter
from ..numerics import choose, is_double, sech2, tanh, zero
from ..registry import pointwise


def _within(x, lambd):
    return (x >= -lambd) & (x <= lambd)


_lambd = parameter("lambd", 0.5, "[0, inf)", description="half the width of the zone that becomes 0")

pointwise(
    "hard_shrink",
    lambda xp, x, /, *, lambd: xp.where(_within(x, lambd), 0.0, x),
    {
        "x": lambda xp, x, /, *, lambd: choose(xp, _within(x, lambd), 0.0, 1.0, x),
        ("x", "x"): zero,
        "lambd": zero,
    },
    parameters=[_lambd],
    class_name="Hardshrink",
    aliases=("hardshrink",),
    family="shrinkage",
    formula=r"\begin{cases} x & |x| > \lambda \\ 0 & |x| \le \lambda \end{cases}",
    definition="x if x > lambd else x if x < -lambd else 0",
    notes="0 with slope 0 at both ends of the zone. The derivative in `lambd` is 0.",
    smoothness="discontinuous",
    kinks=("-lambd", "lambd"),
    examples=({"lambd": 1.5},),
    reference="Donoho & Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994.",
)

pointwise(
    "soft_shrink",
    lambda xp, x, /, *, lambd: xp.where(_within(x, lambd), 0.0, xp.where(x > 0, x - lambd, x + lambd)),
    {
        "x": lambda xp, x, /, *, lambd: choose(xp, _within(x, lambd), 0.0, 1.0, x),
        ("x", "x"): zero,
        "lambd": lambda xp, x, /, *, lambd: choose(
            xp, _within(x, lambd), 0.0, xp.where(x > 0, xp.full_like(x, -1.0), 1.0), x
        ),
    },
    parameters=[_lambd],
    class_name="Softshrink",
    aliases=("softshrink",),
    family="shrinkage",
    formula=r"\operatorname{sign}(x) \max(|x| - \lambda, 0)",
    definition="x - lambd if x > lambd else x + lambd if x < -lambd else 0",
    notes="The slope at both ends of the zone is 0.",
    smoothness="C0",
    kinks=("-lambd", "lambd"),
    examples=({"lambd": 1.5},),
    reference="Donoho, De-noising by soft-thresholding, 1995.",
)


def _tanh_shrink(xp, x, /):
    # x - tanh x = x k / (1 + k) with Lambert's continued fraction k = x^2 / (3 + x^2 / (5 + ...)), all terms positive.
    near = (x > -1.5) & (x < 1.5)
    v = xp.where(near, x, 0.0)
    q = v * v
    depth = 27 if is_double(xp, x) else 13
    k = q / depth
    for odd in range(depth - 2, 1, -2):
        k = q / (odd + k)
    return xp.where(near, v * (k / (1 + k)), x - tanh(xp, x))


def _tanh_shrink_x(xp, x, /):
    y = tanh(xp, x)
    return xp.where((x > -1) & (x < 1), y * y, 1 - sech2(xp, x))


pointwise(
    "tanh_shrink",
    _tanh_shrink,
    {
        "x": _tanh_shrink_x,
        ("x", "x"): lambda xp, x, /: sech2(xp, x, 2 * tanh(xp, x)),
    },
    class_name="Tanhshrink",
    aliases=("tanhshrink",),
    family="shrinkage",
    formula=r"x - \tanh x",
    definition="x - tanh(x)",
    smoothness="Cinf",
    reference="torch.nn.Tanhshrink, PyTorch.",
)
