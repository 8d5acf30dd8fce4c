"""The JAX backend: every function of a tower is a jitted custom_jvp whose rule calls the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from multiact.declaration import Array, Axiswise, Elementwise, widen
from multiact.exports import BackendBase


class JaxBackend(BackendBase):
    """Functions of JAX arrays, tracers included."""

    name = "jax"
    namespace = jnp

    def owns(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def dtype(self, x: Array) -> str:
        return "float32" if isinstance(x, float) else str(jnp.asarray(x).dtype)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        @jax.custom_jvp
        def call(*arguments: Array) -> Array:
            return function.evaluate(jnp, *arguments)

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
                        return function(jnp, *wide[:i], value, *wide[i + 1 :])

                    total = total + jax.jvp(along, (wide[i],), (tangent,))[1]
            return call(*primals), total.astype(x.dtype)

        call.defjvp(rule, symbolic_zeros=True)
        jitted = jax.jit(call)

        def entry(*arguments: Array) -> Array:
            return jitted(*arguments)

        return entry

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        rules: dict[int, Callable[..., Array]] = {}

        def make(axis: int) -> Callable[..., Array]:
            @jax.custom_jvp
            def call(*arguments: Array) -> Array:
                return function.evaluate(jnp, *arguments, axis=axis)

            def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
                dtype = widen(jnp, primals[0]).dtype
                wide = [p.astype(dtype) for p in primals]
                directions = [None if isinstance(t, SymbolicZero) else t.astype(dtype) for t in tangents]
                tangent = function.jvp(jnp, wide, call(*wide), directions, axis=axis)
                return call(*primals), tangent.astype(primals[0].dtype)

            call.defjvp(rule, symbolic_zeros=True)
            return jax.jit(call)

        def entry(*arguments: Array, axis: int) -> Array:
            if axis not in rules:
                rules[axis] = make(axis)
            return rules[axis](*arguments)

        return entry


backend = JaxBackend()
