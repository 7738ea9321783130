"""Free memory, and the largest replay that fits into it."""

import dataclasses
import pathlib

import psutil
from jax.sharding import Mesh

from jaxdqn import config as config_lib
from jaxdqn.envs import api
from jaxdqn.replay import ring

# Left for the program, the networks, the emulators and batches (measured: about 0.9 GB on a CPU).
_RESERVE_BYTES = 1_200_000_000


def free_host_bytes() -> int:
    """Memory that this process can still take, with the limit of its control group."""
    free = int(psutil.virtual_memory().available)
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no control groups, or no limit ('max')
        return free
    return min(free, limit - used)


def free_device_bytes(mesh: Mesh) -> int:
    """Free memory of all devices of the mesh together; the host's where devices share it."""
    stats = [device.memory_stats() for device in mesh.devices.flat]
    if any(stat is None or "bytes_limit" not in stat for stat in stats):
        return free_host_bytes()
    return sum(stat["bytes_limit"] - stat["bytes_in_use"] for stat in stats if stat)


def replay_bytes(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """Device bytes of a run's replay."""
    return config.replay_capacity * ring.bytes_per_step(spec.frame_shape, spec.frame_dtype)


def largest_capacity(config: config_lib.Config, spec: api.EnvSpec, free_bytes: int) -> int:
    """The most steps of replay that fit, a multiple of the number of environments."""
    steps = (free_bytes - _RESERVE_BYTES) // ring.bytes_per_step(spec.frame_shape, spec.frame_dtype)
    return max(0, steps // config.num_envs * config.num_envs)


def fit_replay(
    config: config_lib.Config, spec: api.EnvSpec, free_bytes: int, chosen_by_user: bool
) -> config_lib.Config:
    """Makes the replay fit: a preset's capacity shrinks, a user's is refused.

    Raises:
      SettingError: names the largest capacity that fits.
    """
    largest = largest_capacity(config, spec, free_bytes)
    if config.replay_capacity <= largest:
        return config
    if chosen_by_user or largest < config.learning_starts_steps:
        raise config_lib.SettingError(
            "replay_capacity",
            f"is {config.replay_capacity:,} steps, {replay_bytes(config, spec) / 1e9:.2f} GB, but "
            f"{free_bytes / 1e9:.2f} GB are free; the largest that fits is {largest}",
        )
    return dataclasses.replace(config, replay_capacity=largest)
