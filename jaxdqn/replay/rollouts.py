"""Rollouts out of a ring: its newest steps, with their lambda returns."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxdqn.replay import returns, ring


class Rollout(NamedTuple):
    """T steps of E environments of each of G groups, which take turns."""

    row: jax.Array  # [T, G] int32, as rows are counted in a ring
    lambda_return: jax.Array  # [T, G, E] float32
    is_step: jax.Array  # [T, G, E] bool, the environment took the action
    value: jax.Array  # [T, G, E] float32, of the action, when it was chosen


def rollout(
    layout: ring.Layout,
    rule: returns.ReturnRule,
    state: ring.RingState,
    num_steps: int,
    trace_decay: float,
) -> Rollout:
    """The newest steps whose future is in the ring.

    Args:
      layout: of the ring.
      rule: how rewards are learned.
      state: of the ring, which stores `ring.Q_VALUES`.
      num_steps: T.
      trace_decay: lambda.
    """
    rows = (num_steps + 1) * layout.stride
    row = (state.count - rows + jnp.arange(rows)).reshape(-1, layout.stride)  # [T + 1, G]
    slot = row % layout.num_rows
    flags, q_values = state.flags[slot], state.extras[ring.Q_VALUES][slot]
    reward = returns.learned_reward(rule, state.reward[slot], flags)[1:]
    flat = (num_steps, -1)
    found = lambda_returns(
        reward.reshape(flat),
        jnp.where(flags[1:] & rule.no_bootstrap != 0, 0.0, rule.discount).reshape(flat),
        jnp.max(q_values[1:], axis=-1).reshape(flat),
        jnp.where(flags[1:] & rule.ends != 0, 0.0, trace_decay).reshape(flat),
    )
    action = state.action[slot][:-1, ..., None]
    return Rollout(
        row=row[:-1],
        lambda_return=found.reshape(reward.shape),
        is_step=flags[:-1] & ring.LAST == 0,
        value=jnp.take_along_axis(q_values[:-1], action, axis=-1)[..., 0],
    )


def lambda_returns(
    reward: jax.Array, discount: jax.Array, value: jax.Array, trace: jax.Array
) -> jax.Array:
    """Lambda returns of greedy values: Peng's Q(lambda) (Peng and Williams, 1994).

    G_t = r_t+1 + discount_t+1 ((1 - trace_t+1) v_t+1 + trace_t+1 G_t+1), where G_T is v_T. It goes
    on where the next action was not the greedy one.

    Args:
      reward: [T, N] float32, of the step from each row to the next.
      discount: [T, N] gamma, or 0 where that step ended the game.
      value: [T, N] of the row that it led to.
      trace: [T, N] lambda, or 0 where the row after it is none of the same game.

    Returns:
      [T, N] float32.
    """
    chex.assert_rank([reward, discount, value, trace], 2)

    def step(following: jax.Array, row: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, discount, value, trace = row
        found = reward + discount * ((1 - trace) * value + trace * following)
        return found, found

    _, found = jax.lax.scan(step, value[-1], (reward, discount, value, trace), reverse=True)
    return found
