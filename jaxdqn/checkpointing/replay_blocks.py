"""The replay on disk, in blocks of rows.

All rows of a ring but the newest stay as they are until they are overwritten. So a checkpoint
writes only the blocks that were touched since the one before, and names the folders of all others.
"""

import contextlib
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from jaxdqn.checkpointing import block_folders, block_layout
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.replay import ring as ring_lib

_MOST_AT_ONCE = 4  # blocks, of which the device and the host hold a copy each
_MOST_AHEAD = 3  # blocks; with one that was half written they are saved without waiting
COPIED_SHARE = 2 * _MOST_AT_ONCE / block_layout.NUM_BLOCKS  # of the replay, while it is saved
_BY_ROW = ("frame", "reward", "action", "flags")

# A folder that cannot be made is an error at once; else threads would wait for it for five minutes.
ASYNC = ocp.AsyncOptions(timeout_secs=600, create_directories_asynchronously=False)

Blocks = block_folders.Blocks


class Pending(NamedTuple):
    """Blocks that are being written."""

    blocks: Blocks  # of the whole replay, once they are written
    rows: int  # written to the ring when they were copied, of which the newest may still change
    life: int  # of the ring
    folder: pathlib.Path | None  # None: nothing new
    written_bytes: int  # already


class ReplayFiles:
    """The blocks of one run's ring.

    Args:
      directory: holds the folders.
      like: the ring, or its shapes with shardings.
      mesh: the devices that hold it.
      stride: how many of the newest rows may still change; see `ring.cut`.
      small_bytes: more than four blocks may go into one folder if they are no larger together,
        because each folder costs time too.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        like: ring_lib.RingState,
        mesh: Mesh,
        stride: int,
        small_bytes: int = 2**24,
    ):
        self._directory, self._mesh, self._stride = directory.absolute(), mesh, stride
        self._layout = block_layout.of_ring(like.flags.shape[0])
        self._like = _by_row(like)
        self._copies = block_layout.make_copies(mesh, list(self._like), self._layout.block_rows)
        self._row_bytes = _row_bytes(self._like)
        self._at_once = self._layout.at_once(self._row_bytes, _MOST_AT_ONCE, small_bytes)
        self._number = block_folders.unused_number(directory)  # of the next folder
        self._begun: list[pathlib.Path] = []  # by the save under way
        self._blocks: Blocks = {}
        self._rows, self._life = 0, 0  # of the ring when `_blocks` were written
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.StandardCheckpointHandler(), async_options=ASYNC
        )

    def unsaved_bytes(self, rows: int, life: int) -> int:
        """Bytes of the rows that no folder holds yet; the arguments are those of `save`."""
        since = self._rows if life == self._life else 0
        return min(max(0, rows - since), self._layout.num_rows) * self._row_bytes

    def save(
        self, ring: ring_lib.RingState, rows: int, life: int, *, full_blocks: bool = False
    ) -> Pending:
        """Begins to write what is new; waits for all of it but the last blocks.

        Args:
          ring: the replay.
          rows: written to it so far.
          life: a number that changes whenever rows other than the newest do.
          full_blocks: leave out the block that is being filled, those with rows that may still
            change, and all but the first few.

        Raises:
          OSError: it cannot be written, or Orbax's own errors.
        """
        kept, saved = (self._blocks, self._rows) if life == self._life else ({}, 0)
        since, until = max(0, min(saved, rows) - self._stride), rows
        if full_blocks:
            until = self._layout.full(max(0, rows - self._stride))
            since = max(since, until - self._layout.num_rows)
            until = max(since, min(until, since + _MOST_AHEAD * self._layout.block_rows))
            rows = until + self._stride  # the next save begins where this one ends
        lost = block_folders.lost(self._directory, kept)
        touched = sorted({*self._layout.touched(since, until), *lost})
        blocks, folder, written = dict(kept), None, 0
        self._directory.mkdir(exist_ok=True)
        for first in range(0, len(touched), self._at_once):
            some = touched[first : first + self._at_once]
            if folder:
                written += self._wait(folder)
            folder = self._begin(ring, some)
            blocks.update(dict.fromkeys(some, folder.name))
        return Pending(blocks, rows, life, folder, written)

    def _begin(self, ring: ring_lib.RingState, blocks: Iterable[int]) -> pathlib.Path:
        """Begins to write some blocks into a new folder."""
        folder = self._directory / str(self._number)
        self._number += 1
        self._begun.append(folder)
        rows = _by_row(ring)
        tree = {_key(block): self._copies.take(rows, self._start(block)) for block in blocks}
        jax.block_until_ready(tree)  # the ring is donated next
        self._checkpointer.save(folder, args=ocp.args.StandardSave(tree))
        return folder

    def finish(self, pending: Pending) -> int:
        """Waits until the blocks are written, and relies on them from now on.

        Returns:
          Bytes written.
        """
        written = pending.written_bytes
        if pending.folder:
            written += self._wait(pending.folder)
        self._blocks, self._rows, self._life = pending.blocks, pending.rows, pending.life
        self._begun = []
        return written

    def give_up(self) -> None:
        """Deletes what was being written, after an error."""
        with contextlib.suppress(Exception):  # already reported
            self._checkpointer.wait_until_finished()
        block_folders.discard(self._directory, self._begun)
        self._begun = []

    def _wait(self, folder: pathlib.Path) -> int:
        self._checkpointer.wait_until_finished()
        return block_folders.sign(folder)

    def problem(self, blocks: Blocks) -> str:
        """What is wrong with these blocks on disk, in one line; empty if nothing is."""
        return block_folders.problem(self._directory, blocks)

    def restore(
        self, ring: ring_lib.RingState, blocks: Blocks, rows: int, life: int
    ) -> ring_lib.RingState:
        """Reads blocks that have no problem into an empty ring, which is donated."""
        ring_rows = _by_row(ring)
        block_like = _block_like(self._like, self._layout.block_rows, self._mesh)
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            for block, name in sorted(blocks.items()):
                item = {_key(block): block_like}
                arguments = ocp.checkpoint_utils.construct_restore_args(item)
                found = checkpointer.restore(
                    self._directory / name,
                    args=ocp.args.PyTreeRestore(
                        item=item, restore_args=arguments, partial_restore=True
                    ),
                )
                ring_rows = self._copies.put(ring_rows, found[_key(block)], self._start(block))
        self._blocks, self._rows, self._life = blocks, rows, life
        count: Any = mesh_lib.put(self._mesh, np.int32(rows), mesh_lib.REPLICATED)
        fields = {name: ring_rows[name] for name in _BY_ROW}
        extras = {name: rows for name, rows in ring_rows.items() if name not in fields}
        return ring.replace(**fields, extras=extras, count=count)

    def prune(self, kept: Iterable[Blocks]) -> None:
        """Deletes the folders that hold no block of these, nor of the replay as it is."""
        block_folders.prune(self._directory, (*kept, self._blocks))

    def clear(self) -> None:
        """Deletes all blocks."""
        self._blocks, self._rows = {}, 0
        self.prune([])

    def close(self) -> None:
        """Waits for what is being written."""
        self._checkpointer.close()

    def _start(self, block: int) -> jax.Array:
        row = np.int32(self._layout.start(block))
        placed: jax.Array = mesh_lib.put(self._mesh, row, mesh_lib.REPLICATED)
        return placed


def _row_bytes(ring_like: block_layout.Rows) -> int:
    """Bytes of a row."""
    return sum(leaf.size * leaf.dtype.itemsize // leaf.shape[0] for leaf in ring_like.values())


def _block_like(
    ring_like: block_layout.Rows, block_rows: int, mesh: Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a block, with shardings."""
    shapes = {
        name: jax.ShapeDtypeStruct((block_rows, *like.shape[1:]), like.dtype)
        for name, like in ring_like.items()
    }
    like: dict[str, jax.ShapeDtypeStruct] = mesh_lib.like(mesh, shapes, mesh_lib.BY_RING_ENV)
    return like


def _by_row(ring: ring_lib.RingState) -> block_layout.Rows:
    """The arrays of a ring that have rows, by the names that they have on disk."""
    return {name: getattr(ring, name) for name in _BY_ROW} | ring.extras


def _key(block: int) -> str:
    return f"block_{block:03d}"
