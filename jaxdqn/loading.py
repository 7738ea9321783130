"""Trained agents for programs of your own.

import jaxdqn

agent = jaxdqn.load("CartPole")
"""

import os
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from jaxdqn import errors
from jaxdqn.agent import actor
from jaxdqn.assembly import parts
from jaxdqn.envs import api
from jaxdqn.rundir import agent_names, exported_agent, layout, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.storage import home


def load(agent: str | os.PathLike[str], checkpoint: str | int = "latest") -> "Agent":
    """Loads a trained agent. Nothing from its files is executed.

    Args:
      agent: the folder of a run or of an export to safetensors, the name of an agent that comes
        with the package, or 'hf:USER/NAME'.
      checkpoint: of a run: 'latest', 'best' by the run's own evaluations, or a step.

    Raises:
      ValueError: there is no such agent, or no such checkpoint.
      RunError: the agent cannot be read.
    """
    try:
        return Agent(_saved(os.fspath(agent), str(checkpoint)))
    except errors.SettingError as error:
        raise ValueError(str(error).removeprefix("--")) from None  # it names no flag here


def _saved(name: str, checkpoint: str) -> trained_agent.SavedAgent:
    path = agent_names.find(name)
    if path is not None:
        if checkpoint != "latest":
            raise errors.SettingError(
                "checkpoint", f"is {checkpoint}; {name!r} is not the folder of a run"
            )
        return exported_agent.load(path)
    path = home.expanded("agent", name)
    if not (path / layout.CONFIG_FILE).is_file():
        raise errors.SettingError(
            "agent", f"is {name!r}; must be the folder of a run, {agent_names.choices(name)}"
        )
    return trained_agent.load(path, checkpoint)


class Agent:
    """A trained agent that plays E games at once.

    It remembers the newest frames of each game, because a network may see several.

    Attributes:
      config: the settings of its run.
      spec: the shapes of its environment, and what its actions are called.
      step: after how many steps of training.
      params: the parameters of its network, as flax has them.
    """

    def __init__(self, saved: trained_agent.SavedAgent):
        self.config: config_lib.Config = saved.config
        self.spec: api.EnvSpec = saved.spec
        self.step = saved.step
        self.params: Any = saved.params
        self._actor = parts.make_actor(saved.config, saved.spec)
        self._act = jax.jit(self._actor.act)
        self.reset()

    def reset(self) -> None:
        """Forgets all games: the next frames are the first ones of new games, of any number."""
        self._state: actor.ActorState | None = None

    def act(
        self, observation: npt.ArrayLike, is_first: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.int32]:
        """The best actions. Arguments and errors are those of `q_values`.

        Returns:
          [E] int32, counted from 0. `spec.actions` says what they are called.
        """
        return self.q_values(observation, is_first).argmax(axis=1).astype(np.int32)

    def q_values(
        self, observation: npt.ArrayLike, is_first: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float32]:
        """The values of all actions; where the network predicts distributions, their means.

        It remembers the frames, as `act` does, so give each frame to one of the two.

        Args:
          observation: the newest frame of each game, [E, *spec.frame_shape].
          is_first: the games that begin with this frame, [E] bool. The first call after `reset`
            begins all.

        Returns:
          [E, A] float32.

        Raises:
          ValueError: the arrays have other shapes.
          TypeError: the observation is not of the type `spec.frame_dtype` and cannot become it.
        """
        frame = np.asarray(observation)
        frame = frame.astype(self.spec.frame_dtype, casting="same_kind", copy=False)
        if frame.shape[1:] != self.spec.frame_shape or not frame.ndim:
            raise ValueError(
                f"observations have shape {frame.shape}; must be [E, "
                f"{', '.join(map(str, self.spec.frame_shape))}], a frame of each of E games"
            )
        begins = np.zeros(len(frame), bool) if is_first is None else np.asarray(is_first, bool)
        state = self._state
        games = len(frame) if state is None else len(state.stack)
        if len(frame) != games or begins.shape != (games,):
            raise ValueError(
                f"there are {len(frame)} observations and is_first has shape {begins.shape} for "
                f"{games} games; call reset() to play another number"
            )
        if state is None:
            state, begins = self._actor.init(jax.random.key(0), games), np.ones(games, bool)
            # On the device of the parameters, as every later state is; else `_act` is compiled once
            # for the first state and once for the others.
            for leaf in jax.tree.leaves(self.params)[:1]:
                state = jax.device_put(state, leaf.sharding)
        # Random actions are left to the caller.
        self._state, _, values = self._act(self.params, state, frame, begins, np.float32(0))
        return np.asarray(values)
