r"""Predicts the speed of training on an accelerator from what is counted without one.

  python -m benchmarks.model --emulators_steps_per_second=17900

`docs/performance-model.md` explains the terms, and where their constants come from.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks import flops, report
from jaxdqn.assembly import memory
from jaxdqn.cli import devices, program
from jaxdqn.envs import api
from jaxdqn.settings import config as config_lib
from jaxdqn.settings import presets

_GAME = api.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)
# Times that each parameter is read or written in an update: its gradient, Adam's two means, the
# step, the target network, and the clipping norm.
_PASSES = 12


class Accelerator(NamedTuple):
    """Constants of an accelerator and of its host."""

    kinds: tuple[str, ...]  # words of which one is in what JAX calls the device
    operation_s: float  # from the start of an operation to that of the next one
    flops: float  # of products of this size, not of large ones
    bytes_per_second: float
    act_start_s: float  # of the host, to start acting
    slice_start_s: float  # of the host, to start a slice of updates
    turn_s: float  # of the host, for all else in a turn: packing, emulators' calls, games
    operations: Mapping[str, tuple[int, int]]  # of acting and of an update, by preset


ACCELERATORS: Mapping[str, Accelerator] = {
    "h100": Accelerator(
        kinds=("H100", "H200"),
        operation_s=2.8e-6,
        flops=60e12,
        bytes_per_second=3.35e12,  # of an H100; an H200 has 4.8e12
        act_start_s=0.86e-3,
        slice_start_s=0.63e-3,
        turn_s=0.4e-3,
        operations={
            "atari": (30, 81),
            "atari_gpu": (34, 94),
            "atari_fast": (34, 94),
            "c51": (31, 88),
            "qr_dqn": (31, 84),
            "rainbow": (54, 198),
        },
    ),
    "v5e": Accelerator(
        kinds=("v5 lite", "v5e"),
        operation_s=1e-6,
        flops=20e12,
        bytes_per_second=0.82e12,
        act_start_s=0.3e-3,
        slice_start_s=0.3e-3,
        turn_s=0.4e-3,
        operations={
            "atari": (328, 532),
            "atari_gpu": (348, 548),
            "atari_fast": (348, 548),
            "c51": (333, 447),
            "qr_dqn": (340, 467),
            "rainbow": (607, 930),
        },
    ),
}


def of_device(kind: str) -> Accelerator | None:
    """The constants for what JAX calls a device, if there are any."""
    for accelerator in ACCELERATORS.values():
        if any(word in kind for word in accelerator.kinds):
            return accelerator
    return None


def predict(
    config: config_lib.Config, accelerator: Accelerator, emulators_steps_per_second: float
) -> dict[str, Any]:
    """The parts of a turn in milliseconds, and the speed that follows.

    Args:
      config: of a run on an Atari game, with one of the presets that are counted.
      accelerator: on which it runs.
      emulators_steps_per_second: of the machine, without learning.
    """
    acting_operations, update_operations = accelerator.operations[config.preset]
    update_flops, moved = flops.of_update(config, _GAME), _bytes(config)
    update_s = {
        "launches": update_operations * accelerator.operation_s,
        "products": update_flops / accelerator.flops,
        "memory": moved / accelerator.bytes_per_second,
    }
    updates = config.group_size / config.steps_per_update
    acting_s = acting_operations * accelerator.operation_s
    slices = updates / config.slice_updates
    sides = {
        "emulators": config.group_size / emulators_steps_per_second,
        "host": accelerator.turn_s + accelerator.act_start_s + slices * accelerator.slice_start_s,
        "device": acting_s + updates * sum(update_s.values()),
    }
    turn_s = max(sides.values())
    return {
        "update_gflop": update_flops / 1e9,
        "update_megabytes": moved / 1e6,
        "update_operations": update_operations,
        **{f"update_{name}_ms": 1e3 * seconds for name, seconds in update_s.items()},
        "update_ms": 1e3 * sum(update_s.values()),
        **{f"turn_{name}_ms": 1e3 * seconds for name, seconds in sides.items()},
        "steps_per_second": config.group_size / turn_s,
        "bound_by": max(sides, key=lambda side: sides[side]),
    }


def _bytes(config: config_lib.Config) -> float:
    """Bytes that an update moves: of parameters, of frames, and of what layers give."""
    parameters = memory.num_parameters(config, _GAME)
    frames = config.batch_size * (config.frame_stack + config.n_step) * math.prod(_GAME.frame_shape)
    layers = flops.layer_elements(config, _GAME)
    passes = 2 * flops.passes(config)  # written and read
    itemsize = np.dtype(config.compute_dtype).itemsize
    return 4 * _PASSES * parameters + 2 * frames + passes * itemsize * layers


def main() -> int:
    """Predicts as the flags say and reports."""
    folder, rows, found = report.out_folder(), [], {}
    for name, accelerator in ACCELERATORS.items():
        for preset in accelerator.operations:
            config = presets.resolve("Breakout", preset, {})
            one = predict(config, accelerator, flags.FLAGS.emulators_steps_per_second)
            found[f"{name} {preset}"] = one
            shown = ("update_ms", "turn_emulators_ms", "turn_host_ms", "turn_device_ms")
            values = [one[key] for key in (*shown, "steps_per_second", "bound_by")]
            rows.append((name, preset, *values))
    head = ("device", "preset", "an update, ms", "emulators, ms a turn", "host", "device")
    report.finish(
        "model", {"predictions": found}, report.table((*head, "steps/s", "bound by"), rows), folder
    )
    return 0


def _define_flags() -> None:
    flags.DEFINE_float(
        "emulators_steps_per_second",
        17_900.0,
        "of the machine, as `benchmarks.throughput` measures them",
        lower_bound=1.0,
    )
    devices.define_compilation_cache()
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
