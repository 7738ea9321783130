"""A trace of what moved lately, as one more channel beside a frame (Pedersen, Hvass-Labs, 2017).

One frame does not show where a ball goes. Where a pixel changes the trace is bright, and it fades
from step to step: a single stored pair of frame and trace tells what a stack of frames tells.
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp

_THRESHOLD = 20  # grey levels by which a moving pixel changes
_DECAY = 0.75  # of the trace from one step to the next


class MotionState(flax.struct.PyTreeNode):
    """What the trace remembers of one environment."""

    trace: jax.Array  # [H, W] float32 in [0, 255]; whole numbers would fade too soon
    last: jax.Array  # [H, W] uint8, the frame before


def init(frame_shape: tuple[int, ...]) -> MotionState:
    """Nothing has moved yet."""
    return MotionState(
        trace=jnp.zeros(frame_shape, jnp.float32), last=jnp.zeros(frame_shape, jnp.uint8)
    )


def advance(state: MotionState, frame: jax.Array, is_first: jax.Array) -> MotionState:
    """Takes a frame [H, W] uint8; nothing moves in the first one of a game."""
    chex.assert_rank([frame, is_first], [2, 0])
    change = jnp.abs(frame.astype(jnp.int32) - state.last.astype(jnp.int32))
    moved = jnp.where(change > _THRESHOLD, 255.0, 0.0)
    trace = jnp.clip(moved + _DECAY * state.trace, 0.0, 255.0)
    return MotionState(trace=jnp.where(is_first, 0.0, trace), last=frame)


def channels(state: MotionState) -> jax.Array:
    """The frame and its trace, [2, H, W] uint8."""
    return jnp.stack([state.last, state.trace.astype(jnp.uint8)])
