"""Random actions that last one step or several."""

import functools

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.agent.explorers import api
from jaxdqn.settings import config as config_lib


def make(config: config_lib.Config) -> api.Explorer:
    """The explorer of a run."""
    return lasting(config.explore_max_steps)


def lasting(max_steps: int) -> api.Explorer:
    """Builds an explorer whose random actions last `max_steps` steps at most."""
    return api.Explorer(
        act=functools.partial(lasting_epsilon_greedy, max_steps=max_steps), init=no_repeat
    )


class Repeat(flax.struct.PyTreeNode):
    """A random action under way in one environment."""

    action: jax.Array  # [] int32
    left: jax.Array  # [] int32, remaining steps; 0: no action is under way


def no_repeat() -> Repeat:
    """Nothing under way."""
    return Repeat(action=jnp.zeros((), jnp.int32), left=jnp.zeros((), jnp.int32))


def lasting_epsilon_greedy(
    key: jax.Array,
    q_values: jax.Array,
    epsilon: jax.Array,
    repeat: Repeat,
    is_first: jax.Array,
    *,
    max_steps: int,
) -> tuple[jax.Array, Repeat]:
    """Begins a random action of n steps with probability epsilon, else takes the best one.

    P(n >= k) = 1 / k: mostly one step, now and then very many (Dabney et al., arXiv:2006.01782).
    This reaches states that single random actions, which undo each other, hardly ever reach.

    Args:
      key: consumed here; every environment needs its own.
      q_values: [A] float32.
      epsilon: [] float32 in [0, 1].
      repeat: what is under way.
      is_first: [] bool; a new game ends it.
      max_steps: longest n.

    Returns:
      [] int32 action, and the random action under way after this step.
    """
    chex.assert_rank([q_values, epsilon, is_first], [1, 0, 0])
    explore_key, action_key, length_key = jax.random.split(key, 3)
    goes_on = (repeat.left > 0) & ~is_first
    begins = ~goes_on & (jax.random.uniform(explore_key) < epsilon)
    drawn = jax.random.randint(action_key, (), 0, q_values.shape[0])
    share = 1 - jax.random.uniform(length_key)  # in (0, 1]
    length = jnp.minimum(1 / share, max_steps).astype(jnp.int32)
    action = jnp.where(goes_on, repeat.action, drawn).astype(jnp.int32)
    left = jnp.where(goes_on, repeat.left - 1, jnp.where(begins, length - 1, 0))
    best = jnp.argmax(q_values).astype(jnp.int32)
    return jnp.where(goes_on | begins, action, best), Repeat(action=action, left=left)
