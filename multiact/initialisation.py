"""Which weights to start a layer with, from the facts about the activation that follows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Initialisation:
    """A recommendation for the weights of a layer: independent, of mean 0 and the standard deviation `std` gives.

    Attributes
    ----------
    scheme : "He", "Glorot", "LeCun" or "SIREN".
    gain : what the standard deviation is proportional to.
    fan : "fan_in", the number of inputs of a unit, or "fan_avg", the mean of the numbers of inputs and outputs.
    reason : why this one.
    reference : its paper.
    """

    scheme: Literal["He", "Glorot", "LeCun", "SIREN"]
    gain: float
    fan: Literal["fan_in", "fan_avg"]
    reason: str
    reference: str

    def std(self, fan_in: int, fan_out: int) -> float:
        """The standard deviation of the weights of a layer of that size: gain / sqrt(fan)."""
        return self.gain / math.sqrt(fan_in if self.fan == "fan_in" else (fan_in + fan_out) / 2)


HE = "He et al., Delving deep into rectifiers, 2015, arXiv:1502.01852."
GLOROT = "Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010."
KLAMBAUER = "Klambauer et al., Self-normalizing neural networks, 2017, arXiv:1706.02515."
LECUN = "LeCun et al., Efficient backprop, 1998."
SIREN = "Sitzmann et al., Implicit neural representations with periodic activation functions, 2020, arXiv:2006.09661."
FINER = "Liu et al., FINER: flexible spectral-bias tuning in implicit neural representation, 2023, arXiv:2312.02434."

#: Sinusoids of frequency omega, whose slope at 0 is omega, and the papers that draw weights as SIREN does.
SINUSOIDS = {"sine": SIREN, "finer": FINER}


def recommended(name: str, slope: float, known: Mapping[str, Any]) -> Initialisation | None:
    """The initialisation for an activation.

    Parameters
    ----------
    name : of the activation, for those whose paper comes with an initialisation of its own.
    slope : its derivative at 0.
    known : the fields of `multiact.facts.Facts`.

    Returns
    -------
    `Initialisation`, or None when the size of a signal cannot be kept: the activation is 0 or overflows for normal input.
    """
    gain = known["forward_gain"]
    if name in SINUSOIDS and slope:
        return Initialisation(
            "SIREN",
            math.sqrt(2) / slope,
            "fan_in",
            "uniform within sqrt(6 / fan_in) / omega, which keeps omega * x of unit variance; the first layer within "
            "1 / fan_in",
            SINUSOIDS[name],
        )
    if name == "lecun_tanh":
        return Initialisation("LeCun", 1.0, "fan_in", "its scale is made for weights of variance 1 / fan_in", LECUN)
    if not 0 < gain < math.inf:
        return None
    if known["zero_centred"] and known["symmetry"] == "none" and abs(gain - 1) < 1e-6:
        return Initialisation(
            "LeCun", 1.0, "fan_in", "normal input gives output of mean 0 and variance 1 as it is", KLAMBAUER
        )
    if known["zero_centred"] and known["monotonic"] and None not in known["saturation"] and slope:
        return Initialisation(
            "Glorot",
            1 / abs(slope),
            "fan_avg",
            "saturates on both sides and is centred at 0, near which it is linear with this slope",
            GLOROT,
        )
    return Initialisation(
        "He", gain, "fan_in", "keeps the size of the signal: gain^2 E f(z)^2 = 1, derived there for relu", HE
    )
