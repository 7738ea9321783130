"""Emulators and device side by side.

The environments are split in groups that take turns. In one turn the device records a group's time
step and chooses its actions; then, while these emulators play, it runs the updates that fell due.
The order is fixed, so equal seeds give equal runs.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
from jax.sharding import Mesh

from jaxdqn.algorithms import replayed, run_state
from jaxdqn.assembly import device_programs as device_lib
from jaxdqn.assembly import schedules
from jaxdqn.distributed import processes, turn_notes
from jaxdqn.replay import ring as ring_lib
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib
from jaxdqn.training import env_groups


def turns(
    config: config_lib.Config,
    device: device_lib.Device,
    mesh: Mesh,
    groups: Sequence[env_groups.Group],
    state: run_state.RunState,
    learn: run_state.Learn,
    stop: processes.Stop,
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
        if index == 0 and run_state.crossed(groups[0].made_at_step, state.counters.steps, lifetime):
            state.ring = device.cut(state.ring)
            for group in groups:
                group.restart(state.counters.steps)
        step, ended = groups[index].receive()
        state.counters.steps += config.group_size - groups[index].opening
        moved = device_lib.put_row(
            mesh,
            ring_lib.Row(**step._asdict()),
            turn_notes.write(len(step.reward), ended, stop.wish()),
            schedules.epsilon(config, state.counters.steps),
        )
        state.actors[index], state.ring, note = device.act_and_record(
            state.train_state.params, state.actors[index], state.ring, *moved
        )
        state.rows += 1
        note, refused = jax.device_get((note, state.train_state.refused))
        state.just_ended = turn_notes.games(note)
        groups[index].send(note[:, turn_notes.ACTION], ended=len(state.just_ended))
        stop.hear(turn_notes.wishes(note))
        for game in state.just_ended:
            state.counters.episodes += 1
            state.recent.add(game.game_return, game.length)
        replayed.check_refused(config, device, state, int(refused), rows_since=1)
        yield from learn_and_hand_over()
