"""Which Gymnasium spaces a Q-network can play with."""

from typing import Any

import numpy as np

from jaxdqn.envs import api


def check(env_id: str, actions: Any, observations: Any) -> None:
    """Refuses an environment whose observations or actions a Q-network cannot use.

    Args:
      env_id: for the message.
      actions: the Gymnasium space of one player's actions.
      observations: that of what it sees.

    Raises:
      UnsupportedEnvError: the actions are not discrete ones that count from 0, or the observations
        are not one array of integers or floats of at most 32 bits.
    """
    from gymnasium import spaces

    if not isinstance(actions, spaces.Discrete):
        raise api.UnsupportedEnvError(
            f"{env_id} has {type(actions).__name__} actions{_detail(actions)}; "
            "a Q-network needs Discrete"
        )
    if int(actions.start) != 0:
        raise api.UnsupportedEnvError(
            f"{env_id} counts its Discrete actions from {actions.start}, not from 0"
        )
    if not isinstance(observations, spaces.Box) or not observations.shape:
        raise api.UnsupportedEnvError(
            f"{env_id} has {type(observations).__name__} observations{_detail(observations)}; "
            "a Q-network needs one Box array"
        )
    dtype = np.dtype(observations.dtype)
    if dtype.kind not in "iuf" or dtype.itemsize > 4:
        raise api.UnsupportedEnvError(
            f"{env_id} has observations of type {dtype}; a Q-network needs integers or floats "
            "of at most 32 bits"
        )


def _detail(space: Any) -> str:
    """The details of a space in brackets, shortened to fit a line."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return f" ({', '.join(space.spaces)})"
    return f" ({'x'.join(map(str, space.shape))})" if space.shape else ""
