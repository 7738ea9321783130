"""What falls due between two turns, and what the clock of training counts."""

import dataclasses
import time
import types

import jax.numpy as jnp
import pytest

from jaxdqn.algorithms import run_state
from jaxdqn.settings import presets
from jaxdqn.training import due_work, stopwatch

PERIODS = {
    "total_steps": 10_000,
    "log_every_steps": 1_000,
    "eval_every_steps": 2_500,
    "checkpoint_every_steps": 2_000,
    "record_every_steps": 4_000,
    "record_every_episodes": 10,
}
CONFIG = presets.resolve("CartPole", "classic", PERIODS)


def due(then, now, games=(0, 0), evaluated_step=0, must_save=False):
    counters = (
        run_state.Counters(steps=steps, episodes=episodes)
        for steps, episodes in zip((then, now), games, strict=True)
    )
    found = due_work.what_is_due(
        CONFIG, *counters, evaluated_step=evaluated_step, must_save=must_save
    )
    return {name for name, is_due in found._asdict().items() if is_due}


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        (100, 108, set()),
        (996, 1_004, {"log"}),  # environments together step over a multiple
        (1_000, 1_008, set()),  # the multiple itself was the turn before
        (1_992, 2_000, {"log", "save"}),
        (3_996, 4_004, {"log", "save", "evaluate", "record"}),
        (9_996, 10_004, {"log", "save", "evaluate"}),
    ],
)
def test_periods_of_steps(then, now, expected):
    assert due(then, now) - ({"evaluate"} if now < 2_500 else set()) == expected


def test_an_evaluation_that_a_signal_cut_short_is_made_up_for():
    assert "evaluate" in due(3_000, 3_008, evaluated_step=0)
    assert "evaluate" not in due(3_000, 3_008, evaluated_step=2_504)


def test_films_are_due_by_games_too():
    assert due(100, 108, games=(9, 10)) == {"record"}
    assert due(100, 108, games=(10, 19)) == set()


def test_a_checkpoint_that_failed_is_tried_again_with_the_next_row():
    assert due(1_500, 1_508, must_save=True) == set()
    assert due(2_996, 3_004, must_save=True, evaluated_step=2_500) == {"log", "save"}


def test_the_last_row_comes_with_the_last_step():
    config = presets.resolve("CartPole", "classic", {**PERIODS, "total_steps": 9_500})
    found = due_work.what_is_due(
        config,
        run_state.Counters(steps=9_496),
        run_state.Counters(steps=9_504),
        evaluated_step=7_500,
        must_save=False,
    )
    assert found.log


def test_the_stopwatch_leaves_out_what_it_is_paused_for():
    state = types.SimpleNamespace(
        counters=run_state.Counters(), train_state=types.SimpleNamespace(updates=jnp.int32(0))
    )
    began, watch = time.monotonic(), stopwatch.Stopwatch()
    before = watch.training_s(state)
    with watch.paused(state):
        paused = time.monotonic()
        time.sleep(0.2)
        paused = time.monotonic() - paused
    watch.read(state)
    passed = watch.training_s(state) - before
    whole = time.monotonic() - began
    assert 0 < state.counters.time_s <= whole - paused and 0 < passed <= whole - paused
    before = state.counters.time_s
    with pytest.raises(ZeroDivisionError), watch.paused(state):
        time.sleep(0.2)
        raise ZeroDivisionError
    watch.read(state)
    assert state.counters.time_s - before < 0.2


def test_what_saves_within_a_pause_adds_no_training():
    state = types.SimpleNamespace(
        counters=run_state.Counters(), train_state=types.SimpleNamespace(updates=jnp.int32(0))
    )
    watch = stopwatch.Stopwatch()
    with watch.paused(state):  # an evaluation whose environments hang
        before = dataclasses.replace(state.counters)
        time.sleep(0.2)
        with watch.paused(state):  # a save
            time.sleep(0.2)
        watch.read(state)
    assert state.counters.time_s == before.time_s
    assert state.counters.wall_time_s >= before.wall_time_s + 0.4
    watch.read(state)
    assert state.counters.time_s > before.time_s  # it goes on after the pause


def test_the_clock_on_the_wall_goes_on():
    state = types.SimpleNamespace(
        counters=run_state.Counters(), train_state=types.SimpleNamespace(updates=jnp.int32(0))
    )
    watch, began = stopwatch.Stopwatch(begun_s=100.0), time.monotonic()
    with watch.paused(state):
        time.sleep(0.2)
    watch.read(state)
    assert 100.2 <= state.counters.wall_time_s <= 100 + time.monotonic() - began
    assert state.counters.time_s < 100
    assert 0 < stopwatch.process_age_s() < time.time()
