"""Looking into a torch.nn.Module while it runs: hooks on its layers, and a mode that sees the functions it calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from multiact.declaration import Activation
from multiact.diagnostics.probing import Layer, Pass, Place
from multiact.diagnostics.recording import Record, recognised
from multiact.functions import observed
from multiact.natives import activation_of, identify
from multiact.translation import Translation, recognise, translate

from .audit import METHODS, POSITIONS
from .initialisation import CONVOLUTIONS, NORMS, TRANSPOSED, WEIGHTS, fans

#: Losses by class and function: what they expect of the output of a model.
EXPECTS = {
    "CrossEntropyLoss": "logits",
    "cross_entropy": "logits",
    "BCEWithLogitsLoss": "logits",
    "binary_cross_entropy_with_logits": "logits",
    "MultiLabelSoftMarginLoss": "logits",
    "multilabel_soft_margin_loss": "logits",
    "BCELoss": "probabilities",
    "binary_cross_entropy": "probabilities",
    "NLLLoss": "log probabilities",
    "nll_loss": "log probabilities",
}


def probe(model: torch.nn.Module) -> TorchProbe:
    return TorchProbe(model)


class TorchProbe:
    """A Module that can be looked into. Gradients come from torch.autograd.grad, so that no ``.grad`` is touched."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._paths = {module: path for path, module in model.named_modules()}

    def default_loss(self) -> Any:
        return None

    def loss_kind(self, loss: Any) -> tuple[str, str] | None:
        name = getattr(loss, "__name__", type(loss).__name__)
        return (name, EXPECTS[name]) if name in EXPECTS else None

    def run(
        self, inputs: Any, targets: Any = None, *, loss: Any = None, gradients: bool = False, inference: bool = False
    ) -> Pass:
        place = next((p for p in self._model.parameters()), None)
        inputs, targets = _put(inputs, place), _put(targets, place, cast=False)
        recorder = _Recorder(self._paths, gradients)
        buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        with contextlib.ExitStack() as stack:
            stack.callback(_restore, self._model, buffers)
            if inference:
                stack.enter_context(_inference(self._paths))
            stack.enter_context(torch.random.fork_rng(devices=_devices(place)))
            stack.enter_context(torch.set_grad_enabled(gradients))
            with recorder.attached(self._model):
                output = self._model(*inputs) if isinstance(inputs, tuple) else self._model(inputs)
            result = _tensor(output)
            recorder.finish(result)
            if gradients:
                value = 0.5 * (result.float() ** 2).mean() if loss is None else loss(output, targets)
                recorder.found.loss = float(value.detach())
                recorder.differentiate(value)
        return recorder.found


class _Recorder(Record):
    """A record whose gradients are those of the edges of the graph behind the outputs."""

    def __init__(self, paths: dict[torch.nn.Module, str], gradients: bool) -> None:
        super().__init__()
        self._paths, self._gradients = paths, gradients
        self._entered: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor]] = []
        self._stack: list[torch.nn.Module] = []
        self._inside = 0
        self._weights: list[tuple[Layer, torch.Tensor]] = []
        self._watched: list[tuple[Layer | Place, GradientEdge]] = []

    @contextlib.contextmanager
    def attached(self, model: torch.nn.Module) -> Iterator[None]:
        handles = []
        try:
            for module in self._paths:
                handles.append(module.register_forward_pre_hook(self._entering, with_kwargs=True))
                handles.append(module.register_forward_hook(self._left, with_kwargs=True, always_call=True))
            with _Calls(self), observed(self.ours):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, module: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._stack.append(module)
        if _is_activation(module):
            self._inside += 1
            if arguments and isinstance(arguments[0], torch.Tensor):
                self._entered.append((module, arguments[0], arguments[0].detach().clone()))

    def _left(self, module: torch.nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        if self._stack and self._stack[-1] is module:
            self._stack.pop()
        if _is_activation(module):
            self._inside -= 1
            entered = next((e for e in reversed(self._entered) if e[0] is module), None)
            if entered is not None and isinstance(output, torch.Tensor):
                self.activation(self._paths[module], recognise(module), entered[1], entered[2], output)
        elif isinstance(output, torch.Tensor):
            given = arguments[0] if arguments else None
            if isinstance(module, NORMS):
                self.passed(given, output, True, _numpy(getattr(module, "bias", None)))
            elif isinstance(module, (torch.nn.Dropout, torch.nn.Identity, torch.nn.Flatten)):
                self.passed(given, output)
            elif _has_weights(module):
                self._layer(module, output)

    def _layer(self, module: torch.nn.Module, output: torch.Tensor) -> None:
        weight = module.weight
        if isinstance(module, WEIGHTS):
            fan_in, fan_out = (max(1, round(n)) for n in fans(module))
        else:
            fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
        layer = Layer(
            self._paths[module],
            type(module).__name__,
            fan_in,
            fan_out,
            1 if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)) else -1,
            _numpy(weight.movedim(1 if isinstance(module, TRANSPOSED) else 0, -1)),
            _numpy(getattr(module, "bias", None)),
            output.detach().clone(),
        )
        self.found.layers.append(layer)
        self.feeds(layer, output)
        if self._gradients and output.requires_grad:
            self._watch(layer, output)
            if weight.requires_grad:
                self._weights.append((layer, weight))

    def activation(
        self, path: str, known: Translation | None, given: torch.Tensor, before: torch.Tensor, after: torch.Tensor
    ) -> None:
        self.runs(path)
        axis = 1 if after.ndim == 4 else -1
        place = self.place(path, known, given, after, before, after.detach().clone(), axis)
        if self._gradients and after.requires_grad:
            self._watch(place, after)

    def called(
        self, function: Any, arguments: Sequence[Any], keywords: dict[str, Any], output: Any, before: Any
    ) -> None:
        """A function of torch that a forward has called."""
        spelling = _spelling(function)
        if spelling is None or not isinstance(output, torch.Tensor):
            return
        names = POSITIONS.get(spelling.rpartition(".")[2], ())
        settings = {
            **dict(zip(names, arguments[1:])),
            **{k: v for k, v in keywords.items() if k not in ("input", "inplace")},
        }
        settings = {
            n: v
            for n, v in settings.items()
            if not isinstance(v, torch.Tensor) and not n.startswith("_") and n != "dtype"
        }
        try:
            known = translate("torch", spelling, **settings)
        except (ValueError, TypeError):
            known = None
        given = arguments[0] if arguments else keywords["input"]
        self.activation(self._called(spelling.rpartition(".")[2]), known, given, before, output)  # type: ignore[arg-type]

    def ours(
        self, activation: Activation, inputs: Sequence[Any], keywords: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """A function of ours that a forward has called; what it calls itself is not seen."""
        if self._inside:
            return run()
        before = inputs[0].detach().clone()
        self._inside += 1
        try:
            output = run()
        finally:
            self._inside -= 1
        known = recognised(activation, {n: v for n, v in keywords.items() if isinstance(v, (int, float, str))})
        self.activation(self._called(activation.name), known, inputs[0], before, output)
        return output

    def _called(self, name: str) -> str:
        """The path of a call of a function."""
        owner = self._paths[self._stack[-1]] if self._stack else ""
        return self.call_in(owner, name)

    @property
    def outside(self) -> bool:
        """Whether no activation's own forward is running."""
        return not self._inside

    def _watch(self, seen: Layer | Place, output: torch.Tensor) -> None:
        # The edge is that of this result, also when an activation overwrites the Tensor later.
        self._watched.append((seen, get_gradient_edge(output)))

    def differentiate(self, value: torch.Tensor) -> None:
        places: list[Any] = [*(edge for _, edge in self._watched), *(weight for _, weight in self._weights)]
        if not places or not value.requires_grad:
            return
        found = torch.autograd.grad(value, places, allow_unused=True)
        for (seen, _), gradient in zip(self._watched, found):
            seen.gradient = gradient
        for (layer, _), gradient in zip(self._weights, found[len(self._watched) :]):
            layer.weight_gradient = gradient


class _Calls(TorchFunctionMode):
    """Sees the functions of torch that are called; what they call themselves is not seen."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if not self._recorder.outside or _spelling(function) is None:
            return function(*arguments, **keywords)
        given = arguments[0] if arguments else keywords.get("input")
        before = given.detach().clone() if isinstance(given, torch.Tensor) else None
        output = function(*arguments, **keywords)
        if before is not None and before.is_floating_point():
            self._recorder.called(function, arguments, keywords, output, before)
        return output


def _numpy(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().float().cpu().numpy()


def _spelling(function: Any) -> str | None:
    """How a function or a method is written, if it is an activation."""
    name = getattr(function, "__name__", "")
    if getattr(torch.Tensor, name, None) is function:
        return METHODS.get(name)
    found = identify(function)
    return found[1][0].spelling if found else None


def _is_activation(module: torch.nn.Module) -> bool:
    return activation_of(module) not in (None, "identity")


def _has_weights(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, torch.Tensor)
        and weight.ndim >= 2
        and not isinstance(module, (*NORMS, torch.nn.Embedding, torch.nn.EmbeddingBag))
    )


def _tensor(output: Any) -> torch.Tensor:
    """The main Tensor of what a model gives."""
    if isinstance(output, torch.Tensor):
        return output
    values: Sequence[Any] = list(output.values()) if hasattr(output, "values") else output
    return next(v for v in values if isinstance(v, torch.Tensor) and v.is_floating_point())


def _put(x: Any, like: torch.Tensor | None, cast: bool = True) -> Any:
    """On the device of the model; numbers that are not integers in its precision."""
    if isinstance(x, (list, tuple)):
        return tuple(_put(v, like, cast) for v in x)
    if x is None or isinstance(x, dict):
        return x
    tensor = torch.as_tensor(x)
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype) if cast and tensor.is_floating_point() else tensor.to(like.device)


def _devices(place: torch.Tensor | None) -> list[Any]:
    return [place.device] if place is not None and place.device.type == "cuda" else []


@contextlib.contextmanager
def _inference(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    before = [(module, module.training) for module in modules]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, training in before:
            module.training = training


def _restore(model: torch.nn.Module, buffers: dict[str, torch.Tensor]) -> None:
    """Running statistics and counters, which a pass in training mode changes."""
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in buffers and buffer.shape == buffers[name].shape:
                buffer.copy_(buffers[name])
