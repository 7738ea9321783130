"""The ways in which a run ends: complete, by a signal, by a refused update, by dead emulators.

Each saves where the run stands.
"""

import os
import sys
import traceback

from jaxdqn import errors
from jaxdqn.algorithms import run_state
from jaxdqn.distributed import processes
from jaxdqn.rundir import metrics
from jaxdqn.training import due_work, session
from jaxdqn.training.session import Session


def finish(run: Session, how: str) -> int:
    """Saves, scores and films the final parameters; returns an exit code."""
    steps = run.state.counters.steps
    due_work.save(run)  # first: the machine may be taken away during a long evaluation
    score = ""
    if run.config.eval_episodes:
        if run.evaluated_step != steps:
            due_work.evaluate(run)
        last = run.writer.last_evaluation
        if not last or last["step"] != steps:
            return leave(run)
        if not metrics.has_failed(last):
            is_finite = bool(metrics.scored([last]))
            shown = f"{last['eval_return_mean']:.2f}" if is_finite else "that is not finite"
            score = f": mean return {shown} over {last['eval_episodes']} games"
    if run.config.record_every_steps or run.config.record_every_episodes:
        due_work.record(run)
    run.saver.wait(steps)
    run.close()
    processes.wait_for_all()
    session.print_once(f"{how}, {steps:,} steps, in {run.path}{score}")
    return 0


def leave(run: Session, saved: bool = False) -> int:
    """Leaves because a signal came; returns the exit code that shells give it.

    Args:
      run: that ends.
      saved: nothing has changed since its checkpoint, or since its beginning if it has none.
    """
    signum, step = run.stop.signum, run.state.counters.steps
    assert signum is not None
    if not saved:
        due_work.save(run)
        run.saver.wait(step)
    run.close()
    processes.wait_for_all()  # one may need longer to close than the others would wait
    again = "the same command"
    if run.setup.overwrite:
        again += " without --overwrite"
    outcome = f"saved in {run.path}: {again} resumes from there"
    if saved and not run.is_resumed:
        outcome = "nothing was learned yet: the same command begins again"
    session.print_once(f"stopped by signal {signum} at step {step:,}; {outcome}")
    return 128 + signum


def give_up(run: Session, error: run_state.NonFiniteError) -> errors.DivergedError:
    """Saves the last good state and the batch that would have spoiled it; returns what to raise."""
    run.allow_updates_again()
    due_work.save(run)
    counters = run.state.counters
    run.saver.wait(counters.steps)
    where = run.saver.save_batch(counters.steps, error.batch)
    return errors.DivergedError(
        f"step {counters.steps:,}, update {counters.updates + 1:,}: {error}. The state before it "
        f"is saved; the batch {where}. --on_nonfinite=skip continues without such updates"
    )


def environments_failed(run: Session, error: errors.EnvFailedError) -> errors.RunError:
    """Saves what was learned before an environment failed; returns what to raise."""
    step = run.state.counters.steps
    if processes.count() > 1:  # the others go on, and would not save
        return error
    due_work.save(run)
    run.saver.wait(step)
    return errors.RunError(f"{error}; saved at step {step:,} in {run.path}")


def environments_died(run: Session, name: str, seconds: float) -> None:
    """Saves and ends the process, whose main thread waits for environments that do not answer.

    If a signal asked the run to stop and all is saved, the exit code is that of the signal.
    """
    limit = "--env_timeout_seconds"
    if seconds < run.config.env_timeout_seconds:
        limit = f"after signal {run.request.signum}"
    step, code = run.state.counters.steps, 1
    what = (
        f"error: {name} of {run.config.env}: no answer for {seconds:g} s ({limit}) at step {step:,}"
    )
    try:
        print(what, file=sys.stderr, flush=True)
        # The main thread waits, so nothing changes meanwhile. Other processes would not save.
        if processes.count() == 1:
            if run.is_playing:  # else nothing has changed since it was saved
                due_work.save(run)
                run.saver.wait(step)
                print(f"saved in {run.path}", file=sys.stderr, flush=True)
            code = 128 + run.request.signum if run.request.signum else 1
    except errors.RunError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)
