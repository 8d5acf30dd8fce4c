"""The classifier of multiact.benchmarks.port_model in PyTorch, where it is trained."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from multiact.backends.torch import GELU, PReLU

VERSIONS = {"torch": torch.__version__}
OWN = {"gelu": "torch.nn.GELU()", "prelu": "torch.nn.PReLU()"}
SIZES = (64, 64, 32, 10)


def _model(own: tuple[str, ...] = ()) -> nn.Sequential:
    linear = [nn.Linear(a, b) for a, b in itertools.pairwise(SIZES)]
    first = nn.GELU() if "gelu" in own else GELU()
    second = nn.PReLU() if "prelu" in own else PReLU(SIZES[2])
    return nn.Sequential(linear[0], first, linear[1], second, linear[2])


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> dict[str, np.ndarray]:
    """Fit the classifier with our layers, and give its weights, matrices as (inputs, outputs)."""
    torch.manual_seed(0)
    model = _model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    weights = {"slope": next(model[3].parameters()).detach().numpy()}
    for number, layer in enumerate((model[0], model[2], model[4]), 1):
        weights |= {f"w{number}": layer.weight.detach().numpy().T, f"b{number}": layer.bias.detach().numpy()}
    return weights


@torch.no_grad()
def logits(weights: dict[str, np.ndarray], images: np.ndarray, own: tuple[str, ...] = ()) -> np.ndarray:
    """The logits of every image with the weights given; `own` names the activations to take from the framework."""
    model = _model(own)
    for number, layer in enumerate((model[0], model[2], model[4]), 1):
        layer.weight.copy_(torch.from_numpy(weights[f"w{number}"].T))
        layer.bias.copy_(torch.from_numpy(weights[f"b{number}"]))
    if "prelu" not in own:
        next(model[3].parameters()).copy_(torch.from_numpy(weights["slope"]))
    return model(torch.from_numpy(images)).numpy()
