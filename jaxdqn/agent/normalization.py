"""Layer normalization (Ba et al., arXiv:1607.06450)."""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

_EPSILONS = {"channels": 1e-6, "maps": 1e-5}


def normalize(x: jax.Array, placement: str, name: str, dtype: DTypeLike) -> jax.Array:
    """Normalizes activations, to be called within a module.

    Args:
      x: [B, H, W, C] of a convolution or [B, ..., C] of a dense layer, before its activation.
      placement: 'none'; 'channels', with a mean and a variance for each position and a gain for
        each channel (as in PQN); or 'maps', with a mean and a variance for each image and a gain
        for each pixel and channel (as in CleanRL's PQN). For dense layers both are over channels.
      name: of the layer's parameters.
      dtype: what it returns; means and variances are float32.
    """
    if placement == "none":
        return x
    axes = (1, 2, 3) if placement == "maps" and x.ndim == 4 else (-1,)
    norm = nn.LayerNorm(
        epsilon=_EPSILONS[placement],
        reduction_axes=axes,
        feature_axes=axes,
        dtype=dtype,
        name=name,
    )
    normalized: jax.Array = norm(x)
    return normalized
