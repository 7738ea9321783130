"""Spaces, plans and scores for tests of searches."""

import json
import pathlib

from jaxdqn.rundir import metrics
from launch import search, search_plan, search_space, sweep_runs

SPACE = """
learning_rate = { low = 1e-4, high = 1e-2, log = true }
batch_size = { low = 32, high = 128, step = 32 }
hidden_sizes = ["16", "32,32"]
double_q = [true, false]
"""


def space_of(path: pathlib.Path, text: str) -> search_space.Space:
    (path / "space.toml").write_text(text)
    return search_space.read(path / "space.toml")


def plan_of(path, text=SPACE, seeds=(0,), score="last", flags=()) -> search_plan.Plan:
    (path / "logs").mkdir(exist_ok=True)
    flags = ["--total_steps=5000", *flags]
    return search_plan.Plan(path, "CartPole", seeds, flags, space_of(path, text), score)


def write_scores(run: sweep_runs.Run, scores, period=1000):
    """As a run that has made an evaluation after each period; None: it was not finite."""
    run.path.mkdir(exist_ok=True)
    rows = [
        {"step": period * (number + 1), "eval_return_mean": score, "eval_return_std": score and 1.0}
        for number, score in enumerate(scores)
    ]
    (run.path / metrics.FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))


def open_study(plan, pruner="median", start=()):
    return search.open_study(plan, "tpe", pruner, dict(start))


def with_trials(plan, scores_of):
    """A study with complete trials."""
    study = open_study(plan)
    for scores in scores_of:
        trial = search.Trial(study, plan)
        write_scores(trial.runs[0], scores)
        trial.end()
    assert search.counts(study) == f"{len(scores_of)} complete"
    return study
