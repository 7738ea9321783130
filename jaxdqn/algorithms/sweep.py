"""Learning by backward sweeps: what the devices run for it, and the cycle of a run.

A cycle plays until the memory holds as many states as the schedule asks for, sweeps it, fits the
network to it until the loss is small enough or the last epoch is over, and empties it.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdqn.agent import backward_sweep
from jaxdqn.agent import learner as learner_lib
from jaxdqn.algorithms import run_state
from jaxdqn.assembly import device_programs, parts, schedules
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib

# Of a sweep, over all states of the memory: means of the largest action values, and shares.
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
_SLICE_UPDATES = 8  # between two looks at the losses and at signals
_LOSSES = 100  # whose mean is compared with the limit


class Swept(flax.struct.PyTreeNode):
    """What a sweep leaves beside the values in the ring."""

    error: jax.Array  # [R, E] float32
    is_state: jax.Array  # [R, E] bool


@dataclasses.dataclass
class Fit:
    """A fit that is under way."""

    swept: Swept
    told: dict[str, float]  # `STATISTICS`
    from_update: int
    losses: collections.deque[float] = dataclasses.field(  # the newest
        default_factory=lambda: collections.deque(maxlen=_LOSSES)
    )


class Sweeper(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    # (ring) -> ring with swept values, what else came of it, `STATISTICS` [8]
    sweep: Callable[[ring_lib.RingState], tuple[ring_lib.RingState, Swept, jax.Array]]
    # (train state, swept, updates before the fit [], epoch []) -> the order of an epoch
    shuffle: Callable[..., backward_sweep.Order]
    # (train state, metric sums [M + 1], ring, order, first batch [], number of batches [],
    # learning rate []) -> train state, metric sums, losses [_SLICE_UPDATES]
    fit: Callable[..., tuple[learner_lib.TrainState, jax.Array, jax.Array]]
    # (train state, ring, order, batch []) -> that batch and metrics of its update
    examine: Callable[..., tuple[backward_sweep.Targets, learner_lib.Metrics]]
    empty: Callable[[ring_lib.RingState], ring_lib.RingState]


def build(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> Sweeper:
    """Builds the device's side."""
    ring, shards = parts.make_ring(config, spec), mesh.devices.size
    learner = parts.make_sweep_learner(config, spec, mesh_lib.AXIS if shards > 1 else None)
    local_batch, groups = config.batch_size // shards, config.num_groups
    replicated, ring_specs = mesh_lib.REPLICATED, device_programs.RING_SPECS
    swept_specs = mesh_lib.specs(Swept, error=mesh_lib.BY_RING_ENV, is_state=mesh_lib.BY_RING_ENV)
    order_specs = mesh_lib.specs(  # each device orders the states that it holds
        backward_sweep.Order,
        position=mesh_lib.BY_ENV,
        num_large=mesh_lib.BY_ENV,
        num_small=mesh_lib.BY_ENV,
    )

    def by_stream(leaf: jax.Array) -> jax.Array:
        """[R, E, ...] -> [R / G, G * E, ...]: the groups' rows lie in turn."""
        return leaf.reshape(leaf.shape[0] // groups, -1, *leaf.shape[2:])

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(ring_specs,),
        out_specs=(ring_specs, swept_specs, replicated),
        donate_argnums=0,
    )
    def sweep_memory(
        state: ring_lib.RingState,
    ) -> tuple[ring_lib.RingState, Swept, jax.Array]:
        outcomes = ring.outcomes(state)
        segment = backward_sweep.Segment(
            q_values=state.q_values,
            action=state.action,
            reward=outcomes.reward,
            ended=outcomes.ended,
            is_state=outcomes.is_state,
        )
        swept, error = backward_sweep.backward(jax.tree.map(by_stream, segment), config.discount)
        after = swept.reshape(state.q_values.shape)
        error = error.reshape(state.flags.shape)
        statistics = _statistics(state, outcomes, after, error)
        if shards > 1:
            statistics = jax.lax.psum(statistics, mesh_lib.AXIS)
        states = jnp.maximum(statistics[0], 1)
        statistics = jnp.where(jnp.arange(len(STATISTICS)) == 0, statistics, statistics / states)
        return state.replace(q_values=after), Swept(error, outcomes.is_state), statistics

    def _statistics(
        state: ring_lib.RingState,
        outcomes: ring_lib.Outcomes,
        after: jax.Array,
        error: jax.Array,
    ) -> jax.Array:
        def total(values: jax.Array) -> jax.Array:
            return jnp.sum(jnp.where(outcomes.is_state, values, 0), dtype=jnp.float32)

        def following(values: jax.Array) -> jax.Array:
            return jnp.roll(values, -groups, axis=0)  # of the stream's next row

        flags = following(state.flags)
        ends = flags & (ring_lib.TERMINATED | ring_lib.TRUNCATED) != 0
        return jnp.stack(
            [
                total(jnp.ones_like(error)),
                total(jnp.max(state.q_values, axis=-1)),
                total(jnp.max(after, axis=-1)),
                total(error),
                total(error > config.sweep_error_threshold),
                total((flags & ring_lib.LIFE_LOST != 0) & ~ends),
                total(ends),
                total(following(state.reward) != 0),
            ]
        )

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, swept_specs, replicated, replicated),
        out_specs=order_specs,
    )
    def shuffle(
        state: learner_lib.TrainState, swept: Swept, updates: jax.Array, epoch: jax.Array
    ) -> backward_sweep.Order:
        key = jax.random.fold_in(jax.random.fold_in(state.key, updates), epoch)
        order = backward_sweep.shuffle(
            jax.random.fold_in(key, jax.lax.axis_index(mesh_lib.AXIS)),
            swept.error.reshape(-1),
            swept.is_state.reshape(-1),
            config.sweep_error_threshold,
        )
        return jax.tree.map(jnp.atleast_1d, order)

    def batch(
        ring_state: ring_lib.RingState, order: backward_sweep.Order, number: jax.Array
    ) -> backward_sweep.Targets:
        order = backward_sweep.Order(order.position, order.num_large[0], order.num_small[0])
        position = backward_sweep.batch_positions(
            order, number, local_batch, config.sweep_large_error_share
        )
        num_envs = ring_state.flags.shape[1]
        row, env = position // num_envs, position % num_envs
        return backward_sweep.Targets(
            ring.observe(ring_state, row, env), ring_state.q_values[row, env]
        )

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, ring_specs, order_specs, replicated),
        out_specs=(replicated, replicated),
    )
    def examine(
        train_state: learner_lib.TrainState,
        ring_state: ring_lib.RingState,
        order: backward_sweep.Order,
        number: jax.Array,
    ) -> tuple[backward_sweep.Targets, learner_lib.Metrics]:
        targets = batch(ring_state, order, number)
        metrics = learner.update(train_state, targets, jnp.ones(()))[1]
        return mesh_lib.gathered(mesh, targets), metrics

    @mesh_lib.on_mesh(
        mesh,
        in_specs=(replicated, replicated, ring_specs, order_specs, *(replicated,) * 3),
        out_specs=(replicated, replicated, replicated),
        donate_argnums=(0, 1),
    )
    def fit(
        train_state: learner_lib.TrainState,
        sums: jax.Array,
        ring_state: ring_lib.RingState,
        order: backward_sweep.Order,
        first: jax.Array,
        number: jax.Array,
        learning_rate: jax.Array,
    ) -> tuple[learner_lib.TrainState, jax.Array, jax.Array]:
        def one(i: jax.Array, carry: Any) -> Any:
            state, sums, losses = carry
            targets = batch(ring_state, order, first + i)
            state, metrics = learner.update(state, targets, learning_rate)
            sums = sums + learner_lib.summands(metrics)
            return state, sums, losses.at[i].set(metrics["loss"])

        carry = (train_state, sums, jnp.zeros(_SLICE_UPDATES))
        return jax.lax.fori_loop(0, number, one, carry)

    @mesh_lib.on_mesh(mesh, in_specs=(ring_specs,), out_specs=ring_specs, donate_argnums=0)
    def empty(state: ring_lib.RingState) -> ring_lib.RingState:
        return state.replace(count=jnp.zeros_like(state.count))

    return Sweeper(sweep=sweep_memory, shuffle=shuffle, fit=fit, examine=examine, empty=empty)


class Schedule(NamedTuple):
    """What holds for a cycle that begins at some step."""

    states: int  # that the memory is to hold
    loss_limit: float
    max_epochs: float
    learning_rate: float


def schedule(config: config_lib.Config, steps: int) -> Schedule:
    """The constants of a cycle; they follow the number of states seen, as the tutorial counts."""

    def at(start: float, end: float) -> float:
        return schedules.linear(steps, start=start, end=end, decay_steps=config.sweep_decay_steps)

    fraction = at(config.sweep_fraction_start, config.sweep_fraction_end)
    rate_end = config.learning_rate_end
    return Schedule(
        states=round(fraction * config.replay_capacity),
        loss_limit=at(config.sweep_loss_limit_start, config.sweep_loss_limit_end),
        max_epochs=at(config.sweep_max_epochs_start, config.sweep_max_epochs_end),
        learning_rate=config.learning_rate
        if rate_end is None
        else schedules.linear(
            steps,
            start=config.learning_rate,
            end=rate_end,
            decay_steps=config.learning_rate_decay_steps or config.total_steps,
        ),
    )


def learning(config: config_lib.Config, sweeper: Sweeper, mesh: Mesh) -> run_state.Learn:
    """Cycles of sweeps, each begun when the memory is full enough or the run at its end."""

    def put(value: Any) -> Any:
        return mesh_lib.put(mesh, value, mesh_lib.REPLICATED)

    def begin(state: run_state.RunState) -> Fit | None:
        """Sweeps the memory if that is due."""
        wanted = schedule(config, state.counters.steps).states
        is_full = state.rows * config.group_size >= wanted
        # All groups have as many rows then, and the first one's comes first again.
        is_due = is_full and state.rows % config.num_groups == 0
        at_the_end = state.counters.steps >= config.total_steps
        if not is_due and not (at_the_end and state.rows > 2 * config.num_groups):
            return None
        assert state.ring is not None
        state.ring, swept, found = sweeper.sweep(state.ring)
        state.ring_life += 1
        told = dict(zip(STATISTICS, jax.device_get(found).tolist(), strict=True))
        return Fit(swept, told, from_update=state.counters.updates)

    def learn(
        state: run_state.RunState, before: run_state.Counters
    ) -> Iterator[metrics.Row | None]:
        state.fit = fit = state.fit or begin(state)
        if fit is None:
            return
        assert state.ring is not None
        now = schedule(config, state.counters.steps)
        epoch_batches = -(-int(fit.told["sweep_states"]) // config.batch_size)
        last = round(now.max_epochs * epoch_batches)
        order = None
        while (batches := state.counters.updates - fit.from_update) < last:
            if batches >= epoch_batches and np.mean(fit.losses) < now.loss_limit:
                break
            epoch, first = divmod(batches, epoch_batches)
            if first == 0 or order is None:
                numbers = put((np.int32(fit.from_update), np.int32(epoch)))
                order = sweeper.shuffle(state.train_state, fit.swept, *numbers)
            number = min(_SLICE_UPDATES, epoch_batches - first, last - batches)
            state.train_state, state.sums, new = sweeper.fit(
                state.train_state,
                state.sums,
                state.ring,
                order,
                *put((np.int32(first), np.int32(number), np.float32(now.learning_rate))),
            )
            new, refused, done = jax.device_get(
                (new, state.train_state.refused, state.train_state.updates)
            )
            if run_state.note_refused(config, state, int(refused)):
                index = put(np.int32(first + int(done) - state.counters.updates))
                found = sweeper.examine(state.train_state, state.ring, order, index)
                raise run_state.NonFiniteError(*jax.device_get(found))
            fit.losses.extend(new[:number].tolist())
            state.counters.updates += number
            yield None
        state.ring, state.rows = sweeper.empty(state.ring), 0
        state.ring_life += 1
        state.fit = None
        yield {
            **fit.told,
            "sweep_epochs": batches / max(1, epoch_batches),
            "sweep_loss": float(np.mean(fit.losses)) if fit.losses else None,
            "sweep_loss_limit": now.loss_limit,
            "learning_rate": now.learning_rate,
        }

    return learn
