"""What a vector of environments looks like to the rest of the program."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt


class TimeStep(NamedTuple):
    """What E environments show after their last actions.

    A row with `is_first` opens a game: it follows the last row of another game, whose action the
    environment ignored, so the two rows are no transition and the first is no agent step.
    """

    frame: npt.NDArray[np.generic]  # [E, *frame_shape] the newest frame alone
    reward: npt.NDArray[np.float32]  # [E] as the game gave it
    terminated: npt.NDArray[np.bool_]  # [E] the game itself ended
    truncated: npt.NDArray[np.bool_]  # [E] the time limit ended it; may come with terminated
    is_first: npt.NDArray[np.bool_]  # [E] first observation of a game
    life_lost: npt.NDArray[np.bool_]  # [E] a life was lost in this step


class EnvSpec(NamedTuple):
    """What stays the same over the life of an environment."""

    env_id: str
    frame_shape: tuple[
        int, ...
    ]  # of one frame of one environment, channels dropped if there is one
    frame_dtype: np.dtype[np.generic]
    num_actions: int
    frame_skip: int  # emulator frames per agent step; 1 where the notion does not exist
    has_lives: bool = False  # whether `TimeStep.life_lost` can ever be set
    # Steps after which it ends a game whatever `max_episode_steps` says; None: it keeps to that.
    own_step_limit: int | None = None
    steps_per_second: float | None = None  # of play, where its own settings declare them


class VectorEnv(Protocol):
    """E environments stepped together; `send` returns at once, `receive` waits.

    The first `receive` returns the first observations; after that each `receive` answers one
    `send`. An ended game restarts by itself on the next `send`.
    """

    spec: EnvSpec
    num_envs: int

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E] int32."""

    def receive(self) -> TimeStep:
        """Waits for the step under way."""

    def close(self) -> None:
        """Frees the emulators."""


class DrawnEnv(VectorEnv, Protocol):
    """Environments that people can look at."""

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [H, W, 3]."""
