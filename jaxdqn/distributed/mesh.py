"""Devices: a mesh with one axis, `data`, over which environments, replay and batches are split.

The mesh spans the devices of all processes. Of what is split, each process holds the share of its
own devices, which are adjacent.
"""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdqn import errors

AXIS = "data"
REPLICATED = PartitionSpec()
BY_ENV = PartitionSpec(AXIS)  # leading axis: environments, or the batch
BY_RING_ENV = PartitionSpec(None, AXIS)  # [rows, environments, ...]
BY_RING_FRAME = PartitionSpec(None, AXIS, None)  # [rows, environments, bytes]; see `_placements`

_State = TypeVar("_State")
# So that `jax.tree.map` takes each spec as a whole.
_EACH_SPEC: dict[str, Any] = {"is_leaf": lambda part: isinstance(part, PartitionSpec)}


def specs(kind: Callable[..., _State], **of_leaves: PartitionSpec) -> _State:
    """A state whose leaves are partition specs."""
    return kind(**of_leaves)


def check_devices() -> None:
    """Makes JAX find its devices.

    Raises:
      RunError: there are none of the kind that its environment variables ask for.
    """
    try:
        jax.devices()
    # JAX fails an assertion about its default backend if one of several backends is broken.
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        hint = f" (JAX_PLATFORMS={asked})" if asked else ""
        raise errors.RunError(f"JAX finds no device{hint}: {error}".rstrip(": ")) from None


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh of the first `num_devices` devices, of all processes' devices by default."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices[:num_devices]), (AXIS,))


def axis_name(mesh: Mesh) -> str | None:
    """The axis to average over; None for one device, which would still copy what it averages."""
    return AXIS if mesh.devices.size > 1 else None


def platform() -> str:
    """What the function that is being traced will run on, such as 'cpu'."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def index() -> jax.Array:
    """The index of the share that a function decorated with `on_mesh` works on."""
    return jax.lax.axis_index(AXIS)


def put(mesh: Mesh, tree: Any, specs: Any) -> Any:
    """Moves arrays of the host to the devices in one transfer.

    Args:
      mesh: the devices.
      tree: arrays; of what is split, this process's share.
      specs: one `PartitionSpec` for all of them, or a tree of them that is a prefix of `tree`.
    """
    local = mesh if jax.process_count() == 1 else mesh.local_mesh
    shardings = jax.tree.map(functools.partial(NamedSharding, local), specs, **_EACH_SPEC)
    placed = jax.device_put(tree, shardings)
    if local is mesh:
        return placed
    return jax.tree.map(
        lambda spec, part: jax.tree.map(functools.partial(_of_all, mesh, spec), part),
        specs,
        placed,
        **_EACH_SPEC,
    )


def like(mesh: Mesh, shapes: Any, specs: Any) -> Any:
    """Shapes and types of arrays on the devices.

    Args:
      mesh: the devices.
      shapes: a tree of arrays or of their shapes and types.
      specs: one `PartitionSpec` for all of them, or a tree of them that is a prefix of `shapes`.
    """

    def placed(spec: PartitionSpec, leaves: Any) -> Any:
        sharding = NamedSharding(mesh, spec)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), leaves
        )

    return jax.tree.map(placed, specs, shapes, **_EACH_SPEC)


def _of_all(mesh: Mesh, spec: PartitionSpec, share: jax.Array) -> jax.Array:
    """The global array of which this process's devices hold a share."""
    if jax.dtypes.issubdtype(share.dtype, jax.dtypes.prng_key):
        data = _of_all(mesh, spec, jax.random.key_data(share))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(share))
    factor = mesh.devices.size // len(mesh.local_devices)
    axes = (*spec, *(None,) * (share.ndim - len(spec)))
    shape = tuple(
        size if axis is None else size * factor
        for size, axis in zip(share.shape, axes, strict=True)
    )
    parts = [part.data for part in share.addressable_shards]
    return jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh, spec), parts)


def here(tree: Any) -> Any:
    """Arrays that are equal on all devices, as one device of this process holds them."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def on_mesh(
    mesh: Mesh,
    in_specs: Any,
    out_specs: Any,
    donate_argnums: int | tuple[int, ...] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function: compiles it, and each device runs it on its own share.

    Args:
      mesh: the devices.
      in_specs: of its arguments.
      out_specs: of its results.
      donate_argnums: of arguments whose memory the results take.
      options: of XLA's compiler, by platform.
    """
    kind = mesh.devices.flat[0].platform
    chosen = dict((options or {}).get(kind, {}))

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        # The function averages over the axis itself, so replication is promised and not checked.
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return jax.jit(
            mapped,
            donate_argnums=donate_argnums,
            compiler_options=chosen or None,
            **_placements(mesh, in_specs, out_specs),
        )

    return decorate


def _placements(mesh: Mesh, in_specs: Any, out_specs: Any) -> dict[str, Any]:
    """Where arguments and results lie; nothing where the compiler chooses well by itself.

    TPUs tile the last two axes of an array. Left to itself, the compiler makes rows or environments
    the last axis of frames, whose size is no multiple of a tile, and learning then copies the whole
    replay before every slice of updates.
    """
    if mesh.devices.flat[0].platform != "tpu":
        return {}

    def placed(spec: PartitionSpec) -> NamedSharding | Format:
        sharding = NamedSharding(mesh, spec)
        return Format(Layout((0, 1, 2)), sharding) if spec == BY_RING_FRAME else sharding

    return {
        "in_shardings": jax.tree.map(placed, in_specs, **_EACH_SPEC),
        "out_shardings": jax.tree.map(placed, out_specs, **_EACH_SPEC),
    }


def gathered(mesh: Mesh, tree: Any) -> Any:
    """The shares of all devices, one after another. For functions decorated with `on_mesh`."""
    if mesh.devices.size == 1:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, AXIS, tiled=True), tree)
