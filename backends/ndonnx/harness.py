"""What the conformance suite needs of ndonnx: each case is a model that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

import numpy as np
import onnx
import onnxruntime

from multiact.declaration import Array
from multiact.declared import DeclaredHarness

from .model import build, run


class NdonnxHarness(DeclaredHarness):
    """ONNX models in which the first axis of all inputs has an unknown size, checked, and run by onnxruntime on the CPU."""

    name = "ndonnx"
    dtypes = ("float32", "float64", "float16")

    def versions(self) -> Mapping[str, str]:
        return {name: metadata.version(name) for name in ("ndonnx", "onnx")} | {"onnxruntime": onnxruntime.__version__}

    def compute(
        self, function: Callable[..., Array], arrays: Sequence[np.ndarray], dtype: str, device: str
    ) -> np.ndarray:
        given = [np.asarray(a).astype(dtype) for a in arrays]
        model = build(function, {f"x{i}": ("batch", *a.shape[1:]) for i, a in enumerate(given)}, dtype)
        onnx.checker.check_model(model, full_check=True)
        return run(model, given)


harness = NdonnxHarness()
