"""A run that is open: its settings, what it runs on, its files, and where it stands."""

import functools
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp

from jaxdqn.algorithms import api as algorithms
from jaxdqn.algorithms import run_state
from jaxdqn.assembly import device_programs, diagnostics
from jaxdqn.checkpointing import checkpoint_reader, checkpoint_writer, replay_blocks
from jaxdqn.distributed import mesh, processes, signals
from jaxdqn.envs import watchdog
from jaxdqn.playing import held_out_values
from jaxdqn.rundir import layout, metrics, run_films, tracking
from jaxdqn.training import (
    checkpoint_state,
    console,
    env_groups,
    environments,
    evaluator,
    initial_agent,
    saver,
    seeds,
    stopwatch,
)
from jaxdqn.training import setup as setup_lib


class Session:
    """One run, from its last checkpoint on if it has one; its emulators are not started yet.

    Args:
      setup: the run.
      request: the signals of this process.
      track: the service to which metrics are mirrored; None for none.
      verbose: print a line for every game.
      on_dead_envs: called on another thread when environments do not answer any more, with this
        session, their name and the seconds waited for; it ends the process.

    Raises:
      OSError: the run directory cannot be written.
      RunError: what lies there cannot be resumed.
    """

    def __init__(
        self,
        setup: setup_lib.Setup,
        request: signals.StopRequest,
        *,
        track: str | None,
        verbose: bool,
        on_dead_envs: Callable[["Session", str, float], None],
    ):
        config = setup.config
        self.setup, self.config, self.path = setup, config, setup.path
        self.verbose = verbose and processes.is_primary()
        self.request, self.stop = request, processes.Stop(request)
        self.device = device_programs.build(config, setup.spec, setup.mesh)
        algorithm = algorithms.chosen(config)
        self.learning = algorithm.build(config, setup.spec, setup.mesh)
        self._watchdog = watchdog.Watchdog(
            config.env_timeout_seconds,
            request.__bool__,
            functools.partial(on_dead_envs, self),
        )
        self.envs = environments.RunEnvs(config, self._watchdog)
        self.groups: list[env_groups.Group] = []  # once play has begun
        self.is_playing = False
        self.diagnostics = diagnostics.build(config, setup.spec, setup.mesh)
        self.held_out_values = held_out_values.measure(
            config,
            setup.spec,
            setup.mesh,
            functools.partial(self.envs.watched, name="the held-out environments"),
            self.say,
        )
        self._restore()
        start = self.state.counters.steps
        print_once(console.plan(setup, self.state.train_state.params, start))
        if self.verbose:
            print_once(console.layers(self.state.train_state.params))
        self.progress = console.Progress(config.total_steps, start)
        self._open_metrics(track, start)
        self.saver = saver.Saver(self.path, self.checkpoints, self.writer, self.say, algorithm.own)
        self.evaluator = evaluator.Evaluator(setup, self.envs, self.stop, self.writer, self.say)
        self.stopwatch = stopwatch.Stopwatch(stopwatch.process_age_s())

    def say(self, text: str) -> None:
        """Prints a line, above the progress bar if there is one."""
        self.progress.say(text)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to play, to learn or to log, but a last evaluation."""
        return checkpoint_state.is_complete(self.state, self.config.total_steps)

    @property
    def evaluated_step(self) -> int:
        """The step of the last evaluation. An evaluation that a signal interrupted is repeated."""
        last = self.writer.last_evaluation
        return last["step"] if last else 0

    def allow_updates_again(self) -> None:
        """Lets updates go on after one was refused, where the run was to stop."""
        state, train_state = self.state, self.state.train_state
        with jax.transfer_guard("allow"):
            if self.config.on_nonfinite == "stop":
                state.train_state = train_state.replace(refused=jnp.zeros_like(train_state.refused))
            state.refused = int(state.train_state.refused)
            state.counters.updates = int(train_state.updates)

    def close(self) -> None:
        """Closes everything that holds files or runs emulators."""
        self._watchdog.close()
        for group in self.groups:
            group.close()
        self.groups = []
        self.progress.close()
        self.writer.close()
        if self._tracker:
            self._tracker.close()
        self.checkpoints.close()

    def _replay_files(self) -> replay_blocks.ReplayFiles | None:
        if not self.config.checkpoint_replay:
            return None
        like = jax.eval_shape(self.device.init_ring)
        stride = self.config.num_groups
        return replay_blocks.ReplayFiles(self.path / layout.REPLAY, like, self.setup.mesh, stride)

    def _best_step(self, steps: Collection[int]) -> int | None:
        """The one of these steps that has the best evaluation."""
        best = self.writer.best_among(steps)
        return best["step"] if best else None

    def _restore(self) -> None:
        """Sets where the run stands, what its emulators were sent, and what writes checkpoints."""
        directory, replay = self.path / layout.CHECKPOINTS, self._replay_files()
        reader = checkpoint_reader.Reader(directory, replay)
        self.checkpoints = checkpoint_writer.Writer(
            directory, self.config.keep_checkpoints, self._best_step, replay
        )
        with jax.transfer_guard("allow"):  # keys are made from Python numbers
            self.state = new_state(self.setup, self.device, self.learning)
            self.sent = [env_groups.NOTHING_SENT] * self.config.num_groups
            found = reader.newest_whole(print_once)
            self.is_resumed = found is not None
            if found is None:
                return
            self.checkpoints.already_saved(found.run)
            self.sent = checkpoint_state.restore(
                self.state,
                reader,
                found,
                self.config,
                self.setup.mesh,
                num_actions=self.setup.spec.num_actions,
                init_ring=self.device.init_ring,
                say=print_once,
            )
        self.allow_updates_again()

    def _open_metrics(self, track: str | None, start: int) -> None:
        rows = processes.from_primary(lambda: metrics.known(self.path, start))
        self._tracker: tracking.Wandb | None = None
        self.writer = metrics.Rows(rows, start)
        if processes.is_primary():
            if track:
                self._tracker = tracking.Wandb(self.path, self.config, self.say)
            mirrors = [self._tracker.write] if self._tracker else []
            self.writer = metrics.Writer(self.path, start, *mirrors)
            run_films.drop_after(self.path, start)


def new_state(
    setup: setup_lib.Setup, device: device_programs.DevicePrograms, learning: algorithms.Learning
) -> run_state.RunState:
    """A run before its first step."""

    def key(stream: seeds.Stream, *numbers: int) -> jax.Array:
        made = seeds.key(setup.config.seed, stream, *numbers)
        placed: jax.Array = mesh.put(setup.mesh, made, mesh.REPLICATED)
        return placed

    train_state = learning.init(key(seeds.Stream.LEARNER))
    if setup.initial_params is not None:
        train_state = initial_agent.begin_with(setup.initial_params, train_state, setup.mesh)
    return run_state.RunState(
        train_state=train_state,
        sums=device.init_sums(),
        actors=[
            device.init_actor(key(seeds.Stream.ACTORS, group))
            for group in range(setup.config.num_groups)
        ],
        sampler=device.init_sampler(),
        learning_from_step=setup.config.learning_starts_steps,
    )


def print_once(text: str) -> None:
    """Prints a line, once for all processes."""
    if processes.is_primary():
        print(text, flush=True)
