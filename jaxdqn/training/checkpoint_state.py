"""From the state of a run to the parts of a checkpoint, and back.

How each field is saved is noted next to it, in `algorithms.run_state`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.algorithms import api, run_state
from jaxdqn.algorithms.run_state import Where
from jaxdqn.checkpointing import checkpoint_reader, saving_errors
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib
from jaxdqn.training import env_groups

FORMAT = 2  # of what `pack` returns
LEARNER = run_state.saved(Where.LEARNER)["train_state"]
_OWN = "fit"  # what `RunState.own` is called in a checkpoint


def pack(
    state: run_state.RunState, groups: Sequence[env_groups.Group], own: api.OwnState | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a checkpoint's `play` and the numbers of its `run`.

    Args:
      state: all but its learner and its replay is packed.
      groups: the environments.
      own: how the algorithm packs what is its own.
    """
    sent = [group.sent() for group in groups]
    play = _arrays(state)
    play["sent"] = {
        str(index): each.actions for index, each in enumerate(sent) if len(each.actions)
    }
    run: dict[str, Any] = {"format": FORMAT}
    for name, saved in run_state.saved(Where.NUMBERS).items():
        stored = saved.encode(getattr(state, name))
        run |= stored if name == "counters" else {name: stored}
    run["groups"] = [
        {
            "made_at_step": each.made_at_step,
            "turns": each.actions.shape[0],
            "num_envs": each.actions.shape[1],
            "fingerprint": each.fingerprint,
            "opening": each.opening,
            "history": each.history,
        }
        for each in sent
    ]
    if state.own is not None:
        assert own is not None, "an algorithm with work of its own says how it is saved"
        play[_OWN], run[_OWN] = own.pack(state.own)
    return play, run


def _arrays(state: run_state.RunState) -> dict[str, Any]:
    """The fields that are arrays; what has none, such as a sampler that learns nothing, is none."""
    encoded = {
        name: saved.encode(getattr(state, name))
        for name, saved in run_state.saved(Where.ARRAYS).items()
    }
    return {name: tree for name, tree in encoded.items() if jax.tree.leaves(tree)}


def restore(
    state: run_state.RunState,
    reader: checkpoint_reader.Reader,
    found: checkpoint_reader.Found,
    config: config_lib.Config,
    mesh: Mesh,
    *,
    num_actions: int,
    init_ring: Callable[[], ring_lib.RingState],
    say: Callable[[str], None],
) -> list[env_groups.Sent]:
    """Restores a run from a checkpoint, except for its emulators.

    Args:
      state: of the run before its first step.
      reader: reads the run's checkpoints.
      found: the one to restore.
      config: the run's settings.
      mesh: the devices.
      num_actions: of the environment.
      init_ring: makes an empty replay.
      say: prints a line.

    Returns:
      What the emulators were sent; empty if the run is complete.

    Raises:
      RunError: another version wrote the checkpoint, or a run with another network.
    """
    run, own = found.run, api.chosen(config).own
    _check_format(run)
    try:
        like = _play_like(state, run, mesh, own, num_actions, jax.eval_shape(init_ring))
        learner, play = reader.restore(found.step, LEARNER.encode(state.train_state), like)
        state.train_state = LEARNER.decode(learner)
        empty_sampler = state.sampler
        unpack(state, play, run, own)
    except (KeyError, TypeError, ValueError, AttributeError, MemoryError) as error:
        raise errors.RunError(
            f"the checkpoint of step {found.step} does not belong to this run: "
            f"{type(error).__name__} {saving_errors.reported(error)}"
        ) from error
    if is_complete(state, config.total_steps):
        return []
    state.ring = init_ring()
    if found.has_replay:
        state.ring = reader.restore_ring(found, state.ring, state.rows, state.ring_life)
    else:
        state.sampler = empty_sampler
        _forget_replay(state, config)
        say(f"the checkpoint has no replay: learning resumes {_when(state, config)}")
    return _sent_of(play, run)


def is_complete(state: run_state.RunState, total_steps: int) -> bool:
    """Whether nothing is left to play, to learn or to log, but a last evaluation."""
    steps = state.counters.steps
    return steps >= total_steps and state.own is None and state.logged.steps == steps


def was_complete(run: Mapping[str, Any], total_steps: int) -> bool:
    """The same of the numbers of a checkpoint, as `pack` made them."""
    steps = run.get("steps", 0)
    return steps >= total_steps and _OWN not in run and run.get("logged", {}).get("steps") == steps


def _play_like(
    state: run_state.RunState,
    run: Mapping[str, Any],
    mesh: Mesh,
    own: api.OwnState | None,
    num_actions: int,
    ring: ring_lib.RingState,
) -> Any:
    """The shapes and types of a checkpoint's arrays."""
    play = _arrays(state)
    sent_type = np.min_scalar_type(num_actions - 1)
    play["sent"] = {
        str(index): np.zeros((group["turns"], group["num_envs"]), sent_type)
        for index, group in enumerate(run["groups"])
        if group["turns"]
    }
    if _OWN in run and own is not None:
        play[_OWN] = own.like(run[_OWN], ring.flags.shape, mesh)
    return play


def unpack(
    state: run_state.RunState,
    play: Mapping[str, Any],
    run: Mapping[str, Any],
    own: api.OwnState | None,
) -> None:
    """Puts a run where it stood, in place: all but its learner, its replay and its emulators.

    Args:
      state: of the run before its first step.
      play: arrays and
      run: numbers, as `pack` made them.
      own: how the algorithm unpacks what is its own.
    """
    for name, saved in run_state.saved(Where.ARRAYS).items():
        if name in play:
            setattr(state, name, saved.decode(play[name]))
    for name, saved in run_state.saved(Where.NUMBERS).items():
        setattr(state, name, saved.decode(run if name == "counters" else run[name]))
    if _OWN in run and own is not None:
        state.own = own.unpack(play[_OWN], run[_OWN])


def _sent_of(play: Mapping[str, Any], run: Mapping[str, Any]) -> list[env_groups.Sent]:
    """The actions that each group of environments was sent."""
    nothing = env_groups.NOTHING_SENT.actions
    return [
        env_groups.Sent(
            group["made_at_step"],
            np.asarray(play["sent"].get(str(index), nothing)),
            group["fingerprint"],
            group["opening"],
            group.get("history"),  # older checkpoints have none
        )
        for index, group in enumerate(run["groups"])
    ]


def _check_format(run: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of another format.

    Raises:
      RunError: another version wrote it.
    """
    if run.get("format") != FORMAT:
        raise errors.RunError(
            f"the checkpoint of step {run.get('steps')} has format {run.get('format')}, this "
            f"version reads {FORMAT}: resume with the version that wrote it"
        )


def _when(state: run_state.RunState, config: config_lib.Config) -> str:
    """When a run learns again that has begun to fill another replay."""
    if not config.learns_by_updates:
        return "when it has been filled again"
    when = f"at step {state.learning_from_step:,}"
    return when if state.learning_from_step < config.total_steps else f"{when}, after the end"


def _forget_replay(state: run_state.RunState, config: config_lib.Config) -> None:
    """Lets a run resume with an empty replay, which is filled before learning goes on."""
    state.rows, state.own = 0, None
    state.learning_from_step = state.counters.steps + config.learning_starts_steps
    state.learning_from_update = state.counters.updates
