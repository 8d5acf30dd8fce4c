"""Exchanging the activations of a torch.nn.Module."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import fx

from multiact.natives import activation_of, table
from multiact.surgery import Change, Rule, Surgeon, Swap, made

from .adapter import backend
from .audit import Tracer, call_of, graph_of

Module: TypeAlias = torch.nn.Module


def swap(model: Module, rules: Sequence[Rule], rewrite: bool) -> Swap:
    """`multiact.swap` of a torch.nn.Module."""
    surgeon = _Surgeon(model, rules)
    surgeon.layers()
    surgeon.functions()
    surgeon.calls(rewrite)
    return surgeon.done(surgeon.model)


class _Surgeon(Surgeon):
    def __init__(self, model: Module, rules: Sequence[Rule]) -> None:
        super().__init__(rules)
        self.model = model
        self._done: set[str] = set()

    def layers(self) -> None:
        """Modules; one that stands at several places has one replacement for each rule."""
        known: dict[tuple[Module, int], Module] = {}
        for path, module in list(self.model.named_modules(remove_duplicate=False)):
            if self._below(path):
                continue
            rule = self.for_layer(path, module)
            if rule is None:
                continue
            key = (module, id(rule))
            if key not in known:
                known[key] = self._fresh(rule, module)
            new = known[key]
            self._put(path, new)
            dropped = tuple(name for name, _ in module.named_parameters())
            self.changes.append(Change(path or "the model", _shown(module), _shown(new), dropped))

    def functions(self) -> None:
        """Functions that Modules keep, such as the activation of torch.nn.TransformerEncoderLayer."""
        for path, module in list(self.model.named_modules()):
            if self._below(path):
                continue
            for name, value in list(vars(module).items()):
                named = activation_of(value)
                if not callable(value) or isinstance(value, torch.nn.Module) or named is None:
                    continue
                where = f"{path}.{name}".strip(".")
                rule = self.for_function(where, value, named)
                if rule is None:
                    continue
                new = self._fresh(rule, value)
                setattr(module, name, new)
                if hasattr(module, f"{name}_relu_or_gelu"):  # lets torch's encoder layer take a kernel of its own
                    setattr(module, f"{name}_relu_or_gelu", 0)
                self.changes.append(Change(where, _shown(value), _shown(new)))

    def calls(self, rewrite: bool) -> None:
        """Functions that a forward calls."""
        for path, module in list(self.model.named_modules()):
            ours = self._below(path) or activation_of(module) is not None
            if ours or type(module).__module__.startswith("torch.nn"):
                continue
            where = path or type(module).__name__
            graph = graph_of(module, where, self.left)
            if graph is None:
                continue
            found = [(node, rule) for node in graph.nodes if (rule := self._meant(path, node)) is not None]
            if not found:
                continue
            why = _obstacle(module, graph) if rewrite else "rewrite=True replaces it"
            if why:
                self.left += [f"{node.name} called in forward of {where}: {why}" for node, _ in found]
            else:
                self._rewrite(path, module, graph, found)

    def _meant(self, path: str, node: fx.Node) -> Rule | None:
        call = call_of(node)
        activation = next((e.activation for e in table("torch") if call is not None and e.spelling == call[0]), None)
        return None if activation is None else self.for_call(f"{path}.{node.name}".strip("."), activation)

    def _rewrite(self, path: str, module: Module, graph: fx.Graph, found: Sequence[tuple[fx.Node, Rule]]) -> None:
        added = []
        for node, rule in found:
            name = node.name
            while hasattr(module, name):
                name += "_"
            new = self._fresh(rule, node.target)
            module.add_module(name, new)
            added.append(name)
            given = {k: v for k, v in (call_of(node) or ("", {}))[1].items() if v is not None and k[0] != "_"}
            old = f"{_shown(node.target)}({', '.join(f'{k}={v!r}' for k, v in given.items())})"
            with graph.inserting_after(node):
                call = graph.create_node("call_module", name, (node.args[0] if node.args else node.kwargs["input"],))
            node.replace_all_uses_with(call)
            graph.erase_node(node)
            self.changes.append(Change(f"{path}.{name}".strip("."), old, _shown(new)))
        rewritten = fx.GraphModule(module, graph, type(module).__name__)
        rewritten.train(module.training)
        for name in added:
            delattr(module, name)
        self._put(path, rewritten)

    def _fresh(self, rule: Rule, old: Any) -> Module:
        new: Module = made(rule.replacement, old, Module, backend, copy.deepcopy)
        new.train(getattr(old, "training", self.model.training))
        kept = next((p for p in self.model.parameters() if p.is_floating_point()), None)
        return new if kept is None else new.to(device=kept.device, dtype=kept.dtype)

    def _put(self, path: str, new: Module) -> None:
        parent, _, name = path.rpartition(".")
        if path:
            self.model.get_submodule(parent).add_module(name, new)
        else:
            self.model = new
        self._done.add(path)

    def _below(self, path: str) -> bool:
        """Whether it is, or is a part of, what has been exchanged."""
        return any(not p or path == p or path.startswith(f"{p}.") for p in self._done)


def _obstacle(module: Module, graph: fx.Graph) -> str:
    """Why a forward cannot be rewritten without changing something else; "" where it can."""
    hooks = [
        n for n in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks") if vars(module)[n]
    ]
    if hooks:
        return "the module has hooks, which a rewritten one loses. Remove them, and register them afterwards"
    other = copy.copy(module)
    other.__dict__["training"] = not module.training
    if str(Tracer().trace(other)) != str(graph):
        return "forward does something else in training mode, which torch.fx does not record"
    before, kept = set(module.state_dict()), set(fx.GraphModule(module, Tracer().trace(module)).state_dict())
    if before - kept:
        return f"forward does not use {', '.join(sorted(before - kept))}, which a rewritten module would lose"
    return ""


def _shown(thing: Any) -> str:
    return repr(thing) if isinstance(thing, torch.nn.Module) else str(getattr(thing, "__name__", thing))
