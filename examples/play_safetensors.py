"""Plays from the parameters only: play_safetensors.py EXPORT_FOLDER NUM_GAMES SEED."""

import playing


def load(file, policy):
    """Returns the network: observations [B, S, ...] -> action values [B, A]."""
    import jax
    import numpy as np
    import safetensors.numpy

    jax.config.update(
        "jax_default_matmul_precision", "highest"
    )  # full float32 also on accelerators
    weights, settings = safetensors.numpy.load_file(file), policy["settings"]
    # The network of Mnih et al. (2015), custom convolutions, or none.
    strides = (4, 2, 1) if settings["network"] == "nature" else settings["conv_strides"]

    def dense(x, name):
        for i in range(len(settings["hidden_sizes"]) + 1):
            x = jax.nn.relu(x) if i else x
            x = x @ weights[f"{name}_{i}/kernel"] + weights[f"{name}_{i}/bias"]
        return x

    @jax.jit
    def network(observation):
        x = observation.astype(np.float32)
        if observation.dtype == np.uint8 and settings["scale_pixels"]:
            x = x / 255
        if strides:  # frames become the channels of one image, on the last axis
            x = x.reshape(len(x), -1, *x.shape[-2:]).transpose(0, 2, 3, 1)
        for i, stride in enumerate(strides):
            kernel, bias = weights[f"torso/conv_{i}_kernel"], weights[f"torso/conv_{i}_bias"]
            padding, layouts = settings["conv_padding"].upper(), ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), padding, dimension_numbers=layouts
            )
            x = jax.nn.relu(x + bias)
        x = x.reshape(len(x), -1)
        if not settings["dueling"]:
            return dense(x, "Dense")
        value, advantage = dense(x, "value"), dense(x, "advantage")
        return value + advantage - advantage.mean(axis=1, keepdims=True)

    return lambda observation: np.asarray(network(observation))


if __name__ == "__main__":
    playing.main("safetensors", load)
