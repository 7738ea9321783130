"""Scores a saved agent under a named protocol."""

import sys
from typing import Any

import jax
import numpy as np
import scipy.stats
import tqdm

from jaxdqn.assembly import parts
from jaxdqn.envs import registry, scores
from jaxdqn.playing import evaluation
from jaxdqn.rundir import provenance, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import protocols


def score(
    agent: trained_agent.SavedRun, protocol: str, num_episodes: int, seed: int
) -> dict[str, Any]:
    """Plays whole games and summarizes them.

    Args:
      agent: to score.
      protocol: a name in `protocols.PROTOCOLS`.
      num_episodes: games.
      seed: environment i plays with seed + i.

    Returns:
      A JSON object: the conditions, the `return` as `summary` gives it, and the `returns` and
      `lengths` (in steps) of all games.

    Raises:
      SettingError: the protocol is unknown or not for this game.
    """
    config = protocols.apply(protocol, agent.config, agent.spec)
    num_envs = evaluation.num_envs_for(num_episodes)
    played = _play(agent, config, num_envs, num_episodes, seed)
    reference = agent.spec.game.reference
    statistics = summary(played)
    return {
        "run_dir": str(agent.path),
        "checkpoint": agent.step,
        "env": config.env,
        "protocol": protocol,
        "protocol_text": protocols.PROTOCOLS[protocol].text,
        "epsilon": config.eval_epsilon,
        "env_options": registry.limited(config.env, config.env_options),
        "seed": seed,
        "episodes": num_episodes,
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


def _play(
    agent: trained_agent.SavedRun,
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


# Returns that the bootstrap draws at once; all at once, many games would take gigabytes.
_MOST_DRAWN = 10_000_000


def summary(played: evaluation.Scores) -> dict[str, Any]:
    """Statistics of the returns of games.

    Returns:
      `mean`, `std` (of the games, not of the mean), `median`, `min`, `max` and `interval_95`: the
      ends of the percentile bootstrap interval of the mean, or None for a single game and if a
      return is not finite.
    """
    returns = played.returns
    mean, std = played.mean_and_std()
    interval = None
    if len(returns) > 1 and np.isfinite(std):
        found = scipy.stats.bootstrap(
            (returns,),
            np.mean,
            method="percentile",
            batch=max(1, _MOST_DRAWN // len(returns)),
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
