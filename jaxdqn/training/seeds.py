"""The random streams of a run, which follow from its one seed and never overlap."""

import enum

import jax
import numpy as np


class Stream(enum.IntEnum):
    """What has a random stream of its own. Changing the numbers would change all runs."""

    LEARNER = 0
    ACTORS = 1
    ENVS = 2
    EVALUATION = 3
    RECORDING = 4


def key(seed: int, stream: Stream, *numbers: int) -> jax.Array:
    """A key on the default device, equal in all processes; the numbers split a stream further."""
    made = jax.random.key(seed)
    for number in (stream, *numbers):
        beyond, within = divmod(int(number), 2**32)
        made = jax.random.fold_in(made, within)
        if beyond:
            made = jax.random.fold_in(made, beyond)
    return made


def env_seed(seed: int, stream: Stream, *numbers: int) -> int:
    """A seed for environments; EnvPool adds the number of each environment to it."""
    entropy = np.random.SeedSequence([seed, int(stream), *numbers]).generate_state(1)
    return int(entropy[0]) % (2**31 - 2**16)  # below 2**31, with room for that number
