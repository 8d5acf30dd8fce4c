"""What a backend is: two protocols that a type checker reads.

A `Backend` is what users run. A `Harness` is what the conformance suite and the benchmarks need beside it; users never
load it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .declaration import Activation, Array, Axiswise, Distribution, Elementwise

if TYPE_CHECKING:  # importing NumPy takes longer than all of multiact
    import numpy as np


@runtime_checkable
class Backend(Protocol):
    """One framework: how to recognise its arrays and how to register a derivative with its automatic differentiation."""

    name: str

    def owns(self, x: Any) -> bool:
        """Whether `x` is an array of this framework."""
        ...

    @property
    def namespace(self) -> Any:
        """The array API namespace in which formulas are evaluated on this framework's arrays."""
        ...

    def dtype(self, x: Array) -> str:
        """The name of the dtype of `x`: "float32", "bfloat16", "int64" ..."""
        ...

    def elementwise(self, function: Elementwise) -> Callable[..., Array]:
        """`function` as a differentiable function of its arguments, positional, arrays or Python numbers.

        Every declared partial is registered with the framework; the result has the shape and dtype of the first
        argument; the gradient of a broadcast argument is summed to its shape. The same object for the same function.
        """
        ...

    def axiswise(self, function: Axiswise) -> Callable[..., Array]:
        """`function` as a differentiable function of its positional arguments and the keywords that are its options."""
        ...

    def function(self, activation: Activation) -> Callable[..., Array]:
        """The public function of an activation, ``f(x, *, parameters)``, with arguments checked."""
        ...

    def split(self, x: Array, axis: int, gate: str, name: str) -> tuple[Array, Array]:
        """The value and the gate of a gated activation out of one array, as `multiact.functions.split` gives them."""
        ...

    def select(self, mask: Array, x: Array, other: float) -> Array:
        """`x` where the mask, an array of booleans, holds, and a number elsewhere; differentiable in `x`."""
        ...

    def draw(self, distribution: Distribution, like: Array, rng: Any) -> Array:
        """Random numbers in the shape of `like`: float64 if it is, float32 otherwise.

        Parameters
        ----------
        distribution : "uniform" on [0, 1), or "gumbel", the standard one, never infinite.
        rng : the framework's generator or key; None for its global one where it has one.

        Raises
        ------
        ParameterError : `rng` is something else, or is needed and not given.
        """
        ...

    def adaptive(self, name: str) -> type:
        """The Module or Layer class of an adaptive activation, by its name in `multiact.adaptive.ADAPTIVE`."""
        ...

    def layer(self, activation: Activation) -> type:
        """The Module or Layer class of an activation; a backend without layers raises `NotImplementedError`."""
        ...


class Result:
    """What a harness returns: values as float64 (which holds every dtype here exactly) and the dtype they came in."""

    __slots__ = ("dtype", "values")

    def __init__(self, values: np.ndarray, dtype: str) -> None:
        self.values, self.dtype = values, dtype


class Native:
    """A framework's own activation, as a peer: a function of positional arrays in the order of ours."""

    __slots__ = ("call", "name", "parameters")

    def __init__(self, name: str, call: Callable[..., Array], parameters: Mapping[str, float] | None = None) -> None:
        self.name, self.call, self.parameters = name, call, dict(parameters or {})


@runtime_checkable
class Harness(Protocol):
    """What conformance and benchmarks need of a framework."""

    name: str

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that can be tested, of "float32", "float64", "float16", "bfloat16"."""
        ...

    @property
    def modes(self) -> tuple[str, ...]:
        """The ways of evaluating: "eager", "compiled", "xla", "vmapped", "reverse", "forward", "second"."""
        ...

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        """The dtypes whose subnormal inputs and results the framework may flush to zero on a device of this machine."""
        ...

    def devices(self) -> tuple[str, ...]:
        """The devices present, "cpu" first."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Package versions for the environment of a report."""
        ...

    def function(self, activation: Activation) -> Callable[..., Array]:
        """Our public function as this backend offers it."""
        ...

    def natives(self, activation: Activation) -> Sequence[Native]:
        """The framework's own versions of an activation; empty when it has none."""
        ...

    def evaluate(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        """Evaluate `call` or a derivative of it.

        Parameters
        ----------
        call : a function of as many positional arrays of the framework as `arrays` has.
        arrays : float64 arrays of values that `dtype` represents exactly; converted to `dtype` on `device`.
        wrt : () for the value; (i,) for the first derivative in argument i; (i, i) for the second.
        mode : "reverse" and its kin contract with a cotangent, "forward" with a tangent. "eager", "compiled", "xla" and
            "vmapped" take derivatives by reverse mode.
        directions : for each entry of `wrt`, the cotangent (reverse) or tangent (forward), shaped like the output or
            the argument; ones when not given, which for an elementwise function gives its derivative.
            For wrt = (i, j) by reverse mode: c1 = vjp of the value with directions[0], then the vjp of that with
            directions[1].

        Returns
        -------
        `Result` with values in the shape of the output (value, forward) or of argument wrt[-1] (reverse).
        """
        ...

    def synchronise(self, x: Array) -> Array:
        """Wait until `x` is computed."""
        ...


@runtime_checkable
class Timed(Harness, Protocol):
    """A harness whose framework can be timed. What is timed runs on arrays that lie on the device, and converts nothing."""

    @property
    def timed_modes(self) -> tuple[str, ...]:
        """The modes that can be timed, of "eager", "compiled" and "xla"."""
        ...

    @property
    def network_modes(self) -> tuple[str, ...]:
        """The modes in which there are networks; see `network`."""
        ...

    def hardware(self, device: str) -> Mapping[str, Any]:
        """For the environment of a report: "threads" on the CPU, the "model" of another device."""
        ...

    def operation(self, name: str) -> Callable[..., Array]:
        """The framework's own exp, log, sqrt, sin, cos, tan, atan, tanh, log1p, expm1, erf, erfc, where, full_like, sum, max
        or concat, called as in the array API standard.

        Raises
        ------
        NotImplementedError : the framework has none.
        """
        ...

    def runner(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        direction: str = "forward",
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Callable[[], tuple[Array, ...]]:
        """A function without arguments that runs `call` once, on arrays put on the device before.

        Parameters
        ----------
        direction : "forward" for the value; "forward_backward" for the value and the gradients of all arguments, with a
            cotangent of ones that is given as an array, in the way usual in the framework.

        Returns
        -------
        function : gives (value, *gradients), which need not be computed yet when it returns; see `seconds`.
        """
        ...

    def copier(
        self, arrays: Sequence[np.ndarray], *, direction: str = "forward", dtype: str = "float32", device: str = "cpu"
    ) -> Callable[[], tuple[Array, ...]]:
        """A function that only moves the bytes which `runner` has to move at least, with operations of the framework.

        Forward: all arguments are read, one array is written. Backward: all arguments and the cotangent are read, and as
        many arrays as arguments are written.
        """
        ...

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        """How long one of so many calls takes, until its result is computed; by the clock of the device if it has one."""
        ...

    def values(self, x: Array, step: int = 1) -> np.ndarray:
        """An array as float64; with a step every so-manieth entry of it, flattened."""
        ...

    def saved_bytes(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> int | None:
        """The size of what the forward pass keeps for the backward pass; None where the framework does not tell."""
        ...

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        """The most memory held at a time beside the arguments, for a function that `runner` made; None where nobody tells."""
        ...

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        """Called once before anything is timed: build the kernels of these activations, or see to it that none are used."""
        ...

    def use_cache(self, folder: str) -> None:
        """Keep in this folder what the framework compiles, from now on; called before anything is compiled."""
        ...

    def network(
        self,
        name: str,
        activation: Callable[[Array], Array],
        *,
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        shape: Mapping[str, int],
    ) -> Callable[[], Any]:
        """A function that runs a network forward and backward once, for the gradients of its weights and its input.

        Parameters
        ----------
        name : "feed_forward", a block of a transformer: x + W2 f(W1 x), with the shape tokens, width, hidden;
            "convolutional": three 3 by 3 convolutions, each followed by f, the last two with stride 2, then the mean over
            places and a linear layer, with the shape images, side, channels, classes.

        Raises
        ------
        NotImplementedError : there is none in this mode.
        """
        ...


@runtime_checkable
class BatchCompiler(Protocol):
    """A harness whose compiler takes so long to start that several calls had better be compiled at once."""

    def expect(
        self, calls: Sequence[tuple[Callable[..., Array], Sequence[np.ndarray]]], *, dtype: str, device: str = "cpu"
    ) -> None:
        """Told which calls, with arrays of the right shapes, will be evaluated in mode "compiled"."""
        ...
