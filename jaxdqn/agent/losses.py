"""Losses of TD errors, elementwise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

TdLoss = Callable[[jax.Array], jax.Array]  # elementwise, of TD errors


def huber(td_error: jax.Array, delta: float) -> jax.Array:
    """Half the square up to `delta`, linear beyond it (Huber, 1964); elementwise."""
    size = jnp.abs(td_error)
    quadratic = jnp.minimum(size, delta)
    return 0.5 * quadratic**2 + delta * (size - quadratic)
