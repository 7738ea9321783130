"""Free memory, and the largest replay that fits into it."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
import psutil
from jax.sharding import Mesh

from jaxdqn import errors
from jaxdqn.assembly import parts
from jaxdqn.checkpointing import replay_blocks
from jaxdqn.distributed import processes
from jaxdqn.envs import api
from jaxdqn.replay import ring
from jaxdqn.settings import config as config_lib

# Reserved for the program, networks, emulators and batches (measured: about 0.9 GB on a CPU).
_RESERVE_BYTES = 1_200_000_000
_JITTER_BYTES = 500_000_000  # by which free memory differs from one start to the next
_ROOT = pathlib.Path("/")


def free_host_bytes(root: pathlib.Path = _ROOT) -> int:
    """Memory that this process can still allocate, within the limits of its control groups.

    Args:
      root: the folder that contains /proc and /sys.
    """
    rooms = (room for _, room in _control_groups(root))
    return min([int(psutil.virtual_memory().available), *rooms])


def total_host_bytes(root: pathlib.Path = _ROOT) -> int:
    """Memory that this process could allocate if no other used any; see `free_host_bytes`."""
    limits = (limit for limit, _ in _control_groups(root))
    return min([int(psutil.virtual_memory().total), *limits])


def _control_groups(root: pathlib.Path) -> Iterator[tuple[int, int]]:
    """The limit of each control group of this process, of either version, and what it leaves."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base = "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = pathlib.PurePosixPath(name.lstrip("/"))
        for path in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or no limit: 'max'
                folder = root / base / path
                most = int((folder / limit).read_text())
                room = most - int((folder / used).read_text())
                yield most, room + _reclaimable_bytes(folder)


def _reclaimable_bytes(folder: pathlib.Path) -> int:
    """File cache that counts as used but can be freed."""
    stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return int(stats.get("total_inactive_file", stats.get("inactive_file", "0")))


def free_device_bytes(mesh: Mesh) -> int:
    """Free memory of all devices of the mesh that equal shares can use."""
    return _device_bytes(mesh, free_host_bytes, lambda s: s["bytes_limit"] - s["bytes_in_use"])


def total_device_bytes(mesh: Mesh) -> int:
    """Memory of all devices of the mesh that equal shares could use if nothing else used any."""
    return _device_bytes(mesh, total_host_bytes, lambda s: s["bytes_limit"])


def _device_bytes(
    mesh: Mesh, of_host: Callable[[], int], of_device: Callable[[Mapping[str, int]], int]
) -> int:
    stats = [device.memory_stats() for device in mesh.local_devices]
    if any(not stat or "bytes_limit" not in stat for stat in stats):
        # The host's memory is also the devices'.
        found = of_host() // processes.sharing_this_machine()
    else:
        found = len(stats) * min(map(of_device, stats))
    return processes.count() * int(processes.gather(np.int64(found)).min())


def used_host_bytes() -> int:
    """Memory that this process uses."""
    return int(psutil.Process().memory_info().rss)


def used_device_bytes(mesh: Mesh) -> int | None:
    """Memory in use on this process's devices; None where they share the host's."""
    stats = [device.memory_stats() for device in mesh.local_devices]
    if any(not stat or "bytes_in_use" not in stat for stat in stats):
        return None
    return sum(stat["bytes_in_use"] for stat in stats)


def replay_bytes(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """Device bytes of a run's replay."""
    return config.replay_capacity * _bytes_per_step(config, spec)


def largest_capacity(config: config_lib.Config, spec: api.EnvSpec, free_bytes: int) -> int:
    """The largest replay that fits, in steps; a multiple of the number of environments."""
    copied = replay_blocks.COPIED_SHARE if config.checkpoint_replay else 0
    free_bytes -= _reserve_bytes()
    steps = int(free_bytes / (_bytes_per_step(config, spec) * (1 + copied)))
    return max(0, steps // config.num_envs * config.num_envs)


def _memories() -> int:
    """Over how many memories the replay is spread; each also holds a program's other arrays."""
    return processes.count() * (1 if jax.default_backend() == "cpu" else jax.local_device_count())


def _reserve_bytes() -> int:
    return _memories() * _RESERVE_BYTES


def num_parameters(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """Parameters of the network of a run, counted without making any."""
    return sum(leaf.size for leaf in jax.tree.leaves(parts.params_like(config, spec)))


def check_network(config: config_lib.Config, spec: api.EnvSpec, free_bytes: int) -> None:
    """Refuses a network or a batch that does not fit into memory.

    Raises:
      SettingError: names what is too large.
    """
    parameters = num_parameters(config, spec)
    # The network, its target, the gradients, and the optimizer's two means.
    network_bytes = _memories() * parameters * 5 * 4
    observations = parts.observation_like(config, spec, config.batch_size)
    batch_bytes = 2 * math.prod(observations.shape) * observations.dtype.itemsize
    for setting, what, needed in (
        ("hidden_sizes", f"a network of {parameters:,} parameters", network_bytes),
        ("batch_size", f"batches of {config.batch_size:,}", batch_bytes),
    ):
        if needed > free_bytes:
            raise errors.SettingError(
                setting,
                f"makes {what}, which need {needed / 1e9:,.2f} GB; {free_bytes / 1e9:,.2f} GB are "
                "free",
            )


_COPIES = f", and saving the replay needs another {replay_blocks.COPIED_SHARE:.0%} of its size"


def _bytes_per_step(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """Of the ring, and of what the sampler keeps for each step."""
    layout = parts.ring_layout(config, spec)
    sampler = parts.make_sampler(config, layout, None)
    kept = jax.tree.leaves(jax.eval_shape(lambda: sampler.init(config.group_size)))
    kept_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in kept)
    return ring.bytes_per_step(layout) + -(-kept_bytes // config.replay_capacity)


def fit_replay(
    config: config_lib.Config,
    spec: api.EnvSpec,
    free_bytes: int,
    chosen_by_user: bool,
    working_bytes: Callable[[config_lib.Config], int],
) -> config_lib.Config:
    """Fits the replay into memory: a preset's capacity shrinks, a user's is refused.

    Args:
      config: of the run.
      spec: of its environments.
      free_bytes: of all devices.
      chosen_by_user: whether the user chose the capacity.
      working_bytes: what playing and learning with such settings need besides the replay, of all
        devices; asked only where it may matter, for it takes long.

    Raises:
      SettingError: names the largest capacity that fits, or a batch that leaves room for none.
    """
    unused = free_bytes - _working_limit(config, spec)
    if config.replay_capacity <= largest_capacity(config, spec, unused):
        return config
    needed = config.first_learning_steps
    working = 0
    most = min(config.replay_capacity, largest_capacity(config, spec, free_bytes))
    if most >= needed:  # working memory hardly depends on the capacity
        working = working_bytes(dataclasses.replace(config, replay_capacity=most))
    if working > max(0, free_bytes - _reserve_bytes()):
        raise errors.SettingError(
            "batch_size",
            f"is {config.batch_size}, and playing and learning need {working / 1e9:.2f} GB besides "
            f"the replay with it, with this network and --num_envs={config.num_envs}; "
            f"{free_bytes / 1e9:.2f} GB are free, of which the rest of the program needs "
            f"{_reserve_bytes() / 1e9:.1f} GB",
        )
    largest = largest_capacity(config, spec, free_bytes - working)
    if config.replay_capacity <= largest:
        return config
    if not chosen_by_user:
        # With room to spare: a resumed run asks for the same again, with a little less free memory.
        spare = _memories() * _JITTER_BYTES
        largest = largest_capacity(config, spec, free_bytes - working - spare)
        # Machines with a few bytes more or less free have the same replay, so that reports take
        # their runs together.
        unit = 10 ** max(0, len(str(largest)) - 2)
        rounded = largest // unit * unit // config.num_envs * config.num_envs
        largest = rounded if rounded >= needed else largest
    if chosen_by_user or largest < needed:
        raise errors.SettingError(
            "replay_capacity",
            f"is {config.replay_capacity}, {replay_bytes(config, spec) / 1e9:.2f} GB, but "
            f"{free_bytes / 1e9:.2f} GB are free, of which the rest of the program needs "
            f"{(_reserve_bytes() + working) / 1e9:.1f} GB"
            f"{_COPIES if config.checkpoint_replay else ''}; the largest that fits is {largest}",
        )
    return dataclasses.replace(config, replay_capacity=largest)


def _working_limit(config: config_lib.Config, spec: api.EnvSpec) -> int:
    """More than playing and learning are likely to need besides the replay.

    Updates of 32 take 45 times the bytes of their observations with the convolutions of Mnih et
    al., and 500 times for each unit of width with a residual network; and the parameters with their
    moments, gradients and target.
    """
    observations = parts.observation_like(config, spec)
    each = math.prod(observations.shape) * observations.dtype.itemsize
    if not config.why_unread("impala_width"):
        each *= config.impala_width
    each = max(each, 4 * sum(config.hidden_sizes))
    rows = max(config.batch_size, config.num_envs)
    return 2_000 * rows * each + _memories() * 10 * 4 * num_parameters(config, spec)
