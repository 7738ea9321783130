"""Scores over several seeds and games: point estimates and their intervals.

The measures are those of Agarwal et al. (arXiv:2108.13264) and their library, rliable:
the interquartile mean and the optimality gap of the human-normalized scores of all runs, and the
median and mean of the games' scores. The bootstrap resamples runs within each game.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

_RESAMPLES = 2_000
_FEWEST = 3  # runs, of which an interval tells anything


class Estimate(NamedTuple):
    """A figure with the ends of its 95% interval; both equal the figure if there is no interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the middle half of scores [..., N], over the last axis."""
    return _scaled(lambda s: np.asarray(scipy.stats.trim_mean(s, 0.25, axis=-1)), scores)


def optimality_gap(scores: np.ndarray) -> np.ndarray:
    """By how much scores [..., N] fall short of 1 on average; scores above 1 count as 1."""
    return np.asarray(1 - _mean(np.minimum(scores, 1)))


def _scaled(measure: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """A measure that scales with its values [...], computed so that large sums do not overflow."""
    scale = _scale(values)
    return measure(values / scale) * scale


def _scale(values: np.ndarray) -> float:
    """A power of two that scales values [...] to about 1. Dividing by it is exact."""
    largest = float(np.abs(values).max(initial=0))
    return math.ldexp(1.0, min(math.frexp(largest)[1], 1023))


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of values [..., N], over the last axis."""
    return _scaled(lambda v: np.asarray(v.mean(axis=-1)), values)


def _pooled(games: Sequence[np.ndarray]) -> np.ndarray:
    """Scores of all runs of all games: [..., N]."""
    return np.concatenate(games, axis=-1)


def _means(games: Sequence[np.ndarray]) -> np.ndarray:
    """The mean score of each game: [..., G]."""
    return np.stack([_mean(runs) for runs in games], axis=-1)


# Of scores [..., runs] of each game.
MEASURES: Mapping[str, Callable[[Sequence[np.ndarray]], np.ndarray]] = {
    "interquartile mean": lambda games: interquartile_mean(_pooled(games)),
    "median of games": lambda games: _scaled(lambda m: np.median(m, axis=-1), _means(games)),
    "mean of games": lambda games: _mean(_means(games)),
    "optimality gap": lambda games: optimality_gap(_pooled(games)),
}


def over_games(scores: Mapping[str, Sequence[float]]) -> dict[str, Estimate]:
    """Aggregates human-normalized scores by stratified bootstrap.

    Args:
      scores: for each game the finite scores of its runs.

    Returns:
      An estimate for each of `MEASURES`; without an interval if a game has fewer than three runs.
    """
    games = [np.asarray(runs, np.float64) for runs in scores.values()]
    values = {name: float(measure(games)) for name, measure in MEASURES.items()}
    if min(map(len, games)) < _FEWEST:
        return {name: Estimate(value, value, value) for name, value in values.items()}
    rng = np.random.default_rng(0)
    drawn = [runs[rng.integers(len(runs), size=(_RESAMPLES, len(runs)))] for runs in games]
    estimates = {}
    for name, measure in MEASURES.items():
        low, high = _scaled(lambda found: np.percentile(found, (2.5, 97.5)), measure(drawn))
        estimates[name] = Estimate(values[name], float(low), float(high))
    return estimates


def over_seeds(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of curves [N, T] at each point and its 95% interval by Student's t.

    With fewer than three runs the interval is the mean itself: an interval would mean nothing. An
    end beyond the largest float64 is infinite.

    Returns:
      Mean, low and high end: [T] each.
    """
    count, scale = len(curves), _scale(curves)
    curves = curves / scale
    mean = curves.mean(axis=0)
    if count < _FEWEST:
        return mean * scale, mean * scale, mean * scale
    reach = scipy.stats.t.ppf(0.975, count - 1) * curves.std(axis=0, ddof=1) / np.sqrt(count)
    with np.errstate(over="ignore"):
        return mean * scale, (mean - reach) * scale, (mean + reach) * scale
