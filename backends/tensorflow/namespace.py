"""An array API namespace over TensorFlow, which has none: what formulas need, in eager mode, tf.function and XLA alike.

Python numbers take the dtype of the arrays they meet, arrays of different dtypes are promoted as the standard says, and
shapes may be unknown. Functions follow https://data-apis.org/array-api/latest; those that would need a known shape
(nonzero, unique) and linear algebra are left out.
"""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import tensorflow as tf

from multiact import numerics

try:
    from tensorflow.python.ops import control_flow_util
except ImportError:  # what XLA compiles is not known then
    control_flow_util = None

Tensor: TypeAlias = tf.Tensor
Axis = int | tuple[int, ...] | None

__array_api_version__ = "2024.12"

bool = tf.bool
int8, int16, int32, int64 = tf.int8, tf.int16, tf.int32, tf.int64
uint8, uint16, uint32, uint64 = tf.uint8, tf.uint16, tf.uint32, tf.uint64
float16, bfloat16, float32, float64 = tf.float16, tf.bfloat16, tf.float32, tf.float64
complex64, complex128 = tf.complex64, tf.complex128
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None


# dtypes


@dataclass(frozen=True)
class FloatInfo:
    """What `finfo` returns, in Python numbers."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: tf.DType


@dataclass(frozen=True)
class IntegerInfo:
    """What `iinfo` returns."""

    bits: int
    max: int
    min: int
    dtype: tf.DType


def _dtype(x: Any) -> tf.DType:
    return x if isinstance(x, tf.DType) else tf.as_dtype(x.dtype if hasattr(x, "dtype") else x)


def finfo(type: Any, /) -> FloatInfo:
    dtype = _dtype(type)
    info = ml_dtypes.finfo(dtype.as_numpy_dtype)
    eps, largest, least, smallest = builtins.map(float, (info.eps, info.max, info.min, info.smallest_normal))
    return FloatInfo(info.bits, eps, largest, least, smallest, dtype)


def iinfo(type: Any, /) -> IntegerInfo:
    dtype = _dtype(type)
    info = np.iinfo(dtype.as_numpy_dtype)
    return IntegerInfo(info.bits, int(info.max), int(info.min), dtype)


def isdtype(dtype: tf.DType, kind: Any) -> builtins.bool:
    if isinstance(kind, tuple):
        return builtins.any(isdtype(dtype, k) for k in kind)
    if not isinstance(kind, str):
        return dtype == kind
    integral = dtype.is_integer
    kinds = {
        "bool": dtype.is_bool,
        "signed integer": integral and not dtype.is_unsigned,
        "unsigned integer": integral and dtype.is_unsigned,
        "integral": integral,
        "real floating": dtype.is_floating,
        "complex floating": dtype.is_complex,
        "numeric": integral or dtype.is_floating or dtype.is_complex,
    }
    if kind not in kinds:
        raise ValueError(f"kind must be a dtype, one of {list(kinds)}, or a tuple of them. Received: {kind!r}.")
    return kinds[kind]


def _promote(a: tf.DType, b: tf.DType) -> tf.DType:
    if a == b:
        return a
    if a.is_floating or b.is_floating:
        if not (a.is_floating and b.is_floating):
            return a if a.is_floating else b
        return tf.float32 if a.size == b.size else builtins.max(a, b, key=lambda d: d.size)
    return tf.as_dtype(np.promote_types(a.as_numpy_dtype, b.as_numpy_dtype))


def _is_number(x: Any) -> builtins.bool:
    return isinstance(x, (builtins.bool, int, float, complex)) and not isinstance(x, np.generic)


def result_type(*arrays_and_dtypes: Any) -> tf.DType:
    """The dtype of a result; Python numbers take that of the arrays, and float32 where there is none."""
    found = [_dtype(a) for a in arrays_and_dtypes if not _is_number(a)]
    if not found:
        return tf.convert_to_tensor(builtins.sum(arrays_and_dtypes)).dtype
    dtype = found[0]
    for other in found[1:]:
        dtype = _promote(dtype, other)
    return dtype


def astype(x: Tensor, dtype: tf.DType, /, *, copy: builtins.bool = True, device: Any = None) -> Tensor:
    return tf.cast(x, dtype)


def _together(*arrays: Any) -> list[Tensor]:
    """All as tensors of their common dtype."""
    dtype = result_type(*arrays)
    return [tf.convert_to_tensor(a, dtype) if _is_number(a) else tf.cast(a, dtype) for a in arrays]


# Creation


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    x = tf.convert_to_tensor(obj)
    return x if dtype is None else tf.cast(x, dtype)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.zeros(shape, dtype or tf.float32)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.ones(shape, dtype or tf.float32)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    value = tf.convert_to_tensor(fill_value, dtype) if _is_number(fill_value) else asarray(fill_value, dtype=dtype)
    return tf.fill(shape, value)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.zeros_like(x, dtype)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.ones_like(x, dtype)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.fill(tf.shape(x), asarray(fill_value, dtype=dtype or x.dtype))


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    return tf.range(*((0, start) if stop is None else (start, stop)), step, dtype)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    dtype = dtype or tf.float32
    return tf.linspace(tf.convert_to_tensor(start, dtype), tf.convert_to_tensor(stop, dtype), num)


# Elementwise


def _unary(name: str, call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor, /) -> Tensor:
        return call(x)

    function.__name__ = function.__qualname__ = name
    return function


def _binary(name: str, call: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return call(*_together(x1, x2))

    function.__name__ = function.__qualname__ = name
    return function


abs = _unary("abs", tf.abs)
acos = _unary("acos", tf.math.acos)
acosh = _unary("acosh", tf.math.acosh)
asin = _unary("asin", tf.math.asin)
asinh = _unary("asinh", tf.math.asinh)
atanh = _unary("atanh", tf.math.atanh)
ceil = _unary("ceil", tf.math.ceil)
cosh = _unary("cosh", tf.math.cosh)
exp = _unary("exp", tf.math.exp)
expm1 = _unary("expm1", tf.math.expm1)
floor = _unary("floor", tf.math.floor)
isfinite = _unary("isfinite", tf.math.is_finite)
isinf = _unary("isinf", tf.math.is_inf)
isnan = _unary("isnan", tf.math.is_nan)
log = _unary("log", tf.math.log)
log1p = _unary("log1p", tf.math.log1p)
logical_not = _unary("logical_not", tf.logical_not)
negative = _unary("negative", tf.negative)
positive = _unary("positive", tf.identity)
reciprocal = _unary("reciprocal", tf.math.reciprocal)
round = _unary("round", tf.round)
sign = _unary("sign", tf.sign)
sinh = _unary("sinh", tf.math.sinh)
sqrt = _unary("sqrt", tf.math.sqrt)
square = _unary("square", tf.math.square)
tan = _unary("tan", tf.math.tan)
tanh = _unary("tanh", tf.math.tanh)

add = _binary("add", tf.add)
atan2 = _binary("atan2", tf.math.atan2)
divide = _binary("divide", tf.divide)
equal = _binary("equal", tf.equal)
floor_divide = _binary("floor_divide", tf.math.floordiv)
greater = _binary("greater", tf.greater)
greater_equal = _binary("greater_equal", tf.greater_equal)
less = _binary("less", tf.less)
less_equal = _binary("less_equal", tf.less_equal)
logical_and = _binary("logical_and", tf.logical_and)
logical_or = _binary("logical_or", tf.logical_or)
logical_xor = _binary("logical_xor", tf.math.logical_xor)
multiply = _binary("multiply", tf.multiply)
nextafter = _binary("nextafter", tf.math.nextafter)
not_equal = _binary("not_equal", tf.not_equal)
pow = _binary("pow", tf.pow)
remainder = _binary("remainder", tf.math.floormod)
subtract = _binary("subtract", tf.subtract)

# XLA's own maximum(1, nan) is 1 on a CPU; a comparison keeps NaN on either side.


def maximum(x1: Any, x2: Any, /) -> Tensor:
    x1, x2 = _together(x1, x2)
    return tf.where((x1 > x2) | tf.not_equal(x1, x1), x1, x2)


def minimum(x1: Any, x2: Any, /) -> Tensor:
    x1, x2 = _together(x1, x2)
    return tf.where((x1 < x2) | tf.not_equal(x1, x1), x1, x2)


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    return tf.where(condition, *_together(x1, x2))


def _as(bound: Any, dtype: Any) -> Tensor:
    """A bound in a dtype; `tf.cast` would make a float32 of a Python number first, which may be infinite."""
    return tf.cast(bound, dtype) if tf.is_tensor(bound) else tf.constant(bound, dtype)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    # one operation, which TFLite does not have
    if by_xla() and x.dtype.is_floating and not (tf.is_tensor(min) or tf.is_tensor(max)):
        low, high = -inf if min is None else min, inf if max is None else max
        return tf.raw_ops.ClipByValue(t=x, clip_value_min=_as(low, x.dtype), clip_value_max=_as(high, x.dtype))
    if min is not None:
        min = _as(min, x.dtype)
        x = tf.where(x < min, min, x)
    if max is not None:
        max = _as(max, x.dtype)
        x = tf.where(x > max, max, x)
    return x


# What XLA is better given in another way, and what formulas may have shorter here


_by_xla: contextvars.ContextVar[builtins.bool] = contextvars.ContextVar("multiact_by_xla", default=False)


def by_xla() -> builtins.bool:
    """Whether what is being traced is for XLA: inside of a tf.function with jit_compile=True, or of `for_xla`."""
    return _by_xla.get() or _in_xla_context()


@contextlib.contextmanager
def for_xla(wanted: builtins.bool) -> Iterator[None]:
    """Trace for XLA, as for a gradient, which may be built where the function that it is of has long been compiled."""
    token = _by_xla.set(wanted)
    try:
        yield
    finally:
        _by_xla.reset(token)


def _in_xla_context() -> builtins.bool:
    if control_flow_util is None or tf.executing_eagerly():
        return False
    return builtins.bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


@functools.cache
def _on_processor() -> builtins.bool:
    """Whether there is nothing but processors to compute on."""
    return builtins.all(d.device_type in ("CPU", "XLA_CPU") for d in tf.config.get_visible_devices())


def _slow(x: Tensor) -> builtins.bool:
    """Whether trigonometric functions of `x` are evaluated one number at a time: by XLA, on a processor."""
    return x.dtype == tf.float32 and by_xla() and _on_processor()


def _sine(x: Tensor, quarters: int) -> Tensor:
    """sin(x + quarters pi / 2) for quarters from 0 to 3."""
    if not _slow(x):
        y = tf.math.cos(x) if quarters % 2 else tf.math.sin(x)
        return -y if quarters > 1 else y

    @tf.custom_gradient
    def rule(x: Tensor) -> Any:
        y = numerics.sine_32(sys.modules[__name__], tf.cast(x, tf.float64), quarters)
        return y, lambda dy: dy * _sine(x, (quarters + 1) % 4)

    return rule(x)


def sin(x: Tensor, /) -> Tensor:
    return _sine(x, 0)


def cos(x: Tensor, /) -> Tensor:
    return _sine(x, 1)


def atan(x: Tensor, /) -> Tensor:
    if not _slow(x):
        return tf.math.atan(x)

    @tf.custom_gradient
    def rule(x: Tensor) -> Any:
        return numerics.arctan_32(sys.modules[__name__], x), lambda dy: dy / (x * x + 1)

    return rule(x)


def own(name: str, x: Tensor, /) -> Tensor | None:
    """tanh and erf of XLA in float32 on a processor, where they are within 4 ulp and faster than our formulas; else None."""
    function = {"tanh": tf.math.tanh, "erf": tf.math.erf}.get(name)
    return function(x) if function is not None and _slow(x) else None


# In one or two operations, where selections take three: each is a pass over memory where XLA does not compile. Their slopes at
# 0, by TensorFlow's own rules, are those that formulas ask for.


def magnitude(x: Tensor, /) -> Tensor:
    """abs(x), with slope 1 at 0."""
    return tf.maximum(x, -x)


def positive_part(x: Tensor, slope: int, /) -> Tensor:
    """max(x, 0), with that slope at 0."""
    return clip(x, 0.0) if slope else tf.nn.relu(x)


def signbit(x: Tensor, /) -> Tensor:
    signed = {2: tf.int16, 4: tf.int32, 8: tf.int64}[x.dtype.size]
    return tf.bitcast(x, signed) < 0


def copysign(x1: Any, x2: Any, /) -> Tensor:
    x1, x2 = _together(x1, x2)
    return tf.where(tf.equal(signbit(x1), signbit(x2)), x1, -x1)


def trunc(x: Tensor, /) -> Tensor:
    return tf.where(x < 0, tf.math.ceil(x), tf.math.floor(x))


def log2(x: Tensor, /) -> Tensor:
    return tf.math.log(x) / math.log(2)


def log10(x: Tensor, /) -> Tensor:
    return tf.math.log(x) / math.log(10)


def logaddexp(x1: Any, x2: Any, /) -> Tensor:
    x1, x2 = _together(x1, x2)
    larger = maximum(x1, x2)
    smaller = tf.where(tf.equal(larger, x1), x2, x1)
    gap = tf.where(tf.equal(larger, smaller), tf.zeros_like(larger), smaller - larger)  # inf - inf is no gap
    return larger + tf.math.log1p(tf.math.exp(gap))


def hypot(x1: Any, x2: Any, /) -> Tensor:
    a, b = map(tf.abs, _together(x1, x2))
    large, small = tf.where(a > b, a, b), tf.where(a > b, b, a)
    inside = (large > 0) & (large < inf)
    ratio = tf.where(inside, small, tf.zeros_like(small)) / tf.where(inside, large, tf.ones_like(large))
    infinite = tf.math.is_inf(a) | tf.math.is_inf(b)
    length = tf.where(tf.math.is_nan(a) | tf.math.is_nan(b), a + b, large * tf.sqrt(1 + ratio * ratio))
    return tf.where(infinite, tf.convert_to_tensor(inf, a.dtype), length)


# Reductions and searching


def _reduction(name: str, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, /, *, axis: Axis = None, keepdims: builtins.bool = False) -> Tensor:
        return call(x, axis=axis, keepdims=keepdims)

    function.__name__ = function.__qualname__ = name
    return function


all = _reduction("all", lambda x, **kw: tf.reduce_all(tf.cast(x, tf.bool), **kw))
any = _reduction("any", lambda x, **kw: tf.reduce_any(tf.cast(x, tf.bool), **kw))
max = _reduction("max", tf.reduce_max)
mean = _reduction("mean", tf.reduce_mean)
min = _reduction("min", tf.reduce_min)


def _accumulated(x: Tensor, dtype: Any) -> Tensor:
    """As the standard has it, sums of integers and booleans are integers of 64 bits."""
    if dtype is None and (x.dtype.is_bool or x.dtype.is_integer):
        dtype = tf.uint64 if x.dtype.is_integer and x.dtype.is_unsigned else tf.int64
    return x if dtype is None else tf.cast(x, dtype)


def sum(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    return tf.reduce_sum(_accumulated(x, dtype), axis=axis, keepdims=keepdims)


def prod(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    return tf.reduce_prod(_accumulated(x, dtype), axis=axis, keepdims=keepdims)


def var(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    centred = x - tf.reduce_mean(x, axis=axis, keepdims=True)
    total = tf.reduce_sum(centred * centred, axis=axis, keepdims=keepdims)
    count = tf.reduce_sum(tf.ones_like(x), axis=axis, keepdims=keepdims)
    return total / (count - correction)


def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    return tf.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: builtins.bool = False
) -> Tensor:
    axis = 0 if axis is None else axis
    total = tf.cumsum(_accumulated(x, dtype), axis=axis)
    if include_initial:
        total = tf.concat([tf.zeros_like(tf.gather(total, [0], axis=axis)), total], axis)
    return total


def _search(name: str, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
        if axis is None:
            found = call(tf.reshape(x, [-1]), axis=0)
            return tf.reshape(found, tf.ones_like(tf.shape(x))) if keepdims else found
        found = call(x, axis=axis)
        return tf.expand_dims(found, axis) if keepdims else found

    function.__name__ = function.__qualname__ = name
    return function


argmax = _search("argmax", tf.argmax)
argmin = _search("argmin", tf.argmin)


def sort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False, stable: builtins.bool = True) -> Tensor:
    return tf.sort(x, axis=axis, direction="DESCENDING" if descending else "ASCENDING")


def argsort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False, stable: builtins.bool = True) -> Tensor:
    direction = "DESCENDING" if descending else "ASCENDING"
    return tf.cast(tf.argsort(x, axis=axis, direction=direction, stable=stable), tf.int64)


# Shapes


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    return tf.broadcast_to(x, shape)


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    shape = tf.shape(arrays[0])
    for a in arrays[1:]:
        shape = tf.broadcast_dynamic_shape(shape, tf.shape(a))
    return [tf.broadcast_to(a, shape) for a in arrays]


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    arrays = _together(*arrays)
    return tf.concat([tf.reshape(a, [-1]) for a in arrays] if axis is None else arrays, 0 if axis is None else axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    return tf.stack(_together(*arrays), axis=axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    return tuple(tf.unstack(x, axis=axis))


def expand_dims(x: Tensor, /, *, axis: int = 0) -> Tensor:
    return tf.expand_dims(x, axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    return tf.squeeze(x, axis=axis)


def reshape(x: Tensor, /, shape: Any, *, copy: Any = None) -> Tensor:
    return tf.reshape(x, shape)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    return tf.transpose(x, axes)


def flip(x: Tensor, /, *, axis: Axis = None) -> Tensor:
    axes = range(len(x.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tf.reverse(x, [*axes])


def roll(x: Tensor, /, shift: Any, *, axis: Axis = None) -> Tensor:
    if axis is None:
        return tf.reshape(tf.roll(tf.reshape(x, [-1]), shift, 0), tf.shape(x))
    return tf.roll(x, shift, axis)


def shape(x: Tensor, /) -> Tensor:
    """Not in the standard: the shape where it becomes known only when the graph runs."""
    return tf.shape(x)


def take(x: Tensor, indices: Any, /, *, axis: int | None = None) -> Tensor:
    return tf.gather(x, indices, axis=0 if axis is None else axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    return tf.experimental.numpy.take_along_axis(x, indices, axis)


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    return tf.matmul(*_together(x1, x2))
