"""Training runs that end after so many minutes, and the scores of what they saved."""

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import setting_flags
from jaxdqn.rundir import layout, metrics
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets, setting
from jaxdqn.storage import atomic_files

_SCORES = "scores.json"
_LOOK_S = 1.0  # between two looks at the clock of a run


class Variant(NamedTuple):
    """A preset with changes."""

    name: str  # such as 'atari:n_step=3:hidden_sizes=64+64'
    preset: str
    changes: Mapping[str, str]

    def words(self) -> list[str]:
        """Its flags."""
        told = (f"--{n}={v.replace('+', ',')}" for n, v in self.changes.items())
        return [f"--preset={self.preset}", *told]


class Point(NamedTuple):
    """A checkpoint and its score."""

    minutes: float  # since the command
    step: int
    score: float  # mean return of whole games


def variant(text: str, games: Sequence[str]) -> Variant:
    """Reads a variant.

    Args:
      text: its name.
      games: that it is to play.

    Raises:
      SettingError: there is no such preset, or a setting is wrong.
    """
    preset, *parts = text.split(":")
    if preset not in presets.PRESETS:
        raise errors.SettingError(
            "variants", f"has {preset}; must be of {', '.join(presets.PRESETS)}"
        )
    changes = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in setting.described(config_lib.Config):
            raise errors.SettingError("variants", f"has {part}; must be a setting, as n_step=3")
        changes[name] = value
    found = Variant(text, preset, changes)
    for game in games:
        settings(found, game)
    return found


def settings(
    one: Variant, game: str, common: Mapping[str, Any] = types.MappingProxyType({})
) -> config_lib.Config:
    """The settings of a variant on a game, and those that it has in common with others.

    Raises:
      SettingError: one of them is wrong.
    """
    given = setting_flags.parse(one.words())
    return presets.resolve(game, given.pop("preset"), {**common, **given})


def train(path: pathlib.Path, words: Sequence[str], minutes: float) -> None:
    """Trains until a run has had so many minutes, or all its steps. It continues where it stopped.

    Minutes are those of the first start and of training, by the run's own clock: evaluations do not
    count, nor does what it takes to come back to where it was stopped.

    Args:
      path: the run directory; what the run prints is kept next to it.
      words: flags of `jaxdqn.train`.
      minutes: that it has.

    Raises:
      RunError: it fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "jaxdqn.train", f"--run_dir={path}", *words]
    printed = path.with_name(f"{path.name}.log")
    if seconds(path) >= 60 * minutes:
        return
    with (
        printed.open("a") as told,
        _ended(
            subprocess.Popen(command, env=report.on_cpu(), stdout=told, stderr=subprocess.STDOUT)
        ) as run,
    ):
        while run.poll() is None and seconds(path) < 60 * minutes:
            time.sleep(_LOOK_S)
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
        if run.wait() not in (0, 128 + signal.SIGTERM):
            raise errors.RunError(f"{path}: {report.last_words(printed.read_text())}")
    if seconds(path) >= 60 * minutes:
        # It does not go on. One replay takes gigabytes.
        shutil.rmtree(path / layout.REPLAY, ignore_errors=True)


@contextlib.contextmanager
def _ended(run: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Lets a run save what it has, whatever happens."""
    try:
        yield run
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
            run.wait()


def rows(path: pathlib.Path) -> list[metrics.Row]:
    """The rows of training of a run; none if it has not begun."""
    file = path / metrics.FILE
    return list(metrics.training(metrics.read(file))) if file.exists() else []


def seconds(path: pathlib.Path) -> float:
    """The time that a run has had."""
    found = rows(path)
    return _start_s(found) + found[-1]["time_s"] if found else 0.0


def _start_s(found: Sequence[metrics.Row]) -> float:
    """What passed between the command and the beginning of training."""
    start_s: float = found[0]["wall_time_s"] - found[0]["time_s"]
    return start_s


class Rate(NamedTuple):
    """How fast a run learns when it is alone."""

    steps_per_second: float
    from_step: int  # the first that it holds for
    from_s: float  # what it took to get there, without the start-up


def rate(words: Sequence[str], minutes: float) -> Rate:
    """Measures a rate.

    Args:
      words: flags of `jaxdqn.train`.
      minutes: of the measurement, start-up included.

    Raises:
      RunError: the run fails, or learns nothing within these minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "run"
        train(path, [*words, "--nocheckpoint_replay"], minutes)
        learning = [row for row in rows(path) if row["updates"]]
    if len(learning) < 2:
        raise errors.RunError(not_learned(" ".join(words), minutes))
    return rate_between(learning[0], learning[-1])


def rate_between(first: Mapping[str, Any], last: Mapping[str, Any]) -> Rate:
    """The rate from one row to another: `step` and `time_s` of both."""
    speed = (last["step"] - first["step"]) / (last["time_s"] - first["time_s"])
    return Rate(speed, first["step"], first["time_s"])


def not_learned(name: str, minutes: float) -> str:
    """What is said of a measurement in which nothing was learned."""
    return f"{name}: learns nothing in {minutes:g} minutes; --rate_minutes must be more"


def points(
    path: pathlib.Path, rate: Rate | None = None, *, is_from_elsewhere: bool = False
) -> list[Point]:
    """The scored checkpoints of a run, in order; without any, the run's own evaluations.

    Args:
      path: of the run.
      rate: at which minutes follow from steps; None: they are those of the run's own clock.
      is_from_elsewhere: the run's own clock may be that of another machine: with a rate, only the
        start-up is told by it.
    """
    found = rows(path)
    clock = {row["step"]: row["time_s"] for row in found}
    if rate and is_from_elsewhere:
        clock = {rate.from_step: rate.from_s}
    listed = []
    for step, score in _means(path).items():
        time_s = seconds_at(clock, step, rate)
        listed.append(Point((_start_s(found) + time_s) / 60, step, score))
    return sorted(listed)


def seconds_at(clock: Mapping[int, float], step: int, rate: Rate | None) -> float:
    """The time of a step.

    Args:
      clock: seconds by step.
      step: of any time.
      rate: that holds from its first step on; None: the clock does.
    """
    if not rate:
        return _at(clock, step)
    alone = max(0, step - rate.from_step)
    return _at(clock, step - alone) + alone / rate.steps_per_second


def _at(clock: Mapping[int, float], step: int) -> float:
    """The time of a step, from the rows on both sides of it."""
    below = max((s for s in clock if s <= step), default=0)
    above = min((s for s in clock if s >= step), default=below)
    before, after = clock.get(below, 0.0), clock.get(above, 0.0)
    share = (step - below) / (above - below) if above > below else 0.0
    return before + share * (after - before)


def score(path: pathlib.Path, episodes: int) -> None:
    """Scores what a run has saved, unless it is known already, in the conditions of the run.

    Args:
      path: of the run.
      episodes: whole games of each checkpoint.

    Raises:
      RunError: it fails.
    """
    known = _scores(path)
    for folder in sorted((path / layout.CHECKPOINTS).iterdir()):
        is_known = known.get(folder.name, {}).get("episodes") == episodes
        if is_known or not folder.name.isdigit():
            continue
        told = report.run(
            [
                *(sys.executable, "-m", "jaxdqn.evaluate", f"--run_dir={path}", "--json"),
                *(f"--checkpoint={folder.name}", f"--episodes={episodes}", "--protocol=run"),
            ],
            env=report.on_cpu(),
        )
        known[folder.name] = json.loads(told.splitlines()[-1])
        with atomic_files.whole(path / _SCORES) as part:
            part.write_text(json.dumps(known, indent=1) + "\n")


def _means(path: pathlib.Path) -> dict[int, float]:
    """Mean returns by step."""
    if scores := _scores(path):
        return {int(name): result["return"]["mean"] for name, result in scores.items()}
    evaluations = metrics.evaluations(metrics.read(path / metrics.FILE))
    means = {row["step"]: metrics.number(row["eval_return_mean"]) for row in evaluations}
    return {step: mean for step, mean in means.items() if mean is not None}


def _scores(path: pathlib.Path) -> dict[str, Any]:
    file = path / _SCORES
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found
