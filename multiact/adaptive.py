"""Activations that learn their shape: functions with arrays of weights, each written once for all frameworks.

An `Adaptive` says how its weights start and what it computes from them, with the array API alone; the backends make a Module or
Layer of it, and their automatic differentiation does the rest.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from .declaration import Activation, Array, widen
from .errors import DefinitionError, ParameterError, ShapeError
from .functions import known_shape
from .learning import OfClass
from .registry import get

if TYPE_CHECKING:
    import numpy as np

Weights = Mapping[str, Any]


@dataclass(frozen=True)
class Adaptive:
    """A function of an array and of weights that are learned. Its fields are the arguments of the Module or Layer.

    Attributes
    ----------
    needs_channels : whether it needs to know the number of channels; otherwise one set of weights serves all of them
        unless a number is given.
    random : whether the weights start at random.
    reference : the paper and its year.
    """

    needs_channels: ClassVar[bool] = False
    random: ClassVar[bool] = False
    reference: ClassVar[str] = ""

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The weights to start from, float32, with the channels as their first axis, of size 1 if all share them."""
        raise NotImplementedError

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        """The result for `x` in the precision it is computed in; `axis` is that of the channels."""
        raise NotImplementedError

    def read(self, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What the weights say, for people."""
        return {name: w[0].tolist() if len(w) == 1 else w.tolist() for name, w in weights.items()}

    def __call__(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        """`apply` with 16-bit input computed in float32 and rounded once.

        Raises
        ------
        ShapeError : there is one set of weights for each channel, and the input has another number of channels.
        """
        shape = known_shape(x)
        channels = next(iter(weights.values())).shape[0]
        if (
            shape is not None
            and (channels != 1 or self.needs_channels)
            and (not -len(shape) <= axis < len(shape) or shape[axis] not in (channels, None))
        ):
            raise ShapeError(
                f"{type(self).__name__} has weights for {channels} channels along axis {axis}, which an input of shape "
                f"{shape} does not have. Give the number of channels, or their axis."
            )
        wide = widen(xp, x)
        y = self.apply(xp, wide, {name: xp.astype(w, wide.dtype) for name, w in weights.items()}, axis)
        return xp.astype(y, x.dtype) if y.dtype != x.dtype else y

    def _refuse(self, name: str, accepted: str) -> ParameterError:
        return ParameterError(
            f"{type(self).__name__}: {name} must be {accepted}. Received: {name}={getattr(self, name)!r}."
        )

    def _check_count(self, name: str, least: int = 1) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._refuse(name, f"an integer, at least {least}")

    def _check_interval(self) -> None:
        low, high = self.low, self.high  # type: ignore[attr-defined]
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ParameterError(
                f"{type(self).__name__}: low must be less than high, both finite. Received: low={low!r}, high={high!r}."
            )


def _column(xp: Any, x: Array, w: Array, i: int, axis: int) -> Array:
    """The i-th weight of every channel, shaped to meet `x`; a scalar when all channels share it."""
    if w.shape[0] == 1:
        return w[0, i]
    return xp.reshape(w[:, i], (-1, *(1,) * (len(x.shape) - axis % len(x.shape) - 1)))


def _pointwise(name: str, owner: str) -> Activation:
    activation = get(name)
    required = [p.name for p in activation.parameters if p.default is None]
    if activation.kind != "pointwise" or required:
        why = f"needs {required[0]}=..., which has no default" if required else f"is {activation.kind}, not pointwise"
        raise DefinitionError(f"{owner}: {activation.name} {why}. Choose another.")
    return activation


def _evaluate(activation: Activation, x: Array) -> Array:
    from .dispatch import backend_of

    return backend_of(x).function(activation)(x)


@dataclass(frozen=True)
class Mixture(Adaptive):
    """A learned mixture of activations, weighted by a softmax: f(x) = sum_i softmax(w)_i f_i(x).

    Parameters
    ----------
    activations : names of pointwise activations, at least two. They start with equal weights.

    `describe()` tells the weight of each by its name.
    """

    activations: tuple[str, ...] = ("identity", "relu", "tanh", "silu")
    reference: ClassVar[str] = (
        "Manessi & Rozza, Learning combinations of activation functions, 2018, arXiv:1801.09403; the softmax instead of an "
        "affine hull as in Sütfeld et al., Adaptive blending units, 2018, arXiv:1806.10064."
    )

    def __post_init__(self) -> None:
        if isinstance(self.activations, str) or len(self.activations) < 2:
            raise self._refuse("activations", "a list of at least two names")
        for name in self.activations:
            _pointwise(name, "Mixture")
        object.__setattr__(self, "activations", tuple(self.activations))

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        import numpy as np

        return {"logits": np.zeros((channels, len(self.activations)), np.float32)}

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        shares = _evaluate(get("softmax"), weights["logits"])
        terms = [_column(xp, x, shares, i, axis) * _evaluate(get(name), x) for i, name in enumerate(self.activations)]
        return sum(terms[1:], start=terms[0])

    def read(self, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
        logits = weights["logits"].astype("float64")
        shares = get("softmax")(logits)
        return {n: float(s[0]) if len(s) == 1 else s.tolist() for n, s in zip(self.activations, shares.T)}


@dataclass(frozen=True)
class ScalarMLP(Adaptive):
    """A learned shape: a network of one hidden layer over the scalar input, f(x) = sum_j c_j silu(a_j x + b_j) + d.

    It starts as a given activation, fitted by least squares when it is made; `fit_error` is the largest difference on
    [low, high]. Far out it is linear.

    Parameters
    ----------
    hidden : the number of hidden units.
    start : the name of the pointwise activation that it is at the start. ReLU with 16 units on [-8, 8] is fitted to 0.006.
    low, high : the interval of the fit.
    """

    hidden: int = 16
    start: str = "relu"
    low: float = -8.0
    high: float = 8.0
    reference: ClassVar[str] = (
        "Hornik, Stinchcombe & White, Multilayer feedforward networks are universal approximators, Neural Networks 2, 1989."
    )

    def __post_init__(self) -> None:
        self._check_count("hidden", 2)
        self._check_interval()
        _pointwise(self.start, "ScalarMLP")

    def _fit(self) -> tuple[dict[str, np.ndarray], float]:
        import numpy as np

        # Units stand closer and turn more sharply in the middle, where most activations bend.
        middle, reach = (self.low + self.high) / 2, (self.high - self.low) / 4
        places = middle + reach * np.sinh(5 * np.linspace(-1, 1, self.hidden)) / math.sinh(5)
        slopes = 3 / np.gradient(places)
        x = np.linspace(self.low, self.high, 4001)
        silu, wanted = get("silu"), get(self.start)(x)
        units = np.append(silu(np.multiply.outer(x, slopes) - slopes * places), np.ones((x.size, 1)), axis=1)
        scales = np.abs(units).max(axis=0)
        found = np.linalg.lstsq(units / scales, wanted, rcond=1e-9)[0] / scales
        weights = {"slope": slopes, "shift": -slopes * places, "height": found[:-1], "bias": found[-1:]}
        return weights, float(np.abs(units @ found - wanted).max())

    @property
    def fit_error(self) -> float:
        """The largest difference from the activation it starts as, on 4,001 points of [low, high]."""
        return self._fit()[1]

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        import numpy as np

        return {name: np.tile(w.astype(np.float32), (channels, 1)) for name, w in self._fit()[0].items()}

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        silu, total = get("silu"), _column(xp, x, weights["bias"], 0, axis)
        for j in range(self.hidden):
            slope, shift, height = (_column(xp, x, weights[n], j, axis) for n in ("slope", "shift", "height"))
            total = total + height * _evaluate(silu, slope * x + shift)
        return total


@dataclass(frozen=True)
class BSpline(Adaptive):
    """A learned B-spline over a base activation, the edge function of a KAN: f(x) = w silu(x) + s sum_i c_i B_i(x).

    Parameters
    ----------
    grid : the number of intervals of the spline.
    degree : of its pieces; 3 is a cubic spline.
    low, high : where the spline is; beyond, only the base acts.
    base : the name of the base activation.

    It starts as the base activation: w = s = 1 and all c_i = 0, where the paper draws c_i close to 0.
    """

    grid: int = 8
    degree: int = 3
    low: float = -4.0
    high: float = 4.0
    base: str = "silu"
    reference: ClassVar[str] = "Liu et al., KAN: Kolmogorov-Arnold networks, 2024, arXiv:2404.19756."

    def __post_init__(self) -> None:
        self._check_count("grid")
        self._check_count("degree")
        self._check_interval()
        _pointwise(self.base, "BSpline")

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        import numpy as np

        one = np.ones((channels, 1), np.float32)
        return {
            "base": one,
            "scale": one.copy(),
            "coefficients": np.zeros((channels, self.grid + self.degree), np.float32),
        }

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        u = (x - self.low) * (self.grid / (self.high - self.low))
        inside = (u >= 0) & (u < self.grid)
        u = xp.where(inside, u, 0.0)
        total = 0.0 * u
        for i in range(self.grid + self.degree):
            total = total + _column(xp, x, weights["coefficients"], i, axis) * self._cardinal(xp, u - i + self.degree)
        spline = xp.where(inside, _column(xp, x, weights["scale"], 0, axis) * total, 0.0 * u)
        return _column(xp, x, weights["base"], 0, axis) * _evaluate(get(self.base), x) + spline

    def _cardinal(self, xp: Any, v: Array) -> Array:
        """The B-spline with the knots 0, 1, ..., degree + 1, by the recursion of Cox and de Boor."""
        count, one = self.degree + 1, xp.ones_like(v)
        pieces = [xp.where((v >= j) & (v < j + 1), one, 0.0) for j in range(count)]
        for k in range(1, count):
            pieces = [((v - j) * pieces[j] + (j + k + 1 - v) * pieces[j + 1]) / k for j in range(count - k)]
        return pieces[0]


@dataclass(frozen=True)
class PolyNorm(Adaptive):
    """A polynomial of normalised powers: f(x) = sum_i a_i x^i / rms(x^i) + bias, rms taken along `axis` of the input.

    Parameters
    ----------
    degree : of the polynomial; all a_i start at 1 / degree.
    axis : along which the powers are normalised.
    epsilon : added to the mean square.
    """

    degree: int = 3
    axis: int = -1
    epsilon: float = 1e-6
    reference: ClassVar[str] = "Zhuo et al., Polynomial composition activations, 2024, arXiv:2411.03884."

    def __post_init__(self) -> None:
        self._check_count("degree")
        if not self.epsilon > 0:
            raise self._refuse("epsilon", "greater than 0")

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        import numpy as np

        share = np.full((channels, self.degree), 1 / self.degree, np.float32)
        return {"coefficients": share, "bias": np.zeros((channels, 1), np.float32)}

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        total, power = _column(xp, x, weights["bias"], 0, axis), x
        for i in range(self.degree):
            root = xp.sqrt(xp.mean(power * power, axis=self.axis, keepdims=True) + self.epsilon)
            total = total + _column(xp, x, weights["coefficients"], i, axis) * (power / root)
            power = power * x
        return total


@dataclass(frozen=True)
class MetaACON(Adaptive):
    """ACON-C with a sharpness that a small network takes from the channel means of each sample.

    f(x) = (p1 - p2) x sigmoid(beta (p1 - p2) x) + p2 x, beta = sigmoid(W2 W1 mean(x)) with the mean over all axes but those of
    batch and channels. The batch normalisation that the authors' code has around W2 is left out.

    Parameters
    ----------
    reduction : the hidden layer has channels / reduction units, at least `smallest`.
    smallest : see `reduction`.
    """

    reduction: int = 16
    smallest: int = 4
    needs_channels: ClassVar[bool] = True
    random: ClassVar[bool] = True
    reference: ClassVar[str] = "Ma et al., Activate or not: learning customized activation, 2020, arXiv:2009.04759."

    def __post_init__(self) -> None:
        self._check_count("reduction")
        self._check_count("smallest")

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        hidden = max(self.smallest, channels // self.reduction)

        def draw(*shape: int, fan_in: int) -> np.ndarray:
            bound = 1 / math.sqrt(fan_in)
            return rng.uniform(-bound, bound, shape).astype("float32")

        return {
            "p1": rng.normal(size=(channels, 1)).astype("float32"),
            "p2": rng.normal(size=(channels, 1)).astype("float32"),
            "squeeze": draw(channels, hidden, fan_in=channels),
            "excite": draw(channels, hidden, fan_in=hidden),
        }

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        rank = len(x.shape)
        axis = axis % rank
        others = tuple(i for i in range(1, rank) if i != axis)
        mean = xp.mean(x, axis=others, keepdims=True) if others else x
        hidden = xp.sum(
            xp.expand_dims(mean, axis=rank) * _raised(xp, weights["squeeze"], rank - axis - 1), axis=axis, keepdims=True
        )
        logits = xp.sum(hidden * _raised(xp, weights["excite"], rank - axis - 1), axis=rank)
        beta = _evaluate(get("sigmoid"), logits)
        p1, p2 = (_column(xp, x, weights[n], 0, axis) for n in ("p1", "p2"))
        u = (p1 - p2) * x
        return u * _evaluate(get("sigmoid"), beta * u) + p2 * x


def _raised(xp: Any, w: Array, between: int) -> Array:
    """(channels, hidden) with axes of size 1 in between."""
    return xp.reshape(w, (w.shape[0], *(1,) * between, w.shape[1]))


@dataclass(frozen=True)
class FReLU(Adaptive):
    """The funnel activation for images: f(x) = max(x, T(x)), T a depthwise convolution with zero padding.

    The input has a batch axis, a channel axis and two spatial axes. The batch normalisation that the paper puts behind T is left
    out; where both sides are equal the gradient goes to x.

    Parameters
    ----------
    kernel_size : of the square window, odd.
    """

    kernel_size: int = 3
    needs_channels: ClassVar[bool] = True
    random: ClassVar[bool] = True
    reference: ClassVar[str] = "Ma, Zhang & Sun, Funnel activation for visual recognition, 2020, arXiv:2007.11824."

    def __post_init__(self) -> None:
        self._check_count("kernel_size")
        if self.kernel_size % 2 == 0:
            raise self._refuse("kernel_size", "odd")

    def initial(self, channels: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        bound = 1 / self.kernel_size
        shape = (channels, self.kernel_size * self.kernel_size)
        return {"kernel": rng.uniform(-bound, bound, shape).astype("float32")}

    def apply(self, xp: Any, x: Array, weights: Weights, axis: int) -> Array:
        if len(x.shape) != 4:
            raise ShapeError(f"FReLU expects images, with 4 axes. Received: shape {known_shape(x)}.")
        rows, columns = (i for i in range(1, 4) if i != axis % 4)
        reach = self.kernel_size // 2
        shifted_rows = [_shifted(xp, x, rows, d) for d in range(-reach, reach + 1)]
        windows = [_shifted(xp, part, columns, d) for part in shifted_rows for d in range(-reach, reach + 1)]
        terms = [_column(xp, x, weights["kernel"], i, axis) * window for i, window in enumerate(windows)]
        total = sum(terms[1:], start=terms[0])
        return xp.where(x >= total, x, xp.where(xp.isnan(x), x, total))


def _shifted(xp: Any, x: Array, axis: int, by: int) -> Array:
    """x[i + by] along an axis, zero where that is outside."""
    if by == 0:
        return x

    def part(start: int | None, stop: int | None) -> Array:
        return x[(*(slice(None),) * axis, slice(start, stop))]

    if by > 0:
        return xp.concat([part(by, None), xp.zeros_like(part(None, by))], axis=axis)
    return xp.concat([xp.zeros_like(part(None, -by)), part(None, by)], axis=axis)


class Draws:
    """What `Adaptive.initial` draws from where random numbers come from a key, so that Modules can be made inside jax.vmap.

    Parameters
    ----------
    random : a module like jax.random.
    key : all numbers come from it.
    """

    def __init__(self, random: Any, key: Any) -> None:
        self._random, self._key = random, key

    def _next(self) -> Any:
        self._key, key = self._random.split(self._key)
        return key

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> Any:
        return self._random.uniform(self._next(), size, minval=low, maxval=high)

    def normal(self, size: tuple[int, ...]) -> Any:
        return self._random.normal(self._next(), size)


ADAPTIVE: dict[str, type[Adaptive]] = {
    kind.__name__: kind for kind in (Mixture, ScalarMLP, BSpline, PolyNorm, MetaACON, FReLU)
}


def made(kind: type[Adaptive], owner: str, given: Mapping[str, Any]) -> Adaptive:
    """An adaptive activation from the arguments of a constructor.

    Raises
    ------
    ParameterError : an argument is unknown or out of range.
    """
    accepted = [f.name for f in fields(kind)]
    unknown = [name for name in given if name not in accepted]
    if unknown:
        raise ParameterError(f"{owner} has no argument {unknown[0]!r}. It takes: {', '.join(accepted)}.")
    return kind(**given)


def signature(kind: type[Adaptive], constructor: Callable[..., None]) -> inspect.Signature:
    """The arguments of a Module or Layer: those of the adaptive activation, then the keywords of the framework's constructor."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    ours = [inspect.Parameter(f.name, keyword, default=f.default, annotation=f.type) for f in fields(kind)]
    own = inspect.signature(constructor).parameters.values()
    return inspect.Signature([*ours, *(p for p in own if p.kind is keyword)])


def documentation(kind: type[Adaptive], arguments: str) -> str:
    """The docstring of a Module or Layer; `arguments` describes those that all of a framework have."""
    text = inspect.cleandoc(kind.__doc__ or "")
    head, _, tail = text.partition("Parameters\n----------\n")
    described, _, notes = tail.partition("\n\n")
    parts = [head.rstrip(), f"Parameters\n----------\n{described}".rstrip() + f"\n{arguments}".rstrip()]
    parts += [notes.strip()] if notes.strip() else []
    return "\n\n".join([*parts, f"References\n----------\n{kind.reference}"])


def module_class(kind: type[Adaptive], base: type, package: str | None, arguments: str, **more: Any) -> type:
    """The class of an adaptive activation over a framework's base class; `arguments` as for `documentation`.

    What else is given becomes a member of the class; its signature is that of an `__init__` among it.
    """
    members = {"__module__": package, "__doc__": documentation(kind, arguments), "kind": kind, **more}
    if "__init__" not in more:
        members["__signature__"] = OfClass(signature(kind, base.__init__))  # type: ignore[misc]
    return type(kind.__name__, (base,), members)
