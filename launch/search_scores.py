"""What the runs of a trial have scored so far."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdqn.rundir import metrics
from launch import sweep_runs


def evaluations(runs: Sequence[sweep_runs.Run]) -> list[list[dict[str, Any]]]:
    """The rows of each run's evaluations."""
    return [metrics.evaluations(metrics.read(run.path / metrics.FILE)) for run in runs]


def means(of_runs: Sequence[Sequence[dict[str, Any]]]) -> dict[int, float]:
    """The mean return over the runs, by the number of the evaluation, from 1 on.

    One that a run has not made yet, or in which a run has no finite score, is left out.
    """
    together = enumerate(zip(*of_runs, strict=False), start=1)
    return {
        number: statistics.fmean(row["eval_return_mean"] for row in rows)
        for number, rows in together
        if len(metrics.scored(rows)) == len(rows)
    }


def score(of_evaluations: Mapping[int, float], kind: str) -> float:
    """What is maximized: the 'last' of these means or the 'mean' of all."""
    found = list(of_evaluations.values())
    return found[-1] if kind == "last" else statistics.fmean(found)
