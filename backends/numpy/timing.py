"""What the benchmarks need of NumPy beside the harness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import multiact.timing
from multiact.declaration import Activation, Array, Elementwise

try:
    import ml_dtypes
except ImportError:  # an extra of the conformance suite, which NumPy itself does without
    ml_dtypes = None  # type: ignore[assignment]

Run = Callable[[], tuple[Array, ...]]


def put(a: np.ndarray, dtype: str) -> np.ndarray:
    """A float64 array in another dtype."""
    return np.asarray(a).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


class NumPyTiming:
    """The part of the harness that the benchmarks alone use. Backward is the declared derivative times the cotangent."""

    timed_modes = ("eager",)
    network_modes: tuple[str, ...] = ()

    if TYPE_CHECKING:

        def derivative(
            self, call: Any, own: Sequence[Array], wrt: tuple[int, ...], weights: Sequence[Array] | None
        ) -> Array: ...

    def hardware(self, device: str) -> Mapping[str, Any]:
        return {}

    def operation(self, name: str) -> Callable[..., Array]:
        if name in ("erf", "erfc"):
            try:
                from scipy import special
            except ImportError:
                raise NotImplementedError(f"NumPy has no {name}, and SciPy is not installed.") from None
            return getattr(special, name)  # type: ignore[no-any-return]
        return getattr(np, name)  # type: ignore[no-any-return]

    def runner(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        direction: str = "forward",
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> Run:
        own = [put(a, dtype) for a in arrays]
        if direction == "forward":
            return lambda: (call(*own),)
        activation: Activation | None = getattr(call, "activation", None)
        if activation is None:
            raise NotImplementedError("NumPy has no automatic differentiation; only declared derivatives can be had.")
        with np.errstate(all="ignore"):
            ones = np.ones_like(call(*own))
        elementwise = isinstance(activation.function, Elementwise)

        def run() -> tuple[Array, ...]:
            y = call(*own)
            slopes = (self.derivative(call, own, (i,), [ones]) for i in range(len(own)))
            return (y, *((s * ones if elementwise else s) for s in slopes))

        return run

    def copier(
        self, arrays: Sequence[np.ndarray], *, direction: str = "forward", dtype: str = "float32", device: str = "cpu"
    ) -> Run:
        first, *rest = [put(a, dtype) for a in arrays]
        ones = np.ones_like(first)
        forward: Callable[[], Array] = (lambda: first + rest[0]) if rest else first.copy
        if direction == "forward":
            return lambda: (forward(),)
        return lambda: (forward(), first + ones, *(other.copy() for other in rest))

    def seconds(self, run: Callable[[], Any], calls: int, device: str = "cpu") -> float:
        with np.errstate(all="ignore"):
            return multiact.timing.seconds(run, calls)

    def values(self, x: Array, step: int = 1) -> np.ndarray:
        return np.asarray(x if step == 1 else x.reshape(-1)[::step]).astype(np.float64)

    def saved_bytes(self, call: Callable[..., Array], arrays: Sequence[np.ndarray], **settings: Any) -> int | None:
        return None

    def peak_bytes(self, run: Callable[[], Any], device: str = "cpu") -> int | None:
        return None

    def prepare(self, activations: Sequence[Activation], dtypes: Sequence[str], device: str, build: bool) -> None:
        pass

    def use_cache(self, folder: str) -> None:
        pass

    def network(self, name: str, activation: Callable[[Array], Array], **settings: Any) -> Callable[[], Any]:
        raise NotImplementedError("NumPy does not train networks.")
