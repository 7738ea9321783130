"""What the devices run in every run: recording and acting. Algorithms add how they learn."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxdqn.agent import actor as actor_lib
from jaxdqn.agent import learner as learner_lib
from jaxdqn.assembly import parts, turn_inputs
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import turn_notes
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.replay.samplers import api as samplers
from jaxdqn.settings import config as config_lib

_ACTOR_SPECS = mesh_lib.specs(
    actor_lib.ActorState,
    stack=mesh_lib.BY_ENV,
    key=mesh_lib.REPLICATED,
    acts=mesh_lib.REPLICATED,
    motion=mesh_lib.BY_ENV,
    explorer=mesh_lib.BY_ENV,
)
RING_SPECS = mesh_lib.specs(
    ring_lib.RingState,
    frame=mesh_lib.BY_RING_FRAME,
    reward=mesh_lib.BY_RING_ENV,
    action=mesh_lib.BY_RING_ENV,
    flags=mesh_lib.BY_RING_ENV,
    count=mesh_lib.REPLICATED,
    extras=mesh_lib.BY_RING_ENV,
)
# Of acting, whose operations are short: to hand them to threads would take longer than they do.
_ONE_AFTER_ANOTHER = {"cpu": {"xla_cpu_enable_concurrency_optimized_scheduler": False}}


class DevicePrograms(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    init_ring: Callable[[], ring_lib.RingState]
    init_actor: Callable[[jax.Array], actor_lib.ActorState]  # (key), of one group
    init_sampler: Callable[[], Any]
    init_sums: Callable[[], jax.Array]  # sums of `learner.METRICS`, and the number of updates
    # (params, refused updates [], actor state, sampler state, ring, inputs of the turn) -> actor
    # state, sampler state, ring, note of all environments with their actions, on every device alike
    act_and_record: Callable[..., tuple[actor_lib.ActorState, Any, ring_lib.RingState, jax.Array]]
    cut: Callable[[ring_lib.RingState], ring_lib.RingState]  # when environments are created again


def compiled_init(
    mesh: Mesh,
    init: Callable[[jax.Array, jax.Array], learner_lib.TrainState],
    observation: jax.ShapeDtypeStruct,
) -> Callable[[jax.Array], learner_lib.TrainState]:
    """The start of a learner as a function of a key alone, which runs once.

    Args:
      mesh: the devices.
      init: of a key and an observation.
      observation: what one is like.
    """
    # For a function that runs once, only its compilation takes time.
    once = {"cpu": {"xla_backend_optimization_level": 0}}
    specs = mesh_lib.REPLICATED

    @mesh_lib.on_mesh(mesh, in_specs=specs, out_specs=specs, options=once)
    def init_learner(key: jax.Array) -> learner_lib.TrainState:
        return init(key, jnp.zeros(observation.shape, observation.dtype))

    compiled: Callable[[jax.Array], learner_lib.TrainState] = init_learner
    return compiled


class _Parts(NamedTuple):
    """What acting and recording are made of, on each device."""

    config: config_lib.Config
    spec: api.EnvSpec
    actor: actor_lib.Actor
    layout: ring_lib.Layout
    sampler: samplers.Sampler
    local_envs: int  # that each device acts for


def build(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> DevicePrograms:
    """Builds the devices' side of play."""
    layout = parts.ring_layout(config, spec)
    made = _Parts(
        config=config,
        spec=spec,
        actor=parts.make_actor(config, spec, in_training=True),
        layout=layout,
        sampler=parts.make_sampler(config, layout, mesh_lib.axis_name(mesh)),
        local_envs=config.group_size // mesh.devices.size,
    )
    by_env, alike = mesh_lib.BY_ENV, mesh_lib.REPLICATED

    @mesh_lib.on_mesh(mesh, in_specs=(), out_specs=RING_SPECS)
    def init_ring() -> ring_lib.RingState:
        return ring_lib.init(layout, made.local_envs)

    @mesh_lib.on_mesh(mesh, in_specs=alike, out_specs=_ACTOR_SPECS)
    def init_actor(key: jax.Array) -> actor_lib.ActorState:
        return made.actor.init(key, made.local_envs)

    @mesh_lib.on_mesh(mesh, in_specs=(), out_specs=by_env)
    def init_sampler() -> Any:
        return made.sampler.init(made.local_envs)

    @mesh_lib.on_mesh(mesh, in_specs=(), out_specs=alike)
    def init_sums() -> jax.Array:
        return jnp.zeros(len(learner_lib.METRICS) + 1)

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(alike, alike, _ACTOR_SPECS, by_env, RING_SPECS, by_env),
        out_specs=(_ACTOR_SPECS, by_env, RING_SPECS, alike),
        donate_argnums=(2, 3, 4),
        options=_ONE_AFTER_ANOTHER,
    )
    def act_and_record(
        *state: Any,
    ) -> tuple[actor_lib.ActorState, Any, ring_lib.RingState, jax.Array]:
        actor_state, sampler_state, ring, note = _act_and_record(made, *state)
        return actor_state, sampler_state, ring, mesh_lib.gathered(mesh, note)

    @mesh_lib.on_mesh(mesh, in_specs=(RING_SPECS,), out_specs=RING_SPECS, donate_argnums=0)
    def cut(ring: ring_lib.RingState) -> ring_lib.RingState:
        return ring_lib.cut(layout, ring)

    return DevicePrograms(init_ring, init_actor, init_sampler, init_sums, act_and_record, cut)


def _act_and_record(
    made: _Parts,
    params: Any,
    refused: jax.Array,
    actor_state: actor_lib.ActorState,
    sampler_state: Any,
    ring: ring_lib.RingState,
    packed: jax.Array,
) -> tuple[actor_lib.ActorState, Any, ring_lib.RingState, jax.Array]:
    """Chooses the actions of a device's environments and writes them down with what was seen."""
    row, note, epsilon = turn_inputs.unpack(packed, made.spec.frame_shape, made.spec.frame_dtype)
    actor_state, actions, q_values = made.actor.act(
        params,
        actor_state,
        row.frame,
        row.is_first,
        epsilon,
        env_ids=mesh_lib.index() * made.local_envs + jnp.arange(made.local_envs),
        num_envs=made.config.group_size,
    )
    if made.config.motion_trace:  # it is stored: no row of the ring alone shows it
        row = row.replace(frame=actor_state.stack[:, -1])
    note = note.at[:, turn_notes.ACTION].set(actions).at[:, turn_notes.REFUSED].set(refused)
    ring = ring_lib.add(made.layout, ring, row, actions, {ring_lib.Q_VALUES: q_values})
    return actor_state, made.sampler.added(sampler_state, ring), ring, note


def ring_like(device: DevicePrograms, mesh: Mesh) -> ring_lib.RingState:
    """Shapes and shardings of the ring, of which nothing is made."""
    like: ring_lib.RingState = mesh_lib.like(mesh, jax.eval_shape(device.init_ring), RING_SPECS)
    return like
