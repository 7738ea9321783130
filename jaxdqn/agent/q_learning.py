"""Losses of Q-learning, whatever the head."""

from collections.abc import Callable
from typing import Any, Protocol

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


class KnownReturns(Protocol):
    """A batch of B steps whose returns are known."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    known_return: jax.Array  # [B] float32


# (params, target params, batch, keys [3, B]) -> rewards [B], the returns that follow, as the head's
# loss takes them [B, ...]
Bootstrap = Callable[..., tuple[jax.Array, Any]]


def greedy(network: networks.Network, head: heads.Head, *, double_q: bool) -> Bootstrap:
    """The target network's return after the best action.

    Args:
      network: the Q-network.
      head: what its outputs mean.
      double_q: the online network chooses it (double Q-learning, van Hasselt et al.,
        arXiv:1509.06461), else the target network itself (Mnih et al., 2015).
    """

    def bootstrap(
        params: chex.ArrayTree, target_params: chex.ArrayTree, batch: Transitions, keys: jax.Array
    ) -> tuple[jax.Array, Any]:
        outputs_t = network.outputs(target_params, batch.next_observation, keys[0])
        chosen_by = outputs_t
        if double_q:
            frozen = jax.lax.stop_gradient(params)
            chosen_by = network.outputs(frozen, batch.next_observation, keys[1])
        elif network.draws:  # else a draw that is high by chance would value itself
            chosen_by = network.outputs(target_params, batch.next_observation, keys[1])
        best = jnp.argmax(jax.vmap(head.values)(chosen_by), axis=-1)
        return batch.reward, jax.vmap(head.next_return)(outputs_t, best)

    return bootstrap


def make_loss(network: networks.Network, head: heads.Head, bootstrap: Bootstrap) -> learner.LossFn:
    """Builds the loss of batches of transitions.

    Args:
      network: the Q-network.
      head: what its outputs mean.
      bootstrap: what follows the transitions.
    """

    def loss(
        params: chex.ArrayTree, target_params: chex.ArrayTree, batch: Transitions, key: jax.Array
    ) -> tuple[jax.Array, learner.Metrics, jax.Array]:
        # Each forward pass draws for itself, and separately for each transition.
        keys = jax.random.split(key, (4, len(batch.action)))
        outputs = network.outputs(params, batch.observation, keys[0])
        reward, next_return = bootstrap(params, target_params, batch, keys[1:])
        return _learned(head, outputs, batch.action, reward, batch.discount, next_return)

    return loss


def make_known_loss(network: networks.Network, head: heads.Head) -> learner.LossFn:
    """Builds the loss of batches of steps whose returns are known.

    Args:
      network: the Q-network.
      head: what its outputs mean.
    """

    def loss(
        params: chex.ArrayTree, _: chex.ArrayTree, batch: KnownReturns, key: jax.Array
    ) -> tuple[jax.Array, learner.Metrics, jax.Array]:
        size = len(batch.action)
        outputs = network.outputs(params, batch.observation, jax.random.split(key, size))
        next_return = jax.vmap(head.next_return)(outputs, batch.action)
        no_discount = jnp.zeros(size)  # so that whatever follows counts nothing
        return _learned(head, outputs, batch.action, batch.known_return, no_discount, next_return)

    return loss


def _learned(
    head: heads.Head,
    outputs: heads.Outputs,
    action: jax.Array,
    reward: jax.Array,
    discount: jax.Array,
    next_return: Any,
) -> tuple[jax.Array, learner.Metrics, jax.Array]:
    """What a `learner.LossFn` returns, of the outputs of B states and the actions taken there."""
    losses, priority = jax.vmap(head.loss)(
        outputs.raw[jnp.arange(len(action)), action],
        outputs.taus,
        reward,
        discount,
        next_return,
    )
    values = jax.vmap(head.values)(outputs)
    return losses, {"q_mean": jnp.mean(jnp.max(values, axis=-1))}, priority
