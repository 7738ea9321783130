import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.agent import backward_sweep, motion
from jaxdqn.algorithms import run_state, sweep, sweep_programs
from jaxdqn.assembly import device_programs
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import presets
from tests import program, rings

DISCOUNT = 0.97


def segment(q_values, action, reward, ended, is_state):
    """Of one environment; lists become [T, 1, ...]."""
    return backward_sweep.Segment(
        q_values=jnp.asarray(q_values, jnp.float32)[:, None],
        action=jnp.asarray(action, jnp.int32)[:, None],
        reward=jnp.asarray(reward, jnp.float32)[:, None],
        ended=jnp.asarray(ended, bool)[:, None],
        is_state=jnp.asarray(is_state, bool)[:, None],
    )


def slow_backward(memory, discount):
    """The same by loops over environments and rows, in float32 as the device has it."""
    q_values = np.array(memory.q_values)
    error = np.zeros(memory.action.shape, np.float32)
    num_rows, num_envs = memory.action.shape
    for env in range(num_envs):
        for row in reversed(range(num_rows - 1)):
            if not memory.is_state[row, env]:
                continue
            value = memory.reward[row + 1, env]
            if not memory.ended[row + 1, env]:
                value = value + np.float32(discount) * q_values[row + 1, env].max()
            action = memory.action[row, env]
            error[row, env] = abs(value - q_values[row, env, action])
            q_values[row, env, action] = value
    return q_values, error


def test_a_sweep_equals_a_slow_loop_bit_for_bit():
    rng = np.random.default_rng(0)
    rows, envs, actions = 200, 7, 4
    last = rng.random((rows, envs)) < 0.05  # of a game
    time_limit = last & (rng.random((rows, envs)) < 0.3)
    life_lost = rng.random((rows, envs)) < 0.05
    is_state = ~last
    is_state[-1] = False
    is_state[150:] &= np.arange(envs) != 3  # the segment of one environment is shorter
    memory = backward_sweep.Segment(
        q_values=rng.normal(size=(rows, envs, actions)).astype(np.float32),
        action=rng.integers(0, actions, (rows, envs)).astype(np.int32),
        reward=rng.integers(-1, 2, (rows, envs)).astype(np.float32),
        ended=(last & ~time_limit) | life_lost,
        is_state=is_state,
    )
    swept, error = jax.jit(backward_sweep.backward)(jax.tree.map(jnp.asarray, memory), DISCOUNT)
    expected_swept, expected_error = slow_backward(memory, DISCOUNT)
    np.testing.assert_array_equal(swept, expected_swept)
    np.testing.assert_array_equal(error, expected_error)
    assert np.any(error > 0)


def test_a_reward_travels_back_along_a_whole_game():
    """+1 on the step into row 10 is worth 0.97 ** n in the state n steps before that step."""
    rows = 12
    reward = np.zeros(rows)
    reward[10] = 1
    whole = segment(np.zeros((rows, 2)), [0] * rows, reward, [0] * rows, [1] * 11 + [0])
    swept, _ = backward_sweep.backward(whole, DISCOUNT)
    np.testing.assert_allclose(swept[:10, 0, 0], DISCOUNT ** np.arange(9, -1, -1), rtol=1e-6)
    np.testing.assert_array_equal(swept[10:, 0], 0)
    np.testing.assert_array_equal(swept[:, 0, 1], 0)  # the action that nobody took


def test_a_lost_life_cuts_it():
    reward = [0, 0, 0, 0, 1, 0]
    cut = segment(np.zeros((6, 1)), [0] * 6, reward, [0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0])
    swept, _ = backward_sweep.backward(cut, DISCOUNT)
    np.testing.assert_allclose(swept[:, 0, 0], [0, 0, DISCOUNT, 1, 0, 0], rtol=1e-6)


def test_a_value_by_hand_and_how_much_it_changed():
    """1 + 0.97 * 1.83 = 2.7751 takes the place of 2.5; the newest row keeps its values."""
    by_hand = segment([[2.5, 1.0], [1.2, 1.83]], [0, 1], [0, 1], [0, 0], [1, 0])
    swept, error = backward_sweep.backward(by_hand, DISCOUNT)
    np.testing.assert_allclose(swept[:, 0], [[2.7751, 1.0], [1.2, 1.83]], rtol=1e-6)
    np.testing.assert_allclose(error[:, 0], [0.2751, 0.0], rtol=1e-5)


def ring_of(rows, **settings):
    """One environment's ring with rows of (reward, flags), action values 0 and 1, action 0."""
    ring = rings.make_ring(
        num_rows=8,
        frame_shape=(1,),
        frame_dtype=jnp.dtype("float32"),
        frame_stack=1,
        stride=1,
        n_step=1,
        discount=DISCOUNT,
        num_q_values=2,
        **settings,
    )
    state = ring.init(1)
    for number, (reward, flags) in enumerate(rows):
        row = ring_lib.blank_row(1, (1,), np.float32)
        row = row.replace(
            frame=np.full((1, 1), number, np.float32),
            reward=np.full(1, reward, np.float32),
            terminated=np.array([bool(flags & ring_lib.TERMINATED)]),
            truncated=np.array([bool(flags & ring_lib.TRUNCATED)]),
            is_first=np.array([bool(flags & ring_lib.FIRST)]),
            life_lost=np.array([bool(flags & ring_lib.LIFE_LOST)]),
        )
        state = ring.add(state, row, jnp.zeros(1, jnp.int32), {"q_values": jnp.array([[0.0, 1.0]])})
    return ring, state


def test_the_newest_row_and_a_games_last_row_are_no_states():
    """Neither has an answer; unused slots of the memory are none either."""
    rows = [(0, ring_lib.FIRST), (0, 0), (1, ring_lib.TERMINATED), (0, ring_lib.FIRST), (0, 0)]
    ring, state = ring_of(rows)
    outcomes = ring.outcomes(state)
    assert outcomes.is_state[:, 0].tolist() == [True, True, False, True, *[False] * 4]


@pytest.mark.parametrize(
    ("flag", "settings", "ended"),
    [
        (ring_lib.TERMINATED, {}, True),
        (ring_lib.TRUNCATED, {}, False),  # the game would have gone on
        (ring_lib.TRUNCATED, {"time_limit_ends": True}, True),
        (ring_lib.LIFE_LOST, {}, False),
        (ring_lib.LIFE_LOST, {"life_loss_ends": True}, True),
    ],
)
def test_what_ends_a_return(flag, settings, ended):
    ring, state = ring_of([(0, ring_lib.FIRST), (7, flag)], **settings)
    outcomes = ring.outcomes(state)
    assert bool(outcomes.ended[1, 0]) == ended
    assert outcomes.reward[1, 0] == 7


def test_rewards_are_clipped_for_learning():
    ring, state = ring_of([(0, ring_lib.FIRST), (7, 0), (-7, 0)], reward_clip=1.0)
    assert ring.outcomes(state).reward[:3, 0].tolist() == [0, 1, -1]
    assert state.reward[:3, 0].tolist() == [0, 7, -7]


def test_states_with_large_errors_come_first_and_every_state_once(key):
    rng = np.random.default_rng(0)
    error = rng.random(1000).astype(np.float32)
    is_state = rng.random(1000) < 0.8
    order = backward_sweep.shuffle(key, jnp.asarray(error), jnp.asarray(is_state), 0.9)
    large, small = set(np.flatnonzero(is_state & (error > 0.9))), int(order.num_small)
    assert int(order.num_large) == len(large)
    assert len(large) + small == is_state.sum()
    position = np.asarray(order.position)
    assert set(position[: len(large)]) == large
    assert set(position[: is_state.sum()]) == set(np.flatnonzero(is_state))
    other = backward_sweep.shuffle(
        jax.random.key(1), jnp.asarray(error), jnp.asarray(is_state), 0.9
    )
    assert not np.array_equal(position[: len(large)], other.position[: len(large)])


def order_of(num_large, num_small):
    return backward_sweep.Order(
        jnp.arange(num_large + num_small + 5), jnp.int32(num_large), jnp.int32(num_small)
    )


@pytest.mark.parametrize(
    ("num_large", "num_small", "large"),
    [
        (100, 900, 16),  # half of the batch
        (900, 100, 29),  # nine tenths, as in the memory (28.8)
        (3, 900, 3),  # no more than there are
        (900, 3, 32),  # nearly all of the memory
        (40, 0, 32),
        (0, 40, 0),
    ],
)
def test_the_share_of_large_errors_in_a_batch(num_large, num_small, large):
    order = order_of(num_large, num_small)
    positions = np.asarray(backward_sweep.batch_positions(order, jnp.int32(1), 32, 0.5))
    assert (positions < num_large).sum() == large
    assert len(set(positions.tolist())) == 32  # without replacement
    assert positions.max() < num_large + num_small


def test_batches_walk_through_each_stratum():
    order = order_of(48, 480)
    batches = [
        np.asarray(backward_sweep.batch_positions(order, jnp.int32(b), 32, 0.5)) for b in range(30)
    ]
    assert set(np.concatenate(batches[:3])[np.concatenate(batches[:3]) < 48]) == set(range(48))
    small = np.concatenate(batches)
    small = small[small >= 48]
    assert len(small) == 480
    assert set(small) == set(range(48, 528))


@pytest.mark.parametrize(
    ("steps", "states", "loss_limit", "max_epochs", "learning_rate"),
    [
        (0, 20_000, 0.1, 5.0, 1e-3),
        (2_500_000, 110_000, 0.0575, 7.5, 5.05e-4),
        (5_000_000, 200_000, 0.015, 10.0, 1e-5),
        (9_000_000, 200_000, 0.015, 10.0, 1e-5),
    ],
)
def test_schedules_of_the_tutorial(steps, states, loss_limit, max_epochs, learning_rate):
    config = presets.resolve("", "hvass_breakout_literal", {})
    found = sweep.schedule(config, steps)
    np.testing.assert_allclose(found, (states, loss_limit, max_epochs, learning_rate), rtol=1e-9)


def test_a_trace_fades_as_the_tutorial_says():
    """A pixel that moved once: 255, 191, 143, ...; a change of 20 grey levels is none."""
    frames = np.zeros((12, 2, 2), np.uint8)
    frames[1:, 0, 0] = 21
    frames[1:, 1, 1] = 20
    state, seen = motion.init((2, 2)), []
    for number, frame in enumerate(frames):
        state = motion.advance(state, jnp.asarray(frame), jnp.asarray(number == 0))
        seen.append(np.asarray(motion.channels(state)))
        np.testing.assert_array_equal(seen[-1][0], frame)
    trace = [int(channels[1, 0, 0]) for channels in seen]
    assert trace == [0, 255, 191, 143, 107, 80, 60, 45, 34, 25, 19, 14]
    assert all(channels[1, 1, 1] == 0 for channels in seen)


def test_a_trace_begins_anew_with_a_game_alone():
    state = motion.init((1, 1))
    state = motion.advance(state, jnp.full((1, 1), 200, jnp.uint8), jnp.asarray(False))
    assert state.trace == 255
    state = motion.advance(state, jnp.full((1, 1), 90, jnp.uint8), jnp.asarray(True))
    assert state.trace == 0


def test_statistics_cover_used_rows_alone(key):
    """Of a memory that was full before and holds little now."""
    changes = {"num_envs": 2, "replay_capacity": 240}
    changes |= {"hidden_sizes": (8,), "img_height": 21, "img_width": 16}
    config, mesh = presets.resolve("", "hvass_breakout", changes), mesh_lib.make_mesh(1)
    spec = api.EnvSpec("Breakout-v5", (21, 16), np.dtype("uint8"), 4, 4)
    built, sweeper = (
        device_programs.build(config, spec, mesh),
        sweep_programs.build(config, spec, mesh),
    )
    ring = built.init_ring()
    ring = jax.tree.map(jnp.ones_like, ring)  # what an earlier cycle left: rewards and flags of 1
    ring = ring.replace(count=jnp.int32(10), reward=ring.reward.at[:10].set(0.0))
    ring, swept, statistics = sweeper.sweep(ring)
    told = dict(zip(sweep_programs.STATISTICS, statistics.tolist(), strict=True))
    assert told["sweep_states"] == 8  # ten rows in two streams, less the newest of each
    assert told["sweep_nonzero_reward_share"] == 0
    assert told["sweep_q_before"] == 1
    np.testing.assert_allclose(told["sweep_q_change"], 1 - 0.97, rtol=1e-5)
    assert int(swept.is_state.sum()) == 8
    np.testing.assert_array_equal(ring.extras["q_values"][10:], 1.0)
    assert sweeper.empty(ring).count == 0


@pytest.mark.parametrize("written", [64, 63, 40, 13])
def test_a_sweep_of_two_groups_equals_a_slow_loop_over_each(written):
    """Rows of the groups lie in turn; a memory may end after either of them."""
    changes = {"num_envs": 6, "replay_capacity": 192, "hidden_sizes": (8,)}
    config = presets.resolve("", "hvass_breakout", changes)
    spec = api.EnvSpec("Breakout-v5", (105, 80), np.dtype("uint8"), 4, 4)
    mesh, rng = mesh_lib.make_mesh(1), np.random.default_rng(written)
    ring = device_programs.build(config, spec, mesh).init_ring()
    rows, envs = ring.flags.shape
    assert (rows, envs) == (64, 3)
    ends = [0, 0, 0, 0, 0, ring_lib.TERMINATED, ring_lib.TRUNCATED, ring_lib.LIFE_LOST]
    ring = ring.replace(
        extras={"q_values": jnp.asarray(rng.normal(size=(rows, envs, 4)), jnp.float32)},
        action=jnp.asarray(rng.integers(0, 4, (rows, envs)), jnp.int32),
        reward=jnp.asarray(rng.integers(-3, 4, (rows, envs)), jnp.float32),
        flags=jnp.asarray(rng.choice(ends, (rows, envs)), jnp.uint8),
        count=jnp.int32(written),
    )
    before = jax.device_get(ring)
    expected, changed = before.extras["q_values"].copy(), np.zeros((rows, envs), np.float32)
    is_state = np.zeros((rows, envs), bool)
    for row in reversed(range(written - 2)):
        for env in range(envs):
            if before.flags[row, env] & (ring_lib.TERMINATED | ring_lib.TRUNCATED):
                continue
            is_state[row, env] = True
            value = np.clip(before.reward[row + 2, env], -1, 1)
            if not before.flags[row + 2, env] & (ring_lib.TERMINATED | ring_lib.LIFE_LOST):
                value = value + np.float32(0.97) * expected[row + 2, env].max()
            at = row, env, before.action[row, env]
            changed[row, env] = abs(value - expected[at])
            expected[at] = value
    swept, found, statistics = sweep_programs.build(config, spec, mesh).sweep(ring)
    np.testing.assert_array_equal(swept.extras["q_values"], expected)
    np.testing.assert_array_equal(found.error, changed)
    np.testing.assert_array_equal(found.is_state, is_state)
    told = dict(zip(sweep_programs.STATISTICS, statistics.tolist(), strict=True))
    largest = before.extras["q_values"].max(axis=2)[is_state]
    np.testing.assert_allclose(told["sweep_q_before"], largest.mean(), rtol=1e-4)
    np.testing.assert_allclose(told["sweep_large_error_share"], (changed[is_state] > 0.1).mean())
    nonzero = np.roll(before.reward, -2, axis=0)[is_state] != 0
    np.testing.assert_allclose(told["sweep_nonzero_reward_share"], nonzero.mean(), rtol=1e-6)


def test_what_a_memory_holds_at_the_end_is_learned_whichever_group_was_last():
    """The loop stops after any group's turn."""
    config = presets.resolve("", "hvass_breakout", {"num_envs": 6, "replay_capacity": 192})
    swept = []

    def sweep_memory(ring):
        swept.append(ring)
        raise StopIteration

    programs = sweep_programs.Programs(None, sweep_memory, *(None,) * 4)
    learn = sweep.learning(config, programs, mesh_lib.make_mesh(1)).learn
    for rows in (9, 10):
        counters = run_state.Counters(config.total_steps)
        state = run_state.RunState(None, None, [], counters=counters, ring="ring", rows=rows)
        with pytest.raises(RuntimeError):  # what a generator makes of StopIteration
            next(learn(state, run_state.Counters()))
    assert swept == ["ring", "ring"]


SMALL = (
    "--preset=hvass_breakout",
    "--num_envs=8",
    "--replay_capacity=800",
    "--sweep_fraction_start=0.5",
    "--sweep_max_epochs_start=2",
    "--total_steps=1004",
    "--batch_size=64",
    "--hidden_sizes=16",
    "--img_height=42",
    "--img_width=32",
    "--max_episode_steps=36",
    "--log_every_steps=250",
    "--eval_every_steps=0",
    "--eval_episodes=2",
    "--held_out_observations=0",
)


def sweeps_of(path, num_devices):
    """A small run's rows of sweeps, after what it printed and wrote has been looked at."""
    result = program.train(*SMALL, f"--run_dir={path}", num_devices=num_devices)
    assert result.returncode == 0, result.stderr
    assert "after sweeps of 400 to 4" in result.stdout
    lines = (path / "metrics.jsonl").read_text().splitlines()
    sweeps = [row for row in map(json.loads, lines) if "sweep_states" in row]
    training, evaluations = program.rows(path)
    assert len(evaluations) == 1 and evaluations[0]["eval_episodes"] == 2
    batches = sum(round(row["sweep_epochs"] * -(-row["sweep_states"] // 64)) for row in sweeps)
    assert training[-1]["updates"] == batches
    return sweeps


def test_a_run_sweeps_fits_and_empties_its_memory(tmp_path):
    for num_devices in (1, 2):
        sweeps = sweeps_of(tmp_path / str(num_devices), num_devices)
        assert len(sweeps) == 3  # two of 400 states, and what is left at the end
        assert all(375 < row["sweep_states"] <= 400 for row in sweeps[:2])
        assert 150 < sweeps[2]["sweep_states"] < 225
        for row in sweeps:
            assert 1 <= row["sweep_epochs"] <= 2 and row["sweep_loss"] >= 0
            assert row["sweep_q_change"] > 0
            assert 0 < row["sweep_episode_end_share"] < 0.05
