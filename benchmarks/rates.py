"""The parts of a training run, which can be timed separately."""

import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.algorithms import replayed, run_state
from jaxdqn.assembly import device_programs as device_lib
from jaxdqn.assembly import turn_inputs
from jaxdqn.cli import setting_flags
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, signals, turn_notes
from jaxdqn.envs import api, registry
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets, registries
from jaxdqn.training import env_groups, loop

_NEVER = 2**62  # no update falls due before this step
_SYNC_S = 0.5  # calls queued on the device between two waits


def asked(default_env: str) -> tuple[config_lib.Config, dict[str, Any]]:
    """The settings that the flags ask for, and those of them that were given.

    Args:
      default_env: the game if none is given.

    Raises:
      SettingError: they are wrong, or of an algorithm without updates from a replay.
    """
    given = setting_flags.given_settings()
    env, preset = given.pop("env", None) or default_env, given.pop("preset", "")
    config = presets.resolve(env, preset, given)
    if not config.learns_by_updates:
        raise errors.SettingError(
            "algorithm",
            f"is {config.algorithm}; only updates from a replay, as of dqn, are measured",
        )
    return config, given


def _the(env: api.VectorEnv, step: int, share: range) -> api.VectorEnv:
    """Provides environments that already exist."""
    return env


def new_state(
    device: device_lib.DevicePrograms,
    train_state: Any,
    key: jax.Array,
    num_groups: int,
    learning_from_step: int = _NEVER,
) -> run_state.RunState:
    """A run before its first step, in which no update falls due before a step."""
    return run_state.RunState(
        train_state=train_state,
        sums=device.init_sums(),
        actors=[device.init_actor(key) for _ in range(num_groups)],
        sampler=device.init_sampler(),
        learning_from_step=learning_from_step,
    )


class Rates:
    """A training run whose parts are timed separately and together, each for `seconds`."""

    def __init__(self, config: config_lib.Config, mesh: Mesh, seconds: float):
        config = dataclasses.replace(config, env_lifetime_steps=0)
        self._config, self._mesh, self._seconds = config, mesh, seconds
        self._envs = [
            registry.make(
                config.env,
                config.group_size,
                config.seed + group * config.group_size,
                config.env_options,
                config.env_threads,
            )
            for group in range(config.num_groups)
        ]
        self._groups = [
            env_groups.Group(functools.partial(_the, env), config.group_size) for env in self._envs
        ]
        self.spec = self._envs[0].spec
        self._random = np.random.default_rng(config.seed)
        self._device = device_lib.build(config, self.spec, mesh)
        make_learner = registries.ALGORITHMS.load(config.algorithm).make_learner
        programs = replayed.build_programs(config, self.spec, mesh, make_learner)
        self._programs = replayed.as_graph(programs, print)
        key = mesh_lib.put(mesh, jax.random.key(config.seed), mesh_lib.REPLICATED)
        train_state = self._programs.init(key)
        self._state = new_state(self._device, train_state, key, config.num_groups)
        self._slices_per_sync = 1
        self._turns = loop.turns(
            config,
            self._device,
            mesh,
            self._groups,
            self._state,
            replayed.learning(config, self._programs),
            processes.Stop(signals.StopRequest()),  # nothing requests it
        )
        while self._state.counters.steps < config.learning_starts_steps:
            next(self._turns)
        self._steps = [self._receive_and_send(group) for group in self._envs for _ in range(8)]
        self._inputs = [self._put(step) for step in self._steps]

    def emulators(self) -> float:
        """Steps/s of the emulators with random actions, group by group in turn."""
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for group in self._envs:
                self._receive_and_send(group)
                steps += group.num_envs
        return steps / (time.perf_counter() - start)

    def acting(self) -> float:
        """Steps/s of the whole way from time steps on the host to actions on the host."""
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for step in self._steps:
                jax.device_get(self._act(self._put(step)))
                steps += self._config.group_size
        return steps / (time.perf_counter() - start)

    def acting_on_device(self) -> float:
        """Steps/s of recording and acting without transfers and without waiting on the host."""
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for inputs in self._inputs:
                actions = self._act(inputs)
                steps += self._config.group_size
            jax.block_until_ready(actions)
        return steps / (time.perf_counter() - start)

    def updates(self) -> float:
        """Updates/s, in the slices of training."""
        state = self._state
        start, updates = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            queued = time.perf_counter()
            for _ in range(self._slices_per_sync):
                state.train_state, state.sums, state.sampler, _ = self._programs.learn(
                    state.train_state, state.sums, state.sampler, state.ring
                )
                updates += self._config.slice_updates
            jax.block_until_ready(state.sums)
            if time.perf_counter() - queued < min(_SYNC_S, self._seconds) / 2:
                self._slices_per_sync *= 2
        return updates / (time.perf_counter() - start)

    def training(self) -> dict[str, float]:
        """Training end to end: steps/s, and samples per step."""
        state, counters = self._state, self._state.counters
        # Half a slice is owed at the start, which is the average that is owed at the end.
        owed = self._config.slice_updates / 2
        state.learning_from_step = counters.steps - round(owed * self._config.steps_per_update)
        state.learning_from_update = counters.updates
        first_step, first_update = counters.steps, counters.updates
        start = time.perf_counter()
        while time.perf_counter() - start < self._seconds:
            for _ in self._groups:
                next(self._turns)
        jax.block_until_ready(state.sums)
        elapsed = time.perf_counter() - start
        state.learning_from_step = _NEVER
        steps = counters.steps - first_step
        return {
            "steps_per_second": steps / elapsed,
            "samples_per_step": (counters.updates - first_update) * self._config.batch_size / steps,
        }

    def close(self) -> None:
        """Frees the emulators."""
        for group in self._groups:
            group.close()

    def _receive_and_send(self, env: api.VectorEnv) -> api.TimeStep:
        step = env.receive()
        env.send(self._random.integers(self.spec.num_actions, size=env.num_envs))
        return step

    def _put(self, step: api.TimeStep) -> turn_inputs.Packed:
        note = turn_notes.write(len(step.reward), [], signum=0)
        return turn_inputs.put(self._mesh, step, note, 0.1)

    def _act(self, inputs: turn_inputs.Packed) -> jax.Array:
        state = self._state
        state.actors[0], state.sampler, state.ring, note = self._device.act_and_record(
            state.train_state.params,
            state.train_state.refused,
            state.actors[0],
            state.sampler,
            state.ring,
            inputs,
        )
        return note
