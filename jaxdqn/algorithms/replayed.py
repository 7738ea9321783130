"""Learning by updates from the replay, as they fall due; what is learned is an argument.

Algorithms that learn so give it an update step, and are small.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxdqn.agent import learner as learner_lib
from jaxdqn.algorithms import api, events, learners, run_state
from jaxdqn.assembly import compile_ahead as compile_ahead_lib
from jaxdqn.assembly import device_programs, parts
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.replay import returns
from jaxdqn.replay import ring as ring_lib
from jaxdqn.replay.samplers import api as samplers
from jaxdqn.settings import config as config_lib


class Programs(NamedTuple):
    """Compiled functions. Those that take large state donate it: rebind it in the same line."""

    init: Callable[[jax.Array], learner_lib.TrainState]  # (key)
    # (train state, metric sums [M + 1], sampler state, ring) -> the first three, and what the last
    # update drew
    learn: Callable[..., tuple[learner_lib.TrainState, jax.Array, Any, samplers.Drawn]]
    # (train state, ring, what an update drew that was refused) -> its batch and metrics
    examine: Callable[..., tuple[returns.Batch, learner_lib.Metrics]]
    move_target: Callable[[learner_lib.TrainState], learner_lib.TrainState]
    # The same as `learn`, as one CUDA graph. It may fail when it is called, because not all of
    # cuDNN's convolutions can be captured. None where there are no such graphs.
    learn_as_graph: Callable[..., Any] | None = None


_GPUS = ("gpu", "cuda")  # as devices and compilers call them
# By default XLA leaves convolutions and loops out of CUDA graphs.
_ONE_GRAPH = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,"
    "DYNAMIC_SLICE_FUSION,CONDITIONAL,CONVOLUTION,WHILE"
}


class _Parts(NamedTuple):
    """What an update is made of, on each device."""

    layout: ring_lib.Layout
    rule: returns.ReturnRule
    sampler: samplers.Sampler
    learner: learner_lib.Learner
    local_batch: int  # transitions that each device draws
    num_updates: int  # in one go


def build_programs(
    config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh, make_learner: learners.MakeLearner
) -> Programs:
    """Builds what the devices run.

    Args:
      config: of the run.
      spec: of its environments.
      mesh: the devices.
      make_learner: makes the update step.
    """
    layout, rule = parts.ring_layout(config, spec), parts.return_rule(config)
    returns.check(layout, rule)
    made = _Parts(
        layout=layout,
        rule=rule,
        sampler=parts.make_sampler(config, layout, mesh_lib.axis_name(mesh)),
        learner=make_learner(config, spec, mesh_lib.axis_name(mesh)),
        local_batch=config.batch_size // mesh.devices.size,
        num_updates=config.slice_updates,
    )
    alike, by_env, ring_specs = mesh_lib.REPLICATED, mesh_lib.BY_ENV, device_programs.RING_SPECS

    on_mesh = functools.partial(
        mesh_lib.on_mesh,
        mesh,
        in_specs=(alike, alike, by_env, ring_specs),
        out_specs=(alike, alike, by_env, by_env),
        donate_argnums=(0, 1, 2),
    )

    def learn(*state: Any) -> tuple[learner_lib.TrainState, jax.Array, Any, samplers.Drawn]:
        return _learn(made, *state)

    @mesh_lib.on_mesh(mesh, in_specs=(alike, ring_specs, by_env), out_specs=(alike, alike))
    def examine(*state: Any) -> tuple[returns.Batch, learner_lib.Metrics]:
        batch, metrics = _examine(made, *state)
        return mesh_lib.gathered(mesh, batch), metrics

    @mesh_lib.on_mesh(mesh, in_specs=alike, out_specs=alike, donate_argnums=0)
    def move_target(train_state: learner_lib.TrainState) -> learner_lib.TrainState:
        return made.learner.move_target(train_state)

    like = parts.observation_like(config, spec)
    init = device_programs.compiled_init(mesh, made.learner.init, like)
    as_graph = None
    if mesh.devices.size == 1 and mesh.devices.flat[0].platform in _GPUS:
        as_graph = on_mesh(options=dict.fromkeys(_GPUS, _ONE_GRAPH))(learn)
    return Programs(init, on_mesh()(learn), examine, move_target, as_graph)


def _update(
    made: _Parts,
    state: learner_lib.TrainState,
    ring: ring_lib.RingState,
    draw: Callable[[jax.Array], samplers.Drawn],
) -> tuple[learner_lib.TrainState, learner_lib.Metrics, jax.Array, samplers.Drawn, returns.Batch]:
    """Makes an update from what `draw` draws with a key."""
    key = jax.random.fold_in(jax.random.fold_in(state.draw_key, state.updates), mesh_lib.index())
    drawn = draw(key)
    batch = returns.gather(made.layout, made.rule, ring, drawn.row, drawn.env)
    state, metrics, priority = made.learner.update(
        state, batch, jax.random.fold_in(key, 3), drawn.weight
    )
    return state, metrics, priority, drawn, batch


def _learn(
    made: _Parts,
    train_state: learner_lib.TrainState,
    sums: jax.Array,
    sampler_state: Any,
    ring: ring_lib.RingState,
) -> tuple[learner_lib.TrainState, jax.Array, Any, samplers.Drawn]:
    """Makes a slice of updates."""

    def one_update(carry: Any, _: None) -> tuple[Any, samplers.Drawn]:
        state, sums, sampler_state = carry

        def draw(key: jax.Array) -> samplers.Drawn:
            return made.sampler.draw(ring, key, sampler_state, made.local_batch, state.updates)

        state, metrics, priority, drawn, _batch = _update(made, state, ring, draw)
        learned = made.sampler.learned(sampler_state, drawn, priority, metrics["accepted"])
        return (state, sums + learner_lib.summands(metrics), learned), drawn

    carry = (train_state, sums, sampler_state)
    carry, drawn = jax.lax.scan(one_update, carry, length=made.num_updates)
    return *carry, jax.tree.map(lambda leaf: leaf[-1], drawn)


def _examine(
    made: _Parts,
    train_state: learner_lib.TrainState,
    ring: ring_lib.RingState,
    drawn: samplers.Drawn,
) -> tuple[returns.Batch, learner_lib.Metrics]:
    """A device's share of a batch that was refused, and metrics of its update."""
    _, metrics, *_, batch = _update(made, train_state, ring, lambda _: drawn)
    return batch, metrics


def updates_owed(config: config_lib.Config, state: run_state.RunState) -> int:
    """Number of updates that have fallen due and are not done yet."""
    steps = state.counters.steps - state.learning_from_step
    done = state.counters.updates - state.learning_from_update
    return max(0, steps) // config.steps_per_update - done


def target_is_due(
    config: config_lib.Config, before: run_state.Counters, now: run_state.Counters
) -> bool:
    """Whether the target network is to be updated now, by its periods of steps or games."""
    return run_state.crossed(
        before.steps, now.steps, config.target_period_steps
    ) or run_state.crossed(before.episodes, now.episodes, config.target_period_episodes)


def learning(config: config_lib.Config, programs: Programs) -> api.Learning:
    """How a run learns with programs that are built."""

    def learn(state: run_state.RunState, before: run_state.Counters) -> Iterator[events.Paused]:
        while updates_owed(config, state) >= config.slice_updates:
            state.train_state, state.sums, state.sampler, state.drawn = programs.learn(
                state.train_state, state.sums, state.sampler, state.ring
            )
            state.counters.updates += config.slice_updates
        if target_is_due(config, before, state.counters):
            state.train_state = programs.move_target(state.train_state)
        yield from ()

    def raise_if_refused(state: run_state.RunState, refused: int, drawn: samplers.Drawn) -> None:
        # From then on nothing changes: every later update drew the same and was refused too.
        if run_state.note_refused(config, state, refused):
            found = programs.examine(state.train_state, state.ring, drawn)
            raise run_state.NonFiniteError(*jax.device_get(found))

    def compile_ahead(ahead: api.Ahead, *shaped: Any) -> api.Learning:
        if programs.learn_as_graph:
            learn = ahead(programs.learn_as_graph, *shaped, fallback=_without_graph(programs))
        else:
            learn = ahead(programs.learn, *shaped)
        return learning(config, programs._replace(learn=learn, learn_as_graph=None))

    return api.Learning(
        programs.init,
        learn,
        raise_if_refused,
        compile_ahead,
        is_queued=not config.target_period_episodes,
    )


def _without_graph(programs: Programs) -> compile_ahead_lib.Fallback:
    return compile_ahead_lib.Fallback(programs.learn, 3, "updates are not one CUDA graph")


def as_graph(programs: Programs, say: Callable[[str], None]) -> Programs:
    """The programs of a run, which learns by a CUDA graph where it can. For benchmarks.

    Args:
      programs: that are built.
      say: gets a line where the graph cannot be made.
    """
    if not programs.learn_as_graph:
        return programs
    tried = compile_ahead_lib.with_fallback(programs.learn_as_graph, _without_graph(programs), say)
    return programs._replace(learn=tried)


def algorithm(make_learner: learners.MakeLearner) -> api.Algorithm:
    """The algorithm that learns by such update steps."""

    def build(config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh) -> api.Learning:
        return learning(config, build_programs(config, spec, mesh, make_learner))

    return api.Algorithm(build=build, plan=plan)


def plan(config: config_lib.Config) -> str:
    """Describes the updates that a run will make, for its plan."""
    updates = config.planned_updates
    samples = config.batch_size / config.steps_per_update
    text = f"{updates:,} of {config.batch_size}, {samples:g} samples per step"
    if not updates:
        text += f": learning would start at step {config.learning_starts_steps:,}"
    return text
