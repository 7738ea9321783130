"""EnvPool's games: their names, 'Breakout' for 'Breakout-v5', and what is known of them."""

import functools
import re
from collections.abc import Mapping

from jaxdqn.envs import api, scores

SOURCE = "EnvPool"  # its name

# Games of EnvPool that also have a plain name, and the version that it means.
_PLAIN_NAMES = {
    "Acrobot": "Acrobot-v1",
    "CartPole": "CartPole-v1",
    "Catch": "Catch-v0",
    "LunarLander": "LunarLander-v3",
    "MountainCar": "MountainCar-v0",
}

# Gymnasium's `render_fps`, for all versions of a game. Gymnasium itself is not asked: it knows only
# where the libraries are installed with which it would play the game.
_STEPS_PER_SECOND = {
    "Acrobot": 15.0,
    "Blackjack": 4.0,
    "CartPole": 50.0,
    "LunarLander": 50.0,
    "MountainCar": 30.0,
}
_PROCGEN_STEPS_PER_SECOND = 15.0  # its own `video.frames_per_second`
# Games that the preset of their kind does not learn, or not as fast, and the preset that does.
_PRESETS = {
    "CartPole-v1": "cartpole",
    "LunarLander-v3": "lunarlander",
    "MountainCar-v0": "mountaincar",
}


@functools.cache
def _families() -> Mapping[str, str]:
    """EnvPool id -> the module that implements it."""
    try:
        from envpool import (
            registration,
        )  # imported late: it takes over a second, and --help does not need it
    except (ImportError, OSError) as error:  # a library or a folder of its own is missing
        raise api.UnknownGameError(f"EnvPool cannot be imported: {error}") from None
    return {env_id: entry[0] for env_id, entry in registration.registry.specs.items()}


def atari_names() -> list[str]:
    """The plain names of all Atari games that EnvPool has, sorted."""
    return sorted(i.removesuffix("-v5") for i, family in _families().items() if "atari" in family)


def all_ids() -> list[str]:
    """All ids that EnvPool lists, in its order."""
    return list(_families())


def is_known(env_id: str) -> bool:
    """Whether EnvPool lists an id."""
    return env_id in _families()


def family(env_id: str) -> str:
    """The module of EnvPool that implements an id, such as 'envpool.atari'; '' for none."""
    return _families().get(env_id, "")


def is_atari(env_id: str) -> bool:
    """Whether an EnvPool id names an Atari game."""
    return family(env_id) == "envpool.atari"


def plain_name(env_id: str) -> str:
    """The short name of an EnvPool id, fit for a folder: 'Breakout-v5' -> 'Breakout'."""
    if is_atari(env_id):
        return env_id.removesuffix("-v5")
    for name, full in _PLAIN_NAMES.items():
        if full == env_id:
            return name
    return env_id.replace("/", "_")


def steps_per_second(env_id: str, frame_skip: int, declared: float | None = None) -> float:
    """Agent steps in a second of play as people know it; 30 where nothing says.

    Args:
      env_id: EnvPool's id.
      frame_skip: frames of a step; an Atari console draws 60 per second.
      declared: what the environment's own settings say.
    """
    if is_atari(env_id):
        return 60 / frame_skip
    if declared is not None:
        return declared
    if family(env_id) == "envpool.procgen":
        return _PROCGEN_STEPS_PER_SECOND
    # 'phys2d/CartPole-v1' and 'CartPole-v0' are CartPole too.
    return _STEPS_PER_SECOND.get(re.sub(r"-v\d+$", "", env_id.rpartition("/")[2]), 30.0)


def resolve(name: str) -> str | None:
    """The EnvPool id that a plain name or a full id stands for; None where there is none."""
    if name in _families():
        return name
    if name in _PLAIN_NAMES:
        return _PLAIN_NAMES[name]
    return f"{name}-v5" if is_atari(f"{name}-v5") else None


def plain_names() -> list[str]:
    """All plain names."""
    return [*_PLAIN_NAMES, *atari_names()]


def info(env_id: str) -> api.GameInfo:
    """What is known of a game before it is made."""
    name = plain_name(env_id)
    return api.GameInfo(
        plain_name=name,
        source=SOURCE,
        family=api.ATARI if is_atari(env_id) else "",
        preset=_PRESETS.get(env_id, ""),
        reference=scores.ATARI_57.get(name) if is_atari(env_id) else None,
    )
