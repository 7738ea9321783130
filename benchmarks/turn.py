r"""Shows where the time of a turn goes.

  python -m benchmarks.turn --env=CartPole

In a turn one group of environments is stepped, and what fell due is learned. The benchmark accepts
every setting of `jaxdqn.train`. It plays turns as training does and adds up what the host does in
each part of them. Beside that it measures what cannot be saved: the emulators alone, and the
arithmetic of acting and learning, in one call for many turns. On a CPU, what remains is the turn's
own cost. On an accelerator, emulators, host and device work in parallel, so the host's own
work is shown instead.
"""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh

from benchmarks import clock, rates, report
from jaxdqn import errors
from jaxdqn.algorithms import api as algorithms
from jaxdqn.assembly import compile_ahead, device_programs, env_spec, turn_inputs
from jaxdqn.cli import devices, program, setting_flags
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, signals
from jaxdqn.envs import api, registry
from jaxdqn.settings import config as config_lib
from jaxdqn.training import env_groups, loop

_AT_ONCE = 64  # turns of arithmetic in one call
PARTS = ("receive", "pack", "act", "wait", "send", "learn", "rest")
_OF_HOST = ("pack", "act", "send", "learn", "rest")  # in the others it waits


class _Laps:
    """Adds up the time between one moment and the next, under names."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Everything since the last lap was `name`."""
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now

    def timed(self, before: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; what passes until it is called counts as `before`."""

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            self.lap(before)
            result = function(*args)
            self.lap(name)
            return result

        return call


class _TimedEnv:
    """Environments whose calls are laps."""

    def __init__(self, env: api.VectorEnv, laps: _Laps):
        self.spec, self.num_envs, self.close = env.spec, env.num_envs, env.close
        self.rest = env.rest
        self.receive = laps.timed("rest", "receive", env.receive)
        self.send = laps.timed("wait", "send", env.send)


class Turns:
    """Turns of a run, which can be timed whole and in parts."""

    def __init__(self, config: config_lib.Config, mesh: Mesh, seconds: float):
        self._config, self._mesh, self._seconds = config, mesh, seconds
        self._laps = _Laps()
        spec = env_spec.describe(config)
        self._device = device_programs.build(config, spec, mesh)
        learning = algorithms.chosen(config).build(config, spec, mesh)
        key = mesh_lib.put(mesh, jax.random.key(config.seed), mesh_lib.REPLICATED)
        self._state = rates.new_state(
            self._device,
            learning.init(key),
            key,
            config.num_groups,
            config.learning_starts_steps,
        )
        self._learn: Any = None  # the devices' program, once it is known
        learning = self._timed_learning(learning)
        groups = [
            env_groups.Group(functools.partial(self._make, group), config.group_size)
            for group in range(config.num_groups)
        ]
        self._turns = self._play(groups, learning)
        self._inputs = turn_inputs.blank(config, spec, mesh)
        while self._state.counters.steps < config.learning_starts_steps + 2 * config.num_envs:
            next(self._turns)

    def _make(self, group: int, step: int, share: range) -> Any:
        config = self._config
        seed = config.seed + group * config.group_size
        made = registry.make(
            config.env, config.group_size, seed, config.env_options, config.env_threads
        )
        return _TimedEnv(made, self._laps)

    def _timed_learning(self, learning: algorithms.Learning) -> algorithms.Learning:
        if learning.compile_ahead is None:
            raise errors.SettingError("algorithm", "is one whose learning is not one program")

        def ahead(function: Any, *_: Any, fallback: Any = None) -> Any:
            self._learn = function
            if fallback:
                function = compile_ahead.with_fallback(function, fallback, print)
            return self._laps.timed("rest", "learn", function)

        return learning.compile_ahead(ahead, None, None, None, None)

    def _play(self, groups: Any, learning: algorithms.Learning) -> Iterator[Any]:
        act = self._laps.timed("pack", "act", self._device.act_and_record)
        device = self._device._replace(act_and_record=act)
        stop = processes.Stop(signals.StopRequest())  # nothing requests it
        return loop.turns(self._config, device, self._mesh, groups, self._state, learning, stop)

    def parts(self) -> dict[str, float]:
        """Microseconds of the host in each part of a turn, in all of it, and its updates."""
        counters = self._state.counters
        jax.block_until_ready(self._state.sums)
        self._laps.lap("before")
        self._laps.seconds.clear()
        first_update, begun, number = counters.updates, time.perf_counter(), 0
        while time.perf_counter() - begun < self._seconds:
            next(self._turns)
            number += 1
        jax.block_until_ready(self._state.sums)
        self._laps.lap("rest")
        each = {part: 1e6 * self._laps.seconds[part] / number for part in PARTS}
        updates = (counters.updates - first_update) / number
        return each | {"turn": sum(each.values()), "updates": updates}

    def emulators(self) -> float:
        """Microseconds that a group of emulators alone takes for a step."""
        env = self._make(0, 0, range(self._config.group_size))
        actions = np.zeros(env.num_envs, np.int32)
        begun, number = time.perf_counter(), 0
        while time.perf_counter() - begun < self._seconds / 2:
            env.receive()
            env.send(actions)
            number += 1
        found = 1e6 * (time.perf_counter() - begun) / number
        env.close()
        return found

    def acting(self) -> float:
        """Microseconds of the arithmetic of acting and recording in a turn."""
        state = self._state
        fixed = (state.train_state.params, state.train_state.refused, self._inputs)
        return self._arithmetic(
            self._act_often, (state.actors[0], state.sampler, state.ring), fixed
        )

    @functools.cached_property  # so that it is compiled once
    def _act_often(self) -> Callable[[Any, Any], Any]:
        act: Any = self._device.act_and_record

        def one(kept: Any, fixed: Any) -> tuple[Any, jax.Array]:
            params, refused, inputs = fixed
            # Only what is called by itself may have options of the compiler.
            *kept, note = act.__wrapped__(params, refused, *kept, inputs)
            return tuple(kept), note

        return _often(one)

    def learning(self) -> float:
        """Microseconds of the arithmetic of an update."""
        state = self._state
        kept = (state.train_state, state.sums, state.sampler)
        return self._arithmetic(self._learn_often, kept, state.ring) / self._config.slice_updates

    @functools.cached_property
    def _learn_often(self) -> Callable[[Any, Any], Any]:
        def one(kept: Any, ring: Any) -> tuple[Any, Any]:
            *kept, drawn = self._learn.__wrapped__(*kept, ring)
            return tuple(kept), drawn

        return _often(one)

    def _arithmetic(self, many: Callable[[Any, Any], Any], kept: Any, fixed: Any) -> float:
        """Microseconds of one of the calls that a function of the devices makes at once."""
        kept = jax.block_until_ready(many(jax.tree.map(jnp.copy, kept), fixed))[0]
        begun, number = time.perf_counter(), 0
        while time.perf_counter() - begun < self._seconds / 2:
            kept = jax.block_until_ready(many(kept, fixed))[0]
            number += _AT_ONCE
        return 1e6 * (time.perf_counter() - begun) / number


def _often(one: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], Any]:
    """A function that makes many calls of another at once, each with what the last one left."""

    @functools.partial(jax.jit, donate_argnums=0)
    def many(kept: Any, fixed: Any) -> Any:
        return jax.lax.scan(lambda carry, _: one(carry, fixed), kept, length=_AT_ONCE)

    called: Callable[[Any, Any], Any] = many
    return called


def measure(config: config_lib.Config, mesh: Mesh, rounds: int, seconds: float) -> dict[str, Any]:
    """Microseconds of a turn by part, and of what it cannot do without; medians of all rounds."""
    turns = Turns(config, mesh, seconds)
    taken: list[dict[str, float]] = []
    for number in range(rounds + 1):  # the first round, in which functions are compiled, is none
        one = turns.parts()
        one |= {"emulators": turns.emulators(), "acting": turns.acting()}
        one["learning"] = one["updates"] * turns.learning()
        if mesh.devices.flat[0].platform == "cpu":
            one["own"] = one["turn"] - one["emulators"] - one["acting"] - one["learning"]
        else:
            one["host"] = sum(one[part] for part in _OF_HOST)
        one["steps_per_second"] = 1e6 * config.group_size / one["turn"]
        if number:
            taken.append(one)
    return {name: clock.Rate.of([one[name] for one in taken])._asdict() for name in taken[0]}


def main() -> int:
    """Measures as the flags say and reports."""
    (config, _), values = rates.asked("CartPole"), flags.FLAGS
    devices.start_devices()
    mesh = mesh_lib.make_mesh(1)
    folder = report.out_folder()
    found = measure(config, mesh, values.rounds, values.seconds)
    rows = [(name, one["median"], one["lowest"], one["highest"]) for name, one in found.items()]
    shown = report.table(("microseconds of a turn", "median", "least", "most"), rows)
    name = f"turn_{registry.game(config.env).plain_name}-{config.preset}"
    report.finish(name, {"turn": found}, shown, folder)
    return 0


def _define_flags() -> None:
    report.define_flags()
    report.define_seconds(2.0, "seconds of each measurement in a round")
    devices.define_compilation_cache()
    setting_flags.define_settings()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
