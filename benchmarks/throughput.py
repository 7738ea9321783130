r"""Measures the speed of emulators alone, acting alone, updates alone, and training as a whole.

  python -m benchmarks.throughput --env=Breakout

The benchmark accepts every setting of `jaxdqn.train`. It measures all rates in one process, in
turn, over several rounds. It saves no run.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from absl import flags
from jax.sharding import Mesh

from benchmarks import clock, flops, model, report
from benchmarks import rates as rates_lib
from jaxdqn import errors
from jaxdqn.assembly import env_spec, memory
from jaxdqn.cli import devices, program, setting_flags
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import registry
from jaxdqn.settings import config as config_lib
from jaxdqn.training import setup, working_memory


def measure(config: config_lib.Config, mesh: Mesh, rounds: int, seconds: float) -> dict[str, Any]:
    """Measures one configuration; returns all figures by name, as `figures` explains them."""
    parts = rates_lib.Rates(config, mesh, seconds)
    on_cpu = _is_cpu(mesh)
    samples: list[float] = []  # per step, in each round

    def training() -> float:
        found = parts.training()
        samples.append(found["samples_per_step"])
        return found["steps_per_second"]

    measurements: dict[str, Callable[[], float]] = {
        "products": flops.product_rate(2048 if on_cpu else 8192, jnp.dtype(config.compute_dtype)),
        "emulators": parts.emulators,
        "acting": parts.acting,
        "acting_on_device": parts.acting_on_device,
        "updates": parts.updates,
        "training": training,
    }
    taken = clock.interleaved(measurements, rounds)
    parts.close()
    rates = {name: clock.Rate.of(values) for name, values in taken.items()}
    result = {
        "settings": {name: getattr(config, name) for name in _SHOWN},
        "rates": {name: rate._asdict() for name, rate in rates.items()},
        "devices": mesh.devices.size,
    }
    median = {name: rate.median for name, rate in rates.items()}
    result |= figures(config, mesh, flops.of_update(config, parts.spec), median)
    return result | {"samples_per_step": clock.Rate.of(samples[1:]).median}


def figures(
    config: config_lib.Config, mesh: Mesh, update_flops: float, median: Mapping[str, float]
) -> dict[str, float]:
    """What follows from the rates of the parts.

    `update_floor_ms` is the time that the products of the plain convolutions and dense layers take
    at the rate of large products of the same type. Minimal filtering, which needs fewer products,
    may be faster.

    `predicted_update_ms` and `predicted_steps_per_second` are what `benchmarks.model` says of the
    accelerator, for the presets that it counts.

    `bound_steps_per_second` is the rate of the slower side on an accelerator. On a CPU, where both
    sides use the same cores, it is the rate of both one after the other. The idle shares are
    computed from the time that each side took alone in this run.

    Args:
      config: the settings.
      mesh: the devices.
      update_flops: operations of an update.
      median: rates by the part's name.
    """
    on_cpu = _is_cpu(mesh)
    update_s, emulators_s = 1 / median["updates"], 1 / median["emulators"]
    # Several accelerators multiply at the same time; virtual devices of a CPU share its cores.
    product_rate = median["products"] * (1 if on_cpu else mesh.devices.size)
    floor_s = update_flops / product_rate
    acting_s = 1 / median["acting" if on_cpu else "acting_on_device"]
    device_s = acting_s + update_s / config.steps_per_update  # of one step
    bound = 1 / (emulators_s + device_s) if on_cpu else min(1 / emulators_s, 1 / device_s)
    found = {
        "product_gflops": product_rate / 1e9,
        "update_gflop": update_flops / 1e9,
        "update_ms": update_s * 1e3,
        "update_floor_ms": floor_s * 1e3,
        "update_over_floor": update_s / floor_s,
        "samples_per_second": config.batch_size / update_s,
        "emulators_steps_per_second": 1 / emulators_s,
        "acting_steps_per_second": median["acting"],
        "device_steps_per_second": 1 / device_s,
        "training_steps_per_second": median["training"],
        "bound_steps_per_second": bound,
        "share_of_bound": median["training"] / bound,
        "device_idle": 1 - median["training"] * device_s,
        "emulators_idle": 1 - median["training"] * emulators_s,
    }
    accelerator = model.of_device(mesh.devices.flat[0].device_kind)
    if accelerator and config.preset in accelerator.operations:
        predicted = model.predict(config, accelerator, 1 / emulators_s)
        for name in ("update_ms", "steps_per_second"):
            found[f"predicted_{name}"] = predicted[name]
    if on_cpu:  # everything except emulation and updates: acting, recording, work on the host
        others_s = 1 / median["training"] - update_s / config.steps_per_update - emulators_s
        found["other_share_of_step"] = median["training"] * others_s
    return found


def _is_cpu(mesh: Mesh) -> bool:
    return bool(mesh.devices.flat[0].platform == "cpu")


_SHOWN = (
    *("env", "preset", "num_envs", "batch_size", "steps_per_update", "slice_updates"),
    *("replay_capacity", "double_q", "n_step", "compute_dtype"),
)


def _define_flags() -> None:
    report.define_flags(
        rounds=15
    )  # many short rounds, because a neighbor's load comes and goes within seconds
    report.define_seconds(2.0, "seconds of each measurement in a round")
    flags.DEFINE_integer("devices", None, "number of devices to use (default: all)", lower_bound=1)
    devices.define_compilation_cache()
    setting_flags.define_settings()


def main() -> int:
    """Measures as the flags say and reports."""
    (asked, given), values = rates_lib.asked("Breakout"), flags.FLAGS
    devices.start_devices()
    mesh = mesh_lib.make_mesh(values.devices)
    if values.devices and mesh.devices.size < values.devices:
        raise errors.SettingError(
            "devices", f"is {values.devices}; only {mesh.devices.size} are here"
        )
    setup.check_division(asked, mesh.devices.size)
    spec = env_spec.describe(asked)
    config = memory.fit_replay(
        asked,
        spec,
        memory.free_device_bytes(mesh),
        chosen_by_user="replay_capacity" in given,
        working_bytes=lambda config: working_memory.needed_bytes(config, spec, mesh),
    )
    folder = report.out_folder()
    result = measure(config, mesh, values.rounds, values.seconds)
    rows = [(name, value) for name, value in result.items() if not isinstance(value, dict)]
    name = f"throughput_{registry.game(config.env).plain_name}-{config.preset}"
    report.finish(name, result, report.table(("figure", "value"), rows), folder)
    return 0


if __name__ == "__main__":
    program.run_program(_define_flags, main)
