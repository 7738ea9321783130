import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn import errors
from jaxdqn.agent import learner as learner_lib
from jaxdqn.algorithms import dqn, replayed
from jaxdqn.assembly import device_programs, turn_inputs
from jaxdqn.checkpointing import (
    checkpoint_reader,
    checkpoint_writer,
    replay_blocks,
    run_item,
    saving_errors,
)
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import turn_notes
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import presets
from jaxdqn.storage import checksums

SPEC = api.EnvSpec("CartPole-v1", (4,), np.dtype("float32"), 2, 1)
CHANGES = {"learning_starts_steps": 100, "replay_capacity": 800}


def filled_ring(config, built, mesh, key):
    """A ring with 200 rows of noise, written by the actor."""
    params = replayed.build_programs(config, SPEC, mesh, dqn.make_learner).init(key).params
    state, actor = built.init_ring(), built.init_actor(key)
    rng = np.random.default_rng(0)
    for r in range(200):
        rows = config.group_size
        row = ring_lib.blank_row(rows, (4,), np.float32).replace(
            frame=rng.normal(size=(rows, 4)).astype(np.float32),
            reward=np.ones(rows, np.float32),
            is_first=np.full(rows, r < config.num_groups),
        )
        actor, _, state, _ = built.act_and_record(
            params,
            np.int32(0),
            actor,
            (),
            state,
            turn_inputs.put(mesh, row, turn_notes.write(rows, [], 0), epsilon=1.0),
        )
    return state


def test_what_is_saved_is_the_moment_of_saving(tmp_path, key):
    """Saving is asynchronous and updates donate the parameters: neither may disturb the other."""
    mesh = mesh_lib.make_mesh(1)
    config = presets.resolve("CartPole", "classic", CHANGES)
    built = device_programs.build(config, SPEC, mesh)
    ring = filled_ring(config, built, mesh, key)
    programs = replayed.build_programs(config, SPEC, mesh, dqn.make_learner)
    state, sums = programs.init(key), built.init_sums()
    store = checkpoint_writer.Writer(tmp_path, keep=2)
    saved = {}
    for step in (1, 2, 3):
        saved[step] = jax.tree.map(np.array, (state.params, state.opt_state, state.updates, sums))
        store.save(state, {"sums": sums}, {"steps": step, "updates": 7 * step})
        for _ in range(20):
            state, sums, *_ = programs.learn(state, sums, (), ring)
    assert store.close().error == ""

    reader = checkpoint_reader.Reader(tmp_path)
    assert reader.newest_whole(pytest.fail).step == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]  # the oldest is gone
    for step in (2, 3):
        assert run_item.read(tmp_path / str(step)) == {"steps": step, "updates": 7 * step}
        like = programs.init(key), {"sums": built.init_sums()}
        restored, play = reader.restore(step, *like)
        assert isinstance(restored, learner_lib.TrainState)
        now = (restored.params, restored.opt_state, restored.updates, play["sums"])
        jax.tree.map(np.testing.assert_array_equal, now, saved[step])
        assert restored.key.tolist() == state.key.tolist()
        # Restored arrays can be donated like any others.
        programs.learn(restored, play["sums"], (), ring)


def numbers(value):
    """For a learner's and the other arrays' place."""
    return {"a": jnp.full(3, value)}, {"b": jnp.full(2, value)}


def save_numbers(path, steps=(1, 2, 3)):
    """Saves checkpoints with a few numbers each."""
    writer = checkpoint_writer.Writer(path, keep=3)
    for step in steps:
        writer.save(*numbers(step), {"steps": step})
    assert writer.close().error == ""


def newest_step(path, say=pytest.fail):
    """The step from which a run resumes."""
    return checkpoint_reader.Reader(path).newest_whole(say).step


def numbers_in(path, step):
    """The number in a checkpoint."""
    learner, _ = checkpoint_reader.Reader(path).restore(step, *numbers(0))
    (number,) = set(learner["a"].tolist())
    return number


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_bit_is_noticed(tmp_path, seed):
    save_numbers(tmp_path)
    folder, rng = tmp_path / "3", np.random.default_rng(seed)
    for file in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
        content = bytearray(file.read_bytes())
        flipped = content.copy()
        flipped[rng.integers(len(flipped))] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        assert checksums.problem(folder), file
        file.write_bytes(content)
        assert not checksums.problem(folder)
    (folder / "more").write_text("")
    assert "more differs from what was written" in checksums.problem(folder)


def test_the_newest_whole_checkpoint_is_taken_and_others_set_aside(tmp_path):
    save_numbers(tmp_path)
    said = []
    (tmp_path / "3" / "_CHECKPOINT_METADATA").write_text("{}")
    (tmp_path / "4" / "play").mkdir(parents=True)  # a process was killed before it was signed
    (tmp_path / "5.orbax-checkpoint-tmp").mkdir()
    assert newest_step(tmp_path, said.append) == 2
    assert "4 was not written completely" in said[0]
    assert "_CHECKPOINT_METADATA differs from what was written" in said[1]
    assert said[2] == "resuming from the previous checkpoint, step 2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "damaged"]
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["3", "4"]
    # The same step can be saved again, and is pruned and read as any other.
    writer = checkpoint_writer.Writer(tmp_path, keep=3)
    writer.save(*numbers(33), {"steps": 3})
    writer.close()
    assert newest_step(tmp_path) == 3 and numbers_in(tmp_path, 3) == 33


def test_names_in_a_checkpoint_cannot_lead_out_of_its_folder(tmp_path):
    """Checksums and blocks of a stranger's run name files; none of these is opened."""
    save_numbers(tmp_path / "a")
    (tmp_path / "secret").write_text("x")
    sums = tmp_path / "a" / "3" / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  ../../secret\n")
    assert "../../secret is missing" in checksums.problem(tmp_path / "a" / "3")
    _, replay = small_replay(tmp_path / "replay")
    writer = checkpoint_writer.Writer(tmp_path / "b", keep=1)
    writer.save(*numbers(0), {"steps": 1, "replay": {"0": "../../secret"}})
    writer.close()
    said = []
    found = checkpoint_reader.Reader(tmp_path / "b", replay).newest_whole(said.append)
    assert found.step == 1 and not found.has_replay
    assert "invalid literal" in said[0] and "secret" in said[0]


def test_a_checkpoint_of_an_earlier_version_is_left_alone(tmp_path):
    (tmp_path / "5" / "learner").mkdir(parents=True)
    with pytest.raises(errors.RunError, match="another version"):
        newest_step(tmp_path)
    assert (tmp_path / "5" / "learner").exists()


def test_another_state_of_the_same_step_takes_the_place_of_the_first(tmp_path):
    """As when a run is stopped twice in a fit, or killed while the second is being written."""
    save_numbers(tmp_path)
    writer = checkpoint_writer.Writer(tmp_path, keep=3)
    writer.already_saved(run_item.read(tmp_path / "3"))
    writer.save(*numbers(4), {"steps": 3})
    assert writer.outcome(wait=True) is None
    writer.save(*numbers(5), {"steps": 3, "updates": 7})
    assert writer.close().error == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]
    assert numbers_in(tmp_path, 3) == 5
    (tmp_path / "3").rename(tmp_path / "3.replaced")
    (tmp_path / "3" / "play").mkdir(parents=True)
    assert newest_step(tmp_path) == 3 and numbers_in(tmp_path, 3) == 5


def test_a_checkpoint_whose_deletion_was_cut_short_is_in_nobodys_way(tmp_path, monkeypatch):
    save_numbers(tmp_path)
    rmtree = shutil.rmtree

    def killed(folder):
        rmtree(folder / "play")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checksums.delete(tmp_path / "1")
    monkeypatch.undo()
    assert newest_step(tmp_path) == 3
    (tmp_path / "2" / "SHA256SUMS").unlink()
    rmtree(tmp_path / "2" / "play")  # as after a power cut
    assert newest_step(tmp_path, lambda said: None) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "damaged"]


def test_a_start_goes_on_where_something_old_cannot_be_deleted(tmp_path, monkeypatch):
    """A network disk keeps a folder in which another program has a file open."""
    save_numbers(tmp_path)
    for name in ("1.deleted", "2.replaced"):
        (tmp_path / name / "play").mkdir(parents=True)

    def busy(path, ignore_errors=False):
        if not ignore_errors:
            raise OSError(f"{path} is not empty")

    monkeypatch.setattr(shutil, "rmtree", busy)
    assert newest_step(tmp_path) == 3


@pytest.mark.parametrize("killed", [True, False])
def test_a_save_of_the_same_step_that_fails_leaves_the_first(tmp_path, killed):
    """After a kill between the second's signature and the first's deletion, or without one."""
    save_numbers(tmp_path)
    if killed:
        (tmp_path / "3.replaced" / "learner").mkdir(parents=True)
    assert newest_step(tmp_path) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3"]
    (tmp_path / "3.replaced" / "in the way").mkdir(parents=True)
    writer = checkpoint_writer.Writer(tmp_path, keep=3)
    writer.save(*numbers(5), {"steps": 3, "updates": 7})
    assert "not empty" in writer.close().error
    assert newest_step(tmp_path) == 3 and numbers_in(tmp_path, 3) == 3


@pytest.mark.parametrize("lost", ["folder", "part"])
def test_a_save_that_fails_leaves_what_was_there(tmp_path, lost):
    """A file is in the way of the folder, or of the replay alone."""
    ring, replay = small_replay(tmp_path / "replay")
    store = checkpoint_writer.Writer(tmp_path / "c", keep=3, replay=replay)
    store.save(*numbers(1), {"steps": 1, "rows": 10}, ring)
    assert store.outcome(wait=True).error == ""
    victim = tmp_path / ("c" if lost == "folder" else "replay")
    victim.rename(tmp_path / "away")
    victim.write_text("in the way")
    store.save(*numbers(2), {"steps": 2, "rows": 20}, ring)
    assert "exists" in store.outcome(wait=True).error
    victim.unlink()
    (tmp_path / "away").rename(victim)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["1"]
    store.save(*numbers(2), {"steps": 2, "rows": 20}, ring)
    assert store.close().error == ""
    found = checkpoint_reader.Reader(tmp_path / "c", replay).newest_whole(pytest.fail)
    assert found.step == 2 and found.has_replay


def test_a_fault_in_the_code_that_saves_is_shown_once(capsys):
    class FaultError(KeyError):
        pass

    def faulty():
        raise FaultError("no such field")

    for _ in range(2):
        assert saving_errors.attempt("step 1", faulty) == "'no such field'"
    assert capsys.readouterr().err.count("in faulty") == 1
    assert saving_errors.attempt("step 1", pathlib.Path("/nowhere").stat)
    assert capsys.readouterr().err == ""


def test_a_checkpoint_is_on_the_disk_before_an_older_one_is_deleted(tmp_path, monkeypatch):
    save_numbers(tmp_path, steps=(1,))
    synced, fsync = {}, os.fsync

    def note(number):
        synced[pathlib.Path(f"/proc/self/fd/{number}").readlink()] = (tmp_path / "1").exists()
        fsync(number)

    monkeypatch.setattr(os, "fsync", note)
    store = checkpoint_writer.Writer(tmp_path, keep=1)
    store.save(*numbers(2), {"steps": 2})
    assert store.close().error == ""
    files = {path for path in (tmp_path / "2").rglob("*") if path.name != "SHA256SUMS"}
    assert {tmp_path, tmp_path / "2", *files} <= set(synced) and all(synced.values())
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def small_replay(path):
    mesh = mesh_lib.make_mesh(1)
    config = presets.resolve("CartPole", "classic", CHANGES)
    ring = device_programs.build(config, SPEC, mesh).init_ring()
    return ring, replay_blocks.ReplayFiles(path, ring, mesh, stride=2)


def test_a_start_deletes_the_replay_that_no_checkpoint_names(tmp_path):
    """What a killed process wrote ahead, or in part; what a checkpoint names stays."""
    ring, replay = small_replay(tmp_path / "replay")
    store = checkpoint_writer.Writer(tmp_path / "c", keep=2, replay=replay)
    for step in (1, 2):
        store.save(*numbers(step), {"steps": step, "rows": 60 * step}, ring)
    assert store.outcome(wait=True).error == ""
    named = {path.name for path in (tmp_path / "replay").iterdir()}
    replay.finish(replay.save(ring, 190, 0, full_blocks=True))  # and then it is killed
    (tmp_path / "replay" / "7.orbax-checkpoint-tmp-0").mkdir()
    assert len(list((tmp_path / "replay").iterdir())) > len(named) + 1
    _, replay = small_replay(tmp_path / "replay")
    reader = checkpoint_reader.Reader(tmp_path / "c", replay)
    found = reader.newest_whole(pytest.fail)
    assert found.step == 2 and found.has_replay
    assert {path.name for path in (tmp_path / "replay").iterdir()} == named
    reader.restore_ring(found, ring, 120, 0)


def test_what_cannot_be_deleted_is_in_nobodys_way(tmp_path, monkeypatch):
    """A stray file stays, and folders that a network disk holds stay until a later save."""
    ring, replay = small_replay(tmp_path / "replay")
    store = checkpoint_writer.Writer(tmp_path / "c", keep=1, replay=replay)
    rmtree, held = shutil.rmtree, []

    def busy(path, ignore_errors=False):
        if path.name.removesuffix(".deleted") not in held:
            rmtree(path, ignore_errors)
        elif not ignore_errors:
            raise OSError(f"{path} is not empty")

    monkeypatch.setattr(shutil, "rmtree", busy)
    for step in (1, 2, 3):
        store.save(*numbers(step), {"steps": step, "rows": 60 * step}, ring, life=step)
        assert store.outcome(wait=True).error == ""
        if step == 1:
            (tmp_path / "replay" / ".DS_Store").touch()
            before = {path.name for path in (tmp_path / "replay").glob("[0-9]*")}
            held = ["1", min(before)]
        if step == 2:
            left = {path.name for path in (tmp_path / "replay").glob("[0-9]*")}
            assert f"{held[1]}.deleted" in left and not before & left
            held = []
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["3"]
    assert not list((tmp_path / "replay").glob("*.deleted"))
    store.drop_replay()
    assert [path.name for path in (tmp_path / "replay").iterdir()] == [".DS_Store"]
    store.close()


def test_updates_and_acting_work_in_place(key):
    mesh = mesh_lib.make_mesh(1)
    config = presets.resolve("CartPole", "classic", CHANGES)
    built = device_programs.build(config, SPEC, mesh)
    ring = filled_ring(config, built, mesh, key)
    programs = replayed.build_programs(config, SPEC, mesh, dqn.make_learner)
    state, sums = programs.init(key), built.init_sums()
    before = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)}
    old = jax.tree.leaves(state.params)
    state, sums, *_ = programs.learn(state, sums, (), ring)
    assert all(leaf.is_deleted() for leaf in old)
    assert {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)} == before
    assert sums[-1] == config.slice_updates == state.updates
