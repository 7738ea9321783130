"""Peers that train for so many minutes, on an interpreter that stands for theirs."""

import sys
import time

import pytest

from benchmarks import timed_peers, timed_runs
from jaxdqn import errors

# Stands for Gymnasium, the ALE and Stable-Baselines3: steps of a millisecond, scores as steps.
PEER = """
import sys, time, types
parts = ("callbacks", "env_util", "evaluation", "vec_env")
for part in ("common", *(f"common.{part}" for part in parts)):
    sys.modules[f"{__name__}.{part}"] = sys.modules[__name__]
register_envs = lambda module: None
BaseCallback = type("BaseCallback", (), {})
VecFrameStack = lambda env, depth: env
def make_atari_env(name, num_envs, seed):
    assert name == "PongNoFrameskip-v4"
    return num_envs, seed
class DQN:
    exploration_rate, batch_size = 0.5, 32
    def __init__(self, policy, env, seed, learning_starts, exploration_fraction, **_):
        assert (env, seed, exploration_fraction) == ((1, 3), 3, 0.1)
        self.learning_starts = learning_starts
    def learn(self, steps, callback):
        callback.model = self
        for step in range(1, steps + 1):
            time.sleep(0.001)
            self.num_timesteps = callback.num_timesteps = step
            self._n_updates = max(0, step - self.learning_starts) // 4
            if not callback._on_step():
                break
        callback._on_training_end()
        assert self.exploration_rate == 0.5
def evaluate_policy(model, env, episodes, deterministic, warn):
    assert (env, episodes, model.exploration_rate) == ((8, 10_003), 7, 0.01)
    time.sleep(0.5)
    return model.num_timesteps, 0.0
"""


@pytest.fixture
def python(tmp_path):
    """A Python with packages that stand for a peer's."""
    stub = tmp_path / "stub"
    stub.mkdir()
    for name in ("ale_py", "gymnasium", "stable_baselines3"):
        (stub / f"{name}.py").write_text(PEER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={stub} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_a_peer_ends_by_its_clock_which_stands_still_in_evaluations(python, tmp_path, capsys):
    peer = timed_peers.stable_baselines3("stable_baselines3", python)
    budget = timed_peers.Budget(0.03, 10_000, 400, 7)
    path = tmp_path / "runs" / "peer.json"
    began = time.monotonic()
    found = timed_peers.trained(path, peer, "Pong", 3, budget)
    took_s = time.monotonic() - began
    points, row = found["points"], found["row"]
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(points)
    assert shown[0].startswith("stable_baselines3: 400.0 after 400 steps, 0.0 minutes")
    assert [point.step for point in points[:-1]] == [*range(400, points[-1].step, 400)]
    assert [point.score for point in points] == [point.step for point in points]
    assert points[-1].minutes >= 0.03 and took_s > 60 * points[-1].minutes + 0.5 * len(points)
    assert found["settings"]["learning_starts"] == 100  # of 100,000, as 10,000 of 10M steps
    assert row["samples_per_step"] == pytest.approx(8, rel=0.02)  # of those that it learned from
    assert row["step"] == points[-1].step and row["memory_used_bytes"] > 1e6
    learning = found["learning"]
    assert learning["step"] == 101 and 0.1 < learning["time_s"] < row["time_s"]
    assert timed_peers.trained(path, None, "Pong", 3, budget) == found  # known already
    # The last step of its schedule is scored too.
    ended = peer.train("Pong", 3, budget._replace(minutes=9, steps=500))
    assert [step for _, step, _ in ended["points"]] == [400, 500]


@pytest.fixture
def script(tmp_path):
    """Where a file of CleanRL is to lie."""
    path = tmp_path / "cleanrl" / "dqn_atari_jax.py"
    path.parent.mkdir()
    return path


def test_cleanrl_prints_its_returns(python, script):
    script.write_text(
        "import sys, time\n"
        "assert sys.argv[1:4:2] == ['--env-id', '--seed'] and sys.argv[2] == 'PongNoFrameskip-v4'\n"
        "for game in range(10**6):\n"
        "    print(f'global_step={100 * game}, episodic_return=[{game}.]')\n"
        "    time.sleep(0.01)\n"
    )
    budget = timed_peers.Budget(0.02, 0, 1_000, 7)
    found = timed_peers.cleanrl(script, python).train("Pong", 3, budget)
    first, *_, last = found["points"]
    assert (first.step, first.score) == (2_900, 14.5)  # the mean of 30 returns
    assert last.step == found["row"]["step"] and last.score == last.step / 100 - 14.5
    assert last.minutes >= 0.02
    assert found["learning"]["step"] == 100  # it has no flag that says from where on
    script.write_text("print('no game', flush=True)\nraise SystemExit('error: no emulator')\n")
    budget = budget._replace(steps=1_000_000)
    with pytest.raises(errors.RunError, match=r"dqn_atari_jax\.py failed with code 1: error: no"):
        timed_peers.cleanrl(script, python).train("Pong", 3, budget)


def test_cleanrl_gets_schedules_and_memory_for_its_steps(python, script):
    script.write_text(
        "learning_starts, buffer_size = 80000, 1000000\n"
        "print('global_step=2401, episodic_return=[1.]')\n"
    )
    peer = timed_peers.cleanrl(script, python)
    usual, scaled, long = (
        " ".join(peer.train("Pong", 3, timed_peers.Budget(1, steps, 1_000, 7))["settings"]["flags"])
        for steps in (0, 300_000, 20_000_000)
    )
    assert usual.endswith("--learning-starts 80000")
    assert "--learning-starts 2400 " in scaled and scaled.endswith("--buffer-size 300000")
    assert "--learning-starts 80000 " in long and long.endswith("--buffer-size 1000000")


def test_minutes_of_peers_follow_from_their_rate_alone():
    """What they took before they learned is by their own clock."""

    def peer(game, seed, budget):
        assert (game, seed, budget.minutes, budget.steps) == ("Pong", 0, 3, 300_000)
        row = {"step": 700, "time_s": 90.0}
        return {"points": [], "learning": {"step": 100, "time_s": 60.0}, "row": row}

    alone = timed_peers.rate("a peer", timed_peers.Peer(None, peer), "Pong", 3, 300_000)
    assert alone == (20.0, 100, 60.0)
    found = {
        "points": [timed_runs.Point(1, 50, 1.0), timed_runs.Point(9, 500, 2.0)],
        "learning": {"step": 101, "time_s": 12.0},
        "row": {"step": 500, "time_s": 540.0},
    }
    early, late = timed_peers.curve(found, alone).points
    assert early == (pytest.approx(12 * 50 / 101 / 60), 50, 1.0)
    assert late == (pytest.approx((12 * 100 / 101 + 400 / 20) / 60), 500, 2.0)
    never = timed_peers.Peer(None, lambda *_: found | {"learning": None})
    with pytest.raises(errors.RunError, match="a peer: learns nothing in 3 minutes"):
        timed_peers.rate("a peer", never, "Pong", 3, 300_000)
