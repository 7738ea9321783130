r"""Measures emulators alone, acting alone, updates alone, and training end to end.

  python -m benchmarks.throughput --env=Breakout

Takes every setting of `jaxdqn.train`. All rates are taken in one process, in turn, over several
rounds. Nothing is learned here that is worth keeping.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
from absl import flags
from jax.sharding import Mesh

from benchmarks import clock, flops, report
from jaxdqn import cli, presets
from jaxdqn import config as config_lib
from jaxdqn.envs import api, envpool, games
from jaxdqn.replay import ring as ring_lib
from jaxdqn.runtime import device as device_lib
from jaxdqn.runtime import episodes, loop, memory, setup
from jaxdqn.runtime import mesh as mesh_lib

_NEVER = 2**62  # no update falls due before this step


class _TimedEnv:
    """An environment that knows how long it was waited for, and when its actions came."""

    def __init__(self, env: api.VectorEnv):
        self.spec, self.num_envs, self._env = env.spec, env.num_envs, env
        self.waited_s = 0.0
        self.sent_at = 0.0

    def send(self, actions: npt.NDArray[np.integer]) -> None:
        """Starts the step that plays `actions` [E]."""
        self.sent_at = time.perf_counter()
        self._env.send(actions)

    def receive(self) -> api.TimeStep:
        """Waits for the step under way."""
        start = time.perf_counter()
        step = self._env.receive()
        self.waited_s += time.perf_counter() - start
        return step

    def close(self) -> None:
        """Frees the emulators."""
        self._env.close()


class Throughput:
    """The parts of a training run, each to be measured alone and together."""

    def __init__(self, config: config_lib.Config, mesh: Mesh, seconds: float):
        self._config, self._mesh, self._seconds = config, mesh, seconds
        self._groups = [
            _TimedEnv(
                envpool.EnvPoolEnv(
                    config.env,
                    config.group_size,
                    config.seed + group * config.group_size,
                    config.env_options,
                    config.env_threads,
                )
            )
            for group in range(config.num_groups)
        ]
        self.spec = self._groups[0].spec
        self._random = np.random.default_rng(config.seed)
        self._device = device_lib.build(config, self.spec, mesh)
        key = mesh_lib.put(mesh, jax.random.key(config.seed), mesh_lib.REPLICATED)
        self._state = loop.RunState(
            train_state=self._device.init_learner(key),
            sums=self._device.init_sums(),
            actors=[self._device.init_actor(key) for _ in self._groups],
            counters=loop.Counters(),
            recent=episodes.RecentGames(),
            learning_from_step=_NEVER,
        )
        self._waited_for_device_s = 0.0
        self._turns = self._timed_turns()
        while self._state.counters.steps < config.learning_starts_steps:
            next(self._turns)
        self._rows = [self._receive_and_send(group) for group in self._groups for _ in range(8)]

    def emulators(self) -> float:
        """Steps/s of the emulators under random actions, their groups in turn."""
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for group in self._groups:
                self._receive_and_send(group)
                steps += group.num_envs
        return steps / (time.perf_counter() - start)

    def acting(self) -> float:
        """Steps/s of recording time steps that are there already and choosing their actions."""
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for step in self._rows:
                row, share = mesh_lib.put(
                    self._mesh,
                    (ring_lib.Row(**step._asdict()), np.float32(0.1)),
                    (mesh_lib.BY_ENV, mesh_lib.REPLICATED),
                )
                self._state.actors[0], self._state.ring, actions = self._device.act_and_record(
                    self._state.train_state.params,
                    self._state.actors[0],
                    self._state.ring,
                    row,
                    share,
                )
                jax.device_get(actions)
                steps += self._config.group_size
        return steps / (time.perf_counter() - start)

    def updates(self) -> float:
        """Updates/s, in slices as in training."""
        start, updates = time.perf_counter(), 0
        while time.perf_counter() - start < self._seconds:
            for _ in range(4):
                self._state.train_state, self._state.sums = self._device.learn(
                    self._state.train_state, self._state.sums, self._state.ring
                )
                updates += self._config.slice_updates
            jax.block_until_ready(self._state.sums)
        return updates / (time.perf_counter() - start)

    def training(self) -> dict[str, float]:
        """Training end to end: steps/s, samples per step, and what the host waited for."""
        state, counters = self._state, self._state.counters
        state.learning_from_step, state.learning_from_update = counters.steps, counters.updates
        first_step, first_update = counters.steps, counters.updates
        emulators_before = sum(group.waited_s for group in self._groups)
        device_before = self._waited_for_device_s
        start = time.perf_counter()
        while time.perf_counter() - start < self._seconds:
            for _ in self._groups:
                next(self._turns)
        jax.block_until_ready(state.sums)
        elapsed = time.perf_counter() - start
        state.learning_from_step = _NEVER
        steps = counters.steps - first_step
        waited = sum(group.waited_s for group in self._groups) - emulators_before
        return {
            "steps_per_second": steps / elapsed,
            "samples_per_step": (counters.updates - first_update) * self._config.batch_size / steps,
            "host_waits_for_emulators": waited / elapsed,
            "host_waits_for_device": (self._waited_for_device_s - device_before) / elapsed,
        }

    def close(self) -> None:
        """Frees the emulators."""
        for group in self._groups:
            group.close()

    def _receive_and_send(self, group: _TimedEnv) -> api.TimeStep:
        step = group.receive()
        group.send(self._random.integers(self.spec.num_actions, size=group.num_envs))
        return step

    def _timed_turns(self) -> Iterator[None]:
        """The loop of training, with the time between an action's order and its arrival taken."""
        ordered_at = 0.0
        act = self._device.act_and_record

        def timed_act(*args: Any) -> Any:
            nonlocal ordered_at
            out = act(*args)
            ordered_at = time.perf_counter()
            return out

        timed = self._device._replace(act_and_record=timed_act)
        turns = loop.turns(self._config, timed, self._mesh, self._groups, self._state)
        for number, _ in enumerate(turns):
            group = self._groups[number % len(self._groups)]
            self._waited_for_device_s += group.sent_at - ordered_at
            yield


def measure(config: config_lib.Config, mesh: Mesh, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures of one configuration, by name; rates are medians over the rounds.

    `device_idle` and `emulators_idle` are shares of the training time, worked out from what each
    took alone in this run; where both use the same cores they do not add up to anything.
    """
    bench = Throughput(config, mesh, seconds)
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    trainings: list[dict[str, float]] = []

    def training() -> float:
        trainings.append(bench.training())
        return trainings[-1]["steps_per_second"]

    measurements: dict[str, Callable[[], float]] = {
        "products": flops.product_rate(2048 if on_cpu else 8192),
        "emulators": bench.emulators,
        "acting": bench.acting,
        "updates": bench.updates,
        "training": training,
    }
    taken = clock.interleaved(measurements, rounds)
    bench.close()
    rates = {name: clock.Rate.of(values) for name, values in taken.items()}
    update_s = 1 / rates["updates"].median
    emulators, training_rate = rates["emulators"].median, rates["training"].median
    device_s = 1 / rates["acting"].median + update_s / config.steps_per_update  # of one step
    bound = 1 / (1 / emulators + device_s) if on_cpu else min(emulators, 1 / device_s)
    floor_s = flops.of_update(config, bench.spec) / rates["products"].median
    return {
        "settings": {"env": config.env, "preset": config.preset, "num_envs": config.num_envs}
        | {name: getattr(config, name) for name in _SHOWN},
        "rates": {name: rate._asdict() for name, rate in rates.items()},
        "product_gflops": rates["products"].median / 1e9,
        "update_gflop": flops.of_update(config, bench.spec) / 1e9,
        "update_ms": update_s * 1e3,
        "update_floor_ms": floor_s * 1e3,
        "update_over_floor": update_s / floor_s,
        "samples_per_second": rates["updates"].median * config.batch_size,
        "emulators_steps_per_second": emulators,
        "acting_steps_per_second": rates["acting"].median,
        "device_steps_per_second": 1 / device_s,
        "training_steps_per_second": training_rate,
        "bound_steps_per_second": bound,
        "share_of_bound": training_rate / bound,
        "device_idle": 1 - training_rate * device_s,
        "emulators_idle": 1 - training_rate / emulators,
        # What is neither emulation nor updates: acting, recording, the host's own work.
        "other_share_of_step": 1
        - training_rate * (update_s / config.steps_per_update + 1 / emulators),
        **{
            name: clock.Rate.of([row[name] for row in trainings[1:]]).median
            for name in trainings[0]
            if name != "steps_per_second"
        },
    }


_SHOWN = ("batch_size", "steps_per_update", "slice_updates", "replay_capacity", "double_q")


def _define_flags() -> None:
    flags.DEFINE_integer("rounds", 5, "rounds that count, after one that does not", lower_bound=1)
    flags.DEFINE_float("seconds", 5.0, "of each measurement in a round", lower_bound=0.1)
    flags.DEFINE_string("out", None, "folder of the result (default: benchmarks/results)")
    cli.define_settings()
    flags.adopt_module_key_flags(cli)


def main() -> int:
    """Measures as the flags say and reports."""
    given = cli.given_settings()
    env, preset = given.pop("env", None) or "Breakout", given.pop("preset", "")
    asked = presets.resolve(env, preset, given)
    mesh, values = mesh_lib.make_mesh(), flags.FLAGS
    config = memory.fit_replay(
        asked,
        setup.describe(asked, mesh),
        memory.free_device_bytes(mesh),
        chosen_by_user="replay_capacity" in given,
    )
    result = measure(config, mesh, values.rounds, values.seconds)
    rows = [(name, value) for name, value in result.items() if not isinstance(value, dict)]
    name = f"throughput_{games.plain_name(config.env)}-{config.preset}"
    report.finish(name, result, report.table(("figure", "value"), rows), values.out)
    return 0


if __name__ == "__main__":
    cli.run_program(_define_flags, main)
