"""What an activation function is: its value, its derivatives, its parameters and the facts about it.

A formula is a plain function ``f(xp, x, /, *, alpha=1.0)`` written with the array API standard alone, where ``xp`` is the
namespace of ``x``. The derivatives form a tower: the value, its partials and the second derivative are each an
`Elementwise` function that knows its own partials, so that a backend can register every one of them with the
framework's automatic differentiation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .errors import DefinitionError, MissingDerivativeError, ParameterError, ShapeError

if TYPE_CHECKING:
    from .facts import Facts

Array = Any
Body = Callable[..., Array]
Kind = Literal["pointwise", "gated", "axiswise"]
Distribution = Literal["uniform", "gumbel"]

DTYPES = ("float32", "float64", "float16", "bfloat16")

#: By the type of the dtype first: torch.compile looks at every key of a dict, and knows those of torch alone.
_half: dict[type, dict[Any, bool]] = {}


def is_half(dtype: Any) -> bool:
    """Whether a dtype of any framework is float16 or bfloat16, which are computed in float32."""
    known = _half.setdefault(type(dtype), {})
    if dtype not in known:
        known[dtype] = "float16" in str(dtype)
    return known[dtype]


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
    random : the distribution from which it is drawn, for each element of the input: in training if it has a default, which
        is for evaluation then, and always if it has none. The last parameter of an activation can be so.
    """

    name: str
    default: float | None
    allowed: Interval = Interval(-math.inf, math.inf, True, True)
    learned: bool = False
    broadcast: Literal["channel", "scalar"] = "channel"
    description: str = ""
    random: Distribution | None = None

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

    When `variants` is given, each choice names the activation that the option selects, or is one that has no name. Without
    `choices` it is an integer, with `least` one that is not smaller.
    """

    name: str
    default: Any
    choices: tuple[Any, ...] | None = None
    variants: Mapping[Any, str | Activation] | None = None
    description: str = ""
    least: int | None = None

    def check(self, value: Any, owner: str) -> Any:
        if self.choices is None:
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"{owner}: {self.name} must be an integer. Received: {self.name}={value!r}.")
            if self.least is not None and value < self.least:
                raise ParameterError(
                    f"{owner}: {self.name} must be at least {self.least}. Received: {self.name}={value!r}."
                )
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
    vanishes : whether it is 0 for all numbers.
    result_suffices : whether its one derivative is the function itself, so that a backend may keep the result for it.
    """

    name: str
    arguments: tuple[str, ...]
    order: int
    vanishes: bool = False
    result_suffices: bool = False

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

    def off_ties(self, xp: Any, y: Array, *arguments: Array) -> Array:
        """A result in float32, before it is rounded to 16 bits: moved off a tie where the formula's is known to lie beside it."""
        return y

    def evaluate(self, xp: Any, *arguments: Array) -> Array:
        """The formula with 16-bit input computed in float32 and rounded once; the result has the dtype of the first."""
        dtype = arguments[0].dtype
        if is_half(dtype):
            arguments = tuple(xp.astype(a, xp.float32) if hasattr(a, "dtype") else a for a in arguments)
            return xp.astype(self.off_ties(xp, self(xp, *arguments), *arguments), dtype)
        return self(xp, *(xp.astype(a, dtype) if getattr(a, "dtype", dtype) != dtype else a for a in arguments))

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.arguments)})>"


class Tower(Elementwise):
    """The formulas of a pointwise activation, by what they are differentiated in.

    Parameters
    ----------
    ties : by the same keys, ``sides(xp, x, y, **parameters)`` with the sign of how much more than y, a float32, the result is, in
        the direction away from 0, where it is closer to y than float32 can tell; 0 where that does not matter.
    """

    def __init__(
        self,
        name: str,
        bodies: Mapping[tuple[str, ...], Body],
        parameters: tuple[str, ...],
        ties: Mapping[tuple[str, ...], Body] | None = None,
    ) -> None:
        self._root = name
        self._bodies = bodies
        self._ties = ties or {}
        self.arguments = ("x", *parameters)
        self._parameters = parameters
        self._nodes: dict[tuple[str, ...], Tower] = {(): self}
        self._wrt: tuple[str, ...] = ()
        self._body = bodies[()]
        self.name, self.order = name, 0
        self.result_suffices = (
            not parameters and all(body is self._body for body in bodies.values()) and len(bodies) > 1
        )

    def __call__(self, xp: Any, x: Array, *parameters: Array) -> Array:
        return self._body(xp, x, **dict(zip(self._parameters, parameters)))

    def off_ties(self, xp: Any, y: Array, x: Array, *parameters: Array) -> Array:  # type: ignore[override]
        sides = self._ties.get(self._wrt)
        if sides is None:
            return y
        side = sides(xp, x, y, **dict(zip(self._parameters, parameters)))
        # by way of the double or the half of y, since the optimiser of onnxscript takes a factor that is nearly 1 for 1
        step = xp.where(side < 0, -(2.0**-22), xp.zeros_like(y))
        factor = 2 + xp.where(side > 0, 2.0**-22, step)
        small = (y < 1) & (y > -1)  # half of which may be subnormal
        moved = factor * xp.where(small, y, 0.25 * y)
        return xp.where(small, 0.5 * moved, 2 * moved)

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
            node.vanishes = getattr(node._body, "vanishes", False)
            self._nodes[wrt] = node
        return node


class Composite(Elementwise):
    """What is made of other functions, and its partials of theirs. Each is made once: a backend knows it by identity."""

    def __init__(self, name: str, arguments: tuple[str, ...], order: int) -> None:
        self.name, self.arguments, self.order = name, arguments, order
        self._partials: dict[str, Elementwise | None] = {}

    def partial(self, argument: str) -> Elementwise | None:
        if argument not in self._partials:
            self._partials[argument] = self._derive(argument, f"{self.name}/{argument}")
        return self._partials[argument]

    def _derive(self, argument: str, name: str) -> Elementwise | None:
        """The partial in `argument`, to be called `name`."""
        raise NotImplementedError


class Bound(Composite):
    """A tower with some of its parameters fixed, for presets such as quick_gelu (silu with beta = 1.702)."""

    def __init__(self, name: str, inner: Elementwise, fixed: Mapping[str, float]) -> None:
        super().__init__(name, tuple(a for a in inner.arguments if a not in fixed), inner.order)
        self._inner, self.fixed = inner, fixed

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        return self._inner(xp, *self._all(arguments))

    def _all(self, arguments: Sequence[Array]) -> list[Array]:
        """The arguments of the tower."""
        given = iter(arguments)
        return [self.fixed[a] if a in self.fixed else next(given) for a in self._inner.arguments]

    def off_ties(self, xp: Any, y: Array, *arguments: Array) -> Array:
        return self._inner.off_ties(xp, y, *self._all(arguments))

    def _derive(self, argument: str, name: str) -> Elementwise | None:
        inner = self._inner.partial(argument)
        return None if inner is None else Bound(name, inner, self.fixed)


class Identity(Elementwise):
    """x itself, a factor that costs nothing; in a derivative of a product it is left out."""

    name, arguments, order = "identity", ("x",), 0

    def __call__(self, xp: Any, x: Array) -> Array:
        return x


class Product(Composite):
    """``outer(value; its parameters) * inner(gate; its parameters)``, whose partials follow from those of its factors.

    A parameter of that name in both factors is one argument of the product.

    Parameters
    ----------
    factors : each a function and which arguments of the product it takes, in its order.
    times : a number that the product is multiplied with.
    """

    def __init__(
        self,
        name: str,
        factors: Sequence[tuple[Elementwise, tuple[str, ...]]],
        arguments: tuple[str, ...],
        order: int = 0,
        times: int = 1,
    ) -> None:
        super().__init__(name, arguments, order)
        self._factors, self._times = tuple(factors), times
        self._at = [(function, [arguments.index(a) for a in taken]) for function, taken in factors]

    @classmethod
    def gated(cls, name: str, outer: Elementwise | None, inner: Sequence[Elementwise]) -> Product:
        """The gated unit of an activation of the value, the identity if None, and one of the gate, itself a product."""
        outer = outer or Identity()
        parameters = dict.fromkeys(a for f in (*inner, outer) for a in f.arguments[1:])
        value, gate = (side + "_" * (side in parameters) for side in ("value", "gate"))  # threshold has a "value"
        factors = [(f, (side, *f.arguments[1:])) for f, side in ((outer, value), *((f, gate) for f in inner))]
        return cls(name, factors, (value, gate, *parameters))

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        product, *rest = [function(xp, *[arguments[i] for i in at]) for function, at in self._at]
        if self._times != 1:
            # A plain number would be moved to a factor that it makes overflow, by TensorFlow's optimiser.
            product = xp.where(xp.isnan(product), product, float(self._times)) * product
        for factor in rest:
            product = product * factor
        return product

    def _derive(self, argument: str, name: str) -> Elementwise | None:
        terms: list[Elementwise] = []
        for factor in dict.fromkeys(self._factors):
            function, taken = factor
            if argument not in taken:
                continue
            factors, i = list(self._factors), self._factors.index(factor)
            if isinstance(function, Identity):
                del factors[i]
            else:
                partial = function.partial(function.arguments[taken.index(argument)])
                if partial is None:
                    return None
                if partial.vanishes:
                    continue
                factors[i] = (partial, taken)
            times = self._times * self._factors.count(factor)
            terms.append(Product(name, factors, self.arguments, self.order + 1, times))
        if not terms:
            return Zero(name, self.arguments, self.order + 1)
        return terms[0] if len(terms) == 1 else Sum(name, terms)


class Sum(Composite):
    """The sum of functions of the same arguments."""

    def __init__(self, name: str, terms: Sequence[Elementwise]) -> None:
        super().__init__(name, terms[0].arguments, terms[0].order)
        self._terms = terms

    def __call__(self, xp: Any, *arguments: Array) -> Array:
        first, *rest = [term(xp, *arguments) for term in self._terms]
        return sum(rest, start=first)

    def _derive(self, argument: str, name: str) -> Elementwise | None:
        partials = [p for term in self._terms if (p := term.partial(argument)) is not None]
        return Sum(name, partials) if len(partials) == len(self._terms) else None


class Zero(Elementwise):
    """What a product does not depend on: 0, and NaN where one of the two inputs is NaN."""

    vanishes = True

    def __init__(self, name: str, arguments: tuple[str, ...], order: int) -> None:
        self.name, self.arguments, self.order = name, arguments, order

    def __call__(self, xp: Any, value: Array, gate: Array, *parameters: Array) -> Array:
        return xp.where(xp.isnan(value), value, xp.where(xp.isnan(gate), gate, 0.0))

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

    Attributes
    ----------
    options : the names of the keywords of these three, all static: "axis" and what else there is, such as "pool_size".
    fixed_axis : the axis, counted from the end, of a function for which it is not an option.
    ranks : how many axes an input may have; empty for any number.
    size : how many entries along the axis come out for how many that go in, ``size(n, pool_size=2)``; raises `ShapeError`.
        None for as many.
    left_out : where some entries of a row can be left out, what these count as in the input and what they become in the
        result: (-inf, 0.0) for softmax. None where there is no number that does not count.
    result_suffices : whether `vjp`, asked for x alone, needs y and not x, so that a backend may keep y instead. It is then
        given None for x.
    """

    name: str
    arguments: tuple[str, ...]
    value: Body
    jvp: Body
    vjp: Body
    options: tuple[str, ...] = ("axis",)
    fixed_axis: int | None = None
    ranks: tuple[int, ...] = ()
    size: Callable[..., int] | None = None
    left_out: tuple[float, float] | None = None
    result_suffices: bool = False

    def evaluate(self, xp: Any, x: Array, *parameters: Array, **options: int) -> Array:
        wide = widen(xp, x)
        parameters = tuple(xp.astype(p, wide.dtype) if hasattr(p, "dtype") else p for p in parameters)
        y = self.value(xp, wide, *parameters, **options)
        return xp.astype(y, x.dtype) if y.dtype != x.dtype else y

    def axis(self, options: Mapping[str, int]) -> int:
        """The axis along which it works."""
        return options["axis"] if self.fixed_axis is None else self.fixed_axis

    def output_shape(self, shape: tuple[int | None, ...], options: Mapping[str, int]) -> tuple[int | None, ...]:
        """The shape that comes out for one that goes in, with None for a size that is not known yet.

        Raises
        ------
        ShapeError : there is no such axis, or its size or the number of axes is not one that is taken.
        """
        axis = self.axis(options)
        if self.ranks and all(
            len(shape) != rank for rank in self.ranks
        ):  # Dynamo cannot ask whether a symbol is in a tuple
            accepted = " or ".join(map(str, self.ranks))
            raise ShapeError(f"{self.name} expects an input of {accepted} axes. Received: shape {shape}.")
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(f"{self.name}: axis {axis} is out of range for an input of shape {shape}.")
        before = shape[axis]
        if self.size is None or before is None:
            return shape
        try:
            after = self.size(before, **{k: v for k, v in options.items() if k != "axis"})
        except ShapeError as error:
            raise ShapeError(f"{self.name}: axis {axis} of an input of shape {shape} {error}") from None
        axis %= len(shape)
        return (*shape[:axis], after, *shape[axis + 1 :])


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
    smoothness : with the default parameters: "C0", "C1", ..., "Cinf", or "discontinuous".
    kinks : expressions in the parameters for the x where the value or one of its first two derivatives jumps.
    examples : other settings of the parameters that conformance tests beside the defaults.
    reference : the paper and its year.
    budget : what conformance accepts.
    range, limits, monotonic, lipschitz : some of the `facts` with the default parameters; None for what is not known.
    based_on : for a preset, the name of the activation whose formulas it uses.
    gate_of, value_of : for a gated unit, the activation of the gate and that of the value, None for the value itself.
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
    smoothness: str = ""
    kinks: tuple[str, ...] = ()
    examples: tuple[Mapping[str, float], ...] = ()
    reference: str = ""
    notes: str = ""
    budget: Budget = Budget()
    based_on: str | None = None
    gate_of: Activation | None = None
    value_of: Activation | None = None

    @property
    def settings(self) -> tuple[Parameter | Option, ...]:
        """All that can be passed beside the input: the parameters, then the options."""
        return (*self.parameters, *self.options)

    @property
    def held(self) -> tuple[Parameter, ...]:
        """The parameters that a Module or Layer holds: all but random numbers."""
        return tuple(p for p in self.parameters if not p.random)

    @property
    def held_settings(self) -> tuple[Parameter | Option, ...]:
        """What a Module or Layer is made with: the parameters it holds, then the options."""
        return (*self.held, *self.options)

    @property
    def left_out(self) -> tuple[float, float] | None:
        """`Axiswise.left_out`; None for a function that is not along an axis."""
        return self.function.left_out if isinstance(self.function, Axiswise) else None

    @property
    def random(self) -> Parameter | None:
        """The parameter that is drawn at random, if there is one. A gated form takes its default."""
        return next((p for p in self.parameters if p.random and self.kind != "gated"), None)

    def option(self, name: str) -> Option:
        """The option of that name, which there must be."""
        return next(o for o in self.options if o.name == name)

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

    def facts(self, **parameters: Any) -> Facts:
        """What is known about it with these parameters, computed from the function; see `multiact.facts`."""
        from .facts import facts

        return facts(self, **parameters)

    def kinks_at(self, parameters: Mapping[str, float]) -> list[float]:
        """The places of the kinks with these parameters, in increasing order."""
        scope = {"__builtins__": {}, **vars(math), **parameters}
        return sorted({float(eval(kink, scope)) + 0.0 for kink in self.kinks})

    def _fact(self, name: str) -> Any:
        if any(p.default is None for p in self.parameters):
            return None
        return getattr(self.facts(), name)

    @property
    def range(self) -> tuple[float, float] | None:
        """The closure of the values taken with the default parameters, (low, high)."""
        return self._fact("range")  # type: ignore[no-any-return]

    @property
    def limits(self) -> tuple[float | None, float | None] | None:
        """At -inf and at +inf, with the default parameters; None for one that does not exist."""
        return self._fact("limits")  # type: ignore[no-any-return]

    @property
    def monotonic(self) -> bool | None:
        """Whether it never both rises and falls, with the default parameters."""
        return self._fact("monotonic")  # type: ignore[no-any-return]

    @property
    def lipschitz(self) -> float | None:
        """The largest slope in magnitude with the default parameters; inf if there is none."""
        return self._fact("lipschitz")  # type: ignore[no-any-return]

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
    random: Distribution | None = None,
) -> Parameter:
    """A `Parameter` with its allowed interval written as text."""
    return Parameter(name, default, Interval.parse(allowed), learned, broadcast, description, random)


def tower(
    name: str,
    value: Body,
    derivatives: Mapping[str | tuple[str, ...], Body],
    parameters: Iterable[Parameter],
    ties: Mapping[tuple[str, ...], Body] | None = None,
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
    return Tower(name, bodies, names, ties)
