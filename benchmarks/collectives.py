r"""Measures how long devices take to exchange gradients at updates and notes at turns.

  python -m launch.local --processes=2 --module=benchmarks.collectives -- --env=Breakout

A note is a few numbers per environment, such as its action, that all processes need. With one
process, the benchmark measures the devices of that process.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh

from benchmarks import report
from jaxdqn import errors
from jaxdqn.agent import learner
from jaxdqn.assembly import env_spec, parts
from jaxdqn.cli import paths, program, shared_flags
from jaxdqn.distributed import joining, processes, turn_notes
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.settings import presets

_CALLS = 20  # per round


def _rounds(function: Callable[..., Any], *args: Any) -> list[float]:
    """Microseconds per call, for each round."""
    found = []
    for _ in range(flags.FLAGS.rounds + 1):
        processes.wait_for_all()
        start = time.perf_counter()
        for _ in range(_CALLS):
            jax.block_until_ready(function(*args))
        found.append((time.perf_counter() - start) / _CALLS * 1e6)
    return found[1:]


def _mean_of_gradients(mesh: Mesh, params: Any) -> Callable[[Any], Any]:
    replicated = mesh_lib.REPLICATED

    @mesh_lib.on_mesh(mesh, replicated, replicated)
    def mean(tree: Any) -> Any:
        return learner.averaged(tree, mesh_lib.AXIS)

    return mean


def main() -> int:
    """Measures and reports."""
    values = flags.FLAGS
    config = presets.resolve(values.env, values.preset, {})
    joining.join(values.coordinator_address, values.num_processes, values.process_id)
    with processes.abort_on_error():
        folder = paths.usable("out", values.out or report.RESULTS)
        if problem := processes.from_primary(lambda: report.why_not_written(folder)):
            raise errors.SettingError("out", problem)
        mesh = mesh_lib.make_mesh()
        spec = env_spec.describe(config)
        seen = parts.observation_like(config, spec)
        key = mesh_lib.put(mesh, jax.random.key(0), mesh_lib.REPLICATED)
        network, everywhere = parts.make_network(config, spec), mesh_lib.REPLICATED
        params = mesh_lib.on_mesh(mesh, everywhere, everywhere)(
            lambda key: network.init(key, jnp.zeros(seen.shape, seen.dtype))
        )(key)
        num_envs = mesh.devices.size * values.envs_per_device
        note = mesh_lib.put(
            mesh, turn_notes.write(len(processes.share(num_envs)), [], signum=0), mesh_lib.BY_ENV
        )

        @mesh_lib.on_mesh(mesh, mesh_lib.BY_ENV, mesh_lib.REPLICATED)
        def gather(note: jax.Array) -> jax.Array:
            return mesh_lib.gathered(mesh, note)

        gradients_us = _rounds(_mean_of_gradients(mesh, params), params)
        notes_us = _rounds(gather, note)
        result = {
            "devices": mesh.devices.size,
            "processes": processes.count(),
            "gradient_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
            "gradient_mean_us": float(np.median(gradients_us)),
            "gradient_mean_us_rounds": gradients_us,
            "note_bytes": note.nbytes,
            "note_gather_us": float(np.median(notes_us)),
            "note_gather_us_rounds": notes_us,
        }
        if processes.is_primary():
            rows = [(name, result[name]) for name in result if not name.endswith("rounds")]
            name = f"collectives_{values.env}_{processes.count()}x{len(mesh.local_devices)}"
            report.finish(name, result, report.table(("", ""), rows), folder)
        processes.wait_for_all()
    return 0


def _define_flags() -> None:
    flags.DEFINE_string("env", "Breakout", "game, which determines the network")
    flags.DEFINE_string("preset", "", "preset (default: the one of the game)")
    flags.DEFINE_integer(
        "envs_per_device", 16, "environments that each device serves in a turn", lower_bound=1
    )
    shared_flags.define_processes()
    report.define_flags(rounds=5)


if __name__ == "__main__":
    program.run_program(_define_flags, main)
