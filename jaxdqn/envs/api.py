"""What environments look like to the rest of the program, and how a source of them is asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

ATARI = "atari"  # a family; see `GameInfo`
# What Atari games have if no option says otherwise, in all sources.
ATARI_FRAME_SKIP = 4
ATARI_MAX_STEPS = 27_000  # half an hour


class UnknownGameError(ValueError):
    """No environment has this name; the message holds the nearest ones, or why there are none."""


class UnsupportedEnvError(ValueError):
    """An environment that this package cannot play, or that its source cannot make."""


class OptionError(ValueError):
    """An option with a value that the environment does not accept."""

    def __init__(self, option: str, problem: str):
        self.option = option
        super().__init__(problem)


class UnknownOptionError(OptionError):
    """An option that the environment does not have."""

    def __init__(self, option: str, env_id: str):
        super().__init__(option, f"{env_id} has no such option")


class TimeStep(NamedTuple):
    """What E environments show after their last actions.

    A row with `is_first` opens a game. It follows the last row of another game, whose action the
    environment ignored. So the two rows are not a transition, and the first row is not a step.
    """

    frame: npt.NDArray[np.generic]  # [E, *frame_shape] only the newest frame
    reward: npt.NDArray[np.float32]  # [E] as the game gave it
    terminated: npt.NDArray[np.bool_]  # [E] the game itself ended
    truncated: npt.NDArray[np.bool_]  # [E] the time limit ended it; may be set with terminated
    is_first: npt.NDArray[np.bool_]  # [E] first observation of a game
    life_lost: npt.NDArray[np.bool_]  # [E] a life was lost in this step


class Reference(NamedTuple):
    """Mean returns on one game that scores are measured against."""

    random: float
    human: float


class GameInfo(NamedTuple):
    """What is known of a game before any of it is made."""

    plain_name: str  # short, fit for a folder, such as 'Breakout'
    source: str = ""  # the name of the source that makes it
    # `ATARI` for games of the Arcade Learning Environment, for which there are presets and
    # protocols; '' for all others.
    family: str = ""
    preset: str = ""  # a name in `presets.PRESETS` to start from; '' for the family's
    reference: Reference | None = None


class EnvSpec(NamedTuple):
    """What stays constant over the life of an environment."""

    env_id: str
    # Of one frame of one environment. An image is [H, W] if it has one channel; `images` tells
    # which axis counts several.
    frame_shape: tuple[int, ...]
    frame_dtype: np.dtype[np.generic]  # integers or floats of at most 32 bits
    num_actions: int
    # Emulator frames per agent step, the mean where it varies; 1 where the notion does not exist.
    frame_skip: int
    has_lives: bool = False  # whether `TimeStep.life_lost` can ever be set
    # Steps after which it ends a game whatever `max_episode_steps` says; None: it obeys that.
    own_step_limit: int | None = None
    is_endless: bool = False  # whether no time limit ends its games, which may then last for ever
    # Whether equal seeds and equal actions make equal games; None: nobody says.
    plays_again: bool | None = True
    steps_per_second: float = 30.0  # agent steps in a second of play as people know it
    action_names: tuple[str, ...] = ()  # in order; empty where nobody named them
    # How frames are made of what the source's own library shows; '' where they are the same.
    frames_made: str = ""
    game: GameInfo = GameInfo("")

    @property
    def actions(self) -> tuple[str, ...]:
        """What the actions are called, in order; their numbers where nobody named them."""
        return self.action_names or tuple(map(str, range(self.num_actions)))


class VectorEnv(Protocol):
    """E environments stepped together; `send` returns at once, `receive` waits.

    The first `receive` returns the first observations. After that each `receive` answers one
    `send`. A game that has ended restarts by itself on the next `send`.
    """

    spec: EnvSpec
    num_envs: int

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E] int32."""

    def receive(self) -> TimeStep:
        """Waits for the pending step."""

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Asks for no more steps of some environments, [E] bool, but not of all.

        It is called between `receive` and `send`, and holds from that `send` on. Rows of these
        environments then mean nothing, so they need not be played. The others' rows are as if none
        rested.
        """

    def close(self) -> None:
        """Frees the emulators."""


class DrawnEnv(VectorEnv, Protocol):
    """Environments that people can look at."""

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [H, W, 3].

        Raises:
          UnsupportedEnvError: it draws nothing.
        """


class Make(Protocol):
    """Starts environments."""

    def __call__(
        self,
        env_id: str,
        num_envs: int,
        seed: int,
        options: Mapping[str, Any],
        num_threads: int = 0,
        with_screen: bool = False,
    ) -> DrawnEnv:
        """Starts environments; see `registry.make`."""


def _nothing_to_load(name: str) -> None:
    pass


def _same_options(env_id: str, options: Mapping[str, Any], frame_stack: int) -> dict[str, Any]:
    return dict(options)


class Source(NamedTuple):
    """Where environments come from, as functions. Ids are those that `resolve` returns.

    Any of them raises UnknownGameError where the source cannot be used here at all. None imports
    the source's library before it is called: `--help` and wrong settings are fast without it.
    """

    name: str  # for messages, such as 'EnvPool'
    resolve: Callable[[str], str | None]  # a plain name or an id -> the id; None: none of its own
    plain_names: Callable[[], Sequence[str]]  # what a user most likely means
    ids: Callable[[], Sequence[str]]
    game: Callable[[str], GameInfo]  # id -> what is known of it
    # (id, options) -> its shapes, without starting it. Raises OptionError for an option that it
    # does not have or take, UnsupportedEnvError for what a Q-network cannot play.
    describe: Callable[[str, Mapping[str, Any]], EnvSpec]
    make: Make
    # (id, options, frame_stack) -> options with which the source's own library shows, without this
    # package, stacks of so many frames as the network takes them, or the nearest to it.
    export_options: Callable[[str, Mapping[str, Any], int], dict[str, Any]] = _same_options
    # Imports the code that a name asks for, which `resolve` has taken for one of the source's own.
    # Only names that a user types get here: a run's folder must not say which code runs. Raises
    # UnknownGameError.
    load: Callable[[str], None] = _nothing_to_load
