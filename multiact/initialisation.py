"""Which weights to start a layer with, from the facts about the activation that follows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from .errors import MissingDerivativeError, ParameterError
from .pairing import Hidden, pair, table

if TYPE_CHECKING:
    from .declaration import Activation

Scheme = Literal["He", "Glorot", "LeCun", "SIREN"]
Fan = Literal["fan_in", "fan_out", "fan_avg"]

#: How schemes may be written, in lower case.
SPELLINGS: dict[str, Scheme] = {
    "he": "He",
    "kaiming": "He",
    "glorot": "Glorot",
    "xavier": "Glorot",
    "lecun": "LeCun",
    "siren": "SIREN",
}
FANS: tuple[Fan, ...] = ("fan_in", "fan_out", "fan_avg")


@dataclass(frozen=True)
class Initialisation:
    """A recommendation for the weights of a layer: independent, of mean 0 and the standard deviation `std` gives.

    Attributes
    ----------
    scheme : "He", "Glorot", "LeCun" or "SIREN".
    gain : what the standard deviation is proportional to.
    fan : "fan_in", the number of inputs of a unit, "fan_out", that of outputs an input goes to, or "fan_avg", their mean.
    reason : why this one.
    reference : its paper.
    distribution : "normal" or "uniform"; what its paper draws from. Only the standard deviation matters.
    """

    scheme: Scheme
    gain: float
    fan: Fan
    reason: str
    reference: str
    distribution: Literal["normal", "uniform"] = "normal"

    def std(self, fan_in: float, fan_out: float, *, first: bool = False) -> float:
        """The standard deviation of the weights of a layer of that size: gain / sqrt(fan).

        The first layer of a network of sines is another one, uniform within 1 / fan_in.
        """
        if first and self.scheme == "SIREN":
            return 1 / (math.sqrt(3) * fan_in)
        sizes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return self.gain / math.sqrt(sizes[self.fan])

    def bound(self, fan_in: float, fan_out: float, *, first: bool = False) -> float:
        """Where the uniform distribution of that standard deviation ends: sqrt(3) std."""
        return math.sqrt(3) * self.std(fan_in, fan_out, first=first)

    def __str__(self) -> str:
        size = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "(fan_in + fan_out) / 2"}[self.fan]
        return f"{self.scheme}: std = {self.gain:.4g} / sqrt({size})"


def recommended(name: str, slope: float, known: Mapping[str, Any], kind: str = "pointwise") -> Initialisation | None:
    """The initialisation for an activation, by the table of `multiact.pairing`.

    Parameters
    ----------
    name : of the activation, for those whose paper comes with an initialisation of its own.
    slope : its derivative at 0.
    known : the fields of `multiact.facts.Facts`.
    kind : "pointwise", "gated" or "axiswise".

    Returns
    -------
    `Initialisation`, or None when the size of a signal cannot be kept: the activation is 0 or overflows for normal input.
    """
    found = pair(name, kind, slope, known)
    return None if found is None else _made(*found)


def _made(rule: Hidden, gain: float) -> Initialisation:
    scheme, fan, drawn = cast(Scheme, rule.scheme), cast(Fan, rule.fan), cast(Any, rule.distribution)
    return Initialisation(scheme, gain, fan, rule.reason, rule.source, drawn)


def of_output() -> Initialisation:
    """The initialisation of an output layer, whatever its activation."""
    rule = table().output_weights
    return _made(rule, float(rule.gain))


def initialisation(
    name: str | Activation, scheme: str | None = None, *, fan: str | None = None, **parameters: Any
) -> Initialisation:
    """How to draw the weights before an activation.

    Parameters
    ----------
    name : an activation, its name or an alias.
    scheme : "he", "glorot" or "xavier", "lecun"; None for the one that the table of pairings has for the activation. A
        scheme says by which size weights are scaled and to which paper that is due; the gain is that of the activation, so
        that He's and LeCun's differ for none but those of which LeCun's or another gain is the paired one.
    fan : "fan_in", "fan_out" or "fan_avg", to scale by another size than the scheme does. With "fan_out" the gain is the
        backward one, which keeps the size of gradients.
    **parameters : as for the function itself.

    Returns
    -------
    `Initialisation` : ``.std(fan_in, fan_out)``, ``.bound(fan_in, fan_out)`` of the uniform distribution, ``.reason``.

    Raises
    ------
    UnknownActivationError : there is no such activation.
    ParameterError : a parameter, the scheme or the fan is unknown.
    MissingDerivativeError : no weights keep the size of a signal, or of gradients: there is no such gain.

    Examples
    --------
    >>> start = initialisation("leaky_relu", negative_slope=0.2)
    >>> start.scheme, round(start.gain, 4), round(start.std(fan_in=512, fan_out=256), 4)
    ('He', 1.3868, 0.0613)
    >>> round(initialisation("gelu", "xavier").bound(fan_in=512, fan_out=256), 4)
    0.1355
    """
    from .facts import facts
    from .registry import get

    wanted = _choice("scheme", scheme, SPELLINGS) if scheme is not None else None
    size = _choice("fan", fan, {f: f for f in FANS}) if fan is not None else None
    activation = get(name)
    if activation.kind == "axiswise":
        paired = recommended(activation.name, 1.0, {}, "axiswise")
        called, forward, backward = activation.name, None, None
    else:
        known = facts(activation, **parameters)
        called, paired, forward, backward = (
            known.activation,
            known.initialisation,
            known.forward_gain,
            known.backward_gain,
        )
    if wanted is None or (paired is not None and wanted == paired.scheme):
        if paired is None:
            raise MissingDerivativeError(
                f"no weights keep the size of a signal through {called}: its gain is {forward}. "
                f"Choose another activation for hidden layers."
            )
        found = paired
    elif wanted == "SIREN":
        raise ParameterError(f"the scheme SIREN is for sines. {called} is none; give 'he', 'glorot' or 'lecun'.")
    else:
        known_gain = forward if activation.kind != "axiswise" or paired is None else paired.gain
        gain = _gain(called, "forward", known_gain)
        found = _scheme(wanted, gain)
    if size is None or size == found.fan:
        return found
    if size == "fan_out":
        return replace(found, fan=size, gain=_gain(called, "backward", backward), reason=_BACKWARD)
    return replace(found, fan=size)


_BACKWARD = "keeps the size of gradients: gain^2 E f'(z)^2 = 1"


def _gain(name: str, direction: str, gain: float | None) -> float:
    if gain is None or not 0 < gain < math.inf:
        raise MissingDerivativeError(f"{name} has no {direction} gain that weights could be scaled with: it is {gain}.")
    return gain


def _scheme(scheme: Scheme, gain: float) -> Initialisation:
    """A scheme with the gain of any activation: whose it is, and by which size it scales."""
    rule = next(rule for rule in table().hidden if rule.scheme == scheme)
    fan: Fan = "fan_avg" if scheme == "Glorot" else "fan_in"
    return Initialisation(scheme, gain, fan, "keeps the size of the signal: gain^2 E f(z)^2 = 1", rule.source)


def _choice(what: str, given: Any, known: Mapping[str, Any]) -> Any:
    """What a word stands for."""
    if isinstance(given, str) and given.lower() in known:
        return known[given.lower()]
    import difflib

    near = difflib.get_close_matches(str(given).lower(), known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ParameterError(f"there is no {what} {given!r}.{hint} There are: {', '.join(known)}.")
