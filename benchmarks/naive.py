"""The definition of an activation as somebody would type it: the text, operation by operation, with a framework's functions.

>>> import numpy as np
>>> from multiact.registry import get
>>> print(source(get("mish")))
def naive(x):
    t1 = exp(x)
    t2 = 1 + t1
    t3 = log(t2)
    t4 = tanh(t3)
    t5 = x * t4
    return t5
>>> naive(get("mish"), lambda name: getattr(np, name))(np.asarray([0.0, 1.0]))
array([0.        , 0.86509839])
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from multiact.declaration import Activation, Array, Axiswise

_OPERATORS: dict[type[ast.AST], tuple[str, Callable[..., Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.Pow: ("**", operator.pow),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}
_ELEMENTARY = ("exp", "log", "sqrt", "sin", "cos", "tan", "atan", "tanh", "log1p", "expm1", "erf", "erfc")
#: Functions of a definition that frameworks do not have, in those that they have.
_DERIVED = {
    "positive": "u if u > 0 else 0",
    "exprel": "1 if u == 0 else expm1(u) / u",
    "logrel": "1 if u == 0 else log1p(u) / u",
    "sinc": "1 if u == 0 else sin(u) / u",
}
_INPUTS = {"pointwise": ("x",), "gated": ("value", "x"), "axiswise": ("x",)}


class _Name(str):
    """What a line of the program is assigned to; numbers are Python numbers."""


class _Program:
    """The lines that evaluate an expression. What occurs twice is computed once, and what is known is no operation."""

    def __init__(self, axis: int) -> None:
        self.lines: list[str] = []
        self.used: set[str] = set()
        self._axis, self._known = axis, dict[str, _Name]()

    def value(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        """The name or the number that an expression stands for, with `scope` for its variables."""
        match node:
            case ast.Constant(value):
                return value
            case ast.Name(name):
                return scope[name]
            case ast.UnaryOp(ast.USub(), operand):
                inner = self.value(operand, scope)
                return self._line(f"-{inner}") if isinstance(inner, _Name) else -inner
            case ast.BinOp(left, operation, right):
                return self._operation(operation, self.value(left, scope), self.value(right, scope))
            case ast.Compare(left, [comparison], [right]):
                return self._operation(comparison, self.value(left, scope), self.value(right, scope))
            case ast.IfExp(test, body, orelse):
                condition = self.value(test, scope)
                if not isinstance(condition, _Name):
                    return self.value(body if condition else orelse, scope)
                yes, no = self.value(body, scope), self.value(orelse, scope)
                if not isinstance(yes, _Name) and not isinstance(no, _Name):
                    yes = self._line(f"{self._use('full_like')}({scope['x']}, {float(yes)!r})")
                return self._line(f"{self._use('where')}({condition}, {_written(yes)}, {_written(no)})")
            case ast.Call(ast.Name(name), arguments):
                return self._call(name, [self.value(a, scope) for a in arguments], scope)
        raise NotImplementedError(f"{ast.unparse(node)} cannot be written with a framework's operations alone.")

    def _operation(self, kind: ast.AST, a: Any, b: Any) -> Any:
        sign, function = _OPERATORS[type(kind)]
        if isinstance(a, _Name) or isinstance(b, _Name):
            return self._line(f"{a} {sign} {b}")
        return function(a, b)

    def _call(self, name: str, given: list[Any], scope: Mapping[str, Any]) -> Any:
        if name in _DERIVED:
            return self.value(ast.parse(_DERIVED[name], mode="eval").body, {**scope, "u": given[0]})
        if name in _ELEMENTARY:
            if not isinstance(given[0], _Name):
                return getattr(math, name)(given[0])
            return self._line(f"{self._use(name)}({given[0]})")
        if name in ("sum", "max"):
            return self._line(f"{self._use(name)}({given[0]}, axis={self._axis}, keepdims=True)")
        if name == "concat":
            return self._line(f"{self._use(name)}(({', '.join(given)}), axis={self._axis})")
        raise NotImplementedError(f"{name} of a definition is more than a few operations of a framework.")

    def _use(self, name: str) -> str:
        self.used.add(name)
        return name

    def _line(self, text: str) -> _Name:
        if text not in self._known:
            self._known[text] = _Name(f"t{len(self._known) + 1}")
            self.lines.append(f"{self._known[text]} = {text}")
        return self._known[text]


def _written(value: Any) -> str:
    return value if isinstance(value, _Name) else repr(float(value))


def _program(activation: Activation, parameters: Mapping[str, float]) -> tuple[str, set[str]]:
    function = activation.function
    axis = function.fixed_axis if isinstance(function, Axiswise) else None
    program = _Program(-1 if axis is None else axis)
    inputs = (*_INPUTS[activation.kind], *(p.name for p in activation.parameters if p.random and p.default is None))
    scope: dict[str, Any] = {p.name: parameters.get(p.name, p.default) for p in activation.parameters}
    scope |= {"pi": math.pi, "nan": math.nan, **{o.name: o.default for o in activation.options}}
    scope |= {name: _Name(name) for name in inputs}
    result = program.value(ast.parse(activation.definition, mode="eval").body, scope)
    lines = [f"def naive({', '.join(inputs)}):", *program.lines, f"return {result}"]
    return "\n    ".join(lines), program.used


def source(activation: Activation, parameters: Mapping[str, float] | None = None) -> str:
    """The program of `naive` as text.

    Raises
    ------
    NotImplementedError : the definition needs more than operations that frameworks have.
    """
    return _program(activation, parameters or {})[0]


def naive(
    activation: Activation,
    operation: Callable[[str], Callable[..., Array]],
    parameters: Mapping[str, float] | None = None,
) -> Callable[..., Array]:
    """The definition as a function of the inputs, evaluated and differentiated by the framework alone.

    Parameters
    ----------
    operation : gives a framework's function by its name; see `multiact.protocols.Timed`.
    parameters : numbers that are not the defaults.

    Raises
    ------
    NotImplementedError : the definition needs more than operations that the framework has.
    """
    text, used = _program(activation, parameters or {})
    # "nan" is what an unused branch of a definition gives.
    scope: dict[str, Any] = {"nan": math.nan, "inf": math.inf, **{name: operation(name) for name in used}}
    exec(compile(text, f"<definition of {activation.name}>", "exec"), scope)  # noqa: S102 - made of a whitelist
    found: Callable[..., Array] = scope["naive"]
    return found
