"""The end of a search: its best trials also run with new seeds, which choose among them.

The best of many trials was lucky too, above all where each had few seeds.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import optuna

from launch import search, search_scores, sweep_runs


class Result(NamedTuple):
    """One of the best trials, with its score over all seeds; None if there are no new ones."""

    trial: optuna.trial.FrozenTrial
    score: float | None


def new_seeds(plan: search.Plan) -> range:
    """As many as each trial has."""
    first = max(plan.seeds) + 1
    return range(first, first + len(plan.seeds))


def new_runs(trial: optuna.trial.FrozenTrial, plan: search.Plan) -> list[sweep_runs.Run]:
    """The runs of a trial with new seeds."""
    number, settings = search.folder_number(trial), plan.settings(trial.params)
    return sweep_runs.runs_of_trial(
        plan.runs_dir, number, plan.env, new_seeds(plan), settings, plan.train_flags
    )


def results(
    best: Sequence[optuna.trial.FrozenTrial],
    runs_of: Mapping[int, Sequence[sweep_runs.Run]],
    plan: search.Plan,
) -> list[Result]:
    """The best trials, from the best on. Those that did not run with new seeds come last.

    Args:
      best: trials as the search ranks them, which decides among equal ones.
      runs_of: the complete runs with new seeds, by the trial's number.
      plan: what was searched.
    """
    found = [Result(trial, _score(trial, runs_of.get(trial.number, ()), plan)) for trial in best]
    return sorted(found, key=lambda one: float("inf") if one.score is None else -one.score)


def _score(
    trial: optuna.trial.FrozenTrial, new: Sequence[sweep_runs.Run], plan: search.Plan
) -> float | None:
    means = search_scores.means(search_scores.evaluations(new))
    assert trial.value is not None  # it is complete
    # The mean of two means: there are as many new seeds as old ones.
    return (trial.value + search_scores.score(means, plan.score)) / 2 if means else None
