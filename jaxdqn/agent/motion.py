"""A trace of what moved recently, as a second channel of a frame (Pedersen, Hvass-Labs, 2017).

One frame does not show where a ball goes. Where a pixel changes, the trace is bright, and it fades
from step to step. So one frame with its trace shows what a stack of frames shows.
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp

_THRESHOLD = 20  # a pixel moves if it changes by more than so many gray levels
_DECAY = 0.75  # factor of the trace from one step to the next


class MotionState(flax.struct.PyTreeNode):
    """What the trace remembers of one environment."""

    trace: jax.Array  # [H, W] float32 in [0, 255]; integers would fade too soon
    last: jax.Array  # [H, W] uint8, the previous frame


def init(frame_shape: tuple[int, ...]) -> MotionState:
    """The state before anything has moved."""
    return MotionState(
        trace=jnp.zeros(frame_shape, jnp.float32), last=jnp.zeros(frame_shape, jnp.uint8)
    )


def advance(state: MotionState, frame: jax.Array, is_first: jax.Array) -> MotionState:
    """Adds a frame [H, W] uint8; in the first frame of a game nothing moves."""
    chex.assert_rank([frame, is_first], [2, 0])
    change = jnp.abs(frame.astype(jnp.int32) - state.last.astype(jnp.int32))
    moved = jnp.where(change > _THRESHOLD, 255.0, 0.0)
    trace = jnp.clip(moved + _DECAY * state.trace, 0.0, 255.0)
    return MotionState(trace=jnp.where(is_first, 0.0, trace), last=frame)


def channels(state: MotionState) -> jax.Array:
    """The frame and its trace, [2, H, W] uint8."""
    return jnp.stack([state.last, state.trace.astype(jnp.uint8)])
