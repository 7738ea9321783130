"""The best trials of a search, which also run with new seeds."""

import pytest

from launch import search, search_finals
from tests import program
from tests.launch.searches import open_study, plan_of, write_scores

SPACE = "batch_size = [32, 64, 96]\nhead = ['scalar', 'c51']\nnum_atoms = [21, 51]"


@pytest.fixture
def plan(tmp_path):
    return plan_of(tmp_path, SPACE, seeds=(0, 3), score="mean")


def complete(study, plan, scores):
    """Ends a trial with these evaluations of each seed."""
    trial = search.Trial(study, plan)
    for run in trial.runs:
        write_scores(run, scores)
    trial.end()


@pytest.fixture
def study(plan):
    """Trials in the folders 0, 2, 3 and 4. The first was cut off, so that its number is another.

    The third has the settings of the second: the number of atoms has no effect.
    """
    chosen = [
        {"batch_size": 32, "head": "scalar", "num_atoms": 21},
        {"batch_size": 64, "head": "scalar", "num_atoms": 21},
        {"batch_size": 64, "head": "scalar", "num_atoms": 51},
        {"batch_size": 96, "head": "c51", "num_atoms": 51},
    ]
    cut_off = open_study(plan, pruner="none", start=chosen[0].items())
    search.Trial(cut_off, plan)
    study = open_study(plan, pruner="none")
    for params in chosen[1:]:
        study.enqueue_trial(params)
    for score in (100.0, 80.0, 79.0, 90.0):
        complete(study, plan, [score, score])
    assert [trial.number for trial in search.ranked(study)] == [1, 4, 2, 3]
    return study


def train(study, plan, scores):
    """Has the wanted ones run with new seeds; scores are by folder, one for each seed."""
    for trial in search_finals.wanted(study, 3):
        runs = search_finals.new_runs(trial, plan)
        for run, score in zip(runs, scores[search.folder_number(trial)], strict=True):
            write_scores(run, [score])
        search_finals.note(study, trial, runs, plan.score)


def results(study):
    found = search_finals.results(study)
    return [(search.folder_number(each.trial), each.new, each.score) for each in found]


def test_new_runs_have_the_trials_settings_and_seeds_of_their_own(study, plan):
    first = search_finals.wanted(study, 2)[0]
    runs = search_finals.new_runs(first, plan)
    assert [run.path.name for run in runs] == [f"CartPole-trial0-seed{n}" for n in (4, 5)]
    assert "--batch_size=32" in runs[0].train_flags and "--seed=5" in runs[1].train_flags


def test_all_seeds_choose_among_the_best(study, plan):
    train(study, plan, {0: (10.0, 20.0), 2: (70.0, 90.0), 4: (50.0, 70.0)})
    assert results(study) == [(2, 80.0, 80.0), (4, 60.0, 75.0), (0, 15.0, 57.5)]


def test_equal_settings_are_compared_once(study):
    wanted = search_finals.wanted(study, 10)
    assert [search.folder_number(trial) for trial in wanted] == [0, 4, 2]


def test_without_a_choice_nothing_runs_again(study):
    assert not search_finals.wanted(study, 1) and not search_finals.wanted(study, 0)
    assert results(study) == [(0, None, 100.0), (4, None, 90.0), (2, None, 80.0)]


def test_those_without_new_seeds_come_last(study, plan):
    (_, second) = search_finals.wanted(study, 2)
    runs = search_finals.new_runs(second, plan)
    for run in runs:
        write_scores(run, [0.0])
    search_finals.note(study, second, runs, plan.score)
    assert results(study) == [(4, 0.0, 45.0), (0, None, 100.0), (2, None, 80.0)]


def test_what_new_seeds_say_counts_when_the_search_goes_on(study, plan):
    train(study, plan, {0: (10.0, 20.0), 2: (70.0, 90.0), 4: (50.0, 70.0)})
    study = open_study(plan, pruner="none")
    study.enqueue_trial({"batch_size": 96, "head": "scalar", "num_atoms": 21})
    complete(study, plan, [200.0])
    assert results(study)[0] == (2, 80.0, 80.0)
    (lucky,) = search_finals.wanted(study, 3)
    assert search.folder_number(lucky) == 5
    train(study, plan, {5: (0.0, 0.0)})
    assert results(study)[:2] == [(5, 0.0, 100.0), (2, 80.0, 80.0)]


# Stands for Ray: runs have scored what is said, or have failed.
WITHOUT_RAY = """
import contextlib
from launch import sweep_ray
from tests.launch import searches
scores, failed, diverged = {scores!r}, {failed!r}, {diverged!r}
def train_all(ray, runs):
    print("runs:", *[run.path.name for run in runs])
    for run in runs:
        searches.write_scores(run, [scores[run.path.name]])
    names = {{run.path.name: run for run in runs}}
    lost = {{names[x]: sweep_ray.Problem("lost", False, False) for x in failed if x in names}}
    return lost | {{names[x]: sweep_ray.Problem("inf", True, True) for x in diverged if x in names}}
sweep_ray.connected = lambda runs_dir: contextlib.nullcontext()
sweep_ray.starter = sweep_ray.runs_at_once = lambda ray: 1
sweep_ray.train_all = train_all
"""


@pytest.fixture
def search_again(study, plan):
    """The command once more, when all trials have been made; returns code, output and errors."""
    words = ("--envs=CartPole", "--seeds=0,3", "--trials=4", "--finalists=2")
    words += (f"--search={plan.runs_dir / 'space.toml'}", f"--runs_dir={plan.runs_dir}", "--")

    def run(scores, failed=(), diverged=()):
        driver = WITHOUT_RAY.format(scores=scores, failed=failed, diverged=diverged)
        whole = (*words, *plan.train_flags)
        sweep = program.Program("launch.sweep", whole, driver, cwd=program.ROOT)
        out, errors = sweep.end()
        return sweep.returncode, out, errors

    return run


NEW = {"CartPole-trial0-seed4": 0.0, "CartPole-trial0-seed5": 0.0}
NEW |= {"CartPole-trial4-seed4": 80.0, "CartPole-trial4-seed5": 90.0}


def test_a_search_ends_with_what_new_seeds_chose(plan, search_again):
    code, told, errors = search_again(NEW)
    assert code == 0, errors
    best = (plan.runs_dir / "best.flags").read_text().splitlines()
    assert "--batch_size=96" in best and "--head=c51" in best
    assert "best trials with seeds 4 to 5: 4 runs" in told
    assert f"runs: {' '.join(NEW)}\n" in told
    assert [line.split()[1:8:2] for line in told.splitlines() if line.startswith("\u2502")] == [
        ["4", "90.00", "85.00", "87.50"],
        ["0", "100.00", "0.00", "50.00"],
        ["2", "80.00", "-", "-"],
    ]
    assert f"--seeds=6-10 --runs_dir={plan.runs_dir}-trial4 -- --flagfile=" in told
    code, told, _ = search_again(NEW)
    assert code == 0 and "runs:" not in told  # all is known


def test_what_fails_with_new_seeds_is_resumed_by_the_same_command(plan, search_again):
    code, told, errors = search_again(NEW, failed=["CartPole-trial4-seed5"])
    assert code == 1 and errors.startswith("error: CartPole-trial4-seed5: lost; see ")
    assert "The choice is not final" in told
    code, told, errors = search_again(NEW)
    assert code == 0 and f"runs: {' '.join(list(NEW)[2:])}\n" in told, errors
    assert "--batch_size=96" in (plan.runs_dir / "best.flags").read_text()


def test_what_diverges_with_new_seeds_comes_last_and_is_not_tried_again(plan, search_again):
    code, told, errors = search_again(NEW, diverged=["CartPole-trial4-seed5"])
    assert code == 0 and errors.startswith("error: CartPole-trial4-seed5: inf; see ")
    assert "--batch_size=32" in (plan.runs_dir / "best.flags").read_text()
    code, told, _ = search_again(NEW)
    assert code == 0 and "runs:" not in told
    trials = [line.split()[1] for line in told.splitlines() if line.startswith("\u2502")]
    assert trials == ["0", "2", "4"]
