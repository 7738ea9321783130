"""The residual network of IMPALA (Espeholt et al., arXiv:1802.01561)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import normalization
from jaxdqn.agent.encoders import api, layers
from jaxdqn.settings import config as config_lib

_FEATURES = (16, 32, 32)  # of each stack, times the width
_BLOCKS = 2  # in each stack


def make(config: config_lib.Config) -> api.Encoder:
    """The encoder of a run."""

    def module(implementation: api.Implementation, dtype: DTypeLike) -> nn.Module:
        return Impala(
            config.conv_init,
            config.scale_pixels,
            implementation,
            dtype,
            width=config.impala_width,
            pooled_size=config.pooled_size,
            spectral_norm=config.spectral_norm,
            layer_norm=config.layer_norm,
        )

    return api.Encoder(module=module, needs=layers.needs_images)


class Impala(layers.Convolving):
    """Three stacks, each a convolution, a max-pooling and two residual blocks; then ReLU."""

    width: int  # factor of all features
    pooled_size: int  # side length of the maps at the end, by adaptive max-pooling; 0: as they are
    spectral_norm: bool  # in residual blocks
    layer_norm: str  # a placement of `normalization.normalize`, before each ReLU

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape], numbers of any type -> [B, F]."""
        x = observation
        for i, features in enumerate(_FEATURES):
            layer = layers.Convolution(self.width * features, 3, 1)
            convolve = self.convolve if i else self.convolve_frames
            x = convolve(x, f"stack_{i}", layer, "same", relu=False)
            self.show(f"stack_{i}", x)
            x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2), padding="SAME")
            for j in range(_BLOCKS):
                x = self._block(x, f"stack_{i}_block_{j}", layer)
        x = self._activated(x, "last_norm")
        if self.pooled_size:
            x = adaptive_max_pool(x, self.pooled_size)
        return x.reshape(x.shape[0], -1)

    def _block(self, x: jax.Array, name: str, layer: layers.Convolution) -> jax.Array:
        y = x
        for k in range(2):
            y = self._activated(y, f"{name}_norm_{k}")
            y = self.convolve(
                y,
                f"{name}_conv_{k}",
                layer,
                "same",
                relu=False,
                spectral_norm=self.spectral_norm,
            )
        return x + y

    def _activated(self, x: jax.Array, name: str) -> jax.Array:
        return nn.relu(normalization.normalize(x, self.layer_norm, name, self.dtype))


def adaptive_max_pool(x: jax.Array, size: int) -> jax.Array:
    """The largest of each of size x size parts of maps [B, H, W, C], which overlap by up to one.

    Part i of an axis of length L is from floor(i L / size) to ceil((i + 1) L / size). Maps that are
    smaller are repeated.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        parts = [
            jax.lax.slice_in_dim(x, i * length // size, -(-(i + 1) * length // size), axis=axis)
            for i in range(size)
        ]
        x = jnp.stack([part.max(axis=axis) for part in parts], axis=axis)
    return x
