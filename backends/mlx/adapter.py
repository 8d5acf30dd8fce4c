"""The MLX backend: every function of a tower is an mx.custom_function with rules for reverse mode, forward mode and vmap.

Python numbers given for parameters are constants of a function of its own, not arguments: in the rule for vmap MLX would take the
axis of one argument for that of another. MLX computes nothing before it is asked for, so that the rule of reverse mode names all
derivatives, and those that nobody wants cost nothing. Without a rule for vmap the derivatives of a vectorised function would
be MLX's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import mlx.core as mx

from multiact.adaptive import Adaptive
from multiact.declaration import Activation, Array, Axiswise, Elementwise, widen
from multiact.exports import BackendBase, ByConstants, check_generator, merge
from multiact.numerics import summed

from . import namespace


@cache
def _name(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]


class MlxBackend(BackendBase):
    """Functions of MLX arrays, and mlx.nn Modules."""

    name = "mlx"
    has_layers = True
    namespace = namespace

    def owns(self, x: Any) -> bool:
        return isinstance(x, mx.array)

    def dtype(self, x: Array) -> str:
        return _name(_array(x).dtype)

    def uniform(self, like: Array, dtype: str, rng: Any) -> Array:
        accepted = (type(None), mx.array)
        check_generator(self.name, rng, accepted, "a key, for example mx.random.key(0), or None for the global state")
        shape = _array(like).shape
        if dtype == "float32":
            return mx.random.uniform(shape=shape, key=rng)
        keys = (None, None) if rng is None else mx.random.split(rng)  # MLX draws no float64
        high, low = (mx.random.randint(0, 2**n, shape, key=key).astype(mx.float64) for n, key in zip((26, 27), keys))
        return (high * 2.0**27 + low) * 2.0**-53

    def register_elementwise(self, function: Elementwise) -> Callable[..., Array]:
        missing = {a: _guard(function, a) for a in function.arguments if not function.order and not function.partial(a)}

        def make(constants: tuple[float | None, ...]) -> Callable[..., Array]:
            free = [a for a, c in zip(function.arguments, constants) if c is None]

            def declared(wide: Sequence[Array], argument: str) -> Array | None:
                """The derivative that is declared, if one is."""
                node = function.partial(argument)
                return None if node is None else self.elementwise(node)(*merge(constants, wide))

            def along(wide: Sequence[Array], i: int) -> Callable[[Array], Array]:
                return lambda value: function(namespace, *merge(constants, [*wide[:i], value, *wide[i + 1 :]]))

            def vjp(wide: Sequence[Array], i: int, cotangent: Array) -> Array:
                if free[i] in missing:  # its guard raises where this is asked for
                    return mx.zeros_like(wide[i])
                partial = declared(wide, free[i])
                if partial is None:
                    return mx.vjp(along(wide, i), [wide[i]], [cotangent])[1][0]
                return summed(namespace, cotangent * partial, wide[i].shape)

            def jvp(wide: Sequence[Array], i: int, tangent: Array) -> Array:
                partial = declared(wide, free[i])
                return mx.jvp(along(wide, i), [wide[i]], [tangent])[1][0] if partial is None else tangent * partial

            @mx.custom_function
            def call(*arrays: Array) -> Array:
                return function.evaluate(namespace, *merge(constants, arrays))

            @call.vjp
            def _(primals: Any, cotangent: Array, _: Array) -> Any:
                given = _tuple(primals)
                wide, cotangent = _widened(given, cotangent)
                return _like(primals, [vjp(wide, i, cotangent).astype(a.dtype) for i, a in enumerate(given)])

            @call.jvp
            def _(primals: Any, tangents: Any) -> Array:
                given = _tuple(primals)
                wide, *directions = _widened(given, *_tuple(tangents))
                terms = [jvp(wide, i, t) for i, t in enumerate(directions) if t is not None]
                x = given[0]
                return mx.broadcast_to(sum(terms[1:], start=terms[0]), x.shape).astype(x.dtype)

            @call.vmap
            def _(inputs: Any, axes: Any) -> tuple[Array, int]:
                return call(*_batched(_tuple(inputs), _tuple(axes))), 0

            return call  # type: ignore[no-any-return]

        by_constants = ByConstants(make)

        def entry(*arguments: Array) -> Array:
            given = _arrays(arguments)
            if missing:
                given = [
                    missing[n](a) if n in missing and isinstance(a, mx.array) else a
                    for n, a in zip(function.arguments, given)
                ]
            call, arrays = by_constants.find(given)
            return call(*_arrays(arrays, numbers=True))

        return entry

    def register_axiswise(self, function: Axiswise) -> Callable[..., Array]:
        by_options: dict[tuple[int, ...], ByConstants] = {}

        def make(options: Mapping[str, int], constants: tuple[float | None, ...]) -> Callable[..., Array]:
            needed = tuple(c is None for c in constants)

            @mx.custom_function
            def call(*arrays: Array) -> Array:
                return function.evaluate(namespace, *merge(constants, arrays), **options)

            @call.vjp
            def _(primals: Any, cotangent: Array, _: Array) -> Any:
                given = _tuple(primals)
                wide, cotangent = _widened(given, cotangent)
                # computed again by this rule, in the precision of the others, so that it is differentiable by it too
                found = function.vjp(namespace, merge(constants, wide), call(*wide), cotangent, needed, **options)
                wanted = [g for g, need in zip(found, needed) if need]
                return _like(primals, [summed(namespace, g, a.shape).astype(a.dtype) for g, a in zip(wanted, given)])

            @call.jvp
            def _(primals: Any, tangents: Any) -> Array:
                given = _tuple(primals)
                wide, *found = _widened(given, *_tuple(tangents))
                directions = iter(found)
                along = [next(directions) if need else None for need in needed]
                tangent = function.jvp(namespace, merge(constants, wide), call(*wide), along, **options)
                return tangent.astype(given[0].dtype)

            @call.vmap
            def _(inputs: Any, axes: Any) -> tuple[Array, int]:
                # with the batch in front, an axis counted from there is one further on
                moved = {k: v + 1 if k == "axis" and v >= 0 else v for k, v in options.items()}
                arrays = _batched(_tuple(inputs), _tuple(axes))
                return entry(*merge(constants, arrays), **moved), 0

            return call  # type: ignore[no-any-return]

        def entry(*arguments: Array, **options: int) -> Array:
            key = tuple(options[name] for name in function.options)
            by_constants = by_options.get(key)
            if by_constants is None:
                by_constants = by_options.setdefault(key, ByConstants(partial(make, options)))
            call, arrays = by_constants.find(_arrays(arguments))
            return call(*_arrays(arrays, numbers=True))

        return entry

    def make_layer(self, activation: Activation) -> type:
        from .modules import make_module

        return make_module(activation)

    def make_adaptive(self, kind: type[Adaptive]) -> type:
        from .modules import make_adaptive

        return make_adaptive(kind)


def _guard(function: Elementwise, argument: str) -> Callable[[Array], Array]:
    """The identity, which raises `MissingDerivativeError` where a derivative in its argument is asked for."""
    call = mx.custom_function(lambda a: +a)

    def missing(*_: Any) -> Array:
        function.require(argument)
        raise AssertionError(f"{function.name} declares its derivative in {argument}")

    call.vjp(missing)
    call.jvp(missing)
    call.vmap(lambda a, axis: (call(a), axis))
    return call  # type: ignore[no-any-return]


def _tuple(given: Any) -> tuple[Any, ...]:
    """The arguments of a rule, which of a function of one argument is that alone."""
    return given if isinstance(given, tuple) else (given,)


def _like(primals: Any, found: list[Any]) -> Any:
    """The result of a rule in the form in which its arguments came."""
    return tuple(found) if isinstance(primals, tuple) else found[0]


def _array(x: Any) -> Array:
    return x if isinstance(x, mx.array) else mx.array(x)


def _arrays(arguments: Sequence[Any], numbers: bool = False) -> list[Any]:
    """All arguments as arrays but for Python numbers, which become arrays too if `numbers`; the first always is one."""
    x, *others = arguments
    x = _array(x)
    kept = mx.array if numbers else (mx.array, float)
    return [x, *(a if isinstance(a, kept) else mx.array(a, widen(namespace, x).dtype) for a in others)]


def _widened(given: Sequence[Array], *more: Array | None) -> tuple[Any, ...]:
    """The arguments in the precision of the computation as one list, then further arrays in it."""
    dtype = widen(namespace, given[0]).dtype
    return [a.astype(dtype) for a in given], *(None if a is None else a.astype(dtype) for a in more)


def _batched(inputs: Sequence[Any], axes: Sequence[Any]) -> list[Any]:
    """Arguments of a vectorised function with the batch as the first axis of `x`, and of what else has one."""
    size = next(a.shape[axis] for a, axis in zip(inputs, axes) if axis is not None)
    x = inputs[0]
    x = mx.broadcast_to(x[None], (size, *x.shape)) if axes[0] is None else mx.moveaxis(x, axes[0], 0)
    found = [x]
    for a, axis in zip(inputs[1:], axes[1:]):
        if axis is not None:
            a = mx.moveaxis(a, axis, 0)
            a = mx.reshape(a, (size, *(1,) * (x.ndim - a.ndim), *a.shape[1:]))
        found.append(a)
    return found


backend = MlxBackend()
