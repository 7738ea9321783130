"""PQN: Q-learning from the newest steps alone, without a target network (Gallici et al., 2024).

arXiv:2407.04811. A cycle plays until the memory holds `rollout_steps` of each environment, works
out their lambda returns with the action values that the network gave when it acted, and learns
towards these in epochs of minibatches. Layer normalization stands for the target network. Unlike
in the paper's code, a time limit is no end of the game, and what follows a game's last row, where
the environment ignores the action, is not learned.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import q_learning
from jaxdqn.algorithms import api, events, learners, run_state
from jaxdqn.assembly import device_programs, parts, schedules
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns, rollouts
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib

STATISTICS = ("lambda_return_mean", "lambda_return_std", "lambda_return_error")


class Targets(flax.struct.PyTreeNode):
    """A batch of B steps."""

    observation: jax.Array  # [B, S, *frame_shape]
    action: jax.Array  # [B] int32
    known_return: jax.Array  # [B] float32
    is_step: jax.Array  # [B] bool; others count nothing


class Begun(NamedTuple):
    """A rollout of which an update was refused. A run that resumes there learns the rest of it."""

    done: int  # updates before that one


class _Parts(NamedTuple):
    """What learning is made of, on each device."""

    config: config_lib.Config
    layout: ring_lib.Layout
    rule: returns.ReturnRule
    learner: learner_lib.Learner
    local_batch: int
    axis_name: str | None


def make_learner(
    config: config_lib.Config, spec: envs.EnvSpec, axis_name: str | None
) -> learner_lib.Learner:
    """The update step of a run; it gets the learning rate as the factor of each step."""
    network = parts.make_network(config, spec)
    loss = q_learning.make_known_loss(network, parts.make_head(config))
    return learners.without_target(config, network, axis_name, loss)


class Programs(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    init: Callable[[jax.Array], learner_lib.TrainState]  # (key)
    # (updates of a rollout that are made) -> what makes the others: (train state, metric sums
    # [M + 1], ring, learning rate []) -> the first two, `STATISTICS` [3]
    learn_after: Callable[[int], Callable[..., tuple[learner_lib.TrainState, jax.Array, jax.Array]]]
    # (train state, ring, updates before the rollout []) -> batch and metrics of the update that
    # was refused
    examine: Callable[..., tuple[Targets, learner_lib.Metrics]]


def build_programs(config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh) -> Programs:
    """Builds what the devices run."""
    made = _Parts(
        config=config,
        layout=parts.ring_layout(config, spec),
        rule=parts.return_rule(config),
        learner=make_learner(config, spec, mesh_lib.axis_name(mesh)),
        local_batch=config.batch_size // mesh.devices.size,
        axis_name=mesh_lib.axis_name(mesh),
    )
    alike, ring_specs = mesh_lib.REPLICATED, device_programs.RING_SPECS

    @functools.cache
    def learn_after(done: int) -> Callable[..., Any]:
        @mesh_lib.on_mesh(
            mesh,
            in_specs=(alike, alike, ring_specs, alike),
            out_specs=(alike, alike, alike),
            donate_argnums=(0, 1),
        )
        def learn(*state: Any) -> tuple[learner_lib.TrainState, jax.Array, jax.Array]:
            return _learn(made, done, *state)

        return learn

    @mesh_lib.on_mesh(mesh, in_specs=(alike, ring_specs, alike), out_specs=(alike, alike))
    def examine(*state: Any) -> tuple[Targets, learner_lib.Metrics]:
        batch, metrics = _examine(made, *state)
        return mesh_lib.gathered(mesh, batch), metrics

    like = parts.observation_like(config, spec)
    init = device_programs.compiled_init(mesh, made.learner.init, like)
    return Programs(init, learn_after, examine)


def _rollout(made: _Parts, ring: ring_lib.RingState) -> rollouts.Rollout:
    config = made.config
    return rollouts.rollout(made.layout, made.rule, ring, config.rollout_steps, config.trace_decay)


def _order(made: _Parts, key: jax.Array, updates: jax.Array, rolled: rollouts.Rollout) -> jax.Array:
    """Positions [N, B] in a rollout: N minibatches, each epoch in an order of its own."""
    key = jax.random.fold_in(jax.random.fold_in(key, updates), mesh_lib.index())
    keys = jax.random.split(jax.random.fold_in(key, 2), made.config.rollout_epochs)
    shuffled = jax.vmap(lambda key: jax.random.permutation(key, rolled.is_step.size))(keys)
    return shuffled.reshape(-1, made.local_batch)


def _update(
    made: _Parts,
    state: learner_lib.TrainState,
    ring: ring_lib.RingState,
    rolled: rollouts.Rollout,
    position: jax.Array,
    learning_rate: jax.Array,
) -> tuple[learner_lib.TrainState, learner_lib.Metrics, Targets]:
    """An update from the steps at positions [B]."""
    num_envs = rolled.is_step.shape[-1]
    row, env = rolled.row.reshape(-1)[position // num_envs], position % num_envs
    batch = Targets(
        observation=ring_lib.observe(made.layout, ring, row, env),
        action=ring.action[row % made.layout.num_rows, env],
        known_return=rolled.lambda_return.reshape(-1)[position],
        is_step=rolled.is_step.reshape(-1)[position],
    )
    count = jnp.sum(batch.is_step, dtype=jnp.float32)
    if made.axis_name:
        count = jax.lax.pmean(count, made.axis_name)
    weight = batch.is_step * (made.local_batch / jnp.maximum(count, 1))
    key = jax.random.fold_in(jax.random.fold_in(state.draw_key, state.updates), mesh_lib.index())
    state, metrics, _ = made.learner.update(
        state, batch, jax.random.fold_in(key, 1), weight, learning_rate
    )
    return state, metrics, batch


def _learn(
    made: _Parts,
    done: int,
    train_state: learner_lib.TrainState,
    sums: jax.Array,
    ring: ring_lib.RingState,
    learning_rate: jax.Array,
) -> tuple[learner_lib.TrainState, jax.Array, jax.Array]:
    """All epochs of a rollout, without the updates that are done."""
    rolled = _rollout(made, ring)

    def one(carry: Any, position: jax.Array) -> tuple[Any, None]:
        state, sums = carry
        state, metrics, _ = _update(made, state, ring, rolled, position, learning_rate)
        return (state, sums + learner_lib.summands(metrics)), None

    order = _order(made, train_state.draw_key, train_state.updates - done, rolled)
    (train_state, sums), _ = jax.lax.scan(one, (train_state, sums), order[done:])
    return train_state, sums, _statistics(made, rolled)


def _statistics(made: _Parts, rolled: rollouts.Rollout) -> jax.Array:
    """`STATISTICS` over the steps of all devices."""

    def mean(values: jax.Array) -> jax.Array:
        total = jnp.stack([jnp.sum(values * rolled.is_step), jnp.sum(rolled.is_step * 1.0)])
        if made.axis_name:
            total = jax.lax.psum(total, made.axis_name)
        return total[0] / jnp.maximum(total[1], 1)

    average = mean(rolled.lambda_return)
    spread = jnp.sqrt(mean((rolled.lambda_return - average) ** 2))
    return jnp.stack([average, spread, mean(jnp.abs(rolled.lambda_return - rolled.value))])


def _examine(
    made: _Parts, train_state: learner_lib.TrainState, ring: ring_lib.RingState, before: jax.Array
) -> tuple[Targets, learner_lib.Metrics]:
    """A device's share of the batch that was refused; nothing has changed since."""
    rolled = _rollout(made, ring)
    position = _order(made, train_state.draw_key, before, rolled)[train_state.updates - before]
    _, metrics, batch = _update(made, train_state, ring, rolled, position, jnp.ones(()))
    return batch, metrics


def rows_due(config: config_lib.Config, layout: ring_lib.Layout, rows: int) -> bool:
    """Whether a rollout is whole now that a ring has `rows`."""
    first = layout.history + layout.stride  # rows that no step begins at
    return rows > first and (rows - first) % (config.rollout_steps * layout.stride) == 0


def build(config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh) -> api.Learning:
    """How a run learns."""
    programs = build_programs(config, spec, mesh)
    layout = parts.ring_layout(config, spec)

    def put(number: Any) -> Any:
        return mesh_lib.put(mesh, number, mesh_lib.REPLICATED)

    def learn(state: run_state.RunState, _: run_state.Counters) -> Iterator[events.Paused]:
        if state.own is None and not rows_due(config, layout, state.rows):
            return
        assert state.ring is not None
        learning_rate = schedules.learning_rate(config, state.counters.steps)
        done = 0 if state.own is None else state.own.done
        before = state.counters.updates - done
        state.train_state, state.sums, statistics = programs.learn_after(done)(
            state.train_state, state.sums, state.ring, put(np.float32(learning_rate))
        )
        found, refused, updates = jax.device_get(
            (statistics, state.train_state.refused, state.train_state.updates)
        )
        if run_state.note_refused(config, state, int(refused)):
            state.own = Begun(int(updates) - before)
            of = programs.examine(state.train_state, state.ring, put(np.int32(before)))
            raise run_state.NonFiniteError(*jax.device_get(of))
        state.counters.updates, state.own = before + config.updates_per_rollout, None
        values = dict(zip(STATISTICS, found.tolist(), strict=True))
        yield events.Paused({**values, "learning_rate": learning_rate})

    return api.Learning(programs.init, learn)


def plan(config: config_lib.Config) -> str:
    """Describes the updates that a run will make, for its plan."""
    return (
        f"about {config.planned_updates:,} of {config.batch_size}, {config.rollout_epochs} samples "
        f"per step, {config.updates_per_rollout} after each rollout of up to "
        f"{config.num_envs * config.rollout_steps:,} steps"
    )


ALGORITHM = api.Algorithm(
    build=build,
    plan=plan,
    own=api.OwnState(
        pack=lambda begun: ({"done": np.array([begun.done], np.int32)}, {}),
        like=lambda *_: {"done": np.zeros(1, np.int32)},
        unpack=lambda arrays, _: Begun(int(arrays["done"][0])),
    ),
)
