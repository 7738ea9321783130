"""Whether sources of environments play the same games alike, frame by frame and on average."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api, episodes, registry


class Side(NamedTuple):
    """How a source is asked for a game."""

    name: str
    env: str  # of a game that starts at random
    fixed_env: str  # of one that starts alike in all sources
    options: Mapping[str, Any]  # of both
    fixed_options: Mapping[str, Any]  # of the second one alone
    sizes: tuple[tuple[int, int], ...]  # heights and widths of its frames, in pixels

    def make(self, game: str, num_envs: int, seed: int, **options: Any) -> api.DrawnEnv:
        """Starts games that begin at random."""
        return _made(self.env.format(game=game), num_envs, seed, {**self.options, **options})

    def make_fixed(self, game: str, num_envs: int, seed: int, **options: Any) -> api.DrawnEnv:
        """Starts games that begin alike in all sources."""
        told = {**self.options, **self.fixed_options, **options}
        return _made(self.fixed_env.format(game=game), num_envs, seed, told)


def _made(env: str, num_envs: int, seed: int, options: Mapping[str, Any]) -> api.DrawnEnv:
    return registry.make(registry.resolve(env), num_envs, seed, options, num_threads=2)


_SMALL, _WHOLE = (84, 84), (210, 160)  # the latter is the emulator's own size
_SIZE = {"img_height": 84, "img_width": 84}
_PREPROCESSED = "benchmarks.gymnasium_atari:Preprocessed/{game}"

SIDES = (
    Side("EnvPool", "{game}", "{game}", _SIZE, {"noop_max": 1}, (_SMALL, _WHOLE)),
    Side("ALE", "ale:{game}", "ale:{game}", _SIZE, {"noop_max": 1}, (_SMALL, _WHOLE)),
    Side("Gymnasium", f"{_PREPROCESSED}-v0", f"{_PREPROCESSED}Fixed-v0", _SIZE, {}, (_SMALL,)),
)
# As Gymnasium, but the frames are those that this package makes of whole screens.
SCREENS = SIDES[-1]._replace(
    name="screens", fixed_env=f"{_PREPROCESSED}Screens-v0", sizes=(_SMALL, _WHOLE)
)


class Differences(NamedTuple):
    """Steps of the same actions in two sources, and how many of them differ."""

    steps: int
    games: int  # that ended
    rewards: int
    ends: int  # terminated, truncated, or opening a game
    lives: int | None  # None: one of both does not say
    images: int  # those that a game over shows are left out: its last frames are not copied
    image_mean: float  # mean absolute difference of a pixel
    image_most: int


def compare(one: api.VectorEnv, other: api.VectorEnv, steps: int, seed: int) -> Differences:
    """Plays the same random actions in both, and closes them.

    Args:
      one: environments [E].
      other: as many.
      steps: of each environment.
      seed: of the actions.
    """
    random = np.random.default_rng(seed)
    games = rewards = ends = lives = images = most = 0
    total, compared = 0.0, 0
    for _ in range(steps):
        a, b = one.receive(), other.receive()
        games += int((a.terminated | a.truncated).sum())
        rewards += int((a.reward != b.reward).sum())
        ends += int(_any_differs(a, b, ("terminated", "truncated", "is_first")).sum())
        lives += int((a.life_lost != b.life_lost).sum())
        shown = ~(a.terminated | b.terminated)
        far = np.abs(a.frame[shown].astype(np.int32) - b.frame[shown].astype(np.int32))
        images += int(far.any(axis=(1, 2)).sum())
        total, compared = total + float(far.sum()), compared + far.size
        most = max(most, int(far.max(initial=0)))
        actions = random.integers(0, one.spec.num_actions, one.num_envs)
        one.send(actions)
        other.send(actions)
    one.close()
    other.close()
    return Differences(
        steps=steps * one.num_envs,
        games=games,
        rewards=rewards,
        ends=ends,
        lives=lives if one.spec.has_lives and other.spec.has_lives else None,
        images=images,
        image_mean=total / max(compared, 1),
        image_most=most,
    )


def _any_differs(a: api.TimeStep, b: api.TimeStep, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return np.any([getattr(a, name) != getattr(b, name) for name in names], axis=0)


def random_returns(env: api.VectorEnv, num_games: int, seed: int) -> list[float]:
    """The returns of whole games of random actions, and closes the environments.

    Each environment plays as many of them: the first ones to end would be the short ones.

    Args:
      env: E environments, of which `num_games` is a multiple.
      num_games: to be played.
      seed: of the actions.
    """
    random, tracker = np.random.default_rng(seed), episodes.EpisodeTracker(env.num_envs)
    found: list[list[float]] = [[] for _ in range(env.num_envs)]
    each = num_games // env.num_envs
    while min(map(len, found)) < each:
        for game in tracker.add(env.receive()):
            found[game.env].append(game.game_return)
        env.send(random.integers(0, env.spec.num_actions, env.num_envs))
    env.close()
    return [value for of_one in found for value in of_one[:each]]


def steps_per_second(env: api.VectorEnv, seconds: float) -> float:
    """Steps of all environments in a second, of random actions; closes them."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, env.spec.num_actions, (64, env.num_envs))
    for actions in drawn:  # warm
        env.receive()
        env.send(actions)
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        env.receive()
        env.send(drawn[number % len(drawn)])
        number += 1
    found = number * env.num_envs / (time.perf_counter() - begun)
    env.close()
    return found
