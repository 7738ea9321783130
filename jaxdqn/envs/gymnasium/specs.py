"""The shapes of Gymnasium's environments, and single ones as this package plays them."""

import contextlib
import functools
import pickle
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from jaxdqn import wording
from jaxdqn.envs import api, spaces
from jaxdqn.envs.gymnasium import frames, games

_OPTIONS = ("max_episode_steps", *frames.OPTIONS)


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment. Makes one, without starting a game.

    Raises:
      OptionError: an option that it does not have or take.
      UnsupportedEnvError: it cannot be made, or a Q-network cannot play it: its actions are not
        discrete, or its observations neither one array nor one number of a Discrete space.
    """
    return _cached(env_id, tuple(sorted(options.items())))


@functools.cache
def _cached(env_id: str, options: tuple[tuple[str, Any], ...]) -> api.EnvSpec:
    told = dict(options)
    for name in told:
        if name not in _OPTIONS:
            raise api.UnknownOptionError(name, env_id)
    entry = games.entry(env_id)
    env = make(entry, told)
    try:
        with contextlib.closing(env):
            return _described(env_id, entry, env, told)
    except (api.UnsupportedEnvError, api.OptionError):
        raise
    except Exception as error:  # it lacks a part, such as a space
        raise _cannot_make(env_id, error) from None


def _described(env_id: str, entry: Any, env: Any, options: Mapping[str, Any]) -> api.EnvSpec:
    import gymnasium

    seen, actions = frames.shown(env_id, env.observation_space, options), env.action_space
    observations = seen.space() if seen else env.observation_space
    names: tuple[str, ...] = ()
    if isinstance(actions, gymnasium.spaces.Discrete):  # whatever number it begins with
        # Numbers from 0 on are what actions are called without names.
        names = tuple(str(actions.start + i) for i in range(actions.n)) if actions.start else ()
        actions = gymnasium.spaces.Discrete(actions.n)
    spaces.check(env_id, actions, observations)
    assert seen
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=seen.shape,
        frame_dtype=seen.dtype,
        num_actions=int(actions.n),
        frame_skip=1,
        is_endless=not _has_limit(env),
        plays_again=False if entry.nondeterministic else None,
        steps_per_second=float(env.metadata.get("render_fps") or 30.0),
        action_names=names,
        frames_made=seen.words,
        game=games.info(env_id),
    )


def _has_limit(env: Any) -> bool:
    """Whether a wrapper limits the steps of a game, of the registration or of the maker's own."""
    import gymnasium

    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return True
        env = env.env
    return False


def export_options(env_id: str, options: Mapping[str, Any], frame_stack: int) -> dict[str, Any]:
    """The arguments of `gymnasium.make`; `EnvSpec.frames_made` says what its frames become.

    Args:
      env_id: any.
      options: with which the network was trained.
      frame_stack: any.
    """
    return {name: options[name] for name in ("max_episode_steps",) if name in options}


def pickled_entry(env_id: str) -> bytes:
    """Gymnasium's entry of an environment as bytes, from which another process makes it.

    Raises:
      UnsupportedEnvError: it was registered with a function instead of 'module:name'.
    """
    try:
        return pickle.dumps(games.entry(env_id))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise api.UnsupportedEnvError(
            f"{env_id} cannot be started in another process; register it with an entry_point of "
            f"the form 'module:name' ({error})"
        ) from None


def make(entry: Any, options: Mapping[str, Any], with_screen: bool = False) -> Any:
    """Makes a single environment.

    Args:
      entry: Gymnasium's.
      options: those that are asked for.
      with_screen: whether it will be asked for pictures.

    Raises:
      UnsupportedEnvError: it cannot be made.
    """
    import gymnasium

    told = export_options(entry.id, options, frame_stack=1)
    told |= {"render_mode": "rgb_array"} if with_screen else {}
    try:
        with warnings.catch_warnings():
            # `screen` says better what to do, and only if somebody looks.
            warnings.filterwarnings("ignore", message=".*is being initialised with render_mode")
            return gymnasium.make(entry, disable_env_checker=True, **told)
    except Exception as error:  # whatever somebody's environment raises
        if with_screen:  # it may draw nothing; if that is not why, the same happens again
            return make(entry, options)
        raise _cannot_make(entry.id, error) from None


def _cannot_make(env_id: str, error: Exception) -> api.UnsupportedEnvError:
    import gymnasium

    if not isinstance(error, gymnasium.error.Error):  # which says it all
        traceback.print_exception(error)
    return api.UnsupportedEnvError(
        f"{env_id} cannot be made by Gymnasium: {wording.with_type(error)}"
    )
