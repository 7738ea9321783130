"""The best trials of a search, which also run with new seeds."""

import pytest

from launch import search, search_finals
from tests.launch.searches import open_study, plan_of, write_scores


@pytest.fixture
def best(tmp_path):
    """A plan and three complete trials of two seeds, from the best on."""
    plan = plan_of(tmp_path, seeds=(0, 3))
    study = open_study(plan, pruner="none")
    for score in (100.0, 80.0, 90.0):
        trial = search.Trial(study, plan)
        for run in trial.runs:
            write_scores(run, [score])
        trial.end()
    return plan, search.best(study, 3)


def ranked(plan, best, runs_of):
    return [
        (search.folder_number(trial), score)
        for trial, score in search_finals.results(best, runs_of, plan)
    ]


def test_new_runs_have_the_trials_settings_and_seeds_of_their_own(best):
    plan, (first, *_) = best
    runs = search_finals.new_runs(first, plan)
    assert [run.path.name for run in runs] == [f"CartPole-trial0-seed{n}" for n in (4, 5)]
    settings = {f"--{setting}" for setting in plan.settings(first.params)}
    assert settings <= set(runs[0].train_flags) and "--seed=5" in runs[1].train_flags


def test_all_seeds_choose_among_the_best(best):
    plan, trials = best
    runs_of = {trial.number: search_finals.new_runs(trial, plan) for trial in trials}
    for number, scores in {0: (10.0, 20.0), 1: (70.0, 90.0), 2: (50.0, 70.0)}.items():
        for run, score in zip(runs_of[number], scores, strict=True):
            write_scores(run, [score])
    assert ranked(plan, trials, runs_of) == [(1, 80.0), (2, 75.0), (0, 57.5)]


def test_those_without_new_seeds_come_last(best):
    plan, trials = best
    assert ranked(plan, trials, {}) == [(0, None), (2, None), (1, None)]
    runs = search_finals.new_runs(trials[2], plan)
    for run in runs:
        write_scores(run, [0.0])
    assert ranked(plan, trials, {1: runs}) == [(1, 40.0), (0, None), (2, None)]
