"""Acting: the rolling stack of frames and the choice of actions."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.agent import exploration, networks


class ActorState(flax.struct.PyTreeNode):
    """What acting remembers between steps of E environments."""

    stack: jax.Array  # [E, S, *frame_shape] newest S frames, newest last
    key: jax.Array  # [] PRNG key, folded with `acts` at every step and never changed
    acts: jax.Array  # [] int32, steps taken


class Actor(NamedTuple):
    """Pure functions that play."""

    init: Callable[[jax.Array, int], ActorState]  # (key, E)
    act: Callable[..., tuple[ActorState, jax.Array]]


def roll_stack(stack: jax.Array, frame: jax.Array, is_first: jax.Array) -> jax.Array:
    """Appends a frame; the first frame of a game fills the whole stack.

    Args:
      stack: [S, *F] of one environment, newest last.
      frame: [*F].
      is_first: [] bool.
    """
    rolled = jnp.concatenate([stack[1:], frame[None]])
    return jnp.where(is_first, jnp.broadcast_to(frame, stack.shape), rolled)


def make_actor(
    network: networks.Network,
    *,
    frame_shape: tuple[int, ...],
    frame_dtype: jnp.dtype,
    frame_stack: int,
) -> Actor:
    """Builds an epsilon-greedy actor.

    Args:
      network: the Q-network.
      frame_shape: of one frame.
      frame_dtype: of frames.
      frame_stack: S, frames that the network sees.
    """

    def init(key: jax.Array, num_envs: int) -> ActorState:
        return ActorState(
            stack=jnp.zeros((num_envs, frame_stack, *frame_shape), frame_dtype),
            key=key,
            acts=jnp.zeros((), jnp.int32),
        )

    def act(
        params: chex.ArrayTree,
        state: ActorState,
        frame: jax.Array,
        is_first: jax.Array,
        epsilon: jax.Array,
        shard: jax.Array | int = 0,
    ) -> tuple[ActorState, jax.Array]:
        """Returns the next state and actions [E] int32 for frames [E, *frame_shape].

        `shard` sets apart the draws of devices that share a key.
        """
        stack = jax.vmap(roll_stack)(state.stack, frame, is_first)
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.acts), shard)
        keys = jax.random.split(key, frame.shape[0])
        actions = jax.vmap(exploration.epsilon_greedy, in_axes=(0, 0, None))(
            keys, network.q_values(params, stack), epsilon
        )
        return state.replace(stack=stack, acts=state.acts + 1), actions

    return Actor(init=init, act=act)
