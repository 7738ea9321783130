"""Peers that train for so many minutes, and the scores that they reach."""

import hashlib
import json
import pathlib
import re
import statistics
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from benchmarks import peer_training, report, score_curves, timed_runs
from benchmarks.timed_runs import Point, Rate
from jaxdqn import errors
from jaxdqn.storage import atomic_files

_STEPS = 10_000_000  # of the schedules of RL Baselines3 Zoo and of CleanRL
_CLEANRL_LEARNING_STARTS = 80_000
_CLEANRL_BUFFER_SIZE = 1_000_000
_CLEANRL_PACKAGES = ["torch", "jax", "flax", "envpool", "ale-py", "gymnasium", "gym", "numpy"]
_RETURN = re.compile(r"global_step=(\d+), episodic_return=\[?\s*(-?[0-9.]+)")
_GAMES = 30  # of training, whose mean return is a score


class Budget(NamedTuple):
    """What all peers have."""

    minutes: float
    steps: int  # that schedules are scaled to; 0: their own
    checkpoint_every_steps: int
    episodes: int  # that score a checkpoint

    def name(self) -> str:
        """All of it, for a file."""
        schedule = f"{self.steps}-steps" if self.steps else "own-schedule"
        each = f"{self.episodes}-games-every-{self.checkpoint_every_steps}"
        return f"{self.minutes:g}min-{schedule}-{each}"


class Peer(NamedTuple):
    """What trains otherwise than jaxdqn."""

    script: pathlib.Path  # which the peer's Python runs
    train: Callable[[str, int, Budget], dict[str, Any]]  # (game, seed, budget) -> `trained`

    def digest(self) -> str:
        """Of the script: another one has other results."""
        return _sha256(self.script)[:8]


def _sha256(script: pathlib.Path) -> str:
    return hashlib.sha256(script.read_bytes()).hexdigest()


def trained(path: pathlib.Path, peer: Peer, game: str, seed: int, budget: Budget) -> dict[str, Any]:
    """What a peer reached, from a file if it is known already.

    A peer that was interrupted begins again: it cannot go on.

    Args:
      path: of the file.
      peer: trains.
      game: by its plain name.
      seed: of the run.
      budget: what it has.

    Returns:
      `points`: a list of `Point`, by its own clock. `row`: step and time_s of its end. `learning`:
      step and time_s when updates had begun; None if they had not. `settings`, `versions`: its own.

    Raises:
      RunError: it fails.
    """
    if not path.exists():
        found = peer.train(game, seed, budget)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_files.whole(path) as part:
            part.write_text(json.dumps(found, indent=1) + "\n")
    known: dict[str, Any] = json.loads(path.read_text())
    return known | {"points": [Point(*point) for point in known["points"]]}


def rate(name: str, peer: Peer, game: str, minutes: float, steps: int) -> Rate:
    """How fast a peer learns when it is alone.

    Args:
      name: of the peer.
      peer: trains.
      game: by its plain name.
      minutes: that it has, with its start-up.
      steps: that its schedules are scaled to; 0: their own.

    Raises:
      RunError: it fails, or learns nothing within these minutes.
    """
    found = peer.train(game, 0, Budget(minutes, steps, checkpoint_every_steps=10**9, episodes=1))
    first, last = found["learning"], found["row"]
    if not first or last["step"] <= first["step"]:
        raise errors.RunError(timed_runs.not_learned(name, minutes))
    return timed_runs.rate_between(first, last)


def curve(found: Mapping[str, Any], rate: Rate | None) -> score_curves.Curve:
    """The curve of a peer.

    Args:
      found: what `trained` returned.
      rate: of the peer when it is alone; minutes follow from steps as soon as it learns. None: they
        are those of its own clock.
    """
    row, points = found["row"], found["points"]
    if not rate:
        return score_curves.Curve(points, [row], row["step"] / row["time_s"])
    rows = filter(None, (found["learning"], row))
    clock = {row["step"]: row["time_s"] for row in rows}
    points = [
        point._replace(minutes=timed_runs.seconds_at(clock, point.step, rate) / 60)
        for point in points
    ]
    return score_curves.Curve(points, [row], rate.steps_per_second)


def _shown(name: str, point: Point) -> Point:
    """Shows what a peer has reached, for it may take an hour."""
    print(
        f"{name}: {point.score:.1f} after {point.step:,} steps, {point.minutes:.1f} minutes",
        flush=True,
    )
    return point


def stable_baselines3(library: str, python: pathlib.Path) -> Peer:
    """The DQN of Stable-Baselines3 or the QR-DQN of its contrib, by `peer_scores.py`.

    Args:
      library: as it is imported.
      python: that has it.
    """

    script = pathlib.Path(__file__).with_name("peer_scores.py")

    def train(game: str, seed: int, budget: Budget) -> dict[str, Any]:
        arguments = {
            "library": library,
            "game": game,
            "seed": seed,
            "minutes": budget.minutes,
            "began": time.time(),
            "steps": budget.steps or _STEPS,
            "every": budget.checkpoint_every_steps,
            "episodes": budget.episodes,
        }
        words = [f"--{name}={value}" for name, value in arguments.items()]
        points: list[Point] = []
        for line in report.lines([python, script, *words], report.on_cpu()):
            told = json.loads(line)
            if "point" in told:
                points.append(_shown(library, Point(*told["point"])))
        return {"points": points, **told}

    return Peer(script, train)


def cleanrl(script: pathlib.Path, python: pathlib.Path) -> Peer:
    """A file of CleanRL. Its score is the mean of the last returns of training.

    Args:
      script: the file, within CleanRL's repository.
      python: that has what it imports.
    """

    def train(game: str, seed: int, budget: Budget) -> dict[str, Any]:
        env_id = f"{game}-v5" if "envpool" in script.stem else f"{game}NoFrameskip-v4"
        words = ["--env-id", env_id, "--seed", str(seed)]
        learning_starts, code = 0, script.read_text()
        if "learning_starts" in code:
            share = min(1.0, (budget.steps or _STEPS) / _STEPS)
            learning_starts = round(_CLEANRL_LEARNING_STARTS * share)
            words += ["--learning-starts", str(learning_starts)]
        if budget.steps:
            words += ["--total-timesteps", str(budget.steps)]
            if "buffer_size" in code:  # more would stay empty, and take 28 GB
                words += ["--buffer-size", str(min(_CLEANRL_BUFFER_SIZE, budget.steps))]
        began, returns = time.time(), deque[float](maxlen=_GAMES)
        points: list[Point] = []
        learning = None
        for line in peer_training.cleanrl_lines(python, script, words, budget.minutes):
            if not (found := _RETURN.search(line)):
                continue
            returns.append(float(found[2]))
            minutes, step = (time.time() - began) / 60, int(found[1])
            if learning is None and step > learning_starts:
                learning = {"step": step, "time_s": 60 * minutes}
            due = points[-1].step if points else 0
            last = Point(minutes, step, statistics.fmean(returns))
            if len(returns) == _GAMES and step >= due + budget.checkpoint_every_steps:
                points.append(_shown(script.stem, last))
        if not returns:
            raise errors.RunError(f"{script.name} ended no game")
        points = [*(point for point in points if point.step < last.step), last]
        row = {"step": last.step, "time_s": 60 * last.minutes}
        settings = {"flags": words, "sha256": _sha256(script)}
        return {
            "points": points,
            "row": row,
            "learning": learning,
            "settings": settings,
            "versions": _versions(python),
        }

    return Peer(script, train)


def _versions(python: pathlib.Path) -> dict[str, str | None]:
    """Of the packages that CleanRL's files are made of, in another Python."""
    code = f"import json, peer_versions; print(json.dumps(peer_versions.of({_CLEANRL_PACKAGES})))"
    found: dict[str, str | None] = json.loads(
        report.run([python, "-c", code], cwd=pathlib.Path(__file__).parent)
    )
    return found
