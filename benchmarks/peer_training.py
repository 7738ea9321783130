"""Trains jaxdqn, or a peer, in the same way for a moment; runs CleanRL's files."""

import json
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from benchmarks import peer_comparison, report
from jaxdqn import errors
from jaxdqn.rundir import metrics

_PARAMETERS = 1_686_180  # of the network, with Breakout's four actions
_BATCH_SIZE, _SAMPLES_PER_STEP = 32, 8
_LONGER = (1, 2, 4)  # windows to try, in multiples of the requested one
_REPLAY_CAPACITY, _LEARNING_STARTS_STEPS = 20_000, 2_000


class Trained(NamedTuple):
    """What a training run for a moment showed."""

    steps_per_second: float
    samples_per_step: float
    parameters: int  # of the network
    versions: Mapping[str, str | None]  # of a peer's packages


def rate(env: str, train: Callable[[int], Trained]) -> float:
    """Steps/s, over a longer window if updates and steps do not match in a short one.

    Args:
      env: the game.
      train: trains for so many times the window that was asked for.

    Raises:
      RunError: it fails, or does not train as jaxdqn does.
    """
    for longer in _LONGER:
        found = train(longer)
        if env == "Breakout" and found.parameters != _PARAMETERS:
            raise errors.RunError(
                f"a network of {found.parameters:,} parameters, not {_PARAMETERS:,}"
            )
        if abs(found.samples_per_step - _SAMPLES_PER_STEP) <= 0.2:
            return found.steps_per_second
    raise errors.RunError(
        f"trained on {found.samples_per_step:.2f} samples per step, not {_SAMPLES_PER_STEP}, even "
        f"over {longer} times the window"
    )


def peer(
    python: pathlib.Path, library: str, env: str, envs: peer_comparison.Envs, seconds: float
) -> Trained:
    """Trains a peer by `peer_dqn.py`.

    Args:
      python: that has the peer.
      library: the peer.
      env: the game.
      envs: the arrangement of its environments.
      seconds: over which steps are counted.

    Raises:
      RunError: it fails.
    """
    arguments = {
        "library": library,
        "game": env,
        **envs._asdict(),
        "replay_capacity": _REPLAY_CAPACITY,
        "learning_starts_steps": _LEARNING_STARTS_STEPS,
        "seconds": seconds,
    }
    script = pathlib.Path(__file__).with_name("peer_dqn.py")
    words = [f"--{name}={value}" for name, value in arguments.items()]
    shown = report.run([python, script, *words], shows_errors=False, env=report.on_cpu())
    return Trained(**json.loads(shown.splitlines()[-1]))


def jaxdqn(env: str, steps: int) -> Trained:
    """Trains jaxdqn in the same way.

    Args:
      env: the game.
      steps: over which time is taken.

    Raises:
      RunError: it fails.
    """
    log_every_steps = steps // 4
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "env": env,
            "preset": "atari",
            "run_dir": folder,
            "num_envs": peer_comparison.NUM_ENVS,
            "double_q": False,
            "target_tau": 1.0,
            "target_period_updates": 250,
            "epsilon_start": 0.05,
            "epsilon_end": 0.05,
            "replay_capacity": _REPLAY_CAPACITY,
            "learning_starts_steps": _LEARNING_STARTS_STEPS,
            "total_steps": _LEARNING_STARTS_STEPS + steps + log_every_steps,
            "log_every_steps": log_every_steps,
            "eval_episodes": 0,
            "held_out_observations": 0,
            "checkpoint_every_steps": 0,
        }
        words = [f"--{name}={value}" for name, value in settings.items()]
        shown = report.run([sys.executable, "-m", "jaxdqn.train", *words], env=report.on_cpu())
        training = metrics.training(metrics.read(pathlib.Path(folder, metrics.FILE)))
    rows = [row for row in training if row["updates"]]
    first, last = rows[0], rows[-1]  # the first one's time includes compilation
    steps = last["step"] - first["step"]
    (parameters,) = re.findall(r"([0-9,]+) parameters", shown)
    return Trained(
        steps_per_second=steps / (last["time_s"] - first["time_s"]),
        samples_per_step=(last["updates"] - first["updates"]) * _BATCH_SIZE / steps,
        parameters=int(parameters.replace(",", "")),
        versions={},
    )


def cleanrl_lines(
    python: pathlib.Path,
    script: pathlib.Path,
    words: Sequence[str],
    minutes: float | None = None,
) -> Generator[str]:
    """The lines that a file of CleanRL prints, in an empty folder.

    Args:
      python: that has what it imports.
      script: the file, within CleanRL's repository.
      words: its arguments.
      minutes: after which it is killed; None for no limit.

    Raises:
      RunError: it failed.
    """
    environment = {**report.on_cpu(), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = str(script.parent.parent)  # `cleanrl_utils`
    with tempfile.TemporaryDirectory() as folder:
        yield from report.lines([python, script, *words], environment, minutes, folder)
