"""Two updates of the Nature network with Adam on 16 transitions, over the devices that there are.

As a program it is one of several processes, on frames as small as the convolutions take. It keeps
what it compiles in `cache` where it stands, and leaves its result in a file.
"""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxdqn import errors
from jaxdqn.algorithms import dqn
from jaxdqn.assembly import compilation_cache
from jaxdqn.distributed import joining, processes
from jaxdqn.distributed import mesh as mesh_lib
from jaxdqn.envs import api
from jaxdqn.replay import returns
from jaxdqn.settings import presets

SMALL = (36, 36)
SIZE = 16


def batch(frame_shape=(84, 84)):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, SIZE, 4, *frame_shape), np.uint8)
    return returns.Batch(
        observation=frames[0],
        action=rng.integers(0, 4, SIZE).astype(np.int32),
        reward=rng.normal(size=SIZE).astype(np.float32),
        discount=np.full(SIZE, 0.99, np.float32),
        next_observation=frames[1],
    )


def twice(mesh, frame_shape=(84, 84)):
    """Parameters, target and metrics; each process gives its share of the batch."""
    spec = api.EnvSpec("Breakout-v5", frame_shape, np.dtype("uint8"), 4, 4)
    learner = dqn.make_learner(presets.resolve("Breakout", "atari", {}), spec, mesh_lib.AXIS)
    replicated, by_env = mesh_lib.REPLICATED, mesh_lib.BY_ENV
    init = mesh_lib.on_mesh(mesh, replicated, replicated)(
        lambda key: learner.init(key, jnp.zeros((1, 4, *frame_shape), jnp.uint8))
    )
    update = mesh_lib.on_mesh(mesh, (replicated, by_env), replicated)(
        lambda state, batch: learner.update(state, batch, state.key)[:2]
    )
    state = init(mesh_lib.put(mesh, jax.random.key(0), replicated))
    own = processes.share(SIZE)
    placed = mesh_lib.put(
        mesh, jax.tree.map(lambda leaf: leaf[own.start : own.stop], batch(frame_shape)), by_env
    )
    for _ in range(2):
        state, metrics = update(state, placed)
    return state.params, state.target_params, metrics


def fail(error):
    raise error


if __name__ == "__main__":
    out, address, count, index = sys.argv[1:]
    joining.join(address, int(count), int(index))
    compilation_cache.use_cache("cache")
    leaves = jax.tree.leaves(mesh_lib.here(twice(mesh_lib.make_mesh(), SMALL)))
    np.savez(f"{out}/{index}.npz", *jax.device_get(leaves))
    for error in (OSError(28, "disk full", "/folder"), errors.SettingError("run_dir", "is no run")):
        try:
            processes.from_primary(functools.partial(fail, error))
        except (OSError, errors.SettingError) as caught:
            print(f"process {index}: {caught!r}: {caught}", flush=True)
