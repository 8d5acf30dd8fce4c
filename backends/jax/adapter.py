"""The JAX backend: every function of a tower is a jitted custom_jvp whose rule calls the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from multiact.declaration import Array, Axiswise, Elementwise, widen
from multiact.exports import BackendBase, check_generator

from . import namespace


class JaxBackend(BackendBase):
    """Functions of JAX arrays, tracers included."""

    name = "jax"
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def dtype(self, x: Array) -> str:
        return "float32" if isinstance(x, float) else str(jnp.asarray(x).dtype)

    def uniform(self, like: Array, dtype: str, rng: Any) -> Array:
        check_generator(self.name, rng, (jax.Array,), "a key, for example jax.random.key(0)")
        return jax.random.uniform(rng, jnp.shape(like), dtype)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        @jax.custom_jvp
        def call(*arguments: Array) -> Array:
            return function.evaluate(namespace, *arguments)

        def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
            x = primals[0]
            wide = [p.astype(widen(jnp, x).dtype) for p in primals]
            total = jnp.zeros_like(wide[0])
            for i, (argument, tangent) in enumerate(zip(function.arguments, tangents)):
                if isinstance(tangent, SymbolicZero):
                    continue
                tangent = tangent.astype(wide[0].dtype)
                partial = function.require(argument)
                if partial is not None:
                    total = total + tangent * self.elementwise(partial)(*wide)
                else:

                    def along(value: Array, i: int = i) -> Array:
                        return function(namespace, *wide[:i], value, *wide[i + 1 :])

                    total = total + jax.jvp(along, (wide[i],), (tangent,))[1]
            return call(*primals), total.astype(x.dtype)

        call.defjvp(rule, symbolic_zeros=True)
        jitted = jax.jit(call)

        def entry(*arguments: Array) -> Array:
            return jitted(*arguments)

        return entry

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        rules: dict[tuple[int, ...], Callable[..., Array]] = {}

        def make(options: Mapping[str, int]) -> Callable[..., Array]:
            @jax.custom_jvp
            def call(*arguments: Array) -> Array:
                return function.evaluate(namespace, *arguments, **options)

            def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
                dtype = widen(jnp, primals[0]).dtype
                wide = [p.astype(dtype) for p in primals]
                directions = [None if isinstance(t, SymbolicZero) else t.astype(dtype) for t in tangents]
                tangent = function.jvp(namespace, wide, call(*wide), directions, **options)
                return call(*primals), tangent.astype(primals[0].dtype)

            call.defjvp(rule, symbolic_zeros=True)
            return jax.jit(call)

        def entry(*arguments: Array, **options: int) -> Array:
            key = tuple(options[name] for name in function.options)
            if key not in rules:
                rules[key] = make(options)
            return rules[key](*arguments)

        return entry


backend = JaxBackend()
