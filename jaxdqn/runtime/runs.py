"""Runs as a report finds them: whole, under way, or broken in some way."""

import datetime
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxdqn import config as config_lib
from jaxdqn.runtime import metrics, run_dir, saved_run

# Settings in which the runs of one group may differ: what the group averages over, and what does
# not change learning.
_WITHIN_GROUP = (
    *("env", "seed", "env_threads", "eval_every_steps", "checkpoint_every_steps"),
    *("keep_checkpoints", "record_every_steps", "record_every_episodes", "log_every_steps"),
    "held_out_observations",
)


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
        """'complete', how far it is, 'started' before its first row, or 'broken'."""
        if self.problem or self.config is None:
            return "broken"
        if not self.step:
            return "started"
        # The last thing that a run does is to score itself.
        last = self.evaluations if self.config.eval_episodes else self.training
        if last and last[-1]["step"] >= self.config.total_steps:
            return "complete"
        return f"at {self.step / self.config.total_steps:.0%}"


def read(path: pathlib.Path) -> Run:
    """Reads a run's settings and metrics; what cannot be read becomes its problem, not an error."""
    try:
        config = saved_run.read_config(path)
        rows, notes = _rows(path / metrics.FILE)
        films = _films(path / run_dir.VIDEOS)
    except (config_lib.SettingError, config_lib.RunError) as error:
        return _broken(path, str(error))
    except (OSError, UnicodeDecodeError) as error:
        return _broken(path, f"{path} cannot be read: {error}")
    return Run(
        path=path,
        problem="",
        notes=notes,
        config=config,
        training=metrics.training(rows),
        evaluations=metrics.evaluations(rows),
        written=_written(path / metrics.FILE),
        videos=films,
    )


def labels(found: Sequence[Run]) -> list[str]:
    """What tells the runs' settings apart, their seeds and games left out; equal for one group.

    Over all games: runs of two games are one group only when they learn in the same way.
    """
    told = []
    for run in found:
        assert run.config
        alike = [
            one.config for one in found if one.config and one.config.preset == run.config.preset
        ]
        keys = [name for name in differences(alike) if name not in _WITHIN_GROUP]
        values = [f"{name}={getattr(run.config, name)}" for name in keys]
        told.append(", ".join([run.config.preset, *values]))
    return told


def differences(configs: Sequence[config_lib.Config]) -> dict[str, list[Any]]:
    """The settings in which configs differ, each with its value in every one of them."""
    values = {name: [getattr(config, name) for config in configs] for name in vars(configs[0])}
    return {name: column for name, column in values.items() if any(v != column[0] for v in column)}


def _broken(path: pathlib.Path, problem: str) -> Run:
    return Run(path, problem, (), None, (), (), None, ())


def _rows(path: pathlib.Path) -> tuple[list[metrics.Row], list[str]]:
    """The rows that can be read, and what there is to say of the others."""
    text = path.read_text() if path.exists() else ""
    rows = list(metrics.parse(text))
    lost = sum(1 for line in text.splitlines() if line.strip()) - len(rows)
    return rows, [f"{lost} unreadable lines in {metrics.FILE}"] if lost else []


def _written(path: pathlib.Path) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(path.stat().st_mtime) if path.exists() else None


def _films(folder: pathlib.Path) -> list[pathlib.Path]:
    """The films of a run, oldest first; links could lead out of a folder that is a stranger's."""
    if folder.is_symlink():
        return []
    found = (film for film in folder.glob("*.mp4") if film.stem.isdecimal())
    kept = (film for film in found if film.is_file() and not film.is_symlink())
    return sorted(kept, key=lambda film: int(film.stem))
