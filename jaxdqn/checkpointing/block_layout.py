"""Blocks of a replay: which rows of the ring form one, and how devices copy one out and back."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from jaxdqn.distributed import mesh as mesh_lib

NUM_BLOCKS = 64  # the newest, half full, is written again and again
_FEWEST_ROWS = 8  # of a block

Rows = dict[str, jax.Array]  # of the ring or of a block: [rows, environments, ...] for each leaf


class BlockLayout(NamedTuple):
    """How the rows of a ring are divided into blocks of one size."""

    num_rows: int  # of the ring
    block_rows: int  # of a block

    def start(self, block: int) -> int:
        """The first row of a block; the last block overlaps the one before it, to be as large."""
        return min(block * self.block_rows, self.num_rows - self.block_rows)

    def at_once(self, row_bytes: int, at_least: int, small_bytes: int) -> int:
        """How many blocks to copy at a time: more than `at_least` if they are small together."""
        return max(at_least, small_bytes // (row_bytes * self.block_rows))

    def full(self, rows: int) -> int:
        """How many of `rows` written rows are left without those of a block being filled."""
        return rows - rows % self.num_rows % self.block_rows

    def touched(self, since: int, rows: int) -> list[int]:
        """The blocks that written rows [since, rows) are in."""
        slots = {row % self.num_rows for row in range(max(since, rows - self.num_rows), rows)}
        blocks = {slot // self.block_rows for slot in slots}
        last = (self.num_rows - 1) // self.block_rows
        if any(slot >= self.start(last) for slot in slots):
            blocks.add(last)
        return sorted(blocks)


def of_ring(num_rows: int) -> BlockLayout:
    """At most `NUM_BLOCKS` blocks for a ring of so many rows."""
    return BlockLayout(num_rows, min(num_rows, max(_FEWEST_ROWS, -(-num_rows // NUM_BLOCKS))))


class Copies(NamedTuple):
    """Functions of the devices that copy blocks; `start` is the first row, an int32 scalar."""

    take: Callable[[Rows, jax.Array], Rows]  # (ring, start) -> block
    put: Callable[[Rows, Rows, jax.Array], Rows]  # (ring, block, start) -> ring; donates the ring


def make_copies(mesh: Mesh, leaves: list[str], block_rows: int) -> Copies:
    """Builds them for the named leaves of a ring that is split over a mesh."""
    specs = dict.fromkeys(leaves, mesh_lib.BY_RING_ENV)
    ring_specs = specs | {"frame": mesh_lib.BY_RING_FRAME}

    @mesh_lib.on_mesh(mesh, in_specs=(ring_specs, mesh_lib.REPLICATED), out_specs=specs)
    def take(rows: Rows, start: jax.Array) -> Rows:
        return {
            name: jax.lax.dynamic_slice_in_dim(leaf, start, block_rows)
            for name, leaf in rows.items()
        }

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(ring_specs, specs, mesh_lib.REPLICATED),
        out_specs=ring_specs,
        donate_argnums=0,
    )
    def put(rows: Rows, block: Rows, start: jax.Array) -> Rows:
        return {
            name: jax.lax.dynamic_update_slice_in_dim(leaf, block[name], start, 0)
            for name, leaf in rows.items()
        }

    return Copies(take, put)
