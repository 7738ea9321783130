"""Returns and lengths of whole games."""

import collections
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxdqn.envs import api


class Game(NamedTuple):
    """A game that has ended."""

    env: int  # index of its environment
    game_return: float
    length: int  # steps
    capped: bool  # the time limit ended it, not the game itself


class EpisodeTracker:
    """Sums rewards as the game gave them and closes a game at its end or time limit."""

    def __init__(self, num_envs: int):
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int64)

    def so_far(self, env: int) -> tuple[float, int]:
        """Return and length of an environment's current game."""
        return float(self._returns[env]), int(self._lengths[env])

    def add(self, step: api.TimeStep) -> list[Game]:
        """Adds one time step; returns the games that ended."""
        self._returns[step.is_first] = 0.0
        self._lengths[step.is_first] = 0
        self._returns += step.reward
        self._lengths += ~step.is_first  # a first row is not an agent step
        ended = np.flatnonzero(step.terminated | step.truncated)
        return [
            Game(
                env=int(i),
                game_return=float(self._returns[i]),
                length=int(self._lengths[i]),
                capped=not step.terminated[i],
            )
            for i in ended
        ]


class RecentGames:
    """Means over the last 100 games."""

    def __init__(self, games: Iterable[tuple[float, int]] = ()) -> None:
        self._games: collections.deque[tuple[float, int]] = collections.deque(games, maxlen=100)

    def all(self) -> list[tuple[float, int]]:
        """Return and length of each, oldest first."""
        return list(self._games)

    def add(self, game_return: float, length: int) -> None:
        """Adds one finished game."""
        self._games.append((game_return, length))

    def means(self) -> tuple[float | None, float | None]:
        """Mean return and mean length in steps; None before the first game ends."""
        if not self._games:
            return None, None
        returns, lengths = zip(*self._games, strict=True)
        return float(np.mean(returns)), float(np.mean(lengths))
