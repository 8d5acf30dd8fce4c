"""The derivatives of a definition as text, by SymPy."""

from __future__ import annotations

import ast
import importlib.util
from typing import Any

from .declaration import Activation

_RELATIONS = {ast.Gt: "Gt", ast.GtE: "Ge", ast.Lt: "Lt", ast.LtE: "Le", ast.Eq: "Eq", ast.NotEq: "Ne"}


def derivatives(activation: Activation) -> list[str]:
    """The first and second derivative of the definition in x, as Python expressions.

    They say what is computed, not how: the formulas that are evaluated are written so that they lose no digits.

    Returns
    -------
    list of two str : empty when SymPy is not installed, and for an activation without a definition or that is not pointwise.
    """
    if activation.kind != "pointwise" or not activation.definition or importlib.util.find_spec("sympy") is None:
        return []
    import sympy

    names = {name: sympy.Symbol(name, real=True) for name in ("x", *(p.name for p in activation.parameters))}
    scope = {
        **vars(sympy),
        "log1p": lambda u: sympy.log(1 + u),
        "expm1": lambda u: sympy.exp(u) - 1,
        "exprel": lambda u: (sympy.exp(u) - 1) / u,
        "logrel": lambda u: sympy.log(1 + u) / u,
        **names,
        "__builtins__": {},
    }
    pieces = []
    for body, test in _pieces(ast.parse(activation.definition, mode="eval").body):
        code = compile(ast.fix_missing_locations(ast.Expression(_Symbolic().visit(body))), "<definition>", "eval")
        pieces.append((sympy.sympify(eval(code, scope)), test))
    found = []
    for order in (1, 2):
        derived = [(sympy.factor_terms(sympy.diff(body, names["x"], order)), test) for body, test in pieces]
        texts = [sympy.sstr(body, full_prec=False) for body, _ in derived]
        whole = [text + test for text, (_, test) in zip(texts, derived)]
        found.append(texts[0] if len(set(texts)) == 1 else " else ".join(whole))
    return found


def _pieces(node: ast.expr) -> list[tuple[ast.expr, str]]:
    """``a if p else b if q else c`` as [(a, " if p"), (b, " if q"), (c, "")]."""
    if isinstance(node, ast.IfExp):
        return [(node.body, f" if {ast.unparse(node.test)}"), *_pieces(node.orelse)]
    return [(node, "")]


class _Symbolic(ast.NodeTransformer):
    """A definition as an expression that SymPy can evaluate: its own numbers, conditions and pieces."""

    def _call(self, name: str, *arguments: Any) -> ast.expr:
        return ast.Call(ast.Name(name, ast.Load()), [self.visit(a) for a in arguments], [])

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        kind = "Integer" if isinstance(node.value, int) else "Float"
        return ast.Call(ast.Name(kind, ast.Load()), [ast.Constant(repr(node.value))], [])

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        yes = ast.Tuple([self.visit(node.body), self.visit(node.test)], ast.Load())
        no = ast.Tuple([self.visit(node.orelse), ast.Name("true", ast.Load())], ast.Load())
        return ast.Call(ast.Name("Piecewise", ast.Load()), [yes, no], [])

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [node.left, *node.comparators]
        tests = [self._call(_RELATIONS[type(op)], a, b) for op, a, b in zip(node.ops, sides, sides[1:])]
        return ast.Call(ast.Name("And", ast.Load()), tests, [])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return self._call("And" if isinstance(node.op, ast.And) else "Or", *node.values)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.op, ast.Not):
            return self._call("Not", node.operand)
        return self.generic_visit(node)  # type: ignore[return-value]
