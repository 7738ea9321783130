"""TD errors and losses of one transition; callers vmap."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

TdLoss = Callable[[jax.Array], jax.Array]  # elementwise, of TD errors


def double_q_td_error(
    q_tm1: jax.Array,
    a_tm1: jax.Array,
    r_t: jax.Array,
    discount_t: jax.Array,
    q_value_t: jax.Array,
    q_selector_t: jax.Array,
) -> jax.Array:
    """Q-learning error of one transition, double or plain.

    Double: van Hasselt et al., arXiv:1509.06461; plain: Watkins, 1989, Mnih et al., 2015.

    Args:
      q_tm1: [A] online values in the source state.
      a_tm1: [] int, the action taken.
      r_t: [] reward, summed over n steps if there are several.
      discount_t: [] gamma^n, or 0 where the game ended; gamma^n at a time limit.
      q_value_t: [A] target values in the state reached; they value the action.
      q_selector_t: [A] values in the state reached that choose it: of the online network, or
        `q_value_t` itself in plain Q-learning.

    Returns:
      [] target minus prediction; the gradient flows through the prediction alone.
    """
    chex.assert_rank([q_tm1, a_tm1, r_t, discount_t, q_value_t, q_selector_t], [1, 0, 0, 0, 1, 1])
    target = r_t + discount_t * q_value_t[jnp.argmax(q_selector_t)]
    return jax.lax.stop_gradient(target) - q_tm1[a_tm1]


def huber(td_error: jax.Array, delta: float) -> jax.Array:
    """Half the square up to `delta`, linear beyond it (Huber, 1964); elementwise."""
    size = jnp.abs(td_error)
    quadratic = jnp.minimum(size, delta)
    return 0.5 * quadratic**2 + delta * (size - quadratic)
