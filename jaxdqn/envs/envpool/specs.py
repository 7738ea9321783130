"""The shapes of EnvPool's environments, and which of them a run can play."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxdqn import wording
from jaxdqn.envs import api, spaces
from jaxdqn.envs.envpool import actions, games, library


class NativeSpec(NamedTuple):
    """EnvPool's own description of an environment."""

    config: Any  # a NamedTuple of its settings
    state_keys: frozenset[str]  # the fields of a time step
    actions: Any  # their Gymnasium space
    observations: Any  # their Gymnasium space

    @property
    def stacks(self) -> bool:
        """Whether it stacks frames."""
        return hasattr(self.config, "stack_num")


def native(env_id: str, options: Mapping[str, Any]) -> NativeSpec:
    """EnvPool's description of an environment; raises what `describe` raises."""
    return _cached(env_id, tuple(sorted(options.items())))


@functools.cache  # EnvPool starts an emulator for it, which takes a tenth of a second
def _cached(env_id: str, options: tuple[tuple[str, Any], ...]) -> NativeSpec:
    if not games.is_known(env_id):
        raise api.UnsupportedEnvError(f"EnvPool has no {env_id}")
    try:
        return _make(env_id, dict(options))
    except ImportError as error:
        raise api.UnsupportedEnvError(
            f"{env_id} needs a system library that is missing: {error}"
        ) from None
    except Exception as error:  # whatever EnvPool's families raise
        _check_options(env_id, options)
        raise api.UnsupportedEnvError(
            f"{env_id} cannot be created by EnvPool: {wording.first_line(error)}"
        ) from None


def _make(env_id: str, options: Mapping[str, Any]) -> NativeSpec:
    with library.quietly():
        spec = library.module().make_spec(env_id, **options)
        return NativeSpec(
            spec.config, frozenset(spec.state_array_spec), spec.action_space, spec.observation_space
        )


def _check_options(env_id: str, options: tuple[tuple[str, Any], ...]) -> None:
    """Raises OptionError for the first option that the environment does not accept.

    Does nothing if the environment cannot be created without options either.
    """
    try:
        known = _make(env_id, {}).config._fields
    except Exception:
        return
    for option, value in options:
        if option not in known:
            raise api.UnknownOptionError(option, env_id) from None
        try:
            _make(env_id, {option: value})
        except Exception as error:
            raise api.OptionError(
                option, f"is {value}, which {env_id} does not accept ({wording.first_line(error)})"
            ) from None


def describe(env_id: str, options: Mapping[str, Any]) -> api.EnvSpec:
    """The shapes of an environment, without starting it.

    Raises:
      OptionError: an option that this environment does not have, or a value that it refuses.
      UnsupportedEnvError: EnvPool cannot create it, or a Q-network cannot play it: it has several
        players, actions that are not discrete, observations that are not one array of numbers, or
        games that restart within a step.
    """
    spec = native(env_id, options)
    players = int(getattr(spec.config, "max_num_players", 1))
    if players > 1:
        raise api.UnsupportedEnvError(f"{env_id} has several players ({players}); a run plays one")
    if getattr(spec.config, "auto_reset", False):
        raise api.UnsupportedEnvError(
            f"{env_id} shows the next game when one ends (auto_reset), never its last observation"
        )
    spaces.check(env_id, spec.actions, spec.observations)
    shape = tuple(spec.observations.shape)
    if spec.stacks:
        shape = shape[1:]  # the leading axis counts stacked frames
    num_actions, frame_skip = int(spec.actions.n), int(getattr(spec.config, "frame_skip", 1))
    return api.EnvSpec(
        env_id=env_id,
        frame_shape=shape,
        frame_dtype=np.dtype(spec.observations.dtype),
        num_actions=num_actions,
        frame_skip=frame_skip,
        has_lives="info:lives" in spec.state_keys,
        own_step_limit=_own_step_limit(env_id),
        steps_per_second=games.steps_per_second(env_id, frame_skip, _declared_rate(spec.config)),
        action_names=actions.names(env_id, num_actions),
        game=games.info(env_id),
    )


# Games that always end within so many steps and ignore `max_episode_steps`: EnvPool would only
# call an end after so many steps truncated. Blackjack: 21 aces are the longest hand.
_LONGEST = {"Catch-v0": 9, "Blackjack-v1": 21, "tabular/Blackjack-v0": 21}
# Families that also ignore it: each game has the limit that it is registered with.
_LIMITED_BY_THEMSELVES = ("envpool.highway", "envpool.procgen")


def _own_step_limit(env_id: str) -> int | None:
    """Steps after which an environment ends its games by itself, ignoring `max_episode_steps`."""
    if games.family(env_id) in _LIMITED_BY_THEMSELVES:
        return int(native(env_id, {}).config.max_episode_steps)
    return _LONGEST.get(env_id)


def _declared_rate(config: Any) -> float | None:
    """Agent steps per second, as the settings of a family declare them."""
    if hasattr(config, "policy_frequency"):  # driving
        return float(config.policy_frequency)
    if hasattr(config, "physics_steps_per_frame"):  # football: a step of its physics is 10 ms
        return 100 / config.physics_steps_per_frame
    return None
