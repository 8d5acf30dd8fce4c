"""What people do to Equinox Modules: each function evaluates an activation in the way of its entry in capabilities.toml."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from multiact.declaration import Array
from multiact.learning import Recipe, stored_name
from multiact.protocols import Result
from multiact.transforms import Function

from .adapter import backend

Inputs: TypeAlias = "tuple[Array, ...]"


@dataclass(frozen=True)
class Case:
    """A Module and what it is called with.

    Attributes
    ----------
    cotangent : of the result; ones where none is given.
    at : the position of what is differentiated in among the inputs; None for a parameter or for the value.
    weight : the name of the weight that is differentiated in; empty for an input or for the value.
    """

    recipe: Recipe
    inputs: Inputs
    cotangent: Array
    at: int | None
    weight: str

    def make(self) -> Any:
        """The Module."""
        settings = dict(self.recipe.settings)
        if self.recipe.activation.held:
            wide = self.recipe.positive or self.inputs[0].dtype == jnp.float64
            settings["dtype"] = jnp.float64 if wide else jnp.float32
        module = eqx.nn.inference_mode(backend.layer(self.recipe.activation)(**settings))
        for name, values in self.recipe.weights.items():
            module = _with(module, name, values)
        return module

    @property
    def by_rows(self) -> bool:
        """Whether all rows share the parameter that is differentiated in."""
        return bool(self.weight) and self.recipe.activation.kind == "axiswise"


def _with(module: Any, name: str, values: Any) -> Any:
    """A Module with other values for a weight."""
    return eqx.tree_at(lambda m: getattr(m, name), module, jnp.asarray(values, getattr(module, name).dtype))


def apply(module: Any, *inputs: Array) -> Array:
    """What a Module gives."""
    return module(*inputs)  # type: ignore[no-any-return]


def capability(evaluate: Callable[[Case], Array]) -> Callable[..., Result]:
    """A function as the conformance suite calls it out of one of a case."""

    @wraps(evaluate)
    def evaluated(
        call: Any,
        arrays: Sequence[np.ndarray],
        *,
        wrt: tuple[int, ...] = (),
        dtype: str = "float32",
        device: str = "cpu",
        directions: Sequence[np.ndarray] | None = None,
    ) -> Result:
        recipe = Recipe.of(call, arrays)
        parameter = recipe.learned(wrt[0]) if wrt else None
        with jax.enable_x64(True), jax.default_device(jax.devices(device)[0]):
            inputs = tuple(jnp.asarray(arrays[i], dtype) for i in recipe.inputs)
            given = np.ones(arrays[0].shape) if directions is None else directions[0]
            at = recipe.inputs.index(wrt[0]) if wrt and parameter is None else None
            name = "" if parameter is None else stored_name(parameter)
            found = evaluate(Case(recipe, inputs, jnp.asarray(given, dtype), at, name))
            values = np.asarray(found).astype(np.float64)
        if parameter is None:
            return Result(values, str(found.dtype))
        values = recipe.gradient(parameter, values.reshape(arrays[wrt[0]].shape), arrays[wrt[0]])
        return Result(values, dtype)

    return evaluated


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
    settings = {k: v for k, v in case.recipe.settings.items() if k not in ("num_parameters", "channel_axis")}
    one = replace(case, recipe=replace(case.recipe, settings=settings, weights={}))

    def make(starts: dict[str, Array]) -> Any:
        made = one.make()
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
