"""Trained agents for programs of your own.

import jaxdqn

agent = jaxdqn.load("CartPole")
"""

import os

import jax
import numpy as np
import numpy.typing as npt

from jaxdqn.agent import actor
from jaxdqn.assembly import parts
from jaxdqn.envs import api
from jaxdqn.rundir import agent_names, exported_agent, layout, trained_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.storage import home


def load(agent: str | os.PathLike[str], checkpoint: str = "latest") -> "Agent":
    """Loads a trained agent. Nothing from its files is executed.

    Args:
      agent: the folder of a run or of an export to safetensors, the name of an agent that comes
        with the package, or 'hf:USER/NAME'.
      checkpoint: of a run: 'latest', 'best' by the run's own evaluations, or a step.

    Raises:
      SettingError: there is no such agent, or no such checkpoint. It is a ValueError.
      RunError: the agent cannot be read.
    """
    name = os.fspath(agent)
    path = home.expanded("agent", name)
    if name not in agent_names.built_in() and (path / layout.CONFIG_FILE).is_file():
        return Agent(trained_agent.load(path, checkpoint))
    return Agent(exported_agent.load(agent_names.folder(name)))


class Agent:
    """A trained agent that plays E games at once.

    It remembers the newest frames of each game, because a network may see several.

    Attributes:
      config: the settings of its run.
      spec: the shapes of its environment, and what its actions are called.
      step: after how many steps of training.
    """

    def __init__(self, saved: trained_agent.SavedRun):
        self.config: config_lib.Config = saved.config
        self.spec: api.EnvSpec = saved.spec
        self.step = saved.step
        self._params = saved.params
        self._actor = parts.make_actor(saved.config, saved.spec)
        self._act = jax.jit(self._actor.act)
        self.reset()

    def reset(self) -> None:
        """Forgets all games: the next frames are the first ones of new games, of any number."""
        self._state: actor.ActorState | None = None

    def act(
        self, observation: npt.ArrayLike, is_first: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.int32]:
        """The best actions.

        Args:
          observation: the newest frame of each game, [E, *spec.frame_shape].
          is_first: the games that begin with this frame, [E] bool. The first call after `reset`
            begins all.

        Returns:
          [E] int32, counted from 0. `spec.actions` says what they are called.

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
        # Random actions are left to the caller.
        self._state, actions, _ = self._act(self._params, state, frame, begins, np.float32(0))
        return np.asarray(actions)
