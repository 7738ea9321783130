"""What the package knows of earlier runs."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest

from benchmarks import known_curves as bench
from jaxdqn import errors
from jaxdqn.reporting import found_runs
from jaxdqn.rundir import known_curves, layout, metrics
from jaxdqn.settings import presets


def row(step, mean, std=0.0, games=25):
    return {
        "step": step,
        "eval_return_mean": mean,
        "eval_return_std": std,
        "eval_episodes": games,
    }


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Writes runs of Breakout with changed settings, seed and evaluations into the file's place."""

    def write(*runs):
        entries = [
            known_curves.entry(presets.resolve("Breakout", "atari", changes), rows, "here")
            for changes, rows in runs
        ]
        path = tmp_path / "known.jsonl"
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        monkeypatch.setattr(known_curves, "FILE", path)
        known_curves.stored.cache_clear()
        return entries

    yield write
    known_curves.stored.cache_clear()


def of(**changes):
    return known_curves.of(presets.resolve("Breakout", "atari", changes))


def test_a_score_is_expected_between_the_lowest_and_the_highest_run(known):
    known(({}, [row(100, 10.0, std=5.0), row(200, 20.0)]), ({"seed": 1}, [row(100, 30.0)]))
    runs = of(seed=7)
    # A standard error is 5 / sqrt(25) = 1.
    assert known_curves.expected(runs, 100) == (8.0, 30.0, 2)
    assert known_curves.expected(runs, 150) == (14.0, 15.0 + 1.0, 1)
    assert str(known_curves.expected(runs, 150)) == "14.00 to 16.00 (1 earlier run)"
    # An evaluation comes a little later than it falls due.
    assert known_curves.expected(runs, 202) == (20.0, 20.0, 1)
    assert known_curves.expected(runs, 98) is None
    assert known_curves.expected(runs, 300) is None
    assert known_curves.expected([], 100) is None


def test_an_evaluation_without_a_score_is_no_example(known):
    (entry,) = known(({}, [row(100, 10.0), row(150, None, None, 0), row(200, 20.0)]))
    assert [each["step"] for each in entry["evaluations"]] == [100, 200]


def test_a_band_reaches_as_far_as_a_run_has_come(known):
    known(({}, [row(100, 10.0, std=5.0), row(200, 20.0)]), ({"seed": 1}, [row(150, 30.0)]))
    steps, low, high = known_curves.band(of(), 160)
    np.testing.assert_array_equal(steps, [100, 150])
    np.testing.assert_allclose(low, [8, 14])
    np.testing.assert_allclose(high, [12, 30])
    assert known_curves.band(of(), 99) is None
    assert known_curves.band([], 1_000) is None


@pytest.mark.parametrize(
    ("changes", "is_known"),
    [
        ({"seed": 3}, True),
        ({"log_every_steps": 1_000, "checkpoint_every_steps": 0}, True),
        ({"total_steps": 2_000_000}, True),  # nothing decays until the end
        ({"learning_rate": 2e-4}, False),
        ({"eval_epsilon": 0.05}, False),
        ({"learning_rate_end": 0.0}, False),
        ({"sampler": "prioritized"}, False),
    ],
)
def test_runs_are_found_by_what_changes_learning_or_scores(known, changes, is_known):
    known(({}, [row(100, 10.0)]))
    assert bool(of(**changes)) == is_known


@pytest.mark.parametrize(
    "decaying", [{"learning_rate_end": 0.0}, {"sampler": "prioritized"}], ids=str
)
def test_where_something_decays_until_the_end_the_length_counts(known, decaying):
    known((decaying, [row(100, 10.0)]))
    assert of(**decaying) and not of(**decaying, total_steps=100)


def test_a_setting_that_came_later_had_its_default(known):
    (entry,) = known(({"n_step": 3}, [row(100, 10.0)]))
    del entry["settings"]["double_q"]
    known_curves.FILE.write_text(json.dumps(entry))
    known_curves.stored.cache_clear()
    assert of(n_step=3) and not of(n_step=3, double_q=False)


def test_the_games_of_other_environments_are_others(known):
    known(({}, [row(100, 10.0)]))
    config = presets.resolve("Pong", "atari", {})
    assert not known_curves.of(config)
    assert known_curves.of(dataclasses.replace(config, env="Breakout-v5"))


def test_what_the_package_knows_is_whole():
    assert len(known_curves.stored()) >= 4
    for one in known_curves.stored():
        changes = {"seed": one["seed"]}
        if one["preset"] == "pqn":
            changes |= {"total_steps": 1_000_000, "epsilon_decay_steps": 100_000}
        if one["preset"] == "munchausen":
            changes["loss"] = "mse"
        config = presets.resolve(one["env"], one["preset"], changes)
        (_, low, high) = known_curves.band(known_curves.of(config), 10**9)
        assert (low < high).all() and metrics.evaluations(one["evaluations"])


def test_a_new_run_replaces_that_of_its_seed_and_settings(known):
    old, other = known(({}, [row(100, 10.0)]), ({"seed": 1}, [row(100, 9.0)]))
    new = old | {"evaluations": [row(100, 12.0)]}
    assert bench.added([old, other], [new]) == [new, other]


@pytest.mark.parametrize(("updates", "problem"), [(400, ""), (340, "made 340 of 400 updates")])
def test_a_run_that_lost_its_replay_for_a_time_is_no_example(tmp_path, updates, problem):
    changes = {"total_steps": 2000, "learning_starts_steps": 400}
    layout.create(tmp_path, presets.resolve("Breakout", "atari", changes))
    trained = {"step": 2000, "episode_return_mean": 9.0, "updates": updates}
    lines = (json.dumps(each) + "\n" for each in (trained, row(2000, 12.0)))
    (tmp_path / metrics.FILE).write_text("".join(lines))
    raises = pytest.raises(errors.SettingError, match=problem) if problem else None
    with raises or contextlib.nullcontext():
        known = bench.entry_of(found_runs.read(tmp_path))
        assert known["evaluations"][0]["eval_return_mean"] == 12.0
