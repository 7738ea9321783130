"""The replay on disk, in blocks of rows.

All rows of a ring but the newest stay as they are until they are overwritten, so that a checkpoint
writes only the blocks that were touched since the one before, and names the folders of all others.
"""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding

from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.storage import checksums

_NUM_BLOCKS = 64  # the newest, half full, is written again and again
_MOST_AT_ONCE = 4  # of which there are two copies in memory, the device's and the host's
_MOST_AHEAD = 3  # and one that was written half: nothing has to be waited for
COPIED_SHARE = 2 * _MOST_AT_ONCE / _NUM_BLOCKS  # of the replay, while it is saved
_BY_ROW = ("frame", "reward", "action", "flags")

# A folder that cannot be made is told at once; else threads would wait five minutes for it.
ASYNC = ocp.AsyncOptions(timeout_secs=600, create_directories_asynchronously=False)

# Block -> the folder that holds its newest rows.
Blocks = Mapping[int, str]


class Pending(NamedTuple):
    """Blocks that are being written."""

    blocks: Blocks  # of the whole replay, once they are
    rows: int  # of the ring that lie in them
    life: int  # of the ring
    folder: pathlib.Path | None  # None: nothing new
    written_bytes: int  # before


class ReplayFiles:
    """The blocks of one run's ring.

    Args:
      directory: holds the folders.
      like: the ring, or its shapes with shardings.
      mesh: the devices that hold it.
      stride: so many of the newest rows may still change; see `ring.cut`.
    """

    def __init__(self, directory: pathlib.Path, like: ring_lib.RingState, mesh: Mesh, stride: int):
        self._directory, self._mesh, self._stride = directory.absolute(), mesh, stride
        self._num_rows = like.flags.shape[0]
        self._block_rows = min(self._num_rows, max(8, -(-self._num_rows // _NUM_BLOCKS)))
        self._like = _leaves(like)
        self._row_bytes = sum(
            leaf.size * leaf.dtype.itemsize // self._num_rows for leaf in self._like.values()
        )
        # A number never comes twice, even where folders were lost: old checkpoints may name them.
        taken = (int(path.name) for path in directory.glob("*") if path.name.isdecimal())
        number = max(*taken, time.time_ns() // 1_000_000, 0) + 1
        self._number = processes.of_primary(number)  # of the next folder
        self._begun: list[pathlib.Path] = []  # by the save under way
        self._blocks: Blocks = {}
        self._rows, self._life = 0, 0  # of the ring, that lie in `_blocks`
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.StandardCheckpointHandler(), async_options=ASYNC
        )
        specs = dict.fromkeys(self._like, mesh_lib.BY_RING_ENV)

        @mesh_lib.on_mesh(mesh, in_specs=(specs, mesh_lib.REPLICATED), out_specs=specs)
        def copy(rows: dict[str, jax.Array], start: jax.Array) -> dict[str, jax.Array]:
            return {
                name: jax.lax.dynamic_slice_in_dim(leaf, start, self._block_rows)
                for name, leaf in rows.items()
            }

        @mesh_lib.on_mesh(
            mesh, in_specs=(specs, specs, mesh_lib.REPLICATED), out_specs=specs, donate_argnums=0
        )
        def put(
            rows: dict[str, jax.Array], block: dict[str, jax.Array], start: jax.Array
        ) -> dict[str, jax.Array]:
            return {
                name: jax.lax.dynamic_update_slice_in_dim(leaf, block[name], start, 0)
                for name, leaf in rows.items()
            }

        self._copy, self._put = copy, put

    def unsaved_bytes(self, rows: int, life: int) -> int:
        """Of the rows that no folder holds yet; the arguments are those of `save`."""
        since = self._rows if life == self._life else 0
        return min(max(0, rows - since), self._num_rows) * self._row_bytes

    def save(
        self, ring: ring_lib.RingState, rows: int, life: int, *, full_blocks: bool = False
    ) -> Pending:
        """Begins to write what is new; waits for all of it but the last blocks.

        Args:
          ring: the replay.
          rows: written to it so far.
          life: rows of another life have changed since they were written.
          full_blocks: leave out the block that is being filled, and all but the first few.

        Raises:
          OSError: it cannot be written, or Orbax's own errors.
        """
        if full_blocks:
            rows = rows - rows % self._num_rows % self._block_rows
            begin = max(self._rows if life == self._life else 0, rows - self._num_rows)
            rows = min(rows, begin + _MOST_AHEAD * self._block_rows)
        kept, since = self._blocks, min(self._rows, rows) - self._stride
        if life != self._life:
            kept, since = {}, 0
        touched = {*self._touched(max(0, since), rows), *self._lost(kept)}
        blocks, folder, written = dict(kept), None, 0
        self._directory.mkdir(exist_ok=True)
        for first in range(0, len(touched), _MOST_AT_ONCE):
            some = sorted(touched)[first : first + _MOST_AT_ONCE]
            if folder:
                written += self._wait(folder)
            folder = self._directory / str(self._number)
            self._number += 1
            self._begun.append(folder)
            ring_rows = _leaves(ring)
            tree = {_key(block): self._copy(ring_rows, self._start(block)) for block in some}
            jax.block_until_ready(tree)  # the ring is donated next
            self._checkpointer.save(folder, args=ocp.args.StandardSave(tree))
            blocks.update(dict.fromkeys(some, folder.name))
        return Pending(blocks, rows, life, folder, written)

    def finish(self, pending: Pending) -> int:
        """Waits until it is written, and takes it for what is on disk. Returns bytes written."""
        written = pending.written_bytes
        if pending.folder:
            written += self._wait(pending.folder)
        self._blocks, self._rows, self._life = pending.blocks, pending.rows, pending.life
        self._begun = []
        return written

    def give_up(self) -> None:
        """Deletes what was being written, after an error."""
        with contextlib.suppress(Exception):  # told already
            self._checkpointer.wait_until_finished()
        if not processes.is_primary():
            return
        for path in self._directory.glob("*"):
            if path in self._begun or not checksums.is_signed(path):
                shutil.rmtree(path, ignore_errors=True)
        self._begun = []

    def _wait(self, folder: pathlib.Path) -> int:
        self._checkpointer.wait_until_finished()
        return checksums.write(folder) if processes.is_primary() else 0

    def _lost(self, blocks: Blocks) -> list[int]:
        """The blocks whose folder is gone, as the primary sees it."""
        is_gone = np.zeros(_NUM_BLOCKS, bool)
        if processes.is_primary():
            for block, name in blocks.items():
                is_gone[block] = not checksums.is_signed(self._directory / name)
        return np.flatnonzero(processes.gather(is_gone)[0]).tolist()

    def problem(self, blocks: Blocks) -> str:
        """What is wrong with these blocks on disk, in one line; empty where nothing is."""
        for name in sorted(set(blocks.values())):
            found = checksums.problem(self._directory / name)
            if found:
                return found
        return ""

    def restore(
        self, ring: ring_lib.RingState, blocks: Blocks, rows: int, life: int
    ) -> ring_lib.RingState:
        """Reads blocks that have no problem into an empty ring, which it donates."""
        ring_rows = _leaves(ring)
        block_like = {
            leaf: jax.ShapeDtypeStruct(
                (self._block_rows, *like.shape[1:]),
                like.dtype,
                sharding=NamedSharding(self._mesh, mesh_lib.BY_RING_ENV),
            )
            for leaf, like in self._like.items()
        }
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            for block, name in sorted(blocks.items()):
                item = {_key(block): block_like}
                found = checkpointer.restore(
                    self._directory / name,
                    args=ocp.args.PyTreeRestore(
                        item=item,
                        restore_args=ocp.checkpoint_utils.construct_restore_args(item),
                        partial_restore=True,
                    ),
                )
                ring_rows = self._put(ring_rows, found[_key(block)], self._start(block))
        self._blocks, self._rows, self._life = blocks, rows, life
        count: Any = mesh_lib.put(self._mesh, np.int32(rows), mesh_lib.REPLICATED)
        fields = {name: ring_rows.pop(name) for name in _BY_ROW}
        return ring.replace(**fields, extras=ring_rows, count=count)

    def prune(self, kept: Iterable[Blocks]) -> None:
        """Deletes the folders that no block of these, or of the replay as it is, lies in."""
        if not processes.is_primary():
            return
        names = {name for blocks in (*kept, self._blocks) for name in blocks.values()}
        for path in self._directory.glob("*"):
            if path.name not in names:
                checksums.delete(path)

    def clear(self) -> None:
        """Deletes all."""
        self._blocks, self._rows = {}, 0
        self.prune([])

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()

    def _touched(self, since: int, rows: int) -> list[int]:
        """The blocks that rows [since, rows) lie in."""
        slots = {row % self._num_rows for row in range(max(since, rows - self._num_rows), rows)}
        blocks = {slot // self._block_rows for slot in slots}
        last = (self._num_rows - 1) // self._block_rows
        if any(slot >= self._start_row(last) for slot in slots):
            blocks.add(last)
        return sorted(blocks)

    def _start_row(self, block: int) -> int:
        # The last block reaches back into the one before, so that all are of one size.
        return min(block * self._block_rows, self._num_rows - self._block_rows)

    def _start(self, block: int) -> jax.Array:
        row = np.int32(self._start_row(block))
        placed: jax.Array = mesh_lib.put(self._mesh, row, mesh_lib.REPLICATED)
        return placed


def _leaves(ring: ring_lib.RingState) -> dict[str, jax.Array]:
    """The arrays of a ring that have rows, by name."""
    return {name: getattr(ring, name) for name in _BY_ROW} | ring.extras


def _key(block: int) -> str:
    return f"block_{block:03d}"
