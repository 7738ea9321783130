"""The shapes of ALE's games, and the arguments that options make for ALE."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api
from jaxdqn.envs.ale import games, library

_LIMIT = "max_episode_steps"
# What ALE calls the options.
_NAMES = {
    "frame_skip": "frameskip",
    "noop_max": "noop_max",
    "repeat_action_probability": "repeat_action_probability",
    "full_action_space": "full_action_space",
    "use_fire_reset": "use_fire_reset",
    "img_height": "img_height",
    "img_width": "img_width",
}
_SCREEN = {"img_height": 210, "img_width": 160, "grayscale": False, "maxpool": False}


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of a game. Makes an emulator, without starting a game.

    Raises:
      OptionError: an option that ALE does not have, or a value that it refuses.
      UnsupportedEnvError: ale-py is missing, has no such game, or cannot play it.
    """
    return _cached(env_id, tuple(sorted(options.items())))


@functools.cache
def _cached(env_id: str, options: tuple[tuple[str, Any], ...]) -> api.EnvSpec:
    told, rom = dict(options), games.rom(env_id)
    for name in told:
        if name not in (*_NAMES, _LIMIT):
            raise api.UnknownOptionError(name, env_id)
    try:
        vector = make(rom, arguments(told), 1, 1)
    except Exception as error:  # whatever ALE raises
        _check_values(env_id, rom, options)
        problem = wording.first_line(error)
        raise api.UnsupportedEnvError(f"{env_id} cannot be started by ALE: {problem}") from None
    frames = told.get("frame_skip", api.ATARI_FRAME_SKIP)
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=tuple(vector.single_observation_space.shape[1:]),
        frame_dtype=np.dtype(np.uint8),
        num_actions=int(vector.single_action_space.n),
        frame_skip=frames,
        has_lives=True,
        steps_per_second=60 / frames,  # the console draws 60 frames per second
        action_names=tuple(action.name for action in vector.ale.get_action_set()),
        game=games.info(env_id),
    )


def _check_values(env_id: str, rom: str, options: tuple[tuple[str, Any], ...]) -> None:
    """Raises OptionError for the first option whose value ALE refuses.

    Does nothing if the game cannot be started without options either.
    """
    try:
        make(rom, arguments({}), 1, 1)
    except Exception:
        return
    for name, value in options:
        try:
            make(rom, arguments({name: value}), 1, 1)
        except Exception as error:
            raise api.OptionError(
                name, f"is {value}, which {env_id} does not accept ({wording.first_line(error)})"
            ) from None


def make(rom: str, arguments: Mapping[str, Any], num_envs: int, num_threads: int) -> Any:
    """ALE's `AtariVectorEnv`; the arguments are its own."""
    vector_env = library.module().AtariVectorEnv
    return vector_env(rom, num_envs, num_threads=num_threads, **arguments)


def arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ALE: single frames, rewards as they are, and no time limit."""
    told = {_NAMES[name]: value for name, value in options.items() if name in _NAMES}
    return told | {"stack_num": 1, "reward_clipping": False, "max_num_frames_per_episode": 2**30}


def screen_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Its arguments where people look on."""
    return arguments(options) | _SCREEN


def step_limit(options: Mapping[str, Any]) -> int:
    """Steps after which a game is ended."""
    return int(options.get(_LIMIT, api.ATARI_MAX_STEPS))


def export_options(env_id: str, options: Mapping[str, Any], frame_stack: int) -> dict[str, Any]:
    """The arguments of `ale_py.AtariVectorEnv` where it is used without this package.

    Raises:
      UnsupportedEnvError: see `games.rom`.
    """
    frames = options.get("frame_skip", api.ATARI_FRAME_SKIP)
    return arguments(options) | {
        "game": games.rom(env_id),
        "stack_num": frame_stack,
        "max_num_frames_per_episode": frames * step_limit(options),
    }
