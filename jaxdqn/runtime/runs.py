"""Runs as a report finds them: whole, under way, or broken in some way."""

import datetime
import itertools
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jaxdqn import config as config_lib
from jaxdqn.runtime import metrics, run_dir, saved_run

# Settings in which the runs of one group may differ: what the group averages over, and what does
# not change learning.
_WITHIN_GROUP = ("seed", "env_threads", "keep_checkpoints", "record_every_steps")


class Run(NamedTuple):
    """What a folder tells of a run."""

    path: pathlib.Path
    problem: str  # why it cannot be shown, or '' where it can
    notes: Sequence[str]  # what is wrong with it though it can be shown
    config: config_lib.Config | None
    training: Sequence[metrics.Row]
    evaluations: Sequence[metrics.Row]
    written: datetime.datetime | None  # when it last wrote metrics
    videos: Sequence[pathlib.Path]  # oldest first

    @property
    def step(self) -> int:
        """The last agent step that it told of."""
        return max((row["step"] for row in (*self.training, *self.evaluations)), default=0)

    @property
    def state(self) -> str:
        """'complete', how far it is, or 'broken'."""
        if self.problem or self.config is None:
            return "broken"
        if self.step >= self.config.total_steps:
            return "complete"
        return f"at {self.step / self.config.total_steps:.0%}"


def read(path: pathlib.Path) -> Run:
    """Reads a run's settings and metrics; what cannot be read becomes its problem, not an error."""
    try:
        config = saved_run.read_config(path)
        rows, notes = _rows(path / metrics.FILE)
        written = datetime.datetime.fromtimestamp((path / metrics.FILE).stat().st_mtime)
    except (config_lib.SettingError, config_lib.RunError) as error:
        return _broken(path, str(error))
    except (OSError, UnicodeDecodeError) as error:
        return _broken(path, f"{metrics.FILE} cannot be read: {error}")
    if not rows:
        return _broken(path, f"{metrics.FILE} has no rows yet", config)
    films = (path / run_dir.VIDEOS).glob("*.mp4")
    return Run(
        path=path,
        problem="",
        notes=notes,
        config=config,
        training=[row for row in rows if "episode_return_mean" in row],
        evaluations=metrics.evaluations(rows),
        written=written,
        videos=sorted(
            (film for film in films if film.stem.isdecimal()), key=lambda film: int(film.stem)
        ),
    )


def groups(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that differ in their seeds alone, by a label that tells what sets the groups apart.

    Args:
      runs: that can be shown, all of one game.
    """
    shown = [(run, run.config) for run in runs if run.config]
    differing = differences([config for _, config in shown])
    differing.pop("total_steps", None)  # a longer run goes on as the shorter one did
    keys = [name for name in differing if name not in _WITHIN_GROUP]

    def label(config: config_lib.Config) -> str:
        told = [f"{name}={getattr(config, name)}" for name in keys if name != "preset"]
        return ", ".join([config.preset, *told])

    labelled = sorted(((label(config), run) for run, config in shown), key=lambda pair: pair[0])
    return {
        name: [run for _, run in pairs]
        for name, pairs in itertools.groupby(labelled, key=lambda pair: pair[0])
    }


def differences(configs: Sequence[config_lib.Config]) -> dict[str, list[Any]]:
    """The settings in which configs differ, each with its value in every one of them."""
    values = {name: [getattr(config, name) for config in configs] for name in vars(configs[0])}
    return {name: column for name, column in values.items() if any(v != column[0] for v in column)}


def _broken(path: pathlib.Path, problem: str, config: config_lib.Config | None = None) -> Run:
    return Run(path, problem, (), config, (), (), None, ())


def _rows(path: pathlib.Path) -> tuple[list[metrics.Row], list[str]]:
    """The rows that can be read, and what there is to say of the others."""
    rows = list(metrics.read(path)) if path.exists() else []
    lines = sum(1 for line in path.read_text().splitlines() if line.strip())
    lost = lines - len(rows)
    return rows, [f"{lost} unreadable lines in {metrics.FILE}"] if lost else []
