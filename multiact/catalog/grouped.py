"""Functions that change the number of entries along an axis."""

from __future__ import annotations

from ..declaration import Option
from ..errors import ShapeError
from ..numerics import part, shape, size
from ..registry import AXIS, axiswise


def _half(xp, x, positive):
    """max(x, 0), or max(-x, 0)."""
    return xp.where(x <= 0, 0.0, x) if positive else xp.where(x >= 0, 0.0, -x)


def _slopes(xp, x):
    """The slopes of both halves at x."""
    flat = xp.where(xp.isnan(x), x, 0.0)
    return xp.where(x > 0, 1.0, flat), xp.where(x < 0, -1.0, flat)


def _crelu_jvp(xp, arguments, y, tangents, *, axis):
    (x,), (t,) = arguments, tangents
    t = xp.zeros_like(x) if t is None else t
    return xp.concat([slope * t for slope in _slopes(xp, x)], axis=axis)


def _crelu_vjp(xp, arguments, y, cotangent, needed, *, axis):
    if not needed[0]:
        return (None,)
    x = arguments[0]
    n = size(xp, x, axis)
    up, down = _slopes(xp, x)
    return (up * part(cotangent, axis, slice(None, n)) + down * part(cotangent, axis, slice(n, None)),)


axiswise(
    "crelu",
    value=lambda xp, x, *, axis: xp.concat([_half(xp, x, True), _half(xp, x, False)], axis=axis),
    jvp=_crelu_jvp,
    vjp=_crelu_vjp,
    size=lambda n: 2 * n,
    class_name="CReLU",
    family="rectifiers",
    formula=r"[\max(x, 0), \max(-x, 0)]",
    definition="concat(positive(x), positive(-x))",
    notes="Twice as many entries along the axis come out. The slope at 0 is 0.",
    smoothness="C0",
    reference="Shang et al., Understanding and improving convolutional neural networks via concatenated rectified linear "
    "units, 2016, arXiv:1603.05201.",
)


def _groups(x, axis, pool_size):
    """The first entry of every group, the second of every group, ..."""
    return [part(x, axis, slice(i, None, pool_size)) for i in range(pool_size)]


def _largest(xp, x, axis, pool_size):
    """The maximum of every group, and for each place in a group the mask of groups whose first maximum is there."""
    groups = _groups(x, axis, pool_size)
    best = groups[0]
    for entry in groups[1:]:
        best = xp.where((best >= entry) | xp.isnan(best), best, entry)
    masks, taken = [], xp.isnan(best)
    for entry in groups:
        masks.append((entry == best) & ~taken)
        taken = taken | masks[-1]
    return best, masks


def _maxout_jvp(xp, arguments, y, tangents, *, axis, pool_size):
    (x,), (t,) = arguments, tangents
    best, masks = _largest(xp, x, axis, pool_size)
    flat = xp.where(xp.isnan(best), best, 0.0)
    tangents = _groups(xp.zeros_like(x) if t is None else t, axis, pool_size)
    total = xp.where(masks[0], 1.0, flat) * tangents[0]
    for mask, entry in zip(masks[1:], tangents[1:]):
        total = total + xp.where(mask, 1.0, flat) * entry
    return total


def _maxout_vjp(xp, arguments, y, cotangent, needed, *, axis, pool_size):
    if not needed[0]:
        return (None,)
    x = arguments[0]
    best, masks = _largest(xp, x, axis, pool_size)
    flat = xp.where(xp.isnan(best), best, 0.0)
    parts = [xp.where(mask, 1.0, flat) * cotangent for mask in masks]
    return (xp.reshape(xp.stack(parts, axis=axis if axis < 0 else axis + 1), shape(xp, x)),)


def _pooled(n, *, pool_size):
    if n % pool_size:
        raise ShapeError(f"has a size that is not a multiple of pool_size={pool_size}.")
    return n // pool_size


axiswise(
    "maxout",
    value=lambda xp, x, *, axis, pool_size: _largest(xp, x, axis, pool_size)[0],
    jvp=_maxout_jvp,
    vjp=_maxout_vjp,
    options=[AXIS, Option("pool_size", 2, description="how many neighbouring entries share a maximum", least=1)],
    size=_pooled,
    family="rectifiers",
    formula=r"y_i = \max_{k i \le j < k (i + 1)} x_j",
    definition="pool(x, pool_size)",
    notes="The maximum of every `pool_size` neighbours along the axis, of which as many fewer come out. The derivative goes "
    "to the first maximum. In Paddle `pool_size` is called `groups`.",
    smoothness="C0",
    reference="Goodfellow et al., Maxout networks, 2013, arXiv:1302.4389.",
)
