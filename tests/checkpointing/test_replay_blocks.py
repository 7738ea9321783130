import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdqn.assembly import device_programs
from jaxdqn.checkpointing import replay_blocks
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.replay import ring as ring_lib
from jaxdqn.storage import checksums
from tests import rings

ROWS, ENVS = 130, 8  # blocks of eight rows, of which the last reaches back


@pytest.fixture(params=[1, 2])
def mesh(request):
    return mesh_lib.make_mesh(request.param)


RING = rings.make_ring(
    num_rows=ROWS,
    frame_shape=(5,),
    frame_dtype=jnp.dtype("uint8"),
    frame_stack=1,
    stride=1,
    n_step=1,
    discount=0.9,
)


def empty(mesh):
    return mesh_lib.put(mesh, jax.device_get(RING.init(ENVS)), device_programs.RING_SPECS)


def write(ring, rows, rng):
    add = jax.jit(RING.add, donate_argnums=0)
    for _ in range(rows):
        row = ring_lib.blank_row(ENVS, (5,), np.uint8).replace(
            frame=rng.integers(0, 256, (ENVS, 5), np.uint8),
            reward=rng.normal(size=ENVS).astype(np.float32),
            is_first=rng.random(ENVS) < 0.1,
        )
        ring = add(ring, row, rng.integers(0, 4, ENVS))
    return ring


def save(store, ring, life=0):
    pending = store.save(ring, int(ring.count), life)
    assert store.finish(pending) > 0
    return pending.blocks


def assert_equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one), jax.device_get(two))


@pytest.mark.parametrize("small_bytes", [0, 2**24])
def test_every_save_comes_back_and_writes_only_what_is_new(tmp_path, mesh, small_bytes):
    """After no wrap and after several, and with rows that share a block with older ones."""
    rng, ring = np.random.default_rng(0), empty(mesh)
    store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=1, small_bytes=small_bytes)
    saved = []
    for rows in (20, 5, 0, 100, 12, 40, 300):
        ring = write(ring, rows, rng)
        saved.append((save(store, ring), jax.device_get(ring)))
    new = [
        [block for block in after if after[block] != before.get(block)]
        for (before, _), (after, _) in itertools.pairwise([({}, None), *saved])
    ]
    # At most four blocks share a folder, or all.
    assert len({saved[3][0][block] for block in new[3]}) == (1 if small_bytes else 4)
    # Rows 0 to 19; 19 to 24; 24 again, which a cut might have changed; 24 to 124; and so on.
    assert new[:4] == [[0, 1, 2], [2, 3], [3], [*range(3, 17)]]
    assert [len(blocks) for blocks in new[4:]] == [3, 6, 17]
    for blocks, expected in saved:
        assert store.problem(blocks) == ""
        fresh = replay_blocks.ReplayFiles(tmp_path, empty(mesh), mesh, stride=1)
        found = fresh.restore(empty(mesh), blocks, int(expected.count), 0)
        if expected.count < ROWS:  # what no row was written to stays as it was
            assert not np.any(np.asarray(found.frame)[int(expected.count) :])
        assert_equal(found, expected)
        found = write(found, 7, np.random.default_rng(1))  # it goes on from there
        if expected.count == ring.count:
            again = save(fresh, found)
            assert sum(again[block] != blocks[block] for block in blocks) <= 3
        fresh.close()
    store.prune([saved[-1][0]])
    assert {path.name for path in tmp_path.iterdir()} == set(saved[-1][0].values())
    store.clear()
    assert not list(tmp_path.iterdir())
    store.close()


def test_rows_that_change_are_written_anew(tmp_path):
    mesh = mesh_lib.make_mesh(1)
    ring = write(empty(mesh), 30, np.random.default_rng(0))
    store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=1)
    before = save(store, ring)
    ring = ring.replace(reward=ring.reward + 1)
    blocks = save(store, ring, life=1)
    assert blocks.keys() == before.keys() and not {*blocks.values()} & {*before.values()}
    assert_equal(store.restore(empty(mesh), blocks, 30, 1).reward[:30], ring.reward[:30])
    emptied = ring.replace(count=jnp.int32(0))
    assert store.save(emptied, 0, 2).blocks == {}
    store.close()


def test_a_lost_folder_is_written_anew(tmp_path):
    mesh = mesh_lib.make_mesh(1)
    ring = write(empty(mesh), 30, np.random.default_rng(0))
    store = replay_blocks.ReplayFiles(tmp_path / "a", ring, mesh, stride=1)
    save(store, ring)
    (tmp_path / "a").rename(tmp_path / "b")
    blocks = save(store, ring)
    assert store.problem(blocks) == ""
    assert_equal(store.restore(empty(mesh), blocks, 30, 0), ring)
    store.close()


def test_a_save_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    """Or every try on a full disk would fill it further."""
    mesh = mesh_lib.make_mesh(1)
    ring = write(empty(mesh), ROWS, np.random.default_rng(0))
    store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=1, small_bytes=0)
    with monkeypatch.context() as patch:
        whole, calls = checksums.write, []

        def full(folder):
            calls.append(folder)
            if len(calls) == 2:
                raise OSError("no space left")
            return whole(folder)

        patch.setattr(checksums, "write", full)
        with pytest.raises(OSError, match="no space"):
            store.save(ring, ROWS, 0)
        assert [path.name for path in tmp_path.iterdir() if checksums.is_signed(path)]
        store.give_up()
    assert not list(tmp_path.iterdir())
    assert_equal(store.restore(empty(mesh), save(store, ring), ROWS, 0), ring)
    store.close()


def test_a_name_never_comes_twice(tmp_path):
    """Where folders were lost, an old checkpoint would take another one's frames for its own."""
    mesh = mesh_lib.make_mesh(1)
    ring = write(empty(mesh), 30, np.random.default_rng(0))
    names = set()
    for _ in range(3):
        store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=1)
        names.update(save(store, ring).values())
        store.clear()
        store.close()
    assert len(names) == 3


def test_full_blocks_are_written_ahead(tmp_path):
    """And not again by the save that follows, which writes the one that is being filled."""
    mesh, rng = mesh_lib.make_mesh(1), np.random.default_rng(0)
    ring = write(empty(mesh), 60, rng)
    store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=1)
    for number, rows in enumerate((0, 0, 30, 60, 200), start=1):
        ring = write(ring, rows, rng)
        for _ in range(8):  # a few blocks at a time
            store.finish(store.save(ring, int(ring.count), 0, full_blocks=True))
        ring = write(ring, 3, rng)
        blocks = save(store, ring)
        fresh = replay_blocks.ReplayFiles(tmp_path, empty(mesh), mesh, stride=1)
        assert_equal(fresh.restore(empty(mesh), blocks, int(ring.count), 0), ring)
        newest = [block for block, name in blocks.items() if name == max(blocks.values(), key=int)]
        assert len(newest) <= 3, number  # the newest row's, and the last, which shares rows
        fresh.close()
    store.close()


@pytest.mark.parametrize("stride", [1, 3])
def test_no_block_is_written_ahead_twice(tmp_path, stride):
    """Nor before all of its rows are as they will stay; the save that follows writes the rest."""
    mesh, rng = mesh_lib.make_mesh(1), np.random.default_rng(0)
    ring, count, before = empty(mesh), 0, {}
    store = replay_blocks.ReplayFiles(tmp_path, ring, mesh, stride=stride)
    written = []
    for rows in (5, 3, 0, 4, 8, 1, 20, 7, 20):
        ring, count = write(ring, rows, rng), count + rows
        pending = store.save(ring, count, 0, full_blocks=True)
        store.finish(pending)
        new = [block for block, name in pending.blocks.items() if before.get(block) != name]
        assert all(8 * (block + 1) <= count - stride for block in new)
        assert (pending.folder is None) == (not new)
        written, before = written + new, pending.blocks
    assert written == list(range((count - stride) // 8))
    blocks = save(store, ring)
    assert [block for block in blocks if before.get(block) != blocks[block]] == [8]
    store.close()
