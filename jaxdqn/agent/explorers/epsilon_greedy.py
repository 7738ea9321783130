"""Random actions that last one step."""

import chex
import jax
import jax.numpy as jnp

from jaxdqn.agent.explorers import api
from jaxdqn.settings import config as config_lib


def make(_: config_lib.Config) -> api.Explorer:
    """The explorer of a run."""
    return EXPLORER


def epsilon_greedy(key: jax.Array, q_values: jax.Array, epsilon: jax.Array) -> jax.Array:
    """A random action with probability epsilon, else the best one; for one environment.

    Args:
      key: consumed here; every environment needs its own.
      q_values: [A] float32.
      epsilon: [] float32 in [0, 1].

    Returns:
      [] int32 action.
    """
    chex.assert_rank([q_values, epsilon], [1, 0])
    explore_key, action_key = jax.random.split(key)
    explore = jax.random.uniform(explore_key) < epsilon
    random_action = jax.random.randint(action_key, (), 0, q_values.shape[0])
    return jnp.where(explore, random_action, jnp.argmax(q_values)).astype(jnp.int32)


EXPLORER = api.Explorer(
    act=lambda key, q_values, epsilon, state, _: (epsilon_greedy(key, q_values, epsilon), state)
)
