"""Munchausen Q-learning: rewards grow by how probable their action was (Vieillard et al., 2020).

arXiv:2007.14430. The policy is a softmax of the target network's values. Its logarithm is a bonus
for the action that was taken, and the return that follows is a mean over the policy that also
counts its entropy.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxdqn.agent import networks, q_learning
from jaxdqn.agent.heads import api as heads


def soft(
    network: networks.Network,
    head: heads.Head,
    *,
    temperature: float,
    bonus_factor: float,
    bonus_min: float,
) -> q_learning.Bootstrap:
    """What follows transitions. Of several steps, the first alone has a bonus.

    Args:
      network: the Q-network.
      head: what its outputs mean; knows means over actions.
      temperature: of the policy.
      bonus_factor: of the bonus.
      bonus_min: the smallest bonus, at most 0, before it is multiplied by the factor.
    """
    follow = head.mean_next_return
    assert follow is not None, "checked with the settings"

    def bootstrap(
        params: chex.ArrayTree,
        target_params: chex.ArrayTree,
        batch: q_learning.Transitions,
        keys: jax.Array,
    ) -> tuple[jax.Array, Any]:
        del params
        outputs_t = network.outputs(target_params, batch.next_observation, keys[0])
        chosen_by = outputs_t
        if network.draws:  # the policy would prefer what is high by chance
            chosen_by = network.outputs(target_params, batch.next_observation, keys[1])
        values_tm1 = network.q_values(target_params, batch.observation, keys[2])
        bonus = jax.vmap(munchausen_bonus, in_axes=(0, 0, None, None))(
            values_tm1, batch.action, temperature, bonus_min
        )
        scaled = scaled_log_policy(jax.vmap(head.values)(chosen_by), temperature)
        next_return = jax.vmap(follow)(outputs_t, jnp.exp(scaled / temperature), -scaled)
        return batch.reward + bonus_factor * bonus, next_return

    return bootstrap


def scaled_log_policy(values: jax.Array, temperature: float) -> jax.Array:
    """Temperature times the logarithm of the softmax of values / temperature, [..., A]."""
    return temperature * jax.nn.log_softmax(values / temperature, axis=-1)


def munchausen_bonus(
    values: jax.Array, action: jax.Array, temperature: float, bonus_min: float
) -> jax.Array:
    """The bonus [] of an action [] where it had values [A]; between `bonus_min` and 0."""
    chex.assert_rank([values, action], [1, 0])
    return jnp.clip(scaled_log_policy(values, temperature)[action], bonus_min, 0.0)
