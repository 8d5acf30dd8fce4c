"""The array API of jax.numpy, with what formulas need beyond it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.numpy import *

from multiact import numerics


def _slow(x: Any) -> Any:
    """Whether XLA evaluates the trigonometric functions of `x` one number at a time."""
    return x.dtype == jnp.float32 and jax.default_backend() == "cpu"


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _sine(x: Any, quarters: int) -> Any:
    """sin(x + quarters pi / 2) for quarters from 0 to 3."""
    if _slow(x):
        with jax.enable_x64(True):
            return numerics.sine_32(jnp, jax.lax.convert_element_type(x, jnp.float64), quarters)
    y = jnp.cos(x) if quarters % 2 else jnp.sin(x)
    return -y if quarters > 1 else y


@_sine.defjvp
def _(quarters: int, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return _sine(x, quarters), t * _sine(x, (quarters + 1) % 4)


def sin(x: Any, /) -> Any:  # type: ignore[no-redef]
    """That of jax.numpy takes eight times as long on a processor."""
    return _sine(x, 0)


def cos(x: Any, /) -> Any:  # type: ignore[no-redef]
    """Likewise."""
    return _sine(x, 1)


def atan(x: Any, /) -> Any:  # type: ignore[no-redef]
    """That of jax.numpy takes thirty times as long on a processor."""
    return numerics.arctan_32(jnp, x) if _slow(x) else jnp.atan(x)


def own(name: str, x: Any, /) -> Any:
    """tanh and erf of XLA in float32 on a processor, where they are within 4 ulp and faster than our formulas; else None."""
    function = {"tanh": jax.lax.tanh, "erf": jax.lax.erf}.get(name)
    return function(x) if function is not None and _slow(x) else None


@jax.custom_jvp
def magnitude(x: Any, /) -> Any:
    """abs(x), with slope 1 at 0. A comparison would use `x` three times, and XLA fuses only what is used a few times."""
    return jnp.abs(x)


@magnitude.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return magnitude(x), jnp.where(x >= 0, t, -t)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def positive_part(x: Any, slope: int, /) -> Any:
    """max(x, 0), with that slope at 0. A maximum of XLA may lose NaN on a processor."""
    return clip(x, 0)


@positive_part.defjvp
def _(slope: int, primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return positive_part(x, slope), jnp.where(x < 0 if slope else x <= 0, 0, t)


def in_double(call: Any, /, *arrays: Any) -> Any:
    """A function of the arrays in float64, which JAX has wherever the processor has it, rounded; None on a TPU."""
    if jax.default_backend() == "tpu":
        return None
    with jax.enable_x64(True):
        y = call(*(jax.lax.convert_element_type(a, jnp.float64) for a in arrays))
        return jax.lax.convert_element_type(y, arrays[0].dtype)


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:  # type: ignore[no-redef]
    """That of jax.numpy gives NaN as the slope beyond a bound where what follows has none."""
    low, high = -jnp.inf if min is None else min, jnp.inf if max is None else max
    return jax.lax.clamp(jnp.asarray(low, x.dtype), x, jnp.asarray(high, x.dtype))
