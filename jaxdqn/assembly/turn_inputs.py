"""What the host gives the devices in a turn, as one array of bytes.

Each array that is moved costs a transfer of its own. A row, its note and epsilon would be eight.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh

from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import processes, turn_notes
from jaxdqn.envs import api
from jaxdqn.replay import ring as ring_lib
from jaxdqn.settings import config as config_lib

_FLAGS = ("terminated", "truncated", "is_first", "life_lost")


# [E, bytes] uint8, split over the devices. For a single device it is still on the host: what is
# called with it moves it in a third of the time that `jax.device_put` takes.
Packed = jax.Array | npt.NDArray[np.uint8]


class TurnInput(NamedTuple):
    """What acting and recording get."""

    row: ring_lib.Row  # of E environments
    note: jax.Array  # [E, C] int32; see `turn_notes`
    epsilon: jax.Array  # [] float32


@functools.cache  # it is asked for at every turn
def record(frame_shape: tuple[int, ...], frame_dtype: Any) -> np.dtype[np.void]:
    """The bytes of one environment.

    Args:
      frame_shape: of one frame.
      frame_dtype: of frames.
    """
    return np.dtype(
        [
            ("frame", frame_dtype, frame_shape),
            ("reward", np.float32),
            *((name, np.bool_) for name in _FLAGS),
            ("note", np.int32, (turn_notes.NUM_COLUMNS,)),
            ("epsilon", np.float32),
        ]
    )


def put(
    mesh: Mesh, row: ring_lib.Row | api.TimeStep, note: turn_notes.Note, epsilon: float
) -> Packed:
    """Packs a turn's inputs, and moves them to the devices in one transfer.

    Args:
      mesh: the devices.
      row: of this process's environments, on the host.
      note: about them.
      epsilon: the probability of a random action.
    """
    frame = np.asarray(row.frame)
    kind = record(frame.shape[1:], frame.dtype)
    packed = np.empty(len(frame), kind)
    for name in ("frame", "reward", *_FLAGS):
        packed[name] = getattr(row, name)
    packed["note"], packed["epsilon"] = note, epsilon
    inputs = packed.view(np.uint8).reshape(len(frame), -1)
    if mesh.devices.size == 1:
        return inputs
    moved: jax.Array = mesh_lib.put(mesh, inputs, mesh_lib.BY_ENV)
    return moved


def unpack(packed: jax.Array, frame_shape: tuple[int, ...], frame_dtype: Any) -> TurnInput:
    """Reads on the devices what `put` moved.

    Args:
      packed: [E, bytes] uint8.
      frame_shape: of one frame.
      frame_dtype: of frames.
    """
    kind = record(frame_shape, frame_dtype)
    assert kind.fields is not None
    if packed.shape[1] != kind.itemsize:
        raise ValueError(f"frames are not {frame_dtype} [E, {frame_shape}], as their spec says")
    found = {name: _read(packed, *field[:2]) for name, field in kind.fields.items()}
    note, epsilon = found.pop("note"), found.pop("epsilon")
    return TurnInput(ring_lib.Row(**found), note, epsilon[0])


def _read(packed: jax.Array, kind: np.dtype[Any], offset: int) -> jax.Array:
    """One field of each record."""
    part = jax.lax.slice_in_dim(packed, offset, offset + kind.itemsize, axis=1)
    of_each = kind.base.itemsize
    part = part.reshape(len(packed), *kind.shape, *((of_each,) if of_each > 1 else ()))
    if kind.base == np.bool_:
        return part != 0
    return jax.lax.bitcast_convert_type(part, kind.base)


def blank(config: config_lib.Config, spec: api.EnvSpec, mesh: Mesh) -> Packed:
    """A turn's inputs with nothing in them."""
    num_envs = len(processes.share(config.group_size))
    row = ring_lib.blank_row(num_envs, spec.frame_shape, spec.frame_dtype)
    return put(mesh, row, turn_notes.write(num_envs, [], signum=0), epsilon=0.0)
