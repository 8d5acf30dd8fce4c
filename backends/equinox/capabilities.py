"""What people do to Equinox Modules: each function evaluates an activation in the way of its entry in capabilities.toml."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Iterator
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

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
            settings["dtype"] = self.dtype
        module = eqx.nn.inference_mode(backend.layer(self.recipe.activation)(**settings))
        for name, values in self.recipe.weights.items():
            module = _with(module, name, values)
        return module


@contextlib.contextmanager
def _scope(device: str) -> Iterator[None]:
    with jax.enable_x64(True), jax.default_device(jax.devices(device)[0]):
        yield


capability = recipes.capability(Case, _scope, jnp.asarray)


def _with(module: Any, name: str, values: Any) -> Any:
    """A Module with other values for a weight."""
    return eqx.tree_at(lambda m: getattr(m, name), module, jnp.asarray(values, getattr(module, name).dtype))


def apply(module: Any, *inputs: Array) -> Array:
    """What a Module gives."""
    return module(*inputs)  # type: ignore[no-any-return]


def _gradient(call: Function) -> Function:
    """What has the gradients that are asked for: of a Module, its inputs and a cotangent."""

    def total(module: Any, inputs: Inputs, cotangent: Array) -> Array:
        return (call(module, *inputs) * cotangent).sum()

    return total


def _filtered(case: Case, module: Any, call: Function = apply) -> Array:
    """The value or a gradient, by Equinox's own transforms."""
    if case.at is not None:
        by_inputs = jax.grad(_gradient(call), argnums=1)
        return eqx.filter_jit(by_inputs)(module, case.inputs, case.cotangent)[case.at]
    if not case.weight:
        return eqx.filter_jit(call)(module, *case.inputs)
    gradient = eqx.filter_grad(_gradient(call))
    if case.by_rows:
        gradient = eqx.filter_vmap(gradient, in_axes=(None, 0, 0))
    return getattr(eqx.filter_jit(gradient)(module, case.inputs, case.cotangent), case.weight)  # type: ignore[no-any-return]


# Modules


@capability
def module(case: Case) -> Array:
    return _filtered(case, case.make())


@capability
def pytree(case: Case) -> Array:
    made = case.make()
    if case.recipe.activation.random:
        raise NotImplementedError("its switch `inference` is a leaf that is no array, as in equinox.nn.Dropout.")
    if not case.weight:
        return jax.jit(apply)(made, *case.inputs)
    gradient: Any = jax.grad(_gradient(apply))
    if case.by_rows:
        gradient = jax.vmap(gradient, in_axes=(None, 0, 0))
    return getattr(jax.jit(gradient)(made, case.inputs, case.cotangent), case.weight)  # type: ignore[no-any-return]


@capability
def tree_at(case: Case) -> Array:
    if len(case.inputs) > 1:
        raise NotImplementedError("a layer of an equinox.nn.Sequential takes one input.")
    model = eqx.nn.Sequential([eqx.nn.Identity(), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Identity()])
    return _filtered(case, eqx.tree_at(lambda m: m.layers[1], model, case.make()))


# Saving


@capability
def serialised(case: Case) -> Array:
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, case.make())
    emptied = jax.tree.map(lambda leaf: leaf * jnp.nan if eqx.is_array(leaf) else leaf, case.make())
    file.seek(0)
    return _filtered(case, eqx.tree_deserialise_leaves(file, emptied))


@capability
def pickled(case: Case) -> Array:
    return _filtered(case, pickle.loads(pickle.dumps(case.make())))


# Transforms


def _stacked(case: Case) -> Any:
    """A Module for each point or row, made in equinox.filter_vmap."""

    def make(starts: dict[str, Array]) -> Any:
        made = case.single().make()
        for name, start in starts.items():
            made = _with(made, name, start)
        return made

    starts = {name: jnp.asarray(values) for name, values in case.recipe.weights.items()}
    return eqx.filter_vmap(make, axis_size=case.inputs[0].shape[0])(starts)


def _of_many(case: Case, call: Function) -> Array:
    modules = _stacked(case)
    if not case.weight:
        return eqx.filter_jit(call)(modules, *case.inputs)
    gradient = eqx.filter_jit(eqx.filter_grad(_gradient(call)))
    return getattr(gradient(modules, case.inputs, case.cotangent), case.weight)  # type: ignore[no-any-return]


@capability
def vmap(case: Case) -> Array:
    return _of_many(case, eqx.filter_vmap(apply, in_axes=eqx.if_array(0)))


@capability
def scan(case: Case) -> Array:
    def scanned(modules: Any, *inputs: Array) -> Array:
        learned, rest = eqx.partition(modules, eqx.is_array)

        def step(carry: None, given: tuple[Any, Inputs]) -> tuple[None, Array]:
            return carry, apply(eqx.combine(given[0], rest), *given[1])

        return lax.scan(step, None, (learned, inputs))[1]

    return _of_many(case, scanned)


# Training


@capability
def checkpoint(case: Case) -> Array:
    return _filtered(case, case.make(), eqx.filter_checkpoint(apply))
