"""Gradients in what a model computes on the way, for Keras on torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from multiact.declaration import Array
from multiact.diagnostics.recording import Tap


def watched(run: Callable[[Tap, Any], Array], weights: Any, gradients: bool) -> tuple[dict[str, Array], Any]:
    """See `multiact.diagnostics.recording.Watched`. No ``.grad`` is touched."""
    kept: dict[str, torch.Tensor] = {}

    def record(key: str, output: torch.Tensor) -> torch.Tensor:
        if gradients:
            kept[key] = output = output if output.requires_grad else output.detach().requires_grad_()
        return output

    devices = {w.device for w in weights if w.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), torch.set_grad_enabled(gradients):
        value = run(record, None)
    if not gradients:
        return {}, None
    if not value.requires_grad:
        return {}, [None] * len(weights)
    learned = [w for w in weights if w.requires_grad]
    found = torch.autograd.grad(value, [*kept.values(), *learned], allow_unused=True)
    by_id = {id(w): g for w, g in zip(learned, found[len(kept) :])}
    return {k: g for k, g in zip(kept, found) if g is not None}, [by_id.get(id(w)) for w in weights]
