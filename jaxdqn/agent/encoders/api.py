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
    # (frame_shape) -> what frames it needs, where these are not such; '' where they are
    needs: Callable[[tuple[int, ...]], str]
    learns: bool = True  # whether it has parameters
    activation: Callable[[jax.Array], jax.Array] = _relu  # of the dense layers that follow


def pixel_scale(observation: jax.Array, scale_pixels: bool) -> float:
    """The factor that scales an observation to about [-1, 1]: 1/255 for bytes, 1 for floats."""
    return 1 / 255 if scale_pixels and observation.dtype == jnp.uint8 else 1.0
