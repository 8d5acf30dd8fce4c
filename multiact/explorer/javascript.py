"""Formulas as JavaScript: the definition is run once on expressions that write down what is done with them.

Numbers of JavaScript are float64, so that the page computes what NumPy does in float64; tests/test_explorer.py compares them.
"""

from __future__ import annotations

import builtins
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..declaration import Activation, Elementwise

float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
bool = np.dtype("bool")
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e


class Expression:
    """A number or a truth value that is computed in JavaScript: ``text`` over the names of other expressions."""

    __hash__ = object.__hash__
    __array_ufunc__ = None
    shape, ndim, size, device = (), 0, 1, "cpu"

    def __init__(self, text: str, parts: tuple[Expression, ...] = (), dtype: Any = float64) -> None:
        self.text, self.parts, self.dtype = text, parts, dtype

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return sys.modules[__name__]

    def __bool__(self) -> builtins.bool:
        raise TypeError("a formula must not ask whether an array is true: use xp.where.")


def _literal(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "NaN" if math.isnan(value) else repr(float(value))


def _expression(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    if type(value) is builtins.bool:
        return Expression("true" if value else "false", dtype=bool)
    return Expression(_literal(value))


def _made(template: str, dtype: Any = float64) -> Callable[..., Expression]:
    """A function whose result is computed by the template, in which {0}, {1} ... are its arguments."""

    def call(*arguments: Any) -> Expression:
        return Expression(template, tuple(map(_expression, arguments)), dtype)

    return call


def _operators() -> None:
    for name, sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
        make = _made(f"{{0}} {sign} {{1}}")
        setattr(Expression, f"__{name}__", lambda a, b, make=make: make(a, b))
        setattr(Expression, f"__r{name}__", lambda a, b, make=make: make(b, a))
    for name, sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "===", "ne": "!=="}.items():
        make = _made(f"{{0}} {sign} {{1}}", bool)
        setattr(Expression, f"__{name}__", lambda a, b, make=make: make(a, b))
    for name, sign in {"and": "&&", "or": "||"}.items():
        make = _made(f"{{0}} {sign} {{1}}", bool)
        setattr(Expression, f"__{name}__", lambda a, b, make=make: make(a, b))
        setattr(Expression, f"__r{name}__", lambda a, b, make=make: make(b, a))
    others = {"neg": "-{0}", "abs": "Math.abs({0})", "pow": "Math.pow({0}, {1})", "pos": "{0}", "invert": "!{0}"}
    for name, template in others.items():
        setattr(Expression, f"__{name}__", _method(_made(template, bool if name == "invert" else float64)))


def _method(make: Callable[..., Expression]) -> Callable[..., Expression]:
    return lambda *arguments: make(*arguments)


_operators()

NAMES = "exp expm1 log log1p sqrt sin cos tan sinh cosh tanh asin acos atan asinh atanh floor sign"
for _name in NAMES.split():
    globals()[_name] = _made(f"Math.{_name}({{0}})")
abs, ceil, trunc = _made("Math.abs({0})"), _made("Math.ceil({0})"), _made("Math.trunc({0})")
square, negative = _made("{0} * {0}"), _made("-{0}")
isnan, isfinite = _made("Number.isNaN({0})", bool), _made("Number.isFinite({0})", bool)
isinf = _made("Math.abs({0}) === Infinity", bool)
where = _made("({0} ? {1} : {2})")
maximum, minimum = _made("Math.max({0}, {1})"), _made("Math.min({0}, {1})")
logical_and, logical_or, logical_not = _made("{0} && {1}", bool), _made("{0} || {1}", bool), _made("!{0}", bool)


def clip(x: Any, low: Any = None, high: Any = None) -> Expression:
    found = _expression(x)
    if low is not None:
        found = _made("({0} < {1} ? {1} : {0})")(found, low)  # NaN stays NaN
    return found if high is None else _made("({0} > {1} ? {1} : {0})")(found, high)


def zeros_like(x: Any, dtype: Any = None) -> Expression:
    return _expression(0.0)


def ones_like(x: Any, dtype: Any = None) -> Expression:
    return _expression(1.0)


def full_like(x: Any, value: float, dtype: Any = None) -> Expression:
    return _expression(value)


def astype(x: Any, dtype: Any, copy: builtins.bool = True) -> Expression:
    """To float64, which is all there is, or from a truth value to a number."""
    found = _expression(x)
    return _made("Number({0})")(found) if found.dtype == bool else found


def result_type(*given: Any) -> Any:
    return float64


def finfo(dtype: Any) -> Any:
    return np.finfo(np.float64)


def written(result: Any) -> str:
    """The body of a JavaScript function that computes an expression, each part of it once."""
    names: dict[int, str] = {}
    lines: list[str] = []
    numbers = itertools.count()

    def visit(node: Expression) -> str:
        if id(node) in names:
            return names[id(node)]
        if not node.parts:
            return node.text if not node.text.startswith("-") else f"({node.text})"
        text = node.text.format(*[visit(part) for part in node.parts])
        name = names[id(node)] = f"t{next(numbers)}"
        lines.append(f"const {name} = {text};")
        return name

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 20000))
    last = visit(_expression(result))
    return "".join([*lines, f"return {last};"])


def function(formula: Elementwise, names: Mapping[str, str] | None = None) -> str:
    """A JavaScript function of the arguments of a formula, in their order."""
    arguments = [Expression(name) for name in formula.arguments]
    body = written(formula(sys.modules[__name__], *arguments))
    return f"({', '.join(formula.arguments)}) => {{{body}}}"


def tower(activation: Activation) -> list[str]:
    """The value, the first and the second derivative in x of a pointwise activation as JavaScript functions."""
    node: Any = activation.function
    found = []
    for _ in range(3):
        found.append(function(node))
        node = node.require("x")
    return found
