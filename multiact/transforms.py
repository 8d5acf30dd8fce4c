"""Derivatives of functions of several arrays out of a framework's own vjp and jvp, one for each level, for its harness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .declaration import Array

Function = Callable[..., Array]
#: ``transform(function of one array, the array, weight)``; the weight is ones for None.
Transform = Callable[[Function, Array, "Array | None"], Array]


def at(call: Function, arrays: Sequence[Array], i: int) -> Function:
    """`call` as a function of argument i alone."""
    return lambda v: call(*arrays[:i], v, *arrays[i + 1 :])


class Transforms:
    """Derivatives of any order in functional frameworks.

    Parameters
    ----------
    pull : the cotangent of the argument, the weight being that of the result.
    push : the tangent of the result, the weight being that of the argument.
    """

    def __init__(self, pull: Transform, push: Transform) -> None:
        self._pull, self._push = pull, push

    def reverse(
        self, call: Function, wrt: tuple[int, ...], arrays: Sequence[Array], weights: Sequence[Array | None]
    ) -> Array:
        """The cotangent of the last argument of `wrt`; each level contracts with its weight."""
        return self._nested(self._pull, call, wrt, arrays, weights)

    def forward(
        self, call: Function, wrt: tuple[int, ...], arrays: Sequence[Array], weights: Sequence[Array | None]
    ) -> Array:
        """The tangent of the result, each level along its weight."""
        return self._nested(self._push, call, wrt, arrays, weights)

    def forward_over_reverse(
        self, call: Function, wrt: tuple[int, ...], arrays: Sequence[Array], weights: Sequence[Array | None]
    ) -> Array:
        """For the second derivative in one argument, whose matrix is symmetric, the same as reverse over reverse."""
        return self.forward(
            lambda *inputs: self.reverse(call, wrt[:1], inputs, weights[:1]), wrt[1:], arrays, weights[1:]
        )

    def by_mode(self, mode: str, wrt: tuple[int, ...]) -> Callable[..., Array]:
        """The one of these three for a mode of a harness: "second" is forward over reverse where that is the same."""
        if mode == "forward":
            return self.forward
        return self.forward_over_reverse if mode == "second" and len(wrt) == 2 and wrt[0] == wrt[1] else self.reverse

    def _nested(
        self,
        transform: Transform,
        call: Function,
        wrt: tuple[int, ...],
        arrays: Sequence[Array],
        weights: Sequence[Array | None],
    ) -> Array:
        if not wrt:
            return call(*arrays)

        def lower(*inputs: Array) -> Array:
            return self._nested(transform, call, wrt[:-1], inputs, weights[:-1])

        return transform(at(lower, arrays, wrt[-1]), arrays[wrt[-1]], weights[-1])
