"""The layers of a torch.nn.Module with weights, and which activations follow them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import fx, nn

from multiact.errors import ParameterError
from multiact.natives import activation_of
from multiact.translation import Translation, recognise, translate
from multiact.weights import Follower, Left, Place, ending, found, in_order

from .audit import MULTIPLICATIONS, call_of, graph_of, is_model

__all__ = ["is_model", "walk"]

Module: TypeAlias = nn.Module

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
)
#: What is left as it is, with all that is below.
LEFT: tuple[tuple[type[Module], str], ...] = (
    (nn.Embedding, "an embedding; no signal is scaled by it"),
    (nn.EmbeddingBag, "an embedding; no signal is scaled by it"),
    (nn.MultiheadAttention, "attention: softmax of products follows its projections, not an activation of one number"),
    (nn.RNNBase, "a recurrent layer; its gates are activations inside"),
    (nn.RNNCellBase, "a recurrent layer; its gates are activations inside"),
    (nn.Bilinear, "a product of two inputs"),
)
#: Modules through which a signal passes, of these folders of torch.nn.modules, or of these classes.
PASSING = ("dropout", "flatten", "pooling", "padding", "upsampling", "pixelshuffle", "channelshuffle", "fold")
#: Functions and methods through which a signal passes.
THROUGH = {
    *(
        "add",
        "iadd",
        "sub",
        "isub",
        "cat",
        "concat",
        "concatenate",
        "stack",
        "mean",
        "sum",
        "amax",
        "max",
        "clone",
        "roll",
    ),
    *(
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "contiguous",
        "squeeze",
        "unsqueeze",
        "expand",
    ),
    *(
        "chunk",
        "split",
        "tensor_split",
        "unbind",
        "getitem",
        "swapaxes",
        "movedim",
        "t",
        "flip",
        "repeat",
        "narrow",
        "select",
    ),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "pad", "interpolate"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "boolean_dispatch", "fn"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "pixel_shuffle", "pixel_unshuffle"),
    *("to", "float", "half", "bfloat16", "double", "type", "type_as", "detach", "div", "truediv", "neg", "mul", "imul"),
}
NORMALISING = {
    "layer_norm",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "rms_norm",
    "normalize",
    "local_response_norm",
}
PRODUCTS = {"matmul", "bmm", "baddbmm", "einsum", "scaled_dot_product_attention"}
#: What tells about a signal and does not hand it on.
ASKING = {"size", "dim", "numel", "shape", "dtype", "device", "ndim", "ndimension", "is_floating_point", "getattr"}

ATTENTION = "attention: its product with another projection follows, not an activation"


def walk(model: Module) -> tuple[list[Place], list[Left]]:
    """The layers with weights in the order of their registration, and those that are to be left."""
    reader = _Reader(model)
    places: list[Place] = []
    left: list[Left] = []
    skipped: list[str] = []
    owners: dict[int, str] = {}
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if any(path.startswith(f"{s}.") or not s for s in skipped):
            continue
        where, kind = path or type(module).__name__, type(module).__name__
        why = next((reason for c, reason in LEFT if isinstance(module, c)), "")
        if why:
            skipped.append(path)
            left.append(Left(where, kind, why))
        elif isinstance(module, WEIGHTS):
            why = _obstacle(module, owners)
            follower = Follower("unknown") if why else reader.follower(path)
            if why or follower.how == ATTENTION:
                left.append(Left(where, kind, why or ATTENTION))
            else:
                places.append(_place(where, module, follower))
        if weight is not None:
            owners.setdefault(id(weight), where)
    return places, left


def _obstacle(module: Module, owners: dict[int, str]) -> str:
    """Why the weights of a layer cannot be assigned; "" where they can."""
    if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
        return "it has no weights yet; run the model on an input first"
    if torch.nn.utils.parametrize.is_parametrized(module, "weight") or not isinstance(module.weight, nn.Parameter):
        return "its weights are computed from others, such as by weight_norm"
    if not module.weight.is_floating_point():
        return f"its weights are {module.weight.dtype}"
    if id(module.weight) in owners:
        return f"its weights are those of {owners[id(module.weight)]}"
    return ""


def _place(where: str, module: Any, follower: Follower) -> Place:
    weight: torch.Tensor = module.weight
    fan_in, fan_out = fans(module)

    def write(values: np.ndarray) -> None:
        with torch.no_grad():
            weight.copy_(torch.from_numpy(np.asarray(values)))

    def zero() -> None:
        if module.bias is not None:
            with torch.no_grad():
                module.bias.zero_()

    def std() -> float:
        return (
            float(weight.detach().to(torch.float64).square().mean().sqrt())
            if weight.device.type != "meta"
            else math.nan
        )

    return Place(where, type(module).__name__, fan_in, fan_out, tuple(weight.shape), follower, std, write, zero)


def fans(module: Any) -> tuple[float, float]:
    """The inputs of a unit, and the outputs that an input goes to.

    A unit of a transposed convolution has one of `stride` taps in each direction.
    """
    field = math.prod(module.weight.shape[2:])
    if isinstance(module, TRANSPOSED):
        taps = field / math.prod(module.stride)
        return max(1.0, module.in_channels // module.groups * taps), module.out_channels // module.groups * field
    if isinstance(module, CONVOLUTIONS):
        return module.in_channels // module.groups * field, module.out_channels // module.groups * field
    return module.in_features, module.out_features


class _Reader:
    """Follows the output of a layer through the graphs of the forwards, one for each module that calls others."""

    def __init__(self, model: Module) -> None:
        self.owners = dict(model.named_modules(remove_duplicate=False))
        self._graphs: dict[str, fx.Graph | None] = {}
        self._order: dict[str, Follower] | None = None
        self._unseen: list[str] = []

    def follower(self, path: str) -> Follower:
        """What follows a layer; where a graph is missing, by the order in which modules stand."""
        kept = self._in_encoder(path)
        if kept is not None:
            return kept
        ends = list(self._after(path, set()))
        for role in ("activation", "unknown", "weights", "attention", "output"):
            for end in ends:
                if end[0] == role:
                    return self._said(path, *end)
        return self._ordered(path, "nothing that is traced uses its output")

    def _said(self, path: str, what: str, follower: Follower | None, normalised: bool, why: str) -> Follower:
        if what == "activation":
            assert follower is not None
            return replace(follower, normalised=normalised)
        if what == "attention":
            return Follower("unknown", how=ATTENTION)
        if what == "unknown":
            return self._ordered(path, why)
        return Follower("linear" if what == "weights" else "output", normalised=normalised)

    def _ordered(self, path: str, why: str) -> Follower:
        if self._order is None:
            events: list[tuple[str, Any]] = []
            for name, module in self.owners.items():
                seen = _activation(module)
                if isinstance(module, WEIGHTS):
                    events.append(("weights", name))
                elif seen is not None:
                    events.append(("activation", found(seen)))
                elif isinstance(module, NORMS):
                    events.append(("norm", None))
                elif isinstance(module, tuple(kind for kind, _ in LEFT)):
                    events.append(("end", None))
            self._order = in_order(events, exact=False, how="order of modules")
        follower = self._order.get(path, Follower("unknown"))
        return replace(follower, how=why) if follower.role == "unknown" else follower

    def _in_encoder(self, path: str) -> Follower | None:
        """The two Linears of torch's own transformer layers, whose forward torch.fx cannot trace."""
        parent, _, name = path.rpartition(".")
        owner = self.owners.get(parent) if path else None
        if not isinstance(owner, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            return None
        if name == "linear2":
            return Follower("linear", how="kept by the layer")
        seen = _activation(owner.activation)
        return None if seen is None else found(seen, how="kept by the layer")

    def _graph(self, path: str) -> fx.Graph | None:
        """The graph of the forward of a module that calls others; None for one that is not looked into."""
        if path not in self._graphs:
            module = self.owners[path]
            opaque = type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)
            self._graphs[path] = None if opaque else graph_of(module, path, self._unseen)
        return self._graphs[path]

    # What is after a module

    def _after(self, path: str, seen: set[Any], normalised: bool = False) -> Iterator[tuple[str, Any, bool, str]]:
        """Where the output of a module goes, as (what, activation, normalised, why)."""
        if not path:
            yield "output", None, normalised, ""
            return
        parts = path.split(".")
        for i in range(len(parts) - 1, -1, -1):
            above, name = ".".join(parts[:i]), ".".join(parts[i:])
            if above not in self.owners:
                continue
            graph = self._graph(above)
            calls = [] if graph is None else [n for n in graph.nodes if n.op == "call_module" and n.target == name]
            for node in calls:
                yield from self._users(above, node, seen, normalised)
            if calls:
                return
        reason = self._unseen[-1] if self._unseen else "no forward that can be traced calls it"
        yield "unknown", None, normalised, reason

    def _users(
        self, path: str, node: fx.Node, seen: set[Any], normalised: bool
    ) -> Iterator[tuple[str, Any, bool, str]]:
        if (path, node) in seen:
            return
        seen.add((path, node))
        for user in node.users:
            yield from self._step(path, node, user, seen, normalised)

    def _step(
        self, path: str, node: fx.Node, user: fx.Node, seen: set[Any], normalised: bool
    ) -> Iterator[tuple[str, Any, bool, str]]:
        """What a user of a signal makes of it."""
        through = lambda norm=False: self._users(path, user, seen, normalised or norm)
        if user.op == "output":
            yield from self._after(path, seen, normalised)
            return
        activation = self._activates(path, user)
        if activation is not None:
            gate = self._product(path, user)
            yield "activation", self._ended(path, user, gate or activation), normalised, ""
            return
        if user.op == "call_module":
            yield from self._enter(path, node, user, seen, normalised)
            return
        name = str(user.target if user.op == "call_method" else getattr(user.target, "__name__", user.target))
        name = name.strip("_")
        others = [a for a in user.all_input_nodes if a is not node]
        if name in ASKING:
            return
        if user.target in MULTIPLICATIONS or name in ("mul", "imul"):
            gates = [g for g in (self._source(path, other) for other in others) if g is not None]
            if gates:
                yield "activation", self._gated(gates[0]), normalised, ""
            elif others:
                yield "unknown", None, normalised, f"it is multiplied with {others[0].name}"
            else:
                yield from through()
        elif name in PRODUCTS or user.target is operator.matmul:
            yield "attention", None, normalised, ""
        elif name in NORMALISING:
            yield from through(True)
        elif name in THROUGH:
            yield from through()
        else:
            yield "unknown", None, normalised, f"it goes into {name}"

    def _enter(
        self, path: str, node: fx.Node, user: fx.Node, seen: set[Any], normalised: bool
    ) -> Iterator[tuple[str, Any, bool, str]]:
        """What a module makes of a signal."""
        below = f"{path}.{user.target}".strip(".")
        module = self.owners[below]
        if isinstance(module, (*WEIGHTS, *(c for c, _ in LEFT))):
            yield "weights", None, normalised, ""
        elif isinstance(module, NORMS):
            yield from self._users(path, user, seen, True)
        elif type(module) is nn.Identity or type(module).__module__.rpartition(".")[2] in PASSING:
            yield from self._users(path, user, seen, normalised)
        else:
            graph = self._graph(below)
            if graph is None:
                if any(isinstance(m, WEIGHTS) for m in module.modules()):
                    yield "weights", None, normalised, ""  # as torch's own transformer layers
                else:
                    yield "unknown", None, normalised, f"it goes into {below}, which torch.fx cannot trace"
                return
            inputs = [n for n in graph.nodes if n.op == "placeholder"]
            for i, argument in enumerate([*user.args, *user.kwargs.values()]):
                if argument is node and i < len(inputs):
                    yield from self._users(below, inputs[i], seen, normalised)

    # Activations

    def _activates(self, path: str, node: fx.Node) -> Follower | None:
        """The activation that a node is; None for none."""
        seen: Translation | None = None
        if node.op == "call_module":
            module = self.owners[f"{path}.{node.target}".strip(".")]
            seen = None if isinstance(module, nn.Identity) else _activation(module)
        else:
            call = call_of(node)
            try:
                if call is not None:
                    made = translate("torch", call[0], **{n: v for n, v in call[1].items() if _plain(v)})
                    seen = made if isinstance(made, Translation) else None
                elif node.op == "call_function":
                    seen = _activation(node.target)
            except ParameterError:
                return None
        return None if seen is None or seen.activation.name == "identity" else found(seen)

    def _ended(self, path: str, node: fx.Node, follower: Follower) -> Follower:
        """The same, as that of the output where no weights come after it."""
        after = {what for what, *_ in self._users(path, node, set(), False)}
        return ending(follower) if after == {"output"} else follower

    def _product(self, path: str, node: fx.Node) -> Follower | None:
        """The gated unit whose gate a node is, if its result is multiplied with another signal."""
        for user in node.users:
            if user.target in MULTIPLICATIONS or (user.op == "call_method" and str(user.target).strip("_") == "mul"):
                others = [a for a in user.all_input_nodes if a is not node]
                source = node.all_input_nodes[0] if node.all_input_nodes else None
                if others and others[0] is not source:
                    activation = self._activates(path, node)
                    return None if activation is None else self._gated(activation)
        return None

    def _source(self, path: str, node: fx.Node) -> Follower | None:
        """The activation that a signal comes from directly."""
        activation = self._activates(path, node)
        if activation is None and node.all_input_nodes:
            name = str(getattr(node.target, "__name__", node.target))
            if name in THROUGH:
                return self._source(path, node.all_input_nodes[0])
        return activation

    def _gated(self, gate: Follower) -> Follower:
        """A product with that gate has the gain of the gate, as the value has unit variance."""
        return replace(gate, how="graph, gated")


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool))


def _activation(thing: Any) -> Translation | None:
    """An activation that a module or a function is; None for none, or one that the catalogue does not have."""
    try:
        return recognise(thing) if activation_of(thing) is not None else None
    except ParameterError:
        return None
