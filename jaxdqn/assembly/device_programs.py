"""What the devices run: acting with recording, and slices of updates; pure and compiled."""

import concurrent.futures
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxdqn.agent import actor as actor_lib
from jaxdqn.agent import learner as learner_lib
from jaxdqn.assembly import parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, turn_notes
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib

_ACTOR_SPECS = mesh_lib.specs(
    actor_lib.ActorState,
    stack=mesh_lib.BY_ENV,
    key=mesh_lib.REPLICATED,
    acts=mesh_lib.REPLICATED,
    motion=mesh_lib.BY_ENV,
    repeat=mesh_lib.BY_ENV,
)
RING_SPECS = mesh_lib.specs(
    ring_lib.RingState,
    frame=mesh_lib.BY_RING_ENV,
    reward=mesh_lib.BY_RING_ENV,
    action=mesh_lib.BY_RING_ENV,
    flags=mesh_lib.BY_RING_ENV,
    count=mesh_lib.REPLICATED,
    q_values=mesh_lib.BY_RING_ENV,
)


class Device(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    init_learner: Callable[[jax.Array], learner_lib.TrainState]  # (key)
    init_ring: Callable[[], ring_lib.RingState]
    init_actor: Callable[[jax.Array], actor_lib.ActorState]  # (key), of one group
    # (params, actor state, ring, row, note, epsilon []) -> actor state, ring, note of all
    # environments with their actions, on every device alike
    act_and_record: Callable[..., tuple[actor_lib.ActorState, ring_lib.RingState, jax.Array]]
    # (train state, metric sums [M + 1], ring) -> train state, metric sums
    learn: Callable[..., tuple[learner_lib.TrainState, jax.Array]]
    # (train state, ring, rows written since []) -> batch and metrics of the update refused last
    examine: Callable[..., tuple[ring_lib.Batch, learner_lib.Metrics]]
    move_target: Callable[[learner_lib.TrainState], learner_lib.TrainState]
    cut: Callable[[ring_lib.RingState], ring_lib.RingState]  # where environments are made anew
    init_sums: Callable[[], jax.Array]  # sums of `learner.METRICS`, and the number of updates


def build(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> Device:
    """Builds the device's side of a run."""
    actor = parts.make_actor(config, spec, config.explore_max_steps)
    ring = parts.make_ring(config, spec)
    shards = mesh.devices.size
    # Alone, a device would still copy the gradients to average them.
    axis_name = mesh_lib.AXIS if shards > 1 else None
    learner = parts.make_learner(config, spec, axis_name)
    sweeps = config.algorithm == "sweep"  # then `learn` and `move_target` are not called
    init = (parts.make_sweep_learner(config, spec, axis_name) if sweeps else learner).init
    local_envs, local_batch = config.group_size // shards, config.batch_size // shards
    replicated = mesh_lib.REPLICATED
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    # Of a function that runs once, all that takes time is its compilation.
    once = {"xla_backend_optimization_level": 0} if on_cpu else None

    @mesh_lib.on_mesh(mesh, in_specs=replicated, out_specs=replicated, compiler_options=once)
    def init_learner(key: jax.Array) -> learner_lib.TrainState:
        like = parts.observation_like(config, spec)
        return init(key, jnp.zeros(like.shape, like.dtype))

    @mesh_lib.on_mesh(mesh, in_specs=(), out_specs=RING_SPECS)
    def init_ring() -> ring_lib.RingState:
        return ring.init(local_envs)

    @mesh_lib.on_mesh(mesh, in_specs=replicated, out_specs=_ACTOR_SPECS)
    def init_actor(key: jax.Array) -> actor_lib.ActorState:
        return actor.init(key, local_envs)

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, _ACTOR_SPECS, RING_SPECS, *(mesh_lib.BY_ENV,) * 2, replicated),
        out_specs=(_ACTOR_SPECS, RING_SPECS, replicated),
        donate_argnums=(1, 2),
    )
    def act_and_record(
        params: Any,
        actor_state: actor_lib.ActorState,
        ring_state: ring_lib.RingState,
        row: ring_lib.Row,
        note: jax.Array,
        epsilon: jax.Array,
    ) -> tuple[actor_lib.ActorState, ring_lib.RingState, jax.Array]:
        actor_state, actions, q_values = actor.act(
            params,
            actor_state,
            row.frame,
            row.is_first,
            epsilon,
            first=shard_index() * local_envs,
            total=config.group_size,
        )
        if config.motion_trace:  # it is stored: no row of the ring alone tells it
            row = row.replace(frame=actor_state.stack[:, -1])
        note = mesh_lib.gathered(mesh, note.at[:, turn_notes.ACTION].set(actions))
        return actor_state, ring.add(ring_state, row, actions, q_values), note

    def draw(state: learner_lib.TrainState, ring_state: ring_lib.RingState) -> ring_lib.Batch:
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.updates), shard_index())
        return ring.sample(ring_state, key, local_batch)

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, replicated, RING_SPECS),
        out_specs=(replicated, replicated),
        donate_argnums=(0, 1),
    )
    def learn(
        train_state: learner_lib.TrainState, sums: jax.Array, ring_state: ring_lib.RingState
    ) -> tuple[learner_lib.TrainState, jax.Array]:
        def one_update(
            carry: tuple[learner_lib.TrainState, jax.Array], _: None
        ) -> tuple[tuple[learner_lib.TrainState, jax.Array], None]:
            state, sums = carry
            state, metrics = learner.update(state, draw(state, ring_state))
            return (state, sums + learner_lib.summands(metrics)), None

        carry, _ = jax.lax.scan(one_update, (train_state, sums), length=config.slice_updates)
        return carry

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, RING_SPECS, replicated),
        out_specs=(replicated, replicated),
    )
    def examine(
        train_state: learner_lib.TrainState, ring_state: ring_lib.RingState, rows_since: jax.Array
    ) -> tuple[ring_lib.Batch, learner_lib.Metrics]:
        batch = draw(train_state, ring_state.replace(count=ring_state.count - rows_since))
        return mesh_lib.gathered(mesh, batch), learner.update(train_state, batch)[1]

    @mesh_lib.on_mesh(mesh, in_specs=replicated, out_specs=replicated, donate_argnums=0)
    def move_target(train_state: learner_lib.TrainState) -> learner_lib.TrainState:
        return learner.move_target(train_state)

    @mesh_lib.on_mesh(mesh, in_specs=(RING_SPECS,), out_specs=RING_SPECS, donate_argnums=0)
    def cut(ring_state: ring_lib.RingState) -> ring_lib.RingState:
        return ring.cut(ring_state)

    @mesh_lib.on_mesh(mesh, in_specs=(), out_specs=replicated)
    def init_sums() -> jax.Array:
        return jnp.zeros(len(learner_lib.METRICS) + 1)

    return Device(
        init_learner=init_learner,
        init_ring=init_ring,
        init_actor=init_actor,
        act_and_record=act_and_record,
        learn=learn,
        examine=examine,
        move_target=move_target,
        cut=cut,
        init_sums=init_sums,
    )


def compile_ahead(
    device: Device,
    config: config_lib.Config,
    spec: api.EnvSpec,
    mesh: Mesh,
    train_state: learner_lib.TrainState,
    sums: jax.Array,
    actor_state: actor_lib.ActorState,
) -> Device:
    """Begins to compile acting and learning with such states, each on a thread of its own.

    A first call waits for its own function alone: play begins while learning is being compiled.
    """
    num_envs = len(processes.share(config.group_size))
    row = ring_lib.blank_row(num_envs, spec.frame_shape, spec.frame_dtype)
    note = turn_notes.write(num_envs, [], wish=0)
    ring = jax.tree.map(
        lambda leaf, spec: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec)
        ),
        jax.eval_shape(device.init_ring),
        RING_SPECS,
    )
    threads = concurrent.futures.ThreadPoolExecutor()

    def ahead(function: Any, *shaped: Any) -> Callable[..., Any]:
        task = threads.submit(lambda: function.lower(*shaped).compile())

        def call(*args: Any) -> Any:
            task.result()
            return function(*args)

        return call

    acting = (train_state.params, actor_state, ring, *put_row(mesh, row, note, epsilon=0.0))
    device = device._replace(act_and_record=ahead(device.act_and_record, *acting))
    if config.algorithm == "dqn":
        device = device._replace(learn=ahead(device.learn, train_state, sums, ring))
    threads.shutdown(wait=False)
    return device


def put_row(
    mesh: Mesh, row: ring_lib.Row, note: turn_notes.Note, epsilon: float
) -> tuple[ring_lib.Row, jax.Array, jax.Array]:
    """Moves what acting and recording needs of the host to the devices, in one go."""
    specs = (mesh_lib.BY_ENV, mesh_lib.BY_ENV, mesh_lib.REPLICATED)
    moved: tuple[ring_lib.Row, jax.Array, jax.Array] = mesh_lib.put(
        mesh, (row, note, np.float32(epsilon)), specs
    )
    return moved


def shard_index() -> jax.Array:
    """Which share of the mesh a function decorated with `on_mesh` works on."""
    return jax.lax.axis_index(mesh_lib.AXIS)
