"""Plays from the parameters only: play_safetensors.py EXPORT_FOLDER NUM_GAMES SEED."""

import playing


def load(file, policy):
    """Returns the network: observations [B, S, ...] -> action values [B, A]."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import safetensors.numpy

    jax.config.update(
        "jax_default_matmul_precision", "highest"
    )  # full float32 also on accelerators
    weights, settings = safetensors.numpy.load_file(file), policy["settings"]
    # The network of Mnih et al. (2015), whole or with half of the features, convolutions of the
    # settings, or none.
    known = {"nature", "small", "conv", "mlp"}
    if settings["network"] not in known:
        raise ValueError(f"this script does not know the network {settings['network']}")
    strides = (4, 2, 1) if settings["network"] in {"nature", "small"} else settings["conv_strides"]

    head = settings.get("head", "scalar")
    bins, quantiles = settings.get("num_atoms"), settings.get("num_quantiles")
    # Numbers for each action. This script does not know other heads.
    outputs = {"scalar": 1, "c51": bins, "hl_gauss": bins, "qr": quantiles, "iqn": 1}[head]
    num_layers = len(settings["hidden_sizes"]) + 1

    def activated(x, name):
        if f"{name}_norm/scale" in weights:  # layer normalization
            whole_maps = settings["layer_norm"] == "maps"
            axes, epsilon = (
                ((1, 2, 3) if whole_maps and x.ndim == 4 else -1),
                (1e-6, 1e-5)[whole_maps],
            )
            mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
            x = (x - mean) / jnp.sqrt(variance + epsilon)
            x = x * weights[f"{name}_norm/scale"] + weights[f"{name}_norm/bias"]
        return jax.nn.relu(x)

    def dense(x, name, num_layers):
        for i in range(num_layers):
            x = activated(x, f"{name}_{i - 1}") if i else x
            x = x @ weights[f"{name}_{i}/kernel"] + weights[f"{name}_{i}/bias"]
        return x.reshape(*x.shape[:-1], -1, outputs)

    def at_fractions(x):
        """[B, F] -> [B, T, F]: the features of T quantiles, of which the mean counts."""
        fractions = (np.arange(quantiles, dtype=np.float32) + 0.5) / quantiles
        cosines = np.cos(np.pi * np.outer(fractions, np.arange(1, settings["num_cosines"] + 1)))
        kernel, bias = (
            weights["head_embedding/cosines/kernel"],
            weights["head_embedding/cosines/bias"],
        )
        return x[:, None, :] * jax.nn.relu(cosines.astype(np.float32) @ kernel + bias)

    def action_values(x):
        """[..., A, K] -> [B, A]"""
        low, high = settings.get("value_min"), settings.get("value_max")
        if head == "c51":
            return jax.nn.softmax(x) @ jnp.linspace(low, high, bins)
        if head == "hl_gauss":
            edges = jnp.linspace(low, high, bins + 1)
            return jax.nn.softmax(x) @ ((edges[1:] + edges[:-1]) / 2)
        return x.mean(axis=-1) if head != "iqn" else x[..., 0].mean(axis=1)

    @jax.jit
    def network(observation):
        x = observation.astype(np.float32)
        if observation.dtype == np.uint8 and settings["scale_pixels"]:
            x = x / 255
        if strides:  # frames become the channels of one image, on the last axis
            if x.ndim == 5 and x.shape[2] >= x.shape[4]:  # they have channels, which come last
                x = x.transpose(0, 1, 4, 2, 3)
            x = x.reshape(len(x), -1, *x.shape[-2:]).transpose(0, 2, 3, 1)
        for i, stride in enumerate(strides):
            kernel, bias = weights[f"torso/conv_{i}_kernel"], weights[f"torso/conv_{i}_bias"]
            padding, layouts = settings["conv_padding"].upper(), ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), padding, dimension_numbers=layouts
            )
            x = activated(x + bias, f"torso/conv_{i}")
        x = x.reshape(len(x), -1)
        layers = num_layers
        if head == "iqn":
            if "features/kernel" in weights:  # the first layer, where there are no convolutions
                x = activated(x @ weights["features/kernel"] + weights["features/bias"], "features")
                layers -= 1
            x = at_fractions(x)
        if not settings["dueling"]:
            return action_values(dense(x, "Dense", layers))
        value, advantage = dense(x, "value", layers), dense(x, "advantage", layers)
        return action_values(value + advantage - advantage.mean(axis=-2, keepdims=True))

    return lambda observation: np.asarray(network(observation))


if __name__ == "__main__":
    playing.main("safetensors", load)
