"""What the benchmarks need of Keras beside the harness: all of it from the framework below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multiact.declaration import Activation, Array
from multiact.protocols import Timed

if TYPE_CHECKING:
    import numpy as np


class KerasTiming:
    """The part of the harness that the benchmarks alone use."""

    _below: Timed
    network_modes: tuple[str, ...] = ()

    @property
    def timed_modes(self) -> tuple[str, ...]:
        return self._below.timed_modes

    def hardware(self, device: str) -> Mapping[str, Any]:
        return self._below.hardware(device)

    def operation(self, name: str) -> Callable[..., Array]:
        return self._below.operation(name)

    def runner(self, call: Callable[..., Array], arrays: Sequence[np.ndarray], **settings: Any) -> Callable[[], Any]:
        return self._below.runner(call, arrays, **settings)

    def copier(self, arrays: Sequence[np.ndarray], **settings: Any) -> Callable[[], Any]:
        return self._below.copier(arrays, **settings)

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        return self._below.seconds(run, calls, device)

    def values(self, x: Array, step: int = 1) -> np.ndarray:
        return self._below.values(x, step)

    def saved_bytes(self, call: Callable[..., Array], arrays: Sequence[np.ndarray], **settings: Any) -> int | None:
        return self._below.saved_bytes(call, arrays, **settings)

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        return self._below.peak_bytes(run, device)

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        if self._below.name == "torch":
            self._below.compiler = "inductor"  # type: ignore[attr-defined]  # the code it generates is what is timed
        self._below.prepare(activations, dtypes, device, build)

    def use_cache(self, folder: str) -> None:
        self._below.use_cache(folder)

    def network(self, name: str, activation: Callable[[Array], Array], **settings: Any) -> Callable[[], Any]:
        raise NotImplementedError("there are no networks for Keras here.")
