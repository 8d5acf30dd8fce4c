"""NNX Modules: one class for each activation, and the adaptive ones."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from multiact import adaptive, learning
from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array, Parameter
from multiact.errors import ParameterError
from multiact.functions import documentation

from .adapter import backend, value

CONSTRUCTOR = """
Constructor
-----------
The parameters and options above, numbers only, by keyword or in that order; and
learnable : True for all parameters, False for none, or their names; by default those that are learned by definition. One that
    has to be positive is learned as its logarithm.
num_parameters : 1, or the number of channels: a learnable parameter then has one value for each.
channel_axis : the axis of the channels, the last by default.
param_dtype : of the learnable parameters, float32 by default.
rngs : accepted as by other Modules; needed where the function itself is random.
"""


class ActivationModule(nnx.Module):
    """Base of all activation Modules. A parameter is an attribute, learnable or not."""

    activation: ClassVar[Activation]

    def __init__(
        self,
        *values: Any,
        learnable: bool | str | tuple[str, ...] | None = None,
        num_parameters: int = 1,
        channel_axis: int = -1,
        param_dtype: Any = None,
        rngs: nnx.Rngs | None = None,
        **given: Any,
    ) -> None:
        kind, names = type(self).__name__, [s.name for s in self.activation.held_settings]
        if len(values) > len(names):
            raise ParameterError(f"{kind} takes at most {len(names)} positional arguments. Received: {len(values)}.")
        twice = [n for n in names[: len(values)] if n in given]
        unknown = [n for n in given if n not in names]
        if twice or unknown:
            fault = f"{twice[0]} was given twice" if twice else f"there is no argument {unknown[0]!r}"
            raise ParameterError(f"{kind}: {fault}. It takes: {', '.join(names) or 'none'}.")
        given |= dict(zip(names, values))
        self.learnable = learning.learnable_names(self.activation, learnable, kind)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        for p in self.activation.held:
            if p.name not in given and p.default is None:
                raise ParameterError(f"{kind} needs {p.name}=..., which has no default.")
            start = learning.number(p, given.get(p.name, p.default), kind)
            if p.name in self.learnable:
                shape = (num_parameters,) if num_parameters != 1 and p.broadcast == "channel" else ()
                weight = jnp.full(shape, learning.stored_value(p, start), param_dtype or jnp.float32)
                setattr(self, learning.stored_name(p), nnx.Param(weight))
            else:
                setattr(self, f"_{p.name}" if learning.is_positive(p) else p.name, start)
        for o in self.activation.options:
            setattr(self, o.name, o.check(given.get(o.name, o.default), kind))

    def __call__(self, *inputs: Array) -> Array:
        return backend.function(self.activation)(*inputs, **self._given(value(inputs[0])))

    def _given(self, x: Array) -> dict[str, Any]:
        """The keyword arguments for an input, those at their default left out."""
        given = {}
        for s in self.activation.held_settings:
            v = value(getattr(self, s.name))
            if isinstance(v, jax.Array) and v.ndim:
                what = f"{type(self).__name__}: {s.name}"
                change = "Set num_parameters to the number of channels, or channel_axis to their axis."
                v = v.reshape(learning.along_channels(v.size, x.shape, self.channel_axis, what, change))
            if isinstance(v, jax.Array) or v != s.default:
                given[s.name] = v
        return given


class RandomModule(ActivationModule):
    """Base of the Modules of random activations, with the switch `deterministic` as in nnx.Dropout.

    model.train() and model.eval() set it; what has no evaluation form is always random.
    """

    def __init__(self, *values: Any, deterministic: bool = False, rngs: nnx.Rngs | None = None, **given: Any) -> None:
        super().__init__(*values, **given)
        self.deterministic = deterministic
        self.rngs = nnx.data(None) if rngs is None else rngs["activation"].fork()

    def __call__(self, x: Array) -> Array:
        given, random = self._given(value(x)), self.activation.random
        assert random is not None
        if random.default is not None:
            given["training"] = not self.deterministic
        if given.get("training", True):
            if self.rngs is None:
                raise ParameterError(
                    f"{type(self).__name__} is random: make it with rngs=nnx.Rngs(seed), or call eval()."
                )
            given["rng"] = self.rngs()
        return backend.function(self.activation)(x, **given)


def _positive(p: Parameter) -> property:
    def get(self: ActivationModule) -> Any:
        if p.name in self.learnable:
            return jnp.exp(value(getattr(self, learning.stored_name(p))))
        return getattr(self, f"_{p.name}")

    return property(get, doc=p.description)


def make_module(activation: Activation) -> type[ActivationModule]:
    """The Module class of an activation."""
    members = {p.name: _positive(p) for p in activation.parameters if learning.is_positive(p)}
    return type(
        activation.class_name,
        (RandomModule if activation.random else ActivationModule,),
        {
            "__module__": __package__,
            "__doc__": documentation(activation) + "\n" + CONSTRUCTOR,
            "__signature__": _signature(activation),
            "activation": activation,
            **members,
        },
    )


def _signature(activation: Activation) -> inspect.Signature:
    kinds = inspect.Parameter
    ours = [
        kinds(s.name, kinds.POSITIONAL_OR_KEYWORD, default=kinds.empty if s.default is None else s.default)
        for s in activation.held_settings
    ]
    own = [*inspect.signature(ActivationModule.__init__).parameters.values()]
    if activation.random:
        own.append(inspect.signature(RandomModule.__init__).parameters["deterministic"])
    return inspect.Signature([*ours, *(p for p in own if p.kind is kinds.KEYWORD_ONLY)])


ADAPTIVE_ARGUMENTS = """\
num_parameters : 1, or the number of channels: there are weights for each of them then.
channel_axis : the axis of the channels, the last by default.
param_dtype : of the weights, float32 by default.
rngs : flax.nnx.Rngs; needed where the weights start at random.
"""


class AdaptiveModule(nnx.Module):
    """Base of the Modules that learn the shape of an activation."""

    kind: ClassVar[type[Adaptive]]

    def __init__(
        self,
        *,
        num_parameters: int = 1,
        channel_axis: int = -1,
        param_dtype: Any = None,
        rngs: nnx.Rngs | None = None,
        **settings: Any,
    ) -> None:
        self.adaptive = adaptive.made(self.kind, type(self).__name__, settings)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        if rngs is None and self.adaptive.random:
            raise ParameterError(f"{type(self).__name__} starts at random: give rngs=nnx.Rngs(seed).")
        seed = 0 if rngs is None else int(jax.random.randint(rngs.params(), (), 0, 2**31 - 1))
        for name, start in self.adaptive.initial(num_parameters, np.random.default_rng(seed)).items():
            setattr(self, name, nnx.Param(jnp.asarray(start, param_dtype or jnp.float32)))

    def _weights(self) -> dict[str, Array]:
        return {name: v[...] for name, v in vars(self).items() if isinstance(v, nnx.Param)}

    def __call__(self, x: Array) -> Array:
        return self.adaptive(jnp, value(x), self._weights(), self.channel_axis)

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        return self.adaptive.read({name: np.asarray(w, np.float32) for name, w in self._weights().items()})


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveModule]:
    """The Module class of an adaptive activation."""
    return adaptive.module_class(kind, AdaptiveModule, __package__, ADAPTIVE_ARGUMENTS)
