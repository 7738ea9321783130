"""Plays with JAX and NumPy: play_stablehlo.py EXPORT_FOLDER NUM_GAMES SEED."""

import playing


def load(file, policy):
    """Returns the network: observations [B, S, ...] -> action values [B, A]."""
    import jax.export
    import numpy as np

    network = jax.export.deserialize(bytearray(file.read_bytes()))
    return lambda observation: np.asarray(network.call(observation))


if __name__ == "__main__":
    playing.main("stablehlo", load)
