r"""Compares the sources of Atari games: EnvPool, ALE's vector of emulators, and Gymnasium.

  python -m benchmarks.conformance
  python -m benchmarks.conformance --games=Breakout --episodes=10

Three things are measured. Frame by frame: the same random actions are played from the same start
in EnvPool and in another source, and the steps that differ are counted. Scores: whole games of a
random agent, from the random starts of each source. Speed: steps per second of all environments.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from absl import flags

from benchmarks import gymnasium_atari, report, same_play
from jaxdqn import errors
from jaxdqn.cli import program


def _frames(game: str, steps: int, num_envs: int) -> dict[str, Any]:
    """Differences of each other source from EnvPool, with frames of each size."""
    first, *others = same_play.SIDES
    found = {}
    for other in (*others, same_play.SCREENS):
        for height, width in other.sizes:
            size = {"img_height": height, "img_width": width}
            one = first.make_fixed(game, num_envs, 0, **size)
            two = other.make_fixed(game, num_envs, 0, **size)
            differences = same_play.compare(one, two, steps, seed=0)
            found[f"{other.name} {height}x{width}"] = differences._asdict()
    return found


def _scores(game: str, num_games: int, num_envs: int) -> dict[str, Any]:
    """Mean return of a random agent in each source, with its 95% interval."""
    found = {}
    for side in same_play.SIDES:
        env = side.make(game, num_envs, 0)
        returns = same_play.random_returns(env, num_games, seed=0)
        interval = scipy.stats.bootstrap(
            (np.array(returns),), np.mean, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        mean = float(np.mean(returns))
        found[side.name] = {"mean": mean, "interval_95": list(interval), "returns": returns}
    return found


def _rates(game: str, num_envs: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Steps per second of each source in each round; sources take turns."""
    found: dict[str, list[float]] = {side.name: [] for side in same_play.SIDES}
    for _ in range(rounds):
        for side in same_play.SIDES:
            found[side.name].append(
                same_play.steps_per_second(side.make(game, num_envs, 0), seconds)
            )
    return found


def _tables(
    frames: Mapping[str, Any], scores: Mapping[str, Any], rates: Mapping[str, Sequence[float]]
) -> str:
    differing = [
        (game, other, one["steps"], one["games"], one["rewards"], one["ends"],
         _or_dash(one["lives"]), one["images"], f"{one['image_mean']:.3f}", one["image_most"])
        for game, found in frames.items()
        for other, one in found.items()
    ]  # fmt: skip
    played = [
        (game, *(f"{one['mean']:.1f} ({low:.1f} to {high:.1f})" for one, low, high in _ends(found)))
        for game, found in scores.items()
    ]
    head = (
        *("game", "EnvPool and", "steps", "games ended", "rewards", "ends", "lives", "images"),
        *("mean", "most"),
    )
    names = [side.name for side in same_play.SIDES]
    fast = [(name, float(np.median(of)), min(of), max(of)) for name, of in rates.items()]
    return "\n\n".join(
        (
            report.table(head, differing),
            report.table(("random agent", *names), played),
            report.table(("steps/s", "median", "least", "most"), fast),
        )
    )


def _ends(found: Mapping[str, Any]) -> list[tuple[Any, float, float]]:
    return [(one, *one["interval_95"]) for one in found.values()]


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def main() -> int:
    """Compares as the flags say and reports."""
    values = flags.FLAGS
    for game in values.games:
        if game not in gymnasium_atari.GAMES:
            known = ", ".join(gymnasium_atari.GAMES)
            raise errors.SettingError("games", f"is {game!r}; must be some of {known}")
    if values.episodes % values.num_envs:
        raise errors.SettingError("episodes", f"must be a multiple of --num_envs={values.num_envs}")
    folder = report.out_folder()
    frames: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    for game in values.games:
        frames[game] = _frames(game, values.steps, num_envs=2)
        scores[game] = _scores(game, values.episodes, values.num_envs)
        print(f"{game} compared", flush=True)
    rates = _rates(values.games[0], values.num_envs, values.rounds, values.seconds)
    figures = {"frame_by_frame": frames, "random_agent": scores, "steps_per_second": rates}
    report.finish("conformance", figures, _tables(frames, scores, rates), folder)
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("games", list(gymnasium_atari.GAMES), "games to compare")
    flags.DEFINE_integer("steps", 1_200, "steps of two environments, frame by frame", lower_bound=1)
    flags.DEFINE_integer("episodes", 40, "games of a random agent in each source", lower_bound=2)
    flags.DEFINE_integer("num_envs", 8, "environments of the random agent", lower_bound=1)
    report.define_flags(rounds=3)
    report.define_seconds(5.0, "seconds of each measurement of speed")


if __name__ == "__main__":
    program.run_program(_define_flags, main)
