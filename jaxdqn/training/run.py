"""A whole training run: set up or resume, play and learn, evaluate, save, leave."""

import contextlib
import functools
import os
import time
from collections.abc import Iterator

import jax

from jaxdqn import errors
from jaxdqn.algorithms import events, run_state
from jaxdqn.assembly import compile_ahead, device_programs, turn_inputs
from jaxdqn.checkpointing import checkpoint_folders
from jaxdqn.distributed import processes, signals
from jaxdqn.kernels import native_library
from jaxdqn.rundir import layout, run_lock
from jaxdqn.training import due_work, endings, env_groups, loop
from jaxdqn.training import setup as setup_lib
from jaxdqn.training.session import Session, print_once

# How long a job that nobody watches waits for a lock of an earlier process whose machine is gone.
_LOCK_S = 120.0


def train(setup: setup_lib.Setup, *, track: str | None = None, verbose: bool = False) -> int:
    """Trains to the end, starting from the last checkpoint if there is one.

    Args:
      setup: the run.
      track: the service to which metrics are mirrored; None for none.
      verbose: print a line for every game.

    Returns:
      An exit code.

    Raises:
      SettingError: the run directory cannot be written, or another process began another run there.
      RunError: what lies there cannot be resumed, or the run could not be saved, or another
        process trains there.
    """
    processes.wait_for_all()  # until each has looked at the folder
    with _lock(setup), signals.StopRequest() as request, jax.transfer_guard("disallow"):
        _make_folder(setup)
        try:
            run = Session(
                setup,
                request,
                track=track,
                verbose=verbose,
                on_dead_envs=endings.environments_died,
            )
        except OSError as error:
            raise errors.RunError(f"{setup.path} cannot be used: {error}") from None
        try:
            with processes.abort_on_error():
                return _to_the_end(run)
        finally:
            run.close()


def _lock(setup: setup_lib.Setup) -> contextlib.AbstractContextManager[None]:
    """Keeps other runs out of the folder."""
    if not processes.is_primary():
        return contextlib.nullcontext()
    is_job = processes.count() > 1 or "SLURM_JOB_ID" in os.environ
    return run_lock.locked(setup.path, _LOCK_S if is_job else 0, print_once)


def _make_folder(setup: setup_lib.Setup) -> None:
    """Makes the folder of a new run, empties one that gives way, or stores a run's new length.

    Raises:
      SettingError: since the folder was looked at, another process began a run there, with other
        settings.
    """

    def make() -> None:
        if setup.overwrite and setup.path.exists():
            layout.clear(setup.path)
        stored = None if setup.overwrite else layout.read_settings(setup.path)
        if stored is None:
            layout.create(setup.path, setup.config)
        else:
            saved_steps = checkpoint_folders.steps_in(setup.path / layout.CHECKPOINTS)
            layout.check_same(setup.path, stored, setup.config, max(saved_steps, default=0))
            layout.check_same_jax(setup.path)
            layout.store_length(setup.path, setup.config)

    processes.from_primary(make)
    layout.check_shared(setup.path)


def _to_the_end(run: Session) -> int:
    """Trains until all steps are done or a signal comes. Returns an exit code."""
    if run.is_complete:
        run.checkpoints.drop_replay()  # an earlier process may have been killed before it
        return endings.finish(run, "already complete")
    _compile_ahead(run)
    with run.stopwatch.paused(run.state):
        is_playing = _start_emulators(run)
    if not is_playing:
        return endings.leave(run, saved=True)
    if run.config.uses_native_convolutions and native_library.why_not():
        run.say(f"slower than it could be: {native_library.why_not()}")
    try:
        _play(run)
    except run_state.NonFiniteError as error:
        raise endings.give_up(run, error) from None
    except errors.EnvFailedError as error:
        raise endings.environments_failed(run, error) from None
    return endings.leave(run) if run.stop else endings.finish(run, "complete")


def _compile_ahead(run: Session) -> None:
    """Begins to compile acting and learning.

    A first call waits for its own function alone: play begins while learning is being compiled.
    """
    compiler = compile_ahead.Compiler(run.say)
    config, spec, mesh, state = run.config, run.setup.spec, run.setup.mesh, run.state
    ring = device_programs.ring_like(run.device, mesh)
    act_and_record = compiler.compile(
        run.device.act_and_record,
        state.train_state.params,
        state.train_state.refused,
        state.actors[0],
        state.sampler,
        ring,
        turn_inputs.blank(config, spec, mesh),
    )
    run.device = run.device._replace(act_and_record=act_and_record)
    if run.learning.compile_ahead:
        run.learning = run.learning.compile_ahead(
            compiler.compile, state.train_state, state.sums, state.sampler, ring
        )
    compiler.close()


def _start_emulators(run: Session) -> bool:
    """Starts and restores the emulators; returns False if a signal came first.

    Raises:
      RunError: they could not be restored.
    """
    plays_again = run.setup.spec.plays_again
    for index, sent in enumerate(run.sent):
        make = functools.partial(run.envs.training, index)
        group = env_groups.Group(make, run.config.group_size, sent.made_at_step)
        run.groups.append(group)
        if plays_again is False:
            continue
        # An environment may have failed in the step under way, where the run was saved.
        may_fail = plays_again is None and run.is_resumed
        if not run.stop.run_until_stopped(_replay(run, index, may_fail)):
            return False
    have_come_back = [g.has_come_back(sent) for g, sent in zip(run.groups, run.sent, strict=True)]
    if not all(have_come_back):
        if plays_again:
            raise errors.RunError(
                f"the emulators could not be restored to their state at step "
                f"{run.state.counters.steps:,}: another version of {run.setup.spec.game.source} or "
                f"of the game? {run.path / layout.CONFIG_FILE} has the versions of the run"
            )
        failed = [group.failure for group in run.groups if group.failure]
        why = failed[0] if failed else "the environments do not play the same games again"
        run.say(f"{why}: new games begin")
        loop.replace_environments(run.device, run.groups, run.state)
    run.is_playing = True
    return True


def _replay(run: Session, index: int, may_fail: bool) -> Iterator[None]:
    """Plays again what a group was sent, and tells how far it has come."""
    sizes = [sent.actions.size for sent in run.sent]
    steps = sum(sizes[:index])
    for _ in run.groups[index].replay(run.sent[index], may_fail):
        steps += run.config.group_size
        run.progress.play_again(steps, sum(sizes), time.monotonic())
        yield


def _play(run: Session) -> None:
    """Plays and learns until all steps are done or a signal comes."""
    config, state = run.config, run.state
    if state.own is None:
        due_work.do(run, state.turn_began)  # work that a signal interrupted
        if run.is_complete or run.stop:
            return
    turns = loop.turns(
        config, run.device, run.setup.mesh, run.groups, state, run.learning, run.stop
    )
    for event in turns:
        if isinstance(event, events.Paused):
            if event.row:
                run.writer.write(state.counters.steps, event.row)
            run.stop.sync()
            if run.stop:
                return
            continue
        if run.stop:
            return
        run.progress.advance(
            state.counters.steps,
            run.stopwatch.training_s(state),
            functools.partial(_loss_since_row, state),
        )
        due_work.show_games(run, event.games)
        due_work.do(run, state.turn_began)
        if run.stop or state.counters.steps >= config.total_steps:
            return


def _loss_since_row(state: run_state.RunState) -> float | None:
    """Mean loss of the updates since the last row of metrics; None if there were none."""
    loss, *_, count = jax.device_get(state.sums).tolist()
    return loss / count if count else None
