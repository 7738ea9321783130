"""Emulators and device side by side.

The environments are split in groups that take turns. In one turn the device records a group's time
step and chooses its actions; then, while these emulators play, it learns what fell due. Where
learning waits for nothing, it is queued before the host waits for the actions. The devices' order
is fixed, so equal seeds give equal runs.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn.algorithms import api, events, run_state
from jaxdqn.assembly import device_programs as device_lib
from jaxdqn.assembly import schedules, turn_inputs
from jaxdqn.distributed import processes, turn_notes
from jaxdqn.settings import config as config_lib
from jaxdqn.training import env_groups


def turns(
    config: config_lib.Config,
    device: device_lib.DevicePrograms,
    mesh: Mesh,
    groups: Sequence[env_groups.Group],
    state: run_state.RunState,
    learning: api.Learning,
    stop: processes.Stop,
) -> Iterator[events.Event]:
    """Plays and learns for ever; changes `state` in place.

    It begins with what was left to learn when the state was saved.

    Yields:
      The end of each group's turn, and whenever learning pauses during it.
    """
    if state.ring is None:
        state.ring = device.init_ring()
    if state.own is not None:
        yield from learning.learn(state, state.turn_began)
        yield events.TurnOver(())
    while True:
        state.turn_began = dataclasses.replace(state.counters)
        index = state.rows % len(groups)
        lifetime = config.env_lifetime_steps * config.num_envs
        if index == 0 and run_state.crossed(groups[0].made_at_step, state.counters.steps, lifetime):
            replace_environments(device, groups, state)
        made = _record_and_act(config, device, mesh, groups[index], state, index, stop)
        drawn = state.drawn
        if learning.is_queued:
            yield from learning.learn(state, state.turn_began)
        with jax.transfer_guard_device_to_host("allow"):
            note = np.asarray(made)
        games = turn_notes.games(note)
        groups[index].send(note[:, turn_notes.ACTION], ended=len(games))
        stop.record(turn_notes.signals(note))
        for game in games:
            state.counters.episodes += 1
            state.recent.add(game.game_return, game.length)
        learning.raise_if_refused(state, turn_notes.refused(note), drawn)
        if not learning.is_queued:
            yield from learning.learn(state, state.turn_began)
        yield events.TurnOver(games)


def replace_environments(
    device: device_lib.DevicePrograms, groups: Sequence[env_groups.Group], state: run_state.RunState
) -> None:
    """Begins new games in new environments; the games under way are abandoned."""
    assert state.ring is not None
    state.ring = device.cut(state.ring)
    for group in groups:  # all of them first: a run may have to be saved before all have started
        # Games that failed before their first step would begin, and fail, in the same way again.
        group.abandon(max(state.counters.steps, group.made_at_step + 1))
    for group in groups:
        group.start()


def _record_and_act(
    config: config_lib.Config,
    device: device_lib.DevicePrograms,
    mesh: Mesh,
    group: env_groups.Group,
    state: run_state.RunState,
    index: int,
    stop: processes.Stop,
) -> jax.Array:
    """Records a group's time step; returns the devices' note with the actions that follow."""
    step, ended = group.receive()
    state.counters.steps += config.group_size - group.opening
    inputs = turn_inputs.put(
        mesh,
        step,
        turn_notes.write(len(step.reward), ended, stop.own_signal()),
        schedules.epsilon(config, state.counters.steps),
    )
    learned = state.train_state
    with jax.transfer_guard_host_to_device("allow"):  # of `inputs`
        state.actors[index], state.sampler, state.ring, note = device.act_and_record(
            learned.params,
            learned.refused,
            state.actors[index],
            state.sampler,
            state.ring,
            inputs,
        )
    with jax.transfer_guard_device_to_host("allow"):  # counts as implicit, except on CPUs
        note.copy_to_host_async()
    state.rows += 1
    return note
