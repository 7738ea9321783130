"""Scores frozen parameters: whole games in separate environments, with unclipped rewards."""

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdqn import errors
from jaxdqn.agent import actor as actor_lib
from jaxdqn.distributed import processes
from jaxdqn.envs import api, episodes

MAX_ENVS = 64


class Scores(NamedTuple):
    """Returns and lengths of the games of one evaluation, in the order of the environments."""

    returns: np.ndarray  # [N] float64
    lengths: np.ndarray  # [N] int64, steps
    capped: np.ndarray  # [N] bool, ended by the time limit, not by the game

    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the returns; infinite or NaN if one of them is."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.returns.mean()), float(self.returns.std())


def num_envs_for(num_episodes: int) -> int:
    """Number of environments, up to `MAX_ENVS`, that share games equally or nearly so."""
    most = min(MAX_ENVS, num_episodes)
    equal = max(n for n in range(1, most + 1) if num_episodes % n == 0)
    return equal if 2 * equal >= most else most


def quotas(num_episodes: int, num_envs: int) -> np.ndarray:
    """Number of games that each of E environments plays, [E]: equal, or one more for some.

    Which ones play more is fixed beforehand: the first N games to end would favor short games.
    """
    return np.bincount(np.arange(num_episodes) % num_envs, minlength=num_envs)


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
      actor: from `compiled`.
      params: of the network, to be scored.
      env: fresh environments, which share the games as `quotas` says; closed here.
      num_episodes: games over all environments.
      epsilon: share of random actions.
      key: of those actions.
      on_game: called for every game that counts, when it has ended.
    """
    quota = quotas(num_episodes, env.num_envs)
    played: list[list[episodes.Game]] = [[] for _ in quota]
    for _ in steps(actor, params, lambda: env, played, quota, epsilon, key, on_game=on_game):
        pass
    return scores(table(played, quota.max()), quota)


def evaluate_together(
    actor: actor_lib.Actor,
    params: Any,
    make_env: Callable[[range], api.VectorEnv],
    *,
    num_episodes: int,
    epsilon: float,
    key: jax.Array,
    stop: processes.Stop,
) -> Scores | None:
    """The same with all processes, each on its share of the environments; results are equal.

    Args:
      actor: from `compiled`.
      params: of the network, on this process's devices.
      make_env: starts some of the environments, by number.
      num_episodes: games over all environments.
      epsilon: share of random actions.
      key: of those actions.
      stop: interrupts the evaluation, which then returns None.

    Raises:
      EnvFailedError: an environment failed, in this process or another.
    """
    num_envs = num_envs_for(num_episodes)
    quota, envs = quotas(num_episodes, num_envs), processes.share(num_envs)
    own = quota[envs.start : envs.stop]
    played: list[list[episodes.Game]] = [[] for _ in envs]
    failures: list[errors.EnvFailedError] = []

    def playing() -> Generator[None, None, None]:
        make = functools.partial(make_env, envs)
        try:
            yield from steps(actor, params, make, played, own, epsilon, key, envs.start, num_envs)
        except errors.EnvFailedError as error:
            failures.append(error)

    work: Generator[None, None, None] = playing() if envs else (None for _ in ())
    with contextlib.closing(work):
        if not stop.run_until_stopped(work):
            return None
    if not processes.agreed_by_all(not failures):
        is_started = not any(isinstance(one, errors.EnvNotStartedError) for one in failures)
        are_started = processes.agreed_by_all(is_started)
        if failures:
            raise failures[0]
        kind = errors.EnvFailedError if are_started else errors.EnvNotStartedError
        raise kind("an environment failed in another process")
    # Each process fills the rows of its own environments.
    whole = np.zeros((num_envs, quota.max(), 3))
    whole[envs.start : envs.stop] = table(played, quota.max())
    with np.errstate(invalid="ignore"):
        return scores(processes.gather(whole).sum(axis=0), quota)


def steps(
    actor: actor_lib.Actor,
    params: Any,
    make_env: Callable[[], api.VectorEnv],
    played: Sequence[list[episodes.Game]],
    quotas: np.ndarray,
    epsilon: float,
    key: jax.Array,
    first: int = 0,
    num_envs: int | None = None,
    on_game: Callable[[], object] = lambda: None,
) -> Generator[None, None, None]:
    """Plays until each environment has played its quota of whole games; yields before each step.

    Environments that have played theirs rest, so the last and longest games do not wait for others.
    Once few are left, actions are chosen for these alone, where that is faster.

    Args:
      actor: from `compiled`.
      params: of the network.
      make_env: starts environments, which are closed here.
      played: receives the games of each environment.
      quotas: number of games of each environment.
      epsilon: share of random actions.
      key: of those actions.
      first: number of the first of these environments among all.
      num_envs: of all environments; None: there are no others.
      on_game: called for every game that counts, when it has ended.
    """
    # On the device of the parameters, if there are any, as every later state is; else `act` is
    # compiled once for the first state and once for the others.
    for leaf in jax.tree.leaves(params)[:1]:
        key = jax.device_put(key, leaf.sharding)
    state = actor.init(key, len(played))
    epsilon_array = jax.device_put(np.float32(epsilon))
    tracker, env = episodes.EpisodeTracker(len(played)), make_env()
    resting, actions = np.asarray(quotas) == 0, np.zeros(len(played), np.int32)
    rows = np.arange(len(played), dtype=np.int32)  # environments that actions are chosen for
    env_ids = jax.device_put(first + rows)
    few = _few(len(played), env.spec)
    try:
        while not resting.all():
            yield
            step = env.receive()
            for game in tracker.add(step):
                if len(played[game.env]) < quotas[game.env]:
                    played[game.env].append(game)
                    resting[game.env] = len(played[game.env]) == quotas[game.env]
                    on_game()
            if resting.all():
                return
            env.rest(resting)
            if few < len(rows) and (~resting).sum() <= few:
                rows = np.argsort(resting, kind="stable").astype(np.int32)[:few]
                state = actor_lib.some(state, jax.device_put(rows))
                env_ids = jax.device_put(first + rows)
            frame, is_first = jax.device_put((step.frame[rows], step.is_first[rows]))
            state, chosen, _ = actor.act(
                params, state, frame, is_first, epsilon_array, env_ids, num_envs or len(played)
            )
            actions[rows] = jax.device_get(chosen)
            env.send(actions)
    finally:
        env.close()


def _few(num_envs: int, spec: api.EnvSpec) -> int:
    """Batch size to switch to once at most this many environments still play.

    A second batch size is compiled for them. On a CPU, images are worth it: 30 frames take the
    preset `laptop` 6.7 ms, and eight 2.3.
    """
    few = max(8, num_envs // 4)
    is_worth_it = len(spec.frame_shape) > 1 and jax.default_backend() == "cpu"
    return few if is_worth_it and 2 * few <= num_envs else num_envs


def table(played: Sequence[Sequence[episodes.Game]], most: int) -> np.ndarray:
    """Return, length and cap of games, [E, most, 3] float64; zeros if one played fewer."""
    rows = np.zeros((len(played), most, 3))
    for row, games in zip(rows, played, strict=True):
        for cells, game in zip(row, games, strict=False):
            cells[:] = game.game_return, game.length, game.capped
    return rows


def scores(table: np.ndarray, quotas: np.ndarray) -> Scores:
    """The scores in a table of games, limited to each environment's quota."""
    is_game = np.arange(table.shape[1]) < quotas[:, None]
    returns, lengths, capped = table[is_game].T
    return Scores(returns, lengths.astype(np.int64), capped.astype(bool))
