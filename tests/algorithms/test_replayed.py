"""What learns from the replay does so on one device and on eight, and refuses what it must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.algorithms import api, run_state
from jaxdqn.assembly import device_programs, parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns
from jaxdqn.settings import presets

SPEC = envs.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)
CHANGES = {"num_envs": 16, "replay_capacity": 640, "batch_size": 32}
CHANGES |= {"hidden_sizes": (8,), "learning_starts_steps": 128, "steps_per_update": 16}
PRIORITIZED = {"sampler": "prioritized", "importance_start": 0.4}
NOISY = {"noisy": True, "epsilon_start": 0.0, "epsilon_end": 0.0}
C51 = {"head": "c51", "value_min": 0.0, "value_max": 5.0, "num_atoms": 11}
# What learns alike whichever device draws: no random numbers but those of the draw.
ALIKE = {
    "dqn": {},
    "munchausen": {"algorithm": "munchausen"},
    "c51": {**C51, **PRIORITIZED, "dueling": True},
}
ALL = {
    **ALIKE,
    "noisy_m_iqn": {"algorithm": "munchausen", "head": "iqn", "num_quantiles": 4, **NOISY},
}


def make(name, num_devices):
    """Learning, and a run that owes three updates; every row of its replay is the same."""
    config = presets.resolve("CartPole", "classic", {**CHANGES, **ALL[name]})
    mesh = mesh_lib.make_mesh(num_devices)
    device = device_programs.build(config, SPEC, mesh)
    learning = api.chosen(config).build(config, SPEC, mesh)
    layout, rule = parts.ring_layout(config, SPEC), parts.return_rule(config)

    def filled(leaf, value):
        return jax.device_put(jnp.full(leaf.shape, value, leaf.dtype), leaf.sharding)

    ring, sampler = device.init_ring(), device.init_sampler()
    ring = ring.replace(
        frame=filled(ring.frame, 0.25),
        reward=filled(ring.reward, 0.5),
        action=filled(ring.action, 1),
        count=jax.device_put(jnp.int32(layout.num_rows), ring.count.sharding),
    )
    if config.sampler == "prioritized":
        low, high = returns.transition_rows(layout, rule, ring)
        num_envs, blocks, rows = sampler.mass.shape
        slots = np.arange(blocks * rows)
        mass = np.float32((slots >= low) & (slots < high)).reshape(blocks, rows)
        mass = np.broadcast_to(mass, (num_envs, blocks, rows))
        values = type(sampler)(mass, mass.sum(axis=2), mass.max(axis=2))
        sampler = jax.tree.map(lambda x, old: jax.device_put(x, old.sharding), values, sampler)
    key = mesh_lib.put(mesh, jax.random.key(0), mesh_lib.REPLICATED)
    state = run_state.RunState(
        learning.init(key), device.init_sums(), [], sampler, ring=ring, rows=layout.num_rows
    )
    state.counters.steps = 3 * config.slice_updates * config.steps_per_update
    return config, learning, state


def learn(learning, state):
    with jax.transfer_guard("allow"):
        return list(learning.learn(state, state.counters))


def assert_one_and_the_same(params, num_devices):
    """Replication is a promise of the update, not checked by the compiler."""
    for leaf in jax.tree.leaves(params):
        shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(shards) == num_devices
        for shard in shards[1:]:
            np.testing.assert_array_equal(shard, shards[0])


def assert_refused(learning, state):
    """Updates from what is not a number change nothing, and the first is shown."""
    begun = jax.device_get((state.train_state.params, state.sampler))
    reward = jax.device_put(np.full_like(state.ring.reward, np.nan), state.ring.reward.sharding)
    state.ring = state.ring.replace(reward=reward)
    state.counters.steps *= 2
    learn(learning, state)
    refused = int(state.train_state.refused)
    assert refused > 0
    with jax.transfer_guard("allow"), pytest.raises(run_state.NonFiniteError) as caught:
        learning.raise_if_refused(state, refused, state.drawn)
    assert "loss" in caught.value.quantities
    assert len(caught.value.batch.action) == 32 and np.isnan(caught.value.batch.reward).all()
    found = jax.device_get((state.train_state.params, state.sampler))
    jax.tree.map(np.testing.assert_array_equal, begun, found)


@pytest.mark.parametrize("name", ALL)
def test_eight_devices_learn_and_refuse_as_one(name):
    learners = []
    for num_devices in (1, 8):
        config, learning, state = make(name, num_devices)
        begun = jax.device_get(state.train_state.params)
        learn(learning, state)
        train_state, sampler = state.train_state, jax.device_get(state.sampler)
        assert int(train_state.updates) == 3 * config.slice_updates
        assert int(train_state.refused) == 0
        assert_one_and_the_same(train_state.params, num_devices)
        learned = jax.device_get(train_state.params)
        changed = jax.tree.map(lambda one, two: np.any(one != two), begun, learned)
        assert any(jax.tree.leaves(changed))
        learners.append(learned)
        if config.sampler == "prioritized":
            np.testing.assert_allclose(sampler.total, sampler.mass.sum(axis=2), rtol=1e-5)
            # Each device has learned priorities of its own environments.
            is_new = ~np.isin(sampler.mass, (0.0, 1.0)).reshape(num_devices, -1)
            assert np.all(np.any(is_new, axis=1))
        assert_refused(learning, state)
    if name in ALIKE:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *learners)
