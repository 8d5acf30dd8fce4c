"""Looking into a Flax NNX model while it runs: a copy of it runs, and `__call__` of the classes of its Modules is wrapped.

Functions are seen where a Module keeps them as attributes (also in an nnx.List or a Sequential), where a `__call__` takes them from
flax.nnx, jax.nn or jax.numpy, and where they are names of the file in which a Module is defined. What is not seen: those that stand
in closures, those that a helper in another file has imported by name, and what runs inside of jax.jit, nnx.scan or nnx.vmap.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from multiact.declaration import Array
from multiact.diagnostics.probing import Layer, Pass
from multiact.diagnostics.recording import Recorder, Tap, is_function, main, mean_loss, recognised
from multiact.natives import activation_of

from .initialisation import NORMS, WEIGHTS, fans

NORMALISING = (*NORMS, *filter(None, [getattr(nnx, "InstanceNorm", None)]))
GENERAL = (nnx.LinearGeneral,)
#: What optax' losses expect of the output of a model, by their names.
EXPECTS = {
    **dict.fromkeys(
        (
            "softmax_cross_entropy",
            "softmax_cross_entropy_with_integer_labels",
            "safe_softmax_cross_entropy",
            "poly_loss_cross_entropy",
            "sigmoid_binary_cross_entropy",
            "sigmoid_focal_loss",
            "ctc_loss",
        ),
        "logits",
    ),
    "kl_divergence": "log probabilities",
    "kl_divergence_with_log_targets": "log probabilities",
}


def probe(model: nnx.Module) -> FlaxProbe:
    return FlaxProbe(model)


class FlaxProbe:
    """An NNX Module that can be looked into, in the mode in which it is. Only copies of it run."""

    def __init__(self, model: nnx.Module) -> None:
        self._model = model

    def default_loss(self) -> Any:
        return None

    def loss_kind(self, loss: Any) -> tuple[str, str] | None:
        name = getattr(getattr(loss, "func", loss), "__name__", "")
        return (name, EXPECTS[name]) if name in EXPECTS else None

    def run(
        self, inputs: Any, targets: Any = None, *, loss: Any = None, gradients: bool = False, inference: bool = False
    ) -> Pass:
        inputs, targets = _arrays(inputs), _arrays(targets)
        kernels = {
            path: module.kernel[...]
            for path, module in _modules(self._model)
            if _has_weights(module) and isinstance(module.kernel, nnx.Param)
        }
        recorders: list[Recorder] = []

        def run(tap: Tap, values: Mapping[str, Array] | None) -> Array:
            model = nnx.clone(self._model)
            recorder = Recorder(tap, values is not None)
            recorders.append(recorder)
            if inference:
                model.eval()
            modules = list(_modules(model))
            for path, module in modules:
                if values is not None and path in values:
                    module.kernel[...] = values[path]
            with _wrapped(recorder, modules):
                output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
            result = main(output)
            recorder.finish(result)
            if not gradients:
                return result
            value = _half_mean_square(result) if loss is None else mean_loss(loss(output, targets), jnp.mean)
            if values is None:
                recorder.found.loss = float(value)
            return value

        watched = importlib.import_module("multiact.backends.jax.taps").watched
        found, in_weights = watched(run, kernels, gradients)
        seen = recorders[0]
        if gradients:
            seen.differentiated(found, in_weights)
        if not seen.found.places:
            seen.found.unseen.append(
                "functions in closures, and those that a helper in another file has imported by name"
            )
        return seen.found


@contextlib.contextmanager
def _wrapped(recorder: Recorder, modules: list[tuple[str, Any]]) -> Iterator[None]:
    """Let a recorder see a pass of the copy of a model, the functions that it keeps, and those that it calls."""
    paths = {id(module): path for path, module in modules}
    for path, module in modules:
        if activation_of(module) is None:
            for name, value in list(vars(module).items()):
                if not name.startswith("_"):
                    vars(module)[name] = _keeping(recorder, f"{path}.{name}".strip("."), value)
    kinds = {type(module) for _, module in modules}
    calls = {kind: kind.__call__ for kind in kinds if hasattr(kind, "__call__")}  # noqa: B004 - the class' own
    own = {kind: vars(kind).get("__call__") for kind in calls}
    spaces = {id(vars(m)): vars(m) for m in (nnx, jax.nn, jnp, flax.linen)}
    for kind in kinds:
        for function in (f for base in kind.__mro__ if _by_user(base) for f in vars(base).values()):
            if inspect.isfunction(inspect.unwrap(function) if callable(function) else function):
                found = inspect.unwrap(function).__globals__
                spaces[id(found)] = found
    try:
        for kind, call in calls.items():
            kind.__call__ = _call(recorder, paths, call)
        with recorder.listening(list(spaces.values()), _axis):
            yield
    finally:
        for kind, call in own.items():
            if call is None:
                del kind.__call__
            else:
                kind.__call__ = call


def _call(recorder: Recorder, paths: Mapping[int, str], original: Callable[..., Any]) -> Callable[..., Any]:
    """`__call__` of a class, watched where it is that of a Module of the model."""
    running: list[Any] = []
    # Inside of nnx.jit run copies of the Modules, which nobody knows.
    inner = original.fun if type(original).__module__ == "flax.nnx.transforms.compilation" else original  # type: ignore[attr-defined]

    @functools.wraps(inner)
    def call(module: Any, *arguments: Any, **keywords: Any) -> Any:
        path = paths.get(id(module))
        if path is None or recorder.idle or any(module is r for r in running):  # the last: super().__call__
            return original(module, *arguments, **keywords)
        running.append(module)
        try:
            if activation_of(module) is not None:
                known, at = recognised(module, {}), path or type(module).__name__
                return recorder.activation(
                    at, known, arguments[0], lambda: inner(module, *arguments, **keywords), _axis
                )
            with recorder.running(path, _by_user(type(module))):
                output = inner(module, *arguments, **keywords)
        finally:
            running.pop()
        if isinstance(module, NORMALISING):
            bias = getattr(module, "bias", None)
            recorder.passed(
                arguments[0], output, True, None if bias is None or bias[...] is None else _numpy(bias[...])
            )
        elif isinstance(module, nnx.Dropout):
            recorder.passed(arguments[0], output)
        elif _has_weights(module):
            known_units = isinstance(module, (*WEIGHTS, *GENERAL))
            at = path or type(module).__name__
            return recorder.layer(at, output, lambda: _made(at, path, module), known_units)
        return output

    return call


def _keeping(recorder: Recorder, path: str, value: Any) -> Any:
    """Activations that a Module keeps, wrapped, also in lists and dicts."""
    if isinstance(value, nnx.Module):
        return value
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(_keeping(recorder, f"{path}.{i}", v) for i, v in enumerate(value))
    if type(value) is dict:
        return {name: _keeping(recorder, f"{path}.{name}", v) for name, v in value.items()}
    return recorder.keeping(path, value, _axis) if is_function(value) else value


def _modules(model: nnx.Module) -> Iterator[tuple[str, Any]]:
    for path, module in nnx.iter_modules(model):
        yield ".".join(map(str, path)), module


def _has_weights(module: Any) -> bool:
    kernel = getattr(module, "kernel", None)
    return isinstance(kernel, nnx.Variable) and kernel[...].ndim >= 2 and not isinstance(module, NORMALISING)


def _made(at: str, path: str, module: Any) -> tuple[Layer, str | None]:
    """A layer with weights, without its output."""
    kernel, bias = _numpy(module.kernel[...]), getattr(module, "bias", None)
    if isinstance(module, GENERAL):
        outputs = np.atleast_1d(module.out_features)
        kernel = kernel.reshape(-1, int(np.prod(outputs)))
        fan_in, fan_out = kernel.shape
    else:
        fan_in, fan_out = (max(1, round(n)) for n in fans(module))
        if getattr(module, "transpose_kernel", False):
            kernel = np.moveaxis(kernel, -2, -1)
    held = None if bias is None or bias[...] is None else _numpy(bias[...])
    learned = path if isinstance(module.kernel, nnx.Param) else None
    return Layer(at, type(module).__name__, fan_in, fan_out, -1, kernel, held, output=None), learned


def _by_user(kind: type) -> bool:
    return kind.__module__.partition(".")[0] not in ("flax", "jax", "multiact", "builtins", "abc", "typing")


def _axis(output: Array) -> int:
    return -1


def _half_mean_square(x: Array) -> Array:
    return 0.5 * jnp.mean(jnp.square(x.astype(jnp.float32)))


def _arrays(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return tuple(_arrays(v) for v in x)
    return x if x is None or isinstance(x, dict) else jnp.asarray(x)


def _numpy(x: Array) -> np.ndarray:
    return np.asarray(x).astype(np.float32)
