"""What of a run is saved beside its learner and its replay, and how it comes back."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxdqn import errors
from jaxdqn.algorithms import run_state, sweep
from jaxdqn.checkpointing import checkpoints
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import episodes
from jaxdqn.replay import ring
from jaxdqn.settings import config as config_lib
from jaxdqn.training import env_groups

FORMAT = 2  # of what `pack` returns


def pack(
    state: run_state.RunState, groups: Sequence[env_groups.Group]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays for a checkpoint's `play` and numbers for its `run`."""
    sent = [group.sent() for group in groups]
    play: dict[str, Any] = {
        "sums": state.sums,
        "actors": list(state.actors),
        "sent": {str(index): each.actions for index, each in enumerate(sent) if len(each.actions)},
    }
    run: dict[str, Any] = {
        "format": FORMAT,
        **dataclasses.asdict(state.counters),
        "turn_began": dataclasses.asdict(state.turn_began),
        "logged": dataclasses.asdict(state.logged),
        "recent": state.recent.all(),
        "rows": state.rows,
        "learning_from_step": state.learning_from_step,
        "learning_from_update": state.learning_from_update,
        "groups": [
            {
                "made_at_step": each.made_at_step,
                "turns": each.actions.shape[0],
                "num_envs": each.actions.shape[1],
                "fingerprint": each.fingerprint,
                "opening": each.opening,
            }
            for each in sent
        ],
    }
    if state.fit is not None:
        fit: sweep.Fit = state.fit
        play["fit"] = fit.swept
        run["fit"] = {
            "told": fit.told,
            "from_update": fit.from_update,
            "losses": list(fit.losses),
        }
    return play, run


def restore(
    state: run_state.RunState,
    store: checkpoints.Checkpoints,
    step: int,
    config: config_lib.Config,
    mesh: Mesh,
    *,
    num_actions: int,
    init_ring: Callable[[], ring.RingState],
    say: Callable[[str], None],
) -> list[env_groups.Sent]:
    """Puts a run where a checkpoint left it, all but its emulators.

    Args:
      state: of the run before its first step.
      store: the checkpoints.
      step: one of them, that is whole.
      config: the run's settings.
      mesh: the devices.
      num_actions: of the environment.
      init_ring: makes an empty replay.
      say: prints a line.

    Returns:
      What the emulators were sent; nothing of a run that is complete.

    Raises:
      RunError: another version wrote the checkpoint, or a run with another network.
    """
    run = store.run(step)
    _check_format(run)
    try:
        like = _play_like(state, run, mesh, num_actions, jax.eval_shape(init_ring).flags.shape)
        state.train_state, play = store.restore(step, state.train_state, like)
        _unpack(state, play, run)
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise errors.RunError(
            f"the checkpoint of step {step} is not of this run: {type(error).__name__} {error}"
        ) from None
    if is_complete(state, config.total_steps):
        return []
    state.ring = init_ring()
    if store.has_replay(step):
        state.ring = store.restore_ring(step, state.ring, state.rows, state.ring_life)
    else:
        _forget_replay(state, config)
        refilled = f"after {config.learning_starts_steps:,} steps have filled it again"
        if config.algorithm == "sweep":
            refilled = "when it has been filled anew"
        say(f"the checkpoint holds no replay: learning goes on {refilled}")
    return _sent_of(play, run)


def is_complete(state: run_state.RunState, total_steps: int) -> bool:
    """Whether nothing is left to play, to learn or to tell, but a last evaluation."""
    steps = state.counters.steps
    return steps >= total_steps and state.fit is None and state.logged.steps == steps


def _play_like(
    state: run_state.RunState,
    run: Mapping[str, Any],
    mesh: Mesh,
    num_actions: int,
    ring_shape: tuple[int, ...],
) -> Any:
    """What the arrays of a checkpoint are like."""
    sent_type = np.min_scalar_type(num_actions - 1)
    play: dict[str, Any] = {
        "sums": state.sums,
        "actors": list(state.actors),
        "sent": {
            str(index): np.zeros((group["turns"], group["num_envs"]), sent_type)
            for index, group in enumerate(run["groups"])
            if group["turns"]
        },
    }
    if "fit" in run:
        sharding = NamedSharding(mesh, mesh_lib.BY_RING_ENV)
        errors: Any = jax.ShapeDtypeStruct(ring_shape, np.float32, sharding=sharding)
        is_state: Any = jax.ShapeDtypeStruct(ring_shape, bool, sharding=sharding)
        play["fit"] = sweep.Swept(errors, is_state)
    return play


def _unpack(state: run_state.RunState, play: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Puts a run where it stood, all but its learner, its replay and its emulators."""
    state.sums, state.actors = play["sums"], list(play["actors"])
    state.counters, state.turn_began, state.logged = (
        run_state.Counters(
            **{field.name: part[field.name] for field in dataclasses.fields(run_state.Counters)}
        )
        for part in (run, run["turn_began"], run["logged"])
    )
    state.recent = episodes.RecentGames(map(tuple, run["recent"]))
    state.rows = run["rows"]
    state.learning_from_step = run["learning_from_step"]
    state.learning_from_update = run["learning_from_update"]
    if "fit" in run:
        stored = run["fit"]
        state.fit = sweep.Fit(play["fit"], stored["told"], stored["from_update"])
        state.fit.losses.extend(stored["losses"])


def _sent_of(play: Mapping[str, Any], run: Mapping[str, Any]) -> list[env_groups.Sent]:
    """What each group of environments was sent."""
    nothing = env_groups.NOTHING_SENT.actions
    return [
        env_groups.Sent(
            group["made_at_step"],
            np.asarray(play["sent"].get(str(index), nothing)),
            group["fingerprint"],
            group["opening"],
        )
        for index, group in enumerate(run["groups"])
    ]


def _check_format(run: Mapping[str, Any]) -> None:
    """Refuses what another version wrote.

    Raises:
      RunError: another version did.
    """
    if run.get("format") != FORMAT:
        raise errors.RunError(
            f"the checkpoint of step {run.get('steps')} has format {run.get('format')}, this "
            f"version reads {FORMAT}: go on with the version that wrote it"
        )


def _forget_replay(state: run_state.RunState, config: config_lib.Config) -> None:
    """Lets a run go on with an empty replay, which is filled before learning goes on."""
    state.rows, state.fit = 0, None
    state.learning_from_step = state.counters.steps + config.learning_starts_steps
    state.learning_from_update = state.counters.updates
