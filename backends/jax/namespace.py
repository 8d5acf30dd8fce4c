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


def with_double(x: Any, /) -> Any:
    """Whether what cancels is computed in float64, which most accelerators have not."""
    return False


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:  # type: ignore[no-redef]
    """That of jax.numpy gives NaN as the slope beyond a bound where what follows has none."""
    low, high = -jnp.inf if min is None else min, jnp.inf if max is None else max
    return jax.lax.clamp(jnp.asarray(low, x.dtype), x, jnp.asarray(high, x.dtype))
