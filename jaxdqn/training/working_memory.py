"""What the compiler says of the memory that a run's programs work in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn.algorithms import api as algorithms
from jaxdqn.assembly import compile_ahead, device_programs, turn_inputs
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib


class Program(NamedTuple):
    """What the devices of a run execute."""

    function: Any  # jitted
    shaped: tuple[Any, ...]  # shapes of its arguments
    fallback: Any = None  # jitted: what replaces it if it cannot be compiled


def programs(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> dict[str, Program]:
    """Acting, cutting and learning, by name; without learning where it is not compiled ahead.

    Nothing of what they work on is made, so the devices of the mesh need not exist.
    """
    device = device_programs.build(config, spec, mesh)
    learning = algorithms.chosen(config).build(config, spec, mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    train_state = jax.eval_shape(learning.init, key)
    ring = device_programs.ring_like(device, mesh)
    sampler, sums = jax.eval_shape(device.init_sampler), jax.eval_shape(device.init_sums)
    bytes_each = turn_inputs.record(spec.frame_shape, spec.frame_dtype).itemsize
    turn = jax.ShapeDtypeStruct((config.group_size, bytes_each), np.uint8)
    actor = jax.eval_shape(device.init_actor, key)
    found = {
        "act": Program(
            device.act_and_record,
            (train_state.params, train_state.refused, actor, sampler, ring, turn),
        ),
        "cut": Program(device.cut, (ring,)),
    }

    def ahead(
        function: Any, *shaped: Any, fallback: compile_ahead.Fallback | None = None
    ) -> Callable[..., Any]:
        found["learn"] = Program(function, shaped, fallback.function if fallback else None)
        made: Callable[..., Any] = function
        return made

    if learning.compile_ahead:
        learning.compile_ahead(ahead, train_state, sums, sampler, ring)
    return found


def needed_bytes(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> int:
    """Memory of all devices that playing and learning need besides the replay.

    It compiles both, which takes as long as it does at the start of a run.
    """
    found = programs(config, spec, mesh)
    beside = 0
    for program in (found[name] for name in ("act", "learn") if name in found):
        sure = program.fallback or program.function
        memory = sure.lower(*program.shaped).compile().memory_analysis()
        if memory is None:  # a platform whose compiler does not say
            continue
        results = memory.output_size_in_bytes - memory.alias_size_in_bytes
        beside = max(beside, memory.temp_size_in_bytes + results)
    kept = _bytes(found["learn"].shaped[:-1]) if "learn" in found else 0  # the last is the replay
    return (beside + kept) * mesh.devices.size


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
