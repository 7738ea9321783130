"""What earlier runs of the same settings scored, so that a new run can be held against them.

`known_curves.jsonl` holds one run a line. `benchmarks.known_curves` adds to it.
"""

import functools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdqn import wording
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import setting

FILE = pathlib.Path(__file__).with_name("known_curves.jsonl")
# A mean over games is known to this many of its standard errors.
_ERRORS = 2.0
# An evaluation comes a few steps after it falls due, in each run after a different number.
_SLACK = 0.01


class KnownRun(NamedTuple):
    """The evaluations of an earlier run, sorted by step."""

    steps: np.ndarray  # [T] int64
    mean: np.ndarray  # [T] float64, of the returns
    error: np.ndarray  # [T] float64, standard error of that mean


class Range(NamedTuple):
    """Where a score is expected."""

    low: float
    high: float
    num_runs: int  # that it comes from

    def __str__(self) -> str:
        runs = wording.counted(self.num_runs, "earlier run")
        return f"{self.low:.2f} to {self.high:.2f} ({runs})"


class Band(NamedTuple):
    """Where scores are expected over the steps of a run."""

    steps: np.ndarray  # [T] int64
    low: np.ndarray  # [T] float64
    high: np.ndarray  # [T] float64


def of(config: config_lib.Config) -> list[KnownRun]:
    """The runs that learned and were scored by these settings, on the same game."""
    wanted = telling_settings(config)
    return [
        _known(one["evaluations"])
        for one in stored()
        if one["env"] == config.env and are_equal(one["settings"], wanted)
    ]


def expected(known: Sequence[KnownRun], step: int) -> Range | None:
    """Where a score at a step is expected; None if no run was scored before and after it.

    The range reaches from the lowest to the highest run, with two standard errors on each side, and
    is linear between their evaluations.
    """
    slack = _SLACK * step
    near = [run for run in known if run.steps[0] - slack <= step <= run.steps[-1] + slack]
    if not near:
        return None
    scores = [_at(run, step) for run in near]
    return Range(min(low for low, _ in scores), max(high for _, high in scores), len(near))


def band(known: Sequence[KnownRun], until: int) -> Band | None:
    """The ranges at the steps of known evaluations, up to a step; None if there is none."""
    steps = sorted({int(step) for run in known for step in run.steps if step <= until})
    ranges = [expected(known, step) for step in steps]
    ends = np.array([(each.low, each.high) for each in ranges if each], np.float64)
    return Band(np.array(steps), ends[:, 0], ends[:, 1]) if steps else None


def telling_settings(config: config_lib.Config) -> dict[str, Any]:
    """The settings that change learning or scores, as JSON has them.

    Game, seed and name of the preset are not among them, nor are settings without effect. The
    length of the run is one only where a schedule spans all steps.
    """
    without = {"env", "seed", "preset"}
    if not config.scheduled_to_the_end:
        without.add("total_steps")
    return _as_json(
        {
            name: getattr(config, name)
            for name, described in setting.described(config).items()
            if described.splits_groups and name not in without and not config.why_unread(name)
        }
    )


def are_equal(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether `telling_settings` are equal.

    A setting that the old run lacks counts as its default.
    """
    defaults = _as_json({name: getattr(config_lib.Config, name) for name in new})
    return all(old.get(name, defaults[name]) == new[name] for name in new)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON brings them back: tuples become lists."""
    back: dict[str, Any] = json.loads(json.dumps(values))
    return back


@functools.cache
def stored() -> list[dict[str, Any]]:
    """What the file holds, as `entry` makes it."""
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def _known(evaluations: Sequence[Mapping[str, Any]]) -> KnownRun:
    return KnownRun(
        np.array([row["step"] for row in evaluations], np.int64),
        np.array([row["eval_return_mean"] for row in evaluations], np.float64),
        np.array(
            [row["eval_return_std"] / math.sqrt(row["eval_episodes"]) for row in evaluations],
            np.float64,
        ),
    )


def _at(run: KnownRun, step: int) -> tuple[float, float]:
    """The ends of a run's interval at a step; beyond its evaluations those of the nearest."""
    mean, error = (float(np.interp(step, run.steps, values)) for values in (run.mean, run.error))
    return mean - _ERRORS * error, mean + _ERRORS * error


def entry(config: config_lib.Config, rows: Sequence[metrics.Row], made: str) -> dict[str, Any]:
    """A run as `known_curves.jsonl` holds it.

    Args:
      config: its settings.
      rows: its evaluations; those without a score are left out.
      made: on which hardware and when, for readers of the file.
    """
    names = ("step", "eval_return_mean", "eval_return_std", "eval_episodes")
    return {
        "env": config.env,
        "preset": config.preset,
        "seed": config.seed,
        "made": made,
        "settings": telling_settings(config),
        "evaluations": [{name: row[name] for name in names} for row in metrics.scored(rows)],
    }
