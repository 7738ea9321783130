"""ALE's games behind the interface `VectorEnv`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxdqn import machine, wording
from jaxdqn.envs import api
from jaxdqn.envs.ale import emulators, games, specs


class AleEnv:
    """Games that are played by threads of ALE.

    Args:
      env_id: such as 'ale:Breakout'.
      num_envs: E.
      seed: environment i plays with `seed + i`; below 2**31 - E.
      options: that differ from ALE's defaults, such as `frame_skip`.
      num_threads: emulator threads; 0: as many as cores.
      with_screen: whether `screen` will be asked.

    Raises:
      OptionError: see `specs.describe`.
      UnsupportedEnvError: see `specs.describe`, or ALE cannot start it.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        seed: int,
        options: Mapping[str, Any],
        num_threads: int = 0,
        with_screen: bool = False,
    ):
        self.spec, self.num_envs = specs.describe(env_id, options), num_envs
        rom, limit = games.rom(env_id), specs.step_limit(options)
        threads = num_threads or min(num_envs, machine.cores())
        try:
            vector = specs.make(rom, specs.arguments(options), num_envs, threads)
            self._games = emulators.Emulators(vector, seed, limit)
            # ALE draws nothing but observations. So the first game is played a second time, in
            # color: equal seeds and actions make equal games.
            self._drawn: emulators.Emulators | None = None
            if with_screen:
                drawn = specs.make(rom, specs.screen_arguments(options), 1, 1)
                self._drawn = emulators.Emulators(drawn, seed, limit)
        except Exception as error:  # whatever ALE raises
            problem = wording.first_line(error)
            raise api.UnsupportedEnvError(f"{env_id} cannot be started by ALE: {problem}") from None
        self._lives: npt.NDArray[np.integer] = np.zeros(num_envs, np.int32)
        self._picture = np.zeros((0, 0, 3), np.uint8)

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        self._games.send(actions)
        if self._drawn:
            self._drawn.send(actions[:1])

    def receive(self) -> api.TimeStep:
        """Waits for the pending step."""
        shown = self._games.receive()
        if self._drawn:
            self._picture = self._drawn.receive().image[0, 0]
        life_lost = (shown.lives < self._lives) & ~shown.is_first
        self._lives = shown.lives
        return api.TimeStep(
            frame=shown.image.reshape(self.num_envs, *self.spec.frame_shape),
            reward=shown.reward.astype(np.float32),
            terminated=shown.terminated,
            truncated=shown.truncated,
            is_first=shown.is_first,
            life_lost=life_lost,
        )

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Plays them all the same; see `api.VectorEnv.rest`."""

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [210, 160, 3].

        Raises:
          UnsupportedEnvError: it was not made for that.
        """
        if not self._drawn:
            raise api.UnsupportedEnvError(f"{self.spec.env_id} draws no picture")
        return self._picture

    def close(self) -> None:
        """Frees the emulators."""
        self._games.close()
        if self._drawn:
            self._drawn.close()
