"""A whole training run: set up or go on, train, evaluate, save, leave."""

import dataclasses
import time

import jax
import numpy as np

from jaxdqn import config as config_lib
from jaxdqn.envs import api, frame_skip
from jaxdqn.runtime import (
    checkpoints,
    console,
    device,
    episodes,
    evaluation,
    held_out,
    loop,
    metrics,
    native,
    parts,
    rows,
    run_dir,
    signals,
    sweeping,
    tracking,
)
from jaxdqn.runtime import mesh as mesh_lib
from jaxdqn.runtime import setup as setup_lib

# Set apart the random streams that grow from one seed.
_LEARNER, _ACTORS, _ENVS, _EVALUATION, _RECORDING = range(5)


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
    """
    with signals.StopRequest() as stop, jax.transfer_guard("disallow"):
        if setup.overwrite and setup.path.exists():
            run_dir.clear(setup.path)
        if setup.overwrite or run_dir.read_settings(setup.path) is None:
            run_dir.create(setup.path, setup.config)
        training = _Training(setup, stop, track, verbose)
        try:
            return training.to_the_end()
        finally:
            training.close()


class _Training:
    """One run: its device, its files, and where it stands."""

    def __init__(
        self,
        setup: setup_lib.Setup,
        stop: signals.StopRequest,
        track: str | None,
        verbose: bool,
    ):
        self._setup = setup
        self._config, self._spec, self._mesh = setup.config, setup.spec, setup.mesh
        self._path, self._stop, self._verbose = setup.path, stop, verbose
        self._avg_max_q_value = held_out.measure(setup.config, setup.spec, setup.mesh)
        self._device = device.build(setup.config, setup.spec, setup.mesh)
        self._evaluated_actor = evaluation.compiled(parts.make_actor(setup.config, setup.spec))
        self._checkpoints = checkpoints.Checkpoints(
            setup.path / run_dir.CHECKPOINTS, setup.config.keep_checkpoints, self._best_step
        )
        self._state = self._initial_state()
        start = self._state.counters
        self._last_row = dataclasses.replace(start)  # counters when the last row was written
        print(console.plan(setup, self._state.train_state.params, start.steps), flush=True)
        if verbose:
            print(console.layers(self._state.train_state.params), flush=True)
        self._tracker = tracking.Wandb(setup.path, setup.config) if track else None
        self._writer = metrics.Writer(
            setup.path, start.steps, *([self._tracker.write] if self._tracker else [])
        )
        self._progress = console.Progress(setup.config.total_steps, start.steps)
        self._clock = time.monotonic()

    def to_the_end(self) -> int:
        """Trains until all steps are done or a signal comes. Returns an exit code."""
        config, state = self._config, self._state
        if state.counters.steps >= config.total_steps:
            return self._finish("complete since before")
        if state.counters.updates:
            refilled = f"after {config.learning_starts_steps:,} steps have filled it again"
            if config.algorithm == "sweep":
                refilled = "when it has been filled anew"
            self._progress.say(f"checkpoints hold no replay: learning goes on {refilled}")
        compiled = device.compile_ahead(
            self._device,
            config,
            self._spec,
            self._mesh,
            state.train_state,
            state.sums,
            state.actors[0],
        )
        groups = [
            self._make_env(config.group_size, _ENVS, group, state.counters.steps)
            for group in range(config.num_groups)
        ]
        if config.network != "mlp" and native.why_not():
            self._progress.say(f"slower than it could be: {native.why_not()}")
        learn = loop.replay_learning(config, compiled)
        if config.algorithm == "sweep":
            sweeper = sweeping.build(config, self._spec, self._mesh)
            learn = sweeping.learning(config, sweeper, self._mesh)
        then = dataclasses.replace(state.counters)
        try:
            for row in loop.turns(config, compiled, self._mesh, groups, state, learn):
                if row:
                    self._writer.write(state.counters.steps, row)
                if self._stop:
                    break
                if not state.turn_is_over:
                    continue
                self._progress.advance(state.counters.steps)
                self._tell_games()
                self._periodic_work(then)
                then = dataclasses.replace(state.counters)
                if then.steps >= config.total_steps:
                    break
        finally:
            for group in groups:
                group.close()
        return self._leave() if self._stop else self._finish("complete")

    def close(self) -> None:
        """Ends all that holds files."""
        self._progress.close()
        self._writer.close()
        if self._tracker:
            self._tracker.close()
        self._checkpoints.close()

    def _key(self, *stream: int) -> jax.Array:
        key = jax.random.key(self._config.seed)
        for number in stream:
            key = jax.random.fold_in(key, number)
        return mesh_lib.put(self._mesh, key, mesh_lib.REPLICATED)

    def _env_seed(self, *stream: int) -> int:
        entropy = np.random.SeedSequence([self._config.seed, *stream]).generate_state(1)
        # Below 2**31, with room for the number of the environment, which EnvPool adds.
        return int(entropy[0]) % (2**31 - 2**16)

    def _make_env(self, num_envs: int, *stream: int) -> api.VectorEnv:
        return frame_skip.make(
            self._config.env,
            num_envs,
            self._env_seed(*stream),
            self._config.env_options,
            self._config.env_threads,
        )

    def _initial_state(self) -> loop.RunState:
        config = self._config
        with jax.transfer_guard("allow"):  # keys are made from Python numbers
            train_state = self._device.init_learner(self._key(_LEARNER))
            counters = loop.Counters()
            step = self._checkpoints.latest_step()
            if step is not None:
                train_state, counters = self._checkpoints.restore(step, train_state)
            actors = [
                self._device.init_actor(self._key(_ACTORS, group, counters.steps))
                for group in range(config.num_groups)
            ]
        return loop.RunState(
            train_state=train_state,
            sums=self._device.init_sums(),
            actors=actors,
            counters=counters,
            recent=episodes.RecentGames(),
            learning_from_step=counters.steps + config.learning_starts_steps,
            learning_from_update=counters.updates,
        )

    def _tell_games(self) -> None:
        """Prints a line for every game of the last turn, where that is wanted."""
        if self._verbose:
            counters, ended = self._state.counters, self._state.just_ended
            epsilon = loop.epsilon(self._config, counters.steps)
            for number, game in enumerate(ended, counters.episodes - len(ended) + 1):
                self._progress.game(counters.steps, number, game, self._state.recent, epsilon)

    def _periodic_work(self, before: loop.Counters) -> None:
        """Does what fell due since then: environments together step over multiples."""
        config, then, now = self._config, before.steps, self._state.counters.steps
        at_the_end = now >= config.total_steps
        if loop.crossed(then, now, config.log_every_steps) or at_the_end:
            self._log()
        if at_the_end:
            return  # it evaluates and saves by itself
        if loop.crossed(self._evaluated_step(), now, config.eval_every_steps):
            self._evaluate()
        if loop.crossed(then, now, config.checkpoint_every_steps):
            self._save()
        games = before.episodes, self._state.counters.episodes
        if loop.crossed(then, now, config.record_every_steps) or loop.crossed(
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
        sums = jax.device_get(state.sums).tolist()
        state.sums = self._device.init_sums()
        held_out_value = self._avg_max_q_value(state.train_state.params)
        row = rows.of_training(self._setup, state, self._last_row, sums, held_out_value)
        self._writer.write(now.steps, row)
        self._progress.row(now.steps, row)
        self._clock = time.monotonic()  # to look at held-out observations is no time of training
        self._last_row = dataclasses.replace(now)

    def _evaluated_step(self) -> int:
        """The step of the last evaluation; one that a signal cut short is made up for."""
        last = self._writer.last_evaluation
        return last["step"] if last else 0

    def _best_step(self) -> int | None:
        """The step of the best evaluation so far."""
        best = self._writer.best_evaluation
        return best["step"] if best else None

    def _evaluate(self) -> None:
        """Scores the parameters as they are, unless a signal comes meanwhile."""
        config, steps = self._config, self._state.counters.steps
        if not config.eval_episodes:
            return
        self._stop_clock()
        num_envs = evaluation.num_envs_for(config.eval_episodes)
        with jax.transfer_guard("allow"):
            scores = evaluation.evaluate(
                self._evaluated_actor,
                self._state.train_state.params,
                self._make_env(num_envs, _EVALUATION, steps),
                num_episodes=config.eval_episodes,
                epsilon=config.eval_epsilon,
                key=self._key(_EVALUATION, steps),
                should_stop=lambda: bool(self._stop),
            )
        self._clock = time.monotonic()  # an evaluation is no time of training
        if scores is None:
            return
        returns = scores.returns
        row: dict[str, metrics.Value] = {
            "eval_return_mean": float(returns.mean()),
            "eval_return_std": float(returns.std()),
            "eval_episodes": len(returns),
        }
        self._writer.write(steps, row)
        self._progress.say(
            f"step {steps:,}: evaluation: return {returns.mean():.2f} +- {returns.std():.2f} "
            f"({returns.min():g} to {returns.max():g}, {len(returns)} games)"
        )
        if self._best_step() == steps:
            self._save()  # the best is kept, whatever the period of checkpoints

    def _record(self) -> None:
        """Films a game with the parameters as they are."""
        from jaxdqn.runtime import recording  # late: most runs draw nothing, and all of them start

        config, steps = self._config, self._state.counters.steps
        self._stop_clock()
        film = self._path / run_dir.VIDEOS / f"{steps}.mp4"
        if film.exists():  # made before a restart
            return
        try:
            film.parent.mkdir(exist_ok=True)
            with jax.transfer_guard("allow"):
                gif, height, width = recording.record_in_training(
                    config,
                    self._spec,
                    self._state.train_state.params,
                    film,
                    seed=self._env_seed(_RECORDING, steps),
                    should_stop=lambda: bool(self._stop),
                )
            self._writer.show_film(steps, gif, height, width)
        except (config_lib.RunError, OSError) as error:
            self._progress.say(f"step {steps:,}: no film: {error}")
        self._clock = time.monotonic()  # a film is no time of training

    def _save(self) -> None:
        self._stop_clock()
        self._checkpoints.save(self._state.train_state, self._state.counters)

    def _leave(self) -> int:
        signum = self._stop.signum
        assert signum is not None
        self._save()
        self.close()
        print(
            f"stopped by signal {signum} at step {self._state.counters.steps:,}; saved in "
            f"{self._path}: the same command goes on from there",
            flush=True,
        )
        return 128 + signum

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
            score = f": mean return {last['eval_return_mean']:.2f} of {last['eval_episodes']} games"
        if self._config.record_every_steps or self._config.record_every_episodes:
            self._record()
        self.close()
        print(f"{how}, {steps:,} steps, in {self._path}{score}", flush=True)
        return 0
