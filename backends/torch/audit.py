"""The activations of a torch.nn.Module: its submodules, functions that it keeps, and functions that its forward calls.

>>> import multiact as ma
>>> import torch
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LeakyReLU(0.2))
>>> [(f.path, f.equivalent.spelling) for f in ma.audit(model, to="jax")]
[('1', 'jax.nn.leaky_relu(x, negative_slope=0.2)')]
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx

from multiact.natives import activation_of, identify
from multiact.translation import Seen

#: Methods of a Tensor that are activations, and the function that does the same.
METHODS = {
    **dict.fromkeys(("relu", "relu_"), "torch.nn.functional.relu"),
    **dict.fromkeys(("sigmoid", "sigmoid_"), "torch.nn.functional.sigmoid"),
    **dict.fromkeys(("tanh", "tanh_"), "torch.nn.functional.tanh"),
    "softmax": "torch.nn.functional.softmax",
    "log_softmax": "torch.nn.functional.log_softmax",
    "hardshrink": "torch.nn.functional.hardshrink",
}
#: Names of positional arguments after the input.
POSITIONS = {
    "leaky_relu": ("negative_slope",),
    "elu": ("alpha",),
    "celu": ("alpha",),
    "softmax": ("dim",),
    "log_softmax": ("dim",),
    "softmin": ("dim",),
    "glu": ("dim",),
    "hardtanh": ("min_val", "max_val"),
    "hardshrink": ("lambd",),
    "softshrink": ("lambd",),
    "softplus": ("beta", "threshold"),
    "threshold": ("threshold", "value"),
    "rrelu": ("lower", "upper"),
    "gumbel_softmax": ("tau", "hard", "eps", "dim"),
}
#: What a gated unit calls on its gate.
GATES = {"silu": "SwiGLU", "gelu": "GEGLU", "relu": "ReGLU", "sigmoid": "GLU"}
MULTIPLICATIONS = (operator.mul, torch.mul)


def is_model(model: Any) -> bool:
    return isinstance(model, torch.nn.Module)


def walk(model: torch.nn.Module) -> tuple[list[Seen], list[str]]:
    """What was seen, in order, and what could not be looked into."""
    seen: list[Seen] = []
    unseen: list[str] = []
    for path, module in model.named_modules():
        where = path or type(module).__name__
        seen.append(Seen(where, module, traps=tuple(_shapes(module))))
        if activation_of(module) is not None:
            continue  # its forward is what was just said
        for name, value in vars(module).items():
            if callable(value) and not isinstance(value, torch.nn.Module) and identify(value) is not None:
                seen.append(Seen(f"{path}.{name}".strip("."), value))
        if not type(module).__module__.startswith("torch.nn"):
            _forward(module, where, path, seen, unseen)
    return seen, unseen


def _shapes(module: torch.nn.Module) -> Iterator[str]:
    if type(module) is torch.nn.PReLU and module.weight.numel() > 1:
        yield (
            f"{module.weight.numel()} learned slopes, one for each entry of axis 1; the number given is their mean. "
            f"Move the axis where channels come last, and copy the weights."
        )
    if isinstance(module, (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU)):
        yield "its gates are activations that cannot be seen or exchanged."


class Tracer(fx.Tracer):
    """Looks into one forward; that of each submodule is looked into by itself."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return True


def graph_of(module: torch.nn.Module, where: str, unseen: list[str]) -> fx.Graph | None:
    """What one forward calls; where it cannot be traced None, and the reason is added."""
    try:
        return Tracer().trace(module)
    except Exception as error:  # noqa: BLE001 - whatever a forward does when its input is not an array
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0] if said else ''}"[:160]
        unseen.append(f"functions called in forward of {where}: torch.fx cannot trace it ({reason})")
        return None


def _forward(module: torch.nn.Module, where: str, path: str, seen: list[Seen], unseen: list[str]) -> None:
    """The functions that forward calls, and which submodules are the gate of a gated unit there."""
    graph = graph_of(module, where, unseen)
    if graph is None:
        return
    owners = dict(module.named_modules())
    for node in graph.nodes:
        gated = tuple(_gate(node, owners))
        found = call_of(node)
        if found is not None:
            spelling, arguments = found
            seen.append(Seen(f"{where}: {node.name} in forward", spelling=spelling, arguments=arguments, traps=gated))
        elif node.op == "call_module" and gated:
            seen.append(Seen(f"{path}.{node.target}".strip("."), owners[str(node.target)], traps=gated))


def call_of(node: fx.Node) -> tuple[str, dict[str, Any]] | None:
    """The spelling and arguments of an activation that a node calls."""
    if node.op == "call_method":
        spelling = METHODS.get(str(node.target))
    elif node.op == "call_function":
        found = identify(node.target)
        spelling = found[1][0].spelling if found else None
    else:
        return None
    if spelling is None:
        return None
    names = POSITIONS.get(spelling.rpartition(".")[2], ())
    given = {**dict(zip(names, node.args[1:])), **{k: v for k, v in node.kwargs.items() if k != "input"}}
    if spelling == "torch.nn.functional.prelu":
        given = {"weight": 0.25}
    return spelling, {n: v for n, v in given.items() if not isinstance(v, fx.Node)}


def _activates(node: fx.Node, owners: dict[str, torch.nn.Module]) -> str | None:
    """The activation that a node computes, by our name."""
    call = call_of(node)
    if call is not None:
        return call[0].rpartition(".")[2]
    found = identify(owners[str(node.target)]) if node.op == "call_module" else None
    return found[1][0].activation if found else None


def _gate(node: fx.Node, owners: dict[str, torch.nn.Module]) -> Iterator[str]:
    """Whether the result is multiplied with another branch: a gated unit, and on which side its gate is."""
    unit = GATES.get(_activates(node, owners) or "")
    if unit is None or not node.args:
        return
    for user in node.users:
        if user.op != "call_function" or user.target not in MULTIPLICATIONS:
            continue
        other = next((a for a in user.args if isinstance(a, fx.Node) and a is not node), None)
        source = node.args[0]
        if other is None or not isinstance(source, fx.Node) or other is source:
            continue
        side = _half(source, other)
        yield f"multiplied with {other.name}: a gated unit ({unit}) whose gate is {side}."


def _half(gate: fx.Node, value: fx.Node) -> str:
    """Which part of a split the gate is."""
    parts = [n.args for n in (gate, value) if n.op == "call_function" and n.target is operator.getitem]
    if len(parts) == 2 and parts[0][0] is parts[1][0] and all(isinstance(p[1], int) for p in parts):
        return "the first half" if parts[0][1] < parts[1][1] else "the second half"
    return f"an input of its own, {gate.name}"
