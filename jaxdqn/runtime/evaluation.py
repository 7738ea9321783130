"""Scores frozen parameters: whole games on environments of their own, rewards unclipped."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn.agent import actor as actor_lib
from jaxdqn.envs import api
from jaxdqn.runtime import episodes

MAX_ENVS = 64


class Scores(NamedTuple):
    """Returns and lengths of the games of one evaluation, in the order of the environments."""

    returns: np.ndarray  # [N] float64
    lengths: np.ndarray  # [N] int64, steps
    capped: np.ndarray  # [N] bool, ended by the time limit and not by the game


def num_envs_for(num_episodes: int) -> int:
    """Most environments, up to `MAX_ENVS`, that play equal numbers of games."""
    return max(n for n in range(1, MAX_ENVS + 1) if num_episodes % n == 0)


def compiled(actor: actor_lib.Actor) -> actor_lib.Actor:
    """The same actor, compiled once for all evaluations of a run."""
    return actor._replace(
        init=jax.jit(actor.init, static_argnums=1), act=jax.jit(actor.act, donate_argnums=1)
    )


def evaluate(
    actor: actor_lib.Actor,
    params: Any,
    env: api.VectorEnv,
    *,
    num_episodes: int,
    epsilon: float,
    key: jax.Array,
    should_stop: Callable[[], bool] = lambda: False,
    on_game: Callable[[], object] = lambda: None,
) -> Scores | None:
    """Plays `num_episodes` whole games.

    Every environment plays as many games as any other: the first N to end would favour short ones.

    Args:
      actor: how to play, from `compiled`.
      params: of the network, as they shall be scored.
      env: fresh environments, whose number divides `num_episodes`; closed here.
      num_episodes: games over all environments.
      epsilon: share of random actions.
      key: of those actions.
      should_stop: asked at every step; an evaluation that is cut short returns None.
      on_game: called for every game that counts, when it has ended.
    """
    quota = num_episodes // env.num_envs
    if quota * env.num_envs != num_episodes:
        raise ValueError(f"{env.num_envs} environments cannot share {num_episodes} games equally")
    state = actor.init(key, env.num_envs)
    epsilon_array = jax.device_put(np.float32(epsilon))
    tracker = episodes.EpisodeTracker(env.num_envs)
    games: list[list[episodes.Game]] = [[] for _ in range(env.num_envs)]
    try:
        while any(len(played) < quota for played in games):
            if should_stop():
                return None
            step = env.receive()
            for game in tracker.add(step):
                if len(games[game.env]) < quota:
                    games[game.env].append(game)
                    on_game()
            frame, is_first = jax.device_put((step.frame, step.is_first))
            state, actions, _ = actor.act(params, state, frame, is_first, epsilon_array)
            env.send(jax.device_get(actions))
    finally:
        env.close()
    _, returns, lengths, capped = zip(*(game for played in games for game in played), strict=True)
    return Scores(
        np.asarray(returns, np.float64), np.asarray(lengths, np.int64), np.asarray(capped, bool)
    )
