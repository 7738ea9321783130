"""EnvPool's environments as `VectorEnv`s.

EnvPool (Weng et al., arXiv:2206.10558) restarts an ended game on the step after its end: that step
ignores its action and returns the first observation with reward 0. See `api.TimeStep.is_first`.
"""

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jaxdqn.envs import api, games


class UnsupportedEnvError(ValueError):
    """An environment that this package cannot play, or that EnvPool cannot make."""


class OptionError(ValueError):
    """An option whose value the environment does not take."""

    def __init__(self, option: str, problem: str):
        self.option = option
        super().__init__(problem)


class UnknownOptionError(OptionError):
    """An option that the environment does not have."""

    def __init__(self, option: str, env_id: str):
        super().__init__(option, f"{env_id} has no such option")


def _module() -> ModuleType:
    import envpool  # late: it takes over a second

    return envpool


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences Gymnasium's remarks on bounds that EnvPool declares in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _NativeSpec(NamedTuple):
    """EnvPool's own description of an environment."""

    config: Any  # a NamedTuple of its settings
    state_keys: frozenset[str]  # what a time step holds
    actions: Any  # their Gymnasium space
    observations: Any  # their Gymnasium space


def _native_spec(env_id: str, options: Mapping[str, Any]) -> _NativeSpec:
    """How EnvPool describes an environment; see `describe` for what is raised."""
    return _cached_spec(env_id, tuple(sorted(options.items())))


@functools.cache  # EnvPool starts an emulator for it, which takes a tenth of a second
def _cached_spec(env_id: str, options: tuple[tuple[str, Any], ...]) -> _NativeSpec:
    if not games.is_known(env_id):
        raise UnsupportedEnvError(f"EnvPool has no {env_id}")
    try:
        return _make_spec(env_id, dict(options))
    except ImportError as error:
        raise UnsupportedEnvError(f"{env_id} lacks a library of the system: {error}") from None
    except Exception as error:  # whatever EnvPool's families raise
        _check_options(env_id, options)
        raise UnsupportedEnvError(
            f"{env_id} cannot be made by EnvPool: {_first_line(error)}"
        ) from None


def _make_spec(env_id: str, options: Mapping[str, Any]) -> _NativeSpec:
    with _quietly():
        spec = _module().make_spec(env_id, **options)
        return _NativeSpec(
            spec.config, frozenset(spec.state_array_spec), spec.action_space, spec.observation_space
        )


def _check_options(env_id: str, options: tuple[tuple[str, Any], ...]) -> None:
    """Raises OptionError for the first option that the environment does not take.

    One that cannot be made without options either is not to blame on them.
    """
    try:
        known = _make_spec(env_id, {}).config._fields
    except Exception:
        return
    for option, value in options:
        if option not in known:
            raise UnknownOptionError(option, env_id) from None
        try:
            _make_spec(env_id, {option: value})
        except Exception as error:
            raise OptionError(
                option, f"is {value}, which {env_id} does not take ({_first_line(error)})"
            ) from None


def _first_line(error: Exception) -> str:
    """The beginning of what an exception says; pybind11 goes on with signatures and values."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment, without starting it.

    Raises:
      OptionError: an option that this environment does not have, or a value that it does not take.
      UnsupportedEnvError: EnvPool cannot make it, or a Q-network cannot play it: it has several
        players, actions that are not discrete, observations that are not one array of numbers, or
        games that restart unseen.
    """
    spec = _native_spec(env_id, options)
    players = int(getattr(spec.config, "max_num_players", 1))
    if players > 1:
        raise UnsupportedEnvError(f"{env_id} has several players ({players}); a run plays one")
    if getattr(spec.config, "auto_reset", False):
        raise UnsupportedEnvError(
            f"{env_id} shows the next game where one ends (auto_reset), never its last observation"
        )
    check_spaces(env_id, spec.actions, spec.observations)
    shape = tuple(spec.observations.shape)
    if _stacks(spec):
        shape = shape[1:]  # the leading axis counts stacked frames
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=shape,
        frame_dtype=np.dtype(spec.observations.dtype),
        num_actions=int(spec.actions.n),
        frame_skip=int(getattr(spec.config, "frame_skip", 1)),
        has_lives="info:lives" in spec.state_keys,
        own_step_limit=_own_step_limit(env_id),
        steps_per_second=_steps_per_second(spec.config),
    )


def check_spaces(env_id: str, actions: Any, observations: Any) -> None:
    """Sees to it that a Q-network of this package can take observations and give actions.

    Args:
      env_id: EnvPool's id, for the message.
      actions: the Gymnasium space of one player's actions.
      observations: that of what it sees.

    Raises:
      UnsupportedEnvError: it cannot.
    """
    if type(actions).__name__ != "Discrete":
        raise UnsupportedEnvError(
            f"{env_id} has {type(actions).__name__} actions{_detail(actions)}; "
            "a Q-network needs Discrete"
        )
    if int(actions.start) != 0:
        raise UnsupportedEnvError(
            f"{env_id} does not count its Discrete actions from 0 (but from {actions.start})"
        )
    if type(observations).__name__ != "Box" or not observations.shape:
        raise UnsupportedEnvError(
            f"{env_id} has {type(observations).__name__} observations{_detail(observations)}; "
            "a Q-network needs one Box array"
        )
    dtype = np.dtype(observations.dtype)
    if dtype.kind not in "iuf" or dtype.itemsize > 4:
        raise UnsupportedEnvError(
            f"{env_id} has observations of a type ({dtype}) that a Q-network does not take: "
            "integers or floats of at most 32 bits"
        )


def _detail(space: Any) -> str:
    """What a space consists of, in brackets, as far as a line has room for it."""
    if type(space).__name__ == "Dict":
        return f" ({', '.join(space.spaces)})"
    return f" ({'x'.join(map(str, space.shape))})" if space.shape else ""


# Games that always end within so many steps, and do not heed `max_episode_steps`: EnvPool would
# only call an end after so many steps truncated. Blackjack: 21 aces are the longest hand.
_LONGEST = {"Catch-v0": 9, "Blackjack-v1": 21, "tabular/Blackjack-v0": 21}
# Families that do not heed it either: each game has the limit that it is registered with.
_LIMITED_BY_THEMSELVES = ("envpool.highway", "envpool.procgen")


def _own_step_limit(env_id: str) -> int | None:
    """Steps after which an environment ends its games by itself, and not at `max_episode_steps`."""
    if games.family(env_id) in _LIMITED_BY_THEMSELVES:
        return int(_native_spec(env_id, {}).config.max_episode_steps)
    return _LONGEST.get(env_id)


def _steps_per_second(config: Any) -> float | None:
    """Agent steps in a second, as the settings of a family declare them."""
    if hasattr(config, "policy_frequency"):  # driving
        return float(config.policy_frequency)
    if hasattr(config, "physics_steps_per_frame"):  # football: a step of its physics is 10 ms
        return 100 / config.physics_steps_per_frame
    return None


def _stacks(spec: _NativeSpec) -> bool:
    return hasattr(spec.config, "stack_num")


def _heeded(options: Mapping[str, Any], spec: api.EnvSpec) -> dict[str, Any]:
    """Options less a time limit beyond the environment's own, which would hide that one."""
    told, longest = dict(options), spec.own_step_limit
    if longest is not None and told.get("max_episode_steps", 0) >= longest:
        del told["max_episode_steps"]
    return told


class EnvPoolEnv:
    """A pool in synchronous mode: rows come in the order of the environments, whatever the threads.

    Args:
      env_id: EnvPool's id, such as 'Breakout-v5'.
      num_envs: E.
      seed: environment i plays with `seed + i`; below 2**31 - E.
      options: what EnvPool should not take its default for, such as `frame_skip`.
      num_threads: emulator threads; 0 lets EnvPool choose.
      with_screen: whether `screen` will be asked.

    Raises:
      OptionError: see `describe`.
      UnsupportedEnvError: see `describe`, or EnvPool cannot start it.
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
        told = _heeded(options, self.spec)
        if _stacks(_native_spec(env_id, options)):
            told["stack_num"] = 1  # frames come singly: the replay and the actor stack them
        if with_screen:
            told["render_mode"] = "rgb_array"
        with _quietly():
            try:
                self._pool = _module().make_gymnasium(
                    env_id, num_envs=num_envs, seed=seed, num_threads=num_threads, **told
                )
            except Exception as error:  # whatever EnvPool's families raise
                raise UnsupportedEnvError(
                    f"{env_id} cannot be started by EnvPool: {_first_line(error)}"
                ) from None
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
