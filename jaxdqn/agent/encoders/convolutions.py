"""A chain of convolutions with ReLU, flattened."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import initializers
from jaxdqn.agent.encoders import api
from jaxdqn.kernels import convolution
from jaxdqn.settings import config as config_lib


class Convolution(NamedTuple):
    """One layer; ReLU follows it."""

    features: int
    size: int  # of its square window
    stride: int


# Mnih et al. (Nature, 2015).
NATURE = (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1))


def make(config: config_lib.Config) -> api.Encoder:
    """The encoder of a run: the layers that its settings name, or Nature's."""
    named = (config.conv_features, config.conv_sizes, config.conv_strides)
    layers = tuple(map(Convolution, *named)) or NATURE
    return chain(layers, config.conv_padding, config.conv_init, config.scale_pixels)


def chain(
    layers: tuple[Convolution, ...],
    padding: str = "valid",
    init: str = "lecun_normal",
    scale_pixels: bool = True,
) -> api.Encoder:
    """Builds an encoder.

    Args:
      layers: at least one.
      padding: 'valid' or 'same'.
      init: a name in `initializers.INITIALIZERS`, of kernels; biases begin at 0.
      scale_pixels: divide bytes by 255.
    """

    def module(implementation: api.Implementation, dtype: DTypeLike) -> nn.Module:
        return Convolutions(layers, padding, init, scale_pixels, implementation, dtype)

    def needs(frame_shape: tuple[int, ...]) -> str:
        if len(frame_shape) == 2 and min(output_shape(frame_shape, layers, padding)) >= 1:
            return ""
        smallest = 1
        while min(output_shape((smallest, smallest), layers, padding)) < 1:
            smallest += 1
        found = f"images of at least {smallest}x{smallest}"
        return f"{found} and of one channel" if len(frame_shape) > 2 else found

    return api.Encoder(module=module, needs=needs)


def output_size(size: int, layer: Convolution, padding: str) -> int:
    """Length of a convolution's output along an axis of length `size`; below 1 if none is left."""
    if padding == "same":
        return -(-size // layer.stride)
    return (size - layer.size) // layer.stride + 1


def output_shape(
    frame_shape: Sequence[int], layers: Sequence[Convolution], padding: str
) -> list[int]:
    """Height and width after all layers; below 1 if none is left."""
    sizes = list(frame_shape)
    for layer in layers:
        sizes = [output_size(size, layer, padding) for size in sizes]
    return sizes


def _pad_same(x: jax.Array, layer: Convolution, axes: tuple[int, int]) -> jax.Array:
    """Pads images with zeros, the odd one last, so that a valid convolution is a 'same' one."""
    padding = [(0, 0)] * x.ndim
    for axis in axes:
        length = x.shape[axis]
        needed = (output_size(length, layer, "same") - 1) * layer.stride + layer.size
        total = max(0, needed - length)
        padding[axis] = (total // 2, total - total // 2)
    return jnp.pad(x, padding)


class Convolutions(nn.Module):
    """Convolutions with ReLU, flattened.

    The parameters are those of plain convolutions, [height, width, in, out], whichever way they
    are computed.
    """

    layers: tuple[Convolution, ...]
    padding: str
    kernel_init: str
    scale_pixels: bool
    implementation: api.Implementation
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, H, W] or [B, S, C, H, W], uint8 or float32 -> [B, F]."""
        x = observation.reshape(observation.shape[0], -1, *observation.shape[-2:])
        scale = api.pixel_scale(x, self.scale_pixels)
        implementation = self.implementation()
        for i, layer in enumerate(self.layers):
            inputs = x.shape[1] if i == 0 else x.shape[-1]
            kernel = self.param(
                f"conv_{i}_kernel",
                initializers.INITIALIZERS[self.kernel_init],
                (layer.size, layer.size, inputs, layer.features),
            )
            bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (layer.features,))
            bias = bias.astype(self.dtype)
            if self.padding == "same":
                x = _pad_same(x, layer, axes=(2, 3) if i == 0 else (1, 2))
            if i == 0:  # scaling the kernel instead of the frames lets bytes travel as bytes
                kernel = (kernel * scale).astype(self.dtype)
                x = convolution.conv2d_relu_frames(x, kernel, bias, layer.stride, implementation)
            else:
                kernel = kernel.astype(self.dtype)
                x = convolution.conv2d_relu(x, kernel, bias, layer.stride, implementation)
            self.sow("intermediates", f"conv_{i}", x)  # does nothing unless they are asked for
        return x.reshape(x.shape[0], -1)
