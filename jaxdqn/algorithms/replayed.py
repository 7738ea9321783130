"""Learning by updates from the replay, as they fall due."""

from collections.abc import Iterator

import jax
import numpy as np

from jaxdqn.algorithms import run_state
from jaxdqn.assembly import device_programs
from jaxdqn.rundir import metrics
from jaxdqn.settings import config as config_lib


def updates_owed(config: config_lib.Config, state: run_state.RunState) -> int:
    """Updates that have fallen due and are not done."""
    steps = state.counters.steps - state.learning_from_step
    done = state.counters.updates - state.learning_from_update
    return max(0, steps) // config.steps_per_update - done


def target_is_due(
    config: config_lib.Config, before: run_state.Counters, now: run_state.Counters
) -> bool:
    """Whether the target network moves now by its periods of steps or games."""
    return run_state.crossed(
        before.steps, now.steps, config.target_period_steps
    ) or run_state.crossed(before.episodes, now.episodes, config.target_period_episodes)


def check_refused(
    config: config_lib.Config,
    device: device_programs.Device,
    state: run_state.RunState,
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
      run_state.NonFiniteError: an update was refused, and the run is to stop.
    """
    if run_state.note_refused(config, state, refused):
        rows = np.int32(rows_since)
        with jax.transfer_guard("allow"):
            found = device.examine(state.train_state, state.ring, rows)
        raise run_state.NonFiniteError(*jax.device_get(found))


def replay_learning(config: config_lib.Config, device: device_programs.Device) -> run_state.Learn:
    """Updates from the replay as they fall due, and the target network's moves."""

    def learn(
        state: run_state.RunState, before: run_state.Counters
    ) -> Iterator[metrics.Row | None]:
        while updates_owed(config, state) >= config.slice_updates:
            state.train_state, state.sums = device.learn(state.train_state, state.sums, state.ring)
            state.counters.updates += config.slice_updates
        if target_is_due(config, before, state.counters):
            state.train_state = device.move_target(state.train_state)
        yield from ()

    return learn
