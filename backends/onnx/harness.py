"""ONNX operators under test: values only, from onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from multiact.declaration import Activation, Array
from multiact.natives import peers
from multiact.protocols import Native, Result


class OnnxHarness:
    """Operators as functions of NumPy arrays. ONNX has no derivatives."""

    name = "onnx"
    dtypes = ("float32", "float64", "float16")
    modes = ("eager",)

    def flushes(self, device: str = "cpu") -> tuple[str, ...]:
        return ()

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def versions(self) -> Mapping[str, str]:
        return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}

    def function(self, activation: Activation) -> Callable[..., Array]:
        raise NotImplementedError("onnx is no backend of multiact; only its own activations can be judged.")

    def natives(self, activation: Activation) -> Sequence[Native]:
        return peers(self.name, activation.name)

    def evaluate(
        self,
        call: Callable[..., Array],
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        mode: str = "eager",
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        if wrt:
            raise NotImplementedError("onnxruntime evaluates; it does not differentiate.")
        result = call(*(np.asarray(a).astype(dtype) for a in arrays))
        return Result(np.asarray(result).astype(np.float64), str(result.dtype))

    def synchronise(self, x: Any) -> Any:
        return x


harness = OnnxHarness()
