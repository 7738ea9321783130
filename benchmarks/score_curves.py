"""Scores over minutes of several seeds, as a table shows them."""

import itertools
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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


def read(path: pathlib.Path, rate: timed_runs.Rate | None = None) -> Curve:
    """The curve of a run; see `timed_runs.points`."""
    rows = timed_runs.rows(path)
    clocked = rows[-1]["step"] / rows[-1]["time_s"]
    return Curve(timed_runs.points(path, rate), rows, rate.steps_per_second if rate else clocked)


def summaries(game: str, found: Mapping[str, Mapping[int, Curve]]) -> dict[str, dict[str, Any]]:
    """The `summary` of each variant of a game, whose curves are given by seed."""
    ends = [curve.points[-1].step for seeds in found.values() for curve in seeds.values()]
    thresholds = THRESHOLDS.get(game, ())
    return {
        name: summary(list(seeds.values()), thresholds, min(ends)) for name, seeds in found.items()
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


def score_at(points: Sequence[Point], step: int) -> float | None:
    """The score at a step, on straight lines between checkpoints; None outside them."""
    for before, after in itertools.pairwise(points):
        if before.step <= step <= after.step:
            share = (step - before.step) / (after.step - before.step)
            return before.score + share * (after.score - before.score)
    return next((point.score for point in points if point.step == step), None)


def summary(
    curves: Sequence[Curve], thresholds: Sequence[float], equal_step: int
) -> dict[str, Any]:
    """Medians over seeds.

    Args:
      curves: of the seeds; each has points.
      thresholds: scores to be reached.
      equal_step: at which scores are compared.

    Returns:
      `score`: at the end; median, least and most. `minutes_to`: the median by threshold and the
      number of seeds that reached it; a seed that did not counts as longer than any other.
      `steps_per_second`, `samples_per_step`, `score_at_equal_steps` (None if a seed has no
      checkpoint before that step), `memory_gb` (the most); 0 for what is not known.
    """
    last = [curve.points[-1].score for curve in curves]
    reached = {}
    for threshold in thresholds:
        times = [minutes_to(curve.points, threshold) for curve in curves]
        known = [time for time in times if time is not None]
        middle = statistics.median([*known, *[float("inf")] * (len(times) - len(known))])
        reached[f"{threshold:g}"] = {
            "median": middle if middle < float("inf") else None,
            "reached": len(known),
        }
    ends = [curve.rows[-1] for curve in curves]
    equal = [score for c in curves if (score := score_at(c.points, equal_step)) is not None]
    samples = [row["samples_per_step"] for row in ends if row.get("samples_per_step")]
    memory = [row.get("memory_used_bytes") or 0 for curve in curves for row in curve.rows]
    return {
        "seeds": len(curves),
        "score": [statistics.median(last), min(last), max(last)],
        "minutes_to": reached,
        "steps_per_second": statistics.median(curve.steps_per_second for curve in curves),
        "samples_per_step": statistics.median(samples) if samples else 0,
        "score_at_equal_steps": statistics.median(equal) if len(equal) == len(curves) else None,
        "memory_gb": max(memory) / 1e9,
    }


def table(games: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A table for each game, one row for each variant, from its `summary`."""
    tables = []
    for game, variants in games.items():
        names = list(next(iter(variants.values()))["minutes_to"])
        head = ("variant", "seeds", "score", "least to most", *(f"minutes to {n}" for n in names))
        head += ("steps/s", "samples/step", "score at equal steps", "memory GB")
        lines = []
        for name, found in variants.items():
            middle, least, most = found["score"]
            times = [_time(found["minutes_to"][n], found["seeds"]) for n in names]
            line = [name, found["seeds"], f"{middle:.1f}", f"{least:.1f} to {most:.1f}", *times]
            line += [found["steps_per_second"], found["samples_per_step"] or "-"]
            equal = found["score_at_equal_steps"]
            line += ["-" if equal is None else f"{equal:.1f}", found["memory_gb"] or "-"]
            lines.append(line)
        tables.append(f"{game}\n\n{report.table(head, lines)}")
    return "\n\n".join(tables)


def _time(found: Mapping[str, Any], seeds: int) -> str:
    shown = "-" if found["median"] is None else f"{found['median']:.1f}"
    return shown if found["reached"] == seeds else f"{shown} ({found['reached']} of {seeds})"
