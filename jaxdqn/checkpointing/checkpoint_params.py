"""Reads a trained network's parameters, and nothing else of a checkpoint."""

import contextlib
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxdqn import errors
from jaxdqn.storage import checksums


def restore(directory: pathlib.Path, step: int, like: Any) -> Any:
    """Reads the online network's parameters and nothing else.

    Args:
      directory: of the checkpoints of a run.
      step: one of `checkpoint_folders.steps_in`.
      like: tree of `jax.ShapeDtypeStruct` with shardings: the expected parameters.

    Raises:
      RunError: they are damaged, cannot be read, or are not of these shapes.
    """
    path = directory.absolute() / str(step)
    with contextlib.ExitStack() as stack:
        # A run under way may delete it. Orbax would leave reads behind that print errors.
        try:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxdqn-"))
            copy = pathlib.Path(shutil.copytree(path, pathlib.Path(temporary, path.name)))
        except OSError:  # no room for a copy, or nothing to copy
            copy = path
        problem = checksums.problem(copy).replace(str(copy), str(path))
        if problem:
            raise errors.RunError(problem)
        return _restore(copy, like, path)


def _restore(folder: pathlib.Path, like: Any, path: pathlib.Path) -> Any:
    """The same, from a folder that holds a copy of what was found at `path`."""
    arguments = ocp.checkpoint_utils.construct_restore_args({"params": like})
    handler = ocp.PyTreeCheckpointHandler()
    try:
        with ocp.Checkpointer(handler) as checkpointer:
            check_shapes(handler.metadata(folder / "learner").tree["params"], like)
            found: Any = checkpointer.restore(
                folder / "learner",
                args=ocp.args.PyTreeRestore(
                    item={"params": like}, restore_args=arguments, partial_restore=True
                ),
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise errors.RunError(f"{path} cannot be read: {error}") from None
    return found["params"]


def check_shapes(stored: Any, like: Any) -> None:
    """Compares shapes before anything is read: Orbax would leave reads under way.

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
                f"parameter {name} has shape {shapes.get(name)}; the settings need {leaf.shape}"
            )
