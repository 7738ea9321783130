"""Scores frozen parameters: whole games on environments of their own, rewards unclipped."""

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn.agent import actor as actor_lib
from jaxdqn.envs import api
from jaxdqn.runtime import episodes, hosts

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
        init=jax.jit(actor.init, static_argnums=1),
        act=jax.jit(actor.act, donate_argnums=1, static_argnums=6),
    )


def evaluate(
    actor: actor_lib.Actor,
    params: Any,
    env: api.VectorEnv,
    *,
    num_episodes: int,
    epsilon: float,
    key: jax.Array,
    on_game: Callable[[], object] = lambda: None,
) -> Scores:
    """Plays `num_episodes` whole games.

    Args:
      actor: how to play, from `compiled`.
      params: of the network, as they shall be scored.
      env: fresh environments, whose number divides `num_episodes`; closed here.
      num_episodes: games over all environments.
      epsilon: share of random actions.
      key: of those actions.
      on_game: called for every game that counts, when it has ended.
    """
    quota = num_episodes // env.num_envs
    if quota * env.num_envs != num_episodes:
        raise ValueError(f"{env.num_envs} environments cannot share {num_episodes} games equally")
    played: list[list[episodes.Game]] = [[] for _ in range(env.num_envs)]
    for _ in steps(actor, params, lambda: env, played, quota, epsilon, key, on_game=on_game):
        pass
    return scores(table(played, quota))


def evaluate_together(
    actor: actor_lib.Actor,
    params: Any,
    make_env: Callable[[range], api.VectorEnv],
    *,
    num_episodes: int,
    epsilon: float,
    key: jax.Array,
    stop: hosts.Stop,
) -> Scores | None:
    """The same by all processes, each on its share of the environments, with equal results.

    Args:
      actor: how to play, from `compiled`.
      params: of the network, on this process's devices.
      make_env: starts some of the environments, by number.
      num_episodes: games over all environments.
      epsilon: share of random actions.
      key: of those actions.
      stop: an evaluation that it cuts short returns None.
    """
    num_envs = num_envs_for(num_episodes)
    quota, envs = num_episodes // num_envs, hosts.share(num_envs)
    played: list[list[episodes.Game]] = [[] for _ in envs]
    work: Generator[None, None, None] = (None for _ in ())
    if envs:
        make = functools.partial(make_env, envs)
        work = steps(actor, params, make, played, quota, epsilon, key, envs.start, num_envs)
    with contextlib.closing(work):
        if not stop.lets(work):
            return None
    # Each process fills the rows of its own environments.
    whole = np.zeros((num_envs, quota, 3))
    whole[envs.start : envs.stop] = table(played, quota)
    return scores(hosts.gather(whole).sum(axis=0))


def steps(
    actor: actor_lib.Actor,
    params: Any,
    make_env: Callable[[], api.VectorEnv],
    played: Sequence[list[episodes.Game]],
    quota: int,
    epsilon: float,
    key: jax.Array,
    first: int = 0,
    total: int | None = None,
    on_game: Callable[[], object] = lambda: None,
) -> Generator[None, None, None]:
    """Plays until each environment has played its quota of whole games; yields before each step.

    Every environment plays as many games as any other: the first N to end would favour short ones.

    Args:
      actor: how to play.
      params: of the network.
      make_env: starts environments, which are closed here.
      played: gets the games of each of them.
      quota: games of each.
      epsilon: share of random actions.
      key: of those actions.
      first: number of the first of these environments among all.
      total: of all; None: there are no others.
      on_game: called for every game that counts, when it has ended.
    """
    state = actor.init(key, len(played))
    epsilon_array, first_array = jax.device_put((np.float32(epsilon), np.int32(first)))
    tracker, env = episodes.EpisodeTracker(len(played)), make_env()
    try:
        while any(len(games) < quota for games in played):
            yield
            step = env.receive()
            for game in tracker.add(step):
                if len(played[game.env]) < quota:
                    played[game.env].append(game)
                    on_game()
            frame, is_first = jax.device_put((step.frame, step.is_first))
            state, actions, _ = actor.act(
                params, state, frame, is_first, epsilon_array, first_array, total
            )
            env.send(jax.device_get(actions))
    finally:
        env.close()


def table(played: Sequence[Sequence[episodes.Game]], quota: int) -> np.ndarray:
    """Return, length and cap [E, quota, 3] float64 of games."""
    rows = [[(game.game_return, game.length, game.capped) for game in games] for games in played]
    return np.asarray(rows, np.float64).reshape(len(played), quota, 3)


def scores(table: np.ndarray) -> Scores:
    """The scores of a table of games."""
    returns, lengths, capped = table.reshape(-1, 3).T
    return Scores(returns, lengths.astype(np.int64), capped.astype(bool))
