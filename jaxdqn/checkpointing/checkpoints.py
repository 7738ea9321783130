"""Orbax checkpoints: what is saved, and how it comes back.

A checkpoint is a folder named by its agent step, with three items: `learner`, the whole
`TrainState`; `play`, the other arrays; and `run`, counters and where the replay's blocks lie.
Export and evaluation need `learner` and the run's settings alone. Its checksums come last: without
them it is none.
"""

import concurrent.futures
import contextlib
import functools
import pathlib
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from jaxdqn import errors
from jaxdqn.agent import learner as learner_lib
from jaxdqn.checkpointing import checkpoint_folders, checkpoint_params, replay_blocks
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.storage import checksums

_WORTH_WRITING_AHEAD_BYTES = 64_000_000  # a small replay is written in no time
_REPLAY = "replay"  # in `run`: block -> folder


class Outcome(NamedTuple):
    """How a save went."""

    step: int
    error: str  # empty if all is well
    stall_s: float  # that training stood still, for it or for writing ahead of it, at a time
    write_s: float  # until all was on disk
    written_bytes: int  # with what was written ahead


class Checkpoints:
    """The checkpoints of one run. Saving is asynchronous: training goes on meanwhile.

    Args:
      directory: where they lie; the folder around it exists.
      keep: so many of the newest stay.
      best: tells, of the steps given, that of the checkpoint which stays whatever its age.
      replay: the replay's blocks; None leaves it out.
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
        _silence_writes_left_behind()
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(), async_options=replay_blocks.ASYNC
        )
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._saving: concurrent.futures.Future[Outcome] | None = None
        self._ahead: concurrent.futures.Future[int] | None = None
        self._ahead_bytes, self._ahead_s = 0, 0.0  # since the last save: all, and the longest
        self._whole: int | None = None  # what `newest_whole` found
        self._last: tuple[Any, ...] | None = None  # stamp of what was saved last

    def save(
        self,
        learner: Any,
        play: Any,
        run: Mapping[str, Any],
        ring: ring_lib.RingState | None = None,
        life: int = 0,
        *,
        is_last: bool = False,
    ) -> Outcome | None:
        """Begins to save, when the save before is over; returns how that one went.

        Args:
          learner: what learning changes.
          play: other arrays.
          run: what JSON can hold; `steps` names the checkpoint, `rows` are in the ring.
          ring: the replay, where it is kept.
          life: of the ring; see `replay_blocks.ReplayFiles.save`.
          is_last: the run is complete, and no checkpoint needs its replay any more.
        """
        step, began = int(run["steps"]), time.monotonic()
        if self._last == _stamp(run):
            return None
        before = self.outcome(wait=True)
        self._collect_ahead(wait=True)
        self._last = _stamp(run)
        folder = self._directory / str(step)
        pending, error, is_begun = None, "", False
        try:
            self._directory.mkdir(exist_ok=True)
            if processes.is_primary() and folder.exists():  # of a stop within this step's learning
                folder.rename(checkpoint_folders.replaced(folder))
            is_begun = True
            with jax.transfer_guard("allow"):  # Orbax's copies to the host count as implicit
                if self._replay and ring is not None:
                    pending = self._replay.save(ring, int(run["rows"]), life)
                    blocks = {str(block): name for block, name in pending.blocks.items()}
                    run = {**run, _REPLAY: blocks}
                self._checkpointer.save(
                    folder,
                    args=ocp.args.Composite(
                        learner=ocp.args.StandardSave(learner),
                        play=ocp.args.StandardSave(play),
                        run=ocp.args.JsonSave(dict(run)),
                    ),
                )
        except _ERRORS as caught:
            error = _one_line(caught)
            _part_if_several(f"step {step:,} could not be saved: {error}")
        stall_s = max(time.monotonic() - began, self._ahead_s)
        self._ahead_s = 0.0

        def finish() -> Outcome:
            found, size = self._finish(folder if is_begun else None, pending, is_last, error)
            return Outcome(step, found, stall_s, time.monotonic() - began, size)

        self._saving = self._thread.submit(finish)
        return before

    def _finish(
        self,
        folder: pathlib.Path | None,
        pending: replay_blocks.Pending | None,
        is_last: bool,
        error: str,
    ) -> tuple[str, int]:
        """Waits until all is on disk, signs it, and deletes what it makes needless.

        Args:
          folder: of the checkpoint; None if it was not begun.
          pending: the replay's blocks.
          is_last: the run is complete.
          error: what went wrong before.

        Returns:
          What went wrong, and bytes written.
        """
        size, self._ahead_bytes = self._ahead_bytes, 0
        try:
            if self._replay and pending:
                size += self._replay.finish(pending)
            self._checkpointer.wait_until_finished()
            if folder and not error and processes.is_primary():
                size += checksums.write(folder)
        except _ERRORS as caught:
            error = error or _one_line(caught)
        if error:
            self._give_up(folder)
        elif processes.is_primary():
            with contextlib.suppress(*_ERRORS):  # what stays is deleted after the next save
                self._prune(is_last)
        return error, size

    def _give_up(self, folder: pathlib.Path | None) -> None:
        """Deletes what was being written, after an error."""
        with contextlib.suppress(*_ERRORS):  # told already
            self._checkpointer.wait_until_finished()
        if self._replay:
            self._replay.give_up()
        if folder and processes.is_primary():
            checkpoint_folders.bring_back(folder)

    def write_ahead(self, ring: ring_lib.RingState, rows: int, life: int) -> None:
        """Begins to write the replay's full blocks, which leaves little for the next checkpoint.

        Does nothing while something is being written. What fails here is tried again.
        """
        self._collect_ahead(wait=False)
        if not self._replay:
            return
        is_idle = not (self._saving or self._ahead)
        unsaved_bytes = self._replay.unsaved_bytes(rows, life)
        if not processes.agreed_by_all(is_idle and unsaved_bytes >= _WORTH_WRITING_AHEAD_BYTES):
            return
        began = time.monotonic()
        try:
            with jax.transfer_guard("allow"):
                pending = self._replay.save(ring, rows, life, full_blocks=True)
            self._ahead = self._thread.submit(self._replay.finish, pending)
        except _ERRORS as error:
            _part_if_several(f"the replay could not be saved: {_one_line(error)}")
            self._replay.give_up()
        self._ahead_s = max(self._ahead_s, time.monotonic() - began)

    def _collect_ahead(self, wait: bool) -> None:
        if self._ahead and (wait or self._ahead.done()):
            try:
                self._ahead_bytes += self._ahead.result()
            except _ERRORS as error:
                _part_if_several(f"the replay could not be saved: {_one_line(error)}")
                assert self._replay is not None
                self._replay.give_up()
            self._ahead = None

    def outcome(self, wait: bool = False) -> Outcome | None:
        """How the last save went, once; None while it is under way, unless `wait` is set."""
        if self._saving is None or not (wait or self._saving.done()):
            return None
        outcome, self._saving = self._saving.result(), None
        if outcome.error:
            _part_if_several(f"step {outcome.step:,} could not be saved: {outcome.error}")
            self._last = None  # it may be tried again
        return outcome

    def newest_whole(self, say: Callable[[str], None]) -> int | None:
        """The newest checkpoint that is as it was written; newer ones are moved out of the way.

        One that has lost nothing but its replay is taken where no other is whole.

        Args:
          say: told what is wrong with those that are not taken.

        Raises:
          RunError: there are checkpoints, and none can be used.
        """
        found = processes.from_primary(
            lambda: checkpoint_folders.newest(self._directory, self._replay_problem, say)
        )
        if found is None:
            return None
        step, is_whole = found
        self._whole = step if is_whole else None
        self._last = _stamp(self.run(step))
        return int(step)

    def has_replay(self, step: int) -> bool:
        """Whether the checkpoint that `newest_whole` found has its replay."""
        return step == self._whole and self._replay is not None and _REPLAY in self.run(step)

    def run(self, step: int) -> dict[str, Any]:
        """What JSON holds of a checkpoint.

        Raises:
          RunError: nothing that can be read.
        """
        path = self._directory / str(step)
        try:
            # The handler alone: a checkpointer would wait for all processes, and not all need it.
            return dict(ocp.JsonCheckpointHandler().restore(path / "run"))
        except (*_ERRORS, RecursionError) as error:
            raise errors.RunError(f"{path} cannot be read: {_one_line(error)}") from None

    def restore(self, step: int, learner: Any, play: Any) -> tuple[Any, Any]:
        """Reads arrays, shaped and placed as those given.

        Raises:
          ValueError: they are of other shapes, and which.
        """
        path = self._directory / str(step)
        if isinstance(learner, learner_lib.TrainState):
            stored = ocp.PyTreeCheckpointHandler().metadata(path / "learner").tree
            checkpoint_params.check_shapes(stored["params"], learner.params)
        shapes: Any = jax.tree.map(
            lambda leaf: (
                ocp.utils.to_shape_dtype_struct(leaf) if isinstance(leaf, jax.Array) else leaf
            ),
            (learner, play),
        )
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler("learner", "play")) as checkpointer:
            found = checkpointer.restore(
                path,
                args=ocp.args.Composite(
                    learner=ocp.args.StandardRestore(shapes[0]),
                    play=ocp.args.StandardRestore(shapes[1]),
                ),
            )
        return found.learner, found.play

    def restore_ring(
        self, step: int, ring: ring_lib.RingState, rows: int, life: int
    ) -> ring_lib.RingState:
        """Reads the replay of a checkpoint that has one into an empty ring, which it donates."""
        assert self._replay is not None
        return self._replay.restore(ring, self._blocks(step), rows, life)

    def drop_replay(self) -> None:
        """Deletes the replay of all checkpoints."""
        if self._replay:
            self._replay.clear()

    def close(self) -> Outcome | None:
        """Waits for what is being saved; returns how that went."""
        outcome = self.outcome(wait=True)
        self._collect_ahead(wait=True)
        self._thread.shutdown()
        with contextlib.suppress(*_ERRORS):  # told before
            self._checkpointer.close()
            if self._replay:
                self._replay.close()
        return outcome

    def _blocks(self, step: int) -> replay_blocks.Blocks:
        stored = self.run(step).get(_REPLAY, {})
        # A name from a file must not lead out of the folder.
        return {int(block): str(int(name)) for block, name in stored.items()}

    def _replay_problem(self, step: int) -> str:
        if self._replay is None:
            return ""
        try:
            return self._replay.problem(self._blocks(step))
        except _ERRORS as error:
            return f"{self._directory / str(step)} cannot be read: {_one_line(error)}"

    def _prune(self, is_last: bool) -> None:
        """Deletes checkpoints that are neither new nor best, and replay that none needs."""
        steps = checkpoint_folders.steps_in(self._directory)
        newest, best = steps[-self._keep :], self._best(steps)
        for step in steps:
            folder = self._directory / str(step)
            if step not in newest and step != best:
                checksums.delete(folder)
            elif checkpoint_folders.replaced(folder).exists():
                checksums.delete(checkpoint_folders.replaced(folder))
        if self._replay and is_last:
            self._replay.clear()
        elif self._replay:
            self._replay.prune([self._blocks(step) for step in newest])


def _stamp(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tells states of one step apart."""
    return run.get("steps"), run.get("updates"), run.get("logged", {}).get("steps")


# What Orbax and the system raise when files cannot be read or written.
_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, errors.RunError)


@functools.cache  # one hook, however many checkpoints a process has
def _silence_writes_left_behind() -> None:
    """Keeps writes that outlive a failed save from printing a traceback each.

    Orbax waits for all writes of a save in one event loop, which it closes at the first that fails.
    The others then tell `sys.excepthook` that it is closed. What failed is told by us.
    """
    before = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(kind, error, trace)

    sys.excepthook = hook


def _part_if_several(problem: str) -> None:
    """Leaves a run of several processes, since the others may have saved what this one has not.

    Raises:
      RunError: there are several.
    """
    if processes.count() > 1:
        raise errors.RunError(problem)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
