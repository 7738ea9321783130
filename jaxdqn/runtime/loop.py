"""Emulators and device side by side.

The environments are split in groups that take turns. In one turn the device records a group's time
step and chooses its actions; then, while these emulators play, it runs the updates that fell due.
The order is fixed, so equal seeds give equal runs.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn import config as config_lib
from jaxdqn.agent import actor as actor_lib
from jaxdqn.agent import learner as learner_lib
from jaxdqn.agent import schedules
from jaxdqn.replay import ring as ring_lib
from jaxdqn.runtime import device as device_lib
from jaxdqn.runtime import emulators, hosts, metrics, notes
from jaxdqn.runtime import episodes as episodes_lib


@dataclasses.dataclass
class Counters:
    """Where a run stands; saved with every checkpoint."""

    steps: int = 0  # agent steps; a game's first row is none
    updates: int = 0
    episodes: int = 0  # whole games
    time_s: float = 0.0  # of training, over all starts of the run


@dataclasses.dataclass
class RunState:
    """All that changes in a run. The loop rebinds the device's arrays, which it donates."""

    train_state: learner_lib.TrainState
    sums: jax.Array  # [M + 1] sums of metrics since they were last read, and of updates
    actors: list[actor_lib.ActorState]  # one for each group
    counters: Counters
    recent: episodes_lib.RecentGames
    ring: ring_lib.RingState | None = None  # gigabytes: made when play begins
    rows: int = 0  # rows written to the ring
    ring_life: int = 0  # goes on where rows of the ring change after they were written
    turn_began: Counters = dataclasses.field(default_factory=Counters)  # the last one
    logged: Counters = dataclasses.field(default_factory=Counters)  # when metrics were last read
    refused: int = 0  # updates, as far as was seen
    fit: Any = None  # what learning has begun and not ended; see `sweeping.Fit`
    # Updates fall due from here on; a run that resumes without its replay fills it again first.
    learning_from_step: int = 0
    learning_from_update: int = 0
    just_ended: list[episodes_lib.Game] = dataclasses.field(default_factory=list)  # in this turn
    turn_is_over: bool = True  # False while learning hands over between two turns


class NonFiniteError(Exception):
    """An update was refused, and the run is to stop.

    Args:
      batch: a tree of arrays, what the update learned from.
      metrics: of the update.
    """

    def __init__(self, batch: Any, metrics: Mapping[str, Any]):
        self.batch = batch
        self.quantities = {
            name: float(metrics[name])
            for name in learner_lib.METRICS
            if not np.isfinite(metrics[name])
        }
        super().__init__(", ".join(f"{name} is {x}" for name, x in self.quantities.items()))


# Learns what fell due since the counters given, in place. What takes long hands over now and then,
# with None or a row of metrics.
Learn = Callable[[RunState, Counters], Iterator[metrics.Row | None]]


def epsilon(config: config_lib.Config, steps: int) -> float:
    """The share of random actions at an agent step of the run."""
    begin_step = config.epsilon_decay_from_step
    return schedules.linear(
        steps,
        start=config.epsilon_start,
        end=config.epsilon_end,
        begin_step=config.learning_starts_steps if begin_step is None else begin_step,
        decay_steps=config.epsilon_decay_steps,
    )


def updates_owed(config: config_lib.Config, state: RunState) -> int:
    """Updates that have fallen due and are not done."""
    steps = state.counters.steps - state.learning_from_step
    done = state.counters.updates - state.learning_from_update
    return max(0, steps) // config.steps_per_update - done


def target_is_due(config: config_lib.Config, before: Counters, now: Counters) -> bool:
    """Whether the target network moves now by its periods of steps or games."""
    return crossed(before.steps, now.steps, config.target_period_steps) or crossed(
        before.episodes, now.episodes, config.target_period_episodes
    )


def crossed(then: int, now: int, period: int) -> bool:
    """Whether a multiple of `period` lies in (then, now]; never for period 0."""
    return period > 0 and then // period != now // period


def note_refused(config: config_lib.Config, state: RunState, refused: int) -> bool:
    """Writes down how many updates were refused; returns whether the run is to stop for that."""
    is_new, state.refused = refused > state.refused, refused
    return is_new and config.on_nonfinite == "stop"


def check_refused(
    config: config_lib.Config,
    device: device_lib.Device,
    state: RunState,
    refused: int,
    rows_since: int,
) -> None:
    """Writes down how many updates from the replay were refused, and stops where that is asked.

    Args:
      config: of the run.
      device: what the devices run.
      state: where the run stands.
      refused: updates, of those that are done.
      rows_since: rows written to the replay since the last of them.

    Raises:
      NonFiniteError: an update was refused, and the run is to stop.
    """
    if note_refused(config, state, refused):
        rows = np.int32(rows_since)
        with jax.transfer_guard("allow"):
            found = device.examine(state.train_state, state.ring, rows)
        raise NonFiniteError(*jax.device_get(found))


def replay_learning(config: config_lib.Config, device: device_lib.Device) -> Learn:
    """Updates from the replay as they fall due, and the target network's moves."""

    def learn(state: RunState, before: Counters) -> Iterator[metrics.Row | None]:
        while updates_owed(config, state) >= config.slice_updates:
            state.train_state, state.sums = device.learn(state.train_state, state.sums, state.ring)
            state.counters.updates += config.slice_updates
        if target_is_due(config, before, state.counters):
            state.train_state = device.move_target(state.train_state)
        yield from ()

    return learn


def turns(
    config: config_lib.Config,
    device: device_lib.Device,
    mesh: Mesh,
    groups: Sequence[emulators.Group],
    state: RunState,
    learn: Learn,
    stop: hosts.Stop,
) -> Iterator[metrics.Row | None]:
    """Plays and learns for ever; changes `state` in place.

    It begins with what was left of a fit in which the state was saved.

    Yields:
      None after each group's turn, and whatever learning yields during it.
    """
    if state.ring is None:
        state.ring = device.init_ring()

    def learn_and_hand_over() -> Iterator[metrics.Row | None]:
        state.turn_is_over = False
        yield from learn(state, state.turn_began)
        state.turn_is_over = True
        yield None

    if state.fit is not None:
        yield from learn_and_hand_over()
    while True:
        state.turn_began = dataclasses.replace(state.counters)
        # The first of those that have had the fewest turns.
        index = min(range(len(groups)), key=lambda index: groups[index].turns)
        lifetime = config.env_lifetime_steps * config.num_envs
        if index == 0 and crossed(groups[0].made_at_step, state.counters.steps, lifetime):
            state.ring = device.cut(state.ring)
            for group in groups:
                group.restart(state.counters.steps)
        step, ended = groups[index].receive()
        state.counters.steps += config.group_size - groups[index].opening
        moved = device_lib.put_row(
            mesh,
            ring_lib.Row(**step._asdict()),
            notes.write(len(step.reward), ended, stop.wish()),
            epsilon(config, state.counters.steps),
        )
        state.actors[index], state.ring, note = device.act_and_record(
            state.train_state.params, state.actors[index], state.ring, *moved
        )
        state.rows += 1
        note, refused = jax.device_get((note, state.train_state.refused))
        state.just_ended = notes.games(note)
        groups[index].send(note[:, notes.ACTION], ended=len(state.just_ended))
        stop.hear(notes.wishes(note))
        for game in state.just_ended:
            state.counters.episodes += 1
            state.recent.add(game.game_return, game.length)
        check_refused(config, device, state, int(refused), rows_since=1)
        yield from learn_and_hand_over()
