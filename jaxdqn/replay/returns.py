"""Transitions out of a ring: which rewards are summed, and where a return ends."""

from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.replay import ring


class ReturnRule(NamedTuple):
    """How the steps after a row become a return."""

    n_step: int  # n, most rewards in a sum
    discount: float  # gamma
    reward_clip: float = 0.0  # rewards are clipped to [-x, x]; 0 leaves them
    reward_scale: float = 1.0  # their factor, after clipping
    life_loss_ends: bool = False  # whether a lost life ends a return as a game over does
    time_limit_ends: bool = False  # whether a time limit counts as an end of the game itself
    # What stands for the reward of a step that ends the game itself; None leaves it.
    terminal_reward: float | None = None

    @property
    def over(self) -> int:
        """Flags of a row at which the game itself ended."""
        return ring.TERMINATED | (ring.TRUNCATED if self.time_limit_ends else 0)

    @property
    def no_bootstrap(self) -> int:
        """Flags of a row after which nothing more is worth anything."""
        return self.over | (ring.LIFE_LOST if self.life_loss_ends else 0)

    @property
    def ends(self) -> int:
        """Flags of a row at which a sum of rewards ends."""
        return ring.LAST | (ring.LIFE_LOST if self.life_loss_ends else 0)


class Batch(flax.struct.PyTreeNode):
    """B transitions, each over up to n steps."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    reward: jax.Array  # [B] float32, clipped, discounted and summed
    discount: jax.Array  # [B] float32: gamma^steps, or 0 where the game ended
    next_observation: jax.Array  # [B, S, *frame_shape]


class Outcomes(NamedTuple):
    """The outcomes of the steps that led to each row of a ring that has not wrapped around."""

    reward: jax.Array  # [R, E] float32, for learning
    ended: jax.Array  # [R, E] bool, the return ends here
    is_state: jax.Array  # [R, E] bool: its stack is complete, and the stream's next row follows it


def check(layout: ring.Layout, rule: ReturnRule) -> None:
    """Refuses a ring that is too small.

    Raises:
      ValueError: it cannot hold one transition.
    """
    future = rule.n_step * layout.stride
    if layout.num_rows <= layout.history + future:
        raise ValueError(
            f"{layout.num_rows} rows cannot hold {layout.history} before and {future} after a row"
        )


def transition_rows(
    layout: ring.Layout, rule: ReturnRule, state: ring.RingState
) -> tuple[jax.Array, jax.Array]:
    """The rows [low, high) whose whole history and future are in the ring."""
    oldest = jnp.maximum(state.count - layout.num_rows, 0)
    return oldest + layout.history, state.count - rule.n_step * layout.stride


def learned_reward(rule: ReturnRule, reward: jax.Array, flags: jax.Array) -> jax.Array:
    """The rewards to learn from, of steps that led to rows with these flags."""
    if rule.reward_clip:
        reward = jnp.clip(reward, -rule.reward_clip, rule.reward_clip)
    reward = rule.reward_scale * reward
    if rule.terminal_reward is not None:
        reward = jnp.where(flags & rule.over != 0, rule.terminal_reward, reward)
    return reward


def gather(
    layout: ring.Layout, rule: ReturnRule, state: ring.RingState, row: jax.Array, env: jax.Array
) -> Batch:
    """The transitions that start at rows [B] of environments [B]."""
    chex.assert_rank([row, env], [1, 1])
    steps = jnp.arange(1, rule.n_step + 1)
    future_slots = (row[:, None] + layout.stride * steps[None, :]) % layout.num_rows
    flags = state.flags[future_slots, env[:, None]]
    rewards = learned_reward(rule, state.reward[future_slots, env[:, None]], flags)
    # Step k counts when no step before it ended the return.
    open_after = jnp.cumprod(flags & rule.ends == 0, axis=1)
    counts = jnp.concatenate([jnp.ones_like(open_after[:, :1]), open_after[:, :-1]], axis=1)
    num_steps = jnp.sum(counts, axis=1)
    gammas = rule.discount ** (steps - 1).astype(jnp.float32)
    reward = jnp.sum(counts * gammas[None, :] * rewards, axis=1)
    no_more = jnp.any((counts == 1) & (flags & rule.no_bootstrap != 0), axis=1)
    bootstrap = jnp.where(no_more, 0.0, rule.discount ** num_steps.astype(jnp.float32))

    reached = row + layout.stride * num_steps
    stacks = [ring.stack_rows(layout, state, rows, env) for rows in (row, reached)]
    # Both stacks are read in one go.
    frames = ring.frames(layout, state, jnp.concatenate(stacks, axis=1), env)
    frames = frames.reshape(-1, 2, layout.frame_stack, *layout.frame_shape)
    return Batch(
        observation=frames[:, 0],
        action=state.action[row % layout.num_rows, env],
        reward=reward,
        discount=bootstrap,
        next_observation=frames[:, 1],
    )


def outcomes(layout: ring.Layout, rule: ReturnRule, state: ring.RingState) -> Outcomes:
    """What came of every step in a ring that has not wrapped."""
    rows = jnp.arange(layout.num_rows)
    is_whole = (rows >= layout.history) & (rows + layout.stride < state.count)
    is_last = state.flags & ring.LAST != 0
    return Outcomes(
        reward=learned_reward(rule, state.reward, state.flags),
        ended=state.flags & rule.no_bootstrap != 0,
        is_state=is_whole[:, None] & ~is_last,
    )
