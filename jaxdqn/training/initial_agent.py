"""A run that starts from the parameters of a trained agent."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.agent import learner
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.rundir import agent_names, exported_agent
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import setting

_SETTING = "initial_agent"


def parameters(config: config_lib.Config, spec: api.EnvSpec) -> Any | None:
    """The parameters that a run is to start from, on this process's first device; None for none.

    Raises:
      SettingError: there is no such agent, or its network is another one.
      RunError: it cannot be read.
    """
    if not config.initial_agent:
        return None
    agent = exported_agent.load(agent_names.folder(config.initial_agent, _SETTING))
    differing = [
        f"it has --{name}={getattr(agent.config, name)}"
        for name, known in setting.described(config).items()
        if known.gives_meaning and getattr(agent.config, name) != getattr(config, name)
    ]
    differing += exported_agent.differences(agent.params, parts.params_like(config, spec))
    if differing:
        raise errors.SettingError(
            _SETTING,
            f"is {config.initial_agent!r}, whose network differs from that of this run: "
            + "; ".join(differing[:3])
            + ("; ..." if len(differing) > 3 else ""),
        )
    return agent.params


def digest(params: Any | None) -> str:
    """Equal for equal parameters; '' for none."""
    if params is None:
        return ""
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        whole.update(np.asarray(leaf).tobytes())
    return whole.hexdigest()


def begin_with(params: Any, state: learner.TrainState, mesh: Mesh) -> learner.TrainState:
    """A learner before its first update, with these parameters in place of random ones."""
    placed = mesh_lib.put(mesh, params, mesh_lib.REPLICATED)
    has_target = bool(jax.tree.leaves(state.target_params))
    target = jax.tree.map(jnp.copy, placed) if has_target else state.target_params
    return state.replace(params=placed, target_params=target)
