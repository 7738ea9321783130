"""A row of training metrics."""

from collections.abc import Mapping, Sequence

from jaxdqn.agent import learner
from jaxdqn.algorithms import run_state
from jaxdqn.assembly import memory, schedules
from jaxdqn.rundir import metrics
from jaxdqn.training import setup as setup_lib


def of_training(
    setup: setup_lib.Setup,
    state: run_state.RunState,
    sums: Sequence[float],
    watched: Mapping[str, metrics.Value],
) -> dict[str, metrics.Value]:
    """A row about what happened since the previous row.

    Args:
      setup: the run.
      state: of the run.
      sums: `learner.METRICS` summed over the updates since then, and their number.
      watched: metrics of the parameters and of the sampler as they are now, by name.
    """
    config = setup.config
    before, now, (*totals, count) = state.logged, state.counters, sums
    episode_return, episode_length = state.recent.means()
    steps, seconds = now.steps - before.steps, now.time_s - before.time_s
    wall_seconds = now.wall_time_s - before.wall_time_s
    updates = now.updates - before.updates
    return {
        "frames": now.steps * setup.spec.frame_skip,
        "updates": now.updates,
        "episodes": now.episodes,
        "time_s": round(now.time_s, 3),
        "steps_per_second": round(steps / seconds, 1),
        "wall_time_s": round(now.wall_time_s, 3),
        "wall_steps_per_second": round(steps / wall_seconds, 1),
        "samples_per_step": round(updates * config.batch_size / steps, 4),
        "episode_return_mean": episode_return,
        "episode_length_mean": episode_length,
        **{
            name: total / count if count else None
            for name, total in zip(learner.METRICS, totals, strict=True)
        },
        "refused_updates": state.refused,
        **watched,
        "epsilon": schedules.epsilon(config, now.steps),
        "replay_size": min(state.rows * config.group_size, config.replay_capacity),
        "memory_used_bytes": memory.used_host_bytes(),
        "device_memory_used_bytes": memory.used_device_bytes(setup.mesh),
    }
