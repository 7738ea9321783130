"""Acting: the rolling stack of frames and the choice of actions."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxdqn.agent import motion as motion_lib
from jaxdqn.agent import networks
from jaxdqn.agent.explorers import api as explorers
from jaxdqn.agent.explorers import epsilon_greedy

_State = TypeVar("_State")


class ActorState(flax.struct.PyTreeNode):
    """What acting remembers between steps of E environments."""

    stack: (
        jax.Array
    )  # [E, S, *seen_shape] the newest S frames as the network sees them, newest last
    # [2] uint32, the data of a PRNG key, folded with `acts` at every step and never changed.
    key: jax.Array
    acts: jax.Array  # [] int32, steps taken
    motion: motion_lib.MotionState | None = None  # [E, ...], if motion is traced
    explorer: Any = None  # [E, ...] its state; None where it has none


class Actor(NamedTuple):
    """Pure functions that play."""

    init: Callable[[jax.Array, int], ActorState]  # (key, E)
    # (state, frames [E, *frame_shape], is_first [E]) -> state with the stack that is seen now
    see: Callable[[ActorState, jax.Array, jax.Array], ActorState]
    # (params, state, frames, is_first, epsilon [], env_ids, num_envs) -> state, actions [E] int32,
    # values [E, A]. Sees, and chooses actions. Where these are some of `num_envs` environments,
    # `env_ids` [E] int32 says which, and they draw what they would draw among all.
    act: Callable[..., tuple[ActorState, jax.Array, jax.Array]]


def roll_stack(stack: jax.Array, frame: jax.Array, is_first: jax.Array) -> jax.Array:
    """Appends a frame; the first frame of a game fills the whole stack.

    Args:
      stack: [S, *F] of one environment, newest last.
      frame: [*F].
      is_first: [] bool.
    """
    rolled = jnp.concatenate([stack[1:], frame[None]])
    return jnp.where(is_first, jnp.broadcast_to(frame, stack.shape), rolled)


def some(state: ActorState, rows: jax.Array) -> ActorState:
    """What acting remembers of some environments: of `rows` [F] int32."""
    of_each = (state.stack, state.motion, state.explorer)
    stack, motion, explorer = jax.tree.map(lambda leaf: leaf[rows], of_each)
    return state.replace(stack=stack, motion=motion, explorer=explorer)


def seen_shape(frame_shape: tuple[int, ...], motion_trace: bool) -> tuple[int, ...]:
    """Shape of a frame as the network sees it and the replay stores it."""
    return (2, *frame_shape) if motion_trace else frame_shape


def make_actor(
    network: networks.Network,
    *,
    frame_shape: tuple[int, ...],
    frame_dtype: jnp.dtype,
    frame_stack: int,
    motion_trace: bool = False,
    explorer: explorers.Explorer = epsilon_greedy.EXPLORER,
    draws_noise: bool = False,
) -> Actor:
    """Builds an actor.

    Args:
      network: the Q-network.
      frame_shape: of one frame as the environment shows it.
      frame_dtype: of frames.
      frame_stack: S, frames that the network sees.
      motion_trace: give each frame a second channel, the trace of what moved.
      explorer: chooses actions.
      draws_noise: give the network keys, for what it draws itself: in training alone.
    """
    seen = seen_shape(frame_shape, motion_trace)

    def init(key: jax.Array, num_envs: int) -> ActorState:
        def for_each(init: Callable[[], _State]) -> _State:
            return jax.vmap(lambda _: init())(jnp.arange(num_envs))

        return ActorState(
            stack=jnp.zeros((num_envs, frame_stack, *seen), frame_dtype),
            key=jax.random.key_data(key),
            acts=jnp.zeros((), jnp.int32),
            motion=for_each(lambda: motion_lib.init(frame_shape)) if motion_trace else None,
            explorer=for_each(explorer.init),
        )

    act = functools.partial(_act, network, explorer, draws_noise)
    return Actor(init=init, see=_see, act=act)


def _see(state: ActorState, frame: jax.Array, is_first: jax.Array) -> ActorState:
    if state.motion is not None:
        moved = jax.vmap(motion_lib.advance)(state.motion, frame, is_first)
        state, frame = state.replace(motion=moved), jax.vmap(motion_lib.channels)(moved)
    return state.replace(stack=jax.vmap(roll_stack)(state.stack, frame, is_first))


def _act(
    network: networks.Network,
    explorer: explorers.Explorer,
    draws_noise: bool,
    params: chex.ArrayTree,
    state: ActorState,
    frame: jax.Array,
    is_first: jax.Array,
    epsilon: jax.Array,
    env_ids: jax.Array | None = None,
    num_envs: int | None = None,
) -> tuple[ActorState, jax.Array, jax.Array]:
    state = _see(state, frame, is_first)
    step_key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.acts)

    def keys_for(what: int) -> jax.Array:
        """One for each environment."""
        keys = jax.random.split(jax.random.fold_in(step_key, what), num_envs or frame.shape[0])
        return keys if env_ids is None else keys[env_ids]

    keys, noise_keys = keys_for(0), keys_for(1) if draws_noise else None
    q_values = network.q_values(params, state.stack, noise_keys)
    actions, exploring = jax.vmap(explorer.act, in_axes=(0, 0, None, 0, 0))(
        keys, q_values, epsilon, state.explorer, is_first
    )
    return state.replace(acts=state.acts + 1, explorer=exploring), actions, q_values
