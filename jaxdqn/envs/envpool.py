"""EnvPool's environments as `VectorEnv`s.

EnvPool (Weng et al., arXiv:2206.10558) restarts an ended game on the step after its end: that step
ignores its action and returns the first observation with reward 0. See `api.TimeStep.is_first`.
"""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api


class UnsupportedEnvError(ValueError):
    """An environment whose observations or actions a Q-network of this package cannot take."""


class UnknownOptionError(ValueError):
    """An option that the environment does not have."""

    def __init__(self, option: str, env_id: str):
        self.option = option
        super().__init__(f"{env_id} has no such option")


def _module() -> ModuleType:
    import envpool  # late: it takes over a second

    return envpool


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences Gymnasium's remarks on bounds that EnvPool declares in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _native_spec(env_id: str, options: Mapping[str, Any]) -> Any:
    """EnvPool's own description of an environment."""
    return _cached_spec(env_id, tuple(sorted(options.items())))


@functools.cache  # EnvPool starts an emulator for it, which takes a tenth of a second
def _cached_spec(env_id: str, options: tuple[tuple[str, Any], ...]) -> Any:
    with _quietly():
        try:
            return _module().make_spec(env_id, **dict(options))
        except TypeError:
            known = _module().make_spec(env_id).config._fields
            for option, _ in options:
                if option not in known:
                    raise UnknownOptionError(option, env_id) from None
            raise


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment, without starting it.

    Raises:
      UnknownOptionError: an option that this environment does not have.
      UnsupportedEnvError: actions that are not discrete, or observations that are not one array.
    """
    spec = _native_spec(env_id, options)
    with _quietly():
        actions, observations = spec.action_space, spec.observation_space
    if type(actions).__name__ != "Discrete":
        raise UnsupportedEnvError(f"{env_id} has actions {actions}; a Q-network needs Discrete")
    if type(observations).__name__ != "Box" or not observations.shape:
        raise UnsupportedEnvError(f"{env_id} has observations {observations}; need one Box array")
    shape = tuple(observations.shape)
    if _stacks(spec):
        shape = shape[1:]  # the leading axis counts stacked frames
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=shape,
        frame_dtype=np.dtype(observations.dtype),
        num_actions=int(actions.n),
        frame_skip=int(getattr(spec.config, "frame_skip", 1)),
    )


def _stacks(spec: Any) -> bool:
    return hasattr(spec.config, "stack_num")


class EnvPoolEnv:
    """A pool in synchronous mode: rows come in the order of the environments, whatever the threads.

    Args:
      env_id: EnvPool's id, such as 'Breakout-v5'.
      num_envs: E.
      seed: environment i plays with `seed + i`; below 2**31 - E.
      options: what EnvPool should not take its default for, such as `frame_skip`.
      num_threads: emulator threads; 0 lets EnvPool choose.
      with_screen: whether `screen` will be asked.
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
        self.spec = describe(env_id, options)
        self.num_envs = num_envs
        # Frames come singly: the replay and the actor stack them.
        single = {"stack_num": 1} if _stacks(_native_spec(env_id, options)) else {}
        shown = {"render_mode": "rgb_array"} if with_screen else {}
        with _quietly():
            self._pool = _module().make_gymnasium(
                env_id,
                num_envs=num_envs,
                seed=seed,
                num_threads=num_threads,
                **options,
                **single,
                **shown,
            )
            # EnvPool would make its spaces at the first step, and Gymnasium remark on them there.
            _ = self._pool.observation_space
        self._awaited = np.arange(num_envs)  # environments whose step is under way
        self._ended = np.ones(num_envs, bool)  # the row before this one closed a game
        self._lives = np.zeros(num_envs, np.int32)
        self._pool.async_reset()

    def send(
        self,
        actions: npt.NDArray[np.integer],
        envs: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Starts the step that plays `actions`: of all environments, or of `envs` alone."""
        self._awaited = np.arange(self.num_envs) if envs is None else np.asarray(envs)
        self._pool.send(np.asarray(actions, np.int32), self._awaited.astype(np.int32))

    def receive(self) -> api.TimeStep:
        """Waits for the step under way; its rows are those of the environments that were sent."""
        observation, reward, terminated, truncated, info = self._pool.recv()
        # EnvPool's `terminated` excludes an end that falls on the time limit; the emulator's own
        # game over does not.
        game_over = info.get("terminated", terminated).astype(bool)
        envs = self._awaited
        lives = info.get("lives", np.zeros(len(envs), np.int32))
        is_first = self._ended[envs]
        step = api.TimeStep(
            frame=observation.reshape(len(envs), *self.spec.frame_shape),
            # With `reward_clip` off, EnvPool's two rewards agree; the info one is never clipped.
            reward=info.get("reward", reward).astype(np.float32),
            terminated=game_over,
            truncated=truncated.astype(bool),
            is_first=is_first,
            life_lost=(lives < self._lives[envs]) & ~is_first,
        )
        self._ended[envs] = step.terminated | step.truncated
        self._lives[envs] = lives
        return step

    def screen(self) -> npt.NDArray[np.uint8]:
        """What the first environment shows now, as drawn for people: [H, W, 3].

        Raises:
          UnsupportedEnvError: it draws nothing.
        """
        try:
            (picture,) = self._pool.render(env_ids=[0])
        except (RuntimeError, ValueError, TypeError) as error:
            raise UnsupportedEnvError(f"{self.spec.env_id} draws no picture: {error}") from None
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Frees the emulators."""
        self._pool.close()
