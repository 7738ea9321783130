"""What is shown of a run's progress."""

import functools
import io
import pathlib
import sys

import jax.numpy as jnp
import pytest

from jaxdqn.assembly import env_spec
from jaxdqn.distributed import mesh
from jaxdqn.settings import presets
from jaxdqn.training import console, setup

ROW = {"episode_return_mean": 1.5, "loss": None, "epsilon": 1.0, "memory_used_bytes": 10**9}
ROW |= {"steps_per_second": 100.0, "time_s": 100.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch, columns=120):
    """Takes the place of both streams."""
    shown = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_the_bar_shows_the_first_loss_before_its_row(monkeypatch):
    shown = terminal(monkeypatch)
    progress, asked = console.Progress(100_000, 0), []

    def find_loss():
        asked.append(True)
        return 0.25

    progress.advance(20_100, 1.0, lambda: None)  # no update is made yet
    assert "loss" not in shown.getvalue()
    progress = console.Progress(100_000, 20_200)
    progress.row(20_200, ROW)
    progress.advance(20_300, 1.0, find_loss)
    progress.advance(20_400, 9.0, find_loss)
    progress.close()
    assert "return=1.5, loss=0.25, epsilon=1" in shown.getvalue()
    assert len(asked) == 1  # to know it the device is waited for


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(80, "return=-20.1, loss=0.00154]"), (120, "loss=0.00154, epsilon=0.0123, memory=1.00 GB]")],
)
def test_what_a_narrow_terminal_would_cut_is_left_out(monkeypatch, columns, expected):
    shown = terminal(monkeypatch, columns)
    progress = console.Progress(10_000_000, 0)
    progress.advance(1_000_000, 1.0, lambda: None)
    row = {"episode_return_mean": -20.1, "loss": 0.00154, "epsilon": 0.0123}
    progress.row(1_000_000, ROW | row)
    progress.close()
    assert expected in shown.getvalue().rpartition("\r")[2]


def test_a_first_loss_is_looked_for_now_and_then_alone(monkeypatch):
    terminal(monkeypatch)
    progress, asked = console.Progress(100_000, 0), []
    for step in range(1_000):
        progress.advance(step, 1.0 + step / 100, functools.partial(asked.append, step))
    progress.close()
    assert asked == [0, 501]


def test_the_time_that_is_left_is_told_after_ten_measured_seconds(capsys):
    progress = console.Progress(100_000, 0)
    progress.advance(15_000, 10.0, lambda: None)  # fills the replay, quickly
    steps = (20_000, 20_100, 20_900, 20_900, 20_900, 22_000, 22_100)
    for step, now_s in zip(steps, (16.0, 17.0, 26.0, 30.0, 36.0, 37.0, 38.0), strict=True):
        progress.advance(step, now_s, lambda: 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["    time  about 0:13:00 left without evaluations, at 100 steps/s"]


def test_it_is_told_every_ten_seconds_what_is_played_again(capsys):
    progress = console.Progress(100_000, 0)
    for step in range(1, 26):
        progress.play_again(step, 25, float(step))
    assert capsys.readouterr().out.splitlines() == [
        "playing 25 steps again, up to where the run was saved",
        "played 11 of 25 steps again",
        "played 21 of 25 steps again",
    ]


def test_the_plan_says_if_nothing_limits_a_game():
    for changes in ({}, {"max_episode_steps": 9}):
        config = presets.resolve("tests.toys.gym_envs:Endless-v0", "", changes)
        spec, one = env_spec.describe(config), mesh.make_mesh(1)
        made = setup.Setup(config, spec, one, pathlib.Path("run"), False, 8, 10**9, 10**9)
        plan = console.plan(made, {"params": jnp.zeros(1)}, 0)
        assert ("evaluations end a game after 27,000 steps" in plan) == (not changes)


def test_a_first_loss_may_come_with_a_row(capsys):
    progress = console.Progress(100_000, 0)
    progress.advance(15_000, 10.0, lambda: None)
    progress.row(20_000, ROW | {"loss": 0.5})
    for step, now_s in ((20_000, 11.0), (22_000, 31.0), (24_000, 51.0)):
        progress.advance(step, now_s, lambda: None)
    assert "time  about 0:12:40 left without evaluations, at 100 steps/s" in capsys.readouterr().out


def test_a_row_tells_the_time_that_is_left(capsys):
    console.Progress(100_000, 0).row(10_000, ROW)
    assert capsys.readouterr().out.startswith("step 10,000/100,000  100 steps/s  left 0:15:00")
    console.Progress(10**15, 0).row(1, ROW | {"steps_per_second": 0.1})
    assert "left 115740740 days, 17:46:40" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("env", "changes", "told"),
    [
        ("CoinrunEasy-v0", {}, "1 parameters (dense layers read every pixel; --network=small has"),
        ("Breakout", {"network": "mlp"}, "--network=small has convolutions)"),
        ("CoinrunEasy-v0", {"network": "small"}, "512, 1 parameters\n"),
        ("Catch", {}, "1 parameters\n"),  # a board of 10 x 5
        ("CartPole", {}, "1 parameters\n"),
    ],
)
def test_the_plan_says_if_dense_layers_read_images(env, changes, told):
    config = presets.resolve(env, "", {"hidden_sizes": (512,), **changes})
    spec, one = env_spec.describe(config), mesh.make_mesh(1)
    made = setup.Setup(config, spec, one, pathlib.Path("run"), False, 8, 10**9, 10**9)
    assert told in console.plan(made, {"params": jnp.zeros(1)}, 0)
