"""EnvPool's environments behind the interface `VectorEnv`.

EnvPool (Weng et al., arXiv:2206.10558) restarts a game on the step after its end: that step ignores
its action and returns the first observation with reward 0. See `api.TimeStep.is_first`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxdqn import wording
from jaxdqn.envs import api
from jaxdqn.envs.envpool import library, specs


class EnvPoolEnv:
    """A pool in synchronous mode: rows come in the order of the environments.

    Args:
      env_id: EnvPool's id, such as 'Breakout-v5'.
      num_envs: E.
      seed: environment i plays with `seed + i`; below 2**31 - E.
      options: that differ from EnvPool's defaults, such as `frame_skip`.
      num_threads: emulator threads; 0 lets EnvPool choose.
      with_screen: whether `screen` will be asked.

    Raises:
      OptionError: see `specs.describe`.
      UnsupportedEnvError: see `specs.describe`, or EnvPool cannot start it.
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
        self.spec = specs.describe(env_id, options)
        self.num_envs = num_envs
        arguments = _heeded(options, self.spec)
        if specs.native(env_id, options).stacks:
            arguments["stack_num"] = 1  # frames come singly: the replay and the actor stack them
        if with_screen:
            arguments["render_mode"] = "rgb_array"
        with library.quietly():
            try:
                self._pool = library.module().make_gymnasium(
                    env_id, num_envs=num_envs, seed=seed, num_threads=num_threads, **arguments
                )
            except Exception as error:  # whatever EnvPool's families raise
                raise api.UnsupportedEnvError(
                    f"{env_id} cannot be started by EnvPool: {wording.first_line(error)}"
                ) from None
            # EnvPool would create its spaces at the first step, and Gymnasium would warn there.
            _ = self._pool.observation_space
        self._awaited = np.arange(num_envs)  # environments whose step is pending
        self._playing: npt.NDArray[np.integer] | None = None  # None: none rests
        self._is_padded = False  # whether the rows of resting environments are to be added
        self._ended = np.ones(num_envs, bool)  # the row before this one closed a game
        self._lives = np.zeros(num_envs, np.int32)
        self._pool.async_reset()

    def send(
        self,
        actions: npt.NDArray[np.integer],
        envs: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Starts the step that plays `actions`, in all environments or only in `envs`."""
        self._is_padded = envs is None and self._playing is not None
        if envs is None and self._playing is not None:
            envs, actions = self._playing, actions[self._playing]
        self._awaited = np.arange(self.num_envs) if envs is None else np.asarray(envs)
        self._pool.send(np.asarray(actions, np.int32), self._awaited.astype(np.int32))

    def receive(self) -> api.TimeStep:
        """Waits for the pending step; its rows are those of the environments that were sent."""
        observation, reward, terminated, truncated, info = self._pool.recv()
        # EnvPool's `terminated` excludes an end that falls on the time limit; the emulator's own
        # game over does not.
        game_over = info.get("terminated", terminated).astype(bool)
        envs = self._awaited
        lives = info.get("lives", np.zeros(len(envs), np.int32))
        is_first = self._ended[envs]
        step = api.TimeStep(
            frame=observation.reshape(len(envs), *self.spec.frame_shape),
            reward=reward.astype(np.float32),
            terminated=game_over,
            truncated=truncated.astype(bool),
            is_first=is_first,
            life_lost=(lives < self._lives[envs]) & ~is_first,
        )
        self._ended[envs] = step.terminated | step.truncated
        self._lives[envs] = lives
        return self._padded(step) if self._is_padded else step

    def _padded(self, step: api.TimeStep) -> api.TimeStep:
        """Rows of all environments, of which those that rest are zero."""
        whole = [np.zeros((self.num_envs, *part.shape[1:]), part.dtype) for part in step]
        for all_rows, rows in zip(whole, step, strict=True):
            all_rows[self._awaited] = rows
        return api.TimeStep(*whole)

    def rest(self, envs: npt.NDArray[np.bool_]) -> None:
        """Plays some environments no more; see `api.VectorEnv.rest`."""
        self._playing = np.flatnonzero(~envs) if envs.any() else None

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [H, W, 3].

        Raises:
          UnsupportedEnvError: it draws nothing.
        """
        try:
            (picture,) = self._pool.render(env_ids=[0])
        except (RuntimeError, ValueError, TypeError) as error:
            raise api.UnsupportedEnvError(f"{self.spec.env_id} draws no picture: {error}") from None
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Frees the emulators."""
        self._pool.close()


def _heeded(options: Mapping[str, Any], spec: api.EnvSpec) -> dict[str, Any]:
    """The options without a time limit beyond the environment's own, which would hide that one."""
    arguments, longest = dict(options), spec.own_step_limit
    if longest is not None and arguments.get("max_episode_steps", 0) >= longest:
        del arguments["max_episode_steps"]
    return arguments
