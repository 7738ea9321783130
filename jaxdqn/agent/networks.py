"""Q-networks. They take frames as the environment gives them and own scaling and layout.

Parameters and action values are float32. `dtype` is what all layers but the last compute in.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxdqn.kernels import convolution

INITIALIZERS: Mapping[str, jax.nn.initializers.Initializer] = {
    "lecun_normal": nn.initializers.lecun_normal(),
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "he_normal": nn.initializers.he_normal(),
    "truncated_normal": nn.initializers.truncated_normal(0.02),
}


class Convolution(NamedTuple):
    """One layer of a torso; ReLU follows it."""

    features: int
    size: int  # of its square window
    stride: int


# Mnih et al. (Nature, 2015).
NATURE = (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a Q-network is made of."""

    convolutions: tuple[Convolution, ...]  # none: observations of any shape, flat
    hidden_sizes: tuple[int, ...]  # of the dense layers, or of each stream of a dueling head
    num_actions: int
    padding: str = "valid"  # of the convolutions: valid or same
    dueling: bool = False  # Wang et al. (arXiv:1511.06581)
    conv_init: str = "lecun_normal"  # a name in `INITIALIZERS`, of kernels; biases begin at 0
    dense_init: str = "lecun_normal"
    scale_pixels: bool = True  # divide bytes by 255


def _pixel_scale(observation: jax.Array, scale_pixels: bool) -> float:
    """What takes an observation to about [-1, 1]: bytes are divided by 255, floats stay."""
    return 1 / 255 if scale_pixels and observation.dtype == jnp.uint8 else 1.0


def output_size(size: int, layer: Convolution, padding: str) -> int:
    """Length of a convolution's output along an axis of length `size`; below 1 if none is left."""
    if padding == "same":
        return -(-size // layer.stride)
    return (size - layer.size) // layer.stride + 1


def num_parameters(architecture: Architecture, seen_shape: tuple[int, ...], frames: int) -> int:
    """Parameters of a network, counted without making any.

    Args:
      architecture: what it is made of.
      seen_shape: of a frame as the network sees it.
      frames: in an observation.
    """
    count, inputs = 0, frames * math.prod(seen_shape)
    if architecture.convolutions:
        size, channels = list(seen_shape[-2:]), frames * math.prod(seen_shape[:-2])
        for layer in architecture.convolutions:
            count += (layer.size**2 * channels + 1) * layer.features
            size = [output_size(length, layer, architecture.padding) for length in size]
            channels = layer.features
        inputs = math.prod(size) * channels
    streams = [1] if architecture.dueling else []  # the value's, and the advantages'
    for outputs in (*streams, architecture.num_actions):
        widths = (inputs, *architecture.hidden_sizes, outputs)
        count += sum((wide + 1) * next_wide for wide, next_wide in itertools.pairwise(widths))
    return count


def _pad_same(x: jax.Array, layer: Convolution, axes: tuple[int, int]) -> jax.Array:
    """Zeros around images, the odd one behind, so that a valid convolution is a 'same' one."""
    padding = [(0, 0)] * x.ndim
    for axis in axes:
        length = x.shape[axis]
        needed = (output_size(length, layer, "same") - 1) * layer.stride + layer.size
        total = max(0, needed - length)
        padding[axis] = (total // 2, total - total // 2)
    return jnp.pad(x, padding)


class ConvTorso(nn.Module):
    """Convolutions with ReLU, flattened.

    The parameters are those of plain convolutions, [height, width, in, out], whichever way they
    are computed.
    """

    architecture: Architecture
    implementation: Callable[[], convolution.Implementation]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, H, W] or [B, S, C, H, W], uint8 or float32 -> [B, F]."""
        of = self.architecture
        x = observation.reshape(observation.shape[0], -1, *observation.shape[-2:])
        scale = _pixel_scale(x, of.scale_pixels)
        implementation = self.implementation()
        for i, layer in enumerate(of.convolutions):
            inputs = x.shape[1] if i == 0 else x.shape[-1]
            kernel = self.param(
                f"conv_{i}_kernel",
                INITIALIZERS[of.conv_init],
                (layer.size, layer.size, inputs, layer.features),
            )
            bias = self.param(f"conv_{i}_bias", nn.initializers.zeros, (layer.features,))
            bias = bias.astype(self.dtype)
            if of.padding == "same":
                x = _pad_same(x, layer, axes=(2, 3) if i == 0 else (1, 2))
            if i == 0:  # scaling the kernel instead of the frames lets bytes travel as bytes
                kernel = (kernel * scale).astype(self.dtype)
                x = convolution.conv2d_relu_frames(x, kernel, bias, layer.stride, implementation)
            else:
                kernel = kernel.astype(self.dtype)
                x = convolution.conv2d_relu(x, kernel, bias, layer.stride, implementation)
            self.sow("intermediates", f"conv_{i}", x)  # nothing, unless somebody asks for them
        return x.reshape(x.shape[0], -1)


class FlatTorso(nn.Module):
    """Observations of any shape as one vector of float32."""

    architecture: Architecture

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, ...] -> [B, F]."""
        scale = _pixel_scale(observation, self.architecture.scale_pixels)
        x = observation.astype(jnp.float32) * scale
        return x.reshape(observation.shape[0], -1)


class QNetwork(nn.Module):
    """A torso, dense ReLU layers, and one linear output for each action."""

    torso: nn.Module
    architecture: Architecture
    dtype: DTypeLike

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """[B, S, *frame_shape] -> [B, A] float32 action values."""
        x, of = self.torso(observation), self.architecture
        if not of.dueling:
            return self._dense(x, of.num_actions)
        value = self._dense(x, 1, "value_")
        advantage = self._dense(x, of.num_actions, "advantage_")
        # Over the actions of each sample alone: a mean over the batch too would tie samples.
        return value + advantage - advantage.mean(axis=-1, keepdims=True)

    def _dense(self, x: jax.Array, outputs: int, prefix: str = "Dense_") -> jax.Array:
        init, sizes = INITIALIZERS[self.architecture.dense_init], self.architecture.hidden_sizes
        for i, size in enumerate(sizes):
            layer = nn.Dense(size, dtype=self.dtype, kernel_init=init, name=f"{prefix}{i}")
            x = nn.relu(layer(x))
        # Action values differ by less than bfloat16 can tell apart.
        last = nn.Dense(outputs, dtype=jnp.float32, kernel_init=init, name=f"{prefix}{len(sizes)}")
        return last(x)


class Network(NamedTuple):
    """Pure functions of a Q-network."""

    init: Callable[[jax.Array, jax.Array], chex.ArrayTree]  # (key, observation [1, S, *F])
    q_values: Callable[[chex.ArrayTree, jax.Array], jax.Array]  # (params, [B, S, *F]) -> [B, A]
    # (params, [B, S, *F]) -> by name, outputs of the convolutions [B, H, W, C]; none in an mlp
    convolutions: Callable[[chex.ArrayTree, jax.Array], dict[str, jax.Array]] = lambda *_: {}


def make_network(
    architecture: Architecture,
    implementation: Callable[[], convolution.Implementation],
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """Builds a Q-network.

    Args:
      architecture: what it is made of.
      implementation: tells how to convolve; asked when action values are traced, and not before.
      dtype: what all layers but the last compute in.
    """

    def module(implementation: Callable[[], convolution.Implementation]) -> QNetwork:
        torso: nn.Module = FlatTorso(architecture)
        if architecture.convolutions:
            torso = ConvTorso(architecture, implementation, dtype)
        return QNetwork(torso, architecture, dtype)

    def init(key: jax.Array, observation: jax.Array) -> chex.ArrayTree:
        # Parameters are the same however they are used.
        params: Any = module(lambda: "xla").init(key, observation)
        return params

    def q_values(params: chex.ArrayTree, observation: jax.Array) -> jax.Array:
        values: Any = module(implementation).apply(params, observation)  # flax types it as anything
        return values

    def convolutions(params: chex.ArrayTree, observation: jax.Array) -> dict[str, jax.Array]:
        _, state = module(implementation).apply(params, observation, mutable=["intermediates"])
        found: Any = state.get("intermediates", {}).get("torso", {})
        return {name: outputs for name, (outputs,) in found.items()}

    return Network(init=init, q_values=q_values, convolutions=convolutions)
