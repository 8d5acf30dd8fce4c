"""The torch.nn.Module of an activation, called and stored like torch's own class where torch has it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import torch

from multiact import learning
from multiact.declaration import Activation, Parameter
from multiact.errors import ParameterError
from multiact.functions import documentation
from multiact.registry import gated, registered

Tensor: TypeAlias = torch.Tensor

#: The constructors of torch.nn in their order; "ours=theirs" is a name of ours that torch spells otherwise.
_NATIVE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("relu", "relu6", "selu", "silu", "mish", "hard_sigmoid", "hard_swish"), ("inplace",)),
    **dict.fromkeys(("elu", "celu"), ("alpha", "inplace")),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "glu"), ("axis=dim",)),
    "gelu": ("approximate",),
    "gumbel_softmax": ("temperature=tau", "hard", "axis=dim"),
    "hard_tanh": ("min_val", "max_val", "inplace"),
    "leaky_relu": ("negative_slope", "inplace"),
    "prelu": ("num_parameters", "negative_slope=init"),
    "rrelu": ("lower", "upper", "inplace"),
    "softplus": ("beta", "threshold"),
    "threshold": ("threshold", "value", "inplace"),
}

#: The state_dict key of a learned parameter where torch has one.
_STATE = {("prelu", "negative_slope"): "weight"}

#: Arguments that are no parameter or option: (default, documentation).
_EXTRA: dict[str, tuple[Any, str]] = {
    "inplace": (False, "accepted so that torch's calls still work; the input is never overwritten."),
    "threshold": (20.0, "accepted so that torch's calls still work; softplus is exact without it."),
    "learnable": (None, "the parameter to learn, a tuple of several, True for all, () for none. Default: {}."),
    "num_parameters": (1, "1, or the number of channels: a learnable parameter then has one value for each."),
    "channel_axis": (1, "the axis of the channels."),
    "device": (None, "of the learnable parameters."),
    "dtype": (None, "of the learnable parameters."),
}


class ActivationModule(torch.nn.Module):
    """Base of all activation Modules. Fixed parameters are attributes; learnable ones are in the state_dict."""

    activation: ClassVar[Activation]
    _function: ClassVar[Callable[..., Tensor]]
    _signature: ClassVar[inspect.Signature]
    _spelled: ClassVar[dict[str, str]]
    _shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        kind = type(self).__name__
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            accepted = ", ".join(self._signature.parameters) or "no arguments"
            raise ParameterError(f"{kind}: {error}. It takes: {accepted}.") from None
        bound.apply_defaults()
        given = bound.arguments
        self.inplace = bool(given.get("inplace", False))
        self.learnable = learning.learnable_names(self.activation, given.get("learnable"), kind, self._spelled)
        self.num_parameters, self.channel_axis = given.get("num_parameters", 1), given.get("channel_axis", 1)
        for name, accepted in (("num_parameters", "a positive integer"), ("channel_axis", "an integer")):
            value = getattr(self, name)
            if type(value) is not int or name == "num_parameters" and value < 1:
                raise ParameterError(f"{kind}: {name} must be {accepted}. Received: {name}={value!r}.")
        for p in self.activation.held:
            value = learning.number(p, given[self._spelled[p.name]], kind)
            if p.name in self.learnable:
                size, stored = self.num_parameters if p.broadcast == "channel" else 1, learning.stored_value(p, value)
                start = torch.full((size,), stored, device=given.get("device"), dtype=given.get("dtype"))
                self.register_parameter(self._attribute(p.name), torch.nn.Parameter(start))
            else:
                setattr(self, self._attribute(p.name), value)
        for option in self.activation.options:
            setattr(self, self._spelled[option.name], option.check(given[self._spelled[option.name]], kind))

    def forward(self, input: Tensor) -> Tensor:
        """The activation of `input`."""
        return self._function(input, **dict(self._given(tuple(input.shape))))

    def extra_repr(self) -> str:
        parts = []
        shown = {*self._shown, *(a.rpartition("=")[2] for a in _NATIVE.get(self.activation.name, ()))}
        for p in self.activation.held_settings:
            value = getattr(self, self._attribute(p.name))
            if p.name not in self.learnable and (self._spelled[p.name] in shown or value != p.default):
                parts.append(f"{self._spelled[p.name]}={value!r}")
        if self.learnable != learning.learnable_names(self.activation, None, ""):
            parts.append(f"learnable={self.learnable!r}")
        if self.learnable:
            parts.append(f"num_parameters={self.num_parameters}")
        if self.num_parameters != 1 and self.channel_axis != 1:
            parts.append(f"channel_axis={self.channel_axis}")
        if self.inplace:
            parts.append("inplace=True")
        return ", ".join(parts)

    def _attribute(self, name: str) -> str:
        """Where a setting is kept: what is learned under the name that it has in the state_dict."""
        if name not in self.__dict__.get("learnable", ()):
            return self._spelled[name]
        p = next(p for p in self.activation.parameters if p.name == name)
        own = _STATE.get((self.activation.name, name))
        return own or ("log_" if learning.is_positive(p) else "") + self._spelled[name]

    def __getattr__(self, name: str) -> Any:
        for p in self.activation.held:  # one that is learned as its logarithm can be read all the same
            if self._spelled[p.name] == name != self._attribute(p.name) and learning.is_positive(p):
                return super().__getattr__(self._attribute(p.name)).exp()
        return super().__getattr__(name)

    def _given(self, shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
        """The keyword arguments for an input of `shape`, those at their default left out."""
        for p in self.activation.held_settings:
            value = getattr(self, self._attribute(p.name))
            if isinstance(value, torch.Tensor):
                value = value.exp() if isinstance(p, Parameter) and learning.is_positive(p) else value
                yield p.name, self._along_channels(p.name, value, shape)
            elif value != p.default:
                yield p.name, value

    def _along_channels(self, name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        """One value for each channel, shaped so that it broadcasts to an input of `shape`."""
        if value.numel() == 1:
            return value.reshape(())
        change = "Set num_parameters to the number of channels, or channel_axis to their axis."
        what = f"{type(self).__name__}: {name}"
        return value.reshape(learning.along_channels(value.numel(), shape, self.channel_axis, what, change))


class GatedModule(ActivationModule):
    """Base of the Modules of gated units, which take one input to be split or two."""

    def forward(self, input: Tensor, other: Tensor | None = None) -> Tensor:
        """The gated unit of `input`, split into value and gate, or of two inputs in the order that `gate` says."""
        shape = list(input.shape)
        axis = getattr(self, self._spelled["axis"])
        if other is not None:
            return self._function(input, other, **dict(self._given(tuple(shape))))
        if -len(shape) <= axis < len(shape):
            shape[axis] //= 2
        return self._function(input, **dict(self._given(tuple(shape))))


class RandomModule(ActivationModule):
    """Base of the Modules of activations that are random in training only."""

    def forward(self, input: Tensor) -> Tensor:
        """The activation of `input`, random in training mode."""
        return self._function(input, training=self.training, **dict(self._given(tuple(input.shape))))


class UnnamedGatedModule(GatedModule):
    """Base of the Modules of what `multiact.gated` makes: pickled by the activation and the side, for want of a name."""

    _shown = ("gate",)

    def __reduce__(self) -> tuple[Any, ...]:
        assert self.activation.gate_of is not None
        return _restore, (self.activation.gate_of.name, self.activation.option("gate").default), self.__dict__


def _restore(activation: str, gate: str) -> torch.nn.Module:
    layer: Any = _layer(activation, gate)
    return layer.__new__(layer)


def _layer(activation: str | Activation, gate: str) -> type[torch.nn.Module]:
    from .adapter import backend

    return backend.layer(gated(activation, gate))


def Gated(activation: str | Activation, gate: str = "first", **arguments: Any) -> torch.nn.Module:
    """The gated form of any pointwise activation as a Module of one input, split along an axis, or of two.

    Parameters
    ----------
    activation : its name, or an Activation.
    gate : the side that goes through it: "first", "second", or "interleaved" (even entries).
    **arguments : `axis`, -1 by default, the parameters of the activation, `learnable` and what else the Module of a gated
        unit such as SwiGLU takes.

    Raises
    ------
    UnknownActivationError, DefinitionError, ParameterError : as multiact.gated; an argument is unknown or out of range.

    Examples
    --------
    >>> import torch
    >>> Gated("relu", gate="second")(torch.tensor([3.0, 4.0, -1.0, 2.0]))
    tensor([0., 8.])
    """
    return _layer(activation, gate)(**arguments)


def make_layer(activation: Activation) -> type[ActivationModule]:
    """The Module class of an activation."""
    from .adapter import backend

    spelled = {p.name: p.name for p in activation.held_settings}
    native: list[str] = []
    for argument in _NATIVE.get(activation.name, ()):
        ours, _, theirs = argument.partition("=")
        native.append(theirs or ours)
        if theirs:
            spelled[ours] = theirs
    signature = inspect.Signature(list(_arguments(activation, spelled, native)))

    def __init__(self: ActivationModule, *args: Any, **kwargs: Any) -> None:
        ActivationModule.__init__(self, *args, **kwargs)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    __init__.__signature__ = inspect.Signature([own, *signature.parameters.values()])  # type: ignore[attr-defined]
    base = ActivationModule
    if activation.random and activation.random.default is not None:
        base = RandomModule
    if activation.kind == "gated":
        base = GatedModule if registered(activation) else UnnamedGatedModule
    return type(
        activation.class_name,
        (base,),
        {
            "__module__": __package__,
            "__doc__": _documentation(activation, signature, spelled),
            "__init__": __init__,
            "activation": activation,
            "_function": staticmethod(backend.function(activation)),
            "_signature": signature,
            "_spelled": spelled,
        },
    )


def _arguments(activation: Activation, spelled: dict[str, str], native: list[str]) -> Iterator[inspect.Parameter]:
    """The arguments of the constructor: torch's own in their order, the rest of ours, and how they are learned."""
    empty, position = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD
    ours: dict[str, Parameter | Any] = {spelled[p.name]: p for p in activation.held_settings}
    for name in (*native, *(name for name in ours if name not in native)):
        default = ours[name].default if name in ours else _EXTRA[name][0]
        yield inspect.Parameter(name, position, default=empty if default is None else default)
    if activation.held:
        for name in ("learnable", "num_parameters", "channel_axis", "device", "dtype"):
            if name not in native:
                yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_EXTRA[name][0])


def _documentation(activation: Activation, signature: inspect.Signature, spelled: dict[str, str]) -> str:
    """The docstring of the function with the arguments of the constructor."""
    text = documentation(activation)
    head, _, tail = text.partition("Parameters\n----------\n")
    described = {spelled[p.name]: p for p in activation.held_settings}
    lines = [head.rstrip(), "", "Parameters", "----------"]
    for name, argument in signature.parameters.items():
        default = "required" if argument.default is inspect.Parameter.empty else f"default {argument.default!r}"
        p = described.get(name)
        if p is None:
            lines.append(
                f"{name} : {default}. {_EXTRA[name][1].format(learning.learnable_names(activation, None, '') or 'none')}"
            )
        elif isinstance(p, Parameter):
            lines.append(learning.describe(p, name, default))
        else:
            choices = f"one of {list(p.choices)}" if p.choices else "integer"
            lines.append(f"{name} : {choices}, {default}. {p.description}".rstrip())
    if len(signature.parameters) == 0:
        lines.pop(), lines.pop()
    return "\n".join(lines).rstrip() + "\n\n" + tail[tail.index("Returns\n") :]
