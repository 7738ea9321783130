"""The end of a search: its best trials also run with new seeds, which choose among them.

The best of many trials was lucky too, above all where each had few seeds. What the new seeds say is
kept in the study, where it also counts when the search goes on.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import optuna

from launch import search, search_plan, search_scores, sweep_runs

_NEW_SCORES = "scores_with_new_seeds"  # the study's attribute: by number of the trial


class Result(NamedTuple):
    """One of the best trials."""

    trial: optuna.trial.FrozenTrial
    # The score with new seeds: None if it did not run with them, minus infinity if it diverged.
    new: float | None

    @property
    def score(self) -> float:
        """The mean over all seeds: there are as many new ones as old ones."""
        assert self.trial.value is not None  # it is complete
        return self.trial.value if self.new is None else (self.trial.value + self.new) / 2


def new_seeds(plan: search_plan.Plan) -> range:
    """As many as each trial had before."""
    first = max(plan.seeds) + 1
    return range(first, first + len(plan.seeds))


def new_runs(trial: optuna.trial.FrozenTrial, plan: search_plan.Plan) -> list[sweep_runs.Run]:
    """The runs of a trial with new seeds."""
    number, settings = search.folder_number(trial), search.settings_of(trial)
    return sweep_runs.runs_of_trial(
        plan.runs_dir, number, plan.env, new_seeds(plan), settings, plan.train_flags
    )


def wanted(study: optuna.Study, count: int) -> list[optuna.trial.FrozenTrial]:
    """The trials that have to run with new seeds, if there is anything to choose.

    Args:
      study: of the search.
      count: how many different settings are to be compared.
    """
    finalists, known = _best_different(study)[:count], _new_scores(study)
    if len(finalists) < 2:
        return []
    return [trial for trial in finalists if str(trial.number) not in known]


def note(
    study: optuna.Study,
    trial: optuna.trial.FrozenTrial,
    runs: Sequence[sweep_runs.Run],
    kind: str,
    *,
    has_diverged: bool = False,
) -> None:
    """Keeps what complete runs with new seeds have scored, if they have scored anything.

    Args:
      study: of the search.
      trial: whose runs they are.
      runs: with new seeds.
      kind: of score, 'last' or 'mean'.
      has_diverged: one of the runs did: its trial is worse than all others.
    """
    means = search_scores.means(search_scores.evaluations(runs))
    if means or has_diverged:
        score = -math.inf if has_diverged else search_scores.score(means, kind)
        study.set_user_attr(_NEW_SCORES, _new_scores(study) | {str(trial.number): score})


def results(study: optuna.Study) -> list[Result]:
    """The complete trials of different settings, the best first.

    New seeds decide where there are any: what did not run with them comes after the rest, and what
    diverged with them last. Of equal ones, that comes first which the search itself ranks higher.
    """
    known = _new_scores(study)
    found = [Result(trial, known.get(str(trial.number))) for trial in _best_different(study)]
    return sorted(found, key=lambda x: (x.new == -math.inf, x.new is None, -x.score))


def _best_different(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The complete trials, the best first, without those whose settings another one has too."""
    different: dict[tuple[str, ...], optuna.trial.FrozenTrial] = {}
    for trial in search.ranked(study):
        different.setdefault(tuple(search.settings_of(trial)), trial)
    return list(different.values())


def _new_scores(study: optuna.Study) -> dict[str, float]:
    return dict(study.user_attrs.get(_NEW_SCORES, {}))
