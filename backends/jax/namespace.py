"""The array API of jax.numpy, with what formulas need beyond it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.numpy import *


@jax.custom_jvp
def magnitude(x: Any, /) -> Any:
    """abs(x), with slope 1 at 0. A comparison would use `x` three times, and XLA fuses only what is used a few times."""
    return jnp.abs(x)


@magnitude.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    return magnitude(x), jnp.where(x >= 0, t, -t)


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
