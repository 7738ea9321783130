"""Devices: a mesh with one axis, `data`, over which environments, replay and batches are split."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"
REPLICATED = PartitionSpec()
BY_ENV = PartitionSpec(AXIS)  # leading axis: environments, or the batch
BY_RING_ENV = PartitionSpec(None, AXIS)  # [rows, environments, ...]

_State = TypeVar("_State")


def specs(kind: Callable[..., _State], **of_leaves: PartitionSpec) -> _State:
    """A state whose leaves are partition specs."""
    return kind(**of_leaves)


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of the first `num_devices` devices, all by default."""
    devices = jax.devices()[:num_devices]
    return Mesh(np.array(devices), (AXIS,))


def put(mesh: Mesh, tree: Any, specs: Any) -> Any:
    """Moves host arrays to the devices in one go.

    Args:
      mesh: the devices.
      tree: arrays of the host.
      specs: one `PartitionSpec` for all of them, or a tree of them that `tree` begins with.
    """
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        specs,
        is_leaf=lambda part: isinstance(part, PartitionSpec),
    )
    return jax.device_put(tree, shardings)


def on_mesh(
    mesh: Mesh,
    in_specs: Any,
    out_specs: Any,
    donate_argnums: int | tuple[int, ...] = (),
    compiler_options: dict[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function that each device runs on its own share, compiled."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        # The function averages over the axis itself, so replication is its promise, not checked.
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        compiled = jax.jit(mapped, donate_argnums=donate_argnums, compiler_options=compiler_options)
        return functools.wraps(function)(compiled)

    return decorate
