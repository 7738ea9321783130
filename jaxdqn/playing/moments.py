"""Plays with frozen parameters and yields every step."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.envs import api, episodes, registry
from jaxdqn.playing import pictures
from jaxdqn.settings import config as config_lib

_NOTHING = np.zeros((0, 0, 3), np.uint8)


class Moment(NamedTuple):
    """What there is to see at one step of a game."""

    screen: np.ndarray  # [H, W, 3] uint8, drawn for people; empty if not asked for
    stack: np.ndarray  # [S, *seen_shape], what the network sees
    q_values: np.ndarray  # [A] float32
    action: int  # chosen now
    game_return: float  # so far
    length: int  # steps so far
    life_lost: bool  # by the previous action
    is_last: bool


def play(
    config: config_lib.Config,
    spec: api.EnvSpec,
    params: Any,
    *,
    seed: int,
    num_episodes: int,
    with_screen: bool,
    watched: Callable[[api.DrawnEnv], api.DrawnEnv] = lambda env: env,
) -> Generator[Moment, None, None]:
    """Plays whole games in one environment.

    Args:
      config: its `eval_epsilon` is the share of random actions.
      spec: of the environment.
      params: of the network.
      seed: of the environment and of the random actions.
      num_episodes: games.
      with_screen: also draw the screen.
      watched: receives the environment and returns the one to play.

    Raises:
      RunError: the environment has no picture to show.
    """
    actor = parts.make_actor(config, spec)
    act = jax.jit(actor.act)
    state = actor.init(jax.random.key(seed), 1)
    epsilon = jax.device_put(np.float32(config.eval_epsilon))
    tracker = episodes.EpisodeTracker(1)
    options = registry.limited(config.env, config.env_options)
    env = watched(registry.make(config.env, 1, seed, options, with_screen=with_screen))
    with contextlib.closing(env):
        while num_episodes:
            step = env.receive()
            ended = tracker.add(step)
            frame, is_first = jax.device_put((step.frame, step.is_first))
            state, actions, q_values = act(params, state, frame, is_first, epsilon)
            try:
                screen = look(env, step.frame[0]) if with_screen else _NOTHING
            except api.UnsupportedEnvError as error:
                raise errors.RunError(str(error)) from None
            seen = jax.device_get((actions, q_values, state.stack))
            game_return, length = tracker.so_far(0)
            yield Moment(
                screen=screen,
                stack=seen[2][0],
                q_values=seen[1][0],
                action=int(seen[0][0]),
                game_return=game_return,
                length=length,
                life_lost=bool(step.life_lost[0]),
                is_last=bool(ended),
            )
            num_episodes -= len(ended)
            env.send(seen[0])


def look(env: api.DrawnEnv, frame: np.ndarray) -> np.ndarray:
    """What an environment draws; if it draws nothing, its frame if that is a picture.

    Args:
      env: only its first environment is used.
      frame: what that one shows.

    Returns:
      [H, W, 3] uint8.

    Raises:
      UnsupportedEnvError: there is nothing to look at.
    """
    try:
        return env.screen()
    except api.UnsupportedEnvError:
        picture = pictures.screen(frame)
        if picture is None:
            raise
        return picture
