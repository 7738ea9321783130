"""Scores a saved agent under a named protocol."""

import sys
from typing import Any

import jax
import numpy as np
import scipy.stats
import tqdm

from jaxdqn.assembly import parts
from jaxdqn.envs import api, registry, scores
from jaxdqn.playing import evaluation
from jaxdqn.rundir import provenance, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import protocols


def score(
    agent: trained_agent.SavedAgent, protocol: str, num_episodes: int, seed: int
) -> dict[str, Any]:
    """Plays whole games and summarizes them.

    Args:
      agent: to score.
      protocol: a name in `protocols.PROTOCOLS`.
      num_episodes: games.
      seed: environment i plays with seed + i.

    Returns:
      A JSON object: the conditions, the `return` as `summary` gives it, and the `returns` and
      `lengths` (in steps) of all games. `distinct_games` counts their different pairs.

    Raises:
      SettingError: the protocol is unknown or not for this game.
    """
    config = protocols.apply(protocol, agent.config, agent.spec)
    num_envs = evaluation.num_envs_for(num_episodes)
    played = _play(agent, config, num_envs, num_episodes, seed)
    reference = agent.spec.game.reference
    differing = distinct(played)
    num_distinct = len(differing[0])
    repeats = _nothing_is_drawn(config, agent.spec) and 2 * num_distinct < num_episodes
    statistics = summary(played, differing if repeats else None)
    return {
        "run_dir": str(agent.path),
        "checkpoint": agent.step,
        "env": config.env,
        "protocol": protocol,
        "protocol_text": protocols.PROTOCOLS[protocol].text + _random_frames(config),
        "epsilon": config.eval_epsilon,
        "env_options": registry.limited(config.env, config.env_options),
        "seed": seed,
        "episodes": num_episodes,
        "distinct_games": num_distinct,
        "repeats": repeats,
        "num_envs": num_envs,
        "capped": int(played.capped.sum()),
        "return": statistics,
        "human_normalised": scores.human_normalised(reference, statistics["mean"]),
        "random_score": reference.random if reference else None,
        "human_score": reference.human if reference else None,
        "returns": played.returns.tolist(),
        "lengths": played.lengths.tolist(),
        "versions": provenance.versions(),
    }


def _random_frames(config: config_lib.Config) -> str:
    """What no protocol changes, though published scores have a fixed number of frames."""
    least, most = config.frame_skip_min, config.frame_skip or api.ATARI_FRAME_SKIP
    return "" if least in (None, most) else f"; here a step lasts {least} to {most} frames"


def _play(
    agent: trained_agent.SavedAgent,
    config: config_lib.Config,
    num_envs: int,
    num_episodes: int,
    seed: int,
) -> evaluation.Scores:
    """Plays the games, with a bar on a terminal."""
    options = registry.limited(config.env, config.env_options)
    env = registry.make(config.env, num_envs, seed, options, config.env_threads)
    is_hidden = not sys.stderr.isatty()
    with tqdm.tqdm(total=num_episodes, unit=" games", leave=False, disable=is_hidden) as bar:
        return evaluation.evaluate(
            evaluation.compiled(parts.make_actor(config, agent.spec)),
            agent.params,
            env,
            num_episodes=num_episodes,
            epsilon=config.eval_epsilon,
            key=jax.random.key(seed),
            on_game=bar.update,
        )


def distinct(played: evaluation.Scores) -> tuple[np.ndarray, np.ndarray]:
    """The games that differ in return or length.

    Returns:
      The number of one of each kind, [D], and how many there are of each, [D].
    """
    pairs = np.stack([played.returns, played.lengths.astype(np.float64)], axis=1)
    _, first, counts = np.unique(pairs, axis=0, return_index=True, return_counts=True)
    return first, counts


def _nothing_is_drawn(config: config_lib.Config, spec: api.EnvSpec) -> bool:
    """Whether a game is decided by its first state, of which there are only a few.

    Atari games have one for each number of no-ops. Other games draw their first states from so many
    that equal returns and lengths are chance: every game of Catch has the same length.
    """
    skip, least = config.frame_skip, config.frame_skip_min
    return (
        spec.game.family == api.ATARI
        and not config.eval_epsilon
        and not config.repeat_action_probability
        and least in (None, skip)
    )


# Returns that the bootstrap draws at once; all at once, many games would take gigabytes.
_MOST_DRAWN = 5_000_000
_FEWEST_DISTINCT = 5  # games that differ, among games that repeat, of which an interval is given


def summary(
    played: evaluation.Scores, differing: tuple[np.ndarray, np.ndarray] | None = None
) -> dict[str, Any]:
    """Statistics of the returns of games.

    Games repeat if nothing in them is drawn but the number of no-ops, and fewer than half of them
    differ in return or length. A game that is played again tells nothing new, so the bootstrap then
    draws from those that differ. Each keeps the weight that it has in the mean.

    Args:
      played: the games.
      differing: what `distinct` returns, if games repeat.

    Returns:
      `mean`, `std` (of the games, not of the mean), `median`, `min`, `max` and `interval_95`: the
      ends of the percentile bootstrap interval of the mean, or None for a single game, for fewer
      than five that differ among games that repeat, and if a return is not finite.
    """
    returns = played.returns
    mean, std = played.mean_and_std()
    games, counts = differing or (np.arange(len(returns)), np.ones(len(returns)))
    interval = None
    if len(games) >= (_FEWEST_DISTINCT if differing else 2) and np.isfinite(std):
        found = scipy.stats.bootstrap(
            (returns[games], counts),
            lambda drawn, weights, axis: np.average(drawn, axis=axis, weights=weights),
            paired=True,
            method="percentile",
            batch=max(1, _MOST_DRAWN // len(games)),
            rng=np.random.default_rng(0),
        )
        interval = [float(end) for end in found.confidence_interval]
    return {
        "mean": mean,
        "std": std,
        "median": float(np.median(returns)),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "interval_95": interval,
    }
