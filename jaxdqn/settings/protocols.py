"""Named protocols: the conditions under which frozen parameters are scored."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxdqn import errors
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib

_CAP_FRAMES = 108_000  # half an hour of play


class Protocol(NamedTuple):
    """Settings that a protocol fixes; the others are those of the run."""

    text: str
    changes: Callable[[api.EnvSpec], Mapping[str, Any]]
    atari_only: bool


def _cap_steps(spec: api.EnvSpec) -> int:
    return _CAP_FRAMES // spec.frame_skip


PROTOCOLS: Mapping[str, Protocol] = {
    "nature": Protocol(
        "5% random actions and up to 30 no-ops at the start, as in Mnih et al. (Nature, 2015); at "
        "most 108,000 frames, as in Wang et al. (2016)",
        lambda spec: {
            "eval_epsilon": 0.05,
            "noop_max": 30,
            "repeat_action_probability": 0.0,
            "max_episode_steps": _cap_steps(spec),
        },
        atari_only=True,
    ),
    # The random actions and the cap are Dopamine's, whose scores are the ones most compared with.
    "machado": Protocol(
        "25% sticky actions and at most one no-op at the start, as in Machado et al. "
        "(arXiv:1709.06009); 0.1% random actions and at most 108,000 frames, as in Dopamine",
        lambda spec: {
            "eval_epsilon": 0.001,
            "noop_max": 1,
            "repeat_action_probability": 0.25,
            "max_episode_steps": _cap_steps(spec),
        },
        atari_only=True,
    ),
    "greedy": Protocol(
        "no random actions, in the run's environment; where nothing else is random, as in Atari "
        "games without sticky actions, games repeat",
        lambda _: {"eval_epsilon": 0.0},
        atari_only=False,
    ),
    "random": Protocol("random actions only", lambda _: {"eval_epsilon": 1.0}, False),
    "run": Protocol("as in the run's own evaluations", lambda _: {}, False),
}


def default_for(config: config_lib.Config, game: api.GameInfo) -> str:
    """The protocol of a run if the user names none: one with sticky actions if it had them.

    Args:
      config: of the run.
      game: that it plays.
    """
    if game.family != api.ATARI:
        return "greedy"
    return "machado" if config.repeat_action_probability else "nature"


def apply(name: str, config: config_lib.Config, spec: api.EnvSpec) -> config_lib.Config:
    """A run's settings with those of a protocol.

    Args:
      name: of the protocol.
      config: of the run.
      spec: of its environment.

    Raises:
      SettingError: no protocol has this name, or the game is not one of its games.
    """
    if name not in PROTOCOLS:
        raise errors.SettingError("protocol", f"is {name!r}; must be one of {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if protocol.atari_only and spec.game.family != api.ATARI:
        raise errors.SettingError(
            "protocol",
            f"{name} is for Atari games only, not {config.env}; use greedy, random or run",
        )
    return dataclasses.replace(config, **protocol.changes(spec))
