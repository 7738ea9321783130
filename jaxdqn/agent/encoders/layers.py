"""Convolutions as layers of encoders."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.agent import initializers, spectral
from jaxdqn.agent.encoders import api
from jaxdqn.envs import images
from jaxdqn.kernels import convolution


class Convolution(NamedTuple):
    """A convolution's size."""

    features: int
    size: int  # of its square window
    stride: int


def output_size(size: int, layer: Convolution, padding: str) -> int:
    """Length of a convolution's output along an axis of length `size`; below 1 if none is left."""
    if padding == "same":
        return -(-size // layer.stride)
    return (size - layer.size) // layer.stride + 1


def output_shape(size: Sequence[int], layers: Sequence[Convolution], padding: str) -> list[int]:
    """Height and width after all layers of images of a size; below 1 if none is left."""
    sizes = list(size)
    for layer in layers:
        sizes = [output_size(size, layer, padding) for size in sizes]
    return sizes


def needs_images(frame_shape: tuple[int, ...]) -> str:
    """`api.Encoder.needs` of encoders for images of any size."""
    return "" if images.size(frame_shape) else "images"


class Convolving(nn.Module):
    """What encoders with convolutions have in common.

    The parameters are those of plain convolutions, [height, width, in, out], whichever way they
    are computed.
    """

    kernel_init: str  # a name in `initializers.INITIALIZERS`; biases begin at 0
    scale_pixels: bool  # divide bytes by 255
    implementation: api.Implementation
    dtype: DTypeLike

    def convolve_frames(
        self, observation: jax.Array, name: str, layer: Convolution, padding: str, *, relu: bool
    ) -> jax.Array:
        """[B, S, *frame_shape], numbers of any type -> [B, H', W', features]."""
        x = _stacked_channels(observation)
        scale = api.pixel_scale(x, self.scale_pixels)
        kernel, bias = self._parameters(name, layer, x.shape[1])
        if padding == "same":
            x = _pad_same(x, layer, axes=(2, 3))
        # Scaling the kernel instead of the frames lets bytes travel as bytes.
        kernel = (kernel * scale).astype(self.dtype)
        return convolution.conv2d_frames(
            x, kernel, bias, layer.stride, self.implementation(), relu=relu
        )

    def convolve(
        self,
        x: jax.Array,
        name: str,
        layer: Convolution,
        padding: str,
        *,
        relu: bool,
        spectral_norm: bool = False,
    ) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        kernel, bias = self._parameters(name, layer, x.shape[-1])
        if spectral_norm:
            kernel = spectral.normalize(self, f"{name}_kernel", kernel)
        if padding == "same":
            x = _pad_same(x, layer, axes=(1, 2))
        kernel = kernel.astype(self.dtype)
        return convolution.conv2d(x, kernel, bias, layer.stride, self.implementation(), relu=relu)

    def _parameters(
        self, name: str, layer: Convolution, inputs: int
    ) -> tuple[jax.Array, jax.Array]:
        kernel = self.param(
            f"{name}_kernel",
            initializers.INITIALIZERS[self.kernel_init],
            (layer.size, layer.size, inputs, layer.features),
        )
        bias = self.param(f"{name}_bias", nn.initializers.zeros, (layer.features,))
        return kernel, bias.astype(self.dtype)

    def show(self, name: str, x: jax.Array) -> None:
        """Shows the outputs [B, H, W, C] of a convolution to whoever asks for them."""
        self.sow("intermediates", name, x)


def _stacked_channels(observation: jax.Array) -> jax.Array:
    """[B, S, H, W], [B, S, C, H, W] or [B, S, H, W, C] -> [B, S * C, H, W], oldest frame first."""
    if observation.ndim == 5:
        channels = 2 + images.channel_axis(observation.shape[2:])
        observation = jnp.moveaxis(observation, channels, 2)
    return observation.reshape(observation.shape[0], -1, *observation.shape[-2:])


def _pad_same(x: jax.Array, layer: Convolution, axes: tuple[int, int]) -> jax.Array:
    """Pads images with zeros, the odd one last, so that a valid convolution is a 'same' one."""
    padding = [(0, 0)] * x.ndim
    for axis in axes:
        length = x.shape[axis]
        needed = (output_size(length, layer, "same") - 1) * layer.stride + layer.size
        total = max(0, needed - length)
        padding[axis] = (total // 2, total - total // 2)
    return jnp.pad(x, padding)
