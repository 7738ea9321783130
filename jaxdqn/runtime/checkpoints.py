"""Orbax checkpoints: what is saved, and how it comes back.

A checkpoint is a folder named by its agent step, with two items: `learner`, the whole `TrainState`,
and `run`, the counters. Export and evaluation need `learner` and the run's settings alone.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxdqn.agent import learner as learner_lib
from jaxdqn.runtime import loop


class Checkpoints:
    """The checkpoints of one run. Saving is asynchronous: training goes on meanwhile."""

    def __init__(self, directory: pathlib.Path, keep: int):
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            item_names=("learner", "run"),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
        )

    def latest_step(self) -> int | None:
        """The agent step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, train_state: learner_lib.TrainState, counters: loop.Counters) -> None:
        """Begins to save; a step that is saved already is left as it is."""
        if self.latest_step() == counters.steps:
            return
        items = ocp.args.Composite(
            learner=ocp.args.StandardSave(train_state),
            run=ocp.args.JsonSave(dataclasses.asdict(counters)),
        )
        with jax.transfer_guard("allow"):  # Orbax's copies to the host count as implicit
            self._manager.save(counters.steps, args=items)

    def restore(
        self, step: int, like: learner_lib.TrainState
    ) -> tuple[learner_lib.TrainState, loop.Counters]:
        """Reads a checkpoint into arrays shaped and placed as those of `like`."""
        shapes: Any = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                learner=ocp.args.StandardRestore(shapes), run=ocp.args.JsonRestore()
            ),
        )
        return items.learner, loop.Counters(**items.run)

    def close(self) -> None:
        """Waits for what is being saved."""
        self._manager.wait_until_finished()
        self._manager.close()
