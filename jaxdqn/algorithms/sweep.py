"""Learning by backward sweeps: the cycle of a run.

A cycle plays until the memory holds as many states as the schedule asks for, sweeps it, fits the
network to it until the loss is small enough or the last epoch is over, and empties it.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn.agent import backward_sweep
from jaxdqn.algorithms import api, events, run_state, sweep_programs
from jaxdqn.assembly import schedules
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.settings import config as config_lib

_LOSSES = 100  # whose mean is compared with the limit


@dataclasses.dataclass
class Fit:
    """A fit that is under way."""

    swept: sweep_programs.Swept
    statistics: dict[str, float]  # `sweep_programs.STATISTICS`
    from_update: int
    losses: collections.deque[float] = dataclasses.field(  # the newest
        default_factory=lambda: collections.deque(maxlen=_LOSSES)
    )


class Schedule(NamedTuple):
    """The constants of a cycle that begins at some step."""

    states: int  # that the memory is to hold
    loss_limit: float
    max_epochs: float
    learning_rate: float


def schedule(config: config_lib.Config, steps: int) -> Schedule:
    """The constants of a cycle. They follow the number of states seen, as in the tutorial."""

    def at(start: float, end: float) -> float:
        return schedules.linear(steps, start=start, end=end, decay_steps=config.sweep_decay_steps)

    fraction = at(config.sweep_fraction_start, config.sweep_fraction_end)
    return Schedule(
        states=round(fraction * config.replay_capacity),
        loss_limit=at(config.sweep_loss_limit_start, config.sweep_loss_limit_end),
        max_epochs=at(config.sweep_max_epochs_start, config.sweep_max_epochs_end),
        learning_rate=schedules.learning_rate(config, steps),
    )


class Cycle:
    """Runs cycles of sweeps. Each begins when the memory is full enough or the run at its end."""

    def __init__(self, config: config_lib.Config, programs: sweep_programs.Programs, mesh: Mesh):
        self._config, self._programs, self._mesh = config, programs, mesh

    def learn(self, state: run_state.RunState, _: run_state.Counters) -> Iterator[events.Paused]:
        """Sweeps and fits if that is due, or goes on with a fit; see `api.Learning.learn`."""
        state.own = fit = state.own or self._begin(state)
        if fit is None:
            return
        now = schedule(self._config, state.counters.steps)
        epoch_batches = -(-int(fit.statistics["sweep_states"]) // self._config.batch_size)
        last = round(now.max_epochs * epoch_batches)
        order = None
        while (batches := state.counters.updates - fit.from_update) < last:
            if batches >= epoch_batches and np.mean(fit.losses) < now.loss_limit:
                break
            epoch, first = divmod(batches, epoch_batches)
            if first == 0 or order is None:
                numbers = self._put((np.int32(fit.from_update), np.int32(epoch)))
                order = self._programs.shuffle(state.train_state, fit.swept, *numbers)
            number = min(sweep_programs.SLICE_UPDATES, epoch_batches - first, last - batches)
            self._fit(state, order, first, number, now.learning_rate)
            yield events.Paused()
        assert state.ring is not None
        state.ring, state.rows = self._programs.empty(state.ring), 0
        state.ring_life += 1
        state.own = None
        yield events.Paused(
            {
                **fit.statistics,
                "sweep_epochs": batches / max(1, epoch_batches),
                "sweep_loss": float(np.mean(fit.losses)) if fit.losses else None,
                "sweep_loss_limit": now.loss_limit,
                "learning_rate": now.learning_rate,
            }
        )

    def _begin(self, state: run_state.RunState) -> Fit | None:
        """Sweeps the memory if that is due."""
        config = self._config
        wanted = schedule(config, state.counters.steps).states
        is_full = state.rows * config.group_size >= wanted
        # Then all groups have equally many rows, and the first group's row comes first again.
        is_due = is_full and state.rows % config.num_groups == 0
        at_the_end = state.counters.steps >= config.total_steps
        if not is_due and not (at_the_end and state.rows > 2 * config.num_groups):
            return None
        assert state.ring is not None
        state.ring, swept, found = self._programs.sweep(state.ring)
        state.ring_life += 1
        values = jax.device_get(found).tolist()
        statistics = dict(zip(sweep_programs.STATISTICS, values, strict=True))
        return Fit(swept, statistics, from_update=state.counters.updates)

    def _fit(
        self,
        state: run_state.RunState,
        order: backward_sweep.Order,
        first: int,
        number: int,
        learning_rate: float,
    ) -> None:
        """Makes updates from a few batches in the order of an epoch.

        Raises:
          NonFiniteError: one was refused, and the run is to stop.
        """
        state.train_state, state.sums, losses = self._programs.fit(
            state.train_state,
            state.sums,
            state.ring,
            order,
            *self._put((np.int32(first), np.int32(number), np.float32(learning_rate))),
        )
        losses, refused, done = jax.device_get(
            (losses, state.train_state.refused, state.train_state.updates)
        )
        if run_state.note_refused(self._config, state, int(refused)):
            index = self._put(np.int32(first + int(done) - state.counters.updates))
            found = self._programs.examine(state.train_state, state.ring, order, index)
            raise run_state.NonFiniteError(*jax.device_get(found))
        state.own.losses.extend(losses[:number].tolist())
        state.counters.updates += number

    def _put(self, value: Any) -> Any:
        return mesh_lib.put(self._mesh, value, mesh_lib.REPLICATED)


def build(config: config_lib.Config, spec: envs.EnvSpec, mesh: Mesh) -> api.Learning:
    """How a run learns."""
    programs = sweep_programs.build(config, spec, mesh)
    return learning(config, programs, mesh)


def learning(
    config: config_lib.Config, programs: sweep_programs.Programs, mesh: Mesh
) -> api.Learning:
    """How a run learns with programs that are built."""
    return api.Learning(programs.init, Cycle(config, programs, mesh).learn)


def plan(config: config_lib.Config) -> str:
    """Describes the updates that a run will make, for its plan."""
    first, last = (schedule(config, step).states for step in (0, config.total_steps))
    return f"of {config.batch_size}, after sweeps of {first:,} to {last:,} states"


def _pack(fit: Fit) -> tuple[Any, dict[str, Any]]:
    # The names in the file are older than those here.
    numbers = {
        "told": fit.statistics,
        "from_update": fit.from_update,
        "losses": list(fit.losses),
    }
    return fit.swept, numbers


def _like(_: Mapping[str, Any], ring_shape: tuple[int, ...], mesh: Mesh) -> sweep_programs.Swept:
    shapes: Any = (jax.ShapeDtypeStruct(ring_shape, dtype) for dtype in (np.float32, bool))
    like: sweep_programs.Swept = mesh_lib.like(
        mesh, sweep_programs.Swept(*shapes), mesh_lib.BY_RING_ENV
    )
    return like


def _unpack(swept: sweep_programs.Swept, numbers: Mapping[str, Any]) -> Fit:
    fit = Fit(swept, numbers["told"], numbers["from_update"])
    fit.losses.extend(numbers["losses"])
    return fit


ALGORITHM = api.Algorithm(
    build=build,
    plan=plan,
    own=api.OwnState(pack=_pack, like=_like, unpack=_unpack),
)
