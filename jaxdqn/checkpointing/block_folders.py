"""The folders in which blocks of a replay are saved, a few blocks in each."""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from jaxdqn.checkpointing import block_layout
from jaxdqn.distributed import processes
from jaxdqn.storage import checksums

# Block -> the name of the folder that holds its newest rows.
Blocks = Mapping[int, str]


def unused_number(directory: pathlib.Path) -> int:
    """A number that no folder has had yet, even if folders were lost: checkpoints may name them."""
    taken = (int(path.name) for path in directory.glob("*") if path.name.isdecimal())
    return processes.of_primary(max(*taken, time.time_ns() // 1_000_000, 0) + 1)


def sign(folder: pathlib.Path) -> int:
    """Marks a folder as written; returns its size in bytes, in the primary."""
    return checksums.write(folder) if processes.is_primary() else 0


def lost(directory: pathlib.Path, blocks: Blocks) -> list[int]:
    """The blocks whose folder does not exist, as the primary sees it."""
    is_lost = np.zeros(block_layout.NUM_BLOCKS, bool)
    if processes.is_primary():
        for block, name in blocks.items():
            is_lost[block] = not checksums.is_signed(directory / name)
    return np.flatnonzero(processes.gather(is_lost)[0]).tolist()


def problem(directory: pathlib.Path, blocks: Blocks) -> str:
    """What is wrong with these blocks on disk, in one line; empty if nothing is."""
    found = (checksums.problem(directory / name) for name in sorted(set(blocks.values())))
    return next(filter(None, found), "")


def prune(directory: pathlib.Path, kept: Iterable[Blocks]) -> None:
    """Deletes the folders in which none of these blocks is.

    Files stay: a desktop or a file system left them. What cannot be deleted is tried again the next
    time, and is in no other folder's way.
    """
    names = {name for blocks in kept for name in blocks.values()}
    for path in list(directory.glob("*")) if processes.is_primary() else ():
        with contextlib.suppress(OSError):
            if path.name not in names and path.is_dir():
                checksums.delete(path)


def discard(directory: pathlib.Path, begun: Collection[pathlib.Path]) -> None:
    """Deletes folders that were begun in vain, and those that are not signed."""
    for path in directory.glob("*") if processes.is_primary() else ():
        if path in begun or not checksums.is_signed(path):
            shutil.rmtree(path, ignore_errors=True)
