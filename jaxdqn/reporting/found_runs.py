"""Runs as a report finds them: complete, under way, or broken in some way."""

import datetime
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxdqn import errors, wording
from jaxdqn.envs import api, registry
from jaxdqn.reporting import metric_columns
from jaxdqn.rundir import layout, metrics, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import setting

_MOST_STEPS = 2**63  # larger numbers are not steps of a run, and would overflow


class Run(NamedTuple):
    """What the folder of a run holds."""

    path: pathlib.Path
    problem: str  # why it cannot be shown; '' if it can
    notes: Sequence[str]  # what is wrong with it although it can be shown
    config: config_lib.Config | None
    # Of the rows of training, and of pieces of learning where the algorithm tells of them.
    columns: metric_columns.Columns
    last: metrics.Row  # the newest row of training; empty before the first
    evaluations: Sequence[metrics.Row]  # including those without a score
    written: datetime.datetime | None  # when it last wrote metrics
    videos: Sequence[pathlib.Path]  # oldest first
    step: int  # the last agent step in its metrics
    has_diverged: bool  # an update there was not finite, and ended it

    @property
    def state(self) -> str:
        """'complete', 'diverged', 'at 50%', 'started' (before its first row), or 'broken'."""
        if self.problem or self.config is None:
            return "broken"
        if not self.step:
            return "diverged" if self.has_diverged else "started"
        # The last thing that a run does is an evaluation, for which it must have gone on.
        evaluates = bool(self.config.eval_episodes)
        newest = self.evaluations[-1:] if evaluates else [self.last]
        is_over = any(row.get("step", 0) >= self.config.total_steps for row in newest)
        if is_over and (evaluates or not self.has_diverged):
            return "complete"
        if self.has_diverged:
            return "diverged"
        return f"at {self.step / self.config.total_steps:.0%}"

    @property
    def score(self) -> float | None:
        """The mean return of the last evaluation; None if there is none or it has no score."""
        return (
            metrics.number(self.evaluations[-1]["eval_return_mean"]) if self.evaluations else None
        )

    @property
    def best_score(self) -> float | None:
        """The highest finite mean return of an evaluation."""
        found = (metrics.number(row["eval_return_mean"]) for row in self.evaluations)
        return max((score for score in found if score is not None), default=None)


Groups = Mapping[str, Sequence[Run]]  # runs whose settings are equal, by their label
ByGame = Mapping[str, Groups]  # by the name of the game


def read(path: pathlib.Path) -> Run:
    """Reads a run's settings and metrics. If that fails, it sets `problem` and does not raise."""
    try:
        config = trained_agent.read_config(path)
        rows, notes = _rows(path / metrics.FILE)
        written = _written(path / metrics.FILE)
        films = _films(path / layout.VIDEOS)
        refused = _last_refused(path / layout.NONFINITE)
    except (errors.SettingError, errors.RunError) as error:
        return _broken(path, str(error))
    except (OSError, UnicodeDecodeError) as error:
        return _broken(path, f"{path} cannot be read: {error}")
    training, evaluations = metrics.training(rows), metrics.evaluations(rows)
    step = max((row["step"] for row in (*training, *evaluations)), default=0)
    return Run(
        path=path,
        problem="",
        notes=notes,
        config=config,
        columns=metric_columns.of([*training, *metrics.learning(rows)]),
        last=training[-1] if training else {},
        evaluations=evaluations,
        written=written,
        videos=films,
        step=step,
        has_diverged=refused >= step,  # else it went on from there
    )


def labels(found: Sequence[Run]) -> list[str]:
    """The settings that distinguish the runs, without seeds and games; equal within a group.

    Over all games: runs of two games are in one group only if they learn in the same way.
    """
    configs = [run.config for run in found if run.config]
    by_preset: dict[str, list[config_lib.Config]] = {}
    for config in configs:
        by_preset.setdefault(config.preset, []).append(config)
    splits = {
        name: described.splits_groups
        for name, described in setting.described(config_lib.Config).items()
    }
    differing = {
        preset: [name for name in differences(alike) if splits[name]]
        for preset, alike in by_preset.items()
    }

    def label(config: config_lib.Config) -> str:
        names = differing[config.preset]
        shown = (f"{name}={setting.as_typed(getattr(config, name))}" for name in names)
        return ", ".join([config.preset, *shown])

    return [label(config) for config in configs]


def by_game(shown: Sequence[Run]) -> tuple[ByGame, list[tuple[Run, Run]]]:
    """Groups runs that can be shown; games and labels are sorted as people sort them.

    Returns:
      The groups. Of runs with equal seeds, which are no independent samples, each has the longest.
      Also the runs that are left out, each with the one of its group that has its seed.
    """
    kept: dict[str, dict[str, list[Run]]] = {}
    left_out = []
    labelled = zip(map(_game, shown), labels(shown), shown, strict=True)
    found: dict[tuple[str, str], list[Run]] = {}
    for game, label, run in sorted(labelled, key=lambda each: (each[0], _natural(each[1]))):
        found.setdefault((game, label), []).append(run)
    for (game, label), members in found.items():
        longest = _longest(members)
        kept.setdefault(game, {})[label] = list(longest.values())
        others = ((run, longest[_seed(run)]) for run in members)
        left_out += [(run, other) for run, other in others if run is not other]
    return kept, left_out


def _longest(members: Sequence[Run]) -> dict[int, Run]:
    """The longest run of each seed; the first one if several are as long."""
    longest: dict[int, Run] = {}
    for run in members:
        if run.step > longest.setdefault(_seed(run), run).step:
            longest[_seed(run)] = run
    return longest


def _seed(run: Run) -> int:
    assert run.config
    return run.config.seed


def _game(run: Run) -> str:
    assert run.config
    return wording.visible(_info(run.config.env).plain_name)


def info(groups: Groups) -> api.GameInfo:
    """What is known of the game that all these runs play."""
    config = next(run.config for members in groups.values() for run in members if run.config)
    return _info(config.env)


def _info(env_id: str) -> api.GameInfo:
    """What is known of a game: its name alone where it cannot be played."""
    try:
        return registry.game(env_id)
    except api.UnknownGameError:
        return registry.by_id_alone(env_id)


def _natural(label: str) -> list[str | float]:
    """A key for sorting by which 'n_step=3' comes before 'n_step=10'."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", label)
    return [float(p) if i % 2 else p for i, p in enumerate(parts)]


def differences(configs: Sequence[config_lib.Config]) -> dict[str, list[Any]]:
    """The settings in which configs differ, each with its values."""
    values = {name: [getattr(config, name) for config in configs] for name in vars(configs[0])}
    return {name: column for name, column in values.items() if any(v != column[0] for v in column)}


def _broken(path: pathlib.Path, problem: str) -> Run:
    return Run(path, problem, (), None, {}, {}, (), None, (), 0, False)


def _rows(path: pathlib.Path) -> tuple[list[metrics.Row], list[str]]:
    """The rows that can be read, and notes about the others."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = [row for row in metrics.parse(text) if 0 <= row["step"] < _MOST_STEPS]
    lost = sum(1 for line in text.splitlines() if line.strip()) - len(rows)
    last = text.rpartition("\n")[2]
    if last.strip() and not any(metrics.parse(last)):
        lost -= 1  # a run is writing it, or was killed while it did
    return rows, [f"{wording.counted(lost, 'unreadable line')} in {metrics.FILE}"] if lost else []


def _written(path: pathlib.Path) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(path.stat().st_mtime) if path.exists() else None


def _last_refused(folder: pathlib.Path) -> int:
    """The step of the newest batch that was not finite; -1 if there is none."""
    return max(
        (int(file.stem) for file in folder.glob("*.npz") if file.stem.isdecimal()), default=-1
    )


def _films(folder: pathlib.Path) -> list[pathlib.Path]:
    """The films of a run, oldest first. Links are skipped: they could point outside the folder."""
    if folder.is_symlink():
        return []
    found = (film for film in folder.glob("*.mp4") if film.stem.isdecimal())
    kept = (film for film in found if film.is_file() and not film.is_symlink())
    return sorted(kept, key=lambda film: int(film.stem))
