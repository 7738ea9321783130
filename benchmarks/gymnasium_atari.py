"""Atari games for Gymnasium that are preprocessed as EnvPool and ALE preprocess them.

`--env=benchmarks.gymnasium_atari:Preprocessed/Breakout-v0` plays one. Gymnasium's own
`AtariPreprocessing` does the same but needs OpenCV, which this project does not. Games of the name
`Preprocessed/BreakoutFixed-v0` start without no-ops.
"""

from typing import Any, SupportsFloat

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt

GAMES = ("Breakout", "Pong", "SpaceInvaders", "Seaquest", "Qbert")
_NOOP, _FIRE = 0, 1  # in all of these games
_FRAMES = 4  # of a step
_MOST_STEPS = 27_000

Image = npt.NDArray[np.uint8]


class Preprocessed(gymnasium.Wrapper[Image, int, Image, int]):
    """Four frames a step, of which the maximum of the last two is shown.

    Args:
      env: plays one frame a step.
      noop_max: a game begins with FIRE and up to two no-ops less.
    """

    def __init__(self, env: gymnasium.Env[Image, int], noop_max: int):
        super().__init__(env)
        self._noop_max = noop_max

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Begins a game with FIRE and no-ops."""
        self.env.reset(seed=seed)
        image, *_, info = self.env.step(_FIRE)
        for _ in range(int(self.np_random.integers(self._noop_max)) - 1):
            image, *_, info = self.env.step(_NOOP)
        return image, info

    def step(self, action: int) -> tuple[Image, SupportsFloat, bool, bool, dict[str, Any]]:
        """Plays a step."""
        total, last = 0.0, np.zeros(0, np.uint8)
        for frame in range(_FRAMES):
            image, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if frame == _FRAMES - 1:
                image = np.maximum(last, image)
            if terminated or truncated:
                break
            last = image
        return image, total, terminated, truncated, info


def make(game: str, noop_max: int, **options: Any) -> gymnasium.Env[Image, int]:
    """One game; Gymnasium calls this."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # it would greet
    env = gymnasium.make(
        f"ALE/{game}-v5",
        frameskip=1,
        repeat_action_probability=0.0,
        max_num_frames_per_episode=2**30,
        obs_type="grayscale",
        disable_env_checker=True,
        **options,
    )
    return Preprocessed(env, noop_max)


gymnasium.register_envs(ale_py)
for _game in GAMES:
    for _suffix, _noop_max in (("", 30), ("Fixed", 1)):
        gymnasium.register(
            f"Preprocessed/{_game}{_suffix}-v0",
            entry_point="benchmarks.gymnasium_atari:make",
            max_episode_steps=_MOST_STEPS,
            kwargs={"game": _game, "noop_max": _noop_max},
        )
