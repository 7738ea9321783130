"""Steps of random length, as in Gym's Atari games of version 0: 2, 3 or 4 frames.

EnvPool repeats an action for a fixed number of frames. Here it plays frame by frame, and in each
step environments drop out when their numbers of frames are reached. Only the last frame is shown,
as in Gym: no maximum over two.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api
from jaxdqn.envs.envpool import games, pool, specs

OPTION = "frame_skip_min"
_DRAWN_AHEAD = 1024  # steps whose numbers of frames are drawn at a time


def mean_frames(options: Mapping[str, Any]) -> int:
    """Average frames of a step of an Atari game, as a whole number."""
    return round(sum(_frames(options)) / 2)


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment with or without random steps, without starting it.

    Raises:
      OptionError, UnsupportedEnvError: see `specs.describe`.
    """
    if OPTION not in options:
        return specs.describe(env_id, options)
    try:
        spec = specs.describe(env_id, _frame_by_frame(options))
    except api.UnknownOptionError as error:
        option = OPTION if error.option == "frame_skip" else error.option
        raise api.UnknownOptionError(option, env_id) from None
    mean = mean_frames(options)
    rate = games.steps_per_second(env_id, mean)
    return spec._replace(frame_skip=mean, steps_per_second=rate)


def make(
    env_id: str,
    num_envs: int,
    seed: int,
    options: Mapping[str, Any],
    num_threads: int = 0,
    with_screen: bool = False,
) -> api.DrawnEnv:
    """Starts environments; the arguments are those of `pool.EnvPoolEnv`."""
    if OPTION not in options:
        return pool.EnvPoolEnv(env_id, num_envs, seed, options, num_threads, with_screen)
    spec, single = describe(env_id, options), _frame_by_frame(options)
    env = pool.EnvPoolEnv(env_id, num_envs, seed, single, num_threads, with_screen)
    return RandomFrameSkip(env, spec, *_frames(options), seed=seed)


def nearest_fixed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that EnvPool itself has: random steps become fixed ones of average length."""
    others = {name: value for name, value in options.items() if name != OPTION}
    return others | ({"frame_skip": mean_frames(options)} if OPTION in options else {})


def _frames(options: Mapping[str, Any]) -> tuple[int, int]:
    """Minimum and maximum frames of a step of an Atari game."""
    most = options.get("frame_skip", api.ATARI_FRAME_SKIP)
    return options.get(OPTION, most), most


def _frame_by_frame(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for EnvPool, which then counts frames instead of steps."""
    others = {name: value for name, value in options.items() if name != OPTION}
    steps = others.get("max_episode_steps", api.ATARI_MAX_STEPS)
    return others | {"frame_skip": 1, "max_episode_steps": steps * mean_frames(options)}


class RandomFrameSkip:
    """Environments whose every step lasts a random number of frames.

    Args:
      env: plays one frame a step; closed with this one.
      spec: of these environments, as `describe` gives it.
      fewest: frames of a step.
      most: frames of a step.
      seed: environment i draws the numbers between them with `seed + i`, whatever its neighbors.
    """

    def __init__(self, env: pool.EnvPoolEnv, spec: api.EnvSpec, fewest: int, most: int, seed: int):
        self.spec, self.num_envs = spec, env.num_envs
        self._env, self._fewest, self._most = env, fewest, most
        self._random = [np.random.default_rng(seed + i) for i in range(env.num_envs)]
        self._drawn: list[npt.NDArray[np.integer]] = []  # for the steps to come, the next one last
        self._actions = np.zeros(env.num_envs, np.int32)
        self._resting = np.zeros(env.num_envs, bool)

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the first frame of the step that plays `actions` [E]."""
        self._actions = np.array(actions, np.int32)
        self._env.send(self._actions)

    def receive(self) -> api.TimeStep:
        """Plays the other frames and waits for them."""
        step = api.TimeStep(*(np.array(part) for part in self._env.receive()))
        frames = self._draw()
        for played in range(1, self._most):
            # A row that opens a game is not a step, and a game that has ended has no more frames.
            over = step.is_first | step.terminated | step.truncated | self._resting
            going = (frames > played) & ~over
            envs = np.flatnonzero(going)
            if not len(envs):
                break
            self._env.send(self._actions[envs], envs)
            more = self._env.receive()
            step.frame[envs] = more.frame
            step.reward[envs] += more.reward
            for name in ("terminated", "truncated", "life_lost"):
                getattr(step, name)[envs] |= getattr(more, name)
        return step

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Plays some environments no more; see `api.VectorEnv.rest`."""
        self._resting = envs.copy()
        self._env.rest(envs)

    def _draw(self) -> npt.NDArray[np.integer]:
        """Frames of one step of each environment."""
        if not self._drawn:
            low, high = self._fewest, self._most + 1
            of_envs = [random.integers(low, high, _DRAWN_AHEAD) for random in self._random]
            self._drawn = list(np.stack(of_envs, axis=1)[::-1])
        return self._drawn.pop()

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now; see `api.DrawnEnv.screen`."""
        return self._env.screen()

    def close(self) -> None:
        """Frees the emulators."""
        self._env.close()
