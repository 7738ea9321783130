import contextlib
import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.assembly import memory
from jaxdqn.checkpointing import checkpoint_writer
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.rundir import layout
from jaxdqn.settings import presets
from jaxdqn.training import setup, working_memory

SPEC = api.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)


@pytest.fixture(scope="module")
def config():
    changes = {"num_envs": 16, "hidden_sizes": (64,), "replay_capacity": 80_000}
    changes["learning_starts_steps"] = 70_000
    return presets.resolve("CartPole", "classic", changes)


def needed(config, num_devices=1):
    return working_memory.needed_bytes(config, SPEC, mesh_lib.make_mesh(num_devices))


def test_memory_grows_with_batches_and_networks(config):
    base = needed(config)
    large = needed(dataclasses.replace(config, batch_size=16_384))
    activations = (16_384 - config.batch_size) * 64 * 4
    assert activations < large - base < 100 * activations
    wide = needed(dataclasses.replace(config, hidden_sizes=(512, 512)))
    more = memory.num_parameters(dataclasses.replace(config, hidden_sizes=(512, 512)), SPEC)
    more -= memory.num_parameters(config, SPEC)
    # The network, its target and the optimizer's two means stay; gradients come and go.
    assert 4 * more * 4 < wide - base < 30 * more * 4


def test_a_larger_replay_needs_no_more_beside_it(config):
    many = dataclasses.replace(config, replay_capacity=800_000)
    assert needed(many) < 1.1 * needed(config)


def test_each_device_has_the_network(config):
    wide = dataclasses.replace(config, hidden_sizes=(512, 512), batch_size=8)
    one, eight = needed(wide), needed(wide, 8)
    kept = 4 * 4 * memory.num_parameters(wide, SPEC)
    assert eight > 8 * kept and one > kept


def test_acting_counts_where_learning_is_not_compiled_ahead():
    changes = {"num_envs": 8, "batch_size": 64, "hidden_sizes": (64,)}
    config = presets.resolve("CartPole", "classic_pqn", changes)
    assert set(working_memory.programs(config, SPEC, mesh_lib.make_mesh(1))) == {"act", "cut"}
    assert needed(config) > 0


def test_a_run_is_prepared_with_what_the_compiler_says(config, tmp_path, monkeypatch):
    """Where memory is short, a batch whose update does not fit is refused before a run begins."""
    large = dataclasses.replace(config, batch_size=65_536)
    for which in ("free_device_bytes", "total_device_bytes"):
        monkeypatch.setattr(memory, which, lambda _: 1_230_000_000)
    path = tmp_path / "run"
    options = {"path": path, "overwrite": False, "capacity_chosen_by_user": False}
    with pytest.raises(errors.SettingError, match="besides the replay") as caught:
        setup.prepare(large, **options)
    assert caught.value.setting == "batch_size" and not path.exists()
    assert setup.prepare(config, **options).config == config
    with monkeypatch.context() as larger:  # machine, that others use too
        larger.setattr(memory, "total_device_bytes", lambda _: 10**12)
        with pytest.raises(errors.RunError, match="run cannot begin now: --batch_size: "):
            setup.prepare(large, **options)
    # A run that has begun did fit: it may do so again.
    layout.create(path, large)
    with pytest.raises(errors.RunError, match="run cannot be resumed now: --batch_size: "):
        setup.prepare(large, **options)


@pytest.mark.parametrize("logged", [50_000, 49_000])
def test_a_complete_run_needs_no_memory_for_its_replay(config, tmp_path, monkeypatch, logged):
    path = tmp_path / "run"
    layout.create(path, config)
    store = checkpoint_writer.Writer(path / layout.CHECKPOINTS, keep=1)
    run = {"steps": config.total_steps, "logged": {"steps": logged}}
    store.save({"a": jnp.ones(1)}, {"b": jnp.ones(1)}, run)
    assert store.close().error == ""
    monkeypatch.setattr(memory, "free_device_bytes", lambda _: 1_000_000)
    still_learns = pytest.raises(errors.RunError, match="cannot be resumed now")
    with contextlib.nullcontext() if logged == config.total_steps else still_learns:
        setup.prepare(config, path=path, overwrite=False, capacity_chosen_by_user=False)
