"""The adaptive activations of the core as Modules."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch

from multiact.adaptive import Adaptive, made, module_class

from . import namespace

Tensor: TypeAlias = torch.Tensor

ARGUMENTS = """\
num_parameters : 1, or the number of channels: there are weights for each of them then.
channel_axis : the axis of the channels, 1 by default.
device, dtype : of the weights.
"""


class AdaptiveModule(torch.nn.Module):
    """Base of the Modules that learn the shape of an activation; their weights are in the state_dict."""

    kind: ClassVar[type[Adaptive]]

    def __init__(
        self,
        *,
        num_parameters: int = 1,
        channel_axis: int = 1,
        device: Any = None,
        dtype: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.adaptive = made(self.kind, type(self).__name__, settings)
        self.num_parameters, self.channel_axis = num_parameters, channel_axis
        # torch.manual_seed decides
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        for name, start in self.adaptive.initial(num_parameters, rng).items():
            self.register_parameter(name, torch.nn.Parameter(torch.as_tensor(start, device=device, dtype=dtype)))

    def forward(self, input: Tensor) -> Tensor:
        """The activation of `input`."""
        weights = dict(self.named_parameters(recurse=False))
        return self.adaptive(namespace, input, weights, self.channel_axis)

    def describe(self) -> dict[str, Any]:
        """What has been learned, in Python numbers: for a Mixture the weight of each activation."""
        weights = {n: p.detach().float().cpu().numpy() for n, p in self.named_parameters(recurse=False)}
        return self.adaptive.read(weights)

    def extra_repr(self) -> str:
        settings = [f"{name}={value!r}" for name, value in vars(self.adaptive).items()]
        return ", ".join([*settings, f"num_parameters={self.num_parameters}", f"channel_axis={self.channel_axis}"])


def make_adaptive(kind: type[Adaptive]) -> type[AdaptiveModule]:
    """The Module class of an adaptive activation."""
    return module_class(kind, AdaptiveModule, __package__, ARGUMENTS)
