"""Scores over minutes of several seeds, as a table shows them."""

import itertools
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import report, timed_runs
from benchmarks.timed_runs import Point
from jaxdqn.rundir import metrics

# Scores to be reached, by game. Random play scores 1.7, -20.7 and 148.
THRESHOLDS: Mapping[str, Sequence[float]] = {
    "Breakout": (30, 100, 300),
    "Pong": (0, 18),
    "SpaceInvaders": (500, 1_000),
}


class Curve(NamedTuple):
    """One run."""

    points: Sequence[Point]
    rows: Sequence[metrics.Row]  # of training
    steps_per_second: float


def read(
    path: pathlib.Path, rate: timed_runs.Rate | None = None, *, is_from_elsewhere: bool = False
) -> Curve:
    """The curve of a run; see `timed_runs.points`."""
    rows = timed_runs.rows(path)
    clocked = rows[-1]["step"] / rows[-1]["time_s"]
    points = timed_runs.points(path, rate, is_from_elsewhere=is_from_elsewhere)
    return Curve(points, rows, rate.steps_per_second if rate else clocked)


def summaries(game: str, found: Mapping[str, Mapping[int, Curve]]) -> dict[str, dict[str, Any]]:
    """The `summary` of each variant of a game, whose curves are given by seed."""
    ends = [curve.points[-1] for seeds in found.values() for curve in seeds.values()]
    step, minutes = min(end.step for end in ends), min(end.minutes for end in ends)
    thresholds = THRESHOLDS.get(game, ())
    return {
        name: summary(list(seeds.values()), thresholds, step, minutes)
        for name, seeds in found.items()
    }


def minutes_to(points: Sequence[Point], threshold: float) -> float | None:
    """When a score was reached first, on straight lines between checkpoints; None: it was not."""
    for index, point in enumerate(points):
        if point.score >= threshold:
            if not index:
                return point.minutes
            before = points[index - 1]
            share = (threshold - before.score) / (point.score - before.score)
            return before.minutes + share * (point.minutes - before.minutes)
    return None


def score_at(points: Sequence[Point], where: float, by: str) -> float | None:
    """The score at a step or minute, on straight lines between checkpoints; None outside them.

    Args:
      points: of a run.
      where: the step or minute.
      by: 'step' or 'minutes'.
    """
    known = [(getattr(point, by), point.score) for point in points]
    if not known[0][0] <= where <= known[-1][0]:
        return None
    places, scores = zip(*known, strict=True)
    return float(np.interp(where, np.array(places), np.array(scores)))


def summary(
    curves: Sequence[Curve],
    thresholds: Sequence[float],
    equal_step: int,
    equal_minutes: float,
) -> dict[str, Any]:
    """Medians over seeds.

    Args:
      curves: of the seeds; each has points.
      thresholds: scores to be reached.
      equal_step: at which scores are compared.
      equal_minutes: the same.

    Returns:
      `score`: at the end; median, least and most. `minutes`: the median of the ends. `minutes_to`:
      the median by threshold, None if that is not known, and the number of seeds that reached it.
      `steps_per_second`, `samples_per_step`, `score_at_equal_steps` and `score_at_equal_minutes`
      (None if a seed has no checkpoint before), `memory_gb` (the most); 0 for what is not known.
    """
    last = [curve.points[-1].score for curve in curves]
    samples = [found for curve in curves if (found := _samples_per_step(curve.rows))]
    memory = [row.get("memory_used_bytes") or 0 for curve in curves for row in curve.rows]
    return {
        "seeds": len(curves),
        "score": [statistics.median(last), min(last), max(last)],
        "minutes": statistics.median(curve.points[-1].minutes for curve in curves),
        "minutes_to": {f"{score:g}": _minutes_to(curves, score) for score in thresholds},
        "steps_per_second": statistics.median(curve.steps_per_second for curve in curves),
        "samples_per_step": statistics.median(samples) if samples else 0,
        "score_at_equal_steps": _median_at(curves, equal_step, "step"),
        "score_at_equal_minutes": _median_at(curves, equal_minutes, "minutes"),
        "memory_gb": max(memory) / 1e9,
    }


def _minutes_to(curves: Sequence[Curve], threshold: float) -> dict[str, Any]:
    """The median of when a score was reached, and the number of seeds that reached it.

    A seed that did not takes longer than it had. So the median is known only if it comes before the
    ends of all such seeds.
    """
    times = [minutes_to(curve.points, threshold) for curve in curves]
    known = [time for time in times if time is not None]
    middle = statistics.median([*known, *[float("inf")] * (len(times) - len(known))])
    pairs = zip(curves, times, strict=True)
    ends = [curve.points[-1].minutes for curve, time in pairs if time is None]
    is_known = middle < float("inf") and all(middle <= end for end in ends)
    return {"median": middle if is_known else None, "reached": len(known)}


def _samples_per_step(rows: Sequence[metrics.Row]) -> float:
    """Samples of updates for each step since the first; 0 if that is not known.

    A peer's only row has them already.
    """
    told = [(row["step"], row.get("samples_per_step") or 0) for row in rows]
    if len(told) == 1:
        return float(told[0][1])
    learning = [index for index, (_, samples) in enumerate(told) if samples]
    if not learning or learning[0] == len(told) - 1:
        return 0.0
    # The first row with updates holds steps before them too.
    pairs = itertools.pairwise(told[learning[0] :])
    total = sum(samples * (step - before) for (before, _), (step, samples) in pairs)
    return float(total / (told[-1][0] - told[learning[0]][0]))


def _median_at(curves: Sequence[Curve], where: float, by: str) -> float | None:
    """The median of the seeds' scores there; None if one of them has none."""
    scores = [score_at(curve.points, where, by) for curve in curves]
    known = [score for score in scores if score is not None]
    return statistics.median(known) if len(known) == len(scores) else None


def table(games: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table for each game, one row for each variant, from its `summary`."""
    tables = []
    for game, variants in games.items():
        names = list(next(iter(variants.values()))["minutes_to"])
        head = (
            *("variant", "seeds", "score", "least to most", "after minutes"),
            *(f"minutes to {name}" for name in names),
            *("steps/s", "samples/step", "score at equal minutes", "at equal steps", "memory GB"),
        )
        lines = []
        for name, found in variants.items():
            middle, least, most = found["score"]
            times = [_time(found["minutes_to"][n], found["seeds"]) for n in names]
            line = [name, found["seeds"], f"{middle:.1f}", f"{least:.1f} to {most:.1f}"]
            line += [f"{found['minutes']:.1f}", *times]
            line += [found["steps_per_second"], found["samples_per_step"] or "-"]
            equal = (found["score_at_equal_minutes"], found["score_at_equal_steps"])
            line += ["-" if score is None else f"{score:.1f}" for score in equal]
            line += [found["memory_gb"] or "-"]
            lines.append(line)
        tables.append(f"{game}\n\n{report.table(head, lines)}")
    return "\n\n".join(tables)


def _time(found: Mapping[str, Any], seeds: int) -> str:
    shown = "-" if found["median"] is None else f"{found['median']:.1f}"
    return shown if found["reached"] == seeds else f"{shown} ({found['reached']} of {seeds})"
