"""The Modules that compute the cases of conformance: what the capabilities that concern Modules share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Self, TypeVar

import numpy as np

from .declaration import Activation, Array, Parameter
from .learning import is_positive, stored_name
from .protocols import Result


@dataclass(frozen=True)
class Recipe:
    """The Module that computes a case of conformance, for the capabilities that concern Modules.

    Of an elementwise function each point is a channel with parameters of its own, so that the gradients are those of the points;
    along an axis one parameter serves all rows, whose gradients are then wanted one by one.

    Attributes
    ----------
    names : what each array of the case is.
    settings : what the Module is made with; all its parameters are learned.
    weights : what it learns in place of what it is made with, by the name of the weight.
    inputs : the positions of the inputs among the arrays, in the order in which the Module takes them.
    """

    activation: Activation
    names: tuple[str, ...]
    settings: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    inputs: tuple[int, ...]

    @classmethod
    def of(cls, call: Any, arrays: Sequence[np.ndarray]) -> Recipe:
        """The one for a call as the conformance suite makes it, and its arrays."""
        activation, names = call.activation, tuple(call.names)
        if activation.random is not None and activation.random.default is None:
            raise NotImplementedError(f"{activation.name} is random in every call of its Module.")
        given = {p: a for p in activation.held for n, a in zip(names, arrays) if n == p.name}
        settings = dict(call.keywords) | {p.name: float(a.flat[0]) for p, a in given.items()}
        settings |= {"learnable": True} if activation.held else {}
        weights = {}
        if activation.kind != "axiswise" and given:
            settings |= {"num_parameters": arrays[0].size, "channel_axis": 0}
            weights = {stored_name(p): np.log(a) if is_positive(p) else a for p, a in given.items()}
        own = {p.name for p in activation.parameters}
        inputs = tuple(i for i, n in enumerate(names) if n not in own)
        gated = activation.kind == "gated"
        swapped = gated and (settings.get("gate") or activation.option("gate").default) != "second"
        return cls(activation, names, settings, weights, inputs[::-1] if swapped else inputs)

    @property
    def positive(self) -> bool:
        """Whether a logarithm is learned, which in float32 would stand for another parameter."""
        return any(map(is_positive, self.activation.held))

    def learned(self, i: int) -> Parameter | None:
        """The parameter that argument `i` of the call is; None for an input.

        Raises
        ------
        NotImplementedError : it is a random number.
        """
        if i in self.inputs:
            return None
        for p in self.activation.held:
            if p.name == self.names[i]:
                return p
        raise NotImplementedError(f"{self.names[i]} is drawn, not learned.")

    def gradient(self, p: Parameter, by_weight: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The gradient in a parameter, which is `at`, from that in what is learned for it."""
        return by_weight / at if is_positive(p) else by_weight


@dataclass(frozen=True)
class Case:
    """A Module and what it is called with; a framework's own class has `make`, which makes the Module.

    Attributes
    ----------
    cotangent : of the result; ones where none is given.
    at : the position of what is differentiated in among the inputs; None for a parameter or for the value.
    weight : the name of the weight that is differentiated in; empty for an input or for the value.
    """

    recipe: Recipe
    inputs: tuple[Array, ...]
    cotangent: Array
    at: int | None
    weight: str

    @property
    def dtype(self) -> str:
        """That of what the Module learns."""
        return "float64" if self.recipe.positive or self.inputs[0].dtype == "float64" else "float32"

    @property
    def by_rows(self) -> bool:
        """Whether all rows share the parameter that is differentiated in."""
        return bool(self.weight) and self.recipe.activation.kind == "axiswise"

    def single(self) -> Self:
        """The case whose Module is for one point or row, and learns what it is made with."""
        settings = {k: v for k, v in self.recipe.settings.items() if k not in ("num_parameters", "channel_axis")}
        return replace(self, recipe=replace(self.recipe, settings=settings, weights={}))


C = TypeVar("C", bound=Case)


def capability(
    kind: type[C],
    scope: Callable[[str], contextlib.AbstractContextManager[Any]],
    asarray: Callable[[np.ndarray, str], Array],
) -> Callable[[Callable[[C], Array]], Callable[..., Result]]:
    """What makes a function as the conformance suite calls it out of one of a case.

    Parameters
    ----------
    kind : of the case.
    scope : on this device, and with float64, everything runs in it.
    asarray : an array of the framework, in this dtype.
    """

    def made(evaluate: Callable[[C], Array]) -> Callable[..., Result]:
        @wraps(evaluate)
        def evaluated(
            call: Any,
            arrays: Sequence[np.ndarray],
            *,
            wrt: tuple[int, ...] = (),
            dtype: str = "float32",
            device: str = "cpu",
            directions: Sequence[np.ndarray] | None = None,
        ) -> Result:
            recipe = Recipe.of(call, arrays)
            parameter = recipe.learned(wrt[0]) if wrt else None
            with scope(device):
                inputs = tuple(asarray(arrays[i], dtype) for i in recipe.inputs)
                given = np.ones(arrays[0].shape) if directions is None else directions[0]
                at = recipe.inputs.index(wrt[0]) if wrt and parameter is None else None
                name = "" if parameter is None else stored_name(parameter)
                found = evaluate(kind(recipe, inputs, asarray(given, dtype), at, name))
                values = np.asarray(found).astype(np.float64)
            if parameter is None:
                return Result(values, str(found.dtype))
            values = recipe.gradient(parameter, values.reshape(arrays[wrt[0]].shape), arrays[wrt[0]])
            return Result(values, dtype)

        return evaluated

    return made
