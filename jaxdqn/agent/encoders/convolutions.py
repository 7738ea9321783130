"""A chain of convolutions with ReLU, flattened."""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from jaxdqn.agent import normalization
from jaxdqn.agent.encoders import api, layers
from jaxdqn.envs import images
from jaxdqn.settings import config as config_lib

Convolution = layers.Convolution

# Mnih et al. (Nature, 2015).
NATURE = (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1))
# Half of the features: a quarter of the arithmetic in all layers but the first, half in that one.
SMALL = (Convolution(16, 8, 4), Convolution(32, 4, 2), Convolution(32, 3, 1))
_NAMED = {"nature": NATURE, "small": SMALL}


def make(config: config_lib.Config) -> api.Encoder:
    """The encoder of a run: named layers, or those that its settings list."""
    listed = (config.conv_features, config.conv_sizes, config.conv_strides)
    chained = _NAMED.get(config.network) or tuple(map(Convolution, *listed))
    return chain(
        chained, config.conv_padding, config.conv_init, config.scale_pixels, config.layer_norm
    )


def chain(
    chained: tuple[Convolution, ...],
    padding: str = "valid",
    init: str = "lecun_normal",
    scale_pixels: bool = True,
    layer_norm: str = "none",
) -> api.Encoder:
    """Builds an encoder.

    Args:
      chained: at least one layer.
      padding: 'valid' or 'same'.
      init: a name in `initializers.INITIALIZERS`, of kernels; biases begin at 0.
      scale_pixels: divide bytes by 255.
      layer_norm: a placement of `normalization.normalize`, before each ReLU.
    """

    def module(implementation: api.Implementation, dtype: DTypeLike) -> nn.Module:
        return Convolutions(init, scale_pixels, implementation, dtype, chained, padding, layer_norm)

    def needs(frame_shape: tuple[int, ...]) -> str:
        size = images.size(frame_shape)
        if size and min(layers.output_shape(size, chained, padding)) >= 1:
            return ""
        smallest = 1
        while min(layers.output_shape((smallest, smallest), chained, padding)) < 1:
            smallest += 1
        return f"images of at least {smallest}x{smallest}"

    return api.Encoder(module=module, needs=needs)


class Convolutions(layers.Convolving):
    """Convolutions with ReLU, flattened."""

    chained: tuple[Convolution, ...]
    padding: str
    layer_norm: str

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape], numbers of any type -> [B, F]."""
        x, is_plain = observation, self.layer_norm == "none"
        for i, layer in enumerate(self.chained):
            convolve = self.convolve if i else self.convolve_frames
            x = convolve(x, f"conv_{i}", layer, self.padding, relu=is_plain)
            if not is_plain:
                x = normalization.normalize(x, self.layer_norm, f"conv_{i}_norm", self.dtype)
                x = nn.relu(x)
            self.show(f"conv_{i}", x)
        return x.reshape(x.shape[0], -1)
