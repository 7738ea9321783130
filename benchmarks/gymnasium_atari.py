"""Atari games for Gymnasium, preprocessed by its own `AtariPreprocessing`.

`--env=benchmarks.gymnasium_atari:Preprocessed/Breakout-v0` plays one. It shows 84x84 gray pixels.
Two other names are for comparisons: `Preprocessed/BreakoutFixed-v0` starts without no-ops, and
`Preprocessed/BreakoutScreens-v0` also shows whole screens, of 210x160 pixels.

Requires `ale-py` and OpenCV (`pip install opencv-python-headless`).
"""

from typing import Any

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import AtariPreprocessing

GAMES = ("Breakout", "Pong", "SpaceInvaders", "Seaquest", "Qbert")
_FIRE = 1  # in all of these games
_MOST_STEPS = 27_000
_SMALL, _WHOLE = (84, 84), (160, 210)  # pixels, of which the width comes first

Image = npt.NDArray[np.uint8]


class FireFirst(gymnasium.Wrapper[Image, int, Image, int]):
    """Begins each game with FIRE, which `AtariPreprocessing` does not."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Begins a game."""
        self.env.reset(seed=seed, options=options)
        image, *_, info = self.env.step(_FIRE)
        return image, info


def make(
    game: str, noop_max: int, screen_size: tuple[int, int], **options: Any
) -> gymnasium.Env[Image, int]:
    """One game; Gymnasium calls this."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # it would greet
    env = gymnasium.make(
        f"ALE/{game}-v5",
        frameskip=1,
        repeat_action_probability=0.0,
        max_num_frames_per_episode=2**30,
        disable_env_checker=True,
        **options,
    )
    return AtariPreprocessing(FireFirst(env), noop_max=noop_max, screen_size=screen_size)


gymnasium.register_envs(ale_py)
for _game in GAMES:
    for _suffix, _noop_max, _screen_size in (
        ("", 30, _SMALL),
        ("Fixed", 0, _SMALL),
        ("Screens", 0, _WHOLE),
    ):
        gymnasium.register(
            f"Preprocessed/{_game}{_suffix}-v0",
            entry_point="benchmarks.gymnasium_atari:make",
            max_episode_steps=_MOST_STEPS,
            kwargs={"game": _game, "noop_max": _noop_max, "screen_size": _screen_size},
        )
