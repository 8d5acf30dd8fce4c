"""What people do to NNX Modules: each function evaluates an activation in the way of its entry in capabilities.toml."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from multiact import recipes
from multiact.declaration import Array
from multiact.transforms import Function

from .adapter import backend

Inputs: TypeAlias = "tuple[Array, ...]"


class Case(recipes.Case):
    """A Module and what it is called with."""

    def make(self) -> Any:
        """The Module."""
        settings = dict(self.recipe.settings)
        if self.recipe.activation.held:
            settings["param_dtype"] = self.dtype
        module = backend.layer(self.recipe.activation)(**settings)
        module.eval()
        for name, values in self.recipe.weights.items():
            weight = getattr(module, name)
            weight[...] = jnp.asarray(values, weight.dtype)
        return module


@contextlib.contextmanager
def _scope(device: str) -> Iterator[None]:
    with jax.enable_x64(True), jax.default_device(jax.devices(device)[0]):
        yield


capability = recipes.capability(Case, _scope, jnp.asarray)


def loss(module: Any, inputs: Inputs, cotangent: Array) -> Array:
    """What has the gradients that are asked for."""
    return (module(*inputs) * cotangent).sum()


# Modules


@capability
def module(case: Case) -> Array:
    if case.weight:
        gradient = nnx.grad(loss, argnums=nnx.DiffState(0, nnx.Param))
        if case.by_rows:
            gradient = nnx.vmap(gradient, in_axes=(None, 0, 0))
        return nnx.jit(gradient)(case.make(), case.inputs, case.cotangent)[case.weight][...]
    if case.at is not None:
        return nnx.jit(nnx.grad(loss, argnums=1))(case.make(), case.inputs, case.cotangent)[case.at]
    return nnx.jit(lambda module, inputs: module(*inputs))(case.make(), case.inputs)


def _of_state(case: Case, function: Function = lambda module, *inputs: module(*inputs)) -> Array:
    """The value or the gradient in a weight, by functions of the state alone."""
    graph, learned, others = nnx.split(case.make(), nnx.Param, ...)

    def value(learned: Any, *inputs: Array) -> Array:
        return function(nnx.merge(graph, learned, others), *inputs)

    if not case.weight:
        return jax.jit(value)(learned, *case.inputs)
    gradient = jax.grad(lambda learned, inputs, cotangent: (value(learned, *inputs) * cotangent).sum())
    if case.by_rows:
        gradient = jax.vmap(gradient, in_axes=(None, 0, 0))
    return jax.jit(gradient)(learned, case.inputs, case.cotangent)[case.weight][...]


@capability
def split(case: Case) -> Array:
    return _of_state(case)


@capability
def bridge(case: Case) -> Array:
    class Net(linen.Module):
        @linen.compact
        def __call__(self, *inputs: Array) -> Array:
            return nnx.bridge.ToLinen(case.make, skip_rng=True, name="activation")(*inputs)

    net = Net()
    variables = net.init(jax.random.key(0), *case.inputs)
    if not case.weight:
        return jax.jit(net.apply)(variables, *case.inputs)

    def gradient(variables: Any, inputs: Inputs, cotangent: Array) -> Array:
        return jax.grad(lambda v: (net.apply(v, *inputs) * cotangent).sum())(variables)

    mapped = jax.vmap(gradient, in_axes=(None, 0, 0)) if case.by_rows else gradient
    found = jax.jit(mapped)(variables, case.inputs, case.cotangent)["params"]["activation"][case.weight]
    return found[...] if isinstance(found, nnx.Variable) else getattr(found, "value", found)


# Saving


def _stateful(case: Case) -> Any:
    if not case.recipe.activation.held:
        raise NotImplementedError("it has no state.")
    return case.make()


@capability
def pickled_state(case: Case) -> Array:
    saved = nnx.to_pure_dict(nnx.state(_stateful(case), nnx.Param))
    written = pickle.dumps(jax.tree.map(np.asarray, saved))
    other = case.make()
    state = jax.tree.map(lambda weight: weight * jnp.nan, nnx.state(other, nnx.Param))
    nnx.replace_by_pure_dict(state, pickle.loads(written))
    nnx.update(other, state)
    return nnx.jit(lambda module, inputs: module(*inputs))(other, case.inputs)


@capability
def orbax(case: Case) -> Array:
    from orbax import checkpoint

    with tempfile.TemporaryDirectory() as folder, checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(folder, "state"), nnx.state(_stateful(case)))
        checkpointer.wait_until_finished()
        graph, abstract = nnx.split(nnx.eval_shape(case.make))
        module = nnx.merge(graph, checkpointer.restore(Path(folder, "state"), abstract))
    return nnx.jit(lambda module, inputs: module(*inputs))(module, case.inputs)


# Transforms


def _of_many(case: Case, call: Function) -> Array:
    """The value or gradients of Modules that are stacked, one for each point or row."""

    def make(starts: dict[str, Array], _: Array) -> Any:
        made = case.single().make()
        for name, start in starts.items():
            weight = getattr(made, name)
            weight[...] = start.astype(weight.dtype)
        return made

    starts = {name: jnp.asarray(values) for name, values in case.recipe.weights.items()}
    modules = nnx.vmap(make, in_axes=0, out_axes=0)(starts, case.inputs[0])
    if not case.weight:
        return nnx.jit(call)(modules, *case.inputs)

    def total(modules: Any, inputs: Inputs, cotangent: Array) -> Array:
        return (call(modules, *inputs) * cotangent).sum()

    gradient = nnx.grad(total, argnums=nnx.DiffState(0, nnx.Param))
    return nnx.jit(gradient)(modules, case.inputs, case.cotangent)[case.weight][...]


@capability
def vmap(case: Case) -> Array:
    return _of_many(case, nnx.vmap(lambda module, *inputs: module(*inputs), in_axes=0))


@capability
def scan(case: Case) -> Array:
    def step(module: Any, inputs: Inputs) -> Array:
        return module(*inputs)  # type: ignore[no-any-return]

    scanned = nnx.scan(step, in_axes=(0, 0), out_axes=0)
    return _of_many(case, lambda modules, *inputs: scanned(modules, inputs))


# Training


@capability
def remat(case: Case) -> Array:
    call = nnx.remat(lambda module, *inputs: module(*inputs))
    if case.at is None:
        return _of_state(case, call)
    gradient = nnx.grad(lambda module, inputs, cotangent: (call(module, *inputs) * cotangent).sum(), argnums=1)
    return nnx.jit(gradient)(case.make(), case.inputs, case.cotangent)[case.at]
