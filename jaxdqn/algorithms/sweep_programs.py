"""What the devices run for backward sweeps; see `sweep` for their cycle."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxdqn.agent import backward_sweep
from jaxdqn.agent import learner as learner_lib
from jaxdqn.algorithms import learners
from jaxdqn.assembly import device_programs, parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib

# Statistics of a sweep over all states of the memory: means of the largest action values, shares.
STATISTICS = (
    "sweep_states",
    "sweep_q_before",
    "sweep_q_after",
    "sweep_q_change",
    "sweep_large_error_share",
    "sweep_life_end_share",
    "sweep_episode_end_share",
    "sweep_nonzero_reward_share",
)
SLICE_UPDATES = 8  # between two looks at the losses and at signals


class Swept(flax.struct.PyTreeNode):
    """What a sweep produces besides the values in the ring."""

    error: jax.Array  # [R, E] float32
    is_state: jax.Array  # [R, E] bool


class Programs(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    init: Callable[[jax.Array], learner_lib.TrainState]  # (key)
    # (ring) -> ring with swept values, what else the sweep produces, `STATISTICS` [8]
    sweep: Callable[[ring_lib.RingState], tuple[ring_lib.RingState, Swept, jax.Array]]
    # (train state, swept, updates before the fit [], epoch []) -> the order of an epoch
    shuffle: Callable[..., backward_sweep.Order]
    # (train state, metric sums [M + 1], ring, order, first batch [], number of batches [],
    # learning rate []) -> train state, metric sums, losses [SLICE_UPDATES]
    fit: Callable[..., tuple[learner_lib.TrainState, jax.Array, jax.Array]]
    # (train state, ring, order, batch []) -> that batch and metrics of its update
    examine: Callable[..., tuple[backward_sweep.Targets, learner_lib.Metrics]]
    empty: Callable[[ring_lib.RingState], ring_lib.RingState]


SWEPT_SPECS = mesh_lib.specs(Swept, error=mesh_lib.BY_RING_ENV, is_state=mesh_lib.BY_RING_ENV)
_ORDER_SPECS = mesh_lib.specs(  # each device orders the states that it holds
    backward_sweep.Order,
    position=mesh_lib.BY_ENV,
    num_large=mesh_lib.BY_ENV,
    num_small=mesh_lib.BY_ENV,
)
_RING_SPECS, _ALIKE = device_programs.RING_SPECS, mesh_lib.REPLICATED


def make_learner(
    config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The update step of a run; it gets the learning rate as the factor of each step."""
    network = parts.make_network(config, spec)
    loss = backward_sweep.make_loss(network)
    return learners.without_target(config, network, axis_name, loss)


def build(config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh) -> Programs:
    """Builds what the devices run."""
    learner = make_learner(config, spec, mesh_lib.axis_name(mesh))
    layout = parts.ring_layout(config, spec)
    batch = functools.partial(_batch, config, layout, config.batch_size // mesh.devices.size)

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(_RING_SPECS,),
        out_specs=(_RING_SPECS, SWEPT_SPECS, _ALIKE),
        donate_argnums=0,
    )
    def sweep(ring: ring_lib.RingState) -> tuple[ring_lib.RingState, Swept, jax.Array]:
        return _sweep(config, layout, mesh.devices.size > 1, ring)

    @mesh_lib.on_mesh(mesh, in_specs=(_ALIKE, SWEPT_SPECS, _ALIKE, _ALIKE), out_specs=_ORDER_SPECS)
    def shuffle(
        state: learner_lib.TrainState, swept: Swept, updates: jax.Array, epoch: jax.Array
    ) -> backward_sweep.Order:
        key = jax.random.fold_in(jax.random.fold_in(state.draw_key, updates), epoch)
        return _shuffle(config, jax.random.fold_in(key, mesh_lib.index()), swept)

    @mesh_lib.on_mesh(
        mesh, in_specs=(_ALIKE, _RING_SPECS, _ORDER_SPECS, _ALIKE), out_specs=(_ALIKE, _ALIKE)
    )
    def examine(
        train_state: learner_lib.TrainState,
        ring: ring_lib.RingState,
        order: backward_sweep.Order,
        number: jax.Array,
    ) -> tuple[backward_sweep.Targets, learner_lib.Metrics]:
        targets = batch(ring, order, number)
        key = train_state.draw_key
        metrics = learner.update(train_state, targets, key, None, jnp.ones(()))[1]
        return mesh_lib.gathered(mesh, targets), metrics

    return Programs(
        init=device_programs.compiled_init(
            mesh, learner.init, parts.observation_like(config, spec)
        ),
        sweep=sweep,
        shuffle=shuffle,
        fit=_build_fit(mesh, learner, batch),
        examine=examine,
        empty=_build_empty(mesh),
    )


def _build_fit(
    mesh: Mesh,
    learner: learner_lib.Learner,
    batch: Callable[[ring_lib.RingState, backward_sweep.Order, jax.Array], backward_sweep.Targets],
) -> Callable[..., tuple[learner_lib.TrainState, jax.Array, jax.Array]]:
    @mesh_lib.on_mesh(
        mesh,
        in_specs=(_ALIKE, _ALIKE, _RING_SPECS, _ORDER_SPECS, *(_ALIKE,) * 3),
        out_specs=(_ALIKE, _ALIKE, _ALIKE),
        donate_argnums=(0, 1),
    )
    def fit(
        train_state: learner_lib.TrainState,
        sums: jax.Array,
        ring: ring_lib.RingState,
        order: backward_sweep.Order,
        first: jax.Array,
        number: jax.Array,
        learning_rate: jax.Array,
    ) -> tuple[learner_lib.TrainState, jax.Array, jax.Array]:
        def one(i: jax.Array, carry: Any) -> Any:
            state, sums, losses = carry
            targets = batch(ring, order, first + i)
            key = jax.random.fold_in(state.draw_key, state.updates)
            state, metrics, _ = learner.update(state, targets, key, None, learning_rate)
            sums = sums + learner_lib.summands(metrics)
            return state, sums, losses.at[i].set(metrics["loss"])

        carry = (train_state, sums, jnp.zeros(SLICE_UPDATES))
        return jax.lax.fori_loop(0, number, one, carry)

    built: Callable[..., tuple[learner_lib.TrainState, jax.Array, jax.Array]] = fit
    return built


def _build_empty(mesh: Mesh) -> Callable[[ring_lib.RingState], ring_lib.RingState]:
    @mesh_lib.on_mesh(mesh, in_specs=(_RING_SPECS,), out_specs=_RING_SPECS, donate_argnums=0)
    def empty(ring: ring_lib.RingState) -> ring_lib.RingState:
        return ring.replace(count=jnp.zeros_like(ring.count))

    built: Callable[[ring_lib.RingState], ring_lib.RingState] = empty
    return built


def _sweep(
    config: config_lib.Config, layout: ring_lib.Layout, is_shared: bool, ring: ring_lib.RingState
) -> tuple[ring_lib.RingState, Swept, jax.Array]:
    """Sweeps the rows that a device holds; statistics are those of all devices."""
    q_values = ring.extras[ring_lib.Q_VALUES]
    outcomes = returns.outcomes(layout, parts.return_rule(config), ring)
    segment = backward_sweep.Segment(
        q_values=q_values,
        action=ring.action,
        reward=outcomes.reward,
        ended=outcomes.ended,
        is_state=outcomes.is_state,
    )

    def by_stream(leaf: jax.Array) -> jax.Array:
        """[R, E, ...] -> [R / G, G * E, ...]: the groups' rows alternate."""
        return leaf.reshape(leaf.shape[0] // config.num_groups, -1, *leaf.shape[2:])

    swept, error = backward_sweep.backward(jax.tree.map(by_stream, segment), config.discount)
    after, error = swept.reshape(q_values.shape), error.reshape(ring.flags.shape)
    statistics = _statistics(config, ring, outcomes, after, error)
    if is_shared:
        statistics = jax.lax.psum(statistics, mesh_lib.AXIS)
    states = jnp.maximum(statistics[0], 1)
    statistics = jnp.where(jnp.arange(len(STATISTICS)) == 0, statistics, statistics / states)
    ring = ring.replace(extras=ring.extras | {ring_lib.Q_VALUES: after})
    return ring, Swept(error, outcomes.is_state), statistics


def _statistics(
    config: config_lib.Config,
    ring: ring_lib.RingState,
    outcomes: returns.Outcomes,
    after: jax.Array,
    error: jax.Array,
) -> jax.Array:
    """Sums over the states of a device, of which `STATISTICS` are made."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(outcomes.is_state, values, 0), dtype=jnp.float32)

    def following(values: jax.Array) -> jax.Array:
        return jnp.roll(values, -config.num_groups, axis=0)  # of the stream's next row

    flags = following(ring.flags)
    ends = flags & (ring_lib.TERMINATED | ring_lib.TRUNCATED) != 0
    return jnp.stack(
        [
            total(jnp.ones_like(error)),
            total(jnp.max(ring.extras[ring_lib.Q_VALUES], axis=-1)),
            total(jnp.max(after, axis=-1)),
            total(error),
            total(error > config.sweep_error_threshold),
            total((flags & ring_lib.LIFE_LOST != 0) & ~ends),
            total(ends),
            total(following(ring.reward) != 0),
        ]
    )


def _shuffle(config: config_lib.Config, key: jax.Array, swept: Swept) -> backward_sweep.Order:
    """The order of an epoch over the states that a device holds; its numbers have an axis."""
    order = backward_sweep.shuffle(
        key, swept.error.reshape(-1), swept.is_state.reshape(-1), config.sweep_error_threshold
    )
    return jax.tree.map(jnp.atleast_1d, order)


def _batch(
    config: config_lib.Config,
    layout: ring_lib.Layout,
    local_batch: int,
    ring: ring_lib.RingState,
    order: backward_sweep.Order,
    number: jax.Array,
) -> backward_sweep.Targets:
    """A device's share of an epoch's batch of that number []."""
    order = backward_sweep.Order(order.position, order.num_large[0], order.num_small[0])
    position = backward_sweep.batch_positions(
        order, number, local_batch, config.sweep_large_error_share
    )
    num_envs = ring.flags.shape[1]
    row, env = position // num_envs, position % num_envs
    observation = ring_lib.observe(layout, ring, row, env)
    return backward_sweep.Targets(observation, ring.extras[ring_lib.Q_VALUES][row, env])
