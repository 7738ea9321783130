"""Means of runs that were evaluated alike."""

import math

from jaxdqn.reporting import evaluated
from jaxdqn.rundir import layout
from jaxdqn.settings import presets


def make(path, env, seed):
    layout.create(path, presets.resolve(env, "", {"seed": seed}))
    return path


def test_means_over_seeds_and_games(tmp_path):
    """Half way from random play to the human tester in one game, all the way in the other."""
    means = {}
    for env, score in (("Breakout", (1.7 + 30.5) / 2), ("Pong", 14.6), ("CartPole", 400.0)):
        for seed, off in enumerate((-1, 0, 1)):
            means[make(tmp_path / f"{env}-{seed}", env, seed)] = score + off
    copy, wrong = (make(tmp_path / name, "CartPole", 2) for name in ("copy", "wrong"))
    *lines, aggregates = evaluated.summary({**means, copy: 7.0, wrong: math.nan})
    assert lines == [
        f"{wrong} does not count: its mean return is not finite",
        f"{copy} does not count: {tmp_path / 'CartPole-2'} has the same settings and seed",
        # Student's t of two degrees of freedom: 4.303 / sqrt(3) on both sides.
        "Breakout, laptop: 3 runs, mean return 16.1 (95% interval 13.6 to 18.6), "
        "50.0% of a human tester",
        "CartPole, cartpole: 3 runs, mean return 400.0 (95% interval 397.5 to 402.5)",
        "Pong, laptop: 3 runs, mean return 14.6 (95% interval 12.1 to 17.1), "
        "100.0% of a human tester",
    ]
    assert aggregates.startswith(
        "laptop, 6 runs of 2 games: human-normalized interquartile mean 0.7"
    )
    assert "median of games 0.750 (" in aggregates and "optimality gap 0.2" in aggregates


def test_games_of_another_source_do_not_count_twice(tmp_path):
    envs = ("Breakout", "ale:Breakout", "Pong")
    means = {make(tmp_path / str(n), env, 0): 10.0 for n, env in enumerate(envs)}
    (line,) = (line for line in evaluated.summary(means) if "human-normalized" in line)
    assert "2 runs of 2 games" in line


def test_two_runs_have_no_interval(tmp_path):
    means = {make(tmp_path / str(seed), "CartPole", seed): 100.0 + seed for seed in range(2)}
    assert evaluated.summary(means) == ["CartPole, cartpole: 2 runs, mean return 100.5"]
