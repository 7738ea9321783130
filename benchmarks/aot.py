r"""Compiles what the device of a run does for accelerators, on a machine that has none.

  pip install -e '.[aot]'
  python -m benchmarks.aot --presets=atari --targets=h100 --targets=v5e

For each preset it compiles acting, learning and cutting, and shows what the compiler says of them:
the memory that they need besides their arguments, and how many operations the device starts for an
update or a turn. The compilers are JAX's own plugins for CUDA and TPUs, which need no such device.
Install them in an environment of their own: elsewhere JAX looks for the devices at every start.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from benchmarks import report
from jaxdqn import errors
from jaxdqn.cli import program
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api as envs
from jaxdqn.settings import presets
from jaxdqn.training import working_memory

# As XLA describes the device to its own compiler.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536 driver_version: "13.0.0" runtime_version: "13.0.0"
  compile_time_toolkit_version: "13.0.0"
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Name -> arguments of `get_topology_desc`.
TARGETS: Mapping[str, Mapping[str, str]] = {
    "h100": {"platform": "cuda", "target_config": _H100, "topology": "1x1x1"},
    "v5e": {"platform": "tpu", "topology_name": "v5e:2x2"},
    "v6e": {"platform": "tpu", "topology_name": "v6e:2x2"},
}
# The compilers would look for devices that are not here.
_ENVIRONMENT: Mapping[str, str] = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}
_GAME = envs.EnvSpec("Breakout-v5", (84, 84), np.dtype("uint8"), 4, 4)
# What costs a device nothing.
_FREE = frozenset(
    ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "copy-done")
)


class Compiled(NamedTuple):
    """What a compiler says of a program."""

    argument_bytes: int
    temporary_bytes: int
    aliased_bytes: int  # of results that take the place of arguments
    operations: int  # that the device starts: in the largest loop if there is one, else in all
    text: str  # of the program


def look_for_no_device() -> None:
    """Keeps the compilers from looking for devices. Call it before anything is compiled."""
    os.environ.update(_ENVIRONMENT)
    jax.config.update("jax_platforms", "cpu")


def why_not(target: str) -> str:
    """Why nothing can be compiled for a target here; '' if it can."""
    try:
        _device(target)
    except Exception as error:  # of whatever kind the compiler's loading has
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def _device(target: str) -> Any:
    return topologies.get_topology_desc(**TARGETS[target]).devices[0]


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Keeps nothing that is compiled: without a device it could not be loaded again."""
    was = jax.config.jax_enable_compilation_cache
    try:
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()  # it is asked only once
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", was)
        compilation_cache.reset_cache()


def compile_for(target: str, preset: str) -> dict[str, Compiled]:
    """Compiles the programs of a preset on Breakout."""
    mesh = Mesh(np.array([_device(target)]), (mesh_lib.AXIS,))
    # Kernels are not tried out: there is nothing to try them on.
    options = {"xla_gpu_autotune_level": 0} if target == "h100" else None
    config = presets.resolve("Breakout", preset, {})
    found = {}
    for name, one in working_memory.programs(config, _GAME, mesh).items():
        with _without_cache():
            lowered = one.function.lower(*one.shaped)
            compiled = lowered.compile(compiler_options=options)
        memory, text = compiled.memory_analysis(), compiled.as_text()
        found[name] = Compiled(
            memory.argument_size_in_bytes,
            memory.temp_size_in_bytes,
            memory.alias_size_in_bytes,
            operations(text),
            text,
        )
    return found


def computations(text: str) -> dict[str, str]:
    """The bodies of a compiled program's computations, by name."""
    parts = re.split(r"\n(?=(?:ENTRY )?%?[\w.\-]+ \([^\n]*\{\n)", text)
    heads = [re.match(r"(?:ENTRY )?%?([\w.\-]+) \(", part) for part in parts]
    return {head[1]: part for head, part in zip(heads, parts, strict=True) if head}


def operations(text: str) -> int:
    """Operations that the device starts in the largest loop of a program, or else in all of it."""
    bodies = computations(text)
    loops = set(re.findall(r"body=%?([\w.\-]+)", text))
    counts = {name: _count(body) for name, body in bodies.items()}
    if loops:
        return max(counts[name] for name in loops)
    return next(counts[name] for name, body in bodies.items() if body.startswith("ENTRY"))


def _count(body: str) -> int:
    kinds = re.findall(r"^\s+(?:ROOT )?%?[\w.\-]+ = .*? ([a-z][a-z\-0-9]*)\(", body, re.MULTILINE)
    return sum(kind not in _FREE for kind in kinds)


def main() -> int:
    """Compiles as the flags say and reports."""
    values = flags.FLAGS
    for name in values.presets:
        presets.resolve("Breakout", name, {})
    folder = report.out_folder()
    look_for_no_device()
    for target in values.targets:
        if problem := why_not(target):
            raise errors.SettingError(
                "targets", f"has {target}, whose compiler is missing: {problem}"
            )
    rows, figures = [], {}
    with report.Result("aot", folder) as result:
        for preset in values.presets:
            for target in values.targets:
                for name, one in compile_for(target, preset).items():
                    row = (preset, target, name, one.temporary_bytes / 1e6, one.operations)
                    rows.append(row)
                    figures[" ".join(row[:3])] = one._replace(text="")._asdict()
                head = ("preset", "target", "program", "temporary MB", "operations")
                result.keep({"programs": figures}, report.table(head, rows))
    return 0


def _define_flags() -> None:
    names = ["atari", "atari_fast", "c51", "qr_dqn", "rainbow"]
    flags.DEFINE_list("presets", names, "comma-separated presets")
    flags.DEFINE_multi_enum("targets", list(TARGETS), list(TARGETS), "accelerators")
    report.define_out()


if __name__ == "__main__":
    program.run_program(_define_flags, main)
