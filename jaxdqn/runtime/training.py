"""A whole training run: set up or go on, train, evaluate, save, leave."""

import dataclasses
import pathlib
import time

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn import config as config_lib
from jaxdqn.agent import learner as learner_lib
from jaxdqn.envs import api, envpool
from jaxdqn.runtime import (
    checkpoints,
    console,
    episodes,
    evaluation,
    loop,
    memory,
    metrics,
    run_dir,
    signals,
)
from jaxdqn.runtime import device as device_lib
from jaxdqn.runtime import mesh as mesh_lib

# Set apart the random streams that grow from one seed.
_LEARNER, _ACTORS, _ENVS, _EVALUATION = range(4)


def prepare(
    config: config_lib.Config,
    *,
    path: pathlib.Path | None,
    overwrite: bool,
    capacity_chosen_by_user: bool,
) -> tuple[config_lib.Config, api.EnvSpec, Mesh, pathlib.Path]:
    """Checks all that can be checked before anything is written.

    Returns:
      The settings with a replay that fits, the environment's shapes, the devices, and the folder.

    Raises:
      SettingError: names the setting that cannot be.
    """
    mesh = mesh_lib.make_mesh()
    try:
        spec = envpool.describe(config.env, config.env_options)
    except envpool.UnknownOptionError as error:
        raise config_lib.SettingError(error.option, str(error)) from None
    except envpool.UnsupportedEnvError as error:
        raise config_lib.SettingError("env", str(error)) from None
    if config.network == "nature" and len(spec.frame_shape) != 2:
        raise config_lib.SettingError(
            "network", f"nature needs images, but {spec.env_id} shows {spec.frame_shape}; use mlp"
        )
    for name, value in (("num_envs", config.group_size), ("batch_size", config.batch_size)):
        if value % mesh.devices.size:
            factor = mesh.devices.size * (config.num_groups if name == "num_envs" else 1)
            raise config_lib.SettingError(
                name,
                f"is {getattr(config, name)}, which does not divide over {mesh.devices.size} "
                f"devices; nearest: {config_lib.nearest_multiples(getattr(config, name), factor)}",
            )
    path = path or run_dir.default_path(config)
    stored = run_dir.read_settings(path)
    if stored is not None and not overwrite:
        if not capacity_chosen_by_user:
            # It may have shrunk to the memory that was free when the run began.
            config = dataclasses.replace(config, replay_capacity=stored["replay_capacity"])
        run_dir.check_same(path, stored, config)
        capacity_chosen_by_user = True
    config = memory.fit_replay(
        config, spec, memory.free_device_bytes(mesh), capacity_chosen_by_user
    )
    run_dir.check_writable(path)
    return config, spec, mesh, path


def run(
    config: config_lib.Config,
    spec: api.EnvSpec,
    mesh: Mesh,
    path: pathlib.Path,
    overwrite: bool,
) -> int:
    """Trains to the end, from the last checkpoint if there is one. Returns an exit code."""
    if overwrite and path.exists():
        run_dir.clear(path)
    if run_dir.read_settings(path) is None:
        run_dir.create(path, config)
    with signals.StopRequest() as stop, jax.transfer_guard("disallow"):
        training = _Training(config, spec, mesh, path, stop)
        try:
            return training.to_the_end()
        finally:
            training.close()


class _Training:
    """The parts of one run, wired together."""

    def __init__(
        self,
        config: config_lib.Config,
        spec: api.EnvSpec,
        mesh: Mesh,
        path: pathlib.Path,
        stop: signals.StopRequest,
    ):
        self._config, self._spec, self._mesh, self._path = config, spec, mesh, path
        self._stop = stop
        self._device = device_lib.build(config, spec, mesh)
        self._checkpoints = checkpoints.Checkpoints(
            path / run_dir.CHECKPOINTS, config.keep_checkpoints
        )
        self._state = self._initial_state()
        self._start = dataclasses.replace(self._state.counters)
        self._writer = metrics.Writer(path, self._start.steps)
        print(
            console.plan(
                config,
                spec,
                num_params=sum(x.size for x in jax.tree.leaves(self._state.train_state.params)),
                devices=f"{mesh.devices.size} x {mesh.devices.flat[0].device_kind}",
                free_device_bytes=memory.free_device_bytes(mesh),
                free_host_bytes=memory.free_host_bytes(),
                run_dir=str(path),
                from_step=self._start.steps,
            ),
            flush=True,
        )
        self._progress = console.Progress(config.total_steps, self._start.steps)
        self._clock = time.monotonic()
        self._last_row = dataclasses.replace(self._start)

    def _key(self, *stream: int) -> jax.Array:
        key = jax.random.key(self._config.seed)
        for number in stream:
            key = jax.random.fold_in(key, number)
        return mesh_lib.put(self._mesh, key, mesh_lib.REPLICATED)

    def _env_seed(self, *stream: int) -> int:
        # Below 2**31 with room for the number of the environment, which EnvPool adds.
        entropy = np.random.SeedSequence([self._config.seed, *stream])
        return int(entropy.generate_state(1)[0]) % (2**31 - 2**16)

    def _initial_state(self) -> loop.RunState:
        config, device = self._config, self._device
        with jax.transfer_guard("allow"):  # keys are made from Python numbers
            train_state = device.init_learner(self._key(_LEARNER))
            counters = loop.Counters()
            step = self._checkpoints.latest_step()
            if step is not None:
                train_state, counters = self._checkpoints.restore(step, train_state)
            actors = [
                device.init_actor(self._key(_ACTORS, group, counters.steps))
                for group in range(config.num_groups)
            ]
        return loop.RunState(
            train_state=train_state,
            sums=device.init_sums(),
            ring=device.init_ring(),
            actors=actors,
            counters=counters,
            recent=episodes.RecentGames(),
            learning_from_step=counters.steps + config.learning_starts_steps,
            learning_from_update=counters.updates,
        )

    def to_the_end(self) -> int:
        """Trains until all steps are done or a signal comes."""
        config, state = self._config, self._state
        if state.counters.steps >= config.total_steps:
            return self._finish("was complete already")
        if state.counters.updates:
            self._progress.say(
                f"the replay was not saved: {config.learning_starts_steps:,} steps fill it again "
                "before learning goes on"
            )
        groups = [
            self._make_env(config.group_size, _ENVS, group, state.counters.steps)
            for group in range(config.num_groups)
        ]
        then = state.counters.steps
        try:
            for _ in loop.turns(config, self._device, self._mesh, groups, state):
                self._progress.advance(state.counters.steps)
                self._periodic_work(then)
                then = state.counters.steps
                if self._stop or state.counters.steps >= config.total_steps:
                    break
        finally:
            for group in groups:
                group.receive()  # leave no step under way
                group.close()
        if self._stop:
            return self._leave()
        return self._finish("complete")

    def close(self) -> None:
        """Ends all that holds files."""
        self._progress.close()
        self._writer.close()
        self._checkpoints.close()

    def _make_env(self, num_envs: int, *stream: int) -> envpool.EnvPoolEnv:
        return envpool.EnvPoolEnv(
            self._config.env,
            num_envs,
            self._env_seed(*stream),
            self._config.env_options,
            self._config.env_threads,
        )

    def _periodic_work(self, then: int) -> None:
        """Does what fell due since step `then`: environments together step over multiples."""
        config, now = self._config, self._state.counters
        if _crossed(then, now.steps, config.log_every_steps):
            self._log()
        if now.steps >= config.total_steps:
            return  # the end evaluates and saves
        if _crossed(then, now.steps, config.eval_every_steps):
            self._evaluate()
        if _crossed(then, now.steps, config.checkpoint_every_steps):
            self._save()

    def _tick(self) -> None:
        """Adds the time since the last tick to the time of training."""
        now = time.monotonic()
        self._state.counters.time_s += now - self._clock
        self._clock = now

    def _log(self) -> None:
        state, config, before = self._state, self._config, self._last_row
        sums = jax.device_get(state.sums)
        state.sums = self._device.init_sums()
        self._tick()
        now = state.counters
        means: dict[str, metrics.Value] = dict.fromkeys(learner_lib.METRICS)
        if sums[-1]:
            means = {
                name: float(total / sums[-1])
                for name, total in zip(learner_lib.METRICS, sums[:-1], strict=True)
            }
        episode_return, episode_length = state.recent.means()
        steps, seconds = now.steps - before.steps, now.time_s - before.time_s
        row: dict[str, metrics.Value] = {
            "frames": now.steps * self._spec.frame_skip,
            "updates": now.updates,
            "episodes": now.episodes,
            "time_s": round(now.time_s, 3),
            "steps_per_second": round(steps / seconds, 1) if seconds else None,
            "samples_per_step": (now.updates - before.updates) * config.batch_size / steps,
            "episode_return_mean": episode_return,
            "episode_length_mean": episode_length,
            **means,
            "epsilon": loop.epsilon(config, now.steps),
            "replay_size": min(state.rows * config.group_size, config.replay_capacity),
        }
        self._writer.write(now.steps, row)
        self._progress.row(now.steps, row)
        self._last_row = dataclasses.replace(now)

    def _evaluate(self) -> evaluation.Scores | None:
        config, steps = self._config, self._state.counters.steps
        if not config.eval_episodes:
            return None
        jax.block_until_ready(self._state.train_state.updates)
        self._tick()
        seed = self._env_seed(_EVALUATION, steps)
        with jax.transfer_guard("allow"):
            scores = evaluation.evaluate(
                device_lib.make_actor(config, self._spec),
                self._state.train_state.params,
                self._make_env(
                    evaluation.num_envs_for(config.eval_episodes), _EVALUATION, steps
                ),
                num_episodes=config.eval_episodes,
                epsilon=config.eval_epsilon,
                seed=seed,
                should_stop=lambda: bool(self._stop),
            )
        self._clock = time.monotonic()  # an evaluation is no time of training
        if scores is None:
            return None
        row: dict[str, metrics.Value] = {
            "eval_return_mean": float(scores.returns.mean()),
            "eval_return_std": float(scores.returns.std()),
            "eval_episodes": len(scores.returns),
        }
        self._writer.write(steps, row)
        self._progress.say(f"step {steps:,}: evaluation {_summary(scores)}")
        return scores

    def _save(self) -> None:
        self._tick()
        self._checkpoints.save(self._state.train_state, self._state.counters)

    def _leave(self) -> int:
        assert self._stop.signum is not None
        self._save()
        self._checkpoints.close()
        self._progress.close()
        print(
            f"stopped by signal {self._stop.signum} at step {self._state.counters.steps:,}; saved "
            f"in {self._path}: the same command goes on from there",
            flush=True,
        )
        return 128 + self._stop.signum

    def _finish(self, how: str) -> int:
        scores = self._evaluate()
        if self._stop:
            return self._leave()
        self._save()
        self._checkpoints.close()
        self._progress.close()
        text = f": {_summary(scores)}" if scores is not None else ""
        print(f"{how}, {self._state.counters.steps:,} steps in {self._path}{text}", flush=True)
        return 0


def _crossed(then: int, now: int, period: int) -> bool:
    """Whether a multiple of `period` lies in (then, now]; never for period 0."""
    return period > 0 and then // period != now // period


def _summary(scores: evaluation.Scores) -> str:
    returns = scores.returns
    return (
        f"return {returns.mean():.2f} +- {returns.std():.2f} "
        f"({returns.min():g} to {returns.max():g}, {len(returns)} games)"
    )
