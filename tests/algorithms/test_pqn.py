"""Rollouts are learned whole, and what is not finite is refused and shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.algorithms import pqn, run_state
from jaxdqn.assembly import device_programs, parts, schedules
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import presets

SPEC = api.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)
CHANGES = {"num_envs": 16, "rollout_steps": 8, "rollout_epochs": 2, "batch_size": 32}
CHANGES |= {"hidden_sizes": (8,)}


def make(num_devices=1, **changes):
    """Learning, and a run whose ring holds a rollout of random steps."""
    config = presets.resolve("CartPole", "classic_pqn", {**CHANGES, **changes})
    mesh = mesh_lib.make_mesh(num_devices)
    learning = pqn.build(config, SPEC, mesh)
    device = device_programs.build(config, SPEC, mesh)
    rows = parts.ring_layout(config, SPEC).num_rows
    ring, random = device.init_ring(), np.random.default_rng(0)

    def fill(leaf):
        drawn = random.normal(size=leaf.shape)
        return jax.device_put(jnp.asarray(drawn, leaf.dtype), leaf.sharding)

    ring = ring.replace(
        frame=fill(ring.frame),
        reward=fill(ring.reward),
        extras={ring_lib.Q_VALUES: fill(ring.extras[ring_lib.Q_VALUES])},
        count=jax.device_put(jnp.int32(rows), ring.count.sharding),
    )
    key = mesh_lib.put(mesh, jax.random.key(0), mesh_lib.REPLICATED)
    state = run_state.RunState(learning.init(key), device.init_sums(), [], ring=ring, rows=rows)
    return config, learning, state


def learn(learning, state):
    with jax.transfer_guard("allow"):
        return list(learning.learn(state, state.counters))


def test_a_rollout_is_learned_in_whole_epochs():
    config, learning, state = make()
    before = jax.device_get(state.train_state.params)
    (paused,) = learn(learning, state)
    assert state.counters.updates == config.updates_per_rollout == 2 * 16 * 8 // 32
    assert int(state.train_state.updates) == state.counters.updates
    assert set(paused.row) == {*pqn.STATISTICS, "learning_rate"}
    assert paused.row["lambda_return_std"] > 0 and paused.row["lambda_return_error"] > 0
    assert np.any(
        before["params"]["Dense_1"]["kernel"]
        != state.train_state.params["params"]["Dense_1"]["kernel"]
    )
    assert state.sums[-1] == state.counters.updates
    state.rows += 1  # the next rollout is not whole
    assert learn(learning, state) == []


def test_eight_devices_learn_as_one_within_rounding():
    """From other minibatches: the mean of what they learn from is the same."""
    found = []
    for num_devices in (1, 8):
        _, learning, state = make(num_devices)
        (paused,) = learn(learning, state)
        found.append([paused.row[name] for name in pqn.STATISTICS])
        leaves = jax.tree.leaves(state.train_state.params)
        for leaf in leaves:
            shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
            for shard in shards[1:]:
                np.testing.assert_array_equal(shard, shards[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize("num_devices", [1, 8])
def test_a_refused_update_is_shown(num_devices):
    _, learning, state = make(num_devices)
    with pytest.raises(run_state.NonFiniteError) as caught:
        learn(learning, with_reward(state, np.inf))
    assert "loss" in caught.value.quantities
    assert np.isinf(caught.value.batch.known_return).any()
    assert len(caught.value.batch.action) == 32
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state.train_state.params))


def with_reward(state, value):
    """The state with another reward of one step."""
    reward = np.array(state.ring.reward)
    reward[-3, 5] = value
    state.ring = state.ring.replace(reward=jax.device_put(reward, state.ring.reward.sharding))
    return state


def test_a_rollout_is_learned_from_the_refused_update_on():
    """By a run that resumes there: no rollout is passed over, and no update is made twice."""
    _, learning, whole = make(rollout_epochs=1, batch_size=16)
    learn(learning, with_reward(whole, 1.0))
    config, learning, state = make(rollout_epochs=1, batch_size=16)
    with pytest.raises(run_state.NonFiniteError):
        learn(learning, with_reward(state, np.inf))
    assert 0 < state.own.done < config.updates_per_rollout
    state.own = pqn.ALGORITHM.own.unpack(*pqn.ALGORITHM.own.pack(state.own))
    state.counters.updates = int(state.train_state.updates)
    with pytest.raises(run_state.NonFiniteError):
        forgive(state)
        learn(learning, state)
    forgive(with_reward(state, 1.0))
    assert len(learn(learning, state)) == 1 and state.own is None
    assert state.counters == whole.counters
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.device_get(state.train_state.params),
        jax.device_get(whole.train_state.params),
    )


def forgive(state):
    refused = jax.device_put(jnp.int32(0), state.train_state.refused.sharding)
    state.train_state, state.refused = state.train_state.replace(refused=refused), 0


def test_epsilon_decays_from_the_first_step():
    config = presets.resolve("CartPole", "classic_pqn", {"epsilon_decay_from_step": None})
    assert schedules.epsilon(config, 50_000) == pytest.approx(0.55)  # of 1 to 0.1 in 100,000


def test_the_plan_says_that_games_change_the_number_of_updates():
    config = presets.resolve("CartPole", "classic_pqn", CHANGES)
    told = "about 12,496 of 32, 2 samples per step, 8 after each rollout of up to 128 steps"
    assert pqn.plan(config) == told


def test_rollouts_fall_due_when_they_are_whole():
    config, _, state = make()
    layout = parts.ring_layout(config, SPEC)
    due = [rows for rows in range(100) if pqn.rows_due(config, layout, rows)]
    # One frame a stack: a state, 8 steps of each of two groups.
    assert due == [2 + 16 * n for n in range(1, 7)]
    assert layout.num_rows == state.rows == 18
