"""What a run does every so often: rows of metrics, evaluations, checkpoints, films."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax

from jaxdqn.algorithms import run_state
from jaxdqn.assembly import schedules
from jaxdqn.envs import episodes
from jaxdqn.settings import config as config_lib
from jaxdqn.training import environments, training_row
from jaxdqn.training.session import Session


class Due(NamedTuple):
    """What is to be done between two turns."""

    log: bool
    evaluate: bool
    save: bool
    record: bool


def what_is_due(
    config: config_lib.Config,
    before: run_state.Counters,
    now: run_state.Counters,
    *,
    evaluated_step: int,
    must_save: bool,
) -> Due:
    """What fell due between two turns. Environments together step over multiples of a period.

    Args:
      config: of the run.
      before: the counters before the turn.
      now: and after it.
      evaluated_step: of the last evaluation: one that a signal cut short is made up for.
      must_save: a checkpoint could not be saved; it is tried again with the next row of metrics.
    """
    crossed = run_state.crossed
    logs = crossed(before.steps, now.steps, config.log_every_steps)
    return Due(
        log=logs or now.steps >= config.total_steps,
        evaluate=crossed(evaluated_step, now.steps, config.eval_every_steps),
        save=crossed(before.steps, now.steps, config.checkpoint_every_steps)
        or (must_save and logs),
        record=crossed(before.steps, now.steps, config.record_every_steps)
        or crossed(before.episodes, now.episodes, config.record_every_episodes),
    )


def do(run: Session, before: run_state.Counters) -> None:
    """Does what fell due since then; at the end of a run only the last row of metrics."""
    now = run.state.counters
    due = what_is_due(
        run.config,
        before,
        now,
        evaluated_step=run.evaluated_step,
        must_save=run.saver.must_save,
    )
    # Where it is logged already, a signal came before the rest.
    if due.log and run.state.logged.steps != now.steps:
        log(run)
    if now.steps >= run.config.total_steps:
        return  # the end evaluates and saves by itself
    if due.evaluate:
        evaluate(run)
    if due.save:
        save(run)
    if due.record:
        record(run)


def log(run: Session) -> None:
    """Writes a row of metrics, and looks after the checkpoints."""
    state, now = run.state, run.state.counters
    with run.stopwatch.paused(state):  # held-out observations may have to be played
        with environments.starting("the held-out environments"):
            held_out = run.held_out_values(state.train_state.params)
        watched = run.diagnostics(state.train_state.params, state.sampler)
        sums, refused, found = jax.device_get((state.sums, state.train_state.refused, watched))
        run.learning.raise_if_refused(state, int(refused), state.drawn)
        state.sums = run.device.init_sums()
        numbers = held_out | {name: float(value) for name, value in found.items()}
        row = training_row.of_training(run.setup, state, sums.tolist(), numbers)
        run.writer.write(now.steps, row)
        run.progress.row(now.steps, row)
        state.logged = dataclasses.replace(now)
        run.saver.report_outcome()
        if not run.is_complete:
            run.saver.write_ahead(state)
    if run.writer.problem:
        run.say(f"WARNING: metrics could not be written yet: {run.writer.problem}")


def evaluate(run: Session) -> None:
    """Scores the parameters as they are, unless a signal comes meanwhile; saves the best."""
    state, step = run.state, run.state.counters.steps
    if not run.config.eval_episodes:
        return
    with run.stopwatch.paused(state):
        is_scored = run.evaluator.evaluate(state.train_state.params, step)
    best = run.writer.best_evaluation
    if is_scored and best and best["step"] == step:
        save(run)  # the best is saved whatever the checkpoint period


def record(run: Session) -> None:
    """Films a game with the parameters as they are."""
    with run.stopwatch.paused(run.state):
        run.evaluator.film(run.state.train_state.params, run.state.counters.steps)


def save(run: Session) -> None:
    """Begins to save the run as it is."""
    with run.stopwatch.paused(run.state):
        run.saver.save(run.state, run.groups, is_complete=run.is_complete)


def show_games(run: Session, games: Sequence[episodes.Game]) -> None:
    """Prints a line for each game of the last turn, where that is wanted."""
    if not run.verbose:
        return
    counters = run.state.counters
    epsilon = schedules.epsilon(run.config, counters.steps)
    for number, game in enumerate(games, counters.episodes - len(games) + 1):
        run.progress.game(counters.steps, number, game, run.state.recent, epsilon)
