"""Exchanging the activations of a model for others, in place of what is there, with all other weights kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from .declaration import Activation
from .errors import ParameterError
from .models import framework_of, room
from .natives import activation_of, identify

#: A class, a pattern of paths, a framework's function, or a predicate of path and layer.
Key: TypeAlias = Any
#: A layer to be copied, a class, the name of an activation or an Activation, or a function of the old one.
Replacement: TypeAlias = Any


@dataclass(frozen=True)
class Change:
    """One exchange: at a path, what was there and what is there now. `dropped` are learned weights of the old one."""

    path: str
    old: str
    new: str
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        lost = f" (its {', '.join(self.dropped)} dropped)" if self.dropped else ""
        return f"{self.path}: {self.old} -> {self.new}{lost}"


@dataclass(frozen=True)
class Swap:
    """The model, what has been changed in it, and what matched or could not be looked into and was left alone."""

    model: Any
    changes: tuple[Change, ...]
    left: tuple[str, ...]

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.changes), *(f"left: {line}" for line in self.left)]) or "nothing was changed"


@dataclass(frozen=True)
class Rule:
    """A key and what takes the place of what it fits."""

    key: Key
    replacement: Replacement

    def fits(self, path: str, thing: Any) -> bool:
        """Whether something that stands at a path in a model is meant: a layer, or a function that a layer keeps."""
        if isinstance(self.key, str):
            return activation_of(thing) is not None and fnmatchcase(path, self.key)
        if isinstance(self.key, type):
            return type(thing) is self.key
        if identify(self.key) is not None:
            return thing is self.key
        return bool(self.key(path, thing))

    def fits_call(self, path: str, activation: str) -> bool:
        """Whether a call of the framework's function of an activation is meant."""
        if isinstance(self.key, str):
            return fnmatchcase(path, self.key)
        return activation_of(self.key) == activation


class Surgeon:
    """What is to be exchanged, and what has been: the part that all frameworks share."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.changes: list[Change] = []
        self.left: list[str] = []

    def for_layer(self, path: str, layer: Any) -> Rule | None:
        """The first rule that fits a layer."""
        return next((r for r in self._rules if r.fits(path, layer)), None)

    def for_function(self, path: str, function: Any, activation: str) -> Rule | None:
        """The first rule that fits a function that a layer keeps."""
        return next((r for r in self._rules if r.fits(path, function) or r.fits_call(path, activation)), None)

    def for_call(self, path: str, activation: str) -> Rule | None:
        """The first rule that fits a call of a function."""
        return next((r for r in self._rules if r.fits_call(path, activation)), None)

    def done(self, model: Any) -> Swap:
        return Swap(model, tuple(self.changes), tuple(self.left))


def swap(model: Any, rules: Mapping[Key, Replacement], *, rewrite: bool = False) -> Swap:
    """Exchange activations of a torch.nn.Module or a Keras model for others. All other weights are kept.

    Parameters
    ----------
    model : a torch model is changed in place. Of a functional or Sequential Keras model a copy is made, with the same weights,
        which has to be compiled again.
    rules : from what is to be exchanged to what takes its place; of several that fit the first counts. A key is

        - a class: layers of this class, not of one derived from it; also calls of the function that is the same activation,
        - a string: a pattern of paths such as ``"encoder.*.act"``, for activations only,
        - a framework's function, such as torch.nn.functional.relu, where a layer keeps or calls it,
        - a predicate of a path and a layer.

        A replacement is a layer, of which each place gets a copy, or a class, the name of an activation, or a function that is
        given the old layer.
    rewrite : torch only: replace functions that a forward calls as well, where torch.fx can trace it. The module becomes a
        torch.fx.GraphModule with the same parameters. Otherwise they are listed in `left`.

    Returns
    -------
    `Swap` : its `model`, the changes to iterate over, and what was `left`.

    Raises
    ------
    ParameterError : it is no such model, a replacement is none, or a Keras model is a subclass, which cannot be rebuilt.
    UnknownActivationError : there is no activation of that name.

    Examples
    --------
    >>> import torch
    >>> import multiact as ma
    >>> from multiact.backends.torch import LeakyReLU
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> print(ma.swap(model, {torch.nn.ReLU: LeakyReLU(0.01)}))
    1: ReLU() -> LeakyReLU(negative_slope=0.01)
    """
    pairs = [Rule(key, replacement) for key, replacement in rules.items()]
    for rule in pairs:
        if not (isinstance(rule.key, (str, type)) or callable(rule.key)):
            raise ParameterError(
                f"a key of swap is a class, a pattern of paths, a framework's function or a predicate. Received: {rule.key!r}."
            )
    framework = framework_of(model, "swap", ("keras", "torch"))
    return room(framework, "surgery").swap(model, pairs, rewrite)  # type: ignore[no-any-return]


def made(replacement: Replacement, old: Any, layer: type, backend: Any, copy: Callable[[Any], Any]) -> Any:
    """The layer that takes the place of an old one.

    Parameters
    ----------
    layer : the base class of layers. copy : makes another one like it.
    """
    if isinstance(replacement, (str, Activation)):
        from .registry import get

        return backend.layer(get(replacement))()
    if isinstance(replacement, layer):
        return copy(replacement)
    new = replacement() if isinstance(replacement, type) else replacement(old) if callable(replacement) else None
    if not isinstance(new, layer):
        raise ParameterError(
            f"a replacement is a {layer.__module__.partition('.')[0]} layer, a class of one, the name of an activation, or a "
            f"function of the old layer that gives one. Received: {replacement!r}."
        )
    return new
