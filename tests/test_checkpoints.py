import jax
import numpy as np

from jaxdqn import presets
from jaxdqn.agent import learner as learner_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.runtime import checkpoints, device, loop
from jaxdqn.runtime import mesh as mesh_lib

SPEC = api.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)
CHANGES = {"learning_starts_steps": 100, "replay_capacity": 800}


def filled_ring(config, built, mesh, key):
    """A ring with 200 rows of noise, written by the actor."""
    params = built.init_learner(key).params
    state, actor = built.init_ring(), built.init_actor(key)
    rng = np.random.default_rng(0)
    for r in range(200):
        rows = config.group_size
        row = ring_lib.blank_row(rows, (4,), np.float32).replace(
            frame=rng.normal(size=(rows, 4)).astype(np.float32),
            reward=np.ones(rows, np.float32),
            is_first=np.full(rows, r < config.num_groups),
        )
        actor, state, _ = built.act_and_record(
            params, actor, state, *device.put_row(mesh, row, epsilon=1.0)
        )
    return state


def test_what_is_saved_is_the_moment_of_saving(tmp_path, key):
    """Saving is asynchronous and updates donate the parameters: neither may disturb the other."""
    mesh = mesh_lib.make_mesh(1)
    config = presets.resolve("CartPole", "", CHANGES)
    built = device.build(config, SPEC, mesh)
    ring = filled_ring(config, built, mesh, key)
    state, sums = built.init_learner(key), built.init_sums()
    store = checkpoints.Checkpoints(tmp_path, keep=2)
    saved = {}
    for step in (1, 2, 3):
        saved[step] = jax.tree.map(np.array, (state.params, state.opt_state, state.updates))
        counters = loop.Counters(steps=step, updates=7 * step, episodes=3, time_s=1.5)
        store.save(state, counters)
        for _ in range(20):
            state, sums = built.learn(state, sums, ring)
    store.close()

    reopened = checkpoints.Checkpoints(tmp_path, keep=2)
    assert reopened.latest_step() == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]  # the oldest is gone
    for step in (2, 3):
        restored, counters = reopened.restore(step, built.init_learner(key))
        assert counters == loop.Counters(steps=step, updates=7 * step, episodes=3, time_s=1.5)
        assert isinstance(restored, learner_lib.TrainState)
        now = (restored.params, restored.opt_state, restored.updates)
        jax.tree.map(np.testing.assert_array_equal, now, saved[step])
        assert jax.random.key_data(restored.key).tolist() == jax.random.key_data(state.key).tolist()
        # Restored arrays can be donated like any others.
        built.learn(restored, built.init_sums(), ring)
    reopened.close()


def test_updates_and_acting_work_in_place(key):
    mesh = mesh_lib.make_mesh(1)
    config = presets.resolve("CartPole", "", CHANGES)
    built = device.build(config, SPEC, mesh)
    ring = filled_ring(config, built, mesh, key)
    state, sums = built.init_learner(key), built.init_sums()
    before = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)}
    old = jax.tree.leaves(state.params)
    state, sums = built.learn(state, sums, ring)
    assert all(leaf.is_deleted() for leaf in old)
    assert {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)} == before
    assert sums[-1] == config.slice_updates == state.updates
