"""Every field of a run's state is saved, or says why it need not be."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.algorithms import api, run_state
from jaxdqn.algorithms.run_state import Where
from jaxdqn.assembly import device_programs
from jaxdqn.checkpointing import checkpoint_reader, checkpoint_writer, replay_blocks
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.settings import presets
from jaxdqn.training import checkpoint_state, session, setup

SPEC = envs.EnvSpec("Breakout-v5", (21, 16), np.dtype("uint8"), 4, 4)
FIELDS = {field.name: field for field in dataclasses.fields(run_state.RunState)}


def make(preset, changes):
    """A run before its first step: its setup, its devices' side and its state."""
    changes = {"num_envs": 4, "replay_capacity": 160, "hidden_sizes": (8,), **changes}
    config, mesh = presets.resolve("Breakout", preset, changes), mesh_lib.make_mesh(1)
    made = setup.Setup(config, SPEC, mesh, None, False, 160, 0, 0)
    device = device_programs.build(config, SPEC, mesh)
    learning = api.chosen(config).build(config, SPEC, mesh)
    return made, device, session.new_state(made, device, learning)


SWEEPS = ("hvass_breakout", {"img_height": 21, "img_width": 16, "explore_max_steps": 8})
UPDATES = (
    "classic",
    {"learning_starts_steps": 64, "network": "mlp", "target_period_updates": 7},
)
PRIORITIZED = (UPDATES[0], {**UPDATES[1], "sampler": "prioritized"})


def noise(tree, seed):
    """The same arrays with other numbers in them."""
    random = np.random.default_rng(seed)

    def other(leaf):
        drawn = jnp.asarray(random.integers(0, 2, leaf.shape) + 1, leaf.dtype)
        return jax.device_put(drawn, leaf.sharding)

    return jax.tree.map(other, tree)


def disturb(state, config, device):
    """Gives each field that is saved another value than it has at the start."""
    ring = device.init_ring()
    written = jax.tree.map(
        lambda leaf, old: jax.device_put(
            jnp.where(jnp.arange(len(leaf)).reshape(-1, *[1] * (leaf.ndim - 1)) < 30, leaf, old),
            leaf.sharding,
        ),
        noise(ring.replace(count=None), 1),
        ring.replace(count=None),
    )
    state.ring = written.replace(count=jax.device_put(jnp.int32(30), ring.count.sharding))
    state.train_state = noise(state.train_state, 2)
    state.sums, state.actors = noise(state.sums, 3), noise(state.actors, 4)
    state.sampler = noise(state.sampler, 5)
    state.counters = run_state.Counters(60, 7, 5, 1.5)
    state.turn_began = run_state.Counters(58, 6, 4, 1.25)
    state.logged = run_state.Counters(50, 5, 3, 1.0)
    state.recent.add(3.0, 17)
    state.rows, state.learning_from_step, state.learning_from_update = 30, 12, 2
    own = api.chosen(config).own
    if own:
        numbers = {"told": {"sweep_states": 5.0}, "from_update": 3, "losses": [0.5, 0.25]}
        like = own.like(numbers, state.ring.flags.shape, mesh_lib.make_mesh(1))
        ones = jax.tree.map(
            lambda leaf: jax.device_put(jnp.ones(leaf.shape, leaf.dtype), leaf.sharding), like
        )
        state.own = own.unpack(ones, numbers)


def comparable(value):
    """What can be compared of a field's value."""
    if dataclasses.is_dataclass(value):
        return {name: comparable(part) for name, part in vars(value).items()}
    if hasattr(value, "all") and not hasattr(value, "dtype"):  # recent games
        return value.all()
    leaves = jax.tree.leaves(value)
    if any(isinstance(leaf, jax.Array) for leaf in leaves):
        return [np.asarray(leaf).tolist() for leaf in leaves]
    return value


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_says_how_it_is_saved(name):
    assert isinstance(FIELDS[name].metadata["saved"], run_state.Saved)


def restore(state, reader, made, device, say=pytest.fail):
    checkpoint_state.restore(
        state,
        reader,
        reader.newest_whole(pytest.fail),
        made.config,
        made.mesh,
        num_actions=4,
        init_ring=device.init_ring,
        say=say,
    )


@pytest.mark.parametrize(("preset", "changes"), [SWEEPS, UPDATES, PRIORITIZED])
def test_every_field_comes_back(tmp_path, preset, changes):
    """Through a checkpoint on disk, as a run that resumes reads it."""
    made, device, state = make(preset, changes)
    start = {name: comparable(getattr(state, name)) for name in FIELDS}
    disturb(state, made.config, device)
    expected = {name: comparable(getattr(state, name)) for name in FIELDS}

    def replay():
        like = jax.eval_shape(device.init_ring)
        folder = tmp_path / "replay"
        return replay_blocks.ReplayFiles(folder, like, made.mesh, made.config.num_groups)

    store = checkpoint_writer.Writer(tmp_path / "checkpoints", 2, replay=replay())
    own = api.chosen(made.config).own
    play, run = checkpoint_state.pack(state, (), own)
    store.save(checkpoint_state.LEARNER.encode(state.train_state), play, run, state.ring)
    assert store.close().error == ""

    _, device, fresh = make(preset, changes)
    restore(fresh, checkpoint_reader.Reader(tmp_path / "checkpoints", replay()), made, device)
    for name, field in FIELDS.items():
        found = comparable(getattr(fresh, name))
        if field.metadata["saved"].where == Where.NOWHERE:
            assert found == start[name], name
        elif (name == "sampler" and "sampler" not in changes) or (name == "own" and own is None):
            assert found == expected[name] == start[name]  # there is nothing to save
        else:
            assert found == expected[name] != start[name], name


def test_without_its_replay_a_run_fills_another_before_it_learns(tmp_path):
    made, device, state = make(*UPDATES)
    disturb(state, made.config, device)
    store = checkpoint_writer.Writer(tmp_path, 2)
    store.save(
        checkpoint_state.LEARNER.encode(state.train_state), *checkpoint_state.pack(state, (), None)
    )
    store.close()
    _, device, fresh = make(*UPDATES)
    said = []
    restore(fresh, checkpoint_reader.Reader(tmp_path), made, device, say=said.append)
    assert said == ["the checkpoint has no replay: learning resumes at step 124"]
    assert (fresh.rows, fresh.learning_from_step, fresh.learning_from_update) == (0, 60 + 64, 7)
    assert int(fresh.ring.count) == 0


def test_another_format_is_refused(tmp_path):
    made, device, state = make(*UPDATES)
    play, run = checkpoint_state.pack(state, (), None)
    store = checkpoint_writer.Writer(tmp_path, 2)
    store.save(checkpoint_state.LEARNER.encode(state.train_state), play, run | {"format": 1})
    store.close()
    with pytest.raises(errors.RunError, match="has format 1, this version reads 2"):
        restore(state, checkpoint_reader.Reader(tmp_path), made, device)


def test_a_fault_in_the_code_that_restores_is_shown(capsys):
    """As one in a plugin, which says nothing of the checkpoint."""

    class FaultError(AttributeError):
        pass

    def faulty(*_):
        raise FaultError("no such field")

    made, device, state = make(*UPDATES)
    _, run = checkpoint_state.pack(state, (), None)
    found = checkpoint_reader.Found(0, run, has_replay=False)
    reader = types.SimpleNamespace(newest_whole=lambda _: found, restore=faulty)
    with pytest.raises(
        errors.RunError, match="belong to this run: FaultError no such field"
    ) as caught:
        restore(state, reader, made, device)
    assert isinstance(caught.value.__cause__, FaultError)
    assert "in faulty" in capsys.readouterr().err
