r"""Compares updates of the presets of published agents with those of double DQN.

  python -m benchmarks.family --presets=double_dqn,c51,qr_dqn,rainbow

Every preset learns from the same batch of random frames, so the environments and the replay take no
time. Drawing from a prioritized replay of a million steps and learning its priorities is measured
separately. Memory is that of the compiled update: its arguments, which the learner keeps, and what
it needs besides them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import clock, report
from jaxdqn import errors
from jaxdqn.algorithms import pqn
from jaxdqn.assembly import parts
from jaxdqn.cli import devices, program
from jaxdqn.envs import api
from jaxdqn.replay import returns, ring
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets, published, registries

_SPEC = api.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)
_BASE = "double_dqn"  # that others are compared with
_PRIORITIZED = "prioritized draws alone"
_DRAWS = 200  # in one call
_ROUND_S = 1.0  # about, of a measurement


class Updates(NamedTuple):
    """A compiled update of a preset."""

    run: Callable[[int], float]  # (number of updates) -> seconds
    memory_bytes: int
    parameters: int


def _batch(config: config_lib.Config, size: int) -> Any:
    """Transitions, or steps with known returns where the algorithm learns from these."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, size, 4, *_SPEC.frame_shape), np.uint8)
    seen, reached = jnp.asarray(frames)
    action = jnp.asarray(random.integers(0, _SPEC.num_actions, size), jnp.int32)
    reward = jnp.asarray(random.normal(size=size), jnp.float32)
    if config.learns_by_updates:
        return returns.Batch(seen, action, reward, jnp.full(size, config.discount), reached)
    return pqn.Targets(seen, action, reward, jnp.ones(size, bool))


def build(preset: str, batch_size: int) -> Updates:
    """Compiles the update of a preset."""
    config = presets.resolve("Breakout", preset, {})
    learner = registries.ALGORITHMS.load(config.algorithm).make_learner(config, _SPEC, None)
    batch = _batch(config, batch_size)
    weight = jnp.ones(batch_size) if config.sampler != config_lib.Config.sampler else None
    # Where the learning rate is a factor of each step, it is an argument.
    factor = None if config.learns_by_updates else jnp.float32(config.learning_rate)
    state = learner.init(jax.random.key(0), batch.observation[:1])

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, batch: Any) -> Any:
        key = jax.random.fold_in(state.draw_key, state.updates)
        return learner.update(state, batch, key, weight, factor)[0]

    compiled = update.lower(state, batch).compile()
    memory: Any = compiled.memory_analysis()
    kept = [state]

    def run(number: int) -> float:
        def updates() -> Any:
            for _ in range(number):
                kept[0] = compiled(kept[0], batch)
            return kept[0]

        return clock.seconds(updates)

    return Updates(
        run=run,
        memory_bytes=memory.argument_size_in_bytes + memory.temp_size_in_bytes,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
    )


def prioritized_draws(batch_size: int) -> Callable[[], float]:
    """Builds a measurement: milliseconds to draw a batch and to learn its priorities."""
    config = presets.resolve("Breakout", "rainbow", {"batch_size": batch_size})
    layout = parts.ring_layout(config, _SPEC)._replace(frame_shape=(1,))
    sampler = parts.make_sampler(config, layout, None)
    rows = ring.init(layout, config.group_size).replace(count=jnp.int32(layout.num_rows))
    random = np.random.default_rng(0)
    masses = sampler.init(config.group_size)
    mass = jnp.asarray(random.random(masses.mass.shape), jnp.float32)
    masses = type(masses)(mass, mass.sum(axis=2), mass.max(axis=2))

    @functools.partial(jax.jit, donate_argnums=0)
    def many(masses: Any, rows: ring.RingState) -> Any:
        def one(masses: Any, number: jax.Array) -> tuple[Any, None]:
            key = jax.random.fold_in(jax.random.key(0), number)
            drawn = sampler.draw(rows, key, masses, batch_size, number)
            return sampler.learned(masses, drawn, drawn.weight, jnp.bool_(True)), None

        return jax.lax.scan(one, masses, jnp.arange(_DRAWS))[0]

    kept = [masses]

    def milliseconds() -> float:
        def draws() -> Any:
            kept[0] = many(kept[0], rows)
            return kept[0]

        return 1e3 * clock.seconds(draws) / _DRAWS

    return milliseconds


def measure(names: list[str], batch_size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of an update, memory and parameters of each preset."""
    built = {name: build(name, batch_size) for name in names}
    each: dict[str, int] = {}  # updates in a measurement

    def milliseconds(name: str) -> float:
        if name not in each:
            built[name].run(1)
            each[name] = max(1, round(_ROUND_S / built[name].run(1)))
        return 1e3 * built[name].run(each[name]) / each[name]

    measurements: dict[str, Callable[[], float]] = {
        name: functools.partial(milliseconds, name) for name in names
    }
    taken = clock.interleaved(measurements | {_PRIORITIZED: prioritized_draws(batch_size)}, rounds)
    base = taken[_BASE]
    return {
        name: {
            "milliseconds": clock.Rate.of(values)._asdict(),
            "ratio": clock.Rate.of(
                [value / of for value, of in zip(values, base, strict=True)]
            )._asdict(),
            "memory_bytes": built[name].memory_bytes if name in built else 0,
            "parameters": built[name].parameters if name in built else 0,
        }
        for name, values in taken.items()
    }


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    unknown = [name for name in values.presets if name not in published.AGENTS]
    if unknown:
        raise errors.SettingError(
            "presets", f"has {unknown[0]}; must be of {', '.join(published.AGENTS)}"
        )
    folder = report.out_folder()
    devices.start_devices()
    names = list(dict.fromkeys([_BASE, *(values.presets or published.AGENTS)]))
    found = measure(names, values.batch_size, values.rounds)
    rows = [
        (
            name,
            one["milliseconds"]["median"],
            1e3 / one["milliseconds"]["median"],
            one["ratio"]["median"],
            one["memory_bytes"] / 1e6,
            one["parameters"],
        )
        for name, one in found.items()
    ]
    head = ("preset", "ms", "updates/s", f"times {_BASE}", "MB", "parameters")
    figures = {"batch_size": values.batch_size, "presets": found}
    report.finish("family", figures, report.table(head, rows), folder)
    return 0


def _define_flags() -> None:
    flags.DEFINE_list("presets", [], "comma-separated presets (default: all published agents)")
    flags.DEFINE_integer("batch_size", 32, "transitions per update", lower_bound=1)
    devices.define_compilation_cache()
    report.define_flags()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
