"""The Hadamax encoder: products of two convolutions, and max-pooling (Kooi et al., 2025).

arXiv:2505.15345.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import normalization
from jaxdqn.agent.encoders import api, layers
from jaxdqn.settings import config as config_lib

# Each convolution, of stride 1, with the size and the stride of the max-pooling that follows it.
_LAYERS = (
    (layers.Convolution(32, 8, 1), 4, 4),
    (layers.Convolution(64, 4, 1), 2, 2),
    (layers.Convolution(64, 3, 1), 3, 1),
)


def make(config: config_lib.Config) -> api.Encoder:
    """The encoder of a run."""

    def module(implementation: api.Implementation, dtype: DTypeLike) -> nn.Module:
        return Hadamax(
            config.conv_init, config.scale_pixels, implementation, dtype, config.layer_norm
        )

    return api.Encoder(module=module, needs=layers.needs_images, activation=_gelu)


class Hadamax(layers.Convolving):
    """Three layers, each the product of two activated convolutions, max-pooled."""

    layer_norm: str  # a placement of `normalization.normalize`, before each activation

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape], numbers of any type -> [B, F]."""
        x = observation
        for i, (layer, size, stride) in enumerate(_LAYERS):
            convolve = self.convolve if i else self.convolve_frames
            # Both convolutions in one; the first half of its features belongs to the first.
            both = layer._replace(features=2 * layer.features)
            x = convolve(x, f"conv_{i}", both, "same", relu=False)
            halves = [
                normalization.normalize(half, self.layer_norm, f"conv_{i}_norm_{j}", self.dtype)
                for j, half in enumerate(jnp.split(x, 2, axis=-1))
            ]
            x = _gelu(halves[0]) * _gelu(halves[1])
            self.show(f"conv_{i}", x)
            x = nn.max_pool(x, window_shape=(size, size), strides=(stride, stride), padding="SAME")
        return x.reshape(x.shape[0], -1)


def _gelu(x: jax.Array) -> jax.Array:
    """The form with tanh (Hendrycks and Gimpel, arXiv:1606.08415); ONNX cannot hold flax's."""
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
