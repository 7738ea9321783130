"""What the runs of a trial have scored so far."""

import statistics
from collections.abc import Sequence
from typing import Any

from jaxdqn.rundir import metrics
from launch import sweep_runs


def evaluations(runs: Sequence[sweep_runs.Run]) -> list[list[dict[str, Any]]]:
    """The rows of each run's evaluations."""
    return [metrics.evaluations(metrics.read(run.path / metrics.FILE)) for run in runs]


def means(of_runs: Sequence[Sequence[dict[str, Any]]]) -> list[float]:
    """Of each evaluation that all runs have behind them, the mean return over the runs.

    One that was not finite in a run is left out.
    """
    together = zip(*of_runs, strict=False)
    scored = [rows for rows in together if len(metrics.scored(rows)) == len(rows)]
    return [statistics.fmean(row["eval_return_mean"] for row in rows) for rows in scored]


def score(of_evaluations: Sequence[float], kind: str) -> float:
    """What is maximized: the 'last' of these means or the 'mean' of all."""
    return of_evaluations[-1] if kind == "last" else statistics.fmean(of_evaluations)
