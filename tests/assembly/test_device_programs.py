"""What keeps the compiled functions fast, as far as it shows without a clock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.algorithms import api as algorithms
from jaxdqn.algorithms import dqn, replayed
from jaxdqn.assembly import device_programs as device_lib
from jaxdqn.assembly import turn_inputs
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.settings import presets

SPEC = api.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)
CONFIG = presets.resolve("Breakout", "atari", {"replay_capacity": 64_000})


class Parts:
    """A device and all that its functions take."""

    def __init__(self, config, key):
        mesh = mesh_lib.make_mesh(1)
        self.device = device_lib.build(config, SPEC, mesh)
        self.programs = replayed.build_programs(config, SPEC, mesh, dqn.make_learner)
        self.train_state, self.sums = self.programs.init(key), self.device.init_sums()
        self.ring, self.actor = self.device.init_ring(), self.device.init_actor(key)
        self.inputs = turn_inputs.blank(config, SPEC, mesh)

    def act_args(self):
        train_state = self.train_state
        return train_state.params, train_state.refused, self.actor, (), self.ring, self.inputs


@pytest.fixture(scope="module")
def parts():
    return Parts(CONFIG, jax.random.key(0))


def num_bytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def test_the_ring_is_written_in_place(parts):
    """No copy of it in what acting takes beside its arguments."""
    memory = parts.device.act_and_record.lower(*parts.act_args()).compile().memory_analysis()
    ring_bytes = num_bytes(parts.ring)
    assert ring_bytes > 450e6
    assert memory.alias_size_in_bytes >= ring_bytes
    assert memory.temp_size_in_bytes < 0.1 * ring_bytes


def test_updates_change_the_learner_in_place_and_copy_no_ring(parts):
    lowered = parts.programs.learn.lower(parts.train_state, parts.sums, (), parts.ring)
    memory = lowered.compile().memory_analysis()
    assert memory.alias_size_in_bytes >= num_bytes(parts.train_state)
    assert memory.temp_size_in_bytes < 0.2 * num_bytes(parts.ring)


@pytest.mark.parametrize("preset", ["rainbow", "iqn"])
def test_programs_return_what_they_take(preset, key):
    """In 64 bits too, and no keys: JAX starts what returns keys through Python, not through C++."""
    config = presets.resolve("Breakout", preset, {"replay_capacity": 20_000})
    with jax.enable_x64(True):
        mesh = mesh_lib.make_mesh(1)
        device = device_lib.build(config, SPEC, mesh)
        learning = algorithms.chosen(config).build(config, SPEC, mesh)
        state = jax.eval_shape(learning.init, key)
        actor, sums = jax.eval_shape(device.init_actor, key), jax.eval_shape(device.init_sums)
        sampler, ring = jax.eval_shape(device.init_sampler), jax.eval_shape(device.init_ring)
        inputs = turn_inputs.blank(config, SPEC, mesh)
        acted = jax.eval_shape(
            device.act_and_record, state.params, state.refused, actor, sampler, ring, inputs
        )
        learned = []

        def traced(function, *shaped, **_):
            learned.append(jax.eval_shape(function, *shaped))
            return function

        learning.compile_ahead(traced, state, sums, sampler, ring)
    assert kinds(acted[:3]) == kinds((actor, sampler, ring))
    assert kinds(learned[0][:3]) == kinds((state, sums, sampler))
    for leaf in jax.tree.leaves((acted, learned)):
        assert not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended)


def kinds(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_what_is_given_away_is_gone(key):
    """The donated arguments of a call are its results' memory."""
    parts = Parts(CONFIG, key)  # compiled by the tests above
    ring, actor, train_state = parts.ring, parts.actor, parts.train_state
    parts.actor, _, parts.ring, _ = parts.device.act_and_record(*parts.act_args())
    parts.programs.learn(train_state, parts.sums, (), parts.ring)
    assert ring.frame.is_deleted() and actor.stack.is_deleted()
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(train_state.params))
    assert not parts.ring.frame.is_deleted()


def test_parameters_stay_float32_when_computing_in_bfloat16(key):
    """And an update in bfloat16 is that in float32 to bfloat16's precision of 3 digits."""
    changes = {"replay_capacity": 20_000, "updates_per_slice": 1}
    moved = {}
    for dtype in ("float32", "bfloat16"):
        config = presets.resolve("Breakout", "atari", {**changes, "compute_dtype": dtype})
        parts = Parts(config, key)
        frame = np.random.default_rng(0).integers(0, 256, parts.ring.frame.shape, np.uint8)
        parts.ring = parts.ring.replace(
            frame=jnp.asarray(frame),
            reward=jnp.ones_like(parts.ring.reward),
            count=jnp.int32(1_000),
        )
        state, sums, *_ = parts.programs.learn(parts.train_state, parts.sums, (), parts.ring)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))
        moved[dtype] = jax.device_get(sums)
    loss, _, grad_norm, count = moved["float32"]
    assert count == 1 and loss > 0 and grad_norm > 0
    np.testing.assert_allclose(moved["bfloat16"], moved["float32"], rtol=0.03)
    assert (moved["bfloat16"] != moved["float32"]).any()
