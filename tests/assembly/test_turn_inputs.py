import jax
import numpy as np
import pytest

from jaxdqn.assembly import turn_inputs
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.distributed import turn_notes
from jaxdqn.envs import episodes
from jaxdqn.replay import ring as ring_lib


def test_frames_of_another_type_than_their_spec_says_are_refused():
    """Else the bytes of a frame would be read as rewards and notes."""
    row = ring_lib.blank_row(2, (3,), np.float64)
    packed = turn_inputs.put(mesh_lib.make_mesh(1), row, turn_notes.write(2, [], signum=0), 0.0)
    with pytest.raises(ValueError, match=r"not float32 \[E, \(3,\)\]"):
        turn_inputs.unpack(packed, (3,), np.dtype("float32"))


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((84, 84), "uint8"), ((4,), "float32"), ((), "int32"), ((2, 3), "bool"), ((5,), "int16")],
)
def test_devices_read_what_the_host_wrote_bit_for_bit(shape, dtype, num_devices):
    rng, num_envs = np.random.default_rng(0), 4
    dtype = np.dtype(dtype)
    size = dtype.itemsize * np.prod(shape, dtype=int)
    frame = rng.integers(0, 2 if dtype.kind == "b" else 256, (num_envs, size), np.uint8)
    row = ring_lib.Row(
        frame=frame.view(dtype).reshape(num_envs, *shape),
        reward=np.array([0.1, -0.0, np.nan, -np.inf], np.float32),
        terminated=np.array([True, False, False, False]),
        truncated=np.array([False, True, False, False]),
        is_first=np.array([False, False, True, False]),
        life_lost=np.array([False, False, False, True]),
    )
    games = [episodes.Game(2, 1.5, 27_000, True)]
    note = turn_notes.write(num_envs, games, signum=15)
    mesh = mesh_lib.make_mesh(num_devices)

    def unpack(packed):
        found = turn_inputs.unpack(packed, shape, dtype)
        return found._replace(epsilon=found.epsilon[None])

    read = mesh_lib.on_mesh(mesh, in_specs=mesh_lib.BY_ENV, out_specs=mesh_lib.BY_ENV)(unpack)
    found = jax.device_get(read(turn_inputs.put(mesh, row, note, epsilon=0.3)))
    for name in row.__dataclass_fields__:
        one, two = getattr(found.row, name), getattr(row, name)
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        assert one.tobytes() == two.tobytes(), name
    assert turn_notes.games(found.note) == games
    np.testing.assert_array_equal(found.epsilon, np.full(num_devices, 0.3, np.float32))
