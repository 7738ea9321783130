"""Finds the checkpoint from which a run resumes, and reads it."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import orbax.checkpoint as ocp

from jaxdqn import wording
from jaxdqn.checkpointing import (
    checkpoint_folders,
    checkpoint_params,
    replay_blocks,
    run_item,
    saving_errors,
)
from jaxdqn.distributed import processes
from jaxdqn.replay import ring as ring_lib

_Learner = TypeVar("_Learner")
_Play = TypeVar("_Play")


class Found(NamedTuple):
    """A checkpoint that is as it was written."""

    step: int
    run: Mapping[str, Any]  # what JSON holds of it
    has_replay: bool  # and that it is as it was written


class Reader:
    """Reads checkpoints of one run.

    Args:
      directory: of the checkpoints.
      replay: the replay's blocks; None if they are not to be read.
    """

    def __init__(self, directory: pathlib.Path, replay: replay_blocks.ReplayFiles | None = None):
        self._directory, self._replay = directory.absolute(), replay

    def newest_whole(self, say: Callable[[str], None]) -> Found | None:
        """Finds the newest checkpoint that is as it was written, and sets newer ones aside.

        One that has lost nothing but its replay is taken if no other is whole. Parts of the replay
        that no checkpoint names, such as those that a killed process wrote ahead, are deleted. The
        primary does all this, and all processes get what it found. The caller has the run's lock.

        Args:
          say: prints what is wrong with those that are not taken.

        Returns:
          The checkpoint; None if there are none.

        Raises:
          RunError: there are checkpoints, and none can be used.
        """
        read = functools.cache(self._run)

        def find() -> tuple[int, dict[str, Any], bool] | None:
            found = checkpoint_folders.newest(
                self._directory, lambda step: self._replay_problem(step, read), say
            )
            self._drop_what_nothing_names(read)
            if found is None:
                return None
            step, is_whole = found
            run = read(step)
            has_replay = is_whole and self._replay is not None and run_item.has_blocks(run)
            return step, run, has_replay

        found = processes.from_primary(find)
        return None if found is None else Found(*found)

    def _replay_problem(self, step: int, read: Callable[[int], Mapping[str, Any]]) -> str:
        if self._replay is None:
            return ""
        try:
            return self._replay.problem(run_item.blocks(read(step)))
        except saving_errors.CAUGHT as error:
            path = self._directory / str(step)
            return f"{path} cannot be read: {wording.one_line(error)}"

    def _drop_what_nothing_names(self, read: Callable[[int], Mapping[str, Any]]) -> None:
        if self._replay is None:
            return
        # If a checkpoint cannot be read, nothing is deleted, as its blocks are not known.
        with contextlib.suppress(*saving_errors.CAUGHT):
            steps = checkpoint_folders.steps_in(self._directory)
            self._replay.prune([run_item.blocks(read(step)) for step in steps])

    def _run(self, step: int) -> dict[str, Any]:
        """Reads what JSON holds of a checkpoint.

        Raises:
          RunError: it cannot be read.
        """
        return run_item.read(self._directory / str(step))

    def restore(self, step: int, learner: _Learner, play: _Play) -> tuple[_Learner, _Play]:
        """Reads arrays.

        Args:
          step: of the checkpoint.
          learner: what its `learner` is like: shapes and shardings count. If it has a field
            `params`, the shapes of those are compared first.
          play: the same of its `play`.

        Raises:
          ValueError: they have other shapes, and which.
        """
        path = self._directory / str(step)
        if (params := getattr(learner, "params", None)) is not None:
            stored = ocp.PyTreeCheckpointHandler().metadata(path / "learner").tree
            checkpoint_params.check_shapes(stored["params"], params)
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
        self, found: Found, ring: ring_lib.RingState, rows: int, life: int
    ) -> ring_lib.RingState:
        """Reads the replay of a checkpoint that has one into an empty ring, which is donated."""
        assert self._replay is not None
        return self._replay.restore(ring, run_item.blocks(found.run), rows, life)
