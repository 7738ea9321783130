"""The checkpoints of one run, read and written by one object."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxdqn.checkpointing import (
    checkpoint_folders,
    checkpoint_reader,
    checkpoint_writer,
    replay_blocks,
    run_item,
    saving_errors,
)
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib

Outcome = checkpoint_writer.Outcome


class Checkpoints(checkpoint_writer.Writer):
    """A writer that also reads; see `checkpoint_reader.Reader`, which has the same arguments."""

    def __init__(
        self,
        directory: pathlib.Path,
        keep: int,
        best: Callable[[Sequence[int]], int | None] = lambda steps: None,
        replay: replay_blocks.ReplayFiles | None = None,
    ):
        super().__init__(directory, keep, best, replay)
        self._blocks, self._reader = replay, checkpoint_reader.Reader(directory, replay)
        self._found: checkpoint_reader.Found | None = None

    def newest_whole(self, say: Callable[[str], None]) -> int | None:
        """The step of the checkpoint from which a run resumes, which need not be saved again.

        It deletes the parts of the replay that no checkpoint names, such as those that a killed
        process wrote ahead. The caller has the run's lock, and has written nothing yet.
        """
        self._found = self._reader.newest_whole(say)
        self._drop_what_nothing_names()
        if self._found is None:
            return None
        self.already_saved(self._found.run)
        return self._found.step

    def _drop_what_nothing_names(self) -> None:
        if self._blocks is None or not processes.is_primary():
            return
        # If a checkpoint cannot be read, nothing is deleted, as its blocks are not known.
        with contextlib.suppress(*saving_errors.CAUGHT):
            steps = checkpoint_folders.steps_in(self._directory)
            self._blocks.prune([run_item.blocks(self.run(step)) for step in steps])

    def has_replay(self, step: int) -> bool:
        """Whether the checkpoint that `newest_whole` found has its replay."""
        return self._found is not None and self._found.step == step and self._found.has_replay

    def run(self, step: int) -> Mapping[str, Any]:
        """What JSON holds of a checkpoint."""
        return self._reader.run(step)

    def restore(self, step: int, learner: Any, play: Any) -> tuple[Any, Any]:
        """Reads arrays, shaped and placed as those given."""
        return self._reader.restore(step, learner, play)

    def restore_ring(
        self, step: int, ring: ring_lib.RingState, rows: int, life: int
    ) -> ring_lib.RingState:
        """Reads the replay of the checkpoint that `newest_whole` found."""
        assert self._found is not None and self._found.step == step
        return self._reader.restore_ring(self._found, ring, rows, life)

    def drop_replay(self) -> None:
        """Deletes the replay of all checkpoints, as far as it can be deleted."""
        if self._blocks:
            with contextlib.suppress(OSError):
                self._blocks.clear()
