"""What an encoder is to the rest of the program.

The module of an encoder, registered in `settings.registries`, defines `make(config) -> Encoder`.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.kernels import convolution

# How to convolve; asked when a network is traced, and not before.
Implementation = Callable[[], convolution.Implementation]


def _relu(x: jax.Array) -> jax.Array:
    """flax's own, looked up at each call: while ONNX is written, another one stands there."""
    return nn.relu(x)


class Encoder(NamedTuple):
    """What a network begins with."""

    # (how to convolve, what it computes in) -> module from observations [B, S, *frame_shape] to
    # features [B, F]. It may `sow` maps of features [B, H, W, C], which `inspect` shows.
    module: Callable[[Implementation, DTypeLike], nn.Module]
    # (frame_shape) -> '' if it accepts frames of this shape, else what it needs
    needs: Callable[[tuple[int, ...]], str]
    learns: bool = True  # whether it has parameters
    activation: Callable[[jax.Array], jax.Array] = _relu  # of the dense layers that follow


def pixel_scale(observation: jax.Array, scale_pixels: bool) -> float:
    """The factor of an observation: 1/255 for uint8, which gives [0, 1], and 1 for other types."""
    return 1 / 255 if scale_pixels and observation.dtype == jnp.uint8 else 1.0
