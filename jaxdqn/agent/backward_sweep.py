"""Q-learning by backward sweeps (Pedersen, Hvass-Labs, TensorFlow Tutorial 16, 2017).

A network plays with frozen parameters while a memory fills with states and the action values that
it gave them. A sweep then goes through every environment's rows from the newest to the oldest. It
replaces the value of the action taken by the reward plus the discounted value of the next state,
which has been swept already. So a reward travels back along a whole game at once. The network is
then fitted to the swept values; at least half of every batch comes from states whose value changed
much. Last, the memory is emptied. There is no target network: parameters do not change meanwhile.
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.agent import learner, networks


class Segment(flax.struct.PyTreeNode):
    """T rows of N environments: what was shown, the action, and the outcome of the one before."""

    q_values: jax.Array  # [T, N, A] float32, as the network gave them when it acted
    action: jax.Array  # [T, N] int32, chosen on seeing this row
    reward: jax.Array  # [T, N] float32, for learning, of the step that led here
    ended: jax.Array  # [T, N] bool, the return ends here: no bootstrap from this row
    is_state: jax.Array  # [T, N] bool, the row and the next are a transition


class Targets(flax.struct.PyTreeNode):
    """A batch of B states."""

    observation: jax.Array  # [B, S, *frame_shape]
    q_values: jax.Array  # [B, A] float32, swept


class Order(flax.struct.PyTreeNode):
    """Positions of all states in a memory of M rows, large errors first."""

    position: jax.Array  # [M] int32, flat; the last ones are no states
    num_large: jax.Array  # [] int32
    num_small: jax.Array  # [] int32


def backward(segment: Segment, discount: float) -> tuple[jax.Array, jax.Array]:
    """Sweeps from the last row to the first.

    Returns:
      The swept values [T, N, A] float32; and by how much each state's value changed, [T, N]
      float32, not negative, 0 in rows that are not states.
    """
    chex.assert_rank(segment.q_values, 3)
    # The next row of each row. The last row has none and is not a state.
    following = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf[1:], leaf[-1:]]), (segment.reward, segment.ended)
    )

    def step(
        next_q: jax.Array, row: tuple[jax.Array, ...]
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        q_values, action, is_state, reward, ended = row
        value = reward + jnp.where(ended, 0.0, discount * jnp.max(next_q, axis=-1))
        taken = jax.nn.one_hot(action, q_values.shape[-1], dtype=bool)
        swept = jnp.where(taken & is_state[:, None], value[:, None], q_values)
        error = jnp.max(jnp.abs(swept - q_values), axis=-1)
        return swept, (swept, error)

    rows = (segment.q_values, segment.action, segment.is_state, *following)
    _, (swept, error) = jax.lax.scan(step, segment.q_values[-1], rows, reverse=True)
    return swept, error


def shuffle(key: jax.Array, error: jax.Array, is_state: jax.Array, threshold: float) -> Order:
    """Orders the states at random; those with errors above the threshold come first.

    Args:
      key: consumed here.
      error: [M] float32, flat.
      is_state: [M] bool.
      threshold: errors above it are large.
    """
    is_large = is_state & (error > threshold)
    stratum = jnp.where(is_large, 0, jnp.where(is_state, 1, 2))
    random = jax.random.uniform(key, error.shape)
    _, _, position = jax.lax.sort(
        (stratum, random, jnp.arange(error.shape[0], dtype=jnp.int32)), num_keys=2
    )
    num_large = jnp.sum(is_large, dtype=jnp.int32)
    return Order(
        position=position,
        num_large=num_large,
        num_small=jnp.sum(is_state, dtype=jnp.int32) - num_large,
    )


def batch_positions(
    order: Order, batch: jax.Array, batch_size: int, large_share: float
) -> jax.Array:
    """Positions [batch_size] of an epoch's batch, of which `large_share` have large errors.

    If a larger share of the memory has large errors, so has the batch. If a stratum is too small
    for its share, the other one fills the batch. Successive batches walk through each stratum, so a
    state comes again only after all others of its stratum.

    Args:
      order: of the epoch.
      batch: [] int32, number of batches before this one.
      batch_size: number of states.
      large_share: smallest share of large errors.
    """
    total = order.num_large + order.num_small
    share = jnp.maximum(order.num_large / jnp.maximum(total, 1), large_share)
    large = jnp.round(batch_size * share).astype(jnp.int32)
    large = jnp.minimum(jnp.maximum(large, batch_size - order.num_small), order.num_large)
    small = batch_size - large
    slot = jnp.arange(batch_size)
    of_large = (batch * large + slot) % jnp.maximum(order.num_large, 1)
    of_small = order.num_large + (batch * small + slot - large) % jnp.maximum(order.num_small, 1)
    return order.position[jnp.where(slot < large, of_large, of_small)]


def make_loss(network: networks.Network) -> learner.LossFn:
    """Builds the loss of a network against swept values: the squares, summed over the actions."""

    def loss(
        params: chex.ArrayTree, _: chex.ArrayTree, targets: Targets, key: jax.Array
    ) -> tuple[jax.Array, learner.Metrics, jax.Array]:
        keys = jax.random.split(key, len(targets.observation))
        q_values = network.q_values(params, targets.observation, keys)
        losses = jnp.sum((q_values - targets.q_values) ** 2, axis=-1)
        return losses, {"q_mean": jnp.mean(jnp.max(q_values, axis=-1))}, losses

    return loss
