"""A whole training run: set up or go on, train, evaluate, save, leave."""

import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Collection

import jax
import jax.numpy as jnp

from jaxdqn import errors
from jaxdqn.algorithms import replayed, run_state, sweep
from jaxdqn.assembly import device_programs, schedules
from jaxdqn.checkpointing import checkpoints, replay_blocks
from jaxdqn.distributed import mesh, processes, signals
from jaxdqn.envs import episodes, watchdog
from jaxdqn.kernels import native_library
from jaxdqn.playing import held_out_values
from jaxdqn.rundir import layout, metrics, tracking
from jaxdqn.training import (
    console,
    env_groups,
    environments,
    interludes,
    loop,
    saver,
    seeds,
    state_files,
    training_row,
)
from jaxdqn.training import setup as setup_lib

# For which several processes wait for one before them, whose machine is gone and held a lock.
_LOCK_S = 120.0


def run(setup: setup_lib.Setup, *, track: str | None = None, verbose: bool = False) -> int:
    """Trains to the end, from the last checkpoint if there is one.

    Args:
      setup: the run.
      track: the service to which metrics are mirrored; None for none.
      verbose: print a line for every game.

    Returns:
      An exit code.

    Raises:
      SettingError: the run directory cannot be written.
      RunError: what lies there cannot be gone on with, or the run could not be saved, or another
        process trains there.
    """
    processes.wait_for_all()  # until each has looked at the folder as it was
    lock: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if processes.is_primary():
        lock = layout.locked(setup.path, wait_s=_LOCK_S if processes.count() > 1 else 0)
    with (
        lock,
        signals.StopRequest() as request,
        jax.transfer_guard("disallow"),
    ):
        if processes.is_primary():
            if setup.overwrite and setup.path.exists():
                layout.clear(setup.path)
            if setup.overwrite or layout.read_settings(setup.path) is None:
                layout.create(setup.path, setup.config)
        layout.check_shared(setup.path)
        try:
            training = _Training(setup, request, track, verbose)
        except OSError as error:
            raise errors.RunError(f"{setup.path} cannot be used: {error}") from None
        try:
            with processes.leaving_at_once():
                return training.to_the_end()
        finally:
            training.close()


class _Training:
    """One run: its device, its files, and where it stands."""

    def __init__(
        self,
        setup: setup_lib.Setup,
        request: signals.StopRequest,
        track: str | None,
        verbose: bool,
    ):
        self._setup = setup
        self._config, self._spec, self._mesh = setup.config, setup.spec, setup.mesh
        self._path, self._verbose = setup.path, verbose and processes.is_primary()
        self._request, self._stop = request, processes.Stop(request)
        self._device = device_programs.build(setup.config, setup.spec, setup.mesh)
        self._groups: list[env_groups.Group] = []
        self._sent: list[env_groups.Sent] = []  # what they are to play again
        self._watchdog = watchdog.Watchdog(
            setup.config.env_timeout_seconds, request.__bool__, self._envs_are_dead
        )
        self._envs = environments.RunEnvs(setup.config, self._watchdog)
        self._avg_max_q_value = held_out_values.measure(
            setup.config,
            setup.spec,
            setup.mesh,
            functools.partial(self._envs.watched, name="the held-out environments"),
        )
        self._is_playing = False
        self._checkpoints = self._open_checkpoints()
        self._state = self._initial_state()
        start = self._state.counters
        _print(console.plan(setup, self._state.train_state.params, start.steps))
        if self._verbose:
            _print(console.layers(self._state.train_state.params))
        self._progress = console.Progress(setup.config.total_steps, start.steps)
        self._tracker: tracking.Wandb | None = None
        rows = processes.from_primary(lambda: metrics.known(setup.path, start.steps))
        self._writer = metrics.Listener(rows, start.steps)
        if processes.is_primary():
            if track:
                self._tracker = tracking.Wandb(setup.path, setup.config, self._say)
            self._writer = metrics.Writer(
                setup.path, start.steps, *([self._tracker.write] if self._tracker else [])
            )
        self._saver = saver.Saver(setup.path, self._checkpoints, self._writer, self._say)
        self._interludes = interludes.Interludes(
            setup, self._envs, self._stop, self._writer, self._say
        )
        self._clock = time.monotonic()

    def to_the_end(self) -> int:
        """Trains until all steps are done or a signal comes. Returns an exit code."""
        config, state = self._config, self._state
        if self._is_complete():
            self._checkpoints.drop_replay()  # a process may have been killed before it did
            return self._finish("complete since before")
        compiled = device_programs.compile_ahead(
            self._device,
            config,
            self._spec,
            self._mesh,
            state.train_state,
            state.sums,
            state.actors[0],
        )
        if not self._begin_play():
            return self._leave(saved=True)
        if config.network != "mlp" and native_library.why_not():
            self._say(f"slower than it could be: {native_library.why_not()}")
        learn = replayed.replay_learning(config, compiled)
        if config.algorithm == "sweep":
            sweeper = sweep.build(config, self._spec, self._mesh)
            learn = sweep.learning(config, sweeper, self._mesh)
        try:
            self._play_and_learn(compiled, learn)
        except run_state.NonFiniteError as error:
            raise self._give_up(error) from None
        return self._leave() if self._stop else self._finish("complete")

    def _play_and_learn(self, compiled: device_programs.Device, learn: run_state.Learn) -> None:
        """Goes on until all steps are done or a signal comes."""
        config, state = self._config, self._state
        if state.fit is None:
            self._periodic_work(state.turn_began)  # what a signal cut short
            if self._is_complete() or self._stop:
                return
        turns = loop.turns(config, compiled, self._mesh, self._groups, state, learn, self._stop)
        for row in turns:
            if row:
                self._writer.write(state.counters.steps, row)
            if not state.turn_is_over:
                self._stop.agree()
            if self._stop:
                break
            if state.turn_is_over:
                self._progress.advance(state.counters.steps, self._loss_since_row)
                self._tell_games()
                self._periodic_work(state.turn_began)
                if self._stop or state.counters.steps >= config.total_steps:
                    break

    def close(self) -> None:
        """Ends all that holds files or runs emulators."""
        self._watchdog.close()
        for group in self._groups:
            group.close()
        self._groups = []
        self._progress.close()
        self._writer.close()
        if self._tracker:
            self._tracker.close()
        self._checkpoints.close()

    def _key(self, stream: seeds.Stream, *numbers: int) -> jax.Array:
        key = seeds.key(self._config.seed, stream, *numbers)
        return mesh.put(self._mesh, key, mesh.REPLICATED)

    def _open_checkpoints(self) -> checkpoints.Checkpoints:
        config, replay = self._config, None
        if config.checkpoint_replay:
            like = jax.eval_shape(self._device.init_ring)
            folder = self._path / layout.REPLAY
            replay = replay_blocks.ReplayFiles(folder, like, self._mesh, stride=config.num_groups)
        folder = self._path / layout.CHECKPOINTS
        return checkpoints.Checkpoints(folder, config.keep_checkpoints, self._best_step, replay)

    def _is_complete(self) -> bool:
        return state_files.is_complete(self._state, self._config.total_steps)

    def _initial_state(self) -> run_state.RunState:
        """A run before its first step, or where its checkpoint left it, but for its emulators."""
        config = self._config
        with jax.transfer_guard("allow"):  # keys are made from Python numbers
            state = run_state.RunState(
                train_state=self._device.init_learner(self._key(seeds.Stream.LEARNER)),
                sums=self._device.init_sums(),
                actors=[
                    self._device.init_actor(self._key(seeds.Stream.ACTORS, group))
                    for group in range(config.num_groups)
                ],
                counters=run_state.Counters(),
                recent=episodes.RecentGames(),
                learning_from_step=config.learning_starts_steps,
            )
            step = self._checkpoints.newest_whole(_print)
            if step is not None:
                self._sent = state_files.restore(
                    state,
                    self._checkpoints,
                    step,
                    config,
                    self._mesh,
                    num_actions=self._spec.num_actions,
                    init_ring=self._device.init_ring,
                    say=_print,
                )
                self._forgive(state)
        return state

    def _forgive(self, state: run_state.RunState) -> None:
        """Lets updates go on after one was refused, where the run was to stop; counts them anew."""
        train_state = state.train_state
        with jax.transfer_guard("allow"):
            if self._config.on_nonfinite == "stop":
                state.train_state = train_state.replace(refused=jnp.zeros_like(train_state.refused))
            state.refused = int(state.train_state.refused)
            state.counters.updates = int(train_state.updates)

    def _begin_play(self) -> bool:
        """Starts the emulators and brings them where they stood; False if a signal came first."""
        config = self._config
        for index, sent in enumerate(self._sent or [env_groups.NOTHING_SENT] * config.num_groups):
            make = functools.partial(self._envs.training, index)
            group = env_groups.Group(make, config.group_size, sent.made_at_step)
            self._groups.append(group)
            if not self._stop.lets(group.replay(sent)):
                return False
            if not group.has_come_back(sent):
                raise errors.RunError(
                    f"the emulators do not come back to where they stood at step "
                    f"{self._state.counters.steps:,}: another version of EnvPool or of the "
                    f"game? {self._path / layout.CONFIG_FILE} tells the versions of the run"
                )
        self._is_playing = True
        return True

    def _say(self, text: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        self._progress.say(text)

    def _loss_since_row(self) -> float | None:
        """Mean loss of the updates since the last row of metrics; None where there are none."""
        loss, *_, count = jax.device_get(self._state.sums).tolist()
        return loss / count if count else None

    def _tell_games(self) -> None:
        """Prints a line for every game of the last turn, where that is wanted."""
        if self._verbose:
            counters, ended = self._state.counters, self._state.just_ended
            epsilon = schedules.epsilon(self._config, counters.steps)
            for number, game in enumerate(ended, counters.episodes - len(ended) + 1):
                self._progress.game(counters.steps, number, game, self._state.recent, epsilon)

    def _periodic_work(self, before: run_state.Counters) -> None:
        """Does what fell due since then: environments together step over multiples."""
        config, then, now = self._config, before.steps, self._state.counters.steps
        at_the_end = now >= config.total_steps
        logged = self._state.logged.steps == now  # and then a signal came, before the rest
        if (run_state.crossed(then, now, config.log_every_steps) or at_the_end) and not logged:
            self._log()
        if at_the_end:
            return  # it evaluates and saves by itself
        if run_state.crossed(self._evaluated_step(), now, config.eval_every_steps):
            self._evaluate()
        again = self._saver.must_save and run_state.crossed(then, now, config.log_every_steps)
        if run_state.crossed(then, now, config.checkpoint_every_steps) or again:
            self._save()
        games = before.episodes, self._state.counters.episodes
        if run_state.crossed(then, now, config.record_every_steps) or run_state.crossed(
            *games, config.record_every_episodes
        ):
            self._record()

    def _stop_clock(self) -> None:
        """Adds the time since the clock was started to the time of training, and starts it anew."""
        jax.block_until_ready(self._state.train_state.updates)  # updates under way count
        now = time.monotonic()
        self._state.counters.time_s += now - self._clock
        self._clock = now

    def _log(self) -> None:
        state, now = self._state, self._state.counters
        self._stop_clock()
        held_out_value = self._avg_max_q_value(state.train_state.params)  # it may have to play
        sums, refused = jax.device_get((state.sums, state.train_state.refused))
        replayed.check_refused(self._config, self._device, state, int(refused), rows_since=0)
        state.sums = self._device.init_sums()
        row = training_row.of_training(self._setup, state, sums.tolist(), held_out_value)
        self._writer.write(now.steps, row)
        self._progress.row(now.steps, row)
        self._clock = time.monotonic()  # to look at held-out observations is no time of training
        state.logged = dataclasses.replace(now)
        self._saver.look()
        if not self._is_complete():
            self._saver.write_ahead(state)
        if self._writer.problem:
            self._say(f"WARNING: metrics wait to be written: {self._writer.problem}")

    def _evaluated_step(self) -> int:
        """The step of the last evaluation; one that a signal cut short is made up for."""
        last = self._writer.last_evaluation
        return last["step"] if last else 0

    def _best_step(self, steps: Collection[int]) -> int | None:
        """Of these steps that of the best evaluation."""
        best = self._writer.best_among(steps)
        return best["step"] if best else None

    def _evaluate(self) -> None:
        """Scores the parameters as they are, unless a signal comes meanwhile."""
        state, step = self._state, self._state.counters.steps
        if not self._config.eval_episodes:
            return
        self._stop_clock()
        is_scored = self._interludes.evaluate(state.train_state.params, step)
        self._clock = time.monotonic()  # an evaluation is no time of training
        best = self._writer.best_evaluation
        if is_scored and best and best["step"] == step:
            self._save()  # the best is kept, whatever the period of checkpoints

    def _record(self) -> None:
        """Films a game with the parameters as they are."""
        self._stop_clock()
        self._interludes.film(self._state.train_state.params, self._state.counters.steps)
        self._clock = time.monotonic()  # a film is no time of training

    def _save(self) -> None:
        self._stop_clock()
        self._saver.save(self._state, self._groups, is_last=self._is_complete())

    def _leave(self, saved: bool = False) -> int:
        signum = self._stop.signum
        assert signum is not None
        if not saved:
            self._save()
            self._saver.wait(self._state.counters.steps)
        self.close()
        processes.wait_for_all()  # one may need longer to end than the others would wait
        again = "the same command"
        if self._setup.overwrite:
            again += " without --overwrite"
        _print(
            f"stopped by signal {signum} at step {self._state.counters.steps:,}; saved in "
            f"{self._path}: {again} goes on from there"
        )
        return 128 + signum

    def _envs_are_dead(self, name: str, seconds: float) -> None:
        """Saves and ends the process, whose main thread waits for environments that are dead."""
        allowed = self._config.env_timeout_seconds
        limit = "--env_timeout_seconds"
        if seconds < allowed:
            limit = f"after signal {self._request.signum}"
        what = (
            f"error: {name} of {self._config.env}: no answer for {seconds:g} s ({limit}) at step "
            f"{self._state.counters.steps:,}"
        )
        try:
            print(what, file=sys.stderr, flush=True)
            # The main thread waits: nothing changes meanwhile. Other processes would not save too.
            if self._is_playing and processes.count() == 1:
                self._save()
                self._saver.wait(self._state.counters.steps)
                print(f"saved in {self._path}", file=sys.stderr, flush=True)
        except errors.RunError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    def _give_up(self, error: run_state.NonFiniteError) -> errors.RunError:
        """Saves the last good state, and the batch that would have spoiled it."""
        state = self._state
        self._forgive(state)
        self._save()
        self._saver.wait(self._state.counters.steps)
        where = self._saver.batch(state.counters.steps, error.batch)
        return errors.RunError(
            f"step {state.counters.steps:,}, update {state.counters.updates + 1:,}: {error}. The "
            f"state before it is saved; the batch {where}. --on_nonfinite=skip goes on without "
            "such updates"
        )

    def _finish(self, how: str) -> int:
        steps = self._state.counters.steps
        self._save()  # first: an evaluation takes time, in which a machine may be taken away
        score = ""
        if self._config.eval_episodes:
            if self._evaluated_step() != steps:
                self._evaluate()
            last = self._writer.last_evaluation
            if last is None or last["step"] != steps:
                return self._leave()
            is_finite = bool(metrics.scored([last]))
            told = f"{last['eval_return_mean']:.2f}" if is_finite else "that is not finite"
            score = f": mean return {told} of {last['eval_episodes']} games"
        if self._config.record_every_steps or self._config.record_every_episodes:
            self._record()
        self._saver.wait(self._state.counters.steps)
        self.close()
        processes.wait_for_all()
        _print(f"{how}, {steps:,} steps, in {self._path}{score}")
        return 0


def _print(text: str) -> None:
    """Prints a line, once for all processes."""
    if processes.is_primary():
        print(text, flush=True)
