"""The loss of Q-learning from transitions, whatever the head.

The target network values the action that the online network chooses (double Q-learning, van
Hasselt et al., arXiv:1509.06461), or that it chooses itself (Mnih et al., 2015).
"""

from typing import Protocol

import chex
import jax
import jax.numpy as jnp

from jaxdqn.agent import learner, networks
from jaxdqn.agent.heads import api as heads


class Transitions(Protocol):
    """A batch of B transitions, each over up to n steps."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    reward: jax.Array  # [B] float32, discounted sum
    discount: jax.Array  # [B] float32, of the bootstrap value
    next_observation: jax.Array  # [B, S, *frame_shape]


def make_loss(network: networks.Network, head: heads.Head, *, double_q: bool) -> learner.LossFn:
    """Builds the loss of batches of transitions.

    Args:
      network: the Q-network.
      head: what its outputs mean.
      double_q: choose the bootstrap action with the online network.
    """

    def loss(
        params: chex.ArrayTree, target_params: chex.ArrayTree, batch: Transitions, key: jax.Array
    ) -> tuple[jax.Array, learner.Metrics, jax.Array]:
        # Online, target and choice draw for themselves, and for each transition anew.
        keys = jax.random.split(key, (3, len(batch.action)))
        outputs_tm1 = network.outputs(params, batch.observation, keys[0])
        outputs_t = network.outputs(target_params, batch.next_observation, keys[1])
        chosen_by = outputs_t
        if double_q:
            frozen = jax.lax.stop_gradient(params)
            chosen_by = network.outputs(frozen, batch.next_observation, keys[2])
        elif head.embedding is not None:  # else a draw that is high by chance would value itself
            chosen_by = network.outputs(target_params, batch.next_observation, keys[2])
        losses, priority = jax.vmap(head.loss)(
            outputs_tm1,
            batch.action,
            batch.reward,
            batch.discount,
            outputs_t,
            jax.vmap(head.values)(chosen_by),
        )
        q_tm1 = jax.vmap(head.values)(outputs_tm1)
        return losses, {"q_mean": jnp.mean(jnp.max(q_tm1, axis=-1))}, priority

    return loss
