"""Orbax checkpoints: what is saved, and how it comes back.

A checkpoint is a folder named by its agent step, with two items: `learner`, the whole `TrainState`,
and `run`, the counters. Export and evaluation need `learner` and the run's settings alone.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxdqn import config as config_lib
from jaxdqn.agent import learner as learner_lib
from jaxdqn.runtime import loop


def steps_in(directory: pathlib.Path) -> list[int]:
    """The agent steps of the whole checkpoints in a folder, in order; none where there is none.

    Raises:
      RunError: it cannot be read.
    """
    try:
        return sorted(ocp.utils.checkpoint_steps(directory.absolute()))
    except (OSError, ValueError) as error:
        raise config_lib.RunError(f"{directory} cannot be read: {error}") from None


def restore_params(directory: pathlib.Path, step: int, like: Any) -> Any:
    """Reads the online network's parameters and nothing else.

    Args:
      directory: of the checkpoints of a run.
      step: one of `steps_in`.
      like: tree of `jax.ShapeDtypeStruct` with shardings: what the parameters are to be.

    Raises:
      RunError: they cannot be read, or are not of these shapes.
    """
    path = directory.absolute() / str(step)
    arguments = ocp.checkpoint_utils.construct_restore_args({"params": like})
    handler = ocp.PyTreeCheckpointHandler()
    try:
        with ocp.Checkpointer(handler) as checkpointer:
            _check_shapes(handler.metadata(path / "learner").tree["params"], like)
            found: Any = checkpointer.restore(
                path / "learner",
                args=ocp.args.PyTreeRestore(
                    item={"params": like}, restore_args=arguments, partial_restore=True
                ),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise config_lib.RunError(f"{path} cannot be read: {error}") from None
    return found["params"]


def _check_shapes(stored: Any, like: Any) -> None:
    """Compares before anything is read: Orbax would leave reads under way.

    Raises:
      ValueError: names a parameter that is missing or of another shape.
    """
    shapes = {
        jax.tree_util.keystr(where): tuple(leaf.shape)
        for where, leaf in jax.tree_util.tree_leaves_with_path(stored)
    }
    for where, leaf in jax.tree_util.tree_leaves_with_path(like):
        name = jax.tree_util.keystr(where)
        if shapes.get(name) != leaf.shape:
            raise ValueError(
                f"parameter {name} has shape {shapes.get(name)}, the settings make it {leaf.shape}"
            )


class Checkpoints:
    """The checkpoints of one run. Saving is asynchronous: training goes on meanwhile.

    Args:
      directory: where they lie.
      keep: so many of the newest stay.
      best: tells the step of the checkpoint that stays whatever its age, if there is one; asked
        when others are deleted.
    """

    def __init__(
        self, directory: pathlib.Path, keep: int, best: Callable[[], int | None] = lambda: None
    ):
        self._manager = ocp.CheckpointManager(
            directory.absolute(),
            item_names=("learner", "run"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(keep), _Best(best)]
                ),
                create=True,
            ),
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


@dataclasses.dataclass
class _Best(policies.PreservationPolicy):
    """Keeps the checkpoint of one step."""

    step: Callable[[], int | None]

    def should_preserve(
        self,
        checkpoints: Sequence[policies.PolicyCheckpointInfo],
        *,
        context: policies.PreservationContext,
    ) -> list[bool]:
        """Whether each checkpoint stays."""
        return [checkpoint.step == self.step() for checkpoint in checkpoints]
