"""The item `run` of a checkpoint: counters of the run, and where the blocks of its replay are."""

import pathlib
from collections.abc import Mapping
from typing import Any

import orbax.checkpoint as ocp

from jaxdqn import errors, wording
from jaxdqn.checkpointing import replay_blocks, saving_errors

_REPLAY = "replay"  # block -> folder


def read(folder: pathlib.Path) -> dict[str, Any]:
    """Reads the item of the checkpoint in a folder.

    Raises:
      RunError: it cannot be read.
    """
    try:
        # The handler alone: a checkpointer would wait for all processes, and not all need it.
        return dict(ocp.JsonCheckpointHandler().restore(folder / "run"))
    except (*saving_errors.CAUGHT, RecursionError) as error:
        raise errors.RunError(f"{folder} cannot be read: {wording.one_line(error)}") from None


def with_blocks(run: Mapping[str, Any], blocks: replay_blocks.Blocks) -> dict[str, Any]:
    """The item with the blocks of the replay added."""
    return {**run, _REPLAY: {str(block): name for block, name in blocks.items()}}


def has_blocks(run: Mapping[str, Any]) -> bool:
    """Whether the replay was saved with it."""
    return _REPLAY in run


def blocks(run: Mapping[str, Any]) -> replay_blocks.Blocks:
    """The blocks of the replay; empty if it was not saved.

    Raises:
      ValueError: a block or its folder is not a number: other names could lead out of the folder.
    """
    return {int(block): str(int(name)) for block, name in run.get(_REPLAY, {}).items()}


def stamp(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Distinguishes states of one step: several updates, or none, may follow it."""
    return run.get("steps"), run.get("updates"), run.get("logged", {}).get("steps")
