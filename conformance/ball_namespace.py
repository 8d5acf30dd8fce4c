"""The elementwise part of the array API standard over balls: a formula run in it is its own high-precision truth.

An "array" here is one number: a power series with ball coefficients (python-flint's ``arb_series``), whose dtype says float64.
Evaluated with x as the variable of the series, a formula gives its value and all its derivatives with a guaranteed bound.
What cannot be computed (log of a negative number, a quotient by zero) is NaN and does no harm as long as ``where`` does not
choose it. At a tie of abs, maximum and the like, and at sqrt(0), the value is kept and the derivatives are NaN: there is no
one truth for them.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx

from multiact.declaration import Elementwise

from . import oracle

float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
bool = np.dtype("bool")
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
LARGEST = np.finfo(np.float64).max


class Ball:
    """One number as an array: a series in the variable of differentiation."""

    __slots__ = ("series",)
    __array_ufunc__ = None  # NumPy numbers are refused, as other namespaces do
    __hash__ = None  # type: ignore[assignment]
    dtype, shape, ndim, size, device = float64, (), 0, 1, "cpu"

    def __init__(self, series: Any) -> None:
        self.series = series

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return namespace()

    def __bool__(self) -> builtins.bool:
        raise TypeError("a formula must not ask whether an array is true: use xp.where.")


class Condition:
    """A truth value as an array; None while it is uncertain."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]
    dtype, shape, ndim, size, device = bool, (), 0, 1, "cpu"

    def __init__(self, value: builtins.bool | None) -> None:
        self.value = value

    def __bool__(self) -> builtins.bool:
        if self.value is None:
            raise oracle.Undecided
        return self.value

    def __invert__(self) -> Condition:
        return Condition(None if self.value is None else not self.value)

    def __and__(self, other: Any) -> Condition:
        known = (self.value, _condition(other).value)
        return Condition(False if False in known else None if None in known else True)

    def __or__(self, other: Any) -> Condition:
        return ~(~self & ~_condition(other))

    def __xor__(self, other: Any) -> Condition:
        known = (self.value, _condition(other).value)
        return Condition(None if None in known else known[0] != known[1])

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return ~(self ^ _condition(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self ^ _condition(other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__


@functools.cache
def namespace() -> Any:
    """This module, which is the `xp` that formulas are given."""
    import sys

    return sys.modules[__name__]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise oracle.OracleError(
        f"xp.{name} cannot be evaluated in high precision. Use an elementwise function of the array API standard, "
        f"or give a definition= to be judged by."
    )


def _ball(value: Any) -> Ball:
    if isinstance(value, Ball):
        return value
    # bool, numpy numbers and conditions are no numbers for the standard
    if type(value) in (int, float):
        return Ball(arb_series([arb(value)]))
    raise TypeError(f"expected an array or a Python number, not {type(value).__name__}")


def _condition(value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, builtins.bool):
        return Condition(value)
    raise TypeError(f"expected an array of bool, not {type(value).__name__}")


def _nothing() -> Any:
    return arb_series([arb.nan()] * ctx.cap)


def _without_slopes(value: Any, *given: Any) -> Any:
    """A series whose constant is known and whose other coefficients are not, unless what it comes from is constant."""
    moving = any(u[i] != 0 for u in given for i in range(1, ctx.cap))
    return arb_series([value, *[arb.nan()] * (ctx.cap - 1)] if moving else [value])


def _lift(function: Callable[..., Any]) -> Callable[..., Ball]:
    """A function of series as one of arrays; what it cannot compute is NaN."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Ball:
        given = [_ball(a).series for a in arguments]
        try:
            result = oracle.series(function(*given))
        except (ValueError, ZeroDivisionError, oracle.Undecided):
            return Ball(_nothing())
        return Ball(_nothing() if result[0].is_nan() else result)

    return call


def _known(test: Callable[..., builtins.bool], *values: Any) -> builtins.bool | None:
    if any(v.is_nan() for v in values):
        return None
    try:
        return test(*values)
    except oracle.Undecided:
        return None


def _compare(test: Callable[[Any, Any], builtins.bool]) -> Callable[[Any, Any], Condition]:
    def call(a: Any, b: Any, /) -> Condition:
        return Condition(_known(test, _ball(a).series[0], _ball(b).series[0]))

    return call


greater = _compare(oracle.greater)
less = _compare(lambda a, b: oracle.greater(b, a))
greater_equal = _compare(lambda a, b: not oracle.greater(b, a))
less_equal = _compare(lambda a, b: not oracle.greater(a, b))
equal = _compare(oracle.equal)
not_equal = _compare(lambda a, b: not oracle.equal(a, b))


def _sign(u: Any) -> int:
    """The sign of the constant, a decision like a comparison."""
    return 0 if oracle.equal(u[0], arb(0)) else 1 if oracle.greater(u[0], arb(0)) else -1


def _abs(u: Any) -> Any:
    way = _sign(u)
    return u * way if way else _without_slopes(arb(0), u)


def _stairs(u: Any, step: Callable[[Any], Any]) -> Any:
    value = step(u[0])
    return _without_slopes(value, u) if oracle.equal(u[0], value) else arb_series([value])


def _larger(a: Any, b: Any) -> Any:
    if oracle.equal(a[0], b[0]):
        return a if builtins.all((a[i] == b[i]) for i in range(ctx.cap)) else _without_slopes(a[0], a, b)
    return a if oracle.greater(a[0], b[0]) else b


def _sqrt(u: Any) -> Any:
    return _without_slopes(arb(0), u) if u[0] == 0 else u.sqrt()


def _divide(a: Any, b: Any) -> Any:
    # Infinite as in float64, so that isfinite() can ask.
    return _without_slopes(arb(inf) * a[0], a, b) if b[0] == 0 else a / b


def _log(u: Any) -> Any:
    return _without_slopes(arb(-inf), u) if u[0] == 0 else u.log()


def _power(base: Any, exponent: Any) -> Any:
    fixed = len(exponent) <= 1
    whole = exponent[0].unique_fmpz() if fixed and exponent[0].is_exact() else None
    if whole is not None and builtins.abs(whole) <= 64:
        return oracle.power(base, int(whole))
    if base[0] == 0 and exponent[0] > 0:
        return _without_slopes(arb(0), base, exponent)
    return oracle.power(base, exponent)


def _sinh(u: Any) -> Any:
    grown = u.exp()
    return oracle.with_constant((grown - 1 / grown) / 2, u[0].sinh())


def _asinh(u: Any) -> Any:
    if u[0] < 0:
        return -_asinh(-u)
    return oracle.with_constant((u + (u * u + 1).sqrt()).log(), u[0].asinh())


def _atanh(u: Any) -> Any:
    return oracle.with_constant(((1 + u).log() - (1 - u).log()) / 2, u[0].atanh())


def _logaddexp(a: Any, b: Any) -> Any:
    # The larger one apart, so that nothing is lost in a sum that it dominates.
    top, rest = (a, b) if a[0] > b[0] else (b, a)
    return top + oracle.FUNCTIONS["log1p"]((rest - top).exp())


add = _lift(lambda a, b: a + b)
subtract = _lift(lambda a, b: a - b)
multiply = _lift(lambda a, b: a * b)
divide = _lift(_divide)
pow = _lift(_power)
negative = _lift(lambda u: -u)
positive = _lift(lambda u: u)
square = _lift(lambda u: u * u)
reciprocal = _lift(lambda u: _divide(arb_series([1]), u))
sqrt = _lift(_sqrt)
hypot = _lift(lambda a, b: _sqrt(a * a + b * b))
log = _lift(_log)
exp, sin, cos, tan, atan, tanh, log1p, expm1 = (
    _lift(oracle.FUNCTIONS[name]) for name in ("exp", "sin", "cos", "tan", "atan", "tanh", "log1p", "expm1")
)
log2 = _lift(lambda u: u.log() / arb(2).log())
log10 = _lift(lambda u: u.log() / arb(10).log())
sinh = _lift(_sinh)
cosh = _lift(lambda u: (u.exp() + (-u).exp()) / 2)
asinh = _lift(_asinh)
acosh = _lift(lambda u: (u + (u * u - 1).sqrt()).log())
atanh = _lift(_atanh)
asin = _lift(lambda u: u.asin())
acos = _lift(lambda u: u.acos())
logaddexp = _lift(_logaddexp)
abs = _lift(_abs)
sign = _lift(lambda u: arb_series([arb(_sign(u))]) if _sign(u) else _without_slopes(arb(0), u))
maximum = _lift(_larger)
minimum = _lift(lambda a, b: -_larger(-a, -b))
floor = _lift(lambda u: _stairs(u, lambda c: c.floor()))
ceil = _lift(lambda u: _stairs(u, lambda c: c.ceil()))
trunc = _lift(lambda u: _stairs(u, lambda c: c.floor() if oracle.greater(c, arb(0)) else c.ceil()))
copysign = _lift(lambda a, b: _abs(a) * (-1 if _sign(b) < 0 else 1))


def clip(x: Any, /, min: Any = None, max: Any = None) -> Ball:
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def where(condition: Any, a: Any, b: Any, /) -> Any:
    chosen = _condition(condition).value
    if isinstance(a, Condition) or isinstance(b, Condition):
        a, b = _condition(a), _condition(b)
        return Condition(None) if chosen is None else (a if chosen else b)
    a, b = _ball(a), _ball(b)
    return Ball(_nothing()) if chosen is None else (a if chosen else b)


def magnitude(x: Any, /) -> Ball:
    """What `multiact.numerics.magnitude` is: abs(x), with slope 1 at 0."""
    return where(x >= 0, x, negative(x))


def positive_part(x: Any, slope: int, /) -> Ball:
    """What `multiact.numerics.positive` is: max(x, 0), with that slope at 0."""
    return where(x < 0 if slope else x <= 0, 0.0, x)


def keeps_subnormals(x: Any, /) -> builtins.bool:
    """Nothing underflows here, but what is judged is the formula that holds everywhere."""
    return False


def differentiated(x: Any, /) -> builtins.bool:
    """Balls are power series, of both branches of a selection."""
    return True


def kept(x: Any, /) -> Ball:
    """What `multiact.numerics.kept` is: x."""
    return _ball(x)


def own(name: str, x: Any, /) -> Ball | None:
    """What `multiact.numerics.own_or` asks for: the sigmoid, of which the formula selects by the sign."""
    return divide(1.0, add(1.0, exp(negative(x)))) if name == "logistic" else None


def isnan(x: Any, /) -> Condition:
    return Condition(None if _ball(x).series[0].is_nan() else False)


def isfinite(x: Any, /) -> Condition:
    """As in float64: what would overflow there is infinite."""
    return Condition(_known(lambda c: not oracle.greater(builtins.abs(c), arb(LARGEST)), _ball(x).series[0]))


def isinf(x: Any, /) -> Condition:
    return ~isfinite(x)


def signbit(x: Any, /) -> Condition:
    return less(x, 0)


def logical_not(a: Any, /) -> Condition:
    return ~_condition(a)


def logical_and(a: Any, b: Any, /) -> Condition:
    return _condition(a) & b


def logical_or(a: Any, b: Any, /) -> Condition:
    return _condition(a) | b


def logical_xor(a: Any, b: Any, /) -> Condition:
    return _condition(a) ^ b


def astype(x: Any, dtype: Any, /, *, copy: builtins.bool = True, device: Any = None) -> Any:
    """`x` itself: precision is not lost here. A condition becomes 0 or 1."""
    if isinstance(x, Condition):
        return x if dtype == bool else where(x, 1.0, 0.0)
    return not_equal(x, 0) if dtype == bool else x


def full_like(x: Any, value: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    return Condition(value) if dtype == bool else _ball(value)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    return full_like(x, dtype == bool and False or 0.0, dtype=dtype)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Any:
    return full_like(x, dtype == bool or 1.0, dtype=dtype)


def asarray(value: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Any:
    return value if isinstance(value, (Ball, Condition)) else full_like(None, value, dtype=dtype)


def finfo(dtype: Any, /) -> Any:
    return np.finfo(float64)


for _name, _function in (
    ("add", add),
    ("sub", subtract),
    ("mul", multiply),
    ("truediv", divide),
    ("pow", pow),
):
    setattr(Ball, f"__{_name}__", lambda self, other, _f=_function: _f(self, other))
    setattr(Ball, f"__r{_name}__", lambda self, other, _f=_function: _f(other, self))
for _name, _function in (("neg", negative), ("pos", positive), ("abs", abs)):
    setattr(Ball, f"__{_name}__", lambda self, _f=_function: _f(self))
for _name, _comparison in (
    ("gt", greater),
    ("ge", greater_equal),
    ("lt", less),
    ("le", less_equal),
    ("eq", equal),
    ("ne", not_equal),
):
    setattr(Ball, f"__{_name}__", lambda self, other, _f=_comparison: _f(self, other))


class Formula:
    """The formula of an activation in the place of a textbook definition.

    Parameters
    ----------
    function : of a pointwise activation, its value.

    Raises
    ------
    oracle.OracleError, when called : the formula does what cannot be done in high precision.
    """

    def __init__(self, function: Elementwise) -> None:
        self._function = function

    def __call__(self, *values: Any) -> Any:
        """The value for series, in the order of the arguments, at the current precision."""
        try:
            result = self._function(namespace(), *(Ball(oracle.series(v)) for v in values))
        except (oracle.OracleError, oracle.Undecided):
            raise
        except Exception as error:  # whatever a user's formula raises
            raise oracle.OracleError(
                f"the formula of {self._function.name} cannot be evaluated in high precision: "
                f"{type(error).__name__}: {error}. Give a definition= to be judged by."
            ) from error
        if not isinstance(result, (Ball, int, float)):
            raise oracle.OracleError(
                f"the formula of {self._function.name} gives {type(result).__name__}, not numbers."
            )
        found = _ball(result).series
        if not found[0].is_finite():
            raise oracle.Undecided
        return found
