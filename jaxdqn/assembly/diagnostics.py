"""Diagnostics of an algorithm, computed only when a row of metrics is written."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from jaxdqn.agent import noisy
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib

# (params, sampler state) -> metrics, by name
Diagnostics = Callable[[Any, Any], dict[str, jax.Array]]


def build(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> Diagnostics:
    """Builds the function; its metrics are means over the devices."""
    sampler = parts.make_sampler(config, parts.ring_layout(config, spec), mesh_lib.axis_name(mesh))
    statistics = sampler.statistics
    if not config.noisy and statistics is None:
        return lambda *_: {}
    alike, by_env = mesh_lib.REPLICATED, mesh_lib.BY_ENV

    @mesh_lib.on_mesh(mesh, in_specs=(alike, by_env), out_specs=alike)
    def compute(params: Any, sampler_state: Any) -> dict[str, jax.Array]:
        found = noisy.statistics(params) | (statistics(sampler_state) if statistics else {})
        if axis := mesh_lib.axis_name(mesh):
            found = jax.lax.pmean(found, axis)
        return found

    compiled: Diagnostics = compute
    return compiled
