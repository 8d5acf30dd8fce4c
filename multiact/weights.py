"""The weights of a model: drawn for the activations that follow its layers, and compared with what those need.

What knows a framework is in ``multiact/backends/<framework>/initialisation.py``: it walks over a model and reports its layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from .errors import MultiactError, ParameterError
from .initialisation import Initialisation, initialisation, of_output
from .models import framework_of, room
from .pairing import output_activations
from .registry import get

if TYPE_CHECKING:  # importing NumPy takes longer than all of multiact
    import numpy as np

    from .declaration import Activation

Role = Literal["hidden", "linear", "output", "unknown"]

#: Weights whose size is further from the recommended one than these factors contradict the pairing.
BAND = (0.5, 2.0)
#: The size of fewer weights than these is no evidence.
FEW = 16
UNSEEN = "the activation is not an attribute that stands after it; give activation=..."


@dataclass(frozen=True)
class Follower:
    """What follows a layer with weights.

    Attributes
    ----------
    role : "hidden", an activation follows; "linear", other weights do, with no activation between; "output", nothing does, or
        the activation of the output; "unknown", it cannot be seen.
    activation, parameters : of the activation; "" for none.
    normalised : whether a normalisation stands between, after which the size of the weights does not matter.
    how : how it was found: "kept by the layer", "graph", "order of modules", "given". For "unknown" the reason.
    """

    role: Role
    activation: str = ""
    parameters: tuple[tuple[str, float], ...] = ()
    normalised: bool = False
    how: str = "graph"


@dataclass(frozen=True)
class WeightLayer:
    """The weights of a layer, as numbers about them.

    Attributes
    ----------
    path, kind : where it is, and its class.
    fan_in, fan_out : inputs of a unit, and outputs an input goes to.
    size, std : how many weights, and the root of their mean square.
    follower : what follows it.
    first : whether it is the first with weights.
    """

    path: str
    kind: str
    fan_in: float
    fan_out: float
    size: int
    std: float
    follower: Follower
    first: bool = False


@dataclass(frozen=True)
class Place:
    """The weights of a layer as a backend reports them: what is known, and how to assign them.

    Attributes
    ----------
    shape : of the weights. write : assigns an array of it. zero : makes the biases zero.
    std : the root of the mean square of the weights as they are.
    """

    path: str
    kind: str
    fan_in: float
    fan_out: float
    shape: tuple[int, ...]
    follower: Follower
    std: Callable[[], float]
    write: Callable[[np.ndarray], None]
    zero: Callable[[], None]


@dataclass(frozen=True)
class Left:
    """A layer whose weights were left as they are, and why."""

    path: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"left: {self.path} ({self.kind}): {self.reason}"


@dataclass(frozen=True)
class Initialised:
    """A layer whose weights were drawn."""

    path: str
    kind: str
    fan_in: float
    fan_out: float
    follower: Follower
    chosen: Initialisation
    distribution: str
    std: float

    def __str__(self) -> str:
        f, size = self.follower, f"{self.fan_in:g} -> {self.fan_out:g}"
        said = {"output": "output", "linear": "no activation before the next weights"}.get(f.role, "")
        named = f.activation + (f"({', '.join(f'{n}={v:g}' for n, v in f.parameters)})" if f.parameters else "")
        before = " and ".join(filter(None, (said, f"before {named}" if named else "")))
        return (
            f"{self.path} ({self.kind}, {size}), {before} [{f.how}]: {self.chosen}, {self.distribution}, {self.std:.4g}"
        )


@dataclass(frozen=True)
class InitReport:
    """What `init_for` did: the layers that were drawn, to be iterated over, and those that were `left`."""

    layers: tuple[Initialised, ...]
    left: tuple[Left, ...]

    def __iter__(self) -> Iterator[Initialised]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.layers, *self.left))) or "nothing with weights was found"


@dataclass(frozen=True)
class Finding:
    """A layer whose weights contradict the pairing.

    Attributes
    ----------
    path : of the layer. activation : what follows it; "" for none.
    std, recommended : of the weights, and what it should be at the start.
    ratio : the first over the second.
    remedy : what to change.
    source : the paper that the recommendation is from.
    """

    path: str
    activation: str
    std: float
    recommended: float
    ratio: float
    remedy: str
    source: str

    def __str__(self) -> str:
        before = f" before {self.activation}" if self.activation else ""
        effect = "the signal shrinks" if self.ratio < 1 else "the signal grows"
        return (
            f"{self.path}{before}: weights of std {self.std:.3g}, {self.ratio:.2g} times the {self.recommended:.3g} that "
            f"keeps the size of the signal, so that {effect}. {self.remedy}"
        )


# What backends use


def found(translation: Any, **more: Any) -> Follower:
    """An activation that was recognised, as `multiact.translation.recognise` gives it."""
    values = {n: v for n, v in translation.parameters.items() if isinstance(v, (int, float))}
    defaults = {p.name: p.default for p in translation.activation.parameters}
    changed = tuple((n, float(v)) for n, v in values.items() if v != defaults[n])
    return Follower("hidden", translation.activation.name, changed, **more)


def ending(follower: Follower) -> Follower:
    """The same, where nothing with weights comes after the activation: it is the output's if it is one of those that end models."""
    return replace(follower, role="output") if follower.activation in output_activations() else follower


def in_order(events: Sequence[tuple[str, Any]], exact: bool, how: str) -> dict[str, Follower]:
    """What follows each layer where no graph is known, from the order in which the parts of a model stand.

    Parameters
    ----------
    events : pairs ("weights", path), ("activation", `Follower`), ("norm", None), or ("end", None) for weights that are left.
    exact : whether nothing else can stand between, as in a Sequential. Otherwise functions may be called that are not seen.
    """
    known: dict[str, Follower] = {}
    for i, (what, path) in enumerate(events):
        if what != "weights":
            continue
        normalised, follower = False, Follower("output", how=how)
        rest = iter(events[i + 1 :])
        for kind, value in rest:
            if kind == "activation":
                follower = replace(value, normalised=normalised, how=how)
                if not any(k == "weights" for k, _ in rest):
                    follower = ending(follower)
                break
            if kind in ("weights", "end"):
                follower = Follower("linear", how=how) if exact else Follower("unknown", how=UNSEEN)
                break
            normalised = normalised or kind == "norm"
        known[path] = replace(follower, normalised=normalised)
    return known


def _walk(model: Any, caller: str) -> tuple[list[Place], list[Left]]:
    return room(framework_of(model, caller), "initialisation").walk(model)  # type: ignore[no-any-return]


# What is recommended


def recommendation(follower: Follower, scheme: str | None = None) -> Initialisation:
    """The initialisation of the weights before what follows them.

    Raises
    ------
    MissingDerivativeError, ParameterError : there is none for this activation.
    """
    if follower.role == "output" and (not follower.activation or follower.activation in output_activations()):
        return of_output()
    if follower.role == "linear":
        return initialisation("identity")
    values: dict[str, Any] = dict(follower.parameters)
    return initialisation(follower.activation, scheme, **values)


def init_for(
    model: Any,
    activation: str | Activation | None = None,
    scheme: str | None = None,
    *,
    seed: int | np.random.Generator | None = None,
    distribution: str | None = None,
    **parameters: Any,
) -> InitReport:
    """Draw the weights of a model anew, each layer's for the activation that follows it; biases become zero.

    Linear, Dense and convolutions are drawn. Embeddings, attention and recurrent layers are left, and told. The output layer, and
    layers after which no activation comes, get a gain of 1.

    Parameters
    ----------
    model : a torch.nn.Module, a Keras model that is built, or a flax.nnx.Module; changed in place.
    activation : what follows hidden layers, its name or an Activation. None to find it: through torch.fx, Keras' graph, or the
        order in which modules stand. In Flax, where functions that a call calls are not seen, give it.
    scheme : "he", "glorot" or "lecun" for hidden layers, as for `multiact.initialisation`; None for what is paired with the activation.
    seed : of the draws, or a numpy.random.Generator. The draws are NumPy's, whatever the framework.
    distribution : "normal" or "uniform", of the same standard deviation; None for what the scheme has.
    **parameters : of the activation.

    Returns
    -------
    `InitReport` : printed, a line for each layer; what was `left`, with the reason.

    Raises
    ------
    ParameterError : it is no such model, or an argument makes no sense.
    UnknownActivationError : there is no such activation.
    MissingDerivativeError : no weights keep the size of a signal through the activation that was given.

    Examples
    --------
    >>> import torch
    >>> import multiact as ma
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    >>> print(ma.init_for(model, seed=0))
    0 (Linear, 64 -> 128), before relu [graph]: He: std = 1.414 / sqrt(fan_in), normal, 0.1768
    2 (Linear, 128 -> 10), output [graph]: Glorot: std = 1 / sqrt((fan_in + fan_out) / 2), normal, 0.1204
    """
    import numpy as np

    if distribution not in (None, "normal", "uniform"):
        raise ParameterError(f"distribution is 'normal' or 'uniform'. Received: {distribution!r}.")
    if activation is None and parameters:
        raise ParameterError(f"{', '.join(parameters)} given, but no activation that has such parameters.")
    given = None
    if activation is not None:
        name = get(activation).name
        given = Follower("hidden", name, tuple(parameters.items()), how="given")
        recommendation(given, scheme)  # an error before anything is changed
    elif scheme is not None:
        initialisation("relu", scheme)
    rng = np.random.default_rng(seed)
    places, left = _walk(model, "init_for")
    done = []
    for i, place in enumerate(places):
        follower = place.follower
        if given is not None and follower.role in ("hidden", "unknown"):
            follower = replace(given, normalised=follower.normalised)
        if follower.role == "unknown":
            left.append(Left(place.path, place.kind, f"what follows it cannot be seen: {follower.how}"))
            continue
        try:
            chosen = recommendation(follower, scheme)
        except MultiactError as error:
            left.append(Left(place.path, place.kind, str(error)))
            continue
        std = chosen.std(place.fan_in, place.fan_out, first=i == 0)
        drawn = distribution or chosen.distribution
        if drawn == "uniform":
            values = rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, place.shape)
        else:
            values = std * rng.standard_normal(place.shape)
        place.write(values)
        place.zero()
        done.append(Initialised(place.path, place.kind, place.fan_in, place.fan_out, follower, chosen, drawn, std))
    return InitReport(tuple(done), tuple(left))


def weight_layers(model: Any) -> list[WeightLayer]:
    """The layers of a model with weights that `check` compares.

    Raises
    ------
    ParameterError : it is no torch.nn.Module, Keras model or flax.nnx.Module.
    """
    places, _ = _walk(model, "check_initialisation")
    return [
        WeightLayer(p.path, p.kind, p.fan_in, p.fan_out, math.prod(p.shape), p.std(), p.follower, i == 0)
        for i, p in enumerate(places)
    ]


def check(layers: Iterable[WeightLayer], band: tuple[float, float] = BAND) -> list[Finding]:
    """Which layers contradict the pairing: the size of their weights is outside `band` times the recommended one.

    Before a normalisation any size does. Output layers, and those after which no activation comes, may be as small as one likes: they
    are made so on purpose at the end of residual branches.
    """
    findings = []
    for layer in layers:
        follower = layer.follower
        if follower.normalised or follower.role == "unknown" or layer.size < FEW:
            continue
        try:
            chosen = recommendation(follower)
        except MultiactError:
            continue
        wanted = chosen.std(layer.fan_in, layer.fan_out, first=layer.first)
        ratio = layer.std / wanted
        if ratio > band[1] or (ratio < band[0] and follower.role == "hidden"):
            remedy = f"Draw them with {chosen} = {wanted:.3g}, as multiact.init_for(model) does."
            findings.append(
                Finding(layer.path, follower.activation, layer.std, wanted, ratio, remedy, chosen.reference)
            )
    return findings


def check_initialisation(model: Any, band: tuple[float, float] = BAND) -> list[Finding]:
    """Which layers of a model have weights of another size than the activations after them need, before it is trained.

    Parameters
    ----------
    model : a torch.nn.Module, a Keras model that is built, or a flax.nnx.Module.
    band : the factors of the recommended size between which weights agree with it.

    Returns
    -------
    list of `Finding` : each says where, how large, what was recommended and what to change. Weights that have been trained may
    well be of another size.

    Raises
    ------
    ParameterError : it is no such model.

    Examples
    --------
    >>> import torch
    >>> import multiact as ma
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    >>> with torch.no_grad():
    ...     _ = model[0].weight.normal_(std=0.01, generator=torch.Generator().manual_seed(0))
    >>> [(f.path, f.activation, round(f.recommended, 3)) for f in ma.check_initialisation(model)]
    [('0', 'relu', 0.177)]
    """
    return check(weight_layers(model), band)
