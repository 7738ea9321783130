"""A circular buffer of single frames on the device; stacks and n-step sums are made when sampled.

A row holds what E environments showed at one moment and the actions they were then given. When
`stride` groups of environments take turns, they write rows in turn, so that the rows of one stream
are `stride` apart. Every frame is stored once: a stack of four costs a quarter of stacked storage,
and neither n nor the stack's height is baked into what is stored.

Rows are counted from the run's first on (`count` of them); row r lies in slot r mod R.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

# Bits of RingState.flags. CUT: the environments were given up here, in the middle of a game or not.
FIRST, TERMINATED, TRUNCATED, LIFE_LOST, CUT = 1, 2, 4, 8, 16
LAST = TERMINATED | TRUNCATED | CUT  # the stream's next row begins another game

# Rows drawn for one transition; the first that is not a game's last row is taken. Were one row in
# ten such a last row, all eight would be one in 1e8 draws; then a neighbour is taken.
_CANDIDATES = 8


class Row(flax.struct.PyTreeNode):
    """What E environments showed at one moment; on the host or on the devices."""

    frame: jax.Array  # [E, *frame_shape] as the environment gave it
    reward: jax.Array  # [E] float32, unclipped, of the step that led here
    terminated: jax.Array  # [E] bool
    truncated: jax.Array  # [E] bool
    is_first: jax.Array  # [E] bool
    life_lost: jax.Array  # [E] bool


def blank_row(num_envs: int, frame_shape: tuple[int, ...], frame_dtype: npt.DTypeLike) -> Row:
    """A row of the host, all zeros."""

    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        return np.zeros((num_envs, *shape), dtype)

    return Row(
        frame=zeros(frame_shape, frame_dtype),
        reward=zeros((), np.float32),
        **{name: zeros((), bool) for name in ("terminated", "truncated", "is_first", "life_lost")},
    )


class RingState(flax.struct.PyTreeNode):
    """R rows of E environments."""

    frame: jax.Array  # [R, E, D] frames, flat: devices that tile memory would pad small images
    reward: jax.Array  # [R, E] float32, unclipped, of the step that led to this frame
    action: jax.Array  # [R, E] int32, chosen on seeing this frame
    flags: jax.Array  # [R, E] uint8, bits FIRST, TERMINATED, TRUNCATED, LIFE_LOST, CUT
    count: jax.Array  # [] int32, rows written since the start
    q_values: (
        jax.Array
    )  # [R, E, A] float32, on which the action was chosen; A is 0 if none are kept


class Batch(flax.struct.PyTreeNode):
    """B transitions, each over up to n steps."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    reward: jax.Array  # [B] float32, clipped, discounted and summed
    discount: jax.Array  # [B] float32: gamma^steps, or 0 where the game ended
    next_observation: jax.Array  # [B, S, *frame_shape]


class Outcomes(NamedTuple):
    """What came of the steps that led to each row of a ring that has not wrapped."""

    reward: jax.Array  # [R, E] float32, for learning
    ended: jax.Array  # [R, E] bool, no return goes on from here
    is_state: jax.Array  # [R, E] bool: its stack is whole, and the stream's next row answers it


class Ring(NamedTuple):
    """Pure functions over a `RingState`."""

    init: Callable[[int], RingState]  # (E)
    # (state, row, actions [E], action values [E, A]) -> state
    add: Callable[..., RingState]
    sample: Callable[[RingState, jax.Array, int], Batch]  # (state, key, B)
    gather: Callable[[RingState, jax.Array, jax.Array], Batch]  # (state, rows [B], envs [B])
    draw: Callable[[RingState, jax.Array, int], tuple[jax.Array, jax.Array]]  # -> rows, envs
    # (state, rows [B], envs [B]) -> [B, S, *frame_shape]
    observe: Callable[[RingState, jax.Array, jax.Array], jax.Array]
    outcomes: Callable[[RingState], Outcomes]
    cut: Callable[[RingState], RingState]  # no game goes on from the newest rows


def bytes_per_step(frame_shape: tuple[int, ...], frame_dtype: jnp.dtype) -> int:
    """Device bytes of one step of one environment: frame, reward, action, flags."""
    return math.prod(frame_shape) * jnp.dtype(frame_dtype).itemsize + 4 + 4 + 1


def make_ring(
    *,
    num_rows: int,
    frame_shape: tuple[int, ...],
    frame_dtype: jnp.dtype,
    frame_stack: int,
    stride: int,
    n_step: int,
    discount: float,
    reward_clip: float = 0.0,
    reward_scale: float = 1.0,
    life_loss_ends: bool = False,
    time_limit_ends: bool = False,
    terminal_reward: float | None = None,
    terminal_repeats: int = 1,
    num_q_values: int = 0,
) -> Ring:
    """Builds a ring.

    Args:
      num_rows: R.
      frame_shape: of one frame.
      frame_dtype: of frames.
      frame_stack: S, frames in an observation.
      stride: rows between two of one stream; the number of groups that take turns.
      n_step: n, most rewards in a sum.
      discount: gamma.
      reward_clip: rewards are clipped to [-x, x] when sampled; 0 leaves them.
      reward_scale: their factor when sampled, after clipping.
      life_loss_ends: whether a lost life ends a return as a game over does.
      time_limit_ends: whether a time limit counts as an end of the game itself.
      terminal_reward: what stands for the reward of a step that ends the game itself; None leaves
        it.
      terminal_repeats: how often a step that ends the game itself is drawn for one draw of another.
      num_q_values: A, action values kept with every row; 0 keeps none.

    Raises:
      ValueError: too few rows for one transition.
    """
    history, future = (frame_stack - 1) * stride, n_step * stride
    if num_rows <= history + future:
        raise ValueError(f"{num_rows} rows cannot hold {history} before and {future} after a row")
    ends = LAST | (LIFE_LOST if life_loss_ends else 0)
    over = TERMINATED | (TRUNCATED if time_limit_ends else 0)
    no_bootstrap = over | (LIFE_LOST if life_loss_ends else 0)

    def init(num_envs: int) -> RingState:
        return RingState(
            frame=jnp.zeros((num_rows, num_envs, math.prod(frame_shape)), frame_dtype),
            reward=jnp.zeros((num_rows, num_envs), jnp.float32),
            action=jnp.zeros((num_rows, num_envs), jnp.int32),
            flags=jnp.zeros((num_rows, num_envs), jnp.uint8),
            count=jnp.zeros((), jnp.int32),
            q_values=jnp.zeros((num_rows, num_envs, num_q_values)),
        )

    def add(
        state: RingState, row: Row, actions: jax.Array, q_values: jax.Array | None = None
    ) -> RingState:
        slot = state.count % num_rows
        kept = state.q_values[0] if q_values is None else q_values[:, :num_q_values]
        flags = (
            row.is_first * FIRST
            + row.terminated * TERMINATED
            + row.truncated * TRUNCATED
            + row.life_lost * LIFE_LOST
        )

        def put(into: jax.Array, values: jax.Array) -> jax.Array:
            values = values.reshape(1, *into.shape[1:]).astype(into.dtype)
            return jax.lax.dynamic_update_slice_in_dim(into, values, slot, axis=0)

        return RingState(
            frame=put(state.frame, row.frame),
            reward=put(state.reward, row.reward),
            action=put(state.action, actions),
            flags=put(state.flags, flags),
            count=state.count + 1,
            q_values=put(state.q_values, kept),
        )

    def draw(state: RingState, key: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
        """Uniform rows and environments whose whole history and future are in the ring."""
        oldest = jnp.maximum(state.count - num_rows, 0)
        low, high = oldest + history, state.count - future
        rows_key, envs_key = jax.random.split(key)
        shape = (_CANDIDATES, batch_size)
        rows = jax.random.randint(rows_key, shape, low, jnp.maximum(high, low + 1))
        envs = jax.random.randint(envs_key, shape, 0, state.flags.shape[1])
        # After a game's last row the environment ignores the action: no transition starts there.
        is_last = state.flags[rows % num_rows, envs] & LAST != 0
        refused = is_last
        if terminal_repeats > 1:
            ends = state.flags[(rows + stride) % num_rows, envs] & over != 0
            share = jax.random.uniform(jax.random.fold_in(key, 2), shape)
            refused |= ~ends & (share * terminal_repeats >= 1)
        best = jnp.argmin(refused, axis=0)  # the first candidate that is not
        pick = jnp.arange(batch_size)
        row, env, still_last = rows[best, pick], envs[best, pick], is_last[best, pick]
        # Two last rows in sequence are rare: the neighbour is a transition.
        neighbour = jnp.where(row - stride >= low, row - stride, row + stride)
        return jnp.where(still_last, neighbour, row), env

    def stack_rows(state: RingState, row: jax.Array, env: jax.Array) -> jax.Array:
        """Rows [B, S] whose frames make the stack at `row` [B], oldest first."""
        positions = jnp.arange(frame_stack)
        window = row[:, None] - stride * (frame_stack - 1 - positions)[None, :]
        is_first = state.flags[window % num_rows, env[:, None]] & FIRST != 0
        # The first frame of a game stands for all that would lie before it.
        start = jnp.max(jnp.where(is_first, positions[None, :], 0), axis=1)
        reached = jnp.maximum(positions[None, :], start[:, None])
        return row[:, None] - stride * (frame_stack - 1 - reached)

    def learned_reward(reward: jax.Array, flags: jax.Array) -> jax.Array:
        """Rewards to learn from, of steps that led to rows with such flags."""
        if reward_clip:
            reward = jnp.clip(reward, -reward_clip, reward_clip)
        reward = reward_scale * reward
        if terminal_reward is not None:
            reward = jnp.where(flags & over != 0, terminal_reward, reward)
        return reward

    def gather(state: RingState, row: jax.Array, env: jax.Array) -> Batch:
        """The transitions that start at rows [B] of environments [B]."""
        chex.assert_rank([row, env], [1, 1])
        steps = jnp.arange(1, n_step + 1)
        future_slots = (row[:, None] + stride * steps[None, :]) % num_rows
        flags = state.flags[future_slots, env[:, None]]
        rewards = state.reward[future_slots, env[:, None]]
        rewards = learned_reward(rewards, flags)
        # Step k counts when no step before it ended the return.
        open_after = jnp.cumprod(flags & ends == 0, axis=1)
        counts = jnp.concatenate([jnp.ones_like(open_after[:, :1]), open_after[:, :-1]], axis=1)
        num_steps = jnp.sum(counts, axis=1)
        gammas = discount ** (steps - 1).astype(jnp.float32)
        reward = jnp.sum(counts * gammas[None, :] * rewards, axis=1)
        no_more = jnp.any((counts == 1) & (flags & no_bootstrap != 0), axis=1)
        bootstrap = jnp.where(no_more, 0.0, discount ** num_steps.astype(jnp.float32))

        rows = jnp.concatenate(
            [stack_rows(state, row, env), stack_rows(state, row + stride * num_steps, env)], axis=1
        )
        frames = frames_of(state, rows, env).reshape(-1, 2, frame_stack, *frame_shape)
        return Batch(
            observation=frames[:, 0],
            action=state.action[row % num_rows, env],
            reward=reward,
            discount=bootstrap,
            next_observation=frames[:, 1],
        )

    def frames_of(state: RingState, rows: jax.Array, env: jax.Array) -> jax.Array:
        """Frames [B, K, *frame_shape] of rows [B, K] of environments [B]."""
        frames = state.frame[rows % num_rows, env[:, None]]
        return frames.reshape(*rows.shape, *frame_shape)

    def observe(state: RingState, row: jax.Array, env: jax.Array) -> jax.Array:
        return frames_of(state, stack_rows(state, row, env), env)

    def outcomes(state: RingState) -> Outcomes:
        rows = jnp.arange(num_rows)
        is_whole = (rows >= history) & (rows + stride < state.count)
        is_last = state.flags & LAST != 0
        return Outcomes(
            reward=learned_reward(state.reward, state.flags),
            ended=state.flags & no_bootstrap != 0,
            is_state=is_whole[:, None] & ~is_last,
        )

    def cut(state: RingState) -> RingState:
        newest = (state.count - 1 - jnp.arange(stride)) % num_rows
        return state.replace(flags=state.flags.at[newest].set(state.flags[newest] | CUT))

    def sample(state: RingState, key: jax.Array, batch_size: int) -> Batch:
        return gather(state, *draw(state, key, batch_size))

    return Ring(
        init=init,
        add=add,
        sample=sample,
        gather=gather,
        draw=draw,
        observe=observe,
        outcomes=outcomes,
        cut=cut,
    )
