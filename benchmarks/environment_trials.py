"""Tries an environment: first by the checks of `jaxdqn.train`, then by a short training run."""

import json
import pathlib
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import environment_outcomes as outcomes_lib
from benchmarks import forks
from jaxdqn import errors
from jaxdqn.rundir import layout, metrics
from jaxdqn.settings import presets
from jaxdqn.training import setup

STEPS, _UPDATES = 64, 8
SETTINGS: Mapping[str, Any] = {
    "num_envs": 2,
    "total_steps": STEPS,
    "learning_starts_steps": STEPS // 2,
    "steps_per_update": STEPS // 2 // _UPDATES,
    "batch_size": 8,
    "replay_capacity": STEPS,
    "log_every_steps": STEPS,
    "eval_episodes": 0,  # whole games, which may be long
    "checkpoint_every_steps": 0,  # only at the end
    "held_out_observations": 0,
}
_CHUNK = 100  # environments that one process describes


def _describe(envs: Sequence[str], folder: pathlib.Path, lines: pathlib.Path) -> None:
    """Describes environments in a forked process.

    Args:
      envs: their ids.
      folder: for what is printed, and for a run that is never begun.
      lines: gets a line for each: null if it passed the checks, else outcome and reason.
    """
    log = folder / "log"
    forks.redirect(1, log)
    forks.redirect(2, log)
    with lines.open("a", buffering=1) as file:
        for env in envs:
            size = log.stat().st_size
            outcome: tuple[str, str] | None = None
            try:
                settings = presets.resolve(env, "", SETTINGS)
                setup.prepare(
                    settings, path=folder / "run", overwrite=False, capacity_chosen_by_user=True
                )
            except errors.SettingError as error:
                outcome = outcomes_lib.REFUSED, " ".join(str(error).split())
            except Exception:
                outcome = outcomes_lib.FAILED, traceback.format_exc().splitlines()[-1]
            if log.stat().st_size > size:
                outcome = outcomes_lib.FAILED, "prints something while it is described"
            file.write(json.dumps(outcome) + "\n")


def _train(env: str, folder: pathlib.Path) -> None:
    """Trains in a forked process, and ends it."""
    forks.redirect(1, folder / "stdout")
    forks.redirect(2, folder / "stderr")
    settings = {**SETTINGS, "env": env, "run_dir": folder / "run"}
    forks.become("jaxdqn.train", [f"--{name}={value}" for name, value in settings.items()])


def described(
    envs: Sequence[str], folder: pathlib.Path, limit_s: float
) -> Iterator[tuple[str, outcomes_lib.Outcome | None]]:
    """Yields each environment with its outcome; None if it passed the checks.

    Args:
      envs: their ids.
      folder: for temporary files.
      limit_s: of a process, which describes a hundred of them.
    """
    left = list(envs)
    while left:
        chunk, begun = left[:_CHUNK], time.monotonic()
        with tempfile.TemporaryDirectory(dir=folder) as name:
            file = pathlib.Path(name, "lines")
            file.touch()
            problem = forks.call(_describe, (chunk, pathlib.Path(name), file), limit_s)
            lines = file.read_text().splitlines()
        seconds = (time.monotonic() - begun) / max(1, len(lines))
        for env, line in zip(chunk, lines, strict=False):
            found = json.loads(line)
            yield env, outcomes_lib.Outcome(env, found[0], found[1], seconds) if found else None
        if len(lines) < len(chunk):  # the process ended with the next one
            env = chunk[len(lines)]
            reason = f"{problem} while it was described"
            yield env, outcomes_lib.Outcome(env, outcomes_lib.FAILED, reason, seconds)
        left = left[min(len(chunk), len(lines) + 1) :]


def trained(env: str, folder: pathlib.Path, limit_s: float) -> outcomes_lib.Outcome:
    """Trains in one environment, in a process with a limit on its time."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = pathlib.Path(name)
        problem = forks.call(_train, (env, place), limit_s) or _missing(place / "run")
        errors = place / "stderr"
        lines = errors.read_text(errors="replace").splitlines() if errors.exists() else []
    seconds = time.monotonic() - begun
    if lines:
        problem = f"{problem or 'prints an error'}: {lines[-1]}"
    outcome = outcomes_lib.FAILED if problem else outcomes_lib.TRAINED
    return outcomes_lib.Outcome(env, outcome, problem, seconds)


def _missing(run: pathlib.Path) -> str:
    """What this run lacks of a complete one; empty for nothing."""
    rows = metrics.training(metrics.read(run / metrics.FILE))
    if not rows or rows[-1]["step"] < STEPS or rows[-1]["updates"] < _UPDATES:
        return f"did not train {STEPS} steps with {_UPDATES} updates"
    return "" if list((run / layout.CHECKPOINTS).iterdir()) else "left no checkpoint"
