r"""Compares the sources of Atari games: EnvPool, ALE's vector of emulators, and Gymnasium.

  python -m benchmarks.conformance
  python -m benchmarks.conformance --games=Breakout --episodes=10

Three things are measured. Frame by frame: the same random actions are played from the same start
in EnvPool and in another source, and the steps that differ are counted. Scores: whole games of a
random agent and of a trained one, from the random starts of each source, and of the trained one
from the same start too. Speed: steps per second of all environments.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import gymnasium_atari, report, same_play
from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.cli import devices, program
from jaxdqn.envs import api
from jaxdqn.playing import evaluation, scoring
from jaxdqn.rundir import agent_names, exported_agent


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
    """Returns of a random agent in each source, and their mean with its 95% interval."""
    found = {}
    for side in same_play.SIDES:
        env = side.make(game, num_envs, 0)
        returns = np.array(same_play.random_returns(env, num_games, seed=0))
        played = evaluation.Scores(returns, np.zeros(num_games), np.zeros(num_games, bool))
        found[side.name] = scoring.summary(played) | {"returns": returns.tolist()}
    return found


def _trained(name: str, num_games: int, num_envs: int) -> dict[str, Any]:
    """The same of a trained agent with 1% random actions, also from the same start everywhere."""
    agent = exported_agent.load(agent_names.folder(name, "agent"))
    actor = evaluation.compiled(parts.make_actor(agent.config, agent.spec))
    game = agent.spec.game.plain_name

    def played(env: api.VectorEnv, games: int) -> evaluation.Scores:
        key = jax.random.key(0)
        return evaluation.evaluate(
            actor, agent.params, env, num_episodes=games, epsilon=0.01, key=key
        )

    found = {}
    for side in same_play.SIDES:
        told = scoring.summary(played(side.make(game, num_envs, 0), num_games))
        fixed = played(side.make_fixed(game, num_envs, 0), num_envs)
        found[side.name] = told | {"returns_from_the_same_start": fixed.returns.tolist()}
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
    frames: Mapping[str, Any],
    scores: Mapping[str, Any],
    trained: Mapping[str, Any],
    rates: Mapping[str, Sequence[float]],
) -> str:
    differing = [
        (game, other, one["steps"], one["games"], one["rewards"], one["ends"],
         _or_dash(one["lives"]), one["images"], f"{one['image_mean']:.3f}", one["image_most"])
        for game, found in frames.items()
        for other, one in found.items()
    ]  # fmt: skip
    played = [(game, *(_mean(one) for one in found.values())) for game, found in scores.items()]
    head = (
        *("game", "EnvPool and", "steps", "games ended", "rewards", "ends", "lives", "images"),
        *("mean", "most"),
    )
    names = [side.name for side in same_play.SIDES]
    agents = [
        ("random starts", *(_mean(one) for one in trained.values())),
        (
            "the same start",
            *(f"{np.mean(one['returns_from_the_same_start']):.1f}" for one in trained.values()),
        ),
    ]
    fast = [(name, float(np.median(of)), min(of), max(of)) for name, of in rates.items()]
    return "\n\n".join(
        (
            report.table(head, differing),
            report.table(("random agent", *names), played),
            *([report.table(("trained agent", *names), agents)] if trained else []),
            report.table(("steps/s", "median", "least", "most"), fast),
        )
    )


def _mean(one: Mapping[str, Any]) -> str:
    low, high = one["interval_95"]
    return f"{one['mean']:.1f} ({low:.1f} to {high:.1f})"


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
    devices.start_devices()
    folder = report.out_folder()
    frames: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    for game in values.games:
        frames[game] = _frames(game, values.steps, num_envs=2)
        scores[game] = _scores(game, values.episodes, values.num_envs)
        print(f"{game} compared", flush=True)
    trained = _trained(values.agent, values.episodes, values.num_envs) if values.agent else {}
    rates = _rates(values.games[0], values.num_envs, values.rounds, values.seconds)
    figures = {
        "frame_by_frame": frames,
        "random_agent": scores,
        "trained_agent": trained,
        "steps_per_second": rates,
    }
    report.finish("conformance", figures, _tables(frames, scores, trained, rates), folder)
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("games", list(gymnasium_atari.GAMES), "games to compare")
    flags.DEFINE_integer("steps", 1_200, "steps of two environments, frame by frame", lower_bound=1)
    flags.DEFINE_integer("episodes", 40, "games of each agent in each source", lower_bound=2)
    flags.DEFINE_integer("num_envs", 8, "environments of the agents", lower_bound=1)
    flags.DEFINE_string("agent", "Breakout", "a trained agent to play too; empty: none")
    devices.define_compilation_cache()
    report.define_flags(rounds=3, warms_up=False)
    report.define_seconds(5.0, "seconds of each measurement of speed")


if __name__ == "__main__":
    program.run_program(_define_flags, main)
