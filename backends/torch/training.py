"""The classifiers of `multiact.networks` in PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from multiact import cache
from multiact.networks import MOMENTUM, Choice, Network, Optimizer, Weights

from .adapter import backend

T = TypeVar("T", nn.Linear, nn.Conv2d)


def classifier(network: Network, weights: Weights, optimizer: Optimizer) -> TorchClassifier:
    return TorchClassifier(network, weights, optimizer)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """On one thread: layers as small as these wait for their threads for longer than they run, where the processor is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchClassifier:
    """See `multiact.networks.Classifier`."""

    def __init__(self, network: Network, weights: Weights, optimizer: Optimizer) -> None:
        layers: list[nn.Module] = []
        for stage, own in zip(network.stages, weights):
            layers.append(_convolution(own, stage.stride) if stage.convolution else _linear(own))
            if stage.choice.activation is not None:
                layers.append(_activation(stage.choice))
        if network.convolutional:
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.model = nn.Sequential(*layers, _linear(weights[-1]))
        self.loss = nn.CrossEntropyLoss()
        parameters = self.model.parameters()
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(parameters) if optimizer == "adam" else torch.optim.SGD(parameters, 1e-3, MOMENTUM)
        )
        self._convolutional = network.convolutional

    def inputs(self, x: np.ndarray) -> Tensor:
        found = torch.from_numpy(x)
        return found.movedim(-1, 1) if self._convolutional else found

    def epoch(self, x: np.ndarray, y: np.ndarray, batches: Sequence[np.ndarray], rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        inputs, labels, losses = self.inputs(x), torch.from_numpy(y), []
        self.model.train()
        for batch in batches:
            self._optimizer.zero_grad()
            loss = self.loss(self.model(inputs[batch]), labels[batch])
            loss.backward()
            self._optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    def logits(self, x: np.ndarray) -> np.ndarray:
        self.model.eval()
        with torch.no_grad():
            return self.model(self.inputs(x)).numpy()


def _linear(own: tuple[np.ndarray, np.ndarray]) -> nn.Linear:
    weight, bias = own
    return _filled(nn.Linear(*weight.shape), weight.T, bias)


def _convolution(own: tuple[np.ndarray, np.ndarray], stride: int) -> nn.Conv2d:
    weight, bias = own
    return _filled(nn.Conv2d(*weight.shape[2:], 3, stride, padding=1), weight.transpose(3, 2, 0, 1), bias)


def _filled(layer: T, weight: np.ndarray, bias: np.ndarray) -> T:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.copy()))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
    return layer


def _activation(choice: Choice) -> nn.Module:
    assert choice.activation is not None
    return backend.layer(choice.activation)(**choice.parameters)


def data_set(name: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """((x, y), (test_x, test_y)) of a data set in torchvision, fetched at the first time."""
    from torchvision import datasets

    parts = [getattr(datasets, name)(cache.directory("data"), train=train, download=True) for train in (True, False)]
    return tuple((np.asarray(part.data), np.asarray(part.targets)) for part in parts)
