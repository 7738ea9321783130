r"""Measures how long it takes to learn CartPole and MountainCar, compared with peers.

  python -m benchmarks.classic --games=CartPole --seeds=3

The clock of jaxdqn begins with the command `python -m jaxdqn.train --env=GAME` and stops when it
ends: start-up, compilation, evaluations and checkpoints count. The game is learned if the last
evaluation, of 100 games, reaches the goal. The first run compiles; later ones find its programs.

Stable-Baselines3's DQN has the settings of RL Baselines3 Zoo. It is evaluated every 5,000 steps,
off its clock, which stops at the first evaluation that reaches the goal. CleanRL's is run where
`--cleanrl_file` names its `dqn.py`, with its own settings; its clock stops when the mean of the
last 100 returns of training reaches the goal. What never gets there has no time.
"""

import contextlib
import functools
import itertools
import json
import math
import pathlib
import re
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import peer_installs, peer_training, report
from jaxdqn.cli import paths, program
from jaxdqn.rundir import metrics

_GOALS = {"CartPole": 475.0, "MountainCar": -110.0}
_IDS = {"CartPole": "CartPole-v1", "MountainCar": "MountainCar-v0"}
_ZOO_STEPS = {"CartPole": 50_000, "MountainCar": 120_000}  # of Stable-Baselines3
_CLEANRL_STEPS = 500_000
_RETURN = re.compile(r"episodic_return=\[?\s*(-?[0-9.]+)")

Learned = dict[str, Any]  # `seconds`, None if the game was not learned, and what was seen


def jaxdqn(cache: str, game: str, seed: int) -> Learned:
    """Trains as `--env=GAME` does.

    Args:
      cache: folder of compiled programs.
      game: by its plain name.
      seed: of the run.

    Raises:
      RunError: it fails.
    """
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"env": game, "seed": seed, "run_dir": folder, "compilation_cache_dir": cache}
        words = [f"--{name}={value}" for name, value in settings.items()]
        words += flags.FLAGS.more
        report.run([sys.executable, "-m", "jaxdqn.train", *words], env=report.on_cpu())
        seconds = time.time() - began
        rows = list(metrics.read(pathlib.Path(folder, metrics.FILE)))
    scored, training = metrics.scored(rows), metrics.training(rows)
    means = [(row["step"], row["eval_return_mean"]) for row in scored]
    is_learned = bool(means) and means[-1][1] >= _GOALS[game]
    return {
        "seconds": seconds if is_learned else None,
        "whole_seconds": seconds,
        "training_seconds": training[-1]["time_s"],
        "evaluations": means,
    }


def stable_baselines3(python: pathlib.Path, game: str, seed: int) -> Learned:
    """Trains the DQN of Stable-Baselines3 by `peer_classic.py`.

    Args:
      python: that has it.
      game: by its plain name.
      seed: of the run.

    Raises:
      RunError: it fails.
    """
    arguments = {"game": _IDS[game], "goal": _GOALS[game], "steps": _ZOO_STEPS[game]}
    words = [f"--{name}={value}" for name, value in arguments.items()]
    script = pathlib.Path(__file__).with_name("peer_classic.py")
    words += [f"--seed={seed}", f"--began={time.time()}"]
    shown = report.run([python, script, *words], env=report.on_cpu())
    found: Learned = json.loads(shown.splitlines()[-1])
    return found


def cleanrl(python: pathlib.Path, script: pathlib.Path, game: str, seed: int) -> Learned:
    """Trains CleanRL's DQN until the mean of its last 100 returns reaches the goal.

    Args:
      python: that has what it imports.
      script: CleanRL's `dqn.py`.
      game: by its plain name.
      seed: of the run.

    Raises:
      RunError: it fails.
    """
    began, returns = time.time(), deque[float](maxlen=100)
    words = ["--env-id", _IDS[game], "--seed", str(seed), "--no-cuda"]
    words += ["--total-timesteps", str(_CLEANRL_STEPS)]
    with contextlib.closing(peer_training.cleanrl_lines(python, script, words)) as printed:
        for line in printed:
            returns += [float(value) for value in _RETURN.findall(line)]
            if len(returns) == 100 and statistics.fmean(returns) >= _GOALS[game]:
                return {"seconds": time.time() - began}
    return {"seconds": None}


def table(found: Mapping[str, Mapping[str, list[Learned]]]) -> str:
    """One row for each game and learner, with ratios of the medians of all runs.

    A run that did not learn takes for ever. So a median is known if most of the runs learned.
    """
    rows = []
    for game, learners in found.items():
        medians = {name: _median(runs) for name, runs in learners.items() if runs}
        ours = medians.get("jaxdqn", math.inf)
        for name, runs in learners.items():
            times = [run["seconds"] for run in runs if run["seconds"] is not None]
            cells, middle = ["-", "-", ""], medians.get(name, math.inf)
            if times:
                cells[1] = f"{min(times):.1f} to {max(times):.1f}"
            if middle < math.inf:
                cells[0] = f"{middle:.1f}"
            if name != "jaxdqn" and max(middle, ours) < math.inf:
                cells[2] = f"{middle / ours:.1f} times"
            rows.append([game, name, f"{len(times)} of {len(runs)}", *cells])
    head = ("game", "learner", "learned", "median seconds", "least to most", "vs. jaxdqn")
    return report.table(head, rows)


def _median(runs: Sequence[Learned]) -> float:
    """Seconds; infinite if too few runs learned."""
    return statistics.median(math.inf if run["seconds"] is None else run["seconds"] for run in runs)


def _learners(cache: str) -> dict[str, Callable[[str, int], Learned]]:
    """How each learner learns a game with a seed."""
    values = flags.FLAGS
    found: dict[str, Callable[[str, int], Learned]] = {"jaxdqn": functools.partial(jaxdqn, cache)}
    if not values.peer_seeds:
        return found

    name = "stable_baselines3"
    pythons = peer_installs.pythons([name], values.peer_python, values.peers_dir)
    if python := pythons.get(name):
        found[name] = functools.partial(stable_baselines3, python)
        if values.cleanrl_file:
            script = paths.usable("cleanrl_file", values.cleanrl_file).resolve()
            found["cleanrl"] = functools.partial(cleanrl, python, script)
    return found


def main() -> int:
    """Learns as the flags say and reports."""
    values, folder = flags.FLAGS, report.out_folder()
    with tempfile.TemporaryDirectory() as cache, report.Result("classic", folder) as result:
        learners = _learners(cache)
        found: dict[str, dict[str, list[Learned]]] = {
            game: {name: [] for name in learners} for game in values.games
        }
        for seed in range(max(values.seeds, values.peer_seeds)):
            for game, (name, learn) in itertools.product(values.games, learners.items()):
                if seed >= (values.seeds if name == "jaxdqn" else values.peer_seeds):
                    continue
                one = learn(game, seed)
                found[game][name].append(one)
                result.keep({"goals": _GOALS, "games": found}, table(found))
                took = "not learned" if one["seconds"] is None else f"{one['seconds']:.1f} s"
                print(f"{game}, {name}, seed {seed}: {took}", flush=True)
    return 0


def _define_flags() -> None:
    flags.DEFINE_multi_enum("games", list(_GOALS), list(_GOALS), "games to learn")
    flags.DEFINE_integer("seeds", 10, "seeds of jaxdqn, from 0 on", lower_bound=1)
    flags.DEFINE_integer("peer_seeds", 3, "seeds of each peer; 0: no peers", lower_bound=0)
    peer_installs.define_flags()
    flags.DEFINE_string("cleanrl_file", "", "CleanRL's dqn.py, within its repository; empty: none")
    flags.DEFINE_multi_string("more", [], "another flag of jaxdqn, such as --more=--num_envs=16")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
