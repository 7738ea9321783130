"""A circular buffer of single frames on the device; stacks are made when they are read.

A row holds what E environments showed at one moment and the actions they were then given. When
`stride` groups of environments take turns, they write rows in turn, so that the rows of one stream
are `stride` apart. Every frame is stored once: a stack of four costs a quarter of stacked storage,
and the stack's height is not baked into what is stored.

Rows are counted from the run's first one on (`count` of them); row r lies in slot r mod R.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

# The extra of algorithms that store the action values on which actions were chosen.
Q_VALUES = "q_values"
# Bits of RingState.flags. CUT: the environments were replaced here, perhaps within a game.
FIRST, TERMINATED, TRUNCATED, LIFE_LOST, CUT = 1, 2, 4, 8, 16
LAST = TERMINATED | TRUNCATED | CUT  # the stream's next row opens another game


class Layout(NamedTuple):
    """What a ring stores, and how its rows make observations."""

    num_rows: int  # R
    frame_shape: tuple[int, ...]  # of one frame
    frame_dtype: jnp.dtype
    frame_stack: int  # S, frames in an observation
    stride: int  # rows between two of one stream; the number of groups that take turns
    # Shapes of float32 arrays that an algorithm keeps for each step of each environment.
    extras: Mapping[str, tuple[int, ...]] = {}

    @property
    def history(self) -> int:
        """Rows before a row that its stack may reach back to."""
        return (self.frame_stack - 1) * self.stride


class Row(flax.struct.PyTreeNode):
    """What E environments showed at one moment, on the host or on the devices."""

    frame: jax.Array  # [E, *frame_shape] as the environment gave it
    reward: jax.Array  # [E] float32, unclipped, of the step that led here
    terminated: jax.Array  # [E] bool
    truncated: jax.Array  # [E] bool
    is_first: jax.Array  # [E] bool
    life_lost: jax.Array  # [E] bool


def blank_row(num_envs: int, frame_shape: tuple[int, ...], frame_dtype: npt.DTypeLike) -> Row:
    """A row of zeros on the host."""

    def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        return np.zeros((num_envs, *shape), dtype)

    return Row(
        frame=zeros(frame_shape, frame_dtype),
        reward=zeros((), np.float32),
        **{name: zeros((), bool) for name in ("terminated", "truncated", "is_first", "life_lost")},
    )


class RingState(flax.struct.PyTreeNode):
    """R rows of E environments."""

    frame: jax.Array  # [R, E, D] frames, flattened: devices that tile memory would pad small images
    reward: jax.Array  # [R, E] float32, unclipped, of the step that led to this frame
    action: jax.Array  # [R, E] int32, chosen on seeing this frame
    flags: jax.Array  # [R, E] uint8, bits FIRST, TERMINATED, TRUNCATED, LIFE_LOST, CUT
    count: jax.Array  # [] int32, rows written since the start
    extras: dict[str, jax.Array] = flax.struct.field(default_factory=dict)  # [R, E, ...] float32


def bytes_per_step(layout: Layout) -> int:
    """Device bytes of one step of one environment: frame, reward, action, flags, extras."""
    frame = math.prod(layout.frame_shape) * jnp.dtype(layout.frame_dtype).itemsize
    return frame + 4 + 4 + 1 + sum(4 * math.prod(shape) for shape in layout.extras.values())


def init(layout: Layout, num_envs: int) -> RingState:
    """An empty ring."""
    rows = (layout.num_rows, num_envs)
    return RingState(
        frame=jnp.zeros((*rows, math.prod(layout.frame_shape)), layout.frame_dtype),
        reward=jnp.zeros(rows, jnp.float32),
        action=jnp.zeros(rows, jnp.int32),
        flags=jnp.zeros(rows, jnp.uint8),
        count=jnp.zeros((), jnp.int32),
        extras={
            name: jnp.zeros((*rows, *shape), jnp.float32) for name, shape in layout.extras.items()
        },
    )


def add(
    layout: Layout,
    state: RingState,
    row: Row,
    actions: jax.Array,
    extras: Mapping[str, jax.Array] | None = None,
) -> RingState:
    """Writes a row over the oldest one.

    Args:
      layout: of the ring.
      state: is donated by callers, and changed in place then.
      row: of E environments.
      actions: [E] int32, chosen on seeing it.
      extras: [E, ...] by name; may hold more than the ring keeps.
    """
    slot = state.count % layout.num_rows
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
        extras={name: put(state.extras[name], (extras or {})[name]) for name in state.extras},
    )


def cut(layout: Layout, state: RingState) -> RingState:
    """Ends the games under way: none goes on from the newest row of its stream."""
    newest = (state.count - 1 - jnp.arange(layout.stride)) % layout.num_rows
    return state.replace(flags=state.flags.at[newest].set(state.flags[newest] | CUT))


def stack_rows(layout: Layout, state: RingState, row: jax.Array, env: jax.Array) -> jax.Array:
    """Rows [B, S] whose frames make the stack at `row` [B] of `env` [B], oldest first."""
    positions = jnp.arange(layout.frame_stack)
    window = row[:, None] - layout.stride * (layout.frame_stack - 1 - positions)[None, :]
    is_first = state.flags[window % layout.num_rows, env[:, None]] & FIRST != 0
    # The first frame of a game replaces all frames before it.
    start = jnp.max(jnp.where(is_first, positions[None, :], 0), axis=1)
    reached = jnp.maximum(positions[None, :], start[:, None])
    return row[:, None] - layout.stride * (layout.frame_stack - 1 - reached)


def frames(layout: Layout, state: RingState, rows: jax.Array, env: jax.Array) -> jax.Array:
    """Frames [B, K, *frame_shape] of rows [B, K] of environments [B]."""
    found = state.frame[rows % layout.num_rows, env[:, None]]
    return found.reshape(*rows.shape, *layout.frame_shape)


def observe(layout: Layout, state: RingState, row: jax.Array, env: jax.Array) -> jax.Array:
    """Observations [B, S, *frame_shape] at rows [B] of environments [B]."""
    return frames(layout, state, stack_rows(layout, state, row, env), env)
