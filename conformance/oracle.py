"""True values and derivatives of an activation, from its textbook definition and from nothing else of the core.

The definition, a Python expression in the inputs and parameters, is evaluated in ball arithmetic on truncated power series
(python-flint's ``arb_series``), whose coefficients are the derivatives. Every ball encloses the true number; the
precision doubles until it is so small that rounding to the dtype under test is certain.

>>> truth = derivatives("x / (1 + exp(-x))", {"x": np.asarray([0.0])}, [(), ("x",)])
>>> truth[()][0], truth["x",][0]
(array([0.]), array([0.5]))
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx

from multiact import cache
from multiact.files import replacing

#: raised when the oracle or the points change, so that nothing older is taken from the cache.
VERSION = 4
START, LIMIT = 160, 1 << 15
#: bits to which a judged number is known, and one that only scales an error.
JUDGED, SCALING = 110, 16
#: x = +-inf stands for the limit, which is looked for at these powers of two; enough of them to notice an oscillation.
FAR = (200.0, 223.7, 251.3, 284.9, 300.0, 331.1, 367.6, 400.0)

Wrt = tuple[str, ...]
Pair = tuple[np.ndarray, np.ndarray]


class OracleError(Exception):
    """A definition cannot be read, or its value at a point cannot be made certain."""


class Undecided(Exception):
    """A condition cannot be decided at the present precision."""


class _Undefined(Exception):
    """The definition says that it has no value here."""


# Functions of a definition


def series(u: Any) -> Any:
    """A number as a constant series, a series as it is."""
    return u if isinstance(u, arb_series) else arb_series([u])


def _each(name: str, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(u: Any) -> Any:
        return Vector([function(series(e)) for e in u.entries]) if isinstance(u, Vector) else function(series(u))

    call.__name__ = name
    return call


def with_constant(u: Any, constant: Any) -> Any:
    """`u` with another constant term, one that is known better."""
    return arb_series([constant, *list(u)[1:]])


def _tanh(u: Any) -> Any:
    constant = u[0]
    if abs(constant) < 1:
        # Near 0 the exponentials cancel: tanh(c + h) by the addition theorem, tanh(h) by its Taylor polynomial.
        h = with_constant(u, arb(0))
        t, th = constant.tanh(), h - h * h * h / 3
        return (t + th) / (1 + t * th)
    # The exponential that vanishes where u is large.
    e = (-2 * u).exp() if constant > 0 else (2 * u).exp()
    return 1 - 2 * e / (1 + e) if constant > 0 else 2 * e / (1 + e) - 1


def _sinc(u: Any) -> Any:
    constant = u[0]
    if not abs(constant) < 1:
        return u.sin() / u
    # Near 0: sinc(c + h) by its Taylor polynomial, each derivative at c by the alternating series
    # sum of (-1)^k c^(2k - n) / ((2k + 1) (2k - n)!), whose terms fall, so that the next one bounds the rest.
    h, result = with_constant(u, arb(0)), arb(0)
    for n in range(4):
        derivative, sign = arb(0), (-1) ** ((n + 1) // 2)
        term = arb(1) if n % 2 == 0 else constant
        low = n + n % 2  # 2k, from the first that is not differentiated away
        while True:
            part = term / (low + 1)
            if abs(part) < abs(derivative) * arb(2) ** -ctx.prec or part == 0:
                break
            derivative, sign = derivative + sign * part, -sign
            low += 2
            term = term * constant * constant / ((low - n) * (low - n - 1))
        result = result + (derivative + arb(0, abs(part).upper())) / math.factorial(n) * power(h, n)
    return result


def _log1p(u: Any) -> Any:
    return with_constant((1 + u).log(), u[0].log1p())


def _expm1(u: Any) -> Any:
    return with_constant(u.exp(), u[0].expm1())


def _composed(u: Any, coefficient: Callable[[int, Any], Any]) -> Any:
    """g(u), where ``coefficient(j, c)`` is the j-th derivative of g at c divided by j!."""
    constant, step = u[0], with_constant(u, arb(0))
    value = arb_series([0])
    for j in reversed(range(ctx.cap)):
        value = value * step + coefficient(j, constant)
    return value


def _exprel(u: Any) -> Any:
    # The integral of t^j e^(c t) over [0, 1] is the j-th derivative, and 1F1(j + 1; j + 2; c) / (j + 1).
    if abs(u[0]) < 1:
        return _composed(u, lambda j, c: c.hypgeom_1f1(j + 1, j + 2) / math.factorial(j + 1))
    return _expm1(u) / u


def _logrel(u: Any) -> Any:
    # The j-th Taylor coefficient at c is (-1)^j 2F1(j + 1, j + 1; j + 2; -c) / (j + 1).
    if abs(u[0]) < 0.5:
        return _composed(u, lambda j, c: (-c).hypgeom_2f1(j + 1, j + 1, j + 2) * (-1) ** j / (j + 1))
    return _log1p(u) / u


def _undefined() -> Any:
    raise _Undefined


def _positive(u: Any) -> Any:
    """max(u, 0), with slope 0 at 0."""
    return u if greater(u[0], arb(0)) else arb_series([0])


# Along an axis


def _entries(u: Any) -> list[Any]:
    if not isinstance(u, Vector):
        raise OracleError(f"{', '.join(ALONG_AXIS)} are for definitions along an axis, where x is a vector.")
    return [series(e) for e in u.entries]


def _sum(u: Any) -> Any:
    entries = _entries(u)
    return Vector([_total(entries)] * len(entries))


def _first_maximum(entries: Sequence[Any]) -> int:
    best = 0
    for i, entry in enumerate(entries):
        if i and greater(entry[0], entries[best][0]):
            best = i
    return best


def _max(u: Any) -> Any:
    entries = _entries(u)
    return Vector([entries[_first_maximum(entries)]] * len(entries))


def _argmax(u: Any) -> Any:
    """1 at the first maximum, 0 elsewhere."""
    entries = _entries(u)
    best = _first_maximum(entries)
    return Vector([arb(int(i == best)) for i in range(len(entries))])


def _concat(u: Any, v: Any) -> Any:
    """The entries of two rows one after the other."""
    return Vector(_entries(u) + _entries(v))


def _pool(u: Any, size: int) -> Any:
    """The maxima, the first where there are several, of so many neighbouring entries at a time."""
    entries = _entries(u)
    groups = [entries[i : i + size] for i in range(0, len(entries), size)]
    return Vector([group[_first_maximum(group)] for group in groups])


def _simplex(u: Any, exponent: Any) -> Any:
    """(u - t)**exponent where u > t, 0 elsewhere, with the t for which that sums to 1; the exponent is at least 1."""
    entries = _entries(u)
    constants = [e[0] for e in entries]
    degree = _whole(_constant(exponent))
    exponent = exponent if isinstance(exponent, int) else series(exponent)
    inside = [greater(arb(1), _above(t, [e for e in constants if greater(e, t)], degree)) for t in constants]
    kept = [e for e, i in zip(entries, inside) if i]
    if isinstance(exponent, int) and exponent in (1, 2):
        # The sum is linear or quadratic in t.
        mean = _total(kept) / len(kept)
        rest = 1 - _total([(e - mean) ** 2 for e in kept]) if exponent == 2 else arb(1)
        t = mean - (series(rest / len(kept)).sqrt() if exponent == 2 else rest / len(kept))
    else:
        t = series(_root([e[0] for e in kept], degree))
        # Newton's iteration on the series doubles the number of terms that are right.
        known = 1
        while known < ctx.cap:
            wrong = list(series(_above(t, kept, exponent) - 1))[known:]
            slope = -exponent * _above(t, kept, exponent - 1)
            t = t - arb_series([0] * known + wrong) / slope
            known *= 2
    return Vector([power(e - t, exponent) if i else arb(0) for e, i in zip(entries, inside)])


def _above(t: Any, entries: Sequence[Any], degree: Any) -> Any:
    """The sum of (entry - t)**degree over entries above t."""
    if isinstance(degree, (int, arb)):
        return _total([(e - t) ** degree for e in entries]) if entries else arb(0)
    return _total([power(e - t, degree) for e in entries])


def _whole(ball: Any) -> Any:
    """An int if the ball is one, so that its powers are exact."""
    return int(ball.unique_fmpz()) if ball.is_exact() and ball.is_integer() else ball


_roots: dict[Any, Any] = {}


def _root(entries: Sequence[Any], power: Any) -> Any:
    """A ball around the t for which the powers of entry - t, all positive, sum to 1."""
    # Every direction in which a row is differentiated has the same constants.
    key = ctx.prec, *(tuple(b.man_exp() for b in (e.mid(), e.rad())) for e in (*entries, arb(power)))
    if key not in _roots:
        _roots.clear()
        _roots[key] = _enclosed(entries, power)
    return _roots[key]


def _enclosed(entries: Sequence[Any], power: Any) -> Any:
    largest = entries[_first_maximum([[e] for e in entries])]
    # Convex and falling: Newton's iteration comes closer from below, where the largest alone gives 1.
    t = (largest - 1).mid()
    unit = arb(2) ** -ctx.prec * (1 + abs(t))
    for _ in range(ctx.prec):
        step = ((_above(t, entries, power) - 1) / (power * _above(t, entries, power - 1))).mid()
        t = (t + step).mid()
        if not abs(step) > (unit * 2**16).mid():
            break
    ball = t + arb(0, unit * 2**20)
    # What is proven is proven here: the sum is larger than 1 at one end and smaller at the other.
    if _above(ball.lower(), entries, power) > 1 and _above(ball.upper(), entries, power) < 1:
        return ball
    raise Undecided


def _total(entries: Sequence[Any]) -> Any:
    total = entries[0]
    for entry in entries[1:]:
        total = total + entry
    return total


def power(base: Any, exponent: Any) -> Any:
    if isinstance(base, Vector):
        return Vector([power(e, exponent) for e in base.entries])
    if isinstance(exponent, int):
        if exponent < 0:
            return 1 / power(base, -exponent)
        result: Any = arb(1)
        for _ in range(exponent):
            result = result * base
        return result
    return (series(exponent) * series(base).log()).exp()


class Vector:
    """The entries of one row, with arithmetic between rows or with one number for the whole row."""

    def __init__(self, entries: list[Any]) -> None:
        self.entries = entries

    def __neg__(self) -> Vector:
        return Vector([-e for e in self.entries])

    def __getitem__(self, i: int) -> Any:
        first = self.entries[0]
        if any(e is not first for e in self.entries):
            raise OracleError("a condition along an axis can only depend on what a whole row has in common, as sum(x).")
        return series(first)[i]


def _lifted(operation: Callable[[Any, Any], Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def apply(a: Any, b: Any) -> Vector:
        first = a.entries if isinstance(a, Vector) else itertools.repeat(a)
        second = b.entries if isinstance(b, Vector) else itertools.repeat(b)
        return Vector([operation(p, q) for p, q in zip(first, second)])

    return apply, lambda self, other: apply(other, self)


for _name, _operation in (
    ("add", operator.add),
    ("sub", operator.sub),
    ("mul", operator.mul),
    ("truediv", operator.truediv),
):
    _forward, _reflected = _lifted(_operation)
    setattr(Vector, f"__{_name}__", _forward)
    setattr(Vector, f"__r{_name}__", _reflected)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: _each(name, operator.methodcaller(name))
        for name in ("exp", "log", "sqrt", "sin", "cos", "tan", "atan", "erf", "erfc")
    },
    "tanh": _each("tanh", _tanh),
    "sinc": _each("sinc", _sinc),
    "log1p": _each("log1p", _log1p),
    "expm1": _each("expm1", _expm1),
    "exprel": _each("exprel", _exprel),
    "logrel": _each("logrel", _logrel),
    "positive": _each("positive", _positive),
    "sum": _sum,
    "max": _max,
    "argmax": _argmax,
}
#: Functions of two arguments.
BINARY: dict[str, Callable[..., Any]] = {"concat": _concat, "pool": _pool, "simplex": _simplex}
ALONG_AXIS = ("sum", "max", "argmax", *BINARY)


def _constant(u: Any) -> Any:
    return u[0] if isinstance(u, (arb_series, Vector)) else arb(u)


_decisions: list[bool] | None = None


def _decide(yes: bool, no: bool) -> bool:
    if not yes and not no:
        raise Undecided
    if _decisions is not None:
        _decisions.append(yes)
    return yes


def greater(a: Any, b: Any) -> bool:
    """Whether the number a is greater than b; raises `Undecided` while that is uncertain."""
    return _decide(a > b, a <= b)


def equal(a: Any, b: Any) -> bool:
    """Whether two numbers are equal; raises `Undecided` while that is uncertain."""
    return _decide(a == b, a != b)


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Gt: lambda a, b: greater(_constant(a), _constant(b)),
    ast.LtE: lambda a, b: not greater(_constant(a), _constant(b)),
    ast.Lt: lambda a, b: greater(_constant(b), _constant(a)),
    ast.GtE: lambda a, b: not greater(_constant(b), _constant(a)),
    ast.Eq: lambda a, b: equal(_constant(a), _constant(b)),
    ast.NotEq: lambda a, b: not equal(_constant(a), _constant(b)),
}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)


# From text to code


class Definition:
    """A definition, read once: a function of series for each variable.

    Parameters
    ----------
    text : a Python expression of + - * / **, comparisons, ``a if c else b``, and, or, not, numbers, ``pi``, the variables
        and exp, log, sqrt, sin, cos, tan, atan, erf, erfc, tanh, log1p, expm1, exprel(u) = (e^u - 1) / u,
        logrel(u) = ln(1 + u) / u, sinc(u) = sin(u) / u, positive (the larger of its argument and 0); along an axis also sum,
        max, argmax (1 at the first maximum, 0 elsewhere), ``concat(u, v)``, ``pool(u, n)`` (the maxima of n neighbours) and
        ``simplex(u, p)`` (the positive parts of u - t to the power p, with the t for which they sum to 1). Decimal numbers
        mean what is written: 0.1 is one tenth. ``nan`` stands where the function has no value: ``log(x) if x > 0 else nan``.
    variables : the names that it may use.

    Raises
    ------
    OracleError : it is empty, has a syntax error, or uses anything else.
    """

    def __init__(self, text: str, variables: Sequence[str]) -> None:
        self.text, self.variables = text, tuple(variables)
        self._constants: list[str] = []
        if not text.strip():
            raise OracleError("the activation has no definition. Give definition='x / (1 + exp(-x))' or the like.")
        try:
            tree = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            raise OracleError(f"the definition {text!r} is not a Python expression: {error.msg}.") from None
        body = self._convert(tree)
        arguments = [ast.arg(v) for v in (*variables, "_k")]
        function = ast.Lambda(
            args=ast.arguments(posonlyargs=[], args=arguments, kwonlyargs=[], kw_defaults=[], defaults=[]), body=body
        )
        code = compile(ast.fix_missing_locations(ast.Expression(function)), f"<{text}>", "eval")
        scope = {f"_f_{name}": f for name, f in (FUNCTIONS | BINARY).items()}
        scope |= {f"_c_{kind.__name__}": f for kind, f in _COMPARE.items()}
        self._function = eval(  # a whitelist made this tree
            code, {"__builtins__": {}, "_power": power, "_undefined": _undefined, **scope}
        )
        self._tables: dict[int, list[Any]] = {}

    def _refuse(self, node: ast.AST, what: str) -> OracleError:
        return OracleError(
            f"the definition {self.text!r} uses {what}. It may use numbers, pi, nan, {', '.join(self.variables)}, "
            f"+ - * / **, comparisons, 'a if c else b', and, or, not, and {', '.join(FUNCTIONS | BINARY)}."
        )

    def _call(self, name: str, *arguments: ast.expr) -> ast.expr:
        return ast.Call(func=ast.Name(name, ast.Load()), args=list(arguments), keywords=[])

    def _number(self, text: str) -> ast.expr:
        if text not in self._constants:
            self._constants.append(text)
        index = ast.Constant(self._constants.index(text))
        return ast.Subscript(value=ast.Name("_k", ast.Load()), slice=index, ctx=ast.Load())

    def _convert(self, node: ast.expr) -> ast.expr:
        match node:
            case ast.Constant(value=value) if isinstance(value, (int, float)) and not isinstance(value, bool):
                return self._number(repr(value))
            case ast.Name(id="pi"):
                return self._number("pi")
            case ast.Name(id="nan"):
                return self._call("_undefined")
            case ast.Name(id=name):
                if name not in self.variables:
                    raise self._refuse(node, f"the name {name!r}")
                return ast.Name(name, ast.Load())
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return ast.UnaryOp(ast.USub(), self._convert(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._convert(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.UnaryOp(ast.Not(), self._convert(operand))
            # The same numbers, without the cancellation that would cost precision:
            case ast.BinOp(left=ast.Call(func=ast.Name(id="exp"), args=[u]), op=ast.Sub(), right=ast.Constant(value=1)):
                return self._call("_f_expm1", self._convert(u))
            case ast.Call(func=ast.Name(id="log"), args=[ast.BinOp(left=ast.Constant(value=1), op=ast.Add(), right=u)]):
                return self._call("_f_log1p", self._convert(u))
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                if isinstance(right, ast.Constant) and isinstance(right.value, int):
                    return self._call("_power", self._convert(left), ast.Constant(right.value))
                return self._call("_power", self._convert(left), self._convert(right))
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
                return ast.BinOp(self._convert(left), op, self._convert(right))
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self._convert(v) for v in values])
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ast.IfExp(self._convert(test), self._convert(body), self._convert(orelse))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                sides = [self._convert(s) for s in (left, *comparators)]
                tests = []
                for compared, a, b in zip(ops, sides, sides[1:]):
                    if type(compared) not in _COMPARE:
                        raise self._refuse(node, f"the comparison {type(compared).__name__}")
                    tests.append(self._call(f"_c_{type(compared).__name__}", a, b))
                return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                return self._call(f"_f_{name}", self._convert(argument))
            case ast.Call(func=ast.Name(id=name), args=[first, second], keywords=[]) if name in BINARY:
                # Whole numbers stay so: they are numbers of entries, and powers of them are exact.
                whole = isinstance(second, ast.Constant) and isinstance(second.value, int)
                return self._call(f"_f_{name}", self._convert(first), second if whole else self._convert(second))
        raise self._refuse(node, repr(ast.unparse(node)))

    def __call__(self, *values: Any) -> Any:
        """The value for series (or vectors of series), in the order of `variables`, at the current precision."""
        table = self._tables.get(ctx.prec)
        if table is None:
            table = self._tables[ctx.prec] = [arb.pi() if c == "pi" else arb(c) for c in self._constants]
        return self._function(*values, table)


_definition = lru_cache(maxsize=256)(Definition)

#: What stands in for a definition, by the text that is given as one: a function like a `Definition`, and the folder where
#: its results are kept in place of the cache, since the text does not tell what it computes.
formulas: dict[str, tuple[Callable[..., Any], Path]] = {}


def definition(text: str, variables: tuple[str, ...]) -> Callable[..., Any]:
    """The function of series that a definition means."""
    return formulas[text][0] if text in formulas else _definition(text, variables)


# Certainty


@contextmanager
def _precision(bits: int, terms: int) -> Iterator[None]:
    before = ctx.prec, ctx.cap
    ctx.prec, ctx.cap = bits, terms
    try:
        yield
    finally:
        ctx.prec, ctx.cap = before


def _pair(ball: Any, bits: int, floor: Any, partial: bool) -> tuple[float, float] | None:
    """A number as the unevaluated sum of two floats, or None while it is uncertain; no ball is NaN.

    In a `partial` function a ball that is NaN is certain.
    """
    if ball is None or (partial and ball.is_nan()):
        return (math.nan, math.nan)
    if ball.rel_accuracy_bits() >= bits:
        high = float(ball)
        return (high, 0.0) if math.isinf(high) else (high, float(ball - high))
    return (0.0, 0.0) if abs(ball) < floor else None


def _certain(
    count: int,
    point: Callable[[int], Sequence[tuple[Any, int]]],
    terms: int,
    tiny: int,
    what: Callable[[int], str],
    partial: bool = False,
) -> np.ndarray:
    """``point(i)`` gives balls and the bits they are needed to; the result has shape (count, balls, 2).

    With `partial` a derivative that is NaN is one that does not exist, not one that is uncertain.
    """
    rows: list[Any] = [None] * count
    todo = list(range(count))
    bits = START
    floor = arb(2) ** tiny
    while todo:
        if bits > LIMIT:
            raise OracleError(f"{what(todo[0])} is not certain at {LIMIT} bits.")
        again = []
        with _precision(bits, terms):
            for i in todo:
                try:
                    pairs = [_pair(ball, need, floor, partial) for ball, need in point(i)]
                except (ValueError, ZeroDivisionError, Undecided):
                    again.append(i)
                    continue
                if None in pairs:
                    again.append(i)
                else:
                    rows[i] = pairs
        todo, bits = again, bits * 2
    return np.asarray(rows, dtype=np.float64).reshape(count, -1, 2)


def _settled(far: np.ndarray) -> np.ndarray:
    """The limit of numbers at ever farther points, the first axis: NaN where there is none."""
    size, last = np.abs(far), far[-1]
    with np.errstate(invalid="ignore"):
        growing = (np.diff(size, axis=0) > 0) & (np.sign(far[1:]) == np.sign(last)) & (size[-1] > 2.0**100)
        fading = (np.diff(size, axis=0) <= 0) & (size[-1] < 2.0**-100)
    same = (far == last).all(axis=0)
    limit = np.where(growing.all(axis=0), np.copysign(np.inf, last), np.nan)
    return np.where(same, last, np.where(fading.all(axis=0), 0.0, limit))


# Elementwise


def _elementwise(
    text: str,
    names: tuple[str, ...],
    arrays: Sequence[np.ndarray],
    wanted: Sequence[Wrt],
    scaling: Sequence[Wrt],
    tiny: int,
) -> np.ndarray:
    """All finite: shape (points, derivatives, 2)."""
    f = definition(text, names)
    everything = [*((w, JUDGED) for w in wanted), *((w, SCALING) for w in scaling)]
    terms = 1 + max(len(w) for w, _ in everything)
    columns = [a.tolist() for a in arrays]
    axes = {n: tuple(int(m == n) for m in names) for n in names}
    used = sorted({n for w, _ in everything for n in w}, key=names.index) or [names[0]]
    main = axes[used[0]]
    plan: list[tuple[Wrt, int, Any, Any, Any]] = []
    for w, need in everything:
        different = sorted(set(w), key=names.index)
        if len(different) <= 1:
            direction = axes[different[0]] if different else main
            plan.append((w, need, direction, None, None))
            continue
        if len(different) > 2:
            raise OracleError(f"no rule for the derivative {w}.")
        twice, once = sorted(different, key=w.count, reverse=True)
        plus = tuple(p + q for p, q in zip(axes[twice], axes[once]))
        minus = tuple(p - q for p, q in zip(axes[twice], axes[once]))
        plan.append((w, need, plus, (axes[twice], minus), axes[once]))
    directions = {d for _, _, p, others, once in plan for d in (p, once, *((others[0],) if others else ())) if d}
    directions |= {others[1] for w, _, _, others, _ in plan if others and len(w) == 3}

    def point(i: int) -> list[tuple[Any, int]]:
        at = [c[i] for c in columns]
        along: dict[Any, Any] = {}
        try:
            for direction in directions:
                along[direction] = series(f(*(arb_series([v, s]) if s else arb(v) for v, s in zip(at, direction))))
        except _Undefined:
            return [(None, need) for _, need in everything]
        balls = []
        for w, need, direction, others, once in plan:
            order = len(w)
            if others is None:
                ball = along[direction][order]
                balls.append((ball if order < 2 else ball * (2 if order == 2 else 6), need))
            elif order == 2:
                balls.append((along[direction][2] - along[others[0]][2] - along[once][2], need))
            else:
                balls.append((along[direction][3] - along[others[1]][3] - 2 * along[once][3], need))
        return balls

    where = lambda i: f"{text!r} at {dict(zip(names, (c[i] for c in columns)))}"
    return _certain(len(columns[0]), point, terms, tiny, where, partial=text in formulas)


def derivatives(
    text: str,
    inputs: Mapping[str, np.ndarray],
    wanted: Sequence[Wrt],
    scaling: Sequence[Wrt] = (),
    *,
    tiny: int = -1100,
) -> dict[Wrt, Pair]:
    """Derivatives of an elementwise definition.

    Parameters
    ----------
    text : the definition.
    inputs : a float64 array for each variable, all of one shape. At an infinite entry the limit is meant.
    wanted : what to differentiate in, ``()`` for the value, ``("x", "x")`` for the second derivative, up to order 3 in
        at most two different variables.
    scaling : further ones that are needed to a few digits only.
    tiny : magnitudes below 2**tiny may be given as 0.

    Returns
    -------
    dict : for each derivative a pair of float64 arrays, high and low, whose unevaluated sum is the true number to 110
        bits. NaN where an input is NaN and where there is no limit.
    """
    names = tuple(inputs)
    arrays = [np.asarray(a, dtype=np.float64).ravel() for a in inputs.values()]
    everything = [*wanted, *scaling]
    result = np.full((arrays[0].size, len(everything), 2), np.nan)
    nan = np.logical_or.reduce([np.isnan(a) for a in arrays])
    infinite = np.logical_or.reduce([np.isinf(a) for a in arrays]) & ~nan
    finite = ~nan & ~infinite
    if finite.any():
        result[finite] = _elementwise(text, names, [a[finite] for a in arrays], wanted, scaling, tiny)
    if infinite.any():
        far = [
            _elementwise(
                text,
                names,
                [np.where(np.isinf(a), np.copysign(2.0**k, a), a)[infinite] for a in arrays],
                wanted,
                scaling,
                -1000,
            )[..., 0]
            for k in FAR
        ]
        result[infinite, :, 0] = _settled(np.stack(far))
        result[infinite, :, 1] = 0.0
    shape = np.asarray(next(iter(inputs.values()))).shape
    return {w: (result[:, i, 0].reshape(shape), result[:, i, 1].reshape(shape)) for i, w in enumerate(everything)}


def branches(text: str, inputs: Mapping[str, np.ndarray]) -> list[tuple[bool, ...]]:
    """At each point the decisions on the way through a definition: where they change, it may have a kink."""
    global _decisions
    f = definition(text, tuple(inputs))
    found = []
    try:
        for at in zip(*(np.asarray(a, dtype=np.float64).tolist() for a in inputs.values())):
            _decisions = []
            with _precision(START, 1), suppress(ValueError, ZeroDivisionError, Undecided):
                f(*map(arb, at))
            found.append(tuple(_decisions))
    finally:
        _decisions = None
    return found


# Along an axis

#: what can be asked for, and how many times that differentiates.
KINDS = {"value": 0, "jvp": 1, "vjp": 1, "second": 2}


def _axis(
    text: str,
    names: tuple[str, ...],
    kind: str,
    rows: np.ndarray,
    width: int,
    cotangent: np.ndarray,
    direction: np.ndarray,
    ulps: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    tiny: int,
    options: Mapping[str, int],
    vectors: Sequence[str],
) -> np.ndarray:
    """All finite: shape (rows, results, 3), the true number as high and low, and its slack."""
    f = definition(text, (*names, *options))
    whole = tuple(options.values())
    size = rows.shape[1]
    ends = list(itertools.accumulate(width if n in vectors else 1 for n in names))
    parts = [slice(end - width, end) if n in vectors else end - 1 for n, end in zip(names, ends)]
    units = [tuple(float(i == j) for j in range(size)) for i in range(size)]
    everything = rows.tolist(), cotangent.tolist(), direction.tolist()
    widths = [u.tolist() for u in ulps] if ulps is not None else None
    order = KINDS[kind] + (ulps is not None)
    # The second derivative is bilinear in two directions, the third trilinear: both by polarisation.
    add = lambda *vs: tuple(map(sum, zip(*vs)))

    def point(i: int) -> list[tuple[Any, int]]:
        at, c, d = (e[i] for e in everything)
        memory: dict[Any, list[Any]] = {}

        def along(v: tuple[float, ...]) -> list[Any]:
            found = memory.get(v)
            if found is None:
                z = [arb_series([p, q] if order else [p]) for p, q in zip(at, v)]
                z_parts = [Vector(z[part]) if isinstance(part, slice) else z[part] for part in parts]
                y = f(*z_parts, *whole)
                found = memory[v] = [series(e) for e in y.entries]
            return found

        def first(v: tuple[float, ...]) -> list[Any]:
            return [e[1] for e in along(v)]

        def second(v: tuple[float, ...], w: tuple[float, ...]) -> list[Any]:
            return [p[2] - q[2] - r[2] for p, q, r in zip(along(add(v, w)), along(v), along(w))]

        def contract(entries: Sequence[Any], weights: Sequence[float] = c) -> Any:
            return _total([e * arb(s) for e, s in zip(entries, weights)])

        def third(u: tuple[float, ...], v: tuple[float, ...], w: tuple[float, ...]) -> Any:
            signs = ((1, (u, v, w)), (-1, (u, v)), (-1, (u, w)), (-1, (v, w)), (1, (u,)), (1, (v,)), (1, (w,)))
            return _total([s * contract([e[3] for e in along(add(*vs))]) for s, vs in signs])

        t = tuple(d)
        if kind == "value":
            judged = [e[0] for e in along(units[0])]
        elif kind == "jvp":
            judged = first(t)
        elif kind == "vjp":
            judged = [contract(first(u)) for u in units]
        else:
            judged = [contract(second(t, u)) for u in units[:width]]
        balls = [(b, JUDGED) for b in judged]
        if widths is None:
            return balls
        ulp_z, ulp_c, ulp_d = (w[i] for w in widths)
        slack: list[Any] = []
        if kind == "value":
            partials = [first(u) for u in units]
            for j in range(len(judged)):
                slack.append(_total([abs(p[j]) * arb(s) for p, s in zip(partials, ulp_z)]))
        elif kind == "jvp":
            partials, curved = [first(u) for u in units], [second(t, u) for u in units]
            for j in range(len(judged)):
                own = _total([abs(p[j]) * arb(s) for p, s in zip(partials, ulp_d)])
                slack.append(own + _total([abs(p[j]) * arb(s) for p, s in zip(curved, ulp_z)]))
        elif kind == "vjp":
            for u in units:
                own = _total([abs(p) * arb(s) for p, s in zip(first(u), ulp_c)])
                slack.append(own + _total([abs(contract(second(u, v))) * arb(s) for v, s in zip(units, ulp_z)]))
        else:
            for u in units[:width]:
                own = _total([abs(p) * arb(s) for p, s in zip(second(t, u), ulp_c)])
                other = _total([abs(contract(second(v, u))) * arb(s) for v, s in zip(units, ulp_d)])
                slack.append(own + other + _total([abs(third(t, u, v)) * arb(s) for v, s in zip(units, ulp_z)]))
        return balls + [(b, SCALING) for b in slack]

    pairs = _certain(len(rows), point, order + 1, tiny, lambda i: f"{text!r} ({kind}) at the row {rows[i].tolist()}")
    count = pairs.shape[1] if ulps is None else pairs.shape[1] // 2
    slack = np.zeros((len(rows), count, 1)) if ulps is None else pairs[:, count:, :1]
    return np.concatenate([pairs[:, :count], slack], axis=2)


def along_axis(
    text: str,
    parameters: Sequence[str],
    kind: str,
    rows: np.ndarray,
    width: int,
    *,
    cotangent: np.ndarray,
    direction: np.ndarray,
    ulps: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    tiny: int = -1100,
    options: Mapping[str, int] | None = None,
    vectors: Sequence[str] = (),
) -> np.ndarray:
    """Values and derivatives of a definition along an axis, row by row.

    Parameters
    ----------
    text, parameters : the definition and the names of its parameters.
    kind : "value"; "jvp" along `direction`; "vjp", the gradient of the sum of the result weighted by `cotangent`;
        "second", the derivative of that along `direction`.
    rows : shape (rows, inputs); the first `width` entries are x, the others the parameters.
    cotangent, direction : shapes (rows, results) and (rows, inputs).
    ulps : the ulp of every entry of rows, cotangent and direction; without them no slack is computed.
    tiny : magnitudes below 2**tiny may be given as 0.
    options : whole numbers that the definition uses.
    vectors : the parameters that have `width` entries, as x has; the others have one.

    Returns
    -------
    array of shape (rows, results, 3) : high and low part of the true number, and its slack: how far an ulp in each input
        moves it. NaN where there is no limit, and where an input is NaN for what depends on that input.
    """
    names = ("x", *parameters)
    nan, infinite = np.isnan(rows).any(axis=1), np.isinf(rows).any(axis=1)
    infinite &= ~nan
    finite = ~nan & ~infinite
    sizes = {"vjp": rows.shape[1], "second": width}
    results = sizes[kind] if kind in sizes else cotangent.shape[1]
    out = np.full((len(rows), results, 3), np.nan)

    def evaluate(which: np.ndarray, replaced: np.ndarray, floor: int, slack: bool = True) -> np.ndarray:
        chosen = (ulps[0][which], ulps[1][which], ulps[2][which]) if slack and ulps is not None else None
        along = cotangent[which], direction[which]
        return _axis(text, names, kind, replaced, width, *along, chosen, floor, options or {}, ("x", *vectors))

    if finite.any():
        out[finite] = evaluate(finite, rows[finite], tiny)
    if infinite.any():
        # Infinities that go at different speeds must have the same limit as ones that go together; the slack is the larger one.
        limits, slacks = [], []
        for speed in (0.0, 0.125):
            rate = 1 + speed * np.arange(rows.shape[1])
            far = [
                evaluate(
                    infinite,
                    np.where(np.isinf(rows), np.copysign(2.0**k * rate, rows), rows)[infinite],
                    -1000,
                    slack=k == FAR[-1],
                )
                for k in FAR
            ]
            limits.append(_settled(np.stack(far)[..., 0]))
            slacks.append(np.where(np.isfinite(far[-1][..., 2]), far[-1][..., 2], 0.0))
        limit, other = limits
        out[infinite, :, 0] = np.where(limit == other, limit, np.nan)
        out[infinite, :, 1] = 0.0
        out[infinite, :, 2] = np.maximum(*slacks)
    if nan.any():
        low, high = (
            along_axis(
                text,
                parameters,
                kind,
                np.where(np.isnan(rows), number, rows)[nan],
                width,
                cotangent=cotangent[nan],
                direction=direction[nan],
                options=options,
            )
            for number in (-1000.0, 1000.0)
        )
        out[nan] = np.where(low == high, low, np.nan)
    return out


# Cache


def key(*parts: Any) -> str:
    """A name for everything a result depends on: text, numbers and arrays."""
    digest = hashlib.sha256(str(VERSION).encode())
    for part in parts:
        digest.update(b"|")
        digest.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    name = digest.hexdigest()[:32]
    folder = next((formulas[p][1] for p in parts if isinstance(p, str) and p in formulas), None)
    return name if folder is None else str(folder / name)


def load(name: str) -> np.ndarray | None:
    """A cached array, or None when there is none that can be read."""
    try:
        return np.load(cache.directory("truth") / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def save(name: str, array: np.ndarray) -> None:
    """Put an array into the cache: written whole under another name, then renamed."""
    path = cache.directory("truth") / f"{name}.npy"  # or the path itself, if the name is one
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        np.save(temporary, array)
