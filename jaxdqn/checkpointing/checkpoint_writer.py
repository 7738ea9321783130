"""Saves checkpoints, and deletes those that are no longer needed.

A checkpoint is a folder named by its agent step, with three items: `learner`, the whole
`TrainState`; `play`, the other arrays; and `run`, counters and where the replay's blocks are.
Export and evaluation need `learner` and the run's settings alone. Its checksums are written last: a
folder without them is not a checkpoint.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from jaxdqn.checkpointing import (
    checkpoint_folders,
    replay_blocks,
    run_item,
    saving_errors,
    write_ahead,
)
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.storage import atomic_files, checksums


class Outcome(NamedTuple):
    """How a save went."""

    step: int
    error: str  # empty if it succeeded
    stall_s: float  # the longest that training stood still, for it or for writing ahead of it
    write_s: float  # until everything was on disk
    written_bytes: int  # including what was written ahead


class _State(NamedTuple):
    """What is saved: the arguments of `Writer.save`."""

    learner: Any
    play: Any
    run: Mapping[str, Any]
    ring: ring_lib.RingState | None
    life: int


@dataclasses.dataclass
class _Save:
    """A save under way."""

    step: int
    is_complete: bool
    began: float = dataclasses.field(default_factory=time.monotonic)
    folder: pathlib.Path | None = None  # None: there is nothing to delete if it fails
    pending: replay_blocks.Pending | None = None
    error: str = ""
    stall_s: float = 0.0
    ahead_bytes: int = 0


class Writer:
    """Saves checkpoints of one run, asynchronously: training goes on meanwhile.

    Args:
      directory: of the checkpoints; its parent exists.
      keep: how many of the newest stay.
      best: picks, from steps, the one whose checkpoint stays whatever its age.
      replay: the replay's blocks; None leaves the replay out.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        keep: int,
        best: Callable[[Sequence[int]], int | None] = lambda steps: None,
        replay: replay_blocks.ReplayFiles | None = None,
    ):
        self._directory, self._keep, self._best = directory.absolute(), keep, best
        self._replay = replay
        saving_errors.silence_writes_left_behind()
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(), async_options=replay_blocks.ASYNC
        )
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._saving: concurrent.futures.Future[Outcome] | None = None
        self._ahead = write_ahead.WriteAhead(replay, self._thread)
        self._last: tuple[Any, ...] | None = None  # stamp of what was saved last

    def already_saved(self, run: Mapping[str, Any]) -> None:
        """Makes the next `save` do nothing if the state is still that of `run`."""
        self._last = run_item.stamp(run)

    def save(
        self,
        learner: Any,
        play: Any,
        run: Mapping[str, Any],
        ring: ring_lib.RingState | None = None,
        life: int = 0,
        *,
        is_complete: bool = False,
    ) -> Outcome | None:
        """Waits for the save before, begins another, and returns how the one before went.

        Args:
          learner: what learning changes.
          play: other arrays.
          run: JSON values; `steps` names the checkpoint, `rows` is the number of rows in the ring.
          ring: the replay, if it is kept.
          life: of the ring; see `replay_blocks.ReplayFiles.save`.
          is_complete: nothing is left to learn, and no checkpoint needs its replay any more.

        Raises:
          RunError: it failed, and the run has several processes.
        """
        if self._last == run_item.stamp(run):
            return None
        save = _Save(int(run["steps"]), is_complete)
        before = self.outcome(wait=True)
        self._ahead.collect(wait=True)
        self._last = run_item.stamp(run)
        save.error = saving_errors.attempt(
            f"step {save.step:,}", lambda: self._begin(save, _State(learner, play, run, ring, life))
        )
        save.ahead_bytes, ahead_s = self._ahead.take()
        save.stall_s = max(time.monotonic() - save.began, ahead_s)
        self._saving = self._thread.submit(self._finish, save)
        return before

    def _begin(self, save: _Save, state: _State) -> None:
        folder, run = self._directory / str(save.step), state.run
        self._directory.mkdir(exist_ok=True)
        if processes.is_primary() and folder.exists():  # after a stop while it learned
            folder.rename(checkpoint_folders.replaced(folder))
        save.folder = folder
        with jax.transfer_guard("allow"):  # Orbax's copies to the host count as implicit
            if self._replay and state.ring is not None:
                save.pending = self._replay.save(state.ring, int(run["rows"]), state.life)
                run = run_item.with_blocks(run, save.pending.blocks)
            self._checkpointer.save(folder, args=_items(state.learner, state.play, run))

    def _finish(self, save: _Save) -> Outcome:
        """Waits until all is on disk, signs it, and deletes what it makes superfluous."""
        error, size = save.error, save.ahead_bytes
        try:
            if self._replay and save.pending:
                size += self._replay.finish(save.pending)
            self._checkpointer.wait_until_finished()
            if save.folder and not error and processes.is_primary():
                atomic_files.sync_tree(save.folder)  # older ones are deleted next
                size += checksums.write(save.folder)
                atomic_files.sync(self._directory)
        except saving_errors.CAUGHT as caught:
            error = error or saving_errors.reported(caught)
        if error:
            self._give_up(save.folder)
        elif processes.is_primary():
            with contextlib.suppress(*saving_errors.CAUGHT):  # the next save tries again
                self._prune(save.is_complete)
        return Outcome(save.step, error, save.stall_s, time.monotonic() - save.began, size)

    def _give_up(self, folder: pathlib.Path | None) -> None:
        """Deletes what was being written, after an error."""
        with contextlib.suppress(*saving_errors.CAUGHT):  # already reported
            self._checkpointer.wait_until_finished()
        if self._replay:
            self._replay.give_up()
        if folder and processes.is_primary():
            checkpoint_folders.bring_back(folder)

    def _prune(self, is_complete: bool) -> None:
        """Deletes checkpoints that are neither new nor best, and replay that none of them needs."""
        newest = checkpoint_folders.prune(self._directory, self._keep, self._best)
        if self._replay and is_complete:
            self._replay.clear()
        elif self._replay:
            self._replay.prune([run_item.blocks(run_item.read(folder)) for folder in newest])

    def write_ahead(self, ring: ring_lib.RingState, rows: int, life: int) -> None:
        """Begins to write full blocks of the replay; see `write_ahead.WriteAhead.begin`."""
        self._ahead.begin(ring, rows, life, is_idle=self._saving is None)

    def outcome(self, wait: bool = False) -> Outcome | None:
        """How the last save went, returned once. None while it is under way, if not `wait`.

        Raises:
          RunError: it failed, and the run has several processes.
        """
        if self._saving is None or not (wait or self._saving.done()):
            return None
        outcome, self._saving = self._saving.result(), None
        if outcome.error:
            saving_errors.leave_if_several(f"step {outcome.step:,}", outcome.error)
            self._last = None  # it may be tried again
        return outcome

    def drop_replay(self) -> None:
        """Deletes the replay of all checkpoints, as far as it can be deleted."""
        if self._replay:
            with contextlib.suppress(OSError):
                self._replay.clear()

    def close(self) -> Outcome | None:
        """Waits for a save under way; returns how it went."""
        outcome = self.outcome(wait=True)
        self._ahead.collect(wait=True)
        self._thread.shutdown()
        with contextlib.suppress(*saving_errors.CAUGHT):  # already reported
            self._checkpointer.close()
            if self._replay:
                self._replay.close()
        return outcome


def _items(learner: Any, play: Any, run: Mapping[str, Any]) -> Any:
    """The items of a checkpoint, as Orbax takes them."""
    return ocp.args.Composite(
        learner=ocp.args.StandardSave(learner),
        play=ocp.args.StandardSave(play),
        run=ocp.args.JsonSave(dict(run)),
    )
