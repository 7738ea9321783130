"""What a run and the processes that play its environments tell each other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SCREEN = "screen"


class Task(NamedTuple):
    """What a process is to play."""

    env_id: str
    entry: bytes  # of `specs.pickled_entry`
    options: Mapping[str, Any]
    seeds: Sequence[int]  # of its environments
    with_screen: bool


class Rest(NamedTuple):
    """Which environments are to be played no more."""

    envs: npt.NDArray[np.bool_]  # [n]


class Answer(NamedTuple):
    """What n environments show after their last actions."""

    frame: npt.NDArray[np.generic]  # [n, *frame_shape]
    reward: npt.NDArray[np.float32]  # [n]
    terminated: npt.NDArray[np.bool_]  # [n]
    truncated: npt.NDArray[np.bool_]  # [n]


class Failure(NamedTuple):
    """An exception of an environment."""

    reason: str  # in a line
    trace: str  # '' if the reason says it all
