"""Removing units of a torch.nn.Module: their rows in one layer, and what they feed in the next."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx

from multiact.errors import ParameterError
from multiact.natives import activation_of

from .audit import Tracer, call_of
from .initialisation import NORMS, WEIGHTS

#: What leaves every unit by itself, and zeros zero.
PASSING = (
    torch.nn.Dropout,
    torch.nn.modules.dropout._DropoutNd,
    torch.nn.Identity,
    torch.nn.Flatten,
    torch.nn.modules.pooling._MaxPoolNd,
    torch.nn.modules.pooling._AvgPoolNd,
    torch.nn.modules.pooling._AdaptiveAvgPoolNd,
    torch.nn.modules.pooling._AdaptiveMaxPoolNd,
)
BATCH_NORMALISATIONS = (torch.nn.modules.batchnorm._BatchNorm,)


class _Tracer(Tracer):
    """Looks into every module that is not of torch or an activation."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        of_torch = type(m).__module__.startswith("torch.nn") and not isinstance(m, torch.nn.Sequential)
        return of_torch or activation_of(m) is not None


@dataclass
class _Chain:
    """A layer, what follows it, and the layer that takes all of it."""

    between: list[torch.nn.Module] = field(default_factory=list)
    consumer: torch.nn.Module | None = None


def count(model: torch.nn.Module) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in model.parameters())


def prune(
    model: torch.nn.Module, idle: Mapping[str, np.ndarray]
) -> tuple[torch.nn.Module, dict[str, np.ndarray], dict[str, int], list[str]]:
    """A copy without these units of these layers, what was removed, how many units there were, and what was left and why."""
    smaller = copy.deepcopy(model)
    removed: dict[str, np.ndarray] = {}
    units: dict[str, int] = {}
    left: list[str] = []
    if not idle:
        return smaller, removed, units, left
    try:
        graph = _Tracer().trace(smaller)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ParameterError(
            f"the model cannot be pruned, since torch.fx cannot trace it ({type(error).__name__}: {reason}). "
            f"Remove what depends on the values of its input from forward."
        ) from error
    modules = dict(smaller.named_modules())
    for path, gone in idle.items():
        layer = modules[path]
        found = _chain(graph, modules, path)
        if isinstance(found, str):
            left.append(f"{path}: {len(gone)} units never respond; {found}")
            continue
        total = layer.weight.shape[0]
        keep = np.setdiff1d(np.arange(total), gone)
        if not keep.size:
            keep = np.arange(1)  # a layer without units cannot be called
        _remove(layer, found, torch.as_tensor(keep))
        removed[path], units[path] = np.setdiff1d(np.arange(total), keep), total
    return smaller, removed, units, left


def _chain(graph: fx.Graph, modules: dict[str, torch.nn.Module], path: str) -> _Chain | str:
    """What follows a layer up to the next one; a string that says why its units cannot be removed."""
    layer = modules[path]
    calls = [n for n in graph.nodes if n.op == "call_module" and n.target == path]
    if len(calls) != 1:
        return f"it is called {len(calls)} times"
    if getattr(layer, "transposed", False) or getattr(layer, "groups", 1) != 1 or not isinstance(layer, WEIGHTS):
        return f"units of a {type(layer).__name__} of this kind cannot be removed"
    chain, node = _Chain(), calls[0]
    activated = False
    while True:
        users = list(node.users)
        if len(users) != 1:
            return f"the result of {node.name} is used {len(users)} times"
        node = users[0]
        if node.op == "output":
            return "it is the output of the model"
        if node.op != "call_module":
            if call_of(node) is None and not _passes(node):
                return f"{node.name} is between it and the next layer"
            if call_of(node) is not None and activated:
                return f"{node.name} is a second activation"
            activated |= call_of(node) is not None
            continue
        module = modules[str(node.target)]
        if activation_of(module) not in (None, "identity"):
            if activated:
                return f"{node.target} is a second activation"
            activated = True
        elif isinstance(module, BATCH_NORMALISATIONS) and not activated:
            pass
        elif isinstance(module, WEIGHTS):
            if getattr(module, "groups", 1) != 1:
                return f"{node.target} has groups"
            chain.consumer = module
            return chain
        elif not isinstance(module, PASSING):
            kind = "normalisation" if isinstance(module, NORMS) else type(module).__name__
            return (
                f"{node.target}, a {kind}, mixes the units" if kind == "normalisation" else f"{node.target} is a {kind}"
            )
        chain.between.append(module)


def _passes(node: fx.Node) -> bool:
    """Whether a function or method keeps the units apart and zeros zero."""
    name = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    if name == "flatten":
        return [*node.args[1:], *node.kwargs.values()] in ([1], [1, -1])
    if name == "mean":  # over the places of feature maps
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        return isinstance(dims, (tuple, list)) and set(dims) <= {2, 3, 4, -1, -2, -3} and 1 not in dims
    return name in (
        "dropout",
        "max_pool1d",
        "max_pool2d",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool2d",
        "contiguous",
    )


def _remove(layer: torch.nn.Module, chain: _Chain, keep: torch.Tensor) -> None:
    total = layer.weight.shape[0]
    _select(layer, ("weight", "bias"), keep, 0)
    for module in chain.between:
        values = dict([*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)])
        _select(module, [n for n, v in values.items() if v.shape[:1] == (total,)], keep, 0)
        for name in ("num_features", "num_parameters"):
            if getattr(module, name, None) == total:
                setattr(module, name, len(keep))
    consumer = chain.consumer
    assert consumer is not None
    repeated = consumer.weight.shape[1] // total  # the places of a feature map that was flattened
    columns = (keep[:, None] * repeated + torch.arange(repeated)).ravel()
    _select(consumer, ("weight",), columns, 1)
    for module, names in ((layer, ("out_features", "out_channels")), (consumer, ("in_features", "in_channels"))):
        for name in names:
            if hasattr(module, name):
                setattr(module, name, len(keep if module is layer else columns))


def _select(module: torch.nn.Module, names: Sequence[str], keep: torch.Tensor, axis: int) -> None:
    for name in names:
        value = getattr(module, name, None)
        if value is not None:
            chosen = value.detach().index_select(axis, keep.to(value.device))
            learned = isinstance(value, torch.nn.Parameter)
            setattr(module, name, torch.nn.Parameter(chosen, value.requires_grad) if learned else chosen)
