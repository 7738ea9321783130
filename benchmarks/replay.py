r"""Compares the replay with flashbax: times of adding and sampling, and memory.

  pip install -e '.[bench]' && python -m benchmarks.replay

flashbax's trajectory buffer holds the same single frames. Its samples are sequences of one frame
more than a stack. It does not handle ends of games or rebuild stacks; the replay's times include
both. The memory of flashbax's flat buffer, which stores a whole stack per step, is shown too.
"""

import functools
import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import clock, report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.replay import returns
from jaxdqn.replay import ring as ring_lib
from jaxdqn.replay.samplers import uniform

_STACK, _FRAME, _CALLS = 4, (84, 84), 200


def _ring(capacity: int, num_envs: int, batch_size: int) -> tuple[Any, Callable[..., Any], Any]:
    """A ring full of zeros, its `add` with donation, and its `sample`."""
    num_rows = capacity // num_envs
    layout = ring_lib.Layout(num_rows, _FRAME, jnp.dtype(jnp.uint8), _STACK, stride=1)
    rule = returns.ReturnRule(n_step=1, discount=0.99, reward_clip=1.0, life_loss_ends=True)
    sampler = uniform.uniform(layout, rule)

    def sample(state: ring_lib.RingState, key: jax.Array) -> returns.Batch:
        drawn = sampler.draw(state, key, (), batch_size, jnp.int32(0))
        return returns.gather(layout, rule, state, drawn.row, drawn.env)

    state = jax.jit(lambda: ring_lib.init(layout, num_envs).replace(count=jnp.int32(num_rows)))()
    row = jax.device_put(ring_lib.blank_row(num_envs, _FRAME, np.uint8))
    actions = jnp.zeros(num_envs, jnp.int32)
    add = jax.jit(functools.partial(ring_lib.add, layout), donate_argnums=0)
    return state, lambda state: add(state, row, actions), jax.jit(sample)


def _flashbax(capacity: int, num_envs: int, batch_size: int) -> tuple[Any, Callable[..., Any], Any]:
    """The same of flashbax's trajectory buffer."""
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=num_envs,
        sample_batch_size=batch_size,
        sample_sequence_length=_STACK + 1,
        period=1,
        min_length_time_axis=_STACK + 1,
        max_length_time_axis=capacity // num_envs,
    )
    row = _row(_FRAME)
    state = jax.jit(buffer.init)(row).replace(is_full=jnp.asarray(True))
    rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_envs, 1, *x.shape)), row)
    add = jax.jit(buffer.add, donate_argnums=0)
    return state, lambda state: add(state, rows), jax.jit(buffer.sample)


def _row(frame_shape: tuple[int, ...]) -> dict[str, jax.Array]:
    """What flashbax stores of one step of one environment."""
    return {
        "frame": jnp.ones(frame_shape, jnp.uint8),
        "reward": jnp.ones(()),
        "action": jnp.zeros((), jnp.int32),
        "flags": jnp.zeros((), jnp.uint8),
    }


def measure(capacity: int, num_envs: int, batch_size: int, rounds: int) -> dict[str, Any]:
    """Microseconds of adding [num_envs] steps and of one sample, and bytes, for both."""
    states: dict[str, Any] = {}
    measurements: dict[str, Callable[[], float]] = {}
    keys = [jax.random.key(number) for number in range(_CALLS)]

    def define(name: str, state: Any, add: Callable[..., Any], sample: Callable[..., Any]) -> None:
        states[name] = state

        def add_s() -> float:
            def calls() -> Any:
                for _ in range(_CALLS):
                    states[name] = add(states[name])
                return states[name]

            return clock.seconds(calls) / _CALLS

        def sample_s() -> float:
            start = time.perf_counter()
            for key in keys:
                jax.block_until_ready(sample(states[name], key))
            return (time.perf_counter() - start) / _CALLS

        measurements[f"{name} add"] = add_s
        measurements[f"{name} sample"] = sample_s

    define("jaxdqn", *_ring(capacity, num_envs, batch_size))
    define("flashbax", *_flashbax(capacity, num_envs, batch_size))
    taken = clock.interleaved(measurements, rounds)
    flat = flashbax.make_flat_buffer(
        max_length=capacity,
        min_length=batch_size,
        sample_batch_size=batch_size,
        add_batch_size=num_envs,
    )
    sizes = states | {
        "flashbax, stacked": jax.eval_shape(flat.init, _row((_STACK, *_FRAME))),
    }
    return {
        "flashbax": importlib.metadata.version("flashbax"),
        "capacity": capacity,
        "num_envs": num_envs,
        "batch_size": batch_size,
        "microseconds": {
            name: clock.Rate.of([1e6 * value for value in values])._asdict()
            for name, values in taken.items()
        },
        "bytes": {
            name: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
            for name, state in sizes.items()
        },
    }


def main() -> int:
    """Measures as the flags say and reports."""
    values = flags.FLAGS
    smallest = values.num_envs * (_STACK + 2)
    if values.replay_capacity % values.num_envs or values.replay_capacity < smallest:
        raise errors.SettingError(
            "replay_capacity",
            f"is {values.replay_capacity}; must be a multiple of --num_envs={values.num_envs}, "
            f"at least "
            f"{smallest}",
        )
    folder = report.out_folder()
    result = measure(values.replay_capacity, values.num_envs, values.batch_size, values.rounds)
    rows = [(name, rate["median"], "us") for name, rate in result["microseconds"].items()]
    rows += [(f"{name} memory", size / 1e9, "GB") for name, size in result["bytes"].items()]
    report.finish("replay", result, report.table(("replay", "value", "unit"), rows), folder)
    return 0


def _define_flags() -> None:
    flags.DEFINE_integer("replay_capacity", 200_000, "steps that the replay holds", lower_bound=1)
    flags.DEFINE_integer("num_envs", 16, "steps added at a time", lower_bound=1)
    flags.DEFINE_integer("batch_size", 32, "transitions per sample", lower_bound=1)
    report.define_flags()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
