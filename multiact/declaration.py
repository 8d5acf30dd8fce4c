"""What an activation function is: its value, its derivatives, its parameters and the facts about it.

A formula is a plain function ``f(xp, x, /, *, alpha=1.0)`` written with the array API standard alone, where ``xp`` is the
namespace of ``x``. The derivatives form a tower: the value, its partials and the second derivative are each an
`Elementwise` function that knows its own partials, so that a backend can register every one of them with the
framework's automatic differentiation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import DefinitionError, MissingDerivativeError, ParameterError

Array = Any
Body = Callable[..., Array]
Kind = Literal["pointwise", "gated", "axiswise"]

DTYPES = ("float32", "float64", "float16", "bfloat16")

_half: dict[Any, bool] = {}


def is_half(dtype: Any) -> bool:
    """Whether a dtype of any framework is float16 or bfloat16, which are computed in float32."""
    known = _half.get(dtype)
    if known is None:
        known = _half[dtype] = "float16" in str(dtype)
    return known


def widen(xp: Any, x: Array) -> Array:
    """`x` in the precision it is computed in: float32 for 16-bit input, its own otherwise."""
    return xp.astype(x, xp.float32) if is_half(x.dtype) else x


@dataclass(frozen=True)
class Interval:
    """An interval of real numbers, written as in mathematics: ``Interval.parse("(0, inf)")``."""

    low: float
    high: float
    low_open: bool
    high_open: bool

    @classmethod
    def parse(cls, text: str) -> Interval:
        match = re.fullmatch(r"\s*([\[(])\s*([^,]+),\s*([^\])]+)([\])])\s*", text)
        if match is None:
            raise DefinitionError(f"{text!r} is not an interval. Write it as '(0, inf)' or '[0, 1]'.")
        return cls(float(match[2]), float(match[3]), match[1] == "(", match[4] == ")")

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        return f"{'(' if self.low_open else '['}{self.low:g}, {self.high:g}{')' if self.high_open else ']'}"


@dataclass(frozen=True)
class Parameter:
    """A numeric parameter of an activation. Any of them can be made learnable in a Module or Layer.

    Attributes
    ----------
    name : the keyword under which it is passed.
    default : its default value; None when it has to be given.
    allowed : the interval of values that make sense. Values given as arrays are not checked.
    learned : whether it is learned unless asked otherwise, as the slope of PReLU is.
    broadcast : "channel" when it may also hold one value for each entry of a channel axis, "scalar" otherwise.
    description : one phrase for the documentation.
    """

    name: str
    default: float | None
    allowed: Interval = Interval(-math.inf, math.inf, True, True)
    learned: bool = False
    broadcast: Literal["channel", "scalar"] = "channel"
    description: str = ""

    def check(self, value: Any, owner: str) -> Any:
        """`value` as a Python float if it is a number, unchanged if it is an array; raises `ParameterError`."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value not in self.allowed:
                raise ParameterError(
                    f"{owner}: {self.name} must be in {self.allowed}. Received: {self.name}={value!r}."
                )
            return float(value)
        if value is None or isinstance(value, (str, bytes, bool, complex, list, tuple, dict)):
            raise ParameterError(
                f"{owner}: {self.name} must be a number or an array that broadcasts to the input. "
                f"Received: {self.name}={value!r}."
            )
        return value


@dataclass(frozen=True)
class Option:
    """A setting that is not differentiable: the axis of a softmax, the side of the gate, which GELU.

    When `variants` is given, each choice names the activation that the option selects.
    """

    name: str
    default: Any
    choices: tuple[Any, ...] | None = None
    variants: Mapping[str, str] | None = None
    description: str = ""

    def check(self, value: Any, owner: str) -> Any:
        if self.choices is None:
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"{owner}: {self.name} must be an integer. Received: {self.name}={value!r}.")
        elif value not in self.choices:
            raise ParameterError(
                f"{owner}: {self.name} must be one of {list(self.choices)}. Received: {self.name}={value!r}."
            )
        return value


@dataclass(frozen=True)
class Budget:
    """The largest error E that conformance accepts, by order of the derivative, and why when it is not the usual one.

    E = |computed - true| / (ulp(true) + sum over inputs of |partial| ulp(input)).
    """

    value: float = 4.0
    first: float = 4.0
    second: float = 8.0
    reason: str = ""

    def order(self, order: int) -> float:
        return (self.value, self.first, self.second)[order]


class Elementwise:
    """One function in a tower of derivatives: elementwise, of one or more arrays that broadcast to the first.

    Attributes
    ----------
    name : "silu", "silu/x", "silu/x/x", "silu/beta": what was differentiated in what.
    arguments : the names of its array arguments, the inputs first, then the parameters.
    order : how many times it was differentiated.
    """

    name: str
    arguments: tuple[str, ...]
    order: int

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        """The formula itself, in the precision of the arguments given."""
        raise NotImplementedError

    def partial(self, argument: str) -> Elementwise | None:
        """The derivative in one argument, or None when it is not declared."""
        raise NotImplementedError

    def require(self, argument: str) -> Elementwise | None:
        """As `partial`, but a missing one raises on the value, where nothing may be left to chance.

        Above the value, None tells the backend to let the framework differentiate the formula.
        """
        partial = self.partial(argument)
        if partial is None and self.order == 0:
            raise MissingDerivativeError(
                f"{self.name} has no declared derivative in {argument!r}, so no gradient can be given for it. "
                f"Declare it with derivatives={{{argument!r}: ...}} in multiact.define, or pass {argument} as a "
                f"Python number."
            )
        return partial

    def evaluate(self, xp: Any, *arguments: Array) -> Array:
        """The formula with 16-bit input computed in float32 and rounded once; the result has the dtype of the first."""
        dtype = arguments[0].dtype
        if is_half(dtype):
            arguments = tuple(xp.astype(a, xp.float32) if hasattr(a, "dtype") else a for a in arguments)
            return xp.astype(self(xp, *arguments), dtype)
        return self(xp, *(xp.astype(a, dtype) if getattr(a, "dtype", dtype) != dtype else a for a in arguments))

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.arguments)})>"


class Tower(Elementwise):
    """The formulas of a pointwise activation, by what they are differentiated in."""

    def __init__(self, name: str, bodies: Mapping[tuple[str, ...], Body], parameters: tuple[str, ...]) -> None:
        self._root = name
        self._bodies = bodies
        self.arguments = ("x", *parameters)
        self._parameters = parameters
        self._nodes: dict[tuple[str, ...], Tower] = {(): self}
        self._wrt: tuple[str, ...] = ()
        self._body = bodies[()]
        self.name, self.order = name, 0

    def __call__(self, xp: Any, x: Array, *parameters: Array) -> Array:
        return self._body(xp, x, **dict(zip(self._parameters, parameters)))

    def partial(self, argument: str) -> Elementwise | None:
        wrt = tuple(sorted((*self._wrt, argument), key=self.arguments.index))
        if wrt not in self._bodies:
            return None
        node = self._nodes.get(wrt)
        if node is None:
            node = Tower.__new__(Tower)
            node.__dict__.update(self.__dict__)
            node._wrt, node._body = wrt, self._bodies[wrt]
            node.name, node.order = "/".join((self._root, *wrt)), len(wrt)
            self._nodes[wrt] = node
        return node


class Bound(Elementwise):
    """A tower with some of its parameters fixed, for presets such as quick_gelu (silu with beta = 1.702)."""

    def __init__(self, name: str, inner: Elementwise, fixed: Mapping[str, float]) -> None:
        self.name, self.order, self._inner, self._fixed = name, inner.order, inner, fixed
        self.arguments = tuple(a for a in inner.arguments if a not in fixed)
        self._partials: dict[str, Elementwise | None] = {}

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        given = iter(arguments)
        return self._inner(xp, *(self._fixed[a] if a in self._fixed else next(given) for a in self._inner.arguments))

    def partial(self, argument: str) -> Elementwise | None:
        if argument not in self._partials:
            inner = self._inner.partial(argument)
            self._partials[argument] = None if inner is None else Bound(f"{self.name}/{argument}", inner, self._fixed)
        return self._partials[argument]


class Product(Elementwise):
    """``value * f(gate)``, whose partials follow from those of f."""

    def __init__(self, name: str, inner: Elementwise, times_value: bool = True, order: int = 0) -> None:
        self.name, self.order = name, order
        self.arguments = ("value", "gate", *inner.arguments[1:])
        self._inner, self._times_value = inner, times_value
        self._partials: dict[str, Elementwise | None] = {}

    def __call__(self, xp: Any, value: Array, gate: Array, *parameters: Array) -> Array:
        activated = self._inner(xp, gate, *parameters)
        return value * activated if self._times_value else activated

    def partial(self, argument: str) -> Elementwise | None:
        if argument not in self._partials:
            name = f"{self.name}/{argument}"
            if argument != "value":
                inner = self._inner.partial("x" if argument == "gate" else argument)
                self._partials[argument] = (
                    None if inner is None else Product(name, inner, self._times_value, self.order + 1)
                )
            elif self._times_value:
                self._partials[argument] = Product(name, self._inner, False, self.order + 1)
            else:
                self._partials[argument] = Zero(name, self.arguments, self.order + 1)
        return self._partials[argument]


class Zero(Elementwise):
    """Zero in the shape and dtype of the first argument."""

    def __init__(self, name: str, arguments: tuple[str, ...], order: int) -> None:
        self.name, self.arguments, self.order = name, arguments, order

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        return xp.zeros_like(arguments[0])

    def partial(self, argument: str) -> Elementwise:
        return self


@dataclass(frozen=True)
class Axiswise:
    """A function along an axis, with its derivative in both directions.

    ``value(xp, x, *parameters, axis)`` gives y; ``jvp(xp, arguments, y, tangents, axis)`` the tangent of y, where a tangent
    that is None counts as zero; ``vjp(xp, arguments, y, cotangent, needed, axis)`` a tuple with the cotangent of each
    argument for which `needed` is true, None for the others, each in the shape of `x` (a backend sums the ones of
    parameters down to their own shape). `y` is passed in so that a backend can pass one that is itself
    differentiable: differentiating jvp or vjp once more then goes through this rule again.
    """

    name: str
    arguments: tuple[str, ...]
    value: Body
    jvp: Body
    vjp: Body

    def evaluate(self, xp: Any, x: Array, *parameters: Array, axis: int) -> Array:
        wide = widen(xp, x)
        parameters = tuple(xp.astype(p, wide.dtype) if hasattr(p, "dtype") else p for p in parameters)
        y = self.value(xp, wide, *parameters, axis=axis)
        return xp.astype(y, x.dtype) if y.dtype != x.dtype else y


@dataclass(frozen=True, eq=False)
class Activation:
    """One activation function: everything known about it, in one place.

    Call it with an array of any supported framework: ``multiact.get("silu")(x, beta=1.5)``.

    Attributes
    ----------
    name, aliases, class_name : "silu", ("swish",), "SiLU".
    kind : "pointwise", "gated" or "axiswise".
    family : the catalogue's chapter, for example "rectifiers".
    function : the tower of derivatives (`Elementwise`), or an `Axiswise` function.
    parameters, options : what can be passed beside the input.
    formula : LaTeX.
    definition : the textbook definition as a Python expression in ``x`` and the parameters, independent of how the
        function is computed. The oracle of the conformance suite evaluates this text in ball arithmetic. A condition
        chooses the subgradient at a kink: ``x if x > 0 else 0`` has slope 0 at 0.
    range : the closure of the values taken, (low, high), with the default parameters.
    limits : (at -inf, at +inf), with the default parameters; None where there is none.
    monotonic, smoothness, lipschitz : facts with the default parameters. Smoothness is "C0", "C1", ..., "Cinf", or
        "discontinuous".
    kinks : expressions in the parameters for the x where the value or one of its first two derivatives jumps.
    examples : other settings of the parameters that conformance tests beside the defaults.
    reference : the paper and its year.
    budget : what conformance accepts.
    based_on : for a preset, the name of the activation whose formulas it uses.
    """

    name: str
    kind: Kind
    function: Elementwise | Axiswise
    class_name: str
    family: str = "user"
    aliases: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    options: tuple[Option, ...] = ()
    formula: str = ""
    definition: str = ""
    range: tuple[float, float] | None = None
    limits: tuple[float | None, float | None] | None = None
    monotonic: bool | None = None
    smoothness: str = ""
    lipschitz: float | None = None
    kinks: tuple[str, ...] = ()
    examples: tuple[Mapping[str, float], ...] = ()
    reference: str = ""
    notes: str = ""
    budget: Budget = Budget()
    based_on: str | None = None
    gate_of: str | None = None

    @property
    def settings(self) -> tuple[Parameter | Option, ...]:
        """All that can be passed beside the input: the parameters, then the options."""
        return (*self.parameters, *self.options)

    def __call__(self, *inputs: Array, **parameters: Any) -> Array:
        """The activation of an array, computed by the backend that owns it, differentiable there."""
        from .dispatch import backend_of

        return backend_of(*inputs).function(self)(*inputs, **parameters)

    def derivative(self, x: Array, order: int = 1, wrt: str = "x", **parameters: Any) -> Array:
        """A derivative, elementwise, as a differentiable function of an array of any framework.

        Parameters
        ----------
        x : array of a real floating-point dtype, any shape.
        order : 1 or 2.
        wrt : "x", or the name of a parameter (order 1 only).
        **parameters : as for the activation itself.

        Returns
        -------
        array with the shape and dtype of `x`.

        Raises
        ------
        MissingDerivativeError : it is not declared, or the activation is not pointwise.
        """
        from .dispatch import backend_of
        from .functions import derivative_function

        return derivative_function(self, backend_of(x), order, wrt)(x, **parameters)

    def __repr__(self) -> str:
        given = ", ".join(f"{p.name}={p.default}" for p in self.parameters)
        return f"<activation {self.name}({given})>"


def parameter(
    name: str,
    default: float | None,
    allowed: str = "(-inf, inf)",
    *,
    learned: bool = False,
    broadcast: Literal["channel", "scalar"] = "channel",
    description: str = "",
) -> Parameter:
    """A `Parameter` with its allowed interval written as text."""
    return Parameter(name, default, Interval.parse(allowed), learned, broadcast, description)


def tower(
    name: str, value: Body, derivatives: Mapping[str | tuple[str, ...], Body], parameters: Iterable[Parameter]
) -> Tower:
    """The tower of a pointwise activation from its formulas, keyed by "x", ("x", "x"), "alpha", ("x", "alpha") ..."""
    names = tuple(p.name for p in parameters)
    order = ("x", *names).index
    bodies: dict[tuple[str, ...], Body] = {(): value}
    for key, body in derivatives.items():
        wrt = (key,) if isinstance(key, str) else tuple(key)
        unknown = [n for n in wrt if n not in ("x", *names)]
        if unknown:
            raise DefinitionError(
                f"{name}: a derivative is declared in {unknown[0]!r}, which is neither 'x' nor a parameter. "
                f"Parameters: {list(names)}."
            )
        bodies[tuple(sorted(wrt, key=order))] = body
    if ("x",) not in bodies:
        raise DefinitionError(f"{name}: the first derivative in x is missing. Give derivatives={{'x': ...}}.")
    return Tower(name, bodies, names)
