"""Saves a run while it trains, and reports how saving went."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdqn import errors
from jaxdqn.algorithms import api, run_state
from jaxdqn.checkpointing import checkpoint_writer
from jaxdqn.distributed import processes
from jaxdqn.rundir import layout, metrics
from jaxdqn.storage import atomic_files
from jaxdqn.training import checkpoint_state, env_groups


class Saver:
    """Saves the state of a run in the background.

    Args:
      path: of the run.
      store: writes its checkpoints; its owner closes it.
      writer: receives a row for every checkpoint.
      say: prints a line.
      own: how the algorithm packs what is its own; None where it has nothing.
    """

    def __init__(
        self,
        path: pathlib.Path,
        store: checkpoint_writer.Writer,
        writer: metrics.Rows,
        say: Callable[[str], None],
        own: api.OwnState | None = None,
    ):
        self._path, self._store, self._writer, self._say = path, store, writer, say
        self._own = own
        self.must_save = False  # the last save failed

    def save(
        self, state: run_state.RunState, groups: Sequence[env_groups.Group], *, is_complete: bool
    ) -> None:
        """Starts to save after the previous save is over. A complete run's replay is left out."""
        self._writer.try_again()  # rows from before a checkpoint are not written again
        play, run = checkpoint_state.pack(state, groups, self._own)
        learner = checkpoint_state.LEARNER.encode(state.train_state)
        ring = None if is_complete else state.ring
        self._tell(
            self._store.save(learner, play, run, ring, state.ring_life, is_complete=is_complete)
        )

    def report_outcome(self) -> None:
        """Reports how the last save went, if it is over."""
        self._tell(self._store.outcome())

    def write_ahead(self, state: run_state.RunState) -> None:
        """Starts to write replay blocks that a later checkpoint will need."""
        if state.ring is not None:
            self._store.write_ahead(state.ring, state.rows, state.ring_life)

    def wait(self, steps: int) -> None:
        """Waits until what was saved last, at this step, is on disk.

        Raises:
          RunError: it could not be saved.
        """
        outcome = self._store.outcome(wait=True)
        if outcome and outcome.error:
            raise errors.RunError(
                f"step {steps:,} could not be saved in {self._path}: {outcome.error}"
            )
        self._tell(outcome)
        for name in (layout.CONFIG_FILE, metrics.FILE):
            if processes.is_primary() and not (self._path / name).exists():
                raise errors.RunError(f"{self._path / name} was deleted during the run")
        if self._writer.problem:
            raise errors.RunError(
                f"metrics could not be written in {self._path}: {self._writer.problem}"
            )

    def save_batch(self, steps: int, batch: Any) -> str:
        """Saves a batch that would have spoiled the parameters; returns where it is."""
        path = self._path / layout.NONFINITE / f"{steps}.npz"
        if not processes.is_primary():
            return f"is in {path}"
        try:
            path.parent.mkdir(exist_ok=True)
            with atomic_files.whole(path) as part:
                np.savez_compressed(part, **{str(n): v for n, v in vars(batch).items()})
        except (errors.RunError, OSError) as problem:
            return f"could not be saved: {problem}"
        return f"is in {path}"

    def _tell(self, outcome: checkpoint_writer.Outcome | None) -> None:
        """Reports how a save went, and requests another one if it failed."""
        if outcome is None:
            return
        self.must_save = bool(outcome.error)
        if outcome.error:
            self._say(
                f"WARNING: the checkpoint of step {outcome.step:,} could not be saved; trying "
                f"again later: {outcome.error}"
            )
            return
        self._writer.write(
            outcome.step,
            {
                "checkpoint_stall_s": round(outcome.stall_s, 3),
                "checkpoint_write_s": round(outcome.write_s, 3),
                "checkpoint_bytes": outcome.written_bytes,
            },
        )
