"""Scores over several seeds and games: point estimates and their intervals.

The measures are those of Agarwal et al. (arXiv:2108.13264) and their library, rliable:
the interquartile mean and the optimality gap of the human-normalised scores of all runs, median and
mean of those of the games, with runs drawn anew within each game.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

_RESAMPLES = 2_000


class Estimate(NamedTuple):
    """A figure with the ends of its 95% interval; equal to it where nothing can be said."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half of scores [..., N], over the last axis."""
    return np.asarray(scipy.stats.trim_mean(scores, 0.25, axis=-1))


def optimality_gap(scores: np.ndarray) -> np.ndarray:
    """By how much scores [..., N] fall short of 1 on average; those above it count as 1."""
    return np.asarray(1 - np.minimum(scores, 1).mean(axis=-1))


def _pooled(games: Sequence[np.ndarray]) -> np.ndarray:
    """Scores of all runs of all games: [..., N]."""
    return np.concatenate(games, axis=-1)


def _means(games: Sequence[np.ndarray]) -> np.ndarray:
    """The mean score of each game: [..., G]."""
    return np.stack([runs.mean(axis=-1) for runs in games], axis=-1)


# Of scores [..., runs] of each game.
MEASURES: Mapping[str, Callable[[Sequence[np.ndarray]], np.ndarray]] = {
    "interquartile mean": lambda games: interquartile_mean(_pooled(games)),
    "median of games": lambda games: np.median(_means(games), axis=-1),
    "mean of games": lambda games: np.mean(_means(games), axis=-1),
    "optimality gap": lambda games: optimality_gap(_pooled(games)),
}


def over_games(scores: Mapping[str, Sequence[float]]) -> dict[str, Estimate]:
    """Aggregates human-normalised scores by stratified bootstrap.

    Args:
      scores: of each game those of its runs.

    Returns:
      An estimate for each of `MEASURES`.
    """
    rng = np.random.default_rng(0)
    games = [np.asarray(runs, np.float64) for runs in scores.values()]
    drawn = [runs[rng.integers(len(runs), size=(_RESAMPLES, len(runs)))] for runs in games]
    estimates = {}
    for name, measure in MEASURES.items():
        low, high = np.percentile(measure(drawn), (2.5, 97.5))
        estimates[name] = Estimate(float(measure(games)), float(low), float(high))
    return estimates


def over_seeds(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of curves [N, T] at each point and its 95% interval by Student's t.

    Of fewer than three runs the interval is the mean itself: theirs would say nothing.
    """
    count, mean = len(curves), curves.mean(axis=0)
    if count < 3:
        return mean, mean, mean
    reach = scipy.stats.t.ppf(0.975, count - 1) * curves.std(axis=0, ddof=1) / np.sqrt(count)
    return mean, mean - reach, mean + reach
