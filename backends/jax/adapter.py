"""The JAX backend: every function of a tower is a jitted custom_jvp whose rule calls the next one.

Python numbers given for parameters are constants of what is compiled, which saves the work that they make superfluous. A function
keeps at most `multiact.exports.CONSTANTS` of them; further numbers travel as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from multiact.declaration import Array, Axiswise, Elementwise, widen
from multiact.exports import BackendBase, ByConstants, check_generator, merge

from . import namespace

_name = cache(str)  # numpy makes it anew every time


class JaxBackend(BackendBase):
    """Functions of JAX arrays, tracers included."""

    name = "jax"
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, jax.Array)

    def dtype(self, x: Array) -> str:
        if hasattr(x, "dtype"):  # making an array of what is one takes longer than a small activation
            return _name(x.dtype)
        return "float32" if isinstance(x, float) else str(jnp.asarray(x).dtype)

    def uniform(self, like: Array, dtype: str, rng: Any) -> Array:
        check_generator(self.name, rng, (jax.Array,), "a key, for example jax.random.key(0)")
        return jax.random.uniform(rng, jnp.shape(like), dtype)

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        def make(constants: tuple[float | None, ...]) -> Callable[..., Array]:
            free = [a for a, c in zip(function.arguments, constants) if c is None]

            @jax.custom_jvp
            def call(*arrays: Array) -> Array:
                return function.evaluate(namespace, *merge(constants, arrays))

            def slope(i: int, tangent: Array, wide: list[Array]) -> Array:
                """The derivative in the i-th argument, times a tangent."""
                node = function.require(free[i])
                if node is not None:
                    return tangent * self.elementwise(node)(*merge(constants, wide))

                def along(value: Array) -> Array:
                    return function(namespace, *merge(constants, [*wide[:i], value, *wide[i + 1 :]]))

                return jax.jvp(along, (wide[i],), (tangent,))[1]

            def linear(tangents: dict[int, Array], primals: tuple[Array, ...]) -> Array:
                x = primals[0]
                wide = [p.astype(widen(jnp, x).dtype) for p in primals]
                terms = [slope(i, t.astype(wide[0].dtype), wide) for i, t in tangents.items()]
                return jnp.broadcast_to(sum(terms[1:], start=terms[0]), x.shape).astype(x.dtype)

            return _jitted(call, linear, len(free))

        by_constants = ByConstants(make)

        def entry(*arguments: Array) -> Array:
            jitted, arrays = by_constants.find(arguments)
            return jitted(*arrays)

        return entry

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        rules: dict[tuple[int, ...], ByConstants] = {}

        def make(options: Mapping[str, int], constants: tuple[float | None, ...]) -> Callable[..., Array]:
            @jax.custom_jvp
            def call(*arrays: Array) -> Array:
                return function.evaluate(namespace, *merge(constants, arrays), **options)

            def linear(tangents: dict[int, Array], primals: tuple[Array, ...]) -> Array:
                dtype = widen(jnp, primals[0]).dtype
                wide = [p.astype(dtype) for p in primals]
                found = iter([tangents[i].astype(dtype) if i in tangents else None for i in range(len(primals))])
                directions = [next(found) if c is None else None for c in constants]
                tangent: Array = function.jvp(namespace, merge(constants, wide), call(*wide), directions, **options)
                return tangent.astype(primals[0].dtype)

            return _jitted(call, linear, constants.count(None))

        def entry(*arguments: Array, **options: int) -> Array:
            key = tuple(options[name] for name in function.options)
            if key not in rules:
                rules[key] = ByConstants(partial(make, options))
            jitted, arrays = rules[key].find(arguments)
            return jitted(*arrays)

        return entry


def _jitted(
    call: Any, linear: Callable[[dict[int, Array], tuple[Array, ...]], Array], arguments: int
) -> Callable[..., Array]:
    """A custom_jvp of so many arguments, jitted. Its tangent is `linear` of the tangents that are not zero, by position.

    Only the arguments are kept for the backward pass, in their own dtype, and computed with again, which XLA does not do where it
    compiles both passes. And lax.scan, differentiated in reverse mode, would drop the rules of what does not depend on the tangents
    (JaxprTrace.process_custom_jvp_call), so that the next derivative was that of a formula.
    """
    recomputed = jax.checkpoint(linear, prevent_cse=False)

    def rule(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        given = {i: t for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero)}
        y = call(*primals)
        return y, recomputed(given, primals) if given else jnp.zeros_like(y)

    # of one argument there is no other whose tangent is zero, and Pallas lowers no kernel for TPU with symbolic zeros
    call.defjvp(rule, symbolic_zeros=arguments > 1)
    return jax.jit(call)


backend = JaxBackend()
